//! What both limiters do alike, and the one of this process with a clock that tests move.

use super::*;
use tokio::time::advance;

fn quota(limit: u32, seconds: u64) -> Allowance {
    Allowance::new(NonZero::new(limit).unwrap(), Duration::from_secs(seconds))
}

/// One claim, checked.
pub(crate) async fn check(limiter: &Limiter, meter: Meter, key: &str, cost: u64, quota: &Allowance) -> Decision {
    limiter.check(&[Claim::new(meter, key, cost, *quota)]).await.remove(0)
}

fn limiter(keys: usize) -> Limiter {
    Limiter::new(NonZero::new(keys).unwrap(), None)
}

/// What every limiter must do. Periods are so long that what comes back meanwhile is not noticed.
pub(crate) async fn check_contract(limiter: &Limiter, is_shared: bool) {
    let hourly = quota(10, 3600);
    let spend = |key: &'static str, cost: u64| check(limiter, Meter::Requests, key, cost, &hourly);
    for remaining in (0..10).rev() {
        let decision = spend("a", 1).await;
        assert_eq!((decision.allowed, decision.limit, decision.remaining), (true, 10, remaining), "{decision:?}");
        assert_eq!((decision.retry_after, decision.is_shared), (None, is_shared));
    }
    let refused = spend("a", 1).await;
    assert_eq!((refused.allowed, refused.remaining), (false, 0));
    let near = |time: Duration, seconds: u64| (seconds.saturating_sub(5)..=seconds).contains(&time.as_secs());
    assert!(near(refused.retry_after.unwrap(), 360) && near(refused.reset_after, 3600), "{refused:?}");
    // Other keys and the other meter are counted apart.
    assert!(spend("b", 10).await.allowed);
    assert!(check(limiter, Meter::Tokens, "a", 10, &hourly).await.allowed);
    // All or nothing, and what was refused is not counted.
    assert!(spend("c", 7).await.allowed);
    assert!(!spend("c", 4).await.allowed);
    assert_eq!(spend("c", 0).await.remaining, 3);
    assert!(spend("c", 3).await.allowed);
    // More than can be spent at once never will be.
    let never = spend("d", 11).await;
    assert_eq!((never.allowed, never.retry_after, never.remaining), (false, None, 10));
    given_back(limiter, &hourly).await;
    all_or_nothing(limiter, &hourly).await;
}

async fn all_or_nothing(limiter: &Limiter, hourly: &Allowance) {
    let claims =
        |first: u64, second: u64| [Claim::new(Meter::Requests, "f", first, *hourly), Claim::new(Meter::Requests, "g", second, *hourly)];
    let figures = async |first, second| {
        limiter.check(&claims(first, second)).await.iter().map(|one| (one.allowed, one.remaining)).collect::<Vec<_>>()
    };
    assert_eq!(figures(4, 9).await, [(true, 6), (true, 1)]);
    assert_eq!(figures(3, 2).await, [(true, 6), (false, 1)], "the first is not charged for the second");
    assert_eq!(figures(6, 1).await, [(true, 0), (true, 0)]);
    limiter.settle(&claims(6, 1), 0).await;
    assert_eq!(figures(0, 0).await, [(true, 6), (true, 1)]);
    assert!(limiter.check(&[]).await.is_empty());
}

async fn given_back(limiter: &Limiter, hourly: &Allowance) {
    let tokens = |cost: u64| check(limiter, Meter::Tokens, "e", cost, hourly);
    assert!(tokens(8).await.allowed);
    limiter.settle(&[Claim::new(Meter::Tokens, "e", 8, *hourly)], 3).await;
    assert_eq!(tokens(0).await.remaining, 7);
    limiter.settle(&[Claim::new(Meter::Tokens, "e", 0, *hourly)], 100).await;
    let after = tokens(1).await;
    assert_eq!((after.allowed, after.remaining), (false, 0), "more was used than was left");
    assert!(after.retry_after.unwrap() > Duration::from_secs(90 * 360));
    limiter.settle(&[Claim::new(Meter::Tokens, "e", 1000, *hourly)], 0).await;
    assert_eq!(tokens(0).await.remaining, 10, "never more than all");
    // A long key is a key like others.
    let long = "k".repeat(10_000);
    assert!(check(limiter, Meter::Tokens, &long, 10, hourly).await.allowed);
    assert!(!check(limiter, Meter::Tokens, &long, 1, hourly).await.allowed);
    assert!(check(limiter, Meter::Tokens, &"k".repeat(10_001), 1, hourly).await.allowed);
}

#[tokio::test(start_paused = true)]
async fn the_local_limiter_keeps_the_contract() {
    check_contract(&limiter(100), false).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_spent_comes_back_steadily() {
    let limiter = limiter(10);
    let minutely = quota(60, 60);
    let spend = |cost: u64| check(&limiter, Meter::Requests, "a", cost, &minutely);
    assert!(spend(60).await.allowed);
    let refused = spend(1).await;
    assert_eq!(refused.retry_after, Some(Duration::from_secs(1)));
    advance(Duration::from_millis(999)).await;
    assert!(!spend(1).await.allowed);
    advance(Duration::from_millis(1)).await;
    assert!(spend(1).await.allowed);
    assert!(!spend(1).await.allowed);
    advance(Duration::from_secs(600)).await;
    assert_eq!(spend(0).await.remaining, 60);
    assert_eq!(limiter.local_keys(), 0, "a key with nothing spent takes no room");
}

#[tokio::test(start_paused = true)]
async fn a_burst_may_be_smaller_than_the_limit() {
    let limiter = limiter(10);
    let bursty = quota(60, 60).with_burst(NonZero::new(5).unwrap());
    let spend = |cost: u64| check(&limiter, Meter::Requests, "a", cost, &bursty);
    assert!(spend(5).await.allowed && !spend(1).await.allowed);
    advance(Duration::from_secs(3)).await;
    assert!(spend(3).await.allowed && !spend(1).await.allowed);
}

#[tokio::test(start_paused = true)]
async fn the_number_of_keys_is_bounded() {
    let limiter = limiter(100);
    for n in 0..1000 {
        check(&limiter, Meter::Requests, &n.to_string(), 1, &quota(2, 3600)).await;
        assert!(limiter.local_keys() <= 100);
    }
}
