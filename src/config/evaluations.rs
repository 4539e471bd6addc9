//! `[evaluations]` of the configuration.

use serde::{Deserialize, Serialize};

/// Measuring how good searches and answers are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EvaluationsConfig {
    /// Cases of one evaluation; more are answered 400.
    pub(crate) cases_max: usize,
    /// Bytes of a request that makes one; more are answered 413.
    pub(crate) bytes_max: usize,
    /// Evaluations that may wait or run, of all tenants; one runs at a time. More are answered 429 with Retry-After.
    pub(crate) unfinished_max: usize,
    /// Those of one tenant, likewise. Tenants take turns.
    pub(crate) tenant_unfinished_max: usize,
    /// Ended evaluations of one tenant that are kept; the oldest go.
    pub(crate) kept_max: usize,
}

impl Default for EvaluationsConfig {
    fn default() -> Self {
        Self { cases_max: 5_000, bytes_max: 16 << 20, unfinished_max: 8, tenant_unfinished_max: 4, kept_max: 100 }
    }
}

/// Most of each.
const CASES_MAX: usize = 50_000;
const BYTES_MAX: usize = 64 << 20;
const UNFINISHED_MAX: usize = 1_000;
const KEPT_MAX: usize = 10_000;

impl EvaluationsConfig {
    pub(super) fn validate(&self) -> Vec<String> {
        let rules = [
            ("cases_max", self.cases_max, CASES_MAX),
            ("bytes_max", self.bytes_max, BYTES_MAX),
            ("unfinished_max", self.unfinished_max, UNFINISHED_MAX),
            ("tenant_unfinished_max", self.tenant_unfinished_max, UNFINISHED_MAX),
            ("kept_max", self.kept_max, KEPT_MAX),
        ];
        let wrong = rules.into_iter().filter(|(_, value, most)| !(1..=*most).contains(value));
        wrong.map(|(field, _, most)| format!("evaluations.{field}: must be 1 to {most}")).collect()
    }
}
