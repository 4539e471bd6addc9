//! Counts and times every call to a deployment, and tells of it in a span of its own.

use crate::telemetry::{
    CALLS_TOTAL, DEPLOYMENT_LABEL, DURATION_SECONDS, ERROR_TYPE, ERROR_TYPE_LABEL, FIRST_CHUNK_SECONDS, INPUT_TOKENS, OPERATION_LABEL,
    OUTCOME_LABEL, OUTPUT_TOKENS, PROVIDER_LABEL, REQUEST_MODEL_LABEL, TOKEN_TYPE_LABEL, TOKEN_USAGE_TOKENS, call_span, error_type,
};
use crate::{ChatError, ChatEvent, ChatModel, ChatReply, ChatRequest, TokenUsage};
use async_trait::async_trait;
use futures::StreamExt;
use metrics::{Counter, Histogram, Label};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{Instrument, Span};

/// See the module.
pub struct Measured {
    inner: Arc<dyn ChatModel>,
    figures: Arc<Figures>,
}

impl Measured {
    /// Around `inner`, which `provider` runs.
    #[must_use]
    pub fn new(inner: Arc<dyn ChatModel>, provider: &str, deployment: &str) -> Self {
        let figures = Figures::new("chat", provider, inner.name(), deployment);
        Self { inner, figures: Arc::new(figures.with_words()) }
    }
}

/// What is counted of the calls to one deployment, looked up once: most calls end well.
pub(crate) struct Figures {
    operation: &'static str,
    provider: String,
    model: String,
    deployment: String,
    labels: Vec<Label>,
    answered: Counter,
    took: Histogram,
    input: Histogram,
    words: Option<Words>,
}

/// What is counted of calls that write.
struct Words {
    first_chunk: Histogram,
    output: Histogram,
}

impl Figures {
    pub(crate) fn new(operation: &'static str, provider: &str, model: &str, deployment: &str) -> Self {
        let labels =
            [(OPERATION_LABEL, operation), (PROVIDER_LABEL, provider), (REQUEST_MODEL_LABEL, model), (DEPLOYMENT_LABEL, deployment)];
        let labels: Vec<Label> = labels.into_iter().map(|(name, value)| Label::new(name, value.to_owned())).collect();
        Self {
            operation,
            provider: provider.to_owned(),
            model: model.to_owned(),
            deployment: deployment.to_owned(),
            answered: metrics::counter!(CALLS_TOTAL, with(&labels, OUTCOME_LABEL, "answered")),
            took: metrics::histogram!(DURATION_SECONDS, labels.clone()),
            input: metrics::histogram!(TOKEN_USAGE_TOKENS, with(&labels, TOKEN_TYPE_LABEL, "input")),
            words: None,
            labels,
        }
    }

    fn with_words(self) -> Self {
        let words = Words {
            first_chunk: metrics::histogram!(FIRST_CHUNK_SECONDS, self.labels.clone()),
            output: metrics::histogram!(TOKEN_USAGE_TOKENS, with(&self.labels, TOKEN_TYPE_LABEL, "output")),
        };
        Self { words: Some(words), ..self }
    }

    /// A call begins.
    pub(crate) fn begin(self: &Arc<Self>) -> Call {
        let span = call_span(self.operation, &self.provider, &self.deployment, &self.model);
        Call { figures: Arc::clone(self), span, began: Instant::now(), is_over: false }
    }

    fn note_answer(&self, took: Duration) {
        self.answered.increment(1);
        self.took.record(took);
    }

    fn note_failure(&self, outcome: &'static str, error: Cow<'static, str>, took: Duration) {
        metrics::counter!(CALLS_TOTAL, with(&self.labels, OUTCOME_LABEL, outcome)).increment(1);
        metrics::histogram!(DURATION_SECONDS, with(&self.labels, ERROR_TYPE_LABEL, error)).record(took);
    }

    #[expect(clippy::cast_precision_loss, reason = "no call has 2^52 tokens")]
    fn note_tokens(&self, usage: TokenUsage) {
        self.input.record(usage.prompt_tokens as f64);
        if let Some(words) = &self.words {
            words.output.record(usage.completion_tokens as f64);
        }
    }
}

fn with(labels: &[Label], name: &'static str, value: impl Into<Cow<'static, str>>) -> Vec<Label> {
    labels.iter().cloned().chain([Label::new(name, value.into())]).collect()
}

/// A call under way: however it ends it is counted, even if nobody waits for it any more.
pub(crate) struct Call {
    figures: Arc<Figures>,
    span: Span,
    began: Instant,
    is_over: bool,
}

impl Call {
    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    fn hear(&mut self, event: &Result<ChatEvent, ChatError>) {
        match event {
            Ok(ChatEvent::Usage(usage)) => {
                self.use_tokens(*usage);
                self.span.record(OUTPUT_TOKENS, usage.completion_tokens);
            }
            Ok(ChatEvent::Done { .. }) => self.answer(),
            Ok(_) => {}
            Err(error) => self.fail(error),
        }
    }

    /// It took so many tokens, as the provider counts them.
    pub(crate) fn use_tokens(&self, usage: TokenUsage) {
        self.figures.note_tokens(usage);
        self.span.record(INPUT_TOKENS, usage.prompt_tokens);
    }

    /// It was answered.
    pub(crate) fn answer(&mut self) {
        self.is_over = true;
        self.figures.note_answer(self.began.elapsed());
    }

    /// It failed.
    pub(crate) fn fail(&mut self, error: &ChatError) {
        self.end("failed", error_type(error));
    }

    fn end(&mut self, outcome: &'static str, error: Cow<'static, str>) {
        self.is_over = true;
        self.span.record(ERROR_TYPE, error.as_ref());
        self.figures.note_failure(outcome, error, self.began.elapsed());
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.is_over {
            self.end("cancelled", Cow::Borrowed("cancelled"));
        }
        tracing::debug!(parent: &self.span, took_s = self.began.elapsed().as_secs_f64(), "a call ended");
    }
}

#[async_trait]
impl ChatModel for Measured {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn ready_in(&self) -> Duration {
        self.inner.ready_in()
    }

    fn is_full(&self) -> bool {
        self.inner.is_full()
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatReply, ChatError> {
        let mut call = self.figures.begin();
        let reply = self.inner.chat(request).instrument(call.span()).await.inspect_err(|error| call.fail(error))?;
        if let Some(words) = &self.figures.words {
            words.first_chunk.record(call.began.elapsed());
        }
        let events = reply.events.inspect(move |event| call.hear(event)).boxed();
        Ok(ChatReply { events, ..reply })
    }
}
