use crate::support::{Server, Setup, eventually};
use serde_json::{Value, json};
use std::path::Path;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const OPERATOR: &str = "the-operators-own-key";

fn setup() -> Setup {
    Setup::hash().environment("RAGSTONE_API_KEY", OPERATOR)
}

fn make(server: &Server, body: Value) -> (String, String) {
    let made = server.post("/v1/keys", body);
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    (made["id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned())
}

fn names(server: &Server) -> Vec<String> {
    let listed = server.get("/v1/keys").ok()["data"].clone();
    listed.as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect()
}

fn holds(folder: &Path, text: &str) -> bool {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_in = |path: &Path| std::fs::read(path).unwrap().windows(text.len()).any(|window| window == text.as_bytes());
    entries.into_iter().any(|path| if path.is_dir() { holds(&path, text) } else { is_in(&path) })
}

#[test]
fn a_key_is_shown_once_and_kept_as_a_hash() {
    let server = setup().start().with_key(OPERATOR);
    let (id, key) = make(&server, json!({ "name": "reader", "scopes": ["query"], "principals": ["ann"] }));
    assert!(id.starts_with("key_") && key.starts_with("rag_") && key.len() == 4 + 64, "{id} {key}");
    let one = server.get(&format!("/v1/keys/{id}"));
    let list = server.get("/v1/keys");
    for reply in [&one, &list] {
        assert!(!reply.text().contains(&key) && !reply.text().contains("sha256"), "{}", reply.text());
    }
    let expected = json!({
        "name": "reader", "tenant": "default", "scopes": ["query"], "collections": null, "principals": ["ann"], "expires_at": null,
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&one.json()[field], value, "{field}");
    }
    assert_eq!(server.view(Some(&key)).get("/v1/collections").status, 200);
    let data = server.data.clone();
    let _folder = server.kill();
    assert!(!holds(&data, &key[4..]), "the key's plaintext is on disk");
}

#[test]
fn what_was_made_and_revoked_outlives_a_kill() {
    let server = setup().start().with_key(OPERATOR);
    let (_, kept) = make(&server, json!({ "name": "kept", "scopes": ["query"] }));
    let (revoked_id, revoked) = make(&server, json!({ "name": "revoked", "scopes": ["query"] }));
    assert_eq!(server.view(Some(&revoked)).get("/v1/collections").status, 200);
    assert_eq!(server.delete(&format!("/v1/keys/{revoked_id}")).ok()["deleted"], true);
    assert_eq!(server.view(Some(&revoked)).get("/v1/collections").status, 401, "at once");
    assert_eq!(server.delete(&format!("/v1/keys/{revoked_id}")).status, 404);
    let data = server.data.clone();
    let _folder = server.kill();
    let server = setup().data(&data).start().with_key(OPERATOR);
    assert_eq!(server.view(Some(&kept)).get("/v1/collections").status, 200);
    assert_eq!(server.view(Some(&revoked)).get("/v1/collections").status, 401);
    assert_eq!(names(&server), ["kept"]);
}

#[test]
fn a_key_ends_with_its_time() {
    let server = setup().start().with_key(OPERATOR);
    let at = |seconds| (OffsetDateTime::now_utc() + time::Duration::seconds(seconds)).format(&Rfc3339).unwrap();
    let (_, key) = make(&server, json!({ "name": "short", "scopes": ["query"], "expires_at": at(2) }));
    eventually(|| server.view(Some(&key)).get("/v1/collections").status == 401);
    for bad in [at(-10), "tomorrow".into()] {
        let refused = server.post("/v1/keys", json!({ "name": "late", "scopes": ["query"], "expires_at": bad }));
        assert_eq!((refused.status, refused.json()["code"].clone()), (400, json!("bad_key")));
    }
}

#[test]
fn the_same_request_makes_one_key() {
    let server = setup().start().with_key(OPERATOR);
    let send = |name: &str| {
        let body = json!({ "name": name, "scopes": ["query"] }).to_string().into_bytes();
        server.request("POST", "/v1/keys", &[("idempotency-key", "once")], Some("application/json"), Some(body)).unwrap()
    };
    let (first, again) = (send("one"), send("one"));
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!((&first.json()["id"], &again.json()["key"]), (&again.json()["id"], &Value::Null));
    assert_eq!((names(&server), send("two").status), (vec!["one".to_owned()], 409));
    // Another key's idempotency keys are its own.
    let (_, admin) = make(&server, json!({ "name": "admin", "scopes": ["admin"] }));
    let body = json!({ "name": "one", "scopes": ["query"] }).to_string().into_bytes();
    let other = server.view(Some(&admin));
    let made = other.request("POST", "/v1/keys", &[("idempotency-key", "once")], Some("application/json"), Some(body)).unwrap();
    assert_eq!(made.status, 201);
}

#[test]
fn an_admin_manages_its_own_tenant_and_nothing_wider_than_itself() {
    let server = setup().start().with_key(OPERATOR);
    let (whole_id, whole) = make(&server, json!({ "name": "whole a", "tenant": "a", "scopes": ["admin"] }));
    let (foreign_id, _) = make(&server, json!({ "name": "whole b", "tenant": "b", "scopes": ["admin"] }));
    assert_eq!(names(&server), ["whole a", "whole b"], "an operator sees every tenant's");
    let whole = server.view(Some(&whole));
    let body = json!({ "name": "part", "scopes": ["admin", "query"], "collections": ["x", "y"], "principals": ["ann"] });
    let (part_id, part) = make(&whole, body);
    let part = server.view(Some(&part));
    assert_eq!((names(&whole), names(&part)), (vec!["whole a".to_owned(), "part".to_owned()], vec!["part".to_owned()]));
    let (inner_id, _) = make(&part, json!({ "name": "inner", "scopes": ["query"], "collections": ["x"] }));
    let inner = whole.get(&format!("/v1/keys/{inner_id}")).ok();
    assert_eq!((&inner["tenant"], &inner["principals"]), (&json!("a"), &json!(["ann"])), "what is left out is as wide as the maker");
    for (maker, body) in [
        (&whole, json!({ "name": "n", "scopes": ["query"], "tenant": "b" })),
        (&part, json!({ "name": "n", "scopes": ["query"], "collections": ["x", "z"] })),
        (&part, json!({ "name": "n", "scopes": ["query"], "principals": ["bob"] })),
    ] {
        let refused = maker.post("/v1/keys", body.clone());
        assert_eq!((refused.status, refused.json()["code"].clone()), (403, json!("forbidden_scope")), "{body}");
    }
    for (asker, id) in [(&whole, &foreign_id), (&part, &whole_id)] {
        let path = format!("/v1/keys/{id}");
        assert_eq!((asker.get(&path).status, asker.delete(&path).status), (404, 404));
    }
    assert_eq!(whole.delete(&format!("/v1/keys/{part_id}")).status, 200);
    assert_eq!(part.get("/v1/keys").status, 401);
}

#[test]
fn what_makes_no_key_is_refused() {
    let server = setup().start().with_key(OPERATOR);
    let many: Vec<String> = (0..101).map(|number| format!("c{number}")).collect();
    for (body, code) in [
        (json!({ "name": "n" }), "bad_body"),
        (json!({ "name": "n", "scopes": ["root"] }), "bad_body"),
        (json!({ "name": "n", "scopes": ["query"], "operator": true }), "bad_body"),
        (json!({ "name": "n", "scopes": ["query"], "tenant": "A/b" }), "bad_body"),
        (json!({ "name": "n", "scopes": [] }), "bad_key"),
        (json!({ "name": "", "scopes": ["query"] }), "bad_key"),
        (json!({ "name": "n\n", "scopes": ["query"] }), "bad_key"),
        (json!({ "name": "n", "scopes": ["query"], "collections": [""] }), "bad_key"),
        (json!({ "name": "n", "scopes": ["query"], "principals": many }), "bad_key"),
    ] {
        let refused = server.post("/v1/keys", body.clone());
        assert_eq!((refused.status, refused.json()["code"].clone()), (400, json!(code)), "{body}: {}", refused.text());
    }
    assert!(names(&server).is_empty());
}

#[test]
fn lists_of_keys_come_in_pages() {
    let server = setup().start().with_key(OPERATOR);
    for number in 0..3 {
        make(&server, json!({ "name": format!("k{number}"), "scopes": ["query"] }));
    }
    let first = server.get("/v1/keys?limit=2").ok();
    let second = server.get(&format!("/v1/keys?limit=2&cursor={}", first["next_cursor"].as_str().unwrap())).ok();
    assert_eq!(
        (first["data"].as_array().unwrap().len(), &second["data"][0]["name"], &second["next_cursor"]),
        (2, &json!("k2"), &Value::Null)
    );
}

#[test]
fn a_server_without_configured_keys_stays_open_and_knows_its_stored_keys() {
    let server = Setup::hash().start();
    let (id, key) = make(&server, json!({ "name": "reader", "scopes": ["query"] }));
    let reader = server.view(Some(&key));
    assert_eq!(reader.post("/v1/collections", json!({ "name": "c" })).json()["code"], "forbidden_scope");
    assert_eq!(server.view(Some("sk-anything")).post("/v1/collections", json!({ "name": "c" })).status, 201);
    server.delete(&format!("/v1/keys/{id}")).ok();
    assert_eq!(reader.get("/v1/collections").status, 401, "revoked is not anybody");
}

#[test]
fn a_stream_ends_with_its_key() {
    let server = setup().config("[ingest]\nworkers = 1\n").start().with_key(OPERATOR);
    let text: String = (0..40_000).map(|n| format!("Sentence number {n} of the long report.\n\n")).collect();
    let upload = |number: usize| server.post("/v1/collections/default/documents", json!({ "text": format!("{number} {text}") })).ok();
    let jobs: Vec<_> = (0..3).map(|number| upload(number)["documents"][0]["job_id"].as_str().unwrap().to_owned()).collect();
    let (id, key) = make(&server, json!({ "name": "listener", "scopes": ["query"] }));
    let listener = std::thread::spawn({
        let (view, job) = (server.view(Some(&key)), jobs[2].clone());
        move || view.get(&format!("/v1/jobs/{job}/events")).text()
    });
    eventually(|| server.get("/metrics").text().contains("ragstone_streams_free 511"));
    assert_eq!(server.delete(&format!("/v1/keys/{id}")).status, 200);
    let heard = listener.join().unwrap();
    assert!(heard.contains("event: progress") && heard.contains("\"unauthorized\"") && !heard.contains("event: done"), "{heard}");
}
