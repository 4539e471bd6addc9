//! The cells of a sheet that hold something, whatever size the sheet says it has.
//!
//! A narrow sheet becomes a table; in a wide one every row becomes a list of `name: value` lines,
//! because a chunk that holds row 900 must say what its columns are. Rows and columns without any
//! text are left out of both.

use super::blocks::one_line;
use super::table::{clean, push_row, push_rule};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Widest and longest sheet that applications allow.
pub(super) const SHEET_COLUMNS_MAX: u32 = 16_384;
pub(super) const SHEET_ROWS_MAX: u32 = 1_048_576;
/// Cells and bytes of text that are read from one document; the rest is cut with a warning.
const CELLS_MAX: usize = 1_000_000;
const TEXT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Most columns and widest mean row, in bytes, that are still shown as a table.
const TABLE_COLUMNS_MAX: usize = 16;
const TABLE_ROW_BYTES_MAX: usize = 480;

/// What a document may still bring, over all its sheets.
#[derive(Debug)]
pub(super) struct Budget {
    cells_left: usize,
    bytes_left: usize,
    is_cut: bool,
}

impl Default for Budget {
    fn default() -> Self {
        Self { cells_left: CELLS_MAX, bytes_left: TEXT_BYTES_MAX, is_cut: false }
    }
}

impl Budget {
    /// Whether there is room for a cell of so many bytes; from the first for which there is none, no more.
    fn take(&mut self, bytes: usize) -> bool {
        self.is_cut |= self.cells_left == 0 || bytes > self.bytes_left;
        if !self.is_cut {
            self.cells_left -= 1;
            self.bytes_left -= bytes;
        }
        !self.is_cut
    }

    /// Whether something had to be left out.
    pub(super) const fn is_used_up(&self) -> bool {
        self.is_cut
    }

    /// What to say of a document that was cut.
    pub(super) fn warning(&self) -> Option<String> {
        self.is_cut
            .then(|| format!("the tables are larger than {CELLS_MAX} cells or {TEXT_BYTES_MAX} bytes of text; the rest was left out"))
    }
}

/// Cells by row and column, both from 0.
#[derive(Debug, Default)]
pub(super) struct Grid {
    cells: BTreeMap<(u32, u32), String>,
}

impl Grid {
    /// Keeps a cell that holds something, if the budget has room for it.
    pub(super) fn put(&mut self, row: u32, column: u32, text: &str, budget: &mut Budget) {
        if !text.trim().is_empty() && budget.take(text.len()) {
            self.cells.insert((row, column), text.to_owned());
        }
    }

    /// The Markdown of the cells, in at most `bytes_max` bytes, and whether that was enough.
    pub(super) fn markdown(&self, bytes_max: usize) -> (String, bool) {
        let cells: Vec<Cell<'_>> = self.cells.iter().map(|((row, column), text)| (*row, *column, text.as_str())).collect();
        let rows: Vec<&[Cell<'_>]> = cells.chunk_by(|a, b| a.0 == b.0).collect();
        let mut columns: Vec<u32> = cells.iter().map(|(_, column, _)| *column).collect();
        columns.sort_unstable();
        columns.dedup();
        let bytes: usize = cells.iter().map(|(_, _, text)| text.len()).sum();
        let is_narrow = columns.len() <= TABLE_COLUMNS_MAX && bytes <= TABLE_ROW_BYTES_MAX * rows.len();
        let mut page = Page { text: String::new(), bytes_max };
        let is_whole = if is_narrow { page.table(&rows, &columns) } else { page.records(&rows) };
        (page.text, is_whole)
    }
}

/// Row, column and text.
type Cell<'g> = (u32, u32, &'g str);

/// The text of a row in a column, empty where there is none.
fn text_at<'g>(row: &[Cell<'g>], column: u32) -> &'g str {
    row.binary_search_by_key(&column, |cell| cell.1).ok().and_then(|index| row.get(index)).map_or("", |cell| cell.2)
}

/// Rows being written, up to a size.
struct Page {
    text: String,
    bytes_max: usize,
}

