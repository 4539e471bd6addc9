//! The client against the scripted provider.

use super::*;
use crate::{ApiKey, ChatMessage, Dialect, Timeouts, TokenUsage};
use mock::{Mock, Reply, Script};

fn client(url: &str) -> BatchClient {
    let config = ChatConfig {
        deployment: "d".into(),
        base_url: format!("{url}/v1"),
        api_key: Some(ApiKey::new("sk-canary")),
        model: "m".into(),
        dialect: Dialect::default(),
        timeouts: Timeouts::default(),
    };
    BatchClient::new(config).unwrap()
}

fn lines(client: &BatchClient, count: usize) -> String {
    let line = |number: usize| client.line(&number.to_string(), &ChatRequest::new(vec![ChatMessage::user(format!("question {number}"))]));
    (0..count).map(line).collect()
}

async fn begun(client: &BatchClient, count: usize, name: &str) -> ProviderBatch {
    let file = client.upload(name, lines(client, count)).await.unwrap();
    client.create(&file, name).await.unwrap()
}

async fn all(client: &BatchClient, file: Option<&String>) -> Vec<BatchAnswer> {
    let mut answers = client.answers(file.unwrap()).await.unwrap();
    let mut all = Vec::new();
    while let Some(answer) = answers.next().await.unwrap() {
        all.push(answer);
    }
    all
}

#[tokio::test]
async fn a_batch_goes_up_is_looked_at_and_its_answers_come_back_by_name() {
    let mock = Mock::start(Script::default().batch_polls(2).then("m", Reply::default()).then("m", Reply::status(429))).await;
    let client = client(mock.url());
    let batch = begun(&client, 3, "job_a").await;
    assert_eq!((&batch.state, batch.output_file.as_ref()), (&BatchState::Open, None));
    assert_eq!(client.look(&batch.id).await.unwrap().state, BatchState::Open);
    let done = client.look(&batch.id).await.unwrap();
    assert_eq!((&done.state, done.done), (&BatchState::Completed, 3));
    let answers = all(&client, done.output_file.as_ref()).await;
    let first = answers.iter().find(|answer| answer.custom_id == "0").unwrap();
    let said = first.outcome.as_ref().unwrap()["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(said.contains("question 0"), "{said}");
    assert!(first.usage.prompt_tokens > 0 && first.usage.completion_tokens > 0);
    let failed = all(&client, done.error_file.as_ref()).await;
    let failure = failed[0].outcome.as_ref().unwrap_err();
    assert_eq!((failed.len(), failed[0].custom_id.as_str(), failure.status, failed[0].usage), (1, "1", 429, TokenUsage::default()));
    let sent = mock.calls();
    assert!(sent.iter().all(|call| call.authorization));
    let input = done.input_file.unwrap();
    client.remove_file(&input).await.unwrap();
    assert!(matches!(client.remove_file(&input).await, Err(ChatError::Status { status: 404, .. })));
}

#[test]
fn a_line_asks_for_no_stream() {
    let line: Value = serde_json::from_str(&lines(&client("http://127.0.0.1:1"), 1)).unwrap();
    assert_eq!((&line["url"], &line["body"]["model"]), (&json!(CHAT), &json!("m")));
    assert!(line["body"].get("stream").is_none() && line["body"].get("stream_options").is_none(), "{line}");
}

#[tokio::test]
async fn a_batch_is_found_by_its_name_among_many() {
    let mock = Mock::start(Script::default()).await;
    let client = client(mock.url());
    let wanted = begun(&client, 1, "job_wanted").await;
    for number in 0..LISTED + 5 {
        begun(&client, 1, &format!("job_{number}")).await;
    }
    assert_eq!(client.find("job_wanted").await.unwrap().map(|batch| batch.id), Some(wanted.id), "on the second page");
    assert_eq!(client.find("job_other").await.unwrap(), None);
}

#[tokio::test]
async fn a_batch_is_cancelled_and_what_has_ended_is_no_error() {
    let mock = Mock::start(Script::default().batch_polls(9)).await;
    let client = client(mock.url());
    let batch = begun(&client, 2, "job_a").await;
    client.cancel(&batch.id).await.unwrap();
    assert_eq!(client.look(&batch.id).await.unwrap().state, BatchState::Cancelled);
    client.cancel(&batch.id).await.unwrap();
    assert!(matches!(client.look("batch_999").await, Err(ChatError::Status { status: 404, .. })));
    assert!(matches!(client.look("../files").await, Err(ChatError::Malformed { .. })), "an id is no path");
}

#[tokio::test]
async fn a_file_that_is_none_fails_with_the_providers_words() {
    let mock = Mock::start(Script::default()).await;
    let client = client(mock.url());
    let file = client.upload("job_a", lines(&client, 1).repeat(2)).await.unwrap();
    let batch = client.create(&file, "job_a").await.unwrap();
    match client.look(&batch.id).await.unwrap().state {
        BatchState::Failed(words) => assert!(words.contains("(line 2)"), "{words}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn lines_that_say_nothing_are_left_out_and_the_last_needs_no_end() {
    let used = json!({ "prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": { "cached_tokens": 5 } });
    let body = json!({ "usage": used });
    let good = |id: &str| json!({ "custom_id": id, "response": { "status_code": 200, "body": body }, "error": null }).to_string();
    let expired = json!({ "custom_id": "c", "response": null, "error": { "code": "batch_expired", "message": "too late" } }).to_string();
    let file = format!("{}\n\nnonsense\n{expired}\n{}", good("a"), good("b"));
    let mock = Mock::start(Script::default().then("/v1/files/{id}/content", Reply::raw(file.into_bytes()))).await;
    let answers = all(&client(mock.url()), Some(&"file-1".to_owned())).await;
    let ids: Vec<&str> = answers.iter().map(|answer| answer.custom_id.as_str()).collect();
    assert_eq!(ids, ["a", "c", "b"]);
    let used = TokenUsage { prompt_tokens: 9, completion_tokens: 4, cached_tokens: 5, ..TokenUsage::default() };
    assert_eq!((answers[0].usage, answers[1].usage), (used, TokenUsage::default()));
    assert_eq!(answers[1].outcome, Err(BatchFailure { status: 0, message: "too late".into() }));
}
