use crate::support::{Server, Setup};
use mock::{Finished, Mock, Reply, Script};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// `first` of OpenAI's protocol, then `second` of Anthropic's; `small` is both in this order, `claude` the second alone.
fn server(mock: &Mock, more: &str) -> Server {
    let url = mock.url();
    let deployments = format!(
        "[[llm.deployments]]\nname = \"first\"\nprovider = \"compatible\"\nmodel = \"gpt-first\"\nbase_url = \"{url}/v1\"\n\
         [[llm.deployments]]\nname = \"second\"\nprovider = \"anthropic\"\nmodel = \"claude-second\"\nbase_url = \"{url}/v1\"\n\
         api_key_env = \"KEY_OF_THE_SECOND\"\n\
         [[llm.models]]\nname = \"small\"\nladder = [[\"first\"], [\"second\"]]\n\
         [[llm.models]]\nname = \"claude\"\nladder = [[\"second\"]]\n\
         [[llm.choices]]\nname = \"auto\"\nsimple = \"small\"\nmoderate = \"small\"\ncomplex = \"claude\"\n"
    );
    let timings = "[llm]\nfirst_token_timeout_s = 1\n[llm.retry]\nbackoff_ms = 1\n";
    Setup::hash().config(&format!("{timings}{deployments}{more}")).environment("KEY_OF_THE_SECOND", "sk-canary-2").start()
}

fn asked(model: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": "one two three" }] })
}

/// The data of a stream's events.
fn stream(server: &Server, mut body: Value) -> Vec<String> {
    body["stream"] = json!(true);
    let reply = server.post("/v1/chat/completions", body);
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.text().lines().filter_map(|line| line.strip_prefix("data: ").map(str::to_owned)).collect()
}

fn words(events: &[String]) -> String {
    let parsed = events.iter().filter_map(|data| serde_json::from_str::<Value>(data).ok());
    parsed.filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned)).collect()
}

#[test]
fn a_model_answers_in_one_piece_and_as_a_stream_over_either_protocol() {
    let mock = Mock::start_on_thread(Script::default());
    let server = server(&mock, "");
    for (model, provider) in [("small", "gpt-first"), ("claude", "claude-second"), ("auto", "gpt-first")] {
        let whole = server.post("/v1/chat/completions", asked(model)).ok();
        assert_eq!((whole["object"].as_str(), whole["model"].as_str()), (Some("chat.completion"), Some(provider)), "{whole}");
        let said = whole["choices"][0]["message"]["content"].as_str().unwrap();
        assert!(said.contains("one two three"), "{said}");
        assert_eq!(whole["choices"][0]["finish_reason"], "stop");
        assert!(whole["usage"]["total_tokens"].as_u64().unwrap() > 3, "{whole}");
        let events = stream(&server, asked(model));
        assert_eq!((words(&events).as_str(), events.last().unwrap().as_str()), (said, "[DONE]"));
        assert!(!events.iter().any(|data| data.contains("\"usage\"")), "nobody asked for it");
    }
    let route = server.post("/v1/chat/completions", asked("auto")).ok()["route"].clone();
    let first: Value = serde_json::from_str(&stream(&server, asked("auto"))[0]).unwrap();
    assert_eq!(first["route"], route, "a stream says it in its first chunk");
    let choice = &route["choice"];
    let inputs = json!({ "prompt_tokens": 4, "thoughts": 0, "questions": 0, "has_code": false, "tools": 0, "has_schema": false, "max_tokens": null });
    assert_eq!((&choice["inputs"], choice["score"].as_u64(), &choice["because"]), (&inputs, Some(0), &json!([])), "{choice}");
    assert_eq!((choice["complexity"].as_str(), choice["model"].as_str()), (Some("simple"), Some("small")), "{choice}");
    let mut body = asked("small");
    body["stream_options"] = json!({ "include_usage": true });
    let events = stream(&server, body);
    let usage: Value = serde_json::from_str(&events[events.len() - 2]).unwrap();
    assert!(usage["choices"].as_array().unwrap().is_empty() && usage["usage"]["total_tokens"].as_u64().unwrap() > 3);
    assert!(mock.calls().iter().filter(|call| call.model == "claude-second").all(|call| call.authorization));
}

#[test]
fn tools_and_parameters_go_through_both_protocols_and_back() {
    let script = Script::always(Reply::tool_call("weather", json!({ "city": "Oslo" })));
    let mock = Mock::start_on_thread(script);
    let server = server(&mock, "");
    let tool = json!({ "type": "function", "function": { "name": "weather", "parameters": { "type": "object" } } });
    for model in ["small", "claude"] {
        let mut body = asked(model);
        body["tools"] = json!([tool]);
        body["tool_choice"] = json!("required");
        body["max_completion_tokens"] = json!(33);
        body["seed"] = json!(7);
        let whole = server.post("/v1/chat/completions", body.clone()).ok();
        let choice = &whole["choices"][0];
        assert_eq!(choice["finish_reason"], "tool_calls", "{whole}");
        assert_eq!(choice["message"]["content"], Value::Null);
        let call = &choice["message"]["tool_calls"][0];
        assert_eq!(call["function"]["name"], "weather");
        assert_eq!(serde_json::from_str::<Value>(call["function"]["arguments"].as_str().unwrap()).unwrap(), json!({ "city": "Oslo" }));
        let events = stream(&server, body);
        let pieces = events.iter().filter_map(|data| serde_json::from_str::<Value>(data).ok());
        let arguments: String = pieces
            .filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].as_str().map(str::to_owned))
            .collect();
        assert_eq!(serde_json::from_str::<Value>(&arguments).unwrap(), json!({ "city": "Oslo" }), "{events:?}");
        // The result goes back as the protocols want it.
        let messages = json!([{ "role": "user", "content": "Weather?" }, choice["message"],
            { "role": "tool", "tool_call_id": call["id"], "content": "rain" }]);
        server.post("/v1/chat/completions", json!({ "model": model, "messages": messages })).ok();
    }
    let calls = mock.calls();
    let first = &calls.iter().find(|call| call.model == "gpt-first").unwrap().body;
    assert_eq!((&first["max_tokens"], &first["seed"], &first["tool_choice"]), (&json!(33), &json!(7), &json!("required")));
    let second = &calls.iter().find(|call| call.model == "claude-second").unwrap().body;
    assert_eq!((&second["max_tokens"], &second["tool_choice"]), (&json!(33), &json!({ "type": "any" })));
    let last = &calls.last().unwrap().body;
    assert_eq!(last["messages"][2]["content"][0]["type"], "tool_result", "{last}");
}

