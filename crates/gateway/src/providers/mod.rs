//! Clients of the providers' protocols. One try each, no retries: those are decided above.

mod anthropic;
mod clock;
mod openai;
mod reply;

pub use anthropic::AnthropicChat;
pub use clock::Timeouts;
pub use openai::OpenAiChat;
pub(crate) use openai::{batch_body, usage_of};

use crate::ApiKey;

/// Where a model is and how to reach it.
#[derive(Debug, Clone)]
pub struct ChatConfig {
    /// What figures are attributed to.
    pub deployment: String,
    /// Up to and without the protocol's path (`/chat/completions`, `/messages`), such as `http://127.0.0.1:11434/v1`;
    /// what stands after a `?` is kept behind the path.
    pub base_url: String,
    /// Local servers need none.
    pub api_key: Option<ApiKey>,
    /// The model's name at the provider.
    pub model: String,
    /// The protocol's dialect.
    pub dialect: Dialect,
    /// How long to wait.
    pub timeouts: Timeouts,
}

/// What differs between servers of the OpenAI protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dialect {
    /// The most tokens to answer with are called `max_completion_tokens`: newer models of OpenAI refuse `max_tokens`.
    pub has_max_completion_tokens: bool,
    /// The key goes into a header `api-key`: Azure.
    pub has_api_key_header: bool,
}
