//! Rate limits: how many requests and tokens a key may spend in a time, alone or over all nodes.
//!
//! The generic cell rate algorithm (see `gcra.rs`) with weighted cells. Over Redis every node counts in one place, by
//! Redis's clock, in one round trip; while Redis is away each node counts for itself.

mod gcra;
mod local;
mod shared;

use crate::link::Link;
use local::LocalLimiter;
use shared::SharedLimiter;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Meter {
    /// Calls.
    Requests,
    /// Tokens of prompts and answers.
    Tokens,
}

impl Meter {
    const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
        }
    }
}

/// So much in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    limit: NonZero<u32>,
    period: Duration,
    burst: NonZero<u32>,
}

impl Quota {
    /// `limit` in every `period`, all of it at once if nothing was spent before. A period is at least a millisecond.
    #[must_use]
    pub fn new(limit: NonZero<u32>, period: Duration) -> Self {
        Self { limit, period: period.max(Duration::from_millis(1)), burst: limit }
    }

    /// `limit` every minute.
    #[must_use]
    pub fn per_minute(limit: NonZero<u32>) -> Self {
        Self::new(limit, Duration::from_secs(60))
    }

    /// With another amount that may be spent at once.
    #[must_use]
    pub const fn with_burst(self, burst: NonZero<u32>) -> Self {
        Self { burst, ..self }
    }
}

/// What a check decided; the figures of `RateLimit` headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether the cost was taken.
    pub allowed: bool,
    /// What may be spent at once when nothing was spent before.
    pub limit: u64,
    /// What may still be spent now.
    pub remaining: u64,
    /// When all of it may be spent again.
    pub reset_after: Duration,
    /// When this cost may be tried again; `None` if it was allowed, or is more than can ever be spent at once.
    pub retry_after: Option<Duration>,
    /// Whether all nodes counted it.
    pub is_shared: bool,
}

/// Checks and counts.
pub struct Limiter {
    local: LocalLimiter,
    shared: Option<SharedLimiter>,
}

impl Limiter {
    /// Counts in this process for up to `keys` keys; those used longest ago are forgotten, and begin anew. With a
    /// link, counts in Redis while it is there.
    #[must_use]
    pub fn new(keys: NonZero<usize>, link: Option<Arc<Link>>) -> Self {
        Self { local: LocalLimiter::new(keys), shared: link.map(SharedLimiter::new) }
    }

    /// Takes `cost` from what `key` may spend, all or nothing. A cost of 0 only looks.
    pub async fn check(&self, meter: Meter, key: &str, cost: u64, quota: &Quota) -> Decision {
        let key = name(meter, key);
        if let Some(shared) = &self.shared {
            match shared.check(&key, cost, quota).await {
                Ok(decision) => return decision,
                Err(error) => tracing::debug!(%error, "this node limits alone"),
            }
        }
        self.local.check(&key, cost, quota)
    }

    /// Corrects what was reserved by a check to what was used: the rest is given back, and more is taken even if
    /// there is none left, so that the next one waits longer.
    pub async fn settle(&self, meter: Meter, key: &str, reserved: u64, used: u64, quota: &Quota) {
        if reserved == used {
            return;
        }
        let key = name(meter, key);
        if let Some(shared) = &self.shared {
            match shared.settle(&key, reserved, used, quota).await {
                Ok(()) => return,
                Err(error) => tracing::debug!(%error, "this node limits alone"),
            }
        }
        self.local.settle(&key, reserved, used, quota);
    }

    /// Keys that this process counts for now.
    #[must_use]
    pub fn local_keys(&self) -> usize {
        self.local.keys()
    }
}

/// Under which a key is counted. Long ones are shortened to a digest.
fn name(meter: Meter, key: &str) -> String {
    const KEY_BYTES_MAX: usize = 128;
    if key.len() <= KEY_BYTES_MAX {
        return format!("{}:{key}", meter.name());
    }
    let digest = crate::fingerprint::Parts::of("limit").with(b'k', key.as_bytes()).finish();
    format!("{}:{}", meter.name(), crate::fingerprint::hex(&digest))
}

impl std::fmt::Debug for Limiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limiter").field("is_shared", &self.shared.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests;
