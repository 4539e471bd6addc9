//! What every handler sees, and the one way from async code to the blocking rooms below.

use crate::auth::{Caller, Keys};
use crate::batches::Batches;
use crate::caches::Caches;
use crate::config::Config;
use crate::error::ApiError;
use crate::evaluations::Evaluations;
use crate::http::admission::Admission;
use crate::http::backups::Backups;
use crate::http::benchmarks::Benchmarks;
use crate::limits::Limits;
use crate::traces::{Sessions, Traces};
use crate::wiring::Spend;
use corpus::{Embedder, Reranker};
use index::Catalog;
use ingest::Ingest;
use query::Engine;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Semaphore, watch};

/// Shared by all requests.
#[derive(Clone)]
pub(crate) struct AppState(pub(crate) Arc<App>);

impl std::ops::Deref for AppState {
    type Target = App;
    fn deref(&self) -> &App {
        &self.0
    }
}

/// What wiring has made.
pub(crate) struct Rooms {
    pub(crate) config: Config,
    pub(crate) keys: Arc<Keys>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) ingest: Ingest,
    pub(crate) embedder: Arc<dyn Embedder>,
    /// What judges texts by a question, if there is something.
    pub(crate) reranker: Option<Arc<dyn Reranker>>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) batches: Batches,
    pub(crate) caches: Caches,
    pub(crate) traces: Traces,
    pub(crate) sessions: Sessions,
    pub(crate) spend: Spend,
    /// The Redis that servers share, if there is one.
    pub(crate) link: Option<Arc<cache::Link>>,
    pub(crate) metrics: metrics_exporter_prometheus::PrometheusHandle,
}

/// The rooms, and what the front door has of its own.
pub(crate) struct App {
    rooms: Rooms,
    pub(crate) backups: Backups,
    pub(crate) benchmarks: Benchmarks,
    pub(crate) evaluations: Evaluations,
    /// What is handed out before work is done.
    pub(crate) admission: Admission,
    /// One for each piece of blocking work, which goes on when its client has left.
    hops: Arc<Semaphore>,
    draining: AtomicBool,
    stopping: watch::Sender<bool>,
}

impl std::ops::Deref for App {
    type Target = Rooms;
    fn deref(&self) -> &Rooms {
        &self.rooms
    }
}

impl App {
    pub(crate) fn new(rooms: Rooms) -> Self {
        let server = &rooms.config.server;
        let admission = Admission::new(server);
        let hops = Arc::new(Semaphore::new(server.concurrent_requests_max + server.concurrent_streams_max));
        let backups = Backups::new(server.data_dir.join("backups"));
        let evaluations = Evaluations::new(rooms.config.evaluations.clone());
        let (benchmarks, draining, stopping) = (Benchmarks::default(), AtomicBool::new(false), watch::Sender::new(false));
        Self { rooms, backups, benchmarks, evaluations, admission, hops, draining, stopping }
    }

    /// From here on the server is not ready, though it still serves.
    pub(crate) fn begin_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// From here on streams and waits end, and no document is begun.
    pub(crate) fn begin_stopping(&self) {
        self.stopping.send_replace(true);
        self.ingest.begin_stopping();
    }

    /// Resolves when the server is on its way out.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopping = self.stopping.subscribe();
        async move {
            // An error means that the server is gone altogether.
            let _ = stopping.wait_for(|is_stopping| *is_stopping).await;
        }
    }

    /// Waits until an answer that streams must end before it is through: the server stops, or the caller's
    /// key opens nothing any more. What to tell the client: a code and a sentence.
    pub(crate) async fn cut_off(&self, caller: &Caller) -> (&'static str, &'static str) {
        tokio::select! {
            () = self.stopped() => ("shutting_down", "the server is shutting down"),
            () = self.keys.closed_to(caller) => ("unauthorized", "the key was revoked or has expired"),
        }
    }

    /// Whether the server is on its way out.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Whether the server has been told to go, whether or not it still serves.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire) || self.is_stopping()
    }

    /// Whether writes can be acknowledged.
    pub(crate) fn is_ready(&self) -> bool {
        !self.is_draining() && !self.catalog.store().stats().read_only
    }
}

impl AppState {
    /// Runs blocking work (store, index, model) off the async threads: the one place where HTTP hops.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&App) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let hop = Arc::clone(&self.hops).acquire_owned().await.map_err(ApiError::internal)?;
        let app = self.clone();
        let span = tracing::Span::current();
        let work = move || {
            let _hop = hop;
            span.in_scope(|| work(&app))
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(ApiError::internal(error)),
        }
    }
}
