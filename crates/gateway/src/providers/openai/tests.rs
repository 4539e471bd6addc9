//! The client against a real server that answers byte for byte as told.

use super::wire::OpenAi;
use super::*;
use crate::providers::{Dialect, Timeouts};
use crate::{ApiKey, ChatEvent, ChatMessage, FinishReason, Stage, Unheard};
use bytes::Bytes;
use futures::stream;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
const HELLO: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n\
    : keep-alive\n\n\
    data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"},\"finish_reason\":null}],\"usage\":null}\n\n\
    data: {\"choices\":[{\"delta\":{\"content\":\"lo\"}}]}\n\n";
const END: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
    data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2,\"total_tokens\":9}}\n\n\
    data: [DONE]\n\n";

fn model(base_url: String, timeouts: Timeouts) -> OpenAiChat {
    let api_key = Some(ApiKey::new("sk-canary"));
    let (deployment, model) = ("here".to_owned(), "small".to_owned());
    OpenAiChat::new(ChatConfig { deployment, base_url, api_key, model, dialect: Dialect::default(), timeouts }).unwrap()
}

fn question() -> ChatRequest {
    ChatRequest { max_tokens: Some(9), temperature: Some(0.0), ..ChatRequest::new(vec![ChatMessage::user("hello?")]) }
}

fn delta(text: &str) -> Result<ChatEvent, ChatError> {
    Ok(ChatEvent::Delta(text.to_owned()))
}

fn done() -> Result<ChatEvent, ChatError> {
    Ok(ChatEvent::Done { finish_reason: FinishReason::Stop })
}

fn usage() -> Result<ChatEvent, ChatError> {
    Ok(ChatEvent::Usage(TokenUsage { prompt_tokens: 7, completion_tokens: 2, ..TokenUsage::default() }))
}

async fn read_request(socket: &mut TcpStream) -> String {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        assert!(socket.read_buf(&mut request).await.unwrap() > 0, "the client hung up early");
    }
}

/// Serves one connection: gives `answer` to its first request, then closes.
async fn serve(answer: impl Into<Vec<u8>>) -> (String, oneshot::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/v1/", listener.local_addr().unwrap());
    let (sender, request) = oneshot::channel();
    let answer = answer.into();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        sender.send(read_request(&mut socket).await).unwrap();
        // The client may hang up while it is being told too much.
        let _ = socket.write_all(&answer).await;
    });
    (base_url, request)
}

async fn ask(answer: impl Into<Vec<u8>>) -> Result<Vec<Result<ChatEvent, ChatError>>, ChatError> {
    let (base_url, _request) = serve(answer).await;
    Ok(model(base_url, Timeouts::default()).chat(question()).await?.events.collect().await)
}

fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn a_stream_is_heard_to_its_end_and_asked_for_rightly() {
    let (base_url, request) = serve(format!("{EVENTS}{HELLO}{END}")).await;
    let events: Vec<_> = model(base_url, Timeouts::default()).chat(question()).await.unwrap().events.collect().await;
    assert_eq!(events, [delta("Hel"), delta("lo"), usage(), done()]);
    let request = request.await.unwrap();
    assert!(request.starts_with("post /v1/chat/completions http/1.1"), "{request}");
    assert!(request.contains("authorization: bearer sk-canary"));
    let body: serde_json::Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
    let expected = serde_json::json!({"model": "small", "messages": [{"role": "user", "content": "hello?"}], "stream": true,
        "stream_options": {"include_usage": true}, "max_tokens": 9, "temperature": 0.0});
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_stream_without_usage_or_done_mark_is_whole_if_it_says_why_it_ended() {
    let end = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}\n\n";
    let events = ask(format!("{EVENTS}{HELLO}{end}")).await.unwrap();
    assert_eq!(events.last(), Some(&Ok(ChatEvent::Done { finish_reason: FinishReason::Length })));
    assert_eq!(events.len(), 3);
}

#[tokio::test]
async fn plain_json_is_taken_as_well() {
    let body = r#"{"choices":[{"message":{"content":"Hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":3,"audio_tokens":null}}}"#;
    let events = ask(http("200 OK", "content-type: application/json; charset=utf-8\r\n", body)).await.unwrap();
    let used = TokenUsage { prompt_tokens: 7, completion_tokens: 2, cached_tokens: 3, searches: 0, cost: None };
    assert_eq!(events, [delta("Hello"), Ok(ChatEvent::Usage(used)), done()]);
}

