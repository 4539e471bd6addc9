//! What a file is: by its first bytes, then by looking into containers, then by what its text
//! looks like, and only then by its name. Guesses about text are conservative: whatever decodes
//! and looks like nothing else is plain text.

use super::archive::Archive;
use super::decode::{Decoded, decode};
use super::spreadsheet::Workbook;
use super::{ParseError, delimited, eml, json};

/// A format that is read, with its text where it is a text format.
pub(super) enum Kind {
    Pdf,
    Docx,
    Pptx,
    Workbook(Workbook),
    OpenDocument,
    Epub,
    OutlookMessage,
    /// Of documents: none of the formats that are archives inside.
    Zip,
    Gzip,
    /// A mail (RFC 5322).
    Message,
    Html(Decoded),
    Markdown(Decoded),
    Json(Decoded),
    JsonLines(Decoded),
    Delimited(Decoded, u8),
    Plain(Decoded),
}

/// How far into a file that is named so a PDF header is looked for: some begin with mail headers.
const PDF_HEADER_BYTES: usize = 16 * 1024;

/// First bytes of binary formats that are not read.
const SIGNATURES: &[(&[u8], &str)] = &[
    (b"\x89PNG\r\n\x1a\n", "PNG image"),
    (b"\xff\xd8\xff", "JPEG image"),
    (b"GIF87a", "GIF image"),
    (b"GIF89a", "GIF image"),
    (b"II*\0", "TIFF image"),
    (b"MM\0*", "TIFF image"),
    (b"{\\rtf", "RTF document"),
    (b"BZh", "bzip2 archive"),
    (b"\xfd7zXZ\0", "xz archive"),
    (b"\x28\xb5\x2f\xfd", "Zstandard archive"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip archive"),
    (b"Rar!\x1a\x07", "RAR archive"),
    (b"\x7fELF", "ELF program"),
    (b"\0asm", "WebAssembly module"),
    (b"SQLite format 3\0", "SQLite database"),
    (b"ID3", "MP3 audio"),
    (b"OggS", "Ogg media"),
    (b"fLaC", "FLAC audio"),
    (b"%!PS", "PostScript document"),
];

/// Directory names (UTF-16) in OLE compound files. They are looked for in this order: a message may
/// hold all the others as attachments, and a document may hold a sheet.
const OLE_MESSAGE: &str = "__properties_version1.0";
const OLE_UNREAD: &[(&str, &str)] =
    &[("WordDocument", "Word 97-2003 document (.doc)"), ("PowerPoint Document", "PowerPoint 97-2003 presentation (.ppt)")];
const OLE_WORKBOOKS: &[&str] = &["Workbook", "Book"];

/// Endings of formats that are ZIP archives inside.
const ARCHIVE_FORMATS: &[&str] = &["docx", "xlsx", "xlsm", "pptx", "odt", "ods", "odp", "epub"];

/// Says what the bytes are.
///
/// # Errors
/// [`ParseError`] for what is known and not read, empty, encrypted or damaged.
pub(super) fn sniff(name: &str, bytes: &[u8]) -> Result<Kind, ParseError> {
    let extension = extension(name);
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ParseError::Empty);
    }
    if is_pdf(bytes, &extension) {
        return Ok(Kind::Pdf);
    }
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return match archive_kind(bytes)? {
            Kind::Zip if ARCHIVE_FORMATS.contains(&extension.as_str()) => Err(unreadable(&extension)),
            kind => Ok(kind),
        };
    }
    if bytes.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
        return ole_kind(bytes);
    }
    if let Some(detected) = signature(bytes) {
        return Err(ParseError::unsupported(detected));
    }
    if bytes.starts_with(b"\x1f\x8b") {
        return Ok(Kind::Gzip);
    }
    if eml::is_message(&extension, bytes) {
        return Ok(Kind::Message);
    }
    match decode(bytes) {
        Some(decoded) => Ok(text_kind(&extension, decoded)),
        None => Err(unreadable(&extension)),
    }
}

fn extension(name: &str) -> String {
    let base = name.rsplit(['/', '\\']).next().unwrap_or_default();
    base.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).unwrap_or_default()
}

fn is_pdf(bytes: &[u8], extension: &str) -> bool {
    let head = bytes.get(..PDF_HEADER_BYTES.min(bytes.len())).unwrap_or_default();
    bytes.starts_with(b"%PDF-") || (extension == "pdf" && find(head, b"%PDF-"))
}

fn find(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn signature(bytes: &[u8]) -> Option<&'static str> {
    let at = |offset: usize, magic: &[u8]| bytes.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    if at(0, b"RIFF") {
        return Some(if at(8, b"WEBP") { "WebP image" } else { "RIFF media" });
    }
    if at(4, b"ftyp") {
        return Some("MP4 or HEIF media");
    }
    SIGNATURES.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, detected)| *detected)
}

