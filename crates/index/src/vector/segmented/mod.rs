//! The built-in engine: segments that never change, log-structured.
//!
//! New rows become a segment at once, small ones are merged as they come; scanning them by their codes is faster
//! than any graph up to some ten thousands. One thread builds a graph over what has come together beyond that, and
//! merges the graphs as they grow (`maintain.rs`). A search sees one snapshot and waits for nobody.
//!
//! Lock order: `writing`, then `snapshot`. `progress` is never held together with another.

mod best;
mod file;
mod folder;
mod maintain;
mod mapped;
mod rows;
mod saved;
mod search;
mod segment;
mod snapshot;
#[cfg(test)]
mod tests;

pub use folder::{Inspected, SavedSegment, inspect};

use super::{Home, VectorError, VectorIndex, VectorParams, VectorQuery, VectorStats, check};
use crate::scored::Scored;
use corpus::{Embedding, EmbeddingError, Row};
use folder::Folder;
use maintain::Maintainer;
use roaring::RoaringBitmap;
use search::Search;
use segment::Segment;
use snapshot::Snapshot;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

/// Largest dimension of an embedding.
const DIMENSION_MAX: usize = 4096;
/// Rows that can be scanned in the time that one place of a walk's pool takes: the links of each lead to places
/// that lie anywhere.
const WALK_COST: u64 = 60;

/// See the module.
pub struct SegmentedIndex {
    state: Arc<State>,
    maintainer: Maintainer,
}

/// What searches, writers and the maintainer share.
struct State {
    dimension: usize,
    params: VectorParams,
    walk_cost: u64,
    /// Where segments with a graph are saved.
    folder: Option<Folder>,
    /// See [`VectorIndex::reaches`].
    seq: AtomicU64,
    snapshot: RwLock<Arc<Snapshot>>,
    /// Held by whoever makes a new snapshot of the one before.
    writing: Mutex<()>,
}

impl SegmentedIndex {
    /// An empty index.
    ///
    /// # Errors
    /// [`VectorError::Parameter`].
    pub fn new(dimension: usize, params: VectorParams) -> Result<Self, VectorError> {
        Self::with_walk_cost(dimension, params, WALK_COST)
    }

    /// With the segments that are found in `home`, see [`super::open`].
    pub(super) fn open(dimension: usize, params: VectorParams, home: Home, live: &RoaringBitmap) -> Result<Self, VectorError> {
        let seq = home.seq;
        let (folder, found) = Folder::open(home, dimension, live)?;
        Self::of(dimension, params, WALK_COST, Some((folder, found, seq)))
    }

    /// With `walk_cost` 0 graphs are walked wherever there are some, however few rows are wanted.
    pub(super) fn with_walk_cost(dimension: usize, params: VectorParams, walk_cost: u64) -> Result<Self, VectorError> {
        Self::of(dimension, params, walk_cost, None)
    }

    fn of(dimension: usize, params: VectorParams, walk_cost: u64, home: Option<(Folder, Snapshot, u64)>) -> Result<Self, VectorError> {
        params.check()?;
        check("dimension", dimension, 1, DIMENSION_MAX)?;
        let (folder, snapshot, seq) = home.map_or_else(Default::default, |(folder, snapshot, seq)| (Some(folder), snapshot, seq));
        let (snapshot, seq) = (RwLock::new(Arc::new(snapshot)), AtomicU64::new(seq));
        let state = Arc::new(State { dimension, params, walk_cost, folder, seq, snapshot, writing: Mutex::default() });
        Ok(Self { maintainer: Maintainer::new(Arc::clone(&state)), state })
    }
}

impl State {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes what searches see, all at once.
    fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Snapshot::clone(&self.snapshot());
        change(&mut next);
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }
}

impl VectorIndex for SegmentedIndex {
    fn insert(&self, mut rows: Vec<(Row, Embedding)>) -> Result<(), VectorError> {
        let dimension = self.state.dimension;
        if let Some((_, other)) = rows.iter().find(|(_, vector)| vector.len() != dimension) {
            return Err(EmbeddingError::Dimension { expected: dimension, given: other.len() }.into());
        }
        rows.sort_by_key(|(row, _)| *row);
        rows.dedup_by_key(|(row, _)| *row);
        self.state.change(|snapshot| {
            rows.retain(|(row, _)| !snapshot.live.contains(*row));
            if !rows.is_empty() {
                let vectors = rows.iter().map(|(row, vector)| (*row, &**vector));
                snapshot.add(dimension, Segment::new(dimension, vectors));
            }
        });
        self.maintainer.wake();
        Ok(())
    }

    fn remove(&self, rows: &RoaringBitmap) {
        self.state.change(|snapshot| snapshot.remove(self.state.dimension, rows));
        self.maintainer.wake();
    }

    fn search(&self, query: &[f32], ask: &VectorQuery<'_>) -> Result<Vec<Scored>, VectorError> {
        let query = Embedding::normalised(query.to_vec(), self.state.dimension)?;
        let snapshot = self.state.snapshot();
        let search = Search::new(&snapshot, query, ask, self.state.params.ef_search, self.state.walk_cost);
        Ok(search.map(|search| if ask.exact { search.run_exactly() } else { search.run() }).unwrap_or_default())
    }

    fn rows(&self) -> RoaringBitmap {
        (*self.state.snapshot().live).clone()
    }

    fn reaches(&self, seq: u64) {
        self.state.seq.fetch_max(seq, Ordering::Relaxed);
    }

    fn stats(&self) -> VectorStats {
        let snapshot = self.state.snapshot();
        let graphs = || snapshot.segments.iter().filter_map(|served| Some((served, served.segment.graph()?)));
        let in_graph = |(served, _): (&snapshot::Served, _)| served.segment.len() as u64;
        VectorStats {
            engine: if graphs().next().is_some() { "graph" } else { "exact" },
            rows: snapshot.live.len(),
            rows_in_graph: graphs().map(in_graph).sum(),
            unreachable: graphs().map(|(_, graph)| graph.unreachable() as u64).sum(),
            repaired: graphs().map(|(_, graph)| graph.orphans() as u64).sum(),
            building: self.maintainer.is_building(),
            bytes: snapshot.segments.iter().map(|served| served.segment.bytes()).sum(),
        }
    }

    fn wait_built(&self, timeout: Duration) -> bool {
        self.maintainer.wait_built(timeout)
    }
}
