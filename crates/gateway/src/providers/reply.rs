//! An answer as it comes in: bytes in, events out, every wait limited.

use super::clock::Clock;
use crate::link::Answer;
use crate::sse::SseDecoder;
use crate::{ChatError, ChatEvent, ChatStream, FinishReason, TokenUsage, Unheard};
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use http::header::CONTENT_TYPE;
use std::collections::VecDeque;

/// Largest answer that is read.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Largest answer in one piece of JSON.
const JSON_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a protocol's JSON texts mean. Keeps what must be known of the ones before.
pub(super) trait Protocol: Send + 'static {
    /// Reads the data of one event of a stream.
    fn read(&mut self, data: &str) -> Result<Said, ChatError>;

    /// Reads a whole answer.
    fn read_whole(&mut self, json: &[u8]) -> Result<Said, ChatError>;
}

/// What one JSON text said.
#[derive(Default)]
pub(super) struct Said {
    pub(super) events: Vec<ChatEvent>,
    /// Thoughts: not part of the answer, but a sign of life, and paid for.
    pub(super) thought: Option<String>,
    pub(super) usage: Option<TokenUsage>,
    pub(super) finish_reason: Option<FinishReason>,
    /// Whether nothing more is to come.
    pub(super) is_last: bool,
}

/// How the body is written.
pub(super) enum Format {
    /// Server-sent events, as asked for.
    Events,
    /// One JSON text: servers that ignore `stream`.
    Json,
}

impl Format {
    /// By the content type. A page for people means that the address is wrong.
    pub(super) fn of(answer: &Answer) -> Result<Self, ChatError> {
        let content_type = answer.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("").to_ascii_lowercase();
        if content_type.contains("html") {
            return Err(ChatError::Malformed { reason: format!("an answer of type {content_type}: is the base URL right?") });
        }
        Ok(if content_type.contains("json") { Self::Json } else { Self::Events })
    }
}

enum Body {
    Events(SseDecoder),
    Json(Vec<u8>),
}

/// An answer under way.
struct Reply<P> {
    protocol: P,
    bytes: BoxStream<'static, Result<Bytes, ChatError>>,
    bytes_read: usize,
    body: Body,
    clock: Clock,
    unheard: Unheard,
    ready: VecDeque<ChatEvent>,
    usage: Option<TokenUsage>,
    finish_reason: Option<FinishReason>,
    is_over: bool,
}

/// The events in `bytes`, once the first of them is there; so that, as the seam demands, whatever
/// fails before the first token fails here.
pub(super) async fn events<P: Protocol>(
    protocol: P,
    bytes: BoxStream<'static, Result<Bytes, ChatError>>,
    format: Format,
    clock: Clock,
    unheard: Unheard,
) -> Result<ChatStream, ChatError> {
    let body = match format {
        Format::Events => Body::Events(SseDecoder::default()),
        Format::Json => Body::Json(Vec::new()),
    };
    let (ready, usage, finish_reason) = (VecDeque::new(), None, None);
    let mut reply = Reply { protocol, bytes, bytes_read: 0, body, clock, unheard, ready, usage, finish_reason, is_over: false };
    let first = reply.next().await?;
    let rest = stream::try_unfold(reply, |mut reply| async move {
        reply.clock.progress();
        Ok(reply.next().await?.map(|event| (event, reply)))
    });
    Ok(stream::iter(first.map(Ok)).chain(rest.into_stream()).boxed())
}

impl<P: Protocol> Reply<P> {
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
        let said = self.protocol.read(data)?;
        let is_last = said.is_last;
        self.note(said);
        if is_last {
            self.finish();
        }
        Ok(())
    }

    fn note(&mut self, said: Said) {
        if let Some(thought) = &said.thought {
            self.unheard.hear(thought);
            self.clock.progress();
        }
        self.ready.extend(said.events);
        self.usage = said.usage.or(self.usage);
        self.finish_reason = said.finish_reason.or(self.finish_reason.take());
    }

    /// The body is at its end. Servers may leave out the end mark, but not the finish reason.
    fn close(&mut self) -> Result<(), ChatError> {
        if let Body::Json(body) = &self.body {
            let said = self.protocol.read_whole(body)?;
            if said.events.is_empty() && said.finish_reason.is_none() {
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
