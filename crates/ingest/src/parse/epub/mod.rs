//! EPUB 2 and 3 to Markdown: what the book says of itself, then its chapters in the order in which
//! they are read, each through the HTML parser.

mod package;
mod xhtml;

use super::archive::Archive;
use super::blocks::Blocks;
use super::docx::xml::{self, Step};
use super::{ParseError, ParsedDocument, decode, html};
use package::Package;
use std::collections::HashMap;

const MEDIA_TYPE: &str = "application/epub+zip";
/// Chapters that are read, and the bytes of one; a tree of HTML takes a multiple of its text.
const CHAPTERS_MAX: usize = 5_000;
const CHAPTER_BYTES_MAX: usize = 8 * 1024 * 1024;

pub(super) fn parse(bytes: &[u8]) -> Result<ParsedDocument, ParseError> {
    let mut archive = Archive::open(bytes)?;
    let place = package_part(&archive.read("META-INF/container.xml")?.unwrap_or_default())?;
    let xml = archive.read(&place)?.ok_or_else(|| ParseError::corrupt(format!("{place} is missing")))?;
    let package = Package::read(&place, &xml)?;
    let encrypted = encrypted_parts(&archive.read("META-INF/encryption.xml")?.unwrap_or_default())?;
    if package.chapters.iter().any(|chapter| encrypted.contains(chapter)) {
        return Err(ParseError::Encrypted);
    }
    let names = chapter_names(&mut archive, &package)?;
    let mut blocks = Blocks::default();
    package.facts.iter().for_each(|(name, value)| blocks.paragraph(&format!("**{name}:** {value}")));
    let mut warnings = Vec::new();
    for chapter in package.chapters.iter().take(CHAPTERS_MAX) {
        warnings.extend(write_chapter(&mut blocks, &mut archive, chapter, &names)?);
    }
    if package.chapters.len() > CHAPTERS_MAX {
        warnings.push(format!("only the first {CHAPTERS_MAX} of {} chapters were read", package.chapters.len()));
    }
    let document = blocks.finish(MEDIA_TYPE, None);
    Ok(ParsedDocument { title: package.title.or(document.title), warnings, ..document })
}

/// Where the package is described: the container says so.
fn package_part(container: &[u8]) -> Result<String, ParseError> {
    let mut place = None;
    xml::walk(container, |step| {
        if let Step::Open { name: "rootfile", element } = step
            && place.is_none()
        {
            place = xml::attribute(element, "full-path");
        }
    })?;
    place.ok_or_else(|| ParseError::corrupt("META-INF/container.xml names no package"))
}

/// Parts that need a key. Fonts are often among them, which only hinders copying the fonts.
fn encrypted_parts(encryption: &[u8]) -> Result<Vec<String>, ParseError> {
    let mut parts = Vec::new();
    xml::walk(encryption, |step| {
        if let Step::Open { name: "CipherReference", element } = step {
            parts.extend(xml::attribute(element, "URI").map(|address| package::part("", &address)));
        }
    })?;
    Ok(parts)
}

/// The names of chapters in the table of contents, by part.
fn chapter_names(archive: &mut Archive<'_>, package: &Package) -> Result<HashMap<String, String>, ParseError> {
    let mut names = HashMap::new();
    for contents in &package.contents {
        let xml = archive.read(contents)?.unwrap_or_default();
        // a broken table of contents is no reason to lose the book
        let _ = package::learn_names(contents, &xml, &mut names);
    }
    Ok(names)
}

/// Writes one chapter, with its name from the contents where it has no heading of its own; what
/// was lost, in words.
fn write_chapter(
    blocks: &mut Blocks,
    archive: &mut Archive<'_>,
    part: &str,
    names: &HashMap<String, String>,
) -> Result<Vec<String>, ParseError> {
    let Some(bytes) = archive.read(part)? else { return Ok(vec![format!("{part} is missing")]) };
    if bytes.len() > CHAPTER_BYTES_MAX {
        return Err(ParseError::TooLarge { what: format!("the chapter {part}"), bytes_max: CHAPTER_BYTES_MAX as u64 });
    }
    let Some(decoded) = decode::decode(&bytes) else { return Ok(vec![format!("{part} is no text")]) };
    let chapter = html::parse_whole(decode::Decoded { text: xhtml::as_html(&decoded.text), ..decoded });
    if chapter.text.trim().is_empty() {
        return Ok(chapter.warnings);
    }
    if chapter.headings.is_empty()
        && let Some(name) = names.get(part)
    {
        blocks.heading(1, name);
    }
    blocks.markdown(&chapter.text);
    Ok(chapter.warnings)
}

#[cfg(test)]
mod tests;
