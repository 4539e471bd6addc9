//! `POST /v1/messages`: the configured models, in Anthropic's protocol.

mod asked;
mod told;

use super::chat::guarded::{Guarded, with_guards};
use super::chat::{Answering, ask, in_one_piece, with_route};
use super::cut_off::until_cut_off;
use super::extract::{Body, Tags};
use super::trace::RequestIds;
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::ApiError;
use asked::Asked;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::{Stream, StreamExt, stream};
use gateway::{ChatError, ChatEvent};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::time::Duration;
pub(super) use told::anthropic_body;
use told::{Head, Telling, Told};

pub(crate) async fn create(
    State(app): State<AppState>,
    caller: Caller,
    Extension(ids): Extension<RequestIds>,
    Tags(tags): Tags,
    Body(asked): Body<Asked>,
) -> Result<Response, ApiError> {
    let (model, is_stream) = (asked.model.clone(), asked.is_stream());
    let request = asked.request()?;
    let prompt_tokens = request.prompt_tokens();
    let answering = ask(&app, caller.account(tags), &model, request).await?;
    let head = Head { id: format!("msg_{}", ids.trace), model: answering.route.model.clone() };
    if is_stream {
        let telling = Telling::new(head, prompt_tokens);
        let request_id = ids.request.clone();
        let last = move |code, detail: &str| error_event(&ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, detail), &request_id);
        let events = until_cut_off(app, caller, events_of(telling, answering, ids.request), last).map(Ok::<_, Infallible>);
        let ping = KeepAlive::new().interval(Duration::from_secs(15)).event(event("ping", &json!({ "type": "ping" })));
        return Ok(Sse::new(events).keep_alive(ping).into_response());
    }
    let Answering { route, events, guards, turn: _turn } = answering;
    let heard = in_one_piece(events, guards).await?;
    Ok(Json(with_guards(with_route(head.message(&heard)?, &route), &heard.guards)).into_response())
}

/// `POST /v1/messages/count_tokens`: how many tokens a request has, without asking anybody: as the deployment counts that
/// is meant first, where its tokenizer is known, else about.
pub(crate) async fn count_tokens(State(app): State<AppState>, Body(asked): Body<Asked>) -> Result<Json<Value>, ApiError> {
    let name = asked.model.clone();
    let mut prompt = asked.prompt()?;
    let counted = app.blocking(move |app| {
        app.config.guards.chat_params().redact_chat(&mut prompt);
        super::chat::model(app, &name)?;
        let meter = app.spend.meters.get(&name).and_then(|meters| meters.first());
        Ok(meter.map_or_else(|| prompt.prompt_tokens(), |meter| meter.prompt_tokens(&prompt)))
    });
    Ok(Json(json!({ "input_tokens": counted.await? })))
}

/// The events of an answer, each with whether it is the last.
fn events_of(mut telling: Telling, answering: Answering, request_id: String) -> impl Stream<Item = (Event, bool)> {
    let Answering { route, events, mut guards, turn } = answering;
    let begin = telling.begin(&route, &guards.asked).map(|told| (sse(&told), false));
    let told = events.flat_map(move |event| {
        // Held until the stream ends or is dropped.
        let _turn = &turn;
        stream::iter(match event.and_then(|event| tell(&mut telling, &mut guards, event)) {
            Ok(told) => told.iter().map(|told| (sse(told), told.0 == "message_stop")).collect(),
            Err(error) => vec![(error_event(&error.into(), &request_id), true)],
        })
    });
    stream::iter(begin).chain(told)
}

fn tell(telling: &mut Telling, guards: &mut Guarded, event: ChatEvent) -> Result<Vec<Told>, ChatError> {
    let mut told = Vec::new();
    for event in guards.take(event) {
        told.extend(telling.tell(event, guards.said.as_ref())?);
    }
    Ok(told)
}

fn sse((name, data): &Told) -> Event {
    event(name, data)
}

fn event(name: &str, data: &Value) -> Event {
    Event::default().event(name).data(data.to_string())
}

fn error_event(error: &ApiError, request_id: &str) -> Event {
    event("error", &anthropic_body(error, request_id))
}
