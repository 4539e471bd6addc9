//! Batches and their answers as JSON.

use crate::endpoint::shorten;
use crate::providers::usage_of;
use crate::{ChatError, TokenUsage};
use serde::Deserialize;
use serde_json::Value;

/// A batch at the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderBatch {
    /// Its id there.
    pub id: String,
    /// How it stands.
    pub state: BatchState,
    /// The file of requests.
    pub input_file: Option<String>,
    /// The file of answers, once there is one.
    pub output_file: Option<String>,
    /// The file of requests that failed.
    pub error_file: Option<String>,
    /// Requests that are done, those that failed among them.
    pub done: u64,
}

/// How a batch stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchState {
    /// It is worked on, or about to end.
    Open,
    /// Every request has an answer or an error.
    Completed,
    /// The provider refused it as a whole, with these words.
    Failed(String),
    /// The day was over before it was.
    Expired,
    /// It was ended on request.
    Cancelled,
}

/// What came of one request.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchAnswer {
    /// The caller's name for the request.
    pub custom_id: String,
    /// A chat completion, or why there is none.
    pub outcome: Result<Value, BatchFailure>,
    /// Tokens used.
    pub usage: TokenUsage,
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchFailure {
    /// The status that it would have had as a call; 0 if it was never made.
    pub status: u16,
    /// The provider's words.
    pub message: String,
}

#[derive(Deserialize)]
struct Batch {
    id: String,
    status: String,
    input_file_id: Option<String>,
    output_file_id: Option<String>,
    error_file_id: Option<String>,
    request_counts: Option<Counts>,
    errors: Option<Value>,
}

#[derive(Default, Deserialize)]
struct Counts {
    #[serde(default)]
    completed: u64,
    #[serde(default)]
    failed: u64,
}

#[derive(Deserialize)]
pub(super) struct List {
    pub(super) data: Vec<Value>,
    #[serde(default)]
    pub(super) has_more: bool,
}

#[derive(Deserialize)]
struct Line {
    custom_id: String,
    response: Option<Response>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Response {
    status_code: u16,
    #[serde(default)]
    body: Value,
}

fn malformed(reason: impl Into<String>) -> ChatError {
    ChatError::Malformed { reason: reason.into() }
}

/// An id that can stand in a path as it is.
pub(super) fn checked(id: &str) -> Result<&str, ChatError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if (1..=256).contains(&id.len()) && id.bytes().all(is_plain) { Ok(id) } else { Err(malformed("an id that is none")) }
}

pub(super) fn id(described: &Value) -> Result<String, ChatError> {
    let id = described.get("id").and_then(Value::as_str).ok_or_else(|| malformed("something without an id"))?;
    Ok(checked(id)?.to_owned())
}

impl ProviderBatch {
    pub(super) fn read(described: &Value) -> Result<Self, ChatError> {
        let batch = Batch::deserialize(described).map_err(|error| malformed(format!("no batch: {error}")))?;
        let counts = batch.request_counts.unwrap_or_default();
        let state = match batch.status.as_str() {
            "completed" => BatchState::Completed,
            "failed" => BatchState::Failed(faults(batch.errors.as_ref())),
            "expired" => BatchState::Expired,
            "cancelled" => BatchState::Cancelled,
            // Whatever else there is or will be: who waits has a limit.
            _ => BatchState::Open,
        };
        Ok(Self {
            id: checked(&batch.id)?.to_owned(),
            state,
            input_file: batch.input_file_id,
            output_file: batch.output_file_id,
            error_file: batch.error_file_id,
            done: counts.completed + counts.failed,
        })
    }
}

/// What is wrong with the file of requests.
fn faults(errors: Option<&Value>) -> String {
    let all = errors.and_then(|errors| errors.get("data")).and_then(Value::as_array);
    let words = all.into_iter().flatten().filter_map(|error| {
        let place = error.get("line").and_then(Value::as_u64).map(|line| format!(" (line {line})")).unwrap_or_default();
        Some(format!("{}{place}", error.get("message")?.as_str()?))
    });
    let words: Vec<String> = words.take(3).collect();
    if words.is_empty() { "the provider gave no reason".to_owned() } else { shorten(&words.join("; ")) }
}

impl BatchAnswer {
    pub(super) fn read(line: &[u8]) -> Result<Self, ChatError> {
        let line: Line = serde_json::from_slice(line).map_err(|error| malformed(error.to_string()))?;
        let words = |value: Option<&Value>| {
            let said = value.and_then(|value| value.pointer("/error/message").or_else(|| value.get("message"))).and_then(Value::as_str);
            shorten(said.unwrap_or("the provider gave no reason"))
        };
        let outcome = match line.response {
            Some(Response { status_code: 200..=299, body }) => Ok(body),
            Some(Response { status_code, body }) => Err(BatchFailure { status: status_code, message: words(Some(&body)) }),
            None => Err(BatchFailure { status: 0, message: words(line.error.as_ref()) }),
        };
        let usage = outcome.as_ref().map(usage_of).unwrap_or_default();
        Ok(Self { custom_id: line.custom_id, outcome, usage })
    }
}
