//! A request for a message, as Anthropic's clients write it.

use crate::error::ApiError;
use gateway::{ChatMessage, ChatRequest, Content, ImageUrl, OutputFormat, Part, Role, Tool, ToolCall, ToolChoice};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The body of a request, and of a request to count its tokens. What is in no version of the protocol is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    pub(super) model: String,
    messages: Vec<Message>,
    max_tokens: Option<u32>,
    system: Option<Words>,
    #[serde(default)]
    pub(super) stream: Option<bool>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<u32>,
    #[serde(default)]
    stop_sequences: Vec<String>,
    #[serde(default)]
    tools: Vec<ToolOf>,
    tool_choice: Option<Choice>,
    output_config: Option<OutputConfig>,
    metadata: Option<Metadata>,
    thinking: Option<Thinking>,
    /// Of Anthropic's own capacity; there is one kind here.
    #[serde(default, rename = "service_tier")]
    _service_tier: Option<Value>,
    /// Marks for Anthropic's own cache of prompts.
    #[serde(default, rename = "cache_control")]
    _cache_control: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    role: Speaker,
    content: Said,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Speaker {
    User,
    Assistant,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Text(String),
    Blocks(Vec<Block>),
}

/// One block of a message. Clients send back the blocks that they were given, with fields of their own.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        text: String,
    },
    Image {
        source: Source,
    },
    ToolUse {
        id: String,
        name: String,
        input: Value,
    },
    ToolResult {
        tool_use_id: String,
        content: Option<Said>,
        #[serde(default)]
        is_error: Option<bool>,
    },
    /// Of another provider's answer; signed for that provider alone.
    Thinking {},
    RedactedThinking {},
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Source {
    Base64 { media_type: String, data: String },
    Url { url: String },
}

/// Text, or blocks of it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    Text(String),
    Blocks(Vec<TextBlock>),
}

#[derive(Deserialize)]
struct TextBlock {
    text: String,
}

