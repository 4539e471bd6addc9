//! What a verification found, and what a repair would do about it.

use crate::blobs::BlobId;
use crate::records::{CollectionRecord, Rows};
use corpus::{DocumentId, TenantId};
use serde::Serialize;
use std::path::PathBuf;

/// Findings that a report holds; more are only counted. A repair takes so many a round.
pub const FINDINGS_MAX: usize = 1000;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something is lost or wrong that a repair can't bring back: restore a backup.
    Error,
    /// Wrong, and a repair puts it right.
    Repairable,
    /// In order, but worth knowing: the next start sees to it.
    Note,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// Stable snake_case word.
    pub code: &'static str,
    /// A key (printable) or a path.
    #[serde(rename = "where")]
    pub place: String,
    /// A sentence for people.
    pub detail: String,
    /// What a repair does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
}

/// One step of a repair.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "action")]
pub enum Fix {
    /// Writes a record that can be derived from others.
    Put {
        /// Its key.
        #[serde(serialize_with = "as_text")]
        key: Vec<u8>,
        /// Its value.
        #[serde(serialize_with = "as_text")]
        value: Vec<u8>,
    },
    /// Removes a record that says nothing any more.
    Delete {
        /// Its key.
        #[serde(serialize_with = "as_text")]
        key: Vec<u8>,
    },
    /// Removes rows that belong to no served version, with the note that named them.
    DeleteRows {
        /// Whose.
        #[serde(skip)]
        collection: Box<CollectionRecord>,
        /// Which.
        rows: Rows,
        /// The note.
        #[serde(serialize_with = "as_text")]
        note: Vec<u8>,
    },
    /// Takes a damaged version out of service and processes its original again; where the original is
    /// damaged too the document fails with the code `damaged`, and its text is set aside.
    Reprocess {
        /// Where the document is.
        #[serde(skip)]
        collection: Box<CollectionRecord>,
        /// Which.
        document: DocumentId,
        /// Whether the original is whole.
        original_is_whole: bool,
    },
    /// Removes a file that no document uses.
    RemoveBlob {
        /// Whose.
        tenant: TenantId,
        /// Which.
        blob: BlobId,
    },
    /// Removes a view, which is rebuilt from the store, or a file that was never finished.
    RemovePath {
        /// Folder or file.
        path: PathBuf,
    },
}

fn as_text<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&bytes.escape_ascii())
}

impl std::fmt::Display for Fix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Put { key, .. } => write!(f, "write {}", key.escape_ascii()),
            Self::Delete { key } => write!(f, "delete {}", key.escape_ascii()),
            Self::DeleteRows { rows, note, .. } => write!(f, "delete {} unused chunks and {}", rows.len(), note.escape_ascii()),
            Self::Reprocess { document, original_is_whole: true, .. } => write!(f, "process {document} again from its original"),
            Self::Reprocess { document, .. } => write!(f, "mark {document} as failed (damaged) and set its text aside"),
            Self::RemoveBlob { tenant, blob } => write!(f, "remove the unused file {blob} of {tenant}"),
            Self::RemovePath { path } => write!(f, "remove {}", path.display()),
        }
    }
}

/// What was looked at and what was found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct VerifyReport {
    /// Values read, each checked against its checksum.
    pub values: u64,
    /// Bytes of their keys and payloads.
    pub bytes: u64,
    /// Collections.
    pub collections: u64,
    /// Documents, in any state.
    pub documents: u64,
    /// Chunks of served versions, each with its vector.
    pub chunks: u64,
    /// Jobs, ended ones included.
    pub jobs: u64,
    /// Batches, ended ones included.
    pub batches: u64,
    /// Evaluations, ended ones included.
    pub evaluations: u64,
    /// Files hashed.
    pub blobs: u64,
    /// Bytes of those files.
    pub blob_bytes: u64,
    /// Findings that are errors.
    pub errors: u64,
    /// Findings that a repair puts right.
    pub repairable: u64,
    /// Findings that are only notes.
    pub notes: u64,
    /// The first [`FINDINGS_MAX`] findings.
    pub findings: Vec<Finding>,
}

impl VerifyReport {
    /// Whether every invariant holds; notes are allowed.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.errors + self.repairable == 0
    }

    pub(super) fn add(&mut self, finding: Finding) {
        match finding.severity {
            Severity::Error => self.errors += 1,
            Severity::Repairable => self.repairable += 1,
            Severity::Note => self.notes += 1,
        }
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }

    /// A report of one error, for a store that can't be read at all.
    pub(super) fn unreadable(place: String, detail: String) -> Self {
        let mut report = Self::default();
        report.add(Finding { severity: Severity::Error, code: "store_unreadable", place, detail, fix: None });
        report
    }
}
