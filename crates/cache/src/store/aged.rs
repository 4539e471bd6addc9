//! Entries on a shelf, together with their ages, so that the oldest are found without reading them all.
//!
//! ```text
//! e/<path>                                 the entry
//! a/<created, 8 bytes big endian><path>    its size (8 bytes, little endian)
//! ```
//! The age is written before the entry and removed after it, so that a crash between the two leaves an age without
//! an entry, which goes when its turn comes, and never an entry that no eviction finds. Writes take turns, so that
//! the sum of sizes stays right.

use crate::entry::{HEADER_BYTES_MAX, Header};
use crate::key::Selection;
use crate::shelf::{Shelf, ShelfError, ShelfHead};
use crate::tier::Usage;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const ENTRY: &[u8] = b"e/";
const AGE: &[u8] = b"a/";
/// Ages read at once.
const AGES_AT_ONCE: usize = 1000;
/// Entries removed at once.
const ENTRIES_AT_ONCE: usize = 32;

pub(super) struct AgedShelf {
    shelf: Arc<dyn Shelf>,
    bytes_max: u64,
    held: Mutex<Held>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Held {
    entries: u64,
    bytes: u64,
    evictions: u64,
}

impl Held {
    const fn add(&mut self, bytes: u64) {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    const fn take(&mut self, bytes: u64) {
        self.entries = self.entries.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl AgedShelf {
    pub(super) fn open(shelf: Arc<dyn Shelf>, bytes_max: u64) -> Result<Self, ShelfError> {
        let mut held = Held::default();
        let mut after = None;
        loop {
            let ages = shelf.scan(AGE, after.as_deref(), AGES_AT_ONCE)?;
            ages.iter().for_each(|(_, size)| held.add(size_of_entry(size)));
            let Some((last, _)) = ages.last() else { break };
            after = Some(last.clone());
        }
        let opened = Self { shelf, bytes_max, held: Mutex::new(held) };
        opened.make_room(&mut opened.turn())?;
        Ok(opened)
    }

    fn turn(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn usage(&self) -> Usage {
        let Held { entries, bytes, evictions } = *self.turn();
        Usage { entries: Some(entries), bytes: Some(bytes), evictions }
    }

    pub(super) fn get(&self, path: &str) -> Result<Option<Vec<u8>>, ShelfError> {
        self.shelf.get(&entry_key(path))
    }

    /// `false` if the entry alone is over the limit; then an older one is removed too, as it is not the value any more.
    pub(super) fn put(&self, path: &str, value: &[u8], created_ms: u64) -> Result<bool, ShelfError> {
        let mut held = self.turn();
        self.remove_one(path, &mut held)?;
        let bytes = (path.len() + value.len()) as u64;
        if bytes > self.bytes_max {
            return Ok(false);
        }
        self.shelf.put(&age_key(created_ms, path), &bytes.to_le_bytes())?;
        held.add(bytes);
        self.shelf.put(&entry_key(path), value)?;
        self.make_room(&mut held)?;
        Ok(true)
    }

    pub(super) fn remove(&self, path: &str) -> Result<(), ShelfError> {
        self.remove_one(path, &mut self.turn())
    }

    fn remove_one(&self, path: &str, held: &mut Held) -> Result<(), ShelfError> {
        if let Some(value) = self.get(path)? {
            self.remove_found(path, &value, held)?;
        }
        Ok(())
    }

    /// The age of an entry with a damaged header is not known; it stays until its turn comes.
    fn remove_found(&self, path: &str, head: &[u8], held: &mut Held) -> Result<(), ShelfError> {
        self.shelf.delete(&entry_key(path))?;
        let Ok(header) = Header::read(head) else { return Ok(()) };
        let age = age_key(header.created_ms, path);
        if let Some(size) = self.shelf.get(&age)? {
            self.shelf.delete(&age)?;
            held.take(size_of_entry(&size));
        }
        Ok(())
    }

    pub(super) fn remove_all(&self, selection: &Selection) -> Result<u64, ShelfError> {
        let (mut removed, mut after) = (0, None);
        loop {
            let page = self.page(selection.prefix(), after.as_deref(), ENTRIES_AT_ONCE)?;
            let Some((last, ..)) = page.last() else { return Ok(removed) };
            after = Some(last.clone());
            for (path, head, _) in page.iter().filter(|(path, ..)| selection.has(path)) {
                self.remove_found(path, head, &mut self.turn())?;
                removed += 1;
            }
        }
    }

    /// Paths with this beginning, the first bytes of what lies there, and how many it has.
    pub(super) fn page(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<(String, Vec<u8>, u64)>, ShelfError> {
        let heads = self.shelf.scan_heads(&entry_key(prefix), after.map(entry_key).as_deref(), limit, HEADER_BYTES_MAX)?;
        let path = |key: &[u8]| String::from_utf8_lossy(key.get(ENTRY.len()..).unwrap_or_default()).into_owned();
        Ok(heads.into_iter().map(|ShelfHead { key, head, bytes }| (path(&key), head, bytes)).collect())
    }

    /// Removes the oldest until all fit.
    fn make_room(&self, held: &mut Held) -> Result<(), ShelfError> {
        while held.bytes > self.bytes_max {
            let oldest = self.shelf.scan(AGE, None, ENTRIES_AT_ONCE)?;
            if oldest.is_empty() {
                *held = Held { evictions: held.evictions, ..Held::default() };
            }
            for (age, size) in &oldest {
                if held.bytes > self.bytes_max {
                    self.evict(age, size, held)?;
                }
            }
        }
        Ok(())
    }

    fn evict(&self, age: &[u8], size: &[u8], held: &mut Held) -> Result<(), ShelfError> {
        if let Some((created_ms, path)) = parse_age(age) {
            // An entry that was written anew since has another age.
            let is_same = |value: Vec<u8>| Header::read(&value).is_ok_and(|header| header.created_ms == created_ms);
            if self.get(path)?.is_some_and(is_same) {
                self.shelf.delete(&entry_key(path))?;
                held.evictions += 1;
            }
        }
        self.shelf.delete(age)?;
        held.take(size_of_entry(size));
        Ok(())
    }
}

fn entry_key(path: &str) -> Vec<u8> {
    [ENTRY, path.as_bytes()].concat()
}

fn age_key(created_ms: u64, path: &str) -> Vec<u8> {
    [AGE, &created_ms.to_be_bytes(), path.as_bytes()].concat()
}

fn parse_age(key: &[u8]) -> Option<(u64, &str)> {
    let (created, path) = key.strip_prefix(AGE)?.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*created), std::str::from_utf8(path).ok()?))
}

fn size_of_entry(size: &[u8]) -> u64 {
    size.try_into().map_or(0, u64::from_le_bytes)
}
