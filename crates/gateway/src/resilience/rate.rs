//! Requests and tokens a minute that a deployment may be asked for, so that its provider need not refuse.

use crate::{ChatError, ChatModel, ChatReply, ChatRequest};
use async_trait::async_trait;
use corpus::{Allowance, Moment};
use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Limits of one deployment; `None` is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateParams {
    /// Calls a minute.
    pub requests_per_minute: Option<u32>,
    /// Tokens a minute, read and written.
    pub tokens_per_minute: Option<u32>,
}

/// What was granted of these limits.
pub(super) struct Meters {
    since: Instant,
    meters: Mutex<[Option<Meter>; 2]>,
}

/// One limit.
struct Meter {
    allowance: Allowance,
    arrival: Moment,
}

impl Meter {
    fn new(per_minute: u32) -> Self {
        Self { allowance: Allowance::per_minute(NonZero::new(per_minute).unwrap_or(NonZero::<u32>::MIN)), arrival: 0 }
    }

    /// How long until `units` can be granted; more than a whole minute's are granted when none are spent.
    fn wait(&self, units: u64, now: Moment) -> Duration {
        let (grant, _) = self.allowance.spend(self.arrival, now, units.min(self.most()));
        grant.retry_after.unwrap_or_default()
    }

    fn take(&mut self, units: u64, now: Moment) {
        // Bounded, so that one absurd request doesn't close a deployment for days.
        self.arrival = self.allowance.settle(self.arrival, now, 0, units.min(60 * self.most()));
    }

    fn most(&self) -> u64 {
        self.allowance.burst().get().into()
    }
}

impl Meters {
    pub(super) fn new(params: RateParams) -> Self {
        let meters = [params.requests_per_minute, params.tokens_per_minute].map(|limit| limit.map(Meter::new));
        Self { since: Instant::now(), meters: Mutex::new(meters) }
    }

    /// How long until the smallest call can be granted.
    pub(super) fn ready_in(&self) -> Duration {
        wait(&self.lock(), 1, self.now())
    }

    /// Grants `name` a call of so many tokens.
    ///
    /// # Errors
    /// [`ChatError::Unavailable`], with how long it has to wait.
    pub(super) fn take(&self, name: &str, tokens: u64) -> Result<(), ChatError> {
        let (mut meters, now) = (self.lock(), self.now());
        let wait = wait(&meters, tokens, now);
        if !wait.is_zero() {
            let reason = format!("{name} is at its limit of requests or tokens a minute");
            return Err(ChatError::Unavailable { reason, retry_after: Some(wait) });
        }
        for (meter, units) in meters.iter_mut().zip([1, tokens]) {
            meter.iter_mut().for_each(|meter| meter.take(units, now));
        }
        Ok(())
    }

    fn now(&self) -> Moment {
        u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, [Option<Meter>; 2]> {
        self.meters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long until one call of so many tokens can be granted.
fn wait(meters: &[Option<Meter>; 2], tokens: u64, now: Moment) -> Duration {
    let waits = meters.iter().zip([1, tokens]).filter_map(|(meter, units)| Some(meter.as_ref()?.wait(units, now)));
    waits.max().unwrap_or_default()
}

/// Keeps a deployment below its limits.
pub struct Rate {
    inner: Arc<dyn ChatModel>,
    meters: Meters,
}

impl Rate {
    /// Around `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn ChatModel>, params: RateParams) -> Self {
        Self { inner, meters: Meters::new(params) }
    }
}

#[async_trait]
impl ChatModel for Rate {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn ready_in(&self) -> Duration {
        self.inner.ready_in().max(self.meters.ready_in())
    }

    fn is_full(&self) -> bool {
        self.inner.is_full()
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatReply, ChatError> {
        self.meters.take(self.inner.name(), request.tokens_most())?;
        self.inner.chat(request).await
    }
}
