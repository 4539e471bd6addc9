//! Two runs over the same queries, query by query.

use super::significance::randomisation_test;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Queries that a comparison names, those that changed most.
const NAMED: usize = 10;
/// Differences smaller than this are ties.
const TIE: f64 = 1e-9;

/// What was measured of one query: metric to value.
pub type QueryScores = BTreeMap<String, f64>;

/// How a run differs from another one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Queries that both have.
    pub queries: usize,
    /// Queries that only one of them has: they are left out.
    pub unmatched: usize,
    /// By metric.
    pub metrics: BTreeMap<String, MetricChange>,
}

/// How one metric differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricChange {
    /// Queries of both that have it.
    pub queries: usize,
    /// Its mean before.
    pub baseline: f64,
    /// Its mean now.
    pub run: f64,
    /// Now less before.
    pub delta: f64,
    /// Two-sided, of the paired randomisation test; null where only means are known.
    pub p_value: Option<f64>,
    /// Queries with a higher value now.
    pub won: usize,
    /// With a lower one.
    pub lost: usize,
    /// With the same.
    pub tied: usize,
    /// The queries that changed most, largest change first.
    pub largest: Vec<Change>,
}

/// How one query changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The query.
    pub id: String,
    /// Before.
    pub baseline: f64,
    /// Now.
    pub run: f64,
    /// Now less before.
    pub delta: f64,
}

impl Comparison {
    /// Compares query by query; a metric is compared where both runs have it.
    #[must_use]
    pub fn of(baseline: &BTreeMap<String, QueryScores>, run: &BTreeMap<String, QueryScores>) -> Self {
        let pairs: Vec<_> = run.iter().filter_map(|(id, now)| baseline.get(id).map(|before| (id, before, now))).collect();
        let names: BTreeSet<&String> =
            pairs.iter().flat_map(|(_, before, now)| now.keys().filter(|name| before.contains_key(*name))).collect();
        let metric = |name: &String| {
            let both = pairs.iter().filter_map(|(id, before, now)| {
                let (baseline, run) = (*before.get(name)?, *now.get(name)?);
                Some(Change { id: (*id).clone(), baseline, run, delta: run - baseline })
            });
            (name.clone(), MetricChange::of(both.collect()))
        };
        let unmatched = baseline.len() + run.len() - 2 * pairs.len();
        Self { queries: pairs.len(), unmatched, metrics: names.into_iter().map(metric).collect() }
    }
}

impl MetricChange {
    /// Only the means are known.
    #[must_use]
    pub fn of_means(baseline: f64, run: f64) -> Self {
        Self { queries: 0, baseline, run, delta: run - baseline, p_value: None, won: 0, lost: 0, tied: 0, largest: Vec::new() }
    }

    fn of(mut changes: Vec<Change>) -> Self {
        let differences: Vec<f64> = changes.iter().map(|change| if change.delta.abs() < TIE { 0.0 } else { change.delta }).collect();
        let (baseline, run) = (mean(changes.iter().map(|change| change.baseline)), mean(changes.iter().map(|change| change.run)));
        let count = |is: fn(&f64) -> bool| differences.iter().filter(|one| is(one)).count();
        let (won, lost) = (count(|one| *one > 0.0), count(|one| *one < 0.0));
        let (queries, p_value) = (changes.len(), Some(randomisation_test(&differences)));
        changes.retain(|change| change.delta.abs() >= TIE);
        changes.sort_by(|a, b| b.delta.abs().total_cmp(&a.delta.abs()).then_with(|| a.id.cmp(&b.id)));
        changes.truncate(NAMED);
        Self { queries, baseline, run, delta: run - baseline, p_value, won, lost, tied: queries - won - lost, largest: changes }
    }
}

/// The mean; 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "counts of queries")]
pub(super) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_usize), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { 0.0 } else { sum / count as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(values: &[(&str, f64)]) -> BTreeMap<String, QueryScores> {
        values.iter().map(|(id, value)| ((*id).to_owned(), QueryScores::from([("ndcg_at_10".to_owned(), *value)]))).collect()
    }

    #[test]
    fn wins_losses_and_ties_by_hand() {
        let before = run(&[("a", 0.5), ("b", 0.5), ("c", 1.0), ("gone", 1.0)]);
        let now = run(&[("a", 1.0), ("b", 0.25), ("c", 1.0), ("new", 0.0)]);
        let found = Comparison::of(&before, &now);
        assert_eq!((found.queries, found.unmatched), (3, 2));
        let ndcg = &found.metrics["ndcg_at_10"];
        assert_eq!((ndcg.won, ndcg.lost, ndcg.tied), (1, 1, 1));
        assert!((ndcg.delta - 0.25 / 3.0).abs() < 1e-12);
        assert_eq!(ndcg.largest.iter().map(|change| change.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        // Of the sums 0.75, 0.25, -0.25, -0.75 all are as large as 0.25.
        assert_eq!(ndcg.p_value, Some(1.0));
    }

    #[test]
    fn a_run_does_not_differ_from_itself() {
        let one = run(&[("a", 0.5), ("b", 0.1)]);
        let found = Comparison::of(&one, &one);
        let ndcg = &found.metrics["ndcg_at_10"];
        assert_eq!((ndcg.p_value, ndcg.tied, ndcg.largest.len()), (Some(1.0), 2, 0));
    }
}
