//! The fixtures, through the front door.

use super::*;

fn parse(name: &str) -> Result<ParsedDocument, ParseError> {
    let path = format!("{}/../../tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    InProcess.parse(name, &std::fs::read(path).unwrap())
}

/// Offsets are on char boundaries and in order; the text is in our form.
fn check(document: &ParsedDocument) {
    let offsets = |offsets: Vec<usize>| assert!(offsets.is_sorted() && offsets.iter().all(|at| document.text.is_char_boundary(*at)));
    offsets(document.headings.iter().map(|heading| heading.byte_start).collect());
    offsets(document.pages.iter().map(|page| page.byte_start).collect());
    assert!(!document.text.contains(['\0', '\r']) && !document.text.trim().is_empty());
}

#[test]
fn every_format_gives_its_facts_and_headings() {
    for (name, fact, heading) in [
        ("foghorn.pdf", "The part number of a set is KV-440-17.", Some("Yearly service")),
        ("lamp.docx", "| Paraffin | 9.5 | little |", Some("Which fuel may be burned")),
        ("tide-gauge.html", "the highest water ever drawn stands at 5.12 metres", Some("Setting the zero")),
        ("signal-mast.md", "| two balls | harbour closed |", Some("Halyards")),
        ("wujia-lighthouse.md", "每月初七试机一次", Some("冬季保养")),
        ("lights.csv", "| Brattskjær | Oc WRG 8s, horn | 14 | 3.1 |", None),
        ("hoist.json", "\"replaced_after_lifts\": 8000", None),
        ("station-log.jsonl", "landed 14 barrels of paraffin", None),
        ("bell-buoy.txt", "a sinker of 1,900 kilograms", None),
    ] {
        let document = parse(name).unwrap();
        check(&document);
        assert!(document.text.contains(fact), "{name}: {}", document.text);
        assert!(
            heading.is_none_or(|title| document.headings.iter().any(|heading| heading.title == title)),
            "{name}: {:?}",
            document.headings
        );
    }
}

#[test]
fn pages_say_where_they_begin() {
    let document = parse("foghorn.pdf").unwrap();
    let [first, second] = document.pages.as_slice() else { panic!("{:?}", document.pages) };
    assert_eq!((first.byte_start, first.number, second.number), (0, 1, 2));
    assert!(document.text[second.byte_start..].starts_with("Yearly service"));
}

#[test]
fn what_has_no_text_says_why() {
    for (name, code) in [
        ("encrypted.pdf", "encrypted"),
        ("scan.pdf", "image_only"),
        ("blank.pdf", "empty"),
        ("empty.txt", "empty"),
        ("picture.png", "unsupported"),
        ("broken.json", "corrupt"),
    ] {
        assert_eq!(parse(name).unwrap_err().code(), code, "{name}");
    }
}
