//! How long an answer may take, stage by stage.

use crate::{ChatError, Stage};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long to wait. The defaults are those of the reliability rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the connection, TLS included. Default 3 s.
    pub connect: Duration,
    /// From asking to the first token. Default 15 s.
    pub first_token: Duration,
    /// From one token to the next. Default 20 s.
    pub between_chunks: Duration,
    /// For the whole answer of one try. Default 120 s.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(3), first_token: seconds(15), between_chunks: seconds(20), total: seconds(120) }
    }
}

/// When to stop waiting. Only tokens (thoughts included) count as progress: a server that sends keep-alive comments
/// or one byte a second still runs out of time.
pub(super) struct Clock {
    timeouts: Timeouts,
    started: Instant,
    waiting_since: Instant,
    stage: Stage,
}

impl Clock {
    pub(super) fn start(timeouts: Timeouts) -> Self {
        let now = Instant::now();
        Self { timeouts, started: now, waiting_since: now, stage: Stage::FirstToken }
    }

    /// Waits for `future`, but no longer than the stage and the whole answer may take.
    pub(super) async fn limit<T>(&self, future: impl Future<Output = T>) -> Result<T, ChatError> {
        let limit = if self.stage == Stage::FirstToken { self.timeouts.first_token } else { self.timeouts.between_chunks };
        let of_stage = self.waiting_since + limit;
        let of_total = self.started + self.timeouts.total;
        let (deadline, stage, limit) =
            if of_stage <= of_total { (of_stage, self.stage, limit) } else { (of_total, Stage::Total, self.timeouts.total) };
        timeout_at(deadline, future).await.map_err(|_| ChatError::Timeout { stage, limit })
    }

    pub(super) fn progress(&mut self) {
        self.stage = Stage::BetweenChunks;
        self.waiting_since = Instant::now();
    }
}
