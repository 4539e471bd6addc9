//! The way to an open collection. Opening reads everything that the collection has, so it happens beside
//! the writers; only what was committed meanwhile is caught up in their turn.
//!
//! Invariants: a directory of views is opened by one thread at a time, and never while its collection is
//! being deleted; who holds the writer's turn together with an open collection knows that the views
//! follow that one.

use super::{Catalog, CatalogError, lock};
use crate::collection::{Collection, CollectionError, Pending};
use crate::keys;
use crate::records::{CollectionRecord, DocumentRecord, Unserved};
use crate::unserved;
use crate::vector::VectorStats;
use corpus::{CollectionId, TenantId};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

pub(super) type CollectionKey = (TenantId, CollectionId);

/// Times that a turn is given back because the collection was closed or went stale meanwhile.
const TURN_ATTEMPTS: usize = 16;
/// How long an opener waits for what was committed while it read; the views follow anyway.
const CATCH_UP_WAIT: Duration = Duration::from_secs(10);
/// Changes that may be committed while a collection is opened; with more it is opened again.
const CATCH_UP_MAX: usize = 1024;
/// Notes of retired rows that one opening clears away.
const NOTES_MAX: usize = 1024;

#[derive(Default)]
pub(super) struct OpenCollections {
    by_id: HashMap<CollectionKey, (Arc<Collection>, u64)>,
    /// Whose directories somebody is busy with.
    busy: HashSet<CollectionKey>,
    /// Counts uses, so that the least recently used can be found.
    clock: u64,
}

/// The right to open or remove the directory of a collection.
struct Slot<'c> {
    catalog: &'c Catalog,
    key: CollectionKey,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        lock(&self.catalog.open).busy.remove(&self.key);
        self.catalog.slot_free.notify_all();
    }
}

/// Notes of rows that no view shows any more, with their keys.
type Notes = Vec<(Vec<u8>, Unserved)>;

impl Catalog {
    /// The open collection of a record; opens it, and reopens one whose views could not follow. Writers go
    /// on meanwhile.
    ///
    /// # Errors
    /// [`CatalogError::Collection`] when the views can't be opened.
    pub fn open_collection(&self, record: &CollectionRecord) -> Result<Arc<Collection>, CatalogError> {
        let key = (record.tenant.clone(), record.id.clone());
        if let Some(collection) = self.opened(&key) {
            return Ok(collection);
        }
        let _slot = self.slot(&key);
        if let Some(collection) = self.opened(&key) {
            return Ok(collection);
        }
        // A collection that was deleted meanwhile must not get its folder back.
        self.collection(&record.tenant, record.id.as_str())?;
        let collection = Collection::open(Arc::clone(&self.store), record.clone(), &self.view_directory(&key), &self.params.vector)?;
        let collection = Arc::new(collection);
        let (seq, notes) = self.register(&key, &collection)?;
        for (note_key, note) in notes {
            unserved::remove(self.store.as_ref(), &key.0, &key.1, note_key, &note)?;
        }
        if collection.applied() < seq {
            self.applier.notify(&collection);
            collection.wait_applied(seq, CATCH_UP_WAIT)?;
        }
        Ok(collection)
    }

    /// The writer's turn together with the collection, open. Opening comes first, so that others write on.
    pub(super) fn turn_with(&self, record: &CollectionRecord) -> Result<(MutexGuard<'_, ()>, Arc<Collection>), CatalogError> {
        for _ in 0..TURN_ATTEMPTS {
            let open = self.open_collection(record)?;
            let turn = self.write_turn();
            self.collection(&record.tenant, record.id.as_str())?;
            if self.is_current(&open) {
                return Ok((turn, open));
            }
        }
        Err(CollectionError::Stale.into())
    }

    /// Whether changes published to this one reach the views that are read. Only in a turn does it stay so.
    pub(super) fn is_current(&self, collection: &Arc<Collection>) -> bool {
        let record = collection.record();
        let open = lock(&self.open);
        let current = open.by_id.get(&(record.tenant.clone(), record.id.clone()));
        current.is_some_and(|(current, _)| Arc::ptr_eq(current, collection)) && !collection.is_stale()
    }

