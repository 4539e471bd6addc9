//! JSON laid out for reading, JSON Lines as one paragraph a record.
//!
//! Pretty JSON keeps names beside their values, cites as what it is, and its lines give the
//! splitter places to cut. Order of names and spelling of numbers stay; escapes in strings are
//! undone, so that a search finds `\u706f` as 灯. A name that comes twice stays twice. One pass without recursion: no depth is too much.

use super::decode::Decoded;
use super::{ParseError, ParsedDocument, with_warning};
use serde::de::IgnoredAny;

/// Deeper levels are not indented further, or their indents would outgrow everything else.
const INDENTED_LEVELS_MAX: usize = 16;
/// Indents may make the text so many times as long, and this many bytes more. After that, lines
/// begin at the margin: a file of brackets could be made to become thirty times as long.
const GROWTH_MAX: usize = 4;
const GROWTH_FREE_BYTES: usize = 64 * 1024;

pub(super) fn parse(decoded: Decoded) -> Result<ParsedDocument, ParseError> {
    check(&decoded.text).map_err(ParseError::corrupt)?;
    if !holds_text(&decoded.text) {
        return Err(ParseError::Empty);
    }
    Ok(with_warning(ParsedDocument::plain("application/json", laid_out(&decoded.text)), decoded.warning))
}

pub(super) fn parse_lines(decoded: Decoded) -> Result<ParsedDocument, ParseError> {
    let mut paragraphs = Vec::new();
    for (index, line) in decoded.text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        check(line).map_err(|error| ParseError::corrupt(format!("record on line {}: {error}", index + 1)))?;
        paragraphs.push(laid_out(line));
    }
    Ok(with_warning(ParsedDocument::plain("application/jsonl", paragraphs.join("\n\n")), decoded.warning))
}

/// Whether the text is records, one a line: at least two, the first ones all objects or arrays.
pub(super) fn is_lines(text: &str) -> bool {
    let lines = || text.lines().filter(|line| !line.trim().is_empty());
    lines().nth(1).is_some() && lines().take(20).all(is_whole)
}

/// Whether the text is one JSON object or array.
pub(super) fn is_whole(text: &str) -> bool {
    text.trim_start().starts_with(['{', '[']) && check(text).is_ok()
}

fn check(text: &str) -> Result<(), String> {
    serde_json::from_str::<IgnoredAny>(text).map(|_| ()).map_err(|error| format!("not valid JSON: {error}"))
}

/// Brackets alone are no text, nor are strings of nothing: nobody could ask for them.
fn holds_text(json: &str) -> bool {
    json.chars().any(|c| !matches!(c, '{' | '}' | '[' | ']' | '"' | ',' | ':') && !c.is_whitespace())
}

/// Lays out valid JSON, two spaces a level.
fn laid_out(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let indented_bytes_max = json.len().saturating_mul(GROWTH_MAX).saturating_add(GROWTH_FREE_BYTES);
    let new_line = |out: &mut String, depth| push_line_end(out, if out.len() < indented_bytes_max { depth } else { 0 });
    let mut depth = 0usize;
    let mut rest = json;
    while let Some(first) = rest.chars().next() {
        let length = if first == '"' { string_length(rest) } else { first.len_utf8() };
        let (token, after) = rest.split_at(length);
        rest = after;
        match first {
            '{' | '[' => {
                out.push(first);
                depth += 1;
                if !rest.trim_start().starts_with(['}', ']']) {
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                if !out.ends_with(['{', '[']) {
                    new_line(&mut out, depth);
                }
                out.push(first);
            }
            ',' => {
                out.push(',');
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            '"' => out.push_str(&readable(token)),
            ' ' | '\n' | '\t' | '\r' => {}
            other => out.push(other),
        }
    }
    out
}

fn push_line_end(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth.min(INDENTED_LEVELS_MAX)));
}

/// Bytes of the string literal at the start of `json`, quotes included.
fn string_length(json: &str) -> usize {
    let mut is_escaped = false;
    for (index, byte) in json.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !is_escaped => return index + 1,
            b'\\' if !is_escaped => is_escaped = true,
            _ => is_escaped = false,
        }
    }
    json.len()
}

/// The literal without needless escapes; as it is if it holds half a surrogate pair.
fn readable(literal: &str) -> String {
    let text = serde_json::from_str::<String>(literal);
    text.and_then(|text| serde_json::to_string(&text)).unwrap_or_else(|_| literal.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Decoded {
        Decoded { text: text.into(), warning: None }
    }

    #[test]
    fn errors_say_where_and_depth_does_not_overflow() {
        assert!(matches!(parse(decoded("{\"a\": 1,\n}")), Err(ParseError::Corrupt { reason }) if reason.contains("line 2 column 1")));
        assert!(matches!(parse(decoded(&"[".repeat(100_000))), Err(ParseError::Corrupt { .. })));
        assert_eq!(parse(decoded(&format!("{}{}", "[".repeat(200_000), "]".repeat(200_000)))), Err(ParseError::Empty));
        let deep = parse(decoded(&format!("{}7{}", "[".repeat(100_000), "]".repeat(100_000)))).unwrap().text;
        assert!(deep.contains('7') && deep.len() < 1_500_000, "{} bytes", deep.len());
    }

    #[test]
    fn order_numbers_and_letters_stay_what_they_are() {
        let text = parse(decoded(r#"{"z":1.0e2,"a":["\u706f\"", {} ,[ ]],"s":"\ud800"}"#)).unwrap().text;
        assert_eq!(text, "{\n  \"z\": 1.0e2,\n  \"a\": [\n    \"灯\\\"\",\n    {},\n    []\n  ],\n  \"s\": \"\\ud800\"\n}");
        let once = laid_out(&text);
        assert_eq!(once, text, "laying out twice changes nothing");
    }

    #[test]
    fn empty_values_are_no_text_and_odd_ones_are() {
        for empty in ["[]", "{}", "\"\"", "[[], {\"\": \"\"}]", " [ ] "] {
            assert_eq!(parse(decoded(empty)), Err(ParseError::Empty), "{empty}");
        }
        for (odd, right) in
            [("null", "null"), ("[-]", ""), ("{\"a\":1,\"a\":2}", "{\n  \"a\": 1,\n  \"a\": 2\n}"), ("1e999999", "1e999999")]
        {
            assert_eq!(parse(decoded(odd)).map(|document| document.text).unwrap_or_default(), right, "{odd}");
        }
    }

    #[test]
    fn records_are_paragraphs() {
        let text = parse_lines(decoded("{\"a\":1}\n\n{\"b\":null}\n")).unwrap().text;
        assert_eq!(text, "{\n  \"a\": 1\n}\n\n{\n  \"b\": null\n}");
        assert!(matches!(parse_lines(decoded("{}\n{")), Err(ParseError::Corrupt { reason }) if reason.contains("record on line 2")));
    }
}
