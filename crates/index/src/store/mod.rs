//! The seam between Ragstone and its durable store: a sorted map of bytes with atomic batches.
//!
//! Invariants, the same for every implementation and tested by one shared set (`contract.rs`):
//! - A batch is applied whole or not at all, for readers as well as over a crash.
//! - What `durable(seq)` returned for survives a crash, with everything committed before it.
//! - A value that doesn't fit its checksum is an error, never an answer.
//! - After a failed sync nothing is retried: no commit is taken until the store is opened again.
//!
//! Why so few calls: everything else (records, views) is built on these, so a store can be
//! replaced, and a fault-injecting one in memory ([`MemoryStore`]) stands in for it in tests.
//! Formats and crash rules are in `DESIGN.md`.

pub mod atomic_file;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod crash_tests;
mod envelope;
mod error;
mod fault;
pub(crate) mod journal;
mod marker;
mod reserve;
mod sled_open;
mod sled_store;
#[cfg(test)]
mod sled_tests;
mod sled_tree;
mod trial;
mod writer;

pub use envelope::EnvelopeError;
pub use error::{OpenError, StoreError};
pub use fault::{MemoryDisk, MemoryStore};
pub(crate) use sled_open::free_bytes;
pub use sled_open::{exit_on_storage_panic, on_storage_panic};
pub(crate) use sled_open::{is_in_use, open_sled_unsynced, panic_text};
pub use sled_store::{SledOptions, SledStore};

use std::collections::BTreeMap;
use std::sync::Arc;

/// Store-wide number of a commit, from 1. Grows by one a commit, also over restarts.
pub type Seq = u64;

/// Longest key in bytes.
pub const KEY_BYTES_MAX: usize = 1024;
/// Longest value in bytes. Larger things are files ([`crate::blobs`]).
pub const VALUE_BYTES_MAX: usize = 100 * 1024;
/// Most bytes of keys and values in one batch.
pub const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Corrupt keys that a report names; more are only counted.
pub const CORRUPT_KEYS_MAX: usize = 100;

/// Changes that are made together. A later change of the same key replaces the earlier one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Batch {
    /// Sets a key.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.changes.insert(key.into(), Some(value.into()));
    }

    /// Removes a key; nothing happens where there is none.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        self.changes.insert(key.into(), None);
    }

    /// The value this batch sets; nothing for a key that it deletes or doesn't touch.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.changes.get(key)?.as_deref()
    }

    /// Whether there is nothing to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Keys changed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Bytes of all keys and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.changes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum()
    }

    /// The changes in key order; `None` deletes.
    pub fn changes(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.changes.iter().map(|(key, value)| (key.as_slice(), value.as_deref()))
    }

    /// Refuses what is over a limit, before anything is changed.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let too_large = |what, bytes, bytes_max| Err(StoreError::TooLarge { what, bytes, bytes_max });
        for (key, value) in self.changes() {
            if key.len() > KEY_BYTES_MAX {
                return too_large("key", key.len(), KEY_BYTES_MAX);
            }
            match value {
                Some(value) if value.len() > VALUE_BYTES_MAX => return too_large("value", value.len(), VALUE_BYTES_MAX),
                _ => {}
            }
        }
        if self.bytes() > BATCH_BYTES_MAX { too_large("batch", self.bytes(), BATCH_BYTES_MAX) } else { Ok(()) }
    }
}

/// What [`Store::verify`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreReport {
    /// Values read.
    pub values: u64,
    /// Bytes of keys and values that were in order.
    pub bytes: u64,
    /// Values that don't fit their checksum.
    pub corrupt: u64,
    /// The first [`CORRUPT_KEYS_MAX`] of their keys.
    pub corrupt_keys: Vec<Vec<u8>>,
}

impl StoreReport {
    pub(crate) fn add(&mut self, key: &[u8], payload: Result<Vec<u8>, EnvelopeError>) {
        self.values += 1;
        match payload {
            Ok(payload) => self.bytes += (key.len() + payload.len()) as u64,
            Err(_) => {
                self.corrupt += 1;
                if self.corrupt_keys.len() < CORRUPT_KEYS_MAX {
                    self.corrupt_keys.push(key.to_vec());
                }
            }
        }
    }
}

/// Figures for the metrics page; cheap to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Bytes the store takes on disk (or in memory).
    pub disk_bytes: u64,
    /// Number of the last commit.
    pub seq: Seq,
    /// Everything up to here survives a power cut.
    pub durable_seq: Seq,
    /// Commits since the store was opened.
    pub commits: u64,
    /// Syncs since the store was opened.
    pub syncs: u64,
    /// No commit is taken until the store is opened again.
    pub read_only: bool,
}

