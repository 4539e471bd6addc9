//! From glyphs at places to paragraphs in reading order.
//!
//! Three steps: glyphs that follow each other on a baseline make a *piece*; pieces are put in order
//! by cutting the page where a gutter separates columns (a recursive X-Y cut); the lines of each
//! region make paragraphs, cut at gaps, at changes of letter size and where a line was not full.
//! All thresholds are in em, that is in letter sizes.

use super::bidi;
use super::glyphs::Glyph;

/// A gap this wide is a space; between ideographs, which have none, it must be wider.
const SPACE_EM: f64 = 0.17;
const SPACE_CJK_EM: f64 = 0.8;
/// A gap this wide ends a piece: the next one may be another column.
const PIECE_GAP_EM: f64 = 1.5;
/// How far a glyph may step back over the one before it and still follow it.
const OVERLAP_EM: f64 = 0.5;
/// Baselines this close are one line; a raised or lowered glyph right behind another stays with it.
const SAME_LINE_EM: f64 = 0.25;
const RAISED_EM: f64 = 0.55;
/// A gutter between columns is at least this wide; TeX sets one em, and lines hang out into it.
const GUTTER_EM: f64 = 0.6;
/// Columns hold prose: at least so many lines, so long on average, in characters, and few of them
/// broken by gaps; else they are columns of a table.
const COLUMN_LINES_MIN: usize = 3;
const COLUMN_CHARS_MIN: usize = 20;
const COLUMN_PIECES_A_LINE_MAX: f64 = 1.4;
/// A last line this far below the one before is a footer, which may stand across the gutter.
const FOOTER_GAP_EM: f64 = 1.8;
/// Lines further apart than this, over the usual distance, are in different paragraphs.
const LINE_GAP_SCALE: f64 = 1.3;
/// Sizes that differ more than this are different text.
const SIZE_CHANGE: f64 = 0.12;
/// Gaps that are tried as gutters, widest first: a page has a few, a drawing thousands.
const GUTTERS_MAX: usize = 32;
/// Regions cut within regions.
const CUTS_MAX: usize = 24;

/// A paragraph of a page.
#[derive(Debug, Clone)]
pub(super) struct Paragraph {
    pub(super) text: String,
    /// Letter size, in points.
    pub(super) size: f64,
}

/// Glyphs that follow each other.
#[derive(Debug, Clone)]
struct Piece {
    glyphs: Vec<Glyph>,
    x0: f64,
    x1: f64,
    baseline: f64,
    size: f64,
}

/// One line of a region, ready to be joined with others.
#[derive(Debug, Clone)]
struct Line {
    text: String,
    x0: f64,
    x1: f64,
    baseline: f64,
    size: f64,
    /// Width of the first word: had it fitted on the line before, that line was ended on purpose.
    first_word: f64,
    /// Whether it is made of separate pieces, like the row of a table.
    is_row: bool,
}

/// Makes paragraphs of the glyphs of a page; text that is turned comes after text that is not.
pub(super) fn paragraphs(glyphs: Vec<Glyph>) -> Vec<Paragraph> {
    let mut turned: Vec<Glyph> = glyphs;
    turned.sort_by_key(|glyph| glyph.turn);
    let mut out = Vec::new();
    for same_turn in turned.chunk_by(|a, b| a.turn == b.turn) {
        let mut regions = Vec::new();
        let (body, footer) = without_footer(pieces(same_turn));
        cut(body, CUTS_MAX, &mut regions);
        regions.push(footer);
        out.extend(regions.into_iter().flat_map(|region| joined(&lines(region))));
    }
    out
}

fn pieces(glyphs: &[Glyph]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for glyph in glyphs {
        match pieces.last_mut() {
            Some(piece) if piece.is_followed_by(glyph) => piece.add(glyph.clone()),
            _ => pieces.push(Piece { x0: glyph.x0, x1: glyph.x1, baseline: glyph.baseline, size: glyph.size, glyphs: vec![glyph.clone()] }),
        }
    }
    pieces.retain(|piece| piece.glyphs.iter().any(|glyph| !glyph.text.trim().is_empty()));
    pieces.iter_mut().for_each(Piece::trim);
    pieces
}

