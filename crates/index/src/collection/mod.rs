//! An open collection: the store's records seen through three views (attributes in memory,
//! vectors, text), searched under one row bitmap.
//!
//! Invariants:
//! - Changes are applied in the order of their sequence numbers, and only once they are durable.
//! - A row is returned only while it is live in the attribute view: a view that still holds a
//!   deleted or superseded row can't leak it.
//! - When [`Collection::applied`] is at least the number of a document's change, every one of its
//!   chunks and vectors is in search.

mod attributes;
mod postings;
mod replay;

pub use attributes::DocumentView;
pub(crate) use replay::{vector as stored_vector, vector_home};

use crate::chunks::{ChunkError, Wanted};
use crate::keys;
use crate::records::{Change, CollectionRecord, CollectionState, DocumentRecord, Unserved};
use crate::scored::Scored;
use crate::store::{Store, StoreError};
use crate::text::{Beside, Narrowed, Question, TextChange, TextError, TextHits, TextIndex, TextStats};
use crate::unserved;
use crate::vector::{VectorError, VectorIndex, VectorParams, VectorQuery, VectorStats};
use attributes::AttributeView;
use corpus::{Chunk, Embedding, EmbeddingError, Filter, Principals, Row};
use roaring::RoaringBitmap;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

/// Rows that one round of applying takes from the store at most, unless one document has more.
const ROWS_PER_ROUND: usize = 4096;
/// Looks at rows whose document changes while they are read; then they count as gone.
const READ_ATTEMPTS: usize = 4;

