//! Requests and tokens a minute that a deployment may be asked for, so that its provider need not refuse.
//!
//! The generic cell rate algorithm (ITU-T I.371, "virtual scheduling"): one instant says how far what was granted
//! reaches into the future; a grant may reach as far as one minute.

use crate::{ChatError, ChatModel, ChatReply, ChatRequest};
use async_trait::async_trait;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What is granted at once, and how long it takes to be granted anew.
const WINDOW: Duration = Duration::from_secs(60);

/// Limits of one deployment; `None` is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateParams {
    /// Calls a minute.
    pub requests_per_minute: Option<u32>,
    /// Tokens a minute, read and written.
    pub tokens_per_minute: Option<u32>,
}

/// Keeps a deployment below its limits.
pub struct Rate {
    inner: Arc<dyn ChatModel>,
    meters: Mutex<Meters>,
}

struct Meters {
    requests: Option<Meter>,
    tokens: Option<Meter>,
}

/// One limit.
struct Meter {
    /// Time that one unit costs, in nanoseconds.
    unit_ns: u64,
    /// The theoretical arrival time of I.371.
    reaches_to: Instant,
}

impl Meter {
    fn new(per_minute: u32) -> Self {
        let window_ns = u64::try_from(WINDOW.as_nanos()).unwrap_or(u64::MAX);
        Self { unit_ns: window_ns / u64::from(per_minute.max(1)), reaches_to: Instant::now() }
    }

    fn cost(&self, units: u64) -> Duration {
        Duration::from_nanos(self.unit_ns.saturating_mul(units))
    }

    /// How long until `units` can be granted; more than a whole window's are granted when the window is empty.
    fn wait(&self, units: u64, now: Instant) -> Duration {
        (self.reaches_to.max(now) + self.cost(units).min(WINDOW)).saturating_duration_since(now + WINDOW)
    }

    fn take(&mut self, units: u64, now: Instant) {
        self.reaches_to = self.reaches_to.max(now) + self.cost(units).min(WINDOW * 60);
    }
}

impl Meters {
    /// How long until one call of so many tokens can be granted.
    fn wait(&self, tokens: u64, now: Instant) -> Duration {
        let of = |meter: &Option<Meter>, units| meter.as_ref().map_or(Duration::ZERO, |meter| meter.wait(units, now));
        of(&self.requests, 1).max(of(&self.tokens, tokens))
    }

    fn take(&mut self, tokens: u64, now: Instant) {
        self.requests.iter_mut().for_each(|meter| meter.take(1, now));
        self.tokens.iter_mut().for_each(|meter| meter.take(tokens, now));
    }
}

impl Rate {
    /// Around `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn ChatModel>, params: RateParams) -> Self {
        let meters = Meters { requests: params.requests_per_minute.map(Meter::new), tokens: params.tokens_per_minute.map(Meter::new) };
        Self { inner, meters: Mutex::new(meters) }
    }

    fn lock(&self) -> MutexGuard<'_, Meters> {
        self.meters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grants a call of so many tokens, or says how long it has to wait.
    fn take(&self, tokens: u64) -> Result<(), Duration> {
        let (mut meters, now) = (self.lock(), Instant::now());
        let wait = meters.wait(tokens, now);
        if !wait.is_zero() {
            return Err(wait);
        }
        meters.take(tokens, now);
        Ok(())
    }
}

#[async_trait]
impl ChatModel for Rate {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn ready_in(&self) -> Duration {
        self.inner.ready_in().max(self.lock().wait(1, Instant::now()))
    }

    fn is_full(&self) -> bool {
        self.inner.is_full()
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatReply, ChatError> {
        if let Err(wait) = self.take(request.tokens_most()) {
            let reason = format!("{} is at its limit of requests or tokens a minute", self.inner.name());
            return Err(ChatError::Unavailable { reason, retry_after: Some(wait) });
        }
        self.inner.chat(request).await
    }
}
