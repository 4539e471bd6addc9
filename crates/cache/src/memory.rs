//! The first tier: entries in this process, at most so many bytes of them, those used often preferred.

use crate::entry::Entry;
use crate::key::{Prefix, Selection};
use crate::tier::{Listed, Page, Tier, TierError, TierName, Usage};
use async_trait::async_trait;
use moka::Expiry;
use moka::future::Cache;
use moka::notification::RemovalCause;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What an entry costs besides its path and payload: the maps' own records, measured roughly.
const OVERHEAD_BYTES: usize = 256;

pub(crate) struct MemoryTier {
    entries: Cache<Arc<str>, Arc<Slot>>,
    bytes_max: u64,
    evictions: Arc<AtomicU64>,
}

struct Slot {
    entry: Entry,
    /// What was left of its lifetime when it came here.
    left: Duration,
    hits: AtomicU64,
}

/// Frees memory when lifetimes end. Whether an entry is served, the caller decides by its own clock.
struct Lifetimes;

impl Expiry<Arc<str>, Arc<Slot>> for Lifetimes {
    fn expire_after_create(&self, _: &Arc<str>, slot: &Arc<Slot>, _: Instant) -> Option<Duration> {
        Some(slot.left)
    }

    fn expire_after_update(&self, _: &Arc<str>, slot: &Arc<Slot>, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(slot.left)
    }
}

impl MemoryTier {
    pub(crate) fn new(bytes_max: u64) -> Self {
        let evictions = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&evictions);
        let entries = Cache::builder()
            .max_capacity(bytes_max)
            .weigher(|path: &Arc<str>, slot: &Arc<Slot>| u32::try_from(weight(path, &slot.entry)).unwrap_or(u32::MAX))
            .expire_after(Lifetimes)
            .eviction_listener(move |_, _, cause| _ = counter.fetch_add((cause == RemovalCause::Size).into(), Relaxed))
            .build();
        Self { entries, bytes_max, evictions }
    }

    /// The paths meant. All are looked at: removals are rare, because a write to a collection begins a new partition.
    fn paths(&self, selection: &Selection) -> Vec<Arc<str>> {
        self.entries.iter().map(|(path, _)| Arc::clone(&*path)).filter(|path| selection.has(path)).collect()
    }
}

fn weight(path: &str, entry: &Entry) -> usize {
    path.len() + entry.payload.len() + OVERHEAD_BYTES
}

#[async_trait]
impl Tier for MemoryTier {
    fn name(&self) -> TierName {
        TierName::Memory
    }

    async fn get(&self, path: &Arc<str>) -> Result<Option<Entry>, TierError> {
        let slot = self.entries.get(path).await;
        Ok(slot.map(|slot| {
            slot.hits.fetch_add(1, Relaxed);
            slot.entry.clone()
        }))
    }

    async fn peek(&self, path: &Arc<str>) -> Result<Option<Entry>, TierError> {
        Ok(self.entries.get(path).await.map(|slot| slot.entry.clone()))
    }

    async fn put(&self, path: &Arc<str>, entry: &Entry, left: Duration) -> Result<bool, TierError> {
        if weight(path, entry) as u64 > self.bytes_max {
            self.remove(path).await?;
            return Ok(false);
        }
        let slot = Slot { entry: entry.clone(), left, hits: AtomicU64::new(0) };
        self.entries.insert(Arc::clone(path), Arc::new(slot)).await;
        Ok(true)
    }

    async fn remove(&self, path: &Arc<str>) -> Result<(), TierError> {
        self.entries.invalidate(path).await;
        Ok(())
    }

    async fn remove_all(&self, selection: &Selection) -> Result<u64, TierError> {
        let mut removed = 0;
        for path in self.paths(selection) {
            removed += u64::from(self.entries.remove(path.as_ref()).await.is_some());
        }
        Ok(removed)
    }

    async fn list(&self, prefix: &Prefix, after: Option<&str>, limit: usize, now_ms: u64) -> Result<Page, TierError> {
        let mut first: BTreeMap<Arc<str>, Arc<Slot>> = BTreeMap::new();
        for (path, slot) in self.entries.iter().filter(|(path, _)| prefix.has(path) && after.is_none_or(|after| &***path > after)) {
            first.insert(Arc::clone(&*path), slot);
            // One more than asked for shows that more follow.
            if first.len() > limit + 1 {
                first.pop_last();
            }
        }
        let has_more = first.len() > limit;
        if has_more {
            first.pop_last();
        }
        let next = first.last_key_value().filter(|_| has_more).map(|(path, _)| path.to_string());
        let listed = |(path, slot): (&Arc<str>, &Arc<Slot>)| {
            let bytes = weight(path, &slot.entry) as u64;
            let age = (slot.entry.created_ms, slot.entry.lifetime_ms);
            Listed::of(path, age, bytes, Some(slot.hits.load(Relaxed)), now_ms)
        };
        Ok(Page { entries: first.iter().filter_map(listed).collect(), next })
    }

    async fn usage(&self) -> Usage {
        self.entries.run_pending_tasks().await;
        Usage {
            entries: Some(self.entries.entry_count()),
            bytes: Some(self.entries.weighted_size()),
            evictions: self.evictions.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;
    use crate::test_keys::key;
    use bytes::Bytes;

    #[tokio::test]
    async fn keeps_the_contract() {
        contract::check(|| async { MemoryTier::new(1 << 20) }).await;
    }

    #[tokio::test]
    async fn it_stays_below_its_bytes() {
        let tier = MemoryTier::new(20_000);
        for n in 0..200 {
            let entry = Entry::new(Bytes::from(vec![0; 1000]), 0, Duration::from_secs(60));
            assert!(tier.put(key(&n.to_string()).path(), &entry, Duration::from_secs(60)).await.unwrap());
            let bytes = tier.usage().await.bytes.unwrap();
            assert!(bytes <= 20_000, "{bytes}");
        }
        let usage = tier.usage().await;
        assert!(usage.evictions >= 180, "{usage:?}");
        assert!(usage.entries.unwrap() >= 10, "{usage:?}");
    }

    #[tokio::test]
    async fn what_is_larger_than_the_tier_is_not_taken_and_replaces_nothing_silently() {
        let tier = MemoryTier::new(1000);
        let entry = |bytes| Entry::new(Bytes::from(vec![1; bytes]), 0, Duration::from_secs(60));
        assert!(tier.put(key("a").path(), &entry(10), Duration::from_secs(60)).await.unwrap());
        assert!(!tier.put(key("a").path(), &entry(1000), Duration::from_secs(60)).await.unwrap());
        assert_eq!(tier.get(key("a").path()).await.unwrap(), None, "the old value is not the value any more");
    }
}
