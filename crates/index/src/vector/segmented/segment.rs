//! Vectors that don't change any more: their rows, codes and originals, with a graph or without.

use super::super::codes::{Codes, QueryCodes, Scores};
use super::super::graph::{Graph, Walk};
use super::super::kernel;
use super::best::Best;
use super::mapped::Mapped;
use super::rows::Rows;
use crate::scored::TopK;
use corpus::{Embedding, Row};
use roaring::RoaringBitmap;

/// Rows scored in one go of a scan.
const SCAN_ROWS: usize = 256;
/// Scores compared at a time.
const COMPARED: usize = 16;
/// Places that are looked for in a new graph.
const PROBES: usize = 256;

/// See the module.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) rows: Rows,
    dimension: usize,
    codes: Codes,
    originals: Originals,
    graph: Option<Graph>,
}

/// The vectors themselves, one behind the other.
#[derive(Debug)]
pub(super) enum Originals {
    Ram(Vec<f32>),
    /// In the segment's file.
    Mapped(Mapped),
}

impl Originals {
    fn all(&self) -> &[f32] {
        match self {
            Self::Ram(vectors) => vectors,
            Self::Mapped(vectors) => vectors,
        }
    }

    fn ram_bytes(&self) -> usize {
        match self {
            Self::Ram(vectors) => vectors.capacity() * size_of::<f32>(),
            Self::Mapped(_) => 0,
        }
    }
}

/// A query in every form it is needed in.
#[derive(Debug)]
pub(super) struct Query {
    /// Unit length.
    pub(super) vector: Embedding,
    pub(super) codes: QueryCodes,
}

/// What searches work with, kept from one to the next.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    walk: Walk,
    scores: Scores,
    places: Vec<u32>,
    /// Of them, those worth another look, and another.
    near: Vec<u32>,
    nearest: Vec<u32>,
}

/// Those of `places` that reach `bar` by their scores. Few do, and unforeseeably: no branch for each.
fn keep(kept: &mut Vec<u32>, places: &[u32], scores: &Scores, bar: f32) {
    kept.resize(places.len(), 0);
    let mut count = 0;
    for (places, scores) in places.chunks(COMPARED).zip(scores.values().chunks(COMPARED)) {
        if !scores.iter().fold(false, |any, score| any | (*score >= bar)) {
            continue;
        }
        for (place, score) in places.iter().zip(scores) {
            if let Some(slot) = kept.get_mut(count) {
                *slot = *place;
            }
            count += usize::from(*score >= bar);
        }
    }
    kept.truncate(count);
}

