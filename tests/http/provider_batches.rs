use crate::scopes::key_line;
use crate::support::{Server, Setup, eventually};
use mock::{Mock, Reply, Script};
use serde_json::{Value, json};
use tempfile::TempDir;

fn setup(mock: &Mock, more: &str) -> Setup {
    let url = mock.url();
    Setup::hash().config(&format!("[llm]\nbase_url = \"{url}/v1\"\nmodel = \"m\"\n[batches]\npoll_ms = 10\npoll_ms_max = 20\n{more}\n"))
}

fn request(number: usize) -> Value {
    json!({ "custom_id": format!("id-{number}"), "body": { "messages": [{ "role": "user", "content": format!("question {number}") }] } })
}

fn begin(server: &Server, count: usize) -> String {
    let requests: Vec<Value> = (0..count).map(request).collect();
    let accepted = server.post("/v1/chat/completions/batch", json!({ "model": "m", "requests": requests, "via": "provider" }));
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    format!("/v1/jobs/{}", accepted.json()["job_id"].as_str().unwrap())
}

fn until(server: &Server, job: &str, status: &str) -> Value {
    eventually(|| server.get(job).ok()["status"] == status);
    server.get(job).ok()
}

/// How often the provider was asked for this.
fn calls(mock: &Mock, method: &str, path: &str) -> usize {
    mock.calls().iter().filter(|call| call.method == method && call.path == path).count()
}

#[test]
fn a_provider_works_on_a_batch_and_its_answers_come_back_in_order() {
    let script = Script::default().batch_polls(3).then("m", Reply::default()).then("m", Reply::status(500));
    // Looking may fail for a moment.
    let mock = Mock::start_on_thread(script.then("/v1/batches/{id}", Reply::status(503)));
    let server = setup(&mock, "").start();
    let job = begin(&server, 4);
    let events = server.get(&format!("{job}/events")).text();
    assert!(events.contains("\"waiting\"") && events.trim().rsplit("event: ").next().unwrap().starts_with("done"), "{events}");
    let done = server.get(&job).ok();
    assert_eq!((&done["status"], &done["done"], &done["failed"]), (&json!("succeeded"), &json!(4), &json!(1)), "{done}");
    assert!(done["provider_batch_id"].as_str().unwrap().starts_with("batch_") && done["usage"]["completion_tokens"].as_u64().unwrap() > 0);
    let results = server.get(&format!("{job}/results")).ok()["data"].clone();
    for (number, result) in results.as_array().unwrap().iter().enumerate() {
        assert_eq!((&result["index"], &result["id"]), (&json!(number), &json!(format!("id-{number}"))));
        match number {
            1 => assert_eq!(result["error"]["status"], 502, "{result}"),
            _ => assert!(result["answer"]["choices"][0]["message"]["content"].as_str().unwrap().contains(&format!("question {number}"))),
        }
    }
    assert_eq!((calls(&mock, "POST", "/v1/files"), calls(&mock, "POST", "/v1/batches")), (1, 1));
    assert_eq!(mock.calls().iter().filter(|call| call.method == "DELETE").count(), 3, "no file stays there");
    assert_eq!(calls(&mock, "POST", "/v1/chat/completions"), 0);
}

#[test]
fn after_kill_9_the_same_batch_is_looked_at_and_no_second_one_begun() {
    let mock = Mock::start_on_thread(Script::default().batch_polls(60));
    let data = TempDir::new().unwrap();
    let server = setup(&mock, "").data(data.path()).start();
    let job = begin(&server, 3);
    eventually(|| server.get(&job).ok()["stage"] == "waiting");
    server.kill();
    let server = setup(&mock, "").data(data.path()).start();
    let done = until(&server, &job, "succeeded");
    assert_eq!((&done["done"], &done["failed"]), (&json!(3), &json!(0)), "{done}");
    assert_eq!((calls(&mock, "POST", "/v1/files"), calls(&mock, "POST", "/v1/batches")), (1, 1));
}

#[test]
fn killed_before_the_provider_said_its_id_the_batch_is_found_by_its_name() {
    // It takes the batch in, and nobody hears of it.
    let mock = Mock::start_on_thread(Script::default().batch_polls(2).then("/v1/batches", Reply::default().latency_ms(3_600_000)));
    let data = TempDir::new().unwrap();
    let server = setup(&mock, "").data(data.path()).start();
    let job = begin(&server, 2);
    eventually(|| calls(&mock, "POST", "/v1/batches") == 1);
    server.kill();
    // The first call dies with its client, so the batch is made here as it would have been there.
    let file = "file-1";
    let name = job.trim_start_matches("/v1/jobs/");
    let body = json!({ "input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h", "metadata": { "ragstone_job": name } });
    let agent = ureq::Agent::new_with_defaults();
    let begun = agent.post(format!("{}/v1/batches", mock.url())).content_type("application/json").send(body.to_string());
    assert_eq!(begun.unwrap().status(), 200);
    let before = calls(&mock, "POST", "/v1/batches");
    let server = setup(&mock, "").data(data.path()).start();
    let done = until(&server, &job, "succeeded");
    assert_eq!(done["done"], 2, "{done}");
    assert_eq!(calls(&mock, "POST", "/v1/batches"), before, "it was looked for first");
    assert_eq!(calls(&mock, "POST", "/v1/files"), 1);
}

