//! `/v1/caches`: what is kept, how often it helped, and away with it.
//!
//! Callers see and clear what their tenant's answers take. Figures of the whole server, and vectors, which are nobody's
//! in particular, are the operator's.

use super::extract::{PageParams, Params};
use super::find;
use crate::app::AppState;
use crate::auth::Caller;
use crate::caches::Kind;
use crate::error::ApiError;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use cache::{Address, Holding, Inspected, Listed, Prefix, Removals, Stack, TierName};
use query::AnswerCache;
use serde::Deserialize;
use serde_json::{Value, json};

/// Whose entries.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Within {
    collection: Option<String>,
}

/// Which page of whose entries.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntryParams {
    collection: Option<String>,
    tier: Option<TierName>,
    cursor: Option<String>,
    limit: Option<usize>,
}

pub(crate) async fn all(State(app): State<AppState>, caller: Caller, Params(within): Params<Within>) -> Result<Json<Value>, ApiError> {
    let mut data = Vec::new();
    for kind in kinds(&caller, &within) {
        let Some(stack) = app.caches.stack(kind) else { continue };
        let prefix = prefix(&app, &caller, kind, within.collection.as_deref()).await?;
        let tiers = stack.holdings(&prefix, u64::MAX).await;
        let server = if caller.is_operator { Some(stack.statistics().await) } else { None };
        let answers = app.caches.answers.as_ref().filter(|_| caller.is_operator && kind == Kind::Answer);
        data.push(json!({
            "kind": kind.name(), "tiers": tiers.iter().map(holding).collect::<Vec<_>>(), "server": server,
            "lookups": answers.map(|answers| answers.statistics()),
        }));
    }
    Ok(Json(json!({ "data": data })))
}

pub(crate) async fn entries(
    State(app): State<AppState>,
    caller: Caller,
    Path(kind): Path<String>,
    Params(asked): Params<EntryParams>,
) -> Result<Json<Value>, ApiError> {
    let kind = known(&caller, &kind)?;
    let EntryParams { collection, tier, cursor, limit } = asked;
    let limit = PageParams { cursor: None, limit }.limit()?;
    let prefix = prefix(&app, &caller, kind, collection.as_deref()).await?;
    let tier = tier.unwrap_or(TierName::Memory);
    let page = match app.caches.stack(kind) {
        Some(stack) => stack.entries(tier, &prefix, cursor.as_deref(), limit).await,
        None => None,
    };
    let Some(page) = page else {
        let detail = format!("the cache has no tier {tier}, or it is away");
        return Err(ApiError::new(StatusCode::NOT_FOUND, "not_found", detail));
    };
    Ok(Json(json!({ "data": page.entries.iter().map(listed).collect::<Vec<_>>(), "next_cursor": page.next })))
}

pub(crate) async fn clear_all(
    State(app): State<AppState>,
    caller: Caller,
    Params(within): Params<Within>,
) -> Result<Json<Value>, ApiError> {
    let mut removed = Removals::default();
    for kind in kinds(&caller, &within) {
        let prefix = prefix(&app, &caller, kind, within.collection.as_deref()).await?;
        if let Some(stack) = app.caches.stack(kind) {
            let Removals { entries, postponed, failed } = stack.invalidate(&prefix).await;
            removed.entries += entries;
            removed.postponed.extend(postponed);
            removed.failed.extend(failed);
        }
    }
    Ok(Json(json!(removed)))
}

pub(crate) async fn clear(
    State(app): State<AppState>,
    caller: Caller,
    Path(kind): Path<String>,
    Params(within): Params<Within>,
) -> Result<Json<Value>, ApiError> {
    let kind = known(&caller, &kind)?;
    let prefix = prefix(&app, &caller, kind, within.collection.as_deref()).await?;
    Ok(Json(match app.caches.stack(kind) {
        Some(stack) => json!(stack.invalidate(&prefix).await),
        None => json!(Removals::default()),
    }))
}

