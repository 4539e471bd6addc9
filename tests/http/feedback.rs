//! What people say of answers: durable, one a key, and cases for an evaluation.

use super::scopes::key_line;
use crate::support::{Server, Setup};
use serde_json::{Value, json};

const QUERY: &str = "/v1/collections/default/query";

fn ask(server: &Server, question: &str) -> String {
    server.post(QUERY, json!({ "question": question })).ok()["trace_id"].as_str().unwrap().to_owned()
}

fn cases(server: &Server) -> Vec<Value> {
    let lines = server.get("/v1/feedback/cases?collection=default");
    assert_eq!((lines.status, lines.header("content-type")), (200, Some("application/x-ndjson")), "{}", lines.text());
    lines.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn feedback_is_durable_one_a_key_and_stands_in_the_trace() {
    let server = Setup::hash().start();
    server.add_text("default", "lamp", "The lamp of the lighthouse is filled with colza oil every evening.");
    let trace = ask(&server, "What is the lamp filled with?");
    let say = |body: Value| server.post("/v1/feedback", body);
    say(json!({ "trace_id": trace, "useful": true })).ok();
    let second = say(json!({ "trace_id": trace, "useful": false, "comment": "too short" })).ok();
    assert_eq!((&second["of_trace"], &second["useful"]), (&json!(trace), &json!(false)), "{second}");
    let listed = server.get("/v1/feedback").ok();
    assert_eq!(listed["counts"], json!({ "useful": 0, "not_useful": 1 }), "{listed}");
    assert_eq!(listed["data"].as_array().unwrap().len(), 1, "the second takes the place of the first");
    let seen = server.get(&format!("/v1/traces/{trace}")).ok();
    assert_eq!((&seen["feedback"][0]["comment"], seen["feedback"].as_array().unwrap().len()), (&json!("too short"), 1));
    assert_eq!(server.get("/v1/traces?feedback=false").ok()["data"].as_array().unwrap().len(), 1);
    assert_eq!(server.get("/v1/traces?feedback=true").ok()["data"], json!([]));
    for (body, status) in [
        (json!({ "trace_id": "trc_01jzzzzzzzzzzzzzzzzzzzzzzz", "useful": true }), 404),
        (json!({ "trace_id": "x", "useful": true }), 404),
        (json!({ "trace_id": trace }), 400),
        (json!({ "trace_id": trace, "useful": true, "stars": 5 }), 400),
        (json!({ "trace_id": trace, "useful": true, "comment": "x".repeat(8193) }), 400),
    ] {
        assert_eq!(say(body.clone()).status, status, "{body}");
    }
    // Acknowledged means durable; the trace may be lost.
    let folder = server.kill();
    let server = Setup::hash().data(&folder.as_ref().unwrap().path().join("data")).start();
    assert_eq!(server.get("/v1/feedback").ok()["data"][0]["comment"], "too short");
}

#[test]
fn feedback_becomes_cases_without_keeping_a_documents_text() {
    let server = Setup::hash().start();
    let lamp = server.add_text("default", "lamp", "The lamp of the lighthouse is filled with colza oil every evening.");
    let (good, bad) = (ask(&server, "What is the lamp of the lighthouse filled with?"), ask(&server, "Who fills the lamp?"));
    let none = ask(&server, "Which enzyme splits lactose?");
    let say = |body: Value| server.post("/v1/feedback", body).ok();
    say(json!({ "trace_id": good, "useful": true }));
    say(json!({ "trace_id": bad, "useful": false, "expected": "The keeper." }));
    say(json!({ "trace_id": none, "useful": true }));
    let found = cases(&server);
    assert_eq!(found.len(), 3, "{found:?}");
    let of = |question: &str| found.iter().find(|case| case["question"] == question).unwrap();
    assert!(of("What is the lamp of the lighthouse filled with?")["evidence"][0].as_str().unwrap().contains("colza oil"), "{found:?}");
    assert_eq!(of("Who fills the lamp?")["expected"], "The keeper.");
    assert_eq!(of("Which enzyme splits lactose?")["answerable"], false);
    server.delete(&format!("/v1/collections/default/documents/{lamp}")).ok();
    let left = serde_json::to_string(&cases(&server)).unwrap();
    assert!(!left.contains("colza") && left.contains("The keeper."), "{left}");
    let deleted = server.delete("/v1/collections/default").ok();
    assert_eq!(server.get("/v1/feedback").ok()["data"], json!([]));
    let verified = server.get(&format!("/v1/deletions/{}/verify", deleted["receipt"]["id"].as_str().unwrap())).ok();
    assert_eq!(verified["verified"], true, "{verified}");
}

#[test]
fn feedback_is_its_keys_and_its_tenants() {
    let keys = [
        key_line("key-ann", "a", "scopes = [\"query\", \"ingest\", \"admin\"]\nprincipals = [\"ann\"]"),
        key_line("key-bob", "a", "scopes = [\"query\"]"),
        key_line("key-admin", "a", "scopes = [\"query\", \"admin\"]"),
        key_line("key-other", "b", ""),
    ];
    let server = Setup::hash().config(&keys.concat()).start().with_key("key-ann");
    server.add_text("default", "lamp", "The lamp of the lighthouse is filled with colza oil every evening.");
    let trace = ask(&server, "What is the lamp filled with?");
    let say = |key: &str| server.view(Some(key)).post("/v1/feedback", json!({ "trace_id": trace, "useful": true })).status;
    assert_eq!((say("key-bob"), say("key-other"), say("key-ann"), say("key-admin")), (404, 404, 200, 200));
    let count = |key: &str| server.view(Some(key)).get("/v1/feedback").ok()["data"].as_array().unwrap().len();
    assert_eq!((count("key-ann"), count("key-admin"), count("key-bob"), count("key-other")), (1, 2, 0, 0));
}
