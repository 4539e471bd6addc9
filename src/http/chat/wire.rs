//! OpenAI's chat completions as JSON: what is asked, and what is answered.

use super::heard::Heard;
use crate::error::ApiError;
use gateway::{
    ChatEvent, ChatMessage, ChatRequest, Content, FinishReason, Money, OutputFormat, Role, TokenUsage, Tool, ToolCall, ToolChoice,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The body of a request. What only providers read is passed on to them as it is; what is in no version of the
/// protocol is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    pub(super) model: String,
    messages: Vec<Message>,
    #[serde(default)]
    pub(super) stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    stop: Option<Stop>,
    n: Option<u32>,
    tools: Option<Vec<ToolOf>>,
    tool_choice: Option<Choice>,
    response_format: Option<Format>,
    frequency_penalty: Option<Value>,
    presence_penalty: Option<Value>,
    logit_bias: Option<Value>,
    seed: Option<Value>,
    parallel_tool_calls: Option<Value>,
    reasoning_effort: Option<Value>,
    verbosity: Option<Value>,
    service_tier: Option<Value>,
    user: Option<Value>,
    safety_identifier: Option<Value>,
    prompt_cache_key: Option<Value>,
    metadata: Option<Value>,
    store: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
    /// Padding against listeners that measure; there is none here.
    #[serde(default, rename = "include_obfuscation")]
    _include_obfuscation: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    role: Role,
    content: Option<Content>,
    tool_calls: Option<Vec<CallOf>>,
    tool_call_id: Option<String>,
    /// Of speakers; no provider behind us needs it.
    #[serde(default, rename = "name")]
    _name: Option<String>,
    /// Clients send back the messages that they were given.
    #[serde(default, rename = "refusal")]
    _refusal: Option<Value>,
    #[serde(default, rename = "annotations")]
    _annotations: Option<Value>,
    #[serde(default, rename = "audio")]
    _audio: Option<Value>,
    #[serde(default, rename = "function_call")]
    _function_call: Option<Value>,
}

#[derive(Deserialize)]
struct CallOf {
    id: String,
    function: FunctionOf,
}

#[derive(Deserialize)]
struct FunctionOf {
    name: String,
    #[serde(default)]
    arguments: String,
}

