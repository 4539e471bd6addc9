//! What embeddings and judgements at a provider cost, who pays, and what becomes of questions and documents when there
//! is no money.

use crate::scopes::key_line;
use crate::support::{Server, Setup, eventually};
use mock::{Fault, Finished, Mock, Reply, Script, Usage};
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;

const DIMENSION: usize = 16;
/// A dollar a million tokens: a millionth of a dollar a token.
const PRICE: &str = "price = { input = 1.0 }\n";

/// An embedder and a reranker at the mock.
fn server(mock: &Mock, price: &str, more: &str) -> Setup {
    // Nothing ends because it takes too long.
    let (url, time, retry) = (mock.url(), "try_timeout_s = 300\ntotal_timeout_s = 300", "backoff_ms = 1");
    Setup::model().config(&format!(
        "engine = \"remote\"\n[embedding.remote]\nprovider = \"openai\"\nbase_url = \"{url}/v1\"\nmodel = \"vectors\"\n\
         dimension = {DIMENSION}\nmax_tokens = 128\nshorten = true\n{price}[embedding.remote.calls]\n{time}\n[embedding.remote.calls.retry]\n{retry}\n\
         [rerank]\nprovider = \"jina\"\nbase_url = \"{url}\"\nmodel = \"judge\"\n{price}[rerank.calls]\n{time}\n[rerank.calls.retry]\n{retry}\n{more}"
    ))
}

fn told(tokens: u64) -> Reply {
    Reply::default().usage(Usage { prompt_tokens: tokens, ..Usage::default() })
}

fn budget(limits: &str) -> String {
    format!("[[budgets]]\nname = \"b\"\nperiod = \"total\"\n{limits}\n")
}

/// The counts of usage by these dimensions, as `[values…, requests, tokens, millionths of a dollar]`.
fn usage(server: &Server, by: &str) -> Vec<Vec<Value>> {
    let report = server.get(&format!("/v1/usage?group_by={by}")).ok();
    let row = |row: &Value| {
        let values = by.split(',').map(|dimension| row[dimension].clone());
        let cost = json!((row["cost_usd"].as_f64().unwrap() * 1e6).round() as u64);
        values.chain([row["requests"].clone(), row["prompt_tokens"].clone(), cost]).collect()
    };
    report["data"].as_array().unwrap().iter().map(row).collect()
}

fn tagged(server: &Server, path: &str, body: &Value) -> Value {
    let body = body.to_string().into_bytes();
    server.request("POST", path, &[("x-ragstone-tags", "night")], Some("application/json"), Some(body)).unwrap().ok()
}

fn refusal(reply: &crate::support::Reply) -> (u16, String) {
    let body = reply.json();
    let code = body["code"].as_str().or(body["error"]["code"].as_str()).unwrap_or_default();
    (reply.status, code.to_owned())
}

