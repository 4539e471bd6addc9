//! One answer of a script: what it says, when, and what goes wrong with it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// One answer. What is left open is as in the default answer; times and `tokens` as in the script's `default`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reply {
    /// HTTP status; 200 if absent. One that is no success comes with an error in the provider's shape.
    pub status: Option<u16>,
    /// More headers, such as `retry-after`. They replace those that would be sent.
    pub headers: BTreeMap<String, String>,
    /// Sent as it is, in place of an answer. Of a streamed answer each event (up to an empty line) is a chunk.
    pub body: Option<RawBody>,
    /// What the model says, never cut.
    pub text: Option<String>,
    /// Which tools the model calls.
    pub tool_calls: Vec<ToolCall>,
    /// The usage that is reported; words are counted if absent.
    pub usage: Option<Usage>,
    /// Reports no usage at all.
    pub no_usage: bool,
    /// Why the model stopped, in the provider's words.
    pub finish_reason: Option<String>,
    /// Milliseconds before the headers.
    pub latency_ms: Option<u64>,
    /// Milliseconds from the headers to the first content.
    pub first_token_ms: Option<u64>,
    /// Milliseconds from one chunk to the next.
    pub chunk_ms: Option<u64>,
    /// Words per chunk of a stream; 1 if absent.
    pub tokens: Option<usize>,
    /// What goes wrong.
    pub fault: Option<Fault>,
}

/// What can go wrong with an answer.
///
/// A number says after how many chunks of content. What comes before the content (the role,
/// `message_start`) is sent in any case, what comes after it never: a number too large means after all
/// content. In an answer that isn't streamed, 64 bytes are a chunk, and the last of them is never sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The connection is reset (RST) once the request was read.
    RefuseBeforeHeaders,
    /// The connection is closed (FIN) once the request was read.
    CloseBeforeHeaders,
    /// The connection is reset after so many chunks.
    ResetInBody(usize),
    /// The connection is closed after so many chunks: the body has no end.
    CutInBody(usize),
    /// The body ends, as HTTP wants it, after so many chunks: the answer has no end.
    EndInBody(usize),
    /// Nothing comes after the headers.
    StallAfterHeaders,
    /// Nothing more comes after so many chunks.
    StallInBody(usize),
    /// The body comes byte by byte, one each `chunk_ms` (at least 1).
    Drip,
    /// The body, or the second chunk of a stream, is no JSON.
    InvalidJson,
    /// The body, or the second chunk of a stream, has a byte that is no UTF-8.
    InvalidUtf8,
    /// A page of HTML, with status 200 unless `status` says otherwise.
    Html,
    /// One line of this many bytes and a few.
    HugeLine(u64),
    /// The provider's error event after so many chunks, and the end. Not streamed: an error with status 200.
    ErrorEvent(usize),
    /// Embeddings of this dimension, whatever was asked for.
    WrongDimension(usize),
    /// Status 302 (or `status`) to this location.
    Redirect(String),
}

/// A body as it is sent: in a script a string, or `{ base64 = "…" }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RawBody {
    /// UTF-8.
    Text(String),
    /// Any bytes.
    Bytes {
        /// The bytes, in base64.
        base64: String,
    },
}

/// A call of a tool by the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// Its arguments; a string is sent as it is, so that it may be broken JSON.
    #[serde(default)]
    pub arguments: Value,
    /// The call's id; a running number if absent.
    #[serde(default)]
    pub id: Option<String>,
}

/// Tokens that a call took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Usage {
    /// In the question, cached ones included.
    pub prompt_tokens: u64,
    /// In the answer.
    pub completion_tokens: u64,
    /// In the question and read from the provider's cache.
    pub cached_tokens: u64,
}

impl Reply {
    /// The model says `text`.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..Self::default() }
    }

    /// The model calls a tool.
    #[must_use]
    pub fn tool_call(name: impl Into<String>, arguments: Value) -> Self {
        Self { tool_calls: vec![ToolCall { name: name.into(), arguments, id: None }], ..Self::default() }
    }

    /// The provider answers with this status.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status: Some(status), ..Self::default() }
    }

    /// The provider answers with these bytes.
    #[must_use]
    pub fn raw(body: impl Into<Vec<u8>>) -> Self {
        let body = match String::from_utf8(body.into()) {
            Ok(text) => RawBody::Text(text),
            Err(error) => RawBody::Bytes { base64: BASE64_STANDARD.encode(error.as_bytes()) },
        };
        Self { body: Some(body), ..Self::default() }
    }

    /// The default answer with a fault.
    #[must_use]
    pub fn fault(fault: Fault) -> Self {
        Self { fault: Some(fault), ..Self::default() }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// With this fault.
    #[must_use]
    pub fn with_fault(self, fault: Fault) -> Self {
        Self { fault: Some(fault), ..self }
    }

    /// With this usage instead of counted words.
    #[must_use]
    pub fn usage(self, usage: Usage) -> Self {
        Self { usage: Some(usage), ..self }
    }

    /// Without usage.
    #[must_use]
    pub fn without_usage(self) -> Self {
        Self { no_usage: true, ..self }
    }

    /// Headers come after so many milliseconds.
    #[must_use]
    pub fn latency_ms(self, latency_ms: u64) -> Self {
        Self { latency_ms: Some(latency_ms), ..self }
    }

    /// The first content comes so many milliseconds after the headers.
    #[must_use]
    pub fn first_token_ms(self, first_token_ms: u64) -> Self {
        Self { first_token_ms: Some(first_token_ms), ..self }
    }

    /// Chunks come so many milliseconds after each other.
    #[must_use]
    pub fn chunk_ms(self, chunk_ms: u64) -> Self {
        Self { chunk_ms: Some(chunk_ms), ..self }
    }

    /// Chunks have so many words.
    #[must_use]
    pub fn tokens(self, tokens: usize) -> Self {
        Self { tokens: Some(tokens), ..self }
    }

    /// What it leaves open of its pace, as in `other`.
    pub(crate) fn paced_like(self, other: &Self) -> Self {
        Self {
            latency_ms: self.latency_ms.or(other.latency_ms),
            first_token_ms: self.first_token_ms.or(other.first_token_ms),
            chunk_ms: self.chunk_ms.or(other.chunk_ms),
            tokens: self.tokens.or(other.tokens),
            ..self
        }
    }

    pub(crate) fn is_success(&self) -> bool {
        self.status.is_none_or(|status| (200..300).contains(&status))
    }
}

impl RawBody {
    /// The bytes, unless they are no base64.
    pub(crate) fn bytes(&self) -> Option<Bytes> {
        match self {
            Self::Text(text) => Some(text.clone().into()),
            Self::Bytes { base64 } => BASE64_STANDARD.decode(base64).ok().map(Bytes::from),
        }
    }
}

impl ToolCall {
    /// The arguments as JSON text.
    pub(crate) fn argument_text(&self) -> String {
        match &self.arguments {
            Value::String(text) => text.clone(),
            Value::Null => "{}".to_owned(),
            arguments => arguments.to_string(),
        }
    }
}
