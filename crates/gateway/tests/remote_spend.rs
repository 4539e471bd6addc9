//! What embeddings and judgements at a provider are booked as, and that a budget bounds them: the mock counts the calls.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

use corpus::{EmbedError, Embedder, EmbeddingModel, Errand, Precision, Purpose, Reranker, Shortage, Waiter};
use mock::{Fault, Finished, Mock, Reply, Script, Usage};
use ragstone_gateway::{
    Account, Budget, CallParams, EmbeddingProvider, Ledger, MemoryBooks, Money, Period, Price, RemoteEmbedder, RemoteEmbedderConfig,
    RemoteReranker, RemoteRerankerConfig, RerankProvider, RetryParams, UsageCounts,
};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};
use time::OffsetDateTime;

/// A dollar a million tokens: a millionth of a dollar a token.
const PRICE: Price = Price { input: 1.0, cached_input: None, output: 0.0, batch_discount: None, searches: None };
/// Four by the estimate, and two around them.
const TEXT: &str = "one two three";
const TOKENS: u64 = 6;

fn account() -> Arc<Account> {
    Arc::new(Account { key: "k".into(), tags: vec!["t".into()], collection: Some("col".into()), ..Account::default() })
}

fn errand() -> Errand {
    Errand { account: account(), ..Errand::default() }
}

/// A budget of so many millionths of a dollar.
fn ledger(millionths: Option<u64>) -> Arc<Ledger> {
    let limit = |millionths: u64| Budget {
        name: "b".into(),
        tenant: None,
        key: Some("k".into()),
        tag: None,
        limit: Some(Money::from_nanos(1_000 * millionths)),
        limit_tokens: None,
        period: Period::Total,
        thresholds: Vec::new(),
    };
    let budgets = millionths.map(limit).into_iter().collect();
    let clock = Arc::new(|| OffsetDateTime::UNIX_EPOCH);
    Ledger::open(Arc::new(MemoryBooks::default()), budgets, clock).unwrap().0
}

fn calls() -> CallParams {
    let retry = RetryParams { backoff: Duration::from_millis(1), ..RetryParams::default() };
    CallParams { concurrent_max: 100, try_timeout: Duration::from_secs(10), retry, ..CallParams::default() }
}

fn embedder(mock: &Mock, ledger: &Arc<Ledger>, price: Option<Price>, calls: CallParams) -> RemoteEmbedder {
    let (name, revision, languages) = ("m".to_owned(), "1".to_owned(), Vec::new());
    let model = EmbeddingModel { name, revision, dimension: 16, max_tokens: 128, languages, precision: Precision::F32 };
    let config = RemoteEmbedderConfig::new(EmbeddingProvider::OpenAi, format!("{}/v1", mock.url()), model);
    RemoteEmbedder::new(RemoteEmbedderConfig { shorten: true, calls, ..config }).unwrap().charged(Arc::clone(ledger), price)
}

fn reranker(mock: &Mock, ledger: &Arc<Ledger>, kind: RerankProvider, price: Price) -> RemoteReranker {
    let config = RemoteRerankerConfig { calls: calls(), ..RemoteRerankerConfig::new(kind, mock.url(), "judge") };
    RemoteReranker::new(config).unwrap().charged(Arc::clone(ledger), Some(price))
}

fn told(tokens: u64) -> Reply {
    Reply::default().usage(Usage { prompt_tokens: tokens, ..Usage::default() })
}

/// What is booked in all, once it is written.
fn booked(ledger: &Arc<Ledger>) -> UsageCounts {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(ledger.flush()).unwrap();
    let mut total = UsageCounts::default();
    let read = ledger.each_usage("1970-01-01", None, |key, counts| {
        assert_eq!((key.key.as_str(), key.collection.as_deref(), key.tags.as_slice()), ("k", Some("col"), ["t".to_owned()].as_slice()));
        total.add(&counts);
        ControlFlow::Continue(())
    });
    assert!(read.unwrap().is_continue());
    total
}

#[test]
fn a_hundred_at_once_with_money_for_three_are_three_calls() {
    // Each answer takes long enough that all of the calls are there before the first ends.
    let mock = Mock::start_on_thread(Script::always(told(TOKENS).latency_ms(1_500)));
    let ledger = ledger(Some(3 * TOKENS + 2));
    let embedder = embedder(&mock, &ledger, Some(PRICE), calls());
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..100).map(|_| scope.spawn(|| embedder.embed(&[TEXT], Purpose::Query, &errand()))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let served = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!((served, mock.call_count()), (3, 3));
    for refused in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        let EmbedError::OverBudget { shortage, retry_after, .. } = refused else { panic!("{refused:?}") };
        assert_eq!((*shortage, retry_after.is_some()), (Shortage::Reserved, true));
    }
    assert_eq!((booked(&ledger).requests, booked(&ledger).cost.nanos()), (3, 18_000));
    let refused = embedder.embed(&[TEXT], Purpose::Query, &errand());
    assert!(matches!(refused, Err(EmbedError::OverBudget { shortage: Shortage::Spent, .. })), "{refused:?}");
    assert_eq!(mock.call_count(), 3);
}

