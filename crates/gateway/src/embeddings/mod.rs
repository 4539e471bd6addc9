//! The embedder whose model is at a provider.
//!
//! Invariants: either all texts are embedded or none; no more is sent in one request than the
//! provider takes; every vector has the pinned dimension and finite numbers; every wait and every
//! answer has a limit; only what passes by itself is tried again, after as long as the provider wants.
//!
//! Texts are sent over [`Remote`]: with retries, a breaker, limits and a deadline, paid, measured, and no longer than
//! somebody waits.

mod estimate;
#[cfg(test)]
mod tests;
mod wire;

use crate::endpoint::{Address, ApiKey, EndpointError, KeyHeader};
use crate::remote::{Exchange, Operation, Remote};
use crate::{CallParams, Ledger, Price, TokenUsage};
use corpus::{EmbedError, Embedded, Embedder, Embedding, EmbeddingModel, Errand, Purpose};
use estimate::{SPECIAL_TOKENS, token_starts};
use std::sync::Arc;
use std::time::Duration;
pub use wire::EmbeddingProvider;

/// Where an embedding model is and how to ask it.
#[derive(Debug, Clone)]
pub struct RemoteEmbedderConfig {
    /// What its calls are booked under. Default: where it stands in the configuration, `embedding.remote`.
    pub deployment: String,
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
    /// How it is called: retries, breaker, limits, time.
    pub calls: CallParams,
}

impl RemoteEmbedderConfig {
    /// A model with the defaults of its provider.
    #[must_use]
    pub fn new(kind: EmbeddingProvider, base_url: impl Into<String>, model: EmbeddingModel) -> Self {
        Self {
            deployment: "embedding.remote".to_owned(),
            kind,
            base_url: base_url.into(),
            api_key: None,
            model,
            shorten: false,
            query_prefix: String::new(),
            document_prefix: String::new(),
            batch_texts_max: kind.batch_texts_max(),
            batch_tokens_max: kind.batch_tokens_max(),
            calls: CallParams::default(),
        }
    }
}

/// For the connection, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// An embedding model behind a provider's endpoint. Its tokens are estimated, on the high side: those
/// of a text over `max_tokens` may have fitted. Such a text is cut by the provider if need be (OpenAI's
/// protocol has no such wish: there it is cut here, at the estimate) and always reported as truncated.
///
/// An empty text is sent as a space, since providers refuse empty ones.
pub struct RemoteEmbedder {
    config: RemoteEmbedderConfig,
    remote: Remote,
}

impl RemoteEmbedder {
    /// Sets the client and its thread up; sends nothing.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn new(config: RemoteEmbedderConfig) -> Result<Self, EndpointError> {
        let connect_timeout = CONNECT_TIMEOUT.min(config.calls.try_timeout);
        let endpoint = Address::new(&config.base_url, config.kind.path(), connect_timeout)?
            .with_accept("application/json")
            .with_key(KeyHeader::Bearer, config.api_key.clone())
            .connect()?;
        let (deployment, model) = (config.deployment.clone(), config.model.name.clone());
        let operation = Operation { name: "embeddings", provider: config.kind.name(), deployment, model };
        let remote = Remote::start(operation, endpoint, config.calls, "embed-remote")?;
        Ok(Self { config, remote })
    }

    /// Has calls paid on this ledger, at this price; `None`: nobody knows it.
    #[must_use]
    pub fn charged(mut self, ledger: Arc<Ledger>, price: Option<Price>) -> Self {
        self.remote.charge(ledger, price);
        self
    }

    /// Ends service: what is under way and every later call is [`EmbedError::Closed`].
    pub fn close(&self) {
        self.remote.close();
    }

    async fn embed_all(&self, texts: &[&str], purpose: Purpose, errand: &Errand) -> Result<Vec<Embedded>, EmbedError> {
        let mut embedded = Vec::with_capacity(texts.len());
        for batch in self.batches(texts.iter().map(|text| self.input(text, purpose))) {
            let vectors = self.vectors(&batch, purpose, errand).await?;
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

    async fn vectors(&self, batch: &[Input], purpose: Purpose, errand: &Errand) -> Result<Vec<Vec<f32>>, EmbedError> {
        let RemoteEmbedderConfig { kind, model, shorten, .. } = &self.config;
        let texts: Vec<&str> = batch.iter().map(|input| input.text.as_str()).collect();
        let exchange = Exchange {
            request: &kind.body(&model.name, shorten.then_some(model.dimension), &texts, purpose),
            most: TokenUsage { prompt_tokens: batch.iter().map(|input| self.tokens_read(input)).sum(), ..TokenUsage::default() },
            bytes_max: answer_bytes_max(batch, model.dimension),
            what: "the body, for vectors of the model's dimension,",
        };
        self.remote.ask(&exchange, errand, |body| kind.read(body, batch.len())).await
    }

    /// What is cut off is not read.
    fn tokens_read(&self, input: &Input) -> u64 {
        input.tokens.min(self.config.model.max_tokens) as u64
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

    fn embed(&self, texts: &[&str], purpose: Purpose, errand: &Errand) -> Result<Vec<Embedded>, EmbedError> {
        self.remote.run(errand, self.embed_all(texts, purpose, errand))
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
