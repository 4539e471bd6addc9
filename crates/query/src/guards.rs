//! What guards are set to, what they decide, and what a question and a chat have in common before them.
//!
//! Invariants:
//! - A decision never holds a value that was found.
//! - One vault a request: the same value has the same placeholder in all of its texts.

mod chat;
mod json;

pub use chat::{OpenedChat, SealedChat};

use corpus::ChunkId;
use gateway::{ChatMessage, Content, Part};
use guard::{Assessment, Kind, Kinds, Origin, Vault, assess};
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
    /// It is not answered: [`QueryError::Injection`](crate::QueryError::Injection).
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
    /// The question; of a chat that is passed on, all of its request.
    Question,
    /// A retrieved text; of a chat, what a tool returned.
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
    pub(crate) fn injection(stage: GuardStage, action: GuardAction, found: &Assessment, source: Option<ChunkId>) -> Self {
        let (score, rules) = (Some(found.score), rules(found));
        Self { guard: GuardKind::Injection, stage, action, score, rules, kinds: Vec::new(), count: None, source }
    }

    pub(crate) fn pii(stage: GuardStage, action: GuardAction, kinds: BTreeSet<Kind>, count: usize, source: Option<ChunkId>) -> Self {
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

/// A question that is not answered, because it looks like an attempt to give the model other instructions.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("the question was taken for a prompt injection (score {score:.2}: {rules})")]
pub struct InjectionRefused {
    /// 0 to 1.
    pub score: f32,
    /// The rules that fired.
    pub rules: String,
}

impl GuardParams {
    /// What is thought of a question.
    pub(crate) fn judge_question(&self, question: &str) -> Result<Option<GuardDecision>, InjectionRefused> {
        if self.question == OnInjectedQuestion::Off {
            return Ok(None);
        }
        let found = assess(question, Origin::Question);
        if found.score < self.question_threshold {
            return Ok(None);
        }
        if self.question == OnInjectedQuestion::Refuse {
            return Err(InjectionRefused { score: found.score, rules: rules(&found).join(", ") });
        }
        Ok(Some(GuardDecision::injection(GuardStage::Question, GuardAction::Flag, &found, None)))
    }

    /// An empty vault for one request.
    pub(crate) fn vault(&self) -> Vault {
        if self.restores { Vault::new(self.redact) } else { Vault::one_way(self.redact) }
    }
}

/// Puts placeholders into a message's words. Pictures stay as they are.
pub(crate) fn redact_words(message: &mut ChatMessage, vault: &mut Vault) {
    match &mut message.content {
        Content::Text(text) => *text = vault.redact(text),
        Content::Parts(parts) => parts.iter_mut().for_each(|part| {
            if let Part::Text { text } = part {
                *text = vault.redact(text);
            }
        }),
    }
}