#[test]
fn a_create_that_fails_for_a_moment_is_made_again_after_a_look() {
    let mock = Mock::start_on_thread(Script::default().then("/v1/batches", Reply::status(503)));
    let server = setup(&mock, "").start();
    let job = begin(&server, 2);
    until(&server, &job, "succeeded");
    let calls = mock.calls();
    let order: Vec<&str> = calls
        .iter()
        .filter(|call| call.path.starts_with("/v1/batches") && !call.path.contains("batch_"))
        .map(|call| call.method.as_str())
        .collect();
    assert_eq!(order, ["POST", "GET", "POST"]);
}

#[test]
fn cancelling_cancels_there_and_so_does_the_end_of_the_key() {
    let mock = Mock::start_on_thread(Script::default().batch_polls(1_000_000));
    let server = setup(&mock, &key_line("operator", "default", "operator = true")).start().with_key("operator");
    let job = begin(&server, 2);
    eventually(|| server.get(&job).ok()["stage"] == "waiting");
    let cancelling = server.delete(&job).ok();
    assert_eq!(cancelling["status"], "cancelling", "{cancelling}");
    let cancelled = until(&server, &job, "cancelled");
    let id = cancelled["provider_batch_id"].as_str().unwrap();
    assert_eq!(calls(&mock, "POST", &format!("/v1/batches/{id}/cancel")), 1);
    let made = server.post("/v1/keys", json!({ "name": "k", "scopes": ["query"] })).ok();
    let job = begin(&server.view(Some(made["key"].as_str().unwrap())), 1);
    eventually(|| server.get(&job).ok()["stage"] == "waiting");
    server.delete(&format!("/v1/keys/{}", made["id"].as_str().unwrap())).ok();
    let ended = until(&server, &job, "failed");
    let id = ended["provider_batch_id"].as_str().unwrap();
    assert_eq!((ended["error"]["code"].as_str(), calls(&mock, "POST", &format!("/v1/batches/{id}/cancel"))), (Some("unauthorized"), 1));
}

#[test]
fn what_a_provider_refuses_fails_with_its_words_and_models_without_batches_are_named() {
    let mock = Mock::start_on_thread(Script::default().then("/v1/files", Reply::status(400)));
    let more = format!(
        "[[llm.deployments]]\nname = \"c\"\nprovider = \"anthropic\"\nmodel = \"claude\"\nbase_url = \"{}/v1\"\n\
         [[llm.models]]\nname = \"claude\"\nladder = [[\"c\"]]\n",
        mock.url()
    );
    let server = setup(&mock, &more).start();
    let ended = until(&server, &begin(&server, 1), "failed");
    assert_eq!(ended["error"]["code"], "provider_refused", "{ended}");
    let requests = json!([{ "custom_id": "a", "body": { "messages": [{ "role": "user", "content": "x" }] } }]);
    let none = server.post("/v1/chat/completions/batch", json!({ "model": "claude", "requests": requests, "via": "provider" }));
    assert_eq!((none.status, none.json()["error"]["code"].as_str()), (400, Some("unsupported_by_model")), "{}", none.text());
}

#[test]
fn a_batch_at_a_provider_costs_half_and_is_held_under_budgets_before_it_is_handed_over() {
    let prices = "[[llm.prices]]\nmodel = \"m\"\ninput = 10.0\noutput = 20.0\nbatch_discount = 0.5\n";
    let budget = |limit: f64| format!("{prices}[[budgets]]\nname = \"all\"\nlimit_usd = {limit}\nperiod = \"total\"\n");
    // Whose use it doesn't tell is counted here.
    let mock = Mock::start_on_thread(Script::default().then("m", Reply::default().without_usage()));
    let server = setup(&mock, &budget(1.0)).start();
    let body = json!({ "model": "m", "via": "provider", "requests": (0..3).map(request).collect::<Vec<_>>() });
    let headers = [("x-ragstone-tags", "night")];
    let path = "/v1/chat/completions/batch";
    let accepted = server.request("POST", path, &headers, Some("application/json"), Some(body.to_string().into_bytes())).unwrap().ok();
    let job = format!("/v1/jobs/{}", accepted["job_id"].as_str().unwrap());
    let used = until(&server, &job, "succeeded")["usage"].clone();
    let tokens = |name: &str| used[name].as_f64().unwrap();
    let results = server.get(&format!("{job}/results")).ok();
    let told: f64 = results["data"].as_array().unwrap().iter().filter_map(|one| one["answer"]["usage"]["completion_tokens"].as_f64()).sum();
    assert!(told > 0.0 && tokens("completion_tokens") > told, "{used}: {told} were told of, by two of three");
    let cost = (tokens("prompt_tokens") * 10.0 + tokens("completion_tokens") * 20.0) / 1e6 / 2.0;
    let budgets = server.get("/v1/budgets").ok();
    let (spent, reserved) = (&budgets["data"][0]["spent_usd"], &budgets["data"][0]["reserved_usd"]);
    assert!((spent.as_f64().unwrap() - cost).abs() < 1e-9 && reserved.as_f64() == Some(0.0), "{budgets}, not {cost}");
    eventually(|| server.get("/v1/usage").ok()["total"]["completion_tokens"] == used["completion_tokens"]);
    let usage = server.get("/v1/usage?tag=night").ok();
    assert!((usage["total"]["cost_usd"].as_f64().unwrap() - cost).abs() < 1e-9, "{usage}");

    let mock = Mock::start_on_thread(Script::default());
    let server = setup(&mock, &budget(0.000_001)).start();
    let job = begin(&server, 3);
    assert_eq!(until(&server, &job, "failed")["error"]["code"], "budget_exhausted");
    assert_eq!((calls(&mock, "POST", "/v1/files"), calls(&mock, "POST", "/v1/batches")), (0, 0));
}
