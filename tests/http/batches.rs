use crate::scopes::key_line;
use crate::support::{Server, Setup, eventually};
use mock::{Fault, Mock, Reply, Script};
use serde_json::{Value, json};
use tempfile::TempDir;

const BATCH: &str = "/v1/collections/default/query/batch";
const ANSWER: &str = "The lamp is filled with colza oil [1].";

fn setup(mock: &Mock, more: &str) -> Setup {
    let url = mock.url();
    Setup::hash().config(&format!("[llm]\nbase_url = \"{url}/v1\"\nmodel = \"m\"\n[llm.retry]\nbackoff_ms = 1\n{more}\n"))
}

fn filled(server: Server) -> Server {
    server.add_text("default", "lamp", "The lamp is filled with colza oil every evening.");
    server
}

fn question(number: usize) -> String {
    format!("What is the lamp filled with on evening{number}?")
}

fn questions(count: usize) -> Vec<String> {
    (0..count).map(question).collect()
}

/// Makes a batch; the path of its job.
fn begin(server: &Server, body: Value) -> String {
    let reply = server.post(BATCH, body);
    assert_eq!(reply.status, 202, "{}", reply.text());
    format!("/v1/jobs/{}", reply.json()["job_id"].as_str().unwrap())
}

fn until(server: &Server, job: &str, status: &str) -> Value {
    eventually(|| server.get(job).ok()["status"] == status);
    server.get(job).ok()
}

