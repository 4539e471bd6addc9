use crate::support::{Server, Setup};
use serde_json::json;
use sha2::{Digest, Sha256};

fn key_line(key: &str, tenant: &str, principals: &str) -> String {
    let hash: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("[[auth.keys]]\nsha256 = \"{hash}\"\ntenant = \"{tenant}\"\n{principals}\n")
}

fn server() -> Server {
    let keys = [key_line("key-a", "a", ""), key_line("key-b", "b", ""), key_line("key-ann", "a", "principals = [\"ann\"]")];
    Setup::hash().config(&keys.concat()).start()
}

#[test]
fn without_a_known_key_nothing_opens() {
    let server = server();
    for key in [None, Some("wrong")] {
        let refused = server.view(key).get("/v1/collections");
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")));
    }
    assert_eq!(server.get("/healthz").status, 200, "probes are open");
}

#[test]
fn a_tenant_sees_only_its_own() {
    let server = server().with_key("key-a");
    let id = server.add_text("default", "plan", "the plan of tenant a");
    let b = server.view(Some("key-b"));
    assert_eq!(b.get("/v1/collections").ok()["data"], json!([]));
    b.add_text("default", "other", "the plan of tenant b");
    for path in [format!("/v1/collections/default/documents/{id}"), "/v1/collections/default/documents/plan".into()] {
        let foreign = b.get(&path);
        let missing = b.get("/v1/collections/default/documents/never-was");
        assert_eq!((foreign.status, foreign.json()["code"].clone()), (missing.status, missing.json()["code"].clone()), "alike");
    }
    let hits = b.post("/v1/collections/default/search", json!({ "query": "the plan of tenant a" })).ok()["hits"].clone();
    assert!(hits.as_array().unwrap().iter().all(|hit| hit["external_id"] == "other"), "{hits}");
}

#[test]
fn an_acl_gates_every_way_to_read() {
    let server = server().with_key("key-a");
    let documents = "/v1/collections/default/documents?wait=true";
    for (name, acl) in [("open", json!([])), ("anns", json!(["ann"])), ("bobs", json!(["bob"]))] {
        server.post(documents, json!({ "text": format!("minutes of {name}"), "external_id": name, "acl": acl })).ok();
    }
    let ann = server.view(Some("key-ann"));
    let names = |server: &Server| {
        let listed = server.get("/v1/collections/default/documents").ok()["data"].clone();
        listed.as_array().unwrap().iter().map(|document| document["external_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&server), ["open", "anns", "bobs"]);
    assert_eq!(names(&ann), ["open", "anns"]);
    for path in ["", "/text", "/content", "/chunks"] {
        assert_eq!(ann.get(&format!("/v1/collections/default/documents/bobs{path}")).status, 404);
    }
    assert_eq!(ann.delete("/v1/collections/default/documents/bobs").status, 404);
    // Nor can what may not be read be replaced, or opened by sending it again.
    for body in
        [json!({ "text": "minutes of bobs", "external_id": "bobs" }), json!({ "text": "other minutes", "external_id": "bobs", "acl": [] })]
    {
        let refused = ann.post(documents, body);
        assert_eq!((refused.status, refused.json()["code"].clone()), (403, json!("forbidden")), "{}", refused.text());
    }
    for mode in ["hybrid", "vector", "lexical"] {
        let hits = ann.post("/v1/collections/default/search", json!({ "query": "minutes of bobs", "mode": mode })).ok()["hits"].clone();
        assert!(hits.as_array().unwrap().iter().all(|hit| hit["external_id"] != "bobs"), "{mode}: {hits}");
    }
    let answer = ann.post("/v1/collections/default/query", json!({ "question": "what are the minutes of bobs?" })).ok();
    assert!(!answer["sources"].to_string().contains("minutes of bobs"), "{answer}");
}
