//! An answer against what is known to be right, and the means over many.
//!
//! Texts are compared by their tokens: letters and digits in lower case, each Chinese character alone.
//! Markers such as `[1]` are taken out of an answer first. An abstention from a question that can be
//! answered is a miss in every figure, not an answer that is left out.

use super::cases::Case;
use super::compare::{QueryScores, mean};
use super::judge::Judgement;
use super::squad::{exact_match, f1, folded};
use crate::metrics::ratio;
use serde::{Deserialize, Serialize};

/// The judge's score from which on an answer passes.
pub const PASS_DEFAULT: f64 = 0.7;
/// Bytes of an answer that a result keeps.
const ANSWER_BYTES_KEPT: usize = 8 * 1024;
/// Bytes of a judge's reason.
const REASON_BYTES_KEPT: usize = 1024;

/// An answer as `POST …/query` gives it, in what counts here.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Given {
    /// The words.
    pub answer: String,
    /// What they rest on.
    #[serde(default)]
    pub citations: Vec<GivenCitation>,
    /// What the context was.
    #[serde(default)]
    pub sources: Vec<GivenSource>,
    /// `generated` or `extractive`.
    #[serde(default)]
    pub mode: String,
    /// Whether it says that the documents don't answer.
    pub abstained: bool,
    /// Tokens of the model.
    #[serde(default)]
    pub usage: GivenUsage,
    /// US dollars.
    #[serde(default)]
    pub cost_usd: Option<f64>,
}

/// A citation.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct GivenCitation {
    /// The sentence of the source.
    pub quote: String,
    /// `supported` or what is wrong.
    #[serde(default)]
    pub verdict: String,
}

/// A chunk of the context.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct GivenSource {
    /// Its document.
    pub document_id: String,
    /// The caller's id of that.
    #[serde(default)]
    pub external_id: Option<String>,
    /// Its text.
    pub text: String,
}

/// What a model used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
pub struct GivenUsage {
    /// Tokens read.
    #[serde(default)]
    pub prompt_tokens: u64,
    /// Tokens written.
    #[serde(default)]
    pub completion_tokens: u64,
}

/// What was measured of one case; null: there is nothing to measure it by.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CaseScore {
    /// The case.
    pub id: String,
    /// The question.
    pub question: String,
    /// The answer, its first 8 KiB.
    pub answer: String,
    /// `generated` or `extractive`.
    pub mode: String,
    /// Whether the collection answers the question.
    pub answerable: bool,
    /// Whether the answer says that it doesn't.
    pub abstained: bool,
    /// 1 or 0.
    pub exact_match: Option<f64>,
    /// 0 to 1.
    pub f1: Option<f64>,
    /// Whether a piece of evidence stands in the answer or in one of its quotes.
    pub evidence_hit: Option<bool>,
    /// Whether the right document is among the sources.
    pub retrieved: Option<bool>,
    /// Citations.
    pub citations: usize,
    /// Those that quote evidence, or, where none is known, carry the verdict `supported`.
    pub citations_right: usize,
    /// Share of the pieces of evidence that are quoted.
    pub citation_recall: Option<f64>,
    /// The judge's score, 0 to 1.
    pub judge_score: Option<f64>,
    /// Why.
    pub judge_reason: Option<String>,
    /// Whether a judge was asked and gave no verdict that can be read.
    pub judge_unreadable: bool,
    /// Tokens that models read.
    pub prompt_tokens: u64,
    /// Tokens that they wrote.
    pub completion_tokens: u64,
    /// US dollars; null where no price is known.
    pub cost_usd: Option<f64>,
}

impl CaseScore {
    /// Measures one answer.
    #[must_use]
    pub fn of(id: String, case: &Case, given: &Given) -> Self {
        let bare = without_markers(&given.answer);
        let said = if given.abstained { "" } else { bare.as_str() };
        let (is_answerable, has_expected) = (case.is_answerable(), !case.expected.is_empty());
        let cited = Cited::of(case, given);
        Self {
            id,
            question: case.question.clone(),
            answer: cut(&given.answer, ANSWER_BYTES_KEPT),
            mode: given.mode.clone(),
            answerable: is_answerable,
            abstained: given.abstained,
            exact_match: (is_answerable && has_expected).then(|| exact_match(said, &case.expected)),
            f1: (is_answerable && has_expected).then(|| f1(said, &case.expected)),
            evidence_hit: (is_answerable && !case.evidence.is_empty()).then(|| cited.hits_evidence(said)),
            retrieved: retrieved(case, given).filter(|_| is_answerable),
            citations: given.citations.len(),
            citations_right: cited.right(given),
            citation_recall: (is_answerable && !case.evidence.is_empty()).then(|| cited.recall()),
            judge_score: None,
            judge_reason: None,
            judge_unreadable: false,
            prompt_tokens: given.usage.prompt_tokens,
            completion_tokens: given.usage.completion_tokens,
            cost_usd: given.cost_usd,
        }
    }

