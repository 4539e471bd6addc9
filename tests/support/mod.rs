//! A real server process with its own data directory, and a small HTTP client for it.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

pub mod redis;

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longer than anything may take, so that a hang fails instead of hanging.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running `ragstone serve`.
pub struct Server {
    /// Absent in a view of another server.
    child: Option<Child>,
    pub base: String,
    pub key: Option<String>,
    directory: Option<TempDir>,
    pub data: PathBuf,
}

/// How to start a server.
pub struct Setup {
    data: Option<PathBuf>,
    config: String,
    environment: Vec<(String, String)>,
    model: &'static str,
}

impl Setup {
    /// The hash embedder, for tests that are not about meaning.
    pub fn hash() -> Self {
        Self { data: None, config: String::new(), environment: Vec::new(), model: "test-hash" }
    }

    /// The default model; `make test` has fetched it.
    pub fn model() -> Self {
        Self { model: "all-MiniLM-L6-v2", ..Self::hash() }
    }

    /// Keeps its data there instead of in a fresh folder.
    pub fn data(mut self, data: &Path) -> Self {
        self.data = Some(data.to_owned());
        self
    }

    /// More lines for the configuration file.
    pub fn config(mut self, lines: &str) -> Self {
        self.config.push_str(lines);
        self
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    pub fn start(self) -> Server {
        let directory = TempDir::new().unwrap();
        let data = self.data.clone().unwrap_or_else(|| directory.path().join("data"));
        let config = directory.path().join("ragstone.toml");
        std::fs::write(&config, format!("[embedding]\nmodel = \"{}\"\n{}", self.model, self.config)).unwrap();
        let mut command = Command::new(program());
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&config).arg("--data-dir").arg(&data);
        command.env("RAGSTONE_MODELS_DIR", concat!(env!("CARGO_MANIFEST_DIR"), "/models")).env("RAGSTONE_LOG_FORMAT", "json");
        command.env("RAGSTONE_LOG", "info,request=warn").env_remove("RAGSTONE_API_KEY");
        command.envs(self.environment).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let base = address(&mut log);
        std::thread::spawn(move || forward(log));
        Server { child: Some(child), base, key: None, directory: Some(directory), data }
    }
}

/// The program under test: another build than cargo's if `RAGSTONE` names one.
pub fn program() -> PathBuf {
    std::env::var_os("RAGSTONE").map_or_else(|| env!("CARGO_BIN_EXE_ragstone").into(), PathBuf::from)
}

/// Reads the log until it names the address; the server's own words are shown if it never does.
fn address(log: &mut impl BufRead) -> String {
    let mut said = String::new();
    loop {
        let start = said.len();
        assert!(log.read_line(&mut said).unwrap() > 0, "the server ended before it listened:\n{said}");
        if let Some(address) = said[start..].split("listens on ").nth(1) {
            return address.split(['"', ' ', '\n']).next().unwrap().to_owned();
        }
    }
}

fn forward(log: impl BufRead) {
    for line in log.lines().map_while(Result::ok) {
        if line.contains("\"ERROR\"") || line.contains("panicked") {
            eprintln!("server: {line}");
        }
    }
}

impl Server {
    pub fn with_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// kill -9; the data stays.
    pub fn kill(mut self) -> Option<TempDir> {
        let child = self.child.as_mut().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        self.directory.take()
    }

    /// The same server with another key.
    pub fn view(&self, key: Option<&str>) -> Self {
        Self { child: None, base: self.base.clone(), key: key.map(str::to_owned), directory: None, data: self.data.clone() }
    }

    /// SIGTERM; returns the exit code and the seconds it took.
    pub fn terminate(&mut self) -> (Option<i32>, f64) {
        let child = self.child.as_mut().unwrap();
        let pid = rustix::process::Pid::from_child(child);
        let began = Instant::now();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = child.wait().unwrap();
        (status.code(), began.elapsed().as_secs_f64())
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, None)
    }

    pub fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, None)
    }

    pub fn post(&self, path: &str, body: Value) -> Reply {
        self.send("POST", path, Some(body))
    }

    pub fn send(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        let bytes = body.map(|body| body.to_string().into_bytes());
        let content_type = bytes.is_some().then_some("application/json");
        self.request(method, path, &[], content_type, bytes).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// One request; an error if the connection fails, as it does when the server is killed.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        content_type: Option<&str>,
        body: Option<Vec<u8>>,
    ) -> Result<Reply, ureq::Error> {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .max_redirects(0)
            .allow_non_standard_methods(true)
            .build()
            .into();
        let response = match body {
            Some(body) => agent.run(request.body(body).unwrap())?,
            None => agent.run(request.body(()).unwrap())?,
        };
        Reply::read(response)
    }

    /// Uploads files as one form.
    pub fn upload(&self, path: &str, files: &[(&str, &[u8])], fields: &[(&str, &str)]) -> Reply {
        let (content_type, body) = form(files, fields);
        self.request("POST", path, &[], Some(&content_type), Some(body)).unwrap()
    }

    /// A text document that is searchable on return; its id.
    pub fn add_text(&self, collection: &str, external_id: &str, text: &str) -> String {
        let body = serde_json::json!({ "text": text, "external_id": external_id, "name": format!("{external_id}.md") });
        let reply = self.post(&format!("/v1/collections/{collection}/documents?wait=true"), body);
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.json()["documents"][0]["status"], "ready", "{}", reply.text());
        reply.json()["documents"][0]["id"].as_str().unwrap().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Ended already, or ended now: either is well.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A multipart form: its content type and its bytes.
pub fn form(files: &[(&str, &[u8])], fields: &[(&str, &str)]) -> (String, Vec<u8>) {
    const BOUNDARY: &str = "----ragstone-test-boundary";
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend(format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").bytes());
    }
    for (name, bytes) in files {
        let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n");
        body.extend(head.bytes().chain(bytes.iter().copied()).chain(*b"\r\n"));
    }
    body.extend(format!("--{BOUNDARY}--\r\n").bytes());
    (format!("multipart/form-data; boundary={BOUNDARY}"), body)
}

/// What the server answered.
pub struct Reply {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub bytes: Vec<u8>,
}

impl Reply {
    fn read(response: ureq::http::Response<ureq::Body>) -> Result<Self, ureq::Error> {
        let (parts, body) = response.into_parts();
        let mut bytes = Vec::new();
        body.into_reader().read_to_end(&mut bytes)?;
        let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()));
        Ok(Self { status: parts.status.as_u16(), headers: headers.collect(), bytes })
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The answer, after checking that it is a success.
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{}: {}", self.status, self.text());
        self.json()
    }
}

/// A file of `tests/fixtures`.
pub fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Looks until it is true; fails after [`PATIENCE`].
pub fn eventually(mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < deadline, "it did not come true");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Header lines, in lower case, and body of a request with a length.
pub fn read_request(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "the request ends in its head: {head}");
    }
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap();
    let mut body = vec![0; length.trim().parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    (head, body)
}
