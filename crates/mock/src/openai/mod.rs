//! OpenAI's chat format: what a request asks, and answers to it, whole and in events.
//!
//! Source: the API reference of OpenAI (`chat/create`, `chat-streaming`, `models/list`); Azure's
//! differences from a stream of its own: a first event without choices, with what its filter found.

mod stream;

pub(crate) use stream::pieces;

use crate::answer::{Choice, Format, Prompt, Said, Stop, Tool, count_words, text_of};
use crate::content::with_field;
use crate::exchange::Ask;
use crate::refusal::Refusal;
use crate::reply::{ToolCall, Usage};
use crate::script::Script;
use serde_json::{Value, json};

/// When everything was made. The same request gives the same bytes.
pub(crate) const CREATED: u64 = 1_700_000_000;

/// Reads a request.
pub(crate) fn prompt(body: &Value) -> Result<Prompt, Refusal> {
    let messages = body.get("messages").and_then(Value::as_array).filter(|messages| !messages.is_empty());
    let messages = messages.ok_or_else(|| Refusal::bad_request("messages must be a list with at least one message"))?;
    let is_by = |message: &Value, role: &str| message.get("role").and_then(Value::as_str) == Some(role);
    let text = |message: &Value| text_of(message.get("content"));
    let question = messages.iter().rfind(|message| is_by(message, "user")).map(text).unwrap_or_default();
    let tool_result = messages.last().filter(|message| is_by(message, "tool")).map(text);
    let words = messages.iter().map(|message| count_words(&text(message))).sum();
    let tools = body.get("tools").and_then(Value::as_array).into_iter().flatten().filter_map(tool).collect();
    let words_max = body.get("max_completion_tokens").or_else(|| body.get("max_tokens")).and_then(Value::as_u64);
    let words_max = words_max.and_then(|max| usize::try_from(max).ok());
    Ok(Prompt { question, tool_result, words, tools, choice: choice(body), words_max, format: format(body) })
}

fn tool(tool: &Value) -> Option<Tool> {
    let function = tool.get("function")?;
    let schema = function.get("parameters").cloned().unwrap_or_default();
    Some(Tool { name: function.get("name")?.as_str()?.to_owned(), schema })
}

fn choice(body: &Value) -> Choice {
    match body.get("tool_choice") {
        Some(Value::String(choice)) if choice == "none" => Choice::Never,
        Some(Value::String(choice)) if choice == "required" => Choice::Some,
        Some(choice) => {
            choice.pointer("/function/name").and_then(Value::as_str).map_or(Choice::Auto, |name| Choice::Named(name.to_owned()))
        }
        None => Choice::Auto,
    }
}

fn format(body: &Value) -> Format {
    match body.pointer("/response_format/type").and_then(Value::as_str) {
        Some("json_object") => Format::Json,
        Some("json_schema") => Format::Schema(body.pointer("/response_format/json_schema/schema").cloned().unwrap_or_default()),
        _ => Format::Text,
    }
}

/// The whole answer.
pub(crate) fn completion(ask: &Ask, said: &Said) -> Value {
    let calls: Vec<Value> = said.tool_calls.iter().enumerate().map(|(place, call)| tool_call(ask, place, call)).collect();
    let content = if said.text.is_empty() && !calls.is_empty() { Value::Null } else { json!(said.text) };
    let message = json!({"role": "assistant", "content": content, "refusal": null});
    let message = with_field(message, "tool_calls", (!calls.is_empty()).then(|| json!(calls)));
    let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(said)});
    let answer = with_field(head(ask, "chat.completion"), "choices", Some(json!([choice])));
    with_field(answer, "usage", said.usage.map(usage))
}

/// What whole answers and events have in common.
fn head(ask: &Ask, object: &str) -> Value {
    let id = format!("chatcmpl-{}", ask.number);
    json!({"id": id, "object": object, "created": CREATED, "model": ask.model, "system_fingerprint": "fp_mock"})
}

fn tool_call(ask: &Ask, place: usize, call: &ToolCall) -> Value {
    json!({"id": tool_call_id(ask, place, call), "type": "function", "function": {"name": call.name, "arguments": call.argument_text()}})
}

fn tool_call_id(ask: &Ask, place: usize, call: &ToolCall) -> String {
    call.id.clone().unwrap_or_else(|| format!("call_{}_{place}", ask.number))
}

fn finish_reason(said: &Said) -> &str {
    let usual = match said.stop {
        Stop::Finished => "stop",
        Stop::Length => "length",
        Stop::Tools => "tool_calls",
    };
    said.finish_reason.as_deref().unwrap_or(usual)
}

fn usage(usage: Usage) -> Value {
    let Usage { prompt_tokens, completion_tokens, cached_tokens } = usage;
    let total_tokens = prompt_tokens.saturating_add(completion_tokens);
    json!({"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total_tokens,
        "prompt_tokens_details": {"cached_tokens": cached_tokens}})
}

/// The list of models: those of the script, and one for those who have no script.
pub(crate) fn models(script: &Script) -> Value {
    let model = |id| json!({"id": id, "object": "model", "created": CREATED, "owned_by": "ragstone-mock"});
    let data: Vec<Value> = std::iter::once("mock").chain(script.models()).map(model).collect();
    json!({"object": "list", "data": data})
}
