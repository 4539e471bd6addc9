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
    provider: String,
    deployment: String,
    figures: Arc<Figures>,
}

/// What is counted, looked up once: most calls end well.
struct Figures {
    labels: Vec<Label>,
    answered: Counter,
    took: Histogram,
    first_chunk: Histogram,
    input: Histogram,
    output: Histogram,
}

impl Measured {
    /// Around `inner`, which `provider` runs.
    #[must_use]
    pub fn new(inner: Arc<dyn ChatModel>, provider: &str, deployment: &str) -> Self {
        let model = inner.name().to_owned();
        let labels = [(OPERATION_LABEL, "chat"), (PROVIDER_LABEL, provider), (REQUEST_MODEL_LABEL, &model), (DEPLOYMENT_LABEL, deployment)];
        let figures = Figures::new(labels.into_iter().map(|(name, value)| Label::new(name, value.to_owned())).collect());
        Self { inner, provider: provider.to_owned(), deployment: deployment.to_owned(), figures: Arc::new(figures) }
    }
}

impl Figures {
    fn new(labels: Vec<Label>) -> Self {
        let with = |name, value| labels.iter().cloned().chain([Label::from_static_parts(name, value)]).collect::<Vec<_>>();
        Self {
            answered: metrics::counter!(CALLS_TOTAL, with(OUTCOME_LABEL, "answered")),
            took: metrics::histogram!(DURATION_SECONDS, labels.clone()),
            first_chunk: metrics::histogram!(FIRST_CHUNK_SECONDS, labels.clone()),
            input: metrics::histogram!(TOKEN_USAGE_TOKENS, with(TOKEN_TYPE_LABEL, "input")),
            output: metrics::histogram!(TOKEN_USAGE_TOKENS, with(TOKEN_TYPE_LABEL, "output")),
            labels,
        }
    }

    fn note_answer(&self, took: Duration) {
        self.answered.increment(1);
        self.took.record(took);
    }

    fn note_failure(&self, outcome: &'static str, error: Cow<'static, str>, took: Duration) {
        let with = |name, value: Cow<'static, str>| self.labels.iter().cloned().chain([Label::new(name, value)]).collect::<Vec<_>>();
        metrics::counter!(CALLS_TOTAL, with(OUTCOME_LABEL, Cow::Borrowed(outcome))).increment(1);
        metrics::histogram!(DURATION_SECONDS, with(ERROR_TYPE_LABEL, error)).record(took);
    }

    #[expect(clippy::cast_precision_loss, reason = "no call has 2^52 tokens")]
    fn note_tokens(&self, usage: TokenUsage) {
        self.input.record(usage.prompt_tokens as f64);
        self.output.record(usage.completion_tokens as f64);
    }
}

/// A call under way: however it ends it is counted, even if nobody waits for it any more.
struct Call {
    figures: Arc<Figures>,
    span: Span,
    began: Instant,
    is_over: bool,
}

impl Call {
    fn hear(&mut self, event: &Result<ChatEvent, ChatError>) {
        match event {
            Ok(ChatEvent::Usage(usage)) => {
                self.figures.note_tokens(*usage);
                self.span.record(INPUT_TOKENS, usage.prompt_tokens).record(OUTPUT_TOKENS, usage.completion_tokens);
            }
            Ok(ChatEvent::Done { .. }) => {
                self.is_over = true;
                self.figures.note_answer(self.began.elapsed());
            }
            Ok(_) => {}
            Err(error) => self.fail("failed", error_type(error)),
        }
    }

    fn fail(&mut self, outcome: &'static str, error: Cow<'static, str>) {
        self.is_over = true;
        self.span.record(ERROR_TYPE, error.as_ref());
        self.figures.note_failure(outcome, error, self.began.elapsed());
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.is_over {
            self.fail("cancelled", Cow::Borrowed("cancelled"));
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
        let span = call_span(&self.provider, &self.deployment, self.inner.name());
        let mut call = Call { figures: Arc::clone(&self.figures), span: span.clone(), began: Instant::now(), is_over: false };
        let reply = self.inner.chat(request).instrument(span).await.inspect_err(|error| call.fail("failed", error_type(error)))?;
        self.figures.first_chunk.record(call.began.elapsed());
        let events = reply.events.inspect(move |event| call.hear(event)).boxed();
        Ok(ChatReply { events, ..reply })
    }
}
