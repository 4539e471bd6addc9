//! What travels between parent and child. All numbers are u64, little-endian.
//!
//! ```text
//! parent → child   start    memory_bytes_max, output_bytes_max, timeout_ms
//! child → parent   ready    frame of JSON: the active parts of the sandbox
//! then, for each document:
//! parent → child   request  length of the name, length of the bytes, name, bytes
//! child → parent   read     empty frame: what happens from here on is the document's doing
//! child → parent   answer   frame of: length of the head, head as JSON, text, attachments
//! ```
//!
//! A frame is its length and so many bytes. The text and the attachments travel raw, since as JSON
//! they would be several times as large. [`decode_answer`] reads what a taken-over child may have
//! written: no length in it is believed, and no offset.

use crate::parse::{Attachment, ParseError, ParsedDocument};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};

/// Bytes of a number.
pub(super) const NUMBER_BYTES: usize = 8;
/// Longest name that a request may have, in bytes: a client's is a file name.
const NAME_BYTES_MAX: u64 = 1 << 16;
/// What is kept of each string in an error that a child reports, in bytes.
const REASON_BYTES_MAX: usize = 4096;

/// What a child is told once, before its first document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) memory_bytes_max: u64,
    pub(super) output_bytes_max: u64,
    pub(super) timeout_ms: u64,
}

impl Start {
    pub(super) fn encode(&self) -> Vec<u8> {
        numbers([self.memory_bytes_max, self.output_bytes_max, self.timeout_ms])
    }

    pub(super) fn read(input: &mut impl Read) -> io::Result<Self> {
        let mut number = || read_number(input);
        Ok(Self { memory_bytes_max: number()?, output_bytes_max: number()?, timeout_ms: number()? })
    }
}

/// The first bytes of a request; the name and the document follow.
pub(super) fn request_head(name: &str, bytes: &[u8]) -> Vec<u8> {
    numbers([name.len() as u64, bytes.len() as u64])
}

/// The name and the bytes of the next document; `None` if the parent has no more.
pub(super) fn read_request(input: &mut impl Read) -> io::Result<Option<(String, Vec<u8>)>> {
    let name_length = match read_number(input) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        number => number?,
    };
    if name_length > NAME_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let length = read_number(input)?;
    let name = String::from_utf8_lossy(&read_bytes(input, name_length)?).into_owned();
    Ok(Some((name, read_bytes(input, length)?)))
}

/// A name that a request can carry.
pub(super) fn short_name(name: &str) -> &str {
    name.get(..name.floor_char_boundary(usize::try_from(NAME_BYTES_MAX).unwrap_or(usize::MAX))).unwrap_or_default()
}

/// Writes one frame out of its parts.
pub(super) fn write_frame(output: &mut impl Write, parts: &[&[u8]]) -> io::Result<()> {
    let length: u64 = parts.iter().map(|part| part.len() as u64).sum();
    output.write_all(&length.to_le_bytes())?;
    parts.iter().try_for_each(|part| output.write_all(part))?;
    output.flush()
}

/// What an answer says before its raw parts.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    /// Without its text and attachments.
    result: Result<ParsedDocument, ParseError>,
    text_bytes: u64,
    /// Name and length of each.
    attachments: Vec<(String, u64)>,
}

/// An answer ready to be written.
#[derive(Debug)]
pub(super) struct Answer {
    head: Vec<u8>,
    text: String,
    attachments: Vec<Attachment>,
}

impl Answer {
    /// Puts a result into its form; one that has more than `bytes_max` bytes becomes an error.
    pub(super) fn new(result: Result<ParsedDocument, ParseError>, bytes_max: u64) -> io::Result<Self> {
        let answer = Self::of(result)?;
        if answer.bytes() <= bytes_max {
            return Ok(answer);
        }
        let what = if answer.attachments.is_empty() { "the extracted text" } else { "the extracted text with its attachments" };
        Self::of(Err(ParseError::TooLarge { what: what.to_owned(), bytes_max }))
    }