    /// With what a judge said of it; `None` can't be read.
    #[must_use]
    pub fn judged(mut self, verdict: Option<Judgement>, prompt_tokens: u64, completion_tokens: u64, cost_usd: Option<f64>) -> Self {
        self.judge_unreadable = verdict.is_none();
        (self.judge_score, self.judge_reason) = verdict.map(|verdict| (verdict.score, cut(&verdict.reason, REASON_BYTES_KEPT))).unzip();
        self.prompt_tokens += prompt_tokens;
        self.completion_tokens += completion_tokens;
        self.cost_usd = self.cost_usd.or(cost_usd.map(|_| 0.0)).map(|cost| cost + cost_usd.unwrap_or_default());
        self
    }

    /// Its figures by name, as two runs are compared by them.
    #[must_use]
    pub fn scores(&self) -> QueryScores {
        let flag = |is: bool| f64::from(u8::from(is));
        let precision = (self.answerable && self.citations > 0).then(|| ratio(self.citations_right, self.citations));
        let named = [
            ("exact_match", self.exact_match),
            ("f1", self.f1),
            ("evidence_hit", self.evidence_hit.map(flag)),
            ("retrieved", self.retrieved.map(flag)),
            ("citation_precision", precision),
            ("citation_recall", self.citation_recall),
            ("judge_score", self.judge_score),
            ("abstained_rightly", Some(flag(self.abstained != self.answerable))),
        ];
        named.into_iter().filter_map(|(name, value)| value.map(|value| (name.to_owned(), value))).collect()
    }
}

/// Quotes and evidence by their tokens.
struct Cited {
    quotes: Vec<String>,
    evidence: Vec<String>,
    expected: Vec<String>,
}

impl Cited {
    fn of(case: &Case, given: &Given) -> Self {
        let fold = |texts: &[String]| texts.iter().map(|text| folded(text)).collect();
        let quotes = given.citations.iter().map(|citation| folded(&citation.quote)).collect();
        Self { quotes, evidence: fold(&case.evidence), expected: fold(&case.expected) }
    }

    /// Evidence stands in the answer or in a quote as a whole, or a quote is a part of it that holds a right answer.
    fn hits_evidence(&self, said: &str) -> bool {
        let said = folded(said);
        let holds_answer = |quote: &String| self.expected.iter().any(|answer| quote.contains(answer));
        let is_part = |quote: &&String, evidence: &String| evidence.contains(quote.as_str()) && holds_answer(quote);
        let is_quoted = |evidence: &String| self.quotes.iter().any(|quote| quote.contains(evidence) || is_part(&quote, evidence));
        self.evidence.iter().any(|evidence| said.contains(evidence) || is_quoted(evidence))
    }

    fn right(&self, given: &Given) -> usize {
        if self.evidence.is_empty() {
            return given.citations.iter().filter(|citation| citation.verdict == "supported").count();
        }
        self.quotes.iter().filter(|quote| self.evidence.iter().any(|evidence| overlap(quote, evidence))).count()
    }

    fn recall(&self) -> f64 {
        let is_quoted = |evidence: &&String| self.quotes.iter().any(|quote| overlap(quote, evidence));
        ratio(self.evidence.iter().filter(is_quoted).count(), self.evidence.len())
    }
}

/// Whether one is in the other, and neither is empty (then it is one mark).
fn overlap(quote: &str, evidence: &str) -> bool {
    quote.len() > 1 && evidence.len() > 1 && (quote.contains(evidence) || evidence.contains(quote))
}

/// By the documents that are known to be right, or else by the evidence.
fn retrieved(case: &Case, given: &Given) -> Option<bool> {
    if case.relevant.is_empty() {
        let evidence: Vec<String> = case.evidence.iter().map(|evidence| folded(evidence)).collect();
        let holds = |source: &GivenSource| {
            let text = folded(&source.text);
            evidence.iter().any(|evidence| text.contains(evidence))
        };
        return (!evidence.is_empty()).then(|| given.sources.iter().any(holds));
    }
    let is_right = |id: &str| case.relevant.get(id).is_some_and(|gain| *gain > 0.0);
    let is_of_right = |source: &GivenSource| is_right(&source.document_id) || source.external_id.as_deref().is_some_and(is_right);
    Some(given.sources.iter().any(is_of_right))
}

