//! A client of any endpoint that speaks the OpenAI protocol: OpenAI, Ollama, vLLM and others.
//!
//! One try, no retries: those are decorators. Redirects are off, because a key must not follow
//! one; proxies and addresses come from the configuration only, never from the environment.

mod reply;
#[cfg(test)]
mod tests;
mod wire;

use crate::http::client_builder;
use crate::retry_after::retry_after;
use crate::{ChatError, ChatModel, ChatRequest, ChatStream};
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use reply::{Clock, Format};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Response, Url};
use std::error::Error as _;
use std::fmt;
use std::time::{Duration, SystemTime};

/// A provider's key. Its `Debug` output is blank.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// Wraps a key.
    #[must_use]
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// How long to wait. The defaults are those of the reliability rules.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For the connection, TLS included. Default 3 s.
    pub connect: Duration,
    /// From asking to the first token. Default 15 s.
    pub first_token: Duration,
    /// From one token to the next. Default 20 s.
    pub between_chunks: Duration,
    /// For the whole answer. Default 120 s.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(3), first_token: seconds(15), between_chunks: seconds(20), total: seconds(120) }
    }
}

/// Where a model is and how to reach it.
#[derive(Debug, Clone)]
pub struct OpenAiConfig {
    /// Up to and without `/chat/completions`, such as `http://127.0.0.1:11434/v1`.
    pub base_url: String,
    /// Sent as a bearer token; local servers need none.
    pub api_key: Option<ApiKey>,
    /// The model's name at the provider.
    pub model: String,
    /// How long to wait.
    pub timeouts: Timeouts,
}

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenAiConfigError {
    /// Not an absolute http or https URL.
    #[error("the provider's base URL {0:?} is not an absolute http(s) URL")]
    BaseUrl(String),
    /// A key that can't stand in a header.
    #[error("the provider's key has characters that can't be sent")]
    ApiKey,
    /// No TLS, for lack of root certificates as a rule.
    #[error("the HTTP client can't be set up: {0}")]
    Client(String),
}

/// One model behind one OpenAI-compatible endpoint. Cheap to share; pools its connections.
pub struct OpenAiChat {
    client: Client,
    endpoint: Url,
    config: OpenAiConfig,
}

impl OpenAiChat {
    /// Sets the client up; sends nothing.
    ///
    /// # Errors
    /// [`OpenAiConfigError`].
    pub fn new(config: OpenAiConfig) -> Result<Self, OpenAiConfigError> {
        let endpoint = endpoint(&config.base_url).ok_or_else(|| OpenAiConfigError::BaseUrl(config.base_url.clone()))?;
        let client = client_builder(&endpoint)
            .map_err(|error| OpenAiConfigError::Client(error.to_string()))?
            .default_headers(headers(config.api_key.as_ref())?)
            .connect_timeout(config.timeouts.connect)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| OpenAiConfigError::Client(chain(&error)))?;
        Ok(Self { client, endpoint, config })
    }

    async fn send(&self, request: &ChatRequest) -> Result<Response, ChatError> {
        let body = wire::Body::new(&self.config.model, request);
        let response = self.client.post(self.endpoint.clone()).json(&body).send().await.map_err(network_error)?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    async fn refusal(&self, mut response: Response) -> ChatError {
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers(), SystemTime::now());
        let mut body = Vec::new();
        while let Ok(Some(bytes)) = response.chunk().await {
            body.extend_from_slice(&bytes);
            if body.len() > REFUSAL_BYTES_MAX {
                body.truncate(REFUSAL_BYTES_MAX);
                break;
            }
        }
        ChatError::Status { status, retry_after, message: self.blot(wire::error_message(&body)) }
    }

    /// Providers like to repeat the key that they refuse.
    fn blot(&self, message: String) -> String {
        match &self.config.api_key {
            Some(ApiKey(key)) if !key.is_empty() => message.replace(key, "…"),
            _ => message,
        }
    }
}

#[async_trait]
impl ChatModel for OpenAiChat {
    fn name(&self) -> &str {
        &self.config.model
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatStream, ChatError> {
        let clock = Clock::start(self.config.timeouts);
        let response = clock.limit(self.send(&request)).await??;
        let format = format(&response)?;
        let bytes = response.bytes_stream().map_err(network_error).boxed();
        reply::events(bytes, format, clock).await
    }
}

/// Most bytes of an error body that are read.
const REFUSAL_BYTES_MAX: usize = 16 * 1024;

fn endpoint(base_url: &str) -> Option<Url> {
    let url = Url::parse(&format!("{}/chat/completions", base_url.trim_end_matches('/'))).ok()?;
    matches!(url.scheme(), "http" | "https").then_some(url)
}

fn headers(api_key: Option<&ApiKey>) -> Result<HeaderMap, OpenAiConfigError> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream, application/json"));
    if let Some(ApiKey(key)) = api_key {
        let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| OpenAiConfigError::ApiKey)?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

fn format(response: &Response) -> Result<Format, ChatError> {
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("").to_ascii_lowercase();
    if content_type.contains("html") {
        return Err(ChatError::Malformed { reason: format!("an answer of type {content_type}: is the base URL right?") });
    }
    Ok(if content_type.contains("json") { Format::Json } else { Format::Events })
}

fn network_error(error: reqwest::Error) -> ChatError {
    let is_connect = error.is_connect();
    let reason = chain(&error.without_url());
    if is_connect { ChatError::Connect { reason } } else { ChatError::Interrupted { reason } }
}

/// An error with its causes, outermost first.
fn chain(error: &reqwest::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (**cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
