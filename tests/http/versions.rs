use crate::support::{Server, Setup, eventually};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};

const COLLECTION: &str = "/v1/collections/handbook";

/// A long document of paragraphs that each make about one chunk.
fn paragraphs(count: usize, edited: Option<usize>) -> String {
    let paragraph = |number: usize| {
        let opening = if edited == Some(number) { "This paragraph was rewritten from its first word on" } else { "The keeper notes" };
        format!(
            "{opening}, in entry {number} of the log, that lamp number{number} burned through the night and the tide stood at mark {number}."
        )
    };
    (0..count).map(paragraph).collect::<Vec<_>>().join("\n\n")
}

fn put(server: &Server, text: &str) -> Value {
    let reply = server.send("PUT", &format!("{COLLECTION}/documents/log?wait=true"), Some(json!({ "text": text, "name": "log.txt" })));
    let document = reply.ok()["documents"][0].clone();
    assert_eq!(document["status"], "ready", "{document}");
    document
}

fn chunks(server: &Server) -> Vec<Value> {
    server.get(&format!("{COLLECTION}/documents/log/chunks?limit=1000")).ok()["data"].as_array().unwrap().clone()
}

/// A server whose collection cuts into small chunks.
fn start() -> Server {
    let server = Setup::hash().start();
    server.post("/v1/collections", json!({ "name": "handbook", "chunking": { "max_tokens": 40, "overlap_tokens": 0 } })).ok();
    server
}

fn counter(server: &Server, name: &str) -> u64 {
    let metrics = server.get("/metrics").text();
    let line = metrics.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} missing in\n{metrics}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn editing_a_paragraph_embeds_little_and_keeps_the_rest() {
    let server = start();
    let first = put(&server, &paragraphs(120, None));
    let before = chunks(&server);
    assert!(before.len() >= 100, "{}", before.len());
    assert_eq!((&first["chunks_reused"], &first["chunks_embedded"]), (&json!(0), &json!(before.len())));
    let embedded = counter(&server, "ragstone_embedded_texts_total");
    let second = put(&server, &paragraphs(120, Some(60)));
    let after = chunks(&server);
    let (new, reused) = (second["chunks_embedded"].as_u64().unwrap(), second["chunks_reused"].as_u64().unwrap());
    assert!((1..=4).contains(&new), "{second}");
    assert_eq!(new + reused, after.len() as u64, "{second}");
    assert_eq!(counter(&server, "ragstone_embedded_texts_total") - embedded, new);
    assert_eq!(counter(&server, "ragstone_chunks_reused_total"), reused);
    let job = server.get(&format!("/v1/jobs/{}", second["job_id"].as_str().unwrap())).ok();
    assert_eq!((&job["chunks_embedded"], &job["chunks_reused"]), (&json!(new), &json!(reused)));
    // The ids of what did not change are the same, at their new places.
    let text = server.get(&format!("{COLLECTION}/documents/log/text")).text();
    for chunk in &after {
        let (start, end) = (chunk["span"]["byte_start"].as_u64().unwrap(), chunk["span"]["byte_end"].as_u64().unwrap());
        assert_eq!(text.get(start as usize..end as usize), chunk["text"].as_str(), "{chunk}");
        let old = before.iter().find(|old| old["text"] == chunk["text"]);
        assert!(old.is_none_or(|old| old["id"] == chunk["id"]), "{chunk}");
        assert_eq!(chunk["version"], 2);
    }
    let kept = after.iter().filter(|chunk| before.iter().any(|old| old["id"] == chunk["id"])).count() as u64;
    assert_eq!(kept, reused);
    assert_ne!(before.last().unwrap()["span"], after.last().unwrap()["span"], "the end has moved");
    // Search finds the new words and the moved chunks, with spans of the new text.
    let hit = server.post(&format!("{COLLECTION}/search"), json!({ "query": "number110", "mode": "lexical", "neighbours": 1 })).ok();
    let (hit, span) = (&hit["hits"][0], &hit["hits"][0]["span"]);
    let range = format!("byte_start={}&byte_end={}", span["byte_start"], span["byte_end"]);
    assert_eq!(server.get(&format!("{COLLECTION}/documents/log/text?{range}")).text(), hit["text"].as_str().unwrap());
    assert_eq!(hit["neighbours"]["before"].as_array().unwrap().len(), 1);
}

