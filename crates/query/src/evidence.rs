//! What speaks for each sentence of the sources as evidence for an answer, and how that is weighed.
//!
//! Rare terms count more, and what is rare is asked of the collection: among a handful of chunks that
//! were chosen for the question every word looks common. The same index and question give the same
//! figures. Blocking where sentences are embedded.

use crate::asked::Asked;
use crate::pack::PackedSource;
use crate::retrieve::ChunkSource;
use crate::script::{can_read, is_cjk};
use crate::search::SearchError;
use crate::sentences::{Kind, Sentence, sentences};
use crate::terms::{Rarity, coverage, letters_held, term_set, terms_and_words};
use corpus::Purpose;
use std::collections::BTreeSet;
use std::ops::Range;

/// What speaks for a sentence; every figure is 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Evidence {
    /// Share of the question's terms, by weight, that it holds.
    pub own: f32,
    /// The same with the sentences beside it, the headings and the document's name.
    pub near: f32,
    /// The same with all of its source.
    pub source: f32,
    /// Share of the question's letters that stand in terms of its source.
    pub letters: f32,
    /// Whether it names the kind of thing that is asked for.
    pub kind: f32,
    /// 1 / n for the nth source.
    pub place: f32,
    /// Cosine to the question; 0 if it was not compared.
    pub cosine: f32,
}

/// How much each piece of evidence counts.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Weights {
    /// Of [`Evidence::own`].
    pub own: f32,
    /// Of [`Evidence::near`].
    pub near: f32,
    /// Of [`Evidence::source`].
    pub source: f32,
    /// Of [`Evidence::letters`].
    pub letters: f32,
    /// Of [`Evidence::kind`].
    pub kind: f32,
    /// Of [`Evidence::place`].
    pub place: f32,
    /// Of [`Evidence::cosine`].
    pub cosine: f32,
    /// Of the logarithm of one more than the question's distinct terms.
    pub terms: f32,
    /// Added.
    pub bias: f32,
}

impl Weights {
    /// The weighted sum for a question of so many distinct terms.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "terms of a question")]
    pub fn weigh(&self, evidence: &Evidence, terms: usize) -> f32 {
        self.own * evidence.own
            + self.near * evidence.near
            + self.source * evidence.source
            + self.letters * evidence.letters
            + self.kind * evidence.kind
            + self.place * evidence.place
            + self.cosine * evidence.cosine
            + self.terms * (terms as f32).ln_1p()
            + self.bias
    }
}

/// A sentence of a source, or one with the list that it announces.
#[derive(Debug, Clone)]
pub(crate) struct Unit<'a> {
    pub(crate) source: usize,
    /// Bytes of the source's packed text.
    pub(crate) range: Range<usize>,
    pub(crate) text: &'a str,
    /// A heading names its section; it never answers.
    pub(crate) is_heading: bool,
    pub(crate) terms: BTreeSet<String>,
    pub(crate) evidence: Evidence,
    /// What it is ranked by; no probability.
    pub(crate) score: f32,
}

/// The sentences of some sources, weighed.
#[derive(Debug, Default)]
pub(crate) struct Weighed<'a> {
    /// In the order of the sources and their texts.
    pub(crate) units: Vec<Unit<'a>>,
    /// Whether the embedding model can read the question, so that cosines count.
    pub(crate) has_cosines: bool,
    /// Distinct terms of the question.
    pub(crate) terms: usize,
    /// Whether it has no question word: then what is known of it stands in more than one sentence.
    pub(crate) is_open: bool,
}

/// How sentences are ranked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ranking {
    pub(crate) with_cosine: Weights,
    pub(crate) by_words: Weights,
    /// Most sentences that are embedded, the best by words.
    pub(crate) embed_max: usize,
}