impl Segment {
    /// Of rows that ascend.
    pub(super) fn new<'v, I>(dimension: usize, vectors: I) -> Self
    where
        I: IntoIterator<Item = (Row, &'v [f32]), IntoIter: ExactSizeIterator>,
    {
        let vectors = vectors.into_iter();
        let count = vectors.len();
        let (mut rows, mut codes) = (Vec::with_capacity(count), Codes::with_capacity(dimension, count));
        let mut originals = Vec::with_capacity(count * dimension);
        for (row, vector) in vectors {
            rows.push(row);
            codes.push(vector);
            originals.extend_from_slice(vector);
        }
        Self::of(Rows::new(rows), dimension, codes, Originals::Ram(originals), None)
    }

    /// Of parts that fit together.
    pub(super) fn of(rows: Rows, dimension: usize, codes: Codes, originals: Originals, graph: Option<Graph>) -> Self {
        Self { rows, dimension, codes, originals, graph }
    }

    pub(super) fn originals(&self) -> &[f32] {
        self.originals.all()
    }

    pub(super) fn dimension(&self) -> usize {
        self.dimension
    }

    pub(super) fn codes(&self) -> &Codes {
        &self.codes
    }

    pub(super) fn with_graph(self, graph: Graph) -> Self {
        Self { graph: Some(graph), ..self }
    }

    pub(super) fn graph(&self) -> Option<&Graph> {
        self.graph.as_ref()
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The vector at a place.
    pub(super) fn vector(&self, place: u32) -> &[f32] {
        let start = place as usize * self.dimension;
        self.originals.all().get(start..start + self.dimension).unwrap_or_default()
    }

    pub(super) fn vectors(&self) -> impl Iterator<Item = (Row, &[f32])> {
        self.rows.all().iter().copied().zip(self.originals.all().chunks_exact(self.dimension))
    }

    /// Bytes in RAM.
    pub(super) fn bytes(&self) -> usize {
        self.rows.bytes() + self.codes.bytes() + self.originals.ram_bytes() + self.graph.as_ref().map_or(0, Graph::bytes)
    }

    /// Walks the graph with a pool of `width` places; the best `most` wanted ones by fine score. Nothing
    /// without a graph.
    pub(super) fn walk(
        &self,
        query: &Query,
        width: usize,
        most: usize,
        wanted: impl Fn(Row) -> bool,
        scratch: &mut Scratch,
    ) -> Vec<(f32, u32)> {
        let Some(graph) = &self.graph else { return Vec::new() };
        scratch.places.clear();
        let found = graph.search(&self.codes, &query.codes, width, &mut scratch.walk);
        scratch.places.extend(found.iter().map(|candidate| candidate.place()).filter(|place| wanted(self.rows.at(*place))));
        self.best_by_fine(query, most, scratch)
    }

    /// Takes the best of the wanted rows into `top`, for certain: rows that can't be among them, given what codes may
    /// be off by, are left out after a look at the upper plane, or at both.
    pub(super) fn scan(&self, query: &Query, wanted: Option<&RoaringBitmap>, top: &mut TopK, scratch: &mut Scratch) {
        let Scratch { scores, places, near, nearest, .. } = scratch;
        let k = top.k();
        places.clear();
        match wanted {
            // Faster than `extend`: the bitmap is gone through a container at a time.
            Some(wanted) => self.rows.places_of(wanted).for_each(|place| places.push(place)),
            None => places.extend(0..u32::try_from(self.len()).unwrap_or(u32::MAX)),
        }
        let mut shares = places.chunks(SCAN_ROWS).peekable();
        while let Some(share) = shares.next() {
            // Rows in a row are read ahead of by the processor.
            if wanted.is_some() {
                shares.peek().into_iter().copied().flatten().for_each(|place| self.codes.prefetch_coarse(*place));
            }
            self.codes.coarse_at_most(&query.codes, share, scores);
            let bar = if top.len() < k { self.bar(query, k, share, scores) } else { top.bar() };
            keep(near, share, scores, bar);
            near.iter().for_each(|place| self.codes.prefetch_fine(*place));
            self.codes.fine_at_most(&query.codes, near, scores);
            keep(nearest, near, scores, bar);
            nearest.iter().for_each(|place| self.prefetch(*place));
            nearest.iter().for_each(|place| top.push(self.rows.at(*place), self.score(query, *place)));
        }
    }

    /// What the best `k` of these places reach at least: the exact scores of those that may be best by the coarse ones.
    fn bar(&self, query: &Query, k: usize, places: &[u32], scores: &Scores) -> f32 {
        if places.len() < k {
            return f32::NEG_INFINITY;
        }
        let mut best = Best::new(k);
        scores.values().iter().zip(places).for_each(|(score, place)| best.offer(*score, *place));
        best.into_found().into_iter().fold(f32::INFINITY, |bar, (_, place)| bar.min(self.score(query, place)))
    }

    /// Whether enough rows find themselves: of [`PROBES`] places that are looked for by their own vectors, with a
    /// pool of `width` places, nine in ten are found, or something as near.
    pub(super) fn finds_itself(&self, width: usize) -> bool {
        let mut scratch = Scratch::default();
        let step = (self.len() / PROBES).max(1);
        let places = || (0..u32::try_from(self.len()).unwrap_or(u32::MAX)).step_by(step);
        let found = places().filter(|place| self.finds(*place, width, &mut scratch)).count();
        found * 10 >= places().count() * 9
    }

    fn finds(&self, place: u32, width: usize, scratch: &mut Scratch) -> bool {
        let query = self.codes.as_query(place);
        let Some(graph) = &self.graph else { return true };
        let best = graph.search(&self.codes, &query, width, &mut scratch.walk).first().copied();
        self.codes.coarse(&query, &[place], &mut scratch.scores);
        best.is_some_and(|best| scratch.scores.values().iter().all(|own| best.score >= *own))
    }

    fn best_by_fine(&self, query: &Query, most: usize, scratch: &mut Scratch) -> Vec<(f32, u32)> {
        self.codes.fine(&query.codes, &scratch.places, &mut scratch.scores);
        let mut best = Best::new(most);
        scratch.scores.values().iter().zip(&scratch.places).for_each(|(score, place)| best.offer(*score, *place));
        best.into_found()
    }

    /// The score of the vector at a place: cosine similarity.
    pub(super) fn score(&self, query: &Query, place: u32) -> f32 {
        kernel::dot(&query.vector, self.vector(place))
    }

    /// Asks for the vector at a place, to be read soon.
    pub(super) fn prefetch(&self, place: u32) {
        kernel::prefetch(self.vector(place));
    }
}
