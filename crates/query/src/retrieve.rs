//! The seam to a collection: what retrieval asks of it.
//!
//! Synchronous, like the index behind it; [`Engine`](crate::Engine) hops to a blocking thread.
//! Access control and filters are one bitmap of rows, made once per request and handed to every
//! search, so that no leg can see more than another.

use corpus::{Chunk, CollectionId, Embedder, Embedding, Errand, Filter, Metadata, Principals, Row};
use index::text::{Narrowed, Question, TextHits};
use roaring::RoaringBitmap;
use std::sync::Arc;

/// A chunk together with what its document says about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredChunk {
    /// The chunk.
    pub chunk: Chunk,
    /// The document's name (a file name, as a rule).
    pub document_name: String,
    /// The caller's own id of the document.
    pub external_id: Option<String>,
    /// The document's metadata.
    pub metadata: Metadata,
}

/// Why a collection could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The collection was deleted or the server is stopping.
    #[error("the collection is closed")]
    Closed,
    /// Stored data failed its checks.
    #[error("stored data is corrupt: {0}")]
    Corrupt(String),
    /// Anything else below.
    #[error("the index failed: {0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Which state of its data a collection has committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataState {
    /// The collection.
    pub collection: CollectionId,
    /// Number of its last change.
    pub generation: u64,
    /// What tells this state from those that other copies of the collection may have under the same number.
    pub mark: u64,
    /// Whether searches see that change, and all before it, from now on.
    pub is_shown: bool,
}

/// How common some words are in a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrences {
    /// Chunks in all.
    pub chunks: u64,
    /// Chunks with each word, in the order asked.
    pub counts: Vec<u64>,
}

/// A collection that can be searched. Blocking.
///
/// Every search returns at most `k` rows of `allowed`, best first, and none twice. An empty
/// `allowed` finds nothing. Rows deleted meanwhile may still be returned; `chunks` then says so.
pub trait ChunkSource: Send + Sync {
    /// The embedder of the collection's model.
    fn embedder(&self) -> &dyn Embedder;

    /// What it is embedded for: who asks pays.
    fn errand(&self) -> &Errand;

    /// What is committed; `None` if that can't be told, and then no answer is kept.
    ///
    /// # Errors
    /// [`SourceError`].
    fn state(&self) -> Result<Option<DataState>, SourceError>;

    /// The live rows that these principals may read and that pass the filter.
    ///
    /// # Errors
    /// [`SourceError`].
    fn allowed(&self, filter: Option<&Filter>, principals: &Principals) -> Result<Arc<RoaringBitmap>, SourceError>;

    /// Rows by cosine similarity to `query`. `ef` is the breadth of an approximate search;
    /// `exact` looks at every row.
    ///
    /// # Errors
    /// [`SourceError`].
    fn vector_search(
        &self,
        query: &Embedding,
        k: usize,
        ef: Option<usize>,
        exact: bool,
        allowed: &RoaringBitmap,
    ) -> Result<Vec<(Row, f32)>, SourceError>;

    /// Takes a query apart for this collection: once a request.
    ///
    /// # Errors
    /// [`SourceError`].
    fn question(&self, query: &str) -> Result<Question, SourceError>;

    /// Rows by BM25 of a question. One without words finds nothing.
    ///
    /// # Errors
    /// [`SourceError`].
    fn text_search(&self, question: &Question, k: usize, allowed: &RoaringBitmap) -> Result<TextHits, SourceError>;

    /// What quotation marks and minus signs of a question leave of `allowed`; `None` if it has none.
    ///
    /// # Errors
    /// [`SourceError`].
    fn narrow(&self, question: &Question, allowed: &RoaringBitmap) -> Result<Option<Narrowed>, SourceError>;

    /// In how many chunks each word occurs, by the terms of the text index; `None` if that isn't known. Of a word of
    /// several terms the rarest counts.
    ///
    /// # Errors
    /// [`SourceError`].
    fn occurrences(&self, words: &[&str]) -> Result<Option<Occurrences>, SourceError> {
        let _ = words;
        Ok(None)
    }

    /// The chunks of `rows`, in that order; `None` for one that is gone.
    ///
    /// # Errors
    /// [`SourceError`].
    fn chunks(&self, rows: &[Row]) -> Result<Vec<Option<StoredChunk>>, SourceError>;

    /// Up to `distance` rows before and after `row` in the same version of its document, both in
    /// the document's order.
    ///
    /// # Errors
    /// [`SourceError`].
    fn neighbours(&self, row: Row, distance: usize) -> Result<(Vec<Row>, Vec<Row>), SourceError>;
}
