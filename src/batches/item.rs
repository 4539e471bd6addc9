//! One item of a batch: worked on until there is a result.

use super::run::End;
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::http::chat::{Asked, complete_quietly};
use crate::http::query::answer_quietly;
use crate::traces::TraceKind;
use corpus::CollectionId;
use futures::FutureExt;
use gateway::{Account, TokenUsage};
use index::batches::{BatchRecord, BatchResult, BatchWork};
use query::QueryRequest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What is kept of an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Item {
    /// The asker's own name for it.
    pub(crate) id: Option<String>,
    /// The body of a query, or of a chat completion.
    pub(crate) body: Value,
}

/// An answer and the tokens that a model used for it.
pub(crate) type Answered = (Value, TokenUsage);

/// First and longest wait before an item is tried again; it doubles.
const WAIT: Duration = Duration::from_millis(500);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Works on one item. An error means that the batch can't go on.
pub(super) async fn result(app: AppState, caller: Caller, record: Arc<BatchRecord>, index: u32) -> Result<BatchResult, End> {
    let item = match read(&app, &record, index).await {
        Ok(item) => item,
        Err(error) => return Ok(outcome(index, None, Err(&error))),
    };
    let id = item.id.clone();
    let working = AssertUnwindSafe(patiently(&app, &caller, &record, item.body)).catch_unwind();
    match working.await.unwrap_or_else(|_| Err(ApiError::internal("answering an item of a batch panicked"))) {
        // Of all that an item needs only the collection can be missing.
        Err(error) if error.code == "not_found" => Err(End::failed("collection_gone", &error.detail)),
        Err(error) => {
            tracing::info!(job = %record.id, index, code = error.code, cause = error.cause, "an item of a batch failed");
            Ok(outcome(index, id, Err(&error)))
        }
        Ok(answered) => Ok(outcome(index, id, Ok(answered))),
    }
}

pub(super) async fn read(app: &AppState, record: &Arc<BatchRecord>, index: u32) -> Result<Item, ApiError> {
    let record = Arc::clone(record);
    let damaged = |cause: String| ApiError { cause: Some(cause), ..ApiError::internal("") };
    app.blocking(move |app| {
        let json = app.catalog.batch_item(&record.tenant, &record.id, index).map_err(|error| damaged(error.to_string()))?;
        serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))
    })
    .await
}

/// Tries again while there is overload, here or at a provider.
async fn patiently(app: &AppState, caller: &Caller, record: &BatchRecord, body: Value) -> Result<Answered, ApiError> {
    let until = Instant::now() + Duration::from_secs(app.batches.config.patience_s);
    let mut wait = WAIT;
    loop {
        let error = match once(app, caller, record, body.clone()).await {
            Err(error) if error.retry_after.is_some() => error,
            answered => return answered,
        };
        let wanted = wait.max(error.retry_after.unwrap_or_default());
        if Instant::now() + wanted >= until {
            return Err(error);
        }
        tokio::time::sleep(wanted).await;
        wait = (wait * 2).min(WAIT_MAX);
    }
}

async fn once(app: &AppState, caller: &Caller, record: &BatchRecord, body: Value) -> Result<Answered, ApiError> {
    let _place = Arc::clone(&app.batches.places).acquire_owned().await.map_err(ApiError::internal)?;
    match &record.work {
        BatchWork::Questions { collection } => question(app, caller, collection, body).await,
        BatchWork::Completions { .. } | BatchWork::AtProvider { .. } => {
            completion(app, caller.account(record.asker.tags.clone()), body).await
        }
    }
}

async fn question(app: &AppState, caller: &Caller, collection: &CollectionId, body: Value) -> Result<Answered, ApiError> {
    let request: QueryRequest = serde_json::from_value(body).map_err(ApiError::internal)?;
    answer_quietly(app, caller, collection.as_str(), request, TraceKind::Batch).await
}

async fn completion(app: &AppState, account: Account, body: Value) -> Result<Answered, ApiError> {
    let asked: Asked = serde_json::from_value(body).map_err(ApiError::internal)?;
    complete_quietly(app, account, asked).await
}

/// What is kept: `{id, answer}` or `{id, error}`, and the tokens, whoever answered: calls of the gateway are booked one
/// by one, batches at a provider at their end.
pub(super) fn outcome(index: u32, id: Option<String>, answered: Result<Answered, &ApiError>) -> BatchResult {
    let is_failed = answered.is_err();
    let (json, usage) = match answered {
        Ok((answer, usage)) => (json!({ "id": id, "answer": answer }), usage),
        Err(error) => {
            let said = json!({ "status": error.status.as_u16(), "code": error.code, "detail": error.detail });
            (json!({ "id": id, "error": said }), TokenUsage::default())
        }
    };
    let TokenUsage { prompt_tokens, cached_tokens, completion_tokens, .. } = usage;
    BatchResult { index, is_failed, prompt_tokens, cached_tokens, completion_tokens, json: json.to_string().into_bytes() }
}
