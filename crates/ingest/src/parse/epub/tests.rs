//! Small books built in memory.

use super::*;
use crate::parse::archive::packed;

const CONTAINER: &str = "<container><rootfiles><rootfile full-path='OEBPS/content.opf'/></rootfiles></container>";
const PACKAGE: &str = "<package xmlns:dc='d'><metadata><dc:title>The Keeper</dc:title><dc:creator>A. Berg</dc:creator><dc:creator>L. Holm</dc:creator></metadata>\
    <manifest><item id='n' href='nav.xhtml' media-type='application/xhtml+xml' properties='nav'/><item id='x' href='toc.ncx' media-type='application/x-dtbncx+xml'/>\
    <item id='b' href='Text/two%20b.xhtml' media-type='application/xhtml+xml'/><item id='a' href='Text/one.xhtml' media-type='application/xhtml+xml'/>\
    <item id='i' href='cover.png' media-type='image/png'/></manifest>\
    <spine><itemref idref='n'/><itemref idref='i'/><itemref idref='a'/><itemref idref='b'/><itemref idref='gone'/></spine></package>";
const ONE: &str = "<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'><head><title/></head><body><a id='p1'/><h1>Lamps &amp; oil</h1>\
    <p>Trim the <b>wick</b>.<img src='x.png' alt=''/></p><ul><li>daily</li></ul></body></html>";
const TWO: &str = "<html><body><p>No heading here.</p></body></html>";
const NAV: &str = "<html><body><nav><ol><li><a href='Text/one.xhtml'>One</a></li><li><a href='Text/two%20b.xhtml#s1'>The <i>second</i></a></li></ol></nav></body></html>";

fn book(more: &[(&str, &str)]) -> Result<ParsedDocument, ParseError> {
    let parts = [
        ("mimetype", MEDIA_TYPE),
        ("META-INF/container.xml", CONTAINER),
        ("OEBPS/content.opf", PACKAGE),
        ("OEBPS/Text/one.xhtml", ONE),
        ("OEBPS/Text/two b.xhtml", TWO),
    ];
    parse(&packed(&[&parts[..], more].concat()))
}

#[test]
fn chapters_follow_the_spine_and_have_names() {
    let document = book(&[("OEBPS/nav.xhtml", NAV)]).unwrap();
    assert_eq!(document.title.as_deref(), Some("The Keeper"));
    assert!(
        document.text.starts_with("**Title:** The Keeper\n\n**Authors:** A. Berg, L. Holm\n\n# Lamps & oil\n\nTrim the **wick**."),
        "{}",
        document.text
    );
    assert!(document.text.ends_with("# The second\n\nNo heading here."), "{}", document.text);
    assert_eq!(document.headings.iter().map(|heading| heading.title.as_str()).collect::<Vec<_>>(), ["Lamps & oil", "The second"]);
}

#[test]
fn names_come_from_the_ncx_too() {
    let ncx = "<ncx><docTitle><text>X</text></docTitle><navMap><navPoint><navLabel><text>Second</text></navLabel><content src='Text/two%20b.xhtml'/></navPoint></navMap></ncx>";
    assert!(book(&[("OEBPS/toc.ncx", ncx)]).unwrap().text.contains("# Second\n\nNo heading"));
    // a broken one is no reason to lose the book
    assert!(book(&[("OEBPS/toc.ncx", "<ncx></navMap>")]).unwrap().text.contains("No heading"));
}

#[test]
fn keys_are_needed_for_chapters_not_for_fonts() {
    let locked = |part: &str| format!("<encryption xmlns:e='e'><e:CipherReference URI='{part}'/></encryption>");
    assert_eq!(book(&[("META-INF/encryption.xml", &locked("OEBPS/Text/one.xhtml"))]), Err(ParseError::Encrypted));
    assert!(book(&[("META-INF/encryption.xml", &locked("OEBPS/font.otf"))]).is_ok());
}

#[test]
fn a_book_without_its_package_is_corrupt() {
    let broken = packed(&[("META-INF/container.xml", CONTAINER)]);
    assert!(matches!(parse(&broken), Err(ParseError::Corrupt { reason }) if reason.contains("content.opf")));
}
