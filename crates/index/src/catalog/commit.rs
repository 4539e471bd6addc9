//! Making a processed document visible: a few chunks go into the store in one batch with the
//! document's record; many are staged first, in batches that no reader looks at, and become visible
//! with the batch that carries the record. What the version before has already is left where it is.

use super::versions::Plan;
use super::{Catalog, CatalogError, now, put};
use crate::blobs::BlobId;
use crate::chunks;
use crate::collection::{Pending, Retired};
use crate::keys;
use crate::records::{
    Change, CollectionRecord, CollectionState, DocumentRecord, DocumentState, JobRecord, JobState, PendingVersion, Rows, ServedVersion,
    Unserved,
};
use crate::store::Batch;
use crate::unserved;
use corpus::{ChunkDraft, Embedding, Precision, Row};
use std::sync::atomic::Ordering;

/// Chunks that go into one batch; a document with more is staged.
pub(super) const CHUNKS_PER_BATCH: usize = 512;
/// Pages of places that go into one batch when they are staged.
const PLACE_PAGES_PER_BATCH: usize = 64;
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
    /// Texts that had to be embedded for it; the other embeddings were there already.
    pub embedded: u64,
    /// In which numbers the model computed them.
    pub precision: Precision,
}

/// A version on its way into the store.
struct NewVersion<'a> {
    collection: &'a CollectionRecord,
    job: &'a JobRecord,
    number: u32,
    processed: &'a Processed,
    text: &'a BlobId,
    /// The rows that the plan was made for.
    before: Option<Rows>,
    plan: Plan,
}

/// A version that is committed, not yet durable.
struct Published {
    seq: u64,
    commit: u64,
    /// Files that may be unused now.
    released: Vec<BlobId>,
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
        let version = NewVersion {
            collection: &collection,
            job,
            number: record.pending.as_ref().map_or(1, |pending| pending.number),
            processed: &processed,
            text: &text,
            before: record.served.as_ref().map(|served| served.rows.clone()),
            plan: self.plan(&collection, record.served.as_ref(), &processed.chunks)?,
        };
        let staged = self.stage(&version)?;
        let published = self.publish(&version, staged);
        if let (Err(_), Some(first)) = (&published, staged) {
            self.unstage(&version, first)?;
        }
        let Published { seq, commit, released } = published?;
        self.durable(commit)?;
        self.chunks_reused.fetch_add(version.plan.reused() as u64, Ordering::Relaxed);
        self.release_files(&job.tenant, &released)?;
        Ok(seq)
    }

    /// Removes what a crash left staged or retired. Called once, before any job runs.
    ///
    /// # Errors
    /// A store error.
    pub fn remove_staged(&self) -> Result<usize, CatalogError> {
        let notes = self.store.scan(&keys::all_unserved(), None, usize::MAX)?;
        for (key, value) in &notes {
            let note: Unserved = serde_json::from_slice(value)?;
            let parts = keys::text_parts(key);
            let (Some(tenant), Some(collection)) = (parts.first(), parts.get(1)) else { continue };
            let (Ok(tenant), Ok(collection)) = (tenant.parse(), collection.parse()) else { continue };
            unserved::remove(self.store.as_ref(), &tenant, &collection, key.clone(), &note)?;
        }
        Ok(notes.len())
    }

    /// The record, if this job still works on its pending version.
    pub(super) fn wanted(&self, collection: &CollectionRecord, job: &JobRecord) -> Result<DocumentRecord, CatalogError> {
        let record = self.document(collection, job.document.as_str()).map_err(superseded)?;
        let is_wanted = record.pending.as_ref().is_some_and(|pending| pending.job == job.id) && record.state == DocumentState::Queued;
        if is_wanted { Ok(record) } else { Err(CatalogError::Superseded) }
    }

    /// Writes the new chunks and the places of a long document; the first of the new rows.
    fn stage(&self, version: &NewVersion<'_>) -> Result<Option<Row>, CatalogError> {
        if version.processed.chunks.len() <= CHUNKS_PER_BATCH {
            return Ok(None);
        }
        let first = self.reserve_rows(version)?;
        let rows: Vec<Row> = version.plan.rows(first).iter().collect();
        let new: Vec<_> = version.new_chunks(&rows).collect();
        for some in new.chunks(CHUNKS_PER_BATCH) {
            let mut batch = Batch::default();
            version.put_chunks(&mut batch, some)?;
            self.store.commit(batch)?;
        }
        let pages = version.place_pages().collect::<Result<Vec<_>, _>>()?;
        for some in pages.chunks(PLACE_PAGES_PER_BATCH) {
            let mut batch = Batch::default();
            some.iter().for_each(|(key, value)| batch.put(key.clone(), value.clone()));
            self.store.commit(batch)?;
        }
        Ok(Some(first))
    }

    fn reserve_rows(&self, version: &NewVersion<'_>) -> Result<Row, CatalogError> {
        let (tenant, id) = (&version.collection.tenant, &version.collection.id);
        // What an earlier attempt of this job staged and could not remove.
        if let Some(left) = self.read::<Unserved>(&version.note_key())? {
            unserved::remove(self.store.as_ref(), tenant, id, version.note_key(), &left)?;
        }
        let _turn = self.write_turn();
        self.collection(tenant, id.as_str()).map_err(superseded)?;
        let mut state = self.state(version.collection)?;
        let first = next_rows(&mut state, version.plan.added());
        let mut batch = Batch::default();
        put(&mut batch, keys::state(tenant, id), &state)?;
        put(&mut batch, version.note_key(), &version.staged(first))?;
        self.store.commit(batch)?;
        Ok(first)
    }

    fn unstage(&self, version: &NewVersion<'_>, first: Row) -> Result<(), CatalogError> {
        let (tenant, id) = (&version.collection.tenant, &version.collection.id);
        Ok(unserved::remove(self.store.as_ref(), tenant, id, version.note_key(), &version.staged(first))?)
    }

    /// Commits the batch that makes the version visible, and tells the views.
    fn publish(&self, version: &NewVersion<'_>, staged: Option<Row>) -> Result<Published, CatalogError> {
        let collection = version.collection;
        let (turn, open) = self.turn_with(collection).map_err(superseded)?;
        let mut record = self.wanted(collection, version.job)?;
        let Some(pending) = record.pending.take() else { return Err(CatalogError::Superseded) };
        if !self.blobs.exists(&collection.tenant, version.text) {
            self.blobs.put(&collection.tenant, version.processed.text.as_bytes())?;
        }
        let mut state = self.state(collection)?;
        let mut batch = Batch::default();
        let rows = version.place(staged, &mut state, &mut batch)?;
        let before = record.served.take();
        let retired = version.retire(&record, before.as_ref(), &pending, &mut batch, &mut state)?;
        version.serve(&mut record, pending, rows, &mut state);
        let change = version.change(&record, before.as_ref());
        version.record(&record, &change, &mut batch)?;
        self.end_job(&mut batch, &version.ended_job(), JobState::Succeeded, Some(state.seq))?;
        trim_log(&mut batch, collection, &mut state, open.applied());
        put(&mut batch, keys::state(&collection.tenant, &collection.id), &state)?;
        let commit = self.store.commit(batch)?;
        open.publish(Pending { seq: state.seq, commit, change, record: Some(record), retired });
        self.applier.notify(&open);
        drop(turn);
        let released = before.into_iter().flat_map(|before| [before.original, before.text]).collect();
        Ok(Published { seq: state.seq, commit, released })
    }
}

