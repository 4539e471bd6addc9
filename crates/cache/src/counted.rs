//! A tier that never fails: what goes wrong in it is counted, and the request goes on without it.

use crate::entry::Entry;
use crate::key::{Prefix, Selection};
use crate::link::LinkError;
use crate::tier::{Page, Tier, TierError, TierName, Usage};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a tier did since the start, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TierStatistics {
    /// Which one.
    pub tier: TierName,
    /// Entries found and served.
    pub hits: u64,
    /// Entries not found, too old, or damaged.
    pub misses: u64,
    /// Entries taken in.
    pub puts: u64,
    /// Entries that had to make room for others.
    pub evictions: u64,
    /// Calls that failed and damaged entries.
    pub errors: u64,
    /// Calls that were not made because the tier is away, and entries too large for it.
    pub skipped: u64,
    /// Entries that it holds now; `None` if it can't say.
    pub entries: Option<u64>,
    /// Their size.
    pub bytes: Option<u64>,
}

/// What became of a removal in one tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    Done(u64),
    /// The tier is away; it will be done before it is asked again.
    Postponed,
    Failed,
}

pub(crate) struct Counted {
    tier: Arc<dyn Tier>,
    hits: AtomicU64,
    misses: AtomicU64,
    puts: AtomicU64,
    errors: AtomicU64,
    skipped: AtomicU64,
}

impl Counted {
    pub(crate) fn new(tier: Arc<dyn Tier>) -> Self {
        let [hits, misses, puts, errors, skipped] = [(); 5].map(|()| AtomicU64::new(0));
        Self { tier, hits, misses, puts, errors, skipped }
    }

    pub(crate) fn name(&self) -> TierName {
        self.tier.name()
    }

    /// The entry, if it is there, whole, and not too old.
    pub(crate) async fn get(&self, path: &Arc<str>, now_ms: u64) -> Option<Entry> {
        self.judge(path, self.tier.get(path).await, now_ms).await
    }

    /// Many at once, in the order asked for.
    pub(crate) async fn get_many(&self, paths: &[Arc<str>], now_ms: u64) -> Vec<Option<Entry>> {
        let mut judged = Vec::with_capacity(paths.len());
        for (path, found) in paths.iter().zip(self.tier.get_many(paths).await) {
            judged.push(self.judge(path, found, now_ms).await);
        }
        judged
    }

    async fn judge(&self, path: &Arc<str>, found: Result<Option<Entry>, TierError>, now_ms: u64) -> Option<Entry> {
        let found = match found {
            Ok(found) => found.filter(|entry| entry.left(now_ms).is_some()),
            Err(error) => {
                self.note(&error);
                if error.is_away() {
                    return None;
                }
                self.forget_damaged(path, &error).await;
                None
            }
        };
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Relaxed);
        found
    }

    /// The same, uncounted.
    pub(crate) async fn peek(&self, path: &Arc<str>, now_ms: u64) -> Option<Entry> {
        self.tier.peek(path).await.ok().flatten().filter(|entry| entry.left(now_ms).is_some())
    }

    async fn forget_damaged(&self, path: &Arc<str>, error: &TierError) {
        if matches!(error, TierError::Damaged(_)) {
            self.remove(path).await;
        }
    }

    pub(crate) async fn put(&self, path: &Arc<str>, entry: &Entry, now_ms: u64) {
        let Some(left) = entry.left(now_ms) else { return };
        match self.tier.put(path, entry, left).await {
            Ok(true) => _ = self.puts.fetch_add(1, Relaxed),
            Ok(false) => _ = self.skipped.fetch_add(1, Relaxed),
            Err(error) => self.note(&error),
        }
    }

    pub(crate) async fn remove(&self, path: &Arc<str>) -> Removal {
        self.outcome(self.tier.remove(path).await.map(|()| 0))
    }

    pub(crate) async fn remove_all(&self, selection: &Selection) -> Removal {
        self.outcome(self.tier.remove_all(selection).await)
    }

    fn outcome(&self, removed: Result<u64, TierError>) -> Removal {
        match removed {
            Ok(entries) => Removal::Done(entries),
            Err(error) => {
                self.note(&error);
                // What the link could not do it has taken note of, unless it says that it couldn't either.
                let is_noted = matches!(&error, TierError::Link(error) if !matches!(error, LinkError::Unnoted(_)));
                if is_noted { Removal::Postponed } else { Removal::Failed }
            }
        }
    }

    /// `None` if the tier fails or is away.
    pub(crate) async fn list(&self, prefix: &Prefix, after: Option<&str>, limit: usize, now_ms: u64) -> Option<Page> {
        let page = self.tier.list(prefix, after, limit, now_ms).await;
        page.inspect_err(|error| self.note(error)).ok()
    }

    pub(crate) async fn statistics(&self) -> TierStatistics {
        let Usage { entries, bytes, evictions } = self.tier.usage().await;
        TierStatistics {
            tier: self.name(),
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            puts: self.puts.load(Relaxed),
            errors: self.errors.load(Relaxed),
            skipped: self.skipped.load(Relaxed),
            evictions,
            entries,
            bytes,
        }
    }

    fn note(&self, error: &TierError) {
        if error.is_away() {
            self.skipped.fetch_add(1, Relaxed);
        } else {
            self.errors.fetch_add(1, Relaxed);
            tracing::warn!(tier = %self.name(), %error, "the cache goes on without this tier");
        }
    }
}