#[test]
fn documents_questions_and_texts_are_booked_by_model_tenant_collection_and_tag_and_cached_ones_cost_nothing() {
    let mock = Mock::start_on_thread(Script::always(told(40)));
    let server = server(&mock, PRICE, "").start();
    let id = server.post("/v1/collections", json!({ "name": "lamps" })).ok()["id"].clone();
    server.add_text("lamps", "lamp", "The lamp is red.");
    let row = |values: &[Value], requests: u64| [values, &[json!(requests), json!(40 * requests), json!(40 * requests)]].concat();
    let document = [json!("default"), json!("vectors"), json!("embedding.remote"), id.clone()];
    assert_eq!(usage(&server, "tenant,model,deployment,collection"), [row(&document, 1)]);
    // The question, and the sentences that may answer it; the second time all of it is known.
    for _ in 0..2 {
        server.post("/v1/collections/lamps/query", json!({ "question": "Is the lamp red?", "tags": ["day"] })).ok();
        tagged(&server, "/v1/collections/lamps/search", &json!({ "query": "red lamps" }));
        tagged(&server, "/v1/embeddings", &json!({ "model": "vectors", "input": "oil" }));
    }
    tagged(&server, "/v1/rerank", &json!({ "model": "judge", "query": "lamp", "documents": ["a lamp", "oil"] }));
    let asked = mock.calls().iter().filter(|call| call.path == "/v1/embeddings").count() as u64;
    let by_tag = usage(&server, "tag,collection,deployment");
    let expected = [
        row(&[Value::Null, id.clone(), json!("embedding.remote")], 1),
        row(&[json!("day"), id.clone(), json!("embedding.remote")], asked - 3),
        row(&[json!("night"), Value::Null, json!("embedding.remote")], 1),
        row(&[json!("night"), Value::Null, json!("rerank")], 1),
        row(&[json!("night"), id, json!("embedding.remote")], 1),
    ];
    assert_eq!(by_tag, expected);
    assert!((4..=5).contains(&asked), "{asked} embeddings were asked for");
    let metrics = server.get("/metrics").text();
    for (operation, provider, model, deployment, count) in
        [("embeddings", "openai", "vectors", "embedding.remote", asked), ("rerank", "jina", "judge", "rerank", 1)]
    {
        let labels = format!(
            "gen_ai_operation_name=\"{operation}\",gen_ai_provider_name=\"{provider}\",gen_ai_request_model=\"{model}\",\
             ragstone_deployment=\"{deployment}\""
        );
        for line in [
            format!("ragstone_model_calls_total{{{labels},ragstone_outcome=\"answered\"}} {count}"),
            format!("gen_ai_client_operation_duration_seconds_count{{{labels}}} {count}"),
            format!("gen_ai_client_token_usage_sum{{{labels},gen_ai_token_type=\"input\"}} {}", 40 * count),
            format!("ragstone_settled_tokens_total{{ragstone_deployment=\"{deployment}\",gen_ai_token_type=\"input\"}} {}", 40 * count),
        ] {
            assert!(metrics.contains(&format!("{line}\n")), "{line} in\n{metrics}");
        }
        let chunks = format!("gen_ai_client_operation_time_to_first_chunk_seconds_count{{gen_ai_operation_name=\"{operation}\"");
        assert!(!metrics.contains(&chunks), "nothing is streamed");
    }
}

#[test]
fn batches_and_benchmarks_are_on_the_account_of_who_asked() {
    let mock = Mock::start_on_thread(Script::always(told(40)));
    let keys = [key_line("root", "ops", "operator = true"), key_line("of-a", "a", "")].concat();
    let server = server(&mock, PRICE, &keys).start();
    let (root, a) = (server.view(Some("root")), server.view(Some("of-a")));
    a.add_text("default", "lamp", "The lamp is red.");
    let ended = |path: String| eventually(|| a.get(&path).ok()["status"] == "succeeded");
    let batch = json!({ "questions": ["Which lamp is blue?"], "tags": ["batch"] });
    let batch = a.post("/v1/collections/default/query/batch", batch).ok();
    ended(format!("/v1/jobs/{}", batch["job_id"].as_str().unwrap()));
    let bench = json!({ "collection": "default", "k": 1, "ef": [], "queries": ["oil"] });
    let bench = tagged(&a, "/v1/benchmarks", &bench);
    ended(format!("/v1/benchmarks/{}", bench["id"].as_str().unwrap()));
    let rows = usage(&root, "tenant,tag,key");
    let of = |tag: Value| rows.iter().find(|row| row[1] == tag).unwrap_or_else(|| panic!("{tag} in {rows:?}"));
    assert!(rows.iter().all(|row| row[0] == "a"), "{rows:?}");
    assert_eq!(of(Value::Null)[2], "", "a document is on nobody's key");
    for tag in ["batch", "night"] {
        assert!(of(json!(tag))[2].as_str().is_some_and(|key| !key.is_empty()), "{rows:?}");
    }
    assert_eq!(usage(&root, "collection").len(), 1);
}

