//! What the mock notes, and how it starts and stops.

use crate::client::{CHAT, chat, get, post, request, send, until};
use ragstone_mock::{Fault, Finished, Mock, Reply, Script};
use serde_json::{Value, json};
use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;
use tokio::time::timeout;

/// Within which the mock is to notice that a client has left: usually a millisecond, but this machine may be busy.
const NOTICE: Duration = Duration::from_secs(1);

/// A mock that is slow in some way, and a request to it.
fn under_way(reply: Reply, is_streamed: bool) -> (Mock, TcpStream) {
    let mock = Mock::start_on_thread(Script::always(reply));
    let stream = send(&mock, "POST", CHAT, &[], &chat(is_streamed).to_string());
    until("the call is there", || mock.call_count() == 1);
    (mock, stream)
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_at_once_wherever_the_answer_is() {
    let slow = 60_000;
    let waits = [
        (Reply::default().latency_ms(slow), true, 0),
        (Reply::default().latency_ms(slow), false, 0),
        (Reply::default().first_token_ms(slow), true, 100),
        (Reply::default().first_token_ms(slow), false, 50),
        (Reply::default().chunk_ms(slow), true, 300),
        (Reply::fault(Fault::StallAfterHeaders), false, 50),
        (Reply::fault(Fault::StallInBody(1)), true, 300),
    ];
    for (reply, is_streamed, bytes) in waits {
        let (mock, mut stream) = under_way(reply.clone(), is_streamed);
        stream.read_exact(&mut vec![0; bytes]).unwrap();
        assert_eq!(mock.calls()[0].finished, None);
        drop(stream);
        let calls = timeout(NOTICE, mock.finished_calls(1)).await.unwrap_or_else(|_| panic!("not noticed: {reply:?}"));
        assert_eq!(calls[0].finished, Some(Finished::ClientLeft), "{reply:?}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_with_the_answer_unread_is_noticed_too() {
    // Far more than all buffers hold.
    let (mock, stream) = under_way(Reply::fault(Fault::HugeLine(1 << 32)), true);
    stream.peek(&mut [0]).unwrap();
    drop(stream);
    let calls = timeout(NOTICE, mock.finished_calls(1)).await.unwrap();
    assert_eq!(calls[0].finished, Some(Finished::ClientLeft));
}

#[tokio::test]
async fn a_client_that_has_all_may_leave() {
    let mock = Mock::start_on_thread(Script::default());
    for is_streamed in [false, true] {
        let answer = post(&mock, CHAT, &chat(is_streamed));
        assert!(answer.is_whole);
    }
    let calls = timeout(NOTICE, mock.finished_calls(2)).await.unwrap();
    assert!(calls.iter().all(|call| call.finished == Some(Finished::Completed)), "{calls:?}");
}

#[test]
fn a_call_is_noted_without_its_key() {
    let mock = Mock::start_on_thread(Script::default());
    let headers = [("Authorization", "Bearer s3cret"), ("api-key", "s3cret"), ("x-api-key", "s3cret"), ("x-trace", "7")];
    request(&mock, "POST", &format!("{CHAT}?a=b"), &headers, &chat(true).to_string());
    let [call] = &mock.calls()[..] else { panic!("one call") };
    assert_eq!((call.number, call.method.as_str(), call.path.as_str()), (1, "POST", "/v1/chat/completions?a=b"));
    assert_eq!((call.model.as_str(), call.streamed, call.authorization, call.header("x-trace")), ("small", true, true, Some("7")));
    assert_eq!(call.body, chat(true));
    assert!(!format!("{call:?}").contains("s3cret"));
}

#[test]
fn calls_and_script_can_be_had_over_http() {
    let mock = Mock::start_on_thread(Script::default());
    let script = json!({"steps": {"small": [{"status": 503, "headers": {"retry-after": "1"}}, {"text": "back"}]}});
    assert_eq!(request(&mock, "PUT", "/mock/script", &[], &script.to_string()).status(), 204);
    assert_eq!(post(&mock, CHAT, &chat(false)).status(), 503);
    assert_eq!(post(&mock, CHAT, &chat(true)).said(), "back");
    assert_eq!(get(&mock, "/mock/script").json()["steps"]["small"][1]["text"], "back");
    let calls = get(&mock, "/mock/calls").json();
    assert_eq!(
        (&calls["total"], &calls["calls"][0]["model"], &calls["calls"][1]["finished"]),
        (&json!(2), &json!("small"), &json!("completed"))
    );
    let times: Vec<f64> = calls["calls"].as_array().unwrap().iter().map(|call| call["at_ms"].as_f64().unwrap()).collect();
    assert!(times[0] < times[1], "{times:?}");
    assert_eq!(request(&mock, "DELETE", "/mock/calls", &[], "").status(), 204);
    assert_eq!(get(&mock, "/mock/calls").json(), json!({"total": 0, "calls": []}));
    assert_eq!(request(&mock, "PUT", "/mock/script", &[], r#"{"setps": {}}"#).status(), 400);
    assert_eq!(post(&mock, "/mock/calls", &Value::Null).status(), 405);
}

#[test]
fn many_mocks_are_cheap() {
    let mocks: Vec<Mock> = (0..100).map(|_| Mock::start_on_thread(Script::default())).collect();
    assert!(mocks.iter().all(|mock| post(mock, CHAT, &chat(false)).status() == 200));
}

#[tokio::test]
async fn a_mock_that_stopped_lets_nobody_in_and_lets_everybody_go() {
    let mock = Mock::start(Script::always(Reply::fault(Fault::StallAfterHeaders))).await;
    let address = mock.address();
    assert_eq!(mock.url(), format!("http://{address}"));
    let mut stream = send(&mock, "POST", CHAT, &[], &chat(true).to_string());
    timeout(Duration::from_secs(20), async {
        while mock.call_count() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    mock.stop().await;
    let mut rest = Vec::new();
    // Closed in the middle of a body or before it was begun: the end, one way or another.
    let _ = stream.read_to_end(&mut rest);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_connection_is_used_again() {
    let mock = Mock::start_on_thread(Script::default());
    let agent: ureq::Agent = ureq::Agent::config_builder().build().into();
    for _ in 0..3 {
        let mut answer = agent.post(format!("{}{CHAT}", mock.url())).send(chat(false).to_string()).unwrap();
        assert!(answer.body_mut().read_to_string().unwrap().contains("You said"));
    }
    assert_eq!(mock.call_count(), 3);
}
