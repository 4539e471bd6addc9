//! What the store holds, as JSON below the store's own checksum. JSON because records are read
//! by later versions too: a field may be added with a default, none may change its meaning.

use crate::blobs::BlobId;
use corpus::{Acl, CollectionId, DeletionId, DocumentId, EmbeddingModel, JobId, Metadata, Precision, Principals, Row, Span, TenantId};
use serde::{Deserialize, Serialize};
use std::hash::{BuildHasher, Hasher, RandomState};
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

    /// The rows directly before and behind one; none for a row that is not among them.
    #[must_use]
    pub fn around(&self, row: Row) -> [Option<Row>; 2] {
        let Some(at) = self.0.iter().position(|(first, count)| (*first..first.saturating_add(*count)).contains(&row)) else {
            return [None, None];
        };
        let last = |(first, count): &(Row, u32)| first.saturating_add(*count).checked_sub(1);
        let run = self.0.get(at);
        let before = if run.is_some_and(|(first, _)| *first < row) {
            row.checked_sub(1)
        } else {
            at.checked_sub(1).and_then(|at| self.0.get(at)).and_then(last)
        };
        let after = if run.and_then(last).is_some_and(|last| row < last) {
            row.checked_add(1)
        } else {
            self.0.get(at + 1).map(|(first, _)| *first)
        };
        [before, after]
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

    /// Runs that they take in a record.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.0.len()
    }

    /// The place of a row in the order, from 0.
    #[must_use]
    pub fn position(&self, row: Row) -> Option<usize> {
        let mut before = 0;
        for (first, count) in &self.0 {
            match row.checked_sub(*first) {
                Some(offset) if offset < *count => return Some(before + offset as usize),
                _ => before += *count as usize,
            }
        }
        None
    }
}

impl FromIterator<Row> for Rows {
    /// Rows that follow each other become one run.
    fn from_iter<I: IntoIterator<Item = Row>>(rows: I) -> Self {
        let mut runs: Vec<(Row, u32)> = Vec::new();
        for row in rows {
            match runs.last_mut() {
                Some((first, count)) if first.checked_add(*count) == Some(row) => *count += 1,
                _ => runs.push((row, 1)),
            }
        }
        Self(runs)
    }
}

/// What of a chunk stays as it is when the text around it changes, below its row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRecord {
    /// The document it was cut from.
    pub document: DocumentId,
    /// The chunk's text.
    pub text: String,
    /// The headings above its first character, outermost first.
    #[serde(default)]
    pub heading_path: Vec<String>,
    /// Length in tokens of the collection's model, special tokens included.
    pub tokens: usize,
}

/// Where a chunk stands in one version of its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PlaceTuple", into = "PlaceTuple")]
pub struct Place {
    /// In the version's text.
    pub span: Span,
    /// Page (from 1) of its first character.
    pub page: Option<u32>,
}

/// Names would take most of a page of places.
type PlaceTuple = (usize, usize, usize, usize, Option<u32>);

impl From<PlaceTuple> for Place {
    fn from((byte_start, byte_end, char_start, char_end, page): PlaceTuple) -> Self {
        Self { span: Span { byte_start, byte_end, char_start, char_end }, page }
    }
}

impl From<Place> for PlaceTuple {
    fn from(Place { span, page }: Place) -> Self {
        (span.byte_start, span.byte_end, span.char_start, span.char_end, page)
    }
}

/// Rows and places in the store that no served version names: not yet, or not any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unserved {
    /// Their chunks and vectors.
    pub rows: Rows,
    /// The document and the number of the version whose places they are.
    pub places: Option<(DocumentId, u32)>,
    /// False: staged for a version that is not committed. True: of a version that was replaced or deleted.
    pub was_served: bool,
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
    /// Drawn at random with each change: where two data directories have the same number and mark, they have the same
    /// past, however they were copied or restored. 0 before the first change.
    #[serde(default)]
    pub mark: u64,
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

impl CollectionState {
    /// Begins the next change.
    pub(crate) fn advance(&mut self) {
        self.seq += 1;
        self.mark = Self::draw_mark();
    }

