//! What is remembered of a question that was answered: its trace, and its turn in a session.

use super::query::Asked;
use crate::app::{App, AppState};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::traces::{Draft, NewTurn, Outcome, TraceKind};
use corpus::{Account, CollectionId, TraceId};
use query::{Answer, AnswerEvent, Found, QueryError, QueryRequest, SearchRequest, SearchResponse, Turn};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use time::OffsetDateTime;

/// A question under way.
pub(super) struct Told {
    asked: Asked,
    collection: Option<CollectionId>,
    at: OffsetDateTime,
    question: String,
    settings: Value,
    session: Option<super::sessions::Said>,
}

impl Told {
    pub(super) fn new(
        asked: &Asked,
        collection: Option<CollectionId>,
        request: &QueryRequest,
        session: Option<super::sessions::Said>,
    ) -> Self {
        let QueryRequest { question, top_k, mode, stream, model, filter, rerank, neighbours, cache, .. } = request;
        let QueryRequest { compression_share, max_context_tokens, rewrite, expand, tags, .. } = request;
        let settings = json!({
            "top_k": top_k, "mode": format!("{mode:?}").to_lowercase(), "stream": stream, "model": model, "filter": filter,
            "rerank": rerank, "neighbours": neighbours,
            "cache": format!("{cache:?}").to_lowercase(), "compression_share": compression_share,
            "max_context_tokens": max_context_tokens, "rewrite": rewrite,
            "expand": expand, "tags": tags,
        });
        Self { asked: asked.clone(), collection, at: OffsetDateTime::now_utc(), question: question.clone(), settings, session }
    }

    pub(super) fn session_id(&self) -> Option<String> {
        self.session.as_ref().map(|session| session.id.clone())
    }

    /// Notes the end of an answer: the turn before anybody hears of it, so that the next question finds it.
    pub(super) async fn note(&self, app: &AppState, event: &AnswerEvent) {
        match event {
            AnswerEvent::Done(answer) => {
                self.remember(app, answer).await;
                self.keep(app, || Outcome::Answered(answer.clone()));
            }
            AnswerEvent::Error(error) => {
                let detail = match error {
                    QueryError::Refused(error) => error.to_string(),
                    QueryError::Interrupted(_) => "the model broke off in the middle of its answer".to_owned(),
                    _ => "the log has the reason under this trace id".to_owned(),
                };
                self.keep(app, || Outcome::Failed { code: "answer_failed", detail });
            }
            _ => {}
        }
    }

    /// Notes that it was not begun to be answered.
    pub(super) fn note_failure(&self, app: &App, error: &ApiError) {
        self.keep(app, || Outcome::Failed { code: error.code, detail: error.detail.clone() });
    }

    fn keep(&self, app: &App, outcome: impl FnOnce() -> Outcome) {
        let (asked, Some(collection)) = (&self.asked, &self.collection) else { return };
        if !app.traces.wants(&asked.trace, asked.kind) {
            return;
        }
        app.traces.keep(Draft {
            trace: asked.trace.clone(),
            kind: asked.kind,
            tenant: asked.caller.tenant.clone(),
            asker: asked.caller.asker(),
            collection: collection.clone(),
            at: self.at,
            question: Some(self.question.clone()),
            session: self.session_id(),
            replays: asked.replays.clone(),
            settings: self.settings.clone(),
            before: self.session.as_ref().map(|session| session.documents.clone()).unwrap_or_default(),
            outcome: outcome(),
        });
    }

    async fn remember(&self, app: &AppState, answer: &Answer) {
        let (Some(session), Some(collection)) = (&self.session, self.collection.clone()) else { return };
        let documents: BTreeSet<_> = answer.sources.iter().map(|hit| hit.document_id.clone()).collect();
        // A question that leans on an answer may repeat its words.
        let leans = answer.rewritten_question.is_some() || answer.model.is_some();
        let leans_on = if leans { session.documents.clone() } else { BTreeSet::new() };
        let turn = Turn {
            question: self.question.clone(),
            rewritten: answer.rewritten_question.clone(),
            answer: answer.answer.clone(),
            abstained: answer.abstained,
        };
        let new = NewTurn {
            session: session.id.clone(),
            tenant: self.asked.caller.tenant.clone(),
            asker: self.asked.caller.asker(),
            collection,
            trace: self.asked.trace.clone(),
            turn,
            documents,
            leans_on,
        };
        let kept = app.blocking(move |app| app.sessions.append(new).map_err(ApiError::internal));
        if let Err(error) = kept.await {
            tracing::warn!(cause = error.cause, "a turn of a session can't be kept");
        }
    }
}

/// Keeps a search, if it is one of those that are kept.
pub(super) fn note_search(app: &App, caller: &Caller, trace: TraceId, account: &Account, request: &SearchRequest, found: &SearchResponse) {
    let Some(collection) = account.collection.as_deref().and_then(|id| id.parse().ok()) else { return };
    if !app.traces.wants(&trace, TraceKind::Search) {
        return;
    }
    let SearchRequest { query, top_k, mode, filter, rerank, min_score, neighbours, ef, exact, .. } = request;
    let settings = json!({
        "top_k": top_k, "mode": format!("{mode:?}").to_lowercase(), "filter": filter, "rerank": rerank,
        "min_score": min_score, "neighbours": neighbours, "ef": ef, "exact": exact,
    });
    let hits = found.hits.iter().map(Found::of).collect();
    app.traces.keep(Draft {
        trace,
        kind: TraceKind::Search,
        tenant: caller.tenant.clone(),
        asker: caller.asker(),
        collection,
        at: OffsetDateTime::now_utc(),
        question: query.clone(),
        session: None,
        replays: None,
        settings,
        before: BTreeSet::new(),
        outcome: Outcome::Found { hits, explain: found.explain.clone(), timings: found.timings_ms.clone() },
    });
}
