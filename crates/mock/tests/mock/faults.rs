//! What each fault does, on the wire.

use crate::client::{Answer, CHAT, End, chat, get, message, post, post_until_silence, request, until};
use ragstone_mock::{Fault, Finished, Mock, Reply, Script};
use serde_json::{Value, json};
use std::time::Instant;

/// Long enough to have chunks when it isn't streamed.
const TEXT: &str = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau";

fn faulty(fault: Fault) -> Mock {
    Mock::start_on_thread(Script::always(Reply::text(TEXT).with_fault(fault)))
}

fn ended(mock: &Mock) -> Option<Finished> {
    until("the call has ended", || mock.calls()[0].finished.is_some());
    mock.calls()[0].finished
}

/// The streamed answer to a fault, and how the call ended.
fn streamed(fault: Fault) -> (Answer, Option<Finished>) {
    let mock = faulty(fault);
    let answer = post(&mock, CHAT, &chat(true));
    (answer, ended(&mock))
}

fn plain(fault: Fault) -> (Answer, Option<Finished>) {
    let mock = faulty(fault);
    let answer = post(&mock, CHAT, &chat(false));
    (answer, ended(&mock))
}

#[test]
fn refused_before_headers_is_a_reset() {
    for (answer, finished) in [streamed(Fault::RefuseBeforeHeaders), plain(Fault::RefuseBeforeHeaders)] {
        assert_eq!((answer.head.as_str(), answer.end, finished), ("", End::Reset, Some(Finished::Faulted)));
    }
}

#[test]
fn closed_before_headers_is_an_end_without_a_word() {
    for (answer, finished) in [streamed(Fault::CloseBeforeHeaders), plain(Fault::CloseBeforeHeaders)] {
        assert_eq!((answer.head.as_str(), answer.end, finished), ("", End::Closed, Some(Finished::Faulted)));
    }
}

#[test]
fn a_stream_is_reset_cut_or_ended_after_so_many_chunks() {
    let expected = [
        (Fault::ResetInBody(2), "alpha beta ", End::Reset, false),
        (Fault::ResetInBody(0), "", End::Reset, false),
        (Fault::CutInBody(2), "alpha beta ", End::Closed, false),
        (Fault::EndInBody(2), "alpha beta ", End::Closed, true),
        (Fault::EndInBody(999), TEXT, End::Closed, true),
    ];
    for (fault, said, end, is_whole) in expected {
        let (answer, finished) = streamed(fault.clone());
        assert_eq!((answer.status(), answer.said().as_str()), (200, said), "{fault:?}");
        assert_eq!((answer.end, answer.is_whole, finished), (end, is_whole, Some(Finished::Faulted)), "{fault:?}");
        assert_eq!(answer.events()[0].pointer("/choices/0/delta/role"), Some(&json!("assistant")), "{fault:?}");
        assert!(!answer.text().contains("[DONE]") && !answer.text().contains("\"stop\""), "{fault:?}");
    }
}

#[test]
fn a_plain_body_is_reset_cut_or_ended_after_so_many_bytes() {
    let expected = [
        (Fault::ResetInBody(2), Some(128), End::Reset),
        (Fault::CutInBody(2), Some(128), End::Closed),
        (Fault::EndInBody(2), Some(128), End::Closed),
        (Fault::CutInBody(999), None, End::Closed),
    ];
    for (fault, bytes, end) in expected {
        let (answer, finished) = plain(fault.clone());
        assert_eq!((answer.status(), answer.end, finished), (200, end, Some(Finished::Faulted)), "{fault:?}");
        assert!(bytes.is_none_or(|bytes| answer.body.len() == bytes), "{fault:?}: {answer:?}");
        assert_eq!(answer.is_whole, matches!(fault, Fault::EndInBody(_)), "{fault:?}");
        assert!(serde_json::from_slice::<Value>(&answer.body).is_err(), "{fault:?}");
    }
}

