//! What is kept of what people say of answers. Nothing of a document's text: what an answer cited is named by place.

use crate::batches::BatchAsker;
use corpus::{CollectionId, DocumentId, Span, TenantId, TraceId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Most bytes of a comment, and of an expected answer.
pub const FEEDBACK_TEXT_BYTES_MAX: usize = 8192;

/// What one key says of one answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeedbackRecord {
    /// Owner.
    pub tenant: TenantId,
    /// What was asked.
    pub collection: CollectionId,
    /// The answer.
    pub trace: TraceId,
    /// Who says it, with the bounds that held then.
    pub asker: BatchAsker,
    /// Whether it helped.
    pub useful: bool,
    /// In their words.
    #[serde(default)]
    pub comment: Option<String>,
    /// What it should have said, in their words.
    #[serde(default)]
    pub expected: Option<String>,
    /// The question, if it stands alone and its words were kept.
    #[serde(default)]
    pub question: Option<String>,
    /// Whether the answer was that the documents don't answer.
    #[serde(default)]
    pub abstained: bool,
    /// What the answer cited.
    #[serde(default)]
    pub evidence: Vec<Evidence>,
    /// When it was said.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// A place in a version of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The document.
    pub document: DocumentId,
    /// The version whose text the span is of.
    pub version: u32,
    /// Where.
    pub span: Span,
}
