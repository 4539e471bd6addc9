//! The reranker whose model is at a provider.
//!
//! Invariants: either all texts are judged or none; no more is sent in one request than the provider takes; every
//! score is a finite number from 0 to 1; every wait and every answer has a limit. Texts are sent over [`Remote`]:
//! with retries, a breaker, limits and a deadline, paid, measured, and no longer than somebody waits.

#[cfg(test)]
mod tests;
mod wire;

use crate::endpoint::{Address, ApiKey, EndpointError, KeyHeader};
use crate::remote::{Exchange, Operation, Remote};
use crate::{CallParams, Ledger, Price, TokenUsage, estimate_tokens};
use corpus::{EmbedError, Errand, Precision, RerankModel, Reranker};
use std::sync::Arc;
use std::time::Duration;
pub use wire::RerankProvider;

/// Where a reranking model is and how to ask it.
#[derive(Debug, Clone)]
pub struct RemoteRerankerConfig {
    /// What its calls are booked under. Default: where it stands in the configuration, `rerank`.
    pub deployment: String,
    /// The protocol.
    pub kind: RerankProvider,
    /// What stands before the path that [`RerankProvider`] names, such as `https://api.cohere.com` or
    /// `http://127.0.0.1:8080`.
    pub base_url: String,
    /// Sent as a bearer token; local servers need none.
    pub api_key: Option<ApiKey>,
    /// The model's name at the provider.
    pub model: String,
    /// Most texts of one request; a request has at least one. Default: the provider's limit.
    pub batch_texts_max: usize,
    /// How it is called: retries, breaker, limits, time.
    pub calls: CallParams,
}

impl RemoteRerankerConfig {
    /// A model with the defaults of its provider.
    #[must_use]
    pub fn new(kind: RerankProvider, base_url: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            deployment: "rerank".to_owned(),
            kind,
            base_url: base_url.into(),
            api_key: None,
            model: model.into(),
            batch_texts_max: kind.batch_texts_max(),
            calls: CallParams::default(),
        }
    }
}

/// For the connection, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A reranking model behind a provider's endpoint, which cuts pairs that are too long itself.
///
/// An empty question or text is sent as a space, since providers refuse empty ones.
pub struct RemoteReranker {
    config: RemoteRerankerConfig,
    model: RerankModel,
    remote: Remote,
}

impl RemoteReranker {
    /// Sets the client and its thread up; sends nothing.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn new(config: RemoteRerankerConfig) -> Result<Self, EndpointError> {
        let connect_timeout = CONNECT_TIMEOUT.min(config.calls.try_timeout);
        let endpoint = Address::new(&config.base_url, config.kind.path(), connect_timeout)?
            .with_accept("application/json")
            .with_key(KeyHeader::Bearer, config.api_key.clone())
            .connect()?;
        let model = RerankModel {
            name: config.model.clone(),
            // Providers don't say which weights they serve, nor how much they read.
            revision: format!("{:?}", config.kind),
            precision: Precision::F32,
            max_tokens: usize::MAX,
        };
        let (deployment, name) = (config.deployment.clone(), config.model.clone());
        let operation = Operation { name: "rerank", provider: config.kind.name(), deployment, model: name };
        let remote = Remote::start(operation, endpoint, config.calls, "rerank-remote")?;
        Ok(Self { config, model, remote })
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

    async fn judge_all(&self, query: &str, texts: &[&str], errand: &Errand) -> Result<Vec<f32>, EmbedError> {
        let mut scores = Vec::with_capacity(texts.len());
        for batch in texts.chunks(self.config.batch_texts_max.max(1)) {
            scores.extend(self.judge(query, batch, errand).await?);
        }
        Ok(scores)
    }

    async fn judge(&self, query: &str, batch: &[&str], errand: &Errand) -> Result<Vec<f32>, EmbedError> {
        let kind = self.config.kind;
        let texts: Vec<&str> = batch.iter().map(|text| if text.is_empty() { " " } else { text }).collect();
        let exchange = Exchange {
            request: &kind.body(&self.config.model, if query.is_empty() { " " } else { query }, &texts),
            most: most(query, &texts),
            bytes_max: answer_bytes_max(&texts),
            what: "the body, for so many scores,",
        };
        self.remote.ask(&exchange, errand, |body| kind.read(body, texts.len())).await
    }
}

impl Reranker for RemoteReranker {
    fn model(&self) -> &RerankModel {
        &self.model
    }

    fn rerank(&self, query: &str, texts: &[&str], errand: &Errand) -> Result<Vec<f32>, EmbedError> {
        self.remote.run(errand, self.judge_all(query, texts, errand))
    }
}

/// What judging these takes at most: tokens by an estimate with a quarter on top, and searches as Cohere counts them, of
/// a hundred texts each; one that has more than 500 tokens with the question counts as several
/// (<https://cohere.com/pricing>).
fn most(query: &str, texts: &[&str]) -> TokenUsage {
    const TEXTS: u64 = 100;
    const TOKENS: u64 = 500;
    let asked = estimate_tokens(query);
    let most = |counted: u64| counted + counted.div_ceil(4);
    let pairs = || texts.iter().map(|text| most(asked + estimate_tokens(text)));
    let pieces: u64 = pairs().map(|tokens| tokens.div_ceil(TOKENS).max(1)).sum();
    TokenUsage { prompt_tokens: pairs().sum(), searches: pieces.div_ceil(TEXTS), ..TokenUsage::default() }
}

/// The largest honest answer. Some repeat the texts, whatever they are asked, whose characters may be escaped as six.
fn answer_bytes_max(texts: &[&str]) -> usize {
    const RESULT: usize = 256;
    const AROUND: usize = 64 * 1024;
    AROUND + texts.iter().map(|text| RESULT + 6 * text.len()).sum::<usize>()
}
