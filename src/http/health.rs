//! Probes and metrics: open to everybody, without content.

use crate::app::{App, AppState};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use gateway::BreakerState;
use gateway::telemetry::{BREAKER_STATE_GAUGE, DEPLOYMENT_LABEL};
use index::vector::VectorStats;
use serde_json::json;

pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .route("/healthz", get(ready))
        .route("/readyz", get(ready))
        .route("/livez", get(async || Json(json!({ "status": "ok" }))))
        .route("/metrics", get(metrics))
}

async fn ready(State(app): State<AppState>) -> Response {
    let (status, word) = match (app.is_ready(), app.is_draining()) {
        (true, _) => (StatusCode::OK, "ok"),
        (false, true) => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "read_only"),
    };
    (status, Json(json!({ "status": word, "version": env!("CARGO_PKG_VERSION") }))).into_response()
}

async fn metrics(State(app): State<AppState>) -> impl IntoResponse {
    gauges(&app);
    app.caches.report().await;
    if let Some(link) = &app.link {
        metrics::gauge!("ragstone_redis_here").set(f64::from(u8::from(link.is_here())));
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render())
}

/// What is read when asked for and not counted as it happens.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn gauges(app: &App) {
    breakers(app);
    let store = app.catalog.store().stats();
    metrics::gauge!("ragstone_store_bytes").set(store.disk_bytes as f64);
    metrics::gauge!("ragstone_store_commits").set(store.commits as f64);
    metrics::gauge!("ragstone_store_syncs").set(store.syncs as f64);
    metrics::gauge!("ragstone_store_read_only").set(f64::from(u8::from(store.read_only)));
    metrics::gauge!("ragstone_ingest_backlog").set(app.ingest.backlog() as f64);
    metrics::counter!("ragstone_embedded_texts_total").absolute(app.ingest.texts_embedded());
    metrics::counter!("ragstone_chunks_reused_total").absolute(app.catalog.chunks_reused());
    metrics::gauge!("ragstone_collections_open").set(app.catalog.open_collections() as f64);
    let vectors = app.catalog.vector_stats();
    let total = |figure: fn(&VectorStats) -> u64| vectors.iter().map(figure).sum::<u64>() as f64;
    metrics::gauge!("ragstone_vectors").set(total(|stats| stats.rows));
    metrics::gauge!("ragstone_vectors_in_graphs").set(total(|stats| stats.rows_in_graph));
    metrics::gauge!("ragstone_vector_bytes").set(total(|stats| stats.bytes as u64));
    metrics::gauge!("ragstone_vector_builds").set(total(|stats| u64::from(stats.building)));
    metrics::gauge!("ragstone_unreachable_points").set(total(|stats| stats.unreachable));
    let admission = &app.admission;
    metrics::gauge!("ragstone_requests_free").set(admission.requests.available_permits() as f64);
    metrics::gauge!("ragstone_streams_free").set(admission.streams.available_permits() as f64);
    metrics::gauge!("ragstone_queries_waiting").set(admission.queries.waiting() as f64);
    metrics::gauge!("ragstone_body_bytes").set(admission.bodies.used() as f64);
}

/// A breaker that is open becomes half-open by time alone, so that nothing happens that could be counted.
fn breakers(app: &App) {
    for (deployment, state) in app.engine.models().breakers() {
        let state = match state {
            BreakerState::Closed => 0.0,
            BreakerState::HalfOpen => 1.0,
            BreakerState::Open => 2.0,
        };
        metrics::gauge!(BREAKER_STATE_GAUGE, DEPLOYMENT_LABEL => deployment.to_owned()).set(state);
    }
}
