//! Deleting documents, and the files that nothing uses any more.

use super::commit::{CHUNKS_PER_BATCH, trim_log};
use super::usage::Growth;
use super::{Catalog, CatalogError, now, put};
use crate::blobs::BlobId;
use crate::collection::{Collection, Pending};
use crate::keys;
use crate::records::{Change, CollectionRecord, DeletionReceipt, DocumentRecord, Rows, Unserved};
use crate::store::Batch;
use crate::unserved;
use corpus::{DeletionId, DocumentId, TenantId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How long a delete waits for the views; they follow on their own if it takes longer.
const VIEWS_WAIT: Duration = Duration::from_secs(10);
/// Documents deleted in one batch. Only rows of small ones are in it: the others leave a note.
const DOCUMENTS_PER_BATCH: usize = 32;
/// Files removed in one turn of the writer.
const FILES_PER_TURN: usize = 256;

/// What was deleted of large documents and is still there: the note and its key.
pub(super) type Notes = Vec<(Vec<u8>, Unserved)>;

impl Catalog {
    /// Deletes a document in any state, with the documents inside it, their jobs, chunks, vectors and
    /// files; durable and out of search on return. The receipt is durable with it.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub fn delete_document(&self, collection: &CollectionRecord, id_or_external: &str) -> Result<DeletionReceipt, CatalogError> {
        let (turn, open) = self.turn_with(collection)?;
        let record = self.document(collection, id_or_external)?;
        let mut family = self.descendants(collection, &record)?;
        // Last: what a crash between two batches leaves can be deleted again by the same name.
        family.push(record);
        let receipt = self.receipt_of(collection, &family)?;
        let (seq, notes) = self.delete_all(collection, &open, &family, Some(&receipt))?;
        drop(turn);
        self.finish_notes(collection, notes)?;
        // Deleted it is; should the views be late or stale, the live bitmap or their reopening sees to the rest.
        if !matches!(open.wait_applied(seq, VIEWS_WAIT), Ok(true)) {
            tracing::warn!(deletion = %receipt.id, "deleted, but the views have not followed yet");
        }
        Ok(receipt)
    }

    /// Deletes documents, in batches, the receipt in the last one; durable on return, files included.
    /// Gives the last change and the notes for [`Self::finish_notes`]. The caller holds the writer's turn.
    pub(super) fn delete_all(
        &self,
        collection: &CollectionRecord,
        open: &Arc<Collection>,
        documents: &[DocumentRecord],
        receipt: Option<&DeletionReceipt>,
    ) -> Result<(u64, Notes), CatalogError> {
        let (mut last, mut notes) = ((0, 0), Vec::new());
        let mut batches = documents.chunks(DOCUMENTS_PER_BATCH).peekable();
        while let Some(some) = batches.next() {
            let is_last = batches.peek().is_none();
            last = self.delete_batch(collection, open, some, receipt.map(|receipt| (receipt, is_last)), &mut notes)?;
        }
        let (seq, commit) = last;
        self.durable(commit)?;
        self.remove_unused_files(&collection.tenant, documents.iter().flat_map(blobs_of));
        Ok((seq, notes))
    }

    fn delete_batch(
        &self,
        collection: &CollectionRecord,
        open: &Arc<Collection>,
        documents: &[DocumentRecord],
        receipt: Option<(&DeletionReceipt, bool)>,
        notes: &mut Notes,
    ) -> Result<(u64, u64), CatalogError> {
        let (tenant, id) = (&collection.tenant, &collection.id);
        let mut state = self.state(collection)?;
        let (mut batch, mut changes) = (Batch::default(), Vec::new());
        for record in documents {
            let rows = rows_of(record);
            self.delete_record(collection, record, &mut batch)?;
            self.delete_rows(collection, record, &mut batch, notes)?;
            state.advance();
            state.documents = state.documents.saturating_sub(1);
            state.chunks = state.chunks.saturating_sub(rows.len() as u64);
            state.bytes = state.bytes.saturating_sub(record.served.as_ref().map_or(0, |served| served.bytes));
            let change = Change { document: Some(record.id.clone()), removed: rows, ..Change::default() };
            put(&mut batch, keys::change(tenant, id, state.seq), &change)?;
            changes.push((state.seq, change));
        }
        if let Some((receipt, is_last)) = receipt {
            // Owed from the first batch on: answers may rest on any of the documents.
            put(&mut batch, keys::unpurged(tenant, &receipt.id), id)?;
            if is_last {
                put(&mut batch, keys::deletion(tenant, &receipt.id), receipt)?;
            }
        }
        self.charge(&mut batch, tenant, Growth::without(documents))?;
        trim_log(&mut batch, collection, &mut state, open.applied());
        put(&mut batch, keys::state(tenant, id), &state)?;
        let commit = self.store.commit(batch)?;
        for (seq, change) in changes {
            open.publish(Pending { seq, commit, change, record: None, retired: None });
        }
        self.applier.notify(open);
        Ok((state.seq, commit))
    }

    /// Rows and places of a small document go with the batch; of a large one a note goes in, and they later.
    fn delete_rows(
        &self,
        collection: &CollectionRecord,
        record: &DocumentRecord,
        batch: &mut Batch,
        notes: &mut Notes,
    ) -> Result<(), CatalogError> {
        let (tenant, id) = (&collection.tenant, &collection.id);
        let note = note_of(record);
        if note.rows.len() > CHUNKS_PER_BATCH {
            let key = keys::unserved(tenant, id, record.id.as_str());
            put(batch, key.clone(), &note)?;
            notes.push((key, note));
            return Ok(());
        }
        note.rows.iter().for_each(|row| unserved::delete_row(batch, tenant, id, row));
        if let Some((document, version)) = &note.places {
            let pages = self.store.scan(&keys::places(tenant, id, document, *version), None, unserved::KEYS_PER_BATCH)?;
            pages.into_iter().for_each(|(key, _)| batch.delete(key));
        }
        Ok(())
    }

    /// Removes what large documents left. Not in the turn: nobody else touches these rows.
    pub(super) fn finish_notes(&self, collection: &CollectionRecord, notes: Notes) -> Result<(), CatalogError> {
        if notes.is_empty() {
            return Ok(());
        }
        for (key, note) in notes {
            unserved::remove(self.store.as_ref(), &collection.tenant, &collection.id, key, &note)?;
        }
        self.settle()
    }

    /// What deleting a document and those inside it (the document last) will remove, as things stand in this turn.
    fn receipt_of(&self, collection: &CollectionRecord, family: &[DocumentRecord]) -> Result<DeletionReceipt, CatalogError> {
        let Some(record) = family.last() else { return Err(CatalogError::Superseded) };
        let rows: Rows = family.iter().flat_map(|record| rows_of(record).iter().collect::<Vec<_>>()).collect();
        let blobs: BTreeSet<_> = family.iter().flat_map(blobs_of).cloned().collect();
        let mut files = 0;
        for blob in &blobs {
            let uses = self.store.scan(&keys::blob_uses(&collection.tenant, blob), None, family.len() + 1)?;
            let own: BTreeSet<_> =
                family.iter().map(|record| keys::blob_use(&collection.tenant, blob, &collection.id, &record.id)).collect();
            files += u64::from(uses.iter().all(|(key, _)| own.contains(key)) && self.blobs.exists(&collection.tenant, blob));
        }
        let chunks = rows.len() as u64;
        Ok(DeletionReceipt {
            id: DeletionId::generate(),
            collection: collection.id.clone(),
            document: Some(record.id.clone()),
            name: record.external_id.clone(),
            documents: family.len() as u64,
            chunks,
            vectors: chunks,
            postings: chunks,
            files,
            caches: 0,
            traces: 0,
            session_turns: 0,
            rows,
            blobs: blobs.into_iter().collect(),
            jobs: family.iter().filter_map(|record| record.pending.as_ref()).map(|pending| pending.job.clone()).collect(),
            deleted_at: now(),
        })
    }

    /// The record with everything that points at it.
    fn delete_record(&self, collection: &CollectionRecord, record: &DocumentRecord, batch: &mut Batch) -> Result<(), CatalogError> {
        let (tenant, id) = (&collection.tenant, &collection.id);
        batch.delete(keys::document(tenant, id, &record.id));
        if let Some(external) = &record.external_id {
            batch.delete(keys::external_id(tenant, id, external));
        }
        if let Some(parent) = &record.parent {
            batch.delete(keys::child(tenant, id, parent));
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
        // Somebody else's release that is committed and not yet durable must not count. Without a commit
        // of its own, since a full disk takes none.
        self.durable(self.store.stats().seq)?;
        self.remove_unused_files(tenant, blobs);
        Ok(())
    }

    /// Removes files whose removal was put off, if they are still unused. The caller doesn't hold the turn.
    pub(crate) fn remove_put_off(&self, files: BTreeSet<(TenantId, BlobId)>) {
        let mut by_tenant: BTreeMap<TenantId, Vec<BlobId>> = BTreeMap::new();
        files.into_iter().for_each(|(tenant, blob)| by_tenant.entry(tenant).or_default().push(blob));
        for (tenant, blobs) in &by_tenant {
            for some in blobs.chunks(FILES_PER_TURN) {
                if let Err(error) = self.release_files(tenant, some) {
                    tracing::warn!(%tenant, %error, "unused files are left behind");
                }
            }
        }
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

fn rows_of(record: &DocumentRecord) -> Rows {
    record.served.as_ref().map(|served| served.rows.clone()).unwrap_or_default()
}

fn note_of(record: &DocumentRecord) -> Unserved {
    let places = record.served.as_ref().map(|served| (record.id.clone(), served.number));
    Unserved { rows: rows_of(record), places, was_served: true }
}

fn originals_of(record: &DocumentRecord) -> impl Iterator<Item = &BlobId> {
    let served = record.served.iter().map(|served| &served.original);
    served.chain(record.pending.iter().map(|pending| &pending.original))
}

pub(super) fn blobs_of(record: &DocumentRecord) -> impl Iterator<Item = &BlobId> {
    let served = record.served.iter().flat_map(|served| [&served.original, &served.text]);
    served.chain(record.pending.iter().map(|pending| &pending.original))
}