#[test]
fn what_the_provider_tells_is_booked_and_else_our_count_and_nothing_that_it_refused() {
    let hasty = CallParams { try_timeout: Duration::from_millis(200), ..calls() };
    for (reply, requests, tokens) in [
        (told(41), 1, 41),
        (Reply::default().without_usage(), 1, TOKENS),
        // Whoever counts nothing doesn't count.
        (told(0), 1, TOKENS),
        (Reply::status(400), 0, 0),
        (Reply::status(500), 0, 0),
        (Reply::fault(Fault::InvalidJson), 1, TOKENS),
        // Three tries that were sent, each for as much as it may have cost.
        (Reply::fault(Fault::StallAfterHeaders), 3, 3 * TOKENS),
        (Reply::fault(Fault::ResetInBody(0)), 3, 3 * TOKENS),
    ] {
        let (mock, ledger) = (Mock::start_on_thread(Script::always(reply.clone())), ledger(Some(1_000)));
        // Either way.
        drop(embedder(&mock, &ledger, Some(PRICE), hasty).embed(&[TEXT], Purpose::Document, &errand()));
        let total = booked(&ledger);
        assert_eq!((total.requests, total.prompt_tokens, total.cost.nanos()), (requests, tokens, 1_000 * tokens), "{reply:?}");
        assert_eq!(ledger.budgets(|_| true)[0].reserved.tokens, 0, "{reply:?}");
    }
}

#[test]
fn without_a_price_there_is_no_cost_and_under_a_budget_of_money_no_call() {
    let mock = Mock::start_on_thread(Script::always(told(41)));
    let free = ledger(None);
    embedder(&mock, &free, None, calls()).embed(&[TEXT], Purpose::Query, &errand()).unwrap();
    let total = booked(&free);
    assert_eq!((total.prompt_tokens, total.unpriced_requests, total.cost), (41, 1, Money::ZERO));
    let refused = embedder(&mock, &ledger(Some(1_000)), None, calls()).embed(&[TEXT], Purpose::Query, &errand());
    assert!(matches!(refused, Err(EmbedError::OverBudget { shortage: Shortage::Unpriced, .. })), "{refused:?}");
    assert_eq!(mock.call_count(), 1);
}

#[test]
fn rerankers_are_paid_by_the_token_or_by_the_search() {
    let texts = vec!["granite"; 150];
    let mock = Mock::start_on_thread(Script::always(told(700)));
    let by_token = ledger(Some(10_000));
    reranker(&mock, &by_token, RerankProvider::Jina, PRICE).rerank("stone", &texts, &errand()).unwrap();
    assert_eq!((booked(&by_token).prompt_tokens, booked(&by_token).cost.nanos()), (700, 700_000));
    // A fifth of a cent a search. Two are held for a hundred and fifty texts; the mock says that it was one.
    let searches = Price { input: 0.0, searches: Some(2.0), ..PRICE };
    let by_search = ledger(Some(4_000));
    reranker(&mock, &by_search, RerankProvider::Cohere, searches).rerank("stone", &texts, &errand()).unwrap();
    assert_eq!((booked(&by_search).requests, booked(&by_search).cost.nanos()), (1, 2_000_000));
    let refused = reranker(&mock, &by_search, RerankProvider::Cohere, searches).rerank("stone", &texts, &errand());
    assert!(matches!(refused, Err(EmbedError::OverBudget { shortage: Shortage::Spent, .. })), "{refused:?}");
    assert_eq!(mock.call_count(), 2);
    // Text Embeddings Inference says nothing.
    let silent = ledger(Some(10_000));
    reranker(&mock, &silent, RerankProvider::Tei, searches).rerank("stone", &["granite"], &errand()).unwrap();
    assert_eq!(booked(&silent).cost.nanos(), 2_000_000);
}

#[test]
fn who_leaves_ends_the_call_at_the_provider_and_pays_for_what_was_sent() {
    let mock = Mock::start_on_thread(Script::always(Reply::fault(Fault::StallAfterHeaders)));
    let (ledger, waiter) = (ledger(Some(1_000_000)), Waiter::default());
    let patient = CallParams { try_timeout: Duration::from_secs(60), ..calls() };
    let (embedder, judge) = (embedder(&mock, &ledger, Some(PRICE), patient), reranker(&mock, &ledger, RerankProvider::Jina, PRICE));
    let errand = Errand { account: account(), wanted: waiter.wanted() };
    std::thread::scope(|scope| {
        let embedding = scope.spawn(|| embedder.embed(&[TEXT], Purpose::Query, &errand));
        let judging = scope.spawn(|| judge.rerank("stone", &[TEXT], &errand));
        eventually(|| mock.call_count() == 2);
        drop(waiter);
        assert!(matches!(embedding.join().unwrap(), Err(EmbedError::Unwanted)));
        assert!(matches!(judging.join().unwrap(), Err(EmbedError::Unwanted)));
    });
    eventually(|| mock.calls().iter().all(|call| call.finished == Some(Finished::ClientLeft)));
    let total = booked(&ledger);
    assert!(total.requests == 2 && total.prompt_tokens > TOKENS, "{total:?}");
    // Nor is anything begun for who has left.
    assert!(matches!(embedder.embed(&[TEXT], Purpose::Query, &errand), Err(EmbedError::Unwanted)));
    assert_eq!(mock.call_count(), 2);
}

fn eventually(mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_true() {
        assert!(Instant::now() < deadline, "it did not come true");
        std::thread::sleep(Duration::from_millis(5));
    }
}
