//! `[cache]`: what is kept of answers and vectors, and for how long.

use cache::SemanticOptions;
use serde::{Deserialize, Serialize};

/// Answers that were given before, and vectors that were paid for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CacheConfig {
    /// Whether answers are kept. A write to a collection makes those from it unreachable.
    pub(crate) answers: bool,
    /// Whether a question may get the answer that a model gave to one that means the same.
    pub(crate) semantic: bool,
    /// The least cosine similarity of such questions, 0 to 1. What is right depends on the embedding model.
    pub(crate) semantic_threshold: f32,
    /// Bytes of questions held in memory for that.
    pub(crate) semantic_bytes_max: usize,
    /// Bytes of answers in memory.
    pub(crate) memory_bytes_max: u64,
    /// Bytes of answers on disk, and as many of vectors of a remote model; 0: none.
    pub(crate) store_bytes_max: u64,
    /// Seconds that an answer is given again.
    pub(crate) answer_lifetime_s: u64,
    /// Seconds that a remote model's vector is used again.
    pub(crate) embedding_lifetime_s: u64,
}

impl Default for CacheConfig {
    fn default() -> Self {
        const DAY_S: u64 = 24 * 3600;
        Self {
            answers: true,
            semantic: true,
            semantic_threshold: 0.92,
            semantic_bytes_max: 64 << 20,
            memory_bytes_max: 64 << 20,
            store_bytes_max: 256 << 20,
            answer_lifetime_s: DAY_S,
            embedding_lifetime_s: 30 * DAY_S,
        }
    }
}

impl CacheConfig {
    /// Everything that is wrong, one line each: `path: what`.
    pub(super) fn validate(&self) -> Vec<String> {
        let mut errors = Vec::new();
        let mut check = |is_right: bool, path: &str, rule: &str| {
            if !is_right {
                errors.push(format!("cache.{path}: {rule}"));
            }
        };
        check((0.0..=1.0).contains(&self.semantic_threshold), "semantic_threshold", "must be 0 to 1");
        check(self.semantic_bytes_max > 0, "semantic_bytes_max", "must be at least 1");
        check(self.memory_bytes_max > 0, "memory_bytes_max", "must be at least 1");
        const YEAR_S: u64 = 366 * 24 * 3600;
        check((1..=YEAR_S).contains(&self.answer_lifetime_s), "answer_lifetime_s", "must be 1 to 31622400");
        check((1..=YEAR_S).contains(&self.embedding_lifetime_s), "embedding_lifetime_s", "must be 1 to 31622400");
        errors
    }

    /// How questions that mean the same are found.
    pub(crate) fn semantic(&self) -> Option<SemanticOptions> {
        let options = SemanticOptions { threshold: self.semantic_threshold, bytes: self.semantic_bytes_max, ..SemanticOptions::default() };
        self.semantic.then_some(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert_eq!(CacheConfig::default().validate(), Vec::<String>::new());
        for wrong in ["semantic_threshold = 1.5", "semantic_threshold = nan", "answer_lifetime_s = 0", "memory_bytes_max = 0"] {
            let config: CacheConfig = toml::from_str(wrong).unwrap();
            assert!(config.validate().join("\n").contains(wrong.split(' ').next().unwrap()), "{wrong}");
        }
    }
}
