//! Answers without a language model: the sentences of the sources that best support an answer.
//!
//! Sentences are ranked by what speaks for them ([`Evidence`](crate::Evidence)). Whether there is an answer at all is
//! another question, and has weights of its own: those of a logistic regression on judged questions, some
//! asked of collections that have the answer and some of collections that lack it. The same index and question
//! give the same bytes. A sentence that leans on the one before ("It …", "However, …") takes that with it.

use crate::evidence::{Ranking, Unit, Weights, best_first, weigh};
use crate::pack::PackedSource;
use crate::retrieve::ChunkSource;
use crate::search::SearchError;
use std::ops::Range;

/// When a sentence is good enough, and how many are taken.
///
/// The weights were fitted on one half of xquad-en, pubmedqa-l and hotpotqa-100, for questions that the embedding
/// model can't read of xquad-zh, cmrc2018-trial and drcd-dev; the figures on the other half stand in BENCHMARKS.md.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExtractiveParams {
    /// Most sentences in an answer, beside those they lean on: three are read at a glance.
    pub sentences_max: usize,
    /// The same for a question without a question word: a fact is named in one sentence, findings are told in several.
    pub sentences_open_max: usize,
    /// Most sentences embedded, the best by words: each costs a few milliseconds on a small machine.
    pub embed_max: usize,
    /// What sentences are ranked by.
    pub rank: Weights,
    /// The same by words alone: before any is embedded, and where the model can't read the question.
    pub rank_by_words: Weights,
    /// How much less than the best a further sentence may weigh: padding is worse than brevity.
    pub margin: f32,
    /// The same for a question without a question word: its findings share fewer of its words than a fact does.
    pub margin_open: f32,
    /// Log odds that the best sentence answers.
    pub trust: Weights,
    /// The same where the model can't read the question.
    pub trust_by_words: Weights,
    /// Least confidence for an answer, 0 to 1.
    pub confidence_min: f32,
    /// The same where the model can't read the question.
    pub confidence_min_by_words: f32,
}

impl Default for ExtractiveParams {
    fn default() -> Self {
        let none = Weights::default();
        Self {
            sentences_max: 3,
            sentences_open_max: 5,
            embed_max: 16,
            rank: Weights { own: 3.0, near: 0.9, source: 1.8, kind: 1.2, place: 2.1, cosine: 2.7, ..none },
            rank_by_words: Weights { own: 4.3, near: 3.3, source: 2.9, kind: 1.2, place: 2.7, ..none },
            margin: 3.0,
            margin_open: 4.0,
            trust: Weights { own: 1.9, near: 2.5, source: 4.0, cosine: 5.4, bias: -6.8, ..none },
            trust_by_words: Weights { own: 1.9, near: 2.5, source: 2.5, letters: 5.5, terms: 0.9, bias: -7.3, ..none },
            confidence_min: 0.5,
            confidence_min_by_words: 0.28,
        }
    }
}

impl ExtractiveParams {
    pub(crate) fn ranking(&self) -> Ranking {
        Ranking { with_cosine: self.rank, by_words: self.rank_by_words, embed_max: self.embed_max }
    }
}

/// A sentence taken into an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Support {
    /// Index into the sources.
    pub source: usize,
    /// Bytes of that source's packed text.
    pub range: Range<usize>,
    /// What it is ranked by; no probability.
    pub score: f32,
}

/// What the sources support.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Extracted {
    /// In the order of the sources and, within one, of its text; empty: no answer.
    pub support: Vec<Support>,
    /// How likely it is that the best sentence answers, taken or not: 0 to 1.
    pub confidence: f32,
}