/// Why a collection can't be opened or searched.
#[derive(Debug, thiserror::Error)]
pub enum CollectionError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vector view failed or refused.
    #[error(transparent)]
    Vector(#[from] VectorError),
    /// The text view failed.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A stored vector is not one.
    #[error("the vector of row {row} is damaged: {source}")]
    DamagedVector {
        /// Its row.
        row: Row,
        /// What is wrong with it.
        source: EmbeddingError,
    },
    /// A stored record can't be read.
    #[error("a stored record can't be read: {0}")]
    Record(#[from] serde_json::Error),
    /// Applying a change failed; the next access opens the collection anew.
    #[error("the collection's views could not follow a change and are opened anew")]
    Stale,
}

/// A change on its way to the views.
pub(crate) struct Pending {
    pub(crate) seq: u64,
    /// The store's commit that carries it.
    pub(crate) commit: u64,
    pub(crate) change: Change,
    /// The document after the change; `None` if it is gone.
    pub(crate) record: Option<DocumentRecord>,
    /// What goes from the store once nobody sees it.
    pub(crate) retired: Option<Retired>,
}

/// What only the version before had, and where the store's note of it stands.
pub(crate) struct Retired {
    pub(crate) key: Vec<u8>,
    pub(crate) note: Unserved,
}

/// A chunk with the document it belongs to.
pub type FoundChunk = (Chunk, Arc<DocumentView>);

/// How far the views are.
#[derive(Debug, Clone, Copy)]
struct Progress {
    applied: u64,
    is_stale: bool,
    /// Who waits for more.
    waiting: usize,
}

/// See the module.
pub struct Collection {
    record: CollectionRecord,
    store: Arc<dyn Store>,
    attributes: RwLock<AttributeView>,
    vectors: Box<dyn VectorIndex>,
    text: TextIndex,
    queue: Mutex<VecDeque<Pending>>,
    /// Held while changes are applied, so that they stay in order.
    applying: Mutex<()>,
    progress: Mutex<Progress>,
    progressed: Condvar,
}

impl Collection {
    /// Opens the views in `directory` and brings them up to the store.
    pub(crate) fn open(
        store: Arc<dyn Store>,
        record: CollectionRecord,
        directory: &Path,
        params: &VectorParams,
    ) -> Result<Self, CollectionError> {
        let opened = replay::open(store.as_ref(), &record, directory, params)?;
        Ok(Self {
            record,
            store,
            attributes: RwLock::new(opened.attributes),
            vectors: opened.vectors,
            text: opened.text,
            queue: Mutex::default(),
            applying: Mutex::default(),
            progress: Mutex::new(Progress { applied: opened.seq, is_stale: false, waiting: 0 }),
            progressed: Condvar::new(),
        })
    }

    /// What was pinned when the collection was made.
    #[must_use]
    pub fn record(&self) -> &CollectionRecord {
        &self.record
    }

    /// Number of the last change that search sees.
    #[must_use]
    pub fn applied(&self) -> u64 {
        lock(&self.progress).applied
    }

    /// The counters as last committed, whether or not search sees that already; `None` for a collection that is gone.
    ///
    /// # Errors
    /// A store error; a damaged record is reported.
    pub fn committed(&self) -> Result<Option<CollectionState>, CollectionError> {
        let state = self.store.get(&keys::state(&self.record.tenant, &self.record.id))?;
        Ok(state.map(|state| serde_json::from_slice(&state)).transpose()?)
    }

    /// Waits until search sees change `seq`; false after `timeout`.
    ///
    /// # Errors
    /// [`CollectionError::Stale`] when the views can't follow.
    pub fn wait_applied(&self, seq: u64, timeout: Duration) -> Result<bool, CollectionError> {
        let mut progress = lock(&self.progress);
        progress.waiting += 1;
        let is_early = |progress: &mut Progress| progress.applied < seq && !progress.is_stale;
        let waited = self.progressed.wait_timeout_while(progress, timeout, is_early);
        let (mut progress, _) = waited.unwrap_or_else(PoisonError::into_inner);
        progress.waiting -= 1;
        if progress.applied < seq && progress.is_stale { Err(CollectionError::Stale) } else { Ok(progress.applied >= seq) }
    }

    /// Whether somebody waits for the views.
    pub(crate) fn is_awaited(&self) -> bool {
        lock(&self.progress).waiting > 0
    }

    /// The live rows that pass the filter and may be read by these principals.
    #[must_use]
    pub fn allowed(&self, filter: Option<&Filter>, principals: &Principals) -> Arc<RoaringBitmap> {
        self.read_attributes().allowed(filter, principals)
    }

    /// The nearest `ask.k` rows by cosine similarity, best first, ties by row.
    ///
    /// # Errors
    /// [`CollectionError::Vector`] for a query of another dimension.
    pub fn vector_search(&self, query: &Embedding, ask: &VectorQuery<'_>) -> Result<Vec<Scored>, CollectionError> {
        Ok(self.vectors.search(query, ask)?)
    }

    /// Takes a query apart, for [`Collection::text_search`] and [`Collection::narrow`] ([`TextIndex::question`]).
    ///
    /// # Errors
    /// [`CollectionError::Text`].
    pub fn question(&self, query: &str) -> Result<Question, CollectionError> {
        Ok(self.text.question(query)?)
    }

    /// The best `k` rows by BM25, best first, ties by row ([`TextIndex::search`]).
    ///
    /// # Errors
    /// [`CollectionError::Text`].
    pub fn text_search(&self, question: &Question, k: usize, allowed: &RoaringBitmap) -> Result<TextHits, CollectionError> {
        // Nobody who writes waits for a search.
        let of = |row: Row| self.read_attributes().owner(row).map_or([None, None], |view| view.rows.around(row));
        let mean = self.read_attributes().neighbours_mean();
        Ok(self.text.search(question, k, allowed, Some(Beside { of: &of, mean }))?)
    }

    /// What the signs of a question leave of `allowed` ([`TextIndex::narrow`]).
    ///
    /// # Errors
    /// [`CollectionError::Text`].
    pub fn narrow(&self, question: &Question, allowed: &RoaringBitmap) -> Result<Option<Narrowed>, CollectionError> {
        Ok(self.text.narrow(question, allowed)?)
    }

    /// How many rows the text index holds, and in how many of them each word occurs ([`TextIndex::occurrences`]).
    ///
    /// # Errors
    /// [`CollectionError::Text`].
    pub fn occurrences(&self, words: &[&str]) -> Result<(u64, Vec<u64>), CollectionError> {
        Ok(self.text.occurrences(words)?)
    }

    /// The chunks at these rows with the documents they belong to; `None` where a row is not live (any more).
    /// All chunks of one document are of one version.
    ///
    /// # Errors
    /// A store error; a damaged record is reported, never served.
    pub fn chunks(&self, rows: &[Row]) -> Result<Vec<Option<FoundChunk>>, CollectionError> {
        let mut views = self.views_of(rows);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let found = self.chunks_as_seen(rows, &views)?;
            // A version that was replaced between the two looks has lost its places: look again, at the new one.
            let is_whole = views.iter().zip(&found).all(|(view, found)| view.is_none() || found.is_some());
            if is_whole || attempts == READ_ATTEMPTS {
                return Ok(found);
            }
            views = self.views_of(rows);
        }
    }

    fn views_of(&self, rows: &[Row]) -> Vec<Option<Arc<DocumentView>>> {
        let attributes = self.read_attributes();
        rows.iter().map(|row| attributes.owner(*row).cloned()).collect()
    }

    fn chunks_as_seen(&self, rows: &[Row], views: &[Option<Arc<DocumentView>>]) -> Result<Vec<Option<FoundChunk>>, CollectionError> {
        let wanted = |(row, view): (&Row, &'_ Option<Arc<DocumentView>>)| {
            let view = view.as_ref()?;
            Some((Arc::clone(view), *row, view.rows.position(*row)?))
        };
        let places: Vec<_> = rows.iter().zip(views).map(wanted).collect();
        let live = places.iter().flatten();
        let wanted: Vec<_> =
            live.map(|(view, row, ordinal)| Wanted { row: *row, document: &view.id, version: view.version, ordinal: *ordinal }).collect();
        let mut read = crate::chunks::read(self.store.as_ref(), &self.record.tenant, &self.record.id, &wanted)?.into_iter();
        let found = places.iter().map(|place| {
            let (view, _, _) = place.as_ref()?;
            Some((read.next()??, Arc::clone(view)))
        });
        Ok(found.collect())
    }

    /// Up to `distance` rows before and after `row` in its document, in document order.
    #[must_use]
    pub fn neighbours(&self, row: Row, distance: usize) -> (Vec<Row>, Vec<Row>) {
        let Some(view) = self.read_attributes().owner(row).cloned() else { return Default::default() };
        let Some(at) = view.rows.position(row) else { return Default::default() };
        let first = at.saturating_sub(distance);
        let before = view.rows.iter().skip(first).take(at - first).collect();
        let after = view.rows.iter().skip(at + 1).take(distance).collect();
        (before, after)
    }

    /// How many of these rows the views still hold, live or not: the text index as committed, then the vectors.
    ///
    /// # Errors
    /// [`CollectionError::Text`] or [`CollectionError::Vector`].
    pub fn remaining(&self, rows: &RoaringBitmap) -> Result<(u64, u64), CollectionError> {
        let mut any = vec![0.0; self.record.model.dimension];
        if let Some(first) = any.first_mut() {
            *first = 1.0;
        }
        let k = usize::try_from(rows.len()).unwrap_or(usize::MAX);
        let vectors = self.vectors.search(&any, &VectorQuery { k, ef: None, exact: true, allowed: rows })?;
        Ok((self.text.count(rows)?, vectors.len() as u64))
    }

    /// The stored vector of a live row.
    ///
    /// # Errors
    /// A store error or a damaged vector.
    pub fn vector(&self, row: Row) -> Result<Option<Embedding>, CollectionError> {
        if !self.read_attributes().is_live(row) {
            return Ok(None);
        }
        replay::vector(self.store.as_ref(), &self.record, row)
    }

    /// Live rows.
    #[must_use]
    pub fn live(&self) -> Arc<RoaringBitmap> {
        self.read_attributes().live()
    }

    /// How the vector and text views stand.
    #[must_use]
    pub fn stats(&self) -> (VectorStats, TextStats) {
        (self.vector_stats(), self.text.stats())
    }

    /// How the vector view stands.
    #[must_use]
    pub fn vector_stats(&self) -> VectorStats {
        self.vectors.stats()
    }

    /// Puts a change behind those that wait; called in the order of sequence numbers.
    pub(crate) fn publish(&self, pending: Pending) {
        lock(&self.queue).push_back(pending);
    }

    /// Nothing more is applied: the collection is deleted.
    pub(crate) fn retire(&self) {
        lock(&self.progress).is_stale = true;
        self.progressed.notify_all();
    }

    /// Whether applying failed, so that the collection must be opened anew.
    pub(crate) fn is_stale(&self) -> bool {
        lock(&self.progress).is_stale
    }

    /// Whether nothing waits to be applied.
    pub(crate) fn is_settled(&self) -> bool {
        lock(&self.queue).is_empty() && self.applying.try_lock().is_ok()
    }

    /// Applies what waits now, round by round; what comes meanwhile is for the next call.
    pub(crate) fn apply_pending(&self) {
        let _in_order = lock(&self.applying);
        let Some(target) = lock(&self.queue).back().map(|pending| pending.seq) else { return };
        let mut seq = 0;
        while seq < target {
            let round = self.next_round();
            let Some(last) = round.last() else { return };
            seq = last.seq;
            let outcome = if self.is_stale() { Err(CollectionError::Stale) } else { self.apply_guarded(&round) };
            let mut progress = lock(&self.progress);
            match outcome {
                Ok(()) => progress.applied = seq,
                Err(error) => {
                    if !progress.is_stale {
                        tracing::error!(collection = %self.record.id, %error, "the views can't follow; they are opened anew from the store");
                    }
                    progress.is_stale = true;
                }
            }
            self.progressed.notify_all();
        }
    }

    /// A panic in an index must not lose the round: the collection is opened anew instead.
    fn apply_guarded(&self, round: &[Pending]) -> Result<(), CollectionError> {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.apply(round))).unwrap_or(Err(CollectionError::Stale))
    }

    fn next_round(&self) -> Vec<Pending> {
        let mut queue = lock(&self.queue);
        let mut rows = 0;
        let mut count = 0;
        for pending in queue.iter() {
            rows += pending.change.added.len();
            if count > 0 && rows > ROWS_PER_ROUND {
                break;
            }
            count += 1;
        }
        queue.drain(..count).collect()
    }

    /// One round: new rows into both indexes, then every document switched over, then old rows out.
    fn apply(&self, round: &[Pending]) -> Result<(), CollectionError> {
        let (Some(seq), Some(commit)) = (round.last().map(|p| p.seq), round.iter().map(|p| p.commit).max()) else { return Ok(()) };
        self.store.durable(commit)?;
        let added: Vec<Row> = round.iter().flat_map(|pending| pending.change.added.iter()).collect();
        let removed: RoaringBitmap = round.iter().flat_map(|pending| pending.change.removed.iter()).collect();
        self.vectors.reaches(seq);
        let mut changes = replay::insert_rows(self.store.as_ref(), &self.record, &added, self.vectors.as_ref())?;
        changes.extend(removed.iter().map(|row| TextChange::Remove { row }));
        self.text.apply(changes, seq)?;
        self.switch_documents(round);
        self.vectors.remove(&removed);
        round.iter().try_for_each(|pending| self.remove_retired(pending))
    }

    fn remove_retired(&self, pending: &Pending) -> Result<(), CollectionError> {
        let Some(Retired { key, note }) = &pending.retired else { return Ok(()) };
        Ok(unserved::remove(self.store.as_ref(), &self.record.tenant, &self.record.id, key.clone(), note)?)
    }

    fn switch_documents(&self, round: &[Pending]) {
        let mut attributes = self.attributes.write().unwrap_or_else(PoisonError::into_inner);
        for pending in round {
            match (&pending.record, &pending.change.document) {
                (Some(record), _) => attributes.put(record),
                (None, Some(document)) => attributes.remove(document),
                (None, None) => {}
            }
        }
    }

    fn read_attributes(&self) -> RwLockReadGuard<'_, AttributeView> {
        self.attributes.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<ChunkError> for CollectionError {
    fn from(error: ChunkError) -> Self {
        match error {
            ChunkError::Store(error) => Self::Store(error),
            ChunkError::Record(error) => Self::Record(error),
        }
    }
}

/// A panic while the lock was held leaves these plain values whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
