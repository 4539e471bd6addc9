//! What Anthropic's models say: a stream of typed events, or one message.

use crate::endpoint::shorten;
use crate::providers::reply::{Protocol, Said};
use crate::{ChatError, ChatEvent, FinishReason, TokenUsage, ToolCallDelta};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: Message,
    },
    ContentBlockStart {
        content_block: Block,
    },
    ContentBlockDelta {
        delta: Delta,
    },
    ContentBlockStop,
    MessageDelta {
        delta: End,
        usage: Option<Usage>,
    },
    MessageStop,
    Error {
        error: Refusal,
    },
    /// `ping`, and what later versions add.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Vec<Block>,
    stop_reason: Option<String>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        text: String,
    },
    ToolUse {
        id: String,
        name: String,
        input: Value,
    },
    /// Thoughts and the like.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Delta {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: String },
    #[serde(rename = "thinking_delta")]
    Thinking {
        #[serde(default)]
        thinking: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct End {
    stop_reason: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "type")]
    kind: String,
    message: Option<String>,
}

/// Tokens read from a cache or written to one are read all the same.
#[derive(Deserialize)]
struct Usage {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl Usage {
    fn prompt_tokens(&self) -> Option<u64> {
        let cached = self.cache_creation_input_tokens.unwrap_or(0) + self.cache_read_input_tokens.unwrap_or(0);
        self.input_tokens.map(|tokens| tokens + cached)
    }
}

/// Usage comes in two pieces, and a tool call's later pieces don't say which call they are of.
#[derive(Default)]
pub(crate) struct Anthropic {
    usage: Option<TokenUsage>,
    calls: u32,
    /// Whether the call under way has no arguments so far.
    is_bare: bool,
}

impl Protocol for Anthropic {
    fn read(&mut self, data: &str) -> Result<Said, ChatError> {
        match parse(data.as_bytes())? {
            Event::MessageStart { message } => Ok(Said { usage: self.count(message.usage), ..Said::default() }),
            Event::ContentBlockStart { content_block } => Ok(Said { events: self.begin(content_block), ..Said::default() }),
            Event::ContentBlockDelta { delta } => Ok(self.go_on(delta)),
            Event::ContentBlockStop => Ok(Said { events: self.complete().into_iter().collect(), ..Said::default() }),
            Event::MessageDelta { delta, usage } => {
                Ok(Said { usage: self.count(usage), finish_reason: delta.stop_reason.map(finish_reason), ..Said::default() })
            }
            Event::MessageStop => Ok(Said { is_last: true, ..Said::default() }),
            Event::Error { error } => Err(refusal(error)),
            Event::Other => Ok(Said::default()),
        }
    }

    fn read_whole(&mut self, json: &[u8]) -> Result<Said, ChatError> {
        let message: Message = parse(json)?;
        let mut events = Vec::new();
        for block in message.content {
            match block {
                Block::ToolUse { id, name, input } => {
                    events.extend(self.begin(Block::ToolUse { id, name, input: Value::Null }));
                    events.push(self.arguments(input.to_string()));
                }
                other => events.extend(self.begin(other)),
            }
        }
        let finish_reason = message.stop_reason.map(finish_reason);
        Ok(Said { events, usage: self.count(message.usage), finish_reason, is_last: true, ..Said::default() })
    }
}

impl Anthropic {
    /// A block of a stream begins empty, except where a server sends all of it at once.
    fn begin(&mut self, block: Block) -> Vec<ChatEvent> {
        match block {
            Block::Text { text } if !text.is_empty() => vec![ChatEvent::Delta(text)],
            Block::Text { .. } | Block::Other => Vec::new(),
            Block::ToolUse { id, name, input } => {
                self.calls += 1;
                let arguments = if input.as_object().is_some_and(|input| !input.is_empty()) { input.to_string() } else { String::new() };
                self.is_bare = arguments.is_empty();
                vec![ChatEvent::ToolCall(ToolCallDelta { index: self.calls - 1, id: Some(id), name: Some(name), arguments })]
            }
        }
    }

    fn go_on(&mut self, delta: Delta) -> Said {
        let events = match delta {
            Delta::Text { text } if !text.is_empty() => vec![ChatEvent::Delta(text)],
            Delta::InputJson { partial_json } if !partial_json.is_empty() => vec![self.arguments(partial_json)],
            Delta::Thinking { thinking } => return Said { thought: Some(thinking), ..Said::default() },
            _ => Vec::new(),
        };
        Said { events, ..Said::default() }
    }

    /// A call without arguments has an empty object of them, or clients that parse them fail.
    fn complete(&mut self) -> Option<ChatEvent> {
        self.is_bare.then(|| self.arguments("{}".to_owned()))
    }

    fn arguments(&mut self, arguments: String) -> ChatEvent {
        self.is_bare = false;
        ChatEvent::ToolCall(ToolCallDelta { index: self.calls.saturating_sub(1), arguments, ..ToolCallDelta::default() })
    }

    /// Later figures replace earlier ones: they are totals.
    fn count(&mut self, usage: Option<Usage>) -> Option<TokenUsage> {
        if let Some(usage) = usage {
            let known = self.usage.unwrap_or_default();
            self.usage = Some(TokenUsage {
                prompt_tokens: usage.prompt_tokens().unwrap_or(known.prompt_tokens),
                completion_tokens: usage.output_tokens.unwrap_or(known.completion_tokens),
                cached_tokens: usage.cache_read_input_tokens.unwrap_or(known.cached_tokens),
                ..TokenUsage::default()
            });
        }
        self.usage
    }
}

fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, ChatError> {
    serde_json::from_slice(json).map_err(|error| ChatError::Malformed { reason: format!("no message of Anthropic's protocol: {error}") })
}

fn finish_reason(text: String) -> FinishReason {
    match text.as_str() {
        "end_turn" | "stop_sequence" => FinishReason::Stop,
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        "refusal" => FinishReason::ContentFilter,
        _ => FinishReason::Other(text),
    }
}

/// An error after the 200, with the status that it would have had before (Anthropic's table of errors).
fn refusal(error: Refusal) -> ChatError {
    let message = shorten(error.message.as_deref().unwrap_or("an error without a message"));
    let status = match error.kind.as_str() {
        "overloaded_error" => 529,
        "rate_limit_error" => 429,
        "api_error" => 500,
        "timeout_error" => 504,
        _ => return ChatError::Interrupted { reason: message },
    };
    ChatError::Status { status, retry_after: None, message }
}
