//! Texts judged by a question, in two protocols, by a provider that speaks three.

use crate::support::{Server, Setup};
use mock::{Mock, Reply, Script};
use serde_json::{Value, json};

const KINDS: [&str; 3] = ["cohere", "jina", "tei"];

fn server(kind: &str, mock: &Mock, more: &str) -> Server {
    let rerank = format!("[rerank]\nprovider = \"{kind}\"\nbase_url = \"{}\"\nmodel = \"judge\"\ntexts_max = 40\n", mock.url());
    let key = "api_key_env = \"KEY_OF_THE_JUDGE\"\n[rerank.calls.retry]\nbackoff_ms = 1\n";
    Setup::hash().config(&format!("{more}{rerank}{key}")).environment("KEY_OF_THE_JUDGE", "sk-canary-3").start()
}

fn asked(documents: Value) -> Value {
    json!({ "model": "judge", "query": "grey granite", "documents": documents })
}

#[test]
fn both_protocols_rank_texts_by_whatever_provider() {
    for kind in KINDS {
        let mock = Mock::start_on_thread(Script::default());
        let server = server(kind, &mock, "");
        let ranked = server.post("/v1/rerank", asked(json!(["lamps burn oil", { "text": "granite" }, "grey granite"]))).ok();
        assert_eq!(ranked["model"], "judge");
        let expected =
            json!([{ "index": 2, "relevance_score": 1.0 }, { "index": 1, "relevance_score": 0.5 }, { "index": 0, "relevance_score": 0.0 }]);
        assert_eq!(ranked["results"], expected, "{kind}");
        let mut best = asked(json!(["lamps burn oil", "granite"]));
        (best["top_n"], best["return_documents"]) = (json!(1), json!(true));
        let best = server.post("/v1/rerank", best).ok();
        assert_eq!(best["results"], json!([{ "index": 1, "relevance_score": 0.5, "document": { "text": "granite" } }]), "{kind}");
        let tei = json!({ "query": "grey granite", "texts": ["lamps", "granite"], "return_text": true, "truncate": true });
        let tei = server.post("/rerank", tei).ok();
        assert_eq!(tei, json!([{ "index": 1, "score": 0.5, "text": "granite" }, { "index": 0, "score": 0.0, "text": "lamps" }]), "{kind}");
        assert!(mock.calls().iter().all(|call| call.authorization), "{kind}");
    }
}

#[test]
fn what_can_not_be_ranked_is_said() {
    let mock = Mock::start_on_thread(Script::default());
    let server = server("jina", &mock, "");
    let refused = |path: &str, body: Value| {
        let reply = server.post(path, body);
        (reply.status, reply.json()["code"].as_str().unwrap_or_default().to_owned())
    };
    let bad = (400, "bad_rerank".to_owned());
    assert_eq!(refused("/v1/rerank", asked(json!([]))), bad);
    assert_eq!(refused("/v1/rerank", asked(json!(vec!["x"; 41]))), bad);
    assert_eq!(refused("/rerank", json!({ "query": "q", "texts": [] })), bad);
    assert_eq!(refused("/rerank", json!({ "query": "q", "texts": ["a"], "raw_scores": true })), bad);
    assert_eq!(refused("/v1/rerank", json!({ "model": "judge", "query": "q", "documents": ["a"], "top_n": 0 })), bad);
    assert_eq!(refused("/v1/rerank", json!({ "model": "other", "query": "q", "documents": ["a"] })), (404, "model_not_found".to_owned()));
    assert_eq!(refused("/v1/rerank", json!({ "model": "judge", "documents": ["a"] })), (400, "bad_body".to_owned()));
    assert_eq!(refused("/v1/rerank", asked(json!([{ "title": "a" }]))), (400, "bad_body".to_owned()));
    assert_eq!(mock.call_count(), 0);
    let without = Setup::hash().start();
    for (path, body) in [("/v1/rerank", asked(json!(["a"]))), ("/rerank", json!({ "query": "q", "texts": ["a"] }))] {
        let reply = without.post(path, body);
        assert_eq!((reply.status, reply.json()["code"].clone()), (404, json!("no_reranker")), "{path}");
    }
}

#[test]
fn a_provider_that_fails_is_tried_again_and_then_said_to_fail_in_words_of_our_own() {
    for (reply, calls, status, code) in [
        (Reply::status(500), 3, 503, "rerank_unavailable"),
        (Reply::status(401), 1, 503, "rerank_unavailable"),
        (Reply::status(429).header("retry-after", "20"), 1, 503, "rerank_busy"),
        (Reply::status(400), 1, 502, "rerank_failed"),
        (Reply::raw("{}"), 1, 502, "rerank_failed"),
    ] {
        let mock = Mock::start_on_thread(Script::always(reply.clone()));
        let server = server("cohere", &mock, "");
        let answer = server.post("/v1/rerank", asked(json!(["a"])));
        assert_eq!((answer.status, answer.json()["code"].as_str(), mock.call_count()), (status, Some(code), calls), "{reply:?}");
        assert_eq!(answer.header("retry-after").is_some(), status == 503);
        assert!(!answer.text().contains("canary"));
    }
}

#[test]
fn its_tokens_count_against_the_limit() {
    let mock = Mock::start_on_thread(Script::default());
    let server = server("cohere", &mock, "[limits.tenant]\ntokens_per_minute = 100\n");
    let long = || asked(json!(["grey ".repeat(90)]));
    let first = server.post("/v1/rerank", long());
    assert_eq!((first.status, first.header("x-ratelimit-limit-tokens")), (200, Some("100")), "{}", first.text());
    assert_eq!(server.post("/v1/rerank", long()).json()["code"], "rate_limited");
    assert_eq!(mock.call_count(), 1);
}
