//! HTTP in and out: one file per resource. A handler takes the state and typed extractors, calls one
//! method of a room, and maps the result to one wire type.

pub(crate) mod admission;
pub(crate) mod backups;
mod batches;
pub(crate) mod benchmarks;
pub(crate) mod browser;
mod budgets;
mod caches;
mod cases;
pub(crate) mod chat;
mod collections;
mod content;
mod cut_off;
pub(crate) mod deletions;
mod docs;
mod documents;
mod embeddings;
mod evaluations;
mod extract;
mod feedback;
mod find;
mod gate;
mod health;
mod jobs;
mod keys;
mod limits;
mod messages;
mod models;
mod problem;
pub(crate) mod query;
mod quotas;
mod receive;
mod rerank;
mod scopes;
pub(crate) mod search;
mod sessions;
mod told;
mod trace;
mod traces;
mod upload;
mod usage;
mod wait;

use crate::app::AppState;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
pub(crate) use docs::OPENAPI;

/// All routes with their middleware, outermost last.
pub(crate) fn router(app: AppState) -> Router {
    let cors = browser::cors(&app.config.server.cors_origins);
    let router = Router::new()
        .merge(api())
        .merge(batch_routes(app.config.batches.bytes_max))
        .merge(evaluation_routes(app.config.evaluations.bytes_max))
        .merge(uploads(app.config.server.upload_bytes_max))
        .merge(health::routes())
        .merge(docs::routes())
        .route_layer(from_fn_with_state(app.clone(), limits::limit))
        .route_layer(from_fn_with_state(app.clone(), gate::guard))
        .fallback(problem::no_such_route)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(from_fn_with_state(app.clone(), admission::admit))
        // Renders what handlers refuse, so it stands outside of them and of the limits.
        .layer(from_fn(problem::finish))
        .with_state(app);
    match cors {
        Some(cors) => router.layer(cors),
        None => router,
    }
}

/// Largest body in bytes where no documents are uploaded: a question, a vector, a list of queries.
const JSON_BYTES_MAX: usize = 4 << 20;

fn api() -> Router<AppState> {
    let document = "/v1/collections/{collection}/documents/{document}";
    Router::new()
        .route("/v1/collections", get(collections::list).post(collections::create))
        .route("/v1/collections/{collection}", get(collections::get).patch(collections::update).delete(collections::delete))
        .route(&format!("{document}/text"), get(content::text))
        .route(&format!("{document}/content"), get(content::original))
        .route(&format!("{document}/chunks"), get(content::chunks))
        .route("/v1/collections/{collection}/search", post(search::search))
        .route("/v1/collections/{collection}/query", post(query::query))
        .route("/v1/chat/completions", post(chat::completions))
        .route("/v1/messages", post(messages::create))
        .route("/v1/messages/count_tokens", post(messages::count_tokens))
        .route("/v1/embeddings", post(embeddings::create))
        .route("/v1/rerank", post(rerank::rerank))
        .route("/rerank", post(rerank::tei))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{model}", get(models::get))
        .route("/v1/deletions/{deletion}/verify", get(deletions::verify))
        .route("/v1/jobs/{job}", get(jobs::get).delete(jobs::cancel))
        .route("/v1/jobs/{job}/events", get(jobs::events))
        .route("/v1/jobs/{job}/results", get(batches::results))
        .route("/v1/benchmarks", post(benchmarks::create))
        .route("/v1/benchmarks/{benchmark}", get(benchmarks::get))
        .route("/v1/backups", get(backups::list).post(backups::create))
        .route("/v1/backups/{backup}", get(backups::get).delete(backups::delete))
        .route("/v1/backups/{backup}/content", get(backups::content))
        .route("/v1/keys", get(keys::list).post(keys::create))
        .route("/v1/keys/{key}", get(keys::get).delete(keys::delete))
        .route("/v1/quotas", get(quotas::get))
        .route("/v1/caches", get(caches::all).delete(caches::clear_all))
        .route("/v1/caches/{kind}", get(caches::entries).delete(caches::clear))
        .route("/v1/caches/{kind}/{key}", get(caches::entry).delete(caches::remove))
        .route("/v1/traces", get(traces::list))
        .route("/v1/traces/{trace}", get(traces::get).delete(traces::delete))
        .route("/v1/traces/{trace}/replay", post(traces::replay))
        .route("/v1/feedback", get(feedback::list).post(feedback::give))
        .route("/v1/feedback/cases", get(feedback::cases))
        .route("/v1/sessions", get(sessions::list))
        .route("/v1/sessions/{session}", get(sessions::get).delete(sessions::delete))
        .route("/v1/usage", get(usage::get))
        .route("/v1/usage/estimate", post(chat::estimate::estimate))
        .route("/v1/budgets", get(budgets::list))
        .route("/v1/budgets/{budget}", get(budgets::get).put(budgets::put).delete(budgets::delete))
        .layer(DefaultBodyLimit::max(JSON_BYTES_MAX))
}

/// The routes that take batches, in a body of a size of their own.
fn batch_routes(bytes_max: usize) -> Router<AppState> {
    Router::new()
        .route("/v1/collections/{collection}/query/batch", post(batches::create_queries))
        .route("/v1/chat/completions/batch", post(batches::create_completions))
        .layer(DefaultBodyLimit::max(bytes_max))
}

/// The routes of evaluations, whose cases make larger bodies.
fn evaluation_routes(bytes_max: usize) -> Router<AppState> {
    Router::new()
        .route("/v1/evaluations", get(evaluations::list).post(evaluations::create))
        .route("/v1/evaluations/cases", get(cases::draw))
        .route("/v1/evaluations/{evaluation}", get(evaluations::get).delete(evaluations::delete))
        .route("/v1/evaluations/{evaluation}/diff/{other}", get(evaluations::diff))
        .layer(DefaultBodyLimit::max(bytes_max))
}

/// The routes that take documents, and so larger bodies.
fn uploads(bytes_max: usize) -> Router<AppState> {
    let document = "/v1/collections/{collection}/documents/{document}";
    Router::new()
        .route("/v1/collections/{collection}/documents", get(documents::list).post(upload::create))
        .route(document, get(documents::get).put(upload::replace).delete(documents::delete))
        .layer(DefaultBodyLimit::max(bytes_max))
}