    /// Makes the collection known, with what was committed while it was opened in its queue. Gives the number
    /// of the last change, and the notes of rows that its views never saw.
    fn register(&self, key: &CollectionKey, collection: &Arc<Collection>) -> Result<(u64, Notes), CatalogError> {
        let turn = self.write_turn();
        let record = self.collection(&key.0, key.1.as_str())?;
        let seq = self.state(&record)?.seq;
        let is_behind = collection.applied() < seq;
        if is_behind {
            self.catch_up(&record, collection, seq)?;
        }
        // Views that have to catch up may still show retired rows.
        let notes = if is_behind { Vec::new() } else { self.retired_notes(key)? };
        let mut open = lock(&self.open);
        open.clock += 1;
        let now = open.clock;
        let closed = open.take_unused(self.params.collections_open_max.saturating_sub(1));
        open.by_id.insert(key.clone(), (Arc::clone(collection), now));
        drop(open);
        drop(turn);
        // A graph that is being built ends first: nobody waits for that.
        drop(closed);
        Ok((seq, notes))
    }

    fn catch_up(&self, record: &CollectionRecord, collection: &Collection, seq: u64) -> Result<(), CatalogError> {
        let (tenant, id) = (&record.tenant, &record.id);
        let after = keys::change(tenant, id, collection.applied());
        let changes = self.store.scan(&keys::changes(tenant, id), Some(&after), CATCH_UP_MAX)?;
        if changes.len() as u64 != seq - collection.applied() {
            return Err(CollectionError::Stale.into());
        }
        let commit = self.store.stats().seq;
        for (number, (_, value)) in (collection.applied() + 1..).zip(changes) {
            let change: crate::records::Change = serde_json::from_slice(&value)?;
            let document = change.document.as_ref().map(|document| self.read::<DocumentRecord>(&keys::document(tenant, id, document)));
            collection.publish(Pending { seq: number, commit, change, record: document.transpose()?.flatten(), retired: None });
        }
        Ok(())
    }

    /// What a collection that went stale has left behind.
    fn retired_notes(&self, (tenant, id): &CollectionKey) -> Result<Notes, CatalogError> {
        let found = self.store.scan(&keys::unserved_of(tenant, id), None, NOTES_MAX)?;
        let mut notes = Vec::new();
        for (key, value) in found {
            let note: Unserved = serde_json::from_slice(&value)?;
            if note.was_served {
                notes.push((key, note));
            }
        }
        Ok(notes)
    }

    fn opened(&self, key: &CollectionKey) -> Option<Arc<Collection>> {
        let mut open = lock(&self.open);
        open.clock += 1;
        let now = open.clock;
        let (collection, used) = open.by_id.get_mut(key)?;
        if collection.is_stale() {
            // Its directory must be let go before it is opened again.
            open.by_id.remove(key);
            return None;
        }
        *used = now;
        Some(Arc::clone(collection))
    }

    /// Waits for whoever is busy with the collection's directory.
    fn slot(&self, key: &CollectionKey) -> Slot<'_> {
        let mut open = lock(&self.open);
        while open.busy.contains(key) {
            open = self.slot_free.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
        open.busy.insert(key.clone());
        Slot { catalog: self, key: key.clone() }
    }

    /// Says that nothing more comes for now: the views show what was committed without a rest.
    pub fn show_all(&self) {
        self.applier.hurry();
    }

    /// Closes a collection whose record is gone and removes its view files.
    pub(super) fn remove_views(&self, key: &CollectionKey) {
        let _slot = self.slot(key);
        if let Some((collection, _)) = lock(&self.open).by_id.remove(key) {
            collection.retire();
        }
        // What is being applied just now would write into the folder again.
        self.applier.wait();
        let directory = self.view_directory(key);
        match std::fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(directory = %directory.display(), %error, "the view files of a deleted collection are left behind");
            }
            _ => {}
        }
    }

    pub(super) fn view_directory(&self, (tenant, collection): &CollectionKey) -> PathBuf {
        self.params.views.join(tenant.as_str()).join(collection.as_str())
    }

    /// How many collections are open.
    #[must_use]
    pub fn open_collections(&self) -> usize {
        lock(&self.open).by_id.len()
    }

    /// How the vectors of each open collection stand.
    #[must_use]
    pub fn vector_stats(&self) -> Vec<VectorStats> {
        lock(&self.open).by_id.values().map(|(collection, _)| collection.vector_stats()).collect()
    }
}

impl OpenCollections {
    /// The longest unused until `keep` are left, of those that nobody holds and nothing waits for; to be closed.
    fn take_unused(&mut self, keep: usize) -> Vec<Arc<Collection>> {
        let mut unused = Vec::new();
        while self.by_id.len() > keep {
            let idle = self.by_id.iter().filter(|(_, (collection, _))| Arc::strong_count(collection) == 1 && collection.is_settled());
            let Some(key) = idle.min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone()) else { break };
            unused.extend(self.by_id.remove(&key).map(|(collection, _)| collection));
        }
        unused
    }
}
