//! XML: feeds as headings and text, everything else as its text in document order.
//!
//! Elements that hold nothing but a short text are fields (`price: 12`), as in most files that
//! programs write; elements that mix text and elements are paragraphs. Titles become headings,
//! one level for each titled element around them. Of attributes, those that people write are kept.
//!
//! Entities other than the five of XML are never expanded: a document that declares some is
//! refused. Nothing recurses, and depth is bounded all the same.

mod feed;
mod outline;
mod steps;

use super::decode::Decoded;
use super::{ParseError, ParsedDocument, with_warning};
use outline::{Element, Outline};
use steps::{Step, walk};

/// Elements whose text is what their section is called.
const TITLES: &[&str] = &["title", "heading", "head", "caption"];
/// Short texts in these are prose, not fields.
const PROSE: &[&str] = &[
    "cell", "code", "em", "emphasis", "entry", "i", "b", "item", "l", "li", "line", "literal", "p", "para", "quote", "s", "seg",
    "sentence", "simpara", "span", "strong", "t", "td", "text", "th", "tspan", "u", "v", "verse", "w",
];
/// Attributes that hold words for people.
const ATTRIBUTES: &[&str] = &["title", "label", "alt", "caption", "summary", "description", "heading"];
/// Longest text that is a field, in characters.
const FIELD_CHARS_MAX: usize = 200;

pub(super) fn parse(decoded: Decoded) -> Result<ParsedDocument, ParseError> {
    let outline = Outline::of(&decoded.text)?;
    let document = match feed::Kind::of(&outline.root, &decoded.text) {
        Some(kind) => feed::parse(&decoded.text, kind)?,
        None => generic(&decoded.text, &outline)?,
    };
    Ok(with_warning(document, decoded.warning))
}

/// Whether a text says that it is XML, whatever its name.
pub(super) fn is_xml(text: &str) -> bool {
    let start = text.trim_start();
    start.starts_with("<?xml ") || ["<rss", "<feed", "<svg", "<opml"].iter().any(|root| start.starts_with(root))
}

fn generic(xml: &str, outline: &Outline) -> Result<ParsedDocument, ParseError> {
    let mut writer = Writer { outline, next: 0, open: Vec::new(), text: String::new(), out: String::new(), titled: 0, mixed: 0 };
    walk(xml, |step| {
        writer.take(step);
        Ok(())
    })?;
    let mut document = ParsedDocument::markdown("application/xml", writer.out);
    document.title = document.headings.first().map(|heading| heading.title.clone());
    Ok(document)
}

/// Writes the second time through the document, knowing from the first what each element is.
struct Writer<'o> {
    outline: &'o Outline,
    /// Index of the element that opens next.
    next: usize,
    /// Indices and names of the open elements.
    open: Vec<(usize, String)>,
    /// Of the current block.
    text: String,
    out: String,
    /// How many of the open elements have a title.
    titled: usize,
    /// How many of the open elements mix text and elements: what is inside them is inline.
    mixed: usize,
}

impl Writer<'_> {
    fn take(&mut self, step: Step<'_>) {
        match step {
            Step::Open { name, attributes } => self.open(name, &attributes),
            Step::Close => self.close(),
            Step::Text(text) => self.text.push_str(&text),
        }
    }

    fn open(&mut self, name: &str, attributes: &[(String, String)]) {
        let element = self.outline.element(self.next);
        self.open.push((self.next, name.to_owned()));
        self.next += 1;
        if self.mixed == 0 {
            self.text.clear();
            let is_bare = !element.has_text && !element.has_elements;
            for (name, value) in attributes.iter().filter(|(name, value)| is_for_people(name, value, is_bare)) {
                self.block(&format!("{name}: {value}"), "\n");
            }
        }
        self.titled += usize::from(element.has_title);
        self.mixed += usize::from(element.is_mixed());
    }

    fn close(&mut self) {
        let Some((index, name)) = self.open.pop() else { return };
        let element = self.outline.element(index);
        self.titled -= usize::from(element.has_title);
        self.mixed -= usize::from(element.is_mixed());
        if self.mixed == 0 {
            let words = words(&std::mem::take(&mut self.text));
            self.write(&name, element, &words);
        }
    }

    fn write(&mut self, name: &str, element: Element, words: &str) {
        if words.is_empty() {
            return;
        }
        let is_leaf = !element.has_elements;
        let is_short = words.chars().count() <= FIELD_CHARS_MAX;
        if is_short && TITLES.contains(&name) {
            let marks = "#".repeat(self.titled.clamp(1, 6));
            self.block(&format!("{marks} {words}"), "\n\n");
        } else if is_leaf && is_short && !self.open.is_empty() && !PROSE.contains(&name) {
            self.block(&format!("{name}: {words}"), "\n");
        } else {
            self.block(words, "\n\n");
        }
    }

    fn block(&mut self, words: &str, end: &str) {
        // a heading or paragraph behind fields is a block of its own
        if end == "\n\n" && !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
        self.out.push_str(words);
        self.out.push_str(end);
    }
}

/// Words in an attribute of an element with content; in one without, every value that has a letter
/// or a digit, names of namespaces and of things elsewhere aside.
fn is_for_people(name: &str, value: &str, is_bare: bool) -> bool {
    let local = name.rsplit(':').next().unwrap_or(name);
    let is_read =
        ATTRIBUTES.contains(&local) || (is_bare && !name.starts_with("xml") && !matches!(local, "id" | "class" | "style" | "d" | "points"));
    is_read && value.chars().any(char::is_alphanumeric)
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
