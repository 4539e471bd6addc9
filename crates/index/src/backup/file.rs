//! The format: magic and version, then frames, then the sha256 of everything before it.
//!
//! A frame is `kind (1 byte) ‖ length (u32) ‖ crc32c of kind, length and payload (u32) ‖ payload`,
//! numbers little endian. The last frame is the end, with counts; behind the sha256 nothing follows.

use super::{BackupError, BackupSummary};
use crate::blobs::BlobId;
use crate::store::{atomic_file, free_bytes};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// What a backup begins with; the last byte is the version of the format.
pub(super) const MAGIC: &[u8; 16] = b"RAGSTONE-BACKUP\x01";
/// Longest payload of a frame: a whole batch of the store, and what wraps it.
pub(super) const FRAME_BYTES_MAX: usize = 80 * 1024 * 1024;
const SHA256_BYTES: u64 = 32;
const HEAD_BYTES: usize = 9;
/// Bytes written between two looks at the free space.
const LOOK_BYTES: u64 = 4 * 1024 * 1024;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// JSON: store id and time, for people.
    About = b'A' as isize,
    /// Changes as in the store's journal: set these keys.
    Pairs = b'P' as isize,
    /// Changes of one commit, over everything before.
    Commit = b'C' as isize,
    /// `tenant ‖ 0 ‖ sha256 in hex ‖ 0 ‖ length in decimal`: a file begins.
    File = b'F' as isize,
    /// Bytes of the file that began last.
    Bytes = b'B' as isize,
    /// JSON: [`BackupSummary`], without length and hash.
    End = b'E' as isize,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [Self::About, Self::Pairs, Self::Commit, Self::File, Self::Bytes, Self::End].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// A backup that is being written, beside its place.
pub(super) struct Writer {
    path: PathBuf,
    temporary: PathBuf,
    file: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
    reserve_bytes: u64,
    looked_at: u64,
}

impl Writer {
    pub(super) fn create(path: &Path, reserve_bytes: u64) -> Result<Self, BackupError> {
        if path.exists() {
            return Err(BackupError::Exists(path.to_owned()));
        }
        let temporary = beside(path, "partial");
        let file = BufWriter::new(File::create(&temporary)?);
        let mut writer = Self { path: path.to_owned(), temporary, file, hash: Sha256::new(), bytes: 0, reserve_bytes, looked_at: 0 };
        writer.check_room(0)?;
        writer.write(MAGIC)?;
        Ok(writer)
    }