/// Weighs every sentence. A question without content terms has no evidence at all.
///
/// # Errors
/// [`SearchError`] if the embedder or the collection fails: an answer that depended on it would not be the same twice.
pub(crate) fn weigh<'a>(
    question: &str,
    sources: &'a [PackedSource],
    collection: &dyn ChunkSource,
    ranking: &Ranking,
) -> Result<Weighed<'a>, SearchError> {
    let per_source: Vec<Vec<Unit<'a>>> = sources.iter().enumerate().map(|(at, source)| units(at, source)).collect();
    let words = terms_and_words(question);
    let asked = Question {
        text: question,
        rarity: rarity(&words, collection, &per_source)?,
        wanted: words.into_keys().collect(),
        asked: Asked::by(question),
    };
    let terms = asked.wanted.len();
    if terms == 0 {
        return Ok(Weighed::default());
    }
    let mut units: Vec<Unit<'a>> = per_source.into_iter().zip(sources).flat_map(|(units, source)| asked.examine(units, source)).collect();
    for unit in &mut units {
        unit.score = ranking.by_words.weigh(&unit.evidence, terms);
    }
    let has_cosines = can_read(&collection.embedder().model().languages, question);
    if has_cosines {
        compare(question, &mut units, collection, ranking.embed_max)?;
        for unit in &mut units {
            unit.score = ranking.with_cosine.weigh(&unit.evidence, terms);
        }
    }
    Ok(Weighed { units, has_cosines, terms, is_open: asked.asked == Asked::Whether })
}

/// Places of units, best first; of equals the first.
pub(crate) fn best_first(units: &[Unit<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..units.len()).collect();
    let score = |at: &usize| units.get(*at).map_or(f32::MIN, |unit| unit.score);
    order.sort_by(|a, b| score(b).total_cmp(&score(a)).then(a.cmp(b)));
    order
}

fn rarity(
    words: &std::collections::BTreeMap<String, String>,
    collection: &dyn ChunkSource,
    per_source: &[Vec<Unit<'_>>],
) -> Result<Rarity, SearchError> {
    let asked: Vec<&str> = words.values().map(String::as_str).collect();
    Ok(match collection.occurrences(&asked)? {
        Some(found) => Rarity::counted(found.chunks, words.keys().cloned().zip(found.counts)),
        None => Rarity::among(per_source.iter().flatten().map(|unit| &unit.terms)),
    })
}

struct Question<'q> {
    text: &'q str,
    wanted: BTreeSet<String>,
    rarity: Rarity,
    asked: Asked,
}

impl Question<'_> {
    fn examine<'a>(&self, mut units: Vec<Unit<'a>>, source: &PackedSource) -> Vec<Unit<'a>> {
        let names = term_set(&format!("{} {}", source.hit.heading_path.join(" "), source.hit.document_name.replace(['_', '-', '.'], " ")));
        let all: BTreeSet<&str> = units.iter().flat_map(|unit| &unit.terms).chain(&names).map(String::as_str).collect();
        let in_source = self.share(|term| all.contains(term));
        let letters = letters_held(self.text, |term| all.contains(term));
        let evidence: Vec<Evidence> = (0..units.len())
            .map(|at| {
                let holds = |at: Option<usize>, term: &str| at.and_then(|at| units.get(at)).is_some_and(|unit| unit.terms.contains(term));
                let is_beside = |term: &str| holds(at.checked_sub(1), term) || holds(Some(at + 1), term);
                let text = units.get(at).map_or("", |unit| unit.text);
                Evidence {
                    own: self.share(|term| holds(Some(at), term)),
                    near: self.share(|term| holds(Some(at), term) || names.contains(term) || is_beside(term)),
                    source: in_source,
                    letters,
                    kind: self.asked.found_in(text, |word| term_set(word).is_subset(&self.wanted)),
                    place: 1.0 / f32::from(u16::try_from(source.number).unwrap_or(u16::MAX)),
                    cosine: 0.0,
                }
            })
            .collect();
        for (unit, evidence) in units.iter_mut().zip(evidence) {
            unit.evidence = evidence;
        }
        units
    }

    fn share(&self, holds: impl Fn(&str) -> bool) -> f32 {
        coverage(&self.wanted, &self.rarity, |term| if holds(term) { 1.0 } else { 0.0 })
    }
}

fn units(at: usize, source: &PackedSource) -> Vec<Unit<'_>> {
    let text = source.text();
    let unit = |sentence: Sentence| {
        let piece = text.get(sentence.range.clone()).unwrap_or_default();
        Unit {
            source: at,
            is_heading: sentence.kind == Kind::Heading || is_title(text, &sentence.range),
            text: piece,
            terms: term_set(piece),
            evidence: Evidence::default(),
            score: 0.0,
            range: sentence.range,
        }
    };
    with_their_lists(text, sentences(text)).into_iter().map(unit).collect()
}

