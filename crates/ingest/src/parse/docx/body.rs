//! The text of a body: a stack of open paragraphs, cells and tables, and the blocks that come out.
//!
//! A paragraph may stand inside another's run (a text box): it is finished first and so comes out
//! before the paragraph it is anchored in.

use super::xml::{self, Step};
use super::{ParseError, Parts};
use crate::parse::docx::styles::level_of_outline;
use crate::parse::table::markdown_table;
use quick_xml::events::BytesStart;

/// Elements whose content is not the document's text: deleted or moved away, said twice, or codes.
const SKIPPED: &[&str] = &["del", "moveFrom", "Fallback", "instrText", "delText", "delInstrText", "rPrChange", "pPrChange", "sectPr"];

#[derive(Debug, Default)]
struct Paragraph {
    text: String,
    style: String,
    outline: Option<u8>,
    list: Option<String>,
    list_level: usize,
    /// Open links: where their words begin, and their address.
    links: Vec<(usize, Option<String>)>,
}

#[derive(Debug, Default)]
struct Table {
    rows: Vec<Vec<String>>,
    is_row_deleted: bool,
}

#[derive(Debug, Default)]
struct Cell {
    blocks: Vec<Block>,
    columns: usize,
    is_continued: bool,
}

#[derive(Debug)]
struct Block {
    text: String,
    is_item: bool,
}

#[derive(Debug)]
enum Open {
    Paragraph(Paragraph),
    Table(Table),
    Cell(Cell),
}

/// Cells within cells that are told apart; deeper tables are read as text of the cell around them.
const CELLS_MAX: usize = 32;
/// Links within links.
const LINKS_MAX: usize = 8;

/// Reads bodies into blocks.
pub(super) struct Body {
    parts: Parts,
    open: Vec<Open>,
    /// Where in `open` the cells are: a search would take time for every level.
    cells: Vec<usize>,
    blocks: Vec<Block>,
    /// How deep inside tables and cells beyond [`CELLS_MAX`].
    too_deep: usize,
    /// How deep inside a skipped element.
    skipping: usize,
    is_text: bool,
    is_run: bool,
}

