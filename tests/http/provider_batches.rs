use crate::scopes::key_line;
use crate::support::{Server, Setup, eventually};
use mock::{Mock, Reply, Script, Usage};
use serde_json::{Value, json};
use tempfile::TempDir;

fn setup(mock: &Mock, more: &str) -> Setup {
    let url = mock.url();
    Setup::hash().config(&format!("[llm]\nbase_url = \"{url}/v1\"\nmodel = \"m\"\n[batches]\npoll_ms = 10\npoll_ms_max = 20\n{more}\n"))
}

/// The same with other lines in `[batches]`.
fn setup_with(mock: &Mock, more: &str) -> Setup {
    Setup::hash().config(&format!("[llm]\nbase_url = \"{}/v1\"\nmodel = \"m\"\n[batches]\n{more}\n", mock.url()))
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
    let budget = |limit: f64| format!("{PRICES}[[budgets]]\nname = \"all\"\nlimit_usd = {limit}\nperiod = \"total\"\n");
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
    assert_eq!(usage["total"]["requests"], 3, "each is a call");

    let mock = Mock::start_on_thread(Script::default());
    let server = setup(&mock, &budget(0.000_001)).start();
    let job = begin(&server, 3);
    assert_eq!(until(&server, &job, "failed")["error"]["code"], "budget_exhausted");
    assert_eq!((calls(&mock, "POST", "/v1/files"), calls(&mock, "POST", "/v1/batches")), (0, 0));
}

/// Dollars a million tokens.
const PRICES: &str = "[[llm.prices]]\nmodel = \"m\"\ninput = 10.0\ncached_input = 1.0\noutput = 20.0\nbatch_discount = 0.5\n";

fn with_budget() -> String {
    format!("{PRICES}[[budgets]]\nname = \"all\"\nlimit_usd = 1.0\nperiod = \"total\"\n")
}

fn total(server: &Server) -> Value {
    server.get("/v1/usage").ok()["total"].clone()
}

fn budget(server: &Server, field: &str) -> f64 {
    server.get("/v1/budgets/all").ok()[field].as_f64().unwrap()
}

fn files_removed(mock: &Mock) -> usize {
    mock.calls().iter().filter(|call| call.method == "DELETE").count()
}

/// Six of the nine tokens that are read come out of the provider's cache.
fn used() -> Usage {
    Usage { prompt_tokens: 9, completion_tokens: 5, cached_tokens: 6 }
}

/// Dollars that an answer costs which uses that.
const COST: f64 = (3.0 * 10.0 + 6.0 * 1.0 + 5.0 * 20.0) / 1e6 / 2.0;

#[test]
fn after_a_restart_what_is_held_is_held_on_and_the_true_use_is_booked() {
    for (is_killed, more) in [(false, with_budget()), (true, with_budget()), (false, PRICES.to_owned()), (true, PRICES.to_owned())] {
        let mock = Mock::start_on_thread(Script::always(Reply::text("four").usage(used())).batch_polls(60));
        let data = TempDir::new().unwrap();
        let is_budgeted = more.contains("budgets");
        let mut server = setup(&mock, &more).data(data.path()).start();
        let job = begin(&server, 3);
        eventually(|| server.get(&job).ok()["stage"] == "waiting");
        let held = is_budgeted.then(|| budget(&server, "reserved_usd"));
        assert!(held.is_none_or(|held| held > 3.0 * COST), "{held:?}");
        match is_killed {
            true => drop(server.kill()),
            false => assert_eq!(server.terminate().0, Some(0)),
        }
        // Long waits, so that it is still under way when it is looked at.
        let slow = more.replace(PRICES, &format!("poll_ms = 2000\npoll_ms_max = 2000\n{PRICES}"));
        let slow = setup_with(&mock, &slow).data(data.path()).start();
        assert_eq!((is_budgeted.then(|| budget(&slow, "reserved_usd")), total(&slow)["abandoned"].as_u64()), (held, Some(0)));
        drop(slow.kill());
        let server = setup(&mock, &more).data(data.path()).start();
        until(&server, &job, "succeeded");
        let total = total(&server);
        assert_eq!((&total["requests"], &total["abandoned"], &total["prompt_tokens"]), (&json!(3), &json!(0), &json!(27)), "{total}");
        assert!((total["cost_usd"].as_f64().unwrap() - 3.0 * COST).abs() < 1e-9, "{total}");
        if is_budgeted {
            assert!((budget(&server, "spent_usd") - 3.0 * COST).abs() < 1e-9);
            assert_eq!(budget(&server, "reserved_usd"), 0.0);
        }
    }
}

