//! Receipts of deletions, and `/v1/deletions/{id}/verify`, which looks again on disk and in the caches.

use super::collections::rfc3339;
use super::find;
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::ApiError;
use axum::Json;
use axum::extract::{Path, State};
use corpus::TenantId;
use index::DeletionCheck;
use index::records::DeletionReceipt;
use serde_json::{Value, json};
use tracing::Instrument;

pub(crate) async fn verify(State(app): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let tenant = caller.tenant.clone();
    let mut found = app
        .blocking(move |app| {
            let receipt = find::deletion(app, &caller, &id)?;
            Ok(app.catalog.verify_deletion(&caller.tenant, &receipt.id)?)
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

/// Removes the answers that were made from what is deleted now, and notes it on the receipt.
pub(crate) async fn forget_answers(app: &AppState, tenant: TenantId, mut receipt: DeletionReceipt) -> Result<DeletionReceipt, ApiError> {
    let removed = app.caches.forget(&tenant, &receipt.collection).await;
    if removed.entries == 0 {
        return Ok(receipt);
    }
    receipt.caches = removed.entries;
    let noted = app.blocking(move |app| {
        app.catalog.amend_deletion(&tenant, &receipt)?;
        Ok(receipt)
    });
    noted.await
}

/// The receipt as clients see it.
pub(crate) fn receipt(receipt: &DeletionReceipt) -> Value {
    json!({
        "id": receipt.id, "collection_id": receipt.collection, "document_id": receipt.document,
        "documents": receipt.documents, "chunks": receipt.chunks, "vectors": receipt.vectors, "postings": receipt.postings,
        "files": receipt.files, "caches": receipt.caches, "deleted_at": rfc3339(receipt.deleted_at),
    })
}
