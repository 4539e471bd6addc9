//! What is kept of an evaluation: how good a collection's searches or answers were, case by case.

use crate::batches::BatchAsker;
use corpus::{CollectionId, EvaluationId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

/// An evaluation and how far it is. `done` changes in the same commit as the results that it counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// Names it.
    pub id: EvaluationId,
    /// Owner.
    pub tenant: TenantId,
    /// For people.
    #[serde(default)]
    pub name: Option<String>,
    /// What was asked.
    pub collection: CollectionId,
    /// What is measured.
    pub kind: EvaluationKind,
    /// On whose behalf it runs.
    pub asker: BatchAsker,
    /// How it stands.
    #[serde(flatten)]
    pub state: EvaluationState,
    /// How it was asked for: modes, judge and the like. At most a few KiB.
    #[serde(default)]
    pub settings: Value,
    /// Cases.
    pub total: u32,
    /// Cases with a result.
    #[serde(default)]
    pub done: u32,
    /// The means, once it has ended. At most some 50 KiB.
    #[serde(default)]
    pub summary: Value,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// What an evaluation measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EvaluationKind {
    /// Whether the right documents are found.
    Retrieval,
    /// Whether answers are right.
    Answers,
}

/// How an evaluation stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "status")]
pub enum EvaluationState {
    /// It waits or runs.
    Running,
    /// Every case has a result.
    Succeeded,
    /// It could not go on.
    Failed {
        /// Why.
        reason: String,
    },
    /// The server ended while it ran: its results are there as far as it came.
    Interrupted,
}

impl EvaluationState {
    /// Whether nothing changes any more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        *self != Self::Running
    }
}