/// The answer without `[1]`, `[1, 2]` and `[1-3]`.
fn without_markers(answer: &str) -> String {
    let mut bare = String::with_capacity(answer.len());
    let mut rest = answer;
    while let Some((before, after)) = rest.split_once('[') {
        bare.push_str(before);
        let marker = after.split_once(']').filter(|(inside, _)| is_marker(inside));
        if marker.is_none() {
            bare.push('[');
        }
        rest = marker.map_or(after, |(_, behind)| behind);
    }
    bare.push_str(rest);
    bare
}

fn is_marker(inside: &str) -> bool {
    inside.len() <= 64
        && inside.bytes().any(|byte| byte.is_ascii_digit())
        && inside.chars().all(|c| c.is_ascii_digit() || " ,;，-–".contains(c))
}

fn cut(text: &str, bytes_max: usize) -> String {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    text.get(..end).unwrap_or_default().to_owned()
}

/// Means over cases; null where nothing was measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AnswerSummary {
    /// Cases.
    pub cases: usize,
    /// Those that the collection answers.
    pub answerable: usize,
    /// Answers by a model; the others were extracted.
    pub generated: usize,
    /// Mean over answerable cases with a right answer.
    pub exact_match: Option<f64>,
    /// Likewise.
    pub f1: Option<f64>,
    /// Share of answerable cases with evidence whose answer holds it.
    pub evidence_hit: Option<f64>,
    /// Share of answerable cases whose right document was among the sources.
    pub retrieved: Option<f64>,
    /// [`AnswerSummary::evidence_hit`] over those.
    pub evidence_hit_where_retrieved: Option<f64>,
    /// Share of all citations of answerable cases that are right.
    pub citation_precision: Option<f64>,
    /// Mean share of the evidence that is quoted.
    pub citation_recall: Option<f64>,
    /// Share of the abstentions that were right to abstain.
    pub abstention_precision: Option<f64>,
    /// Share of unanswerable questions that were abstained from.
    pub abstention_recall: Option<f64>,
    /// Share of answerable questions that were abstained from.
    pub false_abstentions: Option<f64>,
    /// Answers that a judge gave a verdict on.
    pub judged: usize,
    /// Verdicts that could not be read.
    pub judge_unreadable: usize,
    /// Share of verdicts that pass.
    pub judge_pass_rate: Option<f64>,
    /// Their mean.
    pub judge_mean: Option<f64>,
    /// Tokens that models read, for answers and judge.
    pub prompt_tokens: u64,
    /// Tokens that they wrote.
    pub completion_tokens: u64,
    /// US dollars, as far as prices are known.
    pub cost_usd: Option<f64>,
}

