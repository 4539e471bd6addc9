//! ZIP archives and gzip files of documents: the text is a list of what is inside, and what is
//! inside becomes documents of their own.
//!
//! What an archive says about itself is not believed: sizes are counted while unpacking, and names
//! are labels. Folders, links and the notes that file managers leave are passed over.

use super::attachments::{Attachments, FILES_MAX, Refused, safe_name, too_many};
use super::{ParseError, ParsedDocument};
use flate2::read::MultiGzDecoder;
use std::fmt::Write;
use std::io::{Cursor, Read};
use zip::ZipArchive;
use zip::result::{ZipError, ZipResult};

/// Where the header of a tar archive says so.
const TAR_MARK: std::ops::Range<usize> = 257..262;

/// The files of a ZIP archive.
pub(super) fn parse_zip(bytes: &[u8]) -> Result<ParsedDocument, ParseError> {
    let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(ParseError::corrupt)?;
    let mut listing = Listing::default();
    for index in 0..zip.len() {
        let entry = zip.by_index_data(index).map_err(ParseError::corrupt)?;
        let (name, is_file) = (entry_name(entry.name(), entry.name_raw()), entry.is_file() && !entry.is_symlink());
        if let Some(name) = name.filter(|name| is_file && !is_system_note(name)) {
            listing.take(name, zip.by_index(index))?;
        }
    }
    listing.finish("application/zip")
}

/// The one file in a gzip file; `name` is the gzip file's own.
pub(super) fn parse_gzip(name: &str, bytes: &[u8]) -> Result<ParsedDocument, ParseError> {
    let decoder = MultiGzDecoder::new(bytes);
    let stated = decoder.header().and_then(|header| header.filename()).map(|name| String::from_utf8_lossy(name).into_owned());
    let inner = stated.as_deref().and_then(safe_name).or_else(|| safe_name(without_gz(name))).unwrap_or_else(|| "file".to_owned());
    let mut listing = Listing::default();
    listing.read(inner, decoder)?;
    let document = listing.finish("application/gzip")?;
    let is_tar = document.attachments.iter().any(|file| file.bytes.get(TAR_MARK) == Some(b"ustar"));
    if is_tar { Err(ParseError::unsupported("tar archive")) } else { Ok(document) }
}

fn without_gz(name: &str) -> &str {
    let name = name.rsplit('/').next().unwrap_or(name);
    name.strip_suffix(".gz").unwrap_or(name)
}

/// Names that are not UTF-8 are in no encoding that the archive would tell.
fn entry_name(name: ZipResult<std::borrow::Cow<'_, str>>, raw: &[u8]) -> Option<String> {
    name.map_or_else(|_| safe_name(&String::from_utf8_lossy(raw)), |name| safe_name(&name))
}

/// What macOS and Windows leave beside files.
fn is_system_note(name: &str) -> bool {
    let base = name.rsplit('/').next().unwrap_or_default();
    name.starts_with("__MACOSX/") || matches!(base, ".DS_Store" | "Thumbs.db" | "desktop.ini")
}

/// Collects what is inside, and what was passed over.
#[derive(Default)]
struct Listing {
    files: Attachments,
    lines: String,
    count: usize,
    encrypted: usize,
    warnings: Vec<String>,
}

impl Listing {
    fn take(&mut self, name: String, entry: ZipResult<impl Read>) -> Result<(), ParseError> {
        match entry {
            Ok(entry) => self.read(name, entry),
            Err(ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) | ZipError::InvalidPassword) => {
                self.encrypted += 1;
                self.list(&name, "encrypted")
            }
            Err(error) => self.unreadable(&name, &error),
        }
    }

    fn read(&mut self, name: String, source: impl Read) -> Result<(), ParseError> {
        match self.files.read(&name, source) {
            Ok(bytes) => self.list(&name, &format!("{bytes} bytes")),
            Err(Refused::Bound(error)) => Err(error),
            Err(Refused::Unreadable(error)) => self.unreadable(&name, &error),
        }
    }

    fn unreadable(&mut self, name: &str, error: &impl ToString) -> Result<(), ParseError> {
        self.warnings.push(format!("{name}: {}", error.to_string()));
        self.list(name, "unreadable")
    }

    fn list(&mut self, name: &str, what: &str) -> Result<(), ParseError> {
        self.count += 1;
        // Writing to a string can't fail.
        let _ = writeln!(self.lines, "- {name} ({what})");
        if self.count > FILES_MAX { Err(too_many()) } else { Ok(()) }
    }

    fn finish(mut self, media_type: &str) -> Result<ParsedDocument, ParseError> {
        let files = self.files.into_files();
        match (files.is_empty(), self.encrypted, self.warnings.first()) {
            (true, 1.., _) => return Err(ParseError::Encrypted),
            (true, 0, Some(reason)) => return Err(ParseError::corrupt(reason)),
            (true, 0, None) => return Err(ParseError::Empty),
            (false, 1.., _) => self.warnings.push(format!("{} files are encrypted and not read", self.encrypted)),
            (false, 0, _) => {}
        }
        let document = ParsedDocument::markdown(media_type, self.lines);
        Ok(ParsedDocument { warnings: self.warnings, attachments: files, title: None, ..document })
    }
}

#[cfg(test)]
mod tests;
