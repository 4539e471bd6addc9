//! Upload → chunks in the index: parse, split, embed, commit, as durable jobs.
//!
//! [`Ingest`] runs the workers; each takes a job and leads its document through the stages
//! ([`Stage`]). Parsing happens in a child process ([`parse`]), splitting is sized by the embedding
//! model's own tokenizer ([`split`]), and whoever starts it says which [`corpus::Embedder`] embeds.
//!
//! Invariants:
//! - `text[chunk.span] == chunk.text` for every chunk, and the chunks cover the text.
//! - A job ends once: committed, failed with a reason, or cancelled. One that a crash or shut-down cut
//!   off goes on at the next start.
//! - No document, however broken, ends the server.
//!
//! ```
//! # use ragstone_ingest as ingest;
//! use encoder::HashEmbedder;
//! use ingest::parse::{InProcess, Parser};
//! use ingest::{Chunking, split};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let parsed = InProcess.parse("note.md", b"# Ice\n\nSalt melts ice.")?;
//! let chunks = split(&parsed, &Chunking::default(), &HashEmbedder::new())?;
//! assert_eq!(chunks[0].span.slice(&parsed.text), Some(chunks[0].text.as_str()));
//! # Ok(()) }
//! ```

pub mod parse;
mod pipeline;
mod progress;
mod split;
mod workers;

pub use pipeline::{IngestError, chunking};
pub use progress::{JobProgress, Stage};
pub use split::{Chunking, SplitError, Strategy, split};
pub use workers::{Ingest, IngestParams};
