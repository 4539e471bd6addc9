//! A client that shows what comes over the wire, to the last byte and beyond.

use ragstone_mock::Mock;
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longer than anything may take, so that a hang fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long nothing must come to be called silence.
const SILENCE: Duration = Duration::from_millis(100);

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Closed,
    Reset,
    Silent,
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Status line and headers in small letters; empty if there were none.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Sizes of the chunks, if it came in such.
    pub(crate) chunks: Vec<usize>,
    /// Whether the body ended as HTTP wants it.
    pub(crate) is_whole: bool,
    pub(crate) end: End,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The data of its events that are JSON.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.text().lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect()
    }

    /// The words of its events, put together, in either provider's format.
    pub(crate) fn said(&self) -> String {
        let events = self.events();
        let delta = |event: &Value| event.pointer("/choices/0/delta/content").or(event.pointer("/delta/text")).cloned();
        events.iter().filter_map(|event| Some(delta(event)?.as_str()?.to_owned())).collect()
    }

    /// Reads to the end, or until nothing more comes for so long.
    fn read(mut stream: TcpStream, silence: Duration) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut bytes = Vec::new();
        let mut block = vec![0; 1 << 16];
        let end = loop {
            match stream.read(&mut block) {
                Ok(0) => break End::Closed,
                Ok(count) => {
                    bytes.extend_from_slice(&block[..count]);
                    // Only what has begun can fall silent.
                    stream.set_read_timeout(Some(silence)).unwrap();
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break End::Reset,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break End::Silent,
                Err(error) => panic!("{error}"),
            }
        };
        Self::parse(&bytes, end)
    }

    fn parse(bytes: &[u8], end: End) -> Self {
        let Some(split) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Self { head: String::new(), body: bytes.to_vec(), chunks: Vec::new(), is_whole: false, end };
        };
        let head = String::from_utf8(bytes[..split].to_vec()).unwrap().to_lowercase();
        let mut answer = Self { head, body: bytes[split + 4..].to_vec(), chunks: Vec::new(), is_whole: false, end };
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.join_chunks();
        } else {
            let length: usize = answer.header("content-length").unwrap_or("0").parse().unwrap();
            answer.is_whole = answer.body.len() == length;
        }
        answer
    }

    fn join_chunks(&mut self) {
        let bytes = std::mem::take(&mut self.body);
        let mut rest = bytes.as_slice();
        while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
            if size == 0 {
                self.is_whole = true;
                return;
            }
            self.chunks.push(size);
            let Some(chunk) = rest.get(end + 2..end + 2 + size) else { return };
            self.body.extend_from_slice(chunk);
            rest = rest.get(end + 4 + size..).unwrap_or_default();
        }
    }
}

/// A request under way; dropped, its client has left.
pub(crate) fn send(mock: &Mock, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(mock.address()).unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: mock\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

pub(crate) fn request(mock: &Mock, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    Answer::read(send(mock, method, path, headers, body), PATIENCE)
}

pub(crate) fn post(mock: &Mock, path: &str, body: &Value) -> Answer {
    request(mock, "POST", path, &[], &body.to_string())
}

pub(crate) fn get(mock: &Mock, path: &str) -> Answer {
    request(mock, "GET", path, &[], "")
}

/// What comes until nothing more does for a while.
pub(crate) fn post_until_silence(mock: &Mock, path: &str, body: &Value) -> Answer {
    Answer::read(send(mock, "POST", path, &[], &body.to_string()), SILENCE)
}

pub(crate) const CHAT: &str = "/v1/chat/completions";

pub(crate) fn chat(is_streamed: bool) -> Value {
    json!({"model": "small", "stream": is_streamed, "messages": [{"role": "user", "content": "one two three four"}]})
}

/// With the headers that Anthropic wants.
pub(crate) fn message(mock: &Mock, body: &Value) -> Answer {
    request(mock, "POST", "/v1/messages", &[("x-api-key", "secret"), ("anthropic-version", "2023-06-01")], &body.to_string())
}

/// Looks again until it is so.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "still not so: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
