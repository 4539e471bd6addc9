//! An answer in OpenAI's events.

use super::{finish_reason, head, tool_call_id, usage};
use crate::answer::Said;
use crate::content::{Piece, fragments, with_field, words};
use crate::exchange::Ask;
use crate::reply::ToolCall;
use crate::route::Dialect;
use bytes::Bytes;
use serde_json::{Value, json};

/// The events of an answer, `tokens` words in each.
pub(crate) fn pieces(ask: &Ask, said: &Said, tokens: usize) -> Vec<Piece> {
    let events = Events::of(ask);
    let mut pieces = Vec::new();
    if ask.dialect != Dialect::OpenAi {
        pieces.push(Piece::opening(events.filter()));
    }
    let content = if said.tool_calls.is_empty() { json!("") } else { Value::Null };
    pieces.push(Piece::opening(events.choice(&json!({"role": "assistant", "content": content, "refusal": null}), None)));
    let deltas = words(&said.text, tokens).into_iter().map(|words| json!({"content": words}));
    let calls = said.tool_calls.iter().enumerate().flat_map(|(place, call)| call_deltas(ask, place, call));
    pieces.extend(deltas.chain(calls).map(|delta| Piece::content(events.choice(&delta, None))));
    pieces.push(Piece::closing(events.choice(&json!({}), Some(finish_reason(said)))));
    if let Some(of) = said.usage.filter(|_| events.has_usage) {
        pieces.push(Piece::closing(events.event(json!([]), usage(of))));
    }
    pieces.push(Piece::closing(Bytes::from_static(b"data: [DONE]\n\n")));
    pieces
}

/// A tool call: its name first, then its arguments bit by bit.
fn call_deltas(ask: &Ask, place: usize, call: &ToolCall) -> Vec<Value> {
    let id = tool_call_id(ask, place, call);
    let first = json!({"index": place, "id": id, "type": "function", "function": {"name": call.name, "arguments": ""}});
    let rest = fragments(&call.argument_text()).into_iter().map(|part| json!({"index": place, "function": {"arguments": part}}));
    std::iter::once(first).chain(rest).map(|call| json!({"tool_calls": [call]})).collect()
}

struct Events {
    head: Value,
    /// Whether usage was asked for; then every event has that field.
    has_usage: bool,
}

impl Events {
    fn of(ask: &Ask) -> Self {
        let has_usage = ask.body.pointer("/stream_options/include_usage").and_then(Value::as_bool).unwrap_or_default();
        Self { head: head(ask, "chat.completion.chunk"), has_usage }
    }

    fn choice(&self, delta: &Value, finish_reason: Option<&str>) -> Bytes {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason});
        self.event(json!([choice]), Value::Null)
    }

    fn event(&self, choices: Value, usage: Value) -> Bytes {
        let data = with_field(self.head.clone(), "choices", Some(choices));
        let data = with_field(data, "usage", self.has_usage.then_some(usage));
        Bytes::from(format!("data: {data}\n\n"))
    }

    /// What Azure sends first.
    fn filter(&self) -> Bytes {
        let filtered = json!({"hate": {"filtered": false, "severity": "safe"}});
        let found = json!([{"prompt_index": 0, "content_filter_results": filtered}]);
        let data = json!({"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": found});
        Bytes::from(format!("data: {data}\n\n"))
    }
}
