//! Batches: a file of requests in, a file of answers out, some polls later.
//!
//! Each request takes its turn in the script when the batch is done: of a reply its status, words, tools and
//! usage count. A refusal goes to the error file.
//! Answers come in reverse order: providers promise none, and a client that relies on one should notice.

use crate::exchange::{Ask, whole};
use crate::files::Archive;
use crate::openai::CREATED;
use crate::provider::Provider;
use crate::refusal::Refusal;
use crate::route::{Endpoint, Route};
use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Most batches in one page of the list.
const LISTED_MAX: usize = 100;

/// A batch and how far it is.
pub(crate) struct Batch {
    endpoint: String,
    input_file: String,
    metadata: Value,
    lines: Vec<Line>,
    faults: Vec<Value>,
    polls: u32,
    status: Status,
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Validating,
    Failed,
    InProgress,
    Completed,
    Cancelling,
    Cancelled,
}

/// The files that a batch made, and how many answers are in each.
#[derive(Default)]
struct Outcome {
    output: Option<(String, usize)>,
    errors: Option<(String, usize)>,
}

/// One request of a batch.
#[derive(Deserialize, Clone)]
struct Line {
    custom_id: String,
    url: String,
    body: Value,
}

/// Takes a batch in. Nothing is looked at yet but whether its file is there.
pub(crate) fn create(provider: &Provider, ask: &Ask) -> Result<Value, Refusal> {
    let text = |name: &str| ask.body.get(name).and_then(Value::as_str).map(str::to_owned);
    let missing = |name: &str| Refusal::bad_request(format!("'{name}' is a required property"));
    let input_file = text("input_file_id").ok_or_else(|| missing("input_file_id"))?;
    let endpoint = text("endpoint").ok_or_else(|| missing("endpoint"))?;
    text("completion_window").ok_or_else(|| missing("completion_window"))?;
    if !is_batched(&endpoint) {
        return Err(Refusal::bad_request(format!("no batches of {endpoint}")));
    }
    let mut archive = provider.archive();
    let (lines, faults) = read(&archive.file(&input_file)?.bytes, &endpoint);
    let metadata = ask.body.get("metadata").cloned().unwrap_or_default();
    let (polls, status, outcome) = (0, Status::Validating, Outcome::default());
    let id = archive.add_batch(Batch { endpoint, input_file, metadata, lines, faults, polls, status, outcome });
    Ok(archive.batch(&id)?.describe(&id))
}

/// Whether batches may ask for it: never for files and batches, of which this one is among.
fn is_batched(endpoint: &str) -> bool {
    let endpoint = Route::find(&Method::POST, endpoint).endpoint;
    matches!(endpoint, Endpoint::Chat | Endpoint::Messages | Endpoint::Embeddings | Endpoint::Rerank)
}

/// Batches, the latest first, behind the one that `after` names.
pub(crate) fn list(provider: &Provider, ask: &Ask) -> Result<Value, Refusal> {
    let parameter = |name: &str| ask.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let limit = parameter("limit").map_or(Ok(20), str::parse).unwrap_or_default();
    if !(1..=LISTED_MAX).contains(&limit) {
        return Err(Refusal::bad_request(format!("'limit' must be 1 to {LISTED_MAX}")));
    }
    let (data, has_more) = provider.archive().batches_after(parameter("after"), limit)?;
    let id = |batch: Option<&Value>| batch.and_then(|batch| batch.get("id")).cloned();
    Ok(json!({"object": "list", "data": data, "first_id": id(data.first()), "last_id": id(data.last()), "has_more": has_more}))
}

/// Says how far a batch is; looking at it is what moves it on.
pub(crate) fn look(provider: &Provider, ask: &Ask) -> Result<Value, Refusal> {
    let polls_max = provider.batch_polls();
    let mut archive = provider.archive();
    let batch = archive.batch(&ask.id)?;
    if batch.step(polls_max) {
        let lines = batch.lines.clone();
        let outcome = run(provider, &mut archive, &lines);
        archive.batch(&ask.id)?.outcome = outcome;
    }
    Ok(archive.batch(&ask.id)?.describe(&ask.id))
}

pub(crate) fn cancel(provider: &Provider, ask: &Ask) -> Result<Value, Refusal> {
    let mut archive = provider.archive();
    let batch = archive.batch(&ask.id)?;
    if !matches!(batch.status, Status::Validating | Status::InProgress) {
        return Err(Refusal::new(409, "conflict", format!("Cannot cancel a batch with status '{}'.", batch.status.name())));
    }
    batch.status = Status::Cancelling;
    Ok(batch.describe(&ask.id))
}