/// One entry, and what is in it if it is an answer.
pub(crate) async fn entry(
    State(app): State<AppState>,
    caller: Caller,
    Path((kind, key)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let (kind, _, _, found) = look_up(&app, &caller, &kind, &key).await?;
    let tier = |one: &Inspected| json!({ "tier": one.tier, "bytes": one.payload.len(), "age_ms": one.age_ms, "left_ms": one.left.as_millis() as u64 });
    let answer = found.first().filter(|_| kind == Kind::Answer).and_then(|one| AnswerCache::read(&one.payload));
    let tiers: Vec<Value> = found.iter().map(tier).collect();
    Ok(Json(json!({ "key": key, "kind": kind.name(), "tiers": tiers, "answer": answer })))
}

pub(crate) async fn remove(
    State(app): State<AppState>,
    caller: Caller,
    Path((kind, key)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let (_, stack, address, found) = look_up(&app, &caller, &kind, &key).await?;
    let removed = stack.remove_at(&address).await;
    Ok(Json(json!(Removals { entries: found.len() as u64, ..removed })))
}

/// An entry that a caller may look at, in the tiers that have it: at least one.
async fn look_up<'a>(
    app: &'a AppState,
    caller: &Caller,
    kind: &str,
    key: &str,
) -> Result<(Kind, &'a Stack, Address, Vec<Inspected>), ApiError> {
    let kind = known(caller, kind)?;
    prefix(app, caller, kind, None).await?;
    let absent = || ApiError::not_found("cache entry", key);
    let stack = app.caches.stack(kind).ok_or_else(absent)?;
    let address = kind.address(&caller.tenant, key).ok_or_else(absent)?;
    let found = stack.inspect(&address).await;
    if found.is_empty() { Err(absent()) } else { Ok((kind, stack, address, found)) }
}

/// All that are meant. Vectors are of no collection.
fn kinds(caller: &Caller, within: &Within) -> impl Iterator<Item = Kind> {
    let has_vectors = within.collection.is_none() && may_use(caller, Kind::Embedding);
    Kind::ALL.into_iter().filter(move |kind| has_vectors || *kind == Kind::Answer)
}

const fn may_use(caller: &Caller, kind: Kind) -> bool {
    matches!(kind, Kind::Answer) || caller.is_operator
}

fn known(caller: &Caller, name: &str) -> Result<Kind, ApiError> {
    Kind::of(name).filter(|kind| may_use(caller, *kind)).ok_or_else(|| ApiError::not_found("cache", name))
}

/// The entries that a caller means. One that may not read or use all of its tenant's is told nothing of them.
async fn prefix(app: &AppState, caller: &Caller, kind: Kind, collection: Option<&str>) -> Result<Prefix, ApiError> {
    if !caller.is_unbounded() {
        let detail = "the caches hold answers of the whole tenant: they are for keys without bounds of collections or principals";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", detail));
    }
    let Some(collection) = collection.map(str::to_owned) else {
        return Ok(match kind {
            Kind::Answer => Prefix::of_tenant(&caller.tenant),
            Kind::Embedding => Prefix::of_server(),
        });
    };
    if kind == Kind::Embedding {
        return Err(ApiError::new(StatusCode::NOT_FOUND, "not_found", "vectors are of no collection: leave collection out"));
    }
    let caller = caller.clone();
    let record = app.blocking(move |app| find::collection(app, &caller, &collection)).await?;
    Ok(Prefix::of_collection(&record.tenant, &record.id))
}

fn holding(holding: &Holding) -> Value {
    let Holding { tier, entries, bytes } = holding;
    json!({ "tier": tier, "is_here": entries.is_some(), "entries": entries, "bytes": bytes })
}

fn listed(entry: &Listed) -> Value {
    let Listed { digest, kind, tenant: _, collection, bytes, age_ms, left_ms, hits } = entry;
    let key = collection.as_ref().map_or_else(|| digest.clone(), |collection| format!("{collection}.{digest}"));
    json!({
        "key": key, "digest": digest, "kind": kind, "collection_id": collection, "bytes": bytes, "age_ms": age_ms, "left_ms": left_ms, "hits": hits,
    })
}
