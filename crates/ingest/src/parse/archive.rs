//! Zip archives with a limit on what comes out: the sizes that an archive states are not believed.

use super::ParseError;
use std::io::{Cursor, Read};
use zip::ZipArchive;
use zip::result::ZipError;

/// Bytes that all parts read from one archive may inflate to.
const INFLATED_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// An archive being read.
pub(super) struct Archive<'b> {
    zip: ZipArchive<Cursor<&'b [u8]>>,
    bytes_left: u64,
}

impl<'b> Archive<'b> {
    /// Reads the directory of the archive.
    pub(super) fn open(bytes: &'b [u8]) -> Result<Self, ParseError> {
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(ParseError::corrupt)?;
        Ok(Self { zip, bytes_left: INFLATED_BYTES_MAX })
    }

    /// Whether there is a part of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.zip.index_for_name(name).is_some()
    }

    /// Inflates one part; `None` if there is no such part.
    pub(super) fn read(&mut self, name: &str) -> Result<Option<Vec<u8>>, ParseError> {
        let part = match self.zip.by_name(name) {
            Ok(part) => part,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(error) => return Err(ParseError::corrupt(format!("{name}: {error}"))),
        };
        let mut out = Vec::new();
        part.take(self.bytes_left + 1).read_to_end(&mut out).map_err(|error| ParseError::corrupt(format!("{name}: {error}")))?;
        let read = u64::try_from(out.len()).unwrap_or(u64::MAX);
        self.bytes_left = self
            .bytes_left
            .checked_sub(read)
            .ok_or(ParseError::TooLarge { what: "the unpacked archive".to_owned(), bytes_max: INFLATED_BYTES_MAX })?;
        Ok(Some(out))
    }

    /// Inflates every part into nothing: for a library that then reads them without a limit. What
    /// the parts weigh together may exceed what the archive weighs by [`INFLATED_BYTES_MAX`].
    pub(super) fn check_inflated(&mut self, archive_bytes: usize) -> Result<(), ParseError> {
        let bytes_max = self.bytes_left.saturating_add(archive_bytes as u64);
        let mut bytes = 0u64;
        for index in 0..self.zip.len() {
            let part = self.zip.by_index(index).map_err(ParseError::corrupt)?;
            let read = std::io::copy(&mut part.take(bytes_max - bytes + 1), &mut std::io::sink()).map_err(ParseError::corrupt)?;
            bytes += read;
            if bytes > bytes_max {
                return Err(ParseError::TooLarge { what: "the unpacked archive".to_owned(), bytes_max });
            }
        }
        Ok(())
    }
}

/// The part that `reference` means when it stands in `part`: relative to its folder, or from the
/// root if it begins with a slash. Steps above the root are ignored.
pub(super) fn resolved(part: &str, reference: &str) -> String {
    let folder = part.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut steps: Vec<&str> = if reference.starts_with('/') { Vec::new() } else { folder.split('/').collect() };
    for step in reference.split('/') {
        match step {
            "" | "." => {}
            ".." => drop(steps.pop()),
            step => steps.push(step),
        }
    }
    steps.retain(|step| !step.is_empty());
    steps.join("/")
}

/// An archive of these parts, for the tests of the formats that are archives.
#[cfg(test)]
pub(super) fn packed(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in parts {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut zip, content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    #[test]
    fn a_bomb_stops_at_the_limit_over_all_parts() {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for name in ["a", "b"] {
            zip.start_file(name, SimpleFileOptions::default()).unwrap();
            zip.write_all(&[b' '; 600]).unwrap();
        }
        let bytes = zip.finish().unwrap().into_inner();
        let mut archive = Archive { bytes_left: 1000, ..Archive::open(&bytes).unwrap() };
        assert_eq!(archive.read("none"), Ok(None));
        assert_eq!(archive.read("a").unwrap().unwrap().len(), 600);
        assert!(matches!(archive.read("b"), Err(ParseError::TooLarge { .. })));
    }

    #[test]
    fn all_parts_count_whatever_the_archive_says() {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file("a", SimpleFileOptions::default()).unwrap();
        zip.write_all(&[b' '; 9000]).unwrap();
        let mut bytes = zip.finish().unwrap().into_inner();
        let weight = bytes.len();
        assert_eq!(Archive::open(&bytes).unwrap().check_inflated(weight), Ok(()));
        // the sizes in the directory are lies now
        for at in 0..bytes.len() - 4 {
            if bytes[at..at + 4] == 9000u32.to_le_bytes() {
                bytes[at..at + 4].copy_from_slice(&1u32.to_le_bytes());
            }
        }
        let mut archive = Archive { bytes_left: 1000, ..Archive::open(&bytes).unwrap() };
        assert!(archive.check_inflated(weight).is_err());
    }

    #[test]
    fn references_stay_inside() {
        assert_eq!(resolved("ppt/slides/slide1.xml", "../media/a.png"), "ppt/media/a.png");
        assert_eq!(resolved("ppt/slides/slide1.xml", "/ppt/x.xml"), "ppt/x.xml");
        assert_eq!(resolved("content.opf", "./a/../../../b.xhtml"), "b.xhtml");
    }
}
