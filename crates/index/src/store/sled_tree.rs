//! The one sled tree: its key spaces, and how a group of commits gets into it.
//!
//! Keys: `0x01 ‖ key` is the caller's; `0x00 ‖ name` is the store's own (id, format, journal).
//! Every value, own ones included, is in an envelope.
//!
//! Invariant: a group is applied between its journal header and the `applied` entry. Whoever opens
//! the tree and finds a header newer than `applied` applies that group again; doing so twice
//! changes nothing.

use super::journal::{self, Change, Header};
use super::{EnvelopeError, Pair, Seq, StoreError, envelope};
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

const OWN: u8 = 0;
const RECORDS: u8 = 1;
const ID: &[u8] = b"\0id";
const FORMAT: &[u8] = b"\0format";
const HEADER: &[u8] = b"\0journal";
const APPLIED: &[u8] = b"\0applied";
const PART: &[u8] = b"\0part";

/// Parts of the journal that stay in the tree to be written over; those of a larger group are removed.
const PARTS_KEPT: u64 = 256;

/// A key and its payload, or why it isn't one.
pub(crate) type Found = (Vec<u8>, Result<Vec<u8>, EnvelopeError>);

/// A handle on the tree; clones are the same tree.
#[derive(Clone)]
pub(crate) struct SledTree(pub(crate) sled::Db);

impl SledTree {
    /// The store's id and format, unless the tree is new.
    pub(crate) fn identity(&self) -> Result<Option<(String, u32)>, StoreError> {
        let (Some(id), Some(format)) = (self.own(ID)?, self.own(FORMAT)?) else { return Ok(None) };
        let format = format.try_into().map_err(|_| StoreError::Damaged("the format entry has a wrong length".into()))?;
        Ok(Some((String::from_utf8_lossy(&id).into_owned(), u32::from_le_bytes(format))))
    }

    pub(crate) fn set_identity(&self, id: &str, format: u32) -> Result<(), StoreError> {
        self.insert(FORMAT, &format.to_le_bytes())?;
        self.insert(ID, id.as_bytes())
    }

    /// Finishes the group that a crash interrupted and returns the number of the last commit.
    pub(crate) fn recover(&self) -> Result<Seq, StoreError> {
        let applied = match self.own(APPLIED)? {
            Some(bytes) => {
                u64::from_le_bytes(bytes.try_into().map_err(|_| StoreError::Damaged("the applied entry has a wrong length".into()))?)
            }
            None => 0,
        };
        let Some(header) = self.own(HEADER)? else { return Ok(applied) };
        let header = Header::decode(&header).ok_or_else(|| StoreError::Damaged("the journal header has a wrong length".into()))?;
        if header.seq <= applied {
            return Ok(applied);
        }
        let group = self.read_journal(&header)?;
        tracing::info!(applied, journal = header.seq, "finishing the group of commits that was interrupted");
        self.apply(&changes_of(&group)?, header.seq)?;
        Ok(header.seq)
    }

    fn read_journal(&self, header: &Header) -> Result<Vec<u8>, StoreError> {
        let mut group = Vec::new();
        for part in 0..header.parts() {
            group.extend(self.own(&part_key(part))?.unwrap_or_default());
        }
        if header.fits(&group) { Ok(group) } else { Err(StoreError::Damaged("the journal doesn't fit its checksum".into())) }
    }

    /// Writes a group down. Readers see nothing of it yet.
    pub(crate) fn write_journal(&self, group: &[u8], seq: Seq) -> Result<(), StoreError> {
        for (part, bytes) in (0..).zip(group.chunks(journal::PART_BYTES)) {
            self.insert(&part_key(part), bytes)?;
        }
        self.insert(HEADER, &Header::of(seq, group).encode())
    }

    /// Applies a group that is written down. The caller keeps readers out meanwhile.
    pub(crate) fn apply(&self, changes: &[Change<'_>], seq: Seq) -> Result<(), StoreError> {
        for (key, value) in changes {
            match value {
                Some(value) => drop(self.0.insert(record_key(key), envelope::encode(key, value)).map_err(failed)?),
                None => drop(self.0.remove(record_key(key)).map_err(failed)?),
            }
        }
        self.insert(APPLIED, &seq.to_le_bytes())
    }

    /// Gives back the space of a large group's journal. A crash before the end leaves parts that nothing reads.
    pub(crate) fn trim_journal(&self, group: &[u8]) -> Result<(), StoreError> {
        let parts = group.len().div_ceil(journal::PART_BYTES) as u64;
        (PARTS_KEPT..parts).try_for_each(|part| self.0.remove(part_key(part)).map(drop).map_err(failed))
    }

    /// The value of a caller's key.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.0.get(record_key(key)).map_err(failed)?;
        value.map(|value| open_envelope(key, &value)).transpose()
    }

