//! PDF to plain text with pages and headings.
//!
//! A PDF holds no text, only glyphs at places. `hayro` reads the file and gives the glyphs with
//! their characters ([`glyphs`]); [`layout`] makes lines, columns and paragraphs of them, and
//! [`bidi`] puts right-to-left lines into reading order.

mod bidi;
mod glyphs;
mod layout;

use super::{Heading, PageStart, ParseError, ParsedDocument};
use glyphs::PageGlyphs;
use hayro_interpret::InterpreterCache;
use hayro_syntax::Pdf;
use hayro_syntax::{DecryptionError, LoadPdfError};
use layout::Paragraph;
use std::collections::BTreeMap;

/// A heading is this much larger than the body's letters, and no longer than this.
const HEADING_SCALE_MIN: f64 = 1.15;
const HEADING_CHARS_MAX: usize = 160;
/// Deepest level that letter size gives.
const HEADING_LEVEL_MAX: usize = 4;

/// Warnings about single pages.
const WARNINGS_MAX: usize = 8;
/// Drawing operators of one page, in bytes: more is an attack or a drawing.
const CONTENT_BYTES_MAX: usize = 64 << 20;

pub(super) fn parse(bytes: &[u8]) -> Result<ParsedDocument, ParseError> {
    let pdf = Pdf::new(bytes.to_vec()).map_err(load_error)?;
    let cache = InterpreterCache::new();
    let (mut images, mut unmapped) = (0, 0);
    let (mut pages, mut left_out) = (Vec::new(), Vec::new());
    for (number, page) in (1..).zip(pdf.pages().iter()) {
        if page.page_stream().is_some_and(|content| content.len() > CONTENT_BYTES_MAX) {
            left_out.push(format!("page {number} is drawn by more than {CONTENT_BYTES_MAX} bytes of operators and was left out"));
            pages.push(Vec::new());
            continue;
        }
        let glyphs = PageGlyphs::of(page, pdf.xref(), &cache);
        images += glyphs.images;
        unmapped += glyphs.unmapped;
        if glyphs.surplus > 0 {
            left_out.push(format!("page {number} draws too many glyphs; {} were left out", glyphs.surplus));
        }
        pages.push(layout::paragraphs(glyphs.glyphs));
    }
    if pages.is_empty() {
        return Err(ParseError::corrupt("no page can be found"));
    }
    let mut document = assemble(&pages);
    match (document.text.trim().is_empty(), unmapped, images) {
        (false, 0, _) => {}
        (false, lost, _) => document.warnings.push(format!("{lost} glyphs without a known character were left out")),
        (true, ..) if !left_out.is_empty() => {
            return Err(ParseError::TooLarge { what: "the drawing of a page".to_owned(), bytes_max: CONTENT_BYTES_MAX as u64 });
        }
        (true, 0, 0) => return Err(ParseError::Empty),
        (true, 0, _) => return Err(ParseError::ImageOnly),
        (true, _, _) => return Err(ParseError::Unmapped),
    }
    summarise(&mut left_out);
    document.warnings.extend(left_out);
    let title = pdf.metadata().title.as_deref().and_then(text_string);
    document.title = title.or_else(|| document.headings.first().map(|heading| heading.title.clone()));
    Ok(document)
}

/// A hundred pages with the same trouble are told once.
fn summarise(warnings: &mut Vec<String>) {
    let more = warnings.len().saturating_sub(WARNINGS_MAX);
    warnings.truncate(WARNINGS_MAX);
    if more > 0 {
        warnings.push(format!("{more} more pages have parts left out"));
    }
}

fn load_error(error: LoadPdfError) -> ParseError {
    match error {
        LoadPdfError::Decryption(DecryptionError::PasswordProtected) => ParseError::Encrypted,
        LoadPdfError::Decryption(DecryptionError::UnsupportedAlgorithm) => {
            ParseError::Unsupported { detected: "PDF with an unknown kind of encryption".to_owned() }
        }
        LoadPdfError::Decryption(_) => ParseError::corrupt("the encryption of the PDF is invalid"),
        LoadPdfError::Invalid => ParseError::corrupt("the structure of the PDF can't be read"),
    }
}

fn assemble(pages: &[Vec<Paragraph>]) -> ParsedDocument {
    let sizes = heading_sizes(pages);
    let mut document = ParsedDocument::plain("application/pdf", String::new());
    document.page_count = u32::try_from(pages.len()).ok();
    for (number, paragraphs) in (1..).zip(pages) {
        let start = document.text.len();
        for paragraph in paragraphs {
            let byte_start = document.text.len();
            if let Some(level) = heading_level(paragraph, &sizes) {
                document.headings.push(Heading {
                    byte_start,
                    level,
                    title: paragraph.text.split_whitespace().collect::<Vec<_>>().join(" "),
                });
            }
            document.text.push_str(&paragraph.text);
            document.text.push_str("\n\n");
        }
        if document.text.len() > start {
            document.pages.push(PageStart { byte_start: start, number });
        }
    }
    document
}

/// Letter sizes of headings in half points, largest first.
fn heading_sizes(pages: &[Vec<Paragraph>]) -> Vec<i64> {
    let mut chars_of_size = BTreeMap::<i64, usize>::new();
    for paragraph in pages.iter().flatten() {
        *chars_of_size.entry(half_points(paragraph.size)).or_default() += paragraph.text.len();
    }
    let body = chars_of_size.iter().max_by_key(|(_, chars)| **chars).map_or(0, |(size, _)| *size);
    #[expect(clippy::cast_precision_loss, reason = "sizes are small")]
    let is_larger = |size: i64| size as f64 >= body as f64 * HEADING_SCALE_MIN;
    chars_of_size.into_keys().rev().filter(|size| is_larger(*size)).collect()
}

fn half_points(size: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "a float to integer cast saturates")]
    let size = (size * 2.0).round() as i64;
    size
}

fn heading_level(paragraph: &Paragraph, sizes: &[i64]) -> Option<u8> {
    let rank = sizes.iter().position(|size| *size == half_points(paragraph.size))?;
    let is_short = paragraph.text.chars().count() <= HEADING_CHARS_MAX && paragraph.text.lines().count() <= 3;
    let has_words = paragraph.text.chars().filter(|c| c.is_alphabetic()).count() >= 2;
    (is_short && has_words).then(|| u8::try_from(rank.min(HEADING_LEVEL_MAX - 1) + 1).unwrap_or(1))
}

/// A PDF text string: UTF-16 or UTF-8 with a mark, else close to Latin-1.
fn text_string(bytes: &[u8]) -> Option<String> {
    let text = match encoding_rs::Encoding::for_bom(bytes) {
        Some((encoding, mark)) => encoding.decode_without_bom_handling(bytes.get(mark..)?).0.into_owned(),
        None => bytes.iter().map(|byte| char::from(*byte)).collect(),
    };
    let text = text.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned();
    // what some producers write when nobody gave a title
    let is_stand_in = matches!(text.as_str(), "untitled" | "Untitled" | "(anonymous)" | "(unspecified)");
    (!text.is_empty() && !is_stand_in).then_some(text)
}
