//! Anthropic's Messages protocol as JSON.

mod heard;

pub(super) use heard::Anthropic;

use crate::{ChatError, ChatMessage, ChatRequest, Content, ImageUrl, OutputFormat, Part, Role, Tool, ToolCall, ToolChoice};
use serde_json::{Map, Value, json};

/// The protocol demands a limit; this one where the request has none.
const MAX_TOKENS: u32 = 4096;
/// The protocol has no other way to ask for JSON without a schema.
const ANSWER_IN_JSON: &str = "Answer with one JSON object and nothing else.";

/// The body of a request.
///
/// # Errors
/// [`ChatError::Unsupported`]: what can't be said in this protocol.
pub(super) fn body(model: &str, request: &ChatRequest) -> Result<Value, ChatError> {
    let mut body = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    let system = system(request);
    put("model", Some(json!(model)));
    put("max_tokens", Some(json!(request.max_tokens.unwrap_or(MAX_TOKENS))));
    put("stream", Some(json!(true)));
    put("system", (!system.is_empty()).then(|| json!(system)));
    put("messages", Some(Value::Array(messages(&request.messages)?)));
    // The scale ends at 1 here.
    put("temperature", request.temperature.map(|temperature| json!(temperature.min(1.0))));
    put("top_p", request.top_p.map(|top_p| json!(top_p)));
    put("top_k", request.passed_on.get("top_k").cloned());
    put("stop_sequences", (!request.stop.is_empty()).then(|| json!(request.stop)));
    put("tools", (!request.tools.is_empty()).then(|| request.tools.iter().map(tool).collect()));
    put("tool_choice", tool_choice(request));
    if let OutputFormat::Schema { schema, .. } = &request.output {
        put("output_config", Some(json!({ "format": { "type": "json_schema", "schema": schema } })));
    }
    Ok(Value::Object(body))
}

fn system(request: &ChatRequest) -> String {
    let said = request.messages.iter().filter(|message| message.role == Role::System).map(|message| message.content.text().into_owned());
    let demanded = (request.output == OutputFormat::Json).then(|| ANSWER_IN_JSON.to_owned());
    said.chain(demanded).collect::<Vec<_>>().join("\n\n")
}

/// Turns alternate: what one side says in several messages becomes one, results of tools being the user's.
fn messages(messages: &[ChatMessage]) -> Result<Vec<Value>, ChatError> {
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in messages.iter().filter(|message| message.role != Role::System) {
        let role = if message.role == Role::Assistant { "assistant" } else { "user" };
        let blocks = blocks(message)?;
        match turns.last_mut() {
            Some((last, said)) if *last == role => said.extend(blocks),
            _ => turns.push((role, blocks)),
        }
    }
    Ok(turns.into_iter().map(|(role, content)| json!({ "role": role, "content": content })).collect())
}

fn blocks(message: &ChatMessage) -> Result<Vec<Value>, ChatError> {
    if message.role == Role::Tool {
        let id = message.tool_call_id.as_deref().unwrap_or_default();
        return Ok(vec![json!({ "type": "tool_result", "tool_use_id": id, "content": message.content.text() })]);
    }
    let mut blocks = content(&message.content);
    for call in &message.tool_calls {
        blocks.push(tool_use(call)?);
    }
    Ok(blocks)
}

/// Empty text is refused by the protocol.
fn content(content: &Content) -> Vec<Value> {
    let text = |text: &str| (!text.is_empty()).then(|| json!({ "type": "text", "text": text }));
    match content {
        Content::Text(words) => text(words).into_iter().collect(),
        Content::Parts(parts) => parts
            .iter()
            .filter_map(|part| match part {
                Part::Text { text: words } => text(words),
                Part::ImageUrl { image_url } => Some(image(image_url)),
            })
            .collect(),
    }
}

fn image(image: &ImageUrl) -> Value {
    let inline = image.url.strip_prefix("data:").and_then(|data| data.split_once(";base64,"));
    let source = match inline {
        Some((media_type, data)) => json!({ "type": "base64", "media_type": media_type, "data": data }),
        None => json!({ "type": "url", "url": image.url }),
    };
    json!({ "type": "image", "source": source })
}

fn tool_use(call: &ToolCall) -> Result<Value, ChatError> {
    let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
    let input: Value = serde_json::from_str(arguments).map_err(|error| ChatError::Unsupported {
        reason: format!("the arguments of the tool call {:?} are not JSON: {error}", call.id),
    })?;
    Ok(json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": input }))
}

fn tool(tool: &Tool) -> Value {
    let schema = tool.parameters.clone().unwrap_or_else(|| json!({ "type": "object", "properties": {} }));
    let mut fields = Map::from_iter([("name".to_owned(), json!(tool.name)), ("input_schema".to_owned(), schema)]);
    if let Some(description) = &tool.description {
        fields.insert("description".to_owned(), json!(description));
    }
    Value::Object(fields)
}

fn tool_choice(request: &ChatRequest) -> Option<Value> {
    if request.tools.is_empty() {
        return None;
    }
    let one_at_a_time = request.passed_on.get("parallel_tool_calls") == Some(&json!(false));
    let mut choice = match request.tool_choice.as_ref() {
        None if !one_at_a_time => return None,
        None | Some(ToolChoice::Auto) => json!({ "type": "auto" }),
        Some(ToolChoice::None) => return Some(json!({ "type": "none" })),
        Some(ToolChoice::Required) => json!({ "type": "any" }),
        Some(ToolChoice::Function(name)) => json!({ "type": "tool", "name": name }),
    };
    if let Some(fields) = choice.as_object_mut().filter(|_| one_at_a_time) {
        fields.insert("disable_parallel_tool_use".to_owned(), json!(true));
    }
    Some(choice)
}
