use super::scopes::{key_line, operations};
use crate::support::{Reply, Server, Setup, eventually};
use serde_json::{Value, json};
use std::collections::HashMap;

fn server() -> Server {
    let keys = [
        key_line("key-a", "a", ""),
        key_line("key-b", "b", ""),
        key_line("key-ann", "a", "principals = [\"ann\"]"),
        key_line("key-open", "a", "collections = [\"open\"]"),
    ];
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

/// What names one thing in each place of a path.
type Places = HashMap<&'static str, String>;

/// Status and body, without what may differ: the names asked for, this request's ids, fresh ids and times.
fn told(reply: &Reply, asked: &Places) -> (u16, String) {
    let Ok(mut body) = serde_json::from_slice::<Value>(&reply.bytes) else { return (reply.status, reply.text()) };
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|name, _| !["trace_id", "request_id"].contains(&name.as_str()));
    }
    (reply.status, asked.values().fold(body.to_string(), |text, name| text.replace(name.as_str(), "NAME")))
}

fn ask(server: &Server, method: &str, path: &str, places: &Places) -> (u16, String) {
    let filled = places.iter().fold(path.to_owned(), |path, (place, name)| path.replace(&format!("{{{place}}}"), name));
    let body = match (method, path.rsplit('/').next().unwrap()) {
        ("POST", "search") => Some(json!({ "query": "the plan" })),
        ("POST", "query") => Some(json!({ "question": "what is the plan?" })),
        ("POST" | "PUT", _) => Some(json!({ "text": "the plan" })),
        ("PATCH", _) => Some(json!({ "metadata": { "a": 1 } })),
        _ => None,
    };
    told(&server.send(method, &filled, body), places)
}

/// Asks every route for something by names that this key must not find and by names that nobody has:
/// the answers are the same. `varied` are the places whose names are looked at.
fn assert_alike(server: &Server, hidden: &Places, unknown: &Places, varied: &[&str]) {
    let mut count = 0;
    for (path, method, _) in operations() {
        if !varied.iter().any(|place| path.contains(&format!("{{{place}}}"))) {
            continue;
        }
        count += 1;
        let (one, other) = (ask(server, &method, &path, hidden), ask(server, &method, &path, unknown));
        assert_eq!(one, other, "{method} {path} of {hidden:?}");
        assert!((400..500).contains(&one.0), "{method} {path} was answered: {one:?}");
    }
    assert!(count > 0, "no route has any of {varied:?}");
}

/// The same kind of id, of nothing.
fn unknown(id: &str) -> String {
    let (kind, _) = id.split_once('_').unwrap();
    format!("{kind}_01jzzzzzzzzzzzzzzzzzzzzzzz")
}

