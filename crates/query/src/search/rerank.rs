//! Judges the best candidates once more, by their text.
//!
//! With a reranking model by its scores. Without one by the words of the question that a candidate's best sentence
//! holds, added to the fused score: cheap, and worth little (BENCHMARKS.md).

use super::{Run, SearchError};
use crate::fuse::Candidate;
use crate::sentences::sentences;
use crate::terms::{Rarity, coverage, term_set};
use corpus::{Reranker, Row};
use std::collections::BTreeSet;

/// What all words of the question in one sentence add to a score. Tuned on the development sets.
const SENTENCE_WEIGHT: f32 = 0.2;

impl Run<'_> {
    /// Reorders the best candidates and leaves out the rest, if the request asks for it.
    pub(super) fn judge(&mut self, candidates: &mut Vec<Candidate>, reranker: Option<&dyn Reranker>) -> Result<(), SearchError> {
        let (Some(count), Some(query)) = (self.request.reranked(), self.request.query.as_deref()) else {
            return Ok(());
        };
        candidates.truncate(count);
        let rows: Vec<Row> = candidates.iter().map(|candidate| candidate.row).collect();
        let stored = self.source.chunks(&rows)?;
        let texts: Vec<&str> = stored.iter().map(|one| one.as_ref().map_or("", |one| &one.chunk.draft.text)).collect();
        let source = self.source;
        let scores = self.timings.measure("rerank", || match reranker {
            Some(reranker) => reranker.rerank(query, &texts, source.errand()),
            None => Ok(by_sentences(query, &texts, candidates)),
        })?;
        for (candidate, score) in candidates.iter_mut().zip(scores) {
            (candidate.rerank, candidate.score) = (Some(score), score);
        }
        candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
        Ok(())
    }
}

fn by_sentences(query: &str, texts: &[&str], candidates: &[Candidate]) -> Vec<f32> {
    let wanted = term_set(query);
    let of = |text: &&str| -> Vec<BTreeSet<String>> {
        sentences(text).iter().filter_map(|one| text.get(one.range.clone())).map(term_set).collect()
    };
    let units: Vec<_> = texts.iter().map(of).collect();
    let rarity = Rarity::among(units.iter().flatten());
    let held = |terms: &BTreeSet<String>| coverage(&wanted, &rarity, |term| f32::from(u8::from(terms.contains(term))));
    let best = units.iter().map(|units| units.iter().map(held).fold(0.0, f32::max));
    candidates.iter().zip(best).map(|(candidate, best)| (candidate.score + SENTENCE_WEIGHT * best) / (1.0 + SENTENCE_WEIGHT)).collect()
}
