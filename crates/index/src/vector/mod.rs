//! The vector index: which live, allowed rows lie nearest to a query by cosine similarity.
//!
//! A view: it holds only what it is given and can be thrown away. Three engines stand behind
//! [`VectorIndex`]: segments with graphs of our own, saved on disk (`auto`), a plain scan of the
//! vectors (`exact`), and an hnsw_rs graph over the same matrix as that scan.
//!
//! Invariants: a row is findable from the moment `insert` returns and gone from the moment
//! `remove` returns; a row that is not allowed is never returned; equal input gives equal output.

mod codes;
#[cfg(test)]
mod contract;
mod exact;
mod graph;
mod hnsw;
mod kernel;
mod memory;
mod segmented;

pub use exact::ExactIndex;
pub use hnsw::HnswIndex;
pub use segmented::{Inspected, SavedSegment, SegmentedIndex, inspect};

use crate::scored::Scored;
use corpus::{Embedding, EmbeddingError, Row};
use roaring::RoaringBitmap;
use std::path::PathBuf;
use std::time::Duration;

/// Why the vector index refused.
#[derive(Debug, thiserror::Error)]
pub enum VectorError {
    /// A vector that can't be one of this collection: its dimension, or not finite, or zero.
    #[error(transparent)]
    Embedding(#[from] EmbeddingError),
    /// The folder for the index's files.
    #[error("the folder of the vector index: {0}")]
    Home(#[from] std::io::Error),
    /// A parameter outside what the engine can take.
    #[error("{name} is {given}; it must be between {min} and {max}")]
    Parameter {
        /// The field of [`VectorParams`], or `dimension`.
        name: &'static str,
        /// Its value.
        given: usize,
        /// Smallest allowed.
        min: usize,
        /// Largest allowed.
        max: usize,
    },
}

/// What to look for besides the vector.
#[derive(Debug, Clone, Copy)]
pub struct VectorQuery<'a> {
    /// Most rows to return.
    pub k: usize,
    /// Width of the graph search; `None` takes the engine's default. Raised to `k` if smaller.
    pub ef: Option<usize>,
    /// Scan instead of using the graph: recall 1.
    pub exact: bool,
    /// The only rows that may be returned.
    pub allowed: &'a RoaringBitmap,
}

/// Figures for metrics.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct VectorStats {
    /// `exact`, `graph` or `hnsw_rs`: what would serve an unfiltered search now.
    pub engine: &'static str,
    /// Rows that can be found.
    pub rows: u64,
    /// Rows in the serving graph, removed ones included.
    pub rows_in_graph: u64,
    /// Rows that no walk through a graph can come to. The engines keep it at 0: what no link
    /// leads to is scanned, and counted in `repaired`.
    pub unreachable: u64,
    /// Points of the graph that it could not reach or that did not find themselves when it was
    /// attested; they are scanned in every search.
    pub repaired: u64,
    /// Whether a graph is being built or extended.
    pub building: bool,
    /// Bytes in RAM, the graph's part estimated.
    pub bytes: usize,
}

/// Rows by vector. Every method may be called from any thread at any time.
///
/// Edges: an empty index, `k` 0 or nothing allowed give no hits; `k` above the number of rows
/// gives them all; a row that is there already is left as it is, because a row is never given
/// twice (so replays do no harm); removing an absent row does nothing.
pub trait VectorIndex: Send + Sync {
    /// Adds rows; findable on return.
    ///
    /// # Errors
    /// [`VectorError::Embedding`] if a vector has another dimension than the index; then none is added.
    fn insert(&self, rows: Vec<(Row, Embedding)>) -> Result<(), VectorError>;

    /// Removes rows; never returned by a search that starts after this.
    fn remove(&self, rows: &RoaringBitmap);

