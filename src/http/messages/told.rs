//! Answers as Anthropic's clients read them: one message, or the events of one.

use crate::error::ApiError;
use crate::http::chat::guarded::with_guards;
use crate::http::chat::{Heard, with_route};
use gateway::{ChatError, ChatEvent, FinishReason, Route, TokenUsage, ToolCallDelta};
use query::GuardDecision;
use serde_json::{Value, json};

/// What every answer begins with.
pub(super) struct Head {
    pub(super) id: String,
    pub(super) model: String,
}

impl Head {
    /// A whole answer.
    ///
    /// # Errors
    /// Arguments of a tool that are not JSON.
    pub(super) fn message(&self, heard: &Heard) -> Result<Value, ChatError> {
        let text = (!heard.text.is_empty()).then(|| json!({ "type": "text", "text": heard.text }));
        let mut content: Vec<Value> = text.into_iter().collect();
        for (at, call) in heard.calls.iter().enumerate() {
            let id = if call.id.is_empty() { self.call_id(at) } else { call.id.clone() };
            content.push(json!({ "type": "tool_use", "id": id, "name": call.name, "input": input(&call.arguments)? }));
        }
        let mut message = self.with(content, heard.usage);
        put(&mut message, "stop_reason", json!(stop_reason(&heard.finish_reason)));
        Ok(message)
    }

    fn with(&self, content: Vec<Value>, used: TokenUsage) -> Value {
        json!({ "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": content,
            "stop_reason": null, "stop_sequence": null, "usage": usage(used) })
    }

    fn call_id(&self, at: usize) -> String {
        format!("toolu_{}_{at}", self.id.trim_start_matches("msg_"))
    }
}

fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

fn input(arguments: &str) -> Result<Value, ChatError> {
    if arguments.trim().is_empty() {
        return Ok(json!({}));
    }
    serde_json::from_str(arguments).map_err(|error| ChatError::Malformed { reason: format!("a tool's arguments are not JSON: {error}") })
}

fn usage(used: TokenUsage) -> Value {
    json!({ "input_tokens": used.prompt_tokens, "output_tokens": used.completion_tokens })
}

fn stop_reason(reason: &FinishReason) -> &str {
    match reason {
        FinishReason::Length => "max_tokens",
        FinishReason::ToolCalls => "tool_use",
        FinishReason::ContentFilter => "refusal",
        // Clients know no other words.
        FinishReason::Stop | FinishReason::Other(_) => "end_turn",
    }
}

