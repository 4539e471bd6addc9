//! Loads under way: whoever wants what somebody already loads waits for it.
//!
//! Invariants: of one key one load is under way; a leader that fails or is dropped leaves its place at once, and
//! those who waited go on, one of them as the new leader; nobody waits for more than one load that fails.

use crate::entry::Entry;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<Arc<str>, watch::Receiver<Outcome>>>);

/// How a load ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    UnderWay,
    /// For everybody who waited.
    Landed(Entry),
    /// It failed, or its value is nobody else's.
    Failed,
}

pub(crate) enum Turn<'f> {
    /// Nobody loads this.
    Lead(Lead<'f>),
    /// Somebody does.
    Follow(watch::Receiver<Outcome>),
}

/// The place of the one who loads. Dropped without a word, it counts as given up.
pub(crate) struct Lead<'f> {
    flights: &'f Flights,
    path: Arc<str>,
    outcome: watch::Sender<Outcome>,
}

impl Flights {
    fn open(&self) -> MutexGuard<'_, HashMap<Arc<str>, watch::Receiver<Outcome>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn turn(&self, path: &Arc<str>) -> Turn<'_> {
        let mut open = self.open();
        if let Some(receiver) = open.get(path) {
            return Turn::Follow(receiver.clone());
        }
        let (outcome, receiver) = watch::channel(Outcome::UnderWay);
        open.insert(Arc::clone(path), receiver);
        Turn::Lead(Lead { flights: self, path: Arc::clone(path), outcome })
    }

    /// Loads under way.
    pub(crate) fn count(&self) -> usize {
        self.open().len()
    }
}

impl Lead<'_> {
    pub(crate) fn end(self, outcome: Outcome) {
        self.outcome.send_replace(outcome);
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.flights.open().remove(&self.path);
    }
}

/// Waits for the end of a load; `None` if it was given up.
pub(crate) async fn outcome(mut receiver: watch::Receiver<Outcome>) -> Option<Outcome> {
    let ended = receiver.wait_for(|outcome| *outcome != Outcome::UnderWay).await;
    ended.ok().map(|outcome| outcome.clone())
}