/// A pair of key and value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Takes the pairs of an export; its error ends the export.
pub type Sink<'s> = dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError> + 's;

/// Is shown every commit.
pub trait Tap: Send + Sync {
    /// A commit was applied; it may not be durable yet. Called in the order of the numbers, before
    /// `commit` returns: whoever dawdles here holds up all writers.
    fn committed(&self, seq: Seq, batch: &Batch);
}

/// Is called with the reason when a store takes no more commits.
pub type Alarm = Box<dyn FnOnce(&str) + Send>;

/// A sorted, durable map of bytes. Blocking: never call it on an async thread.
///
/// Edges: the empty key and the empty value are allowed; an empty batch is a commit like any other
/// and gets its number; after close every call is [`StoreError::Closed`].
pub trait Store: Send + Sync {
    /// Applies all of the batch or nothing. Readers see it on return; it isn't durable yet, but
    /// will be soon even if nobody waits for it. Waits while the queue of commits is full.
    ///
    /// # Errors
    /// `TooLarge` and `Full`: nothing was changed and the store goes on. `ReadOnly`, `Closed`, `Io`.
    fn commit(&self, batch: Batch) -> Result<Seq, StoreError>;

    /// Returns when everything up to `seq` survives a power cut.
    ///
    /// # Errors
    /// `ReadOnly` when the sync failed: the commits may or may not be there after a restart.
    /// `UnknownSeq` for a number that wasn't given out; `Closed`.
    fn durable(&self, seq: Seq) -> Result<(), StoreError>;

    /// The value of a key.
    ///
    /// # Errors
    /// `Corrupt` when the value doesn't fit its checksum; `Io`, `Closed`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The values of keys, in the order asked, all from the same moment.
    ///
    /// # Errors
    /// As [`Store::get`]; one corrupt value fails the call.
    fn multi_get(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StoreError>;

    /// Up to `limit` pairs whose key starts with `prefix` and is greater than `after`, in key order,
    /// all from the same moment.
    ///
    /// # Errors
    /// As [`Store::get`]; one corrupt value fails the call.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError>;

    /// Reads everything and checks every checksum. Slow: it reads the whole store.
    ///
    /// # Errors
    /// `Io`, `Closed`. Corrupt values are in the report.
    fn verify(&self) -> Result<StoreReport, StoreError>;

    /// Hands every pair to `sink` in key order and says how many there were. Commits made meanwhile
    /// may or may not be included; stop the writers first for a copy of one moment.
    ///
    /// # Errors
    /// As [`Store::get`], and what `sink` returns. A corrupt value ends it: a copy never lacks one silently.
    fn export(&self, sink: &mut Sink<'_>) -> Result<u64, StoreError>;

    /// From the commit after the returned number on, every commit is shown to `tap`; with `None` none
    /// after the returned number is. A new tap takes the place of the one before.
    ///
    /// # Errors
    /// `Closed`.
    fn set_tap(&self, tap: Option<Arc<dyn Tap>>) -> Result<Seq, StoreError>;

    /// Calls `alarm` once when the store becomes read-only, at once if it is. A later alarm takes the
    /// place of an earlier one.
    fn when_failed(&self, alarm: Alarm);

    /// Figures for the metrics page.
    fn stats(&self) -> StoreStats;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_change_of_a_key_wins() {
        let mut batch = Batch::default();
        batch.put("a", "1");
        batch.delete("a");
        assert_eq!((batch.len(), batch.get(b"a")), (1, None));
        batch.put("a", "22");
        assert_eq!((batch.len(), batch.bytes(), batch.get(b"a")), (1, 3, Some(&b"22"[..])));
    }

    #[test]
    fn limits_are_inclusive() {
        let batch = |key: usize, value: usize| {
            let mut batch = Batch::default();
            batch.put(vec![0; key], vec![0; value]);
            batch.check()
        };
        assert!(batch(KEY_BYTES_MAX, VALUE_BYTES_MAX).is_ok());
        assert!(matches!(batch(KEY_BYTES_MAX + 1, 0), Err(StoreError::TooLarge { what: "key", .. })));
        assert!(matches!(batch(1, VALUE_BYTES_MAX + 1), Err(StoreError::TooLarge { what: "value", .. })));
    }
}
