//! A model provider that answers as a script says, over real HTTP, for tests and for trying things out.
//!
//! It speaks OpenAI's protocol (chat, embeddings, models, files, batches, and reranking as Cohere,
//! Jina and TEI do it), Azure's paths of the same, and Anthropic's messages. A [`Script`] holds [`Reply`]s per
//! model, taken in turn; a reply may come late, slowly, with any status, or with a [`Fault`]: resets,
//! stalls, half bodies, broken JSON. Without a script a [`Mock`] says what it was told, counts words as
//! tokens and embeds by hash: the same request, the same bytes, but for running numbers in ids.
//!
//! Invariants:
//! - Every [`Call`] is noted before it is answered, and how it ended: a client that leaves in the
//!   middle of an answer is noticed when its connection closes, not at the next write.
//! - Keys are looked at, never kept: not in calls, not in answers.
//! - What is kept is bounded: the last 10,000 calls, the last 1,000 files and batches.
//!
//! The same can be steered over HTTP: `GET` and `DELETE /mock/calls`, `GET` and `PUT /mock/script`.
//!
//! ```
//! # use ragstone_mock as mock;
//! use mock::{Finished, Mock, Reply, Script};
//!
//! let busy = Reply::status(429).header("retry-after", "2");
//! let mock = Mock::start_on_thread(Script::default().then("small", busy).then("small", Reply::text("Paris.")));
//! let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
//! let question = r#"{"model":"small","messages":[{"role":"user","content":"The capital of France?"}]}"#;
//! let mut ask = || agent.post(format!("{}/v1/chat/completions", mock.url())).send(question);
//! assert_eq!(ask()?.status(), 429);
//! assert!(ask()?.body_mut().read_to_string()?.contains("Paris."));
//! assert_eq!(mock.calls()[1].finished, Some(Finished::Completed));
//! # Ok::<(), ureq::Error>(())
//! ```

mod access;
mod answer;
mod anthropic;
mod batches;
mod body;
mod calls;
mod content;
mod control;
mod embeddings;
mod exchange;
mod faults;
mod files;
mod form;
mod openai;
mod provider;
mod refusal;
mod reply;
mod rerank;
mod route;
mod script;
mod server;
mod wire;

pub use access::Access;
pub use calls::{Call, Finished};
pub use embeddings::embedding;
pub use reply::{Fault, RawBody, Reply, ToolCall, Usage};
pub use script::Script;
pub use server::Mock;
