//! The seam: what a chat model is asked and what it answers.

use crate::ChatError;
use async_trait::async_trait;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions of the operator.
    System,
    /// The person, and material to read.
    User,
    /// The model.
    Assistant,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
}

impl ChatMessage {
    /// Instructions.
    #[must_use]
    pub fn system(content: impl Into<String>) -> Self {
        Self { role: Role::System, content: content.into() }
    }

    /// The person's words.
    #[must_use]
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: Role::User, content: content.into() }
    }
}

/// What to ask a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// The conversation so far, oldest first.
    pub messages: Vec<ChatMessage>,
    /// Most tokens to answer with; `None` leaves it to the provider.
    pub max_tokens: Option<u32>,
    /// 0 (always the likeliest token) to 2; `None` leaves it to the provider.
    pub temperature: Option<f32>,
}

impl ChatRequest {
    /// A request that leaves every parameter to the provider.
    #[must_use]
    pub fn new(messages: Vec<ChatMessage>) -> Self {
        Self { messages, max_tokens: None, temperature: None }
    }
}

/// Tokens that a call used, as the provider counted them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUsage {
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
}

/// Why a model stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FinishReason {
    /// It had said everything.
    Stop,
    /// It reached `max_tokens`.
    Length,
    /// The provider's filter cut it off.
    ContentFilter,
    /// In the provider's words.
    Other(String),
}

/// One event of an answer. Order: any number of `Delta`, at most one `Usage`, one `Done`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatEvent {
    /// More text; never empty.
    Delta(String),
    /// What the call used; missing if the provider doesn't say.
    Usage(TokenUsage),
    /// The end.
    Done {
        /// Why it ended.
        finish_reason: FinishReason,
    },
}

/// The events of one answer; dropping it cancels the call.
pub type ChatStream = BoxStream<'static, Result<ChatEvent, ChatError>>;

/// A model that answers. Retry, breaker, budget and the like wrap one and are one.
#[async_trait]
pub trait ChatModel: Send + Sync {
    /// The name answers and figures are attributed to.
    fn name(&self) -> &str;

    /// Asks, and waits for the first token.
    ///
    /// # Errors
    /// [`ChatError`], only while nothing was said; later failures are in the stream, as its last
    /// item.
    async fn chat(&self, request: ChatRequest) -> Result<ChatStream, ChatError>;
}
