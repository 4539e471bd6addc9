//! reStructuredText, kept as it is: what a person reads in the file is what is cited.
//!
//! A section's title stands above a line of one punctuation character, perhaps below one too.
//! Which character means which level is up to each document: the order in which they first come.

use super::decode::Decoded;
use super::{Heading, ParseError, ParsedDocument, with_warning};

/// Longest title, in characters; a line this long may fall short of its title.
const TITLE_CHARS_MAX: usize = 300;
const SHORT_LINE_MIN: usize = 4;
/// How far a header of `Name: value` lines is searched for a title, in lines.
const HEADER_LINES_MAX: usize = 30;

/// A line and its first byte.
type Line<'t> = (usize, &'t str);

pub(super) fn parse(decoded: Decoded) -> Result<ParsedDocument, ParseError> {
    let lines: Vec<Line<'_>> = lines(&decoded.text);
    let headings = headings(&lines);
    let title = header_title(&lines).or_else(|| headings.first().map(|heading| heading.title.clone()));
    let document = ParsedDocument { title, headings, ..ParsedDocument::plain("text/x-rst", decoded.text) };
    Ok(with_warning(document, decoded.warning))
}

fn lines(text: &str) -> Vec<Line<'_>> {
    let mut end = 0;
    let line = |line: &'_ str| {
        end += line.len();
        end - line.len()
    };
    let starts: Vec<usize> = text.split_inclusive('\n').map(line).collect();
    starts.into_iter().zip(text.split_inclusive('\n').map(str::trim_end)).collect()
}

fn headings(lines: &[Line<'_>]) -> Vec<Heading> {
    let mut styles: Vec<(char, bool)> = Vec::new();
    let mut out: Vec<Heading> = Vec::new();
    let at = |index: usize| lines.get(index).map_or("", |(_, line)| *line);
    for (index, (byte_start, line)) in lines.iter().enumerate() {
        let above = index.checked_sub(1).map_or("", at);
        let Some(mark) = title_mark(line, at(index + 1)) else { continue };
        let is_overlined = above == at(index + 1);
        // below a line of prose a line of dashes is a mistake, and a title is not indented without a line above
        if !is_overlined && (!above.is_empty() || line.starts_with(char::is_whitespace)) {
            continue;
        }
        let style = (mark, is_overlined);
        let level = styles.iter().position(|known| *known == style).unwrap_or_else(|| {
            styles.push(style);
            styles.len() - 1
        });
        let title = line.trim().replace("``", "");
        out.push(Heading { byte_start: *byte_start, level: u8::try_from(level + 1).unwrap_or(u8::MAX).min(6), title });
    }
    out
}

/// The character of the line below a title; `None` if these are not a title and its line.
fn title_mark(title: &str, below: &str) -> Option<char> {
    let mark = uniform(below)?;
    let (title_length, line_length) = (title.trim().chars().count(), below.len());
    let is_long_enough = line_length >= title_length.min(SHORT_LINE_MIN);
    let is_title = title_length > 0 && title_length <= TITLE_CHARS_MAX && uniform(title.trim()).is_none() && !title.starts_with(".. ");
    (is_long_enough && is_title).then_some(mark)
}

/// The punctuation that a line consists of; a single one is text (`-` begins a list).
fn uniform(line: &str) -> Option<char> {
    let first = line.chars().next().filter(char::is_ascii_punctuation)?;
    (line.len() > 1 && line.chars().all(|c| c == first)).then_some(first)
}

/// `Title: …` in a header like that of a mail, with which every Python Enhancement Proposal begins.
fn header_title(lines: &[Line<'_>]) -> Option<String> {
    let header = lines.iter().map(|(_, line)| *line).take(HEADER_LINES_MAX).take_while(|line| line.contains(':') || line.starts_with(' '));
    let title = header.filter_map(|line| line.strip_prefix("Title:")).next()?.trim();
    (!title.is_empty()).then(|| title.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> ParsedDocument {
        let document = parse(Decoded { text: text.into(), warning: None }).unwrap();
        assert_eq!(document.text, text);
        for heading in &document.headings {
            assert!(text[heading.byte_start..].trim_start().starts_with(&heading.title), "{heading:?}");
        }
        document
    }

    fn outline(text: &str) -> Vec<(u8, String)> {
        parsed(text).headings.into_iter().map(|heading| (heading.level, heading.title)).collect()
    }

    #[test]
    fn levels_follow_the_order_of_styles() {
        let text = "=====\n Lamp\n=====\n\nWords.\n\nÖl\n==\n\nKolza\n-----\n\ntext\n\nNext\n====\n\n灯塔\n----\n";
        let right = [(1, "Lamp"), (2, "Öl"), (3, "Kolza"), (2, "Next"), (3, "灯塔")];
        assert_eq!(outline(text), right.map(|(level, title)| (level, title.to_owned())));
    }

    #[test]
    fn tables_transitions_and_literals_are_no_titles() {
        let text = "Intro\n=====\n\n----\n\npara\n\n=====  =====\na      b\n=====  =====\n\n::\n\n    Code\n    ----\n\nprose goes\non here\n-------\n\n- item\n-\n";
        assert_eq!(outline(text), [(1, "Intro".to_owned())]);
    }

    #[test]
    fn the_header_of_a_proposal_has_its_title() {
        let document = parsed("PEP: 1\nTitle: The Lamp\nAuthor: A <a@example.org>,\n        B\n\nAbstract\n========\n\nx\n");
        assert_eq!((document.title.as_deref(), document.headings.len()), (Some("The Lamp"), 1));
    }
}
