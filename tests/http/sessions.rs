//! Conversations that the server remembers: follow-ups find what they lean on, and nobody else's.

use super::scopes::key_line;
use crate::support::{Server, Setup};
use mock::{Call, Mock, Reply, Script};
use serde_json::{Value, json};

const QUERY: &str = "/v1/collections/default/query";
const LAMP: &str = "The lamp of the lighthouse is filled with colza oil. The keeper fills the lamp of the lighthouse every evening.";
const HORN: &str = "The fog horn sounds every thirty seconds in thick weather.";

fn filled(setup: Setup) -> Server {
    let server = setup.start();
    server.add_text("default", "lamp", LAMP);
    server.add_text("default", "horn", HORN);
    server
}

fn ask(server: &Server, session: &str, question: &str) -> Value {
    server.post(QUERY, json!({ "question": question, "session_id": session, "top_k": 1 })).ok()
}

#[test]
fn a_follow_up_finds_what_it_leans_on() {
    let server = filled(Setup::hash());
    let first = ask(&server, "talk-1", "What is the lamp of the lighthouse filled with?");
    assert_eq!((&first["session_id"], &first["rewritten_question"]), (&json!("talk-1"), &json!(null)), "{first}");
    let second = ask(&server, "talk-1", "Who fills it?");
    let rewritten = second["rewritten_question"].as_str().unwrap();
    assert!(rewritten.starts_with("Who fills it?") && rewritten.contains("lighthouse"), "{rewritten}");
    assert!(second["sources"][0]["text"].as_str().unwrap().contains("keeper"), "{second}");
    let alone = ask(&server, "talk-1", "When does the fog horn sound in thick weather?");
    assert_eq!(alone["rewritten_question"], json!(null), "what stands on its own is never changed");
    let session = server.get("/v1/sessions/talk-1").ok();
    assert_eq!((&session["turns"], &session["messages"][1]["question"]), (&json!(3), &json!("Who fills it?")), "{session}");
    assert_eq!(session["messages"][1]["trace_id"], second["trace_id"]);
    let trace = server.get(&format!("/v1/traces/{}", second["trace_id"].as_str().unwrap())).ok();
    assert_eq!((&trace["session_id"], &trace["answer"]["rewritten_question"]), (&json!("talk-1"), &second["rewritten_question"]));
    assert_eq!(server.get("/v1/traces?session=talk-1").ok()["data"].as_array().unwrap().len(), 3);
    // Without the session it is as short as it looks.
    assert_eq!(server.post(QUERY, json!({ "question": "Who fills it?" })).ok()["rewritten_question"], json!(null));
    let replayed = server.post(&format!("/v1/traces/{}/replay", second["trace_id"].as_str().unwrap()), json!({})).ok();
    assert_eq!(replayed["diff"]["hits"]["lost"], json!([]), "{}", replayed["diff"]);
    assert_eq!(server.delete("/v1/sessions/talk-1").ok()["deleted"], true);
    assert_eq!((server.get("/v1/sessions/talk-1").status, server.delete("/v1/sessions/talk-1").status), (404, 404));
    assert_eq!(ask(&server, "talk-1", "Who fills it?")["rewritten_question"], json!(null), "it begins anew");
}

#[test]
fn the_server_names_a_session_and_refuses_bad_names() {
    let server = filled(Setup::hash());
    let made = ask(&server, "new", "What is the lamp of the lighthouse filled with?");
    let id = made["session_id"].as_str().unwrap();
    assert!(id.starts_with("ses_"), "{id}");
    assert!(ask(&server, id, "Who fills it?")["rewritten_question"].is_string());
    for bad in ["", "a b", "a/b", &"x".repeat(129)] {
        assert_eq!(server.post(QUERY, json!({ "question": "x", "session_id": bad })).status, 400, "{bad}");
    }
    server.post("/v1/collections", json!({ "name": "other" })).ok();
    server.add_text("other", "horn", HORN);
    let elsewhere = server.post("/v1/collections/other/query", json!({ "question": "And when?", "session_id": id }));
    assert_eq!((elsewhere.status, &elsewhere.json()["code"]), (409, &json!("session_of_another_collection")));
    let stream = server.post(QUERY, json!({ "question": "Who fills it?", "session_id": id, "stream": true })).text();
    assert!(stream.contains(&format!("\"session_id\":\"{id}\"")) && stream.contains("lighthouse"), "{stream}");
    assert_eq!(server.get(&format!("/v1/sessions/{id}")).ok()["turns"], 3);
}

