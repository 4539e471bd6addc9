//! The second engine: an hnsw_rs graph over the exact matrix.
//!
//! One mechanism keeps it right: **only an attested graph is served, and a served graph doesn't
//! change.** One feeder thread builds a graph to the side; to extend one it takes it out of
//! service, adds the new rows, attests it and puts it back. While there is no graph in service
//! the exact scan answers, so insert and search never overlap and no search ever waits for a
//! build. Rows that the graph doesn't hold yet, and those it holds but can't find, are scanned
//! and merged in every search.
//!
//! Removed rows stay in the graph and are passed over; when they are more than a fifth, a new
//! graph is built beside the old one, which serves until then.
//!
//! Lock order: `serving`, then `matrix`. `progress` is never held together with another.

mod reach;

use super::exact::SharedMatrix;
use super::{EF_MAX, Engine, VectorError, VectorIndex, VectorParams, VectorQuery, VectorStats};
use crate::scored::{Scored, TopK};
use corpus::{Embedding, Row};
use reach::Graph;
use roaring::RoaringBitmap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

/// Inner products of a scan that one unit of `ef * m` of graph search costs as much as: following
/// a link is a few cache misses, scanning is none. An estimate from hnsw_rs at 100,000 × 384
/// (about 0.45 ms at width 64) against some 70 ns a scanned row; so up to some 6,000 wanted rows
/// the scan is taken to be the faster one.
const HOP_COST: u64 = 6;
/// New rows that are worth a pass over the graph: each pass attests every point anew.
const TAIL_MIN: u64 = 1_000;
/// The same as a share of the graph: one in so many.
const TAIL_SHARE: u64 = 10;
/// A graph with more than one removed row in so many is built anew.
const DEAD_SHARE: u64 = 5;
/// Vectors copied out of the matrix at a time.
const FEED_ROWS: usize = 256;

/// The engine.
pub struct HnswIndex {
    shared: Arc<Shared>,
    /// Started when the first graph is due, so that a small collection costs no thread.
    feeder: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    dimension: usize,
    params: VectorParams,
    hop_cost: u64,
    matrix: SharedMatrix,
    serving: RwLock<Option<Graph>>,
    progress: Mutex<Progress>,
    changed: Condvar,
    stop: AtomicBool,
}

#[derive(Default)]
struct Progress {
    /// Something was inserted or removed since the feeder last looked.
    is_stale: bool,
    /// Somebody waits for the whole tail to be taken in.
    is_awaited: bool,
    is_building: bool,
    /// hnsw_rs panicked: the exact scan serves from now on.
    has_failed: bool,
}

/// What the feeder does next.
enum Work {
    /// A new graph from the matrix; the old one serves meanwhile.
    Build,
    /// New rows into the graph, out of service meanwhile.
    Extend,
    /// The collection has become small.
    Discard,
}

impl HnswIndex {
    /// An empty index.
    ///
    /// # Errors
    /// [`VectorError::Parameter`].
    pub fn new(dimension: usize, params: VectorParams) -> Result<Self, VectorError> {
        Self::with_hop_cost(dimension, params, HOP_COST)
    }

    /// With `hop_cost` 0 the graph serves whenever there is one, however few rows are wanted.
    pub(super) fn with_hop_cost(dimension: usize, mut params: VectorParams, hop_cost: u64) -> Result<Self, VectorError> {
        params.check()?;
        if params.engine == Engine::HnswRs {
            params.exact_below = 0;
        }
        let shared = Shared {
            dimension,
            params,
            hop_cost,
            matrix: SharedMatrix::new(dimension)?,
            serving: RwLock::new(None),
            progress: Mutex::default(),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
        };
        Ok(Self { shared: Arc::new(shared), feeder: Mutex::new(None) })
    }

    /// Wakes the feeder; starts it if a graph is due for the first time. Without a thread the
    /// exact scan serves on.
    fn wake_feeder(&self) {
        let is_due = self.shared.matrix.read().live().len() > self.shared.params.exact_below as u64;
        let mut feeder = self.feeder.lock().unwrap_or_else(PoisonError::into_inner);
        if feeder.is_none() && is_due {
            let shared = Arc::clone(&self.shared);
            match std::thread::Builder::new().name("vector-feeder".into()).spawn(move || shared.feed()) {
                Ok(handle) => *feeder = Some(handle),
                Err(error) => tracing::warn!(%error, "no thread for the vector graph; the exact scan serves"),
            }
        }
        drop(feeder);
        self.shared.progress().is_stale = true;
        self.shared.changed.notify_all();
    }
}

