//! Deleting whole collections: the record goes first, the rest in pages, each in a turn of its own, so that
//! the writers of other collections wait for a page and not for a million documents.

use super::remove::blobs_of;
use super::usage::Growth;
use super::{Catalog, CatalogError, now, put};
use crate::keys;
use crate::records::{CollectionRecord, CollectionRemoval, DeletionReceipt, DocumentRecord, Rows, Unserved};
use crate::store::Batch;
use corpus::{CollectionId, DeletionId, TenantId};
use std::path::Path;

/// Documents deleted in one turn, with their files.
const DOCUMENTS_PER_PAGE: usize = 64;
/// Other keys deleted in one commit.
const KEYS_PER_PAGE: usize = 1024;

/// What is left below a collection when its documents are gone.
const KINDS_BELOW: [u8; 9] = *b"DEFHKVPLZ";

impl Catalog {
    /// Deletes a collection with all its documents; durable on return. The record goes first and leaves
    /// a note, so that a crash in between is finished at the next start. The receipt counts what was removed.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub fn delete_collection(&self, tenant: &TenantId, id: &CollectionId) -> Result<DeletionReceipt, CatalogError> {
        let turn = self.write_turn();
        let record = self.collection(tenant, id.as_str())?;
        // The text index holds the chunks of served versions, and its files go as they are.
        let postings = self.state(&record)?.chunks;
        let removal = CollectionRemoval { receipt: empty_receipt(&record, postings), record };
        let mut batch = Batch::default();
        batch.delete(keys::collection_name(tenant, &removal.record.name));
        batch.delete(keys::collection(tenant, id));
        batch.delete(keys::state(tenant, id));
        put(&mut batch, keys::deleted(tenant, id), &removal)?;
        self.charge(&mut batch, tenant, Growth { collections: -1, ..Growth::default() })?;
        let seq = self.store.commit(batch)?;
        drop(turn);
        self.durable(seq)?;
        self.purge(removal)
    }

    /// Finishes what a crash left of deleted collections. Called once, before any job runs.
    ///
    /// # Errors
    /// A store error.
    pub fn finish_deletions(&self) -> Result<usize, CatalogError> {
        let left = self.store.scan(&keys::all_deleted(), None, usize::MAX)?;
        for (_, value) in &left {
            self.purge(serde_json::from_slice(value)?)?;
        }
        self.sweep_views()?;
        Ok(left.len())
    }

    /// Removes view files of collections that are not there: a crash can lose a record that was not
    /// acknowledged, and leave the folder that was made for it.
    fn sweep_views(&self) -> Result<(), CatalogError> {
        for tenant in names_in(&self.params.views).filter_map(|name| name.parse::<TenantId>().ok()) {
            for id in names_in(&self.params.views.join(tenant.as_str())).filter_map(|name| name.parse::<CollectionId>().ok()) {
                if self.store.get(&keys::collection(&tenant, &id))?.is_none() {
                    self.remove_views(&(tenant.clone(), id));
                }
            }
        }
        Ok(())
    }

    /// Everything below a collection whose record is gone; then its receipt takes the note's place.
    fn purge(&self, mut removal: CollectionRemoval) -> Result<DeletionReceipt, CatalogError> {
        let record = removal.record.clone();
        let (tenant, id) = (&record.tenant, &record.id);
        self.cancel_jobs_of(&record)?;
        self.remove_batches_of(tenant, id)?;
        self.remove_evaluations_of(tenant, id)?;
        self.remove_views(&(tenant.clone(), id.clone()));
        while self.purge_documents(&mut removal)? {}
        self.forget_retired(&record)?;
        for kind in KINDS_BELOW {
            while self.purge_keys(kind, &mut removal)? {}
        }
        let mut batch = Batch::default();
        batch.delete(keys::deleted(tenant, id));
        put(&mut batch, keys::deletion(tenant, &removal.receipt.id), &removal.receipt)?;
        put(&mut batch, keys::unpurged(tenant, &removal.receipt.id), id)?;
        let seq = self.store.commit(batch)?;
        self.durable(seq)?;
        Ok(removal.receipt)
    }

    /// A page of documents with their files; false when there were none. The count goes with them, so that a
    /// crash doesn't lose it.
    fn purge_documents(&self, removal: &mut CollectionRemoval) -> Result<bool, CatalogError> {
        let (tenant, id) = (&removal.record.tenant, &removal.record.id);
        let _turn = self.write_turn();
        let page = self.store.scan(&keys::documents(tenant, id), None, DOCUMENTS_PER_PAGE)?;
        let documents: Vec<DocumentRecord> = page.iter().map(|(_, value)| serde_json::from_slice(value)).collect::<Result<_, _>>()?;
        let mut batch = Batch::default();
        for document in &documents {
            batch.delete(keys::document(tenant, id, &document.id));
            blobs_of(document).for_each(|blob| batch.delete(keys::blob_use(tenant, blob, id, &document.id)));
        }
        self.charge(&mut batch, tenant, Growth::without(&documents))?;
        removal.receipt.documents += documents.len() as u64;
        put(&mut batch, keys::deleted(tenant, id), removal)?;
        let seq = self.store.commit(batch)?;
        // A file is unlinked only when nothing durable names it.
        self.durable(seq)?;
        removal.receipt.files += self.remove_unused_files(tenant, documents.iter().flat_map(blobs_of)) as u64;
        Ok(!documents.is_empty())
    }

    /// A page of keys of one kind; false when there were none. Nobody else writes them: needs no turn.
    fn purge_keys(&self, kind: u8, removal: &mut CollectionRemoval) -> Result<bool, CatalogError> {
        let (tenant, id) = (&removal.record.tenant, &removal.record.id);
        let page = self.store.scan(&keys::below(kind, tenant, id), None, KEYS_PER_PAGE)?;
        if page.is_empty() {
            return Ok(false);
        }
        match kind {
            b'K' => removal.receipt.chunks += page.len() as u64,
            b'V' => removal.receipt.vectors += page.len() as u64,
            _ => {}
        }
        let mut batch = Batch::default();
        page.into_iter().for_each(|(key, _)| batch.delete(key));
        put(&mut batch, keys::deleted(tenant, id), removal)?;
        self.store.commit(batch)?;
        Ok(true)
    }

    /// Notes of rows that go with all the others. One of a job that is staging just now stays: the job removes
    /// what it staged when it finds its document gone, or the next start does.
    fn forget_retired(&self, record: &CollectionRecord) -> Result<(), CatalogError> {
        let notes = self.store.scan(&keys::unserved_of(&record.tenant, &record.id), None, usize::MAX)?;
        let mut batch = Batch::default();
        for (key, value) in notes {
            if serde_json::from_slice::<Unserved>(&value)?.was_served {
                batch.delete(key);
            }
        }
        self.store.commit(batch)?;
        Ok(())
    }
}

/// Names in a folder; none if it can't be read, since then nothing is swept.
fn names_in(folder: &Path) -> impl Iterator<Item = String> + use<> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok())
}

fn empty_receipt(record: &CollectionRecord, postings: u64) -> DeletionReceipt {
    DeletionReceipt {
        id: DeletionId::generate(),
        collection: record.id.clone(),
        document: None,
        name: Some(record.name.clone()),
        documents: 0,
        chunks: 0,
        vectors: 0,
        postings,
        files: 0,
        caches: 0,
        traces: 0,
        session_turns: 0,
        rows: Rows::default(),
        blobs: Vec::new(),
        jobs: Vec::new(),
        deleted_at: now(),
    }
}
