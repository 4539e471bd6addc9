use crate::support::{Server, Setup, eventually, read_request};
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const DIMENSION: usize = 16;
const KEY: &str = "sk-canary-0123456789";

/// A TEI server with a vector for each text, which says 401 and repeats the key until it is well.
fn provider(is_well: Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (head, body) = read_request(&mut stream);
            let (status, answer) = if is_well.load(Ordering::SeqCst) && head.contains(&format!("authorization: bearer {KEY}")) {
                let body: Value = serde_json::from_slice(&body).unwrap();
                ("200 OK", body["inputs"].as_array().unwrap().iter().map(|text| vector(text.as_str().unwrap())).collect::<Value>())
            } else {
                ("401 Unauthorized", json!({ "error": format!("wrong key {KEY}") }))
            };
            let answer = answer.to_string();
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
            stream.write_all((head + &answer).as_bytes()).unwrap();
        }
    });
    port
}

/// How many words begin with which letter.
fn vector(text: &str) -> Value {
    let mut counts = [0.01; DIMENSION];
    for word in text.to_lowercase().split_whitespace() {
        counts[usize::from(word.as_bytes()[0]) % DIMENSION] += 1.0;
    }
    json!(counts)
}

fn remote(port: u16) -> Setup {
    let remote =
        format!("provider = \"tei\"\nbase_url = \"http://127.0.0.1:{port}\"\nmodel = \"small\"\ndimension = {DIMENSION}\nmax_tokens = 64");
    Setup::model()
        .config(&format!("engine = \"remote\"\n[embedding.remote]\n{remote}\n[embedding.remote.calls]\nrest_s = 1\n"))
        .environment("RAGSTONE_EMBEDDING_API_KEY", KEY)
}

#[test]
fn documents_wait_for_a_provider_that_refuses_and_its_words_stay_in_the_log() {
    let is_well = Arc::new(AtomicBool::new(false));
    let mut server = remote(provider(Arc::clone(&is_well))).start();
    let text = |text: &str| json!({ "text": text, "external_id": text, "name": "a.txt" });
    for one in ["granite is grey", "lamps burn oil"] {
        server.post("/v1/collections/default/documents", text(one)).ok();
    }
    let search = |server: &Server| server.post("/v1/collections/default/search", json!({ "query": "granite", "mode": "vector" }));
    let refused = search(&server);
    assert_eq!((refused.status, refused.json()["code"].as_str()), (503, Some("embedding_unavailable")), "{}", refused.text());
    assert!(refused.header("retry-after").is_some() && !refused.text().contains("canary"), "{}", refused.text());

    is_well.store(true, Ordering::SeqCst);
    let documents = |server: &Server| server.get("/v1/collections/default/documents").ok()["data"].clone();
    eventually(|| documents(&server).as_array().unwrap().iter().all(|document| document["status"] == "ready"));
    let found = search(&server).ok();
    assert_eq!(found["hits"][0]["external_id"], "granite is grey", "{found}");
    let collection = server.get("/v1/collections/default").ok();
    assert_eq!((&collection["embedding_model"], &collection["embedding_precision"]), (&json!("small"), &json!("f32")), "{collection}");
    assert!(!collection.to_string().contains("127.0.0.1"), "{collection}");

    // A server with another model leaves the collection alone.
    assert_eq!(server.terminate().0, Some(0));
    let other = Setup::hash().data(&server.data).start();
    for refused in [search(&other), other.post("/v1/collections/default/documents", text("slate is black"))] {
        assert_eq!((refused.status, refused.json()["code"].as_str()), (409, Some("model_mismatch")), "{}", refused.text());
    }
    assert_eq!(documents(&other).as_array().unwrap().len(), 2);
}
