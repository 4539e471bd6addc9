//! A client of any endpoint that speaks the OpenAI protocol: OpenAI, Ollama, vLLM and others.
//!
//! One try, no retries: those are decorators.

mod reply;
#[cfg(test)]
mod tests;
mod wire;

use crate::endpoint::{ApiKey, Endpoint, EndpointError, network_error};
use crate::{ChatError, ChatModel, ChatRequest, ChatStream};
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use reply::{Clock, Format};
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use std::time::Duration;

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

/// One model behind one OpenAI-compatible endpoint. Cheap to share; pools its connections.
pub struct OpenAiChat {
    endpoint: Endpoint,
    config: OpenAiConfig,
}

impl OpenAiChat {
    /// Sets the client up; sends nothing.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn new(config: OpenAiConfig) -> Result<Self, EndpointError> {
        let accept = "text/event-stream, application/json";
        let endpoint = Endpoint::new(&config.base_url, "/chat/completions", config.api_key.clone(), accept, config.timeouts.connect)?;
        Ok(Self { endpoint, config })
    }
}

#[async_trait]
impl ChatModel for OpenAiChat {
    fn name(&self) -> &str {
        &self.config.model
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatStream, ChatError> {
        let clock = Clock::start(self.config.timeouts);
        let response = clock.limit(self.endpoint.post(&wire::Body::new(&self.config.model, &request))).await??;
        let format = format(&response)?;
        let bytes = response.bytes_stream().map_err(network_error).boxed();
        reply::events(bytes, format, clock).await
    }
}

fn format(response: &Response) -> Result<Format, ChatError> {
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("").to_ascii_lowercase();
    if content_type.contains("html") {
        return Err(ChatError::Malformed { reason: format!("an answer of type {content_type}: is the base URL right?") });
    }
    Ok(if content_type.contains("json") { Format::Json } else { Format::Events })
}
