//! Paragraphs, cells and rows to Markdown.

use crate::parse::table::markdown_table;

/// Most cells of a row; what more there are go to the last. Every row is filled up to the longest,
/// so that one long row would make a table of nothing out of many short ones.
const COLUMNS_MAX: usize = 64;

/// What has been written, and the paragraph and the table that are open.
#[derive(Default)]
pub(super) struct Writer {
    out: String,
    paragraph: String,
    /// Where the text of the open link begins in the paragraph.
    link_start: Option<usize>,
    level: Option<u8>,
    /// `- ` or `1. `.
    marker: String,
    is_in_table: bool,
    cells: Vec<String>,
    rows: Vec<Vec<String>>,
    was_item: bool,
}

impl Writer {
    pub(super) fn push(&mut self, text: &str) {
        self.paragraph.push_str(text);
    }

    pub(super) fn break_line(&mut self) {
        self.paragraph.push('\n');
    }

    /// The next paragraph is a heading of this level, or none.
    pub(super) const fn heading(&mut self, level: Option<u8>) {
        self.level = level;
    }

    /// `\pard`: the settings of the paragraph are those of a new document.
    pub(super) const fn reset_paragraph(&mut self) {
        self.level = None;
        self.is_in_table = false;
    }

    pub(super) const fn enter_table(&mut self) {
        self.is_in_table = true;
    }

    /// The paragraph is an item of a list; bullets come as many characters, some of private fonts.
    pub(super) fn marker(&mut self, shown: &str) {
        let is_number = shown.starts_with(|c: char| c.is_ascii_digit()) && shown.ends_with(['.', ')']);
        self.marker = if is_number { format!("{}. ", shown.trim_end_matches(['.', ')'])) } else { "- ".to_owned() };
    }

    pub(super) fn begin_link(&mut self) {
        self.link_start = Some(self.paragraph.len());
    }

    /// Turns what has been written since the link began into a link, if it leads somewhere.
    pub(super) fn end_link(&mut self, address: Option<String>) {
        let Some((start, address)) = self.link_start.take().zip(address) else { return };
        let words = self.paragraph.get(start..).unwrap_or_default().trim().to_owned();
        if !words.is_empty() && words != address {
            self.paragraph.truncate(start);
            self.paragraph.push_str(&format!("[{words}]({address})"));
        }
    }

    pub(super) fn end_paragraph(&mut self) {
        if self.is_in_table {
            self.paragraph.push(' ');
            return;
        }
        self.end_table();
        self.link_start = None;
        let paragraph = std::mem::take(&mut self.paragraph);
        let marker = std::mem::take(&mut self.marker);
        let lines: Vec<String> = paragraph.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let text = lines.join("\n");
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        let is_item = !marker.is_empty();
        // items of one list follow each other line by line
        let gap = if self.out.is_empty() || (is_item && self.was_item) { "" } else { "\n" };
        let start = self.level.map_or(marker, |level| format!("{} ", "#".repeat(usize::from(level))));
        self.out.push_str(&format!("{gap}{start}{}\n", if self.level.is_some() { text.replace('\n', " ") } else { text.to_owned() }));
        self.was_item = is_item;
    }

    pub(super) fn end_cell(&mut self) {
        self.link_start = None;
        self.marker.clear();
        let cell = std::mem::take(&mut self.paragraph);
        let is_full = self.cells.len() >= COLUMNS_MAX;
        match self.cells.last_mut().filter(|_| is_full) {
            Some(last) => last.push_str(&cell),
            None => self.cells.push(cell),
        }
    }

    pub(super) fn end_row(&mut self) {
        let row = std::mem::take(&mut self.cells);
        if !row.is_empty() {
            self.rows.push(row);
        }
    }

    fn end_table(&mut self) {
        self.end_row();
        let rows = std::mem::take(&mut self.rows);
        if rows.iter().flatten().any(|cell| !cell.trim().is_empty()) {
            let gap = if self.out.is_empty() { "" } else { "\n" };
            self.out.push_str(gap);
            self.out.push_str(&markdown_table(&rows));
            self.was_item = false;
        }
    }

    pub(super) fn finish(mut self) -> String {
        if self.is_in_table && !self.paragraph.trim().is_empty() {
            self.end_cell();
        }
        self.is_in_table = false;
        self.end_paragraph();
        self.out
    }
}
