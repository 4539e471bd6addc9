use crate::support::{Server, Setup};
use serde_json::{Value, json};

const SEARCH: &str = "/v1/collections/default/search";

fn filled() -> Server {
    let server = Setup::hash().start();
    for (id, text, year, lang) in [
        ("fox", "# Fox\n\nThe red fox hunts mice in the evening.", 2001, "en"),
        ("hen", "# Hen\n\nThe hen lays an egg every morning.", 2002, "en"),
        ("owl", "# Owl\n\nThe owl hunts mice at night.", 2003, "en"),
        ("fuchs", "# Fuchs\n\nDer rote Fuchs jagt Mäuse am Abend.", 2003, "de"),
    ] {
        let body = json!({ "text": text, "external_id": id, "name": format!("{id}.md"), "metadata": { "year": year, "lang": lang } });
        server.post("/v1/collections/default/documents?wait=true", body).ok();
    }
    server
}

fn ids(answer: &Value) -> Vec<&str> {
    answer["hits"].as_array().unwrap().iter().map(|hit| hit["external_id"].as_str().unwrap()).collect()
}

#[test]
fn each_mode_finds_and_explains() {
    let server = filled();
    for mode in ["hybrid", "vector", "lexical"] {
        let answer = server.post(SEARCH, json!({ "query": "who hunts mice at night", "mode": mode, "explain": true })).ok();
        assert_eq!(ids(&answer)[0], "owl", "{mode}: {answer}");
        let hit = &answer["hits"][0];
        assert!(hit["chunk_id"].as_str().unwrap().starts_with("chk_") && hit["span"]["byte_end"].as_u64().unwrap() > 0);
        assert_eq!(hit["heading_path"], json!(["Owl"]));
        assert!(answer["trace_id"].as_str().unwrap().starts_with("trc_"));
        assert!(answer["timings_ms"].is_object() && answer["explain"]["allowed_rows"] == 4, "{answer}");
        assert_eq!(hit["explain"]["vector"].is_null(), mode == "lexical", "{answer}");
        assert_eq!(hit["explain"]["lexical"].is_null(), mode == "vector", "{answer}");
    }
}

#[test]
fn filters_hold_in_every_mode() {
    let server = filled();
    let filters = [
        (json!({ "type": "eq", "key": "lang", "value": "de" }), vec!["fuchs"]),
        (json!({ "type": "gte", "key": "year", "value": 2003 }), vec!["fuchs", "owl"]),
        (
            json!({ "type": "and", "filters": [{ "type": "ne", "key": "lang", "value": "de" }, { "type": "lt", "key": "year", "value": 2003 }] }),
            vec!["fox", "hen"],
        ),
        (json!({ "type": "eq", "key": "lang", "value": "fr" }), vec![]),
    ];
    for (filter, expected) in filters {
        for mode in ["hybrid", "vector"] {
            let answer = server.post(SEARCH, json!({ "query": "the animal", "mode": mode, "filter": filter })).ok();
            let mut found = ids(&answer);
            found.sort_unstable();
            assert_eq!(found, expected, "{mode} {filter}");
        }
        let answer = server.post(SEARCH, json!({ "query": "the hunts rote", "mode": "lexical", "filter": filter })).ok();
        assert!(ids(&answer).iter().all(|id| expected.contains(id)), "{answer}");
    }
}

#[test]
fn a_vector_can_be_given_and_is_checked() {
    let server = filled();
    let dimension = server.get("/v1/collections/default").ok()["dimension"].as_u64().unwrap() as usize;
    let answer = server.post(SEARCH, json!({ "vector": vec![1.0; dimension], "mode": "vector" })).ok();
    assert_eq!(answer["hits"].as_array().unwrap().len(), 4);
    for bad in [vec![1.0; dimension + 1], vec![0.0; dimension]] {
        assert_eq!(server.post(SEARCH, json!({ "vector": bad, "mode": "vector" })).status, 400);
    }
}

#[test]
fn neighbours_are_the_chunks_around_a_hit() {
    let server = Setup::hash().config("[chunking]\nmax_tokens = 16\noverlap_tokens = 0\n").start();
    let text = "alpha one two three four five six seven.\n\nbravo one two three four five six seven.\n\ncharlie one two three four five six seven.";
    server.add_text("default", "abc", text);
    let answer = server.post(SEARCH, json!({ "query": "bravo", "mode": "lexical", "neighbours": 1 })).ok();
    let neighbours = &answer["hits"][0]["neighbours"];
    assert!(neighbours["before"][0]["text"].as_str().unwrap().contains("alpha"), "{answer}");
    assert!(neighbours["after"][0]["text"].as_str().unwrap().contains("charlie"), "{answer}");
}

#[test]
fn bad_requests_are_named() {
    let server = filled();
    for bad in [
        json!({}),
        json!({ "query": "" }),
        json!({ "query": "x", "top_k": 0 }),
        json!({ "query": "x", "top_k": 101 }),
        json!({ "query": "x", "mode": "magic" }),
        json!({ "query": "x", "colour": 1 }),
        json!({ "query": "x", "filter": { "type": "like", "key": "a", "value": "b" } }),
        json!({ "query": "x", "filter": { "type": "gt", "key": "a", "value": true } }),
        json!({ "query": "x".repeat(100_000) }),
    ] {
        let refused = server.post(SEARCH, bad.clone());
        assert_eq!(refused.status, 400, "{bad}: {}", refused.text());
        assert!(refused.json()["detail"].as_str().unwrap().len() > 5);
    }
    assert_eq!(server.post("/v1/collections/none/search", json!({ "query": "x" })).status, 404);
}

#[test]
fn the_same_search_gives_the_same_bytes() {
    let server = filled();
    let answer = || server.post(SEARCH, json!({ "query": "mice in the evening" })).ok()["hits"].to_string();
    let first = answer();
    for _ in 0..5 {
        assert_eq!(answer(), first);
    }
}
