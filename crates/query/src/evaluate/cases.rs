//! What is asked, and what is known to be right.

use super::answers::Given;
use super::beir::{BeirSet, BeirText, GoldAnswer};
use super::squad::folded;
use crate::search::{InvalidSearch, validate_query};
use crate::sentences::sentences;
use crate::terms::{Rarity, coverage, term_set};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Most right answers, pieces of evidence or relevant documents of a case.
const LIST_MAX: usize = 1000;
/// Longest of them, and of an id.
const TEXT_BYTES_MAX: usize = 16 * 1024;
const ID_BYTES_MAX: usize = 256;
/// A sentence that carries this share of what the best one carries of an author's conclusion is evidence too.
const NEARLY_BEST: f32 = 0.8;

/// One question.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The asker's own name for it; its number, from 1, where there is none.
    #[serde(default)]
    pub id: Option<String>,
    /// The question.
    pub question: String,
    /// Short answers, any of which is right.
    #[serde(default, deserialize_with = "one_or_many")]
    pub expected: Vec<String>,
    /// Texts that carry the answer.
    #[serde(default, deserialize_with = "one_or_many")]
    pub evidence: Vec<String>,
    /// Whether the collection answers it; it does unless this is false.
    #[serde(default)]
    pub answerable: Option<bool>,
    /// Ids or external ids of the right documents, each with its gain.
    #[serde(default)]
    pub relevant: BTreeMap<String, f64>,
}

/// What is wrong with a case.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidCase {
    /// The question.
    #[error(transparent)]
    Question(#[from] InvalidSearch),
    /// Too many or too long.
    #[error("{0} may have {LIST_MAX} entries of {TEXT_BYTES_MAX} bytes each, an id {ID_BYTES_MAX}")]
    TooMuch(&'static str),
    /// Nothing in it: any answer would hold that.
    #[error("{0} has an entry without a letter or digit")]
    Empty(&'static str),
    /// Not a number from which figures can be made.
    #[error("a gain in relevant must be a finite number")]
    Gain,
}

impl Case {
    /// Whether the collection answers it.
    #[must_use]
    pub fn is_answerable(&self) -> bool {
        self.answerable.unwrap_or(true)
    }

    /// What a judge compares an answer with: the right answers, or else the evidence.
    #[must_use]
    pub fn references(&self) -> &[String] {
        if self.expected.is_empty() { &self.evidence } else { &self.expected }
    }

    /// Whether a judge has something to say: there is an answer, and something to compare it with.
    #[must_use]
    pub fn can_be_judged(&self, given: &Given) -> bool {
        self.is_answerable() && !given.abstained && !self.references().is_empty()
    }

    /// # Errors
    /// The first [`InvalidCase`] met.
    pub fn validate(&self) -> Result<(), InvalidCase> {
        validate_query(&self.question)?;
        for (field, texts) in [("expected", &self.expected), ("evidence", &self.evidence)] {
            if texts.len() > LIST_MAX || texts.iter().any(|text| text.len() > TEXT_BYTES_MAX) {
                return Err(InvalidCase::TooMuch(field));
            }
            if !texts.iter().all(|text| says(text)) {
                return Err(InvalidCase::Empty(field));
            }
        }
        if self.relevant.len() > LIST_MAX || self.relevant.keys().any(|id| id.len() > TEXT_BYTES_MAX) {
            return Err(InvalidCase::TooMuch("relevant"));
        }
        if self.id.as_ref().is_some_and(|id| id.len() > ID_BYTES_MAX) {
            return Err(InvalidCase::TooMuch("id"));
        }
        if self.relevant.values().all(|gain| gain.is_finite()) { Ok(()) } else { Err(InvalidCase::Gain) }
    }
}

/// Whether there is something to compare with.
fn says(text: &str) -> bool {
    text.chars().any(char::is_alphanumeric)
}

fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Option::deserialize(from)? {
        None => Vec::new(),
        Some(OneOrMany::One(text)) => vec![text],
        Some(OneOrMany::Many(texts)) => texts,
    })
}

/// The questions of a set. Evidence is made from what the set has, by our own cutting into sentences:
/// the sentences of a relevant document that hold a right answer at whole words; or the supporting
/// sentences by their number; or, where there is only a conclusion in the authors' own words, the
/// sentences that carry most of its terms (silver, not gold: nobody judged them).
#[must_use]
pub fn cases_of(set: &BeirSet) -> Vec<Case> {
    let documents: HashMap<&str, &BeirText> = set.documents.iter().map(|document| (document.id.as_str(), document)).collect();
    let nothing = GoldAnswer::default();
    let case = |query: &BeirText| {
        let judged = set.judgements.get(&query.id).into_iter().flatten().filter(|(_, gain)| **gain > 0.0);
        let relevant: BTreeMap<String, f64> = judged.map(|(id, gain)| (id.clone(), *gain)).collect();
        let gold = set.answers.get(&query.id).unwrap_or(&nothing);
        let texts: Vec<&str> = relevant.keys().filter_map(|id| documents.get(id.as_str())).map(|document| document.text.as_str()).collect();
        let evidence = if !gold.supporting_facts.is_empty() {
            gold.supporting_facts.iter().filter_map(|(id, number)| nth_sentence(&documents.get(id.as_str())?.text, *number)).collect()
        } else if !gold.answers.is_empty() {
            let wanted: Vec<String> = gold.answers.iter().filter(|answer| says(answer)).map(|answer| folded(answer)).collect();
            let holds = |sentence: &str| wanted.iter().any(|answer| folded(sentence).contains(answer));
            texts.iter().flat_map(|text| cut(text)).filter(|sentence| holds(sentence)).map(str::to_owned).collect()
        } else {
            gold.long_answer.iter().flat_map(|conclusion| carriers(conclusion, &texts)).collect()
        };
        let expected = gold.answers.iter().filter(|answer| says(answer)).cloned().collect();
        Case { id: Some(query.id.clone()), question: query.text.clone(), expected, evidence, answerable: None, relevant }
    };
    set.queries.iter().map(case).collect()
}

