//! `/v1/traces`: what was done for each question, and doing it again with other settings. A key sees its own, whoever
//! manages the tenant all of them.

use super::collections::rfc3339;
use super::extract::{Body, PageParams, Params};
use super::feedback;
use super::find;
use super::query::{Asked, answer_again};
use super::trace::RequestIds;
use crate::app::{App, AppState};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::traces::{Head, Listed, Trace, TraceKind};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use corpus::{Filter, TraceId};
use query::{Answer, CachePolicy, Expand, QueryRequest, Rerank, SearchMode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Which traces.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListParams {
    cursor: Option<String>,
    limit: Option<usize>,
    collection: Option<String>,
    session: Option<String>,
    /// RFC 3339.
    since: Option<String>,
    kind: Option<TraceKind>,
    mode: Option<String>,
    abstained: Option<bool>,
    /// With feedback: that it was useful, or that it was not.
    feedback: Option<bool>,
}

pub(crate) async fn list(State(app): State<AppState>, caller: Caller, Params(asked): Params<ListParams>) -> Result<Json<Value>, ApiError> {
    let ListParams { cursor, limit, collection, session, since, kind, mode, abstained, feedback } = asked;
    let page = PageParams { cursor, limit };
    let (limit, after) = (page.limit()?, page.after::<u64>()?);
    let since = self::since(since.as_deref())?;
    let listed = app.blocking(move |app| {
        let collection = collection.map(|name| find::collection(app, &caller, &name)).transpose()?.map(|record| record.id);
        let may_see = find::recall(app, &caller);
        let is_meant = |head: &Head| {
            collection.as_ref().is_none_or(|id| *id == head.collection)
                && session.as_ref().is_none_or(|id| head.session.as_ref() == Some(id))
                && since.is_none_or(|since| head.at >= since)
                && kind.is_none_or(|kind| head.kind == kind)
                && mode.as_ref().is_none_or(|mode| head.mode.as_ref() == Some(mode))
                && abstained.is_none_or(|abstained| head.abstained == abstained)
                && may_see(&head.collection, &head.asker)
                && feedback.is_none_or(|useful| feedback::of(app, &caller, head).iter().any(|one| one.useful == useful))
        };
        let (found, next) = app.traces.settled().list(&caller.tenant, after, limit, is_meant).map_err(ApiError::internal)?;
        let data: Vec<Value> = found.iter().map(|Listed { head, .. }| Value::Object(view(app, &caller, head))).collect();
        Ok(json!({ "data": data, "next_cursor": next.map(|stamp| stamp.to_string()) }))
    });
    Ok(Json(listed.await?))
}

/// A moment as a parameter names it.
pub(super) fn since(said: Option<&str>) -> Result<Option<OffsetDateTime>, ApiError> {
    let since = said.map(|since| OffsetDateTime::parse(since, &Rfc3339)).transpose();
    since.map_err(|_| ApiError::bad_request("bad_parameter", "since must be an RFC 3339 time, such as 2026-01-31T12:00:00Z"))
}

pub(crate) async fn get(State(app): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let found = app.blocking(move |app| {
        let trace = trace(app, &caller, &id)?;
        Ok(whole(app, &caller, trace))
    });
    Ok(Json(found.await?))
}

pub(crate) async fn delete(State(app): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let deleted = app.blocking(move |app| {
        let not_found = || ApiError::not_found("trace", &id);
        let known: TraceId = id.parse().map_err(|_| not_found())?;
        let may_see = find::recall(app, &caller);
        // Also one of documents that may not be read any more.
        let removed = app.traces.settled().remove(&caller.tenant, &known, |head| may_see(&head.collection, &head.asker));
        if removed.map_err(ApiError::internal)? == 0 {
            return Err(not_found());
        }
        Ok(json!({ "id": known, "deleted": true }))
    });
    Ok(Json(deleted.await?))
}

/// What shall be other than it was.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Other {
    top_k: Option<usize>,
    mode: Option<SearchMode>,
    model: Option<String>,
    filter: Option<Filter>,
    rerank: Option<Rerank>,
    neighbours: Option<usize>,
    compression_share: Option<f64>,
    cache: Option<CachePolicy>,
    max_context_tokens: Option<usize>,
    expand: Option<Expand>,
}

/// Asks again, on the data of today and with the rights of whoever asks.
pub(crate) async fn replay(
    State(app): State<AppState>,
    caller: Caller,
    Extension(ids): Extension<RequestIds>,
    Path(id): Path<String>,
    Body(other): Body<Other>,
) -> Result<Json<Value>, ApiError> {
    let asker = caller.clone();
    let (trace, original) = app
        .blocking(move |app| {
            let trace = trace(app, &asker, &id)?;
            let original = whole(app, &asker, trace.clone());
            Ok((trace, original))
        })
        .await?;
    let request = again(&trace, other)?;
    let collection = trace.head.collection.to_string();
    let asked = Asked { caller, collection, kind: TraceKind::Replay, trace: ids.trace, replays: Some(trace.head.trace_id.clone()) };
    let replayed = answer_again(&app, asked, request).await?;
    let kept_redacted = trace.body.get("question_redacted").and_then(Value::as_bool);
    let answers = (text_of(&trace).map(str::to_owned), replayed.answer.clone());
    let is_changed = app.blocking(move |app| {
        let (Some(before), now) = answers else { return Ok(None) };
        if kept_redacted.is_none() {
            return Ok(Some(before != now));
        }
        // What it is compared with must be redacted too; it may be so twice.
        Ok(Some(app.traces.redacted(&before) != app.traces.redacted(&now)))
    });
    let diff = diff(&trace, &replayed, is_changed.await?);
    Ok(Json(json!({ "original": original, "replayed": replayed, "question_redacted": kept_redacted.unwrap_or_default(), "diff": diff })))
}

