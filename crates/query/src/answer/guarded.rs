//! Guards around an answer: injections in the question and in what was retrieved; personal data and secrets on their way
//! to the model and back.
//!
//! Invariants:
//! - Every text that a prompt is made of is redacted by itself, before it is escaped and put beside others: a finding
//!   never reaches over a delimiter, and its value is as the text has it. The instructions, which are ours, are not.
//! - A decision never holds a value that was found.
//! - What the model says is restored before anything is kept, cited or told.
//!
//! The embedding model sees questions and documents as they are: a redacted text would be found by nobody. A remote one
//! is a provider like any other and must be trusted with them.

use super::{Answer, QueryError};
use crate::pack::{DropReason, Dropped, Packed};
use crate::search::Hit;
use corpus::ChunkId;
use guard::{Assessment, Kind, Kinds, Origin, Restorer, Vault, assess};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What happens to a question that looks like an injection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnInjectedQuestion {
    /// Nobody looks.
    Off,
    /// It is answered, and the answer says so.
    #[default]
    Flag,
    /// It is not answered: [`QueryError::Injection`].
    Refuse,
}

/// What happens to a retrieved text that looks like an injection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnInjectedSource {
    /// Nobody looks.
    Off,
    /// It is used, and the answer says so.
    #[default]
    Flag,
    /// It is left out of the context, and the answer says so.
    Drop,
}

/// What guards do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GuardParams {
    /// Questions that look like injections.
    pub question: OnInjectedQuestion,
    /// From which score on, 0 to 1. Default [`guard::THRESHOLD`].
    pub question_threshold: f32,
    /// Retrieved texts that look like injections.
    pub sources: OnInjectedSource,
    /// From which score on, 0 to 1. Default [`guard::THRESHOLD`].
    pub source_threshold: f32,
    /// What no model is told. Default secrets.
    pub redact: Kinds,
    /// Whether the answer has the values again. Default true.
    pub restores: bool,
}

impl Default for GuardParams {
    fn default() -> Self {
        Self {
            question: OnInjectedQuestion::default(),
            question_threshold: guard::THRESHOLD,
            sources: OnInjectedSource::default(),
            source_threshold: guard::THRESHOLD,
            redact: Kinds::from_iter([Kind::Secret]),
            restores: true,
        }
    }
}

/// Which guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GuardKind {
    /// Against orders to the model.
    Injection,
    /// For personal data and secrets.
    Pii,
}

/// Where it looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GuardStage {
    /// The question.
    Question,
    /// A retrieved text.
    Source,
    /// What the model said.
    Answer,
}

/// What it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GuardAction {
    /// It told.
    Flag,
    /// It left the source out.
    Drop,
    /// It put placeholders in.
    Redact,
    /// It put the values back.
    Restore,
}

/// One decision of a guard. Never the value it is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GuardDecision {
    /// Which guard.
    pub guard: GuardKind,
    /// Where it looked.
    pub stage: GuardStage,
    /// What it did.
    pub action: GuardAction,
    /// Of an injection: 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// Of an injection: the rules that fired.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// Of personal data: what kinds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<Kind>,
    /// Of personal data: how many places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// The chunk, of a source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ChunkId>,
}

impl GuardDecision {
    fn injection(stage: GuardStage, action: GuardAction, found: &Assessment, source: Option<ChunkId>) -> Self {
        let (score, rules) = (Some(found.score), rules(found));
        Self { guard: GuardKind::Injection, stage, action, score, rules, kinds: Vec::new(), count: None, source }
    }

    fn pii(stage: GuardStage, action: GuardAction, kinds: BTreeSet<Kind>, count: usize, source: Option<ChunkId>) -> Self {
        let kinds = kinds.into_iter().collect();
        Self { guard: GuardKind::Pii, stage, action, score: None, rules: Vec::new(), kinds, count: Some(count), source }
    }
}

/// Each rule once, in the order of its first place.
fn rules(found: &Assessment) -> Vec<String> {
    let mut rules: Vec<String> = Vec::new();
    for reason in &found.reasons {
        if !rules.iter().any(|rule| rule == reason.rule) {
            rules.push(reason.rule.to_owned());
        }
    }
    rules
}

/// What is thought of a question.
pub(super) fn judge_question(question: &str, params: &GuardParams) -> Result<Vec<GuardDecision>, QueryError> {
    if params.question == OnInjectedQuestion::Off {
        return Ok(Vec::new());
    }
    let found = assess(question, Origin::Question);
    if found.score < params.question_threshold {
        return Ok(Vec::new());
    }
    if params.question == OnInjectedQuestion::Refuse {
        return Err(QueryError::Injection { score: found.score, rules: rules(&found).join(", ") });
    }
    Ok(vec![GuardDecision::injection(GuardStage::Question, GuardAction::Flag, &found, None)])
}

