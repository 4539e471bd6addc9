//! What a corpus is made of: the words that the sibling crates share.
//!
//! A *document* is a file or text that somebody uploaded. Its extracted *text* (UTF-8) is cut
//! into *chunks*; each chunk knows its *span* in that text, gets one *embedding* and one *row*
//! in the indexes of its *collection*. A *filter* picks documents by their *metadata*, a
//! *principal* list says who may read them.
//!
//! Invariants: no I/O and no runtime in here; a type enters only when two sibling crates name
//! it; `text[span] == chunk.text`, always.
//!
//! ```
//! # use ragstone_corpus as corpus;
//! use corpus::Span;
//! let text = "naïve café";
//! let span = Span::of(text, 7..12).expect("on char boundaries");
//! assert_eq!(span.slice(text), Some("café"));
//! assert_eq!((span.char_start, span.char_end), (6, 10));
//! ```

mod access;
mod account;
mod allowance;
mod chunk;
mod embedding;
mod errand;
mod filter;
mod ids;
mod metadata;
mod rerank;
mod span;

pub use access::{Acl, Principals};
pub use account::{Account, Shortage};
pub use allowance::{Allowance, Grant, Moment};
pub use chunk::{Chunk, ChunkDraft, Row};
pub use embedding::{EmbedError, Embedded, Embedder, Embedding, EmbeddingError, EmbeddingModel, ModelMismatch, Precision, Purpose};
pub use errand::{Errand, Waiter, Wanted};
pub use filter::{Filter, FilterError};
pub use ids::{ChunkId, CollectionId, DeletionId, DocumentId, EvaluationId, IdError, JobId, KeyId, SessionId, TenantId, TraceId};
pub use metadata::{Metadata, MetadataError};
pub use rerank::{RerankModel, Reranker};
pub use span::{Span, SpanIndex};