    fn of(mut result: Result<ParsedDocument, ParseError>) -> io::Result<Self> {
        let taken = result.as_mut().map(|document| (std::mem::take(&mut document.text), std::mem::take(&mut document.attachments)));
        let (text, attachments) = taken.unwrap_or_default();
        let lengths = attachments.iter().map(|attachment| (attachment.name.clone(), attachment.bytes.len() as u64)).collect();
        let head = Head { result, text_bytes: text.len() as u64, attachments: lengths };
        Ok(Self { head: serde_json::to_vec(&head)?, text, attachments })
    }

    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let attachments = self.attachments.iter().map(|attachment| attachment.bytes.as_slice());
        [self.head.as_slice(), self.text.as_bytes()].into_iter().chain(attachments)
    }

    fn bytes(&self) -> u64 {
        self.parts().map(|part| part.len() as u64).sum()
    }

    /// Writes it as one frame.
    pub(super) fn write(&self, output: &mut impl Write) -> io::Result<()> {
        let head_length = (self.head.len() as u64).to_le_bytes();
        let parts: Vec<&[u8]> = std::iter::once(head_length.as_slice()).chain(self.parts()).collect();
        write_frame(output, &parts)
    }
}

/// Reads the content of an answer's frame, as a child wrote it that may have been taken over;
/// `None` if it is no answer. What it gives holds the invariants of [`ParsedDocument`] that the
/// rest of the pipeline cuts by: offsets in order and on char boundaries.
#[must_use]
pub fn decode_answer(frame: &[u8]) -> Option<Result<ParsedDocument, ParseError>> {
    let mut rest = frame;
    let head_length = rest.split_off(..NUMBER_BYTES)?.first_chunk().copied().map(u64::from_le_bytes)?;
    let head: Head = serde_json::from_slice(take(&mut rest, head_length)?).ok()?;
    let text = std::str::from_utf8(take(&mut rest, head.text_bytes)?).ok()?;
    let mut attachments = Vec::new();
    for (name, length) in head.attachments {
        attachments.push(Attachment { name, bytes: take(&mut rest, length)?.to_vec() });
    }
    match head.result {
        _ if !rest.is_empty() => None,
        Err(error) => reported(error).map(Err),
        Ok(document) => {
            let document = ParsedDocument { text: text.to_owned(), attachments, ..document };
            holds(&document).then_some(Ok(document))
        }
    }
}

fn take<'f>(rest: &mut &'f [u8], length: u64) -> Option<&'f [u8]> {
    rest.split_off(..usize::try_from(length).ok()?)
}

fn holds(document: &ParsedDocument) -> bool {
    let headings = document.headings.iter().map(|heading| heading.byte_start);
    let pages = document.pages.iter().map(|page| page.byte_start);
    are_places(&document.text, headings) && are_places(&document.text, pages)
}

/// Whether these are char boundaries, in order.
fn are_places(text: &str, mut offsets: impl Iterator<Item = usize>) -> bool {
    let mut last = 0;
    offsets.all(|at| {
        let is_next = at >= last && text.is_char_boundary(at);
        last = at;
        is_next
    })
}

/// An error as a child may report it: short, and not one that only the parent can know, since
/// [`ParseError::Unavailable`] would have the document tried again for ever.
fn reported(mut error: ParseError) -> Option<ParseError> {
    match &mut error {
        ParseError::Unavailable { .. } | ParseError::Crashed { .. } => return None,
        ParseError::Unsupported { detected: reason }
        | ParseError::Corrupt { reason }
        | ParseError::TooLarge { what: reason, .. }
        | ParseError::TooMany { what: reason, .. } => {
            reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
        }
        ParseError::Empty | ParseError::Encrypted | ParseError::ImageOnly | ParseError::Unmapped => {}
        ParseError::Timeout { .. } | ParseError::OutOfMemory { .. } => {}
    }
    Some(error)
}

fn numbers<const N: usize>(numbers: [u64; N]) -> Vec<u8> {
    numbers.into_iter().flat_map(u64::to_le_bytes).collect()
}

fn read_number(input: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; NUMBER_BYTES];
    input.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn read_bytes(input: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests;
