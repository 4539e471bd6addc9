//! From the bytes of a file to one text with structure.
//!
//! Every format is one file here behind one function `parse(...) -> Result<ParsedDocument, ParseError>`;
//! [`sniff`] decides which one is called, by content first and by name second.
//!
//! Invariants of a [`ParsedDocument`]: the text is UTF-8 without NUL and with LF line ends, holds
//! at least one character that is not white space, and every offset is on a char boundary of it,
//! in ascending order.
//!
//! Parsers read hostile bytes. [`InProcess`] is for tests and for the child process; a server uses
//! [`ChildParser`], in which a crash is a [`ParseError`] and nothing worse.

mod archive;
mod archive_listing;
mod attachments;
mod blocks;
mod child;
mod decode;
mod delimited;
mod docx;
mod eml;
mod epub;
mod error;
mod grid;
mod html;
mod json;
mod latex;
mod markdown;
mod msg;
mod notebook;
mod odf;
mod pdf;
mod pptx;
mod restructured;
mod rtf;
mod settings;
mod sniff;
mod source;
mod spreadsheet;
mod subtitles;
mod table;
mod xml;

pub use child::{ChildParser, ParseLimits, Sandbox, decode_answer, serve_child, serve_child_with};
pub use error::ParseError;
pub use markdown::markdown_headings;

use serde::{Deserialize, Serialize};
use sniff::Kind;

/// How the extracted text is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextFormat {
    /// Paragraphs and lines.
    Plain,
    /// CommonMark with tables.
    Markdown,
}

/// A heading in the extracted text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heading {
    /// First byte of the heading's line in the text.
    pub byte_start: usize,
    /// 1 (outermost) to 6.
    pub level: u8,
    /// Its words, without markup.
    pub title: String,
}

/// Where a page begins in the extracted text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageStart {
    /// First byte of the page's text.
    pub byte_start: usize,
    /// From 1. Pages without text are left out.
    pub number: u32,
}

/// A file inside a file: an entry of an archive, an attachment of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// As the container calls it: metadata, never a path to open.
    pub name: String,
    /// Its bytes, unpacked.
    pub bytes: Vec<u8>,
}

/// What a parser makes of a file; see the module for its invariants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParsedDocument {
    /// Of the original, as found out from its content (`application/pdf`).
    pub media_type: String,
    /// How `text` is to be read.
    pub format: TextFormat,
    /// The extracted text.
    pub text: String,
    /// The title that the document gives itself.
    pub title: Option<String>,
    /// In order of their place in the text.
    pub headings: Vec<Heading>,
    /// In order; empty where the format has no pages.
    pub pages: Vec<PageStart>,
    /// Pages, those without text included.
    pub page_count: Option<u32>,
    /// What was lost or guessed, in words.
    pub warnings: Vec<String>,
    /// Files inside this one, which become documents of their own.
    #[serde(default)]
    pub attachments: Vec<Attachment>,
}

impl ParsedDocument {
    fn plain(media_type: &str, text: String) -> Self {
        Self {
            media_type: media_type.to_owned(),
            format: TextFormat::Plain,
            text,
            title: None,
            headings: Vec::new(),
            pages: Vec::new(),
            page_count: None,
            warnings: Vec::new(),
            attachments: Vec::new(),
        }
    }

    fn markdown(media_type: &str, text: String) -> Self {
        let headings = markdown_headings(&text);
        let title = headings.first().filter(|heading| heading.level == 1).map(|heading| heading.title.clone());
        Self { format: TextFormat::Markdown, title, headings, ..Self::plain(media_type, text) }
    }
}

/// Turns the bytes of a file into text.
pub trait Parser: Send + Sync {
    /// Reads `bytes`; `name` (a file name, never a path to open) helps where they leave a choice.
    ///
    /// # Errors
    /// [`ParseError`]: why there is no text.
    fn parse(&self, name: &str, bytes: &[u8]) -> Result<ParsedDocument, ParseError>;
}

/// Calls the parsers directly: a crash in one is a crash of the process.
#[derive(Debug, Clone, Copy, Default)]
pub struct InProcess;

impl Parser for InProcess {
    fn parse(&self, name: &str, bytes: &[u8]) -> Result<ParsedDocument, ParseError> {
        let document = match sniff::sniff(name, bytes)? {
            Kind::Pdf => pdf::parse(bytes),
            Kind::Docx => docx::parse(bytes),
            Kind::Pptx => pptx::parse(bytes),
            Kind::Workbook(workbook) => spreadsheet::parse(bytes, workbook),
            Kind::OpenDocument => odf::parse(bytes),
            Kind::Epub => epub::parse(bytes),
            Kind::OutlookMessage => msg::parse(bytes),
            Kind::Zip => archive_listing::parse_zip(bytes),
            Kind::Gzip => archive_listing::parse_gzip(name, bytes),
            Kind::Message => eml::parse(bytes),
            Kind::Html(decoded) => html::parse(decoded),
            Kind::Json(decoded) => json::parse(decoded),
            Kind::JsonLines(decoded) => json::parse_lines(decoded),
            Kind::Delimited(decoded, delimiter) => delimited::parse(decoded, delimiter),
            Kind::Rtf => rtf::parse(bytes),
            Kind::Xml(decoded) => xml::parse(decoded),
            Kind::Notebook(decoded) => notebook::parse(decoded),
            Kind::Restructured(decoded) => restructured::parse(decoded),
            Kind::Latex(decoded) => latex::parse(decoded),
            Kind::Subtitles(decoded) => subtitles::parse(decoded),
            Kind::Settings(decoded, notation) => settings::parse(decoded, notation),
            Kind::Source(decoded, language) => source::parse(decoded, language),
            Kind::Markdown(decoded) => Ok(with_warning(ParsedDocument::markdown("text/markdown", decoded.text), decoded.warning)),
            Kind::Plain(decoded) => Ok(with_warning(ParsedDocument::plain("text/plain", decoded.text), decoded.warning)),
        }?;
        if document.text.trim().is_empty() { Err(ParseError::Empty) } else { Ok(document) }
    }
}

fn with_warning(mut document: ParsedDocument, warning: Option<String>) -> ParsedDocument {
    document.warnings.extend(warning);
    document
}

#[cfg(test)]
mod tests;
