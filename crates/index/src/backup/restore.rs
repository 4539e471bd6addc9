//! The way back: the whole backup is checked first, then applied beside its place, then moved there.

use super::file::{Kind, Reader};
use super::{BackupError, BackupSummary};
use crate::blobs::{BlobId, Blobs};
use crate::keys;
use crate::store::{Batch, SledOptions, SledStore, Store, atomic_file, journal};
use crate::verify::{blob_folder, store_folder};
use corpus::TenantId;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Where a restore works below the data directory. While it is there the restore has not ended.
const UNFINISHED: &str = "restoring";

/// The folder that says that a restore into `data` was interrupted, if one was: a server must not
/// start on what is there.
#[must_use]
pub fn unfinished(data: &Path) -> Option<PathBuf> {
    Some(data.join(UNFINISHED)).filter(|folder| folder.exists())
}

/// Reads the whole backup and checks every checksum, count and file in it.
///
/// # Errors
/// [`BackupError::Damaged`], `Io`.
pub fn check(path: &Path) -> Result<BackupSummary, BackupError> {
    let mut reader = Reader::open(path)?;
    let (mut counted, mut end) = (BackupSummary::default(), None);
    let mut file: Option<Incoming> = None;
    while let Some((kind, payload)) = reader.next()? {
        if end.is_some() {
            return Err(reader.damaged("there is something behind its end"));
        }
        if kind != Kind::Bytes && file.as_ref().is_some_and(|file| !file.is_whole()) {
            return Err(reader.damaged("a file in it is cut off"));
        }
        match kind {
            Kind::About => {}
            Kind::Pairs => counted.pairs += batch_of(&reader, &payload)?.len() as u64,
            Kind::Commit => counted.commits += u64::from(batch_of(&reader, &payload).map(|_| true)?),
            Kind::File => {
                file = Some(Incoming::begin(&reader, &payload)?);
                counted.blobs += 1;
            }
            Kind::Bytes => file.as_mut().ok_or_else(|| reader.damaged("bytes of no file"))?.take(&reader, &payload)?,
            Kind::End => end = serde_json::from_slice::<BackupSummary>(&payload).ok(),
        }
    }
    let Some(end) = end else { return Err(reader.damaged("it has no end")) };
    counted.seq = end.seq;
    if counted != end {
        return Err(reader.damaged(format!("it says {end:?} and holds {counted:?}")));
    }
    Ok(BackupSummary { bytes: fs::metadata(path)?.len(), sha256: sha256_of(path)?, ..end })
}

/// Makes a data directory from a backup. The views are not in it: they are built at the first start.
/// Nothing is written before the whole backup was checked, and nothing is in place before all is.
///
/// # Errors
/// [`BackupError::NotEmpty`] if there is something in `data`; [`BackupError::Damaged`]; what the store says.
pub fn restore(path: &Path, data: &Path) -> Result<BackupSummary, BackupError> {
    let summary = check(path)?;
    atomic_file::create_folders(data)?;
    if fs::read_dir(data)?.next().is_some() {
        return Err(BackupError::NotEmpty(data.to_owned()));
    }
    let beside = data.join(UNFINISHED);
    atomic_file::create_folders(&beside)?;
    let store = SledStore::open(store_folder(&beside), &SledOptions { reserve_bytes: 0, ..SledOptions::default() })?;
    apply_changes(path, &store)?;
    put_files(path, &store, &Blobs::open(blob_folder(&beside))?)?;
    store.close()?;
    drop(store);
    fs::rename(blob_folder(&beside), blob_folder(data))?;
    fs::rename(store_folder(&beside), store_folder(data))?;
    atomic_file::sync_folder(data)?;
    fs::remove_dir(&beside)?;
    atomic_file::sync_folder(data)?;
    Ok(summary)
}

fn apply_changes(path: &Path, store: &SledStore) -> Result<(), BackupError> {
    let mut reader = Reader::open(path)?;
    while let Some((kind, payload)) = reader.next()? {
        if matches!(kind, Kind::Pairs | Kind::Commit) {
            store.commit(batch_of(&reader, &payload)?)?;
        }
    }
    Ok(store.durable(store.stats().seq)?)
}

/// A file whose use ended while the backup was made is left out.
fn put_files(path: &Path, store: &SledStore, blobs: &Blobs) -> Result<(), BackupError> {
    let mut reader = Reader::open(path)?;
    let mut file: Option<Incoming> = None;
    while let Some((kind, payload)) = reader.next()? {
        match kind {
            Kind::File => file = Some(Incoming::begin(&reader, &payload)?),
            Kind::Bytes => file.as_mut().ok_or_else(|| reader.damaged("bytes of no file"))?.take(&reader, &payload)?,
            _ => {}
        }
        // An empty file has no bytes to wait for.
        if let Some(whole) = file.take_if(|file| file.is_whole())
            && !store.scan(&keys::blob_uses(&whole.tenant, &whole.blob), None, 1)?.is_empty()
        {
            blobs.put(&whole.tenant, &whole.content)?;
        }
    }
    Ok(())
}

fn batch_of(reader: &Reader, changes: &[u8]) -> Result<Batch, BackupError> {
    let mut batch = Batch::default();
    for (key, value) in journal::read(changes).ok_or_else(|| reader.damaged("its changes can't be read"))? {
        match value {
            Some(value) => batch.put(key, value),
            None => batch.delete(key),
        }
    }
    batch.check()?;
    Ok(batch)
}

/// A file on its way; at most as long as an original or a text may be.
struct Incoming {
    tenant: TenantId,
    blob: BlobId,
    bytes: usize,
    content: Vec<u8>,
}

impl Incoming {
    fn begin(reader: &Reader, payload: &[u8]) -> Result<Self, BackupError> {
        let text = String::from_utf8_lossy(payload);
        let mut parts = text.split('\0');
        let mut next = || parts.next().unwrap_or_default();
        match (next().parse(), next().parse(), next().parse()) {
            (Ok(tenant), Ok(blob), Ok(bytes)) => Ok(Self { tenant, blob, bytes, content: Vec::new() }),
            _ => Err(reader.damaged("a file in it has no name")),
        }
    }

    fn take(&mut self, reader: &Reader, bytes: &[u8]) -> Result<(), BackupError> {
        self.content.extend(bytes);
        let is_wrong = self.is_whole() && BlobId::of(&self.content) != self.blob;
        if is_wrong || self.content.len() > self.bytes { Err(reader.damaged("a file in it is not what its name says")) } else { Ok(()) }
    }

    fn is_whole(&self) -> bool {
        self.content.len() == self.bytes
    }
}

fn sha256_of(path: &Path) -> io::Result<String> {
    use sha2::{Digest, Sha256};
    let (mut file, mut hash) = (File::open(path)?, Sha256::new());
    let mut buffer = vec![0; crate::blobs::BUFFER_BYTES];
    loop {
        let read = file.read(&mut buffer)?;
        let Some(some) = buffer.get(..read).filter(|some| !some.is_empty()) else { break };
        hash.update(some);
    }
    Ok(BlobId::from_digest(&hash.finalize()).to_string())
}
