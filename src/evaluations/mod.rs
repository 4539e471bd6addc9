//! Evaluations that run: one at a time, in the background, between the requests that somebody waits for.
//!
//! Each case goes the way of a user's request, with the bounds of the key that asked as they were then. Results are in
//! the store before they count. What a restart cuts off is not taken up again: it is `interrupted`.

pub(crate) mod run;

use crate::config::EvaluationsConfig;
use crate::error::ApiError;
use axum::http::StatusCode;
use query::{Case, SearchMode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

/// The evaluations of this process.
pub(crate) struct Evaluations {
    pub(crate) config: EvaluationsConfig,
    seats: Arc<Semaphore>,
    /// Two at a time would measure each other.
    turn: Arc<Mutex<()>>,
}

/// What is measured, as it is kept with the results.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Of searches.
    pub(crate) modes: Vec<Mode>,
    /// Hits of a search, or chunks of an answer.
    pub(crate) k: usize,
    /// Who answers; absent: the default.
    pub(crate) model: Option<String>,
    pub(crate) judge: Option<Judge>,
    /// Where its cases come from, if it was not given them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cases_from: Option<Value>,
}

/// A search that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    Lexical,
    Vector,
    Hybrid,
    /// Hybrid, judged again by a reranker; left out where there is none.
    Reranked,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lexical => "lexical",
            Self::Vector => "vector",
            Self::Hybrid => "hybrid",
            Self::Reranked => "reranked",
        }
    }

    fn search(self) -> SearchMode {
        match self {
            Self::Lexical => SearchMode::Lexical,
            Self::Vector => SearchMode::Vector,
            Self::Hybrid | Self::Reranked => SearchMode::Hybrid,
        }
    }
}

/// Who judges answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Judge {
    pub(crate) model: String,
    /// The score from which on an answer passes.
    pub(crate) pass: f64,
    /// Of the prompt.
    pub(crate) version: String,
}

/// A case with the name that its result has.
pub(crate) struct Named {
    pub(crate) id: String,
    pub(crate) case: Case,
}

impl Evaluations {
    pub(crate) fn new(config: EvaluationsConfig) -> Self {
        Self { seats: Arc::new(Semaphore::new(config.unfinished_max)), turn: Arc::default(), config }
    }

    /// A seat for a new evaluation.
    ///
    /// # Errors
    /// 429 if as many wait or run as may.
    pub(crate) fn admit(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        Arc::clone(&self.seats).try_acquire_owned().map_err(|_| {
            let wait = Duration::from_secs(30);
            ApiError::busy(StatusCode::TOO_MANY_REQUESTS, "evaluations_busy", "too many evaluations wait already", wait)
        })
    }
}
