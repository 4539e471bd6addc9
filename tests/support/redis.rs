//! A Redis server for a test: on a free port, in memory, ended with the test.

use super::eventually;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub struct Redis {
    port: u16,
    /// Where its certificate and its key lie, if it speaks TLS and nothing else.
    tls: Option<PathBuf>,
    server: Option<Child>,
}

impl Redis {
    /// Starts one and waits until it answers.
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// One over TLS, with `cert.pem` and `key.pem` of this folder.
    pub fn start_tls(folder: &Path) -> Self {
        Self::start_with(Some(folder.to_owned()))
    }

    fn start_with(tls: Option<PathBuf>) -> Self {
        // Another process may take the port between the search for it and the start.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut redis = Self { port, tls: tls.clone(), server: None };
            if redis.start_again() {
                return redis;
            }
        }
        panic!("redis-server does not start");
    }

    /// On its port; false if that is taken.
    pub fn start_again(&mut self) -> bool {
        let port = self.port.to_string();
        let mut command = Command::new("redis-server");
        match &self.tls {
            Some(folder) => command
                .args(["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"])
                .arg("--tls-cert-file")
                .arg(folder.join("cert.pem"))
                .arg("--tls-key-file")
                .arg(folder.join("key.pem"))
                .arg("--tls-ca-cert-file")
                .arg(folder.join("cert.pem")),
            None => command.args(["--port", &port]),
        };
        let server =
            command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut server = server.unwrap_or_else(|error| panic!("this test needs redis-server ({error}): apt-get install redis-server"));
        let mut is_up = false;
        eventually(|| {
            // Over TLS: that it listens will do.
            is_up = if self.tls.is_some() { TcpStream::connect(("127.0.0.1", self.port)).is_ok() } else { answers(self.port) };
            is_up || server.try_wait().unwrap().is_some()
        });
        self.server = Some(server);
        is_up
    }

    /// Ends it at once.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // Ended already, or ended now: either is well.
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// Lets it hang: it accepts connections and answers nothing. Or go on.
    pub fn hang(&self, hangs: bool) {
        let process = rustix::process::Pid::from_child(self.server.as_ref().unwrap());
        let signal = if hangs { rustix::process::Signal::STOP } else { rustix::process::Signal::CONT };
        rustix::process::kill_process(process, signal).unwrap();
    }

    /// What it answers, as it comes over the wire.
    pub fn command(&self, words: &[&str]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let quit = ["QUIT"];
        for words in [words, &quit] {
            let parts: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
            stream.write_all(format!("*{}\r\n{parts}", words.len()).as_bytes()).unwrap();
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Lines for the configuration of a server that uses it.
    pub fn config(&self) -> String {
        let (scheme, more) = match &self.tls {
            Some(folder) => ("rediss", format!("ca_file = {:?}\n", folder.join("cert.pem"))),
            None => ("redis", String::new()),
        };
        format!("[redis]\nurl = \"{scheme}://127.0.0.1:{}/\"\n{more}pause_ms = 20\npause_ms_max = 100\n", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut answer = [0; 5];
    stream.write_all(b"PING\r\n").is_ok() && stream.read_exact(&mut answer).is_ok() && &answer == b"+PONG"
}