#[test]
fn a_session_is_its_keys_and_survives_a_restart() {
    let keys = [
        key_line("key-ann", "a", "scopes = [\"query\", \"ingest\", \"admin\"]\nprincipals = [\"ann\"]"),
        key_line("key-bob", "a", "scopes = [\"query\"]"),
        key_line("key-admin", "a", "scopes = [\"admin\"]"),
        key_line("key-other", "b", ""),
    ]
    .concat();
    let mut server = Setup::hash().config(&keys).start().with_key("key-ann");
    server.add_text("default", "lamp", LAMP);
    ask(&server, "talk", "What is the lamp of the lighthouse filled with?");
    let bob = ask(&server.view(Some("key-bob")), "talk", "Who fills it?");
    assert_eq!(bob["rewritten_question"], json!(null), "the same name, another key: another session");
    let seen = |server: &Server, key: &str| {
        let view = server.view(Some(key));
        (view.get("/v1/sessions").ok()["data"].as_array().unwrap().len(), view.get("/v1/sessions/talk").status)
    };
    assert_eq!(
        (seen(&server, "key-ann"), seen(&server, "key-bob"), seen(&server, "key-admin"), seen(&server, "key-other")),
        ((1, 200), (1, 200), (2, 200), (0, 404))
    );
    assert_eq!(server.view(Some("key-other")).delete("/v1/sessions/talk").status, 404);
    server.terminate();
    let folder = server.kill();
    let server = Setup::hash().config(&keys).data(&folder.as_ref().unwrap().path().join("data")).start().with_key("key-ann");
    assert!(ask(&server, "talk", "Who fills it?")["rewritten_question"].is_string());
}

#[test]
fn two_questions_at_once_lose_no_turn_and_the_oldest_turns_go() {
    let server = filled(Setup::hash().config("[sessions]\nturns_max = 12\nsessions_max = 3\n"));
    std::thread::scope(|scope| {
        for n in 0..10 {
            let server = &server;
            scope.spawn(move || ask(server, "talk", &format!("What is the lamp number {n} filled with?")));
        }
    });
    assert_eq!(server.get("/v1/sessions/talk").ok()["turns"], 10);
    for n in 10..15 {
        ask(&server, "talk", &format!("What is the lamp number {n} filled with?"));
    }
    let session = server.get("/v1/sessions/talk").ok();
    assert_eq!((&session["turns"], session["messages"][11]["question"].as_str().unwrap().contains("14")), (&json!(12), true), "{session}");
    for name in ["b", "c", "d"] {
        ask(&server, name, "When does the fog horn sound?");
    }
    assert_eq!(server.get("/v1/sessions").ok()["data"].as_array().unwrap().len(), 3);
    assert_eq!(server.get("/v1/sessions/talk").status, 404, "the one that was used least lately went");
}

#[test]
fn a_model_is_told_the_conversation_apart_from_the_sources_and_nothing_is_cached() {
    let mock = Mock::start_on_thread(Script::always(Reply::text("It is filled with colza oil [1].")));
    let config = format!("[llm]\nbase_url = \"{}/v1\"\nmodel = \"small\"\n", mock.url());
    let server = filled(Setup::hash().config(&config));
    let first = ask(&server, "talk", "What is the lamp of the lighthouse filled with?");
    assert_eq!(
        ask(&server, "other-talk", "What is the lamp of the lighthouse filled with?")["cache"]["hit"],
        true,
        "a first question is like any"
    );
    let calls = mock.call_count();
    for _ in 0..2 {
        let second = ask(&server, "talk", "Who fills it?");
        assert_eq!(second["cache"]["hit"], false, "{second}");
    }
    assert_eq!(mock.call_count(), calls + 2);
    let told: Vec<String> = mock.calls().iter().map(user_message).collect();
    assert!(!told[0].contains("<conversation-"), "{}", told[0]);
    for told in &told[1..] {
        let (before, rest) = told.split_once("<conversation-").unwrap();
        let (mark, rest) = rest.split_once('>').unwrap();
        let (said, rest) = rest.split_once(&format!("</conversation-{mark}>")).unwrap();
        assert!(before.is_empty() && rest.contains(&format!("<sources-{mark}>")) && !rest.contains("<conversation-"), "{told}");
        assert!(said.contains("What is the lamp of the lighthouse filled with?"), "{told}");
        assert!(said.contains(first["answer"].as_str().unwrap()) && !said.contains("The keeper fills"), "{told}");
    }
}

