//! `[answers]`: what may be said.

use query::GatePolicy;
use serde::{Deserialize, Serialize};

/// What may be said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AnswersConfig {
    /// What is done about sentences of a model's answer that no source says: `flag`: they are told; `strip`: they are
    /// left out; `refuse`: the answer becomes "I don't know".
    pub(crate) citation_gate: GatePolicy,
}
