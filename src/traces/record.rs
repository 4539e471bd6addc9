//! One trace: what the request hands over, and what is kept of it.

use super::Redact;
use crate::config::TextKept;
use corpus::{CollectionId, DocumentId, TenantId, TraceId};
use index::batches::BatchAsker;
use query::{Answer, Found, PROMPT_VERSION, SearchExplain, Timings};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use time::OffsetDateTime;

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TraceKind {
    Query,
    Search,
    /// A question of a batch.
    Batch,
    /// One of an evaluation.
    Evaluation,
    /// A question that was asked again.
    Replay,
}

/// What the request hands over. Nothing is rendered on its path.
pub(crate) struct Draft {
    pub(crate) trace: TraceId,
    pub(crate) kind: TraceKind,
    pub(crate) tenant: TenantId,
    pub(crate) asker: BatchAsker,
    pub(crate) collection: CollectionId,
    pub(crate) at: OffsetDateTime,
    /// As it was asked; none where a vector was.
    pub(crate) question: Option<String>,
    pub(crate) session: Option<String>,
    /// The trace that this one replays.
    pub(crate) replays: Option<TraceId>,
    /// What was asked for beside the question.
    pub(crate) settings: Value,
    /// Documents that what was said before in the session rests on.
    pub(crate) before: BTreeSet<DocumentId>,
    pub(crate) outcome: Outcome,
}

/// What came of it.
pub(crate) enum Outcome {
    Answered(Box<Answer>),
    Found { hits: Vec<Found>, explain: Option<SearchExplain>, timings: Timings },
    Failed { code: &'static str, detail: String },
}

/// What a list shows, and what decides who may see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) trace_id: TraceId,
    pub(crate) kind: TraceKind,
    pub(crate) tenant: TenantId,
    pub(crate) asker: BatchAsker,
    pub(crate) collection: CollectionId,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) at: OffsetDateTime,
    pub(crate) question: Option<String>,
    pub(crate) session: Option<String>,
    pub(crate) replays: Option<TraceId>,
    /// `generated`, `extractive`, or of a search `hybrid` and its kin.
    pub(crate) mode: Option<String>,
    pub(crate) abstained: bool,
    pub(crate) degraded: bool,
    pub(crate) cached: bool,
    pub(crate) model: Option<String>,
    pub(crate) cost_usd: Option<f64>,
    pub(crate) total_ms: Option<f64>,
    pub(crate) error: Option<String>,
}

/// What is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trace {
    pub(crate) head: Head,
    /// Everything that it holds text or ids of.
    pub(crate) documents: BTreeSet<DocumentId>,
    /// Settings, steps and the answer.
    pub(crate) body: Map<String, Value>,
}

/// Fields of an answer's sources that repeat what the store has: a trace names the chunk.
const LEFT_TO_THE_STORE: [&str; 5] = ["text", "neighbours", "metadata", "heading_path", "document_name"];

/// What is kept of a draft.
pub(super) fn render(draft: Draft, text: TextKept, redact: &Redact) -> Trace {
    let Draft { trace, kind, tenant, asker, collection, at, question, session, replays, settings, before, outcome } = draft;
    let mut head = Head {
        trace_id: trace,
        kind,
        tenant,
        asker,
        collection,
        at,
        question,
        session,
        replays,
        mode: None,
        abstained: false,
        degraded: false,
        cached: false,
        model: None,
        cost_usd: None,
        total_ms: None,
        error: None,
    };
    let mut documents = before;
    let mut body = Map::from_iter([("settings".to_owned(), settings)]);
    match outcome {
        Outcome::Answered(answer) => answered(&answer, &mut head, &mut documents, &mut body),
        Outcome::Found { hits, explain, timings } => {
            head.mode = body.get("settings").and_then(|settings| settings.get("mode")?.as_str()).map(str::to_owned);
            head.total_ms = timings.get("total");
            documents.extend(hits.iter().map(|hit| hit.document_id.clone()));
            body.extend([("candidates".to_owned(), json!(hits)), ("explain".to_owned(), json!(explain))]);
            body.insert("timings_ms".to_owned(), json!(timings));
        }
        Outcome::Failed { code, detail } => {
            head.error = Some(code.to_owned());
            body.insert("error".to_owned(), json!({ "code": code, "detail": detail }));
        }
    }
    let mut trace = Trace { head, documents, body };
    match text {
        TextKept::Full => {}
        TextKept::Redacted => redact_all(&mut trace, redact),
        TextKept::None => leave_out(&mut trace),
    }
    trace
}

fn answered(answer: &Answer, head: &mut Head, documents: &mut BTreeSet<DocumentId>, body: &mut Map<String, Value>) {
    head.mode = json!(answer.mode).as_str().map(str::to_owned);
    (head.abstained, head.degraded, head.cached) = (answer.abstained, answer.degraded, answer.cache.hit);
    (head.model, head.cost_usd, head.total_ms) = (answer.model.clone(), answer.cost_usd, answer.timings_ms.get("total"));
    documents.extend(answer.sources.iter().map(|hit| hit.document_id.clone()));
    documents.extend(answer.steps.candidates.iter().map(|hit| hit.document_id.clone()));
    let mut whole = json!(answer);
    for source in whole.get_mut("sources").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(source) = source.as_object_mut() {
            LEFT_TO_THE_STORE.iter().for_each(|field| drop(source.remove(*field)));
        }
    }
    let steps = &answer.steps;
    body.insert("reworded".to_owned(), json!(steps.reworded));
    body.insert("candidates".to_owned(), json!(steps.candidates));
    let context =
        json!({ "budget": steps.context_budget, "tokens": answer.context_length, "packed": steps.packed, "dropped": steps.dropped });
    body.insert("context".to_owned(), context);
    if let Some(sha256) = steps.prompt_sha256.get() {
        body.insert("prompt".to_owned(), json!({ "version": PROMPT_VERSION, "sha256": sha256 }));
    }
    body.insert("answer".to_owned(), whole);
}