    /// The best live and allowed rows by cosine similarity (-1 to 1 up to rounding), best first,
    /// ties by row ascending. The query need not have unit length.
    ///
    /// # Errors
    /// [`VectorError::Embedding`] if the query has another dimension, is not finite or is zero.
    fn search(&self, query: &[f32], ask: &VectorQuery<'_>) -> Result<Vec<Scored>, VectorError>;

    /// The rows that can be found.
    fn rows(&self) -> RoaringBitmap;

    /// Tells that rows inserted from now on may belong to changes up to `seq`.
    fn reaches(&self, _seq: u64) {}

    /// Figures for metrics.
    fn stats(&self) -> VectorStats;

    /// Asks for everything inserted so far to be taken into the graph now rather than when it
    /// pays, and waits for it; for tests and benchmarks. False if it took longer than `timeout`
    /// or can't be done. An engine without a graph is always ready.
    fn wait_built(&self, _timeout: Duration) -> bool {
        true
    }
}

/// Which engine serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// Our own: scans up to `exact_below` live rows, graphs besides above.
    #[default]
    Auto,
    /// Always the exact scan.
    Exact,
    /// The hnsw_rs graph from the first row on.
    HnswRs,
}

/// How an index is built and searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VectorParams {
    /// Which engine serves.
    pub engine: Engine,
    /// Live rows up to which [`Engine::Auto`] builds no graph.
    pub exact_below: usize,
    /// Links of a point in the upper layers, twice as many in the lowest; 2 to 128.
    pub m: usize,
    /// Candidates looked at for the links of a new point; 1 to 4,096.
    pub ef_construction: usize,
    /// Default width of a search; 1 to 4,096.
    pub ef_search: usize,
}

impl Default for VectorParams {
    fn default() -> Self {
        Self::of(Engine::default())
    }
}

impl VectorParams {
    /// The defaults of an engine. hnsw_rs needs more candidates for the recall of ours.
    #[must_use]
    pub fn of(engine: Engine) -> Self {
        let (m, ef_construction) = if engine == Engine::HnswRs { (16, 200) } else { (20, 100) };
        Self { engine, exact_below: 20_000, m, ef_construction, ef_search: 64 }
    }

    /// hnsw_rs ends the process above 256 links and divides by zero at 1: checked before it sees them.
    fn check(&self) -> Result<(), VectorError> {
        check("m", self.m, 2, 128)?;
        check("ef_construction", self.ef_construction, 1, EF_MAX)?;
        check("ef_search", self.ef_search, 1, EF_MAX)
    }
}

/// Widest graph search.
const EF_MAX: usize = 4096;

fn check(name: &'static str, given: usize, min: usize, max: usize) -> Result<(), VectorError> {
    if (min..=max).contains(&given) { Ok(()) } else { Err(VectorError::Parameter { name, given, min, max }) }
}

/// The instructions that scores are computed with on this machine, for reports.
#[must_use]
pub fn kernel_name() -> &'static str {
    kernel::name()
}

/// Where an index leaves files to find them again, and what makes them its own.
#[derive(Debug, Clone)]
pub struct Home {
    /// A folder of its own; made if it is missing. Everything in it can be thrown away.
    pub directory: PathBuf,
    /// Names the collection and the model: files of another one are not taken.
    pub collection: String,
    /// Number of the last change in the store: files that know of a later one are not taken.
    pub seq: u64,
}

/// An index for vectors of `dimension` components, with what it finds in its `home` of the rows that are `live`; the
/// rest is to be inserted.
///
/// # Errors
/// [`VectorError::Parameter`]; [`VectorError::Home`] if the folder can't be made or read.
pub fn open(
    dimension: usize,
    params: &VectorParams,
    home: Option<Home>,
    live: &RoaringBitmap,
) -> Result<Box<dyn VectorIndex>, VectorError> {
    Ok(match (params.engine, home) {
        (Engine::Exact, _) => Box::new(ExactIndex::new(dimension)?),
        (Engine::HnswRs, _) => Box::new(HnswIndex::new(dimension, params.clone())?),
        (Engine::Auto, None) => Box::new(SegmentedIndex::new(dimension, params.clone())?),
        (Engine::Auto, Some(home)) => Box::new(SegmentedIndex::open(dimension, params.clone(), home, live)?),
    })
}
