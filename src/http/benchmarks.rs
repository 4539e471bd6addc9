//! `/v1/benchmarks`: recall and latency of a live collection, measured one at a time in the background.

use super::collections::rfc3339;
use super::extract::{Body, IdempotencyKey, Tags, request_hash};
use super::find;
use super::search::source;
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::ApiError;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use corpus::Principals;
use index::records::CollectionRecord;
use index::{CatalogError, Once};
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
    collection: CollectionRecord,
    /// Whose view of the collection is measured.
    principals: Principals,
    /// As the collection was asked for.
    asked: String,
    once: Option<Once>,
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
    IdempotencyKey(key): IdempotencyKey,
    Tags(tags): Tags,
    Body(request): Body<BenchRequest>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let (collection, source) = {
        let (caller, name) = (caller.clone(), request.collection.clone());
        app.blocking(move |app| {
            let errand = caller.errand(tags, None);
            Ok((find::collection(app, &caller, &name)?, source(app, &caller, &name, errand)?))
        })
        .await?
    };
    request.validate()?;
    let once = caller.once(key, request_hash("/v1/benchmarks", &request));
    let (id, is_new) = app.benchmarks.begin(&caller, collection, &request.collection, once)?;
    let view = app.benchmarks.view(&caller, &id)?;
    if !is_new {
        return Ok((StatusCode::ACCEPTED, Json(view)));
    }
    tokio::spawn(async move {
        let _turn = app.benchmarks.turn.clone().lock_owned().await;
        let measured = app.blocking(move |_| Ok(query::bench(source.as_ref(), &request, &caller.principals)?)).await;
        app.benchmarks.end(&id, measured);
    });
    Ok((StatusCode::ACCEPTED, Json(view)))
}

pub(crate) async fn get(State(app): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    Ok(Json(app.benchmarks.view(&caller, &id)?))
}

impl Benchmarks {
    /// The id of a new run, or of the one that the same request began before, and whether it is new.
    fn begin(&self, caller: &Caller, collection: CollectionRecord, asked: &str, once: Option<Once>) -> Result<(String, bool), ApiError> {
        let mut runs = self.lock();
        if let Some(earlier) = earlier(&runs, caller, once.as_ref())? {
            return Ok((earlier, false));
        }
        if runs.iter().filter(|run| matches!(run.outcome, Outcome::Running)).count() >= WAITING_MAX {
            let wait = std::time::Duration::from_secs(10);
            return Err(ApiError::busy(StatusCode::TOO_MANY_REQUESTS, "benchmarks_busy", "too many benchmarks wait already", wait));
        }
        let id = corpus::TraceId::generate().as_str().replacen(corpus::TraceId::PREFIX, "bench_", 1);
        let run = Run {
            id: id.clone(),
            collection,
            principals: caller.principals.clone(),
            asked: asked.to_owned(),
            once,
            created_at: OffsetDateTime::now_utc(),
            outcome: Outcome::Running,
        };
        runs.push_back(run);
        if runs.len() > KEPT {
            runs.pop_front();
        }
        Ok((id, true))
    }

    fn end(&self, id: &str, measured: Result<BenchReport, ApiError>) {
        if let Some(run) = self.lock().iter_mut().find(|run| run.id == id) {
            run.outcome = match measured {
                Ok(report) => Outcome::Done(report),
                Err(error) => Outcome::Failed(error.detail),
            };
        }
    }

    fn view(&self, caller: &Caller, id: &str) -> Result<Value, ApiError> {
        let runs = self.lock();
        let run = runs.iter().find(|run| run.id == id && run.may_be_seen_by(caller)).ok_or_else(|| ApiError::not_found("benchmark", id))?;
        let (status, report, reason) = match &run.outcome {
            Outcome::Running => ("running", None, None),
            Outcome::Done(report) => ("succeeded", Some(report), None),
            Outcome::Failed(reason) => ("failed", None, Some(reason)),
        };
        Ok(json!({
            "id": run.id, "collection": run.asked, "status": status, "created_at": rfc3339(run.created_at),
            "k": report.map(|report| report.k), "queries": report.map(|report| report.queries), "rows": report.map(|report| report.rows),
            "points": report.map(|report| &report.points), "reason": reason,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run {
    /// Its figures count chunks: only for those who could have measured the same.
    fn may_be_seen_by(&self, caller: &Caller) -> bool {
        let sees_as_much = caller.principals == Principals::All || caller.principals == self.principals;
        self.collection.tenant == caller.tenant && caller.may_use(&self.collection) && sees_as_much
    }
}

/// The run that the same request of the same caller began. Remembered as long as the run is.
fn earlier(runs: &VecDeque<Run>, caller: &Caller, once: Option<&Once>) -> Result<Option<String>, ApiError> {
    let Some(once) = once else { return Ok(None) };
    let is_of_key = |run: &&Run| run.collection.tenant == caller.tenant && run.once.as_ref().is_some_and(|known| known.key == once.key);
    match runs.iter().find(is_of_key) {
        Some(run) if run.once.as_ref().is_some_and(|known| known.request == once.request) => Ok(Some(run.id.clone())),
        Some(_) => Err(CatalogError::IdempotencyConflict.into()),
        None => Ok(None),
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
