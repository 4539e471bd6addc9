//! Answers without a language model: the sentences of the sources that best support an answer.
//!
//! A sentence scores by the question's content terms that it holds, rare terms counting more, and
//! by the similarity of its embedding to the question's. Terms that stand nearby (in the sentences
//! around it, the headings, the document's name) count in part, since sentences say "it".
//! The same index and question give the same bytes. If no sentence scores enough there is no answer.

use crate::pack::PackedSource;
use crate::script::{can_read, is_cjk};
use crate::sentences::{Kind, Sentence, sentences};
use crate::terms::{Rarity, coverage, term_set};
use corpus::{EmbedError, Embedder, Errand, Purpose};
use std::collections::BTreeSet;
use std::ops::Range;

/// When a sentence is good enough, and how many are taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExtractiveParams {
    /// Most sentences in an answer: three are read at a glance.
    pub sentences_max: usize,
    /// Most sentences embedded, the best by words: each costs a few milliseconds on a small machine.
    pub embed_max: usize,
    /// How much words count beside the embedding, 0 to 1. Over half: a shared rare word is evidence,
    /// a near vector may only be the same topic.
    pub lexical_share: f32,
    /// What a term nearby counts, 0 to 1. Under half, so that the sentence that says a word itself wins.
    pub context_credit: f32,
    /// Least score of the best sentence, words and embedding mixed; below it there is no answer.
    pub answer_min: f32,
    /// The same where the model can't read the question and words alone must do.
    pub answer_min_lexical: f32,
    /// What further sentences must reach, as a share of the best score: padding is worse than brevity.
    pub further_min_share: f32,
}

impl Default for ExtractiveParams {
    fn default() -> Self {
        Self {
            sentences_max: 3,
            embed_max: 16,
            lexical_share: 0.6,
            context_credit: 0.4,
            answer_min: 0.4,
            answer_min_lexical: 0.34,
            further_min_share: 0.85,
        }
    }
}

/// A sentence taken into an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Support {
    /// Index into the sources.
    pub source: usize,
    /// Bytes of that source's packed text.
    pub range: Range<usize>,
    /// How well it supports the answer, 0 to 1.
    pub score: f32,
}

/// What the sources support.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Extracted {
    /// In the order of the sources and, within one, of its text; empty: no answer.
    pub support: Vec<Support>,
    /// Score of the best sentence, taken or not: what thresholds are calibrated on.
    pub best_score: f32,
}

/// Finds the sentences of `sources` that answer `question`. Blocking.
///
/// # Errors
/// [`EmbedError`]: an answer that depended on whether the embedder was busy would not be the same twice.
pub fn extract(
    question: &str,
    sources: &[PackedSource],
    embedder: &dyn Embedder,
    errand: &Errand,
    params: &ExtractiveParams,
) -> Result<Extracted, EmbedError> {
    let wanted = term_set(question);
    let mut candidates = candidates(&wanted, sources, params.context_credit);
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.place().cmp(&b.place())));
    let reads_question = can_read(&embedder.model().languages, question);
    if reads_question {
        candidates.truncate(params.embed_max);
        mix_similarity(question, &mut candidates, embedder, errand, params.lexical_share)?;
    }
    let least = if reads_question { params.answer_min } else { params.answer_min_lexical };
    let best_score = candidates.first().map_or(0.0, |best| best.score);
    let least = least.max(best_score * params.further_min_share);
    let mut taken = distinct(candidates.into_iter().filter(|candidate| candidate.score >= least), params.sentences_max);
    taken.sort_by_key(Candidate::place);
    let support = taken.into_iter().map(|one| Support { source: one.source, range: one.range, score: one.score }).collect();
    Ok(Extracted { support, best_score })
}

struct Candidate<'a> {
    source: usize,
    range: Range<usize>,
    text: &'a str,
    terms: BTreeSet<String>,
    score: f32,
}

impl Candidate<'_> {
    fn place(&self) -> (usize, usize) {
        (self.source, self.range.start)
    }
}

/// Every sentence with its score by words.
fn candidates<'a>(wanted: &BTreeSet<String>, sources: &'a [PackedSource], context_credit: f32) -> Vec<Candidate<'a>> {
    let per_source: Vec<Vec<(Kind, Candidate<'a>)>> = sources.iter().enumerate().map(|(at, source)| units(at, source)).collect();
    let rarity = Rarity::among(per_source.iter().flatten().map(|(_, unit)| &unit.terms));
    let mut found = Vec::new();
    for (source, units) in sources.iter().zip(per_source) {
        let names = term_set(&format!("{} {}", source.hit.heading_path.join(" "), source.hit.document_name.replace(['_', '-', '.'], " ")));
        let scores: Vec<f32> = (0..units.len()).map(|at| score_by_words(wanted, &rarity, &units, at, &names, context_credit)).collect();
        let scored = units.into_iter().zip(scores).map(|((kind, unit), score)| (kind, Candidate { score, ..unit }));
        // A heading names its section; it never answers.
        found.extend(scored.filter(|(kind, unit)| *kind != Kind::Heading && !is_title(source.text(), &unit.range)).map(|(_, unit)| unit));
    }
    found
}

/// A heading of a format that doesn't mark them (PDF, plain text): a few words alone on a line, without
/// an end, a number or a colon.
fn is_title(text: &str, range: &Range<usize>) -> bool {
    const WORDS_MAX: usize = 8;
    let words = text.get(range.clone()).unwrap_or_default().trim();
    let is_bare = |c: char| c.is_alphabetic() && !is_cjk(c) || c.is_whitespace() || matches!(c, '-' | ',' | '\'' | '’' | '&');
    stands_first(text, range) && words.split_whitespace().count() <= WORDS_MAX && words.chars().all(is_bare)
}

