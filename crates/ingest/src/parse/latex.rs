//! LaTeX as source text with its sections. Formulas are read as they are written: models know them.

use super::decode::Decoded;
use super::{Heading, ParseError, ParsedDocument, with_warning};

/// Sectioning commands, outermost first.
const SECTIONS: [&str; 6] = ["part", "chapter", "section", "subsection", "subsubsection", "paragraph"];
/// Longest title, in bytes: a brace that never closes opens none.
const TITLE_BYTES_MAX: usize = 500;

pub(super) fn parse(decoded: Decoded) -> Result<ParsedDocument, ParseError> {
    let (mut headings, mut title, mut byte_start) = (Vec::new(), None, 0);
    for line in decoded.text.split_inclusive('\n') {
        let rest = decoded.text.get(byte_start..).unwrap_or_default();
        if let Some((level, words)) = command(rest) {
            headings.push(Heading { byte_start, level, title: words });
        }
        title = title.or_else(|| rest.strip_prefix("\\title").and_then(argument));
        byte_start += line.len();
    }
    outermost_is_one(&mut headings);
    let document = ParsedDocument { title, headings, ..ParsedDocument::plain("text/x-tex", decoded.text) };
    Ok(with_warning(document, decoded.warning))
}

/// An article has no chapters: its sections are the first level.
fn outermost_is_one(headings: &mut [Heading]) {
    let above = headings.iter().map(|heading| heading.level).min().map_or(0, |level| level - 1);
    headings.iter_mut().for_each(|heading| heading.level -= above);
}

fn command(rest: &str) -> Option<(u8, String)> {
    let rest = rest.strip_prefix('\\')?;
    let length = rest.find(|c: char| !c.is_ascii_alphabetic())?;
    let (name, rest) = rest.split_at(length);
    let level = SECTIONS.iter().position(|section| *section == name)?;
    Some((u8::try_from(level + 1).ok()?, argument(rest.strip_prefix('*').unwrap_or(rest))?))
}

/// The words between braces, behind an optional short title in brackets, without commands.
fn argument(rest: &str) -> Option<String> {
    let end = (0..=TITLE_BYTES_MAX.min(rest.len())).rev().find(|end| rest.is_char_boundary(*end))?;
    let rest = rest.get(..end)?;
    let rest = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(rest, |(_, rest)| rest).strip_prefix('{')?;
    let mut depth = 1usize;
    let end = rest.char_indices().find(|(_, c)| {
        depth = if *c == '{' { depth + 1 } else { depth - usize::from(*c == '}') };
        depth == 0
    });
    let words = plain_words(rest.get(..end?.0)?);
    (!words.is_empty()).then_some(words)
}

fn plain_words(source: &str) -> String {
    let mut out = String::new();
    let mut chars = source.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.peek().is_some_and(char::is_ascii_alphabetic) => while chars.next_if(char::is_ascii_alphabetic).is_some() {},
            '\\' => out.extend(chars.next().map(|c| if c == '\\' { ' ' } else { c })),
            '{' | '}' | '$' => {}
            '~' => out.push(' '),
            c => out.push(c),
        }
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_and_title_are_found() {
        let text = "\\documentclass{article}\n\\title{The \\emph{Lamp}}\n\\section[Short]{On $x^2$ \\& oil}\nText.\n% \\section{No}\n\\subsection*{Över {all}\\label{a}}\n\\sectionmark{x}\n\\section{never closed\n";
        let document = parse(Decoded { text: text.into(), warning: None }).unwrap();
        let found: Vec<_> = document.headings.iter().map(|heading| (heading.level, heading.title.as_str())).collect();
        assert_eq!(found, [(1, "On x^2 & oil"), (2, "Över alla")]);
        assert_eq!((document.title.as_deref(), document.text.as_str()), (Some("The Lamp"), text));
        assert!(text[document.headings[1].byte_start..].starts_with("\\subsection*"));
    }
}
