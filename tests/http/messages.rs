use crate::scopes::key_line;
use crate::support::{Reply, Server, Setup};
use mock::{Fault, Finished, Mock, Reply as Scripted, Script};
use serde_json::{Value, json};

/// `gpt` of OpenAI's protocol, and `claude` of Anthropic's.
fn server(mock: &Mock, more: &str) -> Server {
    let deployment = |name: &str, provider: &str| {
        let url = mock.url();
        format!(
            "[[llm.deployments]]\nname = \"{name}\"\nprovider = \"{provider}\"\nmodel = \"{name}-1\"\nbase_url = \"{url}/v1\"\n\
             api_key_env = \"KEY_OF_THE_PROVIDER\"\n[[llm.models]]\nname = \"{name}\"\nladder = [[\"{name}\"]]\n"
        )
    };
    let models = deployment("gpt", "compatible") + &deployment("claude", "anthropic");
    Setup::hash().config(&format!("[llm.retry]\nbackoff_ms = 1\n{models}{more}")).environment("KEY_OF_THE_PROVIDER", "sk-some").start()
}

fn asked(model: &str) -> Value {
    json!({ "model": model, "max_tokens": 50, "messages": [{ "role": "user", "content": "one two three" }] })
}

fn with(mut body: Value, name: &str, value: Value) -> Value {
    body[name] = value;
    body
}

/// Names and data of a stream's events.
fn events(server: &Server, body: Value) -> Vec<(String, Value)> {
    let reply = server.post("/v1/messages", with(body, "stream", json!(true)));
    assert_eq!(reply.status, 200, "{}", reply.text());
    let text = reply.text();
    let blocks = text.split("\n\n").filter(|block| block.starts_with("event: "));
    let event = |block: &str| {
        let (name, data) = block.trim_start_matches("event: ").split_once("\ndata: ").unwrap();
        (name.to_owned(), serde_json::from_str(data).unwrap())
    };
    blocks.map(event).collect()
}

fn names(events: &[(String, Value)]) -> Vec<&str> {
    events.iter().map(|(name, _)| name.as_str()).collect()
}

/// The type and our code of a refusal, whose shape is looked at.
fn refusal(reply: &Reply) -> (u16, String, String) {
    let body = reply.json();
    assert_eq!(body["type"], "error", "{body}");
    assert!(!body["request_id"].as_str().unwrap().is_empty() && !body["error"]["message"].as_str().unwrap().is_empty(), "{body}");
    let text = |name: &str| body["error"][name].as_str().unwrap().to_owned();
    (reply.status, text("type"), text("code"))
}

#[test]
fn a_message_comes_in_one_piece_and_as_events_from_either_protocol() {
    let mock = Mock::start_on_thread(Script::default());
    let server = server(&mock, "");
    for model in ["gpt", "claude"] {
        let whole = server.post("/v1/messages", asked(model)).ok();
        assert_eq!(
            (whole["type"].as_str(), whole["role"].as_str(), whole["stop_reason"].as_str()),
            (Some("message"), Some("assistant"), Some("end_turn"))
        );
        assert_eq!((whole["model"].clone(), whole["route"]["deployment"].clone()), (json!(format!("{model}-1")), json!(model)));
        let said = whole["content"][0]["text"].as_str().unwrap();
        assert!(said.contains("one two three"), "{whole}");
        assert!(whole["usage"]["input_tokens"].as_u64().unwrap() >= 3 && whole["usage"]["output_tokens"].as_u64().unwrap() >= 3, "{whole}");
        let events = events(&server, asked(model));
        let names = names(&events);
        assert_eq!(&names[..3], ["message_start", "ping", "content_block_start"]);
        assert_eq!(&names[names.len() - 3..], ["content_block_stop", "message_delta", "message_stop"]);
        assert!(events.iter().all(|(name, data)| data["type"] == *name));
        let streamed: String = events.iter().filter_map(|(_, data)| data["delta"]["text"].as_str()).collect();
        assert_eq!((streamed.as_str(), &events[0].1["message"]["route"]), (said, &whole["route"]));
        let end = &events[events.len() - 2].1;
        assert_eq!((&end["usage"], end["delta"]["stop_reason"].as_str()), (&whole["usage"], Some("end_turn")));
    }
    let short = with(asked("claude"), "max_tokens", json!(1));
    assert_eq!(server.post("/v1/messages", short).ok()["stop_reason"], "max_tokens");
}

