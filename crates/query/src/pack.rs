//! Packs hits into a budget of tokens.
//!
//! In rank order; what is already there is not packed twice: neighbouring chunks overlap, so the
//! part of a hit that an earlier one covers is cut off, and a text that stands in two documents is
//! taken once. Tokens are those of the model that answers where its tokenizer is known, else of the collection's
//! embedding model: near enough for a budget.
//! Invariant: `hit.text[excerpt]` is text of the document at `hit.span.within(excerpt)`.

use crate::compress::GAP;
use crate::search::Hit;
use crate::sentences::sentences;
use corpus::{ChunkId, Span};
use gateway::{Keep, truncate};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

/// A hit that made it into the context.
#[derive(Debug, Clone, PartialEq)]
pub struct PackedSource {
    /// What answers cite it by, from 1.
    pub number: u32,
    /// The hit, whole.
    pub hit: Hit,
    /// The bytes of `hit.text` that are in the context.
    pub excerpt: Range<usize>,
    /// Tokens of the excerpt.
    pub tokens: usize,
    /// The bytes of [`text`](PackedSource::text) that a model is shown, in order; empty: all.
    pub kept: Vec<Range<usize>>,
}

impl PackedSource {
    /// The text in the context.
    #[must_use]
    pub fn text(&self) -> &str {
        self.hit.text.get(self.excerpt.clone()).unwrap_or_default()
    }

    /// What a model is shown: the text, with a mark for each gap if only parts of it are kept.
    #[must_use]
    pub fn shown(&self) -> Cow<'_, str> {
        let text = self.text();
        if self.kept.is_empty() {
            return Cow::Borrowed(text);
        }
        let is_gap = |gap: &str| gap.chars().any(char::is_alphanumeric);
        let (mut shown, mut end) = (String::new(), 0);
        let whole = self.kept.iter().cloned().chain(std::iter::once(text.len()..text.len()));
        for part in whole {
            let between = text.get(end..part.start).unwrap_or_default();
            if is_gap(between) {
                shown.push_str(if end == 0 { "" } else { " " });
                shown.push_str(GAP);
                shown.push_str(if part.is_empty() { "" } else { " " });
            } else {
                shown.push_str(between);
            }
            shown.push_str(text.get(part.clone()).unwrap_or_default());
            end = part.end;
        }
        Cow::Owned(shown)
    }

    /// Where `range` of [`text`](Self::text) stands in the document, and its text.
    pub(crate) fn quote(&self, range: &Range<usize>) -> Option<(Span, &str)> {
        let in_chunk = self.excerpt.start + range.start..self.excerpt.start + range.end;
        let quote = self.hit.text.get(in_chunk.clone())?;
        Some((self.hit.span.within(&self.hit.text, in_chunk)?, quote))
    }
}

/// Why a hit is not in the context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// No room was left.
    Budget,
    /// Earlier sources say it already.
    Duplicate,
    /// It looks like an attempt to give the model other instructions.
    Injection,
}

/// A hit that is not in the context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// The chunk.
    pub chunk_id: ChunkId,
    /// Why.
    pub reason: DropReason,
}

/// A context.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Packed {
    /// In rank order, numbered from 1.
    pub sources: Vec<PackedSource>,
    /// What was left out.
    pub dropped: Vec<Dropped>,
    /// Tokens of all excerpts.
    pub tokens: usize,
}

/// A rest shorter than this (in bytes) says nothing by itself.
const REST_BYTES_MIN: usize = 24;

/// Counts the tokens of a part of a hit's text.
pub(crate) type Count<'c> = dyn Fn(&Hit, &str) -> usize + 'c;

/// Packs hits, best first, into `budget` tokens.
#[must_use]
pub fn pack(hits: Vec<Hit>, budget: usize, count_tokens: &Count<'_>) -> Packed {
    let mut packed = Packed::default();
    let mut texts = HashSet::new();
    for hit in hits {
        let excerpt = uncovered(&hit, &packed.sources).filter(|_| texts.insert(hit.text.clone()));
        let Some(excerpt) = excerpt else {
            packed.dropped.push(Dropped { chunk_id: hit.chunk_id, reason: DropReason::Duplicate });
            continue;
        };
        let room = budget - packed.tokens;
        let fitting = fit(&hit, excerpt, room, packed.sources.is_empty(), count_tokens);
        let Some((excerpt, tokens)) = fitting else {
            packed.dropped.push(Dropped { chunk_id: hit.chunk_id, reason: DropReason::Budget });
            continue;
        };
        packed.tokens += tokens;
        let number = u32::try_from(packed.sources.len() + 1).unwrap_or(u32::MAX);
        packed.sources.push(PackedSource { number, hit, excerpt, tokens, kept: Vec::new() });
    }
    packed
}

/// The longest part of a hit that no earlier source covers; `None` if too little is left.
fn uncovered(hit: &Hit, sources: &[PackedSource]) -> Option<Range<usize>> {
    let mut rests = vec![hit.span.bytes()];
    let is_same = |source: &&PackedSource| source.hit.document_id == hit.document_id && source.hit.version == hit.version;
    let is_fresh = !sources.iter().any(|source| is_same(&source) && overlaps(&covered(source), &hit.span.bytes()));
    for taken in sources.iter().filter(is_same).map(covered) {
        rests = rests.into_iter().flat_map(|rest| [rest.start..rest.end.min(taken.start), rest.start.max(taken.end)..rest.end]).collect();
        rests.retain(|rest| rest.start < rest.end);
    }
    // Of equals the first: `max_by_key` would take the last.
    let rest = rests.into_iter().rev().max_by_key(Range::len)?;
    (is_fresh || rest.len() >= REST_BYTES_MIN).then(|| rest.start - hit.span.byte_start..rest.end - hit.span.byte_start)
}

