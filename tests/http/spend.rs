use crate::scopes::key_line;
use crate::support::{Reply as Answer, Server, Setup, eventually};
use mock::{Fault, Mock, Reply, Script, Usage};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;

/// A dollar a million tokens, read or written: a millionth of a dollar a token.
const PRICE: &str = "price = { input = 1.0, output = 1.0 }\n";

/// One model `small` at `gpt-4o`, whose tokens are counted as o200k_base does.
fn server(mock: &Mock, price: &str, more: &str) -> Setup {
    let url = mock.url();
    Setup::hash().config(&format!(
        "[llm.retry]\nbackoff_ms = 1\n[[llm.deployments]]\nname = \"first\"\nprovider = \"compatible\"\nmodel = \"gpt-4o\"\n\
         base_url = \"{url}/v1\"\nconcurrent_max = 200\n{price}[[llm.models]]\nname = \"small\"\nladder = [[\"first\"]]\n{more}"
    ))
}

fn budget(name: &str, limits: &str) -> String {
    format!("[[budgets]]\nname = \"{name}\"\nperiod = \"total\"\n{limits}\n")
}

/// Ten tokens to read: three words, four around a message, three before the answer.
fn asked(max_tokens: u32) -> Value {
    json!({ "model": "small", "messages": [{ "role": "user", "content": "one two three" }], "max_tokens": max_tokens })
}

fn chat(server: &Server, body: &Value) -> Answer {
    server.post("/v1/chat/completions", body.clone())
}

fn stands(server: &Server, name: &str) -> Value {
    let list = server.get("/v1/budgets").ok();
    list["data"].as_array().unwrap().iter().find(|budget| budget["name"] == name).unwrap().clone()
}

fn total(server: &Server) -> Value {
    server.get("/v1/usage").ok()["total"].clone()
}

/// A number of millionths of a dollar.
fn millionths(value: &Value) -> i64 {
    (value.as_f64().unwrap() * 1e6).round() as i64
}

fn told(prompt_tokens: u64, completion_tokens: u64) -> Usage {
    Usage { prompt_tokens, completion_tokens, ..Usage::default() }
}

#[test]
fn a_hundred_requests_at_once_with_money_for_three_are_three_calls() {
    for is_stream in [false, true] {
        // Each answer takes long enough that all of the requests are there before the first ends.
        let script = Script::always(Reply::text("yes").latency_ms(1_500).usage(told(10, 90)));
        let mock = Mock::start_on_thread(script);
        let limits = "[server]\nconcurrent_answers_max = 200\n";
        let server = server(&mock, PRICE, &format!("{limits}{}", budget("b", "limit_usd = 0.00035"))).start();
        let mut body = asked(90);
        body["stream"] = json!(is_stream);
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..100).map(|_| scope.spawn(|| chat(&server, &body))).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let served = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!((served, mock.call_count()), (3, 3), "streamed: {is_stream}");
        for refused in answers.iter().filter(|answer| answer.status != 200) {
            assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (429, Some("budget_reserved")), "{}", refused.text());
            assert!(refused.header("retry-after").is_some());
        }
        eventually(|| millionths(&stands(&server, "b")["spent_usd"]) == 300);
        let refused = chat(&server, &body);
        assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (402, Some("budget_exhausted")), "{}", refused.text());
        assert_eq!(mock.call_count(), 3);
        let fits = chat(&server, &asked(40));
        assert_eq!(fits.status, 200, "what is left is enough for less");
    }
}

