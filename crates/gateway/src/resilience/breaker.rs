//! Leaves a deployment alone that fails again and again, and asks it now and then whether it works again.
//!
//! Opens after [`BreakerParams::consecutive`] failures in a row, or when at least `share` of at least `calls_min`
//! calls of the window failed; for `open` at first, twice as long each time a probe fails. When that time is over one
//! call is let through. A stream counts by its end; what the client breaks off, and what the deployment refuses for
//! the request's own sake, does not count.

mod circuit;

pub use circuit::BreakerState;

use super::ending::{Ending, told};
use crate::{ChatError, ChatModel, ChatReply, ChatRequest};
use async_trait::async_trait;
use circuit::{Circuit, Outcome, Pass};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BreakerParams {
    /// How far back calls count. Default 30 s.
    pub window: Duration,
    /// Failures in a row that open it. Default 5.
    pub consecutive: u32,
    /// Calls in the window from which on their share of failures counts. Default 20.
    pub calls_min: u32,
    /// That share. Default 0.5.
    pub share: f64,
    /// How long it is open the first time. Default 10 s.
    pub open: Duration,
    /// How long at most. Default 5 min.
    pub open_max: Duration,
}

impl Default for BreakerParams {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { window: seconds(30), consecutive: 5, calls_min: 20, share: 0.5, open: seconds(10), open_max: seconds(300) }
    }
}

/// The circuit of one deployment, for calls of any kind.
pub(super) struct Switch {
    circuit: Arc<Mutex<Circuit>>,
}

impl Switch {
    pub(super) fn new(params: BreakerParams) -> Self {
        Self { circuit: Arc::new(Mutex::new(Circuit::new(params))) }
    }

    fn state(&self) -> BreakerState {
        lock(&self.circuit).state(Instant::now())
    }

    pub(super) fn ready_in(&self) -> Duration {
        lock(&self.circuit).ready_in(Instant::now())
    }

    /// Lets a call of `name` through.
    ///
    /// # Errors
    /// [`ChatError::Unavailable`], with how long there is no use in trying.
    pub(super) fn enter(&self, name: &str) -> Result<Call, ChatError> {
        let pass = lock(&self.circuit)
            .enter(Instant::now())
            .map_err(|wait| ChatError::Unavailable { reason: format!("{name} has failed too often"), retry_after: Some(wait) })?;
        Ok(Call { circuit: Arc::clone(&self.circuit), pass: Some(pass) })
    }
}

/// A call under way: whatever becomes of it is told, even if nobody waits for it any more.
pub(super) struct Call {
    circuit: Arc<Mutex<Circuit>>,
    pass: Option<Pass>,
}

impl Call {
    pub(super) fn succeeded(&mut self) {
        self.end(Outcome::Success);
    }

    pub(super) fn failed(&mut self, error: &ChatError) {
        self.end(if error.is_failure() { Outcome::Failure } else { Outcome::Unknown });
    }

    fn end(&mut self, outcome: Outcome) {
        if let Some(pass) = self.pass.take() {
            lock(&self.circuit).note(pass, outcome, Instant::now());
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Outcome::Unknown);
    }
}

fn lock(circuit: &Mutex<Circuit>) -> MutexGuard<'_, Circuit> {
    circuit.lock().unwrap_or_else(PoisonError::into_inner)
}

/// See the module.
pub struct Breaker {
    inner: Arc<dyn ChatModel>,
    switch: Switch,
}

impl Breaker {
    /// Around `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn ChatModel>, params: BreakerParams) -> Self {
        Self { inner, switch: Switch::new(params) }
    }

    /// Closed, open or half-open.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.switch.state()
    }
}

#[async_trait]
impl ChatModel for Breaker {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn ready_in(&self) -> Duration {
        self.inner.ready_in().max(self.switch.ready_in())
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatReply, ChatError> {
        let mut call = self.switch.enter(self.inner.name())?;
        let reply = self.inner.chat(request).await.inspect_err(|error| call.failed(error))?;
        let tell = move |ending: Ending<'_>| match ending {
            Ending::Complete => call.succeeded(),
            Ending::Failed(error) => call.failed(error),
            // Dropped with the call: it says nothing about the deployment.
            Ending::Dropped => {}
        };
        Ok(ChatReply { events: told(reply.events, tell), ..reply })
    }
}
