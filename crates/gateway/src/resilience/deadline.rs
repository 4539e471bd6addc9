//! An end to waiting, retries and other deployments included.

use crate::{ChatError, ChatModel, ChatReply, ChatRequest, ChatStream, Stage};
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Gives every call `limit`, to its last token.
pub struct Deadline {
    inner: Arc<dyn ChatModel>,
    limit: Duration,
}

impl Deadline {
    /// Around `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn ChatModel>, limit: Duration) -> Self {
        Self { inner, limit }
    }
}

#[async_trait]
impl ChatModel for Deadline {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn ready_in(&self) -> Duration {
        self.inner.ready_in()
    }

    async fn chat(&self, mut request: ChatRequest) -> Result<ChatReply, ChatError> {
        let ours = Instant::now() + self.limit;
        let deadline = request.deadline.map_or(ours, |theirs| theirs.min(ours));
        request.deadline = Some(deadline);
        let limit = self.limit;
        let late = move |_| ChatError::Timeout { stage: Stage::Total, limit };
        let reply = timeout_at(deadline, self.inner.chat(request)).await.map_err(late)??;
        Ok(ChatReply { events: until(reply.events, deadline, limit), ..reply })
    }
}

fn until(events: ChatStream, deadline: Instant, limit: Duration) -> ChatStream {
    let next = move |mut events: ChatStream| async move {
        let late = |_| ChatError::Timeout { stage: Stage::Total, limit };
        let event = timeout_at(deadline, events.try_next()).await.map_err(late)??;
        Ok(event.map(|event| (event, events)))
    };
    stream::try_unfold(events, next).boxed()
}