impl VectorIndex for HnswIndex {
    fn insert(&self, rows: Vec<(Row, Embedding)>) -> Result<(), VectorError> {
        self.shared.matrix.write().insert(&rows)?;
        self.wake_feeder();
        Ok(())
    }

    fn remove(&self, rows: &RoaringBitmap) {
        self.shared.matrix.write().remove(rows);
        self.wake_feeder();
    }

    fn search(&self, query: &[f32], ask: &VectorQuery<'_>) -> Result<Vec<Scored>, VectorError> {
        self.shared.search(query, ask)
    }

    fn rows(&self) -> RoaringBitmap {
        self.shared.matrix.read().live().clone()
    }

    fn stats(&self) -> VectorStats {
        self.shared.stats()
    }

    fn wait_built(&self, timeout: Duration) -> bool {
        if self.feeder.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            return self.shared.matrix.read().live().len() <= self.shared.params.exact_below as u64;
        }
        let mut progress = self.shared.progress();
        progress.is_awaited = true;
        progress.is_stale = true;
        self.shared.changed.notify_all();
        let waiting = |progress: &mut Progress| progress.is_awaited && !progress.has_failed;
        let ended = self.shared.changed.wait_timeout_while(progress, timeout, waiting);
        let (progress, _) = ended.unwrap_or_else(PoisonError::into_inner);
        !progress.is_awaited && !progress.has_failed
    }
}

impl Drop for HnswIndex {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Taken and given back, so that a feeder between its check and its wait doesn't miss this.
        drop(self.shared.progress());
        self.shared.changed.notify_all();
        if let Some(feeder) = self.feeder.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            // It catches panics itself; there is nothing left to report.
            let _ = feeder.join();
        }
    }
}

/// Searching.
impl Shared {
    fn search(&self, query: &[f32], ask: &VectorQuery<'_>) -> Result<Vec<Scored>, VectorError> {
        // Not `read`: whoever finds the graph being swapped scans instead of waiting.
        let serving = if ask.exact { None } else { self.serving.try_read().ok() };
        let matrix = self.matrix.read();
        let query = matrix.check_query(query)?;
        let wanted = ask.allowed & matrix.live();
        let mut top = TopK::new(ask.k);
        if let Some(graph) = serving.as_ref().and_then(|slot| slot.as_ref())
            && let Some(ef) = self.graph_width(graph, &wanted, ask)
        {
            let reached = &wanted & graph.findable();
            for row in graph.beam(&query, ef).into_iter().filter(|row| reached.contains(*row)) {
                // Scored by the matrix, so that both engines give a row the same score to the bit.
                if let Some(vector) = matrix.vector(row) {
                    top.push(row, super::kernel::dot(&query, vector));
                }
            }
            matrix.scan(&query, &(&wanted - graph.findable()), &mut top);
            if top.len() as u64 >= wanted.len().min(ask.k as u64) {
                return Ok(top.into_sorted());
            }
            top = TopK::new(ask.k);
        }
        matrix.scan(&query, &wanted, &mut top);
        Ok(top.into_sorted())
    }

    /// The beam that holds `ef` wanted rows if they lie among the others at random; `None` if a
    /// scan of the wanted rows is cheaper.
    fn graph_width(&self, graph: &Graph, wanted: &RoaringBitmap, ask: &VectorQuery<'_>) -> Option<usize> {
        let reachable = wanted.intersection_len(graph.findable());
        let ef = ask.ef.unwrap_or(self.params.ef_search).clamp(1, EF_MAX).max(ask.k) as u64;
        let width = ef.checked_mul(graph.rows().len())?.div_ceil(reachable.max(1));
        let cost = width.checked_mul(self.params.m as u64 * self.hop_cost)?;
        if reachable == 0 || cost > reachable { None } else { usize::try_from(width.min(graph.rows().len())).ok() }
    }