#[test]
fn tries_that_fail_are_counted_and_cost_nothing() {
    let script = Script::default().then("vectors", Reply::status(503)).then("vectors", told(40)).then("judge", Reply::status(400));
    let mock = Mock::start_on_thread(script);
    let server = server(&mock, PRICE, "").start();
    server.post("/v1/embeddings", json!({ "model": "vectors", "input": "oil" })).ok();
    assert_eq!(server.post("/v1/rerank", json!({ "model": "judge", "query": "lamp", "documents": ["oil"] })).status, 502);
    assert_eq!(usage(&server, "deployment"), [[json!("embedding.remote"), json!(1), json!(40), json!(40)]]);
    let metrics = server.get("/metrics").text();
    for line in [
        "ragstone_model_retries_total{gen_ai_request_model=\"vectors\",error_type=\"503\"} 1\n",
        "gen_ai_request_model=\"vectors\",ragstone_deployment=\"embedding.remote\",ragstone_outcome=\"failed\"} 1\n",
        "gen_ai_request_model=\"judge\",ragstone_deployment=\"rerank\",ragstone_outcome=\"failed\"} 1\n",
        "gen_ai_request_model=\"judge\",ragstone_deployment=\"rerank\",error_type=\"400\"} ",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
}

#[test]
fn without_money_or_a_price_everything_that_asks_is_refused_in_the_same_words() {
    let mock = Mock::start_on_thread(Script::default());
    for (price, limits, code) in [
        (PRICE, "limit_usd = 0.0", "budget_exhausted"),
        ("", "limit_usd = 1.0", "price_unknown"),
        ("", "limit_tokens = 1", "budget_exhausted"),
    ] {
        let server = server(&mock, price, &budget(limits)).start();
        server.post("/v1/collections", json!({ "name": "lamps" })).ok();
        for (path, body) in [
            ("/v1/collections/lamps/search", json!({ "query": "lamp" })),
            ("/v1/collections/lamps/query", json!({ "question": "Is the lamp red?" })),
            ("/v1/collections/lamps/query", json!({ "question": "Is the lamp red?", "stream": true })),
            ("/v1/embeddings", json!({ "model": "vectors", "input": "oil" })),
            ("/v1/rerank", json!({ "model": "judge", "query": "lamp", "documents": ["oil"] })),
            ("/rerank", json!({ "query": "lamp", "texts": ["oil"] })),
        ] {
            assert_eq!(refusal(&server.post(path, body.clone())), (402, code.to_owned()), "{path} {body} {price} {limits}");
        }
        let by_words = json!({ "query": "lamp", "mode": "lexical" });
        assert_eq!(server.post("/v1/collections/lamps/search", by_words).status, 200, "which costs nothing");
    }
    assert_eq!(mock.call_count(), 0);
}

#[test]
fn a_hundred_texts_at_once_with_money_for_three_are_at_most_three_calls() {
    // One letter and two around it.
    let mock = Mock::start_on_thread(Script::always(told(3).latency_ms(300)));
    let server = server(&mock, PRICE, &budget("limit_usd = 0.00001")).start();
    let texts: Vec<String> = (0..100_u8).map(|number| char::from(number + 100).to_string()).collect();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let ask = |text: &String| server.post("/v1/embeddings", json!({ "model": "vectors", "input": text }));
        let all: Vec<_> = texts.iter().map(|text| scope.spawn(move || ask(text))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert!(served as u64 == mock.call_count() && (1..=3).contains(&served), "{served}");
    let refusals = ["budget_reserved", "budget_exhausted", "overloaded"];
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        assert!(refusals.contains(&refusal(refused).1.as_str()), "{}", refused.text());
    }
}

#[test]
fn a_document_waits_for_money_says_so_and_lets_other_tenants_by() {
    let mock = Mock::start_on_thread(Script::always(told(10)));
    let keys = [key_line("root", "ops", "operator = true"), key_line("of-a", "a", ""), key_line("of-b", "b", "")].concat();
    let server = server(&mock, PRICE, &format!("[ingest]\nworkers = 1\n{keys}")).start();
    let [root, a, b] = ["root", "of-a", "of-b"].map(|key| server.view(Some(key)));
    let limit = |usd: f64| json!({ "tenant": "a", "limit_usd": usd, "period": "total" });
    root.send("PUT", "/v1/budgets/of-a", Some(limit(0.0))).ok();
    let text = json!({ "text": "The lamp is red.", "name": "a.txt" });
    let accepted = a.post("/v1/collections/default/documents", text).ok();
    let job = accepted["documents"][0]["job_id"].as_str().unwrap_or_else(|| panic!("{accepted}")).to_owned();
    let look = || a.get(&format!("/v1/jobs/{job}")).ok();
    eventually(|| look()["waits_for"].as_str().is_some_and(|why| why.contains("too little money left")));
    let waiting = look();
    assert_eq!((waiting["status"].as_str(), &waiting["error"]), (Some("queued"), &Value::Null), "{waiting}");
    assert_eq!(mock.call_count(), 0);
    b.add_text("default", "other", "Oil burns.");
    root.send("PUT", "/v1/budgets/of-a", Some(limit(1.0))).ok();
    eventually(|| look()["status"] == "succeeded");
    assert_eq!((&look()["waits_for"], mock.call_count()), (&Value::Null, 2));
}

#[test]
fn who_hangs_up_ends_the_call_at_the_provider_and_pays_for_what_was_sent() {
    let stall = || Reply::fault(Fault::StallAfterHeaders);
    let mock = Mock::start_on_thread(Script::always(stall()));
    let server = server(&mock, PRICE, "[server]\nconcurrent_queries_max = 1\n").start();
    server.post("/v1/collections", json!({ "name": "lamps" })).ok();
    for (number, (path, body)) in [
        ("/v1/collections/lamps/search", json!({ "query": "red lamps" })),
        ("/v1/collections/lamps/query", json!({ "question": "Is the lamp red?" })),
        ("/v1/embeddings", json!({ "model": "vectors", "input": "oil" })),
        ("/v1/rerank", json!({ "model": "judge", "query": "lamp", "documents": ["oil"] })),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = TcpStream::connect(server.base.trim_start_matches("http://")).unwrap();
        let (body, head) = (body.to_string(), "host: localhost\r\ncontent-type: application/json\r\n");
        write!(client, "POST {path} HTTP/1.1\r\n{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
        // The one turn that there is was given back by those before.
        eventually(|| mock.call_count() == number as u64 + 1);
        drop(client);
        eventually(|| mock.calls()[number].finished == Some(Finished::ClientLeft));
        eventually(|| usage(&server, "tenant").first().is_some_and(|row| row[1] == json!(number + 1)));
    }
    // A job that is cancelled has left as well.
    let body = json!({ "text": "The lamp is red.", "name": "a.txt" });
    let job = server.post("/v1/collections/lamps/documents", body).ok()["documents"][0]["job_id"].as_str().unwrap().to_owned();
    eventually(|| mock.call_count() == 5);
    server.delete(&format!("/v1/jobs/{job}")).ok();
    eventually(|| mock.calls()[4].finished == Some(Finished::ClientLeft));
    eventually(|| usage(&server, "tenant")[0][1] == json!(5));
    let [of_default] = &usage(&server, "tenant")[..] else { panic!("one tenant") };
    assert!(of_default[2].as_u64() > Some(5 * 3), "each for what it may have read: {of_default:?}");
}

#[test]
fn what_a_document_was_sent_for_is_paid_at_an_orderly_end_and_it_goes_on_at_the_next_start() {
    let mock = Mock::start_on_thread(Script::always(Reply::fault(Fault::StallAfterHeaders)));
    let mut first = server(&mock, PRICE, "").start();
    let accepted = first.post("/v1/collections/default/documents", json!({ "text": "The lamp is red.", "name": "a.txt" })).ok();
    let job = format!("/v1/jobs/{}", accepted["documents"][0]["job_id"].as_str().unwrap());
    eventually(|| mock.call_count() == 1);
    assert_eq!(first.terminate().0, Some(0));
    eventually(|| mock.calls()[0].finished == Some(Finished::ClientLeft));
    mock.set_script(Script::always(told(40)));
    let again = server(&mock, PRICE, "").data(&first.data).start();
    eventually(|| again.get(&job).ok()["status"] == "succeeded");
    assert_eq!((&again.get(&job).ok()["attempts"], &usage(&again, "tenant")[0][1]), (&json!(1), &json!(2)));
}
