//! Fuses what two legs say of the same rows.
//!
//! A row scores the weighted mean of its cosine and of the share that its BM25 score is of the highest that a row could
//! have: a convex combination of scores normalised by their theoretical bounds (Bruch, Gai and Ingber, "An Analysis of
//! Fusion Functions for Hybrid Retrieval", TOIS 2023). It is from 0 to 1 and means the same in every search, whatever
//! else is found. On the development sets it beats fusion by rank, by least and greatest score of the lists and by
//! their standard deviation; weights that depend on the query gained nothing (BENCHMARKS.md).

use corpus::Row;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where a hit stood in one leg.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LegRank {
    /// From 1; absent for a row that was not among the leg's candidates, only among the other's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
    /// The leg's own score: cosine or BM25.
    pub score: f32,
}

/// A row with its standing in each leg.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) row: Row,
    pub(crate) score: f32,
    pub(crate) vector: Option<LegRank>,
    pub(crate) lexical: Option<LegRank>,
    pub(crate) rerank: Option<f32>,
}

/// How much each leg counts in a fusion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LegWeights {
    /// Of the vector leg. Default 1.
    pub vector: f32,
    /// Of the lexical leg. Default 1.
    pub lexical: f32,
}

impl Default for LegWeights {
    fn default() -> Self {
        Self { vector: 1.0, lexical: 1.0 }
    }
}

/// What a leg says of the candidates.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Leg {
    /// Its own candidates, best first, then those of the other leg that it was asked about.
    pub(crate) rows: Vec<(Row, LegRank)>,
    /// No row can score more.
    pub(crate) score_max: f32,
}

impl Leg {
    /// Best first; equal scores in row order, so that the result does not depend on the leg's own order.
    pub(crate) fn new(mut rows: Vec<(Row, f32)>, score_max: f32) -> Self {
        rows.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let rows = rows.into_iter().zip(1..).map(|((row, score), rank)| (row, LegRank { rank: Some(rank), score })).collect();
        Self { rows, score_max }
    }

    /// Adds rows that were not among the candidates, as found when asked about them.
    pub(crate) fn also(&mut self, found: Option<Self>) {
        let rows = found.into_iter().flat_map(|leg| leg.rows);
        self.rows.extend(rows.map(|(row, rank)| (row, LegRank { rank: None, score: rank.score })));
    }

    fn share(&self, rank: Option<LegRank>) -> f32 {
        rank.filter(|_| self.score_max > 0.0).map_or(0.0, |rank| (rank.score / self.score_max).clamp(0.0, 1.0))
    }
}

/// Fuses the legs that have a part in a search: a leg that was left out does not lower any score.
pub(crate) fn fuse(vector: Option<&Leg>, lexical: Option<&Leg>, weights: LegWeights) -> Vec<Candidate> {
    let mut by_row: BTreeMap<Row, Candidate> = BTreeMap::new();
    let blank = |row| Candidate { row, score: 0.0, vector: None, lexical: None, rerank: None };
    for (row, rank) in vector.iter().flat_map(|leg| &leg.rows) {
        by_row.entry(*row).or_insert_with(|| blank(*row)).vector = Some(*rank);
    }
    for (row, rank) in lexical.iter().flat_map(|leg| &leg.rows) {
        by_row.entry(*row).or_insert_with(|| blank(*row)).lexical = Some(*rank);
    }
    let weight = |leg: Option<&Leg>, weight: f32| if leg.is_some() { weight } else { 0.0 };
    let (of_vector, of_lexical) = (weight(vector, weights.vector), weight(lexical, weights.lexical));
    let mut fused: Vec<Candidate> = by_row.into_values().collect();
    for candidate in &mut fused {
        let share = |leg: Option<&Leg>, rank| leg.map_or(0.0, |leg| leg.share(rank));
        let both = of_vector * share(vector, candidate.vector) + of_lexical * share(lexical, candidate.lexical);
        candidate.score = both / (of_vector + of_lexical).max(f32::MIN_POSITIVE);
    }
    fused.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
    fused
}

