//! `/v1/collections`: make, list, look at, change, delete.

use super::extract::{Body, IdempotencyKey, PageParams, Params, request_hash};
use super::find;
use crate::app::{App, AppState};
use crate::auth::Caller;
use crate::error::ApiError;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use corpus::{CollectionId, Metadata, Principals};
use index::NewCollection;
use index::records::{Chunking, CollectionRecord};
use serde::Deserialize;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    name: String,
    embedding_model: Option<String>,
    chunking: Option<ChunkingBody>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChunkingBody {
    strategy: Option<String>,
    max_tokens: Option<usize>,
    overlap_tokens: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateBody {
    name: Option<String>,
    metadata: Option<Metadata>,
}

pub(crate) async fn create(
    State(app): State<AppState>,
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    Body(body): Body<CreateBody>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let once = caller.once(key, request_hash("/v1/collections", &body));
    check_name_is_own(&caller, Some(&body.name))?;
    let created = app.blocking(move |app| {
        let new = body.into_new(app)?;
        let record = app.catalog.create_collection(&caller.tenant, new, once.as_ref())?;
        view(app, &caller, &record)
    });
    Ok((StatusCode::CREATED, Json(created.await?)))
}

pub(crate) async fn list(State(app): State<AppState>, caller: Caller, Params(page): Params<PageParams>) -> Result<Json<Value>, ApiError> {
    let (limit, after) = (page.limit()?, page.after::<CollectionId>()?);
    let listed = app.blocking(move |app| {
        let fetch = |after: Option<&CollectionId>, limit| app.catalog.collections(&caller.tenant, after, limit);
        let may_use = |record: &CollectionRecord| caller.may_use(record);
        let (usable, next) = find::page(limit, after, fetch, |record| record.id.clone(), may_use)?;
        let data = usable.iter().map(|record| view(app, &caller, record)).collect::<Result<Vec<_>, _>>()?;
        Ok(json!({ "data": data, "next_cursor": next }))
    });
    Ok(Json(listed.await?))
}

pub(crate) async fn get(State(app): State<AppState>, caller: Caller, Path(name): Path<String>) -> Result<Json<Value>, ApiError> {
    let found = app.blocking(move |app| {
        let record = find::collection(app, &caller, &name)?;
        let mut view = view(app, &caller, &record)?;
        let (vector, text) = app.catalog.open_collection(&record)?.stats();
        if let Some(stats) = view.get_mut("stats").and_then(Value::as_object_mut) {
            stats.insert("vector".into(), json!(vector));
            stats.insert("text".into(), json!(text));
        }
        Ok(view)
    });
    Ok(Json(found.await?))
}

pub(crate) async fn update(
    State(app): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
    Body(body): Body<UpdateBody>,
) -> Result<Json<Value>, ApiError> {
    let updated = app.blocking(move |app| {
        let record = find::collection(app, &caller, &name)?;
        check_name_is_own(&caller, body.name.as_ref().filter(|name| **name != record.name))?;
        let record = app.catalog.update_collection(&caller.tenant, &record.id, body.name, body.metadata)?;
        view(app, &caller, &record)
    });
    Ok(Json(updated.await?))
}

pub(crate) async fn delete(State(app): State<AppState>, caller: Caller, Path(name): Path<String>) -> Result<Json<Value>, ApiError> {
    let tenant = caller.tenant.clone();
    let deleted = async move {
        let deleted = app.blocking(move |app| {
            let record = find::collection(app, &caller, &name)?;
            let receipt = app.catalog.delete_collection(&caller.tenant, &record.id)?;
            Ok((record, receipt))
        });
        let (record, receipt) = deleted.await?;
        Ok((record, super::deletions::forget_answers(&app, tenant, receipt).await))
    };
    let (record, receipt) = super::deletions::to_the_end(deleted).await?;
    Ok(Json(json!({ "id": record.id, "name": record.name, "deleted": true, "receipt": super::deletions::receipt(&receipt) })))
}

impl CreateBody {
    fn into_new(self, app: &App) -> Result<NewCollection, ApiError> {
        let model = app.embedder.model();
        if let Some(asked) = self.embedding_model.filter(|asked| *asked != model.name) {
            let detail = format!("embedding_model {asked:?} is not served here; this server embeds with {:?}", model.name);
            return Err(ApiError::bad_request("unknown_model", detail));
        }
        let defaults = &app.config.chunking;
        let asked = self.chunking;
        let pick = |choose: fn(&ChunkingBody) -> Option<usize>, default| asked.as_ref().and_then(choose).unwrap_or(default);
        let chunking = Chunking {
            max_tokens: pick(|chunking| chunking.max_tokens, defaults.max_tokens.min(model.max_tokens)),
            overlap_tokens: pick(|chunking| chunking.overlap_tokens, defaults.overlap_tokens),
            strategy: asked.as_ref().and_then(|chunking| chunking.strategy.clone()).unwrap_or_else(|| defaults.strategy.clone()),
        };
        let bad = |error: &dyn std::fmt::Display| ApiError::bad_request("bad_chunking", error.to_string());
        ingest::chunking(&chunking).map_err(|error| bad(&error))?.validate(model.max_tokens).map_err(|error| bad(&error))?;
        Ok(NewCollection { name: self.name, model: model.clone(), chunking, metadata: self.metadata })
    }
}

/// The collection with this id or name. The collection `default` is made when it is first written to.
pub(crate) fn find_or_default(app: &App, caller: &Caller, name: &str) -> Result<CollectionRecord, ApiError> {
    if name != "default" {
        return find::collection(app, caller, name);
    }
    if let Some(found) = find::collection_or_room(app, caller, name)? {
        return Ok(found);
    }
    let body = CreateBody { name: name.to_owned(), embedding_model: None, chunking: None, metadata: Metadata::default() };
    match app.catalog.create_collection(&caller.tenant, body.into_new(app)?, None) {
        Err(index::CatalogError::NameTaken(_)) => find::collection(app, caller, name),
        created => Ok(created?),
    }
}

/// A caller that may use some collections only can't give one a name outside of them, taken or not.
fn check_name_is_own(caller: &Caller, name: Option<&String>) -> Result<(), ApiError> {
    match name {
        Some(name) if !caller.may_use_name(name) => {
            let detail = format!("this key may not use a collection named {name:?}");
            Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden_scope", detail))
        }
        _ => Ok(()),
    }
}

/// Counts are of all documents, so only those who may read all of them get them.
fn view(app: &App, caller: &Caller, record: &CollectionRecord) -> Result<Value, ApiError> {
    let mut view = json!({
        "id": record.id, "name": record.name, "metadata": record.metadata, "created_at": rfc3339(record.created_at),
        "embedding_model": record.model.name, "embedding_revision": record.model.revision,
        "embedding_precision": record.model.precision, "dimension": record.model.dimension,
        "chunking": record.chunking,
    });
    if let (Some(fields), Principals::All) = (view.as_object_mut(), &caller.principals) {
        let state = app.catalog.collection_state(record)?;
        let stats = json!({ "documents": state.documents, "chunks": state.chunks, "bytes": state.bytes, "generation": state.seq });
        fields.insert("stats".into(), stats);
    }
    Ok(view)
}

pub(crate) fn rfc3339(time: time::OffsetDateTime) -> Option<String> {
    time.format(&Rfc3339).ok()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String can't fail
        text
    })
}