fn user_message(call: &Call) -> String {
    let messages = call.body["messages"].as_array().unwrap();
    let of_user = messages.iter().rfind(|message| message["role"] == "user").unwrap();
    of_user["content"].as_str().unwrap().to_owned()
}

#[test]
fn what_may_not_be_read_any_more_is_neither_shown_nor_told() {
    let mock = Mock::start_on_thread(Script::default());
    let keys = [key_line("key-all", "a", ""), key_line("key-ann", "a", "principals = [\"ann\"]")].concat();
    let config = format!("{keys}[llm]\nbase_url = \"{}/v1\"\nmodel = \"small\"\n", mock.url());
    let server = Setup::hash().config(&config).start().with_key("key-all");
    let put = |acl: &[&str]| {
        let body = json!({ "text": LAMP, "external_id": "lamp", "acl": acl });
        server.post("/v1/collections/default/documents?wait=true", body).ok();
    };
    put(&["ann", "bob"]);
    let ann = server.view(Some("key-ann"));
    let answer = ask(&ann, "talk", "What is the lamp of the lighthouse filled with?");
    let trace = format!("/v1/traces/{}", answer["trace_id"].as_str().unwrap());
    assert!(ann.get("/v1/sessions/talk").text().contains("colza") && ann.get(&trace).text().contains("colza"));
    put(&["bob"]);
    server.add_text("default", "horn", HORN);
    let session = ann.get("/v1/sessions/talk").ok();
    assert_eq!(session["messages"], json!([]), "{session}");
    assert_eq!((ann.get(&trace).status, server.get(&trace).status), (404, 200));
    assert_eq!(ann.post(&format!("{trace}/replay"), json!({})).status, 404);
    assert_eq!(ann.post("/v1/feedback", json!({ "trace_id": answer["trace_id"], "useful": true })).status, 404);
    ask(&ann, "talk", "When does the fog horn sound in thick weather?");
    let told = user_message(mock.calls().last().unwrap());
    assert!(told.contains("fog horn") && !told.contains("colza"), "{told}");
    assert_eq!(ann.delete(&trace).status, 200, "it is its own");
}

#[test]
fn a_conversation_does_not_rest_for_ever_on_its_first_document() {
    // A model is told what was said before, so every turn leans on those.
    let mock = Mock::start_on_thread(Script::always(Reply::text("It sounds every thirty seconds [1].")));
    let config = format!("[sessions]\nturns_max = 2\n[llm]\nbase_url = \"{}/v1\"\nmodel = \"small\"\n", mock.url());
    let server = filled(Setup::hash().config(&config));
    let turns = || server.get("/v1/sessions/talk").json()["turns"].clone();
    let sound = || ask(&server, "talk", "When does the fog horn sound in thick weather?");
    ask(&server, "talk", "What is the lamp of the lighthouse filled with?");
    (0..4).for_each(|_| drop(sound()));
    server.delete("/v1/collections/default/documents/lamp").ok();
    assert_eq!(turns(), 2, "neither these turns nor those that they were told are of the lamp");
    server.add_text("default", "lamp", LAMP);
    ask(&server, "talk", "What is the lamp of the lighthouse filled with?");
    sound();
    server.delete("/v1/collections/default/documents/lamp").ok();
    assert_eq!(server.get("/v1/sessions/talk").status, 404, "the last one was told what the one before it was answered");
}
