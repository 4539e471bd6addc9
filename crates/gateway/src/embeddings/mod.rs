//! The embedder whose model is at a provider.
//!
//! Invariants: either all texts are embedded or none; no more is sent in one request than the
//! provider takes; every vector has the pinned dimension and finite numbers; every wait and every
//! answer has a limit; only what passes by itself is tried again, after as long as the provider wants.
//!
//! The seam is blocking, the client is not: a runtime of its own, with one thread for its
//! connections, runs the calls from whatever blocking thread they come.

mod estimate;
#[cfg(test)]
mod tests;
mod wire;

use crate::ChatError;
use crate::Stage;
use crate::endpoint::{self, Address, ApiKey, Endpoint, EndpointError, KeyHeader};
use corpus::{EmbedError, Embedded, Embedder, Embedding, EmbeddingModel, Purpose};
use estimate::{SPECIAL_TOKENS, token_starts};
use futures::future::{Either, select};
use std::pin::pin;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
pub use wire::EmbeddingProvider;

/// Where an embedding model is and how to ask it.
#[derive(Debug, Clone)]
pub struct RemoteEmbedderConfig {
    /// The protocol.
    pub kind: EmbeddingProvider,
    /// What stands before the path that [`EmbeddingProvider`] names, such as `https://api.openai.com/v1`,
    /// `https://api.cohere.com` or `http://127.0.0.1:11434`.
    pub base_url: String,
    /// Sent as a bearer token; local servers need none.
    pub api_key: Option<ApiKey>,
    /// The model: `name` as the provider calls it, `dimension` as its vectors have, `max_tokens` as it
    /// takes at most.
    pub model: EmbeddingModel,
    /// Whether the provider is asked to shorten vectors to the model's dimension, which only some
    /// models can. Default: no. TEI can't be asked.
    pub shorten: bool,
    /// Stands before each question. Default: nothing.
    pub query_prefix: String,
    /// Stands before each document text. Default: nothing.
    pub document_prefix: String,
    /// Most texts of one request; a request has at least one. Default: the provider's limit.
    pub batch_texts_max: usize,
    /// Most estimated tokens of one request that has more than one text. Default: the provider's limit.
    pub batch_tokens_max: Option<usize>,
    /// For one try, from connecting to the last byte. Default 30 s.
    pub timeout: Duration,
    /// Tries of one request, the first included. Default 3.
    pub attempts: u32,
}

impl RemoteEmbedderConfig {
    /// A model with the defaults of its provider.
    #[must_use]
    pub fn new(kind: EmbeddingProvider, base_url: impl Into<String>, model: EmbeddingModel) -> Self {
        Self {
            kind,
            base_url: base_url.into(),
            api_key: None,
            model,
            shorten: false,
            query_prefix: String::new(),
            document_prefix: String::new(),
            batch_texts_max: kind.batch_texts_max(),
            batch_tokens_max: kind.batch_tokens_max(),
            timeout: Duration::from_secs(30),
            attempts: 3,
        }
    }
}

/// For the connection, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Before the second try; doubled before each later one.
const BACKOFF: Duration = Duration::from_millis(250);
/// Longest wait between two tries. A provider that wants a longer one is busy: the caller waits.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Longest that a caller is asked to wait: it looks again whether the work is still wanted.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// An embedding model behind a provider's endpoint. Its tokens are estimated, on the high side: those
/// of a text over `max_tokens` may have fitted. Such a text is cut by the provider if need be (OpenAI's
/// protocol has no such wish: there it is cut here, at the estimate) and always reported as truncated.
///
/// An empty text is sent as a space, since providers refuse empty ones.
pub struct RemoteEmbedder {
    config: RemoteEmbedderConfig,
    endpoint: Endpoint,
    is_closed: watch::Sender<bool>,
    handle: Handle,
    /// There until the drop.
    runtime: Option<Runtime>,
}