#[test]
fn a_tool_is_called_and_its_result_goes_back() {
    let mock = Mock::start_on_thread(Script::default());
    let server = server(&mock, "");
    for model in ["gpt", "claude"] {
        let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
        let body = with(asked(model), "tools", json!([{ "name": "weather", "description": "The weather", "input_schema": schema }]));
        let body = with(body, "tool_choice", json!({ "type": "tool", "name": "weather" }));
        let body = with(body, "system", json!([{ "type": "text", "text": "Be brief." }]));
        let whole = server.post("/v1/messages", body.clone()).ok();
        assert_eq!(whole["stop_reason"], "tool_use", "{whole}");
        let call = &whole["content"][0];
        assert_eq!((call["type"].as_str(), call["name"].as_str()), (Some("tool_use"), Some("weather")));
        assert!(call["input"]["city"].is_string() && !call["id"].as_str().unwrap().is_empty(), "{call}");
        let events = events(&server, body.clone());
        let arguments: String = events.iter().filter_map(|(_, data)| data["delta"]["partial_json"].as_str()).collect();
        assert_eq!(serde_json::from_str::<Value>(&arguments).unwrap(), call["input"], "{events:?}");
        assert_eq!(events[2].1["content_block"]["input"], json!({}));
        let result = json!([{ "type": "tool_result", "tool_use_id": call["id"], "content": [{ "type": "text", "text": "rain" }] }]);
        let messages = json!([{ "role": "user", "content": "Weather?" }, { "role": "assistant", "content": whole["content"] }, { "role": "user", "content": result }]);
        let answer = server.post("/v1/messages", with(asked(model), "messages", messages)).ok();
        assert!(answer["content"][0]["text"].as_str().unwrap().contains("rain"), "{answer}");
    }
    let first = &mock.calls()[0].body;
    assert_eq!(first["messages"][0], json!({ "role": "system", "content": "Be brief." }));
    assert_eq!((&first["max_tokens"], &first["tool_choice"]["function"]["name"]), (&json!(50), &json!("weather")));
}

#[test]
fn refusals_are_in_anthropics_shape() {
    let mock = Mock::start_on_thread(Script::default());
    let server = server(&mock, &key_line("the-key", "a", "scopes = [\"query\"]\n"));
    let send = |headers: &[(&str, &str)], body: Value| {
        let body = Some(body.to_string().into_bytes());
        server.request("POST", "/v1/messages", headers, Some("application/json"), body).unwrap()
    };
    assert_eq!(refusal(&send(&[], asked("gpt"))), (401, "authentication_error".into(), "unauthorized".into()));
    assert_eq!(send(&[("x-api-key", "other")], asked("gpt")).status, 401);
    let key = [("x-api-key", "the-key"), ("anthropic-version", "2023-06-01"), ("x-request-id", "mine")];
    let answer = send(&key, asked("gpt"));
    assert_eq!((answer.status, answer.header("request-id")), (200, Some("mine")));
    let invalid = |code: &str| (400, "invalid_request_error".to_owned(), code.to_owned());
    assert_eq!(refusal(&send(&key, with(asked("gpt"), "max_tokens", Value::Null))), invalid("bad_message"));
    assert_eq!(refusal(&send(&key, with(asked("gpt"), "max_tokns", json!(1)))), invalid("bad_body"));
    assert_eq!(refusal(&send(&key, with(asked("gpt"), "messages", json!([])))), invalid("bad_message"));
    assert_eq!(refusal(&send(&key, asked("none"))), (404, "not_found_error".into(), "model_not_found".into()));
    let large = with(asked("gpt"), "system", json!("x".repeat(5 << 20)));
    assert_eq!(refusal(&send(&key, large)), (413, "request_too_large".into(), "body_too_large".into()));
    let keyed = server.view(Some("the-key"));
    assert_eq!(refusal(&keyed.get("/v1/messages")).0, 405);
    assert_eq!(mock.call_count(), 1, "only the one that was right");
}

#[test]
fn failures_of_the_provider_are_told_before_and_in_the_middle_of_a_stream() {
    let mock = Mock::start_on_thread(Script::always(Scripted::status(429).header("retry-after", "90")));
    let server = server(&mock, "");
    let limited = server.post("/v1/messages", asked("gpt"));
    assert_eq!(refusal(&limited), (429, "rate_limit_error".into(), "model_limited".into()));
    assert!(limited.header("retry-after").is_some());
    mock.set_script(Script::always(Scripted::text("one two three").with_fault(Fault::ResetInBody(2))));
    let events = events(&server, asked("claude"));
    let (name, last) = events.last().unwrap();
    assert_eq!((name.as_str(), &last["error"]["type"], &last["error"]["code"]), ("error", &json!("api_error"), &json!("model_failed")));
    assert!(!names(&events).contains(&"message_stop") && last["request_id"].is_string(), "{events:?}");
    assert_eq!(mock.calls().last().unwrap().finished, Some(Finished::Faulted));
}

#[test]
fn tokens_are_counted_without_asking_anybody() {
    let mock = Mock::start_on_thread(Script::default());
    let server = server(&mock, "");
    let count = |body: Value| server.post("/v1/messages/count_tokens", body).ok()["input_tokens"].as_u64().unwrap();
    let body = json!({ "model": "gpt", "messages": [{ "role": "user", "content": "one two three" }] });
    let plain = count(body.clone());
    let tools = json!([{ "name": "weather", "input_schema": { "type": "object", "properties": { "city": { "type": "string" } } } }]);
    assert!(plain >= 3 && count(with(body.clone(), "tools", tools)) > plain + 10);
    assert!(count(with(body.clone(), "system", json!("Be brief."))) > plain);
    assert_eq!(refusal(&server.post("/v1/messages/count_tokens", with(body, "model", json!("none")))).0, 404);
    assert_eq!(mock.call_count(), 0);
}