impl NewVersion<'_> {
    /// Where the note of what is staged stands, and later the note of what is retired.
    fn note_key(&self) -> Vec<u8> {
        keys::unserved(&self.collection.tenant, &self.collection.id, self.job.id.as_str())
    }

    fn staged(&self, first: Row) -> Unserved {
        Unserved { rows: self.new_rows(first), places: Some((self.job.document.clone(), self.number)), was_served: false }
    }

    fn new_rows(&self, first: Row) -> Rows {
        Rows::run(first, Row::try_from(self.plan.added()).unwrap_or(Row::MAX))
    }

    /// The chunks that need a row, with it.
    fn new_chunks<'s>(&'s self, rows: &'s [Row]) -> impl Iterator<Item = (Row, &'s (ChunkDraft, Embedding))> {
        let numbered = rows.iter().copied().zip(&self.processed.chunks).enumerate();
        numbered.filter(move |(ordinal, _)| self.plan.is_new(*ordinal)).map(|(_, chunk)| chunk)
    }

    fn put_chunks(&self, batch: &mut Batch, some: &[(Row, &(ChunkDraft, Embedding))]) -> Result<(), CatalogError> {
        let (tenant, id) = (&self.collection.tenant, &self.collection.id);
        some.iter().try_for_each(|(row, chunk)| Ok(chunks::put(batch, tenant, id, &self.job.document, *row, chunk)?))
    }

    fn place_pages(&self) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), chunks::ChunkError>> {
        let (tenant, id) = (&self.collection.tenant, &self.collection.id);
        chunks::place_pages(tenant, id, &self.job.document, self.number, &self.processed.chunks)
    }

    /// The version's rows; chunks and places go into the batch unless they are staged.
    fn place(&self, staged: Option<Row>, state: &mut CollectionState, batch: &mut Batch) -> Result<Rows, CatalogError> {
        if let Some(first) = staged {
            return Ok(self.plan.rows(first));
        }
        let rows = self.plan.rows(next_rows(state, self.plan.added()));
        let numbers: Vec<Row> = rows.iter().collect();
        self.put_chunks(batch, &self.new_chunks(&numbers).collect::<Vec<_>>())?;
        for page in self.place_pages() {
            let (key, value) = page?;
            batch.put(key, value);
        }
        Ok(rows)
    }

    /// Takes the version before out of the batch's state. The views still show it: what only it has goes when
    /// they have switched over, or at the next start.
    fn retire(
        &self,
        record: &DocumentRecord,
        before: Option<&ServedVersion>,
        pending: &PendingVersion,
        batch: &mut Batch,
        state: &mut CollectionState,
    ) -> Result<Option<Retired>, CatalogError> {
        if before.map(|before| &before.rows) != self.before.as_ref() {
            return Err(CatalogError::Superseded);
        }
        let Some(before) = before else {
            batch.delete(self.note_key());
            return Ok(None);
        };
        state.chunks = state.chunks.saturating_sub(before.rows.len() as u64);
        state.bytes = state.bytes.saturating_sub(before.bytes);
        for blob in [&before.original, &before.text] {
            if *blob != pending.original && blob != self.text {
                batch.delete(keys::blob_use(&self.collection.tenant, blob, &self.collection.id, &record.id));
            }
        }
        let places = Some((record.id.clone(), before.number));
        let note = Unserved { rows: self.plan.retired(&before.rows), places, was_served: true };
        put(batch, self.note_key(), &note)?;
        Ok(Some(Retired { key: self.note_key(), note }))
    }

    /// Makes the pending version the served one.
    fn serve(&self, record: &mut DocumentRecord, pending: PendingVersion, rows: Rows, state: &mut CollectionState) {
        state.advance();
        state.chunks += rows.len() as u64;
        state.bytes += pending.bytes;
        record.attributes = pending.attributes;
        record.state = DocumentState::Ready;
        record.updated_at = now();
        record.served = Some(ServedVersion {
            number: pending.number,
            original: pending.original,
            bytes: pending.bytes,
            text: self.text.clone(),
            text_bytes: self.processed.text.len() as u64,
            text_chars: self.processed.text.chars().count() as u64,
            media_type: self.processed.media_type.clone(),
            title: self.processed.title.clone(),
            pages: self.processed.pages,
            precision: self.processed.precision,
            warnings: self.processed.warnings.clone(),
            rows,
            chunks_reused: self.plan.reused() as u64,
            chunks_embedded: self.processed.embedded,
            seq: state.seq,
            job: self.job.id.clone(),
        });
    }

    /// What the views must do: rows that both versions have are not touched.
    fn change(&self, record: &DocumentRecord, before: Option<&ServedVersion>) -> Change {
        let rows = record.served.iter().flat_map(|served| served.rows.iter()).enumerate();
        Change {
            document: Some(record.id.clone()),
            added: rows.filter(|(ordinal, _)| self.plan.is_new(*ordinal)).map(|(_, row)| row).collect(),
            removed: before.map(|before| self.plan.retired(&before.rows)).unwrap_or_default(),
        }
    }

    fn record(&self, record: &DocumentRecord, change: &Change, batch: &mut Batch) -> Result<(), CatalogError> {
        let (tenant, id) = (&self.collection.tenant, &self.collection.id);
        let Some(served) = &record.served else { return Ok(()) };
        batch.put(keys::blob_use(tenant, self.text, id, &record.id), Vec::new());
        put(batch, keys::document(tenant, id, &record.id), record)?;
        put(batch, keys::change(tenant, id, served.seq), change)
    }

    fn ended_job(&self) -> JobRecord {
        let (reused, embedded) = (self.plan.reused() as u64, self.processed.embedded);
        JobRecord { chunks_reused: Some(reused), chunks_embedded: Some(embedded), ..self.job.clone() }
    }
}

pub(super) fn superseded(error: CatalogError) -> CatalogError {
    if let CatalogError::NotFound { .. } = error { CatalogError::Superseded } else { error }
}

/// The first of so many rows that were never given.
fn next_rows(state: &mut CollectionState, count: usize) -> Row {
    let first = state.next_row;
    state.next_row = first.saturating_add(Row::try_from(count).unwrap_or(Row::MAX));
    first
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
