//! Retrieval metrics as BEIR and trec_eval define them: gains are linear, discounts
//! `log2(rank + 1)`, and a document is relevant if its judgement is above zero.

use std::collections::{HashMap, HashSet};

/// What was judged for one query: document id to gain.
pub type Judgements = HashMap<String, f64>;

/// Normalised discounted cumulative gain of the first `k`; 0 if nothing is relevant.
#[must_use]
pub fn ndcg_at_k(ranking: &[String], judged: &Judgements, k: usize) -> f64 {
    let mut ideal: Vec<f64> = judged.values().copied().filter(|gain| *gain > 0.0).collect();
    ideal.sort_by(|a, b| b.total_cmp(a));
    let best = discounted(ideal.into_iter().take(k));
    if best == 0.0 { 0.0 } else { discounted(gains(ranking, judged).take(k)) / best }
}

/// The share of relevant documents that are among the first `k`; 0 if nothing is relevant.
#[must_use]
pub fn recall_at_k(ranking: &[String], judged: &Judgements, k: usize) -> f64 {
    let relevant = judged.values().filter(|gain| **gain > 0.0).count();
    ratio(gains(ranking, judged).take(k).filter(|gain| *gain > 0.0).count(), relevant)
}

/// One over the rank of the first relevant document among the first `k`; 0 if there is none.
#[must_use]
pub fn mrr_at_k(ranking: &[String], judged: &Judgements, k: usize) -> f64 {
    gains(ranking, judged).take(k).position(|gain| gain > 0.0).map_or(0.0, |at| ratio(1, at + 1))
}

/// The gain at each rank. A document counts only where it stands first.
fn gains<'a>(ranking: &'a [String], judged: &'a Judgements) -> impl Iterator<Item = f64> + 'a {
    let mut seen = HashSet::new();
    ranking.iter().filter(move |id| seen.insert(id.as_str())).map(|id| judged.get(id).copied().unwrap_or(0.0))
}

fn discounted(gains: impl Iterator<Item = f64>) -> f64 {
    gains.zip(2_u32..).map(|(gain, rank)| gain.max(0.0) / f64::from(rank).log2()).sum()
}

#[expect(clippy::cast_precision_loss, reason = "counts of judged documents")]
pub(crate) fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranking(ids: &str) -> Vec<String> {
        ids.chars().map(String::from).collect()
    }

    fn judged(pairs: &[(&str, f64)]) -> Judgements {
        pairs.iter().map(|(id, gain)| ((*id).to_owned(), *gain)).collect()
    }

    #[test]
    fn ndcg_by_hand() {
        let judged = judged(&[("a", 2.0), ("b", 1.0), ("c", 0.0)]);
        // DCG 1/log2(2) + 2/log2(4) = 2, ideal 2/log2(2) + 1/log2(3) = 2.63093.
        assert!((ndcg_at_k(&ranking("bca"), &judged, 10) - 2.0 / 2.630_929_75).abs() < 1e-7);
        assert!((ndcg_at_k(&ranking("ab"), &judged, 10) - 1.0).abs() < 1e-12);
        // Cut at 1: DCG 1, ideal 2.
        assert!((ndcg_at_k(&ranking("ba"), &judged, 1) - 0.5).abs() < 1e-12);
        assert!(ndcg_at_k(&ranking("xyz"), &judged, 10).abs() < 1e-12);
        assert!(ndcg_at_k(&ranking("abc"), &Judgements::new(), 10).abs() < 1e-12);
    }

    #[test]
    fn recall_and_mrr_by_hand() {
        let judged = judged(&[("a", 2.0), ("b", 1.0), ("c", 1.0), ("d", 0.0)]);
        assert!((recall_at_k(&ranking("xbda"), &judged, 10) - 2.0 / 3.0).abs() < 1e-12);
        assert!((recall_at_k(&ranking("xbda"), &judged, 2) - 1.0 / 3.0).abs() < 1e-12);
        assert!((mrr_at_k(&ranking("dxb"), &judged, 10) - 1.0 / 3.0).abs() < 1e-12);
        assert!(mrr_at_k(&ranking("dxb"), &judged, 2).abs() < 1e-12);
    }

    #[test]
    fn a_document_counts_once() {
        let judged = judged(&[("a", 1.0), ("b", 1.0)]);
        assert!((recall_at_k(&ranking("aaa"), &judged, 10) - 0.5).abs() < 1e-12);
        assert!(ndcg_at_k(&ranking("aab"), &judged, 10) > 0.999, "the second a takes no rank");
    }
}
