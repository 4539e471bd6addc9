//! What compression leaves of a context: its tokens, and whether the evidence is still in it.
//!
//! Read from a trace, which says where the sentences stand that a model was shown, and from the answer, whose sources
//! have the text. Sentences that stand beside each other are one piece; evidence must stand in one piece as a whole.

use super::answers::CaseScore;
use super::cases::Case;
use super::compare::{QueryScores, mean};
use super::squad::folded;
use crate::metrics::ratio;
use corpus::Span;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The context of a question, as its trace has it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct GivenContext {
    /// Tokens that a model was shown.
    pub tokens: u64,
    /// The excerpts, one for each source of the answer.
    pub packed: Vec<GivenExcerpt>,
}

/// One of them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct GivenExcerpt {
    /// Its tokens, before anything was left out.
    pub tokens: u64,
    /// Where it stands in the document.
    pub span: Option<Span>,
    /// What a model was shown of it; empty: all.
    #[serde(default)]
    pub shown: Vec<Span>,
}

/// The text of a source of an answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct GivenText {
    /// Of the whole chunk.
    pub text: String,
    /// Where that stands in the document.
    pub span: Span,
}

/// What was measured of one case.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ContextScore {
    /// The answer.
    #[serde(flatten)]
    pub answer: CaseScore,
    /// Tokens of the context before anything was left out.
    pub tokens_whole: u64,
    /// Tokens that the model was shown.
    pub tokens: u64,
    /// Pieces of evidence in the context before anything was left out.
    pub evidence_whole: usize,
    /// Those of them that the model was shown.
    pub evidence_shown: usize,
}

impl ContextScore {
    /// Measures what was shown for one question.
    #[must_use]
    pub fn of(answer: CaseScore, case: &Case, sources: &[GivenText], context: &GivenContext) -> Self {
        let excerpts = || context.packed.iter().zip(sources);
        let whole: Vec<String> = excerpts().flat_map(|(excerpt, source)| pieces(source, excerpt.span.as_slice())).collect();
        let shown =
            |excerpt: &GivenExcerpt| if excerpt.shown.is_empty() { excerpt.span.into_iter().collect() } else { excerpt.shown.clone() };
        let shown: Vec<String> = excerpts().flat_map(|(excerpt, source)| pieces(source, &shown(excerpt))).collect();
        let stands_in = |pieces: &[String], evidence: &String| pieces.iter().any(|piece| piece.contains(evidence));
        let evidence: Vec<String> = case.evidence.iter().map(|evidence| folded(evidence)).collect();
        let in_whole: Vec<&String> = evidence.iter().filter(|evidence| stands_in(&whole, evidence)).collect();
        Self {
            answer,
            tokens_whole: context.packed.iter().map(|excerpt| excerpt.tokens).sum(),
            tokens: context.tokens,
            evidence_whole: in_whole.len(),
            evidence_shown: in_whole.iter().filter(|evidence| stands_in(&shown, evidence)).count(),
        }
    }

    /// Whether some of the evidence that was in the context was shown; `None` if none was in it.
    fn keeps_some(&self) -> Option<f64> {
        (self.evidence_whole > 0).then(|| f64::from(u8::from(self.evidence_shown > 0)))
    }

    /// Whether all of it was.
    fn keeps_all(&self) -> Option<f64> {
        (self.evidence_whole > 0).then(|| f64::from(u8::from(self.evidence_shown == self.evidence_whole)))
    }

    /// Its figures by name, as two runs are compared by them.
    #[must_use]
    pub fn scores(&self) -> QueryScores {
        let own = [("evidence_kept", self.keeps_some()), ("all_evidence_kept", self.keeps_all())];
        let own = own.into_iter().filter_map(|(name, value)| value.map(|value| (name.to_owned(), value)));
        self.answer.scores().into_iter().chain(own).collect()
    }
}

/// The folded text of spans in a source, those beside each other as one.
fn pieces(source: &GivenText, spans: &[Span]) -> Vec<String> {
    let start = source.span.byte_start;
    let within = |span: &Span| Some(span.byte_start.checked_sub(start)?..span.byte_end.checked_sub(start)?);
    let text = |range: Range<usize>| source.text.get(range).unwrap_or_default();
    let mut joined: Vec<Range<usize>> = Vec::new();
    for next in spans.iter().filter_map(within) {
        match joined.last_mut() {
            Some(last) if last.end <= next.start && !text(last.end..next.start).chars().any(char::is_alphanumeric) => last.end = next.end,
            _ => joined.push(next),
        }
    }
    joined.into_iter().map(|range| folded(text(range))).collect()
}

/// Means over cases; null where nothing was measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ContextSummary {
    /// Cases.
    pub cases: usize,
    /// Answers by a model.
    pub generated: usize,
    /// Mean tokens of a context before anything was left out.
    pub tokens_whole: Option<f64>,
    /// Mean tokens that the model was shown.
    pub tokens: Option<f64>,
    /// Share of all tokens that it was shown.
    pub tokens_kept: Option<f64>,
    /// Cases with evidence in the context before anything was left out.
    pub with_evidence: usize,
    /// Share of those in which some of it was shown.
    pub evidence_kept: Option<f64>,
    /// Share of those in which all of it was.
    pub all_evidence_kept: Option<f64>,
    /// Mean over answerable cases with a right answer.
    pub exact_match: Option<f64>,
    /// Likewise.
    pub f1: Option<f64>,
    /// Share of answerable cases with evidence whose answer holds it.
    pub evidence_hit: Option<f64>,
    /// Tokens that models read.
    pub prompt_tokens: u64,
}

