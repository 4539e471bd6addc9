//! The stack and the limits over a real Redis: shared by nodes, stopped, hanging, damaged, and back.

use crate::clock::Clock;
use crate::contract;
use crate::key::{Key, Prefix, Selection};
use crate::limit::tests::{check, check_contract};
use crate::limit::{Claim, Limiter, Meter};
use crate::link::{Link, LinkOptions};
use crate::shared::SharedTier;
use crate::stack::{Fresh, Loaded, Policy, Stack, StackOptions};
use crate::test_keys::{key, partition, tenant};
use crate::test_redis::{TestRedis, until};
use crate::tier::{Tier, TierName};
use corpus::Allowance;
use std::convert::Infallible;
use std::num::NonZero;
use std::sync::Arc;
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);

async fn stack(link: &Arc<Link>) -> Stack {
    Stack::open(StackOptions::default(), Clock::system(), None, Some(Arc::clone(link))).await.unwrap()
}

async fn got(stack: &Stack, key: &Key) -> Option<String> {
    stack.get(key).await.map(|entry| String::from_utf8(entry.payload.to_vec()).unwrap())
}

/// Hits, misses, errors and skipped calls of the last tier.
async fn figures(stack: &Stack) -> (u64, u64, u64, u64) {
    let statistics = stack.statistics().await;
    let redis = statistics.tiers.iter().find(|tier| tier.tier == TierName::Redis).unwrap();
    (redis.hits, redis.misses, redis.errors, redis.skipped)
}

fn limiter(link: &Arc<Link>) -> Limiter {
    Limiter::new(NonZero::new(100).unwrap(), Some(Arc::clone(link)))
}

#[tokio::test]
async fn the_tier_keeps_the_contract() {
    let redis = TestRedis::start().await;
    contract::check(|| async {
        redis::cmd("FLUSHALL").query_async::<()>(&mut redis.connection().await).await.unwrap();
        SharedTier::new(redis.link().await)
    })
    .await;
}

#[tokio::test]
async fn the_limiter_keeps_the_contract() {
    let redis = TestRedis::start().await;
    check_contract(&limiter(&redis.link().await), true).await;
}

#[tokio::test]
async fn two_nodes_share_entries() {
    let redis = TestRedis::start().await;
    let (link, other) = (redis.link().await, redis.link().await);
    let (a, b) = (stack(&link).await, stack(&other).await);
    assert!(a.put(&key("x"), "from a", HOUR).await);
    assert_eq!(got(&b, &key("x")).await.as_deref(), Some("from a"));
    assert_eq!(figures(&b).await, (1, 0, 0, 0));
    assert_eq!(got(&b, &key("x")).await.as_deref(), Some("from a"));
    assert_eq!(figures(&b).await.0, 1, "brought up into memory");
    let loaded = b.get_or_load(&key("x"), Policy::Use, async { Ok::<_, Infallible>(Fresh::keep("anew", HOUR)) }).await.unwrap();
    assert!(matches!(loaded, Loaded::Found(_, TierName::Memory)));
    // Lifetimes are over all nodes: Redis ends them itself.
    a.put(&key("short"), "x", Duration::from_millis(50)).await;
    let mut connection = redis.connection().await;
    let name = format!("ragstone:cache:{}", key("short").path());
    until("redis forgets", async || !redis::cmd("EXISTS").arg(&name).query_async::<bool>(&mut connection).await.unwrap()).await;
}