#[test]
fn what_is_held_for_a_batch_that_is_gone_is_spent() {
    let mock = Mock::start_on_thread(Script::default().batch_polls(1_000_000));
    let data = TempDir::new().unwrap();
    let server = setup(&mock, &with_budget()).data(data.path()).start();
    let job = begin(&server, 3);
    eventually(|| server.get(&job).ok()["stage"] == "waiting");
    let held = budget(&server, "reserved_usd");
    drop(server.kill());
    // Without its deployment nobody can go on with it.
    let server = Setup::hash().config(&with_budget()).data(data.path()).start();
    assert_eq!(until(&server, &job, "failed")["error"]["code"], "deployment_gone");
    assert_eq!((budget(&server, "spent_usd"), budget(&server, "reserved_usd")), (held, 0.0));
    assert_eq!((&total(&server)["requests"], &total(&server)["abandoned"]), (&json!(3), &json!(3)));
}

#[test]
fn every_end_is_booked_and_leaves_no_file_at_the_provider() {
    let server_of = |mock: &Mock, more: &str| setup(mock, &format!("{more}{PRICES}{}", key_line("operator", "default", "operator = true")));
    let abandoned = |server: &Server| {
        let total = total(server);
        (total["requests"].as_u64(), total["abandoned"].as_u64(), total["cost_usd"].as_f64().unwrap() > 0.0)
    };
    // The key is revoked.
    let mock = Mock::start_on_thread(Script::default().batch_polls(1_000_000));
    let server = server_of(&mock, "").start().with_key("operator");
    let made = server.post("/v1/keys", json!({ "name": "k", "scopes": ["query"] })).ok();
    let job = begin(&server.view(Some(made["key"].as_str().unwrap())), 2);
    eventually(|| server.get(&job).ok()["stage"] == "waiting");
    server.delete(&format!("/v1/keys/{}", made["id"].as_str().unwrap())).ok();
    assert_eq!(until(&server, &job, "failed")["error"]["code"], "unauthorized");
    assert_eq!((abandoned(&server), files_removed(&mock)), ((Some(2), Some(2), true), 1));
    // It takes too long.
    let mock = Mock::start_on_thread(Script::default().batch_polls(1_000_000));
    let server = server_of(&mock, "provider_wait_s_max = 1\n").start().with_key("operator");
    let job = begin(&server, 2);
    assert_eq!(until(&server, &job, "failed")["error"]["code"], "provider_too_slow");
    assert_eq!((abandoned(&server), files_removed(&mock)), ((Some(2), Some(2), true), 1));
    // It is cancelled there before any answer.
    let mock = Mock::start_on_thread(Script::default().batch_polls(1_000_000));
    let server = server_of(&mock, "").start().with_key("operator");
    let job = begin(&server, 2);
    eventually(|| server.get(&job).ok()["stage"] == "waiting");
    server.delete(&job).ok();
    until(&server, &job, "cancelled");
    eventually(|| files_removed(&mock) == 1);
    assert_eq!(total(&server)["requests"], 0);
    // The provider refuses to begin it.
    let mock = Mock::start_on_thread(Script::default().then("/v1/batches", Reply::status(400)));
    let server = server_of(&mock, "").start().with_key("operator");
    let job = begin(&server, 2);
    assert_eq!(until(&server, &job, "failed")["error"]["code"], "provider_refused");
    assert_eq!((total(&server)["requests"].as_u64(), files_removed(&mock)), (Some(0), 1));
}

#[test]
fn a_batch_that_is_cancelled_while_its_file_goes_up_costs_nothing_and_leaves_no_file() {
    let mock = Mock::start_on_thread(Script::default().then("/v1/files", Reply::default().latency_ms(1_000)));
    let server = setup(&mock, &with_budget()).start();
    let job = begin(&server, 2);
    eventually(|| calls(&mock, "POST", "/v1/files") == 1);
    assert!(budget(&server, "reserved_usd") > 0.0);
    assert_eq!(server.delete(&job).ok()["status"], "cancelled");
    eventually(|| files_removed(&mock) == 1 && budget(&server, "reserved_usd") == 0.0);
    assert_eq!((budget(&server, "spent_usd"), calls(&mock, "POST", "/v1/batches")), (0.0, 0));
}

#[test]
fn a_cancel_reaches_the_provider_though_it_is_waited_for() {
    let later = Reply::status(503).header("retry-after", "3600");
    let mock = Mock::start_on_thread(Script::default().batch_polls(1_000_000).then("/v1/batches/{id}", later));
    let server = setup(&mock, "").start();
    let job = begin(&server, 1);
    eventually(|| mock.calls().iter().any(|call| call.method == "GET" && call.path.starts_with("/v1/batches/")));
    server.delete(&job).ok();
    until(&server, &job, "cancelled");
}

#[test]
fn the_items_of_a_batch_are_requests_as_far_as_a_minute_has_them() {
    let mock = Mock::start_on_thread(Script::default());
    let server = setup(&mock, "[limits.tenant]\nrequests_per_minute = 1000\n").start();
    let left = || server.get("/v1/models").header("x-ratelimit-remaining").unwrap().parse::<u64>().unwrap();
    assert!(left() > 990);
    let job = begin(&server, 400);
    until(&server, &job, "succeeded");
    assert!(left() < 650, "{} are left", left());
}