fn units(at: usize, source: &PackedSource) -> Vec<(Kind, Candidate<'_>)> {
    let text = source.text();
    let unit = |range: Range<usize>| {
        let piece = text.get(range.clone()).unwrap_or_default();
        Candidate { source: at, range, text: piece, terms: term_set(piece), score: 0.0 }
    };
    with_their_lists(text, sentences(text)).into_iter().map(|sentence| (sentence.kind, unit(sentence.range))).collect()
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

fn score_by_words(
    wanted: &BTreeSet<String>,
    rarity: &Rarity,
    units: &[(Kind, Candidate<'_>)],
    at: usize,
    names: &BTreeSet<String>,
    context_credit: f32,
) -> f32 {
    let holds = |at: Option<usize>, term: &str| at.and_then(|at| units.get(at)).is_some_and(|(_, unit)| unit.terms.contains(term));
    let own = coverage(wanted, rarity, |term| if holds(Some(at), term) { 1.0 } else { 0.0 });
    if own == 0.0 {
        // Company alone is no support.
        return 0.0;
    }
    coverage(wanted, rarity, |term| {
        if holds(Some(at), term) {
            1.0
        } else if names.contains(term) || holds(at.checked_sub(1), term) || holds(Some(at + 1), term) {
            context_credit
        } else {
            0.0
        }
    })
}

/// Replaces each score by the mix of it and the similarity to the question, and sorts again.
fn mix_similarity(
    question: &str,
    candidates: &mut [Candidate<'_>],
    embedder: &dyn Embedder,
    errand: &Errand,
    lexical_share: f32,
) -> Result<(), EmbedError> {
    if candidates.is_empty() {
        return Ok(());
    }
    // All as queries: one batch, ahead of ingest in the embedder's queue, and the same prefix on both
    // sides, as a comparison of two sentences wants it.
    let texts: Vec<&str> = std::iter::once(question).chain(candidates.iter().map(|candidate| candidate.text)).collect();
    let mut embedded = embedder.embed(&texts, Purpose::Query, errand)?.into_iter();
    let Some(question) = embedded.next() else { return Ok(()) };
    for (candidate, embedded) in candidates.iter_mut().zip(embedded) {
        let cosine: f32 = question.embedding.iter().zip(embedded.embedding.iter()).map(|(a, b)| a * b).sum();
        candidate.score = lexical_share * candidate.score + (1.0 - lexical_share) * cosine.clamp(0.0, 1.0);
    }
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.place().cmp(&b.place())));
    Ok(())
}

/// The first `most` that do not repeat one another's terms.
fn distinct<'a>(candidates: impl Iterator<Item = Candidate<'a>>, most: usize) -> Vec<Candidate<'a>> {
    let mut taken: Vec<Candidate<'a>> = Vec::new();
    for candidate in candidates {
        let repeats = taken.iter().any(|other| candidate.terms.is_subset(&other.terms));
        if taken.len() < most && !repeats {
            taken.push(candidate);
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeSource;
    use crate::fuse::LegWeights;
    use crate::pack::pack;
    use crate::search::{SearchRequest, search};
    use corpus::Principals;

    fn library() -> FakeSource {
        let mut source = FakeSource::new(&["en"]);
        source.add(
            "bridge.md",
            "# The Garnet Bridge\n\nThe bridge was opened in 1931. It is 420 metres long. Engineers from Lund designed it.",
        );
        source.add("缓存.md", "语义缓存的默认阈值是 0.92。它按租户分区。\n\n熔断器有三种状态：关闭、打开和半开。");
        source.add("bread.md", "Rye bread needs a sour dough. It keeps for a week; wheat bread does not.");
        source
    }

    fn answer(question: &str) -> Vec<String> {
        let source = library();
        let hits = search(&source, &SearchRequest::new(question), &Principals::All, LegWeights::default()).unwrap().hits;
        let packed = pack(hits, 1000, &|_, text| text.len());
        let found = extract(question, &packed.sources, &source.embedder, &Errand::default(), &ExtractiveParams::default()).unwrap();
        found.support.iter().map(|one| packed.sources[one.source].text()[one.range.clone()].to_owned()).collect()
    }

    #[test]
    fn the_sentence_that_answers_is_taken() {
        assert_eq!(answer("When was the bridge opened?"), ["The bridge was opened in 1931."]);
        assert_eq!(answer("Who designed the bridge?"), ["Engineers from Lund designed it."]);
        assert_eq!(answer("What does rye bread need?"), ["Rye bread needs a sour dough."]);
    }

    #[test]
    fn chinese_is_answered_by_words() {
        assert_eq!(answer("语义缓存的默认阈值是多少？"), ["语义缓存的默认阈值是 0.92。"]);
        assert_eq!(answer("熔断器有哪些状态？"), ["熔断器有三种状态：关闭、打开和半开。"]);
    }

    #[test]
    fn what_nothing_supports_is_not_answered() {
        for foreign in ["Who won the chess championship in Reykjavik?", "How many moons orbit Jupiter?", "北京的人口是多少？", "What?"]
        {
            assert_eq!(answer(foreign), Vec::<String>::new(), "{foreign}");
        }
    }

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

    #[test]
    fn a_broken_embedder_is_an_error_not_another_answer() {
        let source = library();
        let hits = search(&source, &SearchRequest::new("bridge"), &Principals::All, LegWeights::default()).unwrap().hits;
        source.embedder.is_broken.store(true, std::sync::atomic::Ordering::Relaxed);
        let packed = pack(hits, 1000, &|_, text| text.len());
        assert!(extract("bridge", &packed.sources, &source.embedder, &Errand::default(), &ExtractiveParams::default()).is_err());
    }
}
