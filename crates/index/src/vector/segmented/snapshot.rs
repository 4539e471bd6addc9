//! What a search sees: segments that don't change, and which of their rows are gone.

use super::segment::Segment;
use corpus::Row;
use roaring::RoaringBitmap;
use std::path::Path;
use std::sync::Arc;

/// Small segments are merged at once up to this size.
const SMALL_ROWS: usize = 1024;
/// A segment with more than one removed row in so many is due to be written anew.
const DEAD_SHARE: u64 = 5;

/// A segment and what was removed of it.
#[derive(Debug, Clone)]
pub(super) struct Served {
    pub(super) segment: Arc<Segment>,
    pub(super) dead: Arc<RoaringBitmap>,
    /// Where it is saved.
    pub(super) file: Option<Arc<Path>>,
}

impl Served {
    pub(super) fn new(segment: Segment) -> Self {
        Self { segment: Arc::new(segment), dead: Arc::default(), file: None }
    }

    /// Rows that can be found.
    pub(super) fn live(&self) -> u64 {
        self.segment.len() as u64 - self.dead.len()
    }

    pub(super) fn has_graph(&self) -> bool {
        self.segment.graph().is_some()
    }

    pub(super) fn is_worn(&self) -> bool {
        self.dead.len() * DEAD_SHARE > self.segment.len() as u64
    }

    fn is_small(&self) -> bool {
        !self.has_graph() && self.segment.len() <= SMALL_ROWS
    }

    /// The vectors that can be found.
    pub(super) fn vectors(&self) -> impl Iterator<Item = (Row, &[f32])> {
        self.segment.vectors().filter(|(row, _)| !self.dead.contains(*row))
    }
}

/// See the module. A row is live in one segment at most.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    pub(super) segments: Vec<Served>,
    pub(super) live: Arc<RoaringBitmap>,
}

impl Snapshot {
    /// Adds a segment of rows that are not live here; the latest small ones are merged with it.
    pub(super) fn add(&mut self, dimension: usize, segment: Segment) {
        Arc::make_mut(&mut self.live).extend(segment.rows.all());
        let mut added = Served::new(segment);
        while let Some(last) = self.segments.last().filter(|last| last.is_small() && last.segment.len() <= added.segment.len()) {
            if last.segment.len() + added.segment.len() > SMALL_ROWS {
                break;
            }
            added = Served::new(merge(dimension, &[last.clone(), added]));
            self.segments.pop();
        }
        self.segments.push(added);
    }

    /// Removes what is there of `rows`. Small segments that are worn are written anew at once.
    pub(super) fn remove(&mut self, dimension: usize, rows: &RoaringBitmap) {
        let gone = rows & &*self.live;
        if gone.is_empty() {
            return;
        }
        *Arc::make_mut(&mut self.live) -= &gone;
        self.bury(dimension, &gone);
    }

    /// Marks rows dead in whatever segments hold them.
    fn bury(&mut self, dimension: usize, rows: &RoaringBitmap) {
        for served in &mut self.segments {
            let here: RoaringBitmap = served.segment.rows.places_of(rows).map(|place| served.segment.rows.at(place)).collect();
            if here.is_empty() {
                continue;
            }
            *Arc::make_mut(&mut served.dead) |= here;
            if served.is_small() && served.is_worn() {
                *served = Served::new(merge(dimension, std::slice::from_ref(served)));
            }
        }
        self.segments.retain(|served| served.live() > 0);
    }

    /// Puts `new` in the place of the segments it was made of, and of what those were merged with meanwhile.
    pub(super) fn replace(&mut self, dimension: usize, old: &[Served], new: Option<Served>) {
        self.segments.retain(|served| !old.iter().any(|old| Arc::ptr_eq(&old.segment, &served.segment)));
        if let Some(new) = new {
            let rows: RoaringBitmap = new.segment.rows.all().iter().copied().collect();
            self.bury(dimension, &rows);
            // What was removed while it was made.
            self.segments.push(Served { dead: Arc::new(rows - &*self.live), ..new });
        }
    }

    /// Takes a segment of before, as far as its rows are in `live` and not here yet; false if nothing of it is.
    pub(super) fn find(&mut self, found: Served, live: &RoaringBitmap) -> bool {
        let rows: RoaringBitmap = found.segment.rows.all().iter().copied().collect();
        let taken = (&rows & live) - &*self.live;
        if taken.is_empty() {
            return false;
        }
        *Arc::make_mut(&mut self.live) |= &taken;
        self.segments.push(Served { dead: Arc::new(rows - taken), ..found });
        true
    }
}

/// One segment, without a graph, of what can be found in these.
pub(super) fn merge(dimension: usize, parts: &[Served]) -> Segment {
    let mut vectors: Vec<(Row, &[f32])> = parts.iter().flat_map(Served::vectors).collect();
    vectors.sort_unstable_by_key(|(row, _)| *row);
    Segment::new(dimension, vectors)
}
