//! Files that are there whole or not at all, and stay after a power cut.
//!
//! Why each step: the data is synced before the rename so that the name never leads to less than
//! all bytes; the folder is synced after it because a rename lives in the folder, not in the file.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Writes `bytes` beside `path`, syncs, renames over `path`, syncs the folder. `temporary` must be
/// on the same file system and used by nobody else.
///
/// # Errors
/// What the file system says; then `path` is as before.
pub fn replace(path: &Path, temporary: &Path, bytes: &[u8]) -> io::Result<()> {
    let written = write_and_rename(path, temporary, bytes);
    if written.is_err() {
        // What is left of it is swept at the next start if this fails too.
        let _ = fs::remove_file(temporary);
    }
    written?;
    sync_folder_of(path)
}

fn write_and_rename(path: &Path, temporary: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(temporary, path)
}

/// Syncs the folder that holds `path`.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    sync_folder(path.parent().unwrap_or_else(|| Path::new("/")))
}

/// Syncs the names in a folder.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}

/// Creates a folder and its missing parents, each synced into the folder above it.
pub(crate) fn create_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() || folder.as_os_str().is_empty() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        create_folders(parent)?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        // Made by another thread meanwhile: sync all the same, it may not have done so yet.
        _ => {}
    }
    sync_folder_of(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_replacement_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let (path, temporary) = (dir.path().join("a"), dir.path().join("a.tmp"));
        replace(&path, &temporary, b"old").unwrap();
        let occupied = dir.path().join("folder");
        create_folders(&occupied.join("deep/er")).unwrap();
        assert!(replace(&occupied, &temporary, b"new").is_err(), "a file can't replace a folder");
        assert!(!temporary.exists());
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }
}