    /// Up to `limit` pairs with `prefix`, behind `after`; values that don't fit are passed on as such.
    pub(crate) fn read(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> impl Iterator<Item = Result<Found, StoreError>> {
        let prefix = record_key(prefix);
        // The first key greater than `after` is `after` with a zero byte behind it.
        let start = match after.map(|after| [&record_key(after)[..], &[0]].concat()) {
            Some(after) if after > prefix => after,
            _ => prefix.clone(),
        };
        let pairs = self.0.range(start..).take_while(move |pair| pair.as_ref().map_or(true, |(key, _)| key.starts_with(&prefix)));
        pairs.take(limit).map(|pair| {
            let (key, value) = pair.map_err(failed)?;
            let key = key.get(1..).unwrap_or_default().to_vec();
            let payload = envelope::decode(&key, &value).map(<[u8]>::to_vec);
            Ok((key, payload))
        })
    }

    /// As [`SledTree::read`], failing at the first value that doesn't fit.
    pub(crate) fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.read(prefix, after, limit)
            .map(|pair| {
                let (key, payload) = pair?;
                let payload = payload.map_err(|reason| StoreError::Corrupt { key: key.clone(), reason })?;
                Ok((key, payload))
            })
            .collect()
    }

    fn own(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        debug_assert_eq!(key.first(), Some(&OWN));
        let value = self.0.get(key).map_err(failed)?;
        value.map(|value| open_envelope(key, &value)).transpose()
    }

    fn insert(&self, key: &[u8], payload: &[u8]) -> Result<(), StoreError> {
        self.0.insert(key, envelope::encode(key, payload)).map(drop).map_err(failed)
    }
}

/// The changes of a group.
pub(crate) fn changes_of(group: &[u8]) -> Result<Vec<Change<'_>>, StoreError> {
    journal::read(group).ok_or_else(|| StoreError::Damaged("the journal can't be read".into()))
}

/// Translates sled's errors, so that none leaves the seam.
pub(crate) fn failed(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(error) => StoreError::Io(error),
        other => StoreError::Damaged(other.to_string()),
    }
}

fn open_envelope(key: &[u8], value: &[u8]) -> Result<Vec<u8>, StoreError> {
    envelope::decode(key, value).map(<[u8]>::to_vec).map_err(|reason| StoreError::Corrupt { key: key.to_vec(), reason })
}

pub(crate) fn record_key(key: &[u8]) -> Vec<u8> {
    [&[RECORDS], key].concat()
}

fn part_key(part: u64) -> Vec<u8> {
    [PART, &part.to_be_bytes()].concat()
}

/// Makes what sled has written survive a power cut: its own flush starts the writing but doesn't
/// make the disk keep it, and pages that it spills into files of their own are never synced.
pub(crate) struct Syncer {
    file: File,
    spill: PathBuf,
    synced: HashSet<OsString>,
}

impl Syncer {
    /// For the sled folder, which must exist. Open it before writing: only an open file learns of
    /// write errors that the kernel met in the background.
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(folder.join("db"))?, spill: folder.join("blobs"), synced: HashSet::new() })
    }

    /// Bytes of sled's main file.
    pub(crate) fn bytes(folder: &Path) -> u64 {
        fs::metadata(folder.join("db")).map_or(0, |file| file.len())
    }

    pub(crate) fn sync(&mut self, tree: &SledTree) -> Result<(), StoreError> {
        tree.0.flush().map_err(failed)?;
        self.sync_spilled()?;
        Ok(self.file.sync_data()?)
    }

    fn sync_spilled(&mut self) -> io::Result<()> {
        let mut present = HashSet::new();
        let mut has_new = false;
        for entry in fs::read_dir(&self.spill)? {
            let entry = entry?;
            if !self.synced.contains(&entry.file_name()) {
                match File::open(entry.path()) {
                    Ok(file) => file.sync_all()?,
                    // Replaced meanwhile: nothing refers to it any more.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
                has_new = true;
            }
            present.insert(entry.file_name());
        }
        self.synced = present;
        if has_new { super::atomic_file::sync_folder(&self.spill) } else { Ok(()) }
    }
}
