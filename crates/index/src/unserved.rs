//! Removes rows and places that no served version names, in small commits. The note of them goes last,
//! so that a crash in between is made good by whoever finds the note.

use crate::keys;
use crate::records::Unserved;
use crate::store::{Batch, Store, StoreError};
use corpus::{CollectionId, Row, TenantId};

/// Keys deleted in one commit at most.
pub(crate) const KEYS_PER_BATCH: usize = 1024;
/// Pages of places read at a time, for the sake of their keys.
const PLACE_PAGES: usize = 64;

/// Removes what `note` names, and then the note itself. Doing it again does no harm. Needs no turn: nobody
/// else reads or writes these keys.
pub(crate) fn remove(
    store: &dyn Store,
    tenant: &TenantId,
    collection: &CollectionId,
    note_key: Vec<u8>,
    note: &Unserved,
) -> Result<(), StoreError> {
    let mut removal = Removal { store, batch: Batch::default() };
    for row in note.rows.iter() {
        delete_row(&mut removal.batch, tenant, collection, row);
        removal.flush_if_full()?;
    }
    if let Some((document, version)) = &note.places {
        removal.delete_below(&keys::places(tenant, collection, document, *version))?;
    }
    removal.batch.delete(note_key);
    removal.flush()
}

pub(crate) fn delete_row(batch: &mut Batch, tenant: &TenantId, collection: &CollectionId, row: Row) {
    batch.delete(keys::chunk(tenant, collection, row));
    batch.delete(keys::vector(tenant, collection, row));
}

struct Removal<'s> {
    store: &'s dyn Store,
    batch: Batch,
}

impl Removal<'_> {
    fn delete_below(&mut self, prefix: &[u8]) -> Result<(), StoreError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.store.scan(prefix, after.as_deref(), PLACE_PAGES)?;
            let is_last = page.len() < PLACE_PAGES;
            after = page.last().map(|(key, _)| key.clone());
            page.into_iter().for_each(|(key, _)| self.batch.delete(key));
            self.flush_if_full()?;
            if is_last {
                return Ok(());
            }
        }
    }

    fn flush_if_full(&mut self) -> Result<(), StoreError> {
        if self.batch.len() < KEYS_PER_BATCH { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.store.commit(std::mem::take(&mut self.batch))?;
        Ok(())
    }
}
