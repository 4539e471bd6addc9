//! The fault table: what a deployment may do, against a real provider that does it, and exactly who is asked how often.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

use futures::StreamExt;
use mock::{Fault, Finished, Mock, Reply, Script};
use ragstone_gateway::{
    AnthropicChat, Balance, Breaker, BreakerParams, ChatConfig, ChatError, ChatEvent, ChatMessage, ChatModel, ChatReply, ChatRequest,
    Deadline, Dialect, Group, Ladder, Member, OpenAiChat, Rest, RetryParams, Stage, Timeouts,
};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

const FIRST_TOKEN: Duration = Duration::from_millis(300);
const BETWEEN_CHUNKS: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, PartialEq, Debug)]
enum Protocol {
    OpenAi,
    Anthropic,
}

const PROTOCOLS: [Protocol; 2] = [Protocol::OpenAi, Protocol::Anthropic];

fn client(protocol: Protocol, base_url: &str, deployment: &str) -> Arc<dyn ChatModel> {
    let timeouts = Timeouts {
        connect: Duration::from_secs(3),
        first_token: FIRST_TOKEN,
        between_chunks: BETWEEN_CHUNKS,
        total: Duration::from_secs(20),
    };
    let config = ChatConfig {
        deployment: deployment.into(),
        base_url: format!("{base_url}/v1"),
        api_key: Some(ragstone_gateway::ApiKey::new("sk-canary")),
        model: deployment.into(),
        dialect: Dialect::default(),
        timeouts,
    };
    match protocol {
        Protocol::OpenAi => Arc::new(OpenAiChat::new(config).unwrap()),
        Protocol::Anthropic => Arc::new(AnthropicChat::new(config).unwrap()),
    }
}

fn around(client: Arc<dyn ChatModel>) -> Arc<dyn ChatModel> {
    Arc::new(Rest::new(Arc::new(Breaker::new(client, BreakerParams::default()))))
}

/// `first` at `first_url`, and below it `second` at the mock.
fn ladder(protocol: Protocol, first_url: &str, second_url: &str) -> Deadline {
    let rung = |name: &str, url: &str| Group::new(vec![Member::new(name, around(client(protocol, url, name)), 1)], Balance::Weighted);
    let retry = RetryParams { backoff: Duration::from_millis(1), ..RetryParams::default() };
    let groups = vec![rung("first", first_url), rung("second", second_url)];
    Deadline::new(Arc::new(Ladder::new("answers", groups, retry, Arc::default())), Duration::from_secs(30))
}

fn question() -> ChatRequest {
    ChatRequest { max_tokens: Some(100), ..ChatRequest::new(vec![ChatMessage::user("one two three four five six")]) }
}

/// Text, and the error that ended it.
async fn hear(reply: ChatReply) -> (String, Option<ChatError>) {
    let (mut text, mut error) = (String::new(), None);
    let mut events = reply.events;
    while let Some(event) = events.next().await {
        match event {
            Ok(ChatEvent::Delta(words)) => text.push_str(&words),
            Ok(_) => {}
            Err(failure) => error = Some(failure),
        }
    }
    (text, error)
}

fn count(mock: &Mock, model: &str) -> usize {
    mock.calls().iter().filter(|call| call.model == model).count()
}

/// One row: every call of `first` does this.
struct Row {
    name: &'static str,
    reply: Reply,
    /// Calls of the first deployment.
    calls: usize,
    /// Calls of the second, which answers.
    others: usize,
}

fn row(name: &'static str, reply: Reply, calls: usize, others: usize) -> Row {
    Row { name, reply, calls, others }
}

