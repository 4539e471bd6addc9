//! Anthropic's messages: what a request asks, and answers to it, whole and in events.
//!
//! Source: the API reference of Anthropic (`messages`, "Streaming messages").

mod stream;

pub(crate) use stream::pieces;

use crate::answer::{Choice, Prompt, Said, Stop, Tool, count_words, text_of};
use crate::content::with_field;
use crate::exchange::Ask;
use crate::refusal::Refusal;
use crate::reply::{ToolCall, Usage};
use serde_json::{Value, json};

/// Reads a request.
pub(crate) fn prompt(body: &Value) -> Result<Prompt, Refusal> {
    let messages = body.get("messages").and_then(Value::as_array).filter(|messages| !messages.is_empty());
    let messages = messages.ok_or_else(|| Refusal::bad_request("messages: at least one message is required"))?;
    let words_max = body.get("max_tokens").and_then(Value::as_u64).and_then(|max| usize::try_from(max).ok());
    let words_max = words_max.filter(|max| *max > 0).ok_or_else(|| Refusal::bad_request("max_tokens: Field required"))?;
    let is_users = |message: &&Value| message.get("role").and_then(Value::as_str) == Some("user");
    let last = messages.iter().rfind(is_users).and_then(|message| message.get("content"));
    let result = last.and_then(tool_result);
    // What a tool said is a message of the user, too; the question is the one before.
    let asks = |message: &&Value| is_users(message) && message.get("content").and_then(tool_result).is_none();
    let question = text_of(messages.iter().rfind(asks).and_then(|message| message.get("content")));
    let words = messages.iter().map(|message| words_of(message.get("content"))).sum::<u64>() + words_of(body.get("system"));
    let tools = body.get("tools").and_then(Value::as_array).into_iter().flatten().filter_map(tool).collect();
    Ok(Prompt { question, tool_result: result, words, tools, choice: choice(body), words_max: Some(words_max), ..Prompt::default() })
}

fn words_of(content: Option<&Value>) -> u64 {
    count_words(&text_of(content)) + content.and_then(tool_result).map_or(0, |result| count_words(&result))
}

fn tool_result(content: &Value) -> Option<String> {
    let is_result = |part: &&Value| part.get("type").and_then(Value::as_str) == Some("tool_result");
    Some(text_of(content.as_array()?.iter().find(is_result)?.get("content")))
}

fn tool(tool: &Value) -> Option<Tool> {
    Some(Tool { name: tool.get("name")?.as_str()?.to_owned(), schema: tool.get("input_schema").cloned().unwrap_or_default() })
}

fn choice(body: &Value) -> Choice {
    let named = || body.pointer("/tool_choice/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    match body.pointer("/tool_choice/type").and_then(Value::as_str) {
        Some("none") => Choice::Never,
        Some("any") => Choice::Some,
        Some("tool") => Choice::Named(named()),
        _ => Choice::Auto,
    }
}

/// The whole answer.
pub(crate) fn message(ask: &Ask, said: &Said) -> Value {
    let text = (!said.text.is_empty() || said.tool_calls.is_empty()).then(|| json!({"type": "text", "text": said.text}));
    let calls = said.tool_calls.iter().enumerate().map(|(place, call)| {
        let input = serde_json::from_str::<Value>(&call.argument_text()).unwrap_or_default();
        json!({"type": "tool_use", "id": tool_use_id(ask, place, call), "name": call.name, "input": input})
    });
    let content: Vec<Value> = text.into_iter().chain(calls).collect();
    let answer = json!({"id": format!("msg_{}", ask.number), "type": "message", "role": "assistant", "model": ask.model,
        "content": content, "stop_reason": stop_reason(said), "stop_sequence": null});
    with_field(answer, "usage", said.usage.map(|of| usage(of, of.completion_tokens)))
}

fn tool_use_id(ask: &Ask, place: usize, call: &ToolCall) -> String {
    call.id.clone().unwrap_or_else(|| format!("toolu_{}_{place}", ask.number))
}

fn stop_reason(said: &Said) -> &str {
    let usual = match said.stop {
        Stop::Finished => "end_turn",
        Stop::Length => "max_tokens",
        Stop::Tools => "tool_use",
    };
    said.finish_reason.as_deref().unwrap_or(usual)
}

/// Cached tokens are not among the `input_tokens` here.
fn usage(usage: Usage, output_tokens: u64) -> Value {
    let input_tokens = usage.prompt_tokens.saturating_sub(usage.cached_tokens);
    json!({"input_tokens": input_tokens, "cache_creation_input_tokens": 0, "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": output_tokens})
}
