//! What a model is asked before the search: to make a follow-up stand alone, for other wordings, for a passage.

use super::caches::post_and_wait;
use crate::support::{Server, Setup, eventually};
use mock::{Finished, Mock, Reply, Script, Usage};
use serde_json::{Value, json};

const QUERY: &str = "/v1/collections/default/query";
const LAMP: &str = "The lamp of the lighthouse is filled with colza oil.";
const KEEPER: &str = "Every evening the keeper climbs the stairs with a can and refills the lantern.";
const HORN: &str = "The fog horn sounds every thirty seconds in thick weather.";

fn used(prompt_tokens: u64, completion_tokens: u64) -> Usage {
    Usage { prompt_tokens, completion_tokens, ..Usage::default() }
}

fn script(replies: impl IntoIterator<Item = Reply>) -> Script {
    replies.into_iter().fold(Script::default(), |script, reply| script.then("small", reply))
}

fn server(mock: &Mock, more: &str) -> Server {
    let server = Setup::hash().config(&format!("{more}[llm]\nbase_url = \"{}/v1\"\nmodel = \"small\"\n", mock.url())).start();
    for (name, text) in [("lamp", LAMP), ("keeper", KEEPER), ("horn", HORN)] {
        server.add_text("default", name, text);
    }
    server
}

fn trace_of(server: &Server, answer: &Value) -> Value {
    server.get(&format!("/v1/traces/{}", answer["trace_id"].as_str().unwrap())).ok()
}

fn first(answer: &Value) -> &str {
    answer["sources"][0]["text"].as_str().unwrap()
}

#[test]
fn a_model_makes_a_follow_up_stand_alone_and_the_rule_where_it_fails() {
    let mock = Mock::start_on_thread(script([
        Reply::text("Colza oil [1]."),
        Reply::text("Which keeper refills the lantern of the lighthouse?").usage(used(40, 9)),
        Reply::text("The keeper [1].").usage(used(100, 4)),
        Reply::status(400),
        Reply::text("The keeper [1]."),
    ]));
    let server = server(&mock, "[query]\nrewrite = \"model\"\n");
    let ask = |question: &str| server.post(QUERY, json!({ "question": question, "session_id": "talk", "top_k": 1 })).ok();
    ask("What is the lamp of the lighthouse filled with?");
    assert_eq!(mock.call_count(), 1, "the first question leans on nothing");
    let second = ask("Who does that?");
    assert_eq!(second["rewritten_question"], "Which keeper refills the lantern of the lighthouse?", "{second}");
    assert_eq!(first(&second), KEEPER);
    assert_eq!((&second["usage"]["prompt_tokens"], &second["usage"]["completion_tokens"]), (&json!(140), &json!(13)));
    let calls = mock.calls();
    let told = |call: usize| calls[call].body["messages"][1]["content"].as_str().unwrap().to_owned();
    assert!(told(1).contains("colza oil") || told(1).contains("Colza oil"), "{}", told(1));
    assert!(told(2).contains("\nWho does that?\n") && !told(2).contains("Which keeper"), "the question is answered as it was asked");
    let trace = trace_of(&server, &second);
    assert_eq!(trace["reworded"]["rewritten_by"], "model", "{trace}");
    let third = ask("Who fills it?");
    let rewritten = third["rewritten_question"].as_str().unwrap();
    assert!(rewritten.starts_with("Who fills it? ("), "{rewritten}");
    let reworded = &trace_of(&server, &third)["reworded"];
    assert_eq!(reworded["rewritten_by"], "rule", "{reworded}");
    assert!(reworded["rewrite_failure"].as_str().unwrap().contains("400"), "{reworded}");
    assert_eq!(server.get("/v1/usage").ok()["total"]["requests"], 4, "each call that was answered is booked");
    // The question as it stands alone is what is asked again, without a conversation.
    let replay = format!("/v1/traces/{}/replay", second["trace_id"].as_str().unwrap());
    let replayed = server.post(&replay, json!({})).ok();
    assert_eq!((&replayed["diff"]["hits"]["lost"], mock.call_count()), (&json!([]), 6), "{}", replayed["diff"]);
    let session = server.get("/v1/sessions/talk").ok();
    assert_eq!(session["messages"][1]["rewritten_question"], second["rewritten_question"]);
}

#[test]
fn a_used_up_budget_leaves_the_rule_and_the_documents() {
    let mock = Mock::start_on_thread(script([Reply::text("Colza oil [1].").usage(used(1900, 90))]));
    let budget = "[[budgets]]\nname = \"b\"\nperiod = \"total\"\nlimit_tokens = 2000\n[query]\nrewrite = \"model\"\n";
    let server = Setup::hash()
        .config(&format!("{budget}[llm]\nbase_url = \"{}/v1\"\nmodel = \"small\"\non_exhausted = \"extract\"\n", mock.url()))
        .start();
    server.add_text(
        "default",
        "lamp",
        "The lamp of the lighthouse is filled with colza oil. The keeper fills the lamp of the lighthouse every evening.",
    );
    let ask = |question: &str| server.post(QUERY, json!({ "question": question, "session_id": "talk" })).ok();
    ask("What is the lamp of the lighthouse filled with?");
    let second = ask("Who fills it?");
    assert!(second["rewritten_question"].as_str().unwrap().starts_with("Who fills it? ("), "{second}");
    assert_eq!((&second["mode"], &second["degraded"], mock.call_count()), (&json!("extractive"), &json!(true), 1), "{second}");
    let reworded = &trace_of(&server, &second)["reworded"];
    assert!(reworded["rewrite_failure"].as_str().unwrap().contains("budget"), "{reworded}");
}

