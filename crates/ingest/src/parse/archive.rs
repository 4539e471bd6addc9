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
}
