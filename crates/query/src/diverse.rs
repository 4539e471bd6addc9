//! Chooses among hits those that say different things: maximal marginal relevance (Carbonell and Goldstein, "The Use of
//! MMR, Diversity-Based Reranking for Reordering Documents and Producing Summaries", SIGIR 1998).
//!
//! A text is worth its score less the share of it that those chosen before say already. Likeness is the share of terms
//! that two texts have in common. Only that of near-duplicates counts: two chunks about the same thing are what a
//! question wants, the same chunk out of two editions is not.

use crate::search::Hit;
use crate::terms::term_set;
use std::collections::BTreeSet;

/// Share of common terms from which on likeness counts.
const ALIKE_MIN: f32 = 0.5;

/// The best `count` hits, each ranked by its score less what it repeats.
pub(crate) fn diverse(hits: Vec<Hit>, count: usize) -> Vec<Hit> {
    let rest = |hit: Hit| Rest { terms: term_set(&hit.text), value: hit.score, hit };
    let mut rests: Vec<Rest> = hits.into_iter().map(rest).collect();
    let mut chosen = Vec::new();
    while chosen.len() < count && !rests.is_empty() {
        // Of equals the last in this order, which is the first.
        let best = rests.iter().enumerate().rev().max_by(|(_, a), (_, b)| a.value.total_cmp(&b.value)).map_or(0, |(at, _)| at);
        let Rest { hit, terms, .. } = rests.remove(best);
        for rest in &mut rests {
            rest.value = rest.value.min(rest.hit.score * (1.0 - alike(&terms, &rest.terms)));
        }
        chosen.push(hit);
    }
    chosen
}

/// A hit that was not chosen yet.
struct Rest {
    hit: Hit,
    terms: BTreeSet<String>,
    /// Its score less what it repeats.
    value: f32,
}

/// 0 up to [`ALIKE_MIN`], 1 for the same terms.
#[expect(clippy::cast_precision_loss, reason = "terms of a chunk")]
fn alike(a: &BTreeSet<String>, b: &BTreeSet<String>) -> f32 {
    let shared = a.intersection(b).count();
    let share = shared as f32 / (a.len() + b.len() - shared).max(1) as f32;
    ((share - ALIKE_MIN) / (1.0 - ALIKE_MIN)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeSource;
    use crate::fuse::LegWeights;
    use crate::search::{SearchRequest, search};
    use corpus::Principals;

    #[test]
    fn a_near_duplicate_comes_after_what_says_something_else() {
        let mut source = FakeSource::new(&["en"]);
        source.add("first.md", "The fox of the northern hills hunts hares at night in deep snow.");
        source.add("second.md", "The fox of the northern hills hunts hares at night in the deep snow!");
        source.add("den.md", "A fox den has several exits.");
        let found = |query: &str| search(&source, &SearchRequest::new(query), &Principals::All, LegWeights::default()).unwrap().hits;
        let names = |hits: Vec<Hit>| hits.into_iter().map(|hit| hit.document_name).collect::<Vec<_>>();
        let query = "When does the fox hunt hares in snow?";
        assert_eq!(names(found(query)), ["first.md", "second.md", "den.md"]);
        assert_eq!(names(diverse(found(query), 2)), ["first.md", "den.md"]);
        assert_eq!(names(diverse(found(query), 9)), ["first.md", "den.md", "second.md"]);
        assert!(diverse(Vec::new(), 3).is_empty());
    }
}
