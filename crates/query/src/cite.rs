//! Citations: which exact characters of a source an answer's sentence rests on.
//!
//! Invariant: `quote` is the document's text at `span`, for every citation. The verdict is by
//! words, so it is cheap, deterministic, and blind to paraphrase: it errs towards "unsupported".

use crate::extractive::Support;
use crate::pack::PackedSource;
use crate::script::is_cjk;
use crate::sentences::{Kind, sentences};
use crate::terms::{Rarity, coverage, numbers, term_set};
use corpus::{ChunkId, DocumentId, Span};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Whether the quote carries the sentence that cites it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It does, or is that sentence.
    Supported,
    /// The source doesn't say it.
    Unsupported,
}

/// One citation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Citation {
    /// The number in the answer's `[n]`: the nth source, from 1.
    pub marker: u32,
    /// The document cited.
    pub document_id: DocumentId,
    /// The chunk cited.
    pub chunk_id: ChunkId,
    /// The sentence of the source.
    pub quote: String,
    /// Where that stands in the document's text.
    pub span: Span,
    /// Page (from 1) where the chunk begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    /// Whether it carries the answer's sentence.
    pub verdict: Verdict,
}

/// The citations of a generated answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cited {
    /// In the answer's order.
    pub citations: Vec<Citation>,
    /// Markers that name no source.
    pub not_found: Vec<u32>,
}

/// The share of a sentence's content terms that one quote must hold. Half leaves room for other
/// words of the model's own, and is more than sentences on the same topic share by chance.
const QUOTE_COVERAGE_MIN: f32 = 0.5;
/// The share that the whole source must hold where the sentence sums several of its sentences up.
const SOURCE_COVERAGE_MIN: f32 = 0.75;

/// Reads the markers of a generated answer.
#[must_use]
pub fn cite(answer: &str, sources: &[PackedSource]) -> Cited {
    let markers = markers(answer);
    let bare = blank(answer, &markers);
    let sentences = sentences(&bare);
    let mut cited = Cited::default();
    for (place, number) in markers {
        let source = (number as usize).checked_sub(1).and_then(|index| sources.get(index));
        let Some(source) = source else {
            if !cited.not_found.contains(&number) {
                cited.not_found.push(number);
            }
            continue;
        };
        // A marker belongs to the sentence before it, also when it stands behind the full stop.
        let sentence = sentences.iter().rev().find(|sentence| sentence.range.start <= place.start).or(sentences.first());
        let claim = sentence.and_then(|sentence| bare.get(sentence.range.clone())).unwrap_or_default();
        let citation = best_quote(claim, source);
        cited.citations.extend(citation.filter(|citation| !cited.citations.contains(citation)));
    }
    cited
}

/// The text and the citations of an extractive answer: each sentence as it stands, then its marker.
#[must_use]
pub fn compose(support: &[Support], sources: &[PackedSource]) -> (Vec<String>, Vec<Citation>) {
    let found = support.iter().filter_map(|one| sources.get(one.source).map(|source| (one, source)));
    let cited = found.filter_map(|(one, source)| citation(source, &one.range, Verdict::Supported));
    let pieces = |(at, citation): (usize, Citation)| {
        let text = citation.quote.split_whitespace().collect::<Vec<_>>().join(" ");
        let gap = if at == 0 || text.starts_with(is_cjk) { "" } else { " " };
        (format!("{gap}{text} [{}]", citation.marker), citation)
    };
    cited.enumerate().map(pieces).unzip()
}

fn citation(source: &PackedSource, range: &Range<usize>, verdict: Verdict) -> Option<Citation> {
    let (span, quote) = source.quote(range)?;
    Some(Citation {
        marker: source.number,
        document_id: source.hit.document_id.clone(),
        chunk_id: source.hit.chunk_id.clone(),
        quote: quote.to_owned(),
        span,
        page: source.hit.page,
        verdict,
    })
}

/// The sentence of the source that holds most of the claim's terms; of equals the shortest.
fn best_quote(claim: &str, source: &PackedSource) -> Option<Citation> {
    let wanted = term_set(claim);
    let text = source.text();
    let units: Vec<_> =
        sentences(text).into_iter().map(|unit| (term_set(text.get(unit.range.clone()).unwrap_or_default()), unit)).collect();
    let rarity = Rarity::among(units.iter().map(|(terms, _)| terms));
    let held = |terms: &std::collections::BTreeSet<String>| coverage(&wanted, &rarity, |term| f32::from(u8::from(terms.contains(term))));
    let scored = units.iter().map(|(terms, unit)| (held(terms), unit));
    let (score, unit) = scored.min_by(|(a, unit_a), (b, unit_b)| {
        let heading = |unit: &crate::sentences::Sentence| unit.kind == Kind::Heading;
        b.total_cmp(a).then(heading(unit_a).cmp(&heading(unit_b))).then(unit_a.range.len().cmp(&unit_b.range.len()))
    })?;
    let carries = score >= QUOTE_COVERAGE_MIN || held(&term_set(text)) >= SOURCE_COVERAGE_MIN;
    let verdict = if carries && numbers(claim).is_subset(&numbers(text)) { Verdict::Supported } else { Verdict::Unsupported };
    citation(source, &unit.range, verdict)
}

/// Every number in `[1]`, `[1, 2]` and `[1][2]`, with the place of its bracket.
fn markers(answer: &str) -> Vec<(Range<usize>, u32)> {
    let mut found = Vec::new();
    for (open, _) in answer.match_indices('[') {
        let rest = answer.get(open + 1..).unwrap_or_default();
        let Some((inside, _)) = rest.split_once(']') else { break };
        let numbers: Option<Vec<u32>> = inside.split([',', '，', ';']).map(|part| part.trim().parse().ok()).collect();
        let place = open..open + inside.len() + 2;
        // `a[0](…)` and `[1](http…)` are code and links.
        let is_link = answer.get(place.end..).is_some_and(|after| after.starts_with('('));
        found.extend(numbers.filter(|_| !is_link).into_iter().flatten().map(|number| (place.clone(), number)));
    }
    found
}

/// The answer with its markers overwritten by spaces, so that every other byte keeps its place.
fn blank(answer: &str, markers: &[(Range<usize>, u32)]) -> String {
    let mut bare = answer.to_owned();
    for (place, _) in markers {
        if bare.is_char_boundary(place.start) && bare.is_char_boundary(place.end) {
            bare.replace_range(place.clone(), &" ".repeat(place.len()));
        }
    }
    bare
}

#[cfg(test)]
mod tests;
