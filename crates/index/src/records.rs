//! What the store holds, as JSON below the store's own checksum. JSON because records are read
//! by later versions too: a field may be added with a default, none may change its meaning.

use crate::blobs::BlobId;
use corpus::{Acl, CollectionId, DocumentId, EmbeddingModel, JobId, Metadata, Principals, Row, TenantId};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// How a collection cuts its documents. The index keeps it; `ingest` gives it meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chunking {
    /// `auto` (by the document's format), `text` or `markdown`.
    pub strategy: String,
    /// Longest chunk in tokens of the collection's model, special tokens included.
    pub max_tokens: usize,
    /// Tokens that neighbouring chunks share.
    pub overlap_tokens: usize,
}

/// Rows in an order that matters, as runs `[first, count]`: a document of a million chunks that were
/// numbered in one go takes one pair.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rows(Vec<(Row, u32)>);

impl Rows {
    /// `count` rows from `first` on.
    #[must_use]
    pub fn run(first: Row, count: u32) -> Self {
        if count == 0 { Self::default() } else { Self(vec![(first, count)]) }
    }

    /// Every row, in order.
    pub fn iter(&self) -> impl Iterator<Item = Row> + '_ {
        self.0.iter().flat_map(|(first, count)| *first..first.saturating_add(*count))
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|(_, count)| *count as usize).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A collection: model and chunking are pinned when it is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectionRecord {
    /// Names it.
    pub id: CollectionId,
    /// Owner.
    pub tenant: TenantId,
    /// The caller's name, unique in the tenant.
    pub name: String,
    /// The model of every vector in it.
    pub model: EmbeddingModel,
    /// How documents are cut.
    pub chunking: Chunking,
    /// The caller's own notes.
    #[serde(default)]
    pub metadata: Metadata,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// Counters of a collection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionState {
    /// Number of the last change.
    pub seq: u64,
    /// First change that may still be in the log.
    #[serde(default)]
    pub log_start: u64,
    /// First row that was never given to a committed chunk.
    pub next_row: Row,
    /// Documents, in any state.
    pub documents: u64,
    /// Chunks of served versions.
    pub chunks: u64,
    /// Bytes of served originals.
    pub bytes: u64,
}

/// Where a document stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "status")]
pub enum DocumentState {
    /// A job will process it, or does so now.
    Queued,
    /// Its latest version is served.
    Ready,
    /// Its latest version could not be processed; an earlier one may still be served.
    Failed {
        /// Stable snake_case word.
        code: String,
        /// A sentence for people.
        reason: String,
    },
    /// The job was cancelled; an earlier version may still be served.
    Cancelled,
}

/// What a caller says about a document.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Attributes {
    /// File name or title.
    pub name: String,
    /// For filters.
    #[serde(default)]
    pub metadata: Metadata,
    /// Who may read it.
    #[serde(default)]
    pub acl: Acl,
}

/// A version that is being processed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PendingVersion {
    /// From 1.
    pub number: u32,
    /// The bytes as uploaded.
    pub original: BlobId,
    /// Length of the original.
    pub bytes: u64,
    /// Replaces the document's attributes when the version is served.
    pub attributes: Attributes,
    /// Who works on it.
    pub job: JobId,
}

/// A version that is served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServedVersion {
    /// From 1.
    pub number: u32,
    /// The bytes as uploaded.
    pub original: BlobId,
    /// Length of the original.
    pub bytes: u64,
    /// The extracted text, UTF-8.
    pub text: BlobId,
    /// Length of the extracted text in bytes.
    pub text_bytes: u64,
    /// Length of the extracted text in characters.
    pub text_chars: u64,
    /// What the parser took it for.
    pub media_type: String,
    /// The document's own title, if it has one.
    #[serde(default)]
    pub title: Option<String>,
    /// Pages, where the format has them.
    #[serde(default)]
    pub pages: Option<u32>,
    /// What was lost or doubtful in parsing and embedding.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Rows of the chunks, in document order.
    pub rows: Rows,
    /// The change that made it served.
    pub seq: u64,
    /// The job that made it.
    pub job: JobId,
}

