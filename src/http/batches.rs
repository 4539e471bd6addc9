//! Batches: `POST …/query/batch` and `POST /v1/chat/completions/batch` make one, `GET /v1/jobs/{id}/results` reads what
//! there is of its answers.

use super::collections::rfc3339;
use super::extract::{Body, IdempotencyKey, PageParams, Params, Tags, request_hash};
use super::find;
use crate::app::{App, AppState};
use crate::auth::Caller;
use crate::batches::run::launch;
use crate::batches::{BatchProgress, BatchStage, Item};
use crate::error::ApiError;
use crate::http::chat::{Asked, model};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use corpus::JobId;
use index::batches::{BatchAsker, BatchRecord, BatchWork};
use index::records::JobState;
use index::{CatalogError, Once};
use query::{QueryError, QueryRequest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use time::OffsetDateTime;

/// Bytes from which on a page of results takes no more of them.
const PAGE_BYTES: usize = 8 << 20;
/// Longest id of an item in bytes.
const ID_BYTES_MAX: usize = 256;

/// Questions, and what holds for all that don't say otherwise: any field of a query.
#[derive(Debug, Deserialize)]
pub(crate) struct QueryBatch {
    questions: Vec<Value>,
    concurrency: Option<usize>,
    #[serde(flatten)]
    defaults: Map<String, Value>,
}

pub(crate) async fn create_queries(
    State(app): State<AppState>,
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    Path(collection): Path<String>,
    Body(asked): Body<QueryBatch>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let collection = app.blocking({
        let caller = caller.clone();
        move |app| find::collection(app, &caller, &collection)
    });
    let collection = collection.await?;
    let request = request_hash(&format!("/v1/collections/{}/query/batch", collection.id), &asked);
    let concurrency = checked(&app, asked.questions.len(), asked.concurrency)?;
    let items = app.blocking(move |app| asked.items(app)).await?;
    let work = BatchWork::Questions { collection: collection.id };
    accept(app, caller, record_of(work, items.len(), concurrency), items, key, request).await
}

/// Requests to one model.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompletionBatch {
    model: String,
    requests: Vec<CompletionItem>,
    concurrency: Option<usize>,
    #[serde(default)]
    via: Via,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CompletionItem {
    custom_id: String,
    body: Map<String, Value>,
}

/// Who works on a batch of completions.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Via {
    /// We do, call by call.
    #[default]
    Gateway,
    /// The batch interface of a provider.
    Provider,
}

pub(crate) async fn create_completions(
    State(app): State<AppState>,
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    Tags(tags): Tags,
    Body(asked): Body<CompletionBatch>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    model(&app, &asked.model)?;
    let request = request_hash(&format!("/v1/chat/completions/batch {}", tags.join(",")), &asked);
    let concurrency = checked(&app, asked.requests.len(), asked.concurrency)?;
    let (name, via) = (asked.model.clone(), asked.via);
    let items = app.blocking(move |app| asked.items(app)).await?;
    let work = match via {
        Via::Gateway => BatchWork::Completions { model: name },
        Via::Provider => {
            let deployment = app.batches.deployment_of(&name).ok_or_else(|| no_batches(&name))?.to_owned();
            BatchWork::AtProvider { model: name, deployment }
        }
    };
    let mut record = record_of(work, items.len(), concurrency);
    record.asker.tags = tags;
    accept(app, caller, record, items, key, request).await
}

/// Everything that there is so far, in the order of the questions. What is answered later may belong before a page that
/// was read: a batch that runs is read again from its beginning.
pub(crate) async fn results(
    State(app): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    Params(page): Params<PageParams>,
) -> Result<Json<Value>, ApiError> {
    let (limit, after) = (page.limit()?, page.after::<u32>()?);
    let id: JobId = id.parse().map_err(|_| ApiError::not_found("job", &id))?;
    let page = app.blocking(move |app| {
        let record = find::batch(app, &caller, &id)?;
        Ok(app.catalog.batch_results(&record, after, limit, PAGE_BYTES)?)
    });
    let page = page.await?;
    let next = page.items.last().filter(|_| page.has_more).map(|(index, _)| index.to_string());
    let data: Vec<Value> = page.items.iter().map(|(index, json)| result(*index, json)).collect::<Result<_, _>>()?;
    Ok(Json(json!({ "data": data, "next_cursor": next })))
}

/// `{index, id, status, answer|error}`.
fn result(index: u32, json: &[u8]) -> Result<Value, ApiError> {
    let mut fields: Map<String, Value> = serde_json::from_slice(json).map_err(ApiError::internal)?;
    let status = if fields.contains_key("error") { "failed" } else { "succeeded" };
    fields.extend([("index".to_owned(), json!(index)), ("status".to_owned(), json!(status))]);
    Ok(Value::Object(fields))
}

