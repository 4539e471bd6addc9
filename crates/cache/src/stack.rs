//! The stack: memory over the server's store over Redis. What is found below is brought up; what is put is put in all.

mod figures;
mod load;

pub use figures::{Holding, Inspected, Removals, Statistics};
pub use load::{Fresh, Loaded, Policy};

use crate::clock::Clock;
use crate::counted::Counted;
use crate::entry::Entry;
use crate::flight::Flights;
use crate::key::{Address, Key, Prefix, Selection};
use crate::link::Link;
use crate::memory::MemoryTier;
use crate::removed::{Moment, Removed};
use crate::shared::SharedTier;
use crate::shelf::Shelf;
use crate::store::StoreTier;
use crate::tier::{Page, TierError, TierName};
use bytes::Bytes;
use figures::Counters;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// The bounds of a stack.
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// Largest sum of entries in memory.
    pub memory_bytes: u64,
    /// Largest sum of entries in the store.
    pub store_bytes: u64,
    /// Larger values are not cached.
    pub value_bytes: usize,
    /// Longer lifetimes are cut.
    pub lifetime_max: Duration,
}

impl Default for StackOptions {
    /// 64 MiB in memory, 256 MiB in the store, values up to 1 MiB, for up to 30 days.
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self { memory_bytes: 64 * MIB, store_bytes: 256 * MIB, value_bytes: 1024 * 1024, lifetime_max: DAY * 30 }
    }
}

/// Why a stack can't be opened.
#[derive(Debug, thiserror::Error)]
#[error("the cache can't be opened: {0}")]
pub struct OpenError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// Entries in several tiers, under one name each.
pub struct Stack {
    tiers: Vec<Counted>,
    options: StackOptions,
    clock: Clock,
    flights: Flights,
    removed: Removed,
    watchers: Mutex<Vec<Weak<dyn Watcher>>>,
    counters: Counters,
}

/// Entries of a page at most.
const PAGE_MAX: usize = 1000;

/// Is told of removals.
pub(crate) trait Watcher: Send + Sync {
    fn removed(&self, selection: &Selection);
}

impl Stack {
    /// Memory alone, or over a shelf, or over Redis, or both. Counts what is on the shelf.
    ///
    /// # Errors
    /// [`OpenError`] if the shelf can't be read. Redis being away is no error.
    pub async fn open(
        options: StackOptions,
        clock: Clock,
        shelf: Option<Arc<dyn Shelf>>,
        link: Option<Arc<Link>>,
    ) -> Result<Self, OpenError> {
        let mut tiers = vec![Counted::new(Arc::new(MemoryTier::new(options.memory_bytes)))];
        if let Some(shelf) = shelf {
            let store = StoreTier::open(shelf, options.store_bytes).await;
            tiers.push(Counted::new(Arc::new(store.map_err(|error: TierError| OpenError(error.into()))?)));
        }
        tiers.extend(link.map(|link| Counted::new(Arc::new(SharedTier::new(link)))));
        Ok(Self {
            tiers,
            options,
            clock,
            flights: Flights::default(),
            removed: Removed::default(),
            watchers: Mutex::default(),
            counters: Counters::default(),
        })
    }

    /// Now, as [`Stack::join_or_load`] wants to know it: to be taken before what a value rests on is read.
    #[must_use]
    pub fn moment(&self) -> Moment {
        self.removed.now()
    }

    /// The entry, if a tier has it. Never fails: a tier that does is passed over.
    pub async fn get(&self, key: &Key) -> Option<Entry> {
        self.find(key).await.map(|(entry, _)| entry)
    }

    /// Many at once, in the order asked for.
    pub async fn get_many(&self, keys: &[Key]) -> Vec<Option<Entry>> {
        let (moment, now_ms) = (self.removed.now(), self.clock.now_ms());
        let mut found: Vec<Option<Entry>> = vec![None; keys.len()];
        for (at, tier) in self.tiers.iter().enumerate() {
            let missing: Vec<usize> = found.iter().enumerate().filter(|(_, entry)| entry.is_none()).map(|(at, _)| at).collect();
            let paths: Vec<_> = missing.iter().filter_map(|at| keys.get(*at)).map(|key| Arc::clone(key.path())).collect();
            if paths.is_empty() {
                break;
            }
            let above = self.tiers.get(..at).unwrap_or_default();
            for ((place, path), entry) in missing.into_iter().zip(&paths).zip(tier.get_many(&paths, now_ms).await) {
                let Some(entry) = entry else { continue };
                let is_current = self.keep(path, &entry, above, moment).await;
                found.get_mut(place).into_iter().for_each(|slot| *slot = is_current.then(|| entry.clone()));
            }
        }
        found
    }

    async fn find(&self, key: &Key) -> Option<(Entry, TierName)> {
        let (moment, now_ms) = (self.removed.now(), self.clock.now_ms());
        for (at, tier) in self.tiers.iter().enumerate() {
            if let Some(entry) = tier.get(key.path(), now_ms).await {
                let above = self.tiers.get(..at).unwrap_or_default();
                return self.keep(key.path(), &entry, above, moment).await.then(|| (entry, tier.name()));
            }
        }
        None
    }

    /// Looks into the first tier only, uncounted.
    async fn peek(&self, key: &Key) -> Option<(Entry, TierName)> {
        let first = self.tiers.first()?;
        first.peek(key.path(), self.clock.now_ms()).await.map(|entry| (entry, first.name()))
    }

    /// An entry that a page listed, as each tier has it that has it, uncounted and left where it is.
    pub async fn inspect(&self, address: &Address) -> Vec<Inspected> {
        let now_ms = self.clock.now_ms();
        let mut found = Vec::new();
        for tier in &self.tiers {
            let Some(entry) = tier.peek(address.path(), now_ms).await else { continue };
            let left = entry.left(now_ms).unwrap_or_default();
            found.push(Inspected { tier: tier.name(), age_ms: now_ms.saturating_sub(entry.created_ms), left, payload: entry.payload });
        }
        found
    }