/// All results, read in pages of three.
fn results(server: &Server, job: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("{job}/results?limit=3{cursor}")).ok();
        let data = page["data"].as_array().unwrap();
        assert!(data.len() <= 3);
        all.extend(data.iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

fn indices(results: &[Value]) -> Vec<usize> {
    results.iter().map(|result| result["index"].as_u64().unwrap() as usize).collect()
}

/// How often a model was asked each of so many questions.
fn times_asked(mock: &Mock, count: usize) -> Vec<usize> {
    let bodies: Vec<String> = mock.calls().iter().map(|call| call.body.to_string()).collect();
    (0..count).map(|number| bodies.iter().filter(|body| body.contains(&question(number))).count()).collect()
}

#[test]
fn many_questions_are_one_job_and_what_fails_is_a_result() {
    let broken = Reply::text(ANSWER).with_fault(Fault::ResetInBody(1));
    let mock = Mock::start_on_thread(Script::always(Reply::text(ANSWER)).then("m", Reply::text(ANSWER)).then("m", broken));
    let server = filled(setup(&mock, "").start());
    let asked = json!({
        "questions": [question(0), { "id": "broken", "question": question(1) }, { "id": "third", "question": question(2), "top_k": 1 }, "Which enzyme?"],
        "concurrency": 1, "top_k": 3, "tags": ["faq"], "cache": "bypass",
    });
    let accepted = server.post(BATCH, asked).ok();
    assert_eq!(
        (&accepted["kind"], &accepted["total"], &accepted["concurrency"]),
        (&json!("query_batch"), &json!(4), &json!(1)),
        "{accepted}"
    );
    let job = format!("/v1/jobs/{}", accepted["job_id"].as_str().unwrap());
    // The stream ends by itself when the job does.
    let events = server.get(&format!("{job}/events")).text();
    let last = events.trim().rsplit("event: ").next().unwrap();
    assert!(last.starts_with("done") && last.contains("\"succeeded\""), "{events}");
    let done = server.get(&job).ok();
    assert_eq!((&done["status"], &done["stage"], &done["error"]), (&json!("succeeded"), &json!("ready"), &json!(null)), "{done}");
    assert_eq!((&done["done"], &done["total"], &done["failed"]), (&json!(4), &json!(4), &json!(1)));
    let results = results(&server, &job);
    assert_eq!(indices(&results), [0, 1, 2, 3]);
    assert_eq!((&results[0]["id"], &results[1]["id"], &results[2]["id"]), (&json!(null), &json!("broken"), &json!("third")));
    assert_eq!((&results[0]["status"], &results[0]["answer"]["answer"]), (&json!("succeeded"), &json!(ANSWER)), "{}", results[0]);
    assert_eq!(results[0]["answer"]["citations"][0]["verdict"], "supported");
    assert_eq!((&results[1]["status"], &results[1]["error"]["code"]), (&json!("failed"), &json!("answer_interrupted")), "{}", results[1]);
    assert!(results[1].get("answer").is_none() && results[2].get("error").is_none());
    let used: u64 = results.iter().filter_map(|result| result["answer"]["usage"]["prompt_tokens"].as_u64()).sum();
    assert!(used > 0);
    assert_eq!(done["usage"]["prompt_tokens"], used, "{done}");
    assert_eq!(server.delete(&job).ok()["status"], "succeeded", "what has ended stays as it is");
}

#[test]
fn a_batch_survives_kill_9_and_asks_nothing_twice_that_was_answered() {
    const COUNT: usize = 40;
    let mock = Mock::start_on_thread(Script::always(Reply::text(ANSWER).latency_ms(40)));
    let data = TempDir::new().unwrap();
    let server = filled(setup(&mock, "").data(data.path()).start());
    let job = begin(&server, json!({ "questions": questions(COUNT), "concurrency": 4 }));
    eventually(|| server.get(&job).ok()["done"].as_u64().unwrap() >= 8);
    let before = results(&server, &job);
    let seen = server.get(&job).ok();
    assert_eq!((&seen["status"], &seen["stage"]), (&json!("running"), &json!("answering")), "{seen}");
    assert!(before.len() >= 8 && before.len() < COUNT, "partial results while it runs: {}", before.len());
    server.kill();
    let server = setup(&mock, "").data(data.path()).start();
    let done = until(&server, &job, "succeeded");
    assert_eq!((&done["done"], &done["failed"]), (&json!(COUNT), &json!(0)), "{done}");
    let after = results(&server, &job);
    assert_eq!(indices(&after), (0..COUNT).collect::<Vec<_>>(), "nothing is lost");
    assert!(before.iter().all(|result| after.contains(result)), "what was answered stays as it was");
    let asked = times_asked(&mock, COUNT);
    assert!(indices(&before).iter().all(|index| asked[*index] == 1), "asked again: {asked:?}");
    // Only what was under way when it died.
    let twice = asked.iter().filter(|times| **times > 1).count();
    assert!(asked.iter().all(|times| (1..=2).contains(times)) && twice <= 8, "{asked:?}");
}

#[test]
fn a_cancelled_batch_asks_nothing_more_and_keeps_what_is_answered() {
    let mock = Mock::start_on_thread(Script::always(Reply::text(ANSWER).latency_ms(30)));
    let server = filled(setup(&mock, "").start());
    let job = begin(&server, json!({ "questions": questions(500) }));
    eventually(|| server.get(&job).ok()["done"].as_u64().unwrap() >= 3);
    let cancelled = server.delete(&job).ok();
    assert_eq!((&cancelled["status"], &cancelled["stage"]), (&json!("cancelled"), &json!("cancelled")), "{cancelled}");
    eventually(|| mock.calls().iter().all(|call| call.finished.is_some()));
    let calls = mock.call_count();
    server.post("/v1/collections/default/query", json!({ "question": question(1000), "cache": "bypass" })).ok();
    assert_eq!(mock.call_count(), calls + 1, "only who asked now");
    let later = server.get(&job).ok();
    assert_eq!(later["done"], cancelled["done"]);
    assert_eq!(results(&server, &job).len() as u64, later["done"].as_u64().unwrap());
    let events = server.get(&format!("{job}/events")).text();
    assert!(events.starts_with("event: done"), "{events}");
}

#[test]
fn live_questions_go_before_a_batch() {
    let mock = Mock::start_on_thread(Script::always(Reply::text(ANSWER).latency_ms(200)));
    let server = filled(setup(&mock, "[server]\nconcurrent_answers_max = 4\n").start());
    let job = begin(&server, json!({ "questions": questions(100), "concurrency": 16 }));
    eventually(|| mock.call_count() >= 3);
    for number in 200..205 {
        let answer = server.post("/v1/collections/default/query", json!({ "question": question(number), "cache": "bypass" })).ok();
        assert_eq!(answer["degraded"], false, "there is always a place for it");
    }
    server.delete(&job).ok();
}

#[test]
fn batches_have_bounds() {
    let mock = Mock::start_on_thread(Script::always(Reply::text(ANSWER).latency_ms(10_000)));
    let config = "[batches]\nitems_max = 3\nbytes_max = 3000\nunfinished_max = 1\nconcurrent_max = 2\nconcurrency = 1\n";
    let server = filled(setup(&mock, config).start());
    let refused = |body: Value| {
        let reply = server.post(BATCH, body);
        (reply.status, reply.json()["code"].as_str().unwrap().to_owned(), reply.json()["detail"].as_str().unwrap().to_owned())
    };
    for body in [
        json!({ "questions": [] }),
        json!({ "questions": questions(4) }),
        json!({ "questions": questions(1), "concurrency": 3 }),
        json!({ "questions": questions(1), "concurrency": 0 }),
        json!({ "questions": questions(1), "nonsense": 1 }),
        json!({ "questions": questions(1), "stream": true }),
        json!({ "questions": [{ "question": "x", "nonsense": 1 }] }),
        json!({ "questions": [{ "question": "x", "id": "" }] }),
        json!({ "questions": [7] }),
        json!({}),
    ] {
        assert_eq!(refused(body.clone()).0, 400, "{body}");
    }
    let (status, _, detail) = refused(json!({ "questions": ["fine", ""] }));
    assert!(status == 400 && detail.starts_with("questions[1]: "), "{detail}");
    assert_eq!(refused(json!({ "questions": ["x".repeat(4000)] })).0, 413);
    let for_all = json!({ "questions": questions(3), "filter": { "type": "eq", "key": "k", "value": "x".repeat(1500) } });
    assert_eq!(refused(for_all).0, 413, "what holds for all is there three times");
    assert_eq!(server.post("/v1/collections/none/query/batch", json!({ "questions": ["x"] })).status, 404);
    let ask = |key: &str, body: Value| {
        let headers = [("idempotency-key", key)];
        server.request("POST", BATCH, &headers, Some("application/json"), Some(body.to_string().into_bytes())).unwrap()
    };
    let first = ask("k", json!({ "questions": questions(2) })).ok();
    let again = ask("k", json!({ "questions": questions(2) })).ok();
    assert_eq!(first["job_id"], again["job_id"], "the same request is one batch, though there is room for no other");
    assert_eq!(ask("k", json!({ "questions": questions(1) })).status, 409);
    let busy = ask("other", json!({ "questions": questions(1) }));
    assert_eq!((busy.status, busy.json()["code"].as_str()), (429, Some("batches_busy")), "{}", busy.text());
    assert!(busy.header("retry-after").is_some());
    let job = format!("/v1/jobs/{}", first["job_id"].as_str().unwrap());
    assert_eq!(server.get(&format!("{job}/results?limit=0")).status, 400);
    assert_eq!(server.get(&format!("{job}/results?cursor=x")).status, 400);
    server.delete(&job).ok();
    eventually(|| ask("other", json!({ "questions": questions(1) })).status == 202);
}

#[test]
fn a_batch_reads_as_its_asker_and_is_read_by_it_alone() {
    let mock = Mock::start_on_thread(Script::always(Reply::text(ANSWER)));
    let reader = |name: &str| key_line(name, "a", &format!("scopes = [\"query\"]\nprincipals = [\"{name}\"]"));
    let keys = [key_line("manager", "a", ""), reader("ann"), reader("bob"), key_line("stranger", "b", "")].concat();
    let server = setup(&mock, &keys).start();
    let [manager, ann, bob, stranger] = ["manager", "ann", "bob", "stranger"].map(|key| server.view(Some(key)));
    let secret = json!({ "text": "The lamp is filled with colza oil every evening.", "name": "l.md", "acl": ["ann"] });
    assert_eq!(manager.post("/v1/collections/default/documents?wait=true", secret).status, 200);
    let body = json!({ "questions": [question(0)] });
    let (of_ann, of_bob) = (begin(&ann, body.clone()), begin(&bob, body));
    until(&ann, &of_ann, "succeeded");
    until(&bob, &of_bob, "succeeded");
    assert_eq!(results(&ann, &of_ann)[0]["answer"]["answer"], ANSWER);
    let nothing = &results(&bob, &of_bob)[0]["answer"];
    assert_eq!((&nothing["abstained"], &nothing["sources"]), (&json!(true), &json!([])), "{nothing}");
    for path in [of_ann.clone(), format!("{of_ann}/results"), format!("{of_ann}/events")] {
        assert_eq!([&bob, &stranger].map(|other| other.get(&path).status), [404, 404], "{path}");
        assert_eq!(manager.get(&path).status, 200, "who manages the tenant sees it");
    }
    assert_eq!([&bob, &stranger].map(|other| other.delete(&of_ann).status), [404, 404]);
    let never = stranger.get("/v1/jobs/job_01jzzzzzzzzzzzzzzzzzzzzzzz").json()["detail"]
        .as_str()
        .unwrap()
        .replace("job_01jzzzzzzzzzzzzzzzzzzzzzzz", "ID");
    let id = of_ann.trim_start_matches("/v1/jobs/");
    assert_eq!(stranger.get(&of_ann).json()["detail"].as_str().unwrap().replace(id, "ID"), never);
    assert_eq!(manager.delete("/v1/collections/default").status, 200);
    assert_eq!(ann.get(&of_ann).status, 404, "it goes with the collection that it quotes");
}

#[test]
fn a_batch_ends_with_the_key_that_asked() {
    let mock = Mock::start_on_thread(Script::always(Reply::text(ANSWER).latency_ms(50)));
    let server = filled(setup(&mock, &key_line("operator", "default", "operator = true")).start().with_key("operator"));
    let made = server.post("/v1/keys", json!({ "name": "k", "scopes": ["query"] })).ok();
    let holder = server.view(Some(made["key"].as_str().unwrap()));
    let job = begin(&holder, json!({ "questions": questions(1000) }));
    eventually(|| holder.get(&job).ok()["done"].as_u64().unwrap() >= 1);
    server.delete(&format!("/v1/keys/{}", made["id"].as_str().unwrap())).ok();
    let ended = until(&server, &job, "failed");
    assert_eq!(ended["error"]["code"], "unauthorized", "{ended}");
    assert!(ended["done"].as_u64().unwrap() < 1000);
}

fn completion(id: &str, text: &str) -> Value {
    json!({ "custom_id": id, "body": { "messages": [{ "role": "user", "content": text }] } })
}

#[test]
fn completions_come_in_batches_too() {
    let script = Script::default().then("m", Reply::status(400)).then("m", Reply::status(429).header("retry-after", "0"));
    let mock = Mock::start_on_thread(script);
    let server = setup(&mock, "").start();
    let path = "/v1/chat/completions/batch";
    let requests = [completion("bad", "one"), completion("busy", "two"), completion("fine", "three")];
    let accepted = server.post(path, json!({ "model": "m", "requests": requests, "concurrency": 1 })).ok();
    assert_eq!((&accepted["kind"], &accepted["collection_id"]), (&json!("completion_batch"), &json!(null)), "{accepted}");
    let job = format!("/v1/jobs/{}", accepted["job_id"].as_str().unwrap());
    let done = until(&server, &job, "succeeded");
    assert_eq!((&done["done"], &done["failed"]), (&json!(3), &json!(1)), "{done}");
    let results = results(&server, &job);
    assert_eq!((&results[0]["id"], &results[0]["error"]["status"]), (&json!("bad"), &json!(400)), "{}", results[0]);
    let said = |result: &Value| result["answer"]["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    assert!(said(&results[1]).contains("two") && said(&results[2]).contains("three"));
    assert_eq!(results[2]["answer"]["object"], "chat.completion");
    let twice = json!({ "model": "m", "requests": [completion("a", "x"), completion("a", "y")] });
    let mut streamed = json!({ "model": "m", "requests": [completion("a", "x")] });
    streamed["requests"][0]["body"]["stream"] = json!(true);
    let mut elsewhere = json!({ "model": "m", "requests": [completion("a", "x")] });
    elsewhere["requests"][0]["body"]["model"] = json!("other");
    for (body, status) in
        [(twice, 400), (streamed, 400), (elsewhere, 400), (json!({ "model": "none", "requests": [completion("a", "x")] }), 404)]
    {
        let reply = server.post(path, body.clone());
        assert_eq!(reply.status, status, "{body}");
        assert!(reply.json()["error"]["message"].is_string(), "in OpenAI's shape: {}", reply.text());
    }
}
