//! Program source, kept as it is: which language, and where its definitions begin.
//!
//! Definitions are found line by line, by a keyword and a name at the start: no grammar is needed
//! to say under which function a chunk stood, and a wrong one costs a wrong word beside a chunk.

mod language;

pub(super) use language::Language;

use super::decode::Decoded;
use super::{Heading, ParseError, ParsedDocument, with_warning};

/// Words that may stand before a definition's keyword.
const MODIFIERS: &[&str] = &[
    "abstract",
    "async",
    "const",
    "data",
    "declare",
    "default",
    "export",
    "extern",
    "final",
    "inline",
    "internal",
    "open",
    "override",
    "partial",
    "private",
    "protected",
    "pub",
    "public",
    "sealed",
    "static",
    "unsafe",
    "virtual",
];
/// What may follow a definition's name.
const FOLLOWERS: &[&str] =
    &["extends", "implements", "with", "for", "where", "struct", "interface", "func", "is", "as", "from", "do", "on"];
/// What SQL may say before a name.
const IF_NOT_EXISTS: &str = "if not exists ";
/// Deepest indent of a definition inside another, in columns.
const INNER_COLUMNS_MAX: usize = 4;
/// Longest title, in characters.
const TITLE_CHARS_MAX: usize = 120;

pub(super) fn parse(decoded: Decoded, language: &'static Language) -> Result<ParsedDocument, ParseError> {
    let (mut headings, mut byte_start) = (Vec::new(), 0);
    for line in decoded.text.split_inclusive('\n') {
        headings.extend(definition(line, language).map(|(level, title)| Heading { byte_start, level, title }));
        byte_start += line.len();
    }
    let document = ParsedDocument { headings, ..ParsedDocument::plain(&language.media_type(), decoded.text) };
    Ok(with_warning(document, decoded.warning))
}

/// Level and title (`fn parse`) of the definition that begins on a line.
fn definition(line: &str, language: &Language) -> Option<(u8, String)> {
    let level = match indent(line)? {
        0 => 1,
        1..=INNER_COLUMNS_MAX => 2,
        _ => return None,
    };
    let rest = without_modifiers(line.trim_start());
    let known = language.definitions.iter().find_map(|keyword| keyword_at(rest, keyword));
    let found = known.and_then(|(keyword, rest)| named(keyword, rest));
    let title = found.or_else(|| language.has_shell_functions.then(|| shell_function(line)).flatten())?;
    (title.chars().count() <= TITLE_CHARS_MAX).then_some((level, title))
}

/// Columns of white space, a tab counting as four; `None` for an empty line.
fn indent(line: &str) -> Option<usize> {
    let rest = line.trim_start();
    let space = line.get(..line.len() - rest.len())?;
    (!rest.is_empty()).then(|| space.bytes().map(|byte| if byte == b'\t' { 4 } else { 1 }).sum())
}

fn without_modifiers(mut rest: &str) -> &str {
    loop {
        let (word, after) = rest.split_at(word_length(rest));
        if !MODIFIERS.contains(&word) {
            return rest;
        }
        // pub(crate), extern "C"
        let after = after.strip_prefix('(').and_then(|inner| inner.split_once(')')).map_or(after, |(_, after)| after).trim_start();
        let after = after.strip_prefix('"').and_then(|inner| inner.split_once('"')).map_or(after, |(_, after)| after);
        rest = after.trim_start();
    }
}

fn word_length(text: &str) -> usize {
    text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len())
}

/// The keyword as it is written, and what follows it; some languages don't care for its case.
fn keyword_at<'l>(line: &'l str, keyword: &str) -> Option<(&'l str, &'l str)> {
    let (word, rest) = line.split_at_checked(keyword.len())?;
    (word.eq_ignore_ascii_case(keyword) && rest.starts_with([' ', '\t', '*', '<'])).then_some((word, rest))
}

