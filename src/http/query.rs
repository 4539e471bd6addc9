//! `POST /v1/collections/{c}/query`: an answer in one piece, or as server-sent events.

use super::cut_off::until_cut_off;
use super::extract::Body;
use super::search::source;
use super::sessions;
use super::told::Told;
use super::trace::RequestIds;
use crate::app::{App, AppState};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::traces::TraceKind;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use corpus::{TraceId, Waiter};
use futures::StreamExt;
use futures::stream::BoxStream;
use gateway::TokenUsage;
use query::{Answer, AnswerEvent, Asker, ChunkSource, Engine, InvalidQuery, QueryError, QueryRequest};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument;

pub(crate) async fn query(
    State(app): State<AppState>,
    caller: Caller,
    Extension(ids): Extension<RequestIds>,
    Path(collection): Path<String>,
    Body(request): Body<QueryRequest>,
) -> Result<Response, ApiError> {
    let turn = Turn::of(&app).await?;
    let (is_stream, asker) = (request.stream, caller.clone());
    let asked = Asked::of(caller, collection, TraceKind::Query, ids.trace.clone());
    let (events, session) = begin(&app, asked, request, turn).await?;
    if !is_stream {
        let answer = in_one_piece(events).await?;
        // The trace id is put in by the outermost layer.
        return Ok(Json(whole(&answer, None, session.as_deref())).into_response());
    }
    let request_id = ids.request.clone();
    let events = events.map(move |event| {
        let is_end = matches!(event, AnswerEvent::Done(_) | AnswerEvent::Error(_));
        (wire(event, &ids, session.as_deref()), is_end)
    });
    let last = move |code, detail| {
        let data = json!({ "code": code, "detail": detail, "request_id": request_id });
        Event::default().event("error").data(data.to_string())
    };
    let stream = until_cut_off(app, asker, events, last).map(Ok::<_, Infallible>);
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response())
}

/// Answers a question that nobody waits for, when there is room for it beside those that somebody does wait for.
pub(crate) async fn answer_quietly(
    app: &AppState,
    caller: &Caller,
    collection: &str,
    request: QueryRequest,
    kind: TraceKind,
) -> Result<(Value, TokenUsage), ApiError> {
    if request.session_id.is_some() {
        return Err(ApiError::bad_request("bad_query", "session_id: the questions of a batch have no order, so they make no conversation"));
    }
    let turn = Turn::quietly(app).await?;
    let asked = Asked::of(caller.clone(), collection.to_owned(), kind, TraceId::generate());
    let trace = asked.trace.clone();
    let (events, _) = begin(app, asked, request, turn).await?;
    let answer = in_one_piece(events).await?;
    Ok((whole(&answer, Some(&trace), None), answer.usage))
}

/// Answers a question of an earlier trace anew.
pub(super) async fn answer_again(app: &AppState, asked: Asked, request: QueryRequest) -> Result<Answer, ApiError> {
    let turn = Turn::of(app).await?;
    in_one_piece(begin(app, asked, request, turn).await?.0).await
}

/// Who asks what, for the answer and for its trace.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) caller: Caller,
    pub(super) collection: String,
    pub(super) kind: TraceKind,
    pub(super) trace: TraceId,
    pub(super) replays: Option<TraceId>,
}

impl Asked {
    pub(super) fn of(caller: Caller, collection: String, kind: TraceKind, trace: TraceId) -> Self {
        Self { caller, collection, kind, trace, replays: None }
    }
}

/// The events of an answer, and the session that it belongs to.
type Begun = (BoxStream<'static, AnswerEvent>, Option<String>);

async fn begin(app: &AppState, asked: Asked, mut request: QueryRequest, turn: Turn) -> Result<Begun, ApiError> {
    let Asked { caller, collection, .. } = asked.clone();
    // Goes with the client, and then what a provider of embeddings is asked ends.
    let waiter = Waiter::default();
    request.validate(app.engine.models())?;
    let named = request.session_id.take();
    let (source, session) = {
        let (caller, errand) = (caller.clone(), caller.errand(request.tags.clone(), Some(&waiter)));
        app.blocking(move |app| {
            let source = source(app, &caller, &collection, errand)?;
            let session = sessions::said(app, &caller, named, &source.errand().account)?;
            Ok((source, session))
        })
        .await?
    };
    let engine = Arc::clone(&app.engine);
    let asker = Asker { principals: caller.principals.clone(), account: Arc::clone(&source.errand().account) };
    if let Some(session) = &session {
        (request.session_id, request.turns) = (Some(session.id.clone()), session.said.clone());
    }
    let collection = asker.account.collection.as_deref().and_then(|id| id.parse().ok());
    let told = Told::new(&asked, collection, &request, session);
    let events = match answering(app, engine, source, request, asker, turn).await {
        Ok(events) => events,
        Err(error) => {
            told.note_failure(app, &error);
            return Err(error);
        }
    };
    let session = told.session_id();
    let (told, app) = (Arc::new(told), app.clone());
    let noted = events.then(move |event| {
        let (told, app) = (Arc::clone(&told), app.clone());
        async move {
            told.note(&app, &event).await;
            event
        }
    });
    Ok((noted.inspect(move |_| _ = &waiter).boxed(), session))
}

/// recall → expand → tell. What computes goes on to its end and keeps its turn, also if the client leaves; a model that
/// is asked before the search is not.
async fn answering(
    app: &AppState,
    engine: Arc<Engine>,
    source: Arc<dyn ChunkSource>,
    request: QueryRequest,
    asker: Asker,
    turn: Turn,
) -> Result<BoxStream<'static, AnswerEvent>, ApiError> {
    let (gate, looking) = (app.clone(), Arc::clone(&engine));
    let recall = async move {
        let recalled = looking.recall(source, request, asker).await?;
        let turn = if recalled.is_known() { turn } else { turn.before_the_model(&gate).await? };
        Ok((recalled, turn))
    };
    let (mut recalled, mut turn) = to_its_end(recall).await?;
    if recalled.asks_model() {
        (recalled, turn) = turn.lent_during(app, engine.expand(recalled)).await?;
    }
    let tell = async move {
        let is_computed = !recalled.is_known() && turn.model.is_none();
        Ok(turn.keep(engine.tell(recalled).await?, is_computed))
    };
    to_its_end(tell).await
}