#[derive(Deserialize)]
struct ToolOf {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    name: String,
    description: Option<String>,
    input_schema: Option<Value>,
    strict: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Choice {
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    #[serde(default)]
    disable_parallel_tool_use: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputConfig {
    format: Option<OutputSchema>,
    effort: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum OutputSchema {
    JsonSchema { schema: Value },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    user_id: Option<String>,
}

#[derive(Deserialize)]
struct Thinking {
    #[serde(rename = "type")]
    kind: String,
}

fn bad(detail: impl Into<String>) -> ApiError {
    ApiError::bad_request("bad_message", detail)
}

impl Asked {
    pub(super) fn is_stream(&self) -> bool {
        self.stream == Some(true)
    }

    /// The request of a message, which must say how long that may be.
    pub(super) fn request(self) -> Result<ChatRequest, ApiError> {
        if self.max_tokens.unwrap_or(0) == 0 {
            return Err(bad("max_tokens: Field required, at least 1"));
        }
        self.prompt()
    }

    /// The same, where nothing is to be answered.
    pub(super) fn prompt(self) -> Result<ChatRequest, ApiError> {
        if self.messages.is_empty() {
            return Err(bad("messages: at least one message is required"));
        }
        if self.thinking.as_ref().is_some_and(|thinking| thinking.kind != "disabled") {
            return Err(bad("thinking: thoughts are not passed on; leave it out or disable it"));
        }
        let passed_on = self.passed_on();
        let mut messages: Vec<ChatMessage> = self.system.map(|words| ChatMessage::system(words.text())).into_iter().collect();
        for message in self.messages {
            messages.extend(turn(message)?);
        }
        Ok(ChatRequest {
            max_tokens: self.max_tokens,
            temperature: checked(self.temperature, "temperature")?,
            top_p: checked(self.top_p, "top_p")?,
            stop: self.stop_sequences,
            tools: self.tools.into_iter().map(tool).collect::<Result<_, _>>()?,
            tool_choice: self.tool_choice.map(tool_choice).transpose()?,
            output: match self.output_config.and_then(|config| config.format) {
                None => OutputFormat::Text,
                Some(OutputSchema::JsonSchema { schema }) => OutputFormat::Schema { name: "answer".to_owned(), schema, strict: Some(true) },
            },
            passed_on,
            ..ChatRequest::new(messages)
        })
    }

    /// What OpenAI's protocol, in which requests go on, has other names for.
    fn passed_on(&self) -> Map<String, Value> {
        let one_at_a_time = self.tool_choice.as_ref().and_then(|choice| choice.disable_parallel_tool_use) == Some(true);
        let fields = [
            ("top_k", self.top_k.map(|top_k| json!(top_k))),
            ("user", self.metadata.as_ref().and_then(|metadata| metadata.user_id.as_ref()).map(|user| json!(user))),
            ("parallel_tool_calls", one_at_a_time.then_some(Value::Bool(false))),
            ("reasoning_effort", self.output_config.as_ref().and_then(|config| config.effort.as_ref()).map(|effort| json!(effort))),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

fn checked(value: Option<f32>, name: &str) -> Result<Option<f32>, ApiError> {
    if value.is_none_or(|value| (0.0..=1.0).contains(&value)) { Ok(value) } else { Err(bad(format!("{name}: must be 0 to 1"))) }
}

impl Words {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Blocks(blocks) => blocks.into_iter().map(|block| block.text).collect::<Vec<_>>().join("\n\n"),
        }
    }
}

/// What one side says, as messages: results of tools are messages of their own, before what the user adds to them.
fn turn(message: Message) -> Result<Vec<ChatMessage>, ApiError> {
    let role = if matches!(message.role, Speaker::User) { Role::User } else { Role::Assistant };
    let blocks = match message.content {
        Said::Text(text) => return Ok(vec![ChatMessage::new(role, text)]),
        Said::Blocks(blocks) => blocks,
    };
    let (mut results, mut parts, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    for block in blocks {
        match block {
            Block::Text { text } => parts.push(Part::Text { text }),
            Block::Image { source } => parts.push(image(source)),
            Block::ToolUse { id, name, input } if role == Role::Assistant => {
                calls.push(ToolCall { id, name, arguments: input.to_string() });
            }
            Block::ToolResult { tool_use_id, content, is_error } if role == Role::User => {
                let (text, pictures) = result(content, is_error == Some(true))?;
                results.push(ChatMessage { tool_call_id: Some(tool_use_id), ..ChatMessage::new(Role::Tool, text) });
                // Results are words in the other protocol: their pictures come after them.
                parts.extend(pictures);
            }
            Block::ToolUse { .. } => return Err(bad("messages: tool_use is the assistant's")),
            Block::ToolResult { .. } => return Err(bad("messages: tool_result is the user's")),
            Block::Thinking {} | Block::RedactedThinking {} => {}
        }
    }
    if !parts.is_empty() || !calls.is_empty() || results.is_empty() {
        results.push(ChatMessage { role, content: content(parts), tool_calls: calls, tool_call_id: None });
    }
    Ok(results)
}

/// Words alone are text, which every provider takes.
fn content(mut parts: Vec<Part>) -> Content {
    match parts.as_mut_slice() {
        [] => Content::default(),
        [Part::Text { text }] => Content::Text(std::mem::take(text)),
        _ => Content::Parts(parts),
    }
}

fn image(source: Source) -> Part {
    let url = match source {
        Source::Base64 { media_type, data } => format!("data:{media_type};base64,{data}"),
        Source::Url { url } => url,
    };
    Part::ImageUrl { image_url: ImageUrl { url, detail: None } }
}

/// The words and the pictures of a result. That it is an error can only be said in words.
fn result(content: Option<Said>, is_error: bool) -> Result<(String, Vec<Part>), ApiError> {
    let (mut words, mut pictures) = (Vec::new(), Vec::new());
    match content {
        None => {}
        Some(Said::Text(text)) => words.push(text),
        Some(Said::Blocks(blocks)) => {
            for block in blocks {
                match block {
                    Block::Text { text } => words.push(text),
                    Block::Image { source } => pictures.push(image(source)),
                    _ => return Err(bad("messages: a tool_result holds text and images")),
                }
            }
        }
    }
    let text = words.join("\n");
    Ok((if is_error { format!("Error: {text}") } else { text }, pictures))
}

fn tool(tool: ToolOf) -> Result<Tool, ApiError> {
    match tool.kind.as_deref() {
        None | Some("custom") => {
            Ok(Tool { name: tool.name, description: tool.description, parameters: tool.input_schema, strict: tool.strict })
        }
        Some(kind) => Err(bad(format!("tools: {kind} runs at Anthropic; only tools of the caller's own are passed on"))),
    }
}

fn tool_choice(choice: Choice) -> Result<ToolChoice, ApiError> {
    match (choice.kind.as_str(), choice.name) {
        ("auto", _) => Ok(ToolChoice::Auto),
        ("any", _) => Ok(ToolChoice::Required),
        ("none", _) => Ok(ToolChoice::None),
        ("tool", Some(name)) => Ok(ToolChoice::Function(name)),
        _ => Err(bad("tool_choice: type must be auto, any, none, or tool with a name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(body: Value) -> ChatRequest {
        serde_json::from_value::<Asked>(body).unwrap().request().unwrap()
    }

    fn refused(body: Value) -> String {
        match serde_json::from_value::<Asked>(body) {
            Ok(asked) => asked.request().unwrap_err().detail,
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_conversation_with_tools_and_pictures_is_said_in_messages_of_the_gateway() {
        let picture = json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AA==" } });
        let request = request(json!({
            "model": "m", "max_tokens": 9, "top_k": 3, "stop_sequences": ["END"], "metadata": { "user_id": "u" },
            "system": [{ "type": "text", "text": "Be brief.", "cache_control": { "type": "ephemeral" } }],
            "tools": [{ "name": "look", "input_schema": { "type": "object" } }],
            "tool_choice": { "type": "any", "disable_parallel_tool_use": true },
            "messages": [
                { "role": "user", "content": [{ "type": "text", "text": "What is it?" }, picture] },
                { "role": "assistant", "content": [{ "type": "thinking", "thinking": "hm", "signature": "s" },
                    { "type": "tool_use", "id": "t1", "name": "look", "input": { "at": 1 } }] },
                { "role": "user", "content": [
                    { "type": "tool_result", "tool_use_id": "t1", "is_error": true, "content": [{ "type": "text", "text": "dark" }, picture] },
                    { "type": "text", "text": "Well?" }] },
            ],
        }));
        let roles: Vec<Role> = request.messages.iter().map(|message| message.role).collect();
        assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool, Role::User]);
        let [system, user, assistant, tool, last] = &request.messages[..] else { panic!() };
        assert_eq!((system.content.text().as_ref(), tool.content.text().as_ref()), ("Be brief.", "Error: dark"));
        assert!(
            matches!(&user.content, Content::Parts(parts) if matches!(&parts[1], Part::ImageUrl { image_url } if image_url.url == "data:image/png;base64,AA=="))
        );
        assert_eq!(assistant.tool_calls, [ToolCall { id: "t1".to_owned(), name: "look".to_owned(), arguments: r#"{"at":1}"#.to_owned() }]);
        assert_eq!(tool.tool_call_id.as_deref(), Some("t1"));
        assert!(matches!(&last.content, Content::Parts(parts) if parts.len() == 2), "the picture and the words");
        assert_eq!((request.max_tokens, request.tool_choice), (Some(9), Some(ToolChoice::Required)));
        let passed_on = json!({ "top_k": 3, "user": "u", "parallel_tool_calls": false });
        assert_eq!(Value::Object(request.passed_on), passed_on);
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let hello = json!([{ "role": "user", "content": "hello" }]);
        let with = |name: &str, value: Value| {
            let mut body = json!({ "model": "m", "max_tokens": 9, "messages": hello });
            body[name] = value;
            refused(body)
        };
        assert!(refused(json!({ "model": "m", "messages": hello })).contains("max_tokens"));
        for (name, value) in [
            ("max_tokens", json!(0)),
            ("messages", json!([])),
            ("temperature", json!(1.5)),
            ("thinking", json!({ "type": "enabled", "budget_tokens": 1024 })),
            ("tools", json!([{ "type": "web_search_20250305", "name": "web_search" }])),
            ("tool_choice", json!({ "type": "tool" })),
            ("max_tokns", json!(1)),
        ] {
            let sentence = with(name, value);
            assert!(sentence.contains(name), "{name}: {sentence}");
        }
        let misplaced = json!([{ "role": "user", "content": [{ "type": "tool_use", "id": "t", "name": "n", "input": {} }] }]);
        assert!(with("messages", misplaced).contains("assistant"));
    }
}
