//! An answer as it comes in: bytes in, events out, every wait limited.

use super::Timeouts;
use super::wire::{self, Said};
use crate::sse::SseDecoder;
use crate::{ChatError, ChatEvent, ChatStream, FinishReason, Stage, TokenUsage};
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Largest answer that is read.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Largest answer in one piece of JSON.
const JSON_BYTES_MAX: usize = 4 * 1024 * 1024;

/// When to stop waiting. Only tokens (thoughts included) count as progress: a server that sends keep-alive comments
/// or one byte a second still runs out of time.
pub(crate) struct Clock {
    timeouts: Timeouts,
    started: Instant,
    waiting_since: Instant,
    stage: Stage,
}

impl Clock {
    pub(crate) fn start(timeouts: Timeouts) -> Self {
        let now = Instant::now();
        Self { timeouts, started: now, waiting_since: now, stage: Stage::FirstToken }
    }

    /// Waits for `future`, but no longer than the stage and the whole answer may take.
    pub(crate) async fn limit<T>(&self, future: impl Future<Output = T>) -> Result<T, ChatError> {
        let limit = if self.stage == Stage::FirstToken { self.timeouts.first_token } else { self.timeouts.between_chunks };
        let of_stage = self.waiting_since + limit;
        let of_total = self.started + self.timeouts.total;
        let (deadline, stage, limit) =
            if of_stage <= of_total { (of_stage, self.stage, limit) } else { (of_total, Stage::Total, self.timeouts.total) };
        timeout_at(deadline, future).await.map_err(|_| timeout(stage, limit))
    }

    fn progress(&mut self) {
        self.stage = Stage::BetweenChunks;
        self.waiting_since = Instant::now();
    }
}

fn timeout(stage: Stage, limit: Duration) -> ChatError {
    ChatError::Timeout { stage, limit }
}

/// How the body is written.
pub(crate) enum Format {
    /// Server-sent events, as asked for.
    Events,
    /// One JSON text: servers that ignore `stream`.
    Json,
}

enum Body {
    Events(SseDecoder),
    Json(Vec<u8>),
}

/// An answer under way.
struct Reply {
    bytes: BoxStream<'static, Result<Bytes, ChatError>>,
    bytes_read: usize,
    body: Body,
    clock: Clock,
    ready: VecDeque<ChatEvent>,
    usage: Option<TokenUsage>,
    finish_reason: Option<FinishReason>,
    is_over: bool,
}

/// The events in `bytes`, once the first of them is there; so that, as the seam demands, whatever
/// fails before the first token fails here.
pub(crate) async fn events(
    bytes: BoxStream<'static, Result<Bytes, ChatError>>,
    format: Format,
    clock: Clock,
) -> Result<ChatStream, ChatError> {
    let body = match format {
        Format::Events => Body::Events(SseDecoder::default()),
        Format::Json => Body::Json(Vec::new()),
    };
    let ready = VecDeque::new();
    let mut reply = Reply { bytes, bytes_read: 0, body, clock, ready, usage: None, finish_reason: None, is_over: false };
    let first = reply.next().await?;
    let rest = stream::try_unfold(reply, |mut reply| async move {
        reply.clock.progress();
        Ok(reply.next().await?.map(|event| (event, reply)))
    });
    Ok(stream::iter(first.map(Ok)).chain(rest.into_stream()).boxed())
}

impl Reply {
    async fn next(&mut self) -> Result<Option<ChatEvent>, ChatError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if self.is_over {
                return Ok(None);
            }
            match self.clock.limit(self.bytes.next()).await? {
                Some(bytes) => self.accept(&bytes?)?,
                None => self.close()?,
            }
        }
    }

    fn accept(&mut self, bytes: &[u8]) -> Result<(), ChatError> {
        self.bytes_read += bytes.len();
        if self.bytes_read > BODY_BYTES_MAX {
            return Err(ChatError::TooLarge { what: "the body", bytes_max: BODY_BYTES_MAX });
        }
        match &mut self.body {
            Body::Json(body) if body.len() + bytes.len() > JSON_BYTES_MAX => {
                Err(ChatError::TooLarge { what: "the JSON body", bytes_max: JSON_BYTES_MAX })
            }
            Body::Json(body) => {
                body.extend_from_slice(bytes);
                Ok(())
            }
            Body::Events(decoder) => {
                let mut events = Vec::new();
                decoder.feed(bytes, &mut events)?;
                events.iter().try_for_each(|data| self.take(data))
            }
        }
    }

    fn take(&mut self, data: &str) -> Result<(), ChatError> {
        if self.is_over {
            return Ok(());
        }
        if data.trim() == "[DONE]" {
            self.finish();
            return Ok(());
        }
        let said = wire::read(data.as_bytes())?;
        self.note(said);
        Ok(())
    }

    fn note(&mut self, said: Said) {
        if said.is_thinking {
            self.clock.progress();
        }
        self.ready.extend(said.delta);
        self.usage = said.usage.or(self.usage);
        self.finish_reason = said.finish_reason.or(self.finish_reason.take());
    }

    /// The body is at its end. Servers may leave out `[DONE]`, but not the finish reason.
    fn close(&mut self) -> Result<(), ChatError> {
        if let Body::Json(body) = &self.body {
            let said = wire::read(body)?;
            if said.delta.is_none() && said.finish_reason.is_none() {
                return Err(ChatError::Malformed { reason: "the JSON holds no answer".to_owned() });
            }
            self.note(said);
        } else if self.finish_reason.is_none() {
            return Err(ChatError::Interrupted { reason: "the stream ended before the answer did".to_owned() });
        }
        self.finish();
        Ok(())
    }

    fn finish(&mut self) {
        self.ready.extend(self.usage.take().map(ChatEvent::Usage));
        let finish_reason = self.finish_reason.take().unwrap_or(FinishReason::Stop);
        self.ready.push_back(ChatEvent::Done { finish_reason });
        self.is_over = true;
    }
}
