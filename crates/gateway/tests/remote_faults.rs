//! The fault table of calls that have one answer: what a provider of embeddings or of scores may do, and exactly how
//! often it is asked.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

use corpus::{EmbedError, Embedder, EmbeddingModel, Errand, Precision, Purpose, Reranker};
use mock::{Fault, Mock, Reply, Script};
use ragstone_gateway::{
    BreakerParams, CallParams, EmbeddingProvider, RateParams, RemoteEmbedder, RemoteEmbedderConfig, RemoteReranker, RemoteRerankerConfig,
    RerankProvider, RetryParams,
};
use std::time::{Duration, Instant, SystemTime};

const DIMENSION: usize = 16;

/// What is asked of a provider.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Work {
    Embed,
    Rerank(RerankProvider),
}

const WORKS: [Work; 4] =
    [Work::Embed, Work::Rerank(RerankProvider::Cohere), Work::Rerank(RerankProvider::Jina), Work::Rerank(RerankProvider::Tei)];

enum Client {
    Embedder(RemoteEmbedder),
    Reranker(RemoteReranker),
}

impl Client {
    fn new(work: Work, base_url: &str, calls: CallParams) -> Self {
        match work {
            Work::Embed => {
                let (name, revision, languages) = ("m".to_owned(), "1".to_owned(), Vec::new());
                let model = EmbeddingModel { name, revision, dimension: DIMENSION, max_tokens: 128, languages, precision: Precision::F32 };
                let config = RemoteEmbedderConfig::new(EmbeddingProvider::OpenAi, format!("{base_url}/v1"), model);
                Self::Embedder(RemoteEmbedder::new(RemoteEmbedderConfig { shorten: true, calls, ..config }).unwrap())
            }
            Work::Rerank(kind) => {
                let config = RemoteRerankerConfig::new(kind, base_url, "m");
                Self::Reranker(RemoteReranker::new(RemoteRerankerConfig { calls, ..config }).unwrap())
            }
        }
    }

    fn ask(&self) -> Result<(), EmbedError> {
        match self {
            Self::Embedder(embedder) => {
                embedder.embed(&["granite", "slate"], Purpose::Document, &Errand::default()).map(|embedded| assert_eq!(embedded.len(), 2))
            }
            Self::Reranker(reranker) => {
                reranker.rerank("granite", &["granite", "slate"], &Errand::default()).map(|scores| assert_eq!(scores, [1.0, 0.0]))
            }
        }
    }
}

fn calls() -> CallParams {
    let retry = RetryParams { backoff: Duration::from_millis(1), ..RetryParams::default() };
    CallParams { try_timeout: Duration::from_millis(400), retry, ..CallParams::default() }
}

/// What the caller is told.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Told {
    /// To come again then.
    Busy,
    /// That it may be put right meanwhile.
    MayPass,
    /// That it is no use.
    Final,
}

fn told(error: &EmbedError) -> Told {
    match error {
        EmbedError::Busy { .. } => Told::Busy,
        EmbedError::Provider { retry_after: Some(_), .. } => Told::MayPass,
        EmbedError::Provider { retry_after: None, .. } => Told::Final,
        other => panic!("{other:?}"),
    }
}

