//! The thread that builds graphs and merges segments, while everything else goes on.

use super::super::graph::{BuildParams, GONE, Graph};
use super::State;
use super::segment::Segment;
use super::snapshot::{Served, Snapshot, merge};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A graph is merged with what has come where it is at most so many times as large. Its links are taken over, but
/// the file is written anew.
const MERGE_FACTOR: u64 = 16;
/// Beside a graph, one in so many of `exact_below` rows are due to be in one: to scan them comes on top of a walk.
const BESIDE_SHARE: u64 = 4;
/// Decides the order in which places are linked.
const SEED: u64 = 0x5eed;
/// Nice value of the thread.
const YIELDING: i32 = 10;

/// Starts the thread when there is something to do for the first time, so that a small collection costs none.
pub(super) struct Maintainer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    state: Arc<State>,
    progress: Mutex<Progress>,
    changed: Condvar,
    stop: AtomicBool,
}

#[derive(Debug, Default)]
struct Progress {
    /// Something was inserted or removed since the thread last looked.
    is_stale: bool,
    /// Somebody waits for every row to be in a graph.
    is_awaited: bool,
    is_building: bool,
    /// Building panicked or its outcome was unfit: scans serve from now on.
    has_failed: bool,
}

/// Segments to make one of.
struct Work {
    parts: Vec<Served>,
    /// It has a graph if it has more rows.
    flat_up_to: u64,
}

/// What became of a segment that was due.
enum Built {
    Sound,
    /// Its rows don't find themselves: it is not served.
    Unfit,
}

impl Maintainer {
    pub(super) fn new(state: Arc<State>) -> Self {
        let shared = Shared { state, progress: Mutex::default(), changed: Condvar::new(), stop: AtomicBool::new(false) };
        Self { shared: Arc::new(shared), thread: Mutex::default() }
    }

    /// To be called after every change.
    pub(super) fn wake(&self) {
        if next_work(&self.shared.state, &self.shared.state.snapshot(), false).is_some() {
            self.start();
        }
        self.shared.progress().is_stale = true;
        self.shared.changed.notify_all();
    }

