//! Guards around questions, sources and answers.

use guard::{Kind, Kinds};
use query::{GuardParams, OnInjectedQuestion, OnInjectedSource};
use serde::{Deserialize, Serialize};

/// What is done about orders to the model and about personal data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct GuardsConfig {
    /// Questions that look like prompt injections.
    pub(crate) injection: QuestionConfig,
    /// From which score on, above 0 and at most 1.
    pub(crate) injection_threshold: f32,
    /// Retrieved texts that look like prompt injections.
    pub(crate) sources: SourcesConfig,
    /// From which score on, above 0 and at most 1.
    pub(crate) sources_threshold: f32,
    /// What no language model is told.
    pub(crate) pii: Vec<Kind>,
    /// Whether answers have the values again.
    pub(crate) restore: bool,
    /// Whether all that holds for chats that are passed on, too.
    pub(crate) chat: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum QuestionConfig {
    Off,
    Flag,
    Refuse,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SourcesConfig {
    Off,
    Flag,
    Drop,
}

impl Default for GuardsConfig {
    fn default() -> Self {
        Self {
            injection: QuestionConfig::Flag,
            injection_threshold: guard::THRESHOLD,
            sources: SourcesConfig::Flag,
            sources_threshold: guard::THRESHOLD,
            pii: vec![Kind::Secret],
            restore: true,
            chat: true,
        }
    }
}

impl GuardsConfig {
    pub(super) fn validate(&self) -> Vec<String> {
        let thresholds = [("injection_threshold", self.injection_threshold), ("sources_threshold", self.sources_threshold)];
        let wrong = thresholds.into_iter().filter(|(_, threshold)| !(*threshold > 0.0 && *threshold <= 1.0));
        wrong.map(|(field, _)| format!("guards.{field}: must be above 0 and at most 1")).collect()
    }

    /// As the engine takes them.
    pub(crate) fn params(&self) -> GuardParams {
        GuardParams {
            question: match self.injection {
                QuestionConfig::Off => OnInjectedQuestion::Off,
                QuestionConfig::Flag => OnInjectedQuestion::Flag,
                QuestionConfig::Refuse => OnInjectedQuestion::Refuse,
            },
            question_threshold: self.injection_threshold,
            sources: match self.sources {
                SourcesConfig::Off => OnInjectedSource::Off,
                SourcesConfig::Flag => OnInjectedSource::Flag,
                SourcesConfig::Drop => OnInjectedSource::Drop,
            },
            source_threshold: self.sources_threshold,
            redact: self.pii.iter().copied().collect::<Kinds>(),
            restores: self.restore,
        }
    }

    /// Before chats that are passed on.
    pub(crate) fn chat_params(&self) -> GuardParams {
        if self.chat { self.params() } else { self.nothing() }
    }

    /// Before what the server itself asks a model: nobody else gives it orders, but it may hold what others wrote.
    pub(crate) fn own_params(&self) -> GuardParams {
        GuardParams { redact: self.params().redact, ..self.nothing() }
    }

    fn nothing(&self) -> GuardParams {
        let (question, sources) = (OnInjectedQuestion::Off, OnInjectedSource::Off);
        GuardParams { question, sources, redact: Kinds::NONE, ..self.params() }
    }
}
