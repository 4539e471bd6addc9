//! Files inside a file: bounded in number and in bytes, with names that can do no harm.
//!
//! The bounds are on what really comes out, not on what a container says of itself, and they stay
//! below what a parsing child may answer.

use super::{Attachment, ParseError};
use std::io::{self, Read};

/// Files that one file may bring.
pub(super) const FILES_MAX: usize = 1_000;
/// Bytes of one of them.
pub(super) const FILE_BYTES_MAX: u64 = 32 << 20;
/// Bytes of all of them together.
pub(super) const FILES_BYTES_MAX: u64 = 48 << 20;
/// Longest name in bytes.
const NAME_BYTES_MAX: usize = 255;

/// What a container brings, as far as it was read.
pub(super) struct Attachments {
    files: Vec<Attachment>,
    bytes_left: u64,
}

impl Default for Attachments {
    fn default() -> Self {
        Self { files: Vec::new(), bytes_left: FILES_BYTES_MAX }
    }
}

/// Why a file is not among them.
pub(super) enum Refused {
    /// Reading it failed.
    Unreadable(io::Error),
    /// A bound was met.
    Bound(ParseError),
}

impl Attachments {
    /// Unpacks one file. Its bytes; a file without any is not kept, since there is nothing to read.
    pub(super) fn read(&mut self, name: &str, source: impl Read) -> Result<u64, Refused> {
        let bytes_max = FILE_BYTES_MAX.min(self.bytes_left);
        let mut bytes = Vec::new();
        source.take(bytes_max + 1).read_to_end(&mut bytes).map_err(Refused::Unreadable)?;
        self.push(name, bytes).map_err(Refused::Bound)
    }

    /// Takes a file that is unpacked already.
    pub(super) fn push(&mut self, name: &str, bytes: Vec<u8>) -> Result<u64, ParseError> {
        let length = bytes.len() as u64;
        if length > FILE_BYTES_MAX {
            return Err(ParseError::TooLarge { what: format!("the file {name:?} inside"), bytes_max: FILE_BYTES_MAX });
        }
        let too_large = || ParseError::TooLarge { what: "all that is inside, unpacked,".to_owned(), bytes_max: FILES_BYTES_MAX };
        self.bytes_left = self.bytes_left.checked_sub(length).ok_or_else(too_large)?;
        if length > 0 {
            if self.files.len() == FILES_MAX {
                return Err(too_many());
            }
            self.files.push(Attachment { name: name.to_owned(), bytes });
        }
        Ok(length)
    }

    pub(super) fn into_files(self) -> Vec<Attachment> {
        self.files
    }
}

pub(super) fn too_many() -> ParseError {
    ParseError::TooMany { what: "files inside this one".to_owned(), count_max: FILES_MAX as u64 }
}

/// A name from inside a container, as a label: no steps up, no root, no drive, no backslash, nothing
/// that a terminal or a page would act on. Folders are kept, since they say something.
pub(super) fn safe_name(name: &str) -> Option<String> {
    let visible: String = name.chars().filter(|c| !is_invisible(*c)).collect();
    let is_kept = |part: &&str| !matches!(*part, "" | "." | "..") && !is_drive(part);
    let parts: Vec<&str> = visible.split(['/', '\\']).map(str::trim).filter(is_kept).collect();
    let mut name = parts.join("/");
    // The end is kept: it says what kind of file it is.
    let cut = name.ceil_char_boundary(name.len().saturating_sub(NAME_BYTES_MAX));
    name.drain(..cut);
    (!name.is_empty()).then_some(name)
}

fn is_drive(part: &str) -> bool {
    part.len() == 2 && part.ends_with(':')
}

/// Control characters and those that turn the direction of writing.
fn is_invisible(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_labels() {
        for (name, safe) in [
            ("../../../../tmp/evil.txt", Some("tmp/evil.txt")),
            ("/abs/evil.txt", Some("abs/evil.txt")),
            ("..\\..\\evil.txt", Some("evil.txt")),
            ("C:\\a\\b.txt", Some("a/b.txt")),
            ("report\u{202e}fdp.exe", Some("reportfdp.exe")),
            ("a\r\nX: y.txt", Some("aX: y.txt")),
            ("..", None),
        ] {
            assert_eq!(safe_name(name).as_deref(), safe, "{name:?}");
        }
        let long = safe_name(&format!("{}.txt", "ä".repeat(300))).unwrap();
        assert!(long.len() <= NAME_BYTES_MAX && long.ends_with("ä.txt"));
    }

    proptest! {
        #[test]
        fn no_name_leads_anywhere(name in any::<String>()) {
            let safe = safe_name(&name).unwrap_or_default();
            prop_assert!(safe.len() <= NAME_BYTES_MAX && !safe.contains('\\') && !safe.chars().any(char::is_control));
            prop_assert!(!safe.split('/').any(|part| part == ".."), "{safe:?}");
        }
    }

    #[test]
    fn bounds_are_on_what_comes_out() {
        let mut files = Attachments { bytes_left: 10, ..Attachments::default() };
        assert!(matches!(files.read("empty", io::empty()), Ok(0)));
        assert!(matches!(files.read("a", &b"123456"[..]), Ok(6)));
        assert!(matches!(files.read("endless", io::repeat(b'x')), Err(Refused::Bound(ParseError::TooLarge { .. }))));
        assert_eq!(files.into_files().len(), 1);
        let mut files = Attachments::default();
        assert!(matches!(
            files.read("endless", io::repeat(b'x')),
            Err(Refused::Bound(ParseError::TooLarge { bytes_max: FILE_BYTES_MAX, .. }))
        ));
        (0..FILES_MAX).for_each(|number| assert!(files.push(&number.to_string(), vec![1]).is_ok()));
        assert_eq!(files.push("one more", vec![1]), Err(too_many()));
    }
}