    fn stats(&self) -> VectorStats {
        let is_building = self.progress().is_building;
        let serving = self.serving.read().unwrap_or_else(PoisonError::into_inner);
        let matrix = self.matrix.read();
        let graph = serving.as_ref();
        let repaired = graph.map_or(0, |graph| (graph.rows() - graph.findable()).intersection_len(matrix.live()));
        VectorStats {
            engine: if graph.is_some() { "hnsw_rs" } else { "exact" },
            rows: matrix.live().len(),
            rows_in_graph: graph.map_or(0, |graph| graph.rows().len()),
            unreachable: 0,
            repaired,
            building: is_building,
            bytes: matrix.bytes() + graph.map_or(0, Graph::bytes),
        }
    }
}

/// Building, all on the feeder's thread.
impl Shared {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn feed(&self) {
        while let Some(is_awaited) = self.wait_for_change() {
            while let Some(work) = self.next_work(is_awaited) {
                self.progress().is_building = true;
                if catch_unwind(AssertUnwindSafe(|| self.perform(&work))).is_err() {
                    tracing::error!("the vector graph could not be built; the exact scan serves");
                    self.progress().has_failed = true;
                    self.changed.notify_all();
                    self.progress().is_building = false;
                    return;
                }
                if self.stopped() {
                    return;
                }
            }
            let mut progress = self.progress();
            progress.is_building = false;
            // Whoever came while we worked is served by the next round.
            progress.is_awaited &= progress.is_stale || !is_awaited;
            drop(progress);
            self.changed.notify_all();
        }
    }

    /// Whether the whole tail is asked for; `None` means stop.
    fn wait_for_change(&self) -> Option<bool> {
        let quiet = |progress: &mut Progress| !progress.is_stale && !self.stopped();
        let mut progress = self.changed.wait_while(self.progress(), quiet).unwrap_or_else(PoisonError::into_inner);
        progress.is_stale = false;
        (!self.stopped()).then_some(progress.is_awaited)
    }

    fn next_work(&self, is_awaited: bool) -> Option<Work> {
        let serving = self.serving.read().unwrap_or_else(PoisonError::into_inner);
        let matrix = self.matrix.read();
        let is_large = matrix.live().len() > self.params.exact_below as u64;
        let Some(graph) = serving.as_ref() else { return is_large.then_some(Work::Build) };
        let kept = graph.rows().intersection_len(matrix.live());
        if (graph.rows().len() - kept) * DEAD_SHARE > graph.rows().len() {
            return Some(if is_large { Work::Build } else { Work::Discard });
        }
        let tail = matrix.live().len() - kept;
        let is_worth_it = tail > TAIL_MIN.max(graph.rows().len() / TAIL_SHARE);
        (is_worth_it || is_awaited && tail > 0).then_some(Work::Extend)
    }

    fn perform(&self, work: &Work) {
        let taken = match work {
            Work::Build => None,
            Work::Extend | Work::Discard => self.swap(None),
        };
        if matches!(work, Work::Discard) {
            return;
        }
        let expected = usize::try_from(self.matrix.read().live().len()).unwrap_or_default();
        let mut graph = taken.unwrap_or_else(|| Graph::new(&self.params, self.dimension, expected));
        self.take_in_tail(&mut graph);
        graph.attest(self.params.ef_search, &self.stop);
        tracing::info!(rows = graph.rows().len(), repaired = graph.rows().len() - graph.findable().len(), "vector graph attested");
        self.swap(Some(graph));
    }

    fn swap(&self, graph: Option<Graph>) -> Option<Graph> {
        std::mem::replace(&mut *self.serving.write().unwrap_or_else(PoisonError::into_inner), graph)
    }

    /// Inserts every live row that the graph doesn't hold, also those that come while it works.
    fn take_in_tail(&self, graph: &mut Graph) {
        loop {
            let batch = self.next_batch(graph);
            if batch.is_empty() {
                return;
            }
            for (row, vector) in batch {
                if self.stopped() {
                    return;
                }
                graph.insert(row, &vector);
            }
        }
    }

    fn next_batch(&self, graph: &Graph) -> Vec<(Row, Vec<f32>)> {
        let matrix = self.matrix.read();
        let tail = matrix.live() - graph.rows();
        tail.iter().take(FEED_ROWS).filter_map(|row| Some((row, matrix.vector(row)?.to_vec()))).collect()
    }
}
