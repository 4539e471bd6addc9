//! Checks every invariant of a data directory: checksums, records, what they say of each other, files
//! and views. Reads page by page: memory grows with the number of collections and with the rows of
//! the largest one (a bitmap), not with the data.
//!
//! It works on a closed server's directory, whose lock it takes. Opening finishes what a crash
//! interrupted, as a start would; apart from that nothing is changed. [`repair()`] does what the
//! findings' fixes say.

mod batches;
mod collections;
mod documents;
mod evaluations;
mod files;
mod jobs;
pub(crate) mod read;
mod repair;
mod report;
#[cfg(test)]
pub(crate) mod tests;
mod views;

pub use repair::repair;
pub use report::{FINDINGS_MAX, Finding, Fix, Severity, VerifyReport};

use crate::TenantUsage;
use crate::blobs::{BlobError, Blobs};
use crate::records::CollectionRecord;
use crate::store::{OpenError, SledOptions, SledStore, Store, StoreError};
use corpus::{CollectionId, TenantId};
use report::Severity::{Error, Note, Repairable};
use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Why nothing can be said of a data directory.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// No data was ever there.
    #[error("there is no data in {}", .0.display())]
    Absent(PathBuf),
    /// A server runs on it.
    #[error("{} is in use: stop the server that runs on it first", .0.display())]
    InUse(PathBuf),
    /// The store can't be opened for a reason that says nothing about the data, or failed meanwhile.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder of files failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The file system refused.
    #[error("the file system refused: {0}")]
    Io(#[from] io::Error),
    /// A record can't be written.
    #[error("a record can't be written: {0}")]
    Record(#[from] serde_json::Error),
}

/// The parts of a data directory, opened for verification or repair.
pub(crate) struct DataDirectory {
    pub(crate) store: SledStore,
    pub(crate) blobs: Blobs,
    pub(crate) root: PathBuf,
}

/// The places below a data directory.
pub(crate) fn store_folder(data: &Path) -> PathBuf {
    data.join("store")
}

pub(crate) fn blob_folder(data: &Path) -> PathBuf {
    data.join("blobs")
}

pub(crate) fn view_folder(data: &Path) -> PathBuf {
    data.join("views")
}

impl DataDirectory {
    /// Opens the store (which takes its lock) and the files; nothing is made where nothing was.
    pub(crate) fn open(data: &Path) -> Result<Self, VerifyError> {
        let folder = store_folder(data);
        if !folder.is_dir() {
            return Err(VerifyError::Absent(data.to_owned()));
        }
        let store = SledStore::open(&folder, &SledOptions { reserve_bytes: 0, ..SledOptions::default() }).map_err(|error| match error {
            StoreError::Locked { .. } => VerifyError::InUse(data.to_owned()),
            other => other.into(),
        })?;
        Ok(Self { store, blobs: Blobs::open(blob_folder(data))?, root: data.to_owned() })
    }

    /// Checks everything.
    pub(crate) fn check(&self) -> Result<VerifyReport, VerifyError> {
        check(&self.store, &self.blobs, &view_folder(&self.root))
    }
}

/// Verifies the data directory of a server that doesn't run. A store that can't be opened because it
/// is damaged is a report with that error; so is one whose reading panics.
///
/// # Errors
/// [`VerifyError`] when nothing can be said: no data, in use, the file system refuses.
pub fn verify(data: &Path) -> Result<VerifyReport, VerifyError> {
    let verified = catch_unwind(AssertUnwindSafe(|| DataDirectory::open(data)?.check()));
    let verified = verified.unwrap_or_else(|_| Err(StoreError::Damaged("reading it panicked; the log has the reason".into()).into()));
    match verified {
        Err(VerifyError::Store(error)) if is_damage(&error) => {
            Ok(VerifyReport::unreadable(store_folder(data).display().to_string(), error.to_string()))
        }
        other => other,
    }
}

fn is_damage(error: &StoreError) -> bool {
    match error {
        StoreError::Damaged(_) | StoreError::Corrupt { .. } => true,
        StoreError::Open { reason, .. } => !matches!(reason, OpenError::NoSpace { .. } | OpenError::Io(_) | OpenError::Format { .. }),
        _ => false,
    }
}

/// Checks an open store with its files and views, which nobody else may be changing.
///
/// # Errors
/// A store or file that fails in a way other than damage.
pub fn check(store: &dyn Store, blobs: &Blobs, views: &Path) -> Result<VerifyReport, VerifyError> {
    let mut verifier =
        Verifier { store, blobs, views, report: VerifyReport::default(), collections: BTreeMap::new(), usage: BTreeMap::new() };
    verifier.check_values()?;
    verifier.check_collections()?;
    verifier.check_strangers()?;
    verifier.check_jobs()?;
    verifier.check_batches()?;
    verifier.check_evaluations()?;
    verifier.check_files()?;
    verifier.check_view_folders()?;
    Ok(verifier.report)
}

/// The state of one verification.
struct Verifier<'v> {
    store: &'v dyn Store,
    blobs: &'v Blobs,
    views: &'v Path,
    report: VerifyReport,
    collections: BTreeMap<(TenantId, CollectionId), CollectionRecord>,
    /// What each tenant takes, as counted.
    usage: BTreeMap<TenantId, TenantUsage>,
}

impl Verifier<'_> {
    fn check_values(&mut self) -> Result<(), VerifyError> {
        let found = self.store.verify()?;
        (self.report.values, self.report.bytes) = (found.values, found.bytes);
        Ok(())
    }

    fn error(&mut self, code: &'static str, place: impl Place, detail: impl Into<String>) {
        self.find(Error, code, place, detail, None);
    }

    fn repairable(&mut self, code: &'static str, place: impl Place, detail: impl Into<String>, fix: Fix) {
        self.find(Repairable, code, place, detail, Some(fix));
    }

    fn note(&mut self, code: &'static str, place: impl Place, detail: impl Into<String>, fix: Option<Fix>) {
        self.find(Note, code, place, detail, fix);
    }

    fn find(&mut self, severity: Severity, code: &'static str, place: impl Place, detail: impl Into<String>, fix: Option<Fix>) {
        self.report.add(Finding { severity, code, place: place.text(), detail: detail.into(), fix });
    }
}

/// Where a finding is: a key or a path.
trait Place {
    fn text(&self) -> String;
}

impl Place for &[u8] {
    fn text(&self) -> String {
        self.escape_ascii().to_string()
    }
}

impl Place for &Vec<u8> {
    fn text(&self) -> String {
        self.escape_ascii().to_string()
    }
}

impl Place for &Path {
    fn text(&self) -> String {
        self.display().to_string()
    }
}
