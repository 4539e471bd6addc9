//! RSS and Atom: a heading for each entry, its date, authors and address, and its body as Markdown.

use super::steps::{Step, walk};
use super::words;
use crate::parse::{ParseError, ParsedDocument, html};
use std::fmt::Write;

/// The two families; RSS 1.0 is RDF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Rss,
    Atom,
}

impl Kind {
    /// By the outermost element.
    pub(super) fn of(root: &str, xml: &str) -> Option<Self> {
        match root {
            "rss" => Some(Self::Rss),
            "RDF" if xml.contains("<channel") && xml.contains("<item") => Some(Self::Rss),
            "feed" => Some(Self::Atom),
            _ => None,
        }
    }
}

pub(super) fn parse(xml: &str, kind: Kind) -> Result<ParsedDocument, ParseError> {
    let mut reader = Reader::default();
    walk(xml, |step| {
        reader.take(step);
        Ok(())
    })?;
    reader.feed.close(&mut reader.out, 1);
    // the feed says what it is before its entries, but may close after them
    let text = format!("{}{}", reader.out, reader.entries);
    let media_type = if kind == Kind::Atom { "application/atom+xml" } else { "application/rss+xml" };
    let mut document = ParsedDocument::markdown(media_type, text);
    document.title = reader.feed.title.or(document.title);
    Ok(document)
}

/// What a feed or an entry says of itself.
#[derive(Default)]
struct About {
    title: Option<String>,
    link: Option<String>,
    date: Option<String>,
    people: Vec<String>,
    categories: Vec<String>,
    summary: Option<String>,
    content: Option<String>,
}

#[derive(Default)]
struct Reader {
    /// Names of the open elements.
    open: Vec<String>,
    /// Where among them is the text of an entry. Elements inside it are its markup: Atom may hold XHTML.
    body_at: Option<usize>,
    markup: String,
    text: String,
    feed: About,
    entry: Option<About>,
    out: String,
    entries: String,
}

impl Reader {
    fn take(&mut self, step: Step<'_>) {
        match step {
            Step::Open { name, .. } if self.body_at.is_some() => {
                self.markup.push_str(&format!("<{name}>"));
                self.open.push(name.to_owned());
            }
            Step::Open { name, attributes } => self.open(name, &attributes),
            Step::Close => self.close(),
            Step::Text(text) => {
                if self.body_at.is_some() {
                    self.markup.push_str(&text.replace('&', "&amp;").replace('<', "&lt;"));
                }
                self.text.push_str(&text);
            }
        }
    }

    fn open(&mut self, name: &str, attributes: &[(String, String)]) {
        if matches!(name, "item" | "entry") {
            self.entry = Some(About::default());
        }
        if matches!(name, "content" | "summary" | "encoded" | "description") {
            self.body_at = Some(self.open.len());
        }
        self.open.push(name.to_owned());
        self.text.clear();
        self.markup.clear();
        self.keep_attributes(name, attributes);
    }

    /// Atom has its addresses and topics in attributes.
    fn keep_attributes(&mut self, name: &str, attributes: &[(String, String)]) {
        let value = |wanted: &str| attributes.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        let is_alternate = value("rel").is_none_or(|rel| rel == "alternate");
        if let Some(address) = value("href").filter(|_| name == "link" && is_alternate) {
            self.about().link.get_or_insert(address);
        }
        if let Some(term) = value("term").filter(|_| name == "category") {
            self.about().categories.push(term);
        }
    }

    fn close(&mut self) {
        let Some(name) = self.open.pop() else { return };
        if self.body_at.is_some_and(|at| self.open.len() > at) {
            self.markup.push_str(&format!("</{name}>"));
            return;
        }
        self.body_at = None;
        if matches!(name.as_str(), "item" | "entry") {
            if let Some(mut entry) = self.entry.take() {
                entry.close(&mut self.entries, 2);
            }
        } else if !self.is_of_a_picture() {
            self.keep(&name);
        }
    }

    /// RSS gives the feed's logo a title and a link as well.
    fn is_of_a_picture(&self) -> bool {
        self.open.last().is_some_and(|name| matches!(name.as_str(), "image" | "textInput" | "textinput" | "source"))
    }

    fn keep(&mut self, name: &str) {
        let text = std::mem::take(&mut self.text);
        let markup = std::mem::take(&mut self.markup);
        let line = Some(words(&text)).filter(|line| !line.is_empty());
        let body = || Some(html::fragment(if markup.contains('<') { &markup } else { &text })).filter(|body| !body.is_empty());
        let about = self.about();
        match name {
            "title" => about.title = about.title.take().or_else(|| line.map(|title| words(&html::fragment(&title)))),
            "link" => about.link = about.link.take().or(line),
            "pubDate" | "date" | "published" | "updated" => about.date = about.date.take().or(line),
            "author" | "creator" | "name" => about.people.extend(line),
            "category" | "subject" => about.categories.extend(line),
            "description" | "summary" | "subtitle" => about.summary = about.summary.take().or_else(body),
            "content" | "encoded" => about.content = about.content.take().or_else(body),
            _ => {}
        }
    }

    fn about(&mut self) -> &mut About {
        self.entry.as_mut().unwrap_or(&mut self.feed)
    }
}

impl About {
    fn close(&mut self, out: &mut String, level: usize) {
        let marks = "#".repeat(level);
        if let Some(title) = self.title.as_ref().filter(|title| !title.is_empty()) {
            let _ = write!(out, "{marks} {title}\n\n");
        }
        self.people.dedup();
        let joined = |all: &[String]| (!all.is_empty()).then(|| all.join(", "));
        let facts =
            [("Date", self.date.clone()), ("By", joined(&self.people)), ("Link", self.link.clone()), ("Topics", joined(&self.categories))];
        let facts: String = facts.into_iter().filter_map(|(name, value)| Some(format!("{name}: {}\n", value?))).collect();
        let body = self.content.as_ref().filter(|body| !body.is_empty()).or(self.summary.as_ref());
        for part in [Some(&facts), body].into_iter().flatten().filter(|part| !part.trim().is_empty()) {
            let _ = write!(out, "{}\n\n", part.trim());
        }
    }
}
