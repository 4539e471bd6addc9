//! Bytes to text: byte order marks, UTF-8, wide encodings without a mark, what the document
//! declares, else a guess.
//!
//! The order is from the certain to the likely. Bytes that are UTF-8 by accident hardly exist, so
//! that UTF-8 goes before every declaration. A wide encoding shows in control bytes that no 8-bit
//! text has; only then is it tried, and only believed if nearly all of what comes out are
//! characters that people write. A declaration is believed if the bytes can be read by it.

mod declared;
mod wide;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use declared::declared;
use encoding_rs::{Encoding, GB18030, GBK, ISO_2022_JP, UTF_8};

/// Text in our form: UTF-8, no NUL, LF line ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) text: String,
    /// What was guessed or lost.
    pub(super) warning: Option<String>,
}

/// How much of a document a guess is made from, in bytes.
const GUESS_BYTES_MAX: usize = 1 << 20;
/// One character in so many may be lost, beside the stray ones: more is no text in that encoding.
const LOST_SHARE: usize = 20;
/// One byte in so many may be NUL: some programs end their fields or lines with it.
const NUL_SHARE: usize = 16;
/// One byte in so many may be another control character that no text editor writes.
const CONTROL_SHARE: usize = 100;
/// Stray bytes that even the shortest text may hold.
const STRAY_BYTES: usize = 2;

/// Decodes; `None` if the bytes are no text.
pub(super) fn decode(bytes: &[u8]) -> Option<Decoded> {
    if let Some(text) = wide::marked_utf32(bytes) {
        return judged(&text, 0, "UTF-32", false);
    }
    if let Some((encoding, mark_length)) = Encoding::for_bom(bytes) {
        return with(encoding, bytes.get(mark_length..)?, false);
    }
    let is_binary = looks_binary(bytes);
    if has_japanese_escape(bytes) {
        return with(ISO_2022_JP, bytes, true);
    }
    if let Some(text) = std::str::from_utf8(bytes).ok().filter(|_| !is_binary) {
        return judged(text, 0, UTF_8.name(), false);
    }
    if let Some((text, name)) = wide::unmarked(bytes) {
        return judged(&text, 0, name, true);
    }
    if is_binary {
        return None;
    }
    if is_damaged_utf8(bytes) {
        return with(UTF_8, bytes, false);
    }
    declared(bytes).and_then(|encoding| with(encoding, bytes, true)).or_else(|| with(guessed(bytes), bytes, true))
}

/// Decodes as one encoding, without a question; `\u{fffd}` stands for what can't be read.
pub(super) fn decode_as(encoding: &'static Encoding, bytes: &[u8]) -> String {
    widest(encoding).decode_without_bom_handling(bytes).0.into_owned()
}

/// GBK is a part of GB18030, which is what today's programs write under either name.
fn widest(encoding: &'static Encoding) -> &'static Encoding {
    if encoding == GBK { GB18030 } else { encoding }
}

fn with(encoding: &'static Encoding, bytes: &[u8], is_guess: bool) -> Option<Decoded> {
    let (text, is_damaged) = widest(encoding).decode_without_bom_handling(bytes);
    let lost = if is_damaged { text.chars().filter(|c| *c == char::REPLACEMENT_CHARACTER).count() } else { 0 };
    judged(&text, lost, encoding.name(), is_guess)
}

/// Text if little of it is lost and it looks like text, with a warning about what is not sure.
fn judged(text: &str, lost: usize, encoding: &str, is_guess: bool) -> Option<Decoded> {
    // a few broken characters are a damaged text; many are no text at all
    if lost > STRAY_BYTES + text.chars().count() / LOST_SHARE || looks_binary(text.as_bytes()) {
        return None;
    }
    let mut warnings = Vec::new();
    match (lost, is_guess) {
        (0, false) => {}
        (0, true) => warnings.push(format!("the text is not UTF-8; it was read as {encoding}")),
        (lost, _) => warnings.push(format!("{lost} characters could not be read as {encoding}")),
    }
    let zeros = text.bytes().filter(|byte| *byte == 0).count();
    if zeros > 0 {
        warnings.push(format!("{zeros} NUL characters were left out"));
    }
    let warning = (!warnings.is_empty()).then(|| warnings.join("; "));
    Some(Decoded { text: tidy(text), warning })
}

fn tidy(text: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.replace("\r\n", "\n").replace('\r', "\n").replace('\0', "")
}

/// More control characters than a text has by accident.
fn looks_binary(bytes: &[u8]) -> bool {
    let zeros = bytes.iter().filter(|byte| **byte == 0).count();
    let controls = bytes.iter().filter(|byte| is_control(**byte)).count();
    zeros > STRAY_BYTES + bytes.len() / NUL_SHARE || controls > STRAY_BYTES + bytes.len() / CONTROL_SHARE
}

/// Control characters that no text editor writes. Not among them: tab, line feed, form feed,
/// carriage return, escape. NUL is counted apart.
const fn is_control(byte: u8) -> bool {
    matches!(byte, 1..=8 | 11 | 14..=26 | 28..=31)
}

/// What switches ISO-2022-JP to Japanese; its bytes are all ASCII.
fn has_japanese_escape(bytes: &[u8]) -> bool {
    let has = |escape: &[u8]| bytes.windows(escape.len()).any(|window| window == escape);
    bytes.contains(&0x1b) && (has(b"\x1b$B") || has(b"\x1b$@")) && !ISO_2022_JP.decode_without_bom_handling(bytes).1
}

/// Mostly sound UTF-8, a few bytes of which are broken: other encodings don't look like it.
fn is_damaged_utf8(bytes: &[u8]) -> bool {
    let (mut wide, mut broken) = (0usize, 0usize);
    for chunk in bytes.utf8_chunks() {
        wide += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        broken += usize::from(!chunk.invalid().is_empty());
    }
    broken > 0 && wide >= broken * 4
}

fn guessed(bytes: &[u8]) -> &'static Encoding {
    let head = bytes.get(..GUESS_BYTES_MAX).unwrap_or(bytes);
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    detector.feed(head, head.len() == bytes.len());
    detector.guess(None, Utf8Detection::Deny)
}

#[cfg(test)]
mod tests;
