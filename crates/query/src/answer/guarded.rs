//! Guards around an answer: injections in the question and in what was retrieved; personal data and secrets on their way
//! to the model and back.
//!
//! Invariants:
//! - What is redacted is redacted in the finished prompt, so nothing that a prompt is made of goes round it. The
//!   instructions, which are ours, are not.
//! - What the model says is restored before anything is kept, cited or told.
//!
//! The embedding model sees questions and documents as they are: a redacted text would be found by nobody. A remote one
//! is a provider like any other and must be trusted with them.

use super::{Answer, Prepared};
use crate::guards::{GuardAction, GuardDecision, GuardKind, GuardParams, GuardStage, OnInjectedSource, redact_words};
use crate::pack::{DropReason, Dropped, Packed};
use crate::search::Hit;
use corpus::ChunkId;
use gateway::{ChatMessage, Role};
use guard::{Kind, Origin, Restorer, Vault, assess, find};

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
    /// Redacts the prompt of an answer.
    pub(super) fn new(messages: &mut [ChatMessage], prepared: &Prepared, params: &GuardParams) -> Self {
        let sources = prepared.packed.sources.iter();
        let sources = sources.map(|source| (source.text(), GuardStage::Source, Some(source.hit.chunk_id.clone())));
        Self::of(messages, std::iter::once((prepared.question.as_str(), GuardStage::Question, None)).chain(sources), params)
    }

    /// Redacts a prompt that holds a question and no sources.
    pub(super) fn of_question(messages: &mut [ChatMessage], question: &str, params: &GuardParams) -> Self {
        Self::of(messages, std::iter::once((question, GuardStage::Question, None)), params)
    }

    fn of<'t>(
        messages: &mut [ChatMessage],
        texts: impl Iterator<Item = (&'t str, GuardStage, Option<ChunkId>)>,
        params: &GuardParams,
    ) -> Self {
        let mut vault = params.vault();
        if params.redact.is_empty() {
            return Self { vault, decisions: Vec::new(), restores: false };
        }
        for message in messages.iter_mut().filter(|message| message.role != Role::System) {
            redact_words(message, &mut vault);
        }
        let decisions = texts.filter_map(|(text, stage, source)| {
            let found = find(text, params.redact);
            let kinds = found.iter().map(|finding| finding.kind).collect();
            (!found.is_empty()).then(|| GuardDecision::pii(stage, GuardAction::Redact, kinds, found.len(), source))
        });
        Self { decisions: decisions.collect(), vault, restores: params.restores }
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
