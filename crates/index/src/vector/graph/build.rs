//! Builds a graph, in parallel and always the same from the same input.
//!
//! Places come in a shuffled order, in batches that grow with the graph. Those of a batch look for their
//! neighbours side by side in the graph as it stands, then their links and the links back are set; so no
//! thread sees another's half-done work, and the number of threads changes nothing. (Manohar et al.,
//! "ParlayANN", PPoPP 2024.) Neighbours are chosen so that none is nearer to another one than to the place
//! itself (Malkov and Yashunin 2020, algorithm 4).
//!
//! What an older graph says of some of the places is taken over: only the others are looked for. Where a place has
//! lost neighbours, theirs are candidates in their stead (Singh et al., "FreshDiskANN", arXiv:2105.09613, 2021,
//! algorithm 4).

use super::super::codes::Codes;
use super::links::Links;
use super::walk::{Candidate, Walk};
use std::sync::atomic::{AtomicBool, Ordering};

/// A batch is one in so many of what the graph holds: its places don't find each other.
const BATCH_SHARE: usize = 50;
const BATCH_MAX: usize = 4096;
/// Fewer are not worth a thread.
const SHARE_MIN: usize = 32;
/// Where searches start while the graph is built.
const STARTS: usize = 32;

/// How to build.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct BuildParams {
    /// Links a place chooses; with those back it may have twice as many.
    pub(in super::super) m: usize,
    /// Candidates to choose from.
    pub(in super::super) ef_construction: usize,
    pub(in super::super) threads: usize,
    pub(in super::super) seed: u64,
}

/// A graph of before, and where its places are now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Old<'o> {
    pub(super) links: &'o Links,
    /// By old place: the new one, or [`GONE`].
    pub(super) moved: &'o [u32],
}

/// The place of what is there no longer.
pub(in super::super) const GONE: u32 = u32::MAX;

impl Old<'_> {
    fn moved(&self, place: u32) -> Option<u32> {
        self.moved.get(place as usize).copied().filter(|place| *place != GONE)
    }
}

/// Links between all places of `codes`, and these places in an order that the seed decides; `None` when stopped.
pub(super) fn build(codes: &Codes, params: &BuildParams, old: Option<Old>, stop: &AtomicBool) -> Option<(Links, Vec<u32>)> {
    let shuffled = shuffled(codes.len(), params.seed);
    let mut builder = Builder {
        codes,
        links: Links::new(codes.len(), 2 * params.m),
        params: *params,
        walks: (0..params.threads.max(1)).map(|_| Walk::default()).collect(),
    };
    let linked = if let Some(old) = old { builder.take_over(old, stop)? } else { Vec::new() };
    let (mut order, others): (Vec<u32>, Vec<u32>) =
        shuffled.iter().partition(|place| linked.get(**place as usize).is_some_and(|is_linked| *is_linked));
    let mut done = order.len().max(1);
    order.extend(others);
    while let Some(rest) = order.get(done..).filter(|rest| !rest.is_empty()) {
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        let size = (done / BATCH_SHARE).clamp(1, BATCH_MAX).min(rest.len());
        let starts = order.get(..done.min(STARTS)).unwrap_or_default();
        builder.add(rest.get(..size).unwrap_or_default(), starts);
        done += size;
    }
    Some((builder.links, shuffled))
}

struct Builder<'c> {
    codes: &'c Codes,
    links: Links,
    params: BuildParams,
    /// One a thread.
    walks: Vec<Walk>,
}

impl Builder<'_> {
    /// Takes over the links of an older graph. Returns which places have theirs; `None` when stopped.
    fn take_over(&mut self, old: Old, stop: &AtomicBool) -> Option<Vec<bool>> {
        let codes = self.codes;
        let places: Vec<(u32, u32)> = (0..).zip(old.moved).map(|(old, new)| (old, *new)).filter(|(_, new)| *new != GONE).collect();
        let mut linked = vec![false; codes.len()];
        for places in places.chunks(BATCH_MAX) {
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            let taken = in_shares(places, &mut self.walks, |walk, (from, to)| bypass(codes, old, *from, *to, walk));
            for ((_, place), neighbours) in places.iter().zip(taken) {
                self.links.set(*place, &neighbours);
                if let Some(is_linked) = linked.get_mut(*place as usize) {
                    *is_linked = true;
                }
            }
        }
        Some(linked)
    }

    fn add(&mut self, batch: &[u32], starts: &[u32]) {
        let (codes, params) = (self.codes, self.params);
        let links = &self.links;
        let chosen = in_shares(batch, &mut self.walks, |walk, place| {
            let query = codes.as_query(*place);
            let found = walk.search(codes, links, &query, starts, params.ef_construction).to_vec();
            (*place, choose(codes, &found, params.m, walk))
        });
        let mut back = Vec::with_capacity(batch.len() * params.m);
        for (place, neighbours) in &chosen {
            self.links.set(*place, neighbours);
            back.extend(neighbours.iter().map(|neighbour| (*neighbour, *place)));
        }
        back.sort_unstable();
        let groups: Vec<&[(u32, u32)]> = back.chunk_by(|a, b| a.0 == b.0).collect();
        let links = &self.links;
        let changed = in_shares(&groups, &mut self.walks, |walk, group| link_back(codes, links, group, walk));
        for (place, neighbours) in changed {
            self.links.set(place, &neighbours);
        }
    }
}

