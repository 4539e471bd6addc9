//! Asks a second time when the first token is slow, and takes whoever speaks first. Costs money: off by default.

use crate::{ChatError, ChatModel, ChatReply, ChatRequest};
use async_trait::async_trait;
use futures::future::{Either, select};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Two calls where one is slow. The slower one is cancelled.
pub struct Hedge {
    inner: Arc<dyn ChatModel>,
    after: Duration,
}

impl Hedge {
    /// Around `inner`: the second call begins when the first has said nothing for `after`.
    #[must_use]
    pub fn new(inner: Arc<dyn ChatModel>, after: Duration) -> Self {
        Self { inner, after }
    }
}

#[async_trait]
impl ChatModel for Hedge {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn ready_in(&self) -> Duration {
        self.inner.ready_in()
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatReply, ChatError> {
        let first = pin!(self.inner.chat(request.clone()));
        let slow = pin!(sleep(self.after));
        let first = match select(first, slow).await {
            Either::Left((outcome, _)) => return outcome,
            Either::Right(((), first)) => first,
        };
        let second = pin!(self.inner.chat(request));
        // A failure of one is no answer while the other may give one.
        match select(first, second).await {
            Either::Left((Ok(reply), _)) | Either::Right((Ok(reply), _)) => Ok(reply),
            Either::Left((Err(_), second)) => second.await,
            Either::Right((Err(_), first)) => first.await,
        }
    }
}