    /// The standard library takes its seeds from the system.
    pub(crate) fn draw_mark() -> u64 {
        RandomState::new().build_hasher().finish()
    }
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
    /// In which numbers the model computed the embeddings that are new in it; the others came with an earlier one.
    #[serde(default)]
    pub precision: Precision,
    /// What was lost or doubtful in parsing and embedding.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Rows of the chunks, in document order.
    pub rows: Rows,
    /// Chunks that kept their row from the version before.
    #[serde(default)]
    pub chunks_reused: u64,
    /// Texts that were embedded for this version.
    #[serde(default)]
    pub chunks_embedded: u64,
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
    /// Whether that came out of another document.
    #[serde(default)]
    pub is_inside: bool,
    /// How it stands.
    #[serde(flatten)]
    pub state: JobState,
    /// Times a worker began it: more than one after a crash.
    pub attempts: u32,
    /// The collection's change that carries its result.
    #[serde(default)]
    pub seq: Option<u64>,
    /// Chunks that kept their row from the version before; known once it has succeeded.
    #[serde(default)]
    pub chunks_reused: Option<u64>,
    /// Texts that it embedded; known once it has succeeded.
    #[serde(default)]
    pub chunks_embedded: Option<u64>,
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

/// What a deletion removed, kept so that it can be checked again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeletionReceipt {
    /// Names it.
    pub id: DeletionId,
    /// Where the document was, or the collection that was deleted.
    pub collection: CollectionId,
    /// The document; absent when the whole collection was deleted.
    #[serde(default)]
    pub document: Option<DocumentId>,
    /// The caller's own id of the document, or the name of the collection.
    #[serde(default)]
    pub name: Option<String>,
    /// Documents removed.
    pub documents: u64,
    /// Chunk records removed.
    pub chunks: u64,
    /// Vectors removed.
    pub vectors: u64,
    /// Rows taken out of the text index.
    pub postings: u64,
    /// Files removed: originals and texts that no other document uses.
    pub files: u64,
    /// Cached answers removed, counted in each tier.
    pub caches: u64,
    /// Traces removed that told of it.
    #[serde(default)]
    pub traces: u64,
    /// Turns of sessions removed that rested on it.
    #[serde(default)]
    pub session_turns: u64,
    /// The rows that a deleted document had.
    #[serde(default)]
    pub rows: Rows,
    /// The files that a deleted document used.
    #[serde(default)]
    pub blobs: Vec<BlobId>,
    /// Jobs that were ended with the documents; not kept.
    #[serde(skip)]
    pub jobs: Vec<JobId>,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub deleted_at: OffsetDateTime,
}

/// A collection that is being removed, page by page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectionRemoval {
    /// What is removed.
    pub record: CollectionRecord,
    /// What is gone so far.
    pub receipt: DeletionReceipt,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_keep_their_order_and_know_their_places(rows in proptest::collection::hash_set(0u32..60, 0..60)) {
            let rows: Vec<Row> = rows.into_iter().collect();
            let packed: Rows = rows.iter().copied().collect();
            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), rows.clone());
            prop_assert_eq!(packed.len(), rows.len());
            for row in 0..61 {
                let at = rows.iter().position(|other| *other == row);
                prop_assert_eq!(packed.position(row), at);
                let beside = |at: Option<usize>| at.and_then(|at| rows.get(at)).copied();
                let around = at.map_or([None, None], |at| [beside(at.checked_sub(1)), beside(Some(at + 1))]);
                prop_assert_eq!(packed.around(row), around);
            }
        }
    }

    #[test]
    fn rows_in_a_row_are_one_run() {
        let rows: Rows = [7, 8, 9, 3, 4, 9 + 1, u32::MAX].into_iter().collect();
        assert_eq!(serde_json::to_string(&rows).unwrap(), "[[7,3],[3,2],[10,1],[4294967295,1]]");
        assert_eq!(rows.runs(), 4);
    }
}