#[tokio::test]
async fn refusals_keep_status_words_and_wait_but_not_the_key() {
    let body = r#"{"error":{"message":"bad key sk-canary","code":null}}"#;
    let refused = ask(http("401 Unauthorized", "", body)).await.unwrap_err();
    assert_eq!(refused, ChatError::Status { status: 401, retry_after: None, message: "bad key …".to_owned() });
    assert!(!refused.is_retryable());

    let limited = ask(http("429 Too Many Requests", "retry-after: 3\r\n", "slow down")).await.unwrap_err();
    let wait = Some(Duration::from_secs(3));
    assert_eq!(limited, ChatError::Status { status: 429, retry_after: wait, message: "slow down".to_owned() });
    assert!(limited.is_retryable());

    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(600));
    let limited = ask(http("429 Too Many Requests", &format!("retry-after: {date}\r\n"), "")).await.unwrap_err();
    let ChatError::Status { retry_after: Some(wait), .. } = limited else { panic!("{limited}") };
    assert!((500..=600).contains(&wait.as_secs()), "{wait:?}");

    let broken = ask(http("500 Internal Server Error", "", "{\"error\":\"oops\"}")).await.unwrap_err();
    assert!(broken.is_retryable() && broken.to_string().contains("oops"), "{broken}");
}

#[tokio::test]
async fn a_redirect_is_a_refusal() {
    let refused = ask(http("307 Temporary Redirect", "location: http://127.0.0.1:1/steal\r\n", "")).await.unwrap_err();
    assert!(matches!(refused, ChatError::Status { status: 307, .. }), "{refused}");
}

#[tokio::test]
async fn nobody_there_is_a_failed_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = model(base_url, Timeouts::default()).chat(question()).await.err().unwrap();
    assert!(matches!(error, ChatError::Connect { .. }) && error.is_retryable(), "{error}");
}

#[tokio::test]
async fn a_reset_before_the_answer_may_be_tried_again() {
    let error = ask("").await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
}

#[tokio::test]
async fn a_server_that_never_answers_runs_out_of_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let first_token = Duration::from_millis(50);
    let timeouts = Timeouts { first_token, ..Timeouts::default() };
    let error = model(base_url, timeouts).chat(question()).await.err();
    assert_eq!(error, Some(ChatError::Timeout { stage: Stage::FirstToken, limit: first_token }));
}

#[tokio::test]
async fn a_stream_broken_in_the_middle_fails_in_the_stream() {
    let chunked = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let events = ask(format!("{chunked}{:x}\r\n{HELLO}\r\n", HELLO.len())).await.unwrap();
    assert_eq!(events[..2], [delta("Hel"), delta("lo")]);
    assert!(matches!(events[2..], [Err(ChatError::Interrupted { .. })]), "{events:?}");
    let events = ask(format!("{EVENTS}{HELLO}")).await.unwrap();
    assert!(matches!(events[2..], [Err(ChatError::Interrupted { .. })]), "a clean end is no end without a reason: {events:?}");
}

#[tokio::test]
async fn an_error_object_in_the_stream_is_an_error() {
    let error = ask(format!("{EVENTS}data: {{\"error\":{{\"message\":\"too long\",\"code\":400}}}}\n\n")).await.unwrap_err();
    assert_eq!(error, ChatError::Status { status: 400, retry_after: None, message: "too long".to_owned() });
}

#[tokio::test]
async fn garbage_is_named() {
    let malformed = [
        format!("{EVENTS}data: {{\"choices\": oops\n\n"),
        http("200 OK", "content-type: application/json\r\n", "{\"choices\":[]}"),
        http("200 OK", "content-type: application/json\r\n", "not json"),
        http("200 OK", "content-type: text/html\r\n", "<html>Welcome to the proxy</html>"),
    ];
    for answer in malformed {
        let error = ask(answer.clone()).await.unwrap_err();
        assert!(matches!(error, ChatError::Malformed { .. }) && !error.is_retryable(), "{answer}: {error}");
    }
    let mut bytes = format!("{EVENTS}data: ").into_bytes();
    bytes.extend(b"\xff\xfe\n\n");
    assert!(matches!(ask(bytes).await, Err(ChatError::Malformed { .. })));
}