#[tokio::test]
async fn two_nodes_share_limits() {
    let redis = TestRedis::start().await;
    let (a, b) = (limiter(&redis.link().await), limiter(&redis.link().await));
    let quota = Allowance::new(NonZero::new(10).unwrap(), HOUR);
    for n in 0..10 {
        let node = if n % 2 == 0 { &a } else { &b };
        assert!(check(node, Meter::Requests, "k", 1, &quota).await.allowed);
    }
    assert!(!check(&a, Meter::Requests, "k", 1, &quota).await.allowed);
    assert!(!check(&b, Meter::Requests, "k", 1, &quota).await.allowed);
    b.settle(&[Claim::new(Meter::Requests, "k", 3, quota)], 0).await;
    assert_eq!(check(&a, Meter::Requests, "k", 0, &quota).await.remaining, 3);
    // Redis forgets a key when all of it is back.
    let soon = Allowance::new(NonZero::new(10).unwrap(), Duration::from_millis(100));
    assert!(check(&a, Meter::Requests, "soon", 10, &soon).await.allowed);
    let mut connection = redis.connection().await;
    until("redis forgets", async || {
        !redis::cmd("EXISTS").arg("ragstone:{limit}:requests:soon").query_async::<bool>(&mut connection).await.unwrap()
    })
    .await;
    assert!(check(&b, Meter::Requests, "soon", 10, &soon).await.allowed);
}

#[tokio::test]
async fn fast_limits_are_exact_to_the_microsecond() {
    let redis = TestRedis::start().await;
    let limiter = limiter(&redis.link().await);
    // A billion tokens a minute: an interval is 0.06 microseconds.
    let quota = Allowance::per_minute(NonZero::new(1_000_000_000).unwrap());
    for n in 1..=100_u64 {
        let decision = check(&limiter, Meter::Tokens, "k", 5_000_000, &quota).await;
        let spent = n * 5_000_000;
        assert!(decision.allowed && decision.is_shared);
        // What came back meanwhile at most, and nothing lost.
        assert!(decision.remaining + 1000 >= 1_000_000_000 - spent, "{decision:?}");
    }
}

#[tokio::test]
async fn redis_stopped_and_started_fails_no_call() {
    let mut redis = TestRedis::start().await;
    let link = redis.link().await;
    let (stack, limiter) = (stack(&link).await, limiter(&link));
    let quota = Allowance::new(NonZero::new(10).unwrap(), HOUR);
    stack.put(&key("before"), "kept", HOUR).await;
    check(&limiter, Meter::Requests, "k", 4, &quota).await;

    redis.stop();
    assert!(stack.put(&key("meanwhile"), "x", HOUR).await);
    assert_eq!(got(&stack, &key("meanwhile")).await.as_deref(), Some("x"), "from memory");
    assert_eq!(got(&stack, &key("nowhere")).await, None);
    assert!(!link.is_here());
    let alone = check(&limiter, Meter::Requests, "k", 10, &quota).await;
    assert!(alone.allowed && !alone.is_shared);
    assert!(!check(&limiter, Meter::Requests, "k", 1, &quota).await.allowed, "this node limits alone");
    let (_, _, errors, skipped) = figures(&stack).await;
    assert_eq!(errors, 0, "being away is no error");
    assert!(skipped >= 2);

    redis.start_again().await;
    until("the link is back", async || link.is_here()).await;
    let fresh = self::stack(&link).await;
    assert_eq!(got(&fresh, &key("before")).await.as_deref(), Some("kept"));
    let shared = check(&limiter, Meter::Requests, "k", 0, &quota).await;
    assert_eq!((shared.is_shared, shared.remaining), (true, 6), "what was spent before is still spent");
    assert!(stack.put(&key("after"), "y", HOUR).await);
    assert_eq!(got(&fresh, &key("after")).await.as_deref(), Some("y"));
}

#[tokio::test]
async fn a_server_that_is_not_there_at_the_start_is_found_later() {
    let mut redis = TestRedis::start().await;
    redis.stop();
    let link = redis.link().await;
    assert!(!link.is_here());
    let stack = stack(&link).await;
    assert!(stack.put(&key("x"), "x", HOUR).await);
    redis.start_again().await;
    until("the link is up", async || link.is_here()).await;
    assert!(Link::open(LinkOptions::new("no address")).await.is_err());
}

