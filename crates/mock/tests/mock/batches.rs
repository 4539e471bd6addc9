//! Files and batches.

use crate::client::{Answer, get, post, request};
use ragstone_mock::{Mock, Reply, Script};
use serde_json::{Value, json};

fn upload(mock: &Mock, text: &str) -> Answer {
    let form = format!(
        "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; \
         filename=\"in.jsonl\"\r\nContent-Type: application/jsonl\r\n\r\n{text}\r\n--b--\r\n"
    );
    request(mock, "POST", "/v1/files", &[("content-type", "multipart/form-data; boundary=b")], &form)
}

fn line(id: &str, model: &str) -> String {
    let body = json!({"model": model, "messages": [{"role": "user", "content": id}]});
    format!("{}\n", json!({"custom_id": id, "method": "POST", "url": "/v1/chat/completions", "body": body}))
}

fn create(mock: &Mock, text: &str) -> Value {
    let file = upload(mock, text).json();
    let body = json!({"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h", "metadata": {"a": "b"}});
    let answer = post(mock, "/v1/batches", &body);
    assert_eq!(answer.status(), 200, "{answer:?}");
    answer.json()
}

fn path(batch: &Value) -> String {
    format!("/v1/batches/{}", batch["id"].as_str().unwrap())
}

fn lines(mock: &Mock, file: &Value) -> Vec<Value> {
    let content = get(mock, &format!("/v1/files/{}/content", file.as_str().unwrap()));
    content.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_batch_is_done_after_so_many_polls_and_has_an_answer_for_each_request() {
    let mock = Mock::start_on_thread(Script::default().batch_polls(3).then("bad", Reply::status(429)));
    let batch = create(&mock, &[line("one", "m"), line("two", "bad"), line("three", "m")].concat());
    assert_eq!((&batch["status"], &batch["metadata"]), (&json!("validating"), &json!({"a": "b"})));
    let polled: Vec<Value> = (0..4).map(|_| get(&mock, &path(&batch)).json()).collect();
    let statuses: Vec<&str> = polled.iter().map(|batch| batch["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["in_progress", "in_progress", "completed", "completed"]);
    assert_eq!(polled[1]["output_file_id"], Value::Null);
    assert_eq!(polled[2], polled[3], "it is run once");
    assert_eq!(polled[3]["request_counts"], json!({"total": 3, "completed": 2, "failed": 1}));
    let answers = lines(&mock, &polled[3]["output_file_id"]);
    let ids: Vec<&str> = answers.iter().map(|line| line["custom_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["three", "one"], "in no order that anybody may rely on");
    assert_eq!(answers[1]["response"]["body"]["choices"][0]["message"]["content"], "You said: one");
    let errors = lines(&mock, &polled[3]["error_file_id"]);
    assert_eq!((errors.len(), &errors[0]["response"]["status_code"], &errors[0]["custom_id"]), (1, &json!(429), &json!("two")));
}

#[test]
fn batches_are_listed_the_latest_first() {
    let mock = Mock::start_on_thread(Script::default());
    let made: Vec<Value> = (0..5).map(|_| create(&mock, &line("one", "m"))).collect();
    let page = get(&mock, "/v1/batches?limit=3").json();
    assert_eq!((&page["data"][0]["id"], &page["last_id"], &page["has_more"]), (&made[4]["id"], &made[2]["id"], &json!(true)));
    assert_eq!(page["data"][0]["metadata"], json!({"a": "b"}));
    let rest = get(&mock, &format!("/v1/batches?limit=3&after={}", page["last_id"].as_str().unwrap())).json();
    assert_eq!((rest["data"].as_array().unwrap().len(), &rest["has_more"]), (2, &json!(false)));
    assert_eq!([get(&mock, "/v1/batches?limit=0").status(), get(&mock, "/v1/batches?after=batch_99").status()], [400, 404]);
}

#[test]
fn a_batch_can_be_cancelled_until_it_is_done() {
    let mock = Mock::start_on_thread(Script::default().batch_polls(1));
    let batch = create(&mock, &line("one", "m"));
    let cancel = || post(&mock, &format!("{}/cancel", path(&batch)), &json!({}));
    assert_eq!(cancel().json()["status"], "cancelling");
    assert_eq!(get(&mock, &path(&batch)).json()["status"], "cancelled");
    assert_eq!((cancel().status(), get(&mock, &path(&batch)).json()["status"].as_str()), (409, Some("cancelled")));
}

#[test]
fn a_file_that_is_none_fails_the_batch_and_says_where() {
    let mock = Mock::start_on_thread(Script::default());
    for (text, code, place) in [
        (format!("{}oops\n", line("a", "m")), "invalid_json_line", json!(2)),
        (line("a", "m").repeat(2), "duplicate_custom_id", json!(2)),
        (line("a", "m").replace("/v1/chat/completions", "/v1/embeddings"), "mismatched_endpoint", json!(1)),
        (String::new(), "empty_file", Value::Null),
    ] {
        let batch = create(&mock, &text);
        let failed = get(&mock, &path(&batch)).json();
        assert_eq!((&failed["status"], &failed["errors"]["data"][0]["code"]), (&json!("failed"), &json!(code)));
        assert_eq!(failed["errors"]["data"][0]["line"], place, "{code}");
    }
}

#[test]
fn files_come_and_go() {
    let mock = Mock::start_on_thread(Script::default());
    let file = upload(&mock, "a\r\nb").json();
    assert_eq!((&file["bytes"], &file["filename"], &file["purpose"]), (&json!(4), &json!("in.jsonl"), &json!("batch")));
    assert_eq!(mock.calls()[0].body, json!({"filename": "in.jsonl", "purpose": "batch", "bytes": 4}));
    let path = format!("/v1/files/{}", file["id"].as_str().unwrap());
    assert_eq!((get(&mock, &path).json(), get(&mock, &format!("{path}/content")).text()), (file, "a\r\nb"));
    assert_eq!(request(&mock, "DELETE", &path, &[], "").json()["deleted"], true);
    assert_eq!((get(&mock, &path).status(), get(&mock, &format!("{path}/content")).status()), (404, 404));
}

#[test]
fn what_is_missing_or_not_to_be_batched_is_refused() {
    let mock = Mock::start_on_thread(Script::default());
    let id = upload(&mock, "x").json()["id"].clone();
    for (file, endpoint, status) in [
        (json!("file-99"), "/v1/chat/completions", 404),
        (id.clone(), "/v1/batches", 400),
        (id, "/v1/files", 400),
        (Value::Null, "/v1/chat/completions", 400),
    ] {
        let body = json!({"input_file_id": file, "endpoint": endpoint, "completion_window": "24h"});
        assert_eq!(post(&mock, "/v1/batches", &body).status(), status, "{body}");
    }
    assert_eq!((get(&mock, "/v1/batches/batch_1").status(), post(&mock, "/v1/files", &json!({})).status()), (404, 400));
}

#[test]
fn paths_have_steps_too() {
    let script = Script::default().then("/v1/batches/{id}", Reply::status(503)).then("/v1/files/{id}/content", Reply::raw("{}\n"));
    let mock = Mock::start_on_thread(script.batch_polls(1));
    let batch = create(&mock, &line("a", "m"));
    assert_eq!(get(&mock, &path(&batch)).status(), 503);
    let done = get(&mock, &path(&batch)).json();
    assert_eq!(lines(&mock, &done["output_file_id"]), [json!({})]);
    assert_eq!(lines(&mock, &done["output_file_id"]).len(), 1);
}