#[tokio::test]
async fn giant_lines_and_bodies_are_cut_off() {
    let mut line = format!("{EVENTS}data: ").into_bytes();
    line.resize(8 * 1024 * 1024, b'x');
    assert!(matches!(ask(line).await, Err(ChatError::TooLarge { what: "an event", .. })));
    let mut json = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"choices\":\"".to_vec();
    json.resize(8 * 1024 * 1024, b'x');
    assert!(matches!(ask(json).await, Err(ChatError::TooLarge { what: "the JSON body", .. })));
}

#[tokio::test]
async fn a_client_that_leaves_hangs_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_request(&mut socket).await;
        socket.write_all(format!("{EVENTS}{HELLO}").as_bytes()).await.unwrap();
        // Only the client ends this read: the server itself never stops.
        socket.read(&mut [0; 16]).await
    });
    let mut answer = model(base_url, Timeouts::default()).chat(question()).await.unwrap().events;
    assert_eq!(answer.next().await, Some(delta("Hel")));
    drop(answer);
    let heard = tokio::time::timeout(Duration::from_secs(10), server).await.expect("the connection stayed open").unwrap();
    assert!(matches!(heard, Ok(0) | Err(_)), "{heard:?}");
}

/// Bytes that come each after a pause, then nothing for ever.
fn paced(pieces: Vec<(u64, &'static str)>) -> stream::BoxStream<'static, Result<Bytes, ChatError>> {
    let pieces = stream::iter(pieces).then(|(seconds, text)| async move {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Ok(Bytes::from_static(text.as_bytes()))
    });
    pieces.chain(stream::pending()).boxed()
}

async fn hear(pieces: Vec<(u64, &'static str)>) -> Result<Vec<Result<ChatEvent, ChatError>>, ChatError> {
    hear_with(pieces, Unheard::default()).await
}

async fn hear_with(pieces: Vec<(u64, &'static str)>, unheard: Unheard) -> Result<Vec<Result<ChatEvent, ChatError>>, ChatError> {
    Ok(reply::events(OpenAi, paced(pieces), Format::Events, Clock::start(Timeouts::default()), unheard).await?.collect().await)
}

const X: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
const THOUGHT: &str = "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n";

#[tokio::test(start_paused = true)]
async fn keep_alive_is_no_token() {
    let error = hear((0..100).map(|_| (5, ": ping\n\n")).collect()).await.unwrap_err();
    assert_eq!(error, ChatError::Timeout { stage: Stage::FirstToken, limit: Duration::from_secs(15) });
}

#[tokio::test(start_paused = true)]
async fn a_stall_between_chunks_ends_the_stream() {
    let events = hear(vec![(14, X), (19, X), (10, ": ping\n\n"), (11, X)]).await.unwrap();
    let stalled = Err(ChatError::Timeout { stage: Stage::BetweenChunks, limit: Duration::from_secs(20) });
    assert_eq!(events, [delta("x"), delta("x"), stalled]);
}

#[tokio::test(start_paused = true)]
async fn thinking_is_a_sign_of_life_and_counted_but_no_answer() {
    let unheard = Unheard::default();
    let events = hear_with(vec![(14, THOUGHT), (14, THOUGHT), (14, X), (1, "data: [DONE]\n\n")], unheard.clone()).await.unwrap();
    assert_eq!((events, unheard.tokens()), (vec![delta("x"), done()], 2));
}

#[tokio::test(start_paused = true)]
async fn the_whole_answer_has_a_deadline() {
    let events = hear((0..30).map(|_| (10, X)).collect()).await.unwrap();
    let late = ChatError::Timeout { stage: Stage::Total, limit: Duration::from_secs(120) };
    assert_eq!(events.last(), Some(&Err(late)));
    assert!((11..=12).contains(&(events.len() - 1)), "{}", events.len());
}

#[test]
fn bad_configurations_are_named_and_keys_never_shown() {
    let config = |base_url: &str, key: &str| ChatConfig {
        deployment: "d".to_owned(),
        dialect: Dialect::default(),
        base_url: base_url.to_owned(),
        api_key: Some(ApiKey::new(key)),
        model: "m".to_owned(),
        timeouts: Timeouts::default(),
    };
    for bad in ["", "localhost:80", "ftp://x/v1", "/v1"] {
        assert!(matches!(OpenAiChat::new(config(bad, "k")), Err(EndpointError::BaseUrl(_))), "{bad}");
    }
    assert!(matches!(OpenAiChat::new(config("http://x", "a\nb")), Err(EndpointError::ApiKey)));
    assert!(!format!("{:?}", config("http://x", "sk-canary")).contains("canary"));
}