impl RemoteEmbedder {
    /// Sets the client and its thread up; sends nothing.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn new(config: RemoteEmbedderConfig) -> Result<Self, EndpointError> {
        let connect_timeout = CONNECT_TIMEOUT.min(config.timeout);
        let endpoint = Address::new(&config.base_url, config.kind.path(), connect_timeout)?
            .with_accept("application/json")
            .with_key(KeyHeader::Bearer, config.api_key.clone())
            .connect()?;
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("embed-remote").enable_all().build();
        let runtime = runtime.map_err(|error| EndpointError::Client(error.to_string()))?;
        let handle = runtime.handle().clone();
        Ok(Self { config, endpoint, is_closed: watch::Sender::new(false), handle, runtime: Some(runtime) })
    }

    /// Ends service: what is under way and every later call is [`EmbedError::Closed`].
    pub fn close(&self) {
        self.is_closed.send_replace(true);
    }

    async fn until_closed<T>(&self, work: impl Future<Output = Result<T, EmbedError>>) -> Result<T, EmbedError> {
        let mut is_closed = self.is_closed.subscribe();
        match select(pin!(is_closed.wait_for(|is_closed| *is_closed)), pin!(work)).await {
            Either::Left(_) => Err(EmbedError::Closed),
            Either::Right((result, _)) => result,
        }
    }

    async fn embed_all(&self, texts: &[&str], purpose: Purpose) -> Result<Vec<Embedded>, EmbedError> {
        let mut embedded = Vec::with_capacity(texts.len());
        for batch in self.batches(texts.iter().map(|text| self.input(text, purpose))) {
            let vectors = self.vectors(&batch, purpose).await?;
            for (vector, input) in vectors.into_iter().zip(batch) {
                embedded.push(self.check(vector, &input)?);
            }
        }
        Ok(embedded)
    }

    fn prefix(&self, purpose: Purpose) -> &str {
        match purpose {
            Purpose::Query => &self.config.query_prefix,
            Purpose::Document => &self.config.document_prefix,
        }
    }

    /// Tokens that go with every text.
    fn tokens_around(&self, purpose: Purpose) -> usize {
        SPECIAL_TOKENS + token_starts(self.prefix(purpose)).count()
    }

    fn input(&self, text: &str, purpose: Purpose) -> Input {
        let around = self.tokens_around(purpose);
        let tokens = around + token_starts(text).count();
        let room = self.config.model.max_tokens.saturating_sub(around);
        let end = if self.config.kind.cuts() { None } else { token_starts(text).nth(room) };
        let kept = end.and_then(|end| text.get(..end)).unwrap_or(text);
        let mut text = format!("{}{kept}", self.prefix(purpose));
        if text.is_empty() {
            text.push(' ');
        }
        Input { text, tokens, truncated: tokens > self.config.model.max_tokens }
    }

    /// The texts in requests that the provider takes, in order.
    fn batches(&self, inputs: impl Iterator<Item = Input>) -> Vec<Vec<Input>> {
        let tokens_max = self.config.batch_tokens_max.unwrap_or(usize::MAX);
        let mut batches: Vec<Vec<Input>> = Vec::new();
        let mut tokens = 0_usize;
        for input in inputs {
            tokens = tokens.saturating_add(input.tokens);
            match batches.last_mut() {
                Some(batch) if batch.len() < self.config.batch_texts_max && tokens <= tokens_max => batch.push(input),
                _ => {
                    tokens = input.tokens;
                    batches.push(vec![input]);
                }
            }
        }
        batches
    }

    /// One request, with as many tries as it is allowed.
    async fn vectors(&self, batch: &[Input], purpose: Purpose) -> Result<Vec<Vec<f32>>, EmbedError> {
        let mut backoff = BACKOFF;
        for _ in 1..self.config.attempts {
            match self.ask(batch, purpose).await {
                Err(error) if error.is_retryable() && wait(&error, backoff) <= WAIT_MAX => sleep(wait(&error, backoff)).await,
                result => return result.map_err(|error| embed_error(&error)),
            }
            backoff = (2 * backoff).min(WAIT_MAX);
        }
        self.ask(batch, purpose).await.map_err(|error| embed_error(&error))
    }

    /// One try.
    async fn ask(&self, batch: &[Input], purpose: Purpose) -> Result<Vec<Vec<f32>>, ChatError> {
        let RemoteEmbedderConfig { kind, model, shorten, timeout: limit, .. } = &self.config;
        let texts: Vec<&str> = batch.iter().map(|input| input.text.as_str()).collect();
        let request = kind.body(&model.name, shorten.then_some(model.dimension), &texts, purpose);
        let answer = timeout(*limit, self.answer(&request, answer_bytes_max(batch, model.dimension))).await;
        let answer = answer.map_err(|_| ChatError::Timeout { stage: Stage::Total, limit: *limit })??;
        kind.read(&answer, batch.len())
    }

    async fn answer(&self, request: &serde_json::Value, bytes_max: usize) -> Result<Vec<u8>, ChatError> {
        let mut response = self.endpoint.post(request).await?;
        let mut body = Vec::new();
        endpoint::read(&mut response, bytes_max, &mut body).await?;
        if body.len() > bytes_max {
            return Err(ChatError::TooLarge { what: "the body, for vectors of the model's dimension,", bytes_max });
        }
        Ok(body)
    }

    fn check(&self, vector: Vec<f32>, input: &Input) -> Result<Embedded, EmbedError> {
        let EmbeddingModel { name, dimension, .. } = &self.config.model;
        let embedding = Embedding::normalised(vector, *dimension);
        let embedding = embedding.map_err(|error| {
            let reason = format!("the provider's model {name}: {error}");
            EmbedError::Provider { reason, retry_after: None }
        })?;
        Ok(Embedded { embedding, tokens: input.tokens, truncated: input.truncated })
    }
}