    /// Keeps a value in all tiers. `false` if it is too large or has no lifetime.
    pub async fn put(&self, key: &Key, payload: impl Into<Bytes>, lifetime: Duration) -> bool {
        let entry = self.entry(payload.into(), lifetime);
        self.keep_all(key, &entry, self.removed.now()).await
    }

    fn entry(&self, payload: Bytes, lifetime: Duration) -> Entry {
        Entry::new(payload, self.clock.now_ms(), lifetime.min(self.options.lifetime_max))
    }

    async fn keep_all(&self, key: &Key, entry: &Entry, moment: Moment) -> bool {
        if entry.payload.len() > self.options.value_bytes {
            self.counters.too_large.fetch_add(1, Relaxed);
            return false;
        }
        entry.lifetime_ms > 0 && self.keep(key.path(), entry, &self.tiers, moment).await
    }

    /// Puts an entry that was on its way since `moment` in these tiers, unless it was removed meanwhile.
    async fn keep(&self, path: &Arc<str>, entry: &Entry, tiers: &[Counted], moment: Moment) -> bool {
        if !self.removed.since(moment, path) {
            for tier in tiers {
                tier.put(path, entry, self.clock.now_ms()).await;
            }
        }
        // Looked at again: a removal may have passed a tier before the entry came there.
        let is_outdated = self.removed.since(moment, path);
        if is_outdated {
            self.counters.outdated.fetch_add(1, Relaxed);
            for tier in tiers {
                tier.remove(path).await;
            }
        }
        !is_outdated
    }

    /// Removes one entry.
    pub async fn remove(&self, key: &Key) -> Removals {
        self.remove_path(key.path()).await
    }

    /// Removes an entry that a page listed.
    pub async fn remove_at(&self, address: &Address) -> Removals {
        self.remove_path(address.path()).await
    }

    async fn remove_path(&self, path: &Arc<str>) -> Removals {
        let selection = Selection::One(Arc::clone(path));
        self.removed.note(selection.clone());
        self.tell(&selection);
        let mut removals = Removals::default();
        // From below, as in [`Stack::invalidate`].
        for tier in self.tiers.iter().rev() {
            removals.add(tier.name(), tier.remove(path).await);
        }
        removals
    }

    /// Removes all entries under a prefix.
    pub async fn invalidate(&self, prefix: &Prefix) -> Removals {
        let selection = Selection::Under(prefix.clone());
        // Noted first: what is on its way from now on finds the note.
        self.removed.note(selection.clone());
        self.tell(&selection);
        let mut removals = Removals::default();
        // From below: what is brought up meanwhile is found above.
        for tier in self.tiers.iter().rev() {
            removals.add(tier.name(), tier.remove_all(&selection).await);
        }
        removals
    }

    /// What the stack did since the start, and what it holds.
    pub async fn statistics(&self) -> Statistics {
        let mut tiers = Vec::with_capacity(self.tiers.len());
        for tier in &self.tiers {
            tiers.push(tier.statistics().await);
        }
        Statistics {
            tiers,
            loads: self.counters.loads.load(Relaxed),
            loads_failed: self.counters.loads_failed.load(Relaxed),
            joined: self.counters.joined.load(Relaxed),
            too_large: self.counters.too_large.load(Relaxed),
            outdated: self.counters.outdated.load(Relaxed),
            loading: self.flights.count(),
        }
    }

    /// A page of the entries under a prefix in a tier, at most 1,000, behind what the page before gave as `next`;
    /// `None` if the stack has no such tier, or it is away.
    pub async fn entries(&self, tier: TierName, prefix: &Prefix, after: Option<&str>, limit: usize) -> Option<Page> {
        let tier = self.tiers.iter().find(|one| one.name() == tier)?;
        tier.list(prefix, after, limit.clamp(1, PAGE_MAX), self.clock.now_ms()).await
    }

    /// What each tier holds under a prefix, of that what was made before `before_ms`, in milliseconds since 1970. Reads
    /// the heads of all entries there.
    pub async fn holdings(&self, prefix: &Prefix, before_ms: u64) -> Vec<Holding> {
        let mut holdings = Vec::with_capacity(self.tiers.len());
        for tier in &self.tiers {
            let held = self.held(tier, prefix, before_ms).await;
            holdings.push(Holding { tier: tier.name(), entries: held.map(|(entries, _)| entries), bytes: held.map(|(_, bytes)| bytes) });
        }
        holdings
    }

    /// Number and bytes; `None` if the tier is away.
    async fn held(&self, tier: &Counted, prefix: &Prefix, before_ms: u64) -> Option<(u64, u64)> {
        let (mut held, mut after) = ((0, 0), None::<String>);
        loop {
            let now_ms = self.clock.now_ms();
            let page = tier.list(prefix, after.as_deref(), PAGE_MAX, now_ms).await?;
            for entry in page.entries.iter().filter(|entry| now_ms.saturating_sub(entry.age_ms) < before_ms) {
                held = (held.0 + 1, held.1 + entry.bytes);
            }
            after = page.next;
            if after.is_none() {
                return Some(held);
            }
        }
    }

    /// Tells of removals from now on, as long as the watcher lives.
    pub(crate) fn watch(&self, watcher: Weak<dyn Watcher>) {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner).push(watcher);
    }

    fn tell(&self, selection: &Selection) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|watcher| watcher.upgrade().inspect(|watcher| watcher.removed(selection)).is_some());
    }
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stack").field("options", &self.options).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
