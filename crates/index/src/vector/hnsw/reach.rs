//! The hnsw_rs graph as building material, and its attestation.
//!
//! hnsw_rs leaves about one point in a hundred without a way in, and can't delete. So nothing is
//! taken on trust: after every build the links are walked from the entry point and every point
//! is looked up by its own vector. Points that fail are *orphans*; whoever serves the graph scans
//! them. The crate's dump is never written or read.

use super::super::{VectorParams, kernel::dot};
use anndists::dist::distances::Distance;
use corpus::Row;
use hnsw_rs::hnsw::{Hnsw, Neighbour, Point, PointId};
use roaring::RoaringBitmap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Layers hnsw_rs can have.
const LAYERS: usize = 16;

/// Cosine distance of unit vectors. Never NaN for finite vectors and never negative: hnsw_rs
/// asserts both.
struct Cosine;

impl Distance<f32> for Cosine {
    fn eval(&self, a: &[f32], b: &[f32]) -> f32 {
        (1.0 - dot(a, b)).max(0.0)
    }
}

/// A graph and what is known of it. Changed only by its owner: `&mut self` keeps insert and
/// search apart, which hnsw_rs needs and doesn't enforce.
pub(super) struct Graph {
    hnsw: Hnsw<'static, f32, Cosine>,
    dimension: usize,
    /// Every row inserted.
    rows: RoaringBitmap,
    /// Attested: a search reaches it.
    findable: RoaringBitmap,
    links: usize,
}

impl Graph {
    /// An empty graph; `expected` is a hint for its size.
    pub(super) fn new(params: &VectorParams, dimension: usize, expected: usize) -> Self {
        let hnsw = Hnsw::new(params.m, expected.max(1), LAYERS, params.ef_construction, Cosine);
        Self { hnsw, dimension, rows: RoaringBitmap::new(), findable: RoaringBitmap::new(), links: 0 }
    }

    pub(super) fn rows(&self) -> &RoaringBitmap {
        &self.rows
    }

    pub(super) fn findable(&self) -> &RoaringBitmap {
        &self.findable
    }

    /// Adds a unit vector; it stays unattested until the next [`Graph::attest`].
    pub(super) fn insert(&mut self, row: Row, vector: &[f32]) {
        if vector.len() == self.dimension && self.rows.insert(row) {
            self.hnsw.insert((vector, row as usize));
        }
    }

    /// The rows that a beam of `ef` ends with, best first, near enough.
    pub(super) fn beam(&self, query: &[f32], ef: usize) -> Vec<Row> {
        self.neighbours(query, ef).iter().filter_map(|hit| Row::try_from(hit.d_id).ok()).collect()
    }

    fn neighbours(&self, query: &[f32], ef: usize) -> Vec<Neighbour> {
        // hnsw_rs panics on another dimension. Asked for as many hits as the beam is wide.
        if query.len() == self.dimension { self.hnsw.search(query, ef, ef.max(2)) } else { Vec::new() }
    }

    /// Finds out which points a search of width `ef` reaches. Stops early, with everything
    /// unattested, when `stop` is set.
    pub(super) fn attest(&mut self, ef: usize, stop: &AtomicBool) {
        let points = Points::of(&self.hnsw);
        let (reached, links) = points.walk();
        let findable = points
            .each()
            .take_while(|_| !stop.load(Ordering::Relaxed))
            .filter(|point| reached.has(point.get_point_id()) && self.finds(point, &points, ef))
            .filter_map(|point| Row::try_from(point.get_origin_id()).ok())
            .collect();
        (self.findable, self.links) = (findable, links);
    }

    /// Whether a point is among the hits for its own vector, or a copy of it comes first.
    fn finds(&self, point: &Point<'static, f32>, points: &Points, ef: usize) -> bool {
        let hits = self.neighbours(point.get_v(), ef);
        let is_copy = |hit: &Neighbour| points.get(hit.p_id).is_some_and(|first| first.get_v() == point.get_v());
        hits.iter().any(|hit| hit.d_id == point.get_origin_id()) || hits.first().is_some_and(is_copy)
    }

    /// Bytes in RAM, estimated: hnsw_rs copies the vectors, keeps a list for each of 16 layers in
    /// each point, and two counted pointers and a distance for each link.
    pub(super) fn bytes(&self) -> usize {
        let point = self.dimension * size_of::<f32>() + LAYERS * size_of::<Vec<u8>>() + 144;
        self.hnsw.get_nb_point() * point + self.links * 40
    }
}

