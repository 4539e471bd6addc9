//! CSV and TSV: a narrow table becomes a Markdown table; in a wide one every row becomes a list of
//! `name: value` lines, because a chunk that holds row 900 must say what its columns are.

use super::decode::Decoded;
use super::grid::SHEET_COLUMNS_MAX;
use super::table::markdown_table;
use super::{ParseError, ParsedDocument, with_warning};
use std::fmt::Write;

/// Widest mean row, in characters, and most columns that are still shown as a table.
const TABLE_ROW_CHARS_MAX: usize = 160;
const TABLE_COLUMNS_MAX: usize = 8;
/// Longest name of a column that stands before each of its values, in characters.
const NAME_CHARS_MAX: usize = 120;
/// Most text that is written, in bytes: names repeat, and a file could be made to repeat little else.
const TEXT_BYTES_MAX: usize = 64 << 20;

/// Reads the rows twice, first to see how wide they are: nothing but the header is kept of them.
pub(super) fn parse(decoded: Decoded, delimiter: u8) -> Result<ParsedDocument, ParseError> {
    let (mut columns, mut chars, mut count) = (0, 0, 0);
    each_row(&decoded.text, delimiter, |row| {
        if row.len() > SHEET_COLUMNS_MAX as usize {
            return Err(ParseError::TooMany { what: "columns".to_owned(), count_max: SHEET_COLUMNS_MAX.into() });
        }
        columns = columns.max(row.len());
        chars += row.iter().map(|cell| cell.chars().count()).sum::<usize>();
        count += 1;
        Ok(())
    })?;
    let is_narrow = columns <= TABLE_COLUMNS_MAX && chars <= TABLE_ROW_CHARS_MAX * count;
    let text = if is_narrow { table(&decoded.text, delimiter)? } else { records(&decoded.text, delimiter)? };
    let media_type = if delimiter == b'\t' { "text/tab-separated-values" } else { "text/csv" };
    Ok(with_warning(ParsedDocument::markdown(media_type, text), decoded.warning))
}

fn reader(text: &str, delimiter: u8) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(text.as_bytes())
}

/// Calls `visit` for every row that is not blank.
fn each_row(text: &str, delimiter: u8, mut visit: impl FnMut(&csv::StringRecord) -> Result<(), ParseError>) -> Result<(), ParseError> {
    let mut reader = reader(text, delimiter);
    let mut row = csv::StringRecord::new();
    while reader.read_record(&mut row).map_err(ParseError::corrupt)? {
        if row.iter().any(|cell| !cell.trim().is_empty()) {
            visit(&row)?;
        }
    }
    Ok(())
}

fn table(text: &str, delimiter: u8) -> Result<String, ParseError> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    each_row(text, delimiter, |row| {
        rows.push(row.iter().map(str::to_owned).collect());
        Ok(())
    })?;
    Ok(markdown_table(&rows))
}

fn records(text: &str, delimiter: u8) -> Result<String, ParseError> {
    let mut names: Option<Vec<String>> = None;
    let mut out = String::new();
    each_row(text, delimiter, |row| {
        match &names {
            None => names = Some(row.iter().map(|name| words(name).chars().take(NAME_CHARS_MAX).collect()).collect()),
            Some(names) => push_record(&mut out, names, row),
        }
        let is_too_large = out.len() > TEXT_BYTES_MAX;
        if is_too_large {
            Err(ParseError::TooLarge { what: "the extracted text".to_owned(), bytes_max: TEXT_BYTES_MAX as u64 })
        } else {
            Ok(())
        }
    })?;
    // a header alone has no records, but words
    let header = names.unwrap_or_default().join("\n");
    Ok(if out.is_empty() { header } else { out })
}

fn push_record(out: &mut String, names: &[String], row: &csv::StringRecord) {
    for (column, cell) in row.iter().enumerate().filter(|(_, cell)| !cell.trim().is_empty()) {
        let value = words(cell);
        // writing to a String cannot fail
        let _ = match names.get(column).filter(|name| !name.is_empty()) {
            Some(name) => writeln!(out, "- {name}: {value}"),
            None => writeln!(out, "- {value}"),
        };
    }
    out.push('\n');
}

fn words(cell: &str) -> String {
    cell.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The delimiter that cuts the first lines into equally many fields, at least two; `None` if
/// there is none. Quoted line breaks are honoured.
pub(super) fn delimiter_of(text: &str, candidates: &[u8], fields_min: usize) -> Option<u8> {
    candidates
        .iter()
        .copied()
        .filter_map(|delimiter| Some((consistent_fields(text, delimiter, fields_min)?, delimiter)))
        .max()
        .map(|(_, delimiter)| delimiter)
}

/// Rows that are looked at.
const SAMPLE_ROWS: usize = 20;

fn consistent_fields(text: &str, delimiter: u8, fields_min: usize) -> Option<usize> {
    let mut reader = reader(text, delimiter);
    let counts: Vec<usize> = reader.records().take(SAMPLE_ROWS).map_while(Result::ok).map(|record| record.len()).collect();
    let first = *counts.first()?;
    (counts.len() >= 3 && first >= fields_min && counts.iter().all(|count| *count == first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(csv: &str, delimiter: u8) -> String {
        parse(Decoded { text: csv.into(), warning: None }, delimiter).unwrap().text
    }

    #[test]
    fn narrow_files_are_tables_with_quotes_undone() {
        assert_eq!(text("a;b\n\"1;2\";\"say \"\"x\"\"\"\n", b';'), "| a | b |\n| --- | --- |\n| 1;2 | say \"x\" |\n");
    }

    #[test]
    fn wide_files_name_every_value() {
        let header: Vec<_> = (0..9).map(|i| format!("c{i}")).collect();
        let csv = format!("{}\n1,,3,4,5,6,7,8,9,extra\n", header.join(","));
        assert!(text(&csv, b',').starts_with("- c0: 1\n- c2: 3\n"));
        assert!(text(&csv, b',').ends_with("- c8: 9\n- extra\n\n"));
    }

    #[test]
    fn wider_than_any_sheet_is_refused() {
        let parse = |columns: usize| parse(Decoded { text: vec!["1"; columns].join(","), warning: None }, b',');
        assert!(parse(16_384).is_ok());
        assert_eq!(parse(16_385), Err(ParseError::TooMany { what: "columns".into(), count_max: 16_384 }));
    }

    #[test]
    fn names_that_would_outgrow_their_values_are_cut() {
        let name = "n".repeat(100_000);
        let rows = "1,2,3,4,5,6,7,8,9\n".repeat(2_000);
        let out = text(&format!("{name},b,c,d,e,f,g,h,i\n{rows}"), b',');
        assert!(out.len() < 1_000_000 && out.starts_with(&format!("- {}: 1\n- b: 2\n", "n".repeat(NAME_CHARS_MAX))), "{}", out.len());
        let header: String = (0..20).map(|column| format!("c{column},")).collect();
        assert!(text(&header, b',').starts_with("c0\nc1\n"), "a header alone is text");
    }

    #[test]
    fn prose_has_no_delimiter() {
        assert_eq!(delimiter_of("a,b\n\"x\ny\",2\n3,4\n", b",;\t", 2), Some(b','));
        assert_eq!(delimiter_of("Well, this is prose.\nIt goes on, and on, and on.\nThe end.\n", b",;\t", 2), None);
    }
}
