//! A Redis server for a test: on a free port, in memory only, ended with the test.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Redis {
    port: u16,
    server: Option<Child>,
}

impl Redis {
    /// Starts one and waits until it answers.
    pub fn start() -> Self {
        let mut redis = Self { port: 0, server: None };
        // Another process may take the port between the search for it and the start.
        for _ in 0..10 {
            redis.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if redis.try_start() {
                return redis;
            }
        }
        panic!("redis-server does not start");
    }

    /// Starts it again on its port after a stop, with nothing in it.
    pub fn start_again(&mut self) {
        assert!(self.try_start(), "redis-server does not start again");
    }

    /// Ends it at once.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// Lines for the configuration of a server that shares it, and soon notices when it is back.
    pub fn config(&self) -> String {
        format!("[redis]\nurl = \"redis://127.0.0.1:{}/\"\npause_ms = 20\npause_ms_max = 100\n", self.port)
    }

    fn try_start(&mut self) -> bool {
        let port = self.port.to_string();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", "/tmp"]);
        let server = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.server = Some(server.unwrap_or_else(|error| panic!("this test needs redis-server ({error}): apt-get install redis-server")));
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if self.server.as_mut().is_some_and(|server| server.try_wait().unwrap().is_some()) {
                return false;
            }
            if self.answers() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut pong = [0; 5];
        stream.write_all(b"PING\r\n").is_ok() && stream.read_exact(&mut pong).is_ok() && &pong == b"+PONG"
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}
