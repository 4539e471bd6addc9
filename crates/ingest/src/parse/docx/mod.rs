//! DOCX (ECMA-376 WordprocessingML) to Markdown: headings by style or outline level, lists,
//! tables, links, footnotes; deleted revisions are left out.
//!
//! Read as a stream of XML events: nothing here recurses, whatever the nesting.

mod body;
mod numbering;
mod styles;
pub(super) mod xml;

use super::archive::Archive;
use super::{ParseError, ParsedDocument};
use body::Body;
use numbering::Numbering;
use std::collections::HashMap;
use styles::Styles;
use xml::Step;

/// The parts that the text of a body refers to.
struct Parts {
    styles: Styles,
    numbering: Numbering,
    /// Relationship id to external address.
    links: HashMap<String, String>,
}

pub(super) fn parse(bytes: &[u8]) -> Result<ParsedDocument, ParseError> {
    let mut archive = Archive::open(bytes)?;
    let main = main_part(&mut archive)?;
    let (folder, file) = main.rsplit_once('/').unwrap_or(("", &main));
    let sibling = |name: &str| format!("{folder}/{name}").trim_start_matches('/').to_owned();
    let mut part = |name: &str| Ok::<_, ParseError>(archive.read(&sibling(name))?.unwrap_or_default());

    let styles = Styles::read(&part("styles.xml")?)?;
    let numbering = Numbering::read(&part("numbering.xml")?)?;
    let links = external_links(&part(&format!("_rels/{file}.rels"))?)?;
    let notes = [("footnotes.xml", "footnote", ""), ("endnotes.xml", "endnote", "e")];
    let notes = notes.map(|(name, element, mark)| Ok::<_, ParseError>((part(name)?, element, mark)));

    let mut body = Body::new(Parts { styles, numbering, links });
    body.read(&archive.read(&main)?.ok_or_else(|| ParseError::corrupt(format!("{main} is missing")))?)?;
    for note in notes {
        let (xml, element, mark) = note?;
        body.read_notes(&xml, element, mark)?;
    }
    let mut document = ParsedDocument::markdown("application/vnd.openxmlformats-officedocument.wordprocessingml.document", body.finish());
    document.title = own_title(&archive.read("docProps/core.xml")?.unwrap_or_default()).or(document.title);
    Ok(document)
}

/// Where the body is: the package's relationships say so, nearly always `word/document.xml`.
fn main_part(archive: &mut Archive<'_>) -> Result<String, ParseError> {
    let relationships = archive.read("_rels/.rels")?.unwrap_or_default();
    let mut main = None;
    xml::walk(&relationships, |step| {
        if let Step::Open { name: "Relationship", element } = step
            && xml::attribute(element, "Type").is_some_and(|kind| kind.ends_with("/officeDocument"))
        {
            main = xml::attribute(element, "Target");
        }
    })?;
    Ok(main.unwrap_or_else(|| "word/document.xml".to_owned()).trim_start_matches('/').to_owned())
}

fn external_links(relationships: &[u8]) -> Result<HashMap<String, String>, ParseError> {
    let mut links = HashMap::new();
    xml::walk(relationships, |step| {
        if let Step::Open { name: "Relationship", element } = step
            && xml::attribute(element, "TargetMode").as_deref() == Some("External")
        {
            links.extend(xml::attribute(element, "Id").zip(xml::attribute(element, "Target")));
        }
    })?;
    Ok(links)
}

/// `dc:title` of the core properties; damage there is no reason to lose the document.
pub(super) fn own_title(core: &[u8]) -> Option<String> {
    let (mut title, mut is_inside) = (String::new(), false);
    xml::walk(core, |step| match step {
        Step::Open { name: "title", .. } => is_inside = true,
        Step::Close { name: "title" } => is_inside = false,
        Step::Text(text) if is_inside => title.push_str(&text),
        _ => {}
    })
    .ok()?;
    let title = title.trim().to_owned();
    (!title.is_empty()).then_some(title)
}

#[cfg(test)]
mod tests;
