//! The protocol's bodies and events, as Anthropic documents them.

use super::wire::{Anthropic, body};
use crate::providers::reply::Protocol;
use crate::{
    ChatError, ChatEvent, ChatMessage, ChatRequest, Content, FinishReason, ImageUrl, OutputFormat, Part, Role, TokenUsage, Tool, ToolCall,
    ToolCallDelta, ToolChoice,
};
use serde_json::json;

fn read(protocol: &mut Anthropic, events: &[serde_json::Value]) -> (Vec<ChatEvent>, Option<TokenUsage>, Option<FinishReason>) {
    let (mut heard, mut usage, mut finish_reason) = (Vec::new(), None, None);
    for event in events {
        let said = protocol.read(&event.to_string()).unwrap();
        heard.extend(said.events);
        usage = said.usage.or(usage);
        finish_reason = said.finish_reason.or(finish_reason);
    }
    (heard, usage, finish_reason)
}

#[test]
fn a_conversation_with_tools_and_pictures_becomes_turns_of_blocks() {
    let call = ToolCall { id: "call_1".into(), name: "weather".into(), arguments: r#"{"city":"Oslo"}"#.into() };
    let picture = Part::ImageUrl { image_url: ImageUrl { url: "data:image/png;base64,AAAA".into(), detail: None } };
    let result = |id: &str| ChatMessage { tool_call_id: Some(id.into()), ..ChatMessage::new(Role::Tool, "rain") };
    let request = ChatRequest {
        max_tokens: Some(50),
        temperature: Some(1.5),
        stop: vec!["END".into()],
        tools: vec![Tool { name: "weather".into(), description: None, parameters: None, strict: None }],
        tool_choice: Some(ToolChoice::Required),
        output: OutputFormat::Json,
        ..ChatRequest::new(vec![
            ChatMessage::system("Be brief."),
            ChatMessage { content: Content::Parts(vec![Part::Text { text: "Weather?".into() }, picture]), ..ChatMessage::user("") },
            ChatMessage { tool_calls: vec![call], ..ChatMessage::new(Role::Assistant, "") },
            result("call_1"),
            result("call_2"),
        ])
    };
    let expected = json!({
        "model": "m", "max_tokens": 50, "stream": true, "temperature": 1.0, "stop_sequences": ["END"],
        "system": "Be brief.\n\nAnswer with one JSON object and nothing else.",
        "tools": [{ "name": "weather", "input_schema": { "type": "object", "properties": {} } }],
        "tool_choice": { "type": "any" },
        "messages": [
            { "role": "user", "content": [
                { "type": "text", "text": "Weather?" },
                { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AAAA" } }] },
            { "role": "assistant", "content": [{ "type": "tool_use", "id": "call_1", "name": "weather", "input": { "city": "Oslo" } }] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "call_1", "content": "rain" },
                { "type": "tool_result", "tool_use_id": "call_2", "content": "rain" }] },
        ],
    });
    assert_eq!(body("m", &request).unwrap(), expected);
}

#[test]
fn arguments_that_are_not_json_are_named() {
    let call = ToolCall { id: "call_1".into(), name: "weather".into(), arguments: "{".into() };
    let request = ChatRequest::new(vec![ChatMessage { tool_calls: vec![call], ..ChatMessage::new(Role::Assistant, "") }]);
    assert!(matches!(body("m", &request), Err(ChatError::Unsupported { .. })));
}

#[test]
fn a_stream_of_text_and_tools_is_heard() {
    let mut protocol = Anthropic::default();
    let usage = json!({ "input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 1 });
    let (heard, usage, finish_reason) = read(
        &mut protocol,
        &[
            json!({ "type": "message_start", "message": { "id": "msg_1", "content": [], "stop_reason": null, "usage": usage } }),
            json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
            json!({ "type": "ping" }),
            json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "Let me see." } }),
            json!({ "type": "content_block_stop", "index": 0 }),
            json!({ "type": "content_block_start", "index": 1,
                "content_block": { "type": "tool_use", "id": "toolu_1", "name": "weather", "input": {} } }),
            json!({ "type": "content_block_delta", "index": 1, "delta": { "type": "input_json_delta", "partial_json": "{\"city\"" } }),
            json!({ "type": "content_block_delta", "index": 1, "delta": { "type": "input_json_delta", "partial_json": ":1}" } }),
            json!({ "type": "content_block_stop", "index": 1 }),
            json!({ "type": "content_block_start", "index": 2,
                "content_block": { "type": "tool_use", "id": "toolu_2", "name": "now", "input": {} } }),
            json!({ "type": "content_block_stop", "index": 2 }),
            json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" }, "usage": { "output_tokens": 9 } }),
        ],
    );
    let begun = |index, id: &str, name: &str| {
        ChatEvent::ToolCall(ToolCallDelta { index, id: Some(id.into()), name: Some(name.into()), arguments: String::new() })
    };
    let more = |index, arguments: &str| ChatEvent::ToolCall(ToolCallDelta { index, arguments: arguments.into(), ..Default::default() });
    let expected = [
        ChatEvent::Delta("Let me see.".into()),
        begun(0, "toolu_1", "weather"),
        more(0, "{\"city\""),
        more(0, ":1}"),
        begun(1, "toolu_2", "now"),
        more(1, "{}"),
    ];
    assert_eq!(heard, expected);
    assert_eq!(usage, Some(TokenUsage { prompt_tokens: 15, completion_tokens: 9, cached_tokens: 5, ..TokenUsage::default() }));
    assert_eq!(finish_reason, Some(FinishReason::ToolCalls));
    assert!(protocol.read(r#"{"type":"message_stop"}"#).unwrap().is_last);
}

#[test]
fn thoughts_are_a_sign_of_life_and_errors_have_the_status_they_would_have_had() {
    let mut protocol = Anthropic::default();
    let thought = json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "thinking_delta", "thinking": "hm" } });
    assert_eq!(protocol.read(&thought.to_string()).unwrap().thought.as_deref(), Some("hm"));
    for (kind, expected) in [("overloaded_error", 529), ("rate_limit_error", 429), ("api_error", 500)] {
        let event = json!({ "type": "error", "error": { "type": kind, "message": "later" } });
        let error = protocol.read(&event.to_string()).err().unwrap();
        assert_eq!(error, ChatError::Status { status: expected, retry_after: None, message: "later".into() });
    }
}

#[test]
fn a_whole_message_says_the_same() {
    let message = json!({ "type": "message", "content": [{ "type": "text", "text": "Hi" },
        { "type": "tool_use", "id": "toolu_1", "name": "now", "input": {} }],
        "stop_reason": "tool_use", "usage": { "input_tokens": 3, "output_tokens": 4 } });
    let said = Anthropic::default().read_whole(message.to_string().as_bytes()).unwrap();
    let call = |id: Option<&str>, name: Option<&str>, arguments: &str| {
        ChatEvent::ToolCall(ToolCallDelta { index: 0, id: id.map(Into::into), name: name.map(Into::into), arguments: arguments.into() })
    };
    assert_eq!(said.events, [ChatEvent::Delta("Hi".into()), call(Some("toolu_1"), Some("now"), ""), call(None, None, "{}")]);
    assert_eq!(said.usage, Some(TokenUsage { prompt_tokens: 3, completion_tokens: 4, ..TokenUsage::default() }));
}