#[test]
fn a_stall_is_silence_until_the_client_leaves() {
    for (fault, is_streamed, said) in [
        (Fault::StallAfterHeaders, true, None),
        (Fault::StallAfterHeaders, false, None),
        (Fault::StallInBody(0), true, Some("")),
        (Fault::StallInBody(3), true, Some("alpha beta gamma ")),
    ] {
        let mock = faulty(fault.clone());
        let answer = post_until_silence(&mock, CHAT, &chat(is_streamed));
        assert_eq!((answer.status(), answer.end, answer.is_whole), (200, End::Silent, false), "{fault:?}");
        assert_eq!(said.is_none(), answer.body.is_empty(), "{fault:?}: {answer:?}");
        assert!(said.is_none_or(|said| answer.said() == said), "{fault:?}: {answer:?}");
        assert_eq!(ended(&mock), Some(Finished::ClientLeft), "{fault:?}");
    }
}

#[test]
fn a_plain_body_stalls_with_its_length_told() {
    let mock = faulty(Fault::StallInBody(1));
    let answer = post_until_silence(&mock, CHAT, &chat(false));
    assert_eq!((answer.body.len(), answer.end), (64, End::Silent));
    assert!(answer.header("content-length").is_some_and(|length| length.parse::<usize>().unwrap() > 64));
    assert_eq!(ended(&mock), Some(Finished::ClientLeft));
}

#[test]
fn a_scripts_own_body_may_break_off_after_its_last_byte() {
    let raw = Reply::raw("data: {\"a\":1}\n\ndata: {\"b\":2}\n\n");
    for (chunks, events) in [(1, 1), (2, 2), (9, 2)] {
        let mock = Mock::start_on_thread(Script::always(raw.clone().with_fault(Fault::ResetInBody(chunks))));
        let answer = post(&mock, CHAT, &chat(true));
        assert_eq!((answer.events().len(), answer.end, answer.is_whole), (events, End::Reset, false), "{chunks}");
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    }
}

#[test]
fn a_drip_is_a_byte_at_a_time() {
    let reply = Reply::raw("data: [DONE]\n\n").chunk_ms(3).with_fault(Fault::Drip);
    let mock = Mock::start_on_thread(Script::always(reply));
    let began = Instant::now();
    let answer = post(&mock, CHAT, &chat(true));
    assert_eq!((answer.text(), answer.is_whole), ("data: [DONE]\n\n", true));
    assert_eq!(answer.chunks, [1; 14]);
    assert!(began.elapsed().as_millis() >= 13 * 3, "{:?}", began.elapsed());
    assert_eq!(ended(&mock), Some(Finished::Completed));
}

#[test]
fn broken_json_stands_where_an_answer_would() {
    let (answer, finished) = plain(Fault::InvalidJson);
    assert_eq!((answer.status(), answer.header("content-type")), (200, Some("application/json")));
    assert!(answer.is_whole && serde_json::from_slice::<Value>(&answer.body).is_err());
    assert_eq!(finished, Some(Finished::Completed));
    let (answer, _) = streamed(Fault::InvalidJson);
    let broken: Vec<&str> = answer.text().lines().filter(|line| line.contains("oops")).collect();
    assert_eq!(broken.len(), 1);
    assert!(answer.said().starts_with("alpha gamma "), "the first chunk is right, the second is broken");
}

#[test]
fn a_byte_that_is_no_utf8_stands_inside_a_text() {
    for (answer, _) in [plain(Fault::InvalidUtf8), streamed(Fault::InvalidUtf8)] {
        let error = std::str::from_utf8(&answer.body).unwrap_err();
        assert_eq!(answer.body[error.valid_up_to()], 0xff);
        assert_eq!(answer.body[error.valid_up_to() - 1], b'"');
        assert!(answer.is_whole);
    }
}

