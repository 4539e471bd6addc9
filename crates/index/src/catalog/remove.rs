//! Deleting documents, and the files that nothing uses any more.

use super::commit::{delete_rows, trim_log};
use super::usage::Growth;
use super::{Catalog, CatalogError, put};
use crate::blobs::BlobId;
use crate::collection::{Collection, Pending};
use crate::keys;
use crate::records::{Change, CollectionRecord, DeletionReceipt, DocumentRecord, Rows};
use crate::store::Batch;
use corpus::{DocumentId, TenantId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How long a delete waits for the views; they follow on their own if it takes longer.
const VIEWS_WAIT: Duration = Duration::from_secs(10);
/// Rows of several documents deleted in one batch; one document is never split.
const ROWS_PER_BATCH: usize = 50_000;
/// Files removed in one turn of the writer.
const FILES_PER_TURN: usize = 256;

impl Catalog {
    /// Deletes a document in any state, with the documents inside it, their jobs, chunks, vectors and
    /// files; durable and out of search on return.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub fn delete_document(&self, collection: &CollectionRecord, id_or_external: &str) -> Result<DeletionReceipt, CatalogError> {
        let turn = self.write_turn();
        let record = self.document(collection, id_or_external)?;
        let open = self.open_in_turn(collection)?;
        let mut family = self.descendants(collection, &record)?;
        // Last: what a crash between two batches leaves can be deleted again by the same name.
        family.push(record.clone());
        let (seq, files) = self.delete_all(collection, &open, &family)?;
        drop(turn);
        // Deleted it is; should the views be late or stale, the live bitmap or their reopening sees to the rest.
        if !matches!(open.wait_applied(seq, VIEWS_WAIT), Ok(true)) {
            tracing::warn!(document = %record.id, "deleted, but the views have not followed yet");
        }
        let chunks: usize = family.iter().map(rows_of).map(|rows| rows.len()).sum();
        let documents = family.len();
        let jobs = family.into_iter().filter_map(|record| record.pending).map(|pending| pending.job).collect::<Vec<_>>();
        Ok(DeletionReceipt { document: record.id, documents, chunks, vectors: chunks, files, jobs })
    }

    /// Deletes documents, in one batch unless they have very many rows; durable on return. Gives the
    /// last change and the number of files removed. The caller holds the writer's turn.
    pub(super) fn delete_all(
        &self,
        collection: &CollectionRecord,
        open: &Arc<Collection>,
        documents: &[DocumentRecord],
    ) -> Result<(u64, usize), CatalogError> {
        let mut last = (0, 0);
        let mut rest = documents;
        while let Some(count) = batch_length(rest) {
            let (some, later) = rest.split_at(count);
            last = self.delete_batch(collection, open, some)?;
            rest = later;
        }
        let (seq, commit) = last;
        self.durable(commit)?;
        Ok((seq, self.remove_unused_files(&collection.tenant, documents.iter().flat_map(blobs_of))))
    }

    fn delete_batch(
        &self,
        collection: &CollectionRecord,
        open: &Arc<Collection>,
        documents: &[DocumentRecord],
    ) -> Result<(u64, u64), CatalogError> {
        let mut state = self.state(collection)?;
        let (mut batch, mut changes) = (Batch::default(), Vec::new());
        for record in documents {
            let rows = rows_of(record);
            delete_rows(&mut batch, collection, &rows);
            self.delete_record(collection, record, &mut batch)?;
            state.seq += 1;
            state.documents = state.documents.saturating_sub(1);
            state.chunks = state.chunks.saturating_sub(rows.len() as u64);
            state.bytes = state.bytes.saturating_sub(record.served.as_ref().map_or(0, |served| served.bytes));
            let change = Change { document: Some(record.id.clone()), removed: rows, ..Change::default() };
            put(&mut batch, keys::change(&collection.tenant, &collection.id, state.seq), &change)?;
            changes.push((state.seq, change));
        }
        self.charge(&mut batch, &collection.tenant, Growth::without(documents))?;
        trim_log(&mut batch, collection, &mut state, open.applied());
        put(&mut batch, keys::state(&collection.tenant, &collection.id), &state)?;
        let commit = self.store.commit(batch)?;
        for (seq, change) in changes {
            open.publish(Pending { seq, commit, change, record: None, staging: None });
        }
        self.applier.notify(open);
        Ok((state.seq, commit))
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

    fn is_unused(&self, tenant: &TenantId, blob: &BlobId) -> Result<bool, CatalogError> {
        Ok(self.store.scan(&keys::blob_uses(tenant, blob), None, 1)?.is_empty())
    }
}

fn rows_of(record: &DocumentRecord) -> Rows {
    record.served.as_ref().map(|served| served.rows.clone()).unwrap_or_default()
}

/// How many of the documents, from the first on, go into one batch; `None` of none.
fn batch_length(documents: &[DocumentRecord]) -> Option<usize> {
    let mut rows = 0;
    let is_within = |record: &&DocumentRecord| {
        rows += rows_of(record).len();
        rows <= ROWS_PER_BATCH
    };
    let within = documents.iter().take_while(is_within).count();
    (!documents.is_empty()).then_some(within.max(1))
}

fn originals_of(record: &DocumentRecord) -> impl Iterator<Item = &BlobId> {
    let served = record.served.iter().map(|served| &served.original);
    served.chain(record.pending.iter().map(|pending| &pending.original))
}

pub(super) fn blobs_of(record: &DocumentRecord) -> impl Iterator<Item = &BlobId> {
    let served = record.served.iter().flat_map(|served| [&served.original, &served.text]);
    served.chain(record.pending.iter().map(|pending| &pending.original))
}
