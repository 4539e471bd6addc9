//! A client of any endpoint that speaks the OpenAI protocol: OpenAI, Azure, Gemini's, Ollama, vLLM and others.

#[cfg(test)]
mod tests;
mod wire;

use super::clock::Clock;
use super::reply::{self, Format};
use super::{ChatConfig, Dialect};
use crate::endpoint::{Address, Endpoint, EndpointError, KeyHeader};
use crate::{ChatError, ChatModel, ChatReply, ChatRequest, TokenUsage};
use async_trait::async_trait;
use futures::StreamExt;
use serde::Deserialize;
use serde_json::Value;
use wire::OpenAi;

/// One model behind one OpenAI-compatible endpoint. Cheap to share; pools its connections.
pub struct OpenAiChat {
    endpoint: Endpoint,
    config: ChatConfig,
}

impl OpenAiChat {
    /// Sets the client up; sends nothing.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn new(config: ChatConfig) -> Result<Self, EndpointError> {
        let header = if config.dialect.has_api_key_header { KeyHeader::Named("api-key") } else { KeyHeader::Bearer };
        let endpoint = Address::new(&config.base_url, "/chat/completions", config.timeouts.connect)?
            .with_accept("text/event-stream, application/json")
            .with_key(header, config.api_key.clone());
        Ok(Self { endpoint: endpoint.connect()?, config })
    }
}

/// The body of a request in a batch, where there are no streams.
pub(crate) fn batch_body(model: &str, dialect: Dialect, request: &ChatRequest) -> Value {
    let mut body = wire::body(model, dialect, request);
    if let Some(fields) = body.as_object_mut() {
        fields.remove("stream");
        fields.remove("stream_options");
    }
    body
}

/// What a whole answer says of its use; nothing where it doesn't.
pub(crate) fn usage_of(answer: &Value) -> TokenUsage {
    let told = answer.get("usage").and_then(|usage| wire::Usage::deserialize(usage).ok());
    told.map(TokenUsage::from).unwrap_or_default()
}

#[async_trait]
impl ChatModel for OpenAiChat {
    fn name(&self) -> &str {
        &self.config.model
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatReply, ChatError> {
        let clock = Clock::start(self.config.timeouts);
        let body = wire::body(&self.config.model, self.config.dialect, &request);
        let answer = clock.limit(self.endpoint.post(&body)).await??;
        let format = Format::of(&answer)?;
        let events = reply::events(OpenAi, answer.body.boxed(), format, clock, request.unheard).await?;
        Ok(ChatReply::from(&self.config.deployment, &self.config.model, events))
    }
}
