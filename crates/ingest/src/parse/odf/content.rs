//! The body of an OpenDocument file: a stack of what is open, and the blocks that come out.
//!
//! A paragraph may stand inside another (a text box, a note): it is finished first and so comes
//! out before the paragraph it is anchored in.

use super::lists::{ListStyles, OpenLists};
use crate::parse::ParsedDocument;
use crate::parse::blocks::Blocks;
use crate::parse::docx::xml::{self, Step};
use crate::parse::grid::{Budget, Grid, MARKDOWN_BYTES_MAX, SHEET_COLUMNS_MAX, SHEET_ROWS_MAX};
use quick_xml::events::BytesStart;

/// Elements whose content is not the document's text: deleted, said twice, or about it.
const SKIPPED: &[&str] = &[
    "tracked-changes",
    "annotation",
    "annotation-end",
    "note-citation",
    "table-of-content",
    "forms",
    "binary-data",
    "event-listeners",
    "desc",
    "title",
];
/// Frames of a slide that are not what it says (`presentation:class`).
const FRAMES: &[&str] = &["header", "footer", "date-time", "page-number", "page"];
/// Spaces that one element may stand for.
const SPACES_MAX: usize = 64;
/// What may be open at once; paragraphs and notes inside are read as part of what is around them.
const OPEN_MAX: usize = 64;

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Genre {
    Text,
    Slides,
    Sheets,
}

impl Genre {
    pub(super) fn of(media_type: &str) -> Self {
        let is = |what| media_type.contains(what);
        match () {
            () if is(".spreadsheet") => Self::Sheets,
            () if is(".presentation") || is(".graphics") => Self::Slides,
            () => Self::Text,
        }
    }
}

#[derive(Debug, Default)]
struct Paragraph {
    text: String,
    heading: Option<u8>,
    /// Open links: where their words begin, and their address.
    links: Vec<(usize, String)>,
}

#[derive(Debug, Default)]
struct Table {
    grid: Grid,
    name: String,
    row: u32,
    rows_repeated: u32,
    column: u32,
}

#[derive(Debug)]
struct Cell {
    blocks: Vec<String>,
    repeated: u32,
    /// What stands in it if no text does: some programs write the value only.
    value: Option<String>,
}

impl Cell {
    fn begin(element: &BytesStart<'_>) -> Self {
        let value =
            ["date-value", "time-value", "boolean-value", "string-value", "value"].iter().find_map(|name| xml::attribute(element, name));
        Self { blocks: Vec::new(), repeated: number(element, "number-columns-repeated").max(1), value }
    }

    fn text(self) -> String {
        if self.blocks.is_empty() { self.value.unwrap_or_default() } else { self.blocks.join("\n") }
    }
}

#[derive(Debug)]
enum Open {
    Paragraph(Paragraph),
    Table(Table),
    Cell(Cell),
    /// A foot- or endnote: its number and paragraphs.
    Note(usize, Vec<String>),
}

/// Reads a body.
pub(super) struct Content {
    genre: Genre,
    styles: ListStyles,
    lists: OpenLists,
    open: Vec<Open>,
    blocks: Blocks,
    notes: Vec<String>,
    budget: Budget,
    warnings: Vec<String>,
    /// Slides or sheets so far.
    pages: u32,
    notes_begun: usize,
    is_title_frame: bool,
    /// The notes of a slide have begun and nothing stands in them yet.
    is_speaker_new: bool,
    /// Tables open inside a cell: their paragraphs are those of the cell.
    tables_inside: usize,
    /// Paragraphs and notes that were too deep to be opened.
    too_deep: usize,
    skipping: usize,
}

impl Content {
    pub(super) fn new(genre: Genre, styles: ListStyles) -> Self {
        Self {
            genre,
            styles,
            lists: OpenLists::default(),
            open: Vec::new(),
            blocks: Blocks::default(),
            notes: Vec::new(),
            budget: Budget::default(),
            warnings: Vec::new(),
            pages: 0,
            notes_begun: 0,
            is_title_frame: false,
            is_speaker_new: false,
            tables_inside: 0,
            too_deep: 0,
            skipping: 0,
        }
    }

    /// The whole document, its notes at the end.
    pub(super) fn finish(mut self, media_type: &str) -> ParsedDocument {
        self.notes.iter().for_each(|note| self.blocks.paragraph(note));
        let page_count = (self.genre != Genre::Text).then_some(self.pages);
        let mut document = self.blocks.finish(media_type, page_count);
        document.warnings = self.warnings;
        document.warnings.extend(self.budget.warning());
        document
    }

