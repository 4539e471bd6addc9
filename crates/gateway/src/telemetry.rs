//! What is said of calls to models, in traces and in figures: one table of names.
//!
//! Names are those of OpenTelemetry's semantic conventions for generative AI where they have one, and begin with
//! `ragstone.` where they don't. In Prometheus dots are underscores; the unit, and `total` for counters, comes last.
//!
//! Invariant: labels are bounded. They hold names of the configuration and words of this file, never what a client or
//! a provider wrote.

use crate::ChatError;
use std::borrow::Cow;
use tracing::Span;
use tracing::field::Empty;

/// What a name is used for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A label of figures, and a field of spans.
    Label,
    /// A field of spans alone: it may hold anything.
    Field,
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How values are distributed, with the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

/// A name and what it means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// In traces.
    pub name: &'static str,
    /// In figures; of fields the same as in traces.
    pub prometheus: &'static str,
    /// What it is used for.
    pub kind: Kind,
    /// In a sentence.
    pub meaning: &'static str,
}

/// Bounds that the conventions advise for times, in seconds.
const SECONDS: &[f64] = &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
/// Bounds that they advise for tokens.
const TOKENS: &[f64] =
    &[1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0, 67_108_864.0];

macro_rules! table {
    ($($id:ident, $label:ident: $kind:expr, $name:literal, $prometheus:literal, $meaning:literal;)*) => {
        $(
            #[doc = concat!($meaning, " In traces.")]
            pub const $id: &str = $name;
            #[doc = concat!($meaning, " In figures.")]
            pub const $label: &str = $prometheus;
        )*
        /// Every name.
        pub const TABLE: &[Row] = &[$(Row { name: $name, prometheus: $prometheus, kind: $kind, meaning: $meaning }),*];
    };
}

table! {
    OPERATION, OPERATION_LABEL: Kind::Label, "gen_ai.operation.name", "gen_ai_operation_name", "What is asked for: `chat`, `embeddings`, `rerank`.";
    PROVIDER, PROVIDER_LABEL: Kind::Label, "gen_ai.provider.name", "gen_ai_provider_name", "Who runs the model.";
    REQUEST_MODEL, REQUEST_MODEL_LABEL: Kind::Label, "gen_ai.request.model", "gen_ai_request_model",
        "The model that is asked for: of a call its name at the provider, of a request its name in the configuration.";
    RESPONSE_MODEL, RESPONSE_MODEL_FIELD: Kind::Field, "gen_ai.response.model", "gen_ai.response.model",
        "The model that answers, by its name at the provider.";
    INPUT_TOKENS, INPUT_TOKENS_FIELD: Kind::Field, "gen_ai.usage.input_tokens", "gen_ai.usage.input_tokens", "Tokens read.";
    OUTPUT_TOKENS, OUTPUT_TOKENS_FIELD: Kind::Field, "gen_ai.usage.output_tokens", "gen_ai.usage.output_tokens", "Tokens written.";
    TOKEN_TYPE, TOKEN_TYPE_LABEL: Kind::Label, "gen_ai.token.type", "gen_ai_token_type", "Whether tokens were read (`input`) or written (`output`).";
    ERROR_TYPE, ERROR_TYPE_LABEL: Kind::Label, "error.type", "error_type",
        "Why it failed: an HTTP status, or `connect`, `timeout`, `interrupted`, `malformed`, `too_large`, `unsupported`, `unavailable`, `cancelled`.";
    DEPLOYMENT, DEPLOYMENT_LABEL: Kind::Label, "ragstone.deployment", "ragstone_deployment", "The deployment, by its name in the configuration.";
    OUTCOME, OUTCOME_LABEL: Kind::Label, "ragstone.outcome", "ragstone_outcome",
        "How a call ended: `answered`, `failed`, or `cancelled` where nobody wanted to hear the rest.";
    TRIES_FAILED, TRIES_FAILED_FIELD: Kind::Field, "ragstone.tries_failed", "ragstone.tries_failed", "Calls that failed before the one that was answered.";
    RUNGS_GIVEN_UP, RUNGS_GIVEN_UP_FIELD: Kind::Field, "ragstone.rungs_given_up", "ragstone.rungs_given_up", "Rungs of the ladder that were given up.";
    CHOICE, CHOICE_FIELD: Kind::Field, "ragstone.choice", "ragstone.choice", "The model that was chosen by how hard the question looks, and from what.";
    DURATION, DURATION_SECONDS: Kind::Histogram(SECONDS), "gen_ai.client.operation.duration", "gen_ai_client_operation_duration_seconds",
        "Seconds from a call to its end.";
    FIRST_CHUNK, FIRST_CHUNK_SECONDS: Kind::Histogram(SECONDS), "gen_ai.client.operation.time_to_first_chunk",
        "gen_ai_client_operation_time_to_first_chunk_seconds", "Seconds from a call to its first token.";
    TOKEN_USAGE, TOKEN_USAGE_TOKENS: Kind::Histogram(TOKENS), "gen_ai.client.token.usage", "gen_ai_client_token_usage",
        "Tokens of a call, as the provider counts them.";
    CALLS, CALLS_TOTAL: Kind::Counter, "ragstone.model.calls", "ragstone_model_calls_total", "Calls that were made to a provider and have ended.";
    RETRIES, RETRIES_TOTAL: Kind::Counter, "ragstone.model.retries", "ragstone_model_retries_total",
        "Calls that were made because the one before failed, by why that failed.";
    RUNGS, RUNGS_TOTAL: Kind::Counter, "ragstone.model.rungs_given_up", "ragstone_model_rungs_given_up_total",
        "Groups of a ladder that gave no answer, by the last reason.";
    BREAKER_STATE, BREAKER_STATE_GAUGE: Kind::Gauge, "ragstone.breaker.state", "ragstone_breaker_state",
        "Whether calls are let through: 0 all (closed), 1 one to see (half-open), 2 none (open).";
}

