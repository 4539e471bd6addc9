//! `[batches]` of the configuration.

use serde::{Deserialize, Serialize};

/// Many questions, or completions, as one job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BatchesConfig {
    /// Questions or requests in one batch; more are answered 400.
    pub(crate) items_max: usize,
    /// Bytes of a request that makes a batch; more are answered 413.
    pub(crate) bytes_max: usize,
    /// Batches of one tenant that may wait or run; more are answered 429 with Retry-After.
    pub(crate) unfinished_max: usize,
    /// Items worked on at a time, those of all batches together.
    pub(crate) concurrent_max: usize,
    /// Items of one batch worked on at a time, unless it says otherwise; it may ask for `concurrent_max`.
    pub(crate) concurrency: usize,
    /// Seconds for which an item is tried again that is turned away for overload, here or at a provider.
    pub(crate) patience_s: u64,
    /// Milliseconds until a batch at a provider is looked at the first time; each time half as long again.
    pub(crate) poll_ms: u64,
    /// Milliseconds at most.
    pub(crate) poll_ms_max: u64,
    /// Seconds that a batch at a provider may take.
    pub(crate) provider_wait_s_max: u64,
}

impl Default for BatchesConfig {
    fn default() -> Self {
        Self {
            items_max: 10_000,
            bytes_max: 16 << 20,
            unfinished_max: 16,
            concurrent_max: 16,
            concurrency: 4,
            patience_s: 3600,
            poll_ms: 5_000,
            poll_ms_max: 300_000,
            provider_wait_s_max: 26 * 3600,
        }
    }
}

/// Most bytes of a request: its items are kept in one commit.
const BYTES_MAX: usize = 32 << 20;

impl BatchesConfig {
    pub(super) fn validate(&self) -> Vec<String> {
        let items_max = usize::try_from(index::batches::BATCH_ITEMS_MAX).unwrap_or(usize::MAX);
        let rules = [
            ((1..=items_max).contains(&self.items_max), "items_max", format!("must be 1 to {items_max}")),
            ((1..=BYTES_MAX).contains(&self.bytes_max), "bytes_max", format!("must be 1 to {BYTES_MAX}")),
            (self.unfinished_max > 0, "unfinished_max", "must be at least 1".to_owned()),
            ((1..=1024).contains(&self.concurrent_max), "concurrent_max", "must be 1 to 1024".to_owned()),
            ((1..=self.concurrent_max).contains(&self.concurrency), "concurrency", "must be 1 to concurrent_max".to_owned()),
            (self.patience_s <= 86_400, "patience_s", "must be at most 86400".to_owned()),
            ((1..=self.poll_ms_max).contains(&self.poll_ms), "poll_ms", "must be 1 to poll_ms_max".to_owned()),
            (self.poll_ms_max <= 3_600_000, "poll_ms_max", "must be at most 3600000".to_owned()),
            (self.provider_wait_s_max > 0, "provider_wait_s_max", "must be at least 1".to_owned()),
        ];
        rules.into_iter().filter(|(is_right, ..)| !is_right).map(|(_, field, rule)| format!("batches.{field}: {rule}")).collect()
    }
}