    pub(super) fn step(&mut self, step: Step<'_>) {
        match step {
            Step::Open { name, .. } if self.skipping > 0 || SKIPPED.contains(&name) => self.skipping += 1,
            Step::Open { name: "frame", element } if is_frame_of_page(element) => self.skipping += 1,
            Step::Close { .. } if self.skipping > 0 => self.skipping -= 1,
            Step::Open { name, element } if !self.is_below(name, 1) => self.begin(name, element),
            Step::Close { name } if !self.is_below(name, -1) => self.end(name),
            Step::Text(text) if self.skipping == 0 => self.push(&collapsed(&text)),
            _ => {}
        }
    }

    /// Whether an element that begins (`step` 1) or ends (-1) is inside something that is kept as
    /// one: counts it then. Elements end in reverse order, so that a count is enough.
    fn is_below(&mut self, name: &str, step: isize) -> bool {
        let is_table = matches!(name, "table" | "table-row" | "table-cell" | "covered-table-cell");
        let is_block = matches!(name, "p" | "h" | "note");
        let is_full = step > 0 && self.open.len() >= OPEN_MAX;
        let is_table_inside = step > 0 && name == "table" && self.is_in_cell();
        let count = match () {
            () if is_table && (self.tables_inside > 0 || is_full || is_table_inside) => &mut self.tables_inside,
            () if is_block && (self.too_deep > 0 || is_full) => &mut self.too_deep,
            () => return false,
        };
        *count = count.saturating_add_signed(step);
        true
    }

    fn is_in_cell(&self) -> bool {
        self.open.iter().any(|open| matches!(open, Open::Cell(_)))
    }

    fn begin(&mut self, name: &str, element: &BytesStart<'_>) {
        match name {
            "p" => self.open.push(Open::Paragraph(Paragraph::default())),
            "h" => self.begin_heading(element),
            "s" => self.push(&" ".repeat(number(element, "c").clamp(1, SPACES_MAX as u32) as usize)),
            "tab" => self.push("\t"),
            "line-break" => self.push("\n"),
            "a" => self.begin_link(element),
            "note" => self.begin_note(),
            "list" => self.lists.begin(xml::attribute(element, "style-name")),
            "list-item" | "list-header" => self.lists.begin_item(),
            "table" => self.begin_table(element),
            "table-row" => self.begin_row(element),
            "table-cell" | "covered-table-cell" => self.open.push(Open::Cell(Cell::begin(element))),
            "page" => self.begin_page(),
            "notes" => self.is_speaker_new = true,
            "frame" => self.is_title_frame = xml::attribute(element, "class").as_deref() == Some("title"),
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "p" | "h" => self.end_paragraph(),
            "a" => self.end_link(),
            "note" => self.end_note(),
            "list" => self.lists.end(),
            "table" => self.end_table(),
            "table-row" => self.end_row(),
            "table-cell" | "covered-table-cell" => self.end_cell(),
            "frame" => self.is_title_frame = false,
            "notes" => self.is_speaker_new = false,
            _ => {}
        }
    }

    fn begin_page(&mut self) {
        self.pages += 1;
        self.blocks.page(self.pages);
    }

    fn begin_heading(&mut self, element: &BytesStart<'_>) {
        let level = u8::try_from(number(element, "outline-level").clamp(1, 6)).unwrap_or(6);
        self.open.push(Open::Paragraph(Paragraph { heading: Some(level), ..Paragraph::default() }));
    }

    /// Text of the innermost open element, if that is a paragraph or would hold one too deep.
    fn push(&mut self, text: &str) {
        let candidates = if self.too_deep > 0 { OPEN_MAX } else { 1 };
        let paragraph = self.open.iter_mut().rev().take(candidates).find_map(|open| match open {
            Open::Paragraph(paragraph) => Some(paragraph),
            _ => None,
        });
        paragraph.into_iter().for_each(|paragraph| paragraph.text.push_str(text));
    }

    fn begin_link(&mut self, element: &BytesStart<'_>) {
        let address = xml::attribute(element, "href").unwrap_or_default();
        if let Some(Open::Paragraph(paragraph)) = self.open.last_mut() {
            paragraph.links.push((paragraph.text.len(), address));
        }
    }

    fn end_link(&mut self) {
        if let Some(Open::Paragraph(paragraph)) = self.open.last_mut()
            && let Some((start, address)) = paragraph.links.pop()
            // without a scheme it leads to a place inside the file
            && address.contains(':')
            && paragraph.text.get(start..).is_some_and(|words| !words.trim().is_empty() && words.trim() != address)
        {
            paragraph.text.insert(start, '[');
            paragraph.text.push_str(&format!("]({address})"));
        }
    }

