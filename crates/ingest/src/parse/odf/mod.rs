//! OpenDocument (ISO/IEC 26300) to Markdown: texts with headings, lists, tables, links and notes;
//! presentations with a page for each slide; spreadsheets with a page for each sheet.
//!
//! Read as a stream of XML events: nothing here recurses, whatever the nesting.

mod content;
mod lists;

use super::archive::Archive;
use super::docx::xml::{self, Step};
use super::{ParseError, ParsedDocument, docx};
use content::{Content, Genre};
use lists::ListStyles;

const TEXT_MEDIA_TYPE: &str = "application/vnd.oasis.opendocument.text";

pub(super) fn parse(bytes: &[u8]) -> Result<ParsedDocument, ParseError> {
    let mut archive = Archive::open(bytes)?;
    if is_encrypted(&archive.read("META-INF/manifest.xml")?.unwrap_or_default())? {
        return Err(ParseError::Encrypted);
    }
    let media_type = archive.read("mimetype")?.and_then(|bytes| String::from_utf8(bytes).ok());
    let media_type = media_type.as_deref().map_or(TEXT_MEDIA_TYPE, str::trim);
    let body = archive.read("content.xml")?.ok_or_else(|| ParseError::corrupt("content.xml is missing"))?;
    let mut lists = ListStyles::default();
    lists.read(&archive.read("styles.xml")?.unwrap_or_default())?;
    lists.read(&body)?;
    let mut content = Content::new(Genre::of(media_type), lists);
    xml::walk(&body, |step| content.step(step))?;
    let mut document = content.finish(media_type);
    document.title = docx::own_title(&archive.read("meta.xml")?.unwrap_or_default()).or(document.title);
    Ok(document)
}

fn is_encrypted(manifest: &[u8]) -> Result<bool, ParseError> {
    let mut is_encrypted = false;
    xml::walk(manifest, |step| is_encrypted |= matches!(step, Step::Open { name: "encryption-data", .. }))?;
    Ok(is_encrypted)
}

#[cfg(test)]
mod tests;
