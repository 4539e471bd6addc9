//! `POST /v1/chat/completions`: the configured models, in OpenAI's protocol.

pub(super) mod estimate;
mod failure;
pub(crate) mod guarded;
mod heard;
mod wire;

use super::cut_off::until_cut_off;
use super::extract::{Body, Tags};
use super::problem::openai_body;
use super::trace::RequestIds;
use crate::app::{App, AppState};
use crate::auth::Caller;
use crate::error::ApiError;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use corpus::TraceId;
use futures::{Stream, StreamExt, stream};
use gateway::telemetry::{DEPLOYMENT, RESPONSE_MODEL, RUNGS_GIVEN_UP, TRIES_FAILED, request_span};
use gateway::{Account, ChatError, ChatEvent, ChatModel, ChatReply, ChatRequest, ChatStream, Route, TokenUsage};
use guarded::{Guarded, sealed, with_guards};
pub(super) use heard::Heard;
use query::{GuardParams, SealedChat};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument;
pub(crate) use wire::Asked;
use wire::{Head, delta, finish_reason};

pub(crate) async fn completions(
    State(app): State<AppState>,
    caller: Caller,
    Extension(ids): Extension<RequestIds>,
    Tags(tags): Tags,
    Body(asked): Body<Asked>,
) -> Result<Response, ApiError> {
    let (model, is_stream, wants_usage) = (asked.model.clone(), asked.is_stream(), asked.wants_usage());
    let answering = ask(&app, caller.account(tags), &model, asked.request()?).await?;
    let head = Head { id: format!("chatcmpl-{}", ids.trace), created: now_s(), model: answering.route.model.clone() };
    if is_stream {
        let last = |code, detail: &str| data(&openai_body(&ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)));
        let chunks = until_cut_off(app, caller, chunks(head, answering, wants_usage), last).map(Ok::<_, Infallible>);
        return Ok(Sse::new(chunks).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response());
    }
    Ok(Json(whole(&head, answering).await?.0).into_response())
}

/// An answer in one piece, with how it came about and what was used for it.
async fn whole(head: &Head, answering: Answering) -> Result<(Value, TokenUsage), ApiError> {
    let Answering { route, events, guards, turn: _turn } = answering;
    let heard = in_one_piece(events, guards).await?;
    Ok((with_guards(with_route(head.completion(&heard), &route), &heard.guards), heard.usage))
}

/// Says how an answer came about.
pub(super) fn with_route(mut answer: Value, route: &Route) -> Value {
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("route".to_owned(), json!(route));
    }
    answer
}

/// An answer that has begun.
pub(super) struct Answering {
    pub(super) route: Route,
    pub(super) events: ChatStream,
    pub(super) guards: Guarded,
    /// To be held until the answer is over.
    pub(super) turn: OwnedSemaphorePermit,
}

/// Asks the model of this name on this account.
pub(super) async fn ask(app: &AppState, account: Account, name: &str, request: ChatRequest) -> Result<Answering, ApiError> {
    let model = model(app, name)?;
    let turn = app.admission.answers.enter().await?;
    let (request, sealed) = sealed(app, app.config.guards.chat_params(), request).await?;
    ask_in_turn(model, account, request, &sealed, turn).await
}

/// A completion that nobody waits for, when there is room for it beside those that somebody does wait for.
pub(crate) async fn complete_quietly(app: &AppState, account: Account, asked: Asked) -> Result<(Value, TokenUsage), ApiError> {
    ask_quietly(app, account, asked, app.config.guards.chat_params()).await
}

/// The same for what the server itself asks.
pub(crate) async fn judge_quietly(app: &AppState, account: Account, asked: Asked) -> Result<(Value, TokenUsage), ApiError> {
    ask_quietly(app, account, asked, app.config.guards.own_params()).await
}

async fn ask_quietly(app: &AppState, account: Account, asked: Asked, guards: GuardParams) -> Result<(Value, TokenUsage), ApiError> {
    let model = model(app, &asked.model)?;
    let request = asked.request()?;
    let turn = app.admission.answers.enter_quietly().await?;
    let (request, sealed) = sealed(app, guards, request).await?;
    let answering = ask_in_turn(model, account, request, &sealed, turn).await?;
    let head = Head { id: format!("chatcmpl-{}", TraceId::generate()), created: now_s(), model: answering.route.model.clone() };
    whole(&head, answering).await
}

