//! Limits of all nodes, counted in Redis.

use super::{Decision, Quota};
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

/// What the script returns: allowed, remaining, reset, retry.
type Reply = (i64, i64, i64, i64);

impl SharedLimiter {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link, script: Script::new(include_str!("gcra.lua")) }
    }

    pub(super) async fn check(&self, key: &str, cost: u64, quota: &Quota) -> Result<Decision, LinkError> {
        let cost = i64::try_from(cost).unwrap_or(COST_MAX).min(COST_MAX);
        let (allowed, remaining, reset_us, retry_us) = self.run(key, cost, quota, true).await?;
        let micros = |us: i64| u64::try_from(us).ok().map(Duration::from_micros);
        Ok(Decision {
            allowed: allowed == 1,
            limit: quota.burst.get().into(),
            remaining: u64::try_from(remaining).unwrap_or(0),
            reset_after: micros(reset_us).unwrap_or_default(),
            retry_after: micros(retry_us),
            is_shared: true,
        })
    }

    pub(super) async fn settle(&self, key: &str, reserved: u64, used: u64, quota: &Quota) -> Result<(), LinkError> {
        let change = i128::from(used) - i128::from(reserved);
        let change = i64::try_from(change.clamp(-i128::from(COST_MAX), COST_MAX.into())).unwrap_or(COST_MAX);
        self.run(key, change, quota, false).await.map(|_| ())
    }

    async fn run(&self, key: &str, cost: i64, quota: &Quota, decides: bool) -> Result<Reply, LinkError> {
        let period_us = u64::try_from(quota.period.as_micros()).unwrap_or(u64::MAX);
        let mut call = self.script.key(format!("{}limit:{key}", self.link.prefix()));
        call.arg(cost).arg(quota.limit.get()).arg(period_us).arg(quota.burst.get()).arg(u8::from(decides));
        self.link.call(|mut connection| async move { call.invoke_async(&mut connection).await }).await
    }
}