#[test]
fn the_counts_and_ids_survive_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let server = Setup::hash().data(directory.path()).start();
    server.post("/v1/collections", json!({ "name": "handbook", "chunking": { "max_tokens": 40, "overlap_tokens": 0 } })).ok();
    put(&server, &paragraphs(40, None));
    put(&server, &paragraphs(40, Some(3)));
    let (before, found) = (chunks(&server), |server: &Server| {
        server.post(&format!("{COLLECTION}/search"), json!({ "query": "lamp number33", "top_k": 5 })).ok()["hits"].clone()
    });
    let hits = found(&server);
    drop(server.kill());
    let server = Setup::hash().data(directory.path()).start();
    assert_eq!(chunks(&server), before);
    assert_eq!(found(&server), hits);
}

/// The text of a document, and its chunks, while it is replaced over and over: always a whole version.
#[test]
fn reading_races_replacing_without_an_error() {
    let server = start();
    let text = |version: usize| format!("{}\n\nThis stays as it is in every version.", "moves ".repeat(version + 1));
    put(&server, &text(0));
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (1..40).for_each(|version| drop(put(&server, &text(version))));
            is_done.store(true, Ordering::Release);
        });
        while !is_done.load(Ordering::Acquire) {
            for path in ["text", "content"] {
                let reply = server.get(&format!("{COLLECTION}/documents/log/{path}"));
                assert_eq!(reply.status, 200, "{path}: {}", reply.text());
                assert!(reply.text().ends_with("in every version."));
            }
            let reply = server.get(&format!("{COLLECTION}/documents/log/chunks"));
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
    });
}

#[test]
fn a_deleted_document_can_be_verified() {
    let server = start();
    put(&server, &paragraphs(20, None));
    let count = chunks(&server).len();
    let answer = server.delete(&format!("{COLLECTION}/documents/log")).ok();
    let receipt = &answer["receipt"];
    assert_eq!([&receipt["chunks"], &receipt["vectors"], &receipt["postings"]], [&json!(count), &json!(count), &json!(count)]);
    assert_eq!((&receipt["document_id"], &receipt["documents"], &receipt["caches"]), (&answer["id"], &json!(1), &json!(0)));
    let id = receipt["id"].as_str().unwrap();
    assert!(id.starts_with("del_"));
    let verified = server.get(&format!("/v1/deletions/{id}/verify")).ok();
    assert_eq!((&verified["verified"], &verified["receipt"]), (&json!(true), receipt));
    let looked_for: Vec<_> = verified["checks"].as_array().unwrap().iter().map(|check| check["what"].as_str().unwrap()).collect();
    for what in ["document_record", "chunks", "vectors", "postings", "vector_index", "files", "identities"] {
        assert!(looked_for.contains(&what), "{what} is not in {looked_for:?}");
    }
    for unknown in ["del_00000000000000000000000000", "del_x", "nothing"] {
        assert_eq!(server.get(&format!("/v1/deletions/{unknown}/verify")).status, 404, "{unknown}");
    }
}

#[test]
fn a_deleted_collection_can_be_verified_and_only_by_its_tenant() {
    let (ann, bob) = ("key-of-ann-0123456789abcdef", "key-of-bob-0123456789abcdef");
    let key = |key: &str, tenant: &str| format!("{{ sha256 = \"{}\", tenant = \"{tenant}\" }}", sha256(key));
    let server = Setup::hash().config(&format!("[auth]\nkeys = [{}, {}]\n", key(ann, "ann"), key(bob, "bob"))).start();
    let (ann, bob) = (server.view(Some(ann)), server.view(Some(bob)));
    ann.add_text("default", "one", "the walrus and the carpenter");
    ann.add_text("default", "two", "the walrus alone");
    let receipt = ann.delete("/v1/collections/default").ok()["receipt"].clone();
    assert_eq!([&receipt["documents"], &receipt["chunks"], &receipt["vectors"]], [&json!(2), &json!(2), &json!(2)]);
    assert_eq!(receipt["document_id"], Value::Null);
    let path = format!("/v1/deletions/{}/verify", receipt["id"].as_str().unwrap());
    assert_eq!(ann.get(&path).ok()["verified"], true);
    let (foreign, missing) = (bob.get(&path), bob.get("/v1/deletions/del_00000000000000000000000000/verify"));
    assert_eq!((foreign.status, missing.status), (404, 404));
    assert_eq!(foreign.json()["code"], missing.json()["code"]);
    // What comes afterwards under the same name is not mistaken for it.
    ann.add_text("default", "one", "the walrus and the carpenter");
    eventually(|| ann.get(&path).ok()["verified"] == true);
}

fn sha256(key: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect()
}
