//! Who is served whose answer, and what is held.

use super::*;
use crate::clock::Clock;
use crate::key::Prefix;
use crate::stack::StackOptions;
use crate::test_keys::{partition, tenant};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// A vector at this angle, in degrees, to the first axis.
fn at(degrees: f32) -> Embedding {
    let radians = degrees.to_radians();
    Embedding::normalised(vec![radians.cos(), radians.sin(), 0.0], 3).unwrap()
}

async fn cache(options: SemanticOptions) -> (Arc<Stack>, Arc<SemanticCache>) {
    let stack = Arc::new(Stack::open(StackOptions::default(), Clock::system(), None, None).await.unwrap());
    (Arc::clone(&stack), SemanticCache::new(stack, options))
}

/// Answers a question, as the server does.
async fn answer(stack: &Stack, cache: &SemanticCache, partition: &Partition, question: &str, embedding: Embedding) -> Key {
    let key = partition.key("answer", &[question.as_bytes()]);
    assert!(stack.put(&key, format!("answer to {question}"), DAY).await);
    cache.remember(&key, question, embedding);
    key
}

fn served(found: &Found) -> Option<&str> {
    found.hit.as_ref().map(|hit| hit.question.as_ref())
}

#[tokio::test]
async fn the_nearest_question_that_means_the_same_is_served() {
    let (stack, cache) = cache(SemanticOptions::default()).await;
    let home = partition("acme", 1);
    for (question, degrees) in
        [("How long is the notice period?", 20.0), ("How long is the notice period in 2022?", 2.0), ("What is the rent?", 80.0)]
    {
        answer(&stack, &cache, &home, question, at(degrees)).await;
    }
    let found = cache.find(&home, "What is the length of the notice period?", &at(0.0)).await;
    assert_eq!(served(&found), Some("How long is the notice period?"));
    assert_eq!(found.hit.unwrap().entry.payload, "answer to How long is the notice period?");
    let refused: Vec<&str> = found.refused.iter().map(|refused| refused.difference.kind()).collect();
    assert_eq!(refused, ["number"], "the nearer one has another year");
    assert_eq!(served(&cache.find(&home, "How long is the notice period?", &at(50.0)).await), None, "too far");
    let statistics = cache.statistics();
    assert_eq!((statistics.lookups, statistics.hits, statistics.refused, statistics.entries), (2, 1, 1, 3));
}

#[tokio::test]
async fn nobody_is_served_from_another_partition() {
    let (stack, cache) = cache(SemanticOptions::default()).await;
    let question = "How long is the notice period?";
    answer(&stack, &cache, &partition("acme", 1), question, at(0.0)).await;
    assert!(served(&cache.find(&partition("acme", 1), question, &at(0.0)).await).is_some());
    assert!(served(&cache.find(&partition("acme", 2), question, &at(0.0)).await).is_none());
    assert!(served(&cache.find(&partition("other", 1), question, &at(0.0)).await).is_none());
}

#[tokio::test]
async fn the_threshold_is_a_cosine() {
    let (stack, cache) = cache(SemanticOptions { threshold: 0.9, ..SemanticOptions::default() }).await;
    let home = partition("acme", 1);
    answer(&stack, &cache, &home, "Why?", at(0.0)).await;
    let similarity = |degrees: f32| degrees.to_radians().cos();
    assert!(similarity(25.8) > 0.9 && similarity(25.9) < 0.9);
    assert!(served(&cache.find(&home, "Why?", &at(25.8)).await).is_some());
    assert!(served(&cache.find(&home, "Why?", &at(25.9)).await).is_none());
}

#[tokio::test]
async fn a_question_goes_with_its_value() {
    let (stack, cache) = cache(SemanticOptions::default()).await;
    let (home, other) = (partition("acme", 1), partition("other", 1));
    let key = answer(&stack, &cache, &home, "Why is it so?", at(0.0)).await;
    answer(&stack, &cache, &other, "Why is it so?", at(0.0)).await;
    stack.remove(&key).await;
    assert_eq!(cache.statistics().entries, 1);
    assert!(served(&cache.find(&home, "Why is it so?", &at(0.0)).await).is_none());
    answer(&stack, &cache, &home, "Why is it so?", at(0.0)).await;
    stack.invalidate(&Prefix::of_tenant(&tenant("acme"))).await;
    assert_eq!((cache.statistics().entries, cache.statistics().partitions), (1, 1));
    stack.invalidate(&Prefix::of_tenant(&tenant("other"))).await;
    assert_eq!((cache.statistics().entries, cache.statistics().bytes), (0, 0));
}

#[tokio::test]
async fn a_value_that_ended_is_not_looked_for_twice() {
    let now = Arc::new(AtomicU64::new(1_000_000));
    let clock = Clock::from_fn({
        let now = Arc::clone(&now);
        move || now.load(Relaxed)
    });
    let stack = Arc::new(Stack::open(StackOptions::default(), clock, None, None).await.unwrap());
    let cache = SemanticCache::new(Arc::clone(&stack), SemanticOptions::default());
    let home = partition("acme", 1);
    answer(&stack, &cache, &home, "Why is it so?", at(0.0)).await;
    now.fetch_add(DAY.as_millis() as u64, Relaxed);
    assert!(served(&cache.find(&home, "Why is it so?", &at(0.0)).await).is_none());
    assert_eq!((cache.statistics().gone, cache.statistics().entries), (1, 0));
}

#[tokio::test]
async fn memory_stays_within_its_bounds() {
    let options = SemanticOptions { partition_entries: 10, bytes: 60_000, ..SemanticOptions::default() };
    let (stack, cache) = cache(options).await;
    let home = partition("acme", 1);
    for n in 0..30 {
        answer(&stack, &cache, &home, &format!("What does rule {n} say?"), at(0.0)).await;
        assert!(cache.statistics().entries <= 10);
    }
    assert!(served(&cache.find(&home, "What does rule 20 say?", &at(0.0)).await).is_some());
    assert!(served(&cache.find(&home, "What does rule 19 say?", &at(0.0)).await).is_none(), "the oldest made room");
    for n in 0..200 {
        answer(&stack, &cache, &partition("acme", 2 + n), "Why is it so?", at(0.0)).await;
        assert!(cache.statistics().bytes <= 60_000, "{:?}", cache.statistics());
    }
    assert!(served(&cache.find(&partition("acme", 201), "Why is it so?", &at(0.0)).await).is_some(), "the latest partition stays");
    assert!(served(&cache.find(&home, "What does rule 20 say?", &at(0.0)).await).is_none());
    assert!(cache.statistics().evictions >= 30);
    let before = cache.statistics();
    cache.remember(&home.key("answer", &[b"x"]), &"why ".repeat(30_000), at(0.0));
    assert_eq!(cache.statistics(), before, "too long to be compared");
}
