//! Receipts of deletions, and `/v1/deletions/{id}/verify`, which looks again on disk.

use super::collections::rfc3339;
use super::find;
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::ApiError;
use axum::Json;
use axum::extract::{Path, State};
use index::records::DeletionReceipt;
use serde_json::{Value, json};

pub(crate) async fn verify(State(app): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let verified = app.blocking(move |app| {
        let receipt = find::deletion(app, &caller, &id)?;
        let found = app.catalog.verify_deletion(&caller.tenant, &receipt.id)?;
        Ok(json!({ "id": receipt.id, "verified": found.is_verified(), "checks": found.checks, "receipt": self::receipt(&found.receipt) }))
    });
    Ok(Json(verified.await?))
}

/// The receipt as clients see it.
pub(crate) fn receipt(receipt: &DeletionReceipt) -> Value {
    json!({
        "id": receipt.id, "collection_id": receipt.collection, "document_id": receipt.document,
        "documents": receipt.documents, "chunks": receipt.chunks, "vectors": receipt.vectors, "postings": receipt.postings,
        "files": receipt.files, "caches": receipt.caches, "deleted_at": rfc3339(receipt.deleted_at),
    })
}