#[test]
fn html_comes_as_a_page() {
    let (answer, _) = plain(Fault::Html);
    assert_eq!((answer.status(), answer.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(answer.text().starts_with("<!doctype html>"));
    let mock = Mock::start_on_thread(Script::always(Reply::status(502).with_fault(Fault::Html)));
    assert_eq!(post(&mock, CHAT, &chat(true)).status(), 502);
}

#[test]
fn a_huge_line_is_as_long_as_it_is_told() {
    let bytes = 3_000_001;
    for (answer, _) in [plain(Fault::HugeLine(bytes)), streamed(Fault::HugeLine(bytes))] {
        let longest = answer.text().lines().map(str::len).max().unwrap();
        let excess = longest - usize::try_from(bytes).unwrap();
        assert!(excess < 16 && answer.is_whole, "{excess}");
    }
}

#[test]
fn an_error_can_come_in_the_middle() {
    let (answer, finished) = streamed(Fault::ErrorEvent(2));
    assert_eq!(answer.said(), "alpha beta ");
    assert_eq!(answer.events().last().unwrap().pointer("/error/type"), Some(&json!("server_error")));
    assert!(!answer.text().contains("[DONE]"));
    assert_eq!(finished, Some(Finished::Completed));
    let (answer, _) = plain(Fault::ErrorEvent(2));
    assert_eq!((answer.status(), answer.json().pointer("/error/code")), (200, Some(&json!("server_error"))));
    let mock = faulty(Fault::ErrorEvent(1));
    let body = json!({"model": "m", "max_tokens": 9, "stream": true, "messages": [{"role": "user", "content": "x"}]});
    let answer = message(&mock, &body);
    assert!(answer.text().contains("event: error\ndata: "), "{}", answer.text());
    assert_eq!(answer.said(), "alpha ");
    assert_eq!(answer.events().last().unwrap().pointer("/error/type"), Some(&json!("overloaded_error")));
}

#[test]
fn vectors_can_have_the_wrong_dimension() {
    let mock = faulty(Fault::WrongDimension(3));
    let answer = post(&mock, "/v1/embeddings", &json!({"model": "e", "input": ["a", "b"], "dimensions": 8})).json();
    assert_eq!(answer["data"][1]["embedding"].as_array().unwrap().len(), 3);
}

#[test]
fn a_redirect_says_where_to() {
    for (reply, status) in [(Reply::default(), 302), (Reply::status(307), 307)] {
        let mock = Mock::start_on_thread(Script::always(reply.with_fault(Fault::Redirect("http://192.0.2.1/v1".to_owned()))));
        let answer = post(&mock, CHAT, &chat(false));
        assert_eq!((answer.status(), answer.header("location")), (status, Some("http://192.0.2.1/v1")));
        assert_eq!((answer.body.len(), ended(&mock)), (0, Some(Finished::Completed)));
    }
}

#[test]
fn a_status_comes_with_its_headers_and_the_providers_error() {
    let busy = Reply::status(429).header("retry-after-ms", "1500").header("Content-Type", "application/problem+json");
    let mock = Mock::start_on_thread(Script::always(busy));
    let answer = post(&mock, CHAT, &chat(true));
    assert_eq!((answer.status(), answer.header("retry-after-ms")), (429, Some("1500")));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.json()["error"]["code"], "rate_limit_exceeded");
    assert_eq!(post(&mock, "/openai/v1/chat/completions", &chat(true)).json()["error"]["code"], "429");
    assert_eq!(message(&mock, &chat(true)).json()["error"]["type"], "rate_limit_error");
}

#[test]
fn what_http_can_not_say_is_an_error_of_the_script() {
    for reply in [Reply::status(42), Reply::text("x").header("a b", "c"), Reply::text("x").header("a", "b\nc")] {
        let mock = Mock::start_on_thread(Script::always(reply));
        let answer = post(&mock, CHAT, &chat(false));
        assert_eq!((answer.status(), answer.json()["error"]["code"].as_str()), (500, Some("script")));
    }
}

#[test]
fn faults_are_not_for_openais_chat_only() {
    let mock = faulty(Fault::CutInBody(1));
    let answers = [
        get(&mock, "/v1/models"),
        post(&mock, "/v1/embeddings", &json!({"model": "e", "input": "x"})),
        request(&mock, "POST", "/openai/deployments/d/chat/completions?api-version=1", &[], &chat(true).to_string()),
        message(&mock, &json!({"model": "m", "max_tokens": 9, "stream": true, "messages": [{"role": "user", "content": "x"}]})),
    ];
    for answer in answers {
        assert_eq!((answer.status(), answer.is_whole, answer.end), (200, false, End::Closed), "{answer:?}");
    }
}
