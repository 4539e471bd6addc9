use crate::scopes::key_line;
use crate::support::{Server, Setup, eventually, program};
use mock::{Mock, Reply, Script};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const PATH: &str = "/v1/evaluations";
const LAMP: &str = "The lamp is filled with colza oil every evening.";
const BELL: &str = "The bell rings twice an hour in fog.";

fn filled(server: Server) -> Server {
    server.add_text("default", "lamp", LAMP);
    server.add_text("default", "bell", BELL);
    server.add_text("default", "boat", "The supply boat lands on Mondays.");
    server
}

fn retrieval(more: Value) -> Value {
    let mut body = json!({
        "collection": "default", "kind": "retrieval", "modes": ["lexical", "hybrid"],
        "cases": [
            { "id": "oil", "question": "What is the lamp filled with?", "relevant": { "lamp": 1 } },
            { "id": "fog", "question": "When does the bell ring in fog?", "relevant": { "bell": 2, "never-was": 1 } },
            { "id": "nothing", "question": "What is irrelevant?", "relevant": { "lamp": 0 } },
        ],
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// Begins an evaluation and waits for its end; with its results.
fn ended(server: &Server, body: Value) -> Value {
    let begun = server.post(PATH, body);
    assert_eq!(begun.status, 202, "{}", begun.text());
    let path = format!("{PATH}/{}", begun.json()["id"].as_str().unwrap());
    eventually(|| server.get(&path).ok()["status"] != "running");
    server.get(&path).ok()
}

#[test]
fn searches_are_measured_kept_and_compared() {
    let mut server = filled(Setup::hash().start());
    let first = ended(&server, retrieval(json!({ "name": "nightly" })));
    assert_eq!((&first["status"], &first["total"], &first["done"]), (&json!("succeeded"), &json!(2), &json!(2)), "{first}");
    let lexical = &first["summary"]["modes"]["lexical"];
    // One of the two relevant documents of the second case is there: DCG 2 of 2 + 1/log2(3).
    let ndcg = f64::midpoint(1.0, 2.0 / (2.0 + 1.0 / 3_f64.log2()));
    assert!((lexical["ndcg_at_10"].as_f64().unwrap() - ndcg).abs() < 1e-9, "{first}");
    assert_eq!((&lexical["mrr_at_10"], &lexical["recall_at_10"]), (&json!(1.0), &json!(0.75)), "{first}");
    assert!(lexical["p50_ms"].as_f64().unwrap() <= lexical["p99_ms"].as_f64().unwrap());
    assert_eq!(first["summary"]["comparisons"][0]["comparison"]["queries"], 2);
    assert_eq!(first["results"][1]["scores"]["lexical"]["recall_at_10"], 0.5);
    let id = first["id"].as_str().unwrap();
    // A page of results.
    let page = server.get(&format!("{PATH}/{id}?limit=1")).ok();
    assert_eq!((&page["results"][0]["id"], page["results"].as_array().unwrap().len()), (&json!("oil"), 1));
    let rest = server.get(&format!("{PATH}/{id}?limit=1&cursor={}", page["next_cursor"].as_str().unwrap())).ok();
    assert_eq!((&rest["results"][0]["id"], &rest["next_cursor"]), (&json!("fog"), &json!(null)));

    // As the files of a judged set have it; one hit for each search finds as much.
    let beir = json!({
        "collection": "default", "kind": "retrieval", "modes": ["lexical", "reranked"], "k": 1,
        "queries": [{ "_id": "oil", "text": "What is the bell?" }, { "_id": "unjudged", "text": "x" }],
        "qrels": { "oil": { "lamp": 1 } },
    });
    let second = ended(&server, beir);
    assert_eq!((&second["total"], &second["summary"]["modes"]["lexical"]["recall_at_10"]), (&json!(1), &json!(0.0)), "{second}");
    let (measured, left_out) = (second["summary"]["modes"].get("reranked"), second["summary"]["left_out"].get("reranked"));
    assert!(measured.is_some() != left_out.is_some(), "{second}");
    let diff = server.get(&format!("{PATH}/{}/diff/{id}", second["id"].as_str().unwrap())).ok();
    let recall = &diff["modes"]["lexical"]["metrics"]["recall_at_10"];
    assert_eq!((&recall["lost"], &recall["delta"], &recall["largest"][0]["id"]), (&json!(1), &json!(-1.0), &json!("oil")), "{diff}");
    assert_eq!(diff["modes"]["lexical"]["unmatched"], 1);

    // They survive a restart, and go when they are told to.
    let data = server.kill().unwrap();
    server = Setup::hash().data(&data.path().join("data")).start();
    let listed = server.get(&format!("{PATH}?limit=1")).ok();
    assert_eq!((&listed["data"][0]["name"], listed["data"][0].get("results")), (&json!("nightly"), None), "{listed}");
    assert_eq!(server.get(&format!("{PATH}/{id}")).ok()["summary"], first["summary"]);
    assert_eq!(server.delete(&format!("{PATH}/{id}")).ok()["deleted"], true);
    assert_eq!(server.get(&format!("{PATH}/{id}")).status, 404);
    server.delete("/v1/collections/default").ok();
    assert_eq!(server.get(PATH).ok()["data"], json!([]), "results quote what was deleted");
}

fn with_model(mock: &Mock) -> Setup {
    Setup::hash().config(&format!("[llm]\nbase_url = \"{}/v1\"\nmodel = \"m\"\n[llm.retry]\nbackoff_ms = 1\n", mock.url()))
}

#[test]
fn answers_are_measured_and_judged() {
    let script = Script::always(Reply::text("I don't know."))
        .then("m", Reply::text("It is filled with colza oil [1]."))
        .then("m", Reply::text("{\"score\": 0.9, \"reason\": \"Right.\"}"))
        .then("m", Reply::text("The bell rings twice an hour in fog [1]."))
        .then("m", Reply::text("Looks good to me!"));
    let mock = Mock::start_on_thread(script);
    let server = filled(with_model(&mock).start());
    let body = json!({
        "collection": "default", "kind": "answers", "judge": { "model": "m" }, "k": 1,
        "cases": [
            { "id": "oil", "question": "What is the lamp filled with?", "expected": "colza oil", "evidence": LAMP, "relevant": { "lamp": 1 } },
            { "id": "fog", "question": "When does the bell ring in fog?", "expected": ["twice an hour"], "evidence": [BELL] },
            { "id": "moon", "question": "Who walked on the moon?", "answerable": false },
        ],
    });
    let done = ended(&server, body);
    assert_eq!((&done["status"], &done["done"]), (&json!("succeeded"), &json!(3)), "{done}");
    let means = &done["summary"]["answers"];
    assert_eq!((&means["generated"], &means["retrieved"], &means["evidence_hit"]), (&json!(3), &json!(1.0), &json!(1.0)), "{done}");
    assert_eq!((&means["judged"], &means["judge_unreadable"], &means["judge_mean"]), (&json!(1), &json!(1), &json!(0.9)), "{done}");
    assert_eq!((&means["abstention_recall"], &means["false_abstentions"]), (&json!(1.0), &json!(0.0)), "{done}");
    assert_eq!((&means["citation_precision"], &means["judge_pass_rate"]), (&json!(1.0), &json!(1.0)), "{done}");
    assert!(means["prompt_tokens"].as_u64().unwrap() > 0, "{done}");
    // "it is filled with colza oil": 2 common of 6 and 2.
    assert_eq!((&done["results"][0]["f1"], &done["results"][0]["judge_score"]), (&json!(0.5), &json!(0.9)), "{done}");
    assert_eq!(done["settings"]["judge"]["version"], "judge-1");
}

/// A model `m` that answers and a model `j` that judges.
fn with_judge(mock: &Mock) -> Setup {
    let model = |name: &str| {
        format!(
            "[[llm.deployments]]\nname = \"{name}\"\nprovider = \"compatible\"\nmodel = \"{name}\"\nbase_url = \"{}/v1\"\n\
             [[llm.models]]\nname = \"{name}\"\nladder = [[\"{name}\"]]\n",
            mock.url()
        )
    };
    Setup::hash().config(&format!("[llm]\nanswers = \"m\"\n[llm.retry]\nbackoff_ms = 1\n{}{}", model("m"), model("j")))
}

fn ask(server: &Server, question: &str) -> String {
    server.post("/v1/collections/default/query", json!({ "question": question })).ok()["trace_id"].as_str().unwrap().to_owned()
}

fn drawn(from: Value) -> Value {
    json!({ "collection": "default", "kind": "answers", "cases_from": from })
}

fn ids(done: &Value) -> Vec<&str> {
    done["results"].as_array().unwrap().iter().map(|result| result["id"].as_str().unwrap()).collect()
}

#[test]
fn feedback_makes_the_cases() {
    let server = filled(Setup::hash().start());
    let say = |question: &str, judged: Value| {
        let mut body = json!({ "trace_id": ask(&server, question) });
        body.as_object_mut().unwrap().extend(judged.as_object().unwrap().clone());
        server.post("/v1/feedback", body).ok();
    };
    say("What is the lamp filled with?", json!({ "useful": true }));
    // Of one question the newest word counts, if it makes a case.
    say("When does the bell ring in fog?", json!({ "useful": true }));
    say("When does the bell ring in fog?", json!({ "useful": false, "expected": "twice an hour" }));
    say("When does the bell ring in fog?", json!({ "useful": false }));
    say("Which enzyme splits lactose?", json!({ "useful": true }));
    say("Who built the pier?", json!({ "useful": false }));
    let done = ended(&server, drawn(json!({ "source": "feedback" })));
    assert_eq!((&done["status"], &done["total"]), (&json!("succeeded"), &json!(3)), "{done}");
    let from = json!({ "source": "feedback", "useful": null, "since": null, "sample": 100, "seed": 0, "questions": 4 });
    assert_eq!(done["settings"]["cases_from"], from, "of four questions one makes no case");
    let means = &done["summary"]["answers"];
    assert_eq!(
        (&means["answerable"], &means["evidence_hit"], &means["abstention_recall"]),
        (&json!(2), &json!(1.0), &json!(1.0)),
        "{done}"
    );
    let of = |question: &str| done["results"].as_array().unwrap().iter().find(|result| result["question"] == question).unwrap();
    assert!(of("When does the bell ring in fog?")["f1"].as_f64().unwrap() > 0.0, "what was expected is known: {done}");
    let useless = ended(&server, drawn(json!({ "source": "feedback", "useful": false, "since": "2020-01-01T00:00:00Z" })));
    assert_eq!(
        (&useless["total"], &useless["results"][0]["question"]),
        (&json!(1), &json!("When does the bell ring in fog?")),
        "{useless}"
    );
    let bell = ids(&done).into_iter().find(|id| *id == ids(&useless)[0]);
    assert!(bell.is_some(), "a case is named by its question");
    for from in [
        json!({}),
        json!({ "source": "sessions" }),
        json!({ "source": "feedback", "sample": 0 }),
        json!({ "source": "feedback", "sample": 5001 }),
        json!({ "source": "feedback", "since": "2999-01-01T00:00:00Z" }),
        json!({ "source": "feedback", "since": "yesterday" }),
        json!({ "source": "feedback", "surprise": 1 }),
        json!({ "source": "traces", "useful": true }),
    ] {
        assert_eq!(server.post(PATH, drawn(from.clone())).status, 400, "{from}");
        let fields = from.as_object().unwrap().iter().map(|(name, value)| format!("&{name}={}", value.to_string().trim_matches('"')));
        let path = format!("{PATH}/cases?collection=default{}", fields.collect::<String>());
        assert_eq!(server.get(&path).status, 400, "{path}");
    }
    let mut both = drawn(json!({ "source": "feedback" }));
    both["cases"] = json!([{ "question": "q" }]);
    assert_eq!(server.post(PATH, both).status, 400);
    let retrieval = json!({ "collection": "default", "kind": "retrieval", "cases_from": { "source": "feedback" } });
    assert_eq!(server.post(PATH, retrieval).status, 400);
}

#[test]
fn a_sample_of_the_questions_makes_the_cases() {
    let keys = [
        key_line("all", "a", ""),
        key_line("ann", "a", "scopes = [\"query\", \"admin\"]\nprincipals = [\"ann\"]"),
        key_line("other", "b", ""),
    ];
    let server = filled(Setup::hash().config(&keys.concat()).start().with_key("all"));
    let things = ["lamp", "bell", "boat", "oil", "fog", "hour", "evening", "Monday"];
    for thing in things {
        ask(&server, &format!("What is known of the {thing}?"));
    }
    // Asked again, in a conversation that it leans on, and in a batch.
    ask(&server, "What is known of the lamp?");
    for question in ["What is the lamp filled with?", "And when?"] {
        let said = server.post("/v1/collections/default/query", json!({ "question": question, "session_id": "talk" })).ok();
        assert_eq!(said["rewritten_question"].is_null(), question != "And when?", "{said}");
    }
    let anns = server.view(Some("ann"));
    anns.post("/v1/collections/default/query", json!({ "question": "What does Ann ask of the bell?" })).ok();

    let five = drawn(json!({ "source": "traces", "sample": 5, "seed": 7 }));
    let first = ended(&server, five.clone());
    assert_eq!((&first["status"], &first["total"]), (&json!("succeeded"), &json!(5)), "{first}");
    assert_eq!(first["settings"]["cases_from"]["questions"], 11, "each question once: {first}");
    // What the evaluation asked is nobody's question.
    let again = ended(&server, five);
    assert_eq!((ids(&again), &again["settings"]["cases_from"]), (ids(&first), &first["settings"]["cases_from"]), "the same seed");
    let diff = server.get(&format!("{PATH}/{}/diff/{}", again["id"].as_str().unwrap(), first["id"].as_str().unwrap())).ok();
    assert_eq!((&diff["modes"]["answers"]["queries"], &diff["modes"]["answers"]["unmatched"]), (&json!(5), &json!(0)), "{diff}");
    let others = ended(&server, drawn(json!({ "source": "traces", "sample": 5, "seed": 8 })));
    assert_ne!(ids(&others), ids(&first), "another seed");
    let all = ended(&server, drawn(json!({ "source": "traces" })));
    assert_eq!(all["total"], 10, "but for the question that leans on its conversation: {all}");
    assert!(!all.to_string().contains("And when?"), "{all}");
    // As its answer was: what was cited is found again, and who abstained abstains.
    let means = &all["summary"]["answers"];
    assert_eq!((&means["evidence_hit"], &means["false_abstentions"]), (&json!(1.0), &json!(0.0)), "{all}");
    assert_eq!(means["abstention_recall"].as_f64().unwrap_or(1.0), 1.0, "{all}");

    // The command draws the same, by the same seed.
    let drawn_cases = server.get(&format!("{PATH}/cases?collection=default&source=traces&sample=5&seed=7")).ok();
    assert_eq!(drawn_cases["cases_from"], first["settings"]["cases_from"], "{drawn_cases}");
    let folder = TempDir::new().unwrap();
    let arguments = ["eval", "answers", "--from", "traces", "--collection", "default", "--limit", "5", "--seed", "7", "--json"];
    let mut command = Command::new(program());
    command.args(arguments).args(["--server", &server.base, "--per-query", "scores.jsonl"]).current_dir(folder.path());
    let output = command.env("RAGSTONE_API_KEY", "all").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&printed["sets"][0]["name"], &printed["sets"][0]["answers"]["cases"]), (&json!("traces"), &json!(5)), "{printed}");
    let scores = std::fs::read_to_string(folder.path().join("scores.jsonl")).unwrap();
    assert!(ids(&first).iter().all(|id| scores.contains(id)), "{scores}");

    let anns_own = ended(&anns, drawn(json!({ "source": "traces" })));
    assert_eq!(
        (&anns_own["total"], &anns_own["results"][0]["question"]),
        (&json!(1), &json!("What does Ann ask of the bell?")),
        "{anns_own}"
    );
    assert_eq!(server.view(Some("other")).post(PATH, drawn(json!({ "source": "traces" }))).status, 404, "no such collection");
}

#[test]
fn a_sample_of_the_questions_is_judged() {
    let script = Script::always(Reply::text("It is filled with colza oil [1]."))
        .then("m", Reply::text("It is filled with colza oil [1]."))
        .then("m", Reply::text("I don't know."))
        .then("j", Reply::text("{\"score\": 0.7, \"reason\": \"Right.\"}"));
    let mock = Mock::start_on_thread(script);
    let server = filled(with_judge(&mock).start());
    ask(&server, "What is the lamp filled with?");
    ask(&server, "Who walked on the moon?");
    let mut body = drawn(json!({ "source": "traces" }));
    body["judge"] = json!({ "model": "j" });
    let done = ended(&server, body);
    let means = &done["summary"]["answers"];
    assert_eq!((&means["cases"], &means["judged"], &means["judge_pass_rate"]), (&json!(2), &json!(1), &json!(1.0)), "{done}");
    assert_eq!((&means["evidence_hit"], &means["abstention_recall"]), (&json!(1.0), &json!(0.0)), "it abstained before: {done}");
    let asked = mock.calls().into_iter().find(|call| call.body["model"] == "j").unwrap();
    let judged = asked.body["messages"][1]["content"].as_str().unwrap();
    assert!(judged.contains(LAMP), "the judge compares with what was cited: {judged}");
}

#[test]
fn results_hold_no_words_of_documents_but_where_these_are() {
    let server = filled(Setup::hash().config("[traces]\nsample_evaluations = 1.0\n").start());
    let body = json!({ "collection": "default", "kind": "answers", "k": 1, "cases": [{ "question": "What is the lamp filled with?", "evidence": LAMP }] });
    let done = ended(&server, body);
    assert_eq!(done["results"][0]["evidence_hit"], true, "{done}");
    assert!(!done.to_string().contains("colza"), "{done}");
    let trace = format!("/v1/traces/{}", done["results"][0]["trace_id"].as_str().unwrap());
    let told = server.get(&trace).ok();
    assert!(told["kind"] == "evaluation" && told["answer"]["answer"].as_str().unwrap().contains("colza"), "{told}");
    server.delete("/v1/collections/default/documents/lamp").ok();
    assert_eq!(server.get(&trace).status, 404);
}

#[test]
fn evaluations_leave_few_traces_by_default() {
    let server = filled(Setup::hash().start());
    let cases: Vec<Value> = (0..40).map(|number| json!({ "question": format!("What is lamp {number} filled with?") })).collect();
    ended(&server, json!({ "collection": "default", "kind": "answers", "cases": cases }));
    let kept = server.get("/v1/traces?kind=evaluation").ok()["data"].as_array().unwrap().len();
    assert!(kept < 20, "{kept} of 40");
}

#[test]
fn what_a_restart_cuts_off_is_interrupted() {
    let mock = Mock::start_on_thread(Script::always(Reply::text("I don't know.").latency_ms(2_500)));
    let data = TempDir::new().unwrap();
    let server = filled(with_model(&mock).data(data.path()).start());
    let cases: Vec<Value> = (0..50).map(|number| json!({ "question": format!("What is number {number}?") })).collect();
    let begun = server.post(PATH, json!({ "collection": "default", "kind": "answers", "cases": cases })).ok();
    let path = format!("{PATH}/{}", begun["id"].as_str().unwrap());
    eventually(|| server.get(&path).ok()["done"] != json!(0));
    server.kill();
    let server = with_model(&mock).data(data.path()).start();
    let cut_off = server.get(&path).ok();
    assert_eq!(
        (&cut_off["status"], &cut_off["total"], &cut_off["summary"]),
        (&json!("interrupted"), &json!(50), &json!(null)),
        "{cut_off}"
    );
    assert_eq!(cut_off["results"].as_array().unwrap().len() as u64, cut_off["done"].as_u64().unwrap());
    // One that runs can be removed as well.
    let begun = server.post(PATH, json!({ "collection": "default", "kind": "answers", "cases": [{ "question": "q" }] })).ok();
    assert_eq!(server.delete(&format!("{PATH}/{}", begun["id"].as_str().unwrap())).status, 200);
}

#[test]
fn an_evaluation_whose_collection_goes_out_of_reach_fails() {
    let mock = Mock::start_on_thread(Script::always(Reply::text("I don't know.").latency_ms(300)));
    let bound = key_line("bound", "a", "collections = [\"default\"]");
    let server = with_model(&mock).config(&[key_line("all", "a", ""), bound].concat()).start().with_key("all");
    let server = filled(server);
    let cases: Vec<Value> = (0..100).map(|number| json!({ "question": format!("What is lamp {number} filled with?") })).collect();
    let view = server.view(Some("bound"));
    let begun = view.post(PATH, json!({ "collection": "default", "kind": "answers", "cases": cases })).ok();
    let path = format!("{PATH}/{}", begun["id"].as_str().unwrap());
    server
        .request("PATCH", "/v1/collections/default", &[], Some("application/json"), Some(b"{\"name\":\"renamed\"}".to_vec()))
        .unwrap()
        .ok();
    eventually(|| server.get(&path).ok()["status"] != "running");
    let failed = server.get(&path).ok();
    assert!(failed["status"] == "failed" && failed["reason"].as_str().unwrap().contains("collection"), "{failed}");
}

#[test]
fn what_can_not_be_measured_is_refused_and_the_oldest_go() {
    let server = filled(Setup::hash().config("[evaluations]\ncases_max = 2\nkept_max = 2\n").start());
    let case = json!({ "question": "q", "relevant": { "lamp": 1 } });
    let with = |fields: Value| {
        let mut body = json!({ "collection": "default", "kind": "retrieval" });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        body
    };
    for body in [
        with(json!({})),
        with(json!({ "cases": [case, case, case] })),
        with(json!({ "cases": [{ "question": "q" }] })),
        with(json!({ "cases": [{ "question": " ", "relevant": { "lamp": 1 } }] })),
        with(
            json!({ "cases": [{ "id": "a", "question": "q", "relevant": { "lamp": 1 } }, { "id": "a", "question": "r", "relevant": { "lamp": 1 } }] }),
        ),
        with(json!({ "cases": [case], "queries": [{ "_id": "q", "text": "q" }] })),
        with(json!({ "cases": [case], "modes": [] })),
        with(json!({ "cases": [case], "modes": ["lexical", "lexical"] })),
        with(json!({ "cases": [case], "k": 0 })),
        with(json!({ "cases": [case], "judge": { "model": "m" } })),
        with(json!({ "cases": [case], "surprise": 1 })),
    ] {
        let refused = server.post(PATH, body.clone());
        assert_eq!(refused.status, 400, "{body}: {}", refused.text());
    }
    let judged = json!({ "collection": "default", "kind": "answers", "cases": [case], "judge": { "model": "none" } });
    assert_eq!(server.post(PATH, judged).status, 404, "no such model");
    assert_eq!(server.post(PATH, json!({ "collection": "none", "kind": "retrieval", "cases": [case] })).status, 404);
    let made: Vec<Value> = (0..3).map(|_| ended(&server, with(json!({ "cases": [case] })))["id"].clone()).collect();
    // Pruned right behind the end.
    eventually(|| server.get(PATH).ok()["data"].as_array().unwrap().len() == 2);
    let left: Vec<Value> = server.get(PATH).ok()["data"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
    assert_eq!(left, made[1..]);
    let once = |body: &Value| {
        let bytes = body.to_string().into_bytes();
        server.request("POST", PATH, &[("idempotency-key", "once")], Some("application/json"), Some(bytes)).unwrap()
    };
    let body = with(json!({ "cases": [case] }));
    assert_eq!(once(&body).ok()["id"], once(&body).ok()["id"]);
    assert_eq!(once(&with(json!({ "cases": [case], "k": 3 }))).status, 409);
}

#[test]
fn an_evaluation_sees_what_its_key_may_read_and_is_seen_by_no_other() {
    let keys = [key_line("all", "a", ""), key_line("ann", "a", "principals = [\"ann\"]"), key_line("other", "b", "")];
    let server = Setup::hash().config(&keys.concat()).start().with_key("all");
    for (name, acl) in [("open", json!([])), ("bobs", json!(["bob"]))] {
        let body = json!({ "text": format!("minutes of {name}"), "external_id": name, "acl": acl });
        server.post("/v1/collections/default/documents?wait=true", body).ok();
    }
    let body = json!({ "collection": "default", "kind": "retrieval", "modes": ["lexical"], "cases": [{ "question": "minutes of bobs", "relevant": { "bobs": 1 } }] });
    let (all, ann) = (ended(&server, body.clone()), ended(&server.view(Some("ann")), body));
    let recall = |of: &Value| of["summary"]["modes"]["lexical"]["recall_at_10"].clone();
    assert_eq!((recall(&all), recall(&ann)), (json!(1.0), json!(0.0)));
    let [all, ann] = [all, ann].map(|one| format!("{PATH}/{}", one["id"].as_str().unwrap()));
    assert_eq!((server.get(&ann).status, server.view(Some("ann")).get(&all).status), (200, 404), "whoever manages the tenant sees all");
    assert_eq!(server.view(Some("other")).get(&all).status, 404);
    assert_eq!(server.view(Some("ann")).get(PATH).ok()["data"].as_array().unwrap().len(), 1);
}

fn write(folder: &Path, name: &str, lines: &[Value]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(folder.join(name), text).unwrap();
}

/// What `ragstone eval … --json` prints.
fn eval(server: &Server, folder: &Path, arguments: &[&str]) -> Value {
    let mut command = Command::new(program());
    command.arg("eval").args(arguments).args(["--json", "--server", &server.base]).current_dir(folder).env_remove("RAGSTONE_API_KEY");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_commands_measure_a_judged_set() {
    let server = Setup::hash().start();
    let folder = TempDir::new().unwrap();
    let set = folder.path().join("station");
    std::fs::create_dir(&set).unwrap();
    let (lamp, bell) = (json!({ "_id": "lamp", "title": "", "text": LAMP }), json!({ "_id": "bell", "title": "", "text": BELL }));
    write(&set, "corpus.jsonl", &[lamp, bell]);
    let queries = ["What is the lamp filled with every evening?", "When does the bell ring in fog?"];
    write(&set, "queries.jsonl", &[json!({ "_id": "q1", "text": queries[0] }), json!({ "_id": "q2", "text": queries[1] })]);
    let answers =
        [json!({ "_id": "q1", "answers": ["colza oil"], "doc": "lamp" }), json!({ "_id": "q2", "answers": ["twice"], "doc": "bell" })];
    write(&set, "answers.jsonl", &answers);
    std::fs::write(set.join("qrels.tsv"), "query-id\tcorpus-id\tscore\nq1\tlamp\t1\nq2\tbell\t1\n").unwrap();

    let modes = ["retrieval", "station", "--modes", "lexical,hybrid"];
    let first = eval(&server, folder.path(), &[&modes[..], &["--compare", "lexical,hybrid", "--per-query", "before.jsonl"]].concat());
    let measured = &first["sets"][0];
    assert_eq!((&measured["name"], &measured["documents"], &measured["queries"]), (&json!("station"), &json!(2), &json!(2)), "{first}");
    let lexical = &measured["modes"]["lexical"];
    for metric in ["ndcg_at_10", "recall_at_10", "recall_at_100", "mrr_at_10"] {
        assert_eq!(lexical[metric], 1.0, "{first}");
    }
    assert!(lexical["p99_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(measured["comparisons"][0]["comparison"]["metrics"]["ndcg_at_10"]["queries"], 2, "{first}");
    std::fs::write(folder.path().join("before.json"), first.to_string()).unwrap();
    for (baseline, p_value) in [("before.jsonl", json!(1.0)), ("before.json", json!(null))] {
        let again = eval(&server, folder.path(), &[&modes[..], &["--baseline", baseline]].concat());
        let ndcg = &again["sets"][0]["baseline"]["lexical"]["metrics"]["ndcg_at_10"];
        assert_eq!((&ndcg["delta"], &ndcg["p_value"]), (&json!(0.0), &p_value), "{again}");
    }

    write(folder.path(), "foreign.jsonl", &[json!({ "question": "Who composed the Brandenburg concertos?" })]);
    let asked = eval(&server, folder.path(), &["answers", "station", "--unanswerable", "foreign.jsonl", "--results", "results.jsonl"]);
    let means = &asked["sets"][0]["answers"];
    assert_eq!((&means["cases"], &means["answerable"], &means["retrieved"]), (&json!(3), &json!(2), &json!(1.0)), "{asked}");
    assert_eq!((&means["generated"], &asked["sets"][0]["failed"]), (&json!(0), &json!(0)), "{asked}");
    let results = std::fs::read_to_string(folder.path().join("results.jsonl")).unwrap();
    assert_eq!(results.lines().count(), 3);
    // A plain file needs a collection.
    let mut alone = Command::new(program());
    let alone = alone.args(["eval", "answers", "foreign.jsonl", "--server", &server.base]).current_dir(folder.path()).output().unwrap();
    assert!(!alone.status.success() && String::from_utf8_lossy(&alone.stderr).contains("--collection"));
}

#[test]
fn the_command_has_answers_judged() {
    let script = Script::always(Reply::text("It is filled with colza oil [1]."))
        .then("j", Reply::text("{\"score\": 0.7, \"reason\": \"Right.\"}"))
        .then("j", Reply::text("{\"score\": 0.69, \"reason\": \"Partly.\"}"))
        .then("j", Reply::text("Looks good to me!"));
    let mock = Mock::start_on_thread(script);
    let server = filled(with_judge(&mock).start());
    let folder = TempDir::new().unwrap();
    let questions = ["What is the lamp filled with?", "What fills the lamp?", "What is in the lamp?"];
    let known = questions.map(|question| json!({ "question": question, "expected": "colza oil" }));
    let unknown = [json!({ "question": "Who walked on the moon?", "answerable": false }), json!({ "question": "What is the lamp?" })];
    write(folder.path(), "cases.jsonl", &[&known[..], &unknown[..]].concat());
    let asked = ["answers", "cases.jsonl", "--collection", "default", "--clients", "1", "--judge", "j", "--results", "results.jsonl"];
    let judged = eval(&server, folder.path(), &asked);
    let (set, means) = (&judged["sets"][0], &judged["sets"][0]["answers"]);
    assert_eq!(set["judge"], json!({ "model": "j", "version": "judge-1", "pass": 0.7 }), "{judged}");
    assert_eq!((&means["judged"], &means["judge_unreadable"], &means["judge_pass_rate"]), (&json!(2), &json!(1), &json!(0.5)), "{judged}");
    assert!((means["judge_mean"].as_f64().unwrap() - 0.695).abs() < 1e-9, "{judged}");
    let calls = mock.calls();
    assert_eq!(calls.iter().filter(|call| call.body["model"] == "j").count(), 3, "nothing to compare with: not judged");
    let results = std::fs::read_to_string(folder.path().join("results.jsonl")).unwrap();
    let lines: Vec<Value> = results.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen = |at: usize| (&lines[at]["judge_score"], &lines[at]["judge_reason"], &lines[at]["judge_unreadable"]);
    assert_eq!(seen(0), (&json!(0.7), &json!("Right."), &json!(false)));
    assert_eq!(seen(2), (&json!(null), &json!(null), &json!(true)), "no verdict is guessed");
    let lower = eval(&server, folder.path(), &["answers", "cases.jsonl", "--collection", "default", "--limit", "1", "--pass", "0.5"]);
    assert_eq!((&lower["sets"][0]["judge"], &lower["sets"][0]["answers"]["judged"]), (&json!(null), &json!(0)), "{lower}");
}

#[test]
fn the_command_measures_what_compression_leaves() {
    let mock = Mock::start_on_thread(Script::always(Reply::text("It is filled with colza oil [1].")));
    let server = with_model(&mock).start();
    let text = "The pier was built of stone in the year of the great storm. The lamp is filled with colza oil every evening. \
        Gulls nest on the roof of the store. The keeper keeps a goat behind the house. Its milk is sold in the village below.";
    server.add_text("default", "station", text);
    let folder = TempDir::new().unwrap();
    let cases = [
        json!({ "id": "oil", "question": "What is the lamp filled with?", "expected": "colza oil", "evidence": LAMP }),
        json!({ "id": "lost", "question": "What is the lamp filled with?", "evidence": ["Its milk is sold in the village below.", LAMP] }),
        json!({ "id": "nowhere", "question": "What is the lamp filled with?", "evidence": "Nobody wrote this." }),
        json!({ "id": "without", "question": "Who built the pier?" }),
    ];
    write(folder.path(), "cases.jsonl", &cases);
    let measured = eval(&server, folder.path(), &["compression", "cases.jsonl", "--collection", "default", "--shares", "0.3,1"]);
    let shares = measured["sets"][0]["shares"].as_array().unwrap();
    assert_eq!(shares.iter().map(|share| share["share"].as_f64().unwrap()).collect::<Vec<_>>(), [1.0, 0.3], "{measured}");
    let (whole, some) = (&shares[0]["summary"], &shares[1]["summary"]);
    assert_eq!((&whole["cases"], &whole["generated"], &whole["with_evidence"]), (&json!(3), &json!(3), &json!(2)), "{measured}");
    assert_eq!((&whole["tokens_kept"], &whole["evidence_kept"], &whole["all_evidence_kept"]), (&json!(1.0), &json!(1.0), &json!(1.0)));
    assert_eq!((&some["evidence_kept"], &some["all_evidence_kept"]), (&json!(1.0), &json!(0.5)), "{measured}");
    assert_eq!(some["tokens_whole"], whole["tokens_whole"]);
    let kept = some["tokens"].as_f64().unwrap() / some["tokens_whole"].as_f64().unwrap();
    assert!(kept < 0.6 && (some["tokens_kept"].as_f64().unwrap() - kept).abs() < 1e-9, "{measured}");
    assert!(some["f1"].as_f64().unwrap() > 0.0 && some["f1"] == whole["f1"], "{measured}");
    let change = &shares[1]["comparison"]["metrics"]["all_evidence_kept"];
    assert_eq!((&change["queries"], &change["lost"]), (&json!(2), &json!(1)), "{measured}");
    // What is measured is what was sent.
    let prompts: Vec<String> = mock.calls().iter().map(|call| call.body["messages"].to_string()).collect();
    assert_eq!(prompts.iter().filter(|prompt| prompt.contains("colza oil every evening")).count(), 6);
    assert_eq!(prompts.iter().filter(|prompt| prompt.contains("Its milk is sold")).count(), 3);

    // Without a model nothing is compressed, and without traces nobody knows.
    let fails = |server: &Server| {
        let mut command = Command::new(program());
        let arguments = ["eval", "compression", "cases.jsonl", "--collection", "default", "--server", &server.base];
        let output = command.args(arguments).current_dir(folder.path()).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let bare = filled(Setup::hash().start());
    assert!(fails(&bare).contains("the server has none"), "{}", fails(&bare));
    let untraced = filled(with_model(&mock).config("[traces]\nenabled = false\n").start());
    assert!(fails(&untraced).contains("traces.enabled"), "{}", fails(&untraced));
}
