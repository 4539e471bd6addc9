//! A segment as a file: written once, never changed, thrown away on any doubt.
//!
//! `magic (8) ‖ length of the header (u32) ‖ crc32c of the header (u32) ‖ header (JSON) ‖ sections`, numbers little
//! endian. Each section starts at a multiple of 4 KiB behind zeros, and has in the header its place, its length and
//! the crc32c of each MiB. Nothing follows the last section. Codes and links are read into memory; the original
//! vectors, most of the file, stay on disk and are mapped.

use super::super::memory::prefer_huge_pages;
use super::mapped::Mapped;
use crate::store::atomic_file;
use bytemuck::Pod;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

#[cfg(not(target_endian = "little"))]
compile_error!("segment files are little endian and are read as they lie");

/// The last byte is the version of the format.
const MAGIC: &[u8; 8] = b"RAGSEG\0\x03";
const ALIGNMENT: u64 = 4096;
const CHECKED_BYTES: usize = 1 << 20;
/// What a file's name ends with while it is written.
pub(super) const TEMPORARY: &str = "tmp";
/// More is no header: one of 2³² vectors would be smaller.
const HEADER_BYTES_MAX: u32 = 64 << 20;

/// Why a file is no segment, or not the one wanted.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("the segment file can't be read: {0}")]
    Io(#[from] io::Error),
    #[error("the segment file is damaged: {0}")]
    Damaged(String),
}

fn damaged<T>(what: impl Into<String>) -> Result<T, FileError> {
    Err(FileError::Damaged(what.into()))
}

#[derive(Debug, Serialize, Deserialize)]
struct Header<A> {
    about: A,
    sections: Vec<Section>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Section {
    name: String,
    offset: u64,
    bytes: u64,
    /// Of each MiB.
    checksums: Vec<u32>,
}

impl Section {
    fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes)
    }

    fn check(&self, bytes: &[u8]) -> Result<(), FileError> {
        let found = bytes.chunks(CHECKED_BYTES).map(crc32c::crc32c);
        if found.eq(self.checksums.iter().copied()) { Ok(()) } else { damaged(format!("checksum of {}", self.name)) }
    }
}

/// Writes `sections`, durable, at `path`; then the file is there whole or not at all.
pub(super) fn write<A: Serialize>(path: &Path, about: &A, sections: &[(&str, &[u8])]) -> io::Result<()> {
    let mut header = Header { about, sections: Vec::new() };
    for (name, bytes) in sections {
        let checksums = bytes.chunks(CHECKED_BYTES).map(crc32c::crc32c).collect();
        header.sections.push(Section { name: (*name).to_owned(), offset: 0, bytes: bytes.len() as u64, checksums });
    }
    place(&mut header)?;
    let temporary = path.with_extension(TEMPORARY);
    let written = write_all(&temporary, &header, sections).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        // What is left of it is swept when the collection is opened.
        let _ = std::fs::remove_file(&temporary);
    }
    written?;
    atomic_file::sync_folder_of(path)
}

/// Gives the sections their places. The header's length depends on them: tried until it stays.
fn place<A: Serialize>(header: &mut Header<A>) -> io::Result<()> {
    let mut start = 0;
    loop {
        let mut at = start;
        for section in &mut header.sections {
            section.offset = at;
            at = section.end().next_multiple_of(ALIGNMENT);
        }
        let needed = (16 + serde_json::to_vec(header)?.len() as u64).next_multiple_of(ALIGNMENT);
        if needed <= start {
            return Ok(());
        }
        start = needed;
    }
}

