use crate::support::{Setup, fixture};
use serde_json::{Value, json};

const DOCUMENTS: &str = "/v1/collections/default/documents";

#[test]
fn the_same_bytes_are_one_document() {
    let server = Setup::hash().start();
    let first = server.upload(&format!("{DOCUMENTS}?wait=true"), &[("a.txt", b"the same bytes")], &[]).ok();
    let chunks_before = server.get("/v1/collections/default").ok()["stats"].clone();
    let again = server.upload(&format!("{DOCUMENTS}?wait=true"), &[("b.txt", b"the same bytes")], &[]).ok();
    assert_eq!(first["documents"][0]["id"], again["documents"][0]["id"]);
    assert_eq!((&first["documents"][0]["duplicate"], &again["documents"][0]["duplicate"]), (&json!(false), &json!(true)));
    assert_eq!(first["documents"][0]["job_id"], again["documents"][0]["job_id"]);
    assert_eq!(server.get("/v1/collections/default").ok()["stats"]["generation"], chunks_before["generation"]);
    assert_eq!(server.get(DOCUMENTS).ok()["data"].as_array().unwrap().len(), 1);
    // Twice in one form as well.
    let twice = server.upload(DOCUMENTS, &[("x.txt", b"twice in one form"), ("y.txt", b"twice in one form")], &[]).ok();
    assert_eq!(twice["documents"][0]["id"], twice["documents"][1]["id"]);
}