/// `{id, kind, status, stage, done, total, failed, eta_s, …}`.
pub(crate) fn view(app: &App, record: &BatchRecord) -> Value {
    let live = app.batches.watch(&record.id).map(|watch| watch.borrow().clone());
    let (status, stage) = match &record.state {
        _ if record.is_cancelling && !record.state.has_ended() => ("cancelling", None),
        JobState::Queued => ("queued", None),
        JobState::Running => ("running", None),
        JobState::Succeeded => ("succeeded", Some(BatchStage::Ready)),
        JobState::Failed { .. } => ("failed", Some(BatchStage::Failed)),
        JobState::Cancelled => ("cancelled", Some(BatchStage::Cancelled)),
    };
    let kind = if record.work.collection().is_some() { "query_batch" } else { "completion_batch" };
    let stage = stage.or(live.as_ref().map(|live| live.stage)).unwrap_or(BatchStage::Queued);
    // The counts are the store's: what they tell is there.
    let BatchProgress { done, total, failed, .. } = BatchProgress::at(stage, record);
    let eta_s = live.filter(|_| !record.state.has_ended()).and_then(|live| live.eta_s);
    let error = match &record.state {
        JobState::Failed { code, reason } => json!({ "code": code, "reason": reason }),
        _ => Value::Null,
    };
    json!({
        "id": record.id, "job_id": record.id, "kind": kind, "status": status, "stage": stage, "done": done, "total": total, "failed": failed,
        "eta_s": eta_s, "collection_id": record.work.collection(), "concurrency": record.concurrency, "error": error,
        "provider_batch_id": record.at_provider.as_ref().and_then(|at| at.batch.as_ref()),
        "usage": { "prompt_tokens": record.prompt_tokens, "completion_tokens": record.completion_tokens },
        "created_at": rfc3339(record.created_at), "updated_at": rfc3339(record.updated_at),
    })
}

/// Ends a batch on request; what is answered stays.
pub(crate) fn cancel(app: &App, record: &BatchRecord) -> Result<BatchRecord, ApiError> {
    // One that may be at a provider ends when that says so, and what it has answered comes before.
    let end = |record: &mut BatchRecord| match record.at_provider.as_ref().is_some_and(|at| at.may_have_begun) {
        true => record.is_cancelling = true,
        false => record.state = JobState::Cancelled,
    };
    let ended = match app.catalog.change_batch(&record.tenant, &record.id, end) {
        Err(CatalogError::Superseded) => app.catalog.batch(&record.tenant, &record.id)?,
        changed => changed?,
    };
    app.batches.stop(&record.id);
    Ok(ended)
}

/// Makes it durable, then begins it.
async fn accept(
    app: AppState,
    caller: Caller,
    record: BatchRecord,
    items: Vec<Item>,
    key: Option<String>,
    request: String,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let asker = BatchAsker { tags: record.asker.tags.clone(), ..caller.asker() };
    let record = BatchRecord { tenant: caller.tenant.clone(), asker, ..record };
    let once = caller.once(key, request);
    // Before the bounds: the batch of a request that is made again counts already.
    if let Some(earlier) = earlier(&app, &record, once.clone()).await? {
        return Ok((StatusCode::ACCEPTED, Json(view(&app, &earlier))));
    }
    let seat = app.batches.admit(&record)?;
    let id = record.id.clone();
    let accepted = app.blocking(move |app| {
        let items: Vec<Vec<u8>> = items.iter().map(serde_json::to_vec).collect::<Result<_, _>>().map_err(ApiError::internal)?;
        Ok(app.catalog.create_batch(record, &items, once.as_ref())?)
    });
    let accepted = accepted.await?;
    let view = view(&app, &accepted);
    // Another one: the same request was made at the same time.
    if accepted.id == id {
        launch(app, accepted, seat);
    }
    Ok((StatusCode::ACCEPTED, Json(view)))
}

async fn earlier(app: &AppState, record: &BatchRecord, once: Option<Once>) -> Result<Option<BatchRecord>, ApiError> {
    let Some(once) = once else { return Ok(None) };
    let tenant = record.tenant.clone();
    app.blocking(move |app| Ok(app.catalog.batch_of_request(&tenant, &once)?)).await
}

fn record_of(work: BatchWork, total: usize, concurrency: usize) -> BatchRecord {
    let (created_at, count) = (OffsetDateTime::now_utc(), |count: usize| u32::try_from(count).unwrap_or(u32::MAX));
    BatchRecord {
        id: JobId::generate(),
        tenant: corpus::TenantId::default(),
        asker: BatchAsker { key: String::new(), principals: None, collections: None, tags: Vec::new() },
        work,
        state: JobState::Queued,
        total: count(total),
        done: 0,
        failed: 0,
        prompt_tokens: 0,
        cached_tokens: 0,
        completion_tokens: 0,
        concurrency: count(concurrency),
        attempts: 0,
        is_cancelling: false,
        at_provider: None,
        created_at,
        updated_at: created_at,
    }
}

