//! How an answer came about, for traces and for figures.

use super::Choice;
use serde::Serialize;

/// Who answers, and what was tried before.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Route {
    /// The deployment that answers.
    pub deployment: String,
    /// Its model's name at the provider.
    pub model: String,
    /// What failed before, in order.
    pub failed: Vec<Try>,
    /// Rungs of the ladder that were given up.
    pub rungs_down: usize,
    /// Why this model was chosen, where that depended on the question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choice>,
}

impl Route {
    /// Asked once, answered at once.
    #[must_use]
    pub fn direct(deployment: &str, model: &str) -> Self {
        Self { deployment: deployment.to_owned(), model: model.to_owned(), ..Self::default() }
    }

    /// Why the answer is not the one that was meant to be given, if it isn't.
    #[must_use]
    pub fn degraded(&self) -> Option<String> {
        let last = self.failed.last().filter(|_| self.rungs_down > 0)?;
        Some(format!("{} did not answer: {}", last.deployment, last.error))
    }
}

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Try {
    /// Who was asked.
    pub deployment: String,
    /// Why it failed.
    pub error: String,
    /// Milliseconds until it failed.
    pub took_ms: u64,
}
