//! Leaves a deployment alone for as long as it asked for (Retry-After), or as its refusal suggests: a wrong key does
//! not become right within the second.

use crate::{ChatError, ChatModel, ChatReply, ChatRequest, Verdict};
use async_trait::async_trait;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a deployment is taken out that refuses the key, the address or the account.
pub(super) const TAKEN_OUT: Duration = Duration::from_secs(60);

/// Until when one deployment is left alone.
pub(super) struct Pause {
    taken_out: Duration,
    until: Mutex<Option<Instant>>,
}

impl Pause {
    /// A refusal of the key, the address or the account takes a deployment out for so long.
    pub(super) fn new(taken_out: Duration) -> Self {
        Self { taken_out, until: Mutex::new(None) }
    }

    pub(super) fn left(&self) -> Duration {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    /// Whether `name` may be asked.
    ///
    /// # Errors
    /// [`ChatError::Unavailable`], with what is left of the pause.
    pub(super) fn check(&self, name: &str) -> Result<(), ChatError> {
        let left = self.left();
        if left.is_zero() { Ok(()) } else { Err(ChatError::Unavailable { reason: format!("{name} rests"), retry_after: Some(left) }) }
    }

    /// Never shortens a pause: of calls that were under way at once, one may say 401 and a later one 429.
    pub(super) fn heed(&self, error: &ChatError) {
        let rest = if error.verdict() == Verdict::TakenOut { Some(self.taken_out) } else { error.retry_after() };
        if let Some(rest) = rest {
            let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
            *until = (*until).max(Some(Instant::now() + rest));
        }
    }
}

/// Refuses calls during a rest.
pub struct Rest {
    inner: Arc<dyn ChatModel>,
    pause: Pause,
}

impl Rest {
    /// Around `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn ChatModel>) -> Self {
        Self { inner, pause: Pause::new(TAKEN_OUT) }
    }
}

#[async_trait]
impl ChatModel for Rest {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn ready_in(&self) -> Duration {
        self.inner.ready_in().max(self.pause.left())
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatReply, ChatError> {
        self.pause.check(self.inner.name())?;
        self.inner.chat(request).await.inspect_err(|error| {
            // That is our own breaker's word, which it says itself as long as it holds.
            if !matches!(error, ChatError::Unavailable { .. }) {
                self.pause.heed(error);
            }
        })
    }
}