async fn ask_in_turn(
    model: Arc<dyn ChatModel>,
    account: Account,
    request: ChatRequest,
    sealed: &SealedChat,
    turn: OwnedSemaphorePermit,
) -> Result<Answering, ApiError> {
    let request = ChatRequest { account: Arc::new(account), ..request };
    let span = request_span(model.name());
    let ChatReply { route, events } = model.chat(request).instrument(span.clone()).await?;
    span.record(DEPLOYMENT, &route.deployment).record(RESPONSE_MODEL, &route.model);
    span.record(TRIES_FAILED, route.failed.len()).record(RUNGS_GIVEN_UP, route.rungs_down);
    tracing::info!(parent: &span, "a model answers");
    Ok(Answering { route, events, guards: Guarded::new(sealed), turn })
}

/// The model of this name.
pub(super) fn model(app: &App, name: &str) -> Result<Arc<dyn ChatModel>, ApiError> {
    let models = app.engine.models();
    models.get(Some(name)).cloned().ok_or_else(|| {
        let names: Vec<&str> = models.names().collect();
        let detail = match names.is_empty() {
            true => "no language model is configured; see [llm] of the configuration".to_owned(),
            false => format!("there is no model {name:?}; there are {}", names.join(", ")),
        };
        ApiError::new(StatusCode::NOT_FOUND, "model_not_found", detail)
    })
}

fn now_s() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}

/// The whole of an answer.
pub(super) async fn in_one_piece(mut events: ChatStream, mut guards: Guarded) -> Result<Heard, ApiError> {
    let mut heard = Heard::nothing();
    while let Some(event) = events.next().await {
        if !guards.take(event?).all(|event| heard.take(event)) {
            return Err(ChatError::TooLarge { what: "the answer", bytes_max: heard::HEARD_BYTES_MAX }.into());
        }
    }
    heard.guards = guards.asked.into_iter().chain(guards.said).collect();
    Ok(heard)
}

/// The events of an answer as chunks, each with whether it is the last; that is an error, or says that it is done.
fn chunks(head: Head, answering: Answering, wants_usage: bool) -> impl Stream<Item = (Event, bool)> {
    let Answering { route, events, guards, turn } = answering;
    let role = with_route(head.chunk(&json!({ "role": "assistant", "content": "" }), None), &route);
    let role = with_guards(role, &guards.asked);
    let mut telling = Telling { head, guards, wants_usage, usage: None };
    let told = events.flat_map(move |event| {
        // Held until the stream ends or is dropped.
        let _turn = &turn;
        stream::iter(telling.hear(event))
    });
    stream::once(std::future::ready((data(&role), false))).chain(told)
}

struct Telling {
    head: Head,
    guards: Guarded,
    wants_usage: bool,
    /// Comes before the end, and is told after it.
    usage: Option<TokenUsage>,
}

impl Telling {
    fn hear(&mut self, event: Result<ChatEvent, ChatError>) -> Vec<(Event, bool)> {
        match event {
            Ok(event) => self.guards.take(event).flat_map(|event| self.tell(event)).collect(),
            Err(error) => vec![(data(&openai_body(&error.into())), true)],
        }
    }

    fn tell(&mut self, event: ChatEvent) -> Vec<(Event, bool)> {
        match event {
            ChatEvent::Usage(usage) => {
                self.usage = Some(usage);
                Vec::new()
            }
            ChatEvent::Done { finish_reason: reason } => {
                let end = with_guards(self.head.chunk(&json!({}), Some(finish_reason(&reason))), &self.guards.said);
                let usage = self.usage.filter(|_| self.wants_usage).map(|usage| self.head.usage_chunk(usage));
                let told = [Some(end), usage].into_iter().flatten().map(|chunk| (data(&chunk), false));
                told.chain([(Event::default().data("[DONE]"), true)]).collect()
            }
            event => delta(&event).map(|delta| (data(&self.head.chunk(&delta, None)), false)).into_iter().collect(),
        }
    }
}

fn data(value: &Value) -> Event {
    Event::default().data(value.to_string())
}
