//! Spellings, checksums and decoys of each kind.

use super::*;

fn values(text: &str, kind: Kind) -> Vec<&str> {
    find(text, Kinds::ALL).into_iter().filter(|finding| finding.kind == kind).map(|finding| &text[finding.range]).collect()
}

#[test]
fn nothing_is_asked_nothing_is_found() {
    assert!(find("a@b.org", Kinds::NONE).is_empty());
    assert!(find("", Kinds::ALL).is_empty());
}
