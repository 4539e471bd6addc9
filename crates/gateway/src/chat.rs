//! The seam: what a chat model is asked and what it answers.

use crate::tokens::{Family, estimate_tokens, pictures};
use crate::{Account, ChatError, Money, Route};
use async_trait::async_trait;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions of the operator.
    #[serde(alias = "developer")]
    System,
    /// The person, and material to read.
    User,
    /// The model.
    Assistant,
    /// What a tool returned to the model.
    Tool,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// Words.
    Text(String),
    /// Words and pictures, in order.
    Parts(Vec<Part>),
}

impl Default for Content {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl Content {
    /// The words alone, parts joined by a line break.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        let parts = match self {
            Self::Text(text) => return Cow::Borrowed(text),
            Self::Parts(parts) => parts,
        };
        let words = parts.iter().filter_map(|part| match part {
            Part::Text { text } => Some(text.as_str()),
            Part::ImageUrl { .. } => None,
        });
        Cow::Owned(words.collect::<Vec<_>>().join("\n"))
    }

    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Parts(parts) => parts.is_empty(),
        }
    }
}

/// One part of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Part {
    /// Words.
    Text {
        /// The words.
        text: String,
    },
    /// A picture. Only providers fetch it.
    ImageUrl {
        /// Where it is.
        image_url: ImageUrl,
    },
}

/// A picture's address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageUrl {
    /// `https:` or `data:`.
    pub url: String,
    /// `low`, `high` or `auto`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A tool that a model wants called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolCall {
    /// The call's name, which its result repeats.
    pub id: String,
    /// The tool.
    pub name: String,
    /// Its arguments as JSON text, as the model wrote it.
    pub arguments: String,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatMessage {
    /// Who says it.
    pub role: Role,
    /// What is said; may be empty beside tool calls.
    pub content: Content,
    /// What an assistant wants called.
    pub tool_calls: Vec<ToolCall>,
    /// Whose result this is, for [`Role::Tool`].
    pub tool_call_id: Option<String>,
}

impl ChatMessage {
    /// Words of one speaker.
    #[must_use]
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: Content::Text(content.into()), tool_calls: Vec::new(), tool_call_id: None }
    }

    /// Instructions.
    #[must_use]
    pub fn system(content: impl Into<String>) -> Self {
        Self::new(Role::System, content)
    }

    /// The person's words.
    #[must_use]
    pub fn user(content: impl Into<String>) -> Self {
        Self::new(Role::User, content)
    }
}

/// A tool that a model may call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// What it is called.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON Schema of its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Value>,
    /// Whether arguments must follow the schema exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
}

/// Which tools a model must or must not call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    /// As it likes.
    Auto,
    /// None.
    None,
    /// At least one.
    Required,
    /// This one.
    Function(String),
}

/// What form the words of an answer take.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum OutputFormat {
    /// Any.
    #[default]
    Text,
    /// One JSON object.
    Json,
    /// JSON of this schema.
    Schema {
        /// What the schema is called.
        name: String,
        /// JSON Schema.
        schema: Value,
        /// Whether the answer must follow it exactly.
        strict: Option<bool>,
    },
}

/// What to ask a model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChatRequest {
    /// The conversation so far, oldest first.
    pub messages: Vec<ChatMessage>,
    /// Most tokens to answer with; `None` leaves it to the provider.
    pub max_tokens: Option<u32>,
    /// 0 (always the likeliest token) to 2; `None` leaves it to the provider.
    pub temperature: Option<f32>,
    /// Share of the likeliest tokens to choose from, 0 to 1.
    pub top_p: Option<f32>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// Tools that may be called.
    pub tools: Vec<Tool>,
    /// Which of them; `None` leaves it to the provider.
    pub tool_choice: Option<ToolChoice>,
    /// Form of the answer.
    pub output: OutputFormat,
    /// Other parameters of the OpenAI protocol; passed on to providers that speak it, dropped for others.
    pub passed_on: Map<String, Value>,
    /// When the answer must be there, to its last token.
    pub deadline: Option<Instant>,
    /// On whose account it is made.
    pub account: Arc<Account>,
    /// What is used beside the answer, counted by whoever sees it.
    pub unheard: Unheard,
}

/// Tokens that are paid for and in no answer: what a model thinks aloud, and above a deployment what tries used that
/// failed. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Unheard(Arc<AtomicU64>);

impl Unheard {
    /// Adds a thought, by a rough count.
    pub fn hear(&self, text: &str) {
        self.add(estimate_tokens(text));
    }

