//! Markdown put together block by block, with the pages that the blocks stand on.

use super::table::markdown_table;
use super::{PageStart, ParsedDocument};

/// Deepest heading and deepest list level that are written.
const HEADING_LEVEL_MAX: u8 = 6;
const LIST_LEVEL_MAX: usize = 8;

/// A document being written.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    text: String,
    was_item: bool,
    pages: Vec<PageStart>,
    /// A page that no block stands on yet.
    next_page: Option<u32>,
}

impl Blocks {
    /// What follows stands on this page, slide or sheet.
    pub(super) const fn page(&mut self, number: u32) {
        self.next_page = Some(number);
    }

    /// A heading, if it has words.
    pub(super) fn heading(&mut self, level: u8, words: &str) {
        let words = one_line(words);
        if !words.is_empty() {
            self.push(&format!("{} {words}", "#".repeat(usize::from(level.clamp(1, HEADING_LEVEL_MAX)))), false);
        }
    }

    /// Running text, verbatim but for a `#` at its start, which would make it a heading.
    pub(super) fn paragraph(&mut self, text: &str) {
        let text = text.trim();
        if text.starts_with('#') { self.push(&format!("\\{text}"), false) } else { self.push(text, false) }
    }

    /// An item of a list; `number` is that of an ordered list, `level` counts from 0.
    pub(super) fn item(&mut self, level: usize, number: Option<u32>, text: &str) {
        let text = one_line(text);
        let indent = "   ".repeat(level.min(LIST_LEVEL_MAX));
        match number {
            _ if text.is_empty() => {}
            Some(number) => self.push(&format!("{indent}{number}. {text}"), true),
            None => self.push(&format!("{indent}- {text}"), true),
        }
    }

    /// A table whose first row is its header; one without any text is left out.
    pub(super) fn table(&mut self, rows: &[Vec<String>]) {
        if rows.iter().flatten().any(|cell| !cell.trim().is_empty()) {
            self.push(markdown_table(rows).trim_end(), false);
        }
    }

    /// Markdown that is already in shape.
    pub(super) fn markdown(&mut self, text: &str) {
        self.push(text.trim(), false);
    }

    /// Bytes written so far.
    pub(super) const fn len(&self) -> usize {
        self.text.len()
    }

    /// The document, with its pages counted where it has pages.
    pub(super) fn finish(self, media_type: &str, page_count: Option<u32>) -> ParsedDocument {
        ParsedDocument { pages: self.pages, page_count, ..ParsedDocument::markdown(media_type, self.text) }
    }

    fn push(&mut self, block: &str, is_item: bool) {
        if block.is_empty() {
            return;
        }
        if !self.text.is_empty() {
            self.text.push_str(if self.was_item && is_item { "\n" } else { "\n\n" });
        }
        if let Some(number) = self.next_page.take() {
            self.pages.push(PageStart { byte_start: self.text.len(), number });
        }
        self.text.extend(block.chars().filter(|c| !matches!(c, '\0' | '\r')));
        self.was_item = is_item;
    }
}

/// All white space, and NUL, as single spaces.
pub(super) fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c == '\0').filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_know_their_page_and_empty_ones_are_left_out() {
        let mut blocks = Blocks::default();
        blocks.page(1);
        blocks.paragraph("  ");
        blocks.page(2);
        blocks.heading(1, " Öl\nund Docht ");
        blocks.item(0, None, "one");
        blocks.item(1, Some(3), "two\r\0");
        blocks.paragraph("# 1 on the list");
        blocks.page(3);
        blocks.table(&[vec![String::new()]]);
        blocks.markdown("end");
        let document = blocks.finish("x/y", Some(3));
        assert_eq!(document.text, "# Öl und Docht\n\n- one\n   3. two\n\n\\# 1 on the list\n\nend");
        assert_eq!(document.title.as_deref(), Some("Öl und Docht"));
        let pages: Vec<_> = document.pages.iter().map(|page| (page.number, &document.text[page.byte_start..][..1])).collect();
        assert_eq!((pages, document.page_count), (vec![(2, "#"), (3, "e")], Some(3)));
    }
}