/// A name that promises a known binary format makes a better reason than "binary data".
fn unreadable(extension: &str) -> ParseError {
    match extension {
        "pdf" | "xls" => ParseError::corrupt(format!("the content is not what .{extension} promises")),
        _ if ARCHIVE_FORMATS.contains(&extension) => ParseError::corrupt(format!("the content is not what .{extension} promises")),
        _ => ParseError::unsupported("binary data"),
    }
}

fn archive_kind(bytes: &[u8]) -> Result<Kind, ParseError> {
    let mut archive = Archive::open(bytes)?;
    if archive.has("word/document.xml") || has_word_main_part(&mut archive)? {
        return Ok(Kind::Docx);
    }
    if let Some(kind) = office_kind(&mut archive) {
        return Ok(kind);
    }
    Ok(Kind::Zip)
}

/// By a part that only one format has, then by what the archive calls itself.
fn office_kind(archive: &mut Archive<'_>) -> Option<Kind> {
    let has_part = [
        ("ppt/presentation.xml", Kind::Pptx),
        ("xl/workbook.xml", Kind::Workbook(Workbook::Xlsx)),
        ("xl/workbook.bin", Kind::Workbook(Workbook::Xlsb)),
        ("META-INF/container.xml", Kind::Epub),
    ];
    let mimetype = archive.read("mimetype").ok().flatten().unwrap_or_default();
    let mimetype = String::from_utf8_lossy(&mimetype).into_owned();
    match mimetype.trim() {
        "application/epub+zip" => Some(Kind::Epub),
        other if other.starts_with("application/vnd.oasis.opendocument") => Some(Kind::OpenDocument),
        _ => has_part.into_iter().find(|(part, _)| archive.has(part)).map(|(_, kind)| kind),
    }
}

fn has_word_main_part(archive: &mut Archive<'_>) -> Result<bool, ParseError> {
    let types = archive.read("[Content_Types].xml")?.unwrap_or_default();
    Ok(find(&types, b"wordprocessingml.document.main+xml"))
}