    /// Adds so many.
    pub fn add(&self, tokens: u64) {
        self.0.fetch_add(tokens, Ordering::Relaxed);
    }

    /// How many there were.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl PartialEq for Unheard {
    /// What is asked is the same, whatever is thought of it.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl ChatRequest {
    /// A request that leaves every parameter to the provider.
    #[must_use]
    pub fn new(messages: Vec<ChatMessage>) -> Self {
        Self { messages, ..Self::default() }
    }

    /// Tokens that answering takes at most, by a rough count: what is read, and `max_tokens`.
    #[must_use]
    pub fn tokens_most(&self) -> u64 {
        self.prompt_tokens() + u64::from(self.max_tokens.unwrap_or(ANSWER_TOKENS))
    }

    /// Tokens that are read, tools included, by the same count.
    #[must_use]
    pub fn prompt_tokens(&self) -> u64 {
        let messages = self.messages.iter().map(|message| {
            let calls = message.tool_calls.iter().map(|call| estimate_tokens(&call.name) + estimate_tokens(&call.arguments));
            estimate_tokens(&message.content.text()) + pictures(&message.content, Family::of("")) + calls.sum::<u64>() + PER_MESSAGE
        });
        let tools = self.tools.iter().map(|tool| estimate_tokens(&json!(tool).to_string()));
        messages.chain(tools).sum()
    }
}

/// Tokens that a message has beside its words.
const PER_MESSAGE: u64 = 4;
/// What is reckoned with where a request doesn't limit its answer.
const ANSWER_TOKENS: u32 = 1024;

/// Tokens that a call used, as the provider counted them; as we do where it doesn't.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUsage {
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
    /// Of the tokens read, those that the provider had in its cache.
    #[serde(skip)]
    pub cached_tokens: u64,
    /// Searches, where a reranker is paid by them: one for each hundred texts of one question.
    #[serde(skip)]
    pub searches: u64,
    /// What that cost; unknown without a price.
    #[serde(skip)]
    pub cost: Option<Money>,
}

impl TokenUsage {
    /// Both together. What one of them cost is not known: nor is the sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            prompt_tokens: self.prompt_tokens.saturating_add(other.prompt_tokens),
            completion_tokens: self.completion_tokens.saturating_add(other.completion_tokens),
            cached_tokens: self.cached_tokens.saturating_add(other.cached_tokens),
            searches: self.searches.saturating_add(other.searches),
            cost: self.cost.zip(other.cost).map(|(one, other)| one.plus(other)),
        }
    }
}

/// Why a model stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FinishReason {
    /// It had said everything.
    Stop,
    /// It reached `max_tokens`.
    Length,
    /// It waits for the results of tools.
    ToolCalls,
    /// The provider's filter cut it off.
    ContentFilter,
    /// In the provider's words.
    Other(String),
}

/// A piece of a tool call. The pieces of one index, put together, are the call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolCallDelta {
    /// Which of the answer's calls, from 0.
    pub index: u32,
    /// The call's name, in its first piece.
    pub id: Option<String>,
    /// The tool, in its first piece.
    pub name: Option<String>,
    /// More of its arguments.
    pub arguments: String,
}

/// One event of an answer. Order: any number of `Delta` and `ToolCall`, at most one `Usage`, one `Done`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatEvent {
    /// More text; never empty.
    Delta(String),
    /// More of a tool call.
    ToolCall(ToolCallDelta),
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

/// An answer that has begun.
pub struct ChatReply {
    /// How it came about.
    pub route: Route,
    /// What is said.
    pub events: ChatStream,
}

impl ChatReply {
    /// What `deployment` says, asked once.
    #[must_use]
    pub fn from(deployment: &str, model: &str, events: ChatStream) -> Self {
        Self { route: Route::direct(deployment, model), events }
    }
}

/// A model that answers. Breaker, limit, budget and the like wrap one and are one.
#[async_trait]
pub trait ChatModel: Send + Sync {
    /// The name answers and figures are attributed to.
    fn name(&self) -> &str;

    /// How long there is no use in asking; zero if nothing is known against it.
    fn ready_in(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether a call would have to wait for others to end.
    fn is_full(&self) -> bool {
        false
    }

    /// Asks, and waits for the first token.
    ///
    /// # Errors
    /// [`ChatError`], only while nothing was said; later failures are in the stream, as its last
    /// item.
    async fn chat(&self, request: ChatRequest) -> Result<ChatReply, ChatError>;
}
