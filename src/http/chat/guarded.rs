//! The guards before and behind a chat that is passed on to a model.

use crate::app::AppState;
use crate::error::ApiError;
use gateway::{ChatEvent, ChatMessage, ChatRequest};
use query::{GuardDecision, GuardParams, OpenedChat, QueryError, SealedChat};
use serde::Serialize;
use serde_json::{Value, json};

/// Texts of more bytes are read off the async threads.
const READ_HERE_BYTES_MAX: usize = 16 * 1024;

/// The request as a provider may read it.
pub(crate) async fn sealed(app: &AppState, params: GuardParams, mut request: ChatRequest) -> Result<(ChatRequest, SealedChat), ApiError> {
    let is_long = bytes_of(&request) > READ_HERE_BYTES_MAX;
    let seal = move || match params.seal(&mut request) {
        Ok(sealed) => Ok((request, sealed)),
        Err(refused) => Err(ApiError::from(QueryError::from(refused))),
    };
    let (request, sealed) = if is_long { app.blocking(move |_| seal()).await? } else { seal()? };
    note(sealed.decisions());
    Ok((request, sealed))
}

fn bytes_of(request: &ChatRequest) -> usize {
    let calls = |message: &ChatMessage| message.tool_calls.iter().map(|call| call.arguments.len()).sum::<usize>();
    request.messages.iter().map(|message| message.content.text().len() + calls(message)).sum()
}

/// Counts decisions, and tells the log of them.
pub(crate) fn note(decisions: &[GuardDecision]) {
    for decision in decisions {
        let GuardDecision { guard, stage, action, score, rules, kinds, count, .. } = decision;
        let labels = [("guard", word(guard)), ("stage", word(stage)), ("action", word(action))];
        metrics::counter!("ragstone_guard_decisions_total", &labels).increment(1);
        tracing::info!(?guard, ?stage, ?action, score, ?rules, ?kinds, count, "a guard decided");
    }
}

fn word(name: &impl Serialize) -> String {
    json!(name).as_str().unwrap_or_default().to_owned()
}

/// What the guards do with an answer, and what they decided.
pub(in crate::http) struct Guarded {
    /// Before the model was asked.
    pub(in crate::http) asked: Vec<GuardDecision>,
    /// About what it said; there once it has ended.
    pub(in crate::http) said: Option<GuardDecision>,
    opened: OpenedChat,
}

impl Guarded {
    pub(super) fn new(sealed: &SealedChat) -> Self {
        Self { asked: sealed.decisions().to_vec(), said: None, opened: sealed.opened() }
    }

    /// What can be told after this event.
    pub(in crate::http) fn take(&mut self, event: ChatEvent) -> impl Iterator<Item = ChatEvent> + use<> {
        let is_end = matches!(event, ChatEvent::Done { .. });
        let events = self.opened.take(event);
        if is_end {
            self.said = self.opened.decision();
            note(self.said.as_slice());
        }
        events.into_iter().flatten()
    }
}

/// An answer that says what was decided, if anything was.
pub(crate) fn with_guards<'d>(mut answer: Value, decisions: impl IntoIterator<Item = &'d GuardDecision>) -> Value {
    let decisions: Vec<&GuardDecision> = decisions.into_iter().collect();
    if let Some(fields) = answer.as_object_mut().filter(|_| !decisions.is_empty()) {
        fields.insert("guards".to_owned(), json!(decisions));
    }
    answer
}
