//! Cuts a text into sentences, each a byte range.
//!
//! Invariants: ranges are on char boundaries, in order, without overlap, never empty, and begin and
//! end with something visible. Markdown list items, table rows and headings are units of their own,
//! without their marks. A newline ends a sentence unless the line looks wrapped, as PDFs and
//! hard-wrapped Markdown have it.

use crate::script::is_cjk;
use std::ops::Range;

/// What a unit of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A sentence of a paragraph or list item.
    Sentence,
    /// A heading: names things, states nothing.
    Heading,
    /// A row of a Markdown table.
    Row,
}

/// One unit of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// Where it stands.
    pub range: Range<usize>,
    /// What it is.
    pub kind: Kind,
}

/// A line at least this wide (a CJK character counts two) that ends without a stop was wrapped
/// there, rather than ended.
const WRAPPED_WIDTH_MIN: usize = 45;

/// The sentences of a text.
#[must_use]
pub fn sentences(text: &str) -> Vec<Sentence> {
    let mut found = Vec::new();
    for (block, kind) in blocks(text) {
        if kind == Kind::Sentence {
            split_block(text, block, &mut found);
        } else {
            push(text, block, kind, &mut found);
        }
    }
    found
}

/// Runs of lines that belong together.
fn blocks(text: &str) -> Vec<(Range<usize>, Kind)> {
    let mut blocks: Vec<(Range<usize>, Kind)> = Vec::new();
    let mut is_open = false;
    let mut is_code = begins_in_code(text);
    for line in text.split_inclusive('\n') {
        let start = line.as_ptr().addr() - text.as_ptr().addr();
        if is_fence(line) {
            (is_code, is_open) = (!is_code, false);
            continue;
        }
        let (mark, kind) = if is_code { (indent(line), Kind::Sentence) } else { line_mark(line) };
        let content = start + mark..start + line.trim_end().len().max(mark);
        let is_blank = content.is_empty();
        match blocks.last_mut() {
            Some((block, _)) if is_open && mark == indent(line) && kind == Kind::Sentence && !is_blank => block.end = content.end,
            _ if !is_blank => blocks.push((content, kind)),
            _ => {}
        }
        is_open = !is_blank && !is_code && kind == Kind::Sentence && is_wrapped(line);
    }
    blocks
}

/// A line that begins or ends a block of code.
fn is_fence(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("```") || line.starts_with("~~~")
}

/// A chunk can be cut out of the middle of a block of code: then its first fence ends one, and names
/// no language.
fn begins_in_code(text: &str) -> bool {
    let mut fences = text.lines().filter(|line| is_fence(line));
    let first_is_bare = fences.next().is_some_and(|line| line.trim().trim_start_matches(['`', '~']).is_empty());
    first_is_bare && fences.count() % 2 == 0
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Bytes of indentation and mark before a line's own text, and what the line is.
fn line_mark(line: &str) -> (usize, Kind) {
    let indent = indent(line);
    let text = line.get(indent..).unwrap_or_default();
    let hashes = text.len() - text.trim_start_matches('#').len();
    // Four spaces and more are code, where # begins a remark.
    if indent < 4 && (1..=6).contains(&hashes) && text.get(hashes..).is_some_and(|rest| rest.starts_with(' ')) {
        return (indent + hashes + spaces(text, hashes), Kind::Heading);
    }
    if text.starts_with('|') {
        let is_rule = text.chars().all(|c| "|-: \r\n".contains(c));
        return if is_rule { (line.trim_end().len(), Kind::Row) } else { (indent, Kind::Row) };
    }
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let mark = match text.get(digits..).and_then(|rest| rest.chars().next()) {
        Some('-' | '*' | '+' | '•' | '>') if digits == 0 => text.chars().next().map_or(0, char::len_utf8),
        Some('.' | ')') if (1..=3).contains(&digits) => digits + 1,
        _ => 0,
    };
    let gap = spaces(text, mark);
    if mark > 0 && gap > 0 { (indent + mark + gap, Kind::Sentence) } else { (indent, Kind::Sentence) }
}

fn spaces(text: &str, from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    rest.len() - rest.trim_start_matches([' ', '\t']).len()
}

fn is_wrapped(line: &str) -> bool {
    let line = line.trim_end();
    let width: usize = line.chars().map(|c| if is_cjk(c) { 2 } else { 1 }).sum();
    width >= WRAPPED_WIDTH_MIN && !line.ends_with(['。', '！', '？', '；', ':', '：'])
}

fn split_block(text: &str, block: Range<usize>, found: &mut Vec<Sentence>) {
    let Some(piece) = text.get(block.clone()) else { return };
    let mut start = 0;
    let mut chars = piece.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let end = at + c.len_utf8();
        let ends_here = match c {
            '。' | '！' | '？' | '；' => true,
            '.' | '!' | '?' | '…' => is_stop(piece, start, at, end),
            _ => false,
        };
        if !ends_here {
            continue;
        }
        let mut stop = end;
        while let Some((next, closing)) = chars.next_if(|(_, c)| "。！？!?.\"')]}”’」』）】》…".contains(*c)) {
            stop = next + closing.len_utf8();
        }
        push(text, block.start + start..block.start + stop, Kind::Sentence, found);
        start = stop;
    }
    push(text, block.start + start..block.end, Kind::Sentence, found);
}