    fn begin_note(&mut self) {
        self.notes_begun += 1;
        self.push(&format!("[^{}]", self.notes_begun));
        self.open.push(Open::Note(self.notes_begun, Vec::new()));
    }

    fn end_note(&mut self) {
        if let Some(Open::Note(number, paragraphs)) = self.open.pop_if(|open| matches!(open, Open::Note(..))) {
            self.notes.push(format!("[^{number}]: {}", paragraphs.join("\n")));
        }
    }

    fn end_paragraph(&mut self) {
        let Some(Open::Paragraph(paragraph)) = self.open.pop_if(|open| matches!(open, Open::Paragraph(_))) else { return };
        let words = paragraph.text.trim();
        if words.is_empty() {
            return;
        }
        if let Some(blocks) = self.inner() {
            return blocks.push(words.to_owned());
        }
        if std::mem::take(&mut self.is_speaker_new) {
            self.blocks.heading(2, "Notes");
        }
        let item = self.lists.take_item(&self.styles);
        match (paragraph.heading.or(self.is_title_frame.then_some(1)), item) {
            (Some(level), _) => self.blocks.heading(level, words),
            (None, Some((level, number))) => self.blocks.item(level, number, words),
            (None, None) => self.blocks.paragraph(words),
        }
    }

    /// The blocks of the innermost open cell or note.
    fn inner(&mut self) -> Option<&mut Vec<String>> {
        self.open.iter_mut().rev().find_map(|open| match open {
            Open::Cell(cell) => Some(&mut cell.blocks),
            Open::Note(_, paragraphs) => Some(paragraphs),
            _ => None,
        })
    }

    fn begin_table(&mut self, element: &BytesStart<'_>) {
        let is_sheet = self.genre == Genre::Sheets && self.open.is_empty();
        if is_sheet {
            self.begin_page();
        }
        let name = xml::attribute(element, "name").filter(|_| is_sheet).unwrap_or_default();
        self.open.push(Open::Table(Table { name, ..Table::default() }));
    }

    fn begin_row(&mut self, element: &BytesStart<'_>) {
        if let Some(Open::Table(table)) = self.open.last_mut() {
            (table.column, table.rows_repeated) = (0, number(element, "number-rows-repeated").max(1));
        }
    }

    fn end_cell(&mut self) {
        let Some(Open::Cell(cell)) = self.open.pop_if(|open| matches!(open, Open::Cell(_))) else { return };
        let Some(Open::Table(table)) = self.open.last_mut() else { return };
        let end = table.column.saturating_add(cell.repeated).min(SHEET_COLUMNS_MAX);
        let last_row = table.row.saturating_add(table.rows_repeated).min(SHEET_ROWS_MAX);
        let text = cell.text();
        let is_worth_it = !text.is_empty() && table.column < end;
        for row in table.row..last_row {
            if !is_worth_it || self.budget.is_used_up() {
                break;
            }
            (table.column..end).for_each(|column| table.grid.put(row, column, &text, &mut self.budget));
        }
        table.column = end;
    }

    fn end_row(&mut self) {
        if let Some(Open::Table(table)) = self.open.last_mut() {
            table.row = table.row.saturating_add(table.rows_repeated).min(SHEET_ROWS_MAX);
        }
    }

    fn end_table(&mut self) {
        let Some(Open::Table(table)) = self.open.pop_if(|open| matches!(open, Open::Table(_))) else { return };
        let (text, is_whole) = table.grid.markdown(MARKDOWN_BYTES_MAX.saturating_sub(self.blocks.len()));
        if !is_whole {
            self.warnings.push("the text of a table was cut".to_owned());
        }
        if !text.is_empty() {
            self.blocks.heading(2, &table.name);
            self.blocks.markdown(&text);
        }
    }
}

fn is_frame_of_page(element: &BytesStart<'_>) -> bool {
    xml::attribute(element, "class").is_some_and(|class| FRAMES.contains(&class.as_str()))
}

fn number(element: &BytesStart<'_>, name: &str) -> u32 {
    xml::attribute(element, name).and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// White space in the file is one space (ODF 1.3 part 3, 6.1.2); more have elements of their own.
fn collapsed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let is_space = matches!(c, ' ' | '\t' | '\n' | '\r');
        if !is_space {
            out.push(c);
        } else if !out.ends_with(' ') {
            out.push(' ');
        }
    }
    out
}
