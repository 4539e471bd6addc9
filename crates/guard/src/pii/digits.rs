//! Runs of digits with the separators that people write between them.

use std::ops::Range;

/// Digits without anything between them.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// Their bytes in the text.
    pub(super) range: Range<usize>,
    /// The digits in ASCII, also of full-width ones.
    pub(super) digits: String,
    /// What stands between this group and the one before it in the run; before the first `+`, `(`, both or nothing.
    pub(super) before: Range<usize>,
}

/// Groups with at most three separators between each.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) groups: Vec<Group>,
    /// Whether a letter or a decimal comma sticks to its beginning.
    pub(super) is_glued_before: bool,
    /// Whether one sticks to its end.
    pub(super) is_glued_after: bool,
}

/// All runs of a text.
#[derive(Debug, Default)]
pub(super) struct Digits {
    pub(super) runs: Vec<Run>,
}

/// Most separators between two groups: `) -`.
const SEPARATORS_MAX: usize = 3;

impl Digits {
    pub(super) fn of(text: &str) -> Self {
        let mut runs: Vec<Run> = Vec::new();
        let mut chars = text.char_indices().peekable();
        while let Some((start, c)) = chars.next() {
            let Some(first) = digit(c) else { continue };
            let mut digits = String::from(first);
            let mut end = start + c.len_utf8();
            while let Some((at, next)) = chars.peek().and_then(|(at, c)| Some((at + c.len_utf8(), digit(*c)?))) {
                digits.push(next);
                end = at;
                chars.next();
            }
            let last_end = runs.last().and_then(|run| run.groups.last()).map_or(0, |group| group.range.end);
            let between = text.get(last_end..start).unwrap_or_default();
            if !runs.is_empty()
                && (1..=SEPARATORS_MAX).contains(&between.chars().take(SEPARATORS_MAX + 1).count())
                && between.chars().all(is_separator)
            {
                if let Some(run) = runs.last_mut() {
                    run.groups.push(Group { range: start..end, digits, before: last_end..start });
                }
                continue;
            }
            close(&mut runs, text);
            let opening = text
                .get(last_end..start)
                .unwrap_or_default()
                .chars()
                .rev()
                .take(2)
                .take_while(|c| is_opening(*c))
                .map(char::len_utf8)
                .sum::<usize>();
            let first = start - opening;
            let is_glued_before = is_glue(text.get(..first).unwrap_or_default());
            let group = Group { range: start..end, digits, before: first..start };
            runs.push(Run { groups: vec![group], is_glued_before, is_glued_after: false });
        }
        close(&mut runs, text);
        Self { runs }
    }
}

/// Sees what sticks to the end of the last run.
fn close(runs: &mut [Run], text: &str) {
    let Some(run) = runs.last_mut() else { return };
    let end = run.groups.last().map_or(0, |group| group.range.end);
    let mut after = text.get(end..).unwrap_or_default().chars();
    run.is_glued_after = match after.next() {
        Some(',') => after.next().is_some_and(|c| c.is_ascii_digit()),
        Some(c) => is_word(c),
        None => false,
    };
}

fn is_glue(before: &str) -> bool {
    let mut before = before.chars().rev();
    match before.next() {
        Some(',') => before.next().is_some_and(|c| c.is_ascii_digit()),
        Some(c) => is_word(c),
        None => false,
    }
}

/// The ASCII digit, also of a full-width one.
pub(super) fn digit(c: char) -> Option<char> {
    match c {
        '0'..='9' => Some(c),
        '０'..='９' => char::from_u32(c as u32 - '０' as u32 + '0' as u32),
        _ => None,
    }
}

/// Whether the character makes one word with digits beside it. Chinese has no spaces: its characters don't.
pub(super) fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric() && c < '\u{590}'
}

fn is_separator(c: char) -> bool {
    matches!(c, ' ' | '\u{a0}' | '\u{202f}' | '\u{3000}' | '.' | '/')
        || is_dash(c)
        || is_opening(c) && c != '+' && c != '＋'
        || matches!(c, ')' | '）')
}

pub(super) fn is_dash(c: char) -> bool {
    matches!(c, '-' | '\u{2010}'..='\u{2015}' | '－' | '﹣')
}

fn is_opening(c: char) -> bool {
    matches!(c, '+' | '＋' | '(' | '（')
}
