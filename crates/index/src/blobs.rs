//! Originals and extracted texts, as files named by what they contain.
//!
//! Layout: `<dir>/<tenant>/<first two hex digits>/<sha256>`; `<dir>/.tmp/` (no tenant can have that name) holds files being written.
//!
//! Invariants: under a hash there is the whole content or nothing; what `put` returned for survives
//! a power cut; `get` never returns bytes that don't match their name. Why files and not the store:
//! the store rewrites its values as it goes along, which large ones make expensive.

use crate::store::{atomic_file, free_bytes};
use corpus::TenantId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

const TEMPORARY: &str = ".tmp";
/// Bytes read at a time where a file is only hashed or copied.
pub(crate) const BUFFER_BYTES: usize = 256 * 1024;
/// Removals that a hold remembers.
const PUT_OFF_MAX: usize = 1_000_000;

/// Names a content: its sha256 as 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlobId(String);

impl BlobId {
    /// The id of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_digest(&Sha256::digest(bytes))
    }

    /// The id that a sha256 stands for.
    pub(crate) fn from_digest(digest: &[u8]) -> Self {
        Self(digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a string can't fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        }))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BlobId {
    type Err = BlobError;
    fn from_str(text: &str) -> Result<Self, BlobError> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 64 && text.bytes().all(is_hex) { Ok(Self(text.to_owned())) } else { Err(BlobError::Malformed(text.to_owned())) }
    }
}

impl TryFrom<String> for BlobId {
    type Error = BlobError;
    fn try_from(text: String) -> Result<Self, BlobError> {
        text.parse()
    }
}

impl From<BlobId> for String {
    fn from(id: BlobId) -> String {
        id.0
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a file can't be kept or had.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Not a sha256 in hex.
    #[error("{0:?} is not the name of a stored file")]
    Malformed(String),
    /// No such file.
    #[error("the stored file {id} of tenant {tenant} is missing")]
    Missing {
        /// Whose it would be.
        tenant: TenantId,
        /// Its name.
        id: BlobId,
    },
    /// The content is not what the name says.
    #[error("the stored file {id} of tenant {tenant} is damaged: {bytes} bytes with sha256 {found}")]
    Corrupt {
        /// Whose it is.
        tenant: TenantId,
        /// Its name, the hash it should have.
        id: BlobId,
        /// The hash it has.
        found: BlobId,
        /// Its length.
        bytes: u64,
    },
    /// Too little space left. Nothing was written.
    #[error("the disk is full: {free_bytes} bytes are free, {reserve_bytes} are kept in reserve")]
    Full {
        /// Bytes free for the server.
        free_bytes: u64,
        /// Bytes that are kept free.
        reserve_bytes: u64,
    },
    /// The file system refused.
    #[error("a stored file can't be read or written: {0}")]
    Io(#[from] io::Error),
}

/// A folder of contents.
#[derive(Debug)]
pub struct Blobs {
    dir: PathBuf,
    /// Bytes of disk that stay free.
    reserve_bytes: u64,
    held: Mutex<Held>,
    /// Makes the names of temporary files differ.
    next: AtomicU64,
}

/// Removals that are put off while somebody copies the files.
#[derive(Debug, Default)]
struct Held {
    is_held: bool,
    put_off: BTreeSet<(TenantId, BlobId)>,
}

/// While it lives no file is removed.
#[derive(Debug)]
pub struct BlobHold<'b>(&'b Blobs);

impl BlobHold<'_> {
    /// Ends the hold. Returns what would have been removed meanwhile: the caller looks again whether
    /// it is still unused.
    #[must_use]
    pub fn release(self) -> BTreeSet<(TenantId, BlobId)> {
        let mut held = self.0.held();
        held.is_held = false;
        let put_off = std::mem::take(&mut held.put_off);
        drop(held);
        // Dropping would end a hold that began meanwhile.
        std::mem::forget(self);
        put_off
    }
}

impl Drop for BlobHold<'_> {
    fn drop(&mut self) {
        let mut held = self.0.held();
        held.is_held = false;
        if !held.put_off.is_empty() {
            tracing::warn!(files = held.put_off.len(), "unused files stay behind; `ragstone repair` removes them");
            held.put_off.clear();
        }
    }
}

