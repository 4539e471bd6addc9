//! The last rung of the ladder: data that can't be read, or lost something, is tried once more without
//! its snapshot, which sled rebuilds from its log. Always on a copy: the original stays as it is.
//!
//! A copy that opens and has what the marker says takes the original's place; the original goes to
//! `aside/`. The swap is two renames, and [`finish_swap`] does the second after a crash between them.

use super::marker::Marker;
use super::sled_open::{data_folder, free_bytes, open_data};
use super::sled_store::SledOptions;
use super::sled_tree::SledTree;
use super::{OpenError, Seq, atomic_file};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Bytes that a copy must leave free.
const MARGIN_BYTES: u64 = 16 * 1024 * 1024;

/// A copy that is being tried.
fn trial_folder(dir: &Path) -> PathBuf {
    dir.join("sled.trial")
}

/// A copy that was found whole.
fn next_folder(dir: &Path) -> PathBuf {
    dir.join("sled.next")
}

/// Tries a copy; gives back `reason` if that is no help.
pub(super) fn open(
    dir: &Path,
    options: &SledOptions,
    marker: Option<&Marker>,
    reason: OpenError,
) -> Result<(SledTree, String, Seq), OpenError> {
    let (data, trial) = (data_folder(dir), trial_folder(dir));
    // Without a marker nothing says whether a copy that opens has everything.
    if marker.is_none() || !has_snapshot(&data)? {
        return Err(reason);
    }
    remove(&trial)?;
    let needed_bytes = bytes_in(&data)? + MARGIN_BYTES;
    if free_bytes(dir)? < needed_bytes {
        tracing::error!(%reason, needed_bytes, "the data can't be opened, and there is no room to try a copy without its snapshot");
        return Err(reason);
    }
    tracing::error!(%reason, "the data can't be opened; trying a copy without its snapshot");
    copy(&data, &trial)?;
    let tried = open_data(&trial, options, marker).map(drop);
    if let Err(error) = tried {
        tracing::error!(%error, "the copy is no help; the data stays as it was");
        remove(&trial)?;
        return Err(reason);
    }
    swap(dir)?;
    open_data(&data, options, marker)
}

/// Puts a copy that was found whole in its place, if a crash came between.
pub(super) fn finish_swap(dir: &Path) -> io::Result<()> {
    let (data, next) = (data_folder(dir), next_folder(dir));
    if !next.exists() {
        return Ok(());
    }
    if data.exists() {
        return remove(&next);
    }
    fs::rename(next, data)?;
    atomic_file::sync_folder(dir)
}

fn swap(dir: &Path) -> io::Result<()> {
    let (data, next) = (data_folder(dir), next_folder(dir));
    sync_all(&trial_folder(dir))?;
    fs::rename(trial_folder(dir), &next)?;
    atomic_file::sync_folder(dir)?;
    let aside = dir.join("aside").join(seconds_since_1970().to_string());
    atomic_file::create_folders(&aside)?;
    fs::rename(&data, aside.join("sled"))?;
    atomic_file::sync_folder(&aside)?;
    fs::rename(next, data)?;
    atomic_file::sync_folder(dir)?;
    tracing::error!(aside = %aside.display(), "the copy is whole and takes the data's place; the damaged data is kept");
    Ok(())
}

fn is_snapshot(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("snap."))
}

fn paths_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

fn has_snapshot(folder: &Path) -> io::Result<bool> {
    Ok(paths_in(folder)?.iter().any(|path| is_snapshot(path)))
}

fn bytes_in(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for path in paths_in(folder)? {
        bytes += if path.is_dir() { bytes_in(&path)? } else { fs::metadata(&path)?.len() };
    }
    Ok(bytes)
}

/// Everything but snapshots.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    atomic_file::create_folders(to)?;
    for path in paths_in(from)?.iter().filter(|path| !is_snapshot(path)) {
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() { copy(path, &target)? } else { fs::copy(path, target).map(drop)? }
    }
    Ok(())
}

fn sync_all(folder: &Path) -> io::Result<()> {
    for path in paths_in(folder)? {
        if path.is_dir() { sync_all(&path)? } else { File::open(&path)?.sync_all()? }
    }
    atomic_file::sync_folder(folder)
}

/// Removes a copy of our own.
fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
