//! UTF-32, and UTF-16 and UTF-32 without a byte order mark.

use encoding_rs::{UTF_16BE, UTF_16LE};

/// The least share, in percent, of characters that people write: random 16-bit numbers reach half of it.
const PLAUSIBLE_PERCENT_MIN: usize = 95;
/// Shorter texts don't say enough about themselves, in bytes: four random 16-bit numbers are often letters.
const BYTES_MIN: usize = 16;
/// Of ASCII, less is enough.
const ASCII_BYTES_MIN: usize = 4;

/// UTF-32 with its mark. The mark of its little-endian form begins with that of UTF-16, followed
/// by a NUL, with which no text begins.
pub(super) fn marked_utf32(bytes: &[u8]) -> Option<String> {
    match bytes.first_chunk::<4>()? {
        [0xff, 0xfe, 0, 0] => utf32(bytes.get(4..)?, u32::from_le_bytes),
        [0, 0, 0xfe, 0xff] => utf32(bytes.get(4..)?, u32::from_be_bytes),
        _ => None,
    }
}

/// The text and the name of its encoding, if the bytes hold control characters and make good text
/// as UTF-16 or UTF-32. Of two readings that do, the one with more ASCII is right: the other has a
/// letter in place of every space.
pub(super) fn unmarked(bytes: &[u8]) -> Option<(String, &'static str)> {
    if bytes.len() < ASCII_BYTES_MIN || !bytes.iter().any(|byte| *byte == 0 || super::is_control(*byte)) {
        return None;
    }
    let utf16 = |encoding: &'static encoding_rs::Encoding| {
        let is_even = bytes.len().is_multiple_of(2);
        let text = is_even.then(|| encoding.decode_without_bom_handling_and_without_replacement(bytes)).flatten()?;
        Some((text.into_owned(), encoding.name()))
    };
    let readings = [
        utf32(bytes, u32::from_le_bytes).map(|text| (text, "UTF-32LE")),
        utf32(bytes, u32::from_be_bytes).map(|text| (text, "UTF-32BE")),
        utf16(UTF_16LE),
        utf16(UTF_16BE),
    ];
    let plausible = readings.into_iter().flatten().filter(|(text, _)| is_plausible(text) && (bytes.len() >= BYTES_MIN || text.is_ascii()));
    plausible.max_by_key(|(text, _)| text.bytes().filter(u8::is_ascii).count())
}

fn utf32(bytes: &[u8], number: fn([u8; 4]) -> u32) -> Option<String> {
    let (numbers, []) = bytes.as_chunks::<4>() else { return None };
    numbers.iter().map(|bytes| char::from_u32(number(*bytes))).collect()
}

fn is_plausible(text: &str) -> bool {
    let (mut all, mut written) = (0, 0);
    for c in text.chars() {
        all += 1;
        written += usize::from(is_written(c));
    }
    all > 0 && written * 100 >= all * PLAUSIBLE_PERCENT_MIN
}

/// Letters, digits, marks and punctuation of the scripts that most text is in.
fn is_written(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' | ' '..='~' | '\u{a0}'..='\u{17f}' => true,
        '\u{180}'..='\u{e7f}' => c.is_alphanumeric() || is_mark(c),
        // Georgian, extended Latin and Greek
        '\u{10a0}'..='\u{10ff}' | '\u{1e00}'..='\u{1fff}' => c.is_alphabetic(),
        // general punctuation, currencies, arrows, kana and CJK punctuation
        '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}' | '\u{20a0}'..='\u{20bf}' | '\u{2190}'..='\u{21ff}' => true,
        '\u{3000}'..='\u{30ff}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' | '\u{ff01}'..='\u{ffee}' => true,
        '\u{1f300}'..='\u{1faff}' => true,
        _ => false,
    }
}

/// Vowel signs and points of Hebrew, Arabic, the scripts of India, and Thai.
const fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{589}'..='\u{61f}' | '\u{64b}'..='\u{66d}' | '\u{900}'..='\u{e7f}')
}
