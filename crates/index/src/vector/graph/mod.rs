//! A graph over coded vectors that never changes once it is built.
//!
//! One layer. A search starts at the best few of a sample that is scanned first: the sample's codes lie side by
//! side, so that scanning some hundreds of them costs less than the few dozen scattered ones that upper layers
//! would need. Places that no link leads to join the sample, so every place can be reached.

mod build;
mod links;
mod walk;

pub(super) use build::{BuildParams, GONE};
pub(super) use walk::{Candidate, Walk};

use super::codes::{Codes, QueryCodes};
use super::kernel::Block;
use build::Old;
use links::Links;
use serde::{Deserialize, Serialize};
use std::sync::atomic::AtomicBool;

/// Places in the sample.
const SAMPLE: usize = 512;
/// Links are taken over until one place in so many is lost: recall falls a little each time.
const LOST_SHARE: usize = 5;
/// Where a search starts.
const STARTS: usize = 4;

/// See the module.
#[derive(Debug)]
pub(super) struct Graph {
    links: Links,
    /// Places of the sample.
    entries: Vec<u32>,
    /// Their codes, side by side.
    entry_codes: Codes,
    counts: Counts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    /// How many places no link led to.
    orphans: usize,
    /// How many still can't be reached.
    unreachable: usize,
    /// How many places were gone when older graphs were taken over.
    lost: usize,
}

/// What is stored of a graph besides its links and entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shape {
    degree: usize,
    pub(super) entries: usize,
    counts: Counts,
}

impl Shape {
    /// Blocks of the links of so many places.
    pub(super) fn slot_blocks(&self, places: usize) -> usize {
        Links::slot_blocks(places, self.degree)
    }
}

impl Graph {
    /// Links all places of `codes`; `None` when stopped. Of `old`, a graph of before with the new place of each of its
    /// places or [`GONE`], it takes what it can use.
    pub(super) fn build(codes: &Codes, params: &BuildParams, old: Option<(&Self, &[u32])>, stop: &AtomicBool) -> Option<Self> {
        let old = old.and_then(|(graph, moved)| Some((Old { links: &graph.links, moved }, graph.lost_with(moved)?)));
        let (old, lost) = old.filter(|(old, _)| old.links.degree() == 2 * params.m).unzip();
        let (links, order) = build::build(codes, params, old, stop)?;
        let mut entries: Vec<u32> = order.into_iter().take(SAMPLE).collect();
        let orphans = unreachable(&links, &entries);
        entries.extend(&orphans);
        let unreachable = unreachable(&links, &entries).len();
        let counts = Counts { orphans: orphans.len(), unreachable, lost: lost.unwrap_or_default() };
        Some(Self::with_entries(codes, links, entries, counts))
    }

    /// Places lost by now without those that did not move; nothing if too many, so that links have to be found anew.
    fn lost_with(&self, moved: &[u32]) -> Option<usize> {
        let lost = self.counts.lost + moved.iter().filter(|place| **place == GONE).count();
        (lost * LOST_SHARE <= moved.len()).then_some(lost)
    }

    fn with_entries(codes: &Codes, links: Links, entries: Vec<u32>, counts: Counts) -> Self {
        let mut entry_codes = Codes::with_capacity(codes.dimension(), entries.len());
        entries.iter().for_each(|place| entry_codes.push_from(codes, *place));
        Self { links, entries, entry_codes, counts }
    }

    /// Of the parts that [`Self::parts`] gave; `None` if they don't fit together or to the codes.
    pub(super) fn of(codes: &Codes, shape: Shape, slots: Vec<Block>, entries: Vec<u32>) -> Option<Self> {
        let links = Links::of_slots(codes.len(), shape.degree, slots)?;
        let is_whole = entries.iter().all(|place| (*place as usize) < codes.len());
        is_whole.then(|| Self::with_entries(codes, links, entries, shape.counts))
    }

    /// Links, entries, and what else is needed to read them.
    pub(super) fn parts(&self) -> (Shape, &[Block], &[u32]) {
        let shape = Shape { degree: self.links.degree(), entries: self.entries.len(), counts: self.counts };
        (shape, self.links.slots(), &self.entries)
    }

    /// The best `width` places, best first, by coarse score. `codes` must be those it was built from.
    pub(super) fn search<'w>(&self, codes: &Codes, query: &QueryCodes, width: usize, walk: &'w mut Walk) -> &'w [Candidate] {
        let starts = self.starts(query, walk);
        walk.search(codes, &self.links, query, &starts, width)
    }

    fn starts(&self, query: &QueryCodes, walk: &mut Walk) -> Vec<u32> {
        let all: Vec<u32> = (0..u32::try_from(self.entries.len()).unwrap_or(u32::MAX)).collect();
        self.entry_codes.coarse(query, &all, &mut walk.scores);
        let mut best: Vec<(f32, u32)> = Vec::with_capacity(STARTS + 1);
        for (score, place) in walk.scores.values().iter().zip(&self.entries) {
            if best.len() < STARTS || best.last().is_some_and(|worst| *score > worst.0) {
                let rank = best.partition_point(|better| better.0 >= *score);
                best.insert(rank, (*score, *place));
                best.truncate(STARTS);
            }
        }
        best.into_iter().map(|(_, place)| place).collect()
    }

    /// Places that no link led to when it was built.
    pub(super) fn orphans(&self) -> usize {
        self.counts.orphans
    }

    /// Places that no search can come to: counted when it was built, and 0 unless that went wrong.
    pub(super) fn unreachable(&self) -> usize {
        self.counts.unreachable
    }

    /// Bytes allocated.
    pub(super) fn bytes(&self) -> usize {
        self.links.bytes() + self.entries.capacity() * size_of::<u32>() + self.entry_codes.bytes()
    }
}

/// What would have to join `entries` for every place to be reachable over links.
fn unreachable(links: &Links, entries: &[u32]) -> Vec<u32> {
    let mut reached = vec![false; links.places()];
    entries.iter().for_each(|entry| follow(links, *entry, &mut reached));
    let mut orphans = Vec::new();
    for place in 0..u32::try_from(links.places()).unwrap_or(u32::MAX) {
        if reached.get(place as usize) == Some(&false) {
            orphans.push(place);
            follow(links, place, &mut reached);
        }
    }
    orphans
}

/// Marks whatever can be reached from `start`.
fn follow(links: &Links, start: u32, reached: &mut [bool]) {
    let mut found = vec![start];
    while let Some(place) = found.pop() {
        if let Some(mark) = reached.get_mut(place as usize).filter(|mark| !**mark) {
            *mark = true;
            found.extend(links.of(place));
        }
    }
}