/// The span of a request, from the question to the first token; its fields are filled in as they become known.
#[must_use]
pub fn request_span(model: &str) -> Span {
    tracing::info_span!(
        "chat",
        { OPERATION } = "chat",
        { REQUEST_MODEL } = model,
        { RESPONSE_MODEL } = Empty,
        { DEPLOYMENT } = Empty,
        { TRIES_FAILED } = Empty,
        { RUNGS_GIVEN_UP } = Empty,
        { CHOICE } = Empty,
    )
}

/// The span of one call to a provider, to its end.
pub(crate) fn call_span(operation: &str, provider: &str, deployment: &str, model: &str) -> Span {
    tracing::info_span!(
        "call",
        { OPERATION } = operation,
        { PROVIDER } = provider,
        { REQUEST_MODEL } = model,
        { DEPLOYMENT } = deployment,
        { INPUT_TOKENS } = Empty,
        { OUTPUT_TOKENS } = Empty,
        { ERROR_TYPE } = Empty,
    )
}

/// The `error.type` of a failure.
#[must_use]
pub fn error_type(error: &ChatError) -> Cow<'static, str> {
    Cow::Borrowed(match error {
        // Whatever else a provider makes up is not worth a series of its own.
        ChatError::Status { status, .. } if (300..600).contains(status) => return Cow::Owned(status.to_string()),
        ChatError::Status { .. } => "_OTHER",
        ChatError::Connect { .. } => "connect",
        ChatError::Timeout { .. } => "timeout",
        ChatError::Interrupted { .. } => "interrupted",
        ChatError::Malformed { .. } => "malformed",
        ChatError::TooLarge { .. } => "too_large",
        ChatError::Unsupported { .. } => "unsupported",
        ChatError::Unavailable { .. } => "unavailable",
        ChatError::OverLimit { .. } => "over_limit",
        ChatError::OverBudget { .. } => "over_budget",
    })
}

