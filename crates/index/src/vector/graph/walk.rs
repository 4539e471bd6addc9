//! Best-first search through a graph (Malkov and Yashunin, "Efficient and robust approximate nearest neighbor
//! search using HNSW graphs", TPAMI 42(4), 2020, algorithm 2): always on from the best places not yet left,
//! until the best `width` places seen have all been left. A few are left at a time, as disks are searched
//! (Subramanya et al., "DiskANN", NeurIPS 2019): what their links lead to is then waited for only once.

use super::super::codes::{Codes, QueryCodes, Scores};
use super::links::Links;

/// A place and how near it is.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Candidate {
    /// Inner product by codes; larger is nearer.
    pub(in super::super) score: f32,
    /// With [`LEFT`] once its links have been followed.
    place: u32,
}

/// Marks a place whose links have been followed; so there are at most 2³¹ places.
const LEFT: u32 = 1 << 31;

/// Places left at a time.
const BEAM: usize = 4;

impl Candidate {
    pub(super) fn new(place: u32, score: f32) -> Self {
        Self { score, place }
    }

    pub(in super::super) fn place(self) -> u32 {
        self.place & !LEFT
    }
}

/// What a search works with; kept from search to search to save allocations.
#[derive(Debug, Default)]
pub(in super::super) struct Walk {
    /// A bit for each place that was scored: for 100,000 places it fits into the nearest cache.
    seen: Vec<u64>,
    /// The best places seen, best first.
    pool: Vec<Candidate>,
    /// Places about to be scored.
    next: Vec<u32>,
    /// What joins the pool next, best first, and what of the pool ranks behind the first of it.
    fresh: Vec<Candidate>,
    behind: Vec<Candidate>,
    pub(super) scores: Scores,
}

impl Walk {
    /// The best `width` places that can be reached from `starts`, best first, by coarse score.
    pub(super) fn search(&mut self, codes: &Codes, links: &Links, query: &QueryCodes, starts: &[u32], width: usize) -> &[Candidate] {
        self.seen.clear();
        self.seen.resize(links.places().div_ceil(64), 0);
        self.pool.clear();
        self.next.clear();
        starts.iter().for_each(|start| self.look_at(*start, codes));
        let mut first = self.score(codes, links, query, width);
        while let Some(behind) = self.leave(links, codes, first) {
            first = self.score(codes, links, query, width).min(behind);
        }
        &self.pool
    }

    /// Leaves the best places not yet left, which rank at `first` or behind, for whatever they lead to. Returns the
    /// rank behind them, or nothing where all have been left.
    #[inline]
    fn leave(&mut self, links: &Links, codes: &Codes, first: usize) -> Option<usize> {
        self.next.clear();
        let (mut rank, mut left) = (first, 0);
        while left < BEAM
            && let Some(candidate) = self.pool.get_mut(rank)
        {
            rank += 1;
            if candidate.place & LEFT == 0 {
                let place = candidate.place;
                candidate.place |= LEFT;
                left += 1;
                links.of(place).iter().for_each(|link| self.look_at(*link, codes));
            }
        }
        (left > 0).then_some(rank)
    }

    /// Takes a place to be scored, the first time.
    #[inline]
    fn look_at(&mut self, place: u32, codes: &Codes) {
        let Some(word) = self.seen.get_mut(place as usize / 64) else { return };
        let bit = 1 << (place % 64);
        if *word & bit == 0 {
            *word |= bit;
            codes.prefetch_coarse(place);
            self.next.push(place);
        }
    }

    /// Scores what is to be scored, and keeps the best `width`. Returns the best rank that changed.
    #[inline]
    fn score(&mut self, codes: &Codes, links: &Links, query: &QueryCodes, width: usize) -> usize {
        codes.coarse(query, &self.next, &mut self.scores);
        let worst = self.pool.get(width - 1).map_or(f32::NEG_INFINITY, |worst| worst.score);
        let scored = self.next.iter().zip(self.scores.values());
        self.fresh.clear();
        self.fresh.extend(scored.filter(|(_, score)| **score > worst).map(|(place, score)| Candidate::new(*place, *score)));
        self.fresh.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.place.cmp(&b.place)));
        let Some(best) = self.fresh.first() else { return usize::MAX };
        let first = self.pool.partition_point(|better| better.score >= best.score);
        self.behind.clear();
        self.behind.extend(self.pool.drain(first..));
        let (mut behind, mut fresh) = (self.behind.iter().peekable(), self.fresh.iter().peekable());
        while self.pool.len() < width {
            let is_fresh = |new: &&Candidate| behind.peek().is_none_or(|old| new.score > old.score);
            if let Some(new) = fresh.next_if(is_fresh) {
                links.prefetch(new.place);
                self.pool.push(*new);
            } else if let Some(old) = behind.next() {
                self.pool.push(*old);
            } else {
                break;
            }
        }
        first
    }
}
