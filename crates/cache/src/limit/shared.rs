//! Limits of all nodes, counted in Redis.

use super::{Claim, Decision};
use crate::link::{Link, LinkError};
use redis::Script;
use std::sync::Arc;
use std::time::Duration;

pub(super) struct SharedLimiter {
    link: Arc<Link>,
    script: Script,
}

/// More at once is counted as this much: times stay within what Redis takes.
const COST_MAX: i64 = 1_000_000_000_000;

/// What the script returns for each key: allowed, remaining, reset, retry.
type Reply = (i64, i64, i64, i64);

impl SharedLimiter {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link, script: Script::new(include_str!("gcra.lua")) }
    }

    pub(super) async fn check(&self, claims: &[Claim]) -> Result<Vec<Decision>, LinkError> {
        let cost = |claim: &Claim| i64::try_from(claim.cost).unwrap_or(COST_MAX).min(COST_MAX);
        let replies = self.run(claims, cost, true).await?;
        Ok(claims.iter().zip(replies).map(|(claim, reply)| decision(claim, reply)).collect())
    }

    pub(super) async fn settle(&self, claims: &[Claim], used: u64) -> Result<(), LinkError> {
        let change = |claim: &Claim| {
            let change = i128::from(used) - i128::from(claim.cost);
            i64::try_from(change.clamp(-i128::from(COST_MAX), COST_MAX.into())).unwrap_or(COST_MAX)
        };
        self.run(claims, change, false).await.map(|_| ())
    }

    async fn run(&self, claims: &[Claim], cost: impl Fn(&Claim) -> i64, decides: bool) -> Result<Vec<Reply>, LinkError> {
        let mut call = self.script.prepare_invoke();
        call.arg(u8::from(decides));
        for claim in claims {
            let allowance = &claim.allowance;
            let period_us = u64::try_from(allowance.period().as_micros()).unwrap_or(u64::MAX);
            // All in one slot of a cluster: a script may only name keys of one.
            call.key(format!("{}{{limit}}:{}", self.link.prefix(), claim.key));
            call.arg(cost(claim)).arg(allowance.limit().get()).arg(period_us).arg(allowance.burst().get());
        }
        self.link.call(|mut connection| async move { call.invoke_async(&mut connection).await }).await
    }
}

fn decision(claim: &Claim, (allowed, remaining, reset_us, retry_us): Reply) -> Decision {
    let micros = |us: i64| u64::try_from(us).ok().map(Duration::from_micros);
    Decision {
        allowed: allowed == 1,
        limit: claim.allowance.burst().get().into(),
        remaining: u64::try_from(remaining).unwrap_or(0),
        reset_after: micros(reset_us).unwrap_or_default(),
        retry_after: micros(retry_us),
        is_shared: true,
    }
}
