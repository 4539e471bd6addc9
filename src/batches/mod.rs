//! Batches that run: many questions or completions as one durable job.
//!
//! What is asked, and by whom, is in the store before it is acknowledged; each answer is in the store before it counts.
//! So what is here may be lost at any moment: at the next start every unfinished batch goes on with what is missing
//! ([`run::resume`]). The bounds of the key that asked hold as they were then, and the batch ends with the key.

mod cost;
mod item;
mod provider;
pub(crate) mod run;

pub(crate) use item::Item;

use crate::config::BatchesConfig;
use crate::error::ApiError;
use axum::http::StatusCode;
use corpus::{JobId, TenantId};
use gateway::BatchClient;
use index::batches::BatchRecord;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};

/// Batches of this process that wait or run.
pub(crate) struct Batches {
    config: BatchesConfig,
    live: Arc<Mutex<HashMap<JobId, Live>>>,
    /// One for each item that is worked on. Handed out in turn, so that batches share them.
    places: Arc<Semaphore>,
    clients: BatchClients,
}

/// The batch interfaces of providers.
#[derive(Default)]
pub(crate) struct BatchClients {
    /// By the name of the deployment.
    pub(crate) by_deployment: BTreeMap<String, Arc<BatchClient>>,
    /// The deployment that stands in for each model.
    pub(crate) of_model: BTreeMap<String, String>,
}

struct Live {
    tenant: TenantId,
    progress: watch::Sender<BatchProgress>,
    /// Set when the batch shall end.
    stop: watch::Sender<bool>,
}

/// How far a batch is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct BatchProgress {
    pub(crate) stage: BatchStage,
    /// Items with a result.
    pub(crate) done: u32,
    pub(crate) total: u32,
    /// Those of `done` that failed.
    pub(crate) failed: u32,
    /// Seconds that the rest takes at the speed so far.
    pub(crate) eta_s: Option<f64>,
}

/// What happens to a batch at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BatchStage {
    Queued,
    Answering,
    /// On the way to a provider.
    Submitting,
    /// At a provider.
    Waiting,
    /// On the way back.
    Collecting,
    Ready,
    Failed,
    Cancelled,
}

impl BatchProgress {
    pub(crate) fn at(stage: BatchStage, record: &BatchRecord) -> Self {
        Self { stage, done: record.done, total: record.total, failed: record.failed, eta_s: None }
    }
}

impl Batches {
    pub(crate) fn new(config: BatchesConfig, clients: BatchClients) -> Self {
        let places = Arc::new(Semaphore::new(config.concurrent_max));
        Self { config, live: Arc::default(), places, clients }
    }

    fn client(&self, deployment: &str) -> Option<Arc<BatchClient>> {
        self.clients.by_deployment.get(deployment).cloned()
    }

    /// The deployment whose provider takes batches for a model.
    pub(crate) fn deployment_of(&self, model: &str) -> Option<&str> {
        self.clients.of_model.get(model).map(String::as_str)
    }

    /// A seat for a new batch.
    ///
    /// # Errors
    /// 429 if the tenant has as many as it may.
    pub(crate) fn admit(&self, record: &BatchRecord) -> Result<Seat, ApiError> {
        let mut live = self.lock();
        if live.values().filter(|live| live.tenant == record.tenant).count() >= self.config.unfinished_max {
            let (status, wait) = (StatusCode::TOO_MANY_REQUESTS, Duration::from_secs(30));
            return Err(ApiError::busy(status, "batches_busy", "as many batches as may wait and run do already", wait));
        }
        Ok(self.seat(&mut live, record))
    }

    /// A seat for a batch that was acknowledged before; `None` if it has one.
    fn readmit(&self, record: &BatchRecord) -> Option<Seat> {
        let mut live = self.lock();
        (!live.contains_key(&record.id)).then(|| self.seat(&mut live, record))
    }

    fn seat(&self, live: &mut HashMap<JobId, Live>, record: &BatchRecord) -> Seat {
        let progress = watch::Sender::new(BatchProgress::at(BatchStage::Queued, record));
        let stop = watch::Sender::new(false);
        let stopped = stop.subscribe();
        live.insert(record.id.clone(), Live { tenant: record.tenant.clone(), progress, stop });
        Seat { id: record.id.clone(), live: Arc::clone(&self.live), began: Instant::now(), done_before: record.done, stopped }
    }

    /// How a batch is getting on; `None` if it doesn't run. The channel closes when it ends.
    pub(crate) fn watch(&self, id: &JobId) -> Option<watch::Receiver<BatchProgress>> {
        self.lock().get(id).map(|live| live.progress.subscribe())
    }

    /// Tells a batch that its end was asked for.
    pub(crate) fn stop(&self, id: &JobId) {
        if let Some(live) = self.lock().get(id) {
            live.stop.send_replace(true);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Live>> {
        lock(&self.live)
    }
}

fn lock(live: &Mutex<HashMap<JobId, Live>>) -> MutexGuard<'_, HashMap<JobId, Live>> {
    live.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right of one batch to run; given back when it is dropped.
pub(crate) struct Seat {
    id: JobId,
    live: Arc<Mutex<HashMap<JobId, Live>>>,
    began: Instant,
    /// Results that were there when it began, and say nothing about its speed.
    done_before: u32,
    stopped: watch::Receiver<bool>,
}

impl Seat {
    /// Tells how far the batch is.
    fn tell(&self, stage: BatchStage, record: &BatchRecord) {
        let done = record.done.saturating_sub(self.done_before);
        let each_s = (done > 0).then(|| self.began.elapsed().as_secs_f64() / f64::from(done));
        let eta_s = each_s.map(|each_s| each_s * f64::from(record.total.saturating_sub(record.done)));
        if let Some(live) = lock(&self.live).get(&self.id) {
            live.progress.send_replace(BatchProgress { eta_s, ..BatchProgress::at(stage, record) });
        }
    }

    /// Resolves when the end of the batch was asked for.
    fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopped = self.stopped.clone();
        async move {
            // An error means that the seat is gone, and with it whoever asks.
            let _ = stopped.wait_for(|is_stopped| *is_stopped).await;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.live).remove(&self.id);
    }
}