/// Finds the sentences of `sources` that answer `question`. Blocking.
///
/// # Errors
/// [`SearchError`] if the embedder or the collection fails: an answer that depended on it would not be the same twice.
pub fn extract(
    question: &str,
    sources: &[PackedSource],
    collection: &dyn ChunkSource,
    params: &ExtractiveParams,
) -> Result<Extracted, SearchError> {
    let weighed = weigh(question, sources, collection, &params.ranking())?;
    let units = &weighed.units;
    let answers = best_first(units).into_iter().filter_map(|at| Some((at, units.get(at)?))).filter(|(_, unit)| !unit.is_heading);
    let ranked: Vec<(usize, &Unit<'_>)> = answers.collect();
    let Some((_, best)) = ranked.first() else { return Ok(Extracted::default()) };
    let (trust, least) =
        if weighed.has_cosines { (&params.trust, params.confidence_min) } else { (&params.trust_by_words, params.confidence_min_by_words) };
    let confidence = logistic(trust.weigh(&best.evidence, weighed.terms));
    if confidence < least {
        return Ok(Extracted { support: Vec::new(), confidence });
    }
    let (most, margin) =
        if weighed.is_open { (params.sentences_open_max, params.margin_open) } else { (params.sentences_max, params.margin) };
    let close = ranked.iter().filter(|(_, unit)| unit.score >= best.score - margin);
    let mut taken = distinct(close.copied(), most);
    for leaned_on in taken.clone().into_iter().filter_map(|at| antecedent(units, at)) {
        if !taken.contains(&leaned_on) {
            taken.push(leaned_on);
        }
    }
    taken.sort_unstable();
    let support = taken.into_iter().filter_map(|at| units.get(at));
    let support = support.map(|unit| Support { source: unit.source, range: unit.range.clone(), score: unit.score });
    Ok(Extracted { support: support.collect(), confidence })
}

fn logistic(odds: f32) -> f32 {
    1.0 / (1.0 + (-odds).exp())
}

/// Terms that two sentences share, of those that either has, from which on they say the same.
const REPEATS: f32 = 0.8;

/// The first `most` that do not repeat one another's terms.
fn distinct<'a>(ranked: impl Iterator<Item = (usize, &'a Unit<'a>)>, most: usize) -> Vec<usize> {
    let mut taken: Vec<(usize, &Unit<'_>)> = Vec::new();
    for (at, unit) in ranked {
        if taken.len() < most && !taken.iter().any(|(_, other)| repeats(unit, other)) {
            taken.push((at, unit));
        }
    }
    taken.into_iter().map(|(at, _)| at).collect()
}

#[expect(clippy::cast_precision_loss, reason = "terms of a sentence")]
fn repeats(unit: &Unit<'_>, other: &Unit<'_>) -> bool {
    let shared = unit.terms.intersection(&other.terms).count();
    let either = unit.terms.len() + other.terms.len() - shared;
    shared == unit.terms.len() || shared as f32 >= REPEATS * either as f32
}

/// What a sentence begins with that leans on the one before.
const LEANING: &str = " it its they their them this these those he she his her such however but also therefore thus moreover \
    furthermore hence instead likewise similarly both ";
const LEANING_CJK: [&str; 24] = [
    "它", "他", "她", "其", "该", "該", "此", "这", "這", "那", "但", "然而", "不过", "不過", "因此", "所以", "于是", "於是", "同时",
    "同時", "而且", "并且", "並且", "前者",
];
/// A sentence that holds this share of the question's terms stands by itself.
const STANDS_ALONE: f32 = 0.75;
/// Longest sentence that is taken along, in bytes.
const ANTECEDENT_BYTES_MAX: usize = 400;

/// The sentence or heading before, if this one can't be understood without.
pub(crate) fn antecedent(units: &[Unit<'_>], at: usize) -> Option<usize> {
    let (unit, before) = (units.get(at)?, at.checked_sub(1)?);
    let is_near = units.get(before).is_some_and(|other| other.source == unit.source && other.range.len() <= ANTECEDENT_BYTES_MAX);
    (is_near && unit.evidence.own < STANDS_ALONE && leans(unit.text)).then_some(before)
}

fn leans(sentence: &str) -> bool {
    let start = sentence.trim_start_matches(|c: char| !c.is_alphanumeric());
    let word: String = start.chars().take_while(|c| c.is_alphabetic()).flat_map(char::to_lowercase).collect();
    LEANING.contains(&format!(" {word} ")) || LEANING_CJK.iter().any(|word| start.starts_with(word))
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
        let found = extract(question, &packed.sources, &source, &ExtractiveParams::default()).unwrap();
        found.support.iter().map(|one| packed.sources[one.source].text()[one.range.clone()].to_owned()).collect()
    }

    #[test]
    fn the_sentence_that_answers_is_taken() {
        assert_eq!(answer("When was the bridge opened?"), ["The bridge was opened in 1931."]);
        assert_eq!(answer("Who designed the bridge?").last().map(String::as_str), Some("Engineers from Lund designed it."));
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

    fn answer_from(question: &str, documents: &[&str]) -> Vec<String> {
        let mut source = FakeSource::new(&["en"]);
        for (at, text) in documents.iter().enumerate() {
            source.add(&format!("{at}.md"), text);
        }
        let hits = search(&source, &SearchRequest::new(question), &Principals::All, LegWeights::default()).unwrap().hits;
        let packed = pack(hits, 1000, &|_, text| text.len());
        let found = extract(question, &packed.sources, &source, &ExtractiveParams::default()).unwrap();
        found.support.iter().map(|one| packed.sources[one.source].text()[one.range.clone()].to_owned()).collect()
    }

    /// Something else to be rare among.
    const OTHERS: [&str; 3] = ["Rye bread needs a sour dough.", "Wolves hunt at night in small packs.", "潮汐由月球引起。"];

    #[test]
    fn a_sentence_that_leans_on_another_comes_with_it() {
        let text = "The Garnet bridge crosses the Sound. It was designed by engineers from Lund in a contest of the town.";
        let found =
            answer_from("Which engineers designed it in a contest of the town, from Lund or Oslo?", &[&[text], &OTHERS[..]].concat());
        assert_eq!(found, ["It was designed by engineers from Lund in a contest of the town."], "it holds nearly all of the question");
        let found = answer_from("Who designed the Garnet bridge?", &[&[text], &OTHERS[..]].concat());
        let both = ["The Garnet bridge crosses the Sound.", "It was designed by engineers from Lund in a contest of the town."];
        assert_eq!(found, both);
        assert_eq!(
            answer_from("石榴桥是谁设计的？", &["石榴桥横跨海峡。它由隆德的工程师设计。", OTHERS[2]]),
            ["石榴桥横跨海峡。", "它由隆德的工程师设计。"]
        );
        assert!(leans("However, it fell.") && leans("“They left.”") && leans("此外，它很长。") && !leans("Item one is long."));
    }

    #[test]
    fn what_two_sources_say_is_said_once() {
        let documents = ["The Garnet bridge was opened in May 1931.", "In May 1931 the Garnet bridge was opened.", OTHERS[0], OTHERS[1]];
        assert_eq!(answer_from("When was the Garnet bridge opened?", &documents).len(), 1);
    }

    #[test]
    fn confidence_falls_with_what_is_missing() {
        let source = library();
        let confidence = |question: &str| {
            let hits = search(&source, &SearchRequest::new(question), &Principals::All, LegWeights::default()).unwrap().hits;
            let packed = pack(hits, 1000, &|_, text| text.len());
            extract(question, &packed.sources, &source, &ExtractiveParams::default()).unwrap().confidence
        };
        let falling = [
            "When was the bridge opened?",
            "When was the bridge opened by the king?",
            "When was the canal opened by the king of Norway?",
            "Who sold the canal to Norway?",
        ];
        let confidences = falling.map(confidence);
        assert!(confidences.is_sorted_by(|a, b| a > b), "{confidences:?}");
        assert!(confidence("熔断器有哪些状态？") > 0.5 && confidence("北京的人口是多少？") < 0.2);
    }

    #[test]
    fn a_broken_embedder_is_an_error_not_another_answer() {
        let source = library();
        let hits = search(&source, &SearchRequest::new("bridge"), &Principals::All, LegWeights::default()).unwrap().hits;
        source.embedder.is_broken.store(true, std::sync::atomic::Ordering::Relaxed);
        let packed = pack(hits, 1000, &|_, text| text.len());
        assert!(extract("bridge", &packed.sources, &source, &ExtractiveParams::default()).is_err());
    }
}
