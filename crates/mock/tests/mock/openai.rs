//! OpenAI's paths and Azure's, without faults.

use crate::client::{CHAT, chat, get, post, request, until};
use ragstone_mock::{Access, Mock, Reply, Script, Usage, embedding};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn mock() -> Mock {
    Mock::start_on_thread(Script::default())
}

#[test]
fn it_says_what_it_was_told() {
    let answer = post(&mock(), CHAT, &chat(false));
    let body = answer.json();
    assert_eq!((answer.status(), answer.header("content-type")), (200, Some("application/json")));
    let message = &body["choices"][0]["message"];
    assert_eq!((&message["content"], &message["role"]), (&json!("You said: one two three four"), &json!("assistant")));
    assert_eq!((&body["object"], &body["choices"][0]["finish_reason"]), (&json!("chat.completion"), &json!("stop")));
    assert_eq!((&body["usage"]["prompt_tokens"], &body["usage"]["total_tokens"]), (&json!(4), &json!(10)));
}

#[test]
fn a_stream_says_the_same_in_order() {
    let mut question = chat(true);
    question["stream_options"] = json!({"include_usage": true});
    let answer = post(&mock(), CHAT, &question);
    assert_eq!((answer.header("content-type"), answer.is_whole), (Some("text/event-stream"), true));
    assert_eq!(answer.said(), "You said: one two three four");
    assert!(answer.text().ends_with("data: [DONE]\n\n"));
    let events = answer.events();
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    let [.., finish, usage] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((&finish["choices"][0]["finish_reason"], &finish["choices"][0]["delta"]), (&json!("stop"), &json!({})));
    assert_eq!((&usage["choices"], &usage["usage"]["completion_tokens"]), (&json!([]), &json!(6)));
    assert!(events[..events.len() - 1].iter().all(|event| event["usage"] == Value::Null && event["object"] == "chat.completion.chunk"));
    let without = post(&mock(), CHAT, &chat(true));
    assert!(!without.text().contains("\"usage\""), "nobody asked for it");
}

#[test]
fn the_script_sets_words_usage_reason_and_size_of_chunks() {
    let usage = Usage { prompt_tokens: 100, completion_tokens: 7, cached_tokens: 60 };
    let reply = Reply { finish_reason: Some("content_filter".to_owned()), ..Reply::text("a b c d e").tokens(2).usage(usage) };
    let mock = Mock::start_on_thread(Script::default().then("small", reply).then("small", Reply::text("x").without_usage()));
    let mut question = chat(true);
    question["stream_options"] = json!({"include_usage": true});
    let events = post(&mock, CHAT, &question).events();
    let deltas: Vec<&str> = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(deltas, ["", "a b ", "c d ", "e"]);
    assert_eq!(events[events.len() - 2]["choices"][0]["finish_reason"], "content_filter");
    assert_eq!(events[events.len() - 1]["usage"]["prompt_tokens_details"]["cached_tokens"], 60);
    assert_eq!(post(&mock, CHAT, &question).events().last().unwrap()["choices"][0]["finish_reason"], "stop", "no usage was to be told");
}