/// Failures before the first token.
fn before_the_first_token() -> Vec<Row> {
    let limited = |name, value: &str| Reply::status(429).header(name, value);
    let past = httpdate::fmt_http_date(SystemTime::now() - Duration::from_secs(60));
    let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3_600));
    vec![
        row("reset before the headers", Reply::fault(Fault::RefuseBeforeHeaders), 3, 1),
        row("closed before the headers", Reply::fault(Fault::CloseBeforeHeaders), 3, 1),
        row("reset in the body", Reply::fault(Fault::ResetInBody(0)), 3, 1),
        row("body without an end", Reply::fault(Fault::CutInBody(0)), 3, 1),
        row("200, then silence", Reply::fault(Fault::StallAfterHeaders), 3, 1),
        row("silence after the role", Reply::fault(Fault::StallInBody(0)), 3, 1),
        row("one byte at a time", Reply::fault(Fault::Drip).chunk_ms(50), 3, 1),
        row("no headers in time", Reply::text("late").latency_ms(5_000), 3, 1),
        row("no first token in time", Reply::text("late").first_token_ms(5_000), 3, 1),
        row("400", Reply::status(400), 1, 0),
        row("401", Reply::status(401), 1, 1),
        row("403", Reply::status(403), 1, 1),
        row("404", Reply::status(404), 1, 1),
        row("408", Reply::status(408), 3, 1),
        row("413", Reply::status(413), 1, 0),
        row("422", Reply::status(422), 1, 0),
        row("429", Reply::status(429), 3, 1),
        row("429, now", limited("retry-after", "0"), 3, 1),
        row("429, a date in the past", limited("retry-after", &past), 3, 1),
        row("429, in milliseconds", limited("retry-after-ms", "40"), 3, 1),
        row("429, in an hour", limited("retry-after", "3600"), 1, 1),
        row("429, at a date in an hour", limited("retry-after", &later), 1, 1),
        row("500", Reply::status(500), 3, 1),
        row("502", Reply::status(502), 3, 1),
        row("503", Reply::status(503), 3, 1),
        row("504", Reply::status(504), 3, 1),
        row("529", Reply::status(529), 3, 1),
        row("invalid JSON at once", Reply::raw("data: {\"choices\": [\n\n").header("content-type", "text/event-stream"), 1, 1),
        row("invalid UTF-8 at once", Reply::raw(b"data: \xff\xfe\n\n".to_vec()).header("content-type", "text/event-stream"), 1, 1),
        row("a page of HTML", Reply::fault(Fault::Html), 1, 1),
        row("a line of 1 GB", Reply::fault(Fault::HugeLine(1 << 30)), 1, 1),
        row("a redirect", Reply::fault(Fault::Redirect("http://127.0.0.1:9/".into())), 1, 1),
    ]
}

#[tokio::test]
async fn before_the_first_token_every_fault_has_its_number_of_calls() {
    for protocol in PROTOCOLS {
        for Row { name, reply, calls, others } in before_the_first_token() {
            let mock =
                Mock::start(Script::default().then("first", reply).then("second", Reply::text("from the second")).repeat_last()).await;
            let outcome = ladder(protocol, mock.url(), mock.url()).chat(question()).await;
            let counted = (count(&mock, "first"), count(&mock, "second"));
            assert_eq!(counted, (calls, others), "{protocol:?}, {name}");
            match outcome {
                Ok(reply) => {
                    assert_eq!((reply.route.failed.len(), reply.route.rungs_down), (calls, 1), "{protocol:?}, {name}");
                    assert_eq!(hear(reply).await, ("from the second".to_owned(), None), "{protocol:?}, {name}");
                }
                Err(error) => assert!(others == 0, "{protocol:?}, {name}: {error}"),
            }
        }
    }
}

#[tokio::test]
async fn nobody_at_the_address_and_no_such_name() {
    let mock = Mock::start(Script::default()).await;
    for first in ["http://127.0.0.1:9", "http://no-such-host.invalid"] {
        let reply = ladder(Protocol::OpenAi, first, mock.url()).chat(question()).await.unwrap();
        assert_eq!((reply.route.deployment.as_str(), reply.route.failed.len()), ("second", 3), "{first}");
        assert!(reply.route.failed[0].error.contains("connect"), "{first}: {}", reply.route.failed[0].error);
    }
}

