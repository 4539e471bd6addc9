//! How providers are called, from the configuration.

use crate::config::{BreakerConfig, CallsConfig, RerankConfig, RetryConfig};
use anyhow::Context;
use corpus::Reranker;
use gateway::{ApiKey, BreakerParams, CallParams, RateParams, RemoteReranker, RemoteRerankerConfig, RetryParams};
use std::sync::Arc;
use std::time::Duration;

/// Around calls that have one answer.
pub(super) fn params(config: &CallsConfig) -> CallParams {
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

/// The reranker, if one is configured.
pub(super) fn reranker(config: Option<&RerankConfig>, api_key: Option<String>) -> anyhow::Result<Option<Arc<dyn Reranker>>> {
    let Some(rerank) = config else { return Ok(None) };
    let defaults = RemoteRerankerConfig::new(rerank.provider, &rerank.base_url, &rerank.model);
    let remote = RemoteRerankerConfig {
        api_key: api_key.map(ApiKey::new),
        batch_texts_max: rerank.batch_texts_max.unwrap_or(defaults.batch_texts_max),
        calls: params(&rerank.calls),
        ..defaults
    };
    Ok(Some(Arc::new(RemoteReranker::new(remote).context("rerank: can't set up the model")?)))
}