/// One ranking of several searches for the same thing: a row scores the mean of what it scored in each, so that a score
/// still is a share from 0 to 1. Where it stood is told as of the first search.
#[expect(clippy::cast_precision_loss, reason = "a handful of searches")]
pub(crate) fn mean(searches: Vec<Vec<Candidate>>) -> Vec<Candidate> {
    let count = searches.len().max(1) as f32;
    let mut by_row: BTreeMap<Row, Candidate> = BTreeMap::new();
    for candidate in searches.into_iter().flatten() {
        by_row.entry(candidate.row).and_modify(|first| first.score += candidate.score).or_insert(candidate);
    }
    let mut fused: Vec<Candidate> = by_row.into_values().collect();
    fused.iter_mut().for_each(|candidate| candidate.score /= count);
    fused.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
    fused
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(fused: &[Candidate]) -> Vec<Row> {
        fused.iter().map(|candidate| candidate.row).collect()
    }

    #[test]
    fn a_score_is_the_mean_of_cosine_and_share_of_the_highest_bm25() {
        let mut vector = Leg::new(vec![(1, 0.9), (2, 0.8)], 1.0);
        let lexical = Leg::new(vec![(2, 7.0), (3, 5.0)], 10.0);
        vector.also(Some(Leg::new(vec![(3, -0.1)], 1.0)));
        let fused = fuse(Some(&vector), Some(&lexical), LegWeights::default());
        assert_eq!(rows(&fused), [2, 1, 3]);
        let expected = [(0.8 + 0.7) / 2.0, 0.9 / 2.0, 0.5 / 2.0];
        assert!(fused.iter().zip(expected).all(|(candidate, score)| (candidate.score - score).abs() < 1e-6), "{fused:?}");
        assert_eq!(fused[0].vector, Some(LegRank { rank: Some(2), score: 0.8 }));
        assert_eq!((fused[1].lexical, fused[2].vector), (None, Some(LegRank { rank: None, score: -0.1 })));
    }

    #[test]
    fn a_leg_that_has_no_part_lowers_no_score() {
        let lexical = Leg::new(vec![(2, 7.0)], 10.0);
        assert!((fuse(None, Some(&lexical), LegWeights::default())[0].score - 0.7).abs() < 1e-6);
        let found_nothing = Leg::new(vec![], 0.0);
        assert!((fuse(Some(&found_nothing), Some(&lexical), LegWeights::default())[0].score - 0.35).abs() < 1e-6);
    }

    #[test]
    fn several_searches_score_their_mean() {
        let search = |scores: &[(Row, f32)]| fuse(Some(&Leg::new(scores.to_vec(), 1.0)), None, LegWeights::default());
        let fused = mean(vec![search(&[(1, 0.8), (2, 0.2)]), search(&[(2, 0.9), (3, 0.3)])]);
        assert_eq!(rows(&fused), [2, 1, 3]);
        let expected = [0.55, 0.4, 0.15];
        assert!(fused.iter().zip(expected).all(|(candidate, score)| (candidate.score - score).abs() < 1e-6), "{fused:?}");
        assert_eq!(fused[0].vector, Some(LegRank { rank: Some(2), score: 0.2 }), "as of the first search");
    }

    #[test]
    fn ties_go_by_row_and_weights_count() {
        let leg = |row| Leg::new(vec![(row, 1.0)], 1.0);
        let rows = |weights| rows(&fuse(Some(&leg(9)), Some(&leg(4)), weights));
        assert_eq!(rows(LegWeights::default()), [4, 9]);
        assert_eq!(rows(LegWeights { vector: 2.0, lexical: 1.0 }), [9, 4]);
        assert_eq!(Leg::new(vec![(5, 1.0), (3, 1.0)], 1.0).rows[0].0, 3);
    }
}
