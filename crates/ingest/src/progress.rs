//! What a running job tells about itself, and how it learns that it is no longer wanted.

use crate::pipeline::IngestError;
use corpus::Wanted;
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Where a document is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Waits for a worker.
    Queued,
    /// The original becomes text.
    Parsing,
    /// The text becomes chunks.
    Splitting,
    /// The chunks get vectors.
    Embedding,
    /// The result goes into the store and the views.
    Indexing,
    /// In search.
    Ready,
    /// Ended with a reason.
    Failed,
    /// Ended on request.
    Cancelled,
}

/// A job's place and speed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobProgress {
    /// The stage under way.
    pub stage: Stage,
    /// Units of the stage that are done (chunks while embedding, else 0 or 1).
    pub done: u64,
    /// Units of the stage.
    pub total: u64,
    /// Seconds that the rest of the stage takes at the speed so far.
    pub eta_s: Option<f64>,
    /// Why it does not go on, where that is nothing of its document: a provider that is away, a budget that is spent.
    pub waits_for: Option<String>,
}

impl JobProgress {
    /// A job that waits or has ended.
    #[must_use]
    pub fn at(stage: Stage) -> Self {
        Self { stage, done: 0, total: 0, eta_s: None, waits_for: None }
    }
}

/// A flag with a bell: raised once, wakes those who wait.
#[derive(Default)]
pub(crate) struct Flag {
    is_raised: AtomicBool,
    turn: Mutex<()>,
    bell: Condvar,
}

impl Flag {
    pub(crate) fn raise(&self) {
        self.is_raised.store(true, Ordering::Release);
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.bell.notify_all();
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.is_raised.load(Ordering::Acquire)
    }

    /// Waits until the flag is raised, at most `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Timed out, raised or woken for nothing: the caller looks again either way.
        let _ = self.bell.wait_timeout_while(turn, timeout, |()| !self.is_raised());
    }
}

/// The running job's side of [`JobProgress`].
pub(crate) struct Progress {
    pub(crate) cancelled: Arc<Flag>,
    pub(crate) stopping: Arc<Flag>,
    pub(crate) sender: watch::Sender<JobProgress>,
    /// Until it is cancelled.
    pub(crate) wanted: Wanted,
    stage_began: Mutex<Instant>,
}

impl Progress {
    pub(crate) fn new(cancelled: Arc<Flag>, stopping: Arc<Flag>, sender: watch::Sender<JobProgress>, wanted: Wanted) -> Self {
        Self { cancelled, stopping, sender, wanted, stage_began: Mutex::new(Instant::now()) }
    }

    /// The next stage begins, if the job is still wanted.
    pub(crate) fn enter(&self, stage: Stage, total: u64) -> Result<(), IngestError> {
        self.check()?;
        *self.stage_began.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.sender.send_replace(JobProgress { total, ..JobProgress::at(stage) });
        Ok(())
    }

    /// So many more units are done; the job goes on if it is still wanted.
    pub(crate) fn advance(&self, units: u64) -> Result<(), IngestError> {
        let seconds = self.stage_began.lock().unwrap_or_else(PoisonError::into_inner).elapsed().as_secs_f64();
        self.sender.send_modify(|progress| {
            progress.done = (progress.done + units).min(progress.total);
            progress.eta_s = eta_s(seconds, progress.done, progress.total);
            progress.waits_for = None;
        });
        self.check()
    }

    /// Waits for what passes, but not longer than the job is wanted.
    pub(crate) fn wait(&self, why: &impl ToString, time: Duration) -> Result<(), IngestError> {
        self.sender.send_modify(|progress| progress.waits_for = Some(why.to_string()));
        self.stopping.wait(time);
        self.check()
    }

    /// Whether the job is still wanted.
    pub(crate) fn check(&self) -> Result<(), IngestError> {
        match (self.cancelled.is_raised(), self.stopping.is_raised()) {
            (true, _) => Err(IngestError::Cancelled),
            (false, true) => Err(IngestError::Stopping),
            (false, false) => Ok(()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate in seconds")]
fn eta_s(seconds: f64, done: u64, total: u64) -> Option<f64> {
    (done > 0).then(|| seconds / done as f64 * (total - done) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_estimated_from_what_is_done() {
        assert_eq!(eta_s(2.0, 1, 4), Some(6.0));
        assert_eq!(eta_s(2.0, 4, 4), Some(0.0));
        assert_eq!(eta_s(2.0, 0, 4), None);
    }

    #[test]
    fn a_job_that_is_not_wanted_stops_at_the_next_step() {
        let (sender, receiver) = watch::channel(JobProgress::at(Stage::Queued));
        let progress = Progress::new(Arc::default(), Arc::default(), sender, Wanted::default());
        progress.enter(Stage::Embedding, 2).unwrap();
        progress.advance(1).unwrap();
        assert_eq!((receiver.borrow().done, receiver.borrow().total), (1, 2));
        progress.cancelled.raise();
        assert!(matches!(progress.advance(1), Err(IngestError::Cancelled)));
    }
}
