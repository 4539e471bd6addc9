//! Bytes to text: byte order marks, UTF-8, what the document declares, else a guess.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// Text in our form: UTF-8, no NUL, LF line ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) text: String,
    /// What was guessed or lost.
    pub(super) warning: Option<String>,
}

/// How far the beginning is searched for a declared encoding, in bytes.
const DECLARATION_BYTES: usize = 1024;

/// Decodes; `None` if the bytes are no text.
pub(super) fn decode(bytes: &[u8]) -> Option<Decoded> {
    if let Some((encoding, mark_length)) = Encoding::for_bom(bytes) {
        return with(encoding, bytes.get(mark_length..)?, false);
    }
    if let Some(encoding) = utf16_without_mark(bytes) {
        return with(encoding, bytes, true);
    }
    if looks_binary(bytes) {
        return None;
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Some(Decoded { text: tidy(text), warning: None });
    }
    with(declared(bytes).unwrap_or_else(|| guessed(bytes)), bytes, true)
}

fn with(encoding: &'static Encoding, bytes: &[u8], is_guess: bool) -> Option<Decoded> {
    let (text, _) = encoding.decode_without_bom_handling(bytes);
    let lost = text.chars().filter(|c| *c == char::REPLACEMENT_CHARACTER).count();
    // a few broken characters are a damaged text; many are no text at all
    if lost * 20 > text.chars().count() || looks_binary(text.as_bytes()) {
        return None;
    }
    let warning = match (lost, is_guess) {
        (0, false) => None,
        (0, true) => Some(format!("the text is not UTF-8; it was read as {}", encoding.name())),
        (lost, _) => Some(format!("{lost} characters could not be read as {}", encoding.name())),
    };
    Some(Decoded { text: tidy(&text), warning })
}

fn tidy(text: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.replace("\r\n", "\n").replace('\r', "\n").replace('\0', "")
}

/// Control characters that no text editor writes: more than a few, and one in a hundred, is not text.
fn looks_binary(bytes: &[u8]) -> bool {
    let odd = bytes.iter().filter(|byte| matches!(byte, 0..=8 | 11 | 14..=26 | 28..=31)).count();
    odd > 2 + bytes.len() / 100
}

/// UTF-16 of mostly Latin text has a zero in every other byte.
fn utf16_without_mark(bytes: &[u8]) -> Option<&'static Encoding> {
    let zeros = |parity: usize| bytes.iter().skip(parity).step_by(2).filter(|byte| **byte == 0).count() * 2;
    let (even, odd) = (zeros(0), zeros(1));
    let (most, few) = (bytes.len() * 7 / 10, bytes.len() / 20);
    match bytes.len().is_multiple_of(2) && bytes.len() >= 4 {
        true if odd >= most && even <= few => Some(UTF_16LE),
        true if even >= most && odd <= few => Some(UTF_16BE),
        _ => None,
    }
}

/// What HTML (`charset=`) or XML (`encoding=`) says about itself.
fn declared(bytes: &[u8]) -> Option<&'static Encoding> {
    let start = bytes.get(..DECLARATION_BYTES.min(bytes.len()))?.to_ascii_lowercase();
    let start = String::from_utf8_lossy(&start);
    if !start.trim_start().starts_with('<') {
        return None;
    }
    let (_, value) = start.split_once("charset=").or_else(|| start.split_once("encoding="))?;
    let label: String =
        value.trim_start_matches(['"', '\'']).chars().take_while(|c| c.is_ascii_alphanumeric() || "-_:".contains(*c)).collect();
    // bytes that are not UTF-8 stay so, whatever they declare
    Encoding::for_label(label.as_bytes()).filter(|encoding| *encoding != UTF_8)
}

fn guessed(bytes: &[u8]) -> &'static Encoding {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    detector.feed(bytes, true);
    detector.guess(None, Utf8Detection::Deny)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_guesses_and_declarations_are_honoured() {
        let utf16: Vec<u8> = "\u{feff}häß\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(decode(&utf16).unwrap(), Decoded { text: "häß\n".into(), warning: None });
        let (mskanji, _, _) = encoding_rs::SHIFT_JIS.encode("名前,年齢\n佐藤太郎,30\n三木英子,25\n高橋淳,35\n");
        assert!(decode(&mskanji).unwrap().text.contains("三木英子"));
        let (koi, _, _) = encoding_rs::KOI8_R.encode("<meta charset=\"koi8-r\">да");
        assert!(decode(&koi).unwrap().text.ends_with("да"));
        let bare: Vec<u8> = "no mark here".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(decode(&bare).unwrap().text, "no mark here");
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let noise: Vec<u8> = (0..4096u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        assert_eq!(decode(&noise), None);
        assert_eq!(decode(&[0; 64]), None);
    }
}