impl Batch {
    /// One poll further; whether it is now to be run.
    fn step(&mut self, polls_max: u32) -> bool {
        self.polls = self.polls.saturating_add(1);
        let before = self.status;
        self.status = match before {
            Status::Validating if !self.faults.is_empty() => Status::Failed,
            Status::Validating | Status::InProgress if self.polls >= polls_max => Status::Completed,
            Status::Validating => Status::InProgress,
            Status::Cancelling => Status::Cancelled,
            Status::InProgress | Status::Failed | Status::Completed | Status::Cancelled => before,
        };
        self.status == Status::Completed && before != Status::Completed
    }

    pub(crate) fn describe(&self, id: &str) -> Value {
        let file = |made: &Option<(String, usize)>| made.as_ref().map(|(id, _)| id.clone());
        let count = |made: &Option<(String, usize)>| made.as_ref().map_or(0, |(_, count)| *count);
        let errors = (self.status == Status::Failed).then(|| json!({"object": "list", "data": self.faults}));
        let (completed, failed) = (count(&self.outcome.output), count(&self.outcome.errors));
        let total = if self.status == Status::Validating { 0 } else { self.lines.len() };
        json!({"id": id, "object": "batch", "endpoint": self.endpoint, "errors": errors, "input_file_id": self.input_file,
            "completion_window": "24h", "status": self.status.name(), "created_at": CREATED, "metadata": self.metadata,
            "output_file_id": file(&self.outcome.output), "error_file_id": file(&self.outcome.errors),
            "request_counts": {"total": total, "completed": completed, "failed": failed}})
    }
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Validating => "validating",
            Self::Failed => "failed",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The requests of a file, and what is wrong with it.
fn read(bytes: &[u8], endpoint: &str) -> (Vec<Line>, Vec<Value>) {
    let (mut lines, mut faults, mut ids) = (Vec::new(), Vec::new(), BTreeSet::new());
    let text = String::from_utf8_lossy(bytes);
    for (place, text) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let mut fault = |code: &str, message: String| faults.push(json!({"code": code, "line": place + 1, "message": message}));
        match serde_json::from_str::<Line>(text) {
            Err(error) => fault("invalid_json_line", error.to_string()),
            Ok(line) if line.url != endpoint => fault("mismatched_endpoint", format!("{} is not {endpoint}", line.url)),
            Ok(line) if !ids.insert(line.custom_id.clone()) => fault("duplicate_custom_id", line.custom_id),
            Ok(line) => lines.push(line),
        }
    }
    if lines.is_empty() && faults.is_empty() {
        faults.push(json!({"code": "empty_file", "line": null, "message": "the file has no requests"}));
    }
    (lines, faults)
}

/// Answers every request and keeps the files.
fn run(provider: &Provider, archive: &mut Archive, lines: &[Line]) -> Outcome {
    let answers: Vec<(bool, Value)> = lines.iter().enumerate().map(|(place, line)| answer(provider, place, line)).collect();
    let mut keep = |is_error: bool, filename: &str| {
        let lines: Vec<String> =
            answers.iter().rev().filter(|(failed, _)| *failed == is_error).map(|(_, line)| format!("{line}\n")).collect();
        (!lines.is_empty()).then(|| (archive.add_file(filename, "batch_output", lines.concat().into()), lines.len()))
    };
    Outcome { output: keep(false, "output.jsonl"), errors: keep(true, "errors.jsonl") }
}

/// The line of one answer, and whether it is an error.
fn answer(provider: &Provider, place: usize, line: &Line) -> (bool, Value) {
    let mut ask = Ask::new(Route::find(&Method::POST, &line.url), line.body.clone(), None);
    ask.number = place as u64 + 1;
    let reply = provider.take_reply(&ask.model, ask.pattern);
    let outcome = if reply.is_success() { whole(provider, &ask, &reply) } else { Err(Refusal::scripted(reply.status.unwrap_or(500))) };
    let (status, body) = match &outcome {
        Ok(body) => (200, body.clone()),
        Err(refusal) => (refusal.status, refusal.body(ask.dialect)),
    };
    let response = json!({"status_code": status, "request_id": format!("req_{}", ask.number), "body": body});
    let line = json!({"id": format!("batch_req_{}", ask.number), "custom_id": line.custom_id, "response": response, "error": null});
    (outcome.is_err(), line)
}
