use crate::support::Setup;
use serde_json::json;

#[test]
fn a_collection_is_made_listed_changed_and_deleted() {
    let server = Setup::hash().start();
    let made = server.post("/v1/collections", json!({ "name": "notes", "chunking": { "max_tokens": 64 }, "metadata": { "team": "a" } }));
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    assert!(made["id"].as_str().unwrap().starts_with("col_") && made["trace_id"].as_str().unwrap().starts_with("trc_"));
    assert_eq!((&made["chunking"]["max_tokens"], &made["stats"]["documents"]), (&json!(64), &json!(0)));
    let by_name = server.get("/v1/collections/notes").ok();
    assert_eq!(by_name["id"], made["id"]);
    assert_eq!(by_name["stats"]["vector"]["unreachable"], 0);
    assert_eq!(server.get(&format!("/v1/collections/{}", made["id"].as_str().unwrap())).ok()["name"], "notes");

    let changed = server.send("PATCH", "/v1/collections/notes", Some(json!({ "name": "memos", "metadata": { "team": "b" } }))).ok();
    assert_eq!((&changed["name"], &changed["metadata"]["team"]), (&json!("memos"), &json!("b")));
    assert_eq!(server.get("/v1/collections/notes").status, 404);

    server.add_text("memos", "one", "a text in the collection");
    assert_eq!(server.delete("/v1/collections/memos").ok()["deleted"], true);
    assert_eq!(server.get("/v1/collections/memos").status, 404);
    assert_eq!(server.get("/v1/collections").ok()["data"], json!([]));
    let left: Vec<_> = walk(&server.data.join("blobs"));
    assert!(left.is_empty(), "files of the deleted collection are left: {left:?}");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn names_are_unique_and_plain_and_settings_are_checked() {
    let server = Setup::hash().start();
    assert_eq!(server.post("/v1/collections", json!({ "name": "a" })).status, 201);
    let taken = server.post("/v1/collections", json!({ "name": "a" }));
    assert_eq!((taken.status, taken.json()["code"].clone()), (409, json!("name_taken")));
    for (body, code) in [
        (json!({ "name": "" }), "bad_name"),
        (json!({ "name": "a/b" }), "bad_name"),
        (json!({ "name": "col_x" }), "bad_name"),
        (json!({ "name": "x", "colour": 1 }), "bad_body"),
        (json!({ "name": "x", "chunking": { "max_tokens": 2 } }), "bad_chunking"),
        (json!({ "name": "x", "chunking": { "max_tokens": 64, "overlap_tokens": 60 } }), "bad_chunking"),
        (json!({ "name": "x", "embedding_model": "other" }), "unknown_model"),
    ] {
        let refused = server.post("/v1/collections", body.clone());
        assert_eq!((refused.status, refused.json()["code"].clone()), (400, json!(code)), "{body}: {}", refused.text());
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
        assert!(refused.json()["request_id"].is_string());
    }
}

#[test]
fn lists_come_in_pages() {
    let server = Setup::hash().start();
    for number in 0..5 {
        server.post("/v1/collections", json!({ "name": format!("c{number}") })).ok();
    }
    let first = server.get("/v1/collections?limit=2").ok();
    let second = server.get(&format!("/v1/collections?limit=2&cursor={}", first["next_cursor"].as_str().unwrap())).ok();
    let third = server.get(&format!("/v1/collections?limit=2&cursor={}", second["next_cursor"].as_str().unwrap())).ok();
    let names: Vec<_> =
        [&first, &second, &third].iter().flat_map(|page| page["data"].as_array().unwrap()).map(|c| c["name"].clone()).collect();
    assert_eq!(names, ["c0", "c1", "c2", "c3", "c4"]);
    assert!(third["next_cursor"].is_null());
    assert_eq!(server.get("/v1/collections?limit=0").status, 400);
    assert_eq!(server.get("/v1/collections?cursor=x").status, 400);
    assert_eq!(server.get("/v1/collections?page=2").status, 400);
}
