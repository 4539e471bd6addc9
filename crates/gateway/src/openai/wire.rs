//! The OpenAI chat-completions protocol as JSON.

use crate::endpoint::shorten;
use crate::{ChatError, ChatEvent, ChatMessage, ChatRequest, FinishReason, TokenUsage};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The body of a request.
#[derive(Serialize)]
pub(crate) struct Body<'a> {
    model: &'a str,
    messages: &'a [ChatMessage],
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

impl<'a> Body<'a> {
    pub(crate) fn new(model: &'a str, request: &'a ChatRequest) -> Self {
        Self {
            model,
            messages: &request.messages,
            stream: true,
            stream_options: StreamOptions { include_usage: true },
            max_tokens: request.max_tokens,
            temperature: request.temperature,
        }
    }
}

/// One chunk of a stream, or a whole answer: they differ only in `delta` and `message`.
#[derive(Deserialize)]
struct Completion {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<TokenUsage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    delta: Option<Words>,
    message: Option<Words>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Words {
    content: Option<String>,
    #[serde(alias = "reasoning")]
    reasoning_content: Option<String>,
}

/// What one JSON text said.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) delta: Option<ChatEvent>,
    /// Whether it holds thoughts: not part of the answer, but a sign of life.
    pub(crate) is_thinking: bool,
    pub(crate) usage: Option<TokenUsage>,
    pub(crate) finish_reason: Option<FinishReason>,
}

/// Reads a chunk or a whole answer.
pub(crate) fn read(json: &[u8]) -> Result<Said, ChatError> {
    let completion: Completion =
        serde_json::from_slice(json).map_err(|error| ChatError::Malformed { reason: format!("no chat completion: {error}") })?;
    if let Some(error) = completion.error.filter(|error| !error.is_null()) {
        return Err(error_in_stream(&error));
    }
    let Some(choice) = completion.choices.into_iter().next() else {
        return Ok(Said { usage: completion.usage, ..Said::default() });
    };
    let (content, thoughts) = choice.delta.or(choice.message).map_or((None, None), |words| (words.content, words.reasoning_content));
    Ok(Said {
        delta: content.filter(|text| !text.is_empty()).map(ChatEvent::Delta),
        is_thinking: thoughts.is_some_and(|text| !text.is_empty()),
        usage: completion.usage,
        finish_reason: choice.finish_reason.map(finish_reason),
    })
}

fn finish_reason(text: String) -> FinishReason {
    match text.as_str() {
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        "content_filter" => FinishReason::ContentFilter,
        _ => FinishReason::Other(text),
    }
}

/// Servers that fail after the 200 send an error object as data; some with a status in `code`.
fn error_in_stream(error: &Value) -> ChatError {
    let message = shorten(error.get("message").and_then(Value::as_str).unwrap_or("an error without a message"));
    match error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok()) {
        Some(status) if (400..600).contains(&status) => ChatError::Status { status, retry_after: None, message },
        _ => ChatError::Interrupted { reason: message },
    }
}
