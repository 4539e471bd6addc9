//! Making a processed document visible: a few chunks go into the store in one batch with the
//! document's record; many are staged first, in batches that no reader looks at, and become visible
//! with the batch that carries the record.

use super::{Catalog, CatalogError, now, put};
use crate::blobs::BlobId;
use crate::collection::Pending;
use crate::keys;
use crate::records::{Change, CollectionRecord, CollectionState, DocumentRecord, DocumentState, JobRecord, JobState, Rows, ServedVersion};
use crate::store::Batch;
use corpus::{Chunk, ChunkDraft, ChunkId, Embedding, Row};
use std::collections::HashMap;

/// Chunks that go into one batch; a document with more is staged.
const CHUNKS_PER_BATCH: usize = 512;
/// Log entries behind every view that one commit clears away at most: more than it adds, so the log stays short.
const LOG_TRIM: u64 = 64;

/// What ingestion made of an original.
#[derive(Debug, Clone)]
pub struct Processed {
    /// The extracted text; every chunk's span points into it.
    pub text: String,
    /// What the parser took the original for.
    pub media_type: String,
    /// The document's own title.
    pub title: Option<String>,
    /// Pages, where the format has them.
    pub pages: Option<u32>,
    /// What was lost or doubtful.
    pub warnings: Vec<String>,
    /// The chunks in document order, each with its embedding.
    pub chunks: Vec<(ChunkDraft, Embedding)>,
}

impl Catalog {
    /// Makes a job's result the served version of its document, instead of the one before; durable
    /// on return. Gives the change's number, for [`crate::Collection::wait_applied`].
    ///
    /// # Errors
    /// [`CatalogError::Superseded`] when the document was deleted, replaced or the job cancelled
    /// meanwhile: nothing is left behind.
    pub fn commit_document(&self, job: &JobRecord, processed: Processed) -> Result<u64, CatalogError> {
        let collection = self.collection(&job.tenant, job.collection.as_str()).map_err(superseded)?;
        let record = self.wanted(&collection, job)?;
        let text = self.blobs.put(&job.tenant, processed.text.as_bytes())?;
        let version = record.pending.as_ref().map_or(1, |pending| pending.number);
        let staged = self.stage(&collection, job, version, &processed.chunks)?;
        let committed = self.publish_document(&collection, job, &processed, &text, staged.as_ref());
        if let (Err(_), Some(rows)) = (&committed, &staged) {
            self.unstage(&collection, job, rows)?;
        }
        let (seq, commit, released) = committed?;
        self.durable(commit)?;
        self.release_files(&job.tenant, &released)?;
        Ok(seq)
    }

    /// Removes what a crash left staged. Called once, before any job runs.
    ///
    /// # Errors
    /// A store error.
    pub fn remove_staged(&self) -> Result<usize, CatalogError> {
        let staged = self.store.scan(&keys::all_staging(), None, usize::MAX)?;
        for (key, value) in &staged {
            let rows: Rows = serde_json::from_slice(value)?;
            let parts = keys::text_parts(key);
            let (Some(tenant), Some(collection)) = (parts.first(), parts.get(1)) else { continue };
            let (Ok(tenant), Ok(collection)) = (tenant.parse(), collection.parse()) else { continue };
            let rows: Vec<Row> = rows.iter().collect();
            for some in rows.chunks(CHUNKS_PER_BATCH) {
                let mut batch = Batch::default();
                for row in some {
                    batch.delete(keys::chunk(&tenant, &collection, *row));
                    batch.delete(keys::vector(&tenant, &collection, *row));
                }
                self.store.commit(batch)?;
            }
            let mut batch = Batch::default();
            batch.delete(key.clone());
            self.store.commit(batch)?;
        }
        Ok(staged.len())
    }

    /// The vectors of the served version by chunk text, so that unchanged chunks are not embedded again.
    ///
    /// # Errors
    /// A store error.
    pub fn served_vectors(
        &self,
        collection: &CollectionRecord,
        record: &DocumentRecord,
    ) -> Result<HashMap<String, Embedding>, CatalogError> {
        let mut vectors = HashMap::new();
        let Some(served) = &record.served else { return Ok(vectors) };
        let open = self.open_collection(collection)?;
        let rows: Vec<Row> = served.rows.iter().collect();
        for some in rows.chunks(CHUNKS_PER_BATCH) {
            for (row, chunk) in some.iter().zip(open.chunks(some)?) {
                if let (Some((chunk, _)), Some(vector)) = (chunk, open.vector(*row)?) {
                    vectors.insert(chunk.draft.text, vector);
                }
            }
        }
        Ok(vectors)
    }

