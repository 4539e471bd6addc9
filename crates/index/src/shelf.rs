//! A place for what can be computed again: bytes by key in a sled database of its own, apart from the store.
//!
//! Nothing here is the truth: writes are not synced, backups and `verify` leave it out, and a database that can't be
//! opened or is damaged is emptied with a warning. What is read may be lost or old, and whoever keeps something here
//! checks it himself. A call never panics; what sled says instead is its error.

use crate::store::{is_in_use, open_sled_unsynced, panic_text};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// The folder can't be used.
    #[error("the folder can't be used: {0}")]
    Io(#[from] std::io::Error),
    /// What sled says.
    #[error("the database failed: {0}")]
    Failed(String),
}

/// The database.
#[derive(Debug)]
pub struct Shelves(sled::Db);

/// One key space of it.
#[derive(Debug)]
pub struct Shelf(sled::Tree);

impl Shelves {
    /// Opens the database in `folder`, with a cache of `cache_bytes` (sled takes about ten times as much memory). One
    /// that can't be opened is removed, and an empty one takes its place.
    ///
    /// # Errors
    /// [`ShelfError`] if an empty one can't be made either.
    pub fn open(folder: &Path, cache_bytes: u64) -> Result<Self, ShelfError> {
        std::fs::create_dir_all(folder)?;
        let opened = open_sled_unsynced(folder, cache_bytes).or_else(|reason| {
            if is_in_use(&reason) {
                return Err(ShelfError::Failed(reason));
            }
            tracing::warn!(folder = %folder.display(), reason, "the cache on disk can't be opened: it begins anew, empty");
            std::fs::remove_dir_all(folder)?;
            std::fs::create_dir_all(folder)?;
            open_sled_unsynced(folder, cache_bytes).map_err(ShelfError::Failed)
        });
        opened.map(Self)
    }

    /// The key space of this name.
    ///
    /// # Errors
    /// [`ShelfError::Failed`].
    pub fn shelf(&self, name: &str) -> Result<Shelf, ShelfError> {
        guarded(|| self.0.open_tree(name)).map(Shelf)
    }
}

impl Shelf {
    /// The value of a key.
    ///
    /// # Errors
    /// [`ShelfError::Failed`], as all calls.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ShelfError> {
        guarded(|| Ok(self.0.get(key)?.map(|value| value.to_vec())))
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// [`ShelfError::Failed`].
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<(), ShelfError> {
        guarded(|| self.0.insert(key, value).map(drop))
    }

    /// Removes a key.
    ///
    /// # Errors
    /// [`ShelfError::Failed`].
    pub fn delete(&self, key: &[u8]) -> Result<(), ShelfError> {
        guarded(|| self.0.remove(key).map(drop))
    }

    /// What `take` takes of up to `limit` pairs with `prefix`, in key order, behind `after`.
    ///
    /// # Errors
    /// [`ShelfError::Failed`].
    pub fn scan<T>(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        take: impl Fn(&[u8], &[u8]) -> T,
    ) -> Result<Vec<T>, ShelfError> {
        let start = after.filter(|after| *after >= prefix).map_or(Bound::Included(prefix), Bound::Excluded);
        guarded(|| {
            let pairs = self.0.range::<&[u8], _>((start, Bound::Unbounded));
            let within = pairs.take_while(|pair| pair.as_ref().map_or(true, |(key, _)| key.starts_with(prefix)));
            within.take(limit).map(|pair| pair.map(|(key, value)| take(&key, &value))).collect()
        })
    }
}

/// Reading a damaged page panics.
fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, ShelfError> {
    let outcome = catch_unwind(AssertUnwindSafe(call)).map_err(|panic| ShelfError::Failed(panic_text(&*panic)))?;
    outcome.map_err(|error| ShelfError::Failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path) -> Shelf {
        Shelves::open(folder, 1 << 20).unwrap().shelf("one").unwrap()
    }

    #[test]
    fn what_was_put_is_there_after_it_was_closed() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = open(folder.path());
        for n in 0..100_u8 {
            shelf.put(&[b'k', n], &[n; 1000]).unwrap();
        }
        shelf.put(b"l", b"other").unwrap();
        shelf.delete(&[b'k', 7]).unwrap();
        drop(shelf);
        let shelf = open(folder.path());
        assert_eq!((shelf.get(&[b'k', 7]).unwrap(), shelf.get(&[b'k', 8]).unwrap()), (None, Some(vec![8; 1000])));
        let keys = |after: Option<&[u8]>, limit| -> Vec<u8> { shelf.scan(b"k", after, limit, |key, _| key[1]).unwrap() };
        assert_eq!(keys(None, 3), [0, 1, 2]);
        assert_eq!(keys(Some(&[b'k', 6]), 2), [8, 9]);
        assert_eq!(keys(Some(&[b'k', 97]), 9), [98, 99]);
        assert!(Shelves::open(&folder.path().join("two"), 1 << 20).unwrap().shelf("one").unwrap().get(b"l").unwrap().is_none());
    }

    #[test]
    fn a_damaged_one_begins_anew() {
        for damage in [&b""[..], b"not a database"] {
            let folder = tempfile::tempdir().unwrap();
            open(folder.path()).put(b"k", b"v").unwrap();
            for file in ["conf", "db"] {
                std::fs::write(folder.path().join(file), damage).unwrap();
            }
            let shelf = open(folder.path());
            shelf.put(b"k", b"new").unwrap();
            assert_eq!(shelf.get(b"k").unwrap().as_deref(), Some(&b"new"[..]));
        }
    }

    #[test]
    fn a_file_in_its_place_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "x").unwrap();
        assert!(matches!(Shelves::open(&path, 1 << 20), Err(ShelfError::Io(_))));
    }
}
