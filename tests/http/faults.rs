//! The fault table at the surface: what a provider may do, asked for in one piece and as a stream, and exactly who is
//! asked how often. Upstream every call is a stream; the same table at the clients is in `crates/gateway/tests/faults.rs`.

use crate::support::{Server, Setup};
use mock::{Fault, Mock, Reply, Script};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// What clients get.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Told {
    /// What the second deployment says.
    Answer,
    /// That the request is refused; nobody else is asked.
    Refused(u16),
}

/// One row: every call of the first deployment does this.
#[derive(Debug, Clone)]
struct Row {
    name: &'static str,
    reply: Reply,
    /// Calls of the first deployment.
    calls: usize,
    told: Told,
}

/// A row, and how it is asked for.
type Form = (Row, bool);

/// Failures before the first token.
fn before_the_first_token() -> Vec<Row> {
    let row = |name, reply, calls| Row { name, reply, calls, told: Told::Answer };
    let refused = |name, status| Row { name, reply: Reply::status(status), calls: 1, told: Told::Refused(status) };
    let limited = |name, value: &str| Reply::status(429).header(name, value);
    let past = httpdate(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    let later = httpdate(SystemTime::now() + Duration::from_secs(3_600));
    let events = |bytes: &[u8]| Reply::raw(bytes.to_vec()).header("content-type", "text/event-stream");
    vec![
        row("reset before the headers", Reply::fault(Fault::RefuseBeforeHeaders), 3),
        row("closed before the headers", Reply::fault(Fault::CloseBeforeHeaders), 3),
        row("reset in the body", Reply::fault(Fault::ResetInBody(0)), 3),
        row("body without an end", Reply::fault(Fault::CutInBody(0)), 3),
        row("200, then silence", Reply::fault(Fault::StallAfterHeaders), 3),
        row("silence after the role", Reply::fault(Fault::StallInBody(0)), 3),
        row("one byte a second", Reply::fault(Fault::Drip).chunk_ms(1_000), 3),
        row("no headers in time", Reply::text("late").latency_ms(9_000), 3),
        row("no first token in time", Reply::text("late").first_token_ms(9_000), 3),
        refused("400", 400),
        row("401", Reply::status(401), 1),
        row("403", Reply::status(403), 1),
        row("404", Reply::status(404), 1),
        row("408", Reply::status(408), 3),
        refused("413", 413),
        refused("422", 422),
        row("429", Reply::status(429), 3),
        row("429, now", limited("retry-after", "0"), 3),
        row("429, in a second", limited("retry-after", "1"), 3),
        row("429, a date in the past", limited("retry-after", &past), 3),
        row("429, in milliseconds", limited("retry-after-ms", "40"), 3),
        row("429, in an hour", limited("retry-after", "3600"), 1),
        row("429, at a date in an hour", limited("retry-after", &later), 1),
        row("429, in an hour of milliseconds", limited("retry-after-ms", "3600000"), 1),
        row("500", Reply::status(500), 3),
        row("502", Reply::status(502), 3),
        row("503", Reply::status(503), 3),
        row("504", Reply::status(504), 3),
        row("529", Reply::status(529), 3),
        row("invalid JSON at once", events(b"data: {\"choices\": [\n\n"), 1),
        row("invalid UTF-8 at once", events(b"data: \xff\xfe\n\n"), 1),
        row("a page of HTML", Reply::fault(Fault::Html), 1),
        row("a line of 1 GB", Reply::fault(Fault::HugeLine(1 << 30)), 1),
        row("a redirect", Reply::fault(Fault::Redirect("http://127.0.0.1:9/".into())), 1),
    ]
}

fn httpdate(time: SystemTime) -> String {
    let date = OffsetDateTime::from(time).format(&Rfc2822).unwrap();
    date.replace("+0000", "GMT")
}

fn in_both_forms(rows: Vec<Row>) -> Vec<Form> {
    rows.into_iter().flat_map(|row| [(row.clone(), false), (row, true)]).collect()
}

/// Models `m-0` and so on, each with a first deployment at `first_url` and a second one at the mock's.
fn server(count: usize, first_url: &str, mock: &Mock) -> Server {
    let mut config = "[llm]\nfirst_token_timeout_s = 1\n[llm.retry]\nbackoff_ms = 1\n".to_owned();
    for n in 0..count {
        for (name, provider, url) in [("first", "compatible", first_url), ("second", "anthropic", mock.url())] {
            config += &format!("[[llm.deployments]]\nname = \"{name}-{n}\"\nprovider = \"{provider}\"\nmodel = \"{name}-{n}\"\n");
            config += &format!("base_url = \"{url}/v1\"\n{}", if name == "second" { "api_key_env = \"KEY_OF_THE_SECOND\"\n" } else { "" });
        }
    }
    for n in 0..count {
        config += &format!("[[llm.models]]\nname = \"m-{n}\"\nladder = [[\"first-{n}\"], [\"second-{n}\"]]\n");
    }
    Setup::hash().config(&config).environment("KEY_OF_THE_SECOND", "sk-canary-2").start()
}

/// What a client was told.
struct Heard {
    status: u16,
    text: String,
    /// The code of an error, also of one at the end of a stream.
    code: Option<String>,
    /// Calls that failed before the one that answers.
    failed: Option<usize>,
    is_done: bool,
}

fn ask(server: &Server, model: &str, is_stream: bool) -> Heard {
    let body = json!({ "model": model, "stream": is_stream, "messages": [{ "role": "user", "content": "one two three" }] });
    let reply = server.post("/v1/chat/completions", body);
    let (status, body) = (reply.status, reply.text());
    let pieces: Vec<&str> = match is_stream && status == 200 {
        true => body.lines().filter_map(|line| line.strip_prefix("data: ")).collect(),
        false => vec![&body],
    };
    let parsed: Vec<Value> = pieces.iter().filter_map(|piece| serde_json::from_str(piece).ok()).collect();
    let said = |piece: &Value, part: &str| piece["choices"][0][part]["content"].as_str().unwrap_or_default().to_owned();
    Heard {
        status,
        text: parsed.iter().map(|piece| said(piece, if is_stream { "delta" } else { "message" })).collect(),
        code: parsed.iter().find_map(|piece| piece["error"]["code"].as_str().map(str::to_owned)),
        failed: parsed.iter().find_map(|piece| piece["route"]["failed"].as_array().map(Vec::len)),
        is_done: !is_stream || pieces.last() == Some(&"[DONE]"),
    }
}

fn asked_of(mock: &Mock, name: &str, n: usize) -> usize {
    mock.calls().iter().filter(|call| call.model == format!("{name}-{n}")).count()
}

/// As many as one server has retries in hand for: two of each.
const FORMS_AT_ONCE: usize = 5;

#[test]
fn before_the_first_token_every_fault_has_its_number_of_calls() {
    for forms in in_both_forms(before_the_first_token()).chunks(FORMS_AT_ONCE) {
        let mut script = Script::default().repeat_last();
        for (n, (row, _)) in forms.iter().enumerate() {
            script = script.then(format!("first-{n}"), row.reply.clone()).then(format!("second-{n}"), Reply::text("stood in"));
        }
        let mock = Mock::start_on_thread(script);
        let server = server(forms.len(), mock.url(), &mock);
        std::thread::scope(|scope| {
            for (n, form) in forms.iter().enumerate() {
                let (server, mock) = (&server, &mock);
                scope.spawn(move || check(server, mock, n, form));
            }
        });
    }
}

fn check(server: &Server, mock: &Mock, n: usize, (row, is_stream): &Form) {
    let what = format!("{}, streamed: {is_stream}", row.name);
    let heard = ask(server, &format!("m-{n}"), *is_stream);
    let others = usize::from(row.told == Told::Answer);
    assert_eq!((asked_of(mock, "first", n), asked_of(mock, "second", n)), (row.calls, others), "{what}");
    match row.told {
        Told::Answer => {
            assert_eq!((heard.status, heard.text.as_str(), heard.failed), (200, "stood in", Some(row.calls)), "{what}");
            assert!(heard.is_done && heard.code.is_none(), "{what}");
        }
        Told::Refused(status) => assert_eq!((heard.status, heard.code.as_deref()), (status, Some("refused_by_model")), "{what}"),
    }
}

#[test]
fn nobody_at_the_address_and_no_such_name() {
    for first_url in ["http://127.0.0.1:9", "http://no-such-host.invalid"] {
        let mock = Mock::start_on_thread(Script::always(Reply::text("stood in")));
        let server = server(2, first_url, &mock);
        for (n, is_stream) in [false, true].into_iter().enumerate() {
            let heard = ask(&server, &format!("m-{n}"), is_stream);
            assert_eq!((heard.text.as_str(), heard.failed), ("stood in", Some(3)), "{first_url}, streamed: {is_stream}");
            assert_eq!(asked_of(&mock, "second", n), 1, "{first_url}, streamed: {is_stream}");
        }
    }
}

#[test]
fn after_the_first_token_an_answer_ends_with_an_error_and_nobody_else_is_asked() {
    let text = "one two three four five six";
    let of = |fault| Reply::text(text).with_fault(fault);
    let rows = [
        ("reset", of(Fault::ResetInBody(2)), "model_failed"),
        ("cut off", of(Fault::CutInBody(2)), "model_failed"),
        ("an early end", of(Fault::EndInBody(2)), "model_failed"),
        ("silence", of(Fault::StallInBody(2)), "model_timeout"),
        ("an error event", of(Fault::ErrorEvent(2)), "model_failed"),
        ("invalid JSON", of(Fault::InvalidJson), "model_failed"),
        ("invalid UTF-8", of(Fault::InvalidUtf8), "model_failed"),
    ];
    let forms: Vec<_> = rows.into_iter().flat_map(|row| [(row.clone(), false), (row, true)]).collect();
    let script = forms
        .iter()
        .enumerate()
        .fold(Script::default(), |script, (n, ((_, reply, _), _))| script.then(format!("first-{n}"), reply.clone()));
    let mock = Mock::start_on_thread(script);
    let server = server(forms.len(), mock.url(), &mock);
    std::thread::scope(|scope| {
        for (n, ((name, _, code), is_stream)) in forms.iter().enumerate() {
            let (server, mock) = (&server, &mock);
            scope.spawn(move || {
                let (what, heard) = (format!("{name}, streamed: {is_stream}"), ask(server, &format!("m-{n}"), *is_stream));
                assert_eq!((asked_of(mock, "first", n), asked_of(mock, "second", n)), (1, 0), "{what}");
                assert_eq!(heard.code.as_deref(), Some(*code), "{what}");
                match is_stream {
                    true => {
                        assert!(!heard.text.is_empty() && text.starts_with(heard.text.trim()) && !heard.is_done, "{what}: {}", heard.text)
                    }
                    false => assert!(heard.status >= 500 && heard.text.is_empty(), "{what}: {}", heard.status),
                }
            });
        }
    });
}

#[test]
fn slow_answers_within_the_limits_and_missing_usage_are_no_faults() {
    let slow = Reply::text("one two three").first_token_ms(300).chunk_ms(1_200).without_usage();
    let mock = Mock::start_on_thread(Script::always(slow));
    let server = server(2, mock.url(), &mock);
    for (n, is_stream) in [false, true].into_iter().enumerate() {
        let heard = ask(&server, &format!("m-{n}"), is_stream);
        assert_eq!((heard.status, heard.text.as_str(), heard.failed, heard.is_done), (200, "one two three", Some(0), true), "{is_stream}");
        assert_eq!((asked_of(&mock, "first", n), asked_of(&mock, "second", n)), (1, 0), "{is_stream}");
    }
}

#[test]
fn vectors_of_another_dimension_are_an_error_after_one_call() {
    let mock = Mock::start_on_thread(Script::always(Reply::fault(Fault::WrongDimension(17))));
    let model = format!("base_url = \"{}/v1\"\nmodel = \"vectors\"\ndimension = 16\nmax_tokens = 64\nshorten = true", mock.url());
    let server = Setup::model().config(&format!("engine = \"remote\"\n[embedding.remote]\nprovider = \"openai\"\n{model}\n")).start();
    let answer = server.post("/v1/embeddings", json!({ "model": "vectors", "input": "granite" }));
    assert_eq!((answer.status, mock.call_count()), (502, 1), "{}", answer.text());
}