/// Every text goes through the hook but what names a record, which must stay what it is.
fn redact_all(trace: &mut Trace, redact: &Redact) {
    let rewritten = trace.body.get("answer").and_then(|answer| answer.get("rewritten_question")?.as_str());
    let is_redacted = rewritten.or(trace.head.question.as_deref()).is_some_and(|question| redact(question) != question);
    if let Some(question) = &mut trace.head.question {
        *question = redact(question).into_owned();
    }
    for (name, value) in &mut trace.body {
        redact_below(name, value, redact);
    }
    trace.body.insert("question_redacted".to_owned(), json!(is_redacted));
}

fn redact_below(name: &str, value: &mut Value, redact: &Redact) {
    match value {
        Value::String(text) if !is_name(name) => *text = redact(text).into_owned(),
        Value::Array(items) => items.iter_mut().for_each(|item| redact_below(name, item, redact)),
        Value::Object(fields) => fields.iter_mut().for_each(|(name, value)| redact_below(name, value, redact)),
        _ => {}
    }
}

fn is_name(field: &str) -> bool {
    field == "id" || field.ends_with("_id") || ["sha256", "model", "mode", "deployment", "verdict", "kind", "code"].contains(&field)
}

/// Fields whose strings are no words of anybody: ids, names of the configuration, and what is one of a few.
const NO_WORDS: [&str; 23] = [
    "chunk_id",
    "document_id",
    "source",
    "sha256",
    "model",
    "deployment",
    "mode",
    "cache",
    "rewrite",
    "expand",
    "rewritten_by",
    "kind",
    "kinds",
    "verdict",
    "guard",
    "stage",
    "action",
    "rules",
    "leg",
    "code",
    "because",
    "complexity",
    "preference",
];

/// Nobody's words are kept: of strings only those that are known to be none, and no filter, whose numbers say something
/// too.
fn leave_out(trace: &mut Trace) {
    trace.head.question = None;
    if let Some(settings) = trace.body.get_mut("settings").and_then(Value::as_object_mut) {
        settings.remove("filter");
    }
    trace.body.iter_mut().for_each(|(name, value)| leave_out_below(name, value));
}

fn leave_out_below(name: &str, value: &mut Value) {
    match value {
        Value::String(_) if !NO_WORDS.contains(&name) => *value = Value::Null,
        Value::Array(items) => {
            items.iter_mut().for_each(|item| leave_out_below(name, item));
            items.retain(|item| !item.is_null());
        }
        Value::Object(fields) => fields.iter_mut().for_each(|(name, value)| leave_out_below(name, value)),
        _ => {}
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use query::Reworded;
    use std::borrow::Cow;
    use std::sync::Arc;

    pub(crate) fn draft(question: &str) -> Draft {
        Draft {
            trace: TraceId::generate(),
            kind: TraceKind::Query,
            tenant: TenantId::default(),
            asker: BatchAsker { key: "k".into(), principals: None, collections: None, tags: Vec::new() },
            collection: CollectionId::generate(),
            at: OffsetDateTime::UNIX_EPOCH,
            question: Some(question.into()),
            session: None,
            replays: None,
            settings: json!({ "filter": { "key": "author", "value": "ann@example.org" }, "tags": ["team of ann"], "cache": "use" }),
            before: BTreeSet::new(),
            outcome: Outcome::Failed { code: "budget_exhausted", detail: "of ann@example.org".into() },
        }
    }

    #[test]
    fn what_a_question_was_made_into_is_words_too() {
        let reworded = Reworded {
            queries: vec!["Who is ann@example.org?".into()],
            passage: Some("ann@example.org keeps the lamp.".into()),
            rewrite_failure: Some("no ann@example.org".into()),
            expand_failure: Some("no ann@example.org".into()),
            ..Reworded::default()
        };
        let redact: Redact = Arc::new(|text: &str| Cow::Owned(text.replace("ann@example.org", "[email]")));
        let mut redacted = json!(reworded);
        redact_below("reworded", &mut redacted, &redact);
        assert_eq!(redacted.to_string().matches("[email]").count(), 4, "{redacted}");
        let mut left = json!(reworded);
        leave_out_below("reworded", &mut left);
        assert_eq!((left.to_string().contains("ann"), &left["queries"], &left["expand"]), (false, &json!([]), &json!("none")), "{left}");
    }

    #[test]
    fn words_are_kept_as_the_configuration_says() {
        let redact: Redact = Arc::new(|text: &str| Cow::Owned(text.replace("ann@example.org", "[email]")));
        let told = |text| serde_json::to_string(&render(draft("Who is ann@example.org?"), text, &redact)).unwrap();
        assert_eq!(told(TextKept::Full).matches("ann@example.org").count(), 3);
        let redacted = told(TextKept::Redacted);
        assert_eq!((redacted.matches("ann@example.org").count(), redacted.matches("[email]").count()), (0, 3), "{redacted}");
        let none = told(TextKept::None);
        for words in ["of ann", "ann@", "Who is", "author"] {
            assert!(!none.contains(words), "{words}: {none}");
        }
        assert!(none.contains("budget_exhausted") && none.contains(r#""cache":"use""#), "{none}");
    }
}
