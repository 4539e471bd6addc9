//! Guards around an answer: injections in the question and in what was retrieved; personal data and secrets on their way
//! to the model and back.
//!
//! Invariants:
//! - Every text that a prompt is made of is redacted by itself, before it is escaped and put beside others: a finding
//!   never reaches over a delimiter, and its value is as the text has it. The instructions, which are ours, are not.
//! - What the model says is restored before anything is kept, cited or told.
//!
//! The embedding model sees questions and documents as they are: a redacted text would be found by nobody. A remote one
//! is a provider like any other and must be trusted with them.

use super::Answer;
use crate::guards::{GuardAction, GuardDecision, GuardKind, GuardParams, GuardStage, OnInjectedSource};
use crate::pack::{DropReason, Dropped, Packed};
use crate::search::Hit;
use corpus::ChunkId;
use guard::{Kind, Origin, Restorer, Vault, assess};
use std::collections::BTreeSet;

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
    /// Nothing is redacted.
    is_idle: bool,
}

impl Sealed {
    /// Of a prompt that holds nothing yet.
    pub(super) fn new(params: &GuardParams) -> Self {
        let is_idle = params.redact.is_empty();
        Self { vault: params.vault(), decisions: Vec::new(), restores: params.restores && !is_idle, is_idle }
    }

    /// A text as a prompt may hold it: one of a source, or the question or what was said before it.
    pub(super) fn redact(&mut self, text: &str, source: Option<&ChunkId>) -> String {
        if self.is_idle {
            return text.to_owned();
        }
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

    /// A text that is only searched with, with the values again: no document holds a placeholder.
    pub(super) fn restored(&self, text: &str) -> String {
        self.vault.restore(text)
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
pub(super) struct Opened<'s>(Option<Restorer<&'s Vault>>);

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
