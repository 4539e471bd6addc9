//! `[traces]` and `[sessions]`: what is remembered of questions, and for how long.

use serde::{Deserialize, Serialize};

/// What is kept of each query and search for whoever looks into it later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TracesConfig {
    /// Whether anything is.
    pub(crate) enabled: bool,
    /// The share of queries that is kept, 0 to 1.
    pub(crate) sample: f64,
    /// The share of searches that is kept, 0 to 1.
    pub(crate) sample_searches: f64,
    /// The share of the answers of evaluations that is kept, 0 to 1.
    pub(crate) sample_evaluations: f64,
    /// Days after which a trace goes.
    pub(crate) retention_days: u32,
    /// Days after which feedback goes.
    pub(crate) feedback_retention_days: u32,
    /// Bytes of all traces; the oldest go first.
    pub(crate) bytes_max: u64,
    /// Traces that may wait to be written; more are lost, and counted.
    pub(crate) queue_max: usize,
    /// How questions and answers are kept.
    pub(crate) text: TextKept,
}

/// How words are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TextKept {
    /// As they are.
    Full,
    /// Without what identifies people, as far as it is recognised.
    #[default]
    Redacted,
    /// Not at all.
    None,
}

impl Default for TracesConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            sample: 1.0,
            sample_searches: 0.1,
            sample_evaluations: 0.1,
            retention_days: 30,
            feedback_retention_days: 365,
            bytes_max: 256 << 20,
            queue_max: 1024,
            text: TextKept::Redacted,
        }
    }
}

/// Conversations that the server remembers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SessionsConfig {
    /// Seconds after its last question that a session is remembered.
    pub(crate) ttl_s: u64,
    /// Questions of a session; the oldest go first.
    pub(crate) turns_max: usize,
    /// Tokens of its questions and answers, by a rough count; the oldest go first.
    pub(crate) tokens_max: u64,
    /// Sessions of a tenant; the one that was used least lately goes first.
    pub(crate) sessions_max: usize,
}

impl Default for SessionsConfig {
    fn default() -> Self {
        Self { ttl_s: 24 * 3600, turns_max: 20, tokens_max: 2000, sessions_max: 10_000 }
    }
}

/// Everything that is wrong, one line each: `path: what`.
pub(super) fn validate(traces: &TracesConfig, sessions: &SessionsConfig) -> Vec<String> {
    let mut errors = Vec::new();
    let mut check = |is_right: bool, path: &str, rule: &str| {
        if !is_right {
            errors.push(format!("{path}: {rule}"));
        }
    };
    check((0.0..=1.0).contains(&traces.sample), "traces.sample", "must be 0 to 1");
    check((0.0..=1.0).contains(&traces.sample_searches), "traces.sample_searches", "must be 0 to 1");
    check((0.0..=1.0).contains(&traces.sample_evaluations), "traces.sample_evaluations", "must be 0 to 1");
    check((1..=36_500).contains(&traces.retention_days), "traces.retention_days", "must be 1 to 36500");
    let feedback_days = traces.feedback_retention_days;
    check((1..=36_500).contains(&feedback_days), "traces.feedback_retention_days", "must be 1 to 36500");
    check(traces.bytes_max >= 1 << 20, "traces.bytes_max", "must be at least 1048576 (1 MiB)");
    check((1..=100_000).contains(&traces.queue_max), "traces.queue_max", "must be 1 to 100000");
    check((1..=366 * 24 * 3600).contains(&sessions.ttl_s), "sessions.ttl_s", "must be 1 to 31622400");
    check((1..=1000).contains(&sessions.turns_max), "sessions.turns_max", "must be 1 to 1000");
    check((16..=100_000).contains(&sessions.tokens_max), "sessions.tokens_max", "must be 16 to 100000");
    check((1..=1_000_000).contains(&sessions.sessions_max), "sessions.sessions_max", "must be 1 to 1000000");
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(validate(&TracesConfig::default(), &SessionsConfig::default()), Vec::<String>::new());
        let all = [
            "sample = 1.5",
            "sample_searches = nan",
            "sample_evaluations = -1.0",
            "retention_days = 0",
            "feedback_retention_days = 0",
            "bytes_max = 1",
            "queue_max = 0",
        ];
        for wrong in all {
            let traces: TracesConfig = toml::from_str(wrong).unwrap();
            let errors = validate(&traces, &SessionsConfig::default()).join("\n");
            assert!(errors.contains(wrong.split(' ').next().unwrap()), "{wrong}");
        }
        for wrong in ["ttl_s = 0", "turns_max = 0", "tokens_max = 1", "sessions_max = 0"] {
            let sessions: SessionsConfig = toml::from_str(wrong).unwrap();
            let errors = validate(&TracesConfig::default(), &sessions).join("\n");
            assert!(errors.contains(wrong.split(' ').next().unwrap()), "{wrong}");
        }
    }
}