/// The points of a graph by layer and rank, which is what a [`PointId`] is made of.
struct Points(Vec<Vec<Arc<Point<'static, f32>>>>);

impl Points {
    fn of(hnsw: &Hnsw<'static, f32, Cosine>) -> Self {
        let points = hnsw.get_point_indexation();
        if points.get_nb_point() == 0 {
            return Self(Vec::new());
        }
        let layers = 0..=usize::from(points.get_max_level_observed());
        Self(layers.map(|layer| points.get_layer_iterator(layer).collect()).collect())
    }

    fn get(&self, id: PointId) -> Option<&Arc<Point<'static, f32>>> {
        self.0.get(usize::from(id.0))?.get(usize::try_from(id.1).ok()?)
    }

    fn each(&self) -> impl Iterator<Item = &Arc<Point<'static, f32>>> {
        self.0.iter().flatten()
    }

    /// Follows every link a search could follow: the upper layers from the entry point, which is
    /// the first point of the top layer, then the lowest layer from whatever they reached.
    /// Returns also the number of links stored.
    fn walk(&self) -> (Reached, usize) {
        let mut reached = Reached(self.0.iter().map(|layer| vec![false; layer.len()]).collect());
        let mut found: Vec<PointId> = self.0.last().and_then(|top| top.first()).map(|entry| entry.get_point_id()).into_iter().collect();
        found.iter().for_each(|entry| {
            reached.mark(*entry);
        });
        self.follow(1..LAYERS, &mut found, &mut reached);
        let links = self.follow(0..1, &mut found, &mut reached);
        (reached, links)
    }

    /// Adds to `found` whatever can be reached from it over links of these layers; returns how many
    /// links of any layer the points passed have.
    fn follow(&self, layers: std::ops::Range<usize>, found: &mut Vec<PointId>, reached: &mut Reached) -> usize {
        let (mut next, mut links) = (0, 0);
        while let Some(id) = found.get(next).copied() {
            next += 1;
            let Some(point) = self.get(id) else { continue };
            let neighbourhood = point.get_neighborhood_id();
            links += neighbourhood.iter().map(Vec::len).sum::<usize>();
            for link in neighbourhood.get(layers.clone()).unwrap_or_default().iter().flatten() {
                if reached.mark(link.p_id) {
                    found.push(link.p_id);
                }
            }
        }
        links
    }
}

/// Which points were reached, laid out like [`Points`].
struct Reached(Vec<Vec<bool>>);

impl Reached {
    /// True the first time.
    fn mark(&mut self, id: PointId) -> bool {
        let Some(mark) = usize::try_from(id.1).ok().and_then(|rank| self.0.get_mut(usize::from(id.0))?.get_mut(rank)) else { return false };
        !std::mem::replace(mark, true)
    }

    fn has(&self, id: PointId) -> bool {
        usize::try_from(id.1).ok().and_then(|rank| self.0.get(usize::from(id.0))?.get(rank)).is_some_and(|mark| *mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circle(points: u32) -> Vec<(Row, Vec<f32>)> {
        (0..points).map(|row| (row, vec![(row as f32 * 0.01).cos(), (row as f32 * 0.01).sin()])).collect()
    }

    fn graph(points: &[(Row, Vec<f32>)]) -> Graph {
        let params = VectorParams { m: 2, ef_construction: 4, ..VectorParams::default() };
        let mut graph = Graph::new(&params, 2, points.len());
        points.iter().for_each(|(row, vector)| graph.insert(*row, vector));
        graph
    }

    #[test]
    fn attested_points_find_themselves_and_the_others_are_named() {
        let points = circle(600);
        let mut graph = graph(&points);
        graph.attest(8, &AtomicBool::new(false));
        assert_eq!(graph.rows().len(), 600);
        assert!(graph.findable().len() < 600, "links this few leave orphans; if not, this test shows nothing");
        for (row, vector) in &points {
            assert_eq!(graph.beam(vector, 8).contains(row), graph.findable().contains(*row), "row {row}");
        }
    }

    #[test]
    fn nothing_is_attested_before_attestation_or_after_a_stop() {
        let mut graph = graph(&circle(50));
        assert!(graph.findable().is_empty());
        graph.attest(8, &AtomicBool::new(true));
        assert!(graph.findable().is_empty());
    }

    #[test]
    fn an_empty_graph_and_a_wrong_dimension_are_harmless() {
        let mut empty = graph(&[]);
        empty.attest(8, &AtomicBool::new(false));
        assert!(empty.beam(&[1.0, 0.0], 8).is_empty());
        let mut one = graph(&circle(1));
        one.insert(7, &[1.0]);
        assert!(one.beam(&[1.0], 8).is_empty());
        assert_eq!(one.rows().len(), 1);
    }
}
