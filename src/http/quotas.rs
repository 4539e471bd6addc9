//! `GET /v1/quotas`: what the caller's tenant takes, and may take.

use crate::app::AppState;
use crate::auth::Caller;
use crate::error::ApiError;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

pub(crate) async fn get(State(app): State<AppState>, caller: Caller) -> Result<Json<Value>, ApiError> {
    let found = app.blocking(move |app| {
        let (quota, usage) = (app.catalog.quota(&caller.tenant), app.catalog.usage(&caller.tenant)?);
        // Counts of the whole tenant are not for those who see a part of it.
        let line = |used: u64, limit: Option<u64>| json!({ "used": caller.is_unbounded().then_some(used), "limit": limit });
        Ok(json!({
            "tenant": caller.tenant,
            "documents": line(usage.documents, quota.documents),
            "bytes": line(usage.bytes, quota.bytes),
            "collections": line(usage.collections, quota.collections),
        }))
    });
    Ok(Json(found.await?))
}