impl Body {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts, open: Vec::new(), blocks: Vec::new(), cells: Vec::new(), too_deep: 0, skipping: 0, is_text: false, is_run: false }
    }

    /// Reads the main part.
    pub(super) fn read(&mut self, xml: &[u8]) -> Result<(), ParseError> {
        xml::walk(xml, |step| self.step(step))
    }

    /// Reads foot- or endnotes, each as a block that begins with its mark.
    pub(super) fn read_notes(&mut self, xml: &[u8], note: &str, mark: &str) -> Result<(), ParseError> {
        let mut first_block = self.blocks.len();
        let mut id = None;
        xml::walk(xml, |step| match step {
            Step::Open { name, element } if name == note => {
                // separators have a type; they are lines, not notes
                id = xml::attribute(element, "id").filter(|_| xml::attribute(element, "type").is_none_or(|kind| kind == "normal"));
                first_block = self.blocks.len();
            }
            Step::Close { name } if name == note => match (id.take(), self.blocks.get_mut(first_block)) {
                (Some(id), Some(block)) => block.text.insert_str(0, &format!("[^{mark}{id}]: ")),
                (None, Some(_)) => self.blocks.truncate(first_block),
                _ => {}
            },
            other => self.step(other),
        })
    }

    /// The Markdown of all blocks.
    pub(super) fn finish(self) -> String {
        let mut out = String::new();
        let mut was_item = false;
        for block in self.blocks {
            if !out.is_empty() {
                out.push_str(if was_item && block.is_item { "\n" } else { "\n\n" });
            }
            out.push_str(&block.text);
            was_item = block.is_item;
        }
        out
    }

    fn step(&mut self, step: Step<'_>) {
        match step {
            Step::Open { name, .. } if self.skipping > 0 || SKIPPED.contains(&name) => self.skip(name),
            Step::Open { name, element } => self.begin(name, element),
            Step::Close { .. } if self.skipping > 0 => self.skipping -= 1,
            Step::Close { name } => self.end(name),
            Step::Text(text) if self.is_text && self.skipping == 0 => self.push(&text),
            Step::Text(_) => {}
        }
    }

    fn skip(&mut self, name: &str) {
        self.skipping += 1;
        // a mark among the properties of a row: the row is deleted; a paragraph's mark is not its text
        if name == "del"
            && let Some(Open::Table(table)) = self.open.last_mut()
        {
            table.is_row_deleted = true;
        }
    }

    fn begin(&mut self, name: &str, element: &BytesStart<'_>) {
        match name {
            "tbl" | "tc" if self.cells.len() >= CELLS_MAX => self.too_deep += 1,
            "p" => self.open.push(Open::Paragraph(Paragraph::default())),
            "tbl" => self.open.push(Open::Table(Table::default())),
            "tc" => self.begin_cell(),
            "tr" => self.begin_row(),
            "r" => self.is_run = true,
            "t" => self.is_text = true,
            "tab" | "ptab" if self.is_run => self.push("\t"),
            "br" | "cr" => self.push("\n"),
            "noBreakHyphen" => self.push("-"),
            // of an equation: without a sign 10⁻⁴ would read 10-4
            "den" => self.push("/"),
            "sup" => self.push("^"),
            "hyperlink" => self.begin_link(element),
            "footnoteReference" => self.push_note_mark(element, ""),
            "endnoteReference" => self.push_note_mark(element, "e"),
            _ => self.take_property(name, element),
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "p" => self.end_paragraph(),
            "tbl" | "tc" if self.too_deep > 0 => self.too_deep -= 1,
            "tbl" => self.end_table(),
            "tc" => self.end_cell(),
            "tr" => self.end_row(),
            "r" => self.is_run = false,
            "t" => self.is_text = false,
            "hyperlink" => self.end_link(),
            _ => {}
        }
    }

    fn take_property(&mut self, name: &str, element: &BytesStart<'_>) {
        match (name, self.open.last_mut()) {
            ("pStyle", Some(Open::Paragraph(paragraph))) => paragraph.style = xml::value(element).unwrap_or_default(),
            ("outlineLvl", Some(Open::Paragraph(paragraph))) => paragraph.outline = xml::number(element),
            ("numId", Some(Open::Paragraph(paragraph))) => paragraph.list = xml::value(element),
            ("ilvl", Some(Open::Paragraph(paragraph))) => paragraph.list_level = xml::number(element).unwrap_or_default(),
            ("gridSpan", Some(Open::Cell(cell))) => cell.columns = xml::number(element).unwrap_or(1).clamp(1, 64),
            ("vMerge", Some(Open::Cell(cell))) => cell.is_continued = xml::value(element).as_deref() != Some("restart"),
            _ => {}
        }
    }

    fn push(&mut self, text: &str) {
        if let Some(Open::Paragraph(paragraph)) = self.open.last_mut() {
            paragraph.text.push_str(text);
        }
    }

    fn push_note_mark(&mut self, element: &BytesStart<'_>, mark: &str) {
        if let Some(id) = xml::attribute(element, "id") {
            self.push(&format!("[^{mark}{id}]"));
        }
    }

    fn begin_link(&mut self, element: &BytesStart<'_>) {
        let address = xml::attribute(element, "id").and_then(|id| self.parts.links.get(&id).cloned());
        if let Some(Open::Paragraph(paragraph)) = self.open.last_mut() {
            let address = address.filter(|_| paragraph.links.len() < LINKS_MAX);
            paragraph.links.push((paragraph.text.len(), address));
        }
    }

    fn end_link(&mut self) {
        if let Some(Open::Paragraph(paragraph)) = self.open.last_mut()
            && let Some((start, Some(address))) = paragraph.links.pop()
            && paragraph.text.get(start..).is_some_and(|words| !words.trim().is_empty() && words.trim() != address)
        {
            paragraph.text.insert(start, '[');
            paragraph.text.push_str(&format!("]({address})"));
        }
    }

    fn end_paragraph(&mut self) {
        let Some(Open::Paragraph(paragraph)) = self.open.pop_if(|open| matches!(open, Open::Paragraph(_))) else { return };
        let words = paragraph.text.trim();
        let block = if words.is_empty() {
            return;
        } else if let Some(level) = self.heading_level(&paragraph) {
            let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
            Block { text: format!("{} {words}", "#".repeat(usize::from(level))), is_item: false }
        } else {
            let marker = self.marker(&paragraph);
            let text = format!("{marker}{}", if words.starts_with('#') { format!("\\{words}") } else { words.to_owned() });
            Block { text, is_item: !marker.is_empty() }
        };
        self.emit(block);
    }

    /// Headings inside cells are cell text: a table row has no room for them.
    fn heading_level(&self, paragraph: &Paragraph) -> Option<u8> {
        let level = paragraph.outline.map_or_else(|| self.parts.styles.heading_level(&paragraph.style), level_of_outline);
        level.filter(|_| self.cells.is_empty())
    }

    fn marker(&mut self, paragraph: &Paragraph) -> String {
        let by_style = || self.parts.styles.list(&paragraph.style);
        let list = paragraph.list.clone().map(|list| (list, paragraph.list_level)).or_else(by_style);
        list.map(|(list, level)| self.parts.numbering.next_marker(&list, level)).unwrap_or_default()
    }

    /// Puts a finished block into the innermost open cell, or into the document.
    fn emit(&mut self, block: Block) {
        let cell = self.cells.last().and_then(|at| self.open.get_mut(*at)).and_then(|open| match open {
            Open::Cell(cell) => Some(cell),
            _ => None,
        });
        cell.map_or(&mut self.blocks, |cell| &mut cell.blocks).push(block);
    }

    fn begin_row(&mut self) {
        if let Some(Open::Table(table)) = self.open.last_mut() {
            table.rows.push(Vec::new());
            table.is_row_deleted = false;
        }
    }

    fn begin_cell(&mut self) {
        self.cells.push(self.open.len());
        self.open.push(Open::Cell(Cell { columns: 1, ..Cell::default() }));
    }

    fn end_cell(&mut self) {
        let Some(Open::Cell(cell)) = self.open.pop_if(|open| matches!(open, Open::Cell(_))) else { return };
        self.cells.pop();
        let text =
            if cell.is_continued { String::new() } else { cell.blocks.into_iter().map(|block| block.text).collect::<Vec<_>>().join("\n") };
        if let Some(Open::Table(table)) = self.open.last_mut()
            && let Some(row) = table.rows.last_mut()
        {
            row.push(text);
            row.extend(std::iter::repeat_n(String::new(), cell.columns - 1));
        }
    }

    fn end_row(&mut self) {
        if let Some(Open::Table(table)) = self.open.last_mut()
            && std::mem::take(&mut table.is_row_deleted)
        {
            table.rows.pop();
        }
    }

    fn end_table(&mut self) {
        let Some(Open::Table(mut table)) = self.open.pop_if(|open| matches!(open, Open::Table(_))) else { return };
        table.rows.retain(|row| row.iter().any(|cell| !cell.trim().is_empty()));
        let is_layout = table.rows.iter().all(|row| row.len() <= 1);
        let text = match () {
            () if table.rows.is_empty() => return,
            () if !self.cells.is_empty() => table.rows.iter().map(|row| row.join(" ")).collect::<Vec<_>>().join("; "),
            () if is_layout => table.rows.concat().join("\n\n"),
            () => markdown_table(&table.rows).trim_end().to_owned(),
        };
        self.emit(Block { text, is_item: false });
    }
}
