//! Reciprocal rank fusion: Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms
//! Condorcet and individual Rank Learning Methods", SIGIR 2009.
//!
//! A row scores the sum over the legs of `weight / (60 + rank)`, ranks from 1. Only ranks count, so
//! that cosines and BM25 scores need no common scale.

use corpus::Row;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The paper's constant.
const K: f32 = 60.0;

/// Where a hit stood in one leg.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LegRank {
    /// From 1.
    pub rank: usize,
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

/// Best first; equal scores in row order, so that the result does not depend on the legs' own order.
pub(crate) fn ranked(mut leg: Vec<(Row, f32)>) -> Vec<(Row, LegRank)> {
    leg.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    leg.into_iter().zip(1..).map(|((row, score), rank)| (row, LegRank { rank, score })).collect()
}

/// Fuses the two legs.
pub(crate) fn fuse(vector: &[(Row, LegRank)], lexical: &[(Row, LegRank)], weights: LegWeights) -> Vec<Candidate> {
    let mut by_row: BTreeMap<Row, Candidate> = BTreeMap::new();
    let blank = |row| Candidate { row, score: 0.0, vector: None, lexical: None };
    for (row, rank) in vector {
        let candidate = by_row.entry(*row).or_insert_with(|| blank(*row));
        candidate.score += share(weights.vector, *rank);
        candidate.vector = Some(*rank);
    }
    for (row, rank) in lexical {
        let candidate = by_row.entry(*row).or_insert_with(|| blank(*row));
        candidate.score += share(weights.lexical, *rank);
        candidate.lexical = Some(*rank);
    }
    let mut fused: Vec<Candidate> = by_row.into_values().collect();
    fused.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
    fused
}

#[expect(clippy::cast_precision_loss, reason = "ranks are a few hundred")]
fn share(weight: f32, rank: LegRank) -> f32 {
    weight / (K + rank.rank as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_paper() {
        let vector = ranked(vec![(1, 0.9), (2, 0.8)]);
        let lexical = ranked(vec![(2, 7.0), (3, 5.0)]);
        let fused = fuse(&vector, &lexical, LegWeights::default());
        assert_eq!(fused.iter().map(|candidate| candidate.row).collect::<Vec<_>>(), [2, 1, 3]);
        assert!((fused[0].score - (1.0 / 62.0 + 1.0 / 61.0)).abs() < 1e-7);
        assert_eq!(fused[0].vector, Some(LegRank { rank: 2, score: 0.8 }));
        assert_eq!(fused[1].lexical, None);
    }

    #[test]
    fn ties_go_by_row_and_weights_count() {
        let leg = |row| ranked(vec![(row, 1.0)]);
        let rows = |weights| fuse(&leg(9), &leg(4), weights).iter().map(|candidate| candidate.row).collect::<Vec<_>>();
        assert_eq!(rows(LegWeights::default()), [4, 9]);
        assert_eq!(rows(LegWeights { vector: 2.0, lexical: 1.0 }), [9, 4]);
        assert_eq!(ranked(vec![(5, 1.0), (3, 1.0)])[0].0, 3);
    }
}
