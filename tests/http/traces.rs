//! What is remembered of questions: by whom it is seen, what is in it, and that deleting a document takes it along.

use super::scopes::key_line;
use crate::support::{Server, Setup};
use mock::{Mock, Script};
use serde_json::{Value, json};

const QUERY: &str = "/v1/collections/default/query";

fn ask(server: &Server, question: &str) -> Value {
    server.post(QUERY, json!({ "question": question })).ok()
}

fn trace_of(server: &Server, answer: &Value) -> Value {
    server.get(&format!("/v1/traces/{}", answer["trace_id"].as_str().unwrap())).ok()
}

fn llm(mock: &Mock) -> String {
    format!("[llm]\nbase_url = \"{}/v1\"\nmodel = \"small\"\n", mock.url())
}

const LAMP: &str = "The lamp of the lighthouse is filled with colza oil every evening.";
const HORN: &str = "The fog horn sounds every thirty seconds in thick weather.";

#[test]
fn a_query_leaves_its_steps() {
    let mock = Mock::start_on_thread(Script::default());
    let server = Setup::hash().config(&llm(&mock)).start();
    server.add_text("default", "lamp", LAMP);
    server.add_text("default", "horn", HORN);
    let body = json!({ "question": "What is the lamp filled with?", "top_k": 3, "tags": ["team"] });
    let answer = server.post(QUERY, body.clone()).ok();
    assert!(answer["sources"][0].get("explain").is_none(), "explained only where asked for: {answer}");
    let trace = trace_of(&server, &answer);
    assert_eq!((&trace["id"], &trace["kind"]), (&answer["trace_id"], &json!("query")), "{trace}");
    assert_eq!((&trace["question"], &trace["model"], &trace["mode"]), (&body["question"], &json!("small"), &json!("generated")));
    assert_eq!((&trace["settings"]["top_k"], &trace["settings"]["tags"]), (&json!(3), &json!(["team"])));
    let first = &trace["candidates"][0];
    assert_eq!(first["chunk_id"], answer["sources"][0]["chunk_id"], "{trace}");
    assert_eq!(first["explain"]["lexical"]["rank"], 1, "{first}");
    assert_eq!(trace["context"]["tokens"], answer["context_length"]);
    assert_eq!(trace["context"]["packed"][0]["span"], answer["sources"][0]["span"]);
    assert_eq!((trace["prompt"]["sha256"].as_str().unwrap().len(), trace["prompt"]["version"].is_u64()), (64, true));
    for field in ["answer", "citations", "usage", "cost_usd", "cache", "timings_ms", "route"] {
        assert_eq!(trace["answer"][field], answer[field], "{field}");
    }
    assert!(trace["answer"]["sources"][0].get("text").is_none(), "chunks are named, not copied: {trace}");
    assert!(!trace.to_string().contains("filled with colza oil every evening.\""), "{trace}");
    // The second one comes from the cache, and has a trace of its own.
    let again = server.post(QUERY, body).ok();
    let cached = trace_of(&server, &again);
    assert_eq!((&cached["cached"], &cached["candidates"]), (&json!(true), &json!([])), "{cached}");
    assert_ne!(cached["id"], trace["id"]);
}