#[test]
fn answers_say_what_they_cost_and_usage_adds_it_up() {
    let mock = Mock::start_on_thread(Script::always(Reply::text("The lamp is red [1].").usage(told(100, 20))));
    let server = server(&mock, PRICE, "").start();
    let whole = chat(&server, &asked(50)).ok();
    assert_eq!(millionths(&whole["usage"]["cost_usd"]), 120, "{whole}");
    let mut body = asked(50);
    body["stream"] = json!(true);
    body["stream_options"] = json!({ "include_usage": true });
    assert!(chat(&server, &body).text().contains("\"cost_usd\":0.00012"));
    server.post("/v1/collections", json!({ "name": "lamps" })).ok();
    server.add_text("lamps", "lamp", "The lamp is red.");
    let question = json!({ "question": "Is the lamp red?", "tags": ["night", "test"] });
    let answer = server.post("/v1/collections/lamps/query", question).ok();
    assert_eq!((answer["mode"].as_str(), millionths(&answer["cost_usd"])), (Some("generated"), 120), "{answer}");
    assert_eq!(answer["context_length"], 5, "The| lamp| is| red|. as the model that answers reads it: {answer}");
    let headers = [("x-ragstone-tags", "test, day")];
    let body = asked(50).to_string().into_bytes();
    let tagged = server.request("POST", "/v1/chat/completions", &headers, Some("application/json"), Some(body)).unwrap();
    assert_eq!(tagged.status, 200, "{}", tagged.text());
    let by_tag = server.get("/v1/usage?group_by=tag,model").ok();
    let rows = by_tag["data"].as_array().unwrap();
    let of = |tag: Value| rows.iter().find(|row| row["tag"] == tag).unwrap()["requests"].as_u64().unwrap();
    assert_eq!((of(json!("test")), of(json!("night")), of(json!("day")), of(Value::Null)), (2, 1, 1, 2), "{by_tag}");
    assert_eq!((by_tag["total"]["requests"].as_u64(), by_tag["total"]["prompt_tokens"].as_u64()), (Some(4), Some(400)));
    assert_eq!(millionths(&by_tag["total"]["cost_usd"]), 480);
    let by_collection = server.get("/v1/usage?group_by=collection&tag=night").ok();
    assert!(by_collection["data"][0]["collection"].as_str().unwrap().starts_with("col_"), "{by_collection}");
    let metrics = server.get("/metrics").text();
    assert!(metrics.contains("ragstone_settled_tokens_total{ragstone_deployment=\"first\",gen_ai_token_type=\"input\"} 400"), "{metrics}");
    for wrong in ["from=2026-13-01", "group_by=colour", "from=2026-02-02&to=2026-02-01", "since=1"] {
        assert_eq!(server.get(&format!("/v1/usage?{wrong}")).status, 400, "{wrong}");
    }
}

#[test]
fn streams_that_are_cut_and_providers_without_figures_are_settled_by_our_count() {
    let script = Script::default()
        .then("gpt-4o", Reply::text("one two three four").with_fault(Fault::ResetInBody(2)))
        .then("gpt-4o", Reply::text("one two three").without_usage())
        .then("gpt-4o", Reply::text("one ".repeat(100_000)).chunk_ms(20));
    let mock = Mock::start_on_thread(script);
    let server = server(&mock, PRICE, &budget("b", "limit_usd = 1.0")).start();
    let spent = || millionths(&stands(&server, "b")["spent_usd"]);
    // The provider breaks off: ten tokens read, and "one two".
    let mut body = asked(90);
    body["stream"] = json!(true);
    assert!(chat(&server, &body).text().contains("model_failed"));
    let broken = spent();
    assert!((12..=13).contains(&broken), "{broken}: the blank behind the second word may have come");
    // The provider says nothing of tokens.
    let whole = chat(&server, &asked(90)).ok();
    assert_eq!((&whole["usage"]["prompt_tokens"], &whole["usage"]["completion_tokens"]), (&json!(10), &json!(3)), "{whole}");
    assert_eq!(spent(), broken + 13);
    // The client leaves.
    let heard = hang_up_after(&server, &body.to_string(), 3);
    eventually(|| stands(&server, "b")["reserved_tokens"] == 0);
    let said = spent() - broken - 13 - 10;
    assert!(said >= heard && said < 80, "{said} tokens were paid for, {heard} words heard");
    assert_eq!(total(&server)["requests"], 3);
}

/// A call that nobody reads the answer of so far.
fn call(server: &Server, body: &str) -> TcpStream {
    let mut client = TcpStream::connect(server.base.trim_start_matches("http://")).unwrap();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    client.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
    client
}

