//! Small documents built in memory.

use super::*;
use crate::parse::archive::packed;

const NAMESPACES: &str =
    "xmlns:office='o' xmlns:text='t' xmlns:table='tb' xmlns:draw='d' xmlns:presentation='p' xmlns:xlink='x' xmlns:style='s' xmlns:svg='v'";

fn parsed(kind: &str, styles: &str, body: &str) -> ParsedDocument {
    let content = format!(
        "<office:document-content {NAMESPACES}><office:automatic-styles>{styles}</office:automatic-styles><office:body>{body}</office:body></office:document-content>"
    );
    let media_type = format!("application/vnd.oasis.opendocument.{kind}");
    parse(&packed(&[("mimetype", &media_type), ("content.xml", &content)])).unwrap()
}

#[test]
fn texts_keep_headings_lists_links_and_notes() {
    let styles = "<text:list-style style:name='L1'><text:list-level-style-number text:level='1' style:num-format='1'/>\
        <text:list-level-style-bullet text:level='2'/></text:list-style>";
    let body = "<office:text><text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>\
        <text:h text:outline-level='2'>Öl   und\n Docht</text:h>\
        <text:list text:style-name='L1'><text:list-item><text:p>one</text:p><text:list><text:list-item><text:p>sub</text:p></text:list-item></text:list></text:list-item>\
        <text:list-item><text:p>two</text:p><text:p>more</text:p></text:list-item></text:list>\
        <text:p>See <text:a xlink:href='https://example.org/'>there</text:a><text:note><text:note-citation>1</text:note-citation>\
        <text:note-body><text:p>a note</text:p></text:note-body></text:note>,<text:s text:c='2'/>or <text:a xlink:href='#x'>here</text:a>.<office:annotation><text:p>comment</text:p></office:annotation></text:p></office:text>";
    let document = parsed("text", styles, body);
    let expected =
        "## Öl und Docht\n\n1. one\n   - sub\n2. two\n\nmore\n\nSee [there](https://example.org/)[^1],  or here.\n\n[^1]: a note";
    assert_eq!(document.text, expected);
    assert_eq!((document.page_count, document.media_type.as_str()), (None, TEXT_MEDIA_TYPE));
}

#[test]
fn tables_span_and_nest() {
    let cell = |text: &str| format!("<table:table-cell><text:p>{text}</text:p></table:table-cell>");
    let nested = format!(
        "<table:table-cell><table:table><table:table-row>{}{}</table:table-row></table:table></table:table-cell>",
        cell("in"),
        cell("ner")
    );
    let wide = "<table:table-cell table:number-columns-spanned='2'><text:h>a|b</text:h></table:table-cell><table:covered-table-cell/>";
    let body = format!(
        "<office:text><table:table table:name='T'><table:table-row>{}{}</table:table-row><table:table-row>{nested}{}</table:table-row><table:table-row>{wide}</table:table-row></table:table></office:text>",
        cell("h1"),
        cell("h2"),
        cell("x")
    );
    assert_eq!(parsed("text", "", &body).text, "| h1 | h2 |\n| --- | --- |\n| in ner | x |\n| a\\|b |  |");
}

#[test]
fn slides_are_pages_with_notes() {
    let frame = |class: &str, text: &str| {
        format!(
            "<draw:frame presentation:class='{class}'><svg:desc>alt</svg:desc><draw:text-box><text:p>{text}</text:p></draw:text-box></draw:frame>"
        )
    };
    let body = format!(
        "<office:presentation><draw:page>{}{}<presentation:notes>{}{}</presentation:notes></draw:page><draw:page/><draw:page>{}</draw:page></office:presentation>",
        frame("title", "Lamps"),
        frame("outline", "burn"),
        frame("page-number", "1"),
        frame("notes", "say this"),
        frame("title", "End")
    );
    let document = parsed("presentation", "", &body);
    assert_eq!(document.text, "# Lamps\n\nburn\n\n## Notes\n\nsay this\n\n# End");
    assert_eq!(document.pages.iter().map(|page| page.number).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(document.page_count, Some(3));
}

#[test]
fn a_sheet_of_empty_cells_costs_nothing() {
    let cell = |repeated: u32, text: &str| {
        format!("<table:table-cell table:number-columns-repeated='{repeated}' office:value='5'><text:p>{text}</text:p></table:table-cell>")
    };
    let gap =
        "<table:table-row table:number-rows-repeated='1048000'><table:table-cell table:number-columns-repeated='16384'/></table:table-row>";
    let row = format!(
        "<table:table-row>{}<table:table-cell table:number-columns-repeated='16000'/>{}</table:table-row>",
        cell(2, "a"),
        cell(1, "")
    );
    let body = format!(
        "<office:spreadsheet><table:table table:name='Oil &amp; wick'>{row}{gap}{row}</table:table><table:table table:name='Empty'/></office:spreadsheet>"
    );
    let document = parsed("spreadsheet", "", &body);
    assert_eq!(document.text, "## Oil & wick\n\n| a | a | 5 |\n| --- | --- | --- |\n| a | a | 5 |");
    assert_eq!((document.page_count, document.pages.len()), (Some(2), 1));
}

#[test]
fn cells_repeated_a_billion_times_are_cut_with_a_warning() {
    let row = "<table:table-row table:number-rows-repeated='1048576'><table:table-cell table:number-columns-repeated='16384'><text:p>spam</text:p></table:table-cell></table:table-row>";
    let document =
        parsed("spreadsheet", "", &format!("<office:spreadsheet><table:table table:name='S'>{row}</table:table></office:spreadsheet>"));
    assert!(document.text.len() < 20_000_000 && document.warnings.len() == 1, "{:?}", document.warnings);
}

#[test]
fn what_is_encrypted_says_so_and_nesting_does_no_harm() {
    let manifest = "<m:manifest xmlns:m='m'><m:file-entry><m:encryption-data/></m:file-entry></m:manifest>";
    assert_eq!(parse(&packed(&[("META-INF/manifest.xml", manifest), ("content.xml", "\u{1}")])), Err(ParseError::Encrypted));
    let table = ("<table:table><table:table-row><table:table-cell>", "</table:table-cell></table:table-row></table:table>");
    for (begin, end) in [table, ("<text:p>", "</text:p>"), ("<text:p><text:note>", "</text:note></text:p>")] {
        let deep = format!("<office:text>{}<text:p>core</text:p>{}</office:text>", begin.repeat(50_000), end.repeat(50_000));
        assert_eq!(parsed("text", "", &deep).text.matches("core").count(), 1, "{begin}");
    }
}
