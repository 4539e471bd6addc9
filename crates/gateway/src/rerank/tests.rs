//! The reranker against a provider that plays each protocol. What may go wrong is in `tests/remote_faults.rs`.

use super::*;
use RerankProvider::{Cohere, Jina, Tei};
use mock::{Mock, Reply, Script};
use serde_json::{Value, json};

const KINDS: [RerankProvider; 3] = [Cohere, Jina, Tei];
const TEXTS: [&str; 4] = ["lamps burn oil", "granite is grey", "", "grey granite"];

fn reranker(kind: RerankProvider, mock: &Mock) -> RemoteReranker {
    let config = RemoteRerankerConfig::new(kind, mock.url(), "small");
    RemoteReranker::new(RemoteRerankerConfig { api_key: Some(ApiKey::new("sk-canary")), ..config }).unwrap()
}

#[test]
fn every_provider_keeps_the_contract() {
    for kind in KINDS {
        let mock = Mock::start_on_thread(Script::default());
        let reranker = reranker(kind, &mock);
        assert!(reranker.rerank("granite", &[], &Errand::default()).unwrap().is_empty());
        assert_eq!(mock.call_count(), 0, "no texts, no request");
        let scores = reranker.rerank("grey granite", &TEXTS, &Errand::default()).unwrap();
        assert_eq!(scores, [0.0, 1.0, 0.0, 1.0], "{kind:?}: in the order of the texts");
        for (text, score) in TEXTS.iter().zip(&scores) {
            assert_eq!(reranker.rerank("grey granite", &[text], &Errand::default()).unwrap(), [*score], "{kind:?}: alone as among others");
        }
        assert_eq!(reranker.rerank("", &TEXTS, &Errand::default()).unwrap().len(), TEXTS.len(), "an empty question is one");
        assert_eq!(
            reranker.rerank("granite", &["granite ".repeat(100_000).as_str()], &Errand::default()).unwrap(),
            [1.0],
            "nothing is too long"
        );
        assert!(mock.calls().iter().all(|call| call.authorization));
        reranker.close();
        for texts in [&TEXTS[..0], &TEXTS[..1]] {
            assert!(matches!(reranker.rerank("granite", texts, &Errand::default()), Err(EmbedError::Closed)), "{kind:?}");
        }
    }
}

#[test]
fn requests_are_written_as_each_provider_wants() {
    let documents = ["slate", " "];
    let expected = [
        (Cohere, "/v2/rerank", json!({"model": "small", "query": "q", "documents": documents, "top_n": 2})),
        (Jina, "/v1/rerank", json!({"model": "small", "query": "q", "documents": documents, "top_n": 2, "return_documents": false})),
        (Tei, "/rerank", json!({"query": "q", "texts": documents, "truncate": true, "raw_scores": false, "return_text": false})),
    ];
    for (kind, path, body) in expected {
        let mock = Mock::start_on_thread(Script::default());
        reranker(kind, &mock).rerank("q", &["slate", ""], &Errand::default()).unwrap();
        let call = &mock.calls()[0];
        assert_eq!((call.path.as_str(), &call.body), (path, &body), "{kind:?}");
    }
}

#[test]
fn many_texts_are_judged_in_several_requests() {
    for (texts, requests) in [(32, 1), (33, 2), (100, 4)] {
        let mock = Mock::start_on_thread(Script::default());
        let texts: Vec<String> = (0..texts).map(|at| if at % 7 == 0 { "granite".to_owned() } else { format!("text {at}") }).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let scores = reranker(Tei, &mock).rerank("granite", &texts, &Errand::default()).unwrap();
        assert_eq!(scores, texts.iter().map(|text| f32::from(u8::from(*text == "granite"))).collect::<Vec<_>>());
        assert_eq!(mock.call_count(), requests);
    }
}

#[test]
fn wrong_answers_are_named_and_final_and_scores_are_in_range() {
    let judge = |kind: RerankProvider, body: &Value| {
        let mock = Mock::start_on_thread(Script::always(Reply::raw(body.to_string())));
        let result = reranker(kind, &mock).rerank("q", &["a", "b"], &Errand::default());
        assert_eq!(mock.call_count(), 1);
        result
    };
    let one = |index: usize, score: f64| json!({"index": index, "relevance_score": score});
    for (results, expected) in [
        (json!([one(0, 0.5)]), "1 scores for 2 texts"),
        (json!([one(0, 0.5), one(1, 0.5), one(2, 0.5)]), "3 scores for 2 texts"),
        (json!([one(0, 0.5), one(0, 0.5)]), "not numbered"),
        (json!([one(1, 0.5), one(2, 0.5)]), "not numbered"),
        (json!([one(0, 0.5), {"index": 1}]), "no scores: missing field `score`"),
        (json!([one(0, 1e300), one(1, 0.5)]), "score 0 is not a finite number"),
    ] {
        for kind in KINDS {
            let body = if kind == Tei { results.clone() } else { json!({"results": results}) };
            match judge(kind, &body) {
                Err(EmbedError::Provider { reason, retry_after: None }) => assert!(reason.contains(expected), "{kind:?}: {reason}"),
                other => panic!("{kind:?}, {expected}: {other:?}"),
            }
        }
    }
    let beyond = json!({"results": [one(1, -0.2), one(0, 1.25)]});
    assert_eq!(judge(Jina, &beyond).unwrap(), [1.0, 0.0]);
}

#[test]
fn keys_are_shown_nowhere() {
    let config = RemoteRerankerConfig { api_key: Some(ApiKey::new("sk-canary")), ..RemoteRerankerConfig::new(Cohere, "http://x", "m") };
    assert!(!format!("{config:?}").contains("canary"));
    let refused = Mock::start_on_thread(Script::always(Reply { status: Some(401), ..Reply::raw(r#"{"message":"bad key sk-canary"}"#) }));
    let Err(EmbedError::Provider { reason, .. }) = reranker(Cohere, &refused).rerank("q", &["a"], &Errand::default()) else {
        panic!("not refused")
    };
    assert!(reason.ends_with("answered 401: bad key …"), "{reason}");
}

#[test]
fn what_a_call_takes_is_counted_and_read_as_each_provider_says_it() {
    let listed = |usage: Value, meta: Value| json!({"results": [{"index": 0, "relevance_score": 0.5}], "usage": usage, "meta": meta});
    let units = |units: Value| json!({"billed_units": units});
    for (kind, answer, told) in [
        (Cohere, listed(json!(null), units(json!({"search_units": 2.0}))), (None, Some(2))),
        (Cohere, listed(json!(null), units(json!({"input_tokens": 70}))), (Some(70), None)),
        (Jina, listed(json!({"total_tokens": 9}), json!(null)), (Some(9), None)),
        (Tei, json!([{"index": 0, "score": 0.5}]), (None, None)),
    ] {
        let (scores, read) = kind.read(answer.to_string().as_bytes(), 1).unwrap();
        assert_eq!((scores, (read.tokens, read.searches)), (vec![0.5], told), "{kind:?} {answer}");
    }
    // A quarter above 799 tokens and the question's one: two pieces of 500.
    let long = "a".repeat(4 * 799);
    for (texts, searches) in [(vec!["granite"; 100], 1), (vec!["granite"; 101], 2), (vec![long.as_str(); 100], 2)] {
        assert_eq!(most("q", &texts).searches, searches, "{} texts", texts.len());
    }
    assert_eq!(most("q", &[&long]).prompt_tokens, 1_000);
}