/// Every call is answered like this: how often it is asked, and what the caller is told.
fn table() -> Vec<(&'static str, Reply, u64, Told)> {
    let limited = |name, value: &str| Reply::status(429).header(name, value);
    let past = httpdate::fmt_http_date(SystemTime::now() - Duration::from_secs(60));
    let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3_600));
    vec![
        ("reset before the headers", Reply::fault(Fault::RefuseBeforeHeaders), 3, Told::MayPass),
        ("closed before the headers", Reply::fault(Fault::CloseBeforeHeaders), 3, Told::MayPass),
        ("reset in the body", Reply::fault(Fault::ResetInBody(0)), 3, Told::MayPass),
        ("body without an end", Reply::fault(Fault::CutInBody(0)), 3, Told::MayPass),
        ("200, then silence", Reply::fault(Fault::StallAfterHeaders), 3, Told::MayPass),
        ("silence in the body", Reply::fault(Fault::StallInBody(0)), 3, Told::MayPass),
        ("one byte at a time", Reply::fault(Fault::Drip).chunk_ms(50), 3, Told::MayPass),
        ("no headers in time", Reply::default().latency_ms(5_000), 3, Told::MayPass),
        ("400", Reply::status(400), 1, Told::Final),
        ("401", Reply::status(401), 1, Told::MayPass),
        ("403", Reply::status(403), 1, Told::MayPass),
        ("404", Reply::status(404), 1, Told::MayPass),
        ("408", Reply::status(408), 3, Told::MayPass),
        ("413", Reply::status(413), 1, Told::Final),
        ("422", Reply::status(422), 1, Told::Final),
        ("429", Reply::status(429), 3, Told::MayPass),
        ("429, now", limited("retry-after", "0"), 3, Told::Busy),
        ("429, a date in the past", limited("retry-after", &past), 3, Told::Busy),
        ("429, in milliseconds", limited("retry-after-ms", "40"), 3, Told::Busy),
        ("429, in an hour", limited("retry-after", "3600"), 1, Told::Busy),
        ("429, at a date in an hour", limited("retry-after", &later), 1, Told::Busy),
        ("500", Reply::status(500), 3, Told::MayPass),
        ("502", Reply::status(502), 3, Told::MayPass),
        ("503", Reply::status(503), 3, Told::MayPass),
        ("504", Reply::status(504), 3, Told::MayPass),
        ("529", Reply::status(529), 3, Told::MayPass),
        ("invalid JSON", Reply::fault(Fault::InvalidJson), 1, Told::Final),
        ("invalid UTF-8", Reply::fault(Fault::InvalidUtf8), 1, Told::Final),
        ("a page of HTML", Reply::fault(Fault::Html), 1, Told::Final),
        ("a body of 1 GB", Reply::fault(Fault::HugeLine(1 << 30)), 1, Told::Final),
        ("too few", Reply::raw(r#"{"data":[],"results":[]}"#), 1, Told::Final),
        ("a redirect", Reply::fault(Fault::Redirect("http://127.0.0.1:9/".into())), 1, Told::MayPass),
    ]
}

#[test]
fn every_fault_has_its_number_of_calls() {
    for work in WORKS {
        for (name, reply, count, expected) in table() {
            let mock = Mock::start_on_thread(Script::always(reply));
            let error = Client::new(work, mock.url(), calls()).ask().expect_err(name);
            assert_eq!((mock.call_count(), told(&error)), (count, expected), "{work:?}, {name}: {error:?}");
        }
    }
}

#[test]
fn a_wrong_dimension_is_final() {
    let mock = Mock::start_on_thread(Script::always(Reply::fault(Fault::WrongDimension(DIMENSION + 1))));
    let error = Client::new(Work::Embed, mock.url(), calls()).ask().unwrap_err();
    assert_eq!((mock.call_count(), told(&error)), (1, Told::Final));
    assert!(format!("{error:?}").contains("17 dimensions"), "{error:?}");
}

#[test]
fn what_passes_is_over_after_another_try() {
    for work in WORKS {
        for passing in [Reply::status(503), Reply::fault(Fault::ResetInBody(0)), Reply::status(429).header("retry-after-ms", "5")] {
            let script = [passing.clone(), passing].into_iter().fold(Script::default(), |script, reply| script.then("*", reply));
            // A request of TEI's protocol names no model: its path does.
            let script = if work == Work::Rerank(RerankProvider::Tei) { as_path(script) } else { script };
            let mock = Mock::start_on_thread(script);
            Client::new(work, mock.url(), calls()).ask().unwrap_or_else(|error| panic!("{work:?}: {error}"));
            assert_eq!(mock.call_count(), 3, "{work:?}");
        }
    }
}

/// The same answers, for TEI's path instead of any model.
fn as_path(script: Script) -> Script {
    let text = serde_json::to_string(&script).unwrap().replace("\"*\"", "\"/rerank\"");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn nobody_at_the_address_and_no_such_name() {
    for work in WORKS {
        for address in ["http://127.0.0.1:9", "http://no-such-host.invalid"] {
            let began = Instant::now();
            // Looking a name up may take a while.
            let calls = CallParams { try_timeout: Duration::from_secs(5), ..calls() };
            let error = Client::new(work, address, calls).ask().unwrap_err();
            assert_eq!(told(&error), Told::MayPass, "{work:?}, {address}");
            assert!(format!("{error:?}").contains("can't connect"), "{error:?}");
            assert!(began.elapsed() < Duration::from_secs(20));
        }
    }
}

#[test]
fn a_wait_in_seconds_that_was_asked_for_is_kept() {
    let mock = Mock::start_on_thread(Script::default().then("m", Reply::status(429).header("retry-after", "1")));
    let began = Instant::now();
    Client::new(Work::Embed, mock.url(), calls()).ask().unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(mock.call_count(), 2);
}

#[test]
fn a_provider_that_refuses_or_fails_is_left_alone_for_a_while() {
    let one_try = CallParams { retry: RetryParams { tries_max: 1, ..calls().retry }, ..calls() };
    for work in WORKS {
        for (reply, asked) in [(Reply::status(401), 1), (Reply::status(429).header("retry-after", "3600"), 1), (Reply::status(500), 5)] {
            let mock = Mock::start_on_thread(Script::always(reply.clone()));
            let client = Client::new(work, mock.url(), one_try);
            for _ in 0..12 {
                client.ask().unwrap_err();
            }
            assert_eq!(mock.call_count(), asked, "{work:?}, {reply:?}");
            assert!(matches!(client.ask(), Err(EmbedError::Provider { retry_after: Some(_), .. })));
        }
    }
}

#[test]
fn limits_on_the_way_out_are_kept_and_an_open_breaker_ends_the_tries() {
    for work in WORKS {
        let mock = Mock::start_on_thread(Script::default());
        let rate = RateParams { requests_per_minute: Some(2), tokens_per_minute: None };
        let client = Client::new(work, mock.url(), CallParams { rate, ..calls() });
        let outcomes = [(); 4].map(|()| client.ask().is_ok());
        assert_eq!((outcomes, mock.call_count()), ([true, true, false, false], 2), "{work:?}");
        let mock = Mock::start_on_thread(Script::always(Reply::status(500)));
        let breaker = BreakerParams { consecutive: 2, open: Duration::from_secs(60), ..BreakerParams::default() };
        let client = Client::new(work, mock.url(), CallParams { breaker, ..calls() });
        for _ in 0..3 {
            client.ask().unwrap_err();
        }
        assert_eq!(mock.call_count(), 2, "{work:?}: open before the third try");
    }
}