/// Another call is made for `model` after this one failed.
pub(crate) fn note_retry(model: &str, error: &ChatError) {
    metrics::counter!(RETRIES_TOTAL, REQUEST_MODEL_LABEL => model.to_owned(), ERROR_TYPE_LABEL => error_type(error)).increment(1);
}

/// A group of `model`'s ladder gave no answer.
pub(crate) fn note_rung_given_up(model: &str, error: &ChatError) {
    metrics::counter!(RUNGS_TOTAL, REQUEST_MODEL_LABEL => model.to_owned(), ERROR_TYPE_LABEL => error_type(error)).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChatMessage, ChatModel, ChatRequest, Chooser, Measured, Preference, ScriptedChat, Step, TokenUsage};
    use futures::StreamExt;
    use std::collections::BTreeSet;
    use std::io;
    use std::sync::{Arc, Mutex};
    use tracing::Instrument;
    use tracing_subscriber::fmt::format::FmtSpan;

    /// What a subscriber writes.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn spans_hold_the_choice_with_its_inputs_and_what_a_call_used() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_span_events(FmtSpan::CLOSE).with_writer(move || writer.clone());
        let _guard = tracing::subscriber::set_default(subscriber.finish());
        let used = TokenUsage { prompt_tokens: 3, completion_tokens: 1, ..TokenUsage::default() };
        let scripted = Arc::new(ScriptedChat::new("small", vec![vec![Step::delta("yes"), Step::Usage(used)]]));
        let model: Arc<dyn ChatModel> = Arc::new(Measured::new(scripted, "openai", "here"));
        let chooser = Chooser::new("auto", [Arc::clone(&model), Arc::clone(&model), model], Preference::Quality);
        let request = ChatRequest::new(vec![ChatMessage::user("Why? And how?")]);
        let reply = chooser.chat(request.clone()).instrument(request_span("auto")).await.unwrap();
        assert_eq!(reply.events.count().await, 3);
        assert!(chooser.chat(request).instrument(request_span("auto")).await.is_err(), "the script is over");
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let line = |part: &str| text.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("no {part}:\n{text}"));
        let chat = line("ragstone.choice=Choice");
        for part in ["gen_ai.request.model=\"auto\"", "model: \"small\"", "complexity: Moderate", "score: 5", "questions: 2", "thoughts: 1"]
        {
            assert!(chat.contains(part), "{part}: {chat}");
        }
        let call = line("gen_ai.usage.output_tokens=1");
        for part in ["gen_ai.provider.name=\"openai\"", "ragstone.deployment=\"here\"", "gen_ai.usage.input_tokens=3"] {
            assert!(call.contains(part), "{part}: {call}");
        }
        assert!(line("error.type=\"connect\"").contains("gen_ai.operation.name=\"chat\""));
    }

    #[test]
    fn prometheus_has_the_same_names_in_its_own_spelling() {
        for Row { name, prometheus, kind, .. } in TABLE {
            let plain = name.replace('.', "_");
            match kind {
                Kind::Label | Kind::Gauge => assert_eq!(*prometheus, plain),
                Kind::Field => assert_eq!(prometheus, name, "fields are in traces only"),
                Kind::Counter => assert_eq!(*prometheus, format!("{plain}_total")),
                Kind::Histogram(bounds) => {
                    let unit = if *bounds == SECONDS { "_seconds" } else { "" };
                    assert_eq!(*prometheus, format!("{plain}{unit}"));
                    assert!(bounds.is_sorted());
                }
            }
            assert!(name.starts_with("gen_ai.") || name.starts_with("ragstone.") || *name == "error.type", "{name}");
        }
        let names: BTreeSet<&str> = TABLE.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), TABLE.len(), "a name twice");
    }

    #[test]
    fn whatever_status_a_provider_makes_up_is_one_word() {
        let status = |status| error_type(&ChatError::Status { status, retry_after: None, message: String::new() });
        assert_eq!([status(429), status(999), status(0)], ["429", "_OTHER", "_OTHER"]);
    }
}