#[test]
fn traces_are_listed_from_the_newest_on_and_filtered() {
    let server = Setup::hash().config("[traces]\nsample_searches = 1.0\n").start();
    server.add_text("default", "lamp", LAMP);
    server.post("/v1/collections", json!({ "name": "other" })).ok();
    server.add_text("other", "horn", HORN);
    for n in 0..5 {
        ask(&server, &format!("What is the lamp {n} filled with?"));
    }
    ask(&server, "Which enzyme splits lactose?");
    server.post("/v1/collections/other/query", json!({ "question": "When does the fog horn sound?" })).ok();
    server.post("/v1/collections/default/search", json!({ "query": "lamp", "mode": "lexical" })).ok();
    server.post("/v1/collections/default/query", json!({ "question": "What is the lamp filled with?", "stream": true })).text();
    let list = |query: &str| server.get(&format!("/v1/traces?{query}")).ok();
    let count = |query: &str| list(query)["data"].as_array().unwrap().len();
    let all = list("");
    assert_eq!((all["data"].as_array().unwrap().len(), &all["next_cursor"]), (9, &json!(null)), "{all}");
    assert!(all["data"].as_array().unwrap().windows(2).all(|pair| pair[0]["at"].as_str() >= pair[1]["at"].as_str()));
    assert_eq!((count("collection=other"), count("abstained=true"), count("kind=search"), count("mode=lexical")), (1, 1, 1, 1));
    assert_eq!((count("since=2999-01-01T00:00:00Z"), count("since=2000-01-01T00:00:00Z"), count("feedback=true")), (0, 9, 0));
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = list(&format!("limit=2{cursor}"));
        seen.extend(page["data"].as_array().unwrap().iter().map(|trace| trace["id"].clone()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, all["data"].as_array().unwrap().iter().map(|trace| trace["id"].clone()).collect::<Vec<_>>());
    let search = &list("kind=search")["data"][0]["id"];
    let search = server.get(&format!("/v1/traces/{}", search.as_str().unwrap())).ok();
    assert_eq!((&search["settings"]["mode"], search["candidates"][0]["explain"]["lexical"]["rank"].as_u64()), (&json!("lexical"), Some(1)));
    assert_eq!(server.get("/v1/traces?since=yesterday").status, 400);
    assert_eq!(server.get("/v1/traces?colection=x").status, 400);
}

#[test]
fn a_trace_is_seen_by_its_key_and_by_whoever_manages_its_tenant() {
    let keys = [
        key_line("key-ann", "a", "scopes = [\"query\"]\nprincipals = [\"ann\"]"),
        key_line("key-bob", "a", "scopes = [\"query\"]"),
        key_line("key-admin", "a", "scopes = [\"admin\"]"),
        key_line("key-write", "a", "scopes = [\"query\", \"ingest\", \"admin\"]"),
        key_line("key-ingest", "a", "scopes = [\"ingest\"]"),
        key_line("key-other", "b", ""),
    ]
    .concat();
    let server = Setup::hash().config(&keys).start().with_key("key-write");
    server.add_text("default", "lamp", LAMP);
    let as_key = |key: &str| server.view(Some(key));
    let answer = ask(&as_key("key-ann"), "What is the lamp filled with?");
    let path = format!("/v1/traces/{}", answer["trace_id"].as_str().unwrap());
    assert_eq!(as_key("key-ann").get(&path).ok()["question"], "What is the lamp filled with?");
    assert_eq!(as_key("key-admin").get(&path).status, 200);
    assert_eq!((as_key("key-bob").get(&path).status, as_key("key-other").get(&path).status), (404, 404));
    assert_eq!(as_key("key-ingest").get(&path).status, 403);
    let count = |key: &str| as_key(key).get("/v1/traces").ok()["data"].as_array().unwrap().len();
    assert_eq!((count("key-ann"), count("key-admin"), count("key-bob"), count("key-other")), (1, 1, 0, 0));
    for key in ["key-bob", "key-other"] {
        assert_eq!(as_key(key).delete(&path).status, 404);
        assert_eq!(as_key(key).post(&format!("{path}/replay"), json!({})).status, 404);
    }
    assert!(!as_key("key-ann").get(&path).text().contains("key-ann"), "the key itself is nowhere");
    assert_eq!(as_key("key-ann").delete(&path).ok()["deleted"], true);
    assert_eq!(as_key("key-ann").get(&path).status, 404);
}

#[test]
fn a_deleted_document_takes_its_traces_along() {
    let server = Setup::hash().config("[traces]\nsample_searches = 1.0\n").start();
    let lamp = server.add_text("default", "lamp", LAMP);
    let horn = server.add_text("default", "horn", HORN);
    let of_lamp = server.post(QUERY, json!({ "question": "What is the lamp of the lighthouse filled with?", "top_k": 1 })).ok();
    let of_horn = server.post(QUERY, json!({ "question": "When does the fog horn sound?", "top_k": 1 })).ok();
    assert_eq!((&of_lamp["sources"][0]["document_id"], &of_horn["sources"][0]["document_id"]), (&json!(lamp), &json!(horn)));
    server.post("/v1/collections/default/search", json!({ "query": "lamp lighthouse colza", "top_k": 1 })).ok();
    server.post(QUERY, json!({ "question": "What is the lamp filled with?", "session_id": "talk", "top_k": 1 })).ok();
    let remembered = |needle: &str| {
        let traces = server.get("/v1/traces").ok();
        let ids = traces["data"].as_array().unwrap().iter().map(|trace| trace["id"].as_str().unwrap().to_owned());
        let all: String = ids.map(|id| server.get(&format!("/v1/traces/{id}")).text()).collect();
        let sessions = server.get("/v1/sessions").ok();
        let ids = sessions["data"].as_array().unwrap().iter().map(|session| session["id"].as_str().unwrap().to_owned());
        let talks: String = ids.map(|id| server.get(&format!("/v1/sessions/{id}")).text()).collect();
        (all + &talks).contains(needle)
    };
    assert!(remembered("colza oil") && remembered(&lamp));
    let deleted = server.delete(&format!("/v1/collections/default/documents/{lamp}")).ok();
    // Two questions and a search told of it.
    assert_eq!((&deleted["receipt"]["traces"], &deleted["receipt"]["session_turns"]), (&json!(3), &json!(1)), "{deleted}");
    assert!(!remembered("colza oil") && !remembered(&lamp), "{}", server.get("/v1/traces").text());
    assert!(remembered("thirty seconds"), "what rests on another document stays");
    let verify = |deleted: &Value| server.get(&format!("/v1/deletions/{}/verify", deleted["receipt"]["id"].as_str().unwrap())).ok();
    let verified = verify(&deleted);
    let checks = verified["checks"].to_string();
    assert_eq!(verified["verified"], true, "{verified}");
    assert_eq!(verified["receipt"], deleted["receipt"], "they stand in the receipt that is kept");
    assert!(checks.contains("\"traces\"") && checks.contains("\"session_turns\""), "{checks}");
    let deleted = server.delete("/v1/collections/default").ok();
    assert_eq!(server.get("/v1/traces").ok()["data"], json!([]));
    assert_eq!(verify(&deleted)["verified"], true);
}

#[test]
fn traces_survive_a_restart_as_far_as_they_were_written() {
    let mut server = Setup::hash().start();
    server.add_text("default", "lamp", LAMP);
    let answer = ask(&server, "What is the lamp filled with?");
    let path = format!("/v1/traces/{}", answer["trace_id"].as_str().unwrap());
    let before = server.get(&path).ok();
    server.terminate();
    let folder = server.kill();
    let data = folder.as_ref().unwrap().path().join("data");
    let server = Setup::hash().data(&data).start();
    let after = server.get(&path).ok();
    assert_eq!((&after["answer"], &after["at"]), (&before["answer"], &before["at"]));
}

#[test]
fn the_configuration_says_what_is_kept() {
    let off = Setup::hash().config("[traces]\nenabled = false\n").start();
    off.add_text("default", "lamp", LAMP);
    let answer = ask(&off, "What is the lamp filled with?");
    assert_eq!(off.get(&format!("/v1/traces/{}", answer["trace_id"].as_str().unwrap())).status, 404);
    let bare = Setup::hash().config("[traces]\ntext = \"none\"\n").start();
    bare.add_text("default", "lamp", LAMP);
    let answer = ask(&bare, "What is the lamp filled with?");
    let trace = trace_of(&bare, &answer);
    assert_eq!((&trace["question"], &trace["answer"]["answer"]), (&json!(null), &json!(null)), "{trace}");
    assert!(!trace.to_string().contains("colza") && trace["candidates"][0]["chunk_id"].is_string(), "{trace}");
    let replay = bare.post(&format!("/v1/traces/{}/replay", answer["trace_id"].as_str().unwrap()), json!({}));
    assert_eq!((replay.status, &replay.json()["code"]), (409, &json!("no_question")));
}

#[test]
fn a_replay_of_a_redacted_trace_compares_what_can_be_compared() {
    let server = Setup::hash().start();
    server.add_text("default", "keeper", "The keeper of the lighthouse is reached at keeper@example.org every day.");
    let ask_and_replay = |question: &str| {
        let answer = ask(&server, question);
        assert!(answer["answer"].as_str().unwrap().contains("keeper@example.org"), "{answer}");
        server.post(&format!("/v1/traces/{}/replay", answer["trace_id"].as_str().unwrap()), json!({})).ok()
    };
    let same = ask_and_replay("How is the keeper of the lighthouse reached?");
    assert!(!same["original"].to_string().contains("keeper@example.org"), "{same}");
    assert_eq!((&same["diff"]["answer_changed"], &same["question_redacted"]), (&json!(false), &json!(false)), "{same}");
    let other = ask_and_replay("Is keeper@example.org how the keeper of the lighthouse is reached?");
    assert_eq!(other["question_redacted"], true, "{other}");
}

#[test]
fn a_replay_asks_again_and_says_what_is_other() {
    let server = Setup::hash().start();
    server.add_text("default", "lamp", LAMP);
    server.add_text("default", "horn", HORN);
    let answer = server.post(QUERY, json!({ "question": "What is the lamp filled with?", "top_k": 1 })).ok();
    let path = format!("/v1/traces/{}/replay", answer["trace_id"].as_str().unwrap());
    let same = server.post(&path, json!({})).ok();
    assert_eq!(same["diff"]["hits"], json!({ "gained": [], "lost": [], "moved": [] }), "{same}");
    assert_eq!((&same["diff"]["answer_changed"], &same["replayed"]["answer"]), (&json!(false), &answer["answer"]));
    let more = server.post(&path, json!({ "top_k": 2 })).ok();
    assert_eq!(more["diff"]["hits"]["gained"].as_array().unwrap().len(), 1, "{}", more["diff"]);
    // On the data of today.
    server.add_text("default", "lamp", "The lamp is filled with paraffin now. Nobody buys colza any more.");
    let today = server.post(&path, json!({ "mode": "lexical" })).ok();
    assert_eq!(today["diff"]["answer_changed"], true, "{today}");
    assert!(today["replayed"]["answer"].as_str().unwrap().contains("paraffin"), "{today}");
    let kept = server.get("/v1/traces?kind=replay").ok();
    assert_eq!((kept["data"].as_array().unwrap().len(), &kept["data"][0]["replays"]), (3, &answer["trace_id"]), "{kept}");
    // What a replay was asked with is what its own replay is asked with.
    let again = server.post(&format!("/v1/traces/{}/replay", kept["data"][0]["id"].as_str().unwrap()), json!({})).ok();
    let of_again = server.get("/v1/traces?kind=replay&limit=1").ok();
    let of_again = server.get(&format!("/v1/traces/{}", of_again["data"][0]["id"].as_str().unwrap())).ok();
    assert_eq!((&of_again["settings"]["mode"], &again["question_redacted"]), (&json!("lexical"), &json!(false)), "{of_again}");
    assert_eq!(server.post(&path, json!({ "k": 1 })).status, 400);
    assert_eq!(server.post(&path, json!({ "model": "gpt" })).status, 400);
    assert_eq!(server.post("/v1/traces/trc_01jzzzzzzzzzzzzzzzzzzzzzzz/replay", json!({})).status, 404);
}
