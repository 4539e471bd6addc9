//! What every handler sees, and the one way from async code to the blocking rooms below.

use crate::auth::Keys;
use crate::config::Config;
use crate::error::ApiError;
use crate::http::backups::Backups;
use crate::http::benchmarks::Benchmarks;
use corpus::Embedder;
use index::Catalog;
use ingest::Ingest;
use query::Engine;
use std::sync::Arc;
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

/// The rooms, wired.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) keys: Keys,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) ingest: Ingest,
    pub(crate) embedder: Arc<dyn Embedder>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) backups: Backups,
    pub(crate) benchmarks: Benchmarks,
    pub(crate) metrics: metrics_exporter_prometheus::PrometheusHandle,
    /// One permit a request.
    pub(crate) requests: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
}

impl App {
    pub(crate) fn new(
        config: Config,
        keys: Keys,
        catalog: Arc<Catalog>,
        ingest: Ingest,
        embedder: Arc<dyn Embedder>,
        engine: Arc<Engine>,
        metrics: metrics_exporter_prometheus::PrometheusHandle,
    ) -> Self {
        let requests = Arc::new(Semaphore::new(config.server.concurrent_requests_max));
        let benchmarks = Benchmarks::default();
        let backups = Backups::new(config.server.data_dir.join("backups"));
        Self {
            config,
            keys,
            catalog,
            ingest,
            embedder,
            engine,
            backups,
            benchmarks,
            metrics,
            requests,
            stopping: watch::Sender::new(false),
        }
    }

    /// From here on the server is not ready, and streams and waits end.
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

    /// Whether the server is on its way out.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Whether writes can be acknowledged.
    pub(crate) fn is_ready(&self) -> bool {
        !self.is_stopping() && !self.catalog.store().stats().read_only
    }
}

impl AppState {
    /// Runs blocking work (store, index, model) off the async threads: the one place where HTTP hops.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&App) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let app = self.clone();
        let span = tracing::Span::current();
        match tokio::task::spawn_blocking(move || span.in_scope(|| work(&app))).await {
            Ok(result) => result,
            Err(error) => Err(ApiError::internal(error)),
        }
    }
}
