//! Takes the tokens of every call of a model from what its key and its tenant may spend in a minute.

use super::{Limits, Reservation};
use async_trait::async_trait;
use futures::StreamExt;
use gateway::{ChatError, ChatEvent, ChatModel, ChatReply, ChatRequest, estimate_tokens};
use std::sync::Arc;
use std::time::Duration;

/// Around a model, whatever it is made of: retries and other deployments cost the caller nothing.
pub(crate) struct TokenLimit {
    inner: Arc<dyn ChatModel>,
    limits: Arc<Limits>,
}

impl TokenLimit {
    pub(crate) fn new(inner: Arc<dyn ChatModel>, limits: Arc<Limits>) -> Self {
        Self { inner, limits }
    }
}

#[async_trait]
impl ChatModel for TokenLimit {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn ready_in(&self) -> Duration {
        self.inner.ready_in()
    }

    fn is_full(&self) -> bool {
        self.inner.is_full()
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatReply, ChatError> {
        let reserved = self.limits.reserve(&request.account, request.tokens_most()).await;
        let mut reservation = reserved.map_err(|retry_after| ChatError::OverLimit { retry_after })?;
        let (read, most, unheard) = (request.prompt_tokens(), request.tokens_most(), request.unheard.clone());
        // Whoever leaves before the first word has had it read.
        reservation.set_used(read);
        let reply = self.inner.chat(request).await.inspect_err(|error| {
            // What tries that failed have used is not given back, nor what may have been read when the time was over;
            // retries cost no more than was reserved.
            let sent = if error.was_sent() { read } else { 0 };
            reservation.set_used(unheard.tokens().max(sent).min(most));
        })?;
        let mut told = false;
        // Goes with the stream: settled at its end, or when nobody wants to hear the rest.
        let events = reply.events.inspect(move |event| note(event, &mut reservation, &mut told));
        Ok(ChatReply { events: events.boxed(), ..reply })
    }
}

/// What the provider tells counts; until then what was heard, by a rough count.
fn note(event: &Result<ChatEvent, ChatError>, reservation: &mut Reservation, told: &mut bool) {
    match event {
        Ok(ChatEvent::Usage(usage)) => {
            *told = true;
            reservation.set_used(usage.prompt_tokens.saturating_add(usage.completion_tokens));
        }
        Ok(ChatEvent::Delta(text)) if !*told => reservation.add_used(estimate_tokens(text)),
        Ok(ChatEvent::ToolCall(call)) if !*told => reservation.add_used(estimate_tokens(&call.arguments)),
        Ok(_) | Err(_) => {}
    }
}