impl Piece {
    /// Also leftwards, as right-to-left text is drawn.
    fn is_followed_by(&self, glyph: &Glyph) -> bool {
        let em = self.size.max(glyph.size);
        let gap = (glyph.x0 - self.x1).max(self.x0 - glyph.x1);
        let step = (glyph.baseline - self.baseline).abs();
        let is_near = gap > -OVERLAP_EM * em && gap < PIECE_GAP_EM * em;
        is_near
            && (step < SAME_LINE_EM * em
                || (step < RAISED_EM * em && (glyph.size < self.size * 0.85 || self.size < glyph.size * 0.85) && gap < SPACE_EM * em))
    }

    fn add(&mut self, glyph: Glyph) {
        if glyph.size > self.size {
            (self.size, self.baseline) = (glyph.size, glyph.baseline);
        }
        self.x0 = self.x0.min(glyph.x0);
        self.x1 = self.x1.max(glyph.x1);
        self.glyphs.push(glyph);
    }

    /// Spaces at the ends would hide gutters.
    fn trim(&mut self) {
        let visible = || self.glyphs.iter().filter(|glyph| !glyph.text.trim().is_empty());
        self.x0 = visible().map(|glyph| glyph.x0).fold(f64::INFINITY, f64::min);
        self.x1 = visible().map(|glyph| glyph.x1).fold(f64::NEG_INFINITY, f64::max);
    }

    fn chars(&self) -> usize {
        self.glyphs.iter().map(|glyph| glyph.text.chars().count()).sum()
    }
}

fn without_footer(pieces: Vec<Piece>) -> (Vec<Piece>, Vec<Piece>) {
    let last = pieces.iter().map(|piece| piece.baseline).fold(f64::NEG_INFINITY, f64::max);
    let em = usual_size(&pieces);
    let is_last = |piece: &Piece| piece.baseline > last - SAME_LINE_EM * em;
    let before = pieces.iter().filter(|piece| !is_last(piece)).map(|piece| piece.baseline).fold(f64::NEG_INFINITY, f64::max);
    if last - before > FOOTER_GAP_EM * em { pieces.into_iter().partition(|piece| !is_last(piece)) } else { (pieces, Vec::new()) }
}

/// Cuts a region at a gutter, else at its tallest white band if that frees a gutter; a region
/// that can't be cut is done.
fn cut(pieces: Vec<Piece>, cuts_left: usize, done: &mut Vec<Vec<Piece>>) {
    if cuts_left > 0 && pieces.len() > 2 * COLUMN_LINES_MIN {
        if let Some(x) = gutter(&pieces) {
            let (left, right): (Vec<_>, Vec<_>) = pieces.into_iter().partition(|piece| piece.x1 <= x);
            cut(left, cuts_left - 1, done);
            return cut(right, cuts_left - 1, done);
        }
        if let Some(y) = band_above_columns(&pieces) {
            let (above, below): (Vec<_>, Vec<_>) = pieces.into_iter().partition(|piece| piece.baseline < y);
            cut(above, cuts_left - 1, done);
            return cut(below, cuts_left - 1, done);
        }
    }
    done.push(pieces);
}

/// The middle of a vertical strip that no piece crosses, with prose on both sides.
fn gutter(pieces: &[Piece]) -> Option<f64> {
    let em = usual_size(pieces);
    let mut spans: Vec<(f64, f64)> = pieces.iter().map(|piece| (piece.x0, piece.x1)).collect();
    spans.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut right = spans.first()?.1;
    let mut gaps = Vec::new();
    for (x0, x1) in spans {
        if x0 - right >= GUTTER_EM * em {
            gaps.push((right, x0));
        }
        right = right.max(x1);
    }
    gaps.sort_by(|a, b| (b.1 - b.0).total_cmp(&(a.1 - a.0)));
    gaps.into_iter().take(GUTTERS_MAX).map(|(left, right)| f64::midpoint(left, right)).find(|x| {
        let (left, right): (Vec<_>, Vec<_>) = pieces.iter().partition(|piece| piece.x1 <= *x);
        is_prose(&left) && is_prose(&right)
    })
}

fn is_prose(pieces: &[&Piece]) -> bool {
    let mut baselines: Vec<f64> = pieces.iter().map(|piece| piece.baseline).collect();
    baselines.sort_by(f64::total_cmp);
    let em = pieces.iter().map(|piece| piece.size).fold(0.0, f64::max);
    baselines.dedup_by(|a, b| (*a - *b).abs() < SAME_LINE_EM * em);
    let chars: usize = pieces.iter().map(|piece| piece.chars()).sum();
    #[expect(clippy::cast_precision_loss, reason = "counts on a page are small")]
    let is_whole = pieces.len() as f64 <= baselines.len() as f64 * COLUMN_PIECES_A_LINE_MAX;
    is_whole && baselines.len() >= COLUMN_LINES_MIN && chars >= COLUMN_CHARS_MIN * baselines.len()
}