#[tokio::test]
async fn a_server_that_hangs_costs_one_timeout_and_not_one_for_each_request() {
    let redis = TestRedis::start().await;
    let link = Link::open(LinkOptions { timeout: Duration::from_millis(300), ..redis.options() }).await.unwrap();
    let stack = stack(&link).await;
    redis.hang(true);
    let started = Instant::now();
    for n in 0..50 {
        assert_eq!(got(&stack, &key(&n.to_string())).await, None);
    }
    let took = started.elapsed();
    redis.hang(false);
    assert!(took < Duration::from_secs(3), "50 calls took {took:?}");
    assert_eq!(figures(&stack).await, (0, 0, 0, 50));
    until("the link is back", async || link.is_here()).await;
}

#[tokio::test]
async fn what_was_removed_while_redis_was_away_does_not_come_back() {
    let mut redis = TestRedis::start().await;
    let link = redis.link().await;
    let stack = stack(&link).await;
    let other = partition("other", 1).key("answer", &[b"?"]);
    stack.put(&key("x"), "x", HOUR).await;
    stack.put(&key("y"), "y", HOUR).await;
    stack.put(&other, "other", HOUR).await;
    redis.stop();
    let removals = stack.invalidate(&Prefix::of_tenant(&tenant("acme"))).await;
    assert_eq!((removals.postponed.as_slice(), removals.failed.len()), ([TierName::Redis].as_slice(), 0));
    redis.start_again().await;
    until("the link is back", async || link.is_here()).await;
    let fresh = self::stack(&link).await;
    assert_eq!(got(&fresh, &key("x")).await, None);
    assert_eq!(got(&fresh, &key("y")).await, None);
    assert_eq!(got(&fresh, &other).await.as_deref(), Some("other"));
}

#[tokio::test]
async fn a_removal_is_owed_by_the_next_process_too() {
    let (mut redis, folder) = (TestRedis::start().await, tempfile::tempdir().unwrap());
    let options = || LinkOptions { owed: Some(folder.path().join("owed")), ..redis.options() };
    let link = Link::open(options()).await.unwrap();
    stack(&link).await.put(&key("x"), "x", HOUR).await;
    let options = options();
    redis.stop();
    let removals = stack(&link).await.invalidate(&Prefix::of_tenant(&tenant("acme"))).await;
    assert_eq!(removals.postponed, [TierName::Redis]);
    drop(link);
    redis.start_again().await;
    let next = Link::open(options.clone()).await.unwrap();
    assert!(next.is_here());
    assert_eq!(got(&stack(&next).await, &key("x")).await, None);
    until("nothing is owed", async || !folder.path().join("owed").exists()).await;
    // Where it can't be noted, it has failed.
    let nowhere = LinkOptions { owed: Some(folder.path().join("no-folder/owed")), ..options };
    let link = Link::open(nowhere).await.unwrap();
    redis.stop();
    let removals = stack(&link).await.invalidate(&Prefix::of_tenant(&tenant("acme"))).await;
    assert_eq!((removals.postponed.as_slice(), removals.failed.as_slice()), ([].as_slice(), [TierName::Redis].as_slice()));
}

#[tokio::test]
async fn too_many_owed_removals_empty_the_cache_and_leave_limits_alone() {
    let mut redis = TestRedis::start().await;
    let link = redis.link().await;
    let day = Allowance::new(NonZero::new(10).unwrap(), HOUR);
    assert!(check(&limiter(&link), Meter::Requests, "k", 7, &day).await.is_shared);
    stack(&link).await.put(&key("x"), "x", HOUR).await;
    redis.stop();
    let tier = SharedTier::new(Arc::clone(&link));
    for n in 0..1001 {
        tier.remove(key(&format!("other {n}")).path()).await.unwrap_err();
    }
    redis.start_again().await;
    until("the link is back", async || link.is_here()).await;
    assert_eq!(got(&stack(&link).await, &key("x")).await, None);
    let left = check(&limiter(&link), Meter::Requests, "k", 0, &day).await;
    assert_eq!((left.is_shared, left.remaining), (true, 3));
}

