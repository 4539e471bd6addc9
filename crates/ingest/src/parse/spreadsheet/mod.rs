//! XLSX, XLSB and XLS workbooks to Markdown: each sheet a page with its name as a heading and its
//! cells as a table.
//!
//! `calamine` reads them. It believes what a file says of itself and may panic on what is broken:
//! so the archive is inflated once into nothing before it is handed over, and panics are caught.

mod cell;

use super::archive::Archive;
use super::blocks::Blocks;
use super::grid::{Budget, Grid, MARKDOWN_BYTES_MAX};
use super::{ParseError, ParsedDocument, docx};
use calamine::{Data, DataType, Range, Reader, SheetType, Xls, XlsError, Xlsb, XlsbError, Xlsx, XlsxError};
use std::io::Cursor;

/// Memory for the table of shared strings alone, without their text.
const STRINGS_BYTES_MAX: usize = 96 * 1024 * 1024;
/// How far into the shared strings their stated count is looked for, in bytes.
const STRINGS_HEAD_BYTES: usize = 4096;

/// A kind of workbook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Workbook {
    Xlsx,
    Xlsb,
    Xls,
}

impl Workbook {
    const fn media_type(self) -> &'static str {
        match self {
            Self::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            Self::Xlsb => "application/vnd.ms-excel.sheet.binary.macroEnabled.12",
            Self::Xls => "application/vnd.ms-excel",
        }
    }
}

/// Sheets being read.
#[derive(Default)]
struct Sheets {
    blocks: Blocks,
    budget: Budget,
    count: u32,
    warnings: Vec<String>,
}

pub(super) fn parse(bytes: &[u8], workbook: Workbook) -> Result<ParsedDocument, ParseError> {
    let title = if workbook == Workbook::Xls { None } else { check_package(bytes)? };
    let mut sheets = Sheets::default();
    ParseError::for_panic("the structure of the workbook can't be read", || match workbook {
        Workbook::Xlsx => sheets.read_xlsx(bytes),
        Workbook::Xlsb => sheets.read_xlsb(bytes),
        Workbook::Xls => sheets.read_xls(bytes),
    })?;
    let mut document = sheets.blocks.finish(workbook.media_type(), Some(sheets.count));
    document.title = title;
    document.warnings = sheets.warnings;
    document.warnings.extend(sheets.budget.warning());
    Ok(document)
}

/// Looks at what `calamine` would take on trust; gives the title while it is there.
fn check_package(bytes: &[u8]) -> Result<Option<String>, ParseError> {
    Archive::open(bytes)?.check_inflated(bytes.len())?;
    let mut archive = Archive::open(bytes)?;
    let strings = archive.read("xl/sharedStrings.xml")?.unwrap_or_default();
    let stated = stated_count(strings.get(..STRINGS_HEAD_BYTES.min(strings.len())).unwrap_or_default());
    let held = strings.windows(3).filter(|window| window == b"<si").count();
    if stated.max(held) > STRINGS_BYTES_MAX / size_of::<String>() {
        return Err(ParseError::TooLarge { what: "the table of strings".to_owned(), bytes_max: STRINGS_BYTES_MAX as u64 });
    }
    Ok(docx::own_title(&archive.read("docProps/core.xml")?.unwrap_or_default()))
}

/// `uniqueCount` of the shared strings: room for so many is made before one is read.
fn stated_count(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head);
    let digits = head.split_once("uniqueCount").map_or("", |(_, after)| after.trim_start_matches([' ', '=', '"', '\'']));
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    // more digits than a number holds are more than allowed
    digits.get(..end).filter(|digits| !digits.is_empty()).map_or(0, |digits| digits.parse().unwrap_or(usize::MAX))
}

impl Sheets {
    fn read_xlsx(&mut self, bytes: &[u8]) -> Result<(), ParseError> {
        let mut workbook = Xlsx::new(Cursor::new(bytes)).map_err(xlsx_error)?;
        for name in cell_sheets(&workbook) {
            let mut cells = match workbook.worksheet_cells_reader(&name) {
                // a sheet that is a chart or a dialog
                Err(XlsxError::NotAWorksheet(_)) => continue,
                cells => cells.map_err(xlsx_error)?,
            };
            let mut grid = Grid::default();
            while !self.budget.is_used_up()
                && let Some(cell) = cells.next_cell().map_err(xlsx_error)?
            {
                let (row, column) = cell.get_position();
                grid.put(row, column, &cell::text(Data::from(cell.get_value().clone())), &mut self.budget);
            }
            self.write(&name, &grid);
        }
        Ok(())
    }

    fn read_xlsb(&mut self, bytes: &[u8]) -> Result<(), ParseError> {
        let mut workbook = Xlsb::new(Cursor::new(bytes)).map_err(xlsb_error)?;
        for name in cell_sheets(&workbook) {
            let mut cells = workbook.worksheet_cells_reader(&name).map_err(xlsb_error)?;
            let mut grid = Grid::default();
            while !self.budget.is_used_up()
                && let Some(cell) = cells.next_cell().map_err(xlsb_error)?
            {
                let (row, column) = cell.get_position();
                grid.put(row, column, &cell::text(Data::from(cell.get_value().clone())), &mut self.budget);
            }
            self.write(&name, &grid);
        }
        Ok(())
    }

    fn read_xls(&mut self, bytes: &[u8]) -> Result<(), ParseError> {
        let mut workbook = Xls::new(Cursor::new(bytes)).map_err(xls_error)?;
        for name in cell_sheets(&workbook) {
            let cells = workbook.worksheet_range(&name).map_err(xls_error)?;
            let grid = self.gather(&cells);
            self.write(&name, &grid);
        }
        Ok(())
    }

    fn gather(&mut self, cells: &Range<Data>) -> Grid {
        let mut grid = Grid::default();
        for (row, column, value) in cells.used_cells().filter(|(_, _, value)| !value.is_empty()) {
            let [row, column] = [row, column].map(|index| u32::try_from(index).unwrap_or(u32::MAX));
            grid.put(row, column, &cell::text(value.clone()), &mut self.budget);
        }
        grid
    }

    fn write(&mut self, name: &str, grid: &Grid) {
        self.count += 1;
        self.blocks.page(self.count);
        let (text, is_whole) = grid.markdown(MARKDOWN_BYTES_MAX.saturating_sub(self.blocks.len()));
        if !is_whole {
            self.warnings.push(format!("the text of sheet {name:?} was cut"));
        }
        if !text.is_empty() {
            self.blocks.heading(2, name);
            self.blocks.markdown(&text);
        }
    }
}

/// Sheets with cells, hidden ones too: what is hidden in a workbook is often what others refer to.
fn cell_sheets<'b, R: Reader<Cursor<&'b [u8]>>>(workbook: &R) -> Vec<String> {
    let sheets = workbook.sheets_metadata().iter();
    sheets.filter(|sheet| matches!(sheet.typ, SheetType::WorkSheet | SheetType::MacroSheet)).map(|sheet| sheet.name.clone()).collect()
}

fn xlsx_error(error: XlsxError) -> ParseError {
    if matches!(error, XlsxError::Password) { ParseError::Encrypted } else { ParseError::corrupt(error) }
}

fn xlsb_error(error: XlsbError) -> ParseError {
    if matches!(error, XlsbError::Password) { ParseError::Encrypted } else { ParseError::corrupt(error) }
}

fn xls_error(error: XlsError) -> ParseError {
    if matches!(error, XlsError::Password) { ParseError::Encrypted } else { ParseError::corrupt(error) }
}

#[cfg(test)]
mod tests;
