//! Everything that leaves the process for a model.
//!
//! A [`ChatModel`] takes a [`ChatRequest`] and answers with a [`ChatReply`]: a stream of [`ChatEvent`]s and how they
//! came about. [`OpenAiChat`] speaks to any endpoint of the OpenAI protocol, [`AnthropicChat`] to Anthropic's;
//! [`ScriptedChat`] plays a script, for tests. What stands around a deployment ([`Breaker`], [`Rest`], [`Rate`],
//! [`Concurrency`], [`Hedge`], [`Deadline`], [`Measured`]) is a model itself, and so is a [`Ladder`] of [`Group`]s of them. A
//! [`RemoteEmbedder`] is a `corpus::Embedder` whose model is at a provider, a [`RemoteReranker`] a `corpus::Reranker`.
//!
//! Invariants, kept by every chat model and relied on by everything that wraps one:
//! - An `Err` of [`ChatModel::chat`] means that no token was heard: another try, elsewhere too, is
//!   safe. An `Err` inside the stream means that something was said already: never try again.
//! - A stream ends with exactly one `Done` or one `Err`.
//! - Dropping the stream (or the future of `chat`) cancels the call upstream.
//! - Keys are never in `Debug` output or error text.
//! - Every wait has a limit, every line and body a largest size.
//!
//! ```
//! # use ragstone_gateway as gateway;
//! use futures::StreamExt;
//! use gateway::{ChatEvent, ChatMessage, ChatModel, ChatRequest, ScriptedChat, Step};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), gateway::ChatError> {
//! let model = ScriptedChat::new("demo", vec![vec![Step::delta("four")]]);
//! let mut answer = model.chat(ChatRequest::new(vec![ChatMessage::user("2 + 2?")])).await?;
//! assert_eq!(answer.events.next().await, Some(Ok(ChatEvent::Delta("four".to_owned()))));
//! # Ok(())
//! # }
//! ```

mod batches;
mod blocking;
mod chat;
mod embeddings;
mod endpoint;
mod error;
pub mod http;
mod link;
mod models;
mod providers;
mod remote;
mod rerank;
mod resilience;
mod retry_after;
mod routing;
mod scripted;
mod spend;
mod sse;
pub mod telemetry;
mod tokens;

pub use batches::{BatchAnswer, BatchAnswers, BatchClient, BatchFailure, BatchState, ProviderBatch};
pub use chat::{
    ChatEvent, ChatMessage, ChatModel, ChatReply, ChatRequest, ChatStream, Content, FinishReason, ImageUrl, OutputFormat, Part, Role,
    TokenUsage, Tool, ToolCall, ToolCallDelta, ToolChoice, Unheard,
};
pub use corpus::{Account, Shortage};
pub use embeddings::{EmbeddingProvider, RemoteEmbedder, RemoteEmbedderConfig};
pub use endpoint::{ApiKey, EndpointError};
pub use error::{ChatError, Stage, Verdict};
pub use models::Models;
pub use providers::{AnthropicChat, ChatConfig, Dialect, OpenAiChat, Timeouts};
pub use rerank::{RemoteReranker, RemoteRerankerConfig, RerankProvider};
pub(crate) use resilience::Guarded;
pub use resilience::{Breaker, BreakerParams, BreakerState, CallParams, Concurrency, Deadline, Hedge, Measured, Rate, RateParams, Rest};
pub use routing::{Balance, Choice, Chooser, Complexity, Group, Inputs, Ladder, Member, Preference, RetryBudget, RetryParams, Route, Try};
pub use scripted::{ScriptedChat, Step};
pub use spend::{
    Alert, Alerts, Amount, Books, BooksError, Budget, BudgetView, Changes, Clock, Dimension, Grouped, Grouping, Job, Ledger, LedgerError,
    MemoryBooks, Meter, Metered, Money, Period, Planned, Price, PriceTable, PricedModel, Reservation, UsageCounts, UsageFilter, UsageKey,
};
pub use tokens::{Estimate, Family, Keep, TokenCounter, counter_for, estimate_tokens, prompt_tokens, truncate};
