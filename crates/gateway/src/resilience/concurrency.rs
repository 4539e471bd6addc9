//! A largest number of calls at a time; who finds no place waits a moment and is then shed.

use super::ending::told;
use crate::{ChatError, ChatModel, ChatReply, ChatRequest};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// What is told to who is shed: about the time of one answer.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// At most so many calls at once, streams included.
pub struct Concurrency {
    inner: Arc<dyn ChatModel>,
    places: Arc<Semaphore>,
    patience: Duration,
}

impl Concurrency {
    /// Around `inner`: `places` calls at a time, others wait for `patience`.
    #[must_use]
    pub fn new(inner: Arc<dyn ChatModel>, places: usize, patience: Duration) -> Self {
        Self { inner, places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))), patience }
    }
}

#[async_trait]
impl ChatModel for Concurrency {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn ready_in(&self) -> Duration {
        self.inner.ready_in()
    }

    fn is_full(&self) -> bool {
        self.places.available_permits() == 0
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatReply, ChatError> {
        let place = timeout(self.patience, Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            let reason = format!("{} has as many calls as it may have", self.inner.name());
            return Err(ChatError::Unavailable { reason, retry_after: Some(RETRY_AFTER) });
        };
        let reply = self.inner.chat(request).await?;
        Ok(ChatReply { events: told(reply.events, move |_| drop(place)), ..reply })
    }
}