impl Page {
    fn table(&mut self, rows: &[&[Cell<'_>]], columns: &[u32]) -> bool {
        for (index, row) in rows.iter().enumerate() {
            let before = self.text.len();
            push_row(&mut self.text, columns.iter().map(|column| clean(text_at(row, *column))), columns.len());
            if index == 0 {
                push_rule(&mut self.text, columns.len());
            }
            if self.is_over(before) {
                return false;
            }
        }
        true
    }

    /// A single row is its own header: it has no names for its values.
    fn records(&mut self, rows: &[&[Cell<'_>]]) -> bool {
        let (names, rows): (&[Cell<'_>], _) = match rows {
            [names, rows @ ..] if !rows.is_empty() => (names, rows),
            only => (&[], only),
        };
        for row in rows {
            for (_, column, value) in *row {
                let before = self.text.len();
                let (name, value) = (one_line(text_at(names, *column)), one_line(value));
                // writing to a String cannot fail
                let _ = if name.is_empty() { writeln!(self.text, "- {value}") } else { writeln!(self.text, "- {name}: {value}") };
                if self.is_over(before) {
                    return false;
                }
            }
            self.text.push('\n');
        }
        true
    }

    /// Takes the last row back if it was one too many.
    fn is_over(&mut self, before: usize) -> bool {
        let is_over = self.text.len() > self.bytes_max;
        if is_over {
            self.text.truncate(before);
        }
        is_over
    }
}

/// Bytes of Markdown that the tables of one document may make.
pub(super) const MARKDOWN_BYTES_MAX: usize = TEXT_BYTES_MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grid(cells: &[(u32, u32, &str)]) -> Grid {
        let (mut grid, mut budget) = (Grid::default(), Budget::default());
        cells.iter().for_each(|(row, column, text)| grid.put(*row, *column, text, &mut budget));
        grid
    }

    #[test]
    fn two_cells_far_apart_are_a_small_table() {
        let corners = grid(&[(0, 0, "first"), (1_048_575, 16_383, "a|b\nc"), (7, 7, " ")]);
        assert_eq!(corners.markdown(1_000), ("| first |  |\n| --- | --- |\n|  | a\\|b c |\n".into(), true));
    }

    #[test]
    fn a_wide_sheet_names_every_value() {
        let names: Vec<String> = (0..40).map(|column| format!("c{column}")).collect();
        let mut cells: Vec<(u32, u32, &str)> = (0..).zip(&names).map(|(column, name)| (0, column, name.as_str())).collect();
        cells.extend([(5, 3, "x"), (5, 39, "y"), (6, 41, "z")]);
        assert_eq!(grid(&cells).markdown(1_000).0, "- c3: x\n- c39: y\n\n- z\n\n");
        assert_eq!(grid(&cells[..20]).markdown(1_000).0.lines().count(), 21);
    }

    #[test]
    fn the_budget_stops_cells_and_bytes() {
        let mut grid = Grid::default();
        let mut budget = Budget { cells_left: 2, ..Budget::default() };
        (0..5).for_each(|row| grid.put(row, 0, "x", &mut budget));
        assert_eq!((grid.cells.len(), budget.is_used_up()), (2, true));
        let mut budget = Budget { bytes_left: 3, ..Budget::default() };
        grid.put(9, 0, "four", &mut budget);
        assert!(grid.cells.len() == 2 && budget.warning().is_some());
    }

    proptest! {
        /// A diagonal makes neither a square table nor more text than allowed, and rows stay whole.
        #[test]
        fn the_text_never_exceeds_its_limit(cells in proptest::collection::btree_map((0u32..50, 0u32..50), "[a-z|]{0,12}", 1..120), bytes_max in 0usize..2_000) {
            let cells: Vec<_> = cells.iter().map(|((row, column), text)| (*row, *column, text.as_str())).collect();
            let (text, is_whole) = grid(&cells).markdown(bytes_max);
            prop_assert!(text.len() <= bytes_max + 1);
            prop_assert!(!is_whole || cells.iter().all(|(_, _, cell)| text.contains(&clean(cell))) || text.is_empty() || text.starts_with('-'));
        }
    }
}