    /// The record, if this job still works on its pending version.
    pub(super) fn wanted(&self, collection: &CollectionRecord, job: &JobRecord) -> Result<DocumentRecord, CatalogError> {
        let record = self.document(collection, job.document.as_str()).map_err(superseded)?;
        let is_wanted = record.pending.as_ref().is_some_and(|pending| pending.job == job.id) && record.state == DocumentState::Queued;
        if is_wanted { Ok(record) } else { Err(CatalogError::Superseded) }
    }

    fn stage(
        &self,
        collection: &CollectionRecord,
        job: &JobRecord,
        version: u32,
        chunks: &[(ChunkDraft, Embedding)],
    ) -> Result<Option<Rows>, CatalogError> {
        if chunks.len() <= CHUNKS_PER_BATCH {
            return Ok(None);
        }
        let rows = self.reserve_rows(collection, job, chunks.len())?;
        let numbered: Vec<(Row, &(ChunkDraft, Embedding))> = rows.iter().zip(chunks).collect();
        for (page, some) in numbered.chunks(CHUNKS_PER_BATCH).enumerate() {
            let mut batch = Batch::default();
            put_chunks(&mut batch, collection, job, version, page * CHUNKS_PER_BATCH, some)?;
            self.store.commit(batch)?;
        }
        Ok(Some(rows))
    }

    fn reserve_rows(&self, collection: &CollectionRecord, job: &JobRecord, count: usize) -> Result<Rows, CatalogError> {
        let _turn = self.write_turn();
        let mut state = self.state(collection)?;
        let rows = next_rows(&mut state, count);
        let mut batch = Batch::default();
        // What an earlier attempt of this job staged and could not remove.
        if let Some(left) = self.read::<Rows>(&keys::staging(&collection.tenant, &collection.id, &job.id))? {
            delete_rows(&mut batch, collection, &left);
        }
        put(&mut batch, keys::state(&collection.tenant, &collection.id), &state)?;
        put(&mut batch, keys::staging(&collection.tenant, &collection.id, &job.id), &rows)?;
        self.store.commit(batch)?;
        Ok(rows)
    }

    fn unstage(&self, collection: &CollectionRecord, job: &JobRecord, rows: &Rows) -> Result<(), CatalogError> {
        let mut batch = Batch::default();
        delete_rows(&mut batch, collection, rows);
        batch.delete(keys::staging(&collection.tenant, &collection.id, &job.id));
        self.store.commit(batch)?;
        Ok(())
    }

    /// The batch that makes the version visible. Returns the collection's change, the store's commit
    /// and the files that may be unused then.
    fn publish_document(
        &self,
        collection: &CollectionRecord,
        job: &JobRecord,
        processed: &Processed,
        text: &BlobId,
        staged: Option<&Rows>,
    ) -> Result<(u64, u64, Vec<BlobId>), CatalogError> {
        let (tenant, id) = (&collection.tenant, &collection.id);
        let turn = self.write_turn();
        let mut record = self.wanted(collection, job)?;
        if !self.blobs.exists(tenant, text) {
            self.blobs.put(tenant, processed.text.as_bytes())?;
        }
        let open = self.open_in_turn(collection)?;
        let mut state = self.state(collection)?;
        let mut batch = Batch::default();
        let Some(pending) = record.pending.take() else { return Err(CatalogError::Superseded) };
        let rows = staged.cloned().unwrap_or_else(|| next_rows(&mut state, processed.chunks.len()));
        if staged.is_none() {
            let numbered: Vec<_> = rows.iter().zip(&processed.chunks).collect();
            put_chunks(&mut batch, collection, job, pending.number, 0, &numbered)?;
        }
        let before = record.served.take();
        // The views still show the old rows: they go when the views have switched over, or at the next start.
        let retired = before.as_ref().map(|served| &served.rows).filter(|rows| !rows.is_empty());
        let staging = keys::staging(tenant, id, &job.id);
        match retired {
            Some(rows) => put(&mut batch, staging.clone(), rows)?,
            None => batch.delete(staging.clone()),
        }
        let staging = retired.map(|_| staging);
        self.retire(collection, &record, before.as_ref(), (&pending.original, text), &mut batch, &mut state);
        state.seq += 1;
        state.chunks += rows.len() as u64;
        state.bytes += pending.bytes;
        let change = Change {
            document: Some(record.id.clone()),
            added: rows.clone(),
            removed: before.as_ref().map(|served| served.rows.clone()).unwrap_or_default(),
        };
        batch.put(keys::blob_use(tenant, text, id, &record.id), Vec::new());
        record.attributes = pending.attributes;
        record.state = DocumentState::Ready;
        record.updated_at = now();
        record.served = Some(ServedVersion {
            number: pending.number,
            original: pending.original,
            bytes: pending.bytes,
            text: text.clone(),
            text_bytes: processed.text.len() as u64,
            text_chars: processed.text.chars().count() as u64,
            media_type: processed.media_type.clone(),
            title: processed.title.clone(),
            pages: processed.pages,
            warnings: processed.warnings.clone(),
            rows,
            seq: state.seq,
            job: job.id.clone(),
        });
        put(&mut batch, keys::document(tenant, id, &record.id), &record)?;
        put(&mut batch, keys::change(tenant, id, state.seq), &change)?;
        trim_log(&mut batch, collection, &mut state, open.applied());
        put(&mut batch, keys::state(tenant, id), &state)?;
        self.end_job(&mut batch, job, JobState::Succeeded, Some(state.seq))?;
        let commit = self.store.commit(batch)?;
        open.publish(Pending { seq: state.seq, commit, change, record: Some(record), staging });
        self.applier.notify(&open);
        drop(turn);
        let released = before.into_iter().flat_map(|before| [before.original, before.text]).collect();
        Ok((state.seq, commit, released))
    }

