//! Receipts of deletions, and `/v1/deletions/{id}/verify`, which looks again on disk and in the caches.

use super::collections::rfc3339;
use super::find;
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::ApiError;
use axum::Json;
use axum::extract::{Path, State};
use corpus::TenantId;
use index::records::DeletionReceipt;
use index::{DeletionCheck, Purged, Unpurged};
use serde_json::{Value, json};
use tracing::Instrument;

pub(crate) async fn verify(State(app): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let tenant = caller.tenant.clone();
    let mut found = app
        .blocking(move |app| {
            let receipt = find::deletion(app, &caller, &id)?;
            let mut found = app.catalog.verify_deletion(&caller.tenant, &receipt.id)?;
            let traces = app.traces.settled().left(&caller.tenant, &receipt.collection).map_err(ApiError::internal)?;
            let turns = app.sessions.left(&caller.tenant, &receipt.collection).map_err(ApiError::internal)?;
            found.checks.push(DeletionCheck { what: "traces", remaining: traces });
            found.checks.push(DeletionCheck { what: "session_turns", remaining: turns });
            Ok(found)
        })
        .await?;
    let receipt = &found.receipt;
    let deleted_ms = u64::try_from(receipt.deleted_at.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    let (answers, unseen) = app.caches.left(&tenant, &receipt.collection, deleted_ms).await;
    found.checks.push(DeletionCheck { what: "caches", remaining: answers });
    // What is away can't be looked into: the removal is made before it is asked again.
    found.checks.push(DeletionCheck { what: "caches_away", remaining: unseen });
    let receipt = self::receipt(&found.receipt);
    Ok(Json(json!({ "id": found.receipt.id, "verified": found.is_verified(), "checks": found.checks, "receipt": receipt })))
}

/// Deletes and forgets, also if the client leaves in the middle of it.
pub(crate) async fn to_the_end<T: Send + 'static>(
    deletion: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::spawn(deletion.in_current_span()).await.unwrap_or_else(|error| Err(ApiError::internal(error)))
}

/// Removes the answers that were made from what is deleted now, and notes it on the receipt. What of that fails is still
/// owed: the deletion has happened.
pub(crate) async fn forget_answers(app: &AppState, tenant: TenantId, mut receipt: DeletionReceipt) -> DeletionReceipt {
    receipt.count(purge(app, Unpurged::of(&tenant, &receipt)).await);
    receipt
}

/// Purges the caches of what was deleted before a crash, or while a cache failed.
pub(crate) async fn purge_owed(app: &AppState) {
    match app.blocking(|app| Ok(app.catalog.unpurged()?)).await {
        Ok(owed) => {
            for one in owed {
                purge(app, one).await;
            }
        }
        Err(error) => tracing::warn!(code = error.code, cause = error.cause, "what caches are to be purged of can't be read"),
    }
}

/// What went. Traces and sessions first: they lie here, and no Redis that is away keeps them.
async fn purge(app: &AppState, owed: Unpurged) -> Purged {
    let of = owed.clone();
    let told = app.blocking(move |app| {
        let traces = app.traces.store().purge(&of.tenant, &of.collection).map_err(ApiError::internal)?;
        let session_turns = app.sessions.purge(&of.tenant, &of.collection).map_err(ApiError::internal)?;
        Ok(Purged { traces, session_turns, ..Purged::default() })
    });
    let told = told.await;
    let answers = app.caches.forget(&owed.tenant, &owed.collection).await;
    if let Err(error) = &told {
        tracing::warn!(deletion = %owed.deletion, cause = error.cause, "traces can't be purged: housekeeping tries again");
    }
    if !answers.failed.is_empty() {
        tracing::warn!(deletion = %owed.deletion, tiers = ?answers.failed, "a cache can't be purged: housekeeping tries again");
    }
    let is_all = told.is_ok() && answers.failed.is_empty();
    let removed = Purged { caches: answers.entries, ..told.unwrap_or_default() };
    let noted = app.blocking(move |app| Ok(app.catalog.note_purged(&owed, removed, is_all)?)).await;
    if let Err(error) = noted {
        tracing::warn!(code = error.code, cause = error.cause, "what was told of it is purged, and will be once more");
    }
    removed
}

/// The receipt as clients see it.
pub(crate) fn receipt(receipt: &DeletionReceipt) -> Value {
    json!({
        "id": receipt.id, "collection_id": receipt.collection, "document_id": receipt.document,
        "documents": receipt.documents, "chunks": receipt.chunks, "vectors": receipt.vectors, "postings": receipt.postings,
        "files": receipt.files, "caches": receipt.caches, "traces": receipt.traces,
        "session_turns": receipt.session_turns, "deleted_at": rfc3339(receipt.deleted_at),
    })
}