fn places(pairs: &[(&'static str, &str)]) -> Places {
    pairs.iter().map(|(place, name)| (*place, (*name).to_owned())).collect()
}

/// A document of its own in a collection, with the ids of everything around it.
fn plan(server: &Server, collection: &str, name: &str, acl: Value) -> Places {
    server.post("/v1/collections", json!({ "name": collection }));
    let body = json!({ "text": format!("the plan of {name} is secret"), "external_id": name, "acl": acl });
    let made = server.post(&format!("/v1/collections/{collection}/documents?wait=true"), body).ok()["documents"][0].clone();
    let benchmark = server.post("/v1/benchmarks", json!({ "collection": collection, "sample": 1, "ef": [] })).ok()["id"].clone();
    eventually(|| server.get(&format!("/v1/benchmarks/{}", benchmark.as_str().unwrap())).ok()["status"] != "running");
    let case = json!({ "question": "what is the plan?", "relevant": { name: 1 } });
    let evaluation =
        server.post("/v1/evaluations", json!({ "collection": collection, "kind": "retrieval", "cases": [case] })).ok()["id"].clone();
    eventually(|| server.get(&format!("/v1/evaluations/{}", evaluation.as_str().unwrap())).ok()["status"] != "running");
    let key = server.post("/v1/keys", json!({ "name": "k", "scopes": ["query"] })).ok()["id"].clone();
    let ids = [
        ("collection", &made["collection_id"]),
        ("document", &made["id"]),
        ("job", &made["job_id"]),
        ("benchmark", &benchmark),
        ("evaluation", &evaluation),
        ("other", &evaluation),
        ("key", &key),
    ];
    ids.map(|(place, id)| (place, id.as_str().unwrap().to_owned())).into()
}

#[test]
fn a_foreign_id_and_a_missing_one_answer_alike_on_every_route() {
    let server = server().with_key("key-a");
    let foreign = plan(&server, "plans", "alpha", json!([]));
    let b = server.view(Some("key-b"));
    b.add_text("default", "own", "the plan of tenant b");
    let missing: Places = foreign.iter().map(|(place, id)| (*place, unknown(id))).collect();
    let all = ["collection", "document", "job", "benchmark", "evaluation", "key"];
    assert_alike(&b, &foreign, &missing, &all);
    // By name, and a foreign document in a collection of one's own.
    assert_alike(
        &b,
        &places(&[("collection", "plans"), ("document", "alpha")]),
        &places(&[("collection", "never"), ("document", "no-one")]),
        &["collection"],
    );
    let own = |document: &str| places(&[("collection", "default"), ("document", document)]);
    assert_alike(&b, &own(&foreign["document"]), &own(&missing["document"]), &["document"]);
    assert_eq!(b.get("/v1/keys").ok()["data"], json!([]));
    assert_eq!(server.get("/v1/collections/plans").ok()["stats"]["documents"], 1, "nothing was touched");
}

#[test]
fn a_collection_outside_of_a_key_is_as_if_it_never_was() {
    let server = server().with_key("key-a");
    let hidden = plan(&server, "plans", "alpha", json!([]));
    let open = plan(&server, "open", "beta", json!([]));
    let bounded = server.view(Some("key-open"));
    let missing: Places = hidden.iter().map(|(place, id)| (*place, unknown(id))).collect();
    assert_alike(&bounded, &hidden, &missing, &["collection", "document", "job", "benchmark", "evaluation"]);
    assert_alike(
        &bounded,
        &places(&[("collection", "plans"), ("document", "alpha")]),
        &places(&[("collection", "never"), ("document", "no-one")]),
        &["collection"],
    );
    let listed = bounded.get("/v1/collections?limit=1").ok();
    assert_eq!(
        (&listed["data"][0]["name"], listed["data"].as_array().unwrap().len(), &listed["next_cursor"]),
        (&json!("open"), 1, &Value::Null)
    );
    // What is within works by id and by name.
    for name in ["open", &open["collection"]] {
        assert_eq!(
            bounded.post(&format!("/v1/collections/{name}/search"), json!({ "query": "plan" })).ok()["hits"][0]["external_id"],
            "beta"
        );
    }
    assert_eq!(bounded.get(&format!("/v1/jobs/{}", open["job"])).status, 200);
    assert_eq!(bounded.get(&format!("/v1/benchmarks/{}", open["benchmark"])).status, 200);
    // A name outside is refused before anybody looks whether it is taken; `default` is not made by a side door.
    for name in ["plans", "free"] {
        let refused = bounded.post("/v1/collections", json!({ "name": name }));
        assert_eq!((refused.status, refused.json()["code"].clone()), (403, json!("forbidden_scope")), "{name}");
        let renamed = bounded.send("PATCH", "/v1/collections/open", Some(json!({ "name": name })));
        assert_eq!((renamed.status, renamed.json()["code"].clone()), (403, json!("forbidden_scope")), "{name}");
    }
    assert_eq!(bounded.post("/v1/collections/default/documents", json!({ "text": "x" })).status, 404);
}

#[test]
fn what_an_acl_hides_is_as_if_it_never_was() {
    let server = server().with_key("key-a");
    let bobs = plan(&server, "default", "bobs", json!(["bob"]));
    let ann = server.view(Some("key-ann"));
    let missing: Places = bobs.iter().map(|(place, id)| (*place, unknown(id))).collect();
    let within = |ids: &Places| places(&[("collection", "default"), ("document", &ids["document"])]);
    assert_alike(&ann, &within(&bobs), &within(&missing), &["document"]);
    assert_alike(&ann, &bobs, &missing, &["job", "benchmark", "evaluation"]);
    // An open document's job is anybody's, and ends where the document does.
    let id = server.add_text("default", "open", "an open text");
    let job = server.get(&format!("/v1/collections/default/documents/{id}")).ok()["job_id"].as_str().unwrap().to_owned();
    let path = format!("/v1/jobs/{job}");
    assert_eq!((ann.get(&path).status, ann.get(&format!("{path}/events")).status), (200, 200));
    server.delete(&format!("/v1/collections/default/documents/{id}")).ok();
    assert_eq!((ann.get(&path).status, server.get(&path).status), (404, 200));
}

#[test]
fn lists_and_counts_tell_nothing_of_what_an_acl_hides() {
    let server = server().with_key("key-a");
    for number in 0..9 {
        let acl = if number % 3 == 0 { json!([]) } else { json!(["bob"]) };
        let body = json!({ "text": format!("minutes number {number}"), "external_id": format!("m{number}"), "acl": acl });
        server.post("/v1/collections/default/documents?wait=true", body).ok();
    }
    let ann = server.view(Some("key-ann"));
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = ann.get(&format!("/v1/collections/default/documents?limit=2{cursor}")).ok();
        let ids: Vec<Value> = page["data"].as_array().unwrap().iter().map(|document| document["id"].clone()).collect();
        seen.extend(page["data"].as_array().unwrap().iter().map(|document| document["external_id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        assert_eq!((ids.len(), ids.last()), (2, Some(&json!(next))), "a full page, and a cursor that is its own");
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, ["m0", "m3", "m6"]);
    let collection = ann.get("/v1/collections/default").ok();
    assert!(collection.get("stats").is_none(), "{collection}");
    assert!(ann.get("/v1/collections").ok()["data"][0].get("stats").is_none());
    assert_eq!(ann.get("/v1/quotas").ok()["documents"]["used"], Value::Null);
    let found = ann.post("/v1/collections/default/search", json!({ "query": "minutes number", "top_k": 100, "explain": true })).ok();
    assert_eq!((found["hits"].as_array().unwrap().len(), &found["explain"]["allowed_rows"]), (3, &json!(3)), "{found}");
}

#[test]
fn a_key_of_another_caller_is_another_idempotency_key() {
    let server = server().with_key("key-a");
    let send = |server: &Server| {
        let body = json!({ "text": "minutes", "external_id": "bobs", "acl": ["bob"] }).to_string().into_bytes();
        let headers = [("idempotency-key", "once")];
        server.request("POST", "/v1/collections/default/documents", &headers, Some("application/json"), Some(body)).unwrap()
    };
    let (first, again) = (send(&server), send(&server));
    assert_eq!(first.json()["documents"][0]["id"], again.json()["documents"][0]["id"]);
    let guessed = send(&server.view(Some("key-ann")));
    assert_eq!((guessed.status, guessed.json()["code"].clone()), (403, json!("forbidden")), "{}", guessed.text());
}

#[test]
fn the_same_request_begins_one_benchmark() {
    let server = server().with_key("key-a");
    server.add_text("default", "one", "a text to measure");
    let send = |server: &Server, k: usize| {
        let body = json!({ "collection": "default", "k": k, "sample": 1, "ef": [] }).to_string().into_bytes();
        server.request("POST", "/v1/benchmarks", &[("idempotency-key", "once")], Some("application/json"), Some(body)).unwrap()
    };
    let first = send(&server, 1).ok();
    assert_eq!(send(&server, 1).ok()["id"], first["id"]);
    assert_eq!(send(&server, 2).json()["code"], "idempotency_conflict");
    assert_ne!(send(&server.view(Some("key-ann")), 1).ok()["id"], first["id"]);
}
