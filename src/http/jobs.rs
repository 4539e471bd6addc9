//! `/v1/jobs/{id}`: how a job stands, its events as they happen, cancelling.

use super::batches;
use super::collections::rfc3339;
use super::find::{self, Job};
use super::gate::forbidden_scope;
use super::wait::until_applied;
use crate::app::{App, AppState};
use crate::auth::Caller;
use crate::error::ApiError;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use corpus::JobId;
use futures::Stream;
use index::Scope;
use index::records::{JobRecord, JobState};
use ingest::{JobProgress, Stage};
use serde::Serialize;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

pub(crate) async fn get(State(app): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let id = parse(&id)?;
    Ok(Json(app.blocking(move |app| view_any(app, &find::any_job(app, &caller, &id)?)).await?))
}

fn view_any(app: &App, job: &Job) -> Result<Value, ApiError> {
    match job {
        Job::Ingest(job) => view(app, job),
        Job::Batch(batch) => Ok(batches::view(app, batch)),
    }
}

pub(crate) async fn cancel(State(app): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let id = parse(&id)?;
    let cancelled = app.blocking(move |app| {
        let needed = match find::any_job(app, &caller, &id)? {
            Job::Batch(batch) if caller.scopes.contains(&Scope::Query) => return Ok(batches::view(app, &batches::cancel(app, &batch)?)),
            Job::Ingest(_) if caller.scopes.contains(&Scope::Ingest) => return view(app, &app.ingest.cancel(&caller.tenant, &id)?),
            Job::Batch(_) => Scope::Query,
            Job::Ingest(_) => Scope::Ingest,
        };
        Err(forbidden_scope(needed.as_str(), &caller))
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
        move |app| find::any_job(app, &caller, &id)
    });
    let is_batch = matches!(job.await?, Job::Batch(_));
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(follow(app, caller, id, is_batch, sender));
    let stream = futures::stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|event| (Ok(event), receiver)));
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

/// Ends with the job, when the client leaves, or when it is cut off.
async fn follow(app: AppState, caller: Caller, id: JobId, is_batch: bool, sender: mpsc::Sender<Event>) {
    let telling = async {
        match is_batch {
            true => tell_batch(&app, &caller, id, &sender).await,
            false => tell(&app, &caller, id, &sender).await,
        }
    };
    tokio::select! {
        () = telling => {}
        (code, detail) = app.cut_off(&caller) => {
            // Nobody listens any more: nothing to tell.
            let _ = sender.send(event("error", json!({ "code": code, "detail": detail }))).await;
        }
        () = sender.closed() => {}
    }
}

/// Every step of the job, and how it ended.
async fn tell(app: &AppState, caller: &Caller, id: JobId, sender: &mpsc::Sender<Event>) {
    tell_progress(app.ingest.watch(&id), sender).await;
    tell_end(finished(app, caller.clone(), id).await, sender).await;
}

/// Every step of the batch, and how it ended.
async fn tell_batch(app: &AppState, caller: &Caller, id: JobId, sender: &mpsc::Sender<Event>) {
    tell_progress(app.batches.watch(&id), sender).await;
    // Asked again: much can happen while one listens.
    let caller = caller.clone();
    tell_end(app.blocking(move |app| Ok(batches::view(app, &find::batch(app, &caller, &id)?))).await, sender).await;
}

/// Until there is no more, or nobody listens.
async fn tell_progress<T: Clone + Serialize>(watch: Option<watch::Receiver<T>>, sender: &mpsc::Sender<Event>) {
    let Some(mut watch) = watch else { return };
    loop {
        let progress = watch.borrow_and_update().clone();
        if sender.send(event("progress", json!(progress))).await.is_err() || watch.changed().await.is_err() {
            return;
        }
    }
}

async fn tell_end(job: Result<Value, ApiError>, sender: &mpsc::Sender<Event>) {
    let last = match job {
        Ok(job) => event("done", job),
        Err(error) => event("error", json!({ "code": error.code, "detail": error.detail })),
    };
    // Nobody listens any more: nothing to tell.
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
        "waits_for": progress.waits_for,
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