/// Leaves once so many words were heard; how many there were.
fn hang_up_after(server: &Server, body: &str, words: usize) -> i64 {
    let mut client = call(server, body);
    let (mut heard, mut bytes) = (String::new(), [0; 4096]);
    while heard.matches("\"one").count() < words {
        let count = client.read(&mut bytes).unwrap();
        assert!(count > 0, "the server hung up: {heard}");
        heard.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    i64::try_from(heard.matches("\"one").count()).unwrap()
}

#[test]
fn a_server_that_is_killed_between_reserve_and_settle_has_spent_the_money() {
    let mock = Mock::start_on_thread(Script::always(Reply::fault(Fault::StallInBody(1)).latency_ms(1)));
    let config = budget("b", "limit_usd = 0.00025");
    let first = server(&mock, PRICE, &config).start();
    let data = first.data.clone();
    let mut body = asked(90);
    body["stream"] = json!(true);
    let mut client = TcpStream::connect(first.base.trim_start_matches("http://")).unwrap();
    let (head, text) = ("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n", body.to_string());
    client.write_all(format!("{head}content-length: {}\r\n\r\n{text}", text.len()).as_bytes()).unwrap();
    eventually(|| mock.call_count() == 1 && millionths(&stands(&first, "b")["reserved_usd"]) == 100);
    let _folder = first.kill();
    for _ in 0..2 {
        let again = server(&mock, PRICE, &config).data(&data).start();
        let stands = stands(&again, "b");
        assert_eq!((millionths(&stands["spent_usd"]), &stands["reserved_tokens"]), (100, &json!(0)), "{stands}");
        let total = total(&again);
        assert_eq!((&total["requests"], &total["abandoned"], millionths(&total["cost_usd"])), (&json!(1), &json!(1), 100), "{total}");
        // Nothing was given back: there is room for one more call of a hundred, not for two.
        let refused = chat(&again, &asked(150));
        assert_eq!(refused.status, 402, "{}", refused.text());
        let _ = again.kill();
    }
    assert_eq!(mock.call_count(), 1);
}

#[test]
fn what_is_used_survives_an_orderly_end() {
    let mock = Mock::start_on_thread(Script::always(Reply::text("yes").usage(told(7, 5))));
    let mut first = server(&mock, "", "").start();
    let data = first.data.clone();
    chat(&first, &asked(9)).ok();
    assert_eq!(first.terminate().0, Some(0));
    let again = server(&mock, "", "").data(&data).start();
    let total = total(&again);
    // The table that comes with the program knows gpt-4o: 2.50 and 10.00 dollars a million.
    assert_eq!((&total["prompt_tokens"], total["cost_usd"].as_f64()), (&json!(7), Some(0.000_067_5)), "{total}");
}

#[test]
fn without_a_price_there_is_no_cost_and_under_a_budget_of_money_no_call() {
    let mock = Mock::start_on_thread(Script::always(Reply::text("yes").usage(told(7, 5))));
    let unpriced = server(&mock, "", "").start();
    let _ = unpriced.kill();
    let url = mock.url();
    let plain = format!("[llm]\nbase_url = \"{url}/v1\"\nmodel = \"unheard-of\"\n");
    let free_of_budgets = Setup::hash().config(&plain).start();
    let mut body = asked(9);
    body["model"] = json!("unheard-of");
    assert_eq!(chat(&free_of_budgets, &body).ok()["usage"]["cost_usd"], Value::Null);
    let total = total(&free_of_budgets);
    assert_eq!((&total["cost_usd"], &total["unpriced_requests"]), (&Value::Null, &json!(1)), "{total}");
    let bounded = Setup::hash().config(&format!("{plain}{}", budget("b", "limit_usd = 1.0"))).start();
    let refused = chat(&bounded, &body);
    let error = refused.json()["error"].clone();
    assert_eq!((refused.status, error["code"].as_str()), (402, Some("price_unknown")));
    assert!(error["message"].as_str().unwrap().contains("[[llm.deployments]]"), "{error}");
    assert_eq!(mock.call_count(), 1);
}

#[test]
fn a_question_without_money_is_refused_unless_extracts_will_do() {
    let mock = Mock::start_on_thread(Script::default());
    for (setting, is_refused) in [("", true), ("[llm]\non_exhausted = \"extract\"\n", false)] {
        let server = server(&mock, PRICE, &format!("{setting}{}", budget("b", "limit_usd = 0.0"))).start();
        server.post("/v1/collections", json!({ "name": "lamps" })).ok();
        server.add_text("lamps", "lamp", "The lamp is red.");
        let mut question = json!({ "question": "Is the lamp red?" });
        let answer = server.post("/v1/collections/lamps/query", question.clone());
        question["stream"] = json!(true);
        let streamed = server.post("/v1/collections/lamps/query", question).text();
        if is_refused {
            assert_eq!((answer.status, answer.json()["code"].as_str()), (402, Some("budget_exhausted")), "{}", answer.text());
            assert!(streamed.contains("event: error") && streamed.contains("budget_exhausted"), "{streamed}");
        } else {
            let answer = answer.ok();
            assert_eq!((answer["mode"].as_str(), &answer["degraded"]), (Some("extractive"), &json!(true)), "{answer}");
            assert!(streamed.contains("event: done"), "{streamed}");
        }
    }
    assert_eq!(mock.call_count(), 0);
}

#[test]
fn tenants_see_their_own_usage_and_budgets_and_the_operator_makes_them() {
    let mock = Mock::start_on_thread(Script::always(Reply::text("yes").usage(told(10, 10))));
    let keys = [("root", "ops", "operator = true"), ("of-a", "a", ""), ("of-b", "b", ""), ("part-of-a", "a", "collections = [\"x\"]")]
        .map(|(key, tenant, bounds)| key_line(key, tenant, bounds))
        .concat();
    let server = server(&mock, PRICE, &format!("{}{keys}", budget("everybody", "limit_tokens = 1000000"))).start();
    let [root, a, b, part] = ["root", "of-a", "of-b", "part-of-a"].map(|key| server.view(Some(key)));
    let limits = json!({ "tenant": "a", "limit_usd": 0.00005, "period": "day" });
    let made = root.send("PUT", "/v1/budgets/small%20one", Some(limits.clone())).ok();
    assert_eq!((made["name"].as_str(), made["thresholds"].as_array().map(Vec::len)), (Some("small one"), Some(1)), "{made}");
    assert_eq!(a.send("PUT", "/v1/budgets/mine", Some(limits.clone())).status, 403);
    assert_eq!(root.send("PUT", "/v1/budgets/everybody", Some(limits)).status, 409);
    assert_eq!(root.send("PUT", "/v1/budgets/none", Some(json!({ "period": "day" }))).status, 400);
    for view in [&a, &b, &b, &part] {
        chat(view, &asked(10)).ok();
    }
    let requests = |view: &Server, query: &str| view.get(&format!("/v1/usage{query}")).ok()["total"]["requests"].as_u64().unwrap();
    assert_eq!((requests(&a, ""), requests(&b, ""), requests(&part, ""), requests(&root, "")), (2, 2, 1, 4));
    assert_eq!((requests(&root, "?tenant=b"), a.get("/v1/usage?tenant=b").status, part.get("/v1/usage?key=other").status), (2, 403, 403));
    let names = |view: &Server| view.get("/v1/budgets").ok()["data"].as_array().unwrap().len();
    assert_eq!((names(&root), names(&a), names(&b), names(&part)), (2, 1, 0, 0));
    let one = |view: &Server| view.get("/v1/budgets/small%20one").status;
    assert_eq!((one(&root), one(&a), one(&b), one(&part), root.get("/v1/budgets/none").status), (200, 200, 404, 404, 404));
    assert_eq!(a.get("/v1/budgets/small%20one").ok()["spent_tokens"], 40, "two calls of twenty");
    let refused = chat(&a, &asked(10));
    let detail = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(refused.status == 402 && detail.contains("small one") && detail.contains("begins anew"), "{detail}");
    assert_eq!(chat(&b, &asked(10)).status, 200);
    assert_eq!(root.delete("/v1/budgets/small%20one").ok()["deleted"], json!(true));
    assert_eq!((root.delete("/v1/budgets/small%20one").status, chat(&a, &asked(10)).status), (404, 200));
}

#[test]
fn an_estimate_says_how_it_counts_and_asks_nobody() {
    let mock = Mock::start_on_thread(Script::default());
    let server = server(&mock, PRICE, &format!("[[llm.deployments]]\nname = \"second\"\nprovider = \"compatible\"\nmodel = \"llama\"\nbase_url = \"{}\"\n[[llm.models]]\nname = \"both\"\nladder = [[\"first\"], [\"second\"]]\n", mock.url())).start();
    let estimate = server.post("/v1/usage/estimate", asked(90)).ok();
    let first = &estimate["deployments"][0];
    assert_eq!((&first["prompt_tokens"], first["counter"].as_str()), (&json!(10), Some("o200k_base")), "{estimate}");
    assert_eq!(millionths(&estimate["cost_usd_max"]), 100);
    let mut body = asked(90);
    body["model"] = json!("both");
    let estimate = server.post("/v1/usage/estimate", body.clone()).ok();
    assert_eq!((estimate["deployments"][1]["counter"].as_str(), &estimate["cost_usd_max"]), (Some("estimate"), &Value::Null), "{estimate}");
    body["model"] = json!("none");
    assert_eq!(server.post("/v1/usage/estimate", body).status, 404);
    let mut unlimited = asked(1);
    unlimited.as_object_mut().unwrap().remove("max_tokens");
    let estimate = server.post("/v1/usage/estimate", unlimited).ok();
    assert_eq!((&estimate["max_tokens"], millionths(&estimate["cost_usd_max"])), (&Value::Null, 10 + 16_384), "as long as gpt-4o answers");
    assert_eq!(mock.call_count(), 0);
}

#[test]
fn an_estimate_bounds_what_the_call_holds() {
    let mock = Mock::start_on_thread(Script::always(Reply::text("one ".repeat(100_000)).chunk_ms(20)));
    let server = server(&mock, PRICE, &format!("[llm]\nmax_answer_tokens = 64\n{}", budget("b", "limit_usd = 1.0"))).start();
    for (calls, limit) in (1..).zip([None, Some(("max_tokens", 50)), Some(("max_completion_tokens", 70))]) {
        let mut body = asked(1);
        body.as_object_mut().unwrap().remove("max_tokens");
        limit.iter().for_each(|(name, tokens)| body[*name] = json!(tokens));
        let most = millionths(&server.post("/v1/usage/estimate", body.clone()).ok()["cost_usd_max"]);
        body["stream"] = json!(true);
        let client = call(&server, &body.to_string());
        let mut held = 0;
        eventually(|| {
            held = millionths(&stands(&server, "b")["reserved_usd"]);
            held > 0 && mock.call_count() == calls
        });
        assert_eq!((most, mock.calls().last().unwrap().body["max_tokens"].as_i64()), (held, Some(held - 10)), "{limit:?}");
        drop(client);
        eventually(|| stands(&server, "b")["reserved_tokens"] == 0);
    }
}

#[test]
fn tokens_of_messages_are_counted_by_the_deployment() {
    let mock = Mock::start_on_thread(Script::default());
    let server = server(&mock, "", "").start();
    let words = "incomprehensibilities ".repeat(50);
    let body = json!({ "model": "small", "messages": [{ "role": "user", "content": words }] });
    let counted = server.post("/v1/messages/count_tokens", body.clone()).ok()["input_tokens"].clone();
    let estimate = server.post("/v1/usage/estimate", body).ok();
    assert_eq!(
        (&counted, estimate["deployments"][0]["counter"].as_str()),
        (&estimate["deployments"][0]["prompt_tokens"], Some("o200k_base"))
    );
    let mut picture = asked(1);
    picture["messages"][0]["content"] = json!([{ "type": "image_url", "image_url": { "url": "https://a/b.png", "detail": "low" } }]);
    assert_eq!(server.post("/v1/usage/estimate", picture).ok()["deployments"][0]["prompt_tokens"], 85 + 4 + 3);
}

#[test]
fn usage_is_forgotten_when_the_operator_says() {
    let mock = Mock::start_on_thread(Script::always(Reply::text("yes").usage(told(7, 5))));
    let mut first = server(&mock, "", "").start();
    let data = first.data.clone();
    chat(&first, &asked(9)).ok();
    assert_eq!(first.terminate().0, Some(0));
    {
        let options = index::store::SledOptions::default();
        let store = std::sync::Arc::new(index::store::SledStore::open(data.join("store"), &options).unwrap());
        let params = index::CatalogParams { views: data.join("views"), vector: Default::default(), collections_open_max: 8 };
        let blobs = index::blobs::Blobs::open(data.join("blobs")).unwrap();
        let catalog = index::Catalog::new(store.clone(), blobs, params);
        let key = json!({ "tenant": "default", "key": "k", "model": "m", "deployment": "d", "collection": null, "tags": [] });
        let counts =
            json!({ "requests": 3, "prompt_tokens": 1, "completion_tokens": 1, "cost": 1, "unpriced_requests": 0, "abandoned": 0 });
        let row = json!([key, counts]).to_string().into_bytes();
        catalog.write_ledger([("usage/2024-05-01/default/[]", Some(row.as_slice()))]).unwrap();
        drop(catalog);
        store.close().unwrap();
    }
    let old = |server: &Server| server.get("/v1/usage?from=2024-05-01&to=2024-05-02").ok()["total"]["requests"].as_u64();
    let kept = server(&mock, "", "[retention]\nusage_days = 36500\ninterval_s = 1\n").data(&data).start();
    assert_eq!(old(&kept), Some(3));
    drop(kept.kill());
    let swept = server(&mock, "", "[retention]\ninterval_s = 1\n").data(&data).start();
    eventually(|| old(&swept) == Some(0));
    assert_eq!(total(&swept)["requests"], 1, "this month's stays");
}

#[test]
fn the_operator_is_told_of_a_budget_that_nears_its_end() {
    let mock = Mock::start_on_thread(Script::always(Reply::text("yes").usage(told(40, 45))));
    let hook = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = format!("[spend]\nwebhook = \"http://{}/told\"\n{}", hook.local_addr().unwrap(), budget("b", "limit_tokens = 100"));
    let server = server(&mock, "", &config).start();
    chat(&server, &asked(60)).ok();
    let (mut stream, _) = hook.accept().unwrap();
    let (head, body) = crate::support::read_request(&mut stream);
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    let alert: Value = serde_json::from_slice(&body).unwrap();
    assert!(head.starts_with("post /told "), "{head}");
    assert_eq!((alert["budget"].as_str(), &alert["spent_tokens"], &alert["threshold"]), (Some("b"), &json!(85), &json!(0.8)), "{alert}");
}