fn ole_kind(bytes: &[u8]) -> Result<Kind, ParseError> {
    let holds = |name: &str| find(bytes, &name.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
    if holds(OLE_MESSAGE) {
        return Ok(Kind::OutlookMessage);
    }
    if holds("EncryptedPackage") {
        return Err(ParseError::Encrypted);
    }
    match OLE_UNREAD.iter().find(|(stream, _)| holds(stream)) {
        Some((_, detected)) => Err(ParseError::unsupported(detected)),
        None if OLE_WORKBOOKS.iter().any(|stream| holds(stream)) => Ok(Kind::Workbook(Workbook::Xls)),
        None => Err(ParseError::unsupported("OLE compound file")),
    }
}

fn text_kind(extension: &str, decoded: Decoded) -> Kind {
    let text = decoded.text.as_str();
    let is_unnamed = matches!(extension, "" | "txt" | "text");
    match extension {
        "html" | "htm" | "xhtml" => Kind::Html(decoded),
        "json" | "ipynb" | "geojson" => Kind::Json(decoded),
        "jsonl" | "ndjson" => Kind::JsonLines(decoded),
        "md" | "markdown" | "mdown" | "mkd" => Kind::Markdown(decoded),
        "tsv" | "tab" => Kind::Delimited(decoded, b'\t'),
        "csv" => {
            let delimiter = delimited::delimiter_of(text, b",;\t|", 2).unwrap_or(b',');
            Kind::Delimited(decoded, delimiter)
        }
        _ if is_html(text) => Kind::Html(decoded),
        _ if json::is_whole(text) => Kind::Json(decoded),
        _ if json::is_lines(text) => Kind::JsonLines(decoded),
        _ if is_unnamed && is_markdown(text) => Kind::Markdown(decoded),
        _ if is_unnamed => match delimited::delimiter_of(text, b",;\t|", 3) {
            Some(delimiter) => Kind::Delimited(decoded, delimiter),
            None => Kind::Plain(decoded),
        },
        _ => Kind::Plain(decoded),
    }
}

fn is_html(text: &str) -> bool {
    let start: String = text.trim_start().chars().take(1024).collect::<String>().to_ascii_lowercase();
    let is_other_xml = start.starts_with("<?xml") && !start.contains("<html");
    !is_other_xml
        && (start.starts_with("<!doctype html")
            || (start.starts_with('<') && ["<html", "<head", "<body"].iter().any(|tag| start.contains(tag))))
}

/// Two kinds of block markup that prose and scripts don't both have: a heading below the first
/// level, a closed code fence, a table.
fn is_markdown(text: &str) -> bool {
    if text.starts_with("#!") {
        return false;
    }
    let headings = text.lines().filter(|line| is_heading_line(line)).count();
    let has_deep_heading = text.lines().any(|line| line.starts_with("##") && is_heading_line(line));
    let fences = text.lines().filter(|line| line.starts_with("```")).count();
    let has_table = text.lines().any(|line| line.starts_with('|') && line.contains("---") && line.chars().all(|c| "|-: ".contains(c)));
    let signs = [has_deep_heading, headings >= 2, fences >= 2, has_table];
    signs.iter().filter(|sign| **sign).count() >= 2
}

fn is_heading_line(line: &str) -> bool {
    let words = line.trim_start_matches('#');
    (1..=6).contains(&(line.len() - words.len())) && words.starts_with(' ') && !words.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY_ZIP: &[u8] = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

    fn name_of(name: &str, bytes: &[u8]) -> String {
        match sniff(name, bytes) {
            Ok(Kind::Pdf) => "pdf".into(),
            Ok(Kind::Docx) => "docx".into(),
            Ok(Kind::Pptx) => "pptx".into(),
            Ok(Kind::Workbook(workbook)) => format!("{workbook:?}"),
            Ok(Kind::OpenDocument) => "opendocument".into(),
            Ok(Kind::Epub) => "epub".into(),
            Ok(Kind::OutlookMessage) => "msg".into(),
            Ok(Kind::Zip) => "zip".into(),
            Ok(Kind::Gzip) => "gzip".into(),
            Ok(Kind::Message) => "mail".into(),
            Ok(Kind::Html(_)) => "html".into(),
            Ok(Kind::Markdown(_)) => "markdown".into(),
            Ok(Kind::Json(_)) => "json".into(),
            Ok(Kind::JsonLines(_)) => "jsonl".into(),
            Ok(Kind::Delimited(_, delimiter)) => format!("delimited by {:?}", char::from(delimiter)),
            Ok(Kind::Plain(_)) => "plain".into(),
            Err(ParseError::Unsupported { detected }) => detected,
            Err(error) => error.code().into(),
        }
    }

    #[test]
    fn content_goes_before_the_name() {
        assert_eq!(name_of("a.txt", b"%PDF-1.7\n"), "pdf");
        assert_eq!(name_of("a.txt", b"<!DOCTYPE html><p>x"), "html");
        assert_eq!(name_of("a.txt", b"# A\n\n## B\n\ntext"), "markdown");
        assert_eq!(name_of("a", b"{\"a\": 1}\n{\"a\": 2}\n"), "jsonl");
        assert_eq!(name_of("a", b"a,b,c\n1,2,3\n4,5,6\n"), "delimited by ','");
        assert_eq!(name_of("a.pdf", b"\x89PNG\r\n\x1a\n"), "PNG image");
        assert_eq!(name_of("a.txt", b"\x1f\x8b\x08"), "gzip");
        assert_eq!(name_of("a.zip", EMPTY_ZIP), "zip");
        assert_eq!(name_of("a.docx", EMPTY_ZIP), "corrupt");
        assert_eq!(name_of("a.eml", b"Subject: x\n\ny"), "mail");
        assert_eq!(name_of("cur/1.M2:2,S", b"From: a@b\nTo: c@d\nDate: x\n\ny"), "mail");
        assert_eq!(name_of("a.txt", b"Subject: x\n\ny"), "plain");
        assert_eq!(name_of("a.md", b"From: a@b\nTo: c@d\nDate: x\n\ny"), "markdown");
        assert_eq!(name_of("a.docx", &[1, 2, 0, 3, 200, 6, 0, 1]), "corrupt");
    }

    #[test]
    fn text_is_plain_unless_it_clearly_is_more() {
        assert_eq!(name_of("run.sh", b"#!/bin/sh\n# A\n# B\n"), "plain");
        assert_eq!(name_of("main.py", b"# A\n## B\n# C\n"), "plain");
        assert_eq!(name_of("a.rst", b"Title\n=====\n"), "plain");
        assert_eq!(name_of("feed.xml", b"<?xml version=\"1.0\"?><rss><head/></rss>"), "plain");
        assert_eq!(name_of("a.txt", b"# one comment\nkey: value\n"), "plain");
    }

    #[test]
    fn what_is_not_read_is_named() {
        assert_eq!(name_of("a", b"{\\rtf1 x}"), "RTF document");
        assert_eq!(name_of("a", b" \n"), "empty");
        let ole = |stream: &str| {
            [b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec(), stream.encode_utf16().flat_map(u16::to_le_bytes).collect()].concat()
        };
        assert_eq!(name_of("a.docx", &ole("EncryptedPackage")), "encrypted");
        assert_eq!(name_of("a.doc", &ole("WordDocument")), "Word 97-2003 document (.doc)");
        assert_eq!(name_of("a", &[ole("Workbook"), ole("__properties_version1.0")].concat()), "msg");
        assert_eq!(name_of("a", &ole("Workbook")), "Xls");
    }
}
