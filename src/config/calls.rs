//! How a provider is called that answers in one piece: an embedder or a reranker.

use super::llm::{BreakerConfig, RetryConfig};
use serde::{Deserialize, Serialize};

/// How one provider is called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CallsConfig {
    /// Seconds that one try may take.
    pub(crate) try_timeout_s: u64,
    /// Seconds that a call may take altogether, its tries and the waits between them.
    pub(crate) total_timeout_s: u64,
    /// Calls at a time.
    pub(crate) concurrent_max: usize,
    /// Calls a minute; absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requests_per_minute: Option<u32>,
    /// Tokens a minute, by a rough count; absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tokens_per_minute: Option<u32>,
    /// Seconds that it is left alone when it refuses the key, the address or the account.
    pub(crate) rest_s: u64,
    /// How it is tried again.
    pub(crate) retry: RetryConfig,
    /// When it is left alone because it fails.
    pub(crate) breaker: BreakerConfig,
}

impl Default for CallsConfig {
    fn default() -> Self {
        Self {
            try_timeout_s: 30,
            total_timeout_s: 90,
            concurrent_max: 16,
            requests_per_minute: None,
            tokens_per_minute: None,
            rest_s: 60,
            retry: RetryConfig::default(),
            breaker: BreakerConfig::default(),
        }
    }
}

impl CallsConfig {
    /// Everything that is wrong, one line each: `path: what`.
    pub(super) fn validate(&self, path: &str) -> Vec<String> {
        let mut errors = self.retry.validate(&format!("{path}.retry"));
        errors.extend(self.breaker.validate(&format!("{path}.breaker")));
        let mut check = |is_right: bool, field: &str| {
            if !is_right {
                errors.push(format!("{path}.{field}: must be at least 1"));
            }
        };
        check(self.try_timeout_s > 0, "try_timeout_s");
        check(self.total_timeout_s > 0, "total_timeout_s");
        check(self.concurrent_max > 0, "concurrent_max");
        check(self.requests_per_minute != Some(0), "requests_per_minute");
        check(self.tokens_per_minute != Some(0), "tokens_per_minute");
        check(self.rest_s > 0, "rest_s");
        errors
    }
}
