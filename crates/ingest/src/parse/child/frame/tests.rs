//! Answers there and back, and what is no answer.

use super::*;
use crate::parse::{Heading, PageStart, TextFormat};
use proptest::prelude::*;

fn document(text: &str, attachments: Vec<Attachment>) -> ParsedDocument {
    ParsedDocument { attachments, ..ParsedDocument::plain("text/plain", text.to_owned()) }
}

/// The content of the frame, without its length.
fn encoded(result: Result<ParsedDocument, ParseError>) -> Vec<u8> {
    let mut frame = Vec::new();
    Answer::new(result, u64::MAX).unwrap().write(&mut frame).unwrap();
    let content = frame.split_off(NUMBER_BYTES);
    assert_eq!(u64::from_le_bytes(frame.try_into().unwrap()), content.len() as u64);
    content
}

fn forged(head: &serde_json::Value, raw: &[u8]) -> Vec<u8> {
    let head = serde_json::to_vec(head).unwrap();
    [&(head.len() as u64).to_le_bytes()[..], &head, raw].concat()
}

fn head_of(result: Result<ParsedDocument, ParseError>, text_bytes: u64, attachments: &[(&str, u64)]) -> serde_json::Value {
    serde_json::json!({ "result": result, "text_bytes": text_bytes, "attachments": attachments })
}

#[test]
fn no_part_of_an_answer_is_an_answer() {
    let whole = encoded(Ok(document("灯", vec![Attachment { name: "a".into(), bytes: vec![0, 255] }])));
    assert!(decode_answer(&whole).is_some());
    for cut in 0..whole.len() {
        assert_eq!(decode_answer(&whole[..cut]), None, "{cut}");
    }
    assert_eq!(decode_answer(&[&whole[..], b"x"].concat()), None, "more than an answer");
}

#[test]
fn lengths_and_offsets_are_not_believed() {
    let plain = |text_bytes, attachments: &[(&str, u64)]| head_of(Ok(document("", vec![])), text_bytes, attachments);
    assert!(decode_answer(&forged(&plain(2, &[("a", 1)]), b"ab\0")).is_some());
    for bad in [
        forged(&plain(u64::MAX, &[]), b"ab"),
        forged(&plain(3, &[]), b"ab"),
        forged(&plain(1, &[]), b"ab"),
        forged(&plain(1, &[("a", u64::MAX), ("b", 2)]), b"ab"),
        forged(&plain(2, &[]), &[0xff, 0xfe]),
        u64::MAX.to_le_bytes().to_vec(),
    ] {
        assert_eq!(decode_answer(&bad), None, "{bad:?}");
    }
    let at = |byte_start| Heading { byte_start, level: 1, title: String::new() };
    for offsets in [vec![1], vec![4], vec![3, 0]] {
        let headings = offsets.iter().copied().map(at).collect();
        let lying = head_of(Ok(ParsedDocument { headings, ..document("", vec![]) }), 3, &[]);
        assert_eq!(decode_answer(&forged(&lying, "灯".as_bytes())), None, "{offsets:?}");
    }
}

#[test]
fn a_child_can_not_report_what_only_the_parent_knows() {
    let unavailable = ParseError::Unavailable { reason: "again, please".into() };
    assert_eq!(decode_answer(&encoded(Err(unavailable))), None);
    let endless = ParseError::Corrupt { reason: "é".repeat(1 << 20) };
    let Some(Err(ParseError::Corrupt { reason })) = decode_answer(&encoded(Err(endless))) else { panic!("no error") };
    assert_eq!(reason.len(), REASON_BYTES_MAX);
}

#[test]
fn the_limit_is_on_text_and_attachments_together() {
    let attachments = || vec![Attachment { name: "a".into(), bytes: vec![0; 600] }];
    let too_large = |result: ParsedDocument| {
        let mut frame = Vec::new();
        Answer::new(Ok(result), 1000).unwrap().write(&mut frame).unwrap();
        matches!(decode_answer(&frame[NUMBER_BYTES..]), Some(Err(ParseError::TooLarge { bytes_max: 1000, .. })))
    };
    assert!(!too_large(document(&"x".repeat(600), vec![])));
    assert!(!too_large(document("x", attachments())));
    assert!(too_large(document(&"x".repeat(600), attachments())));
}

#[test]
fn a_request_comes_back_and_its_end_is_seen() {
    let name = "é".repeat(usize::try_from(NAME_BYTES_MAX).unwrap());
    let name = short_name(&name);
    let sent = [&request_head(name, b"bytes")[..], name.as_bytes(), b"bytes"].concat();
    assert_eq!(read_request(&mut sent.as_slice()).unwrap(), Some((name.to_owned(), b"bytes".to_vec())));
    assert_eq!(read_request(&mut &b""[..]).unwrap(), None);
    assert!(read_request(&mut &sent[..sent.len() - 1]).is_err());
    assert!(read_request(&mut &[0xffu8; 64][..]).is_err());
}

proptest! {
    #[test]
    fn an_answer_comes_back_as_it_was(
        text in "\\PC{0,40}",
        attachments in prop::collection::vec(("\\PC{0,8}", prop::collection::vec(any::<u8>(), 0..20)), 0..4),
        is_markdown in any::<bool>(),
    ) {
        let attachments = attachments.into_iter().map(|(name, bytes)| Attachment { name, bytes }).collect();
        let format = if is_markdown { TextFormat::Markdown } else { TextFormat::Plain };
        let pages = vec![PageStart { byte_start: 0, number: 1 }, PageStart { byte_start: text.len(), number: 2 }];
        let document = ParsedDocument { format, pages, ..document(&text, attachments) };
        prop_assert_eq!(decode_answer(&encoded(Ok(document.clone()))), Some(Ok(document)));
    }

    /// Any bytes, and any change of a good answer: no panic, and what comes out holds.
    #[test]
    fn nothing_that_a_child_writes_is_trusted(at in any::<prop::sample::Index>(), byte in any::<u8>(), noise in prop::collection::vec(any::<u8>(), 0..64)) {
        prop_assert!(decode_answer(&noise).is_none());
        let heading = Heading { byte_start: 3, level: 1, title: "t".into() };
        let mut changed = encoded(Ok(ParsedDocument { headings: vec![heading], ..document("灯塔", vec![]) }));
        let at = at.index(changed.len());
        changed[at] = byte;
        if let Some(Ok(document)) = decode_answer(&changed) {
            prop_assert!(holds(&document));
        }
    }
}