/// A heading of a format that doesn't mark them (PDF, plain text): a few words alone on a line, without
/// an end, a number or a colon.
fn is_title(text: &str, range: &Range<usize>) -> bool {
    const WORDS_MAX: usize = 8;
    let words = text.get(range.clone()).unwrap_or_default().trim();
    let is_bare = |c: char| c.is_alphabetic() && !is_cjk(c) || c.is_whitespace() || matches!(c, '-' | ',' | '\'' | '’' | '&');
    stands_first(text, range) && words.split_whitespace().count() <= WORDS_MAX && words.chars().all(is_bare)
}

/// A sentence that announces a list says nothing without it: the two become one unit, as far as it
/// stays short.
fn with_their_lists(text: &str, sentences: Vec<Sentence>) -> Vec<Sentence> {
    const BYTES_MAX: usize = 600;
    let mut units: Vec<Sentence> = Vec::with_capacity(sentences.len());
    let mut announces = false;
    for sentence in sentences {
        let is_item = sentence.kind == Kind::Sentence && !stands_first(text, &sentence.range);
        match units.last_mut() {
            Some(unit) if announces && is_item && sentence.range.end - unit.range.start <= BYTES_MAX => unit.range.end = sentence.range.end,
            _ => {
                let words = text.get(sentence.range.clone()).unwrap_or_default();
                announces = sentence.kind == Kind::Sentence && words.trim_end_matches('*').ends_with([':', '：']);
                units.push(sentence);
            }
        }
    }
    units
}

/// Whether nothing but space stands before it on its line.
fn stands_first(text: &str, range: &Range<usize>) -> bool {
    let line_start = text.get(..range.start).map_or(0, |before| before.rfind('\n').map_or(0, |at| at + 1));
    text.get(line_start..range.start).is_some_and(|before| before.trim().is_empty())
}

/// Compares the best by words with the question.
fn compare(question: &str, units: &mut [Unit<'_>], collection: &dyn ChunkSource, embed_max: usize) -> Result<(), SearchError> {
    let is_answer = |at: &usize| units.get(*at).is_some_and(|unit| !unit.is_heading);
    let chosen: Vec<usize> = best_first(units).into_iter().filter(is_answer).take(embed_max).collect();
    if chosen.is_empty() {
        return Ok(());
    }
    // All as queries: one batch, ahead of ingest in the embedder's queue, and the same prefix on both
    // sides, as a comparison of two sentences wants it.
    let texts: Vec<&str> = std::iter::once(question).chain(chosen.iter().filter_map(|at| units.get(*at)).map(|unit| unit.text)).collect();
    let mut embedded = collection.embedder().embed(&texts, Purpose::Query, collection.errand())?.into_iter();
    let Some(question) = embedded.next() else { return Ok(()) };
    for (at, embedded) in chosen.into_iter().zip(embedded) {
        let cosine: f32 = question.embedding.iter().zip(embedded.embedding.iter()).map(|(a, b)| a * b).sum();
        if let Some(unit) = units.get_mut(at) {
            unit.evidence.cosine = cosine.clamp(0.0, 1.0);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_with_the_sentence_that_announces_it() {
        let text = "It takes three tools:\n\n- a brush\n- a file\n- oil\n\nThen it runs. See also:";
        let units = with_their_lists(text, sentences(text));
        let units: Vec<&str> = units.into_iter().map(|unit| &text[unit.range]).collect();
        assert_eq!(units, ["It takes three tools:\n\n- a brush\n- a file\n- oil", "Then it runs.", "See also:"]);
    }

    #[test]
    fn a_bare_line_is_a_title_and_a_list_item_is_not() {
        let is_title = |text: &str, piece: &str| {
            let start = text.find(piece).unwrap();
            super::is_title(text, &(start..start + piece.len()))
        };
        assert!(is_title("Intro.\n\nYearly service\nThe rings are changed.", "Yearly service"));
        for (text, piece) in [
            ("- green apples", "green apples"),
            ("price: 5 euros", "price: 5 euros"),
            ("It is done.", "It is done."),
            ("年度保养", "年度保养"),
        ] {
            assert!(!is_title(text, piece), "{text}");
        }
    }
}
