//! `/v1/feedback`: what people say of answers, and what of it makes cases for an evaluation.

use super::collections::rfc3339;
use super::extract::{Body, PageParams, Params};
use super::{find, traces};
use crate::app::{App, AppState};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::traces::{Head, Trace};
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use corpus::{DocumentId, Span};
use index::feedback::{Evidence, FEEDBACK_TEXT_BYTES_MAX, FeedbackRecord};
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

/// What is said of an answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Given {
    trace_id: String,
    useful: bool,
    comment: Option<String>,
    /// What the answer should have been.
    expected: Option<String>,
}

/// Which.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListParams {
    cursor: Option<String>,
    limit: Option<usize>,
    collection: Option<String>,
    useful: Option<bool>,
}

pub(crate) async fn give(State(app): State<AppState>, caller: Caller, Body(given): Body<Given>) -> Result<Json<Value>, ApiError> {
    for (field, text) in [("comment", &given.comment), ("expected", &given.expected)] {
        if text.as_ref().is_some_and(|text| text.len() > FEEDBACK_TEXT_BYTES_MAX) {
            let detail = format!("{field} may have at most {FEEDBACK_TEXT_BYTES_MAX} bytes");
            return Err(ApiError::bad_request("bad_feedback", detail));
        }
    }
    let kept = app.blocking(move |app| {
        let trace = traces::trace(app, &caller, &given.trace_id)?;
        let Given { useful, comment, expected, .. } = given;
        let record = FeedbackRecord { useful, comment, expected, evidence: evidence(&trace, |_| true), ..as_answered(&caller, &trace) };
        app.catalog.put_feedback(&record)?;
        Ok(view(&record))
    });
    Ok(Json(kept.await?))
}

pub(crate) async fn list(State(app): State<AppState>, caller: Caller, Params(asked): Params<ListParams>) -> Result<Json<Value>, ApiError> {
    let ListParams { cursor, limit, collection, useful } = asked;
    let page = PageParams { cursor, limit };
    let (limit, after) = (page.limit()?, page.after::<usize>()?.unwrap_or_default());
    let listed = app.blocking(move |app| {
        let all = visible(app, &caller, collection.as_deref())?;
        let count = |useful: bool| all.iter().filter(|record| record.useful == useful).count();
        let counts = json!({ "useful": count(true), "not_useful": count(false) });
        let meant: Vec<&FeedbackRecord> = all.iter().filter(|record| useful.is_none_or(|useful| record.useful == useful)).collect();
        let data: Vec<Value> = meant.iter().skip(after).take(limit).map(|record| view(record)).collect();
        let next = (meant.len() > after.saturating_add(limit)).then(|| (after + limit).to_string());
        Ok(json!({ "data": data, "counts": counts, "next_cursor": next }))
    });
    Ok(Json(listed.await?))
}

/// Whose cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CaseParams {
    collection: String,
}

/// One case a line, as evaluations take them.
pub(crate) async fn cases(
    State(app): State<AppState>,
    caller: Caller,
    Params(asked): Params<CaseParams>,
) -> Result<impl IntoResponse, ApiError> {
    let lines = app.blocking(move |app| {
        let records = visible(app, &caller, Some(&asked.collection))?;
        let cases = records.iter().filter_map(|record| case(app, &caller, record));
        Ok(cases.map(|case| format!("{case}\n")).collect::<String>())
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], lines.await?))
}

/// What is known of an answer that nobody said anything of: it is taken for useful, with what it rightly cites.
pub(super) fn as_answered(caller: &Caller, trace: &Trace) -> FeedbackRecord {
    FeedbackRecord {
        tenant: caller.tenant.clone(),
        collection: trace.head.collection.clone(),
        trace: trace.head.trace_id.clone(),
        asker: caller.asker(),
        useful: true,
        comment: None,
        expected: None,
        question: question(trace).map(str::to_owned),
        abstained: trace.head.abstained,
        evidence: evidence(trace, |citation| citation.get("verdict") == Some(&json!("supported"))),
        at: OffsetDateTime::now_utc(),
    }
}