fn cut(text: &str) -> impl Iterator<Item = &str> {
    sentences(text).into_iter().filter_map(|sentence| text.get(sentence.range))
}

fn nth_sentence(text: &str, number: usize) -> Option<String> {
    cut(text).nth(number).map(str::to_owned)
}

/// The sentences that carry most of a conclusion's terms, the rare ones counting more.
fn carriers(conclusion: &str, texts: &[&str]) -> Vec<String> {
    let wanted = term_set(conclusion);
    let sentences: Vec<_> = texts.iter().flat_map(|text| cut(text)).map(|sentence| (term_set(sentence), sentence)).collect();
    let rarity = Rarity::among(sentences.iter().map(|(terms, _)| terms));
    let share = |terms: &BTreeSet<String>| coverage(&wanted, &rarity, |term| f32::from(u8::from(terms.contains(term))));
    let carried: Vec<(f32, &str)> = sentences.iter().map(|(terms, sentence)| (share(terms), *sentence)).collect();
    let best = carried.iter().map(|(share, _)| *share).fold(0.0, f32::max);
    let nearly = carried.into_iter().filter(|(share, _)| best > 0.0 && *share >= best * NEARLY_BEST);
    nearly.map(|(_, sentence)| sentence.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Judgements;

    fn set(gold: GoldAnswer) -> BeirSet {
        let document = BeirText {
            id: "d".into(),
            title: String::new(),
            text: "The lamp burned colza oil in 1850. It cost 18 francs. Keepers trimmed the wick twice a night.".into(),
        };
        let query = BeirText { id: "q".into(), title: String::new(), text: "What did it burn?".into() };
        BeirSet {
            name: "s".into(),
            documents: vec![document],
            queries: vec![query],
            judgements: HashMap::from([("q".to_owned(), Judgements::from([("d".to_owned(), 1.0)]))]),
            answers: HashMap::from([("q".to_owned(), gold)]),
        }
    }

    fn evidence(gold: GoldAnswer) -> Vec<String> {
        cases_of(&set(gold)).remove(0).evidence
    }

    #[test]
    fn evidence_is_a_sentence_of_the_document() {
        let span = GoldAnswer { answers: vec!["colza oil".into()], ..GoldAnswer::default() };
        assert_eq!(evidence(span), ["The lamp burned colza oil in 1850."]);
        let whole_words = GoldAnswer { answers: vec!["18".into()], ..GoldAnswer::default() };
        assert_eq!(evidence(whole_words), ["It cost 18 francs."], "18 does not stand in 1850");
        let facts = GoldAnswer { supporting_facts: vec![("d".into(), 2), ("gone".into(), 0)], ..GoldAnswer::default() };
        assert_eq!(evidence(facts), ["Keepers trimmed the wick twice a night."]);
        let conclusion = GoldAnswer { long_answer: Some("Trimming wicks at night was the keepers' duty.".into()), ..GoldAnswer::default() };
        assert_eq!(evidence(conclusion), ["Keepers trimmed the wick twice a night."]);
        assert!(evidence(GoldAnswer::default()).is_empty());
    }

    #[test]
    fn a_case_takes_one_answer_or_many_and_nothing_unknown() {
        let case: Case = serde_json::from_str(r#"{"question":"q","expected":"a","evidence":["b","c"],"id":null}"#).unwrap();
        assert_eq!((case.expected.len(), case.evidence.len(), case.is_answerable()), (1, 2, true));
        assert!(serde_json::from_str::<Case>(r#"{"question":"q","answer":"a"}"#).is_err());
        assert!(Case { question: " ".into(), ..Case::default() }.validate().is_err());
        let far = Case { question: "q".into(), relevant: BTreeMap::from([("d".into(), f64::NAN)]), ..Case::default() };
        assert_eq!(far.validate(), Err(InvalidCase::Gain));
        let hollow = Case { question: "q".into(), evidence: vec!["b".into(), " – ".into()], ..Case::default() };
        assert_eq!(hollow.validate(), Err(InvalidCase::Empty("evidence")));
    }
}
