//! A file that holds space back: on a full disk sled can't even open, so it is given up then, and made
//! again when there is room.

use super::sled_open::free_bytes;
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Bytes of the file: what opening and finishing an interrupted group may take.
pub(crate) const RESERVE_BYTES: u64 = 16 * 1024 * 1024;

fn path(dir: &Path) -> PathBuf {
    dir.join("store.reserve")
}

/// Makes the file unless it is there, if that leaves as much again free above `floor_bytes`. Returns
/// whether it is there.
pub(crate) fn make(dir: &Path, floor_bytes: u64) -> bool {
    if is_whole(dir) {
        return true;
    }
    let has_room = free_bytes(dir).is_ok_and(|free| free >= floor_bytes.saturating_add(2 * RESERVE_BYTES));
    if !has_room {
        return false;
    }
    match write(&path(dir)) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, "no space could be held back for a full disk");
            give_up(dir);
            false
        }
    }
}

/// Frees the space. Returns whether there was any.
pub(crate) fn give_up(dir: &Path) -> bool {
    fs::remove_file(path(dir)).is_ok()
}

fn is_whole(dir: &Path) -> bool {
    fs::metadata(path(dir)).is_ok_and(|file| file.len() == RESERVE_BYTES)
}

fn write(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    match fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES) {
        Ok(()) => {}
        Err(rustix::io::Errno::OPNOTSUPP) => {
            let zeros = vec![0; 1024 * 1024];
            (0..RESERVE_BYTES / zeros.len() as u64).try_for_each(|_| file.write_all(&zeros))?;
        }
        Err(error) => return Err(error.into()),
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_space_is_held_given_up_and_held_again() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!make(dir.path(), u64::MAX), "no room above the floor");
        assert!(make(dir.path(), 0) && make(dir.path(), u64::MAX), "once there it stays");
        let held = fs::metadata(path(dir.path())).unwrap();
        assert_eq!(held.len(), RESERVE_BYTES);
        assert!(std::os::unix::fs::MetadataExt::blocks(&held) * 512 >= RESERVE_BYTES, "real space, no hole");
        assert!(give_up(dir.path()) && !give_up(dir.path()));
        fs::write(path(dir.path()), b"cut").unwrap();
        assert!(make(dir.path(), 0) && is_whole(dir.path()));
    }
}