/// `keyword name`, if a name follows and what follows it is no prose.
fn named(keyword: &str, rest: &str) -> Option<String> {
    // a generator in JavaScript, parameters of an impl in Rust, a method's receiver in Go
    let rest = rest.trim_start_matches('*');
    let rest = bracketed(rest, '<', '>').unwrap_or(rest).trim_start();
    let rest = bracketed(rest, '(', ')').unwrap_or(rest).trim_start_matches(['*', '&', ' ']);
    let rest = rest
        .split_at_checked(IF_NOT_EXISTS.len())
        .filter(|(words, _)| words.eq_ignore_ascii_case(IF_NOT_EXISTS))
        .map_or(rest, |(_, rest)| rest);
    let length = rest.find(|c: char| !(c.is_alphanumeric() || "_.:$?!-".contains(c))).unwrap_or(rest.len());
    let (name, after) = rest.split_at(length);
    let name = name.trim_end_matches([':', '.', '-']);
    let after = after.trim();
    let follower = after.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    let is_code = after.is_empty()
        || after.starts_with(['(', '{', ':', '<', '[', '=', ';', ',', '/', '#', '|', '@'])
        || FOLLOWERS.contains(&follower);
    let is_name = name.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '$');
    let implemented = (keyword == "impl").then(|| after.strip_prefix("for ")).flatten().map(|after| after.split_at(word_length(after)).0);
    match (is_name && is_code, implemented) {
        (true, Some(implementor)) => Some(format!("impl {name} for {implementor}")),
        (true, None) => Some(format!("{keyword} {name}")),
        _ => None,
    }
}

fn bracketed(rest: &str, open: char, close: char) -> Option<&str> {
    Some(rest.strip_prefix(open)?.split_once(close)?.1.trim_start())
}

/// `name() {`.
fn shell_function(line: &str) -> Option<String> {
    let (name, after) = line.split_once("()")?;
    let is_name = !name.is_empty() && name.trim_end().chars().all(|c| c.is_alphanumeric() || "_-:.".contains(c));
    (is_name && matches!(after.trim(), "" | "{")).then(|| format!("{}()", name.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(name: &str, text: &str) -> Vec<(u8, String)> {
        let language = Language::of(name, text).unwrap_or_else(|| panic!("{name} has a language"));
        let document = parse(Decoded { text: text.into(), warning: None }, language).unwrap();
        assert_eq!(document.text, text);
        document.headings.into_iter().map(|heading| (heading.level, heading.title)).collect()
    }

    fn check(name: &str, text: &str, right: &[(u8, &str)]) {
        let right: Vec<_> = right.iter().map(|(level, title)| (*level, (*title).to_owned())).collect();
        assert_eq!(outline(name, text), right, "{name}");
    }

    #[test]
    fn definitions_of_common_languages_are_headings() {
        check(
            "a.rs",
            "//! class of docs\npub(crate) async fn turn<T>(x: T) {\n    let x = fn_call();\n}\nimpl<T> Lamp for Oil {\n    pub const fn burn(&self) {}\n}\npub struct Wick;\nmod tests {\n",
            &[(1, "fn turn"), (1, "impl Lamp for Oil"), (2, "fn burn"), (1, "struct Wick"), (1, "mod tests")],
        );
        check(
            "a.py",
            "class Lamp(Base):\n    \"\"\"A lamp.\n\n    class of light\n    \"\"\"\n    async def turn(self):\n        def inner(): pass\ndef main() -> None:\n",
            &[(1, "class Lamp"), (2, "def turn"), (1, "def main")],
        );
        check(
            "a.go",
            "func (l *Lamp) Turn(n int) {\n}\ntype Oil struct {\n\ttype_ string\n}\nfunc main() {\n",
            &[(1, "func Turn"), (1, "type Oil"), (1, "func main")],
        );
        check(
            "a.ts",
            "export default class Lamp extends Light {\n  turn() {}\n}\nexport async function* burn(x: number) {}\nexport interface Oil {}\n",
            &[(1, "class Lamp"), (1, "function burn"), (1, "interface Oil")],
        );
        check("A.java", "public final class Lamp {\n    private static enum Oil { }\n}\n", &[(1, "class Lamp"), (2, "enum Oil")]);
        check("a.rb", "module Light\n  class Lamp < Base\n    def lit?\n", &[(1, "module Light"), (2, "class Lamp"), (2, "def lit?")]);
        check("a.sh", "set -e\nturn() {\n  :\n}\nfunction burn {\n", &[(1, "turn()"), (1, "function burn")]);
        check(
            "a.sql",
            "CREATE TABLE IF NOT EXISTS lamps (id int);\nselect 1;\ncreate view lit as select 2;\n",
            &[(1, "CREATE TABLE lamps"), (1, "create view lit")],
        );
        check("a.c", "struct lamp {\n  int x;\n};\nenum oil { COLZA };\n", &[(1, "struct lamp"), (1, "enum oil")]);
    }

    #[test]
    fn hostile_lines_end() {
        let language = Language::of("a.rs", "").unwrap();
        for text in ["pub ".repeat(50_000), format!("fn {}", "(".repeat(100_000)), format!("fn {}", "x".repeat(100_000)), "fn ".into()] {
            let document = parse(Decoded { text, warning: None }, language).unwrap();
            assert!(document.headings.is_empty());
        }
    }
}