    /// Takes the version before out of the store, except the files that the new one uses too.
    fn retire(
        &self,
        collection: &CollectionRecord,
        record: &DocumentRecord,
        before: Option<&ServedVersion>,
        kept: (&BlobId, &BlobId),
        batch: &mut Batch,
        state: &mut CollectionState,
    ) {
        let Some(before) = before else { return };
        state.chunks = state.chunks.saturating_sub(before.rows.len() as u64);
        state.bytes = state.bytes.saturating_sub(before.bytes);
        for blob in [&before.original, &before.text] {
            if blob != kept.0 && blob != kept.1 {
                batch.delete(keys::blob_use(&collection.tenant, blob, &collection.id, &record.id));
            }
        }
    }
}

pub(super) fn superseded(error: CatalogError) -> CatalogError {
    if let CatalogError::NotFound { .. } = error { CatalogError::Superseded } else { error }
}

fn next_rows(state: &mut CollectionState, count: usize) -> Rows {
    let count = Row::try_from(count).unwrap_or(Row::MAX);
    let rows = Rows::run(state.next_row, count);
    state.next_row = state.next_row.saturating_add(count);
    rows
}

fn put_chunks(
    batch: &mut Batch,
    collection: &CollectionRecord,
    job: &JobRecord,
    version: u32,
    first_ordinal: usize,
    chunks: &[(Row, &(ChunkDraft, Embedding))],
) -> Result<(), CatalogError> {
    for (offset, (row, (draft, embedding))) in chunks.iter().enumerate() {
        let chunk = Chunk {
            id: ChunkId::new(&job.document, *row),
            document_id: job.document.clone(),
            version,
            ordinal: u32::try_from(first_ordinal + offset).unwrap_or(u32::MAX),
            draft: draft.clone(),
        };
        put(batch, keys::chunk(&collection.tenant, &collection.id, *row), &chunk)?;
        let vector: Vec<u8> = embedding.iter().flat_map(|x| x.to_le_bytes()).collect();
        batch.put(keys::vector(&collection.tenant, &collection.id, *row), vector);
    }
    Ok(())
}

pub(super) fn delete_rows(batch: &mut Batch, collection: &CollectionRecord, rows: &Rows) {
    for row in rows.iter() {
        batch.delete(keys::chunk(&collection.tenant, &collection.id, row));
        batch.delete(keys::vector(&collection.tenant, &collection.id, row));
    }
}

/// Clears changes that the views have applied, leaving some behind them: a text index that lost
/// its last commit in a crash replays those.
pub(super) fn trim_log(batch: &mut Batch, collection: &CollectionRecord, state: &mut CollectionState, applied: u64) {
    const KEPT: u64 = 1024;
    let end = applied.saturating_sub(KEPT).min(state.log_start + LOG_TRIM);
    for seq in state.log_start..end {
        batch.delete(keys::change(&collection.tenant, &collection.id, seq));
    }
    state.log_start = state.log_start.max(end);
}
