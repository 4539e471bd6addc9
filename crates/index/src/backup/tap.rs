//! Notes every commit beside the backup while it is made. A file, because a server may commit more
//! meanwhile than memory holds; written by the store's writer, which only copies into a buffer mostly.

use super::BackupError;
use crate::store::journal;
use crate::store::{Batch, Seq, Tap};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Each entry is `length (u32, little endian) ‖ changes as in the store's journal`.
pub(super) struct Notes {
    path: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    file: BufWriter<File>,
    bytes: u64,
    commits: u64,
    /// The first error: the backup fails with it, the commits don't.
    failed: Option<io::Error>,
}

impl Notes {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).truncate(true).read(true).write(true).open(path)?;
        let inner = Inner { file: BufWriter::new(file), bytes: 0, commits: 0, failed: None };
        Ok(Self { path: path.to_owned(), inner: Mutex::new(inner) })
    }

    /// Bytes noted so far: commits noted later lie behind.
    pub(super) fn bytes(&self) -> u64 {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }

    /// Calls `visit` with the changes of every commit from `start` on. To be called without a tap on the store.
    pub(super) fn each(&self, start: u64, mut visit: impl FnMut(&[u8]) -> Result<(), BackupError>) -> Result<u64, BackupError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = inner.failed.take() {
            return Err(error.into());
        }
        inner.file.flush()?;
        let mut file = inner.file.get_ref().try_clone()?;
        file.seek(SeekFrom::Start(start))?;
        let mut file = BufReader::new(file.take(inner.bytes - start));
        let mut length = [0; 4];
        let mut left = inner.bytes - start;
        while left > 0 {
            file.read_exact(&mut length)?;
            let count = u32::from_le_bytes(length);
            let mut changes = vec![0; count as usize];
            file.read_exact(&mut changes)?;
            visit(&changes)?;
            left = left.saturating_sub(4 + u64::from(count));
        }
        Ok(inner.commits)
    }
}

impl Tap for Notes {
    fn committed(&self, _: Seq, batch: &Batch) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.failed.is_some() {
            return;
        }
        let mut changes = Vec::new();
        journal::append(&mut changes, batch);
        // At most a batch with eight bytes and one a change: far below 4 GiB.
        let length = u32::try_from(changes.len()).unwrap_or(u32::MAX);
        let written = inner.file.write_all(&length.to_le_bytes()).and_then(|()| inner.file.write_all(&changes));
        inner.bytes += 4 + u64::from(length);
        inner.commits += 1;
        inner.failed = written.err();
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