#[test]
fn new_attributes_of_known_bytes_are_taken_over() {
    let server = Setup::hash().start();
    let upload =
        |metadata: &str| server.upload(&format!("{DOCUMENTS}?wait=true"), &[("a.txt", b"colours of salt")], &[("metadata", metadata)]).ok();
    upload(r#"{"year": 2020}"#);
    upload(r#"{"year": 2021}"#);
    let filter = |year: u32| json!({ "query": "salt", "filter": { "type": "eq", "key": "year", "value": year } });
    let hits = |year| server.post("/v1/collections/default/search", filter(year)).ok()["hits"].as_array().unwrap().len();
    crate::support::eventually(|| (hits(2020), hits(2021)) == (0, 1));
}

#[test]
fn what_is_not_sent_again_stays() {
    let server = Setup::hash().start();
    let path = format!("{DOCUMENTS}?wait=true");
    server.upload(&path, &[("a.txt", b"colours of salt")], &[("metadata", r#"{"year": 2020}"#), ("acl", r#"["ann"]"#)]).ok();
    let again = server.upload(&path, &[("a.txt", b"colours of salt")], &[]).ok()["documents"][0].clone();
    assert_eq!((&again["metadata"], &again["acl"]), (&json!({ "year": 2020 }), &json!(["ann"])), "{again}");
}

#[test]
fn a_document_is_found_at_every_moment_of_its_replacement() {
    let server = Setup::hash().start();
    server.add_text("default", "clock", "the clock shows version 0");
    let is_done = std::sync::atomic::AtomicBool::new(false);
    let searches = std::thread::scope(|scope| {
        scope.spawn(|| {
            for version in 1..30 {
                let body = json!({ "text": format!("the clock shows version {version}") });
                server.send("PUT", &format!("{DOCUMENTS}/clock?wait=true"), Some(body)).ok();
            }
            is_done.store(true, std::sync::atomic::Ordering::Release);
        });
        let mut searches = 0;
        while !is_done.load(std::sync::atomic::Ordering::Acquire) {
            let answer = server.post("/v1/collections/default/search", json!({ "query": "clock version", "mode": "hybrid" })).ok();
            let hits = answer["hits"].as_array().unwrap();
            // A search that straddles the switch may have ranked the old row: then a second look finds the new one.
            let is_found = !hits.is_empty() || {
                let again = server.post("/v1/collections/default/search", json!({ "query": "clock version" })).ok();
                !again["hits"].as_array().unwrap().is_empty()
            };
            assert!(is_found, "the document is in no version");
            searches += 1;
        }
        searches
    });
    assert!(searches > 10, "{searches}");
}

#[test]
fn a_put_replaces_and_keeps_the_id() {
    let server = Setup::hash().start();
    let put = |text: &str| {
        server.send("PUT", &format!("{DOCUMENTS}/manual?wait=true"), Some(json!({ "text": text }))).ok()["documents"][0].clone()
    };
    let first = put("Turn the brass valve twice.\n\nKeep the lamp dry.");
    let second = put("Turn the iron valve thrice.\n\nKeep the lamp dry.");
    assert_eq!(first["id"], second["id"]);
    assert_eq!((&first["version"], &second["version"]), (&json!(1), &json!(2)));
    let found =
        |query: &str| server.post("/v1/collections/default/search", json!({ "query": query, "mode": "lexical" })).ok()["hits"].clone();
    assert_eq!(found("brass").as_array().unwrap().len(), 0, "the old version is out of search");
    assert_eq!(found("iron")[0]["document_id"], first["id"]);
    assert_eq!(server.get(&format!("{DOCUMENTS}/manual/text")).text(), "Turn the iron valve thrice.\n\nKeep the lamp dry.");
}

#[test]
fn deleting_takes_everything_out() {
    let server = Setup::hash().start();
    server.add_text("default", "gone", "the walrus and the carpenter");
    server.add_text("default", "stays", "the walrus alone");
    let receipt = server.delete(&format!("{DOCUMENTS}/gone")).ok()["receipt"].clone();
    assert_eq!((&receipt["chunks"], &receipt["vectors"]), (&json!(1), &json!(1)));
    assert!(receipt["files"].as_u64().unwrap() >= 1);
    for mode in ["hybrid", "vector", "lexical"] {
        let hits = server.post("/v1/collections/default/search", json!({ "query": "carpenter walrus", "mode": mode })).ok()["hits"].clone();
        assert!(hits.as_array().unwrap().iter().all(|hit| hit["external_id"] == "stays"), "{mode}: {hits}");
    }
    for path in ["", "/text", "/content", "/chunks"] {
        assert_eq!(server.get(&format!("{DOCUMENTS}/gone{path}")).status, 404);
    }
    assert_eq!(server.delete(&format!("{DOCUMENTS}/gone")).status, 404);
    // The same bytes again are a new document.
    let id = server.add_text("default", "gone", "the walrus and the carpenter");
    assert_eq!(server.get(&format!("{DOCUMENTS}/{id}")).ok()["status"], "ready");
}

#[test]
fn every_format_becomes_searchable_text() {
    let server = Setup::hash().start();
    for name in [
        "foghorn.pdf",
        "lamp.docx",
        "tide-gauge.html",
        "signal-mast.md",
        "lights.csv",
        "hoist.json",
        "station-log.jsonl",
        "wujia-lighthouse.md",
    ] {
        let reply = server.upload(&format!("{DOCUMENTS}?wait=true"), &[(name, &fixture(name))], &[]).ok();
        let document = &reply["documents"][0];
        assert_eq!(document["status"], "ready", "{name}: {reply}");
        assert_eq!(server.get(&format!("{DOCUMENTS}/{}/content", document["id"].as_str().unwrap())).bytes, fixture(name), "{name}");
        assert!(document["chunks"].as_u64().unwrap() > 0, "{name}");
    }
}

#[test]
fn what_cannot_be_read_fails_with_its_own_reason() {
    let server = Setup::hash().start();
    let scanned = [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, 0, 0, 0, 13];
    for (name, bytes, code) in [
        ("scan.pdf", fixture("scan.pdf"), "image_only"),
        ("secret.pdf", fixture("encrypted.pdf"), "encrypted"),
        ("photo.png", scanned.to_vec(), "unsupported"),
        ("blank.txt", b" \n\n ".to_vec(), "empty"),
        ("broken.json", b"{\"a\": ".to_vec(), "corrupt"),
        ("broken.pdf", b"%PDF-1.7\nnothing behind this".to_vec(), "corrupt"),
    ] {
        let document = server.upload(&format!("{DOCUMENTS}?wait=true"), &[(name, &bytes)], &[]).ok()["documents"][0].clone();
        assert_eq!((&document["status"], &document["code"]), (&json!("failed"), &json!(code)), "{name}: {document}");
        assert!(document["reason"].as_str().is_some_and(|reason| reason.len() > 10), "{name}: {document}");
        let id = document["id"].as_str().unwrap();
        let again = server.upload(&format!("{DOCUMENTS}?wait=true"), &[(name, &bytes)], &[]).ok()["documents"][0].clone();
        assert_eq!((again["id"].as_str(), &again["duplicate"]), (Some(id), &json!(false)), "a failed document is tried again: {again}");
        assert_ne!(again["job_id"], document["job_id"]);
        assert_eq!(server.delete(&format!("{DOCUMENTS}/{id}")).status, 200);
    }
    let empty = server.upload(DOCUMENTS, &[("empty.txt", b"")], &[]);
    assert_eq!((empty.status, empty.json()["code"].clone()), (400, json!("empty_file")));
}

#[test]
fn bad_uploads_are_refused() {
    let server = Setup::hash().start();
    for (body, code) in [
        (json!({ "name": "x" }), "bad_body"),
        (json!({ "text": "x", "url": "http://example.org" }), "bad_body"),
        (json!({ "url": "http://example.org" }), "url_ingest_disabled"),
        (json!({ "text": "x", "colour": "red" }), "bad_body"),
        (json!({ "text": "x", "metadata": { "deep": { "er": 1 } } }), "bad_body"),
        (json!({ "text": "x", "external_id": "doc_x" }), "bad_name"),
        (json!({ "text": "" }), "empty_file"),
    ] {
        let refused = server.post(DOCUMENTS, body.clone());
        assert_eq!((refused.status, refused.json()["code"].clone()), (400, json!(code)), "{body}: {}", refused.text());
    }
    assert_eq!(server.post("/v1/collections/nowhere/documents", json!({ "text": "x" })).status, 404);
    assert_eq!(server.upload(DOCUMENTS, &[], &[("metadata", "{}")]).json()["code"], "no_file");
    assert_eq!(server.upload(DOCUMENTS, &[("a", b"x")], &[("color", "red")]).json()["code"], "unknown_field");
    assert_eq!(server.upload(DOCUMENTS, &[("a", b"x")], &[("metadata", "{")]).json()["code"], "bad_field");
    let plain = server.request("POST", DOCUMENTS, &[], Some("text/plain"), Some(b"x".to_vec())).unwrap();
    assert_eq!(plain.status, 415, "{}", plain.text());
}

#[test]
fn an_idempotency_key_is_answered_once() {
    let server = Setup::hash().start();
    let send = |text: &str| {
        let body = json!({ "text": text, "name": "n.txt" }).to_string().into_bytes();
        server.request("POST", DOCUMENTS, &[("idempotency-key", "k1")], Some("application/json"), Some(body)).unwrap()
    };
    let (first, second) = (send("one"), send("one"));
    assert_eq!(first.json()["documents"][0]["id"], second.json()["documents"][0]["id"]);
    let other = send("two");
    assert_eq!((other.status, other.json()["code"].clone()), (409, json!("idempotency_conflict")));
    assert_eq!(server.get(DOCUMENTS).ok()["data"].as_array().map(Vec::len), Some(1));
}

#[test]
fn documents_come_back_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let server = Setup::hash().data(directory.path()).start();
    for number in 0..30 {
        server.add_text("default", &format!("d{number}"), &format!("document {number} about topic{number}"));
    }
    let search = json!({ "query": "topic17 document", "top_k": 5 });
    let before = server.post("/v1/collections/default/search", search.clone()).ok()["hits"].clone();
    drop(server.kill());
    let server = Setup::hash().data(directory.path()).start();
    let after = server.post("/v1/collections/default/search", search).ok()["hits"].clone();
    let key =
        |hits: &Value| hits.as_array().unwrap().iter().map(|hit| (hit["chunk_id"].clone(), hit["score"].to_string())).collect::<Vec<_>>();
    assert_eq!(key(&before), key(&after), "the same index gives the same answer");
}