/// A height at which to cut so that the part above or below it has a gutter: a title over two
/// columns, or two columns over a wide figure caption. Only gaps between lines are tried, widest
/// first.
fn band_above_columns(pieces: &[Piece]) -> Option<f64> {
    let mut baselines: Vec<f64> = pieces.iter().map(|piece| piece.baseline).collect();
    baselines.sort_by(f64::total_cmp);
    let mut gaps: Vec<(f64, f64)> =
        baselines.windows(2).filter_map(|pair| Some((*pair.first()?, *pair.last()?))).filter(|(a, b)| b > a).collect();
    gaps.sort_by(|a, b| (b.1 - b.0).total_cmp(&(a.1 - a.0)));
    gaps.into_iter().take(CUTS_MAX).map(|(a, b)| f64::midpoint(a, b)).find(|y| {
        let (above, below): (Vec<Piece>, Vec<Piece>) = pieces.iter().cloned().partition(|piece| piece.baseline < *y);
        gutter(&below).is_some() || gutter(&above).is_some()
    })
}

/// The letter size of most characters.
fn usual_size(pieces: &[Piece]) -> f64 {
    let mut sizes: Vec<f64> = pieces.iter().flat_map(|piece| piece.glyphs.iter().map(|glyph| glyph.size)).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.get(sizes.len() / 2).copied().unwrap_or(1.0)
}

/// Puts pieces on one baseline into one line, top to bottom and left to right.
fn lines(mut pieces: Vec<Piece>) -> Vec<Line> {
    pieces.sort_by(|a, b| a.baseline.total_cmp(&b.baseline));
    let mut rows: Vec<Vec<Piece>> = Vec::new();
    for piece in pieces {
        match rows.last_mut() {
            Some(row)
                if row.first().is_some_and(|first| (piece.baseline - first.baseline).abs() < SAME_LINE_EM * first.size.min(piece.size)) =>
            {
                row.push(piece)
            }
            _ => rows.push(vec![piece]),
        }
    }
    rows.into_iter().map(line).collect()
}

fn line(row: Vec<Piece>) -> Line {
    let size = row.iter().max_by_key(|piece| piece.chars()).map_or(1.0, |piece| piece.size);
    let baseline = row.first().map_or(0.0, |piece| piece.baseline);
    let x0 = row.iter().map(|piece| piece.x0).fold(f64::INFINITY, f64::min);
    let x1 = row.iter().map(|piece| piece.x1).fold(f64::NEG_INFINITY, f64::max);
    let mut glyphs: Vec<Glyph> = row.into_iter().flat_map(|piece| piece.glyphs).collect();
    glyphs.sort_by(|a, b| a.x0.total_cmp(&b.x0));
    // bold is sometimes faked by drawing a letter twice, a hair apart
    glyphs.dedup_by(|b, a| a.text == b.text && (b.x0 - a.x0).abs() < 0.08 * a.size && !b.text.trim().is_empty());
    let spaced = spaced(&glyphs, size);
    let texts: Vec<&str> = spaced.iter().map(|(text, _)| *text).collect();
    let text = bidi::reading_order(&texts).trim().to_owned();
    let first_word =
        glyphs.iter().find(|glyph| !glyph.text.trim().is_empty()).map_or(0.0, |first| first_word_end(&spaced, first.x0) - first.x0);
    Line { text, x0, x1, baseline, size, first_word, is_row: spaced.iter().any(|(text, _)| *text == WIDE_SPACE) }
}

/// What stands between the cells of a row.
const WIDE_SPACE: &str = "   ";

/// The texts of glyphs and, where gaps call for them, spaces; each with where it ends.
fn spaced(glyphs: &[Glyph], size: f64) -> Vec<(&str, f64)> {
    let mut out: Vec<(&str, f64)> = Vec::new();
    let mut right = f64::NEG_INFINITY;
    let mut previous: Option<&Glyph> = None;
    for glyph in glyphs {
        let is_space = glyph.text.trim().is_empty();
        if let (Some(before), false) = (previous, is_space) {
            let gap = (glyph.x0 - right) / size.min(glyph.size.max(before.size));
            let both_cjk = ends_cjk(&before.text) && starts_cjk(&glyph.text);
            if gap > PIECE_GAP_EM {
                out.push((WIDE_SPACE, glyph.x0));
            } else if gap > if both_cjk { SPACE_CJK_EM } else { SPACE_EM } {
                out.push((" ", glyph.x0));
            }
        }
        if is_space {
            // the gap tells whether this space is seen; a narrow one still parts words
            if glyph.x1 - glyph.x0 > 0.05 * size
                && !previous.is_none_or(|before| ends_cjk(&before.text))
                && out.last().is_some_and(|(text, _)| !text.trim().is_empty())
            {
                out.push((" ", glyph.x1));
                right = glyph.x1;
            }
            continue;
        }
        out.push((glyph.text.as_str(), glyph.x1));
        right = right.max(glyph.x1);
        if previous.is_none() {
            right = glyph.x1;
        }
        previous = Some(glyph);
    }
    out
}