#[test]
fn when_all_are_limited_clients_are_told_when_to_come_again() {
    let mock = Mock::start_on_thread(Script::always(Reply::status(429).header("retry-after", "90")));
    let server = server(&mock, "");
    for (status, code) in [(429, "model_limited"), (503, "model_unavailable")] {
        let answer = server.post("/v1/chat/completions", asked("small"));
        assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (status, Some(code)));
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((80..=90).contains(&wait), "{wait}");
    }
    assert_eq!(mock.call_count(), 2, "each was asked once, and then left alone");
}

#[test]
fn a_client_who_leaves_ends_the_call_upstream() {
    let mock = Mock::start_on_thread(Script::always(Reply::text("word ".repeat(2_000)).chunk_ms(10)));
    let server = server(&mock, "");
    let mut body = asked("small");
    body["stream"] = json!(true);
    hang_up_after_the_first_word(&server, &body.to_string());
    let deadline = Instant::now() + Duration::from_secs(10);
    while mock.calls().first().and_then(|call| call.finished) != Some(Finished::ClientLeft) {
        assert!(Instant::now() < deadline, "{:?}", mock.calls().first().map(|call| call.finished));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn hang_up_after_the_first_word(server: &Server, body: &str) {
    let mut client = TcpStream::connect(server.base.trim_start_matches("http://")).unwrap();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    client.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
    let (mut heard, mut bytes) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&heard).contains("word") {
        let count = client.read(&mut bytes).unwrap();
        assert!(count > 0, "the server hung up: {}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&bytes[..count]);
    }
}

#[test]
fn what_is_wrong_is_said_in_the_protocols_own_shape() {
    let mock = Mock::start_on_thread(Script::default());
    let server = server(&mock, "");
    let bad = |change: fn(&mut Value)| {
        let mut body = asked("small");
        change(&mut body);
        let answer = server.post("/v1/chat/completions", body);
        (answer.status, answer.json()["error"]["code"].as_str().unwrap().to_owned())
    };
    assert_eq!(bad(|body| body["model"] = json!("none")), (404, "model_not_found".into()));
    assert_eq!(bad(|body| body["temprature"] = json!(1)), (400, "bad_body".into()));
    assert_eq!(bad(|body| body["temperature"] = json!(3)), (400, "bad_chat".into()));
    assert_eq!(bad(|body| body["n"] = json!(2)), (400, "bad_chat".into()));
    assert_eq!(bad(|body| body["messages"] = json!([])), (400, "bad_chat".into()));
    assert_eq!(bad(|body| body["messages"] = json!([{ "role": "tool", "content": "x" }])), (400, "bad_chat".into()));
    assert_eq!(mock.call_count(), 0);
    let with_keys = Setup::hash().environment("RAGSTONE_API_KEY", "a-long-enough-key").start();
    let refused = with_keys.get("/v1/models");
    assert_eq!((refused.status, refused.json()["error"]["type"].as_str()), (401, Some("authentication_error")));
}

#[test]
fn models_are_listed_and_texts_embedded() {
    let mock = Mock::start_on_thread(Script::default());
    let server = server(&mock, "");
    let models = server.get("/v1/models").ok();
    let names: Vec<&str> = models["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(&names[..3], ["auto", "claude", "small"]);
    let embedding = names[3].to_owned();
    assert_eq!(server.get("/v1/models/small").ok()["object"], "model");
    assert_eq!(server.get("/v1/models/none").status, 404);
    let body = json!({ "model": embedding, "input": ["one", "two"] });
    let floats = server.post("/v1/embeddings", body.clone()).ok();
    let first: Vec<f64> = floats["data"][0]["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    let norm: f64 = first.iter().map(|x| x * x).sum();
    assert!((norm - 1.0).abs() < 1e-3 && floats["data"][1]["index"] == 1, "{norm}");
    let mut in_base64 = body;
    in_base64["encoding_format"] = json!("base64");
    let text = server.post("/v1/embeddings", in_base64).ok()["data"][0]["embedding"].as_str().unwrap().to_owned();
    assert_eq!(text.len(), (first.len() * 4).div_ceil(3) * 4, "four bytes a number, in base64");
    assert_eq!(server.post("/v1/embeddings", json!({ "model": "other", "input": "x" })).status, 404);
    assert_eq!(server.post("/v1/embeddings", json!({ "model": embedding, "input": [] })).status, 400);
}
