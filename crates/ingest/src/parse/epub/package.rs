//! What a book says of itself: the package document and the table of contents.

use crate::parse::ParseError;
use crate::parse::archive;
use crate::parse::blocks::one_line;
use crate::parse::docx::xml::{self, Step};
use quick_xml::events::BytesStart;
use std::collections::HashMap;

/// Elements of the metadata that are told, and how.
const FACTS: &[(&str, &str)] = &[
    ("title", "Title"),
    ("creator", "Authors"),
    ("publisher", "Publisher"),
    ("date", "Date"),
    ("language", "Language"),
    ("identifier", "Identifier"),
    ("description", "Description"),
];
/// Media types of chapters.
const CHAPTER_TYPES: &[&str] = &["application/xhtml+xml", "text/html", "application/html+xml"];
/// Metadata and contents entries longer than this, in bytes, are cut off by being left out.
const FACT_BYTES_MAX: usize = 4096;

#[derive(Debug, Default)]
struct Item {
    part: String,
    is_chapter: bool,
    /// A table of contents in the chapters' own language (EPUB 3) or as NCX (EPUB 2).
    is_contents: bool,
}

/// A package document.
#[derive(Debug, Default)]
pub(super) struct Package {
    pub(super) title: Option<String>,
    /// What is known of the book: name and value.
    pub(super) facts: Vec<(&'static str, String)>,
    /// Parts in reading order, without the table of contents.
    pub(super) chapters: Vec<String>,
    /// Parts that hold tables of contents.
    pub(super) contents: Vec<String>,
}

impl Package {
    pub(super) fn read(place: &str, xml: &[u8]) -> Result<Self, ParseError> {
        let mut package = Self::default();
        let mut items = HashMap::new();
        let mut fact: Option<(&'static str, String)> = None;
        xml::walk(xml, |step| match step {
            Step::Open { name: "item", element } => items.extend(xml::attribute(element, "id").zip(Item::read(place, element))),
            Step::Open { name: "itemref", element } => {
                let item = xml::attribute(element, "idref").and_then(|id| items.get(&id));
                package.chapters.extend(item.filter(|item| item.is_chapter).map(|item| item.part.clone()));
            }
            Step::Open { name, .. } => fact = FACTS.iter().find(|(element, _)| *element == name).map(|(_, name)| (*name, String::new())),
            Step::Text(text) => fact.iter_mut().for_each(|(_, value)| value.push_str(&text)),
            Step::Close { .. } => package.tell(fact.take()),
        })?;
        package.contents = items.into_values().filter(|item| item.is_contents).map(|item| item.part).collect();
        package.contents.sort();
        package.title = package.facts.iter().find(|(name, _)| *name == "Title").map(|(_, title)| title.clone());
        Ok(package)
    }

    /// Authors stand in one line; of everything else the first is told.
    fn tell(&mut self, fact: Option<(&'static str, String)>) {
        let Some((name, value)) = fact.map(|(name, value)| (name, one_line(&value))) else { return };
        if value.is_empty() || value.len() > FACT_BYTES_MAX {
            return;
        }
        match self.facts.iter_mut().find(|(told, _)| *told == name) {
            Some((_, authors)) if name == "Authors" && authors.len() < FACT_BYTES_MAX => authors.push_str(&format!(", {value}")),
            Some(_) => {}
            None => self.facts.push((name, value)),
        }
    }
}

impl Item {
    fn read(place: &str, element: &BytesStart<'_>) -> Option<Self> {
        let media_type = xml::attribute(element, "media-type").unwrap_or_default();
        let properties = xml::attribute(element, "properties").unwrap_or_default();
        let is_nav = properties.split_whitespace().any(|property| property == "nav");
        Some(Self {
            part: part(place, &xml::attribute(element, "href")?),
            is_chapter: CHAPTER_TYPES.contains(&media_type.as_str()) && !is_nav,
            is_contents: is_nav || media_type == "application/x-dtbncx+xml",
        })
    }
}

/// The part that an address in a part means: its escapes undone, without a place inside.
pub(super) fn part(place: &str, address: &str) -> String {
    let path = address.split('#').next().unwrap_or_default();
    archive::resolved(place, &unescaped(path))
}

fn unescaped(path: &str) -> String {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok()).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let (byte, used) = if *byte == b'%' { hex.map_or((*byte, 0), |byte| (byte, 2)) } else { (*byte, 0) };
        out.push(byte);
        rest = after.get(used..).unwrap_or_default();
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Learns the names of chapters from a `nav` document or an NCX; the first name of a part counts.
pub(super) fn learn_names(place: &str, xml: &[u8], names: &mut HashMap<String, String>) -> Result<(), ParseError> {
    let (mut words, mut address, mut is_label) = (String::new(), None, false);
    xml::walk(xml, |step| match step {
        Step::Open { name: "a", element } => (is_label, address, words) = (true, xml::attribute(element, "href"), String::new()),
        Step::Open { name: "navLabel", .. } => (is_label, words) = (true, String::new()),
        Step::Close { name: "navLabel" } => is_label = false,
        Step::Open { name: "content", element } => learn(place, xml::attribute(element, "src"), &words, names),
        Step::Close { name: "a" } => {
            is_label = false;
            learn(place, address.take(), &words, names);
        }
        Step::Text(text) if is_label => words.push_str(&text),
        _ => {}
    })
}

fn learn(place: &str, address: Option<String>, words: &str, names: &mut HashMap<String, String>) {
    let words = one_line(words);
    if let Some(address) = address.filter(|_| !words.is_empty() && words.len() <= FACT_BYTES_MAX) {
        names.entry(part(place, &address)).or_insert(words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_parts() {
        assert_eq!(part("OEBPS/content.opf", "Text/chapter%201.xhtml#top"), "OEBPS/Text/chapter 1.xhtml");
        assert_eq!(part("content.opf", "%zz%4"), "%zz%4");
    }
}
