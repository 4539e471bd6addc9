//! Rows of cells as a Markdown table.

/// Writes rows as a Markdown table; the first row is the header. Ragged rows are filled up, line
/// breaks and pipes inside cells are kept readable.
pub(super) fn markdown_table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let mut out = String::new();
    for (index, row) in rows.iter().enumerate() {
        push_row(&mut out, row.iter().map(|cell| clean(cell)), columns);
        if index == 0 {
            push_rule(&mut out, columns);
        }
    }
    out
}

/// The line between the header and the body.
pub(super) fn push_rule(out: &mut String, columns: usize) {
    push_row(out, std::iter::repeat_n("---".to_owned(), columns), columns);
}

/// One row; cells are [`clean`].
pub(super) fn push_row(out: &mut String, cells: impl Iterator<Item = String>, columns: usize) {
    out.push('|');
    for cell in cells.chain(std::iter::repeat(String::new())).take(columns) {
        out.push(' ');
        out.push_str(&cell);
        out.push_str(" |");
    }
    out.push('\n');
}

/// A cell's text on one line, its pipes escaped.
pub(super) fn clean(cell: &str) -> String {
    cell.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ragged_rows_make_a_whole_table() {
        let rows = [vec!["a".into(), "b".into()], vec!["x|y".into()], vec!["1\n2".into(), "3".into()]];
        assert_eq!(markdown_table(&rows), "| a | b |\n| --- | --- |\n| x\\|y |  |\n| 1 2 | 3 |\n");
    }
}