fn write_all<A: Serialize>(path: &Path, header: &Header<A>, sections: &[(&str, &[u8])]) -> io::Result<()> {
    let json = serde_json::to_vec(header)?;
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    let mut file = BufWriter::with_capacity(CHECKED_BYTES, File::create(path)?);
    file.write_all(MAGIC)?;
    file.write_all(&length.to_le_bytes())?;
    file.write_all(&crc32c::crc32c(&json).to_le_bytes())?;
    file.write_all(&json)?;
    let mut at = 16 + json.len() as u64;
    for (section, (_, bytes)) in header.sections.iter().zip(sections) {
        io::copy(&mut io::repeat(0).take(section.offset - at), &mut file)?;
        file.write_all(bytes)?;
        at = section.end();
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// A file being read.
pub(super) struct Reader<A> {
    file: File,
    pub(super) about: A,
    sections: Vec<Section>,
}

impl<A: for<'a> Deserialize<'a>> Reader<A> {
    /// Reads and checks the header.
    pub(super) fn open(path: &Path) -> Result<Self, FileError> {
        let mut file = File::open(path)?;
        let (mut magic, mut length, mut checksum) = ([0; 8], [0; 4], [0; 4]);
        file.read_exact(&mut magic)?;
        file.read_exact(&mut length)?;
        file.read_exact(&mut checksum)?;
        let length = u32::from_le_bytes(length);
        if &magic != MAGIC || length > HEADER_BYTES_MAX {
            return damaged("it does not begin like one");
        }
        let mut json = vec![0; length as usize];
        file.read_exact(&mut json)?;
        if crc32c::crc32c(&json) != u32::from_le_bytes(checksum) {
            return damaged("checksum of the header");
        }
        let Header { about, sections } = serde_json::from_slice(&json).or_else(|error| damaged(error.to_string()))?;
        let reader = Self { file, about, sections };
        reader.check_gaps(16 + u64::from(length))?;
        Ok(reader)
    }

    /// What lies between the sections is zero, and nothing behind the last.
    fn check_gaps(&self, header_end: u64) -> Result<(), FileError> {
        let mut file = &self.file;
        let mut at = header_end;
        for section in &self.sections {
            let gap = section.offset.checked_sub(at).filter(|gap| *gap < ALIGNMENT);
            let Some(gap) = gap else { return damaged(format!("place of {}", section.name)) };
            let mut zeros = [0; ALIGNMENT as usize];
            let zeros = zeros.get_mut(..usize::try_from(gap).unwrap_or_default()).unwrap_or_default();
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(zeros)?;
            if zeros.iter().any(|byte| *byte != 0) {
                return damaged(format!("what lies before {}", section.name));
            }
            at = section.end();
        }
        if self.file.metadata()?.len() == at { Ok(()) } else { damaged("its length") }
    }

    fn section(&self, name: &str) -> Result<&Section, FileError> {
        self.sections.iter().find(|section| section.name == name).ok_or_else(|| FileError::Damaged(format!("{name} is missing")))
    }

    /// A section of `count` items, into memory.
    pub(super) fn read<T: Pod>(&self, name: &str, count: usize) -> Result<Vec<T>, FileError> {
        let section = self.section(name)?;
        if section.bytes != (count as u64).saturating_mul(size_of::<T>() as u64) {
            return damaged(format!("length of {name}"));
        }
        let mut items = Vec::with_capacity(count);
        prefer_huge_pages(&items);
        items.resize(count, T::zeroed());
        let mut file = &self.file;
        file.seek(SeekFrom::Start(section.offset))?;
        file.read_exact(bytemuck::cast_slice_mut(&mut items))?;
        section.check(bytemuck::cast_slice(&items))?;
        Ok(items)
    }

    /// A section of `count` items, mapped.
    pub(super) fn map(&self, name: &str, count: usize) -> Result<Mapped, FileError> {
        let section = self.section(name)?;
        if section.bytes != (count as u64).saturating_mul(size_of::<f32>() as u64) {
            return damaged(format!("length of {name}"));
        }
        let mapped = Mapped::new(&self.file, section.offset, section.bytes)?;
        section.check(bytemuck::cast_slice(&mapped))?;
        Ok(mapped)
    }
}
