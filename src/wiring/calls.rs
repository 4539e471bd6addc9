//! How providers are called and paid that answer in one piece, from the configuration.

use super::spend::{Prices, Spend};
use crate::config::{BreakerConfig, CallsConfig, RemoteConfig, RerankConfig, RetryConfig};
use anyhow::Context;
use corpus::{Embedder, EmbeddingModel, Precision, Reranker};
use gateway::{
    ApiKey, BreakerParams, CallParams, Price, RateParams, RemoteEmbedder, RemoteEmbedderConfig, RemoteReranker, RemoteRerankerConfig,
    RetryParams,
};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;

/// Around calls that have one answer.
fn params(config: &CallsConfig) -> CallParams {
    CallParams {
        try_timeout: Duration::from_secs(config.try_timeout_s),
        total_timeout: Duration::from_secs(config.total_timeout_s),
        concurrent_max: config.concurrent_max,
        rate: RateParams { requests_per_minute: config.requests_per_minute, tokens_per_minute: config.tokens_per_minute },
        rest: Duration::from_secs(config.rest_s),
        retry: retry(&config.retry),
        retry_share: config.retry.share,
        breaker: breaker(&config.breaker),
        ..CallParams::default()
    }
}

pub(super) fn breaker(breaker: &BreakerConfig) -> BreakerParams {
    BreakerParams {
        window: Duration::from_secs(breaker.window_s),
        consecutive: breaker.consecutive,
        calls_min: breaker.calls_min,
        share: breaker.share,
        open: Duration::from_secs(breaker.open_s),
        open_max: Duration::from_secs(breaker.open_s_max),
    }
}

pub(super) fn retry(retry: &RetryConfig) -> RetryParams {
    RetryParams {
        tries_max: retry.tries_max,
        backoff: Duration::from_millis(retry.backoff_ms),
        backoff_max: Duration::from_millis(retry.backoff_ms_max),
        wait_max: Duration::from_millis(retry.wait_ms_max),
    }
}

/// The embedder at a provider.
pub(super) fn embedder(
    remote: &RemoteConfig,
    api_key: Option<String>,
    spend: &Spend,
    prices: &Prices,
) -> anyhow::Result<Arc<dyn Embedder>> {
    let price = price("embedding.remote", &remote.model, remote.price.map(|price| price.price()), prices);
    let embedder = RemoteEmbedder::new(remote_model(remote, api_key)).context("embedding.remote: can't set up the model")?;
    Ok(Arc::new(embedder.charged(Arc::clone(&spend.ledger), price)))
}

fn price(path: &str, model: &str, set: Option<Price>, prices: &Prices) -> Option<Price> {
    let price = prices.of(set, model);
    if price.is_none() {
        tracing::warn!(
            model,
            "what the model of [{path}] costs is not known: its use has no cost, and budgets of money refuse it; set \
             price = {{ input = … }} there (0 for free) or a line in [[llm.prices]]"
        );
    }
    price
}

fn remote_model(remote: &RemoteConfig, api_key: Option<String>) -> RemoteEmbedderConfig {
    let model = EmbeddingModel {
        name: remote.model.clone(),
        revision: remote_revision(remote),
        dimension: remote.dimension,
        max_tokens: remote.max_tokens,
        languages: remote.languages.clone(),
        precision: Precision::F32,
    };
    let defaults = RemoteEmbedderConfig::new(remote.provider, &remote.base_url, model);
    RemoteEmbedderConfig {
        api_key: api_key.map(ApiKey::new),
        shorten: remote.shorten,
        query_prefix: remote.query_prefix.clone(),
        document_prefix: remote.document_prefix.clone(),
        batch_texts_max: remote.batch_texts_max.unwrap_or(defaults.batch_texts_max),
        calls: params(&remote.calls),
        ..defaults
    }
}

/// Providers don't say which weights they serve: what tells two models of a name apart is what is asked of them. Not
/// the address, which others shall not see and which may change.
fn remote_revision(remote: &RemoteConfig) -> String {
    let RemoteConfig { provider, model, dimension, shorten, query_prefix, document_prefix, .. } = remote;
    let asked = format!("{provider:?} {model:?} {dimension} {shorten} {query_prefix:?} {document_prefix:?}");
    Sha256::digest(asked).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The reranker at a provider, if one is configured.
pub(super) fn reranker(
    config: Option<&RerankConfig>,
    api_key: Option<String>,
    spend: &Spend,
    prices: &Prices,
) -> anyhow::Result<Option<Arc<dyn Reranker>>> {
    let Some(rerank) = config else { return Ok(None) };
    let RerankConfig { provider: Some(provider), base_url: Some(base_url), model: Some(model), .. } = rerank else { return Ok(None) };
    let defaults = RemoteRerankerConfig::new(*provider, base_url, model);
    let remote = RemoteRerankerConfig {
        api_key: api_key.map(ApiKey::new),
        batch_texts_max: rerank.batch_texts_max.unwrap_or(defaults.batch_texts_max),
        calls: params(&rerank.calls),
        ..defaults
    };
    let price = price("rerank", model, rerank.price.map(|price| price.price()), prices);
    let reranker = RemoteReranker::new(remote).context("rerank: can't set up the model")?;
    Ok(Some(Arc::new(reranker.charged(Arc::clone(&spend.ledger), price))))
}