#[test]
fn a_tool_is_called_whole_and_in_pieces() {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let tools = json!([{"type": "function", "function": {"name": "get_weather", "parameters": schema}}]);
    let mut question = json!({"model": "small", "tools": tools, "messages": [{"role": "user", "content": "call get_weather"}]});
    let mock = mock();
    let choice = post(&mock, CHAT, &question).json()["choices"][0].clone();
    assert_eq!((&choice["finish_reason"], &choice["message"]["content"]), (&json!("tool_calls"), &Value::Null));
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!((&call["type"], &call["function"]["name"]), (&json!("function"), &json!("get_weather")));
    let arguments = call["function"]["arguments"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(arguments).unwrap(), json!({"city": "call get_weather"}));

    question["stream"] = json!(true);
    let events = post(&mock, CHAT, &question).events();
    let calls: Vec<&Value> =
        events.iter().map(|event| &event["choices"][0]["delta"]["tool_calls"][0]).filter(|call| !call.is_null()).collect();
    assert_eq!((&calls[0]["function"]["name"], calls.iter().filter(|call| call.get("id").is_some()).count()), (&json!("get_weather"), 1));
    let parts: String = calls.iter().map(|call| call["function"]["arguments"].as_str().unwrap()).collect();
    assert_eq!(parts, arguments);

    let result = json!({"role": "tool", "tool_call_id": call["id"], "content": "rain"});
    question["messages"].as_array_mut().unwrap().push(result);
    assert_eq!(post(&mock, CHAT, &question).said(), "The tool said: rain");
    let script = Script::always(Reply::tool_call("broken", json!("{\"a\":")));
    mock.set_script(script);
    let said = post(&mock, CHAT, &chat(false)).json();
    assert_eq!(said["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], "{\"a\":");
}

#[test]
fn json_is_answered_where_json_is_wanted_and_no_more_words_than_allowed() {
    let mut question = chat(false);
    question["response_format"] = json!({"type": "json_object"});
    let content = post(&mock(), CHAT, &question).json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    assert_eq!(serde_json::from_str::<Value>(&content).unwrap(), json!({"answer": "You said: one two three four"}));
    let mut question = chat(false);
    question["max_completion_tokens"] = json!(3);
    let choice = post(&mock(), CHAT, &question).json()["choices"][0].clone();
    assert_eq!((&choice["message"]["content"], &choice["finish_reason"]), (&json!("You said: one"), &json!("length")));
}

#[test]
fn embeddings_are_the_same_in_either_encoding() {
    let mock = mock();
    let ask = |more: Value| {
        let mut body = json!({"model": "e", "input": ["a b", "c"]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post(&mock, "/v1/embeddings", &body).json()
    };
    let answer = ask(json!({}));
    let floats: Vec<f32> = serde_json::from_value(answer["data"][0]["embedding"].clone()).unwrap();
    assert_eq!(floats, embedding("a b", 384));
    assert_eq!((&answer["data"][1]["index"], &answer["usage"]["total_tokens"]), (&json!(1), &json!(3)));
    let answer = ask(json!({"encoding_format": "base64", "dimensions": 5}));
    let encoded = answer["data"][1]["embedding"].as_str().unwrap();
    assert_eq!(encoded.len(), 28, "20 bytes in base64: {encoded}");
    assert_eq!(post(&mock, "/v1/embeddings", &json!({"model": "e", "input": []})).status(), 400);
}

#[test]
fn reranking_puts_shared_words_first() {
    let body = json!({"model": "r", "query": "red lamp", "documents": ["a horn", {"text": "The lamp, red."}, "lamp"], "top_n": 2,
        "return_documents": true});
    for path in ["/v1/rerank", "/v2/rerank"] {
        let results = post(&mock(), path, &body).json()["results"].clone();
        let scores: Vec<(u64, f64)> = results
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["index"].as_u64().unwrap(), one["relevance_score"].as_f64().unwrap()))
            .collect();
        assert_eq!(scores, [(1, 1.0), (2, 0.5)]);
        assert_eq!(results[0]["document"]["text"], "The lamp, red.");
    }
}

#[test]
fn models_are_those_of_the_script() {
    let script = Script::default().then("small", Reply::default()).then("*", Reply::default()).then("/v1/files", Reply::default());
    let models = get(&Mock::start_on_thread(script), "/v1/models").json();
    let ids: Vec<&str> = models["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["mock", "small"]);
}

#[test]
fn azure_takes_the_model_from_the_path_and_wants_a_version() {
    let mock = Mock::start_on_thread(Script::default().then("gpt", Reply::text("from a deployment")));
    let path = "/openai/deployments/gpt/chat/completions";
    assert_eq!(post(&mock, path, &chat(true)).status(), 404);
    let answer = post(&mock, &format!("{path}?api-version=2024-10-21"), &chat(true));
    assert_eq!(answer.said(), "from a deployment");
    let events = answer.events();
    assert!(events[0]["choices"] == json!([]) && events[0].get("prompt_filter_results").is_some(), "{:?}", events[0]);
    assert_eq!(post(&mock, "/openai/v1/chat/completions", &chat(false)).json()["model"], "small");
}

#[tokio::test]
async fn a_key_is_wanted_where_one_was_set() {
    let start = |access| Mock::start_on("127.0.0.1:0".parse().unwrap(), Script::default(), access);
    let (any, one) = (start(Access::AnyKey).await.unwrap(), start(Access::Key("right".to_owned())).await.unwrap());
    let asked = tokio::task::spawn_blocking(move || {
        let status =
            |mock: &Mock, path: &str, header: (&str, &str)| request(mock, "POST", path, &[header], &chat(false).to_string()).status();
        let azure = "/openai/v1/chat/completions";
        assert_eq!(status(&any, CHAT, ("x", "y")), 401);
        assert_eq!(status(&any, CHAT, ("authorization", "Bearer ")), 401);
        assert_eq!(status(&any, CHAT, ("authorization", "Bearer whatever")), 200);
        assert_eq!(status(&one, CHAT, ("authorization", "Bearer wrong")), 401);
        assert_eq!(status(&one, CHAT, ("authorization", "Bearer right")), 200);
        assert_eq!((status(&one, azure, ("api-key", "right")), status(&one, azure, ("authorization", "Bearer right"))), (200, 200));
        any.calls().iter().map(|call| call.authorization).collect::<Vec<_>>()
    });
    assert_eq!(asked.await.unwrap(), [false, true, true]);
}

#[test]
fn time_passes_before_headers_before_the_first_word_and_between_words() {
    let reply = Reply::text("a b c").latency_ms(20).first_token_ms(30).chunk_ms(10);
    let mock = Mock::start_on_thread(Script::always(reply));
    let began = Instant::now();
    let stream = crate::client::send(&mock, "POST", CHAT, &[], &chat(true).to_string());
    let mut byte = [0];
    stream.peek(&mut byte).unwrap();
    let headers = began.elapsed();
    drop(stream);
    assert!(headers >= Duration::from_millis(20), "{headers:?}");
    let began = Instant::now();
    assert_eq!(post(&mock, CHAT, &chat(true)).said(), "a b c");
    let streamed = began.elapsed();
    assert!(streamed >= Duration::from_millis(20 + 30 + 10 + 10), "{streamed:?}");
    let began = Instant::now();
    assert!(post(&mock, CHAT, &chat(false)).is_whole);
    let plain = began.elapsed();
    assert!(plain >= Duration::from_millis(50), "{plain:?}");
    until("all ended", || mock.calls().iter().all(|call| call.finished.is_some()));
}

#[test]
fn what_is_no_request_is_refused() {
    let mock = mock();
    for (path, body, status) in [
        (CHAT, "{", 400),
        (CHAT, r#"{"model":"m","messages":[]}"#, 400),
        ("/v1/rerank", r#"{"query":"x"}"#, 400),
        ("/v1/completions", "{}", 404),
        ("/", "", 404),
    ] {
        let answer = request(&mock, "POST", path, &[], body);
        assert_eq!((answer.status(), answer.json()["error"]["message"].is_string()), (status, true), "{path} {body}");
    }
    assert_eq!(get(&mock, CHAT).status(), 404);
}