/// The links of a place, which was `from` and is `to`, in the new numbering; around neighbours that are gone.
fn bypass(codes: &Codes, old: Old, from: u32, to: u32, walk: &mut Walk) -> Vec<u32> {
    let links = old.links.of(from);
    let mut kept: Vec<u32> = links.iter().filter_map(|link| old.moved(*link)).collect();
    let lost = links.len() - kept.len();
    if lost > 0 {
        let gone = links.iter().filter(|link| old.moved(**link).is_none());
        let mut theirs: Vec<u32> = gone.flat_map(|link| old.links.of(*link)).filter_map(|link| old.moved(*link)).collect();
        theirs.sort_unstable();
        theirs.dedup();
        theirs.retain(|place| *place != to && !kept.contains(place));
        kept.extend(choose_of(codes, to, &theirs, lost, walk));
    }
    kept
}

/// The links of a place with those in `group` added; chosen anew if they are too many.
fn link_back(codes: &Codes, links: &Links, group: &[(u32, u32)], walk: &mut Walk) -> (u32, Vec<u32>) {
    let place = group.first().map_or(0, |(place, _)| *place);
    let all: Vec<u32> = links.of(place).iter().copied().chain(group.iter().map(|(_, new)| *new)).collect();
    if all.len() <= links.degree() {
        return (place, all);
    }
    (place, choose_of(codes, place, &all, links.degree(), walk))
}

/// Up to `most` of `all` as neighbours of a place, as [`choose`] does.
fn choose_of(codes: &Codes, place: u32, all: &[u32], most: usize, walk: &mut Walk) -> Vec<u32> {
    codes.fine(&codes.as_query(place), all, &mut walk.scores);
    let mut candidates: Vec<Candidate> =
        all.iter().zip(walk.scores.values()).map(|(place, score)| Candidate::new(*place, *score)).collect();
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.place().cmp(&b.place())));
    choose(codes, &candidates, most, walk)
}

/// Up to `most` of the candidates, best first, none of them nearer to a chosen one than to the place they
/// are candidates for.
fn choose(codes: &Codes, candidates: &[Candidate], most: usize, walk: &mut Walk) -> Vec<u32> {
    let mut left: Vec<Candidate> = candidates.to_vec();
    let mut places = Vec::with_capacity(left.len());
    let mut chosen = Vec::with_capacity(most);
    while let Some((nearest, others)) = left.split_first() {
        chosen.push(nearest.place());
        if chosen.len() == most {
            break;
        }
        places.clear();
        places.extend(others.iter().map(|other| other.place()));
        codes.fine(&codes.as_query(nearest.place()), &places, &mut walk.scores);
        left = others
            .iter()
            .zip(walk.scores.values())
            .filter(|(other, to_nearest)| **to_nearest < other.score)
            .map(|(other, _)| *other)
            .collect();
    }
    chosen
}

/// `work` on each item, in the order of the items, shared among the walks' threads.
fn in_shares<T: Sync, R: Send>(items: &[T], walks: &mut [Walk], work: impl Fn(&mut Walk, &T) -> R + Sync) -> Vec<R> {
    let share = items.len().div_ceil(walks.len().max(1)).max(SHARE_MIN);
    let do_share = |walk: &mut Walk, items: &[T]| -> Vec<R> { items.iter().map(|item| work(walk, item)).collect() };
    if items.len() <= share {
        return walks.first_mut().map(|walk| do_share(walk, items)).unwrap_or_default();
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = items.chunks(share).zip(walks).map(|(items, walk)| scope.spawn(|| do_share(walk, items))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

/// 0 to `count` - 1 in an order that the seed decides (Fisher and Yates).
fn shuffled(count: usize, seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..u32::try_from(count).unwrap_or(u32::MAX)).collect();
    let mut state = seed;
    for last in (1..order.len()).rev() {
        order.swap(last, (split_mix(&mut state) % (last as u64 + 1)) as usize);
    }
    order
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