impl Drop for RemoteEmbedder {
    /// Without waiting for the end of the runtime: on an async thread that would panic.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Embedder for RemoteEmbedder {
    fn model(&self) -> &EmbeddingModel {
        &self.config.model
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.tokens_around(Purpose::Document) + token_starts(text).count()
    }

    fn token_starts(&self, text: &str) -> Vec<usize> {
        token_starts(text).collect()
    }

    fn embed(&self, texts: &[&str], purpose: Purpose) -> Result<Vec<Embedded>, EmbedError> {
        self.handle.block_on(self.until_closed(self.embed_all(texts, purpose)))
    }
}

/// A text as it is sent.
struct Input {
    text: String,
    /// Estimated, of the whole text.
    tokens: usize,
    truncated: bool,
}

/// The largest honest answer. A number in JSON has up to 24 characters, and may have a line of its
/// own; Cohere repeats the texts, whose characters may be escaped as six.
fn answer_bytes_max(batch: &[Input], dimension: usize) -> usize {
    const NUMBER: usize = 40;
    const AROUND: usize = 64 * 1024;
    AROUND + batch.iter().map(|input| dimension.saturating_mul(NUMBER) + 6 * input.text.len()).sum::<usize>()
}

/// As long as the provider wants, or else `backoff`.
fn wait(error: &ChatError, backoff: Duration) -> Duration {
    match error {
        ChatError::Status { retry_after: Some(wait), .. } => *wait,
        _ => backoff,
    }
}

/// A provider that says when to come back is busy. What is wrong with the texts or the answer stays wrong;
/// everything else (nobody there, a key that ran out, no such model yet) can be put right meanwhile.
fn embed_error(error: &ChatError) -> EmbedError {
    match error {
        ChatError::Status { status: 429 | 503, retry_after: Some(wait), .. } => {
            EmbedError::Busy { retry_after: (*wait).clamp(BACKOFF, PAUSE_MAX) }
        }
        ChatError::Status { status: 400 | 413 | 422, .. } | ChatError::Malformed { .. } | ChatError::TooLarge { .. } => {
            EmbedError::Provider { reason: error.to_string(), retry_after: None }
        }
        error => EmbedError::Provider { reason: error.to_string(), retry_after: Some(WAIT_MAX) },
    }
}
