//! Rate limits: how many requests and tokens a key may spend in a time, alone or over all nodes.
//!
//! An [`Allowance`] decides (the generic cell rate algorithm). Over Redis every node counts in one place, by Redis's
//! clock, in one round trip; while Redis is away each node counts for itself.

mod local;
mod shared;

use crate::link::Link;
use corpus::{Allowance, Grant};
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

/// A cost that somebody wants to spend of an allowance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Under which it is counted.
    key: String,
    cost: u64,
    allowance: Allowance,
}

impl Claim {
    /// A cost of what `key` may spend; a cost of 0 only looks.
    #[must_use]
    pub fn new(meter: Meter, key: &str, cost: u64, allowance: Allowance) -> Self {
        Self { key: name(meter, key), cost, allowance }
    }

    /// Of which allowance.
    #[must_use]
    pub const fn allowance(&self) -> &Allowance {
        &self.allowance
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

impl Decision {
    fn local(allowance: &Allowance, grant: Grant) -> Self {
        let Grant { allowed, remaining, reset_after, retry_after } = grant;
        Self { allowed, limit: allowance.burst().get().into(), remaining, reset_after, retry_after, is_shared: false }
    }
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

    /// Takes the costs of all claims, or none of them: that is taken if every decision is allowed. Claims are of
    /// different keys. No claims, no work.
    pub async fn check(&self, claims: &[Claim]) -> Vec<Decision> {
        if claims.is_empty() {
            return Vec::new();
        }
        if let Some(shared) = &self.shared {
            match shared.check(claims).await {
                Ok(decisions) => return decisions,
                Err(error) => tracing::debug!(%error, "this node limits alone"),
            }
        }
        self.local.check(claims)
    }

    /// Corrects what was reserved by a check to what was `used`, for each claim: the rest is given back, and more is
    /// taken even if there is none left, so that the next one waits longer.
    pub async fn settle(&self, claims: &[Claim], used: u64) {
        if claims.iter().all(|claim| claim.cost == used) {
            return;
        }
        if let Some(shared) = &self.shared {
            match shared.settle(claims, used).await {
                Ok(()) => return,
                Err(error) => tracing::debug!(%error, "this node limits alone"),
            }
        }
        self.local.settle(claims, used);
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