#[tokio::test]
async fn a_cluster_of_one_node_will_do() {
    let redis = TestRedis::start_cluster().await;
    let link = redis.link().await;
    let one = Claim::new(Meter::Requests, "key a", 1, Allowance::per_minute(NonZero::new(10).unwrap()));
    let other = Claim::new(Meter::Requests, "tenant b", 1, Allowance::per_minute(NonZero::new(10).unwrap()));
    let decisions = limiter(&link).check(&[one, other]).await;
    assert!(decisions.iter().all(|decision| decision.is_shared), "both keys in one slot: {decisions:?}");
    let stack = stack(&link).await;
    for n in 0..20 {
        stack.put(&key(&n.to_string()), "x", HOUR).await;
    }
    let removals = stack.invalidate(&Prefix::of_tenant(&tenant("acme"))).await;
    assert_eq!((removals.entries, removals.postponed.len()), (40, 0), "in memory and in redis");
}

#[tokio::test]
async fn a_removal_that_is_refused_keeps_the_link_closed_until_it_is_made() {
    let redis = TestRedis::start().await;
    let link = redis.link().await;
    let tier = SharedTier::new(Arc::clone(&link));
    let stack = stack(&link).await;
    stack.put(&key("x"), "x", HOUR).await;
    let mut connection = redis.connection().await;
    redis::cmd("ACL").arg(&["SETUSER", "default", "-scan"]).query_async::<()>(&mut connection).await.unwrap();
    assert!(tier.remove_all(&Selection::Under(Prefix::of_tenant(&tenant("acme")))).await.is_err());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!link.is_here(), "redis answers, but could serve what was removed");
    redis::cmd("ACL").arg(&["SETUSER", "default", "+scan"]).query_async::<()>(&mut connection).await.unwrap();
    until("the link is back", async || link.is_here()).await;
    assert_eq!(tier.get(key("x").path()).await.unwrap(), None);
}

#[tokio::test]
async fn a_damaged_value_is_counted_removed_and_never_served() {
    let redis = TestRedis::start().await;
    let link = redis.link().await;
    let mut connection = redis.connection().await;
    stack(&link).await.put(&key("x"), "text", HOUR).await;
    let name = format!("ragstone:cache:{}", key("x").path());
    redis::cmd("APPEND").arg(&name).arg("!").query_async::<()>(&mut connection).await.unwrap();
    let fresh = stack(&link).await;
    assert_eq!(got(&fresh, &key("x")).await, None);
    assert_eq!(figures(&fresh).await, (0, 1, 1, 0));
    assert!(!redis::cmd("EXISTS").arg(&name).query_async::<bool>(&mut connection).await.unwrap());
    // A key of another type is an error of this call; the link stays.
    redis::cmd("LPUSH").arg(&name).arg("x").query_async::<()>(&mut connection).await.unwrap();
    assert_eq!(got(&fresh, &key("x")).await, None);
    assert_eq!(figures(&fresh).await, (0, 2, 2, 0));
    assert!(link.is_here());
}

#[tokio::test]
async fn servers_with_other_prefixes_do_not_meet() {
    let redis = TestRedis::start().await;
    let link = |prefix: &str| Link::open(LinkOptions { prefix: prefix.to_owned(), ..redis.options() });
    let (a, b) = (link("a*:").await.unwrap(), link("ab:").await.unwrap());
    let (on_a, on_b) = (stack(&a).await, stack(&b).await);
    on_a.put(&key("x"), "a", HOUR).await;
    assert_eq!(got(&on_b, &key("x")).await, None);
    on_b.put(&key("x"), "b", HOUR).await;
    on_a.invalidate(&Prefix::of_tenant(&tenant("acme"))).await;
    assert_eq!(got(&stack(&a).await, &key("x")).await, None);
    assert_eq!(got(&stack(&b).await, &key("x")).await.as_deref(), Some("b"));
    let page = on_b.entries(TierName::Redis, &Prefix::of_tenant(&tenant("acme")), None, 10).await.unwrap();
    assert_eq!(page.entries.len(), 1);
}
