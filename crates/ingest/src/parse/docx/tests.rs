//! Small packages built in memory.

use super::*;
use std::io::{Cursor, Write};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

fn package(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, xml) in parts {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(xml.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn text_of(body: &str, more: &[(&str, &str)]) -> String {
    let document = format!("<w:document xmlns:w='w' xmlns:r='r' xmlns:mc='m'><w:body>{body}</w:body></w:document>");
    let mut parts = vec![("word/document.xml", document.as_str())];
    parts.extend_from_slice(more);
    parse(&package(&parts)).unwrap().text
}

fn p(text: &str) -> String {
    format!("<w:p><w:r><w:t>{text}</w:t></w:r></w:p>")
}

#[test]
fn headings_follow_styles_in_any_language() {
    let styles = "<w:styles><w:style w:styleId='berschrift2'><w:name w:val='heading 2'/></w:style>\
        <w:style w:styleId='Mine'><w:name w:val='mine'/><w:basedOn w:val='berschrift2'/></w:style>\
        <w:style w:styleId='Loop'><w:name w:val='loop'/><w:basedOn w:val='Loop'/></w:style></w:styles>";
    let body = "<w:p><w:pPr><w:pStyle w:val='Mine'/></w:pPr><w:r><w:t>Öl &amp; Docht</w:t></w:r></w:p>\
        <w:p><w:pPr><w:outlineLvl w:val='0'/></w:pPr><w:r><w:t>Top</w:t></w:r></w:p>\
        <w:p><w:pPr><w:pStyle w:val='Loop'/></w:pPr><w:r><w:t>plain</w:t></w:r></w:p>";
    assert_eq!(text_of(body, &[("word/styles.xml", styles)]), "## Öl & Docht\n\n# Top\n\nplain");
}

#[test]
fn revisions_boxes_and_field_codes_show_what_a_reader_sees() {
    let body = "<w:p><w:r><w:t>kept</w:t></w:r><w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:ins><w:r><w:t> new</w:t></w:r></w:ins>\
        <w:r><w:instrText>PAGE</w:instrText></w:r><w:r><mc:AlternateContent><mc:Choice><w:txbxContent><w:p><w:r><w:t>box</w:t></w:r></w:p></w:txbxContent></mc:Choice>\
        <mc:Fallback><w:p><w:r><w:t>box</w:t></w:r></w:p></mc:Fallback></mc:AlternateContent></w:r></w:p>";
    assert_eq!(text_of(body, &[]), "box\n\nkept new");
}

#[test]
fn tables_spans_and_nested_tables() {
    let cell = |text: &str| format!("<w:tc>{}</w:tc>", p(text));
    let nested = format!("<w:tc><w:tbl><w:tr>{}{}</w:tr></w:tbl>{}</w:tc>", cell("in"), cell("ner"), p("after"));
    let wide = format!("<w:tc><w:tcPr><w:gridSpan w:val='2'/></w:tcPr>{}</w:tc>", p("a|b"));
    let body = format!("<w:tbl><w:tr>{}{}</w:tr><w:tr>{nested}{}</w:tr><w:tr>{wide}</w:tr></w:tbl>", cell("h1"), cell("h2"), cell("x"));
    assert_eq!(text_of(&body, &[]), "| h1 | h2 |\n| --- | --- |\n| in ner after | x |\n| a\\|b |  |");
}

#[test]
fn lists_are_counted_and_links_and_notes_kept() {
    let numbering = "<w:numbering><w:abstractNum w:abstractNumId='7'><w:lvl w:ilvl='0'><w:numFmt w:val='decimal'/></w:lvl>\
        <w:lvl w:ilvl='1'><w:numFmt w:val='bullet'/></w:lvl></w:abstractNum><w:num w:numId='3'><w:abstractNumId w:val='7'/></w:num></w:numbering>";
    let rels = "<Relationships><Relationship Id='r1' Target='https://example.org/' TargetMode='External'/></Relationships>";
    let notes = "<w:footnotes><w:footnote w:type='separator' w:id='0'><w:p/></w:footnote><w:footnote w:id='2'><w:p><w:r><w:t>a note</w:t></w:r></w:p></w:footnote></w:footnotes>";
    let item = |level: u8, text: &str| {
        format!("<w:p><w:pPr><w:numPr><w:ilvl w:val='{level}'/><w:numId w:val='3'/></w:numPr></w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>")
    };
    let link = "<w:p><w:hyperlink r:id='r1'><w:r><w:t>here</w:t></w:r></w:hyperlink><w:r><w:footnoteReference w:id='2'/></w:r></w:p>";
    let body = [item(0, "one"), item(1, "sub"), item(0, "two"), link.into()].concat();
    let more = [("word/numbering.xml", numbering), ("word/_rels/document.xml.rels", rels), ("word/footnotes.xml", notes)];
    assert_eq!(text_of(&body, &more), "1. one\n   - sub\n2. two\n\n[here](https://example.org/)[^2]\n\n[^2]: a note");
}

#[test]
fn equations_are_read_in_a_line() {
    let run = |text: &str| format!("<m:r><m:t>{text}</m:t></m:r>");
    let power = format!("<m:sSup><m:e>{}</m:e><m:sup>{}</m:sup></m:sSup>", run("10"), run("-4"));
    let fraction = format!("<m:f><m:num>{}</m:num><m:den>{}</m:den></m:f>", run("m"), run("a"));
    assert_eq!(text_of(&format!("<w:p><m:oMath>{}{fraction}{}{power}</m:oMath></w:p>", run("x="), run("+")), &[]), "x=m/a+10^-4");
}

#[test]
fn nesting_does_not_overflow() {
    let deep = format!("{}{}{}", "<w:tbl><w:tr><w:tc>".repeat(50_000), p("core"), "</w:tc></w:tr></w:tbl>".repeat(50_000));
    assert_eq!(text_of(&deep, &[]), "core");
    let deep = format!("{}{}{}", "<w:p>".repeat(200_000), p("core"), "</w:p>".repeat(200_000));
    assert_eq!(text_of(&deep, &[]), "core");
}

#[test]
fn cells_paragraphs_and_links_without_end_take_no_more_time_than_text() {
    let many = 20_000;
    // a stack of open tables with paragraphs inside, each of which looks for its cell
    let stack = format!("{}{}{}", "<w:tbl>".repeat(many), p("word").repeat(many), "</w:tbl>".repeat(many));
    assert_eq!(text_of(&stack, &[]).matches("word").count(), many);
    let long = "x".repeat(100_000);
    let deep = format!("{}{}{}", "<w:tbl><w:tr><w:tc>".repeat(many), p(&long), "</w:tc></w:tr></w:tbl>".repeat(many));
    assert_eq!(text_of(&deep, &[]), long);
    let rels = "<Relationships><Relationship Id='r' Target='https://example.org/' TargetMode='External'/></Relationships>";
    let links =
        format!("<w:p>{}<w:r><w:t>{long}</w:t></w:r>{}</w:p>", "<w:hyperlink r:id='r'>".repeat(many), "</w:hyperlink>".repeat(many));
    assert_eq!(text_of(&links, &[("word/_rels/document.xml.rels", rels)]).matches("https://").count(), 8);
    let attributes: String = (0..many).map(|at| format!(" a{at}='1'")).collect();
    assert_eq!(
        text_of(&format!("<w:p{attributes}><w:pPr><w:pStyle{attributes} w:val='x'/></w:pPr><w:r><w:t>end</w:t></w:r></w:p>"), &[]),
        "end"
    );
}

#[test]
fn broken_xml_is_corrupt() {
    let broken = package(&[("word/document.xml", "<w:document><w:p></w:q>")]);
    assert!(matches!(parse(&broken), Err(ParseError::Corrupt { reason }) if reason.contains("XML")));
}
