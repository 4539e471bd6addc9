//! Small workbooks built in memory.

use super::*;
use crate::parse::archive::packed;

const WORKBOOK: &str = "<workbook xmlns='http://schemas.openxmlformats.org/spreadsheetml/2006/main' xmlns:r='http://schemas.openxmlformats.org/officeDocument/2006/relationships'>\
    <sheets><sheet name='Lamps' sheetId='1' r:id='r1'/><sheet name='Empty' sheetId='2' r:id='r2'/><sheet name='Oil' sheetId='3' r:id='r3'/></sheets></workbook>";
const RELATIONSHIPS: &str = "<Relationships xmlns='http://schemas.openxmlformats.org/package/2006/relationships'>\
    <Relationship Id='r1' Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet' Target='worksheets/a.xml'/>\
    <Relationship Id='r2' Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet' Target='worksheets/b.xml'/>\
    <Relationship Id='r3' Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet' Target='worksheets/c.xml'/></Relationships>";
const PACKAGE: &str = "<Relationships xmlns='http://schemas.openxmlformats.org/package/2006/relationships'>\
    <Relationship Id='r1' Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument' Target='xl/workbook.xml'/></Relationships>";
const STYLES: &str = "<styleSheet xmlns='http://schemas.openxmlformats.org/spreadsheetml/2006/main'><numFmts><numFmt numFmtId='164' formatCode='yyyy\\-mm\\-dd'/></numFmts>\
    <cellXfs><xf numFmtId='0'/><xf numFmtId='164'/></cellXfs></styleSheet>";
const STRINGS: &str = "<sst xmlns='http://schemas.openxmlformats.org/spreadsheetml/2006/main' uniqueCount='2'><si><t>lit on</t></si><si><r><t>no</t></r><r><t>rth</t></r></si></sst>";

fn sheet(rows: &str) -> String {
    format!("<worksheet xmlns='http://schemas.openxmlformats.org/spreadsheetml/2006/main'><sheetData>{rows}</sheetData></worksheet>")
}

fn workbook(strings: &str, sheets: [&str; 3]) -> Vec<u8> {
    let sheets = sheets.map(sheet);
    packed(&[
        ("_rels/.rels", PACKAGE),
        ("xl/workbook.xml", WORKBOOK),
        ("xl/_rels/workbook.xml.rels", RELATIONSHIPS),
        ("xl/styles.xml", STYLES),
        ("xl/sharedStrings.xml", strings),
        ("xl/worksheets/a.xml", &sheets[0]),
        ("xl/worksheets/b.xml", &sheets[1]),
        ("xl/worksheets/c.xml", &sheets[2]),
        ("docProps/core.xml", "<c:x xmlns:c='c' xmlns:dc='d'><dc:title>Station 7</dc:title></c:x>"),
    ])
}

#[test]
fn sheets_are_pages_with_values_as_written() {
    let first = "<row r='1'><c r='A1' t='s'><v>1</v></c><c r='B1' t='s'><v>0</v></c><c r='C1' t='inlineStr'><is><t>sum</t></is></c></row>\
        <row r='9'><c r='A9'><v>0.30000000000000004</v></c><c r='B9' s='1'><v>45943</v></c><c r='C9' t='str'><f>A1</f><v>x|y</v></c></row>\
        <row r='10'><c r='A10' t='b'><v>1</v></c><c r='B10' t='e'><v>#DIV/0!</v></c></row>";
    let last = "<row r='1048576'><c r='XFD1048576'><v>7</v></c></row>";
    let document = parse(&workbook(STRINGS, [first, "", last]), Workbook::Xlsx).unwrap();
    let expected = "## Lamps\n\n| north | lit on | sum |\n| --- | --- | --- |\n| 0.3 | 2025-10-13 | x\\|y |\n| TRUE | #DIV/0! |  |\n\n## Oil\n\n| 7 |\n| --- |";
    assert_eq!(document.text, expected);
    assert_eq!((document.title.as_deref(), document.page_count), (Some("Station 7"), Some(3)));
    assert_eq!(document.pages.iter().map(|page| page.number).collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn a_stated_count_of_strings_is_not_believed() {
    let lie = STRINGS.replace("uniqueCount='2'", "uniqueCount = '99999999999'");
    let result = parse(&workbook(&lie, ["", "", ""]), Workbook::Xlsx);
    assert!(matches!(result, Err(ParseError::TooLarge { .. })), "{result:?}");
    assert_eq!(stated_count(b"<sst count='3'>"), 0);
}

#[test]
fn what_is_broken_is_corrupt_and_not_a_crash() {
    let whole = workbook(STRINGS, ["<row><c t='s'><v>99</v></c></row>", "", ""]);
    assert!(matches!(parse(&whole, Workbook::Xlsx), Err(ParseError::Corrupt { .. }) | Ok(_)));
    let ole = [&b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"[..], &[0xff; 2000]].concat();
    assert!(matches!(parse(&ole, Workbook::Xls), Err(ParseError::Corrupt { .. })));
    assert!(matches!(parse(&packed(&[("xl/workbook.bin", "\u{1}\u{2}\u{3}")]), Workbook::Xlsb), Err(ParseError::Corrupt { .. })));
}