impl Blobs {
    /// Opens or creates the folder. Nothing is swept: see [`Blobs::sweep_temporary`].
    ///
    /// # Errors
    /// `Io`.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, BlobError> {
        let dir = dir.as_ref().to_owned();
        atomic_file::create_folders(&dir.join(TEMPORARY))?;
        Ok(Self { dir, reserve_bytes: 0, held: Mutex::default(), next: AtomicU64::new(0) })
    }

    /// The same folder, refusing to write what would leave less than so many bytes of disk free.
    #[must_use]
    pub fn with_reserve(self, reserve_bytes: u64) -> Self {
        Self { reserve_bytes, ..self }
    }

    /// Puts off every removal until the hold is released; `None` while there is another hold.
    #[must_use]
    pub fn hold(&self) -> Option<BlobHold<'_>> {
        let mut held = self.held();
        if held.is_held {
            return None;
        }
        held.is_held = true;
        Some(BlobHold(self))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the bytes; they survive a power cut on return. The same bytes again write nothing, but
    /// a file of another length under their name is damaged and replaced.
    ///
    /// # Errors
    /// `Io`: nothing was kept.
    pub fn put(&self, tenant: &TenantId, bytes: &[u8]) -> Result<BlobId, BlobError> {
        let id = BlobId::of(bytes);
        let path = self.path(tenant, &id);
        if self.len(tenant, &id)? == Some(bytes.len() as u64) {
            // Another thread may have renamed it there and not yet synced the folder.
            atomic_file::sync_folder_of(&path)?;
            return Ok(id);
        }
        self.check_room(bytes.len() as u64)?;
        if let Some(folder) = path.parent() {
            atomic_file::create_folders(folder)?;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let temporary = self.dir.join(TEMPORARY).join(format!("{}-{number}", std::process::id()));
        atomic_file::replace(&path, &temporary, bytes)?;
        Ok(id)
    }

    fn check_room(&self, bytes: u64) -> Result<(), BlobError> {
        let (free_bytes, reserve_bytes) = (free_bytes(&self.dir)?, self.reserve_bytes);
        if free_bytes < reserve_bytes.saturating_add(bytes) { Err(BlobError::Full { free_bytes, reserve_bytes }) } else { Ok(()) }
    }

    /// Hashes the file without holding it in memory; its length.
    ///
    /// # Errors
    /// `Missing`, `Corrupt`, `Io`.
    pub fn check(&self, tenant: &TenantId, id: &BlobId) -> Result<u64, BlobError> {
        let mut file = self.file(tenant, id)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut bytes = 0;
        loop {
            let read = file.read(&mut buffer)?;
            let Some(some) = buffer.get(..read).filter(|some| !some.is_empty()) else { break };
            hash.update(some);
            bytes += read as u64;
        }
        let found = BlobId::from_digest(&hash.finalize());
        if found == *id { Ok(bytes) } else { Err(BlobError::Corrupt { tenant: tenant.clone(), id: id.clone(), found, bytes }) }
    }

    /// The file itself, open for reading. Its content is not checked.
    ///
    /// # Errors
    /// `Missing`, `Io`.
    pub fn file(&self, tenant: &TenantId, id: &BlobId) -> Result<fs::File, BlobError> {
        match fs::File::open(self.path(tenant, id)) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(BlobError::Missing { tenant: tenant.clone(), id: id.clone() }),
            Err(error) => Err(error.into()),
        }
    }

    /// Moves a file out of the folder instead of removing it; whether there was one.
    ///
    /// # Errors
    /// `Io`.
    pub fn set_aside(&self, tenant: &TenantId, id: &BlobId, folder: &Path) -> Result<bool, BlobError> {
        atomic_file::create_folders(folder)?;
        match fs::rename(self.path(tenant, id), folder.join(format!("{tenant}-{id}"))) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The bytes, checked against their name.
    ///
    /// # Errors
    /// `Missing`, `Corrupt`, `Io`.
    pub fn get(&self, tenant: &TenantId, id: &BlobId) -> Result<Vec<u8>, BlobError> {
        let bytes = match fs::read(self.path(tenant, id)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BlobError::Missing { tenant: tenant.clone(), id: id.clone() });
            }
            Err(error) => return Err(error.into()),
        };
        let found = BlobId::of(&bytes);
        if found == *id {
            return Ok(bytes);
        }
        Err(BlobError::Corrupt { tenant: tenant.clone(), id: id.clone(), found, bytes: bytes.len() as u64 })
    }

    /// Bytes of the file, if there is one. The content is not looked at.
    ///
    /// # Errors
    /// `Io`.
    pub fn len(&self, tenant: &TenantId, id: &BlobId) -> Result<Option<u64>, BlobError> {
        match fs::metadata(self.path(tenant, id)) {
            Ok(file) => Ok(Some(file.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether there is such a file. The content is not looked at; a file that can't be asked about counts as absent.
    #[must_use]
    pub fn exists(&self, tenant: &TenantId, id: &BlobId) -> bool {
        matches!(self.len(tenant, id), Ok(Some(_)))
    }

    /// Removes the file; whether there was one and it is gone. After a power cut it may be back, which
    /// wastes space and nothing else. During a [`Blobs::hold`] it stays for the time being.
    ///
    /// # Errors
    /// `Io`.
    pub fn remove(&self, tenant: &TenantId, id: &BlobId) -> Result<bool, BlobError> {
        let mut held = self.held();
        if held.is_held {
            // Above the limit it is left behind, for housekeeping or a repair to find.
            if held.put_off.len() < PUT_OFF_MAX {
                held.put_off.insert((tenant.clone(), id.clone()));
            }
            return Ok(false);
        }
        match fs::remove_file(self.path(tenant, id)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The tenant's files in order of their names. Files with other names are passed over.
    ///
    /// # Errors
    /// `Io`.
    pub fn list(&self, tenant: &TenantId) -> Result<Vec<BlobId>, BlobError> {
        let mut ids = Vec::new();
        for folder in names_in(&self.dir.join(tenant.as_str()))? {
            let folder = self.dir.join(tenant.as_str()).join(folder);
            if folder.is_dir() {
                ids.extend(names_in(&folder)?.iter().filter_map(|name| name.parse().ok()));
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// Calls `visit` with every file, tenant by tenant in order of their names, one subfolder in
    /// memory at a time. Files with other names are passed over.
    ///
    /// # Errors
    /// `Io`, and what `visit` returns.
    pub fn each<E: From<BlobError>>(&self, mut visit: impl FnMut(&TenantId, &BlobId, &Path) -> Result<(), E>) -> Result<(), E> {
        for tenant in sorted_names_in(&self.dir)?.iter().filter_map(|name| name.parse::<TenantId>().ok()) {
            let folder = self.dir.join(tenant.as_str());
            for shard in sorted_names_in(&folder)?.iter().map(|name| folder.join(name)).filter(|shard| shard.is_dir()) {
                for name in sorted_names_in(&shard)? {
                    if let Ok(id) = name.parse() {
                        visit(&tenant, &id, &shard.join(name))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// What a crash left half-written.
    ///
    /// # Errors
    /// `Io`.
    pub fn temporary(&self) -> Result<Vec<PathBuf>, BlobError> {
        let folder = self.dir.join(TEMPORARY);
        Ok(names_in(&folder)?.iter().map(|name| folder.join(name)).collect())
    }

    /// Every tenant's folders of files, to go through them one by one.
    ///
    /// # Errors
    /// `Io`.
    pub fn shards(&self) -> Result<Vec<(TenantId, String)>, BlobError> {
        let mut shards = Vec::new();
        for tenant in names_in(&self.dir)?.iter().filter_map(|name| name.parse::<TenantId>().ok()) {
            let names = names_in(&self.dir.join(tenant.as_str()))?;
            shards.extend(names.into_iter().filter(|name| name.len() == 2).map(|shard| (tenant.clone(), shard)));
        }
        Ok(shards)
    }

    /// Files of one folder of [`Blobs::shards`] that were written before that moment. One that vanishes
    /// meanwhile is passed over.
    ///
    /// # Errors
    /// `Io`.
    pub fn written_before(&self, tenant: &TenantId, shard: &str, moment: SystemTime) -> Result<Vec<BlobId>, BlobError> {
        let folder = self.dir.join(tenant.as_str()).join(shard);
        let mut ids = Vec::new();
        for name in names_in(&folder)? {
            let Ok(id) = name.parse::<BlobId>() else { continue };
            match fs::metadata(folder.join(&name)).and_then(|file| file.modified()) {
                Ok(written) if written < moment => ids.push(id),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(ids)
    }

    /// Removes what a crash left half-written; how many files. Call it once at start, before any `put`.
    ///
    /// # Errors
    /// `Io`.
    pub fn sweep_temporary(&self) -> Result<usize, BlobError> {
        let left = self.temporary()?;
        for path in &left {
            fs::remove_file(path)?;
        }
        Ok(left.len())
    }

    fn path(&self, tenant: &TenantId, id: &BlobId) -> PathBuf {
        let shard = id.0.get(..2).unwrap_or_default();
        self.dir.join(tenant.as_str()).join(shard).join(&id.0)
    }
}

fn sorted_names_in(folder: &Path) -> Result<Vec<String>, BlobError> {
    let mut names = names_in(folder)?;
    names.sort();
    Ok(names)
}

/// Names in a folder; none if it isn't there.
fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> (tempfile::TempDir, Blobs, TenantId) {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path().join("deep/blobs")).unwrap();
        (dir, blobs, TenantId::default())
    }

    #[test]
    fn bytes_come_back_under_their_hash() {
        let (_dir, blobs, tenant) = fresh();
        let id = blobs.put(&tenant, b"abc").unwrap();
        // The example of FIPS 180-2, appendix B.1.
        assert_eq!(id.as_str(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(blobs.path(&tenant, &id).ends_with(format!("default/ba/{id}")));
        assert_eq!(blobs.get(&tenant, &id).unwrap(), b"abc");
        assert_eq!(blobs.len(&tenant, &id).unwrap(), Some(3));
        let empty = blobs.put(&tenant, b"").unwrap();
        assert_eq!(blobs.get(&tenant, &empty).unwrap(), b"");
        assert_eq!(blobs.list(&tenant).unwrap(), [id.clone(), empty]);
        assert!(blobs.remove(&tenant, &id).unwrap() && !blobs.remove(&tenant, &id).unwrap());
        assert!(!blobs.exists(&tenant, &id));
        assert!(matches!(blobs.get(&tenant, &id), Err(BlobError::Missing { .. })));
        assert!(names_in(&blobs.dir.join(TEMPORARY)).unwrap().is_empty());
    }

    #[test]
    fn the_same_bytes_again_write_nothing_and_a_cut_file_is_replaced() {
        let (_dir, blobs, tenant) = fresh();
        let id = blobs.put(&tenant, b"same").unwrap();
        let path = blobs.path(&tenant, &id);
        let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(&path).unwrap());
        let before = inode();
        assert_eq!(blobs.put(&tenant, b"same").unwrap(), id);
        assert_eq!(inode(), before);
        fs::write(&path, b"sam").unwrap();
        assert_eq!(blobs.put(&tenant, b"same").unwrap(), id);
        assert_eq!(blobs.get(&tenant, &id).unwrap(), b"same");
    }

    #[test]
    fn damaged_bytes_are_not_served() {
        let (_dir, blobs, tenant) = fresh();
        let id = blobs.put(&tenant, b"good").unwrap();
        fs::write(blobs.path(&tenant, &id), b"evil").unwrap();
        assert!(matches!(blobs.get(&tenant, &id), Err(BlobError::Corrupt { bytes: 4, .. })));
    }

    #[test]
    fn tenants_are_apart_and_names_can_not_leave_the_folder() {
        let (_dir, blobs, tenant) = fresh();
        let id = blobs.put(&tenant, b"mine").unwrap();
        let other: TenantId = "other".parse().unwrap();
        assert!(!blobs.exists(&other, &id) && blobs.list(&other).unwrap().is_empty());
        assert!(matches!("../../etc/passwd".parse::<BlobId>(), Err(BlobError::Malformed(_))));
        assert!(id.as_str().to_uppercase().parse::<BlobId>().is_err());
        assert!(serde_json::from_str::<BlobId>("\"ab\"").is_err());
    }

    #[test]
    fn files_are_listed_by_folder_and_age() {
        let (_dir, blobs, tenant) = fresh();
        let id = blobs.put(&tenant, b"abc").unwrap();
        let shards = blobs.shards().unwrap();
        assert_eq!(shards, [(tenant.clone(), "ba".to_owned())]);
        let hour = std::time::Duration::from_secs(3600);
        assert_eq!(blobs.written_before(&tenant, "ba", SystemTime::now() + hour).unwrap(), [id]);
        assert!(blobs.written_before(&tenant, "ba", SystemTime::now() - hour).unwrap().is_empty());
        assert!(blobs.written_before(&tenant, "00", SystemTime::now() + hour).unwrap().is_empty());
    }

    #[test]
    fn what_a_crash_left_is_swept() {
        let (_dir, blobs, tenant) = fresh();
        fs::write(blobs.dir.join(TEMPORARY).join("1-0"), b"half").unwrap();
        assert!(blobs.list(&tenant).unwrap().is_empty());
        assert_eq!((blobs.sweep_temporary().unwrap(), blobs.sweep_temporary().unwrap()), (1, 0));
    }

    #[test]
    fn nothing_is_written_below_the_floor() {
        let (_dir, blobs, tenant) = fresh();
        let known = blobs.put(&tenant, b"known").unwrap();
        let blobs = blobs.with_reserve(u64::MAX);
        assert!(matches!(blobs.put(&tenant, b"new"), Err(BlobError::Full { reserve_bytes: u64::MAX, .. })));
        assert_eq!(blobs.put(&tenant, b"known").unwrap(), known, "nothing to write");
        assert!(blobs.remove(&tenant, &known).unwrap(), "room can be made");
    }

    #[test]
    fn while_files_are_held_none_goes() {
        let (_dir, blobs, tenant) = fresh();
        let id = blobs.put(&tenant, b"held").unwrap();
        let hold = blobs.hold().unwrap();
        assert!(blobs.hold().is_none(), "one at a time");
        assert!(!blobs.remove(&tenant, &id).unwrap() && blobs.exists(&tenant, &id));
        assert_eq!(hold.release().into_iter().collect::<Vec<_>>(), [(tenant.clone(), id.clone())]);
        assert!(blobs.remove(&tenant, &id).unwrap());
        drop(blobs.hold().unwrap());
        assert!(blobs.hold().is_some_and(|hold| hold.release().is_empty()));
    }

    #[test]
    fn files_are_checked_and_visited_without_reading_them_whole() {
        let (dir, blobs, tenant) = fresh();
        let mut ids: Vec<_> = (0..9_u8).map(|n| blobs.put(&tenant, &vec![n; BUFFER_BYTES + 7]).unwrap()).collect();
        fs::write(dir.path().join("deep/blobs/default/stranger"), b"").unwrap();
        let mut seen = Vec::new();
        let visited: Result<(), BlobError> = blobs.each(|_, id, path| {
            assert!(path.ends_with(id.as_str()));
            seen.push(id.clone());
            Ok(())
        });
        visited.unwrap();
        ids.sort();
        assert_eq!(seen, ids);
        assert_eq!(blobs.check(&tenant, &ids[0]).unwrap(), BUFFER_BYTES as u64 + 7);
        fs::write(blobs.path(&tenant, &ids[1]), b"cut").unwrap();
        assert!(matches!(blobs.check(&tenant, &ids[1]), Err(BlobError::Corrupt { bytes: 3, .. })));
        assert!(blobs.set_aside(&tenant, &ids[1], &dir.path().join("aside")).unwrap() && !blobs.exists(&tenant, &ids[1]));
        assert!(matches!(blobs.check(&tenant, &ids[1]), Err(BlobError::Missing { .. })));
    }

    #[test]
    fn eight_threads_may_put_the_same_bytes() {
        let (_dir, blobs, tenant) = fresh();
        let ids: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| blobs.put(&tenant, &[7; 9999]).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]));
        assert_eq!(blobs.get(&tenant, &ids[0]).unwrap(), [7; 9999]);
    }
}
