//! `/v1/collections/{c}/documents`: list, look at, delete; and what a document looks like.

use super::collections::rfc3339;
use super::deletions;
use super::extract::{PageParams, Params};
use super::find;
use crate::app::{App, AppState};
use crate::auth::Caller;
use crate::error::ApiError;
use axum::Json;
use axum::extract::{Path, State};
use corpus::DocumentId;
use index::DocumentStatus;
use index::records::{CollectionRecord, DocumentRecord};
use serde_json::{Value, json};

/// `?cursor=…&limit=…&parent_id=…`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListParams {
    cursor: Option<String>,
    limit: Option<usize>,
    /// Only documents that are right inside this one.
    parent_id: Option<String>,
}

pub(crate) async fn list(
    State(app): State<AppState>,
    caller: Caller,
    Path(collection): Path<String>,
    Params(params): Params<ListParams>,
) -> Result<Json<Value>, ApiError> {
    let ListParams { cursor, limit, parent_id } = params;
    let page = PageParams { cursor, limit };
    let (limit, after) = (page.limit()?, page.after::<DocumentId>()?);
    let listed = app.blocking(move |app| {
        let (collection, parent) = match parent_id {
            Some(parent) => find::document(app, &caller, &collection, &parent).map(|(collection, parent)| (collection, Some(parent)))?,
            None => (find::collection(app, &caller, &collection)?, None),
        };
        let fetch = |after: Option<&DocumentId>, limit| match &parent {
            Some(parent) => app.catalog.children_page(&collection, parent, after, limit),
            None => app.catalog.documents(&collection, after, limit),
        };
        let may_read = |record: &DocumentRecord| record.may_be_read_by(&caller.principals);
        let (readable, next) = find::page(limit, after, fetch, |record| record.id.clone(), may_read)?;
        let data = readable.iter().map(|record| view(app, &collection, record)).collect::<Result<Vec<_>, _>>()?;
        Ok(json!({ "data": data, "next_cursor": next }))
    });
    Ok(Json(listed.await?))
}

pub(crate) async fn get(
    State(app): State<AppState>,
    caller: Caller,
    Path((collection, document)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let found = app.blocking(move |app| {
        let (collection, record) = find::document(app, &caller, &collection, &document)?;
        view(app, &collection, &record)
    });
    Ok(Json(found.await?))
}

pub(crate) async fn delete(
    State(app): State<AppState>,
    caller: Caller,
    Path((collection, document)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let tenant = caller.tenant.clone();
    let deleted = async move {
        let deleted = app.blocking(move |app| {
            let (collection, record) = find::document(app, &caller, &collection, &document)?;
            let receipt = app.catalog.delete_document(&collection, record.id.as_str())?;
            receipt.jobs.iter().for_each(|job| app.ingest.forget(job));
            Ok((record.id, receipt))
        });
        let (id, receipt) = deleted.await?;
        Ok((id, deletions::forget_answers(&app, tenant, receipt).await))
    };
    let (id, receipt) = deletions::to_the_end(deleted).await?;
    Ok(Json(json!({ "id": id, "deleted": true, "receipt": deletions::receipt(&receipt) })))
}

/// The document as clients see it.
pub(crate) fn view(app: &App, collection: &CollectionRecord, record: &DocumentRecord) -> Result<Value, ApiError> {
    let (status, failure) = status(app, collection, record)?;
    let served = record.served.as_ref();
    let attachments = app.catalog.children(collection, record)?.len();
    let original_bytes = record.latest_original().map(|(_, bytes)| bytes);
    let mut view = json!({
        "id": record.id, "collection_id": collection.id, "external_id": record.external_id,
        "parent_id": record.parent.as_ref().map(|parent| &parent.document), "attachments": attachments,
        "name": record.attributes.name, "metadata": record.attributes.metadata, "acl": record.attributes.acl,
        "status": status, "job_id": record.latest_job(), "bytes": original_bytes,
        "created_at": rfc3339(record.created_at), "updated_at": rfc3339(record.updated_at),
        "version": served.map(|served| served.number), "media_type": served.map(|served| &served.media_type),
        "title": served.and_then(|served| served.title.as_ref()), "pages": served.and_then(|served| served.pages),
        "text_bytes": served.map(|served| served.text_bytes), "text_chars": served.map(|served| served.text_chars),
        "chunks": served.map(|served| served.rows.len()),
        "chunks_reused": served.map(|served| served.chunks_reused), "chunks_embedded": served.map(|served| served.chunks_embedded),
        "embedding_precision": served.map(|served| served.precision),
        "warnings": served.map_or(&[][..], |served| &served.warnings),
    });
    if let (Some(view), Some((code, reason))) = (view.as_object_mut(), failure) {
        view.insert("code".into(), json!(code));
        view.insert("reason".into(), json!(reason));
    }
    Ok(view)
}

type Failure = Option<(String, String)>;

/// The word for where a document stands; while a job has it, the job's stage.
pub(crate) fn status(app: &App, collection: &CollectionRecord, record: &DocumentRecord) -> Result<(Value, Failure), ApiError> {
    Ok(match app.catalog.status(collection, record)? {
        DocumentStatus::InProgress => {
            let stage = record.pending.as_ref().and_then(|pending| app.ingest.watch(&pending.job)).map(|watch| watch.borrow().stage);
            (stage.map_or(json!("queued"), |stage| json!(stage)), None)
        }
        DocumentStatus::Indexing => (json!("indexing"), None),
        DocumentStatus::Ready => (json!("ready"), None),
        DocumentStatus::Failed { code, reason } => (json!("failed"), Some((code, reason))),
        DocumentStatus::Cancelled => (json!("cancelled"), None),
    })
}