#[test]
fn other_wordings_and_a_passage_are_options_of_a_request() {
    let mock = Mock::start_on_thread(script([
        Reply::text("Nobody [1]."),
        Reply::text("1. Which keeper refills the lantern?\n2. Who climbs the stairs with a can every evening?").usage(used(30, 20)),
        Reply::text("The keeper [1].").usage(used(100, 4)),
        Reply::text("The keeper climbs the stairs every evening and refills the lantern from a can."),
        Reply::text("The keeper [1]."),
        Reply::text("..."),
        Reply::text("The keeper [1]."),
    ]));
    let server = server(&mock, "");
    let ask = |expand: &str| server.post(QUERY, json!({ "question": "Who is in charge of the light?", "top_k": 1, "expand": expand })).ok();
    let plain = ask("none");
    assert_ne!(first(&plain), KEEPER);
    let several = ask("multi_query");
    assert_eq!((first(&several), &several["usage"]["prompt_tokens"]), (KEEPER, &json!(130)), "{several}");
    let trace = trace_of(&server, &several);
    assert_eq!(trace["reworded"]["queries"].as_array().unwrap().len(), 2, "{trace}");
    assert_eq!((&trace["settings"]["expand"], &trace["reworded"]["expand"]), (&json!("multi_query"), &json!("multi_query")));
    assert!(trace["answer"]["timings_ms"]["expand"].is_number(), "{trace}");
    let again = ask("multi_query");
    assert_eq!((&again["cache"]["kind"], mock.call_count()), (&json!("exact"), 3), "no model is asked for what is known");
    assert_eq!((ask("none")["cache"]["hit"].as_bool(), first(&ask("none"))), (Some(true), first(&plain)));
    let passage = ask("hyde");
    assert_eq!((first(&passage), &passage["cache"]["hit"]), (KEEPER, &json!(false)), "{passage}");
    assert!(trace_of(&server, &passage)["reworded"]["passage"].as_str().unwrap().contains("refills the lantern"));
    // Asked again, the model is asked again, and here says nothing.
    let replay = format!("/v1/traces/{}/replay", passage["trace_id"].as_str().unwrap());
    let replayed = server.post(&replay, json!({})).ok();
    assert_eq!(mock.call_count(), 7, "{replayed}");
    let plainly = server.post(&replay, json!({ "expand": "none" })).ok();
    assert_eq!((mock.call_count(), plainly["replayed"]["sources"][0]["text"].as_str()), (8, Some(first(&plain))));
}

#[test]
fn without_a_model_it_is_refused_by_name() {
    let server = Setup::hash().start();
    server.add_text("default", "lamp", LAMP);
    for (field, value) in [("expand", "hyde"), ("expand", "multi_query"), ("rewrite", "model")] {
        let refused = server.post(QUERY, json!({ "question": "What is the lamp filled with?", field: value }));
        assert_eq!((refused.status, refused.json()["code"].clone()), (400, json!("bad_query")), "{}", refused.text());
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with(field) && detail.contains("[llm]"), "{detail}");
    }
    let plain = json!({ "question": "What is the lamp filled with?", "expand": "none", "rewrite": "rule" });
    assert_eq!(server.post(QUERY, plain).status, 200);
}

#[test]
fn who_waits_for_the_model_takes_no_place_before_the_processors() {
    let slow = Reply::text("The keeper refills the lantern.").latency_ms(60_000);
    let mock = Mock::start_on_thread(script([slow]));
    let lanes = "[server]\nconcurrent_queries_max = 1\nqueued_queries_max = 0\n[query]\nexpand = \"hyde\"\nexpand_timeout_s = 60\n";
    let server = server(&mock, lanes);
    let waiting = post_and_wait(&server, &json!({ "question": "Who refills the lantern?" }).to_string());
    eventually(|| mock.call_count() == 1);
    for _ in 0..5 {
        let search = server.post("/v1/collections/default/search", json!({ "query": "lantern" }));
        assert_eq!(search.status, 200, "{}", search.text());
    }
    // Another question meanwhile has its place, and the model's next words.
    let other = server.post(QUERY, json!({ "question": "When does the fog horn sound?" }));
    assert_eq!(other.status, 200, "{}", other.text());
    drop(waiting);
    eventually(|| mock.calls()[0].finished == Some(Finished::ClientLeft));
    assert_eq!(mock.call_count(), 3, "nothing is asked for one who left");
}

#[test]
fn a_model_that_is_late_is_not_waited_for() {
    let slow = Reply::text("The keeper refills the lantern.").latency_ms(60_000);
    let mock = Mock::start_on_thread(script([slow, Reply::text("The keeper [1].")]));
    let server = server(&mock, "[query]\nexpand = \"multi_query\"\nexpand_timeout_s = 1\n");
    let answer = server.post(QUERY, json!({ "question": "Who refills the lantern?", "top_k": 1 })).ok();
    assert_eq!((first(&answer), answer["answer"].as_str()), (KEEPER, Some("The keeper [1].")), "{answer}");
    let reworded = &trace_of(&server, &answer)["reworded"];
    assert!(reworded["expand_failure"].as_str().unwrap().contains("1s"), "{reworded}");
}
