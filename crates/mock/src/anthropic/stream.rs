//! An answer in Anthropic's events: one block of text, then one per tool call.

use super::{stop_reason, tool_use_id, usage};
use crate::answer::Said;
use crate::content::{Piece, fragments, with_field, words};
use crate::exchange::Ask;
use bytes::Bytes;
use serde_json::{Value, json};

/// The events of an answer, `tokens` words in each.
pub(crate) fn pieces(ask: &Ask, said: &Said, tokens: usize) -> Vec<Piece> {
    let mut pieces = vec![Piece::opening(event("message_start", json!({"message": start(ask, said)})))];
    let blocks = blocks(ask, said, tokens);
    let stop = |index: usize| event("content_block_stop", json!({"index": index}));
    let last = blocks.len().saturating_sub(1);
    for (index, block) in blocks.into_iter().enumerate() {
        pieces.push(Piece::opening(event("content_block_start", json!({"index": index, "content_block": block.start}))));
        if index == 0 {
            pieces.push(Piece::opening(event("ping", json!({}))));
        }
        let deltas = block.deltas.into_iter().map(|delta| event("content_block_delta", json!({"index": index, "delta": delta})));
        pieces.extend(deltas.map(Piece::content));
        pieces.push(if index == last { Piece::closing(stop(index)) } else { Piece::opening(stop(index)) });
    }
    pieces.push(Piece::closing(event("message_delta", end(said))));
    pieces.push(Piece::closing(event("message_stop", json!({}))));
    pieces
}

struct Block {
    start: Value,
    deltas: Vec<Value>,
}

fn blocks(ask: &Ask, said: &Said, tokens: usize) -> Vec<Block> {
    let has_text = !said.text.is_empty() || said.tool_calls.is_empty();
    let text = has_text.then(|| {
        let deltas = words(&said.text, tokens).into_iter().map(|text| json!({"type": "text_delta", "text": text})).collect();
        Block { start: json!({"type": "text", "text": ""}), deltas }
    });
    let calls = said.tool_calls.iter().enumerate().map(|(place, call)| {
        let start = json!({"type": "tool_use", "id": tool_use_id(ask, place, call), "name": call.name, "input": {}});
        // The first one is always empty.
        let parts = std::iter::once(String::new()).chain(fragments(&call.argument_text()));
        Block { start, deltas: parts.map(|part| json!({"type": "input_json_delta", "partial_json": part})).collect() }
    });
    text.into_iter().chain(calls).collect()
}

/// The message before anything is said.
fn start(ask: &Ask, said: &Said) -> Value {
    let message = json!({"id": format!("msg_{}", ask.number), "type": "message", "role": "assistant", "model": ask.model,
        "content": [], "stop_reason": null, "stop_sequence": null});
    with_field(message, "usage", said.usage.map(|of| usage(of, 1)))
}

fn end(said: &Said) -> Value {
    let end = json!({"delta": {"stop_reason": stop_reason(said), "stop_sequence": null}});
    with_field(end, "usage", said.usage.map(|of| json!({"output_tokens": of.completion_tokens})))
}

fn event(name: &str, data: Value) -> Bytes {
    let data = with_field(data, "type", Some(name.into()));
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}
