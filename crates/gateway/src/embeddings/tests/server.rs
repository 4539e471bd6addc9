//! A server on this machine that answers each request by a function, byte for byte.

use super::EmbeddingProvider::{self, Cohere, Jina, Ollama, OpenAi, Tei};
use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

pub(super) const DIMENSION: usize = 64;
/// Words that the models of [`play`] read of a text.
const WORDS_MAX: usize = 60;

#[derive(Clone)]
pub(super) struct Request {
    /// Request line and headers, in lower case.
    pub(super) head: String,
    pub(super) body: Value,
}

impl Request {
    /// What is to be embedded, wherever it stands.
    pub(super) fn texts(&self) -> Vec<String> {
        let places = ["input", "inputs", "texts"];
        let texts = places.iter().find_map(|place| self.body.get(place)).unwrap();
        serde_json::from_value(texts.clone()).unwrap()
    }
}

pub(super) struct Server {
    pub(super) base_url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// What came so far.
    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

/// Answers one request of each connection, one after the other; ends with the test's process.
pub(super) fn serve(mut answer: impl FnMut(&Request) -> Vec<u8> + Send + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let Some(request) = read_request(&mut socket) else { continue };
            seen.lock().unwrap().push(request.clone());
            // The client may hang up while it is being told too much.
            let _ = socket.write_all(&answer(&request));
        }
    });
    Server { base_url, requests }
}

/// `None` if the client left a connection unused.
fn read_request(socket: &mut TcpStream) -> Option<Request> {
    let (mut bytes, mut block) = (Vec::new(), [0; 16 * 1024]);
    loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..at]).to_lowercase();
            let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
            if let Some(body) = bytes.get(at + 4..at + 4 + length) {
                return Some(Request { head, body: serde_json::from_slice(body).unwrap() });
            }
        }
        match socket.read(&mut block).unwrap_or(0) {
            0 => return None,
            count => bytes.extend_from_slice(&block[..count]),
        }
    }
}

pub(super) fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

/// Never answers.
pub(super) fn stall() -> Vec<u8> {
    loop {
        std::thread::park();
    }
}

/// Answers as the provider documents it, with bags of words for vectors; cuts long texts, except
/// as OpenAI, which refuses them, and refuses empty ones.
pub(super) fn play(kind: EmbeddingProvider, request: &Request) -> Vec<u8> {
    let texts = request.texts();
    let too_long = |text: &String| text.split_whitespace().count() > WORDS_MAX + 4;
    if texts.iter().any(String::is_empty) || kind == OpenAi && texts.iter().any(too_long) {
        return http("400 Bad Request", "", r#"{"error":{"message":"an input is empty or too long"}}"#).into_bytes();
    }
    let vectors: Vec<Vec<f32>> = texts.iter().map(|text| vector(text)).collect();
    let base64 = |vector: &Vec<f32>| BASE64_STANDARD.encode(vector.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>());
    // Out of order, as the protocol allows.
    let listed = |embeddings: Vec<Value>| {
        let item = |(index, embedding)| json!({"object": "embedding", "index": index, "embedding": embedding});
        let data: Vec<Value> = embeddings.into_iter().enumerate().rev().map(item).collect();
        json!({"object": "list", "data": data, "model": "small", "usage": {"prompt_tokens": 1, "total_tokens": 1}})
    };
    let body = match kind {
        OpenAi => listed(vectors.iter().map(|vector| json!(base64(vector))).collect()),
        Jina => listed(vectors.iter().map(|vector| json!(vector)).collect()),
        Ollama => json!({"model": "small", "embeddings": vectors, "total_duration": 1, "load_duration": 1, "prompt_eval_count": 1}),
        Tei => json!(vectors),
        Cohere => json!({"id": "1", "embeddings": {"float": vectors}, "texts": texts, "response_type": "embeddings_by_type"}),
    };
    http("200 OK", "content-type: application/json\r\n", &body.to_string()).into_bytes()
}

fn vector(text: &str) -> Vec<f32> {
    let mut vector = vec![0.0; DIMENSION];
    // Gives a text without words a direction.
    vector[0] = 0.01;
    for word in text.split_whitespace().take(WORDS_MAX) {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        let hash = word.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        vector[usize::try_from(hash % DIMENSION as u64).unwrap()] += 1.0;
    }
    vector
}