fn covered(source: &PackedSource) -> Range<usize> {
    let start = source.hit.span.byte_start;
    start + source.excerpt.start..start + source.excerpt.end
}

fn overlaps(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

/// What of the excerpt fits. A first source that is too large is cut after a sentence, or after a word where not even
/// its first sentence fits: some context is better than none.
fn fit(hit: &Hit, excerpt: Range<usize>, room: usize, is_first: bool, count_tokens: &Count<'_>) -> Option<(Range<usize>, usize)> {
    let text = hit.text.get(excerpt.clone())?;
    let tokens = count_tokens(hit, text);
    if tokens <= room {
        return Some((excerpt, tokens));
    }
    if !is_first {
        return None;
    }
    let ends = sentences(text).into_iter().rev().map(|sentence| sentence.range.end);
    let cuts = ends.filter_map(|end| text.get(..end).map(|cut| (end, count_tokens(hit, cut))));
    let (end, tokens) = cuts.into_iter().find(|(_, tokens)| *tokens <= room).or_else(|| {
        let end = last_word_end(text, room, |part| count_tokens(hit, part));
        let head = text.get(..end).filter(|head| head.len() >= REST_BYTES_MIN)?;
        Some((end, count_tokens(hit, head)))
    })?;
    Some((excerpt.start..excerpt.start + end, tokens))
}

/// Where the last word ends that fits; where the last character does in a text without words.
fn last_word_end(text: &str, room: usize, count_tokens: impl Fn(&str) -> usize) -> usize {
    let head = truncate(text, room as u64, Keep::Head, |part| count_tokens(part) as u64);
    let is_cut = |rest: &str| !head.ends_with(char::is_whitespace) && !rest.starts_with(char::is_whitespace);
    let is_cut = text.strip_prefix(head).is_some_and(is_cut);
    let end = if is_cut { head.rfind(char::is_whitespace) } else { None };
    head.get(..end.unwrap_or(head.len())).unwrap_or_default().trim_end().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeSource;
    use crate::fuse::LegWeights;
    use crate::search::{SearchRequest, search};
    use corpus::{Acl, Principals};

    const TEXT: &str = "One fox sleeps in the den. Two foxes hunt in the dark night. Three foxes play near the old barn.";

    fn hits(ranges: &[(usize, usize)]) -> Vec<Hit> {
        let mut source = FakeSource::new(&[]);
        source.add_cut("fox.md", TEXT, ranges, Acl::default());
        let mut hits = search(&source, &SearchRequest::new("fox"), &Principals::All, LegWeights::default()).unwrap().hits;
        hits.sort_by_key(|hit| hit.row);
        hits
    }

    fn words(_: &Hit, text: &str) -> usize {
        of_words(text)
    }

    fn of_words(text: &str) -> usize {
        text.split_whitespace().count() + 2
    }

    fn texts(packed: &Packed) -> Vec<&str> {
        packed.sources.iter().map(PackedSource::text).collect()
    }

    #[test]
    fn overlaps_are_packed_once() {
        let packed = pack(hits(&[(0, 60), (27, 96), (27, 60)]), 100, &words);
        assert_eq!(texts(&packed), [&TEXT[0..60], &TEXT[60..96]]);
        assert_eq!(packed.dropped.len(), 1);
        assert_eq!(packed.dropped[0].reason, DropReason::Duplicate);
        let (span, quote) = packed.sources[1].quote(&(1..6)).unwrap();
        assert_eq!((span.slice(TEXT), quote), (Some("Three"), "Three"));
    }

    #[test]
    fn the_budget_holds_and_smaller_hits_still_get_in() {
        let packed = pack(hits(&[(0, 26), (27, 96), (60, 96)]), 18, &words);
        assert_eq!(texts(&packed), [&TEXT[0..26], &TEXT[60..96]]);
        assert_eq!(packed.tokens, of_words(&TEXT[0..26]) + of_words(&TEXT[60..96]));
        assert_eq!(packed.dropped[0].reason, DropReason::Budget);
        assert_eq!(packed.sources[1].number, 2);
    }

    #[test]
    fn a_first_source_that_is_too_large_is_cut_after_a_sentence() {
        let packed = pack(hits(&[(0, 96)]), 16, &words);
        assert_eq!(texts(&packed), [&TEXT[0..60]]);
        assert!(packed.tokens <= 16);
        assert!(pack(hits(&[(0, 96)]), 3, &words).sources.is_empty());
    }

    #[test]
    fn a_first_sentence_that_is_too_large_is_cut_after_a_word() {
        let packed = pack(hits(&[(27, 96)]), 8, &words);
        assert_eq!((texts(&packed), packed.tokens), (vec!["Two foxes hunt in the dark"], 8));
        let letters = |_: &Hit, text: &str| text.len();
        assert_eq!(texts(&pack(hits(&[(27, 96)]), 28, &letters)), ["Two foxes hunt in the dark"], "no half of a word");
    }

    #[test]
    fn the_same_text_in_two_documents_is_taken_once() {
        let twice: Vec<Hit> = hits(&[(0, 26)]).into_iter().chain(hits(&[(0, 26)])).collect();
        assert_eq!(pack(twice, 100, &words).sources.len(), 1);
    }
}
