//! How long each stage of a request took.

use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Milliseconds by stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Timings(BTreeMap<&'static str, f64>);

impl Timings {
    /// Runs a stage and notes how long it took; one that ran before has both times.
    pub fn measure<T>(&mut self, stage: &'static str, run: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = run();
        *self.0.entry(stage).or_default() += milliseconds(started);
        result
    }

    /// Notes a stage that began at `started` and ends now.
    pub fn note(&mut self, stage: &'static str, started: Instant) {
        self.0.insert(stage, milliseconds(started));
    }

    /// Notes a stage that took so long.
    pub fn add(&mut self, stage: &'static str, took: Duration) {
        self.0.insert(stage, took.as_secs_f64() * 1e3);
    }

    /// The milliseconds of a stage, if it ran.
    #[must_use]
    pub fn get(&self, stage: &str) -> Option<f64> {
        self.0.get(stage).copied()
    }
}

fn milliseconds(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e3
}
