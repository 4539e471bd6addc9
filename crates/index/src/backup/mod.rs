//! A backup: one file with everything a data directory holds but its views, vectors included, as of
//! one moment, made while the server runs; and the way back.
//!
//! How it is of one moment: removing files is put off, a tap on the store notes every commit, then the
//! whole store is scanned page by page and the files are copied, and at last the tap is taken away. The
//! pairs of the scan with the noted commits applied over them are the store as it was then; see
//! `DESIGN.md` for why, and for the format.

mod file;
mod restore;
mod tap;
#[cfg(test)]
mod tests;
mod write;

pub use restore::{check, restore, unfinished};

use crate::Catalog;
use crate::blobs::BlobError;
use crate::store::StoreError;
use crate::verify::{DataDirectory, VerifyError};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// What a backup holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupSummary {
    /// Number of the store's last commit in it.
    pub seq: u64,
    /// Records scanned.
    pub pairs: u64,
    /// Commits that were made meanwhile.
    pub commits: u64,
    /// Files.
    pub blobs: u64,
    /// Bytes of the backup.
    pub bytes: u64,
    /// sha256 of the whole backup, in hex.
    pub sha256: String,
}

/// Why there is no backup, or no restore.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Another backup is being made.
    #[error("a backup is being made already")]
    Busy,
    /// The caller asked for the end.
    #[error("the backup was stopped")]
    Stopped,
    /// There is a file of that name.
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// Too little space left.
    #[error("the disk is full: {free_bytes} bytes are free, {reserve_bytes} are kept in reserve")]
    Full {
        /// Bytes free.
        free_bytes: u64,
        /// Bytes that are kept free.
        reserve_bytes: u64,
    },
    /// The file is no backup, or one that was cut or changed.
    #[error("{} can't be restored: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Restoring into a folder where something is.
    #[error("{} is not empty: restore into a new or empty folder", .0.display())]
    NotEmpty(PathBuf),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An original or text failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The data directory can't be opened.
    #[error(transparent)]
    Directory(#[from] VerifyError),
    /// Reading or writing the backup failed.
    #[error("the backup can't be read or written: {0}")]
    Io(#[from] io::Error),
}

/// How a backup is made.
pub struct BackupOptions<'o> {
    /// Bytes of disk that stay free.
    pub reserve_bytes: u64,
    /// Asked between pages; `true` ends the backup with [`BackupError::Stopped`].
    pub should_stop: &'o (dyn Fn() -> bool + Sync),
}

impl Catalog {
    /// Writes a backup of everything to `path` while the catalog is in use. Until it ends no file is
    /// removed; unused ones go afterwards. On an error nothing is left at `path`.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn backup(&self, path: &Path, options: &BackupOptions<'_>) -> Result<BackupSummary, BackupError> {
        let hold = self.blobs().hold().ok_or(BackupError::Busy)?;
        let made = write::write(self.store(), self.blobs(), path, options);
        self.remove_put_off(hold.release());
        made
    }
}

/// Writes a backup of a data directory whose server doesn't run.
///
/// # Errors
/// [`BackupError`].
pub fn backup_directory(data: &Path, path: &Path, options: &BackupOptions<'_>) -> Result<BackupSummary, BackupError> {
    let directory = DataDirectory::open(data)?;
    write::write(&directory.store, &directory.blobs, path, options)
}
