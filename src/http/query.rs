//! `POST /v1/collections/{c}/query`: an answer in one piece, or as server-sent events.

use super::extract::Body;
use super::problem::RequestIds;
use super::search::source;
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::ApiError;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use corpus::TraceId;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use query::{Answer, AnswerEvent, InvalidQuery, QueryError, QueryRequest};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(crate) async fn query(
    State(app): State<AppState>,
    caller: Caller,
    Extension(ids): Extension<RequestIds>,
    Path(collection): Path<String>,
    Body(request): Body<QueryRequest>,
) -> Result<Response, ApiError> {
    let source = {
        let caller = caller.clone();
        app.blocking(move |app| source(app, &caller, &collection)).await?
    };
    if !request.stream {
        let answer = app.engine.answer(source, request, caller.principals).await?;
        return Ok(Json(answer).into_response());
    }
    let events = app.engine.answer_stream(source, request, caller.principals).await?;
    let stream = until_stopped(&app, events, ids).map(Ok::<_, Infallible>);
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response())
}

/// The events, cut off with a last one when the server shuts down.
fn until_stopped(app: &AppState, events: BoxStream<'static, AnswerEvent>, ids: RequestIds) -> impl Stream<Item = Event> + use<> {
    let is_over = Arc::new(AtomicBool::new(false));
    let (ended, request_id) = (Arc::clone(&is_over), ids.request.clone());
    let told = events.map(move |event| {
        ended.fetch_or(matches!(event, AnswerEvent::Done(_) | AnswerEvent::Error(_)), Ordering::Relaxed);
        wire(event, &ids)
    });
    let last = async move {
        let data = json!({ "code": "shutting_down", "detail": "the server is shutting down", "request_id": request_id });
        (!is_over.load(Ordering::Relaxed)).then(|| Event::default().event("error").data(data.to_string()))
    };
    told.take_until(app.stopped()).chain(futures::stream::once(last).filter_map(std::future::ready))
}

fn whole(answer: &Answer, trace: &TraceId) -> Value {
    let mut body = json!(answer);
    if let Some(fields) = body.as_object_mut() {
        fields.insert("trace_id".into(), json!(trace));
    }
    body
}

fn wire(event: AnswerEvent, ids: &RequestIds) -> Event {
    let name = event.name();
    let data = match event {
        AnswerEvent::Sources(hits) => json!({ "sources": hits, "trace_id": ids.trace }),
        AnswerEvent::Delta(text) => json!({ "text": text }),
        AnswerEvent::Citation(citation) => json!(citation),
        AnswerEvent::Usage(usage) => json!(usage),
        AnswerEvent::Done(answer) => whole(&answer, &ids.trace),
        AnswerEvent::Error(error) => {
            let error = ApiError::from(error);
            json!({ "code": error.code, "detail": error.detail, "request_id": ids.request })
        }
    };
    Event::default().event(name).data(data.to_string())
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Invalid(error) => error.into(),
            QueryError::Search(error) => error.into(),
            QueryError::Embed(error) => error.into(),
            QueryError::Interrupted(cause) => Self {
                cause: Some(cause.to_string()),
                ..Self::new(StatusCode::BAD_GATEWAY, "answer_interrupted", "the model broke off in the middle of its answer")
            },
            QueryError::Aborted => Self::internal(error),
        }
    }
}

impl From<InvalidQuery> for ApiError {
    fn from(error: InvalidQuery) -> Self {
        Self::bad_request("bad_query", error.to_string())
    }
}