fn first_word_end(spaced: &[(&str, f64)], start: f64) -> f64 {
    spaced.iter().take_while(|(text, _)| !text.trim().is_empty()).last().map_or(start, |(_, end)| *end)
}

fn starts_cjk(text: &str) -> bool {
    text.chars().next().is_some_and(is_cjk)
}

fn ends_cjk(text: &str) -> bool {
    text.chars().next_back().is_some_and(is_cjk)
}

/// Scripts written without spaces, and their punctuation.
fn is_cjk(c: char) -> bool {
    matches!(c, '\u{2e80}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ffef}' | '\u{20000}'..='\u{3ffff}')
}

fn joined(lines: &[Line]) -> Vec<Paragraph> {
    let right = lines.iter().map(|line| line.x1).fold(f64::NEG_INFINITY, f64::max);
    let pitch = usual_pitch(lines);
    let mut out: Vec<Paragraph> = Vec::new();
    let mut previous: Option<&Line> = None;
    for line in lines.iter().filter(|line| !line.text.is_empty()) {
        match (previous, out.last_mut()) {
            (Some(before), Some(paragraph)) if !is_break(before, line, pitch) => append(paragraph, before, line, right),
            _ => out.push(Paragraph { text: line.text.clone(), size: line.size }),
        }
        previous = Some(line);
    }
    out
}

/// The distance between most lines, in em of the upper one.
fn usual_pitch(lines: &[Line]) -> f64 {
    let pairs = lines.iter().zip(lines.iter().skip(1));
    let mut pitches: Vec<f64> = pairs.map(|(a, b)| (b.baseline - a.baseline) / a.size).filter(|pitch| *pitch < 2.5).collect();
    pitches.sort_by(f64::total_cmp);
    pitches.get(pitches.len() / 2).copied().unwrap_or(1.2)
}

fn is_break(before: &Line, line: &Line, pitch: f64) -> bool {
    let gap = (line.baseline - before.baseline) / before.size;
    let size_change = (line.size - before.size).abs() / before.size;
    gap > pitch * LINE_GAP_SCALE || size_change > SIZE_CHANGE
}

/// Joins a line that runs on with a space, and takes a hyphen at its end away; a line that was
/// ended on purpose, and the rows of a table, stay lines.
fn append(paragraph: &mut Paragraph, before: &Line, line: &Line, right: f64) {
    let was_full = before.x1 + line.first_word + 0.2 * before.size > right - 0.5 * before.size;
    let is_indented = line.x0 > before.x0 + 0.8 * before.size && ends_sentence(&before.text);
    if before.is_row || line.is_row || !was_full || is_indented || starts_item(&line.text) {
        paragraph.text.push('\n');
    } else if is_hyphenated(&paragraph.text, &line.text) {
        paragraph.text.pop();
    } else if !(ends_cjk(&paragraph.text) && starts_cjk(&line.text)) {
        paragraph.text.push(' ');
    }
    paragraph.text.push_str(&line.text);
}

fn is_hyphenated(before: &str, after: &str) -> bool {
    let mut end = before.chars().rev();
    matches!(end.next(), Some('-' | '\u{ad}' | '\u{2010}'))
        && end.next().is_some_and(char::is_lowercase)
        && after.chars().next().is_some_and(char::is_lowercase)
}

/// A line that is indented begins a paragraph if the one before can have ended one; else it hangs.
fn ends_sentence(text: &str) -> bool {
    text.ends_with(['.', '!', '?', ':', '。', '！', '？', '：', '”', '"'])
}

fn starts_item(text: &str) -> bool {
    text.starts_with(['•', '◦', '▪', '‣', '–', '■', '●', '○']) || text.starts_with("- ") || text.starts_with("* ")
}

#[cfg(test)]
mod tests;