/// In a task of its own.
async fn to_its_end<T: Send + 'static>(work: impl Future<Output = Result<T, ApiError>> + Send + 'static) -> Result<T, ApiError> {
    tokio::spawn(work.in_current_span()).await.unwrap_or_else(|error| Err(ApiError::internal(error)))
}

/// The right to answer one question.
struct Turn {
    /// Before the processors; given back when what is left is a model's or the client's time.
    compute: OwnedSemaphorePermit,
    /// Before the language model, if there is one.
    model: Option<OwnedSemaphorePermit>,
    /// Whether others go first.
    is_quiet: bool,
}

impl Turn {
    /// Before the processors; what was answered before needs no more.
    async fn of(app: &App) -> Result<Self, ApiError> {
        Ok(Self { compute: app.admission.queries.enter().await?, model: None, is_quiet: false })
    }

    /// Both, when others leave room.
    async fn quietly(app: &App) -> Result<Self, ApiError> {
        // The model first, so that nobody waits before the processors for one who waits for a model.
        let model = if app.engine.models().is_empty() { None } else { Some(app.admission.answers.enter_quietly().await?) };
        Ok(Self { compute: app.admission.queries.enter_quietly().await?, model, is_quiet: true })
    }

    /// Gives the place before the processors to others while this waits for a model, and takes another then.
    async fn lent_during<T>(self, app: &App, waiting: impl Future<Output = T>) -> Result<(T, Self), ApiError> {
        let Self { compute, model, is_quiet } = self;
        drop(compute);
        let done = waiting.await;
        let queries = &app.admission.queries;
        let compute = if is_quiet { queries.enter_quietly().await? } else { queries.enter().await? };
        Ok((done, Self { compute, model, is_quiet }))
    }

    /// A place before the model too, if there is one.
    async fn before_the_model(self, app: &App) -> Result<Self, ApiError> {
        if self.model.is_some() || app.engine.models().is_empty() {
            return Ok(self);
        }
        Ok(Self { model: Some(app.admission.answers.enter().await?), ..self })
    }

    /// The events, which hold the turn for as long as they need it.
    fn keep(self, events: BoxStream<'static, AnswerEvent>, is_computed: bool) -> BoxStream<'static, AnswerEvent> {
        let Self { compute, model, .. } = self;
        // With a model what is left is its time, or that of somebody else who asks it the same.
        let mut compute = is_computed.then_some(compute);
        let told = events.inspect(move |event| {
            // Held until the answer ends or is dropped.
            let _model = &model;
            // An extractive answer is computed before its first word.
            if !matches!(event, AnswerEvent::Sources(_)) {
                drop(compute.take());
            }
        });
        told.boxed()
    }
}

async fn in_one_piece(mut events: BoxStream<'static, AnswerEvent>) -> Result<Answer, ApiError> {
    while let Some(event) = events.next().await {
        match event {
            AnswerEvent::Done(answer) => return Ok(*answer),
            AnswerEvent::Error(error) => return Err(error.into()),
            _ => {}
        }
    }
    Err(ApiError::from(QueryError::Aborted))
}

fn whole(answer: &Answer, trace: Option<&TraceId>, session: Option<&str>) -> Value {
    let mut body = json!(answer);
    if let Some(fields) = body.as_object_mut() {
        fields.extend(trace.map(|trace| ("trace_id".to_owned(), json!(trace))));
        fields.extend(session.map(|session| ("session_id".to_owned(), json!(session))));
    }
    body
}

fn wire(event: AnswerEvent, ids: &RequestIds, session: Option<&str>) -> Event {
    let name = event.name();
    let data = match event {
        AnswerEvent::Sources(hits) => json!({ "sources": hits, "trace_id": ids.trace }),
        AnswerEvent::Delta(text) => json!({ "text": text }),
        AnswerEvent::Citation(citation) => json!(citation),
        AnswerEvent::Usage(usage) => json!(usage),
        AnswerEvent::Done(answer) => whole(&answer, Some(&ids.trace), session),
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
            QueryError::Refused(error) => error.into(),
            QueryError::Interrupted(cause) => Self {
                cause: Some(cause.to_string()),
                ..Self::new(StatusCode::BAD_GATEWAY, "answer_interrupted", "the model broke off in the middle of its answer")
            },
            QueryError::Injection { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "injection_refused", error.to_string()),
            QueryError::Aborted => Self::internal(error),
        }
    }
}

impl From<InvalidQuery> for ApiError {
    fn from(error: InvalidQuery) -> Self {
        Self::bad_request("bad_query", error.to_string())
    }
}