impl ContextSummary {
    /// Sums cases up.
    #[must_use]
    pub fn of(all: &[ContextScore]) -> Self {
        let over = |value: &dyn Fn(&ContextScore) -> Option<f64>| {
            let values: Vec<f64> = all.iter().filter_map(value).collect();
            (!values.is_empty()).then(|| mean(values.into_iter()))
        };
        let total = |tokens: &dyn Fn(&ContextScore) -> u64| usize::try_from(all.iter().map(tokens).sum::<u64>()).unwrap_or(usize::MAX);
        let (whole, shown) = (total(&|one| one.tokens_whole), total(&|one| one.tokens));
        let mean_of = |tokens: usize| (!all.is_empty()).then(|| ratio(tokens, all.len()));
        Self {
            cases: all.len(),
            generated: all.iter().filter(|one| one.answer.mode == "generated").count(),
            tokens_whole: mean_of(whole),
            tokens: mean_of(shown),
            tokens_kept: (whole > 0).then(|| ratio(shown, whole)),
            with_evidence: all.iter().filter(|one| one.evidence_whole > 0).count(),
            evidence_kept: over(&ContextScore::keeps_some),
            all_evidence_kept: over(&ContextScore::keeps_all),
            exact_match: over(&|one| one.answer.exact_match),
            f1: over(&|one| one.answer.f1),
            evidence_hit: over(&|one| one.answer.evidence_hit.map(|hit| f64::from(u8::from(hit)))),
            prompt_tokens: all.iter().map(|one| one.answer.prompt_tokens).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::Given;

    const TEXT: &str = "The lamp burned colza oil in 1850. It cost 18 francs. Keepers trimmed the wick twice.";

    /// A chunk that begins at byte 100 of its document; `shown` are bytes of the chunk.
    fn score(evidence: &[&str], shown: &[(usize, usize)], tokens: u64) -> ContextScore {
        let span = |(start, end): &(usize, usize)| {
            let (start, end) = (100 + start, 100 + end);
            Span { byte_start: start, byte_end: end, char_start: start, char_end: end }
        };
        let whole = span(&(0, TEXT.len()));
        let excerpt = GivenExcerpt { tokens: 20, span: Some(whole), shown: shown.iter().map(span).collect() };
        let source = GivenText { text: TEXT.to_owned(), span: whole };
        let case = Case { evidence: evidence.iter().map(|text| (*text).to_owned()).collect(), ..Case::default() };
        let answer = CaseScore::of("q".into(), &case, &Given { mode: "generated".into(), ..Given::default() });
        ContextScore::of(answer, &case, &[source], &GivenContext { tokens, packed: vec![excerpt] })
    }

    #[test]
    fn evidence_is_kept_if_it_is_shown_as_a_whole() {
        let (first, second) = ("The lamp burned colza oil in 1850.", "It cost 18 francs.");
        let both = [first, second];
        let counts = |score: &ContextScore| (score.evidence_whole, score.evidence_shown);
        assert_eq!(counts(&score(&both, &[], 20)), (2, 2), "nothing was left out");
        assert_eq!(counts(&score(&both, &[(0, 34), (35, 53)], 12)), (2, 2));
        assert_eq!(counts(&score(&["in 1850. It cost"], &[(0, 34), (35, 53)], 12)), (1, 1), "sentences beside each other are one piece");
        assert_eq!(counts(&score(&["in 1850. Keepers trimmed"], &[(0, 34), (54, TEXT.len())], 12)), (0, 0), "over a gap nothing stands");
        assert_eq!(counts(&score(&both, &[(35, 53)], 6)), (2, 1));
        assert_eq!(counts(&score(&["Nobody came."], &[], 20)), (0, 0), "what was never there is not lost");
    }

    #[test]
    fn means_by_hand() {
        let evidence = ["The lamp burned colza oil in 1850.", "It cost 18 francs."];
        let all =
            [score(&evidence, &[], 20), score(&evidence, &[(35, 53)], 6), score(&evidence, &[(54, 85)], 4), score(&["x"], &[(0, 34)], 10)];
        let summary = ContextSummary::of(&all);
        assert_eq!((summary.cases, summary.generated, summary.with_evidence), (4, 4, 3));
        assert_eq!((summary.tokens_whole, summary.tokens, summary.tokens_kept), (Some(20.0), Some(10.0), Some(0.5)));
        assert_eq!((summary.evidence_kept, summary.all_evidence_kept), (Some(2.0 / 3.0), Some(1.0 / 3.0)));
        assert_eq!((summary.f1, all[3].scores().get("evidence_kept")), (None, None));
        assert_eq!(ContextSummary::of(&[]), ContextSummary::default());
    }
}