/// The question of a trace as it stands alone, with its settings and what shall be other.
fn again(trace: &Trace, other: Other) -> Result<QueryRequest, ApiError> {
    let answer = trace.body.get("answer");
    let rewritten = answer.and_then(|answer| answer.get("rewritten_question")?.as_str());
    let Some(question) = rewritten.or(trace.head.question.as_deref()) else {
        let detail = "the trace holds no question: traces.text is \"none\", or it was a search by vector";
        return Err(ApiError::new(StatusCode::CONFLICT, "no_question", detail));
    };
    let settings = trace.body.get("settings");
    fn read<T: serde::de::DeserializeOwned>(settings: Option<&Value>, name: &str) -> Option<T> {
        serde_json::from_value(settings?.get(name)?.clone()).ok()
    }
    let plain = QueryRequest::new(question);
    Ok(QueryRequest {
        top_k: other.top_k.or_else(|| read(settings, "top_k")).unwrap_or(plain.top_k),
        mode: other.mode.or_else(|| read(settings, "mode")).unwrap_or_default(),
        model: other.model.or_else(|| read(settings, "model")),
        filter: other.filter.or_else(|| read(settings, "filter")),
        rerank: other.rerank.or_else(|| read(settings, "rerank")),
        neighbours: other.neighbours.or_else(|| read(settings, "neighbours")),
        compression_share: other.compression_share.or_else(|| read(settings, "compression_share")),
        max_context_tokens: other.max_context_tokens.or_else(|| read(settings, "max_context_tokens")),
        expand: other.expand.or_else(|| read(settings, "expand")),
        tags: read(settings, "tags").unwrap_or_default(),
        cache: other.cache.unwrap_or(CachePolicy::Bypass),
        ..plain
    })
}

fn text_of(trace: &Trace) -> Option<&str> {
    trace.body.get("answer")?.get("answer")?.as_str()
}

/// What is other now: chunks by id with their places from 1, then the answer.
fn diff(trace: &Trace, replayed: &Answer, is_changed: Option<bool>) -> Value {
    let answer = trace.body.get("answer");
    let listed = |value: Option<&Value>| -> Vec<String> {
        let items = value.and_then(Value::as_array).into_iter().flatten();
        items.filter_map(|item| Some(item.get("chunk_id")?.as_str()?.to_owned())).collect()
    };
    let candidates = listed(trace.body.get("candidates"));
    // An answer from a cache has no candidates.
    let before = if candidates.is_empty() { listed(answer.and_then(|answer| answer.get("sources"))) } else { candidates };
    let after: Vec<String> = replayed.steps.candidates.iter().map(|found| found.chunk_id.to_string()).collect();
    let after = if after.is_empty() { replayed.sources.iter().map(|hit| hit.chunk_id.to_string()).collect() } else { after };
    let rank = |list: &[String], id: &String| list.iter().position(|known| known == id).map(|place| place + 1);
    let only = |list: &[String], other: &[String]| -> Vec<Value> {
        let missing = list.iter().enumerate().filter(|(_, id)| !other.contains(id));
        missing.map(|(place, id)| json!({ "chunk_id": id, "rank": place + 1 })).collect()
    };
    let moved: Vec<Value> = before
        .iter()
        .enumerate()
        .filter_map(|(place, id)| {
            let to = rank(&after, id).filter(|to| *to != place + 1)?;
            Some(json!({ "chunk_id": id, "from": place + 1, "to": to }))
        })
        .collect();
    json!({
        "hits": { "gained": only(&after, &before), "lost": only(&before, &after), "moved": moved },
        "answer_changed": is_changed,
        "abstained": { "before": trace.head.abstained, "after": replayed.abstained },
        "mode": { "before": trace.head.mode, "after": replayed.mode },
        "model": { "before": trace.head.model, "after": replayed.model },
        "cost_usd": { "before": trace.head.cost_usd, "after": replayed.cost_usd },
        "total_ms": { "before": trace.head.total_ms, "after": replayed.timings_ms.get("total") },
    })
}

/// The trace of this id that the caller may see: of documents that it may still read.
pub(super) fn trace(app: &App, caller: &Caller, id: &str) -> Result<Trace, ApiError> {
    let not_found = || ApiError::not_found("trace", id);
    let known: TraceId = id.parse().map_err(|_| not_found())?;
    let may_see = find::recall(app, caller);
    let is_readable = |trace: &Trace| trace.documents.iter().all(find::reading(app, caller, &trace.head.collection));
    let found =
        app.traces.settled().get(&caller.tenant, &known, |trace| may_see(&trace.head.collection, &trace.head.asker) && is_readable(trace));
    found.map_err(ApiError::internal)?.ok_or_else(not_found)
}

fn view(app: &App, caller: &Caller, head: &Head) -> Map<String, Value> {
    let feedback: Vec<Value> = feedback::of(app, caller, head).iter().map(feedback::given).collect();
    let view = json!({
        "id": head.trace_id, "kind": head.kind, "at": rfc3339(head.at), "collection_id": head.collection, "key_id": head.asker.key,
        "session_id": head.session, "replays": head.replays, "question": head.question, "mode": head.mode, "abstained": head.abstained,
        "degraded": head.degraded, "cached": head.cached, "model": head.model, "cost_usd": head.cost_usd, "total_ms": head.total_ms,
        "error_code": head.error, "feedback": feedback,
    });
    match view {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn whole(app: &App, caller: &Caller, trace: Trace) -> Value {
    let mut view = view(app, caller, &trace.head);
    view.extend(trace.body);
    Value::Object(view)
}
