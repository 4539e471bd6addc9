//! What every [`Tier`] must do, as one set of tests for all of them.

use crate::entry::Entry;
use crate::key::{Conditions, Key, Partition, Prefix, Scope, Selection};
use crate::test_keys::{collection, key, partition, tenant};
use crate::tier::{Listed, Tier};
use bytes::Bytes;
use corpus::Principals;
use std::collections::BTreeSet;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
/// Redis measures lifetimes by its own clock, so entries are made now.
const NOW_MS: u64 = 1_700_000_000_000;

/// Runs the set; each test gets a fresh tier.
pub(crate) async fn check<T: Tier, F: Future<Output = T>>(fresh: impl Fn() -> F) {
    what_is_put_is_got(&fresh().await).await;
    a_value_takes_the_place_of_an_older_one(&fresh().await).await;
    what_is_removed_is_gone(&fresh().await).await;
    removals_keep_to_what_was_selected(&fresh().await).await;
    all_entries_are_listed_once(&fresh().await).await;
    many_at_once_get_what_they_put(&fresh().await).await;
}

fn entry(payload: &[u8]) -> Entry {
    Entry::new(Bytes::copy_from_slice(payload), NOW_MS, HOUR)
}

async fn put(tier: &impl Tier, key: &Key, payload: &[u8]) {
    assert!(tier.put(key.path(), &entry(payload), HOUR).await.unwrap());
}

async fn has(tier: &impl Tier, key: &Key) -> bool {
    tier.get(key.path()).await.unwrap().is_some()
}

async fn what_is_put_is_got(tier: &impl Tier) {
    assert_eq!(tier.get(key("a").path()).await.unwrap(), None);
    for payload in [b"".as_slice(), b"text", &[0, 255, 13, 10, 0], &vec![9; 100_000]] {
        put(tier, &key("a"), payload).await;
        assert_eq!(tier.get(key("a").path()).await.unwrap(), Some(entry(payload)));
    }
    assert_eq!(tier.get(key("b").path()).await.unwrap(), None);
}

async fn a_value_takes_the_place_of_an_older_one(tier: &impl Tier) {
    put(tier, &key("a"), b"old").await;
    put(tier, &key("b"), b"other").await;
    let newer = Entry { created_ms: NOW_MS + 5, lifetime_ms: 7_000, ..entry(b"new") };
    assert!(tier.put(key("a").path(), &newer, Duration::from_secs(7)).await.unwrap());
    assert_eq!(tier.get(key("a").path()).await.unwrap(), Some(newer));
    assert_eq!(tier.get(key("b").path()).await.unwrap(), Some(entry(b"other")));
    let usage = tier.usage().await;
    assert!(usage.entries.is_none_or(|entries| entries == 2), "{usage:?}");
}

async fn what_is_removed_is_gone(tier: &impl Tier) {
    put(tier, &key("a"), b"x").await;
    put(tier, &key("b"), b"y").await;
    tier.remove(key("a").path()).await.unwrap();
    tier.remove(key("a").path()).await.unwrap();
    assert_eq!((has(tier, &key("a")).await, has(tier, &key("b")).await), (false, true));
    put(tier, &key("a"), b"again").await;
    assert!(has(tier, &key("a")).await);
    tier.remove_all(&Selection::One(key("b").path().clone())).await.unwrap();
    assert_eq!((has(tier, &key("a")).await, has(tier, &key("b")).await), (true, false));
}

async fn removals_keep_to_what_was_selected(tier: &impl Tier) {
    let answer = |name: &str, n: u64| partition(name, n).key("answer", &[b"?"]);
    let conditions = Conditions { scope: Scope::Server, access: &Principals::All, model: "m", prompt: "", parameters: &[] };
    let vector = Partition::of(&conditions).key("embedding", &[b"?"]);
    let under = async |prefix: Prefix| tier.remove_all(&Selection::Under(prefix)).await.unwrap();
    let keys = [answer("acme", 1), answer("acme", 2), answer("acme-2", 1), answer("acm", 1), vector];
    let there = async || {
        let mut there = Vec::new();
        for key in &keys {
            there.push(has(tier, key).await);
        }
        there
    };
    for key in &keys {
        put(tier, key, b"x").await;
    }
    assert_eq!(under(Prefix::of_collection(&tenant("acme"), &collection(2))).await, 1);
    assert_eq!(there().await, [true, false, true, true, true]);
    assert_eq!(under(Prefix::of_tenant(&tenant("acme"))).await, 1);
    assert_eq!(there().await, [false, false, true, true, true]);
    assert_eq!(under(Prefix::of_server()).await, 1);
    assert_eq!(there().await, [false, false, true, true, false]);
    assert_eq!(under(Prefix::of_server()).await, 0);
}

async fn all_entries_are_listed_once(tier: &impl Tier) {
    put(tier, &partition("acme-2", 1).key("answer", &[b"?"]), b"another tenant's").await;
    let mut expected = BTreeSet::new();
    for n in 0..70 {
        let key = key(&n.to_string());
        put(tier, &key, b"12345").await;
        expected.insert(crate::fingerprint::hex(&key.digest()));
    }
    let (mut found, mut after, mut pages) = (Vec::<Listed>::new(), None, 0);
    loop {
        let page = tier.list(&Prefix::of_tenant(&tenant("acme")), after.as_deref(), 20, NOW_MS + 1000).await.unwrap();
        found.extend(page.entries);
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
        assert!(pages < 200, "the pages have no end");
    }
    assert!(pages > 1);
    assert_eq!(found.iter().map(|listed| listed.digest.clone()).collect::<BTreeSet<_>>(), expected);
    assert_eq!(found.len(), expected.len(), "an entry was listed twice");
    let one = &found[0];
    assert_eq!((one.kind.as_str(), one.tenant.as_deref()), ("answer", Some("acme")));
    assert_eq!((one.age_ms, one.left_ms), (1000, 3_599_000));
    assert!(one.bytes > 5 && one.bytes < 1000, "{one:?}");
}

async fn many_at_once_get_what_they_put(tier: &impl Tier) {
    let one = async |n: u64| {
        let (key, payload) = (key(&n.to_string()), n.to_le_bytes());
        put(tier, &key, &payload).await;
        assert_eq!(tier.get(key.path()).await.unwrap(), Some(entry(&payload)));
    };
    futures::future::join_all((0..100).map(one)).await;
}
