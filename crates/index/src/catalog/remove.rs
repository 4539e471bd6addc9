//! Deleting documents, and the files that nothing uses any more.

use super::commit::{CHUNKS_PER_BATCH, trim_log};
use super::{Catalog, CatalogError, now, put};
use crate::blobs::BlobId;
use crate::collection::Pending;
use crate::keys;
use crate::records::{Change, CollectionRecord, DeletionReceipt, DocumentRecord, Rows, Unserved};
use crate::store::Batch;
use crate::unserved;
use corpus::{DeletionId, DocumentId, TenantId};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a delete waits for the views; they follow on their own if it takes longer.
const VIEWS_WAIT: Duration = Duration::from_secs(10);

impl Catalog {
    /// Deletes a document in any state, with its job, chunks, vectors and files; durable and out of
    /// search on return. The receipt is durable with it.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub fn delete_document(&self, collection: &CollectionRecord, id_or_external: &str) -> Result<DeletionReceipt, CatalogError> {
        let (turn, open) = self.turn_with(collection)?;
        let record = self.document(collection, id_or_external)?;
        let (receipt, note) = (self.receipt_of(collection, &record)?, note_of(&record));
        let mut batch = Batch::default();
        self.delete_record(collection, &record, &mut batch)?;
        put(&mut batch, keys::deletion(&collection.tenant, &receipt.id), &receipt)?;
        let is_small = note.rows.len() <= CHUNKS_PER_BATCH;
        match is_small {
            true => self.delete_rows(collection, &note, &mut batch)?,
            false => put(&mut batch, note_key(collection, &receipt), &note)?,
        }
        let (seq, change) = self.record_deletion(collection, &record, open.applied(), &mut batch)?;
        let commit = self.store.commit(batch)?;
        open.publish(Pending { seq, commit, change, record: None, retired: None });
        self.applier.notify(&open);
        self.durable(commit)?;
        self.remove_unused_files(&collection.tenant, blobs_of(&record));
        drop(turn);
        if !is_small {
            // Not in the turn: nobody else touches these rows.
            unserved::remove(self.store.as_ref(), &collection.tenant, &collection.id, note_key(collection, &receipt), &note)?;
            self.settle()?;
        }
        // Deleted it is; should the views be late or stale, the live bitmap or their reopening sees to the rest.
        if !matches!(open.wait_applied(seq, VIEWS_WAIT), Ok(true)) {
            tracing::warn!(document = %record.id, "deleted, but the views have not followed yet");
        }
        Ok(receipt)
    }

    /// Puts the collection's counters and the change into the batch.
    fn record_deletion(
        &self,
        collection: &CollectionRecord,
        record: &DocumentRecord,
        applied: u64,
        batch: &mut Batch,
    ) -> Result<(u64, Change), CatalogError> {
        let (tenant, id) = (&collection.tenant, &collection.id);
        let mut state = self.state(collection)?;
        let removed = record.served.as_ref().map(|served| served.rows.clone()).unwrap_or_default();
        state.seq += 1;
        state.documents = state.documents.saturating_sub(1);
        state.chunks = state.chunks.saturating_sub(removed.len() as u64);
        state.bytes = state.bytes.saturating_sub(record.served.as_ref().map_or(0, |served| served.bytes));
        let change = Change { document: Some(record.id.clone()), removed, ..Change::default() };
        put(batch, keys::change(tenant, id, state.seq), &change)?;
        trim_log(batch, collection, &mut state, applied);
        put(batch, keys::state(tenant, id), &state)?;
        Ok((state.seq, change))
    }

    /// What deleting this document will remove, as things stand in this turn.
    fn receipt_of(&self, collection: &CollectionRecord, record: &DocumentRecord) -> Result<DeletionReceipt, CatalogError> {
        let rows = record.served.as_ref().map(|served| served.rows.clone()).unwrap_or_default();
        let blobs: BTreeSet<_> = blobs_of(record).cloned().collect();
        let mut files = 0;
        for blob in &blobs {
            let uses = self.store.scan(&keys::blob_uses(&collection.tenant, blob), None, 2)?;
            let own = keys::blob_use(&collection.tenant, blob, &collection.id, &record.id);
            files += u64::from(uses.iter().all(|(key, _)| *key == own) && self.blobs.exists(&collection.tenant, blob));
        }
        let chunks = rows.len() as u64;
        Ok(DeletionReceipt {
            id: DeletionId::generate(),
            collection: collection.id.clone(),
            document: Some(record.id.clone()),
            name: record.external_id.clone(),
            documents: 1,
            chunks,
            vectors: chunks,
            postings: chunks,
            files,
            caches: 0,
            rows,
            blobs: blobs.into_iter().collect(),
            deleted_at: now(),
        })
    }

    /// Puts what the note would name into the batch: few enough to go at once.
    fn delete_rows(&self, collection: &CollectionRecord, note: &Unserved, batch: &mut Batch) -> Result<(), CatalogError> {
        let (tenant, id) = (&collection.tenant, &collection.id);
        note.rows.iter().for_each(|row| unserved::delete_row(batch, tenant, id, row));
        if let Some((document, version)) = &note.places {
            let pages = self.store.scan(&keys::places(tenant, id, document, *version), None, unserved::KEYS_PER_BATCH)?;
            pages.into_iter().for_each(|(key, _)| batch.delete(key));
        }
        Ok(())
    }

    /// The record with everything that points at it.
    fn delete_record(&self, collection: &CollectionRecord, record: &DocumentRecord, batch: &mut Batch) -> Result<(), CatalogError> {
        let (tenant, id) = (&collection.tenant, &collection.id);
        batch.delete(keys::document(tenant, id, &record.id));
        if let Some(external) = &record.external_id {
            batch.delete(keys::external_id(tenant, id, external));
        }
        for blob in blobs_of(record) {
            batch.delete(keys::blob_use(tenant, blob, id, &record.id));
        }
        for original in originals_of(record).filter(|_| record.external_id.is_none()) {
            let identity = keys::content(tenant, id, original);
            if self.read::<DocumentId>(&identity)?.as_ref() == Some(&record.id) {
                batch.delete(identity);
            }
        }
        match &record.pending {
            Some(pending) => self.cancel_in(batch, tenant, &pending.job),
            None => Ok(()),
        }
    }

    /// Removes files that nothing uses any more, once that is durable.
    pub(super) fn release_files(&self, tenant: &TenantId, blobs: &[BlobId]) -> Result<(), CatalogError> {
        if blobs.is_empty() {
            return Ok(());
        }
        let _turn = self.write_turn();
        // Somebody else's release that is committed and not yet durable must not count.
        self.settle()?;
        self.remove_unused_files(tenant, blobs);
        Ok(())
    }

    /// Removes those of the files that no document of the tenant uses. The caller holds the writer's
    /// turn. A file that can't be removed is left, and the log says so.
    pub(super) fn remove_unused_files<'b>(&self, tenant: &TenantId, blobs: impl IntoIterator<Item = &'b BlobId>) -> usize {
        let blobs: BTreeSet<_> = blobs.into_iter().collect();
        let mut removed = 0;
        for blob in blobs {
            let outcome = self.is_unused(tenant, blob).and_then(|is_unused| match is_unused {
                true => Ok(self.blobs.remove(tenant, blob)?),
                false => Ok(false),
            });
            match outcome {
                Ok(was_removed) => removed += usize::from(was_removed),
                Err(error) => tracing::warn!(%tenant, blob = blob.as_str(), %error, "an unused file is left behind"),
            }
        }
        removed
    }

    pub(super) fn is_unused(&self, tenant: &TenantId, blob: &BlobId) -> Result<bool, CatalogError> {
        Ok(self.store.scan(&keys::blob_uses(tenant, blob), None, 1)?.is_empty())
    }
}

fn note_of(record: &DocumentRecord) -> Unserved {
    let served = record.served.as_ref();
    Unserved {
        rows: served.map_or_else(Rows::default, |served| served.rows.clone()),
        places: served.map(|served| (record.id.clone(), served.number)),
        was_served: true,
    }
}

fn note_key(collection: &CollectionRecord, receipt: &DeletionReceipt) -> Vec<u8> {
    keys::unserved(&collection.tenant, &collection.id, receipt.id.as_str())
}

fn originals_of(record: &DocumentRecord) -> impl Iterator<Item = &BlobId> {
    let served = record.served.iter().map(|served| &served.original);
    served.chain(record.pending.iter().map(|pending| &pending.original))
}

pub(super) fn blobs_of(record: &DocumentRecord) -> impl Iterator<Item = &BlobId> {
    let served = record.served.iter().flat_map(|served| [&served.original, &served.text]);
    served.chain(record.pending.iter().map(|pending| &pending.original))
}
