//! A chunk: the piece of a document that is embedded, found and cited.

use crate::{ChunkId, DocumentId, Span};
use serde::{Deserialize, Serialize};

/// A chunk's number in its collection. Never given twice, so that a row of a deleted or
/// superseded chunk can't come to mean another.
pub type Row = u32;

/// A chunk as the splitter makes it: not yet embedded, not yet in a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkDraft {
    /// Where the text stands in the document's extracted text.
    pub span: Span,
    /// Exactly the text at `span`.
    pub text: String,
    /// The headings above the chunk's first character, outermost first.
    pub heading_path: Vec<String>,
    /// The page (from 1) of the chunk's first character, where the format has pages.
    pub page: Option<u32>,
    /// Length in tokens of the collection's embedding model, special tokens included.
    pub tokens: usize,
}

/// A chunk of a committed document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Names this chunk.
    pub id: ChunkId,
    /// The document it was cut from.
    pub document_id: DocumentId,
    /// The version of that document, from 1.
    pub version: u32,
    /// Its place in the document, from 0.
    pub ordinal: u32,
    /// What the splitter made.
    #[serde(flatten)]
    pub draft: ChunkDraft,
}