#[derive(Deserialize)]
struct ToolOf {
    #[serde(rename = "type")]
    kind: String,
    function: Option<Tool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Choice {
    Word(String),
    Function { function: Named },
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Format {
    Text,
    JsonObject,
    JsonSchema { json_schema: SchemaOf },
}

#[derive(Deserialize)]
struct SchemaOf {
    name: String,
    #[serde(default)]
    schema: Value,
    strict: Option<bool>,
}

/// Those that cost what the tables say, or less.
const ORDINARY_TIERS: [&str; 3] = ["auto", "default", "flex"];

fn bad(detail: &str) -> ApiError {
    ApiError::bad_request("bad_chat", detail)
}

impl Asked {
    pub(crate) fn is_stream(&self) -> bool {
        self.stream == Some(true)
    }

    /// Whether a stream ends with a chunk of usage.
    pub(super) fn wants_usage(&self) -> bool {
        self.stream_options.as_ref().is_some_and(|options| options.include_usage)
    }

    pub(crate) fn request(self) -> Result<ChatRequest, ApiError> {
        if self.n.is_some_and(|n| n != 1) {
            return Err(bad("n must be 1: one answer a request"));
        }
        if self.messages.is_empty() {
            return Err(bad("messages must not be empty"));
        }
        let max_tokens = self.max_completion_tokens.or(self.max_tokens);
        if max_tokens == Some(0) {
            return Err(bad("max_tokens must be at least 1"));
        }
        if self.service_tier.as_ref().is_some_and(|tier| !ORDINARY_TIERS.iter().any(|known| tier == known)) {
            return Err(bad("service_tier must be auto, default or flex: what others cost is not known"));
        }
        let passed_on = self.passed_on();
        Ok(ChatRequest {
            max_tokens,
            temperature: checked(self.temperature, 2.0, "temperature must be 0 to 2")?,
            top_p: checked(self.top_p, 1.0, "top_p must be 0 to 1")?,
            stop: match self.stop {
                None => Vec::new(),
                Some(Stop::One(text)) => vec![text],
                Some(Stop::Many(texts)) => texts,
            },
            tools: self.tools.into_iter().flatten().map(tool).collect::<Result<_, _>>()?,
            tool_choice: self.tool_choice.map(tool_choice).transpose()?,
            output: match self.response_format {
                None | Some(Format::Text) => OutputFormat::Text,
                Some(Format::JsonObject) => OutputFormat::Json,
                Some(Format::JsonSchema { json_schema: SchemaOf { name, schema, strict } }) => {
                    OutputFormat::Schema { name, schema, strict }
                }
            },
            passed_on,
            ..ChatRequest::new(self.messages.into_iter().map(message).collect::<Result<_, _>>()?)
        })
    }

    fn passed_on(&self) -> Map<String, Value> {
        let fields = [
            ("frequency_penalty", &self.frequency_penalty),
            ("presence_penalty", &self.presence_penalty),
            ("logit_bias", &self.logit_bias),
            ("seed", &self.seed),
            ("parallel_tool_calls", &self.parallel_tool_calls),
            ("reasoning_effort", &self.reasoning_effort),
            ("verbosity", &self.verbosity),
            ("service_tier", &self.service_tier),
            ("user", &self.user),
            ("safety_identifier", &self.safety_identifier),
            ("prompt_cache_key", &self.prompt_cache_key),
            ("metadata", &self.metadata),
            ("store", &self.store),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).collect()
    }
}

fn checked(value: Option<f32>, most: f32, rule: &str) -> Result<Option<f32>, ApiError> {
    if value.is_none_or(|value| (0.0..=most).contains(&value)) { Ok(value) } else { Err(bad(rule)) }
}

fn message(message: Message) -> Result<ChatMessage, ApiError> {
    let calls = message.tool_calls.unwrap_or_default();
    if message.content.is_none() && calls.is_empty() && message.role != Role::Assistant {
        return Err(bad("every message needs content"));
    }
    if message.role == Role::Tool && message.tool_call_id.is_none() {
        return Err(bad("a message of a tool needs a tool_call_id"));
    }
    let call = |call: CallOf| ToolCall { id: call.id, name: call.function.name, arguments: call.function.arguments };
    Ok(ChatMessage {
        role: message.role,
        content: message.content.unwrap_or_default(),
        tool_calls: calls.into_iter().map(call).collect(),
        tool_call_id: message.tool_call_id,
    })
}

fn tool(tool: ToolOf) -> Result<Tool, ApiError> {
    tool.function.filter(|_| tool.kind == "function").ok_or_else(|| bad("tools must be of type function"))
}

fn tool_choice(choice: Choice) -> Result<ToolChoice, ApiError> {
    match choice {
        Choice::Function { function } => Ok(ToolChoice::Function(function.name)),
        Choice::Word(word) => match word.as_str() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            _ => Err(bad("tool_choice must be auto, none, required or a function")),
        },
    }
}

/// What every answer and every chunk of one begins with.
#[derive(Clone)]
pub(super) struct Head {
    pub(super) id: String,
    pub(super) created: i64,
    pub(super) model: String,
}

impl Head {
    /// A chunk of a stream.
    pub(super) fn chunk(&self, delta: &Value, finish_reason: Option<&str>) -> Value {
        let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason });
        json!({ "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model, "choices": [choice] })
    }

    /// The chunk that says what was used.
    pub(super) fn usage_chunk(&self, used: TokenUsage) -> Value {
        let (object, choices) = ("chat.completion.chunk", json!([]));
        json!({ "id": self.id, "object": object, "created": self.created, "model": self.model, "choices": choices, "usage": usage(used) })
    }

    /// A whole answer.
    pub(super) fn completion(&self, heard: &Heard) -> Value {
        let mut message = json!({ "role": "assistant", "content": content(heard), "refusal": null });
        if let Some(fields) = message.as_object_mut().filter(|_| !heard.calls.is_empty()) {
            fields.insert("tool_calls".to_owned(), heard.calls.iter().map(call).collect());
        }
        let choice = json!({ "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(&heard.finish_reason) });
        let object = "chat.completion";
        json!({ "id": self.id, "object": object, "created": self.created, "model": self.model, "choices": [choice], "usage": usage(heard.usage) })
    }
}

/// Beside calls there may be no words.
fn content(heard: &Heard) -> Option<&str> {
    (!heard.text.is_empty() || heard.calls.is_empty()).then_some(&heard.text)
}

fn call(call: &ToolCall) -> Value {
    json!({ "id": call.id, "type": "function", "function": { "name": call.name, "arguments": call.arguments } })
}

fn usage(used: TokenUsage) -> Value {
    let total = used.prompt_tokens + used.completion_tokens;
    json!({
        "prompt_tokens": used.prompt_tokens, "completion_tokens": used.completion_tokens, "total_tokens": total,
        "cost_usd": used.cost.map(Money::usd),
    })
}

/// The change that an event makes to a message; `None` for events that make none.
pub(super) fn delta(event: &ChatEvent) -> Option<Value> {
    match event {
        ChatEvent::Delta(text) => Some(json!({ "content": text })),
        ChatEvent::ToolCall(piece) => {
            let mut function = Map::from_iter([("arguments".to_owned(), json!(piece.arguments))]);
            function.extend(piece.name.as_ref().map(|name| ("name".to_owned(), json!(name))));
            let mut call = Map::from_iter([("index".to_owned(), json!(piece.index)), ("function".to_owned(), Value::Object(function))]);
            if let Some(id) = &piece.id {
                call.insert("id".to_owned(), json!(id));
                call.insert("type".to_owned(), json!("function"));
            }
            Some(json!({ "tool_calls": [call] }))
        }
        ChatEvent::Usage(_) | ChatEvent::Done { .. } => None,
    }
}

pub(super) fn finish_reason(reason: &FinishReason) -> &str {
    match reason {
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
        // Clients know no other words.
        FinishReason::Stop | FinishReason::Other(_) => "stop",
    }
}
