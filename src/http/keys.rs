//! `/v1/keys`: make, list, look at, revoke. The key itself is in the answer that makes it and nowhere else.

use super::collections::rfc3339;
use super::extract::{Body, IdempotencyKey, PageParams, Params, request_hash};
use crate::app::{App, AppState};
use crate::auth::{Caller, Secret};
use crate::error::ApiError;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use corpus::{KeyId, Principals, TenantId};
use index::{ApiKeyRecord, KeyLimits, Once, Scope};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Longest name of a key, a collection or a principal in bytes.
const NAME_BYTES_MAX: usize = 128;
/// Collections, and principals, that one key may name.
const NAMES_MAX: usize = 100;
/// Keys on the whole server: every request is compared with each.
const KEYS_MAX: usize = 10_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    name: String,
    tenant: Option<TenantId>,
    scopes: BTreeSet<Scope>,
    collections: Option<BTreeSet<String>>,
    principals: Option<BTreeSet<String>>,
    limits: Option<KeyLimits>,
    expires_at: Option<String>,
}

pub(crate) async fn create(
    State(app): State<AppState>,
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    Body(body): Body<CreateBody>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let once = caller.once(key, request_hash("/v1/keys", &body));
    let created = app.blocking(move |app| make(app, &caller, body, once.as_ref()));
    let (status, view) = created.await?;
    Ok((status, Json(view)))
}

fn make(app: &App, caller: &Caller, body: CreateBody, once: Option<&Once>) -> Result<(StatusCode, Value), ApiError> {
    let secret = Secret::generate().map_err(ApiError::internal)?;
    let asked = body.limits;
    let record = ApiKeyRecord { limits: limits(app, caller, asked.unwrap_or_default())?, ..body.into_record(caller, &secret)? };
    if app.keys.stored_count() >= KEYS_MAX {
        let detail = format!("the server has {KEYS_MAX} keys, as many as it takes; revoke some");
        return Err(ApiError::new(StatusCode::FORBIDDEN, "quota_exceeded", detail));
    }
    let (record, is_new) = app.catalog.create_api_key(&caller.tenant, record, once)?;
    let mut view = view(&record);
    // Asked again: the plaintext is gone, as it was not kept.
    let plaintext = is_new.then_some(secret.plaintext);
    if let Some(fields) = view.as_object_mut() {
        fields.insert("key".into(), json!(plaintext));
    }
    if is_new {
        app.keys.insert(record).map_err(ApiError::internal)?;
    }
    Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, view))
}

pub(crate) async fn list(State(app): State<AppState>, caller: Caller, Params(page): Params<PageParams>) -> Result<Json<Value>, ApiError> {
    let (limit, after) = (page.limit()?, page.after::<KeyId>()?);
    let mut found = app.keys.list(after.as_ref(), limit.saturating_add(1), |record| caller.covers(record));
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| has_more).map(|last| last.id.clone());
    Ok(Json(json!({ "data": found.iter().map(view).collect::<Vec<_>>(), "next_cursor": next })))
}

pub(crate) async fn get(State(app): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    Ok(Json(view(&find(&app, &caller, &id)?)))
}

pub(crate) async fn delete(State(app): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let deleted = app.blocking(move |app| {
        let record = find(app, &caller, &id)?;
        // At once, and also if it can't be made durable: a key too few is the safe side.
        app.keys.remove(&record.id);
        app.catalog.delete_api_key(&record.tenant, &record.id)?;
        Ok(json!({ "id": record.id, "deleted": true }))
    });
    Ok(Json(deleted.await?))
}

/// A key that the caller may manage. Any other is not found, like one that never was.
fn find(app: &App, caller: &Caller, id: &str) -> Result<ApiKeyRecord, ApiError> {
    let known = id.parse().ok().and_then(|id| app.keys.get(&id));
    known.filter(|record| caller.covers(record)).ok_or_else(|| ApiError::not_found("key", id))
}

impl CreateBody {
    /// What the body leaves out is as wide as the caller's own bounds; what it names must be within them.
    fn into_record(self, caller: &Caller, secret: &Secret) -> Result<ApiKeyRecord, ApiError> {
        self.check()?;
        let expires_at = self.expires_at.as_deref().map(parse_end).transpose()?;
        let own_principals = match &caller.principals {
            Principals::All => None,
            Principals::Only(own) => Some(own.clone()),
        };
        let record = ApiKeyRecord {
            id: KeyId::generate(),
            name: self.name,
            tenant: self.tenant.unwrap_or_else(|| caller.tenant.clone()),
            sha256: secret.sha256.clone(),
            scopes: self.scopes,
            collections: self.collections.or_else(|| caller.collections.clone()),
            principals: self.principals.or(own_principals),
            limits: KeyLimits::default(),
            created_at: OffsetDateTime::now_utc(),
            expires_at,
        };
        if caller.covers(&record) {
            return Ok(record);
        }
        let detail = "a key can't open more than the key that makes it: keys of other tenants need the scope operator";
        Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden_scope", detail))
    }

    fn check(&self) -> Result<(), ApiError> {
        let is_plain = |name: &String| (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
        let lists = [&self.collections, &self.principals];
        let names = lists.iter().flat_map(|list| list.iter()).flatten();
        let fault = if !std::iter::once(&self.name).chain(names).all(is_plain) {
            format!("names must have 1 to {NAME_BYTES_MAX} bytes and no control characters")
        } else if self.scopes.is_empty() {
            "scopes must name query, ingest or admin".to_owned()
        } else if lists.iter().any(|list| list.as_ref().is_some_and(|list| list.len() > NAMES_MAX)) {
            format!("a key names at most {NAMES_MAX} collections and {NAMES_MAX} principals")
        } else {
            return Ok(());
        };
        Err(ApiError::bad_request("bad_key", fault))
    }
}

/// What is left out is as for the caller's own key; what is not may be more for an operator only.
fn limits(app: &App, caller: &Caller, asked: KeyLimits) -> Result<KeyLimits, ApiError> {
    let account = caller.account(Vec::new());
    if !caller.is_operator && !app.limits.cover(&account, asked) {
        let detail = "a key can't ask more in a minute than the key that makes it";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden_scope", detail));
    }
    let own = app.keys.limits(&account.key);
    Ok(KeyLimits {
        requests_per_minute: asked.requests_per_minute.or(own.requests_per_minute),
        tokens_per_minute: asked.tokens_per_minute.or(own.tokens_per_minute),
    })
}

fn parse_end(text: &str) -> Result<OffsetDateTime, ApiError> {
    let end = OffsetDateTime::parse(text, &Rfc3339);
    let future = end.ok().filter(|end| *end > OffsetDateTime::now_utc());
    future.ok_or_else(|| ApiError::bad_request("bad_key", "expires_at must be a time to come, as RFC 3339 writes it"))
}

fn view(record: &ApiKeyRecord) -> Value {
    json!({
        "id": record.id, "name": record.name, "tenant": record.tenant, "scopes": record.scopes,
        "collections": record.collections, "principals": record.principals, "limits": record.limits,
        "created_at": rfc3339(record.created_at), "expires_at": record.expires_at.and_then(rfc3339),
    })
}