fn no_batches(model: &str) -> ApiError {
    let detail = format!("no deployment of {model:?} is at a provider with a batch interface that is known here; leave via out");
    ApiError::bad_request("unsupported_by_model", detail)
}

fn bad(detail: impl Into<String>) -> ApiError {
    ApiError::bad_request("bad_batch", detail)
}

/// How many items may be worked on at a time, after a look at how many there are.
fn checked(app: &App, items: usize, concurrency: Option<usize>) -> Result<usize, ApiError> {
    let config = &app.config.batches;
    if !(1..=config.items_max).contains(&items) {
        return Err(bad(format!("a batch has 1 to {} items, this one {items}", config.items_max)));
    }
    let concurrency = concurrency.unwrap_or(config.concurrency);
    let may = (1..=config.concurrent_max).contains(&concurrency);
    if may { Ok(concurrency) } else { Err(bad(format!("concurrency must be 1 to {}", config.concurrent_max))) }
}

fn is_id(id: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&id.len())
}

impl QueryBatch {
    /// The questions with what holds for all, each checked as if it were asked alone.
    fn items(self, app: &App) -> Result<Vec<Item>, ApiError> {
        let Self { questions, defaults, .. } = self;
        if let Some(field) = ["question", "id", "stream"].into_iter().find(|field| defaults.contains_key(*field)) {
            return Err(bad(format!("{field} can't hold for all questions")));
        }
        let default_bytes = json_bytes(&defaults)?;
        let mut bytes = 0;
        let of = |(at, question): (usize, Value)| {
            // Known before it is made: what holds for all is there once in the request, and in every item.
            bytes += default_bytes + json_bytes(&question)?;
            if bytes > app.config.batches.bytes_max {
                let detail = format!("with what holds for all, the questions have over {} bytes", app.config.batches.bytes_max);
                return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail));
            }
            item_of(app, question, &defaults).map_err(|error| ApiError { detail: format!("questions[{at}]: {}", error.detail), ..error })
        };
        questions.into_iter().enumerate().map(of).collect()
    }
}

fn json_bytes(value: &impl Serialize) -> Result<usize, ApiError> {
    Ok(serde_json::to_vec(value).map_err(ApiError::internal)?.len())
}

fn item_of(app: &App, question: Value, defaults: &Map<String, Value>) -> Result<Item, ApiError> {
    let mut body = defaults.clone();
    let mut id = None;
    match question {
        Value::String(text) => drop(body.insert("question".to_owned(), Value::String(text))),
        Value::Object(mut own) => {
            id = match own.remove("id") {
                None | Some(Value::Null) => None,
                Some(Value::String(id)) if is_id(&id) => Some(id),
                Some(_) => return Err(bad(format!("an id must be a text of 1 to {ID_BYTES_MAX} bytes"))),
            };
            body.extend(own);
        }
        _ => return Err(bad("a question must be a text or an object")),
    }
    let body = Value::Object(body);
    let request = QueryRequest::deserialize(&body).map_err(|error| bad(error.to_string()))?;
    if request.stream {
        return Err(bad("stream is not for batches"));
    }
    if request.session_id.is_some() {
        return Err(bad("session_id is not for batches: their questions have no order"));
    }
    request.validate(app.engine.models())?;
    Ok(Item { id, body })
}

impl CompletionBatch {
    /// The requests, each checked as if it were made alone.
    fn items(self, app: &App) -> Result<Vec<Item>, ApiError> {
        let guards = app.config.guards.chat_params();
        let mut ids = BTreeSet::new();
        let mut of = |(at, CompletionItem { custom_id, mut body }): (usize, CompletionItem)| {
            let wrong = |error: ApiError| ApiError { detail: format!("requests[{at}]: {}", error.detail), ..error };
            if !is_id(&custom_id) || !ids.insert(custom_id.clone()) {
                return Err(wrong(bad(format!("a custom_id must have 1 to {ID_BYTES_MAX} bytes and be there once"))));
            }
            let own = body.entry("model").or_insert_with(|| json!(self.model));
            if *own != json!(self.model) {
                return Err(wrong(bad("a batch is for one model")));
            }
            let body = Value::Object(body);
            let asked = Asked::deserialize(&body).map_err(|error| wrong(bad(error.to_string())))?;
            if asked.is_stream() {
                return Err(wrong(bad("stream is not for batches")));
            }
            let request = asked.request().map_err(wrong)?;
            guards.judge_chat(&request.messages).map_err(|refused| wrong(QueryError::from(refused).into()))?;
            Ok(Item { id: Some(custom_id), body })
        };
        self.requests.into_iter().enumerate().map(&mut of).collect()
    }
}