#[tokio::test]
async fn after_the_first_token_an_answer_ends_with_an_error_and_nobody_else_is_asked() {
    let text = "one two three four five six";
    let faults = [
        ("reset", Reply::text(text).with_fault(Fault::ResetInBody(2))),
        ("cut off", Reply::text(text).with_fault(Fault::CutInBody(2))),
        ("an early end", Reply::text(text).with_fault(Fault::EndInBody(2))),
        ("silence", Reply::text(text).with_fault(Fault::StallInBody(2))),
        ("an error event", Reply::text(text).with_fault(Fault::ErrorEvent(2))),
        ("invalid JSON", Reply::text(text).with_fault(Fault::InvalidJson)),
        ("invalid UTF-8", Reply::text(text).with_fault(Fault::InvalidUtf8)),
        ("a pause between chunks", Reply::text(text).chunk_ms(5_000)),
    ];
    for protocol in PROTOCOLS {
        for (name, reply) in faults.clone() {
            let mock = Mock::start(Script::default().then("first", reply).repeat_last()).await;
            let reply = ladder(protocol, mock.url(), mock.url()).chat(question()).await.unwrap();
            let (heard, error) = hear(reply).await;
            assert!(!heard.is_empty() && text.starts_with(heard.trim()), "{protocol:?}, {name}: {heard:?}");
            let error = error.unwrap_or_else(|| panic!("{protocol:?}, {name}: no error"));
            if name.contains("silence") || name.contains("pause") {
                assert_eq!(error, ChatError::Timeout { stage: Stage::BetweenChunks, limit: BETWEEN_CHUNKS }, "{name}");
            }
            assert_eq!((count(&mock, "first"), count(&mock, "second")), (1, 0), "{protocol:?}, {name}");
        }
    }
}

#[tokio::test]
async fn slow_answers_within_the_limits_and_missing_usage_are_no_faults() {
    for protocol in PROTOCOLS {
        let slow = Reply::text("one two three four").first_token_ms(150).chunk_ms(100).without_usage();
        let mock = Mock::start(Script::default().then("first", slow)).await;
        let reply = ladder(protocol, mock.url(), mock.url()).chat(question()).await.unwrap();
        assert!(reply.route.failed.is_empty(), "{protocol:?}");
        assert_eq!(hear(reply).await, ("one two three four".to_owned(), None), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_wait_in_seconds_that_was_asked_for_is_kept() {
    let mock =
        Mock::start(Script::default().then("first", Reply::status(429).header("retry-after", "1")).then("first", Reply::text("now"))).await;
    let began = Instant::now();
    let reply = ladder(Protocol::OpenAi, mock.url(), mock.url()).chat(question()).await.unwrap();
    assert_eq!(reply.route.deployment, "first");
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(count(&mock, "first"), 2);
}

#[tokio::test]
async fn a_listener_who_leaves_ends_the_call_upstream() {
    for protocol in PROTOCOLS {
        let endless = Reply::text("word ".repeat(10_000)).chunk_ms(20);
        let mock = Mock::start(Script::always(endless)).await;
        let reply = ladder(protocol, mock.url(), mock.url()).chat(question()).await.unwrap();
        let mut events = reply.events;
        events.next().await.unwrap().unwrap();
        drop(events);
        let calls = tokio::time::timeout(Duration::from_secs(5), mock.finished_calls(1)).await.expect("the call goes on");
        assert_eq!(calls[0].finished, Some(Finished::ClientLeft), "{protocol:?}");
        assert!(calls[0].authorization);
    }
}

#[tokio::test]
async fn a_line_of_a_gigabyte_is_not_kept() {
    let mock = Mock::start(Script::always(Reply::fault(Fault::HugeLine(1 << 30)))).await;
    let before = resident_bytes();
    let error = client(Protocol::OpenAi, mock.url(), "m").chat(question()).await.err().unwrap();
    assert!(matches!(error, ChatError::TooLarge { .. }), "{error}");
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
