//! `/v1/jobs/{id}`: how a job stands, its events as they happen, cancelling.

use super::collections::rfc3339;
use super::find;
use super::wait::until_applied;
use crate::app::{App, AppState};
use crate::auth::Caller;
use crate::error::ApiError;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use corpus::JobId;
use futures::Stream;
use index::records::{JobRecord, JobState};
use ingest::{JobProgress, Stage};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub(crate) async fn get(State(app): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let id = parse(&id)?;
    Ok(Json(app.blocking(move |app| view(app, &find::job(app, &caller, &id)?)).await?))
}

pub(crate) async fn cancel(State(app): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let id = parse(&id)?;
    let cancelled = app.blocking(move |app| {
        find::job(app, &caller, &id)?;
        view(app, &app.ingest.cancel(&caller.tenant, &id)?)
    });
    Ok(Json(cancelled.await?))
}

/// Server-sent events: `progress` at every step, then one `done` with the whole job.
pub(crate) async fn events(
    State(app): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let id = parse(&id)?;
    let job = app.blocking({
        let (caller, id) = (caller.clone(), id.clone());
        move |app| find::job(app, &caller, &id)
    });
    job.await?;
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(follow(app, caller, id, sender));
    let stream = futures::stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|event| (Ok(event), receiver)));
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

/// Ends with the job, when the client leaves, or when it is cut off.
async fn follow(app: AppState, caller: Caller, id: JobId, sender: mpsc::Sender<Event>) {
    tokio::select! {
        () = tell(&app, &caller, id, &sender) => {}
        (code, detail) = app.cut_off(&caller) => {
            // Nobody listens any more: nothing to tell.
            let _ = sender.send(event("error", json!({ "code": code, "detail": detail }))).await;
        }
        () = sender.closed() => {}
    }
}

/// Every step of the job, and how it ended.
async fn tell(app: &AppState, caller: &Caller, id: JobId, sender: &mpsc::Sender<Event>) {
    if let Some(mut watch) = app.ingest.watch(&id) {
        loop {
            let progress = watch.borrow_and_update().clone();
            if sender.send(event("progress", json!(progress))).await.is_err() {
                return;
            }
            if watch.changed().await.is_err() {
                break;
            }
        }
    }
    let last = match finished(app, caller.clone(), id).await {
        Ok(job) => event("done", job),
        Err(error) => event("error", json!({ "code": error.code, "detail": error.detail })),
    };
    let _ = sender.send(last).await;
}

async fn finished(app: &AppState, caller: Caller, id: JobId) -> Result<Value, ApiError> {
    let (job, collection) = app
        .blocking(move |app| {
            // Asked again: much can happen while one listens.
            let job = find::job(app, &caller, &id)?;
            let collection = find::collection(app, &caller, job.collection.as_str()).ok();
            Ok((job, collection))
        })
        .await?;
    if let (Some(seq), Some(collection)) = (job.seq, collection) {
        until_applied(app, &collection, seq, Instant::now() + Duration::from_secs(30)).await?;
    }
    app.blocking(move |app| view(app, &job)).await
}

fn event(name: &str, data: Value) -> Event {
    Event::default().event(name).data(data.to_string())
}

fn parse(id: &str) -> Result<JobId, ApiError> {
    id.parse().map_err(|_| ApiError::not_found("job", id))
}

/// `{id, status, stage, done, total, eta_s, …}`.
fn view(app: &App, job: &JobRecord) -> Result<Value, ApiError> {
    let live = app.ingest.watch(&job.id).map(|watch| watch.borrow().clone());
    let progress = match (&job.state, live) {
        (JobState::Succeeded, _) => JobProgress::at(succeeded_stage(app, job)?),
        (JobState::Failed { .. }, _) => JobProgress::at(Stage::Failed),
        (JobState::Cancelled, _) => JobProgress::at(Stage::Cancelled),
        (JobState::Queued | JobState::Running, live) => live.unwrap_or(JobProgress::at(Stage::Queued)),
    };
    let mut view = json!({
        "id": job.id, "kind": "ingest", "collection_id": job.collection, "document_id": job.document, "attempts": job.attempts,
        "stage": progress.stage, "done": progress.done, "total": progress.total, "eta_s": progress.eta_s,
        "chunks_reused": job.chunks_reused, "chunks_embedded": job.chunks_embedded,
        "created_at": rfc3339(job.created_at), "updated_at": rfc3339(job.updated_at),
    });
    let (status, error) = match &job.state {
        JobState::Queued => ("queued", None),
        JobState::Running => ("running", None),
        JobState::Succeeded => ("succeeded", None),
        JobState::Cancelled => ("cancelled", None),
        JobState::Failed { code, reason } => ("failed", Some(json!({ "code": code, "reason": reason }))),
    };
    if let Some(fields) = view.as_object_mut() {
        fields.insert("status".into(), json!(status));
        fields.insert("error".into(), json!(error));
    }
    Ok(view)
}

/// Committed, but in search only when the views have followed.
fn succeeded_stage(app: &App, job: &JobRecord) -> Result<Stage, ApiError> {
    let Ok(collection) = app.catalog.collection(&job.tenant, job.collection.as_str()) else { return Ok(Stage::Ready) };
    let is_seen = job.seq.is_none_or(|seq| app.catalog.open_collection(&collection).is_ok_and(|open| open.applied() >= seq));
    Ok(if is_seen { Stage::Ready } else { Stage::Indexing })
}
