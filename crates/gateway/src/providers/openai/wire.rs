//! The OpenAI chat-completions protocol as JSON.

use crate::endpoint::shorten;
use crate::providers::Dialect;
use crate::providers::reply::{Protocol, Said};
use crate::{
    ChatError, ChatEvent, ChatMessage, ChatRequest, FinishReason, OutputFormat, Role, TokenUsage, Tool, ToolCall, ToolCallDelta, ToolChoice,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The body of a request, always for a stream: only a stream tells that a model is at work.
pub(super) fn body(model: &str, dialect: Dialect, request: &ChatRequest) -> Value {
    let mut body = request.passed_on.clone();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    put("model", Some(json!(model)));
    put("messages", Some(request.messages.iter().map(message).collect()));
    put("stream", Some(json!(true)));
    put("stream_options", Some(json!({ "include_usage": true })));
    let max_tokens = if dialect.has_max_completion_tokens { "max_completion_tokens" } else { "max_tokens" };
    put(max_tokens, request.max_tokens.map(|tokens| json!(tokens)));
    put("temperature", request.temperature.map(|temperature| json!(temperature)));
    put("top_p", request.top_p.map(|top_p| json!(top_p)));
    put("stop", (!request.stop.is_empty()).then(|| json!(request.stop)));
    put("tools", (!request.tools.is_empty()).then(|| request.tools.iter().map(tool).collect()));
    put("tool_choice", request.tool_choice.as_ref().map(tool_choice));
    put("response_format", response_format(&request.output));
    Value::Object(body)
}

fn message(message: &ChatMessage) -> Value {
    let mut fields = Map::from_iter([("role".to_owned(), json!(message.role))]);
    let says_nothing = message.role == Role::Assistant && message.content.is_empty() && !message.tool_calls.is_empty();
    fields.insert("content".to_owned(), if says_nothing { Value::Null } else { json!(message.content) });
    if !message.tool_calls.is_empty() {
        fields.insert("tool_calls".to_owned(), message.tool_calls.iter().map(tool_call).collect());
    }
    if let Some(id) = &message.tool_call_id {
        fields.insert("tool_call_id".to_owned(), json!(id));
    }
    Value::Object(fields)
}

fn tool_call(call: &ToolCall) -> Value {
    json!({ "id": call.id, "type": "function", "function": { "name": call.name, "arguments": call.arguments } })
}

fn tool(tool: &Tool) -> Value {
    json!({ "type": "function", "function": tool })
}

fn tool_choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => json!("auto"),
        ToolChoice::None => json!("none"),
        ToolChoice::Required => json!("required"),
        ToolChoice::Function(name) => json!({ "type": "function", "function": { "name": name } }),
    }
}

fn response_format(output: &OutputFormat) -> Option<Value> {
    match output {
        OutputFormat::Text => None,
        OutputFormat::Json => Some(json!({ "type": "json_object" })),
        OutputFormat::Schema { name, schema, strict } => {
            let mut of_schema = Map::from_iter([("name".to_owned(), json!(name)), ("schema".to_owned(), schema.clone())]);
            if let Some(strict) = strict {
                of_schema.insert("strict".to_owned(), json!(strict));
            }
            Some(json!({ "type": "json_schema", "json_schema": of_schema }))
        }
    }
}

/// One chunk of a stream, or a whole answer: they differ only in `delta` and `message`.
#[derive(Deserialize)]
struct Completion {
    choices: Option<Vec<Choice>>,
    usage: Option<Usage>,
    error: Option<Value>,
}

/// What a provider says of its use.
#[derive(Deserialize)]
pub(super) struct Usage {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    prompt_tokens_details: Option<PromptTokens>,
}

#[derive(Deserialize)]
struct PromptTokens {
    cached_tokens: Option<u64>,
}

impl From<Usage> for TokenUsage {
    fn from(usage: Usage) -> Self {
        let cached_tokens = usage.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or_default();
        Self { prompt_tokens: usage.prompt_tokens, completion_tokens: usage.completion_tokens, cached_tokens, ..Self::default() }
    }
}

#[derive(Deserialize)]
struct Choice {
    delta: Option<Words>,
    message: Option<Words>,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Words {
    content: Option<String>,
    #[serde(alias = "reasoning")]
    reasoning_content: Option<String>,
    tool_calls: Option<Vec<CallPiece>>,
}

#[derive(Deserialize)]
struct CallPiece {
    index: Option<u32>,
    id: Option<String>,
    function: Option<FunctionPiece>,
}

#[derive(Default, Deserialize)]
struct FunctionPiece {
    name: Option<String>,
    arguments: Option<String>,
}

/// Each text stands for itself.
pub(super) struct OpenAi;

impl Protocol for OpenAi {
    fn read(&mut self, data: &str) -> Result<Said, ChatError> {
        if data.trim() == "[DONE]" {
            return Ok(Said { is_last: true, ..Said::default() });
        }
        self.read_whole(data.as_bytes())
    }

    fn read_whole(&mut self, json: &[u8]) -> Result<Said, ChatError> {
        let completion: Completion =
            serde_json::from_slice(json).map_err(|error| ChatError::Malformed { reason: format!("no chat completion: {error}") })?;
        if let Some(error) = completion.error.filter(|error| !error.is_null()) {
            return Err(error_in_stream(&error));
        }
        let said = Said { usage: completion.usage.map(TokenUsage::from), ..Said::default() };
        let Some(choice) = completion.choices.into_iter().flatten().next() else { return Ok(said) };
        let words = choice.delta.or(choice.message).unwrap_or_default();
        let text = words.content.filter(|text| !text.is_empty()).map(ChatEvent::Delta);
        let calls = words.tool_calls.into_iter().flatten().enumerate().map(|(at, piece)| ChatEvent::ToolCall(call_piece(at, piece)));
        Ok(Said {
            events: text.into_iter().chain(calls).collect(),
            thought: words.reasoning_content.filter(|text| !text.is_empty()),
            finish_reason: choice.finish_reason.map(finish_reason),
            ..said
        })
    }
}

/// Whole answers don't number their calls, and neither do some servers that send each in one piece.
fn call_piece(at: usize, piece: CallPiece) -> ToolCallDelta {
    let FunctionPiece { name, arguments } = piece.function.unwrap_or_default();
    let non_empty = |text: Option<String>| text.filter(|text| !text.is_empty());
    ToolCallDelta {
        index: piece.index.unwrap_or(u32::try_from(at).unwrap_or(u32::MAX)),
        id: non_empty(piece.id),
        name: non_empty(name),
        arguments: arguments.unwrap_or_default(),
    }
}

fn finish_reason(text: String) -> FinishReason {
    match text.as_str() {
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
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