/// The question of a trace. One that leaned on its conversation is none by itself.
pub(super) fn question(trace: &Trace) -> Option<&str> {
    let is_rewritten = trace.body.get("answer").and_then(|answer| answer.get("rewritten_question")?.as_str()).is_some();
    trace.head.question.as_deref().filter(|_| !is_rewritten)
}

/// What was useful is a case with what it rested on; what was not is one if somebody said what was expected.
pub(super) fn case(app: &App, caller: &Caller, record: &FeedbackRecord) -> Option<Value> {
    let question = record.question.as_ref()?;
    let mut case = json!({ "question": question });
    let fields = case.as_object_mut()?;
    match (record.useful, &record.expected) {
        (false, None) => return None,
        (_, Some(expected)) => drop(fields.insert("expected".into(), json!(expected))),
        (true, None) if record.abstained => drop(fields.insert("answerable".into(), json!(false))),
        (true, None) => {}
    }
    if record.useful && !record.abstained {
        let quotes: Vec<String> = record.evidence.iter().filter_map(|evidence| quote(app, caller, record, evidence)).collect();
        if quotes.is_empty() && record.expected.is_none() {
            return None;
        }
        fields.insert("evidence".into(), json!(quotes));
    }
    Some(case)
}

/// The text there, if the document is still the one that was cited.
fn quote(app: &App, caller: &Caller, record: &FeedbackRecord, evidence: &Evidence) -> Option<String> {
    let (collection, document) = find::document(app, caller, record.collection.as_str(), evidence.document.as_str()).ok()?;
    let served = document.served.as_ref().filter(|served| served.number == evidence.version)?;
    let text = app.catalog.text(&collection, served).ok()?;
    text.get(evidence.span.byte_start..evidence.span.byte_end).map(str::to_owned)
}

/// What the answer cited, by place, as far as it counts.
fn evidence(trace: &Trace, counts: impl Fn(&Value) -> bool) -> Vec<Evidence> {
    let listed = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let candidates = listed(trace.body.get("candidates"));
    let version_of = |chunk: &Value| {
        let found = candidates.iter().find(|candidate| candidate.get("chunk_id") == Some(chunk))?;
        u32::try_from(found.get("version")?.as_u64()?).ok()
    };
    let read = |citation: &Value| {
        let document: DocumentId = citation.get("document_id")?.as_str()?.parse().ok()?;
        let span: Span = serde_json::from_value(citation.get("span")?.clone()).ok()?;
        Some(Evidence { document, version: version_of(citation.get("chunk_id")?)?, span })
    };
    let citations = listed(trace.body.get("answer").and_then(|answer| answer.get("citations")));
    citations.iter().filter(|citation| counts(citation)).filter_map(read).collect()
}

/// What was said of the answer of a trace, by those whom the caller may see.
pub(super) fn of(app: &App, caller: &Caller, head: &Head) -> Vec<FeedbackRecord> {
    let found = app.catalog.feedback_of(&head.tenant, &head.collection, &head.trace_id);
    let found = found.inspect_err(|error| tracing::warn!(%error, "the feedback of a trace can't be read")).unwrap_or_default();
    found.into_iter().filter(|record| caller.may_see(&record.asker)).collect()
}

/// All that a caller may see, newest first.
pub(super) fn visible(app: &App, caller: &Caller, collection: Option<&str>) -> Result<Vec<FeedbackRecord>, ApiError> {
    let collection = collection.map(|name| find::collection(app, caller, name)).transpose()?.map(|record| record.id);
    let may_see = find::recall(app, caller);
    let mut records = app.catalog.feedback(&caller.tenant, collection.as_ref())?;
    records.retain(|record| may_see(&record.collection, &record.asker));
    records.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.trace.cmp(&b.trace)));
    Ok(records)
}

/// As a trace shows it.
pub(super) fn given(record: &FeedbackRecord) -> Value {
    json!({
        "useful": record.useful, "comment": record.comment, "expected": record.expected, "key_id": record.asker.key,
        "at": rfc3339(record.at),
    })
}

fn view(record: &FeedbackRecord) -> Value {
    let mut view = given(record);
    if let Some(fields) = view.as_object_mut() {
        fields.insert("of_trace".into(), json!(record.trace));
        fields.insert("collection_id".into(), json!(record.collection));
        fields.insert("question".into(), json!(record.question));
    }
    view
}