    fn start(&self) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() {
            let shared = Arc::clone(&self.shared);
            match std::thread::Builder::new().name("vector-builder".into()).spawn(move || shared.run()) {
                Ok(handle) => *thread = Some(handle),
                Err(error) => tracing::warn!(%error, "no thread for vector graphs; scans serve"),
            }
        }
    }

    pub(super) fn is_building(&self) -> bool {
        self.shared.progress().is_building
    }

    /// Waits until nothing is left to do, with every row of a collection above `exact_below` in a graph.
    pub(super) fn wait_built(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        if next_work(&self.shared.state, &self.shared.state.snapshot(), true).is_some() {
            self.start();
        }
        let mut progress = self.shared.progress();
        progress.is_awaited = true;
        progress.is_stale = true;
        self.shared.changed.notify_all();
        while progress.is_awaited && !progress.has_failed {
            let idle = self.thread.lock().unwrap_or_else(PoisonError::into_inner).is_none();
            if idle {
                progress.is_awaited = false;
                return true;
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
            progress = self.shared.changed.wait_timeout(progress, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        !progress.has_failed
    }
}

impl Drop for Maintainer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Taken and given back, so that the thread between its check and its wait doesn't miss this.
        drop(self.shared.progress());
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            // It catches panics itself; there is nothing left to report.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn run(&self) {
        give_way();
        while let Some(is_awaited) = self.wait_for_change() {
            while let Some(work) = next_work(&self.state, &self.state.snapshot(), is_awaited) {
                self.progress().is_building = true;
                let outcome = catch_unwind(AssertUnwindSafe(|| self.rewrite(&work)));
                self.progress().is_building = false;
                if !matches!(outcome, Ok(Built::Sound)) {
                    tracing::error!("no sound vector graph could be built; scans serve");
                    self.progress().has_failed = true;
                    self.changed.notify_all();
                    return;
                }
                if self.stopped() {
                    return;
                }
            }
            let mut progress = self.progress();
            // Whoever came while we worked is served by the next round.
            progress.is_awaited &= progress.is_stale || !is_awaited;
            drop(progress);
            self.changed.notify_all();
        }
    }

    /// Whether everything is to be in a graph; `None` means stop.
    fn wait_for_change(&self) -> Option<bool> {
        let quiet = |progress: &mut Progress| !progress.is_stale && !self.stopped();
        let mut progress = self.changed.wait_while(self.progress(), quiet).unwrap_or_else(PoisonError::into_inner);
        progress.is_stale = false;
        (!self.stopped()).then_some(progress.is_awaited)
    }

    /// Makes one segment of these, with a graph and saved if it is large. Also sound when stopped.
    fn rewrite(&self, Work { parts, flat_up_to }: &Work) -> Built {
        // Before the vectors are read, so that no row belongs to a later change.
        let seq = self.state.seq.load(Ordering::Relaxed);
        let merged = merge(self.state.dimension, parts);
        let new = match merged.len() {
            0 => None,
            rows if rows as u64 <= *flat_up_to => Some(Served::new(merged)),
            _ => match self.link(merged, parts) {
                Some(linked) if !linked.finds_itself(self.state.params.ef_construction) => return Built::Unfit,
                Some(linked) => Some(self.save(linked, seq)),
                None => return Built::Sound,
            },
        };
        self.state.change(|snapshot| snapshot.replace(self.state.dimension, parts, new));
        if let Some(folder) = &self.state.folder {
            parts.iter().filter_map(|old| old.file.as_deref()).for_each(|file| folder.remove(file));
        }
        Built::Sound
    }

    /// Gives what was merged a graph; `None` when stopped.
    fn link(&self, merged: Segment, parts: &[Served]) -> Option<Segment> {
        let (began, params) = (Instant::now(), &self.state.params);
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let build = BuildParams { m: params.m, ef_construction: params.ef_construction, threads, seed: SEED };
        let old = parts.iter().filter(|part| part.has_graph()).max_by_key(|part| part.live());
        let moved: Vec<u32> = old.map_or_else(Vec::new, |old| {
            let place = |(row, _)| if old.dead.contains(row) { GONE } else { merged.rows.place_of(row).unwrap_or(GONE) };
            old.segment.vectors().map(place).collect()
        });
        let old = old.and_then(|old| old.segment.graph()).map(|graph| (graph, &moved[..]));
        let graph = Graph::build(merged.codes(), &build, old, &self.stop)?;
        tracing::info!(rows = merged.len(), orphans = graph.orphans(), seconds = began.elapsed().as_secs_f32(), "vector graph built");
        Some(merged.with_graph(graph))
    }

    /// A segment that can't be saved is served from memory, and built again after a restart.
    fn save(&self, linked: Segment, seq: u64) -> Served {
        let Some(folder) = &self.state.folder else { return Served::new(linked) };
        folder.save(&linked, seq).unwrap_or_else(|error| {
            tracing::warn!(%error, "a vector segment could not be saved");
            Served::new(linked)
        })
    }
}

/// Searches go first; threads started from here on inherit it. On Linux a nice value is a thread's own;
/// elsewhere it would be the whole process's.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, YIELDING) {
        tracing::warn!(%error, "vector graphs are built at the priority of searches");
    }
}

fn next_work(state: &State, snapshot: &Snapshot, is_awaited: bool) -> Option<Work> {
    let exact_below = state.params.exact_below as u64;
    if let Some(worn) = snapshot.segments.iter().find(|served| served.has_graph() && served.is_worn()) {
        return Some(Work { parts: vec![worn.clone()], flat_up_to: exact_below });
    }
    let (mut graphs, mut parts): (Vec<Served>, Vec<Served>) = snapshot.segments.iter().cloned().partition(Served::has_graph);
    let flat_up_to = if graphs.is_empty() { exact_below } else { exact_below / BESIDE_SHARE };
    let mut rows: u64 = parts.iter().map(Served::live).sum();
    let is_large = snapshot.live.len() > exact_below;
    if rows <= flat_up_to && !(is_awaited && is_large && rows > 0) {
        return None;
    }
    graphs.sort_by_key(Served::live);
    for graph in graphs {
        if graph.live() <= rows * MERGE_FACTOR || rows <= flat_up_to {
            rows += graph.live();
            parts.push(graph);
        }
    }
    Some(Work { parts, flat_up_to })
}
