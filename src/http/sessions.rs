//! `/v1/sessions`: conversations that the server remembers. A key sees its own, whoever manages the tenant all of them.

use super::collections::rfc3339;
use super::extract::{PageParams, Params};
use super::find;
use crate::app::{App, AppState};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::traces::{Session, SessionHead};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use corpus::{Account, DocumentId, SessionId};
use query::Turn;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Asks for a session of its own, which gets a name of ours.
const NEW: &str = "new";

/// Documents that turns which a question is told were answered from, beside those of the last one.
const TOLD_DOCUMENTS_MAX: usize = 256;

/// What was said before in the session that a question belongs to.
pub(super) struct Said {
    pub(super) id: String,
    pub(super) said: Vec<Turn>,
    /// What that was answered from.
    pub(super) documents: BTreeSet<DocumentId>,
}

/// The session of this name, which begins now if there is none.
pub(super) fn said(app: &App, caller: &Caller, named: Option<String>, account: &Account) -> Result<Option<Said>, ApiError> {
    let Some(id) = named else { return Ok(None) };
    let id = if id == NEW { SessionId::generate().to_string() } else { id };
    let kept = app.sessions.get(&caller.tenant, &caller.asker().key, &id).map_err(ApiError::internal)?;
    let Some(kept) = kept else { return Ok(Some(Said { id, said: Vec::new(), documents: BTreeSet::new() })) };
    if account.collection.as_deref() != Some(kept.head.collection.as_str()) {
        let detail = format!("the session {id:?} belongs to another collection: begin one of another name");
        return Err(ApiError::new(StatusCode::CONFLICT, "session_of_another_collection", detail));
    }
    let (said, documents) = told(app, caller, &kept);
    Ok(Some(Said { id, said, documents }))
}

/// The last turns, oldest first, of which the caller may still read everything that they rest on, and what they were
/// answered from: not what the turns that they were told were, or a conversation would never get rid of a document.
fn told(app: &App, caller: &Caller, session: &Session) -> (Vec<Turn>, BTreeSet<DocumentId>) {
    let may_read = find::reading(app, caller, &session.head.collection);
    let (mut said, mut documents) = (Vec::new(), BTreeSet::new());
    for kept in session.turns.iter().rev().filter(|kept| kept.rests_on().all(&may_read)) {
        let more = kept.documents.difference(&documents).count();
        if !said.is_empty() && documents.len() + more > TOLD_DOCUMENTS_MAX {
            break;
        }
        documents.extend(kept.documents.iter().cloned());
        said.push(kept.turn.clone());
    }
    said.reverse();
    (said, documents)
}

pub(crate) async fn list(State(app): State<AppState>, caller: Caller, Params(page): Params<PageParams>) -> Result<Json<Value>, ApiError> {
    let limit = page.limit()?;
    let after: usize = page.after()?.unwrap_or_default();
    let listed = app.blocking(move |app| {
        let may_see = find::recall(app, &caller);
        let heads = app.sessions.list(&caller.tenant, |head| may_see(&head.collection, &head.asker));
        let data: Vec<Value> = heads.iter().skip(after).take(limit).map(view).collect();
        let next = (heads.len() > after.saturating_add(limit)).then(|| (after + limit).to_string());
        Ok(json!({ "data": data, "next_cursor": next }))
    });
    Ok(Json(listed.await?))
}

pub(crate) async fn get(State(app): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let found = app.blocking(move |app| {
        let session = session(app, &caller, &id)?;
        let may_read = find::reading(app, &caller, &session.head.collection);
        let mut view = view(&session.head);
        let turns: Vec<Value> = session
            .turns
            .iter()
            .filter(|kept| kept.rests_on().all(&may_read))
            .map(|kept| {
                let Turn { question, rewritten, answer, abstained } = &kept.turn;
                json!({
                    "question": question, "rewritten_question": rewritten, "answer": answer, "abstained": abstained,
                    "trace_id": kept.trace_id, "at": rfc3339(kept.at),
                })
            })
            .collect();
        if let Some(view) = view.as_object_mut() {
            view.insert("messages".into(), json!(turns));
        }
        Ok(view)
    });
    Ok(Json(found.await?))
}

pub(crate) async fn delete(State(app): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let deleted = app.blocking(move |app| {
        let session = session(app, &caller, &id)?;
        let deleted = app.sessions.remove(&session.head).map_err(ApiError::internal)?;
        Ok(json!({ "id": session.head.id, "deleted": deleted }))
    });
    Ok(Json(deleted.await?))
}

/// The caller's own of this name, else the one of the tenant that it may see and that was used last.
fn session(app: &App, caller: &Caller, id: &str) -> Result<Session, ApiError> {
    let may_see = find::recall(app, caller);
    let mine = caller.asker().key;
    let heads = app.sessions.list(&caller.tenant, |head| head.id == id && may_see(&head.collection, &head.asker));
    let head = heads.iter().find(|head| head.asker.key == mine).or(heads.first());
    let not_found = || ApiError::not_found("session", id);
    let head = head.ok_or_else(not_found)?;
    app.sessions.get(&head.tenant, &head.asker.key, &head.id).map_err(ApiError::internal)?.ok_or_else(not_found)
}

fn view(head: &SessionHead) -> Value {
    json!({
        "id": head.id, "collection_id": head.collection, "key_id": head.asker.key, "turns": head.turns,
        "created_at": rfc3339(head.created_at), "used_at": rfc3339(head.used_at),
    })
}