/// Words before a full stop that do not end a sentence.
const ABBREVIATIONS: &str = " mr mrs ms dr prof st sr jr vs etc e.g i.e eg ie cf al fig figs no nos vol pp p ch sec eq eqs approx inc ltd \
    co corp dept est u.s u.k gen col capt lt sgt rev hon jan feb mar apr jun jul aug sep sept oct nov dec ";

fn is_stop(piece: &str, start: usize, at: usize, end: usize) -> bool {
    let after = piece.get(end..).unwrap_or_default();
    let rest = after.trim_start_matches(['"', '\'', ')', ']', '”', '’', '!', '?', '.', '…']);
    if !(rest.is_empty() || rest.starts_with(char::is_whitespace) || rest.starts_with(is_cjk)) {
        return false;
    }
    if piece.get(at..end) != Some(".") {
        return true;
    }
    let next = rest.trim_start().chars().next();
    if next.is_some_and(char::is_lowercase) {
        return false;
    }
    let before = piece.get(start..at).unwrap_or_default();
    let word = before.rsplit(|c: char| c.is_whitespace() || c == '(').next().unwrap_or_default();
    let is_initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase);
    let is_abbreviated = ABBREVIATIONS.contains(&format!(" {} ", word.to_lowercase()));
    next.is_none() || !(is_initial || is_abbreviated)
}

fn push(text: &str, range: Range<usize>, kind: Kind, found: &mut Vec<Sentence>) {
    let Some(piece) = text.get(range.clone()) else { return };
    let start = range.start + indent(piece);
    let end = range.start + piece.trim_end().len();
    if start < end && text.get(start..end).is_some_and(|piece| piece.chars().any(char::is_alphanumeric)) {
        found.push(Sentence { range: start..end, kind });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|sentence| &text[sentence.range]).collect()
    }

    #[test]
    fn english_stops_are_told_from_abbreviations_and_numbers() {
        let text = "Dr. J. Smith paid $3.50 in the U.S. Army shop. \"Why?\" she asked. It cost e.g. two! See fig. 3 (vol. 2). End";
        let expected = [
            "Dr. J. Smith paid $3.50 in the U.S. Army shop.",
            "\"Why?\"",
            "she asked.",
            "It cost e.g. two!",
            "See fig. 3 (vol. 2).",
            "End",
        ];
        assert_eq!(cut(text), expected);
    }

    #[test]
    fn chinese_stops_need_no_space() {
        assert_eq!(
            cut("检索增强生成。“它能用吗？”他问；当然能！版本 3.14 可用"),
            ["检索增强生成。", "“它能用吗？”", "他问；", "当然能！", "版本 3.14 可用"]
        );
    }

    #[test]
    fn remarks_in_code_are_no_headings() {
        let is_heading = |text: &str| sentences(text).iter().any(|sentence| sentence.kind == Kind::Heading);
        assert!(is_heading("# Setup\ntext"));
        assert!(!is_heading("```python\n# Setup\nrun()\n```"));
        assert!(!is_heading("    # default patterns"));
        assert!(!is_heading("run()\n# Setup\n```\nafter"), "cut out of the middle of a block");
        assert_eq!(cut("```python\n# Setup now\nrun()\n```\nDone."), ["# Setup now", "run()", "Done."]);
    }

    #[test]
    fn markdown_lines_are_units_without_their_marks() {
        let text = "# Title\n\n- one\n- two. Still two.\n  1) three\n\n| a | b |\n|---|---|\n| 1 | 2 |\nshort line\nnext line";
        assert_eq!(cut(text), ["Title", "one", "two.", "Still two.", "three", "| a | b |", "| 1 | 2 |", "short line", "next line"]);
        assert_eq!(sentences(text)[0].kind, Kind::Heading);
        assert_eq!(sentences(text)[5].kind, Kind::Row);
    }

    #[test]
    fn wrapped_lines_are_joined() {
        let text = "This paragraph was set in lines of some sixty letters each\nand goes on here. And here\n- item";
        assert_eq!(cut(text), ["This paragraph was set in lines of some sixty letters each\nand goes on here.", "And here", "item"]);
    }

    proptest! {
        #[test]
        fn ranges_are_ordered_and_visible(text in "([a-zA-Z0-9 .。？!\"'|#*>\\-\n]|\\PC){0,200}") {
            let mut last = 0;
            for sentence in sentences(&text) {
                prop_assert!(sentence.range.start >= last);
                last = sentence.range.end;
                let piece = text.get(sentence.range).expect("on char boundaries");
                prop_assert!(!piece.is_empty());
                prop_assert_eq!(piece.trim(), piece);
            }
        }

        #[test]
        fn no_word_is_lost(words in prop::collection::vec("[a-z]{1,12}[.。]?", 1..60)) {
            let text = words.join(" ");
            let kept: usize = cut(&text).iter().map(|piece| piece.split_whitespace().count()).sum();
            prop_assert_eq!(kept, words.len());
        }
    }
}
