//! Originals and extracted texts, as files named by what they contain.
//!
//! Layout: `<dir>/<tenant>/<first two hex digits>/<sha256>`; `<dir>/.tmp/` (no tenant can have that name) holds files being written.
//!
//! Invariants: under a hash there is the whole content or nothing; what `put` returned for survives
//! a power cut; `get` never returns bytes that don't match their name. Why files and not the store:
//! the store rewrites its values as it goes along, which large ones make expensive.

use crate::store::atomic_file;
use corpus::TenantId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::{self, Write as _};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

const TEMPORARY: &str = ".tmp";

/// Names a content: its sha256 as 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlobId(String);

impl BlobId {
    /// The id of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
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
    /// The file system refused.
    #[error("a stored file can't be read or written: {0}")]
    Io(#[from] io::Error),
}

/// A folder of contents.
#[derive(Debug)]
pub struct Blobs {
    dir: PathBuf,
    /// Makes the names of temporary files differ.
    next: AtomicU64,
}

impl Blobs {
    /// Opens or creates the folder. Nothing is swept: see [`Blobs::sweep_temporary`].
    ///
    /// # Errors
    /// `Io`.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, BlobError> {
        let dir = dir.as_ref().to_owned();
        atomic_file::create_folders(&dir.join(TEMPORARY))?;
        Ok(Self { dir, next: AtomicU64::new(0) })
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
        if let Some(folder) = path.parent() {
            atomic_file::create_folders(folder)?;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let temporary = self.dir.join(TEMPORARY).join(format!("{}-{number}", std::process::id()));
        atomic_file::replace(&path, &temporary, bytes)?;
        Ok(id)
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

    /// Removes the file; whether there was one. After a power cut it may be back, which wastes space
    /// and nothing else.
    ///
    /// # Errors
    /// `Io`.
    pub fn remove(&self, tenant: &TenantId, id: &BlobId) -> Result<bool, BlobError> {
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
        let folder = self.dir.join(TEMPORARY);
        let names = names_in(&folder)?;
        for name in &names {
            fs::remove_file(folder.join(name))?;
        }
        Ok(names.len())
    }

    fn path(&self, tenant: &TenantId, id: &BlobId) -> PathBuf {
        let shard = id.0.get(..2).unwrap_or_default();
        self.dir.join(tenant.as_str()).join(shard).join(&id.0)
    }
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
