//! The seam to the server's store: bytes by key, in order, synchronous. Whoever wires the cache implements it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A key and its value.
pub type ShelfPair = (Vec<u8>, Vec<u8>);

/// A key and the beginning of its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShelfHead {
    /// The key.
    pub key: Vec<u8>,
    /// The first bytes of the value.
    pub head: Vec<u8>,
    /// How many bytes the value has.
    pub bytes: u64,
}

impl ShelfHead {
    /// The first `head_bytes` of a value.
    #[must_use]
    pub fn of(key: &[u8], value: &[u8], head_bytes: usize) -> Self {
        let head = value.get(..head_bytes).unwrap_or(value);
        Self { key: key.to_vec(), head: head.to_vec(), bytes: value.len() as u64 }
    }
}

/// A call of a [`Shelf`] failed.
#[derive(Debug, thiserror::Error)]
#[error("the store of the cache failed: {0}")]
pub struct ShelfError(#[from] pub Box<dyn std::error::Error + Send + Sync>);

/// Keeps bytes by key. Nothing of it needs to be durable or in one transaction: what is lost is computed again, and
/// what is damaged is found out by its checksum.
pub trait Shelf: Send + Sync {
    /// The value; `None` if there is none.
    ///
    /// # Errors
    /// [`ShelfError`] if it can't be read.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ShelfError>;

    /// Sets the value, in place of an older one. Keys have up to 400 bytes.
    ///
    /// # Errors
    /// [`ShelfError`] if it can't be written.
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), ShelfError>;

    /// Removes the value; one that is not there is fine.
    ///
    /// # Errors
    /// [`ShelfError`] if it can't be removed.
    fn delete(&self, key: &[u8]) -> Result<(), ShelfError>;

    /// Up to `limit` pairs whose keys begin with `prefix`, in the order of their bytes, behind the key `after`.
    ///
    /// # Errors
    /// [`ShelfError`] if they can't be read.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<ShelfPair>, ShelfError>;

    /// As [`Shelf::scan`], but of each value only the first `head_bytes`: values may be large.
    ///
    /// # Errors
    /// [`ShelfError`] if they can't be read.
    fn scan_heads(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize, head_bytes: usize) -> Result<Vec<ShelfHead>, ShelfError> {
        let pairs = self.scan(prefix, after, limit)?;
        Ok(pairs.iter().map(|(key, value)| ShelfHead::of(key, value, head_bytes)).collect())
    }
}

/// A shelf in memory, for tests and examples.
#[derive(Debug, Default)]
pub struct MapShelf(Mutex<BTreeMap<Vec<u8>, Vec<u8>>>);

impl MapShelf {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf for MapShelf {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ShelfError> {
        Ok(self.lock().get(key).cloned())
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), ShelfError> {
        self.lock().insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&self, key: &[u8]) -> Result<(), ShelfError> {
        self.lock().remove(key);
        Ok(())
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<ShelfPair>, ShelfError> {
        let start = after.filter(|after| *after >= prefix).map_or(Bound::Included(prefix), Bound::Excluded);
        let pairs = self.lock();
        let found = pairs.range::<[u8], _>((start, Bound::Unbounded)).take_while(|(key, _)| key.starts_with(prefix)).take(limit);
        Ok(found.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}