    pub(super) fn frame(&mut self, kind: Kind, payload: &[u8]) -> Result<(), BackupError> {
        self.check_room(payload.len() as u64)?;
        let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= FRAME_BYTES_MAX);
        let length = length.ok_or_else(|| std::io::Error::other(format!("{} bytes are too many for a frame", payload.len())))?;
        self.write(&[kind as u8])?;
        self.write(&length.to_le_bytes())?;
        self.write(&checksum(kind, length, payload).to_le_bytes())?;
        self.write(payload)
    }

    /// Ends the file and puts it, durable, in its place. Nobody else's file is replaced.
    pub(super) fn finish(mut self, mut summary: BackupSummary) -> Result<BackupSummary, BackupError> {
        let end = serde_json::to_vec(&summary).map_err(std::io::Error::other)?;
        self.frame(Kind::End, &end)?;
        let digest = self.hash.clone().finalize();
        self.write(&digest)?;
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        self.put_in_place()?;
        atomic_file::sync_folder_of(&self.path)?;
        summary.bytes = self.bytes;
        summary.sha256 = BlobId::from_digest(&self.hash.clone().finalize()).to_string();
        Ok(summary)
    }

    fn put_in_place(&self) -> Result<(), BackupError> {
        match fs::hard_link(&self.temporary, &self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(BackupError::Exists(self.path.clone())),
            // Not every file system has links.
            Err(_) => Ok(fs::rename(&self.temporary, &self.path)?),
            Ok(()) => Ok(()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// A backup must not fill the disk that the store writes to.
    fn check_room(&mut self, more: u64) -> Result<(), BackupError> {
        if self.bytes > 0 && self.bytes + more < self.looked_at + LOOK_BYTES {
            return Ok(());
        }
        self.looked_at = self.bytes;
        let (free_bytes, reserve_bytes) = (free_bytes(self.temporary.parent().unwrap_or(Path::new(".")))?, self.reserve_bytes);
        let needed = reserve_bytes.saturating_add(more).saturating_add(LOOK_BYTES);
        if free_bytes < needed { Err(BackupError::Full { free_bytes, reserve_bytes }) } else { Ok(()) }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // In its place under its own name by now, or not wanted.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// A name beside a path, hidden from those who list backups.
pub(super) fn beside(path: &Path, what: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    folder.join(format!(".{name}.{what}"))
}

fn checksum(kind: Kind, length: u32, payload: &[u8]) -> u32 {
    let head = crc32c::crc32c(&[&[kind as u8][..], &length.to_le_bytes()].concat());
    crc32c::crc32c_append(head, payload)
}

/// Reads a backup from its beginning, frame by frame.
pub(super) struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    hash: Sha256,
    /// Bytes of frames that are left.
    left: u64,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self, BackupError> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut reader = Self { path: path.to_owned(), file: BufReader::new(file), hash: Sha256::new(), left: length };
        let begin = reader.read(MAGIC.len())?;
        match begin.split_last().zip(MAGIC.split_last()) {
            Some(((version, name), (own_version, own_name))) if name == own_name => {
                if version != own_version {
                    return Err(reader.damaged(format!("its format is version {version}, this program reads version {own_version}")));
                }
            }
            _ => return Err(reader.damaged("it is not a Ragstone backup")),
        }
        reader.left = reader.left.checked_sub(SHA256_BYTES).ok_or_else(|| reader.damaged("it is cut off"))?;
        Ok(reader)
    }

    /// The next frame. Behind the last one, `None`, after checking the hash over everything.
    pub(super) fn next(&mut self) -> Result<Option<(Kind, Vec<u8>)>, BackupError> {
        if self.left == 0 {
            self.check_hash()?;
            return Ok(None);
        }
        let head = self.read(HEAD_BYTES)?;
        let [kind, l0, l1, l2, l3, c0, c1, c2, c3] = head.as_slice() else { return Err(self.damaged("it is cut off")) };
        let kind = Kind::of(*kind).ok_or_else(|| self.damaged(format!("there is no frame of kind {kind}")))?;
        let (length, expected) = (u32::from_le_bytes([*l0, *l1, *l2, *l3]), u32::from_le_bytes([*c0, *c1, *c2, *c3]));
        if length as usize > FRAME_BYTES_MAX {
            return Err(self.damaged("a frame is too long"));
        }
        let payload = self.read(length as usize)?;
        if checksum(kind, length, &payload) != expected {
            return Err(self.damaged("a frame doesn't fit its checksum"));
        }
        Ok(Some((kind, payload)))
    }

    pub(super) fn damaged(&self, reason: impl Into<String>) -> BackupError {
        BackupError::Damaged { path: self.path.clone(), reason: reason.into() }
    }

    fn read(&mut self, count: usize) -> Result<Vec<u8>, BackupError> {
        // Looked at before anything is allocated: a length may be any number.
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| self.damaged("it is cut off"))?;
        let mut bytes = vec![0; count];
        self.file.read_exact(&mut bytes)?;
        self.hash.update(&bytes);
        Ok(bytes)
    }

    fn check_hash(&mut self) -> Result<(), BackupError> {
        let mut expected = Vec::new();
        self.file.read_to_end(&mut expected)?;
        if self.hash.clone().finalize().as_slice() == expected { Ok(()) } else { Err(self.damaged("it doesn't fit its sha256")) }
    }
}
