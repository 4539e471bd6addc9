//! Everything that leaves the process for a model.
//!
//! A [`ChatModel`] takes a [`ChatRequest`] and answers with a stream of [`ChatEvent`]s.
//! [`OpenAiChat`] speaks to any endpoint of the OpenAI protocol (OpenAI, Ollama, vLLM);
//! [`ScriptedChat`] plays a script, for tests. A [`RemoteEmbedder`] is a `corpus::Embedder` whose
//! model is at a provider.
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
//! assert_eq!(answer.next().await, Some(Ok(ChatEvent::Delta("four".to_owned()))));
//! # Ok(())
//! # }
//! ```

mod chat;
mod embeddings;
mod endpoint;
mod error;
pub mod http;
mod openai;
mod retry_after;
mod scripted;
mod sse;

pub use chat::{ChatEvent, ChatMessage, ChatModel, ChatRequest, ChatStream, FinishReason, Role, TokenUsage};
pub use embeddings::{EmbeddingProvider, RemoteEmbedder, RemoteEmbedderConfig};
pub use endpoint::{ApiKey, EndpointError};
pub use error::{ChatError, Stage};
pub use openai::{OpenAiChat, OpenAiConfig, Timeouts};
pub use scripted::{ScriptedChat, Step};