/// Where a document was found that is inside another one: an entry of an archive, an attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The document that it is inside.
    pub document: DocumentId,
    /// The uploaded document that this goes back to: `document` itself or one above it.
    pub root: DocumentId,
    /// Documents above it: 1 inside an upload.
    pub depth: u8,
    /// What the document around it calls it.
    pub name: String,
    /// Tells files of one name in one document apart, from 0.
    pub ordinal: u32,
}

/// A document over all its versions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DocumentRecord {
    /// Names it.
    pub id: DocumentId,
    /// The caller's own id.
    #[serde(default)]
    pub external_id: Option<String>,
    /// The document that it is inside; none for an upload.
    #[serde(default)]
    pub parent: Option<Parent>,
    /// What the caller says of the served version (of the pending one while there is no other).
    pub attributes: Attributes,
    /// Where it stands.
    #[serde(flatten)]
    pub state: DocumentState,
    /// What search and reading see.
    #[serde(default)]
    pub served: Option<ServedVersion>,
    /// What is being processed, or failed.
    #[serde(default)]
    pub pending: Option<PendingVersion>,
    /// When it came.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

impl DocumentRecord {
    /// Whether a caller may read it: the served version, or else the pending one.
    #[must_use]
    pub fn may_be_read_by(&self, principals: &Principals) -> bool {
        let acl = match (&self.served, &self.pending) {
            (None, Some(pending)) => &pending.attributes.acl,
            _ => &self.attributes.acl,
        };
        principals.may_read(acl)
    }

    /// The upload that it goes back to: itself, unless it was inside another one.
    #[must_use]
    pub fn root(&self) -> &DocumentId {
        self.parent.as_ref().map_or(&self.id, |parent| &parent.root)
    }

    /// The number that the next version gets.
    #[must_use]
    pub fn next_version(&self) -> u32 {
        let served = self.served.as_ref().map_or(0, |version| version.number);
        let pending = self.pending.as_ref().map_or(0, |version| version.number);
        served.max(pending) + 1
    }

    /// The latest original: the pending one, else the served one.
    #[must_use]
    pub fn latest_original(&self) -> Option<(&BlobId, u64)> {
        let pending = self.pending.as_ref().map(|version| (&version.original, version.bytes));
        pending.or_else(|| self.served.as_ref().map(|version| (&version.original, version.bytes)))
    }

    /// The job of the latest version.
    #[must_use]
    pub fn latest_job(&self) -> Option<&JobId> {
        self.pending.as_ref().map(|version| &version.job).or_else(|| self.served.as_ref().map(|version| &version.job))
    }
}

/// How a job stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum JobState {
    /// Waits for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// Done.
    Succeeded,
    /// Ended without a result.
    Failed {
        /// Stable snake_case word.
        code: String,
        /// A sentence for people.
        reason: String,
    },
    /// Ended on request.
    Cancelled,
}

impl JobState {
    /// Whether nothing more will happen.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// A durable job: processes one version of one document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Names it.
    pub id: JobId,
    /// Owner.
    pub tenant: TenantId,
    /// Where the document is.
    pub collection: CollectionId,
    /// What it processes.
    pub document: DocumentId,
    /// How it stands.
    #[serde(flatten)]
    pub state: JobState,
    /// Times a worker began it: more than one after a crash.
    pub attempts: u32,
    /// The collection's change that carries its result.
    #[serde(default)]
    pub seq: Option<u64>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// One change of a collection, as the views see it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The document concerned.
    pub document: Option<DocumentId>,
    /// Rows that become visible.
    #[serde(default)]
    pub added: Rows,
    /// Rows that vanish.
    #[serde(default)]
    pub removed: Rows,
}

/// What an idempotency key was answered with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IdempotencyRecord {
    /// sha256 over method, path and body of the first request.
    pub request: String,
    /// The answer, as JSON.
    pub answer: serde_json::Value,
    /// When it was given.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// What a deletion removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeletionReceipt {
    /// What was deleted.
    pub document: DocumentId,
    /// Documents removed: this one and those that were inside it.
    pub documents: usize,
    /// Chunk records removed.
    pub chunks: usize,
    /// Vectors removed.
    pub vectors: usize,
    /// Files removed (originals and texts that no other document uses).
    pub files: usize,
    /// Jobs that were ended with their documents.
    pub jobs: Vec<JobId>,
}