/// An answer that was given before, with what is thought of the question as it is put now.
pub(super) fn told_again(mut answer: Answer, on_question: Vec<GuardDecision>) -> Answer {
    let is_of_question = |decision: &GuardDecision| decision.guard == GuardKind::Injection && decision.stage == GuardStage::Question;
    answer.guards.retain(|decision| !is_of_question(decision));
    answer.guards.splice(0..0, on_question);
    answer
}

/// What is thought of the hits. Those that shall be left out are.
pub(super) struct JudgedSources(Vec<(ChunkId, GuardDecision)>);

pub(super) fn judge_sources(hits: &mut Vec<Hit>, params: &GuardParams) -> JudgedSources {
    let mut judged = Vec::new();
    if params.sources == OnInjectedSource::Off {
        return JudgedSources(judged);
    }
    let action = if params.sources == OnInjectedSource::Drop { GuardAction::Drop } else { GuardAction::Flag };
    hits.retain(|hit| {
        // What stands around a text is told to the model as well.
        let found = assess(&format!("{}\n{}\n{}", hit.document_name, hit.heading_path.join("\n"), hit.text), Origin::Source);
        let is_injected = found.score >= params.source_threshold;
        if is_injected {
            let decision = GuardDecision::injection(GuardStage::Source, action, &found, Some(hit.chunk_id.clone()));
            judged.push((hit.chunk_id.clone(), decision));
        }
        !is_injected || action == GuardAction::Flag
    });
    JudgedSources(judged)
}

impl JudgedSources {
    /// The decisions about what is in the context, and about what was kept out of it.
    pub(super) fn told(self, packed: &mut Packed) -> Vec<GuardDecision> {
        let mut told = Vec::new();
        for (chunk_id, decision) in self.0 {
            let is_dropped = decision.action == GuardAction::Drop;
            if is_dropped {
                packed.dropped.push(Dropped { chunk_id: chunk_id.clone(), reason: DropReason::Injection });
            }
            if is_dropped || packed.sources.iter().any(|source| source.hit.chunk_id == chunk_id) {
                told.push(decision);
            }
        }
        told
    }
}

/// A prompt without what no model shall be told, and what stands for it.
pub(super) struct Sealed {
    vault: Vault,
    decisions: Vec<GuardDecision>,
    restores: bool,
}

impl Sealed {
    /// Of a prompt that holds nothing yet.
    pub(super) fn new(params: &GuardParams) -> Self {
        Self { vault: Vault::new(params.redact), decisions: Vec::new(), restores: params.restores }
    }

    /// A text as a prompt may hold it: one of a source, or the question or what was said before it.
    pub(super) fn redact(&mut self, text: &str, source: Option<&ChunkId>) -> String {
        let before = self.vault.found().clone();
        let redacted = self.vault.redact(text);
        let new = self.vault.found().iter().map(|(kind, count)| (*kind, count - before.get(kind).copied().unwrap_or_default()));
        let new: Vec<(Kind, usize)> = new.filter(|(_, count)| *count > 0).collect();
        if !new.is_empty() {
            self.note(&new, source);
        }
        redacted
    }

    fn note(&mut self, found: &[(Kind, usize)], source: Option<&ChunkId>) {
        let count = found.iter().map(|(_, count)| count).sum::<usize>();
        let kinds: BTreeSet<Kind> = found.iter().map(|(kind, _)| *kind).collect();
        match self.decisions.iter_mut().find(|decision| decision.source.as_ref() == source) {
            Some(known) => {
                known.kinds = kinds.into_iter().chain(known.kinds.drain(..)).collect::<BTreeSet<_>>().into_iter().collect();
                known.count = Some(known.count.unwrap_or_default() + count);
            }
            None => {
                let stage = if source.is_some() { GuardStage::Source } else { GuardStage::Question };
                self.decisions.push(GuardDecision::pii(stage, GuardAction::Redact, kinds, count, source.cloned()));
            }
        }
    }

    /// Takes the model's words as they come.
    pub(super) fn opened(&self) -> Opened<'_> {
        Opened(self.restores.then(|| self.vault.restorer()))
    }

    /// What was decided, given what came back.
    pub(super) fn decisions(self, restored: Vec<Kind>) -> Vec<GuardDecision> {
        let mut decisions = self.decisions;
        if !restored.is_empty() {
            let count = restored.len();
            decisions.push(GuardDecision::pii(GuardStage::Answer, GuardAction::Restore, restored.into_iter().collect(), count, None));
        }
        decisions
    }
}

/// The model's words, with the values again if they shall be.
pub(super) struct Opened<'s>(Option<Restorer<'s>>);

impl Opened<'_> {
    /// What can be told after this piece.
    pub(super) fn push(&mut self, piece: String) -> String {
        match &mut self.0 {
            Some(restorer) => restorer.push(&piece),
            None => piece,
        }
    }

    /// What is left to be told, and the kinds of what was put back.
    pub(super) fn finish(self) -> (String, Vec<Kind>) {
        let Some(restorer) = self.0 else { return Default::default() };
        let restored = restorer.restored().to_vec();
        (restorer.finish(), restored)
    }
}
