//! Rich Text Format: paragraphs, headings, lists, tables and links as Markdown.
//!
//! An RTF file is a stream of control words in nested groups; a group restores at its end what was
//! set inside it. Text is bytes in the code page of the current font, or `\u` with a replacement
//! for old readers. What is not text (fonts, styles, pictures, objects, headers and footers,
//! anything marked as skippable and not known here) is passed over.
//!
//! Source of the format: Rich Text Format (RTF) Specification, version 1.9.1, Microsoft, 2008.

mod code_page;
mod control;
mod state;
mod token;
mod writer;

use super::{ParseError, ParsedDocument};
use state::{Destination, State, Styles};
use token::{Token, Tokens};
use writer::Writer;

/// Deepest nesting of groups that is read. Nothing here recurses; word processors stay below fifty.
const GROUPS_MAX: usize = 1_024;

pub(super) fn parse(bytes: &[u8]) -> Result<ParsedDocument, ParseError> {
    let mut reader = Reader::default();
    for token in Tokens::of(bytes) {
        reader.take(token)?;
    }
    reader.finish()
}

/// Everything that is known at a place in the stream.
#[derive(Default)]
struct Reader {
    state: State,
    /// States of the groups around the current one.
    around: Vec<State>,
    styles: Styles,
    writer: Writer,
    /// Bytes of the current code page that are not decoded yet: a character may be two of them.
    bytes: Vec<u8>,
    /// The first half of a character that `\u` gives in two.
    high_surrogate: Option<u16>,
    /// Characters left of the replacement of a `\u`.
    to_skip: usize,
    /// Text of the group that is read for what it says and not shown: a style's name, a link's address.
    aside: String,
    title: Option<String>,
    /// Where the current link leads.
    address: Option<String>,
    is_cut: bool,
}

impl Reader {
    fn take(&mut self, token: Token<'_>) -> Result<(), ParseError> {
        match token {
            Token::Open => self.open()?,
            Token::Close => self.close(),
            Token::Byte(byte) => self.byte(byte),
            Token::Word { name, number } => {
                // the replacement of a `\u` ends with any control word
                self.to_skip = 0;
                self.control(name, number);
            }
            Token::Symbol(symbol) => self.symbol(symbol),
            Token::End { is_inside } => self.is_cut |= is_inside,
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), ParseError> {
        self.flush();
        self.to_skip = 0;
        if self.around.len() >= GROUPS_MAX {
            return Err(ParseError::unsupported(format!("RTF nested deeper than {GROUPS_MAX} groups")));
        }
        self.around.push(self.state.clone());
        self.state.is_at_start = true;
        Ok(())
    }

    fn close(&mut self) {
        self.flush();
        self.to_skip = 0;
        let Some(outer) = self.around.pop() else { return };
        let inner = std::mem::replace(&mut self.state, outer);
        if inner.destination != self.state.destination {
            self.leave(inner.destination);
        } else if inner.destination == Destination::Styles {
            self.end_style();
        }
    }

    /// What a destination was read for is used when its group ends.
    fn leave(&mut self, destination: Destination) {
        let said = || self.aside.split_whitespace().collect::<Vec<_>>().join(" ");
        match destination {
            Destination::Title => self.title = Some(said()).filter(|title| !title.is_empty()),
            Destination::Marker => self.writer.marker(&said()),
            Destination::Instruction => self.address = address_in(&self.aside),
            Destination::Result => {
                let address = self.address.take();
                self.writer.end_link(address);
            }
            Destination::Note => self.writer.push(")"),
            _ => {}
        }
        self.aside.clear();
    }

    /// `{\s1\outlinelevel0 … heading 1;}`
    fn end_style(&mut self) {
        let name = std::mem::take(&mut self.aside);
        self.styles.define(self.state.styled.take(), name.trim().trim_end_matches(';'));
    }

    fn byte(&mut self, byte: u8) {
        self.state.is_at_start = false;
        if self.to_skip > 0 {
            self.to_skip -= 1;
        } else if self.state.is_read() {
            self.bytes.push(byte);
        }
    }

    /// A character that is no byte of a code page.
    fn character(&mut self, character: char) {
        self.flush();
        self.push(character.encode_utf8(&mut [0; 4]));
    }

    /// Decodes what has been collected: the code page is about to change, or the place to write to.
    fn flush(&mut self) {
        if !self.bytes.is_empty() {
            let bytes = std::mem::take(&mut self.bytes);
            let text = super::decode::decode_as(self.styles.encoding(&self.state), &bytes);
            self.push(&text);
        }
    }

    fn push(&mut self, text: &str) {
        let text = text.replace(['\0', '\r', '\n'], "");
        match self.state.destination {
            Destination::Body | Destination::Result | Destination::Note if !self.state.is_hidden => self.writer.push(&text),
            Destination::Styles | Destination::Title | Destination::Marker | Destination::Instruction => self.aside.push_str(&text),
            _ => {}
        }
    }

    /// One unit of UTF-16; half a character waits for the other half.
    fn unit(&mut self, unit: u16) {
        let pair: Vec<u16> = self.high_surrogate.take().into_iter().chain([unit]).collect();
        match String::from_utf16(&pair) {
            Ok(text) if self.state.is_read() => {
                self.flush();
                self.push(&text);
            }
            Err(_) if (0xd800..0xdc00).contains(&unit) => self.high_surrogate = Some(unit),
            _ => {}
        }
        self.to_skip = self.state.replacement_length;
    }

    fn finish(mut self) -> Result<ParsedDocument, ParseError> {
        self.flush();
        let mut document = ParsedDocument::markdown("application/rtf", self.writer.finish());
        document.title = self.title.or(document.title);
        if self.is_cut || !self.around.is_empty() {
            document.warnings.push("the file ends inside a group: something at its end is missing".to_owned());
        }
        Ok(document)
    }
}

/// `HYPERLINK "https://example.org/"`.
fn address_in(instruction: &str) -> Option<String> {
    let (_, rest) = instruction.split_once("HYPERLINK")?;
    let rest = rest.trim_start();
    let address = rest.strip_prefix('"').map_or_else(|| rest.split_whitespace().next(), |rest| rest.split('"').next())?;
    let is_kept = (address.starts_with("http://") || address.starts_with("https://")) && !address.contains(['(', ')', ' ']);
    is_kept.then(|| address.to_owned())
}

#[cfg(test)]
mod tests;
