//! The numbers and dates of a question, each in one spelling: `1000`, `5 gb`, `20 %`, `2 th`, `2024-03-15`.

mod date;

use super::spelled;
use super::text::{Kind, Text, Token};
use super::unit;
use date::date;
use std::ops::Range;

/// The numbers in their order, each with the range of tokens that it was read from.
pub(super) fn numbers(text: &Text) -> Vec<(Range<usize>, String)> {
    let tokens = &text.tokens;
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let (before, rest) = tokens.split_at(at);
        let number = date(rest).or_else(|| quantity(before, rest));
        let taken = number.as_ref().map_or(1, |(_, taken)| (*taken).max(1));
        found.extend(number.map(|(number, _)| (at..at + taken, number)));
        at += taken;
    }
    found
}

/// A number with its unit.
fn quantity(before: &[Token], tokens: &[Token]) -> Option<(String, usize)> {
    let first = tokens.first()?;
    if first.kind != Kind::Word {
        return None;
    }
    if let Some(ordinal) = spelled::ordinal(&first.lower, before.last()) {
        return Some(ranked(&ordinal.to_string(), tokens));
    }
    let (mut value, unit, mut taken) = match split(&first.lower) {
        Some((value, Suffix::Ordinal)) => return Some(ranked(&value, tokens)),
        Some((value, Suffix::Unit(unit))) => (value, unit, 1),
        None => spelled::cardinal(tokens).map(|(value, taken)| (value, "", taken))?,
    };
    if let Some(zeros) = tokens.get(taken).and_then(|token| spelled::zeros(&token.lower)) {
        value = shifted(&value, zeros);
        taken += 1;
    }
    let is_ranked = before.last().is_some_and(|token| token.kind == Kind::Han && token.text.ends_with('第'));
    let sign = before.last().filter(|token| token.kind == Kind::Sign).and_then(|token| unit::of_sign(&token.text));
    let (unit, more) = if unit.is_empty() { following(tokens.get(taken..)?) } else { (unit, 0) };
    let unit = match (sign, is_ranked) {
        (Some(sign), _) => sign,
        (None, true) if unit != "quarter" => "th",
        _ => unit,
    };
    Some((format!("{value} {unit}").trim_end().to_owned(), taken + more))
}

/// A number of a row: the second quarter is `2 quarter`, the second prize `2 th`.
fn ranked(value: &str, tokens: &[Token]) -> (String, usize) {
    let is_quarter = tokens.get(1).is_some_and(|token| token.lower == "quarter");
    let unit = if is_quarter { "quarter" } else { "th" };
    (format!("{value} {unit}"), 1 + usize::from(is_quarter))
}

/// The unit behind a number, and how many tokens are its own. Chinese text goes on behind the unit, so it takes none.
fn following(tokens: &[Token]) -> (&'static str, usize) {
    let get = |at: usize| tokens.get(at).map_or("", |token| token.lower.as_str());
    let Some(first) = tokens.first() else { return ("", 0) };
    match (first.kind, get(0), get(1)) {
        (Kind::Han, run, _) => (unit::of_run(run).unwrap_or_default(), 0),
        (_, "per", "cent") => ("%", 2),
        (_, "°", "c") | (_, "degrees" | "degree", "celsius" | "c") => ("°c", 2),
        (_, "°", "f") | (_, "degrees" | "degree", "fahrenheit" | "f") => ("°f", 2),
        (_, "degrees" | "degree", _) => ("°", 1),
        (Kind::Sign, sign, _) => unit::of_sign(sign).map_or(("", 0), |unit| (unit, 1)),
        (_, word, _) => unit::of_word(word).map_or(("", 0), |unit| (unit, 1)),
    }
}

