//! The seam of the stack: a place where entries are kept. Memory, the server's store and Redis implement it, and
//! pass the same tests (`contract.rs`).

use crate::entry::{Entry, EntryError};
use crate::key::{Place, Prefix, Selection};
use crate::link::LinkError;
use crate::shelf::ShelfError;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Which tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TierName {
    /// In this process.
    Memory,
    /// In the server's store.
    Store,
    /// In Redis, for all nodes.
    Redis,
}

impl fmt::Display for TierName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Store => "store",
            Self::Redis => "redis",
        })
    }
}

/// Why a tier did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TierError {
    #[error("the entry is damaged: {0}")]
    Damaged(#[from] EntryError),
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the call was given up: {0}")]
    Abandoned(#[from] tokio::task::JoinError),
}

impl TierError {
    /// Whether the tier was not even asked.
    pub(crate) const fn is_away(&self) -> bool {
        matches!(self, Self::Link(LinkError::Away))
    }
}

/// What a tier holds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// `None` if only counting all of them would tell.
    pub(crate) entries: Option<u64>,
    pub(crate) bytes: Option<u64>,
    /// Entries that had to make room since the start.
    pub(crate) evictions: u64,
}

/// One entry, without its payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The digest of its key, in hexadecimal digits.
    pub digest: String,
    /// What is cached.
    pub kind: String,
    /// Whose it is; nobody's in particular if `None`.
    pub tenant: Option<String>,
    /// The collection that it was made from.
    pub collection: Option<String>,
    /// Its size in this tier.
    pub bytes: u64,
    /// Since when it exists.
    pub age_ms: u64,
    /// How long it may still be served.
    pub left_ms: u64,
    /// How often this tier served it; `None` if the tier doesn't count.
    pub hits: Option<u64>,
}

/// Some entries of a tier.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Page {
    /// The entries. There may be fewer than asked for although more follow.
    pub entries: Vec<Listed>,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<String>,
}

impl Listed {
    /// `None` if nothing of ours lies under this path.
    pub(crate) fn of(path: &str, (created_ms, lifetime_ms): (u64, u64), bytes: u64, hits: Option<u64>, now_ms: u64) -> Option<Self> {
        let place = Place::of(path)?;
        let end_ms = created_ms.saturating_add(lifetime_ms);
        Some(Self {
            digest: place.digest.to_owned(),
            kind: place.kind.to_owned(),
            tenant: place.tenant.map(str::to_owned),
            collection: place.collection.map(str::to_owned),
            bytes,
            age_ms: now_ms.saturating_sub(created_ms),
            left_ms: end_ms.saturating_sub(now_ms),
            hits,
        })
    }
}

/// Keeps entries under the paths of their keys. What it returns was put under this very path; whether it is still to be served, the caller checks.
#[async_trait]
pub(crate) trait Tier: Send + Sync {
    fn name(&self) -> TierName;

    /// The entry; `None` if it is not there.
    ///
    /// # Errors
    /// [`TierError::Damaged`] for bytes that are not the entry: they are never returned.
    async fn get(&self, path: &Arc<str>) -> Result<Option<Entry>, TierError>;

    /// Many at once, in the order asked for.
    async fn get_many(&self, paths: &[Arc<str>]) -> Vec<Result<Option<Entry>, TierError>> {
        futures::future::join_all(paths.iter().map(|path| self.get(path))).await
    }

    /// As [`Tier::get`], without serving it: it doesn't count as a hit.
    async fn peek(&self, path: &Arc<str>) -> Result<Option<Entry>, TierError> {
        self.get(path).await
    }

    /// Keeps the entry, in place of an older one, for `left` at most. `false` if it is too large for this tier.
    async fn put(&self, path: &Arc<str>, entry: &Entry, left: Duration) -> Result<bool, TierError>;

    /// Forgets the entry; one that is not there is fine.
    async fn remove(&self, path: &Arc<str>) -> Result<(), TierError>;

    /// Forgets all these entries and says how many there were. Of a tier that is away they are gone when it is back.
    async fn remove_all(&self, selection: &Selection) -> Result<u64, TierError>;

    /// A page of the entries under `prefix` behind `after`, which is what the page before gave as `next`.
    async fn list(&self, prefix: &Prefix, after: Option<&str>, limit: usize, now_ms: u64) -> Result<Page, TierError>;

    async fn usage(&self) -> Usage;
}