impl AnswerSummary {
    /// Sums cases up; `pass` is the judge's score from which on an answer passes.
    #[must_use]
    pub fn of(all: &[CaseScore], pass: f64) -> Self {
        let over = |value: &dyn Fn(&CaseScore) -> Option<f64>| {
            let values: Vec<f64> = all.iter().filter_map(value).collect();
            (!values.is_empty()).then(|| mean(values.into_iter()))
        };
        let flag = |is: bool| f64::from(u8::from(is));
        let count = |is: &dyn Fn(&CaseScore) -> bool| all.iter().filter(|one| is(one)).count();
        let share = |part: usize, whole: usize| (whole > 0).then(|| ratio(part, whole));
        let answerable = count(&|one| one.answerable);
        let (abstained, rightly) = (count(&|one| one.abstained), count(&|one| one.abstained && !one.answerable));
        let total = |of: &dyn Fn(&CaseScore) -> usize| all.iter().filter(|one| one.answerable).map(of).sum::<usize>();
        let costs: Vec<f64> = all.iter().filter_map(|one| one.cost_usd).collect();
        Self {
            cases: all.len(),
            answerable,
            generated: count(&|one| one.mode == "generated"),
            exact_match: over(&|one| one.exact_match),
            f1: over(&|one| one.f1),
            evidence_hit: over(&|one| one.evidence_hit.map(flag)),
            retrieved: over(&|one| one.retrieved.map(flag)),
            evidence_hit_where_retrieved: over(&|one| one.evidence_hit.filter(|_| one.retrieved == Some(true)).map(flag)),
            citation_precision: share(total(&|one| one.citations_right), total(&|one| one.citations)),
            citation_recall: over(&|one| one.citation_recall),
            abstention_precision: share(rightly, abstained),
            abstention_recall: share(rightly, all.len() - answerable),
            false_abstentions: share(abstained - rightly, answerable),
            judged: count(&|one| one.judge_score.is_some()),
            judge_unreadable: count(&|one| one.judge_unreadable),
            judge_pass_rate: over(&|one| one.judge_score.map(|score| flag(score >= pass))),
            judge_mean: over(&|one| one.judge_score),
            prompt_tokens: all.iter().map(|one| one.prompt_tokens).sum(),
            completion_tokens: all.iter().map(|one| one.completion_tokens).sum(),
            cost_usd: (!costs.is_empty()).then(|| costs.iter().sum()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn case() -> Case {
        Case {
            question: "What did it burn?".into(),
            expected: vec!["colza oil".into()],
            evidence: vec!["The lamp burned colza oil in 1850.".into()],
            relevant: BTreeMap::from([("d".to_owned(), 1.0)]),
            ..Case::default()
        }
    }

    fn given(answer: &str, quotes: &[&str], sources: &[&str]) -> Given {
        let citation = |quote: &&str| GivenCitation { quote: (*quote).to_owned(), verdict: "supported".into() };
        let source = |id: &&str| GivenSource { document_id: "doc".into(), external_id: Some((*id).to_owned()), text: String::new() };
        Given {
            answer: answer.to_owned(),
            citations: quotes.iter().map(citation).collect(),
            sources: sources.iter().map(source).collect(),
            mode: "extractive".into(),
            ..Given::default()
        }
    }

    fn score(case: &Case, given: &Given) -> CaseScore {
        CaseScore::of("q".into(), case, given)
    }

    #[test]
    fn evidence_counts_in_the_answer_and_in_its_quotes() {
        let said = score(&case(), &given("The lamp burned colza\noil in 1850 [1].", &[], &["d"]));
        assert_eq!((said.evidence_hit, said.retrieved, said.exact_match), (Some(true), Some(true), Some(0.0)));
        let quoted = score(&case(), &given("Colza oil [1]", &["A. The lamp burned colza oil in 1850."], &["x"]));
        assert_eq!((quoted.evidence_hit, quoted.retrieved, quoted.exact_match, quoted.f1), (Some(true), Some(false), Some(1.0), Some(1.0)));
        let part = score(&case(), &given("Oil.", &["burned colza oil"], &["d"]));
        assert_eq!((part.evidence_hit, part.citation_recall), (Some(true), Some(1.0)));
        let beside =
            score(&case(), &given("It cost 18 francs [1][2].", &["It cost 18 francs.", "The lamp burned colza oil in 1850."], &[]));
        assert_eq!((beside.citations, beside.citations_right), (2, 1));
        let wrong = score(&case(), &given("It burned.", &["The lamp burned"], &["d"]));
        assert_eq!(wrong.evidence_hit, Some(false), "a part of the evidence without the answer");
    }

    #[test]
    fn means_by_hand() {
        let hit = score(&case(), &given("The lamp burned colza oil in 1850.", &["The lamp burned colza oil in 1850."], &["d"]));
        let miss = score(&case(), &given("It cost 18 francs.", &["It cost 18 francs."], &["d"]));
        let away = score(&case(), &given("It cost 18 francs.", &[], &["x"]));
        let silent = score(&case(), &Given { abstained: true, ..given("I don't know.", &[], &["d"]) });
        let unanswerable = Case { answerable: Some(false), ..Case::default() };
        let right = score(&unanswerable, &Given { abstained: true, ..Given::default() });
        let invented = score(&unanswerable, &given("Something.", &["Something."], &[]));
        assert_eq!(invented.scores().get("citation_precision"), None, "as in the summary");
        let judged = CaseScore { judge_score: Some(0.6), cost_usd: Some(0.5), ..hit.clone() };
        let judged_well = CaseScore { judge_score: Some(0.7), cost_usd: Some(0.25), ..hit.clone() };
        let summary = AnswerSummary::of(&[hit, miss, away, silent, right, invented], PASS_DEFAULT);
        assert_eq!((summary.cases, summary.answerable), (6, 4));
        assert_eq!((summary.evidence_hit, summary.retrieved), (Some(0.25), Some(0.75)));
        assert_eq!(summary.evidence_hit_where_retrieved, Some(1.0 / 3.0), "an abstention is a miss");
        assert_eq!((summary.citation_precision, summary.citation_recall), (Some(0.5), Some(0.25)));
        assert_eq!((summary.abstention_precision, summary.abstention_recall), (Some(0.5), Some(0.5)));
        assert_eq!((summary.false_abstentions, summary.judge_mean), (Some(0.25), None));
        let summary = AnswerSummary::of(&[judged, judged_well], PASS_DEFAULT);
        assert_eq!((summary.judged, summary.judge_pass_rate, summary.cost_usd), (2, Some(0.5), Some(0.75)));
    }

    #[test]
    fn markers_are_no_words() {
        assert_eq!(without_markers("A [1]. B[2, 3][1–3] a[i] [x"), "A . B a[i] [x");
        assert_eq!(cut("aé", 2), "a");
    }
}
