//! Mails (RFC 5322 with MIME; .eml, .mht): who wrote what to whom, then the words.
//!
//! The text is the subject as a heading, the lines From, To, Cc and Date, and the body: its plain text, or
//! else its HTML read as a page is. What hangs on the mail becomes documents of their own, forwarded
//! mails too; pictures that belong to the page and signatures are left out.
//!
//! `mail-parser` reads without recursion, whatever the nesting of multiparts; only mails within
//! mails become a tree, and taking that down takes stack for each level. A level needs a
//! `Content-Type`, so their number is bounded before anything is read.

mod head;
mod parts;

pub(super) use head::is_message;

use super::decode::{Decoded, decode};
use super::{Heading, ParseError, ParsedDocument, html};
use head::Head;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::{Message, MessageParser, MessagePart, MimeHeaders, PartType};
use parts::raw_bytes;
use std::collections::BTreeSet;

/// Parts of a mail, at every depth.
const PARTS_MAX: usize = 10_000;
const MEDIA_TYPE: &str = "message/rfc822";

pub(super) fn parse(bytes: &[u8]) -> Result<ParsedDocument, ParseError> {
    if parts_stated(bytes) > PARTS_MAX {
        return Err(ParseError::TooMany { what: "parts in the mail".to_owned(), count_max: PARTS_MAX as u64 });
    }
    let message = MessageParser::default().parse(bytes).ok_or_else(|| ParseError::corrupt("there is no header of a mail"))?;
    let body = Body::of(&message);
    if body.text.trim().is_empty() && parts::is_encrypted(&message) {
        return Err(ParseError::Encrypted);
    }
    let head = Head::of(&message);
    let mut document = assemble(&head, &body);
    let (attachments, warnings) = parts::attachments(&message, &body.used);
    document.attachments = attachments;
    document.warnings.extend(warnings);
    document.title = head.subject;
    Ok(document)
}

/// How often the name of the header is written that every part below the first needs.
fn parts_stated(bytes: &[u8]) -> usize {
    const NAME: &[u8] = b"content-type";
    bytes.windows(NAME.len()).filter(|window| window.eq_ignore_ascii_case(NAME)).count()
}

/// Marks in a plain body are not structure: there the subject is the only heading.
fn assemble(head: &Head, body: &Body) -> ParsedDocument {
    let [heading, lines] = head.blocks();
    let blocks = [heading.as_str(), lines.as_str(), body.text.trim_matches('\n').trim_end()];
    let text = blocks.into_iter().filter(|block| !block.is_empty()).collect::<Vec<_>>().join("\n\n") + "\n";
    if body.is_markdown {
        return ParsedDocument::markdown(MEDIA_TYPE, text);
    }
    let heading = head.subject.as_ref().map(|subject| Heading { byte_start: 0, level: 1, title: subject.clone() });
    ParsedDocument { headings: heading.into_iter().collect(), ..ParsedDocument::plain(MEDIA_TYPE, text) }
}

/// The words of a mail.
struct Body {
    text: String,
    is_markdown: bool,
    /// The parts that it was made of.
    used: BTreeSet<u32>,
}

impl Body {
    /// The plain text if there is any, else the HTML, else what a broken structure left lying about.
    fn of(message: &Message<'_>) -> Self {
        let strays: Vec<u32> = message.attachments.iter().copied().filter(|id| is_stray_text(message, *id)).collect();
        let candidates = [message.text_body.as_slice(), message.html_body.as_slice(), strays.as_slice()];
        let mut bodies = candidates.into_iter().map(|parts| Self::made_of(message, parts));
        bodies.find(|body| body.text.contains(char::is_alphanumeric)).unwrap_or_else(|| Self::made_of(message, &[]))
    }

    fn made_of(message: &Message<'_>, parts: &[u32]) -> Self {
        let mut body = Self { text: String::new(), is_markdown: false, used: BTreeSet::new() };
        for id in parts {
            let Some(part) = message.parts.get(*id as usize) else { continue };
            let text = match &part.body {
                PartType::Text(text) => readable(message, part, text),
                PartType::Html(text) => {
                    body.is_markdown = true;
                    page(readable(message, part, text))
                }
                _ => continue,
            };
            body.used.insert(*id);
            body.text.push_str(text.trim_matches('\n'));
            body.text.push_str("\n\n");
        }
        body
    }
}

/// A text without a name that nobody declared to be an attachment.
fn is_stray_text(message: &Message<'_>, id: u32) -> bool {
    message.parts.get(id as usize).is_some_and(|part| {
        let is_declared = part.content_disposition().is_some_and(|disposition| disposition.is_attachment());
        let is_prose =
            part.content_type().is_none_or(|kind| kind.ctype() == "text" && matches!(kind.subtype(), Some("plain" | "html") | None));
        part.is_text() && is_prose && !is_declared && part.attachment_name().is_none()
    })
}

/// A part's text; one whose encoding is not told, or unknown, is guessed as that of a file is.
fn readable(message: &Message<'_>, part: &MessagePart<'_>, text: &str) -> String {
    let charset = part.content_type().and_then(|kind| kind.attribute("charset"));
    let is_told = charset.is_some_and(|charset| charset_decoder(charset.as_bytes()).is_some());
    let guessed = (!is_told && text.contains(char::REPLACEMENT_CHARACTER)).then(|| decode(&raw_bytes(message, part))).flatten();
    guessed.map_or_else(|| tidy(text), |decoded| decoded.text)
}

/// UTF-8 in our form: LF line ends, no NUL.
fn tidy(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n").replace(['\0', '\u{feff}'], "")
}

fn page(html: String) -> String {
    html::parse(Decoded { text: html, warning: None }).map(|page| page.text).unwrap_or_default()
}

#[cfg(test)]
mod tests;
