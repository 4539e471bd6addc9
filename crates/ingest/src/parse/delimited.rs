//! CSV and TSV: a narrow table becomes a Markdown table; in a wide one every row becomes a list of
//! `name: value` lines, because a chunk that holds row 900 must say what its columns are.

use super::decode::Decoded;
use super::table::markdown_table;
use super::{ParseError, ParsedDocument, with_warning};
use std::fmt::Write;

/// Widest mean row, in characters, and most columns that are still shown as a table.
const TABLE_ROW_CHARS_MAX: usize = 160;
const TABLE_COLUMNS_MAX: usize = 8;

pub(super) fn parse(decoded: Decoded, delimiter: u8) -> Result<ParsedDocument, ParseError> {
    let mut rows = rows(&decoded.text, delimiter)?;
    rows.retain(|row| row.iter().any(|cell| !cell.trim().is_empty()));
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let chars: usize = rows.iter().flatten().map(|cell| cell.chars().count()).sum();
    let is_narrow = columns <= TABLE_COLUMNS_MAX && chars <= TABLE_ROW_CHARS_MAX * rows.len();
    let text = if is_narrow { markdown_table(&rows) } else { records(&rows) };
    let media_type = if delimiter == b'\t' { "text/tab-separated-values" } else { "text/csv" };
    Ok(with_warning(ParsedDocument::markdown(media_type, text), decoded.warning))
}

fn rows(text: &str, delimiter: u8) -> Result<Vec<Vec<String>>, ParseError> {
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(text.as_bytes());
    let record =
        |record: Result<csv::StringRecord, csv::Error>| Ok(record.map_err(ParseError::corrupt)?.iter().map(str::to_owned).collect());
    reader.records().map(record).collect()
}

fn records(rows: &[Vec<String>]) -> String {
    let Some((header, rows)) = rows.split_first() else { return String::new() };
    let mut out = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate().filter(|(_, cell)| !cell.trim().is_empty()) {
            let name = header.get(column).map_or("", |name| name.trim());
            let value = cell.split_whitespace().collect::<Vec<_>>().join(" ");
            // writing to a String cannot fail
            let _ = if name.is_empty() { writeln!(out, "- {value}") } else { writeln!(out, "- {name}: {value}") };
        }
        out.push('\n');
    }
    out
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
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(text.as_bytes());
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
    fn prose_has_no_delimiter() {
        assert_eq!(delimiter_of("a,b\n\"x\ny\",2\n3,4\n", b",;\t", 2), Some(b','));
        assert_eq!(delimiter_of("Well, this is prose.\nIt goes on, and on, and on.\nThe end.\n", b",;\t", 2), None);
    }
}
