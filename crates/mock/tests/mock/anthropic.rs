//! Anthropic's messages.

use crate::client::{message, request};
use ragstone_mock::{Mock, Reply, Script, Usage};
use serde_json::{Value, json};

fn question(is_streamed: bool) -> Value {
    json!({"model": "claude", "max_tokens": 50, "stream": is_streamed, "system": "Be brief.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "one two"}]}]})
}

fn names(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("event: ")).collect()
}

#[test]
fn a_key_and_a_version_are_wanted() {
    let mock = Mock::start_on_thread(Script::default());
    let ask = |headers: &[(&str, &str)]| {
        let answer = request(&mock, "POST", "/v1/messages", headers, &question(false).to_string());
        let body = answer.json();
        assert_eq!(body["type"], "error");
        (answer.status(), body["error"]["type"].as_str().unwrap().to_owned())
    };
    assert_eq!(ask(&[]), (401, "authentication_error".to_owned()));
    assert_eq!(ask(&[("authorization", "Bearer x"), ("anthropic-version", "2023-06-01")]), (401, "authentication_error".to_owned()));
    assert_eq!(ask(&[("x-api-key", "x")]), (400, "invalid_request_error".to_owned()));
    let mut without = question(false);
    without.as_object_mut().unwrap().remove("max_tokens");
    assert_eq!(message(&mock, &without).status(), 400);
}

#[test]
fn a_message_is_answered_whole() {
    let mock = Mock::start_on_thread(Script::default());
    let body = message(&mock, &question(false)).json();
    assert_eq!((&body["type"], &body["role"], &body["model"]), (&json!("message"), &json!("assistant"), &json!("claude")));
    assert_eq!(body["content"], json!([{"type": "text", "text": "You said: one two"}]));
    assert_eq!(
        (&body["stop_reason"], &body["usage"]["input_tokens"], &body["usage"]["output_tokens"]),
        (&json!("end_turn"), &json!(4), &json!(4))
    );
    mock.set_script(Script::always(Reply::text("x").usage(Usage { prompt_tokens: 100, completion_tokens: 1, cached_tokens: 90 })));
    let usage = message(&mock, &question(false)).json()["usage"].clone();
    assert_eq!((&usage["input_tokens"], &usage["cache_read_input_tokens"]), (&json!(10), &json!(90)));
    let mut short = question(false);
    short["max_tokens"] = json!(3);
    mock.set_script(Script::default());
    assert_eq!(message(&mock, &short).json()["stop_reason"], "max_tokens");
}

#[test]
fn a_stream_has_the_events_in_their_order() {
    let mock = Mock::start_on_thread(Script::default());
    let answer = message(&mock, &question(true));
    let expected = [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(names(answer.text()), expected);
    assert_eq!(answer.said(), "You said: one two");
    let events = answer.events();
    assert!(events.iter().zip(expected).all(|(event, name)| event["type"] == name));
    assert_eq!((&events[0]["message"]["usage"]["input_tokens"], &events[0]["message"]["stop_reason"]), (&json!(4), &Value::Null));
    assert_eq!((&events[8]["delta"]["stop_reason"], &events[8]["usage"]["output_tokens"]), (&json!("end_turn"), &json!(4)));
}

#[test]
fn a_tool_is_used_whole_and_in_pieces() {
    let reply = Reply { text: Some("Let me look.".to_owned()), ..Reply::tool_call("search", json!({"query": "lamp oil"})) };
    let mock = Mock::start_on_thread(Script::always(reply.tokens(10)));
    let body = message(&mock, &question(false)).json();
    assert_eq!((&body["stop_reason"], &body["content"][0]["type"]), (&json!("tool_use"), &json!("text")));
    assert_eq!(body["content"][1]["input"], json!({"query": "lamp oil"}));

    let events = message(&mock, &question(true)).events();
    let starts: Vec<&Value> = events.iter().filter(|event| event["type"] == "content_block_start").collect();
    assert_eq!((&starts[1]["index"], &starts[1]["content_block"]["name"]), (&json!(1), &json!("search")));
    assert_eq!(starts[1]["content_block"]["input"], json!({}));
    let parts: String = events.iter().filter_map(|event| event["delta"]["partial_json"].as_str()).collect();
    assert_eq!(serde_json::from_str::<Value>(&parts).unwrap(), json!({"query": "lamp oil"}));

    mock.set_script(Script::default());
    let schema = json!({"type": "object", "properties": {"query": {"type": "string"}}});
    let result = json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "colza"}]});
    let mut asked = question(false);
    asked["tools"] = json!([{"name": "search", "input_schema": schema}]);
    asked["messages"] = json!([{"role": "user", "content": "search it"}]);
    assert_eq!(message(&mock, &asked).json()["content"][0]["input"], json!({"query": "search it"}));
    asked["messages"].as_array_mut().unwrap().push(result);
    assert_eq!(message(&mock, &asked).json()["content"][0]["text"], "The tool said: colza");
}