/// An event: its name, which is the `type` in its data too.
pub(super) type Told = (&'static str, Value);

/// An answer as its events are told. Blocks come one after the other: each is closed before the next is opened.
pub(super) struct Telling {
    head: Head,
    usage: TokenUsage,
    /// Blocks opened so far.
    blocks: usize,
    open: Open,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Nothing,
    Text,
    /// The tool call of this number.
    Call(u32),
}

impl Telling {
    /// Of a prompt of about so many tokens: the provider's count comes at the end.
    pub(super) fn new(head: Head, prompt_tokens: u64) -> Self {
        let usage = TokenUsage { prompt_tokens, ..TokenUsage::default() };
        Self { head, usage, blocks: 0, open: Open::Nothing }
    }

    /// What comes before any word.
    pub(super) fn begin(&self, route: &Route, guards: &[GuardDecision]) -> [Told; 2] {
        let message = with_guards(with_route(self.head.with(Vec::new(), self.usage), route), guards);
        [("message_start", json!({ "type": "message_start", "message": message })), ("ping", json!({ "type": "ping" }))]
    }

    /// What an event is to a client; the last tells what the guards decided about the answer.
    ///
    /// # Errors
    /// Pieces of a tool call whose block is closed already.
    pub(super) fn tell(&mut self, event: ChatEvent, guards: Option<&GuardDecision>) -> Result<Vec<Told>, ChatError> {
        let mut told = Vec::new();
        match event {
            ChatEvent::Delta(text) => {
                self.turn_to(Open::Text, || json!({ "type": "text", "text": "" }), &mut told);
                told.push(self.delta(&json!({ "type": "text_delta", "text": text })));
            }
            ChatEvent::ToolCall(piece) => self.tell_call(piece, &mut told)?,
            ChatEvent::Usage(used) => self.usage = used,
            ChatEvent::Done { finish_reason } => {
                told.extend(self.close());
                let delta = json!({ "stop_reason": stop_reason(&finish_reason), "stop_sequence": null });
                let end = json!({ "type": "message_delta", "delta": delta, "usage": usage(self.usage) });
                told.push(("message_delta", with_guards(end, guards)));
                told.push(("message_stop", json!({ "type": "message_stop" })));
            }
        }
        Ok(told)
    }

    fn tell_call(&mut self, piece: ToolCallDelta, told: &mut Vec<Told>) -> Result<(), ChatError> {
        let call = Open::Call(piece.index);
        if self.open != call && piece.name.is_none() {
            return Err(ChatError::Malformed { reason: "pieces of several tool calls are mixed".to_owned() });
        }
        let id = piece.id.unwrap_or_else(|| self.head.call_id(piece.index as usize));
        let name = piece.name.unwrap_or_default();
        self.turn_to(call, || json!({ "type": "tool_use", "id": id, "name": name, "input": {} }), told);
        if !piece.arguments.is_empty() {
            told.push(self.delta(&json!({ "type": "input_json_delta", "partial_json": piece.arguments })));
        }
        Ok(())
    }

    fn turn_to(&mut self, next: Open, block: impl FnOnce() -> Value, told: &mut Vec<Told>) {
        if self.open == next {
            return;
        }
        told.extend(self.close());
        told.push(("content_block_start", json!({ "type": "content_block_start", "index": self.blocks, "content_block": block() })));
        self.blocks += 1;
        self.open = next;
    }

    fn close(&mut self) -> Option<Told> {
        let was = std::mem::replace(&mut self.open, Open::Nothing);
        (was != Open::Nothing).then(|| ("content_block_stop", json!({ "type": "content_block_stop", "index": self.blocks - 1 })))
    }

    fn delta(&self, delta: &Value) -> Told {
        ("content_block_delta", json!({ "type": "content_block_delta", "index": self.blocks.saturating_sub(1), "delta": delta }))
    }
}

/// An error as Anthropic's clients read it, with our own stable word in `code`.
pub(in crate::http) fn anthropic_body(error: &ApiError, request_id: &str) -> Value {
    let kind = match error.status.as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        503 => "overloaded_error",
        504 => "timeout_error",
        _ => "api_error",
    };
    json!({ "type": "error", "error": { "type": kind, "message": error.detail, "code": error.code }, "request_id": request_id })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(events: Vec<ChatEvent>) -> Vec<Told> {
        let mut telling = Telling::new(Head { id: "msg_1".to_owned(), model: "m".to_owned() }, 7);
        let mut all: Vec<Told> = telling.begin(&Route::direct("d", "m"), &[]).into();
        for event in events {
            all.extend(telling.tell(event, None).unwrap());
        }
        all
    }

    fn piece(index: u32, name: Option<&str>, arguments: &str) -> ChatEvent {
        ChatEvent::ToolCall(ToolCallDelta { index, id: None, name: name.map(str::to_owned), arguments: arguments.to_owned() })
    }

    #[test]
    fn blocks_are_opened_and_closed_in_turn() {
        let usage = TokenUsage { prompt_tokens: 5, completion_tokens: 6, ..TokenUsage::default() };
        let events = vec![
            ChatEvent::Delta("a".to_owned()),
            ChatEvent::Delta("b".to_owned()),
            piece(0, Some("f"), ""),
            piece(0, None, "{}"),
            piece(1, Some("g"), "{\"x\":1}"),
            ChatEvent::Usage(usage),
            ChatEvent::Done { finish_reason: FinishReason::ToolCalls },
        ];
        let told = told(events);
        assert!(told.iter().all(|(name, data)| data["type"] == *name));
        let short: Vec<String> =
            told.iter().map(|(name, data)| format!("{} {}", name.trim_start_matches("content_block_"), data["index"])).collect();
        let expected = "message_start null,ping null,start 0,delta 0,delta 0,stop 0,start 1,delta 1,stop 1,start 2,delta 2,stop 2,\
            message_delta null,message_stop null";
        assert_eq!(short.join(","), expected);
        assert_eq!(told[0].1["message"]["usage"]["input_tokens"], 7, "about, until the provider has counted");
        assert_eq!(told[12].1["usage"], json!({ "input_tokens": 5, "output_tokens": 6 }));
        assert_eq!(told[6].1["content_block"], json!({ "type": "tool_use", "id": "toolu_1_0", "name": "f", "input": {} }));
    }

    #[test]
    fn pieces_that_come_too_late_are_no_answer() {
        let mut telling = Telling::new(Head { id: "msg_1".to_owned(), model: "m".to_owned() }, 0);
        telling.tell(piece(0, Some("f"), "{"), None).unwrap();
        telling.tell(piece(1, Some("g"), "{"), None).unwrap();
        assert!(telling.tell(piece(0, None, "}"), None).is_err());
    }
}
