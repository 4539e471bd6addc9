//! A client of Anthropic's Messages protocol.

#[cfg(test)]
mod tests;
mod wire;

use super::ChatConfig;
use super::clock::Clock;
use super::reply::{self, Format};
use crate::endpoint::{Address, Endpoint, EndpointError, KeyHeader};
use crate::{ChatError, ChatModel, ChatReply, ChatRequest};
use async_trait::async_trait;
use futures::StreamExt;
use wire::Anthropic;

/// The protocol's version that is spoken.
const VERSION: &str = "2023-06-01";

/// One model behind one endpoint of Anthropic's protocol. Cheap to share; pools its connections.
pub struct AnthropicChat {
    endpoint: Endpoint,
    config: ChatConfig,
}

impl AnthropicChat {
    /// Sets the client up; sends nothing.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn new(config: ChatConfig) -> Result<Self, EndpointError> {
        let endpoint = Address::new(&config.base_url, "/messages", config.timeouts.connect)?
            .with_accept("text/event-stream, application/json")
            .with_header("anthropic-version", VERSION)
            .with_key(KeyHeader::Named("x-api-key"), config.api_key.clone());
        Ok(Self { endpoint: endpoint.connect()?, config })
    }
}

#[async_trait]
impl ChatModel for AnthropicChat {
    fn name(&self) -> &str {
        &self.config.model
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatReply, ChatError> {
        let clock = Clock::start(self.config.timeouts);
        let body = wire::body(&self.config.model, &request)?;
        let answer = clock.limit(self.endpoint.post(&body)).await??;
        let format = Format::of(&answer)?;
        let events = reply::events(Anthropic::default(), answer.body.boxed(), format, clock, request.unheard).await?;
        Ok(ChatReply::from(&self.config.deployment, &self.config.model, events))
    }
}
