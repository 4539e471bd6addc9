//! A largest number of calls at a time; who finds no place waits a moment and is then shed.

use super::ending::told;
use crate::{ChatError, ChatModel, ChatReply, ChatRequest};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// What is told to who is shed: about the time of one answer.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Places for the calls of one deployment.
pub(super) struct Places {
    free: Arc<Semaphore>,
    patience: Duration,
}

impl Places {
    pub(super) fn new(places: usize, patience: Duration) -> Self {
        Self { free: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))), patience }
    }

    fn is_full(&self) -> bool {
        self.free.available_permits() == 0
    }

    /// A place for a call of `name`.
    ///
    /// # Errors
    /// [`ChatError::Unavailable`], after the time that a call waits.
    pub(super) async fn enter(&self, name: &str) -> Result<OwnedSemaphorePermit, ChatError> {
        let place = timeout(self.patience, Arc::clone(&self.free).acquire_owned()).await;
        let reason = || format!("{name} has as many calls as it may have");
        place.ok().and_then(Result::ok).ok_or_else(|| ChatError::Unavailable { reason: reason(), retry_after: Some(RETRY_AFTER) })
    }
}

/// At most so many calls at once, streams included.
pub struct Concurrency {
    inner: Arc<dyn ChatModel>,
    places: Places,
}

impl Concurrency {
    /// Around `inner`: `places` calls at a time, others wait for `patience`.
    #[must_use]
    pub fn new(inner: Arc<dyn ChatModel>, places: usize, patience: Duration) -> Self {
        Self { inner, places: Places::new(places, patience) }
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
        self.places.is_full()
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatReply, ChatError> {
        let place = self.places.enter(self.inner.name()).await?;
        let reply = self.inner.chat(request).await?;
        Ok(ChatReply { events: told(reply.events, move |_| drop(place)), ..reply })
    }
}
