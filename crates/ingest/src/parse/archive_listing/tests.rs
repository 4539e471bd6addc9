//! Archives that are made here, the hostile ones too.

use super::super::attachments::{FILE_BYTES_MAX, FILES_BYTES_MAX};
use super::*;
use flate2::{Compression, GzBuilder};
use std::io::Write as _;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

fn archive<'a>(entries: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn gzip(name: Option<&str>, bytes: &[u8]) -> Vec<u8> {
    let builder = name.map_or_else(GzBuilder::new, |name| GzBuilder::new().filename(name));
    let mut gzip = builder.write(Vec::new(), Compression::best());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn names(document: &ParsedDocument) -> Vec<&str> {
    document.attachments.iter().map(|file| file.name.as_str()).collect()
}

#[test]
fn files_are_listed_and_brought_along() {
    let bytes = archive([
        ("notes/ice.md", &b"# Ice"[..]),
        ("__MACOSX/notes/._ice.md", b"x"),
        ("notes/.DS_Store", b"x"),
        ("empty.txt", b""),
        ("../../tmp/evil.txt", b"evil"),
        ("..\\evil.txt", b"evil"),
    ]);
    let document = parse_zip(&bytes).unwrap();
    assert_eq!(document.text, "- notes/ice.md (5 bytes)\n- empty.txt (0 bytes)\n- tmp/evil.txt (4 bytes)\n- evil.txt (4 bytes)\n");
    assert_eq!(names(&document), ["notes/ice.md", "tmp/evil.txt", "evil.txt"]);
    assert_eq!((document.attachments[0].bytes.as_slice(), document.media_type.as_str()), (&b"# Ice"[..], "application/zip"));
}

#[test]
fn bounds_end_an_archive_with_their_reason() {
    let zeros = vec![0; usize::try_from(FILE_BYTES_MAX).unwrap() + 1];
    let one = archive([("zeros", zeros.as_slice())]);
    assert!(one.len() < 100_000, "a bomb: {} bytes", one.len());
    assert!(matches!(parse_zip(&one), Err(ParseError::TooLarge { bytes_max: FILE_BYTES_MAX, .. })));
    let half = &zeros[..zeros.len() / 2];
    let four = archive(["a", "b", "c", "d"].map(|name| (name, half)));
    assert!(matches!(parse_zip(&four), Err(ParseError::TooLarge { bytes_max: FILES_BYTES_MAX, .. })));
    assert!(matches!(parse_gzip("zeros.gz", &gzip(None, &zeros)), Err(ParseError::TooLarge { .. })));
    let names: Vec<String> = (0..=FILES_MAX).map(|number| number.to_string()).collect();
    let error = parse_zip(&archive(names.iter().map(|name| (name.as_str(), &b""[..])))).unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), ("too_large", "there are more than 1000 files inside this one"));
    assert!(parse_zip(&archive(names.iter().skip(1).map(|name| (name.as_str(), &b"x"[..])))).is_ok());
}

#[test]
fn an_encrypted_or_damaged_entry_is_told_from_the_rest() {
    let whole = archive([("a.txt", &b"stored plainly"[..]), ("b.txt", b"the other one")]);
    // The flag of encryption in the central directory and in the local header of the first entry.
    let mut locked = whole.clone();
    let central = whole.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    locked[central + 8] |= 1;
    locked[6] |= 1;
    let document = parse_zip(&locked).unwrap();
    assert_eq!((names(&document), document.warnings.len()), (vec!["b.txt"], 1), "{:?}", document.warnings);
    assert!(document.text.contains("- a.txt (encrypted)"));
    let only = archive([("a.txt", &b"stored plainly"[..])]);
    let mut only_locked = only.clone();
    only_locked[only.windows(4).position(|window| window == b"PK\x01\x02").unwrap() + 8] |= 1;
    only_locked[6] |= 1;
    assert_eq!(parse_zip(&only_locked), Err(ParseError::Encrypted));
    assert_eq!(parse_zip(&only[..only.len() - 30]).unwrap_err().code(), "corrupt");
    assert_eq!(parse_zip(&archive([])), Err(ParseError::Empty));
}

#[test]
fn no_cut_or_flipped_archive_does_more_than_fail() {
    let whole = archive([("a.txt", &b"some words to pack, some words"[..]), ("b.txt", b"x")]);
    for at in 0..whole.len() {
        drop(parse_zip(&whole[..at]));
        let mut flipped = whole.clone();
        flipped[at] ^= 0xff;
        drop(parse_zip(&flipped));
    }
}

#[test]
fn a_gzip_file_brings_its_one_file() {
    let document = parse_gzip("log.txt.gz", &gzip(None, b"the lamp was lit")).unwrap();
    assert_eq!((names(&document), document.text.as_str()), (vec!["log.txt"], "- log.txt (16 bytes)\n"));
    let named = parse_gzip("x.gz", &gzip(Some("../station.log"), b"the lamp was lit")).unwrap();
    assert_eq!(names(&named), ["station.log"]);
    let mut tar = vec![b'x'; 512];
    tar[TAR_MARK].copy_from_slice(b"ustar");
    assert_eq!(parse_gzip("a.tgz", &gzip(None, &tar)).unwrap_err().code(), "unsupported");
    let cut = gzip(None, b"the lamp was lit");
    assert_eq!(parse_gzip("a.gz", &cut[..cut.len() - 9]).unwrap_err().code(), "corrupt");
}
