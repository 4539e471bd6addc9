//! How a search goes through the segments: a scan or a walk for each, by estimated cost, then the exact
//! scores of the best of all.

use super::super::codes::Codes;
use super::super::{EF_MAX, VectorQuery};
use super::best::Best;
use super::segment::{Query, Scratch, Segment};
use super::snapshot::{Served, Snapshot};
use crate::scored::{Scored, TopK};
use corpus::Embedding;
use roaring::RoaringBitmap;
use std::borrow::Cow;
use std::cell::RefCell;

/// Scored exactly beyond those wanted: codes may mistake the order of near ones.
const RESCORED_BESIDE: usize = 10;
/// Two scores by codes may stand in the wrong order where they lie nearer than so many standard deviations of one:
/// farther apart, they do once in 50,000 times.
const DEVIATIONS: f32 = 6.0;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// A search, made ready.
pub(super) struct Search<'s> {
    snapshot: &'s Snapshot,
    query: Query,
    /// Live, allowed rows.
    wanted: Cow<'s, RoaringBitmap>,
    /// Whether those are all live ones.
    is_all: bool,
    /// Rows to return: not more than are wanted.
    k: usize,
    ef: usize,
    /// See [`super::WALK_COST`].
    walk_cost: u64,
}

impl<'s> Search<'s> {
    /// `None` where nothing can be found. `ef` is the default width.
    pub(super) fn new(snapshot: &'s Snapshot, query: Embedding, ask: &VectorQuery<'s>, ef: usize, walk_cost: u64) -> Option<Self> {
        let live = &*snapshot.live;
        let count = ask.allowed.intersection_len(live);
        let k = ask.k.min(usize::try_from(count).unwrap_or(usize::MAX));
        if k == 0 {
            return None;
        }
        let is_all = count == live.len();
        let wanted = if is_all { Cow::Borrowed(live) } else { Cow::Owned(ask.allowed & live) };
        let ef = ask.ef.unwrap_or(ef).clamp(1, EF_MAX).max(k);
        let query = Query { codes: Codes::query(&query), vector: query };
        Some(Self { snapshot, query, wanted, is_all, k, ef, walk_cost })
    }

    /// The best, near enough: a walk for each segment where that is cheaper, the rest for certain.
    pub(super) fn run(&self) -> Vec<Scored> {
        let most = self.k.saturating_add(RESCORED_BESIDE);
        let top = SCRATCH.with_borrow_mut(|scratch| {
            let (mut best, mut left) = (Best::new(most), Vec::new());
            for (at, served) in self.snapshot.segments.iter().enumerate() {
                let Some(width) = self.width(&served.segment) else {
                    left.push(served);
                    continue;
                };
                let filter = self.filter(served);
                let is_wanted = |row| filter.is_none_or(|wanted| wanted.contains(row));
                let found = served.segment.walk(&self.query, width, most, is_wanted, scratch);
                found.into_iter().for_each(|(score, place)| best.offer(score, (at, place)));
            }
            let mut top = TopK::new(self.k);
            self.rescore(best.into_found(), &mut top);
            left.into_iter().for_each(|served| served.segment.scan(&self.query, self.filter(served), &mut top, scratch));
            top
        });
        // A walk may not have met enough wanted rows.
        if top.len() < self.k { self.run_exactly() } else { top.into_sorted() }
    }

    /// The best, for certain.
    pub(super) fn run_exactly(&self) -> Vec<Scored> {
        let mut top = TopK::new(self.k);
        SCRATCH.with_borrow_mut(|scratch| {
            self.snapshot.segments.iter().for_each(|served| served.segment.scan(&self.query, self.filter(served), &mut top, scratch));
        });
        top.into_sorted()
    }

    /// What to look for in a segment; nothing where that is every row.
    fn filter(&self, served: &Served) -> Option<&RoaringBitmap> {
        (!self.is_all || !served.dead.is_empty()).then_some(&*self.wanted)
    }

    /// The pool of a walk that holds `ef` wanted rows if they lie among the others at random; `None` if a scan is
    /// cheaper.
    fn width(&self, segment: &Segment) -> Option<usize> {
        segment.graph()?;
        let rows = segment.len() as u64;
        let wanted = segment.rows.estimate(&self.wanted).clamp(1, rows);
        let width = (self.ef as u64).saturating_mul(rows).div_ceil(wanted);
        if width.saturating_mul(self.walk_cost) > wanted { None } else { usize::try_from(width.min(rows)).ok() }
    }

    /// Takes what was found into `top` by its exact score, except what won't be among the best `k` by that either.
    fn rescore(&self, mut found: Vec<(f32, (usize, u32))>, top: &mut TopK) {
        found.sort_unstable_by(|(a, _), (b, _)| b.total_cmp(a));
        let worst = found.get(self.k - 1).map_or(f32::NEG_INFINITY, |(worst, _)| *worst);
        let near = |(score, (at, place)): &(f32, (usize, u32))| {
            let segment = &*self.snapshot.segments.get(*at)?.segment;
            let off = DEVIATIONS * segment.codes().fine_deviation(&self.query.codes, *place);
            (*score + off >= worst).then_some((segment, *place))
        };
        let near: Vec<(&Segment, u32)> = found.iter().filter_map(near).collect();
        near.iter().for_each(|(segment, place)| segment.prefetch(*place));
        near.iter().for_each(|(segment, place)| top.push(segment.rows.at(*place), segment.score(&self.query, *place)));
    }
}