enum Suffix {
    /// A unit; empty if there is none.
    Unit(&'static str),
    /// `2nd`.
    Ordinal,
}

/// A word that is a number: `1000`, `-10`, `v2.3`, `5gb`, `10k`, `2nd`, `q2`. `2fa` and `e0502` are names.
fn split(word: &str) -> Option<(String, Suffix)> {
    let body = word.strip_prefix('v').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())).unwrap_or(word);
    if let Some(quarter) = body.strip_prefix('q').filter(|rest| ["1", "2", "3", "4"].contains(rest)) {
        return Some((quarter.to_owned(), Suffix::Unit("quarter")));
    }
    let digits = body.strip_prefix('-').unwrap_or(body);
    let end = digits.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ':')).unwrap_or(digits.len());
    let (digits, suffix) = digits.split_at(end);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) || digits.ends_with(['.', ':']) {
        return None;
    }
    let sign = if body.starts_with('-') { "-" } else { "" };
    let value = format!("{sign}{}", plain(digits));
    match suffix {
        "" => Some((value, Suffix::Unit(""))),
        "k" => Some((shifted(&value, 3), Suffix::Unit(""))),
        "st" | "nd" | "rd" | "th" => Some((value, Suffix::Ordinal)),
        _ => unit::of_word(suffix).map(|unit| (value, Suffix::Unit(unit))),
    }
}

/// Without zeros in front. Those behind a point stay: version 2.10 is not version 2.1.
fn plain(digits: &str) -> &str {
    let kept = digits.trim_start_matches('0');
    if date::is_digits(digits) && !kept.is_empty() { kept } else { digits }
}

/// The value times ten to the power of `zeros`.
fn shifted(value: &str, zeros: usize) -> String {
    let (whole, part) = value.split_once('.').unwrap_or((value, ""));
    if part.len() > zeros {
        return format!("{value}e{zeros}");
    }
    let shifted = format!("{whole}{part}{}", "0".repeat(zeros - part.len()));
    plain(&shifted).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(question: &str) -> String {
        numbers(&Text::of(question)).into_iter().map(|(_, number)| number).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn each_number_has_one_spelling() {
        let same: [&[&str]; 16] = [
            &["1000 participants", "1,000 participants", "one thousand participants", "1k participants"],
            &["5 GB", "5GB", "five gigabytes", "5 gb"],
            &["20%", "20 %", "20 percent", "twenty per cent", "百分之二十", "百分之20"],
            &["$1,000", "1000 dollars", "1000 USD", "$1k"],
            &["1 March 2024", "March 1, 2024", "March 1st, 2024", "2024-03-01", "2024/3/1", "2024年3月1日", "the 1st of March 2024"],
            &["March 2024", "2024年3月"],
            &["15 March", "March 15", "3月15日"],
            &["the second quarter", "Q2", "第二季度", "2nd quarter"],
            &["the second prize", "2nd prize", "第二名"],
            &["1.5 million users", "1500000 users"],
            &["twenty-five users", "25 users", "twenty five users"],
            &["one hundred and five users", "105 users"],
            &["a dozen users", "12 users"],
            &["三天", "3天", "3 days"],
            &["-10 °C", "-10°C", "-10 degrees Celsius"],
            &["v2.3", "2.3", "version 2.3"],
        ];
        for group in same {
            let spellings: Vec<String> = group.iter().map(|text| found(text)).collect();
            assert!(!spellings.concat().is_empty(), "{group:?}");
            assert!(spellings.iter().all(|spelling| *spelling == spellings[0]), "{group:?}: {spellings:?}");
        }
    }

    #[test]
    fn different_numbers_stay_different() {
        let different = [
            ("2 kg", "2 lb"),
            ("5 MB", "5 GB"),
            ("version 2.1", "version 2.10"),
            ("-10 °C", "10 °C"),
            ("2 prizes", "the 2nd prize"),
            ("1-10 employees", "11-50 employees"),
            ("0.5%", "5%"),
            ("2024-03-15", "2024-05-13"),
            ("a second", "the second one"),
        ];
        for (a, b) in different {
            assert_ne!(found(a), found(b), "{a} / {b}");
        }
    }

    #[test]
    fn what_counts_nothing_is_no_number() {
        for text in ["Which one is it?", "requests per second", "2FA", "E0502", "top_k", "may I march?", "一般来说", "IPv6"] {
            assert_eq!(found(text), "", "{text}");
        }
    }
}
