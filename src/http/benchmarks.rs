//! `/v1/benchmarks`: recall and latency of a live collection, measured one at a time in the background.

use super::collections::rfc3339;
use super::extract::Body;
use super::search::source;
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::ApiError;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use corpus::TenantId;
use query::{BenchError, BenchReport, BenchRequest};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use time::OffsetDateTime;
use tokio::sync::Mutex as Turn;

/// Benchmarks that are remembered; the oldest goes first.
const KEPT: usize = 100;
/// Benchmarks that may wait or run.
const WAITING_MAX: usize = 8;

/// Benchmarks asked for since the server started, newest last.
#[derive(Default)]
pub(crate) struct Benchmarks {
    runs: Mutex<VecDeque<Run>>,
    /// Two measurements at a time would measure each other.
    turn: Arc<Turn<()>>,
}

struct Run {
    id: String,
    tenant: TenantId,
    collection: String,
    created_at: OffsetDateTime,
    outcome: Outcome,
}

enum Outcome {
    Running,
    Done(BenchReport),
    Failed(String),
}

pub(crate) async fn create(
    State(app): State<AppState>,
    caller: Caller,
    Body(request): Body<BenchRequest>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let source = {
        let (caller, collection) = (caller.clone(), request.collection.clone());
        app.blocking(move |app| source(app, &caller, &collection)).await?
    };
    request.validate()?;
    let id = app.benchmarks.begin(&caller.tenant, &request.collection)?;
    let view = app.benchmarks.view(&caller.tenant, &id)?;
    tokio::spawn(async move {
        let _turn = app.benchmarks.turn.clone().lock_owned().await;
        let measured = app.blocking(move |_| Ok(query::bench(source.as_ref(), &request, &caller.principals)?)).await;
        app.benchmarks.end(&id, measured);
    });
    Ok((StatusCode::ACCEPTED, Json(view)))
}

pub(crate) async fn get(State(app): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    Ok(Json(app.benchmarks.view(&caller.tenant, &id)?))
}

impl Benchmarks {
    fn begin(&self, tenant: &TenantId, collection: &str) -> Result<String, ApiError> {
        let mut runs = self.lock();
        if runs.iter().filter(|run| matches!(run.outcome, Outcome::Running)).count() >= WAITING_MAX {
            let wait = std::time::Duration::from_secs(10);
            return Err(ApiError::busy(StatusCode::TOO_MANY_REQUESTS, "benchmarks_busy", "too many benchmarks wait already", wait));
        }
        let id = corpus::TraceId::generate().as_str().replacen(corpus::TraceId::PREFIX, "bench_", 1);
        let run = Run {
            id: id.clone(),
            tenant: tenant.clone(),
            collection: collection.to_owned(),
            created_at: OffsetDateTime::now_utc(),
            outcome: Outcome::Running,
        };
        runs.push_back(run);
        if runs.len() > KEPT {
            runs.pop_front();
        }
        Ok(id)
    }

    fn end(&self, id: &str, measured: Result<BenchReport, ApiError>) {
        if let Some(run) = self.lock().iter_mut().find(|run| run.id == id) {
            run.outcome = match measured {
                Ok(report) => Outcome::Done(report),
                Err(error) => Outcome::Failed(error.detail),
            };
        }
    }

    fn view(&self, tenant: &TenantId, id: &str) -> Result<Value, ApiError> {
        let runs = self.lock();
        let run = runs.iter().find(|run| run.id == id && run.tenant == *tenant).ok_or_else(|| ApiError::not_found("benchmark", id))?;
        let (status, report, reason) = match &run.outcome {
            Outcome::Running => ("running", None, None),
            Outcome::Done(report) => ("succeeded", Some(report), None),
            Outcome::Failed(reason) => ("failed", None, Some(reason)),
        };
        Ok(json!({
            "id": run.id, "collection": run.collection, "status": status, "created_at": rfc3339(run.created_at),
            "k": report.map(|report| report.k), "queries": report.map(|report| report.queries), "rows": report.map(|report| report.rows),
            "points": report.map(|report| &report.points), "reason": reason,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<BenchError> for ApiError {
    fn from(error: BenchError) -> Self {
        match error {
            BenchError::Invalid(error) => error.into(),
            BenchError::Mode | BenchError::Nothing => Self::bad_request("bad_benchmark", error.to_string()),
            BenchError::Embed(error) => error.into(),
            BenchError::Source(error) => error.into(),
        }
    }
}
