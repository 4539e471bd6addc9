//! Dates in the spellings of both languages, as `2024-03-15`, `2024-03` and `-03-15`.

use super::super::spelled;
use super::super::text::{Kind, Token};

const MONTHS: &[(&str, &str)] = &[
    ("january", "jan"),
    ("february", "feb"),
    ("march", "mar"),
    ("april", "apr"),
    ("may", "may"),
    ("june", "jun"),
    ("july", "jul"),
    ("august", "aug"),
    ("september", "sep"),
    ("october", "oct"),
    ("november", "nov"),
    ("december", "dec"),
];

/// The date that begins at a token, and how many tokens it takes.
pub(super) fn date(tokens: &[Token]) -> Option<(String, usize)> {
    iso_date(tokens).or_else(|| chinese_date(tokens)).or_else(|| english_date(tokens))
}

/// `2024-03-15` and `2024/3/15`.
fn iso_date(tokens: &[Token]) -> Option<(String, usize)> {
    let first = tokens.first()?;
    let dashed: Vec<&str> = first.text.split('-').collect();
    if let [year, month, day] = dashed.as_slice() {
        return written(Some(year), month, Some(day)).map(|date| (date, 1));
    }
    match tokens {
        [year, s1, month, s2, day, ..] if s1.text == "/" && s2.text == "/" && year.text.len() == 4 => {
            written(Some(&year.text), &month.text, Some(&day.text)).map(|date| (date, 5))
        }
        _ => None,
    }
}

/// `2024年3月15日`, `2024年3月`, `3月15日`.
fn chinese_date(tokens: &[Token]) -> Option<(String, usize)> {
    let is = |token: &Token, sign: &[char]| token.kind == Kind::Han && token.text.starts_with(sign);
    match tokens {
        [year, y, month, m, day, d, ..] if y.text == "年" && m.text == "月" && is(d, &['日', '号']) => {
            written(Some(&year.text), &month.text, Some(&day.text)).map(|date| (date, 5))
        }
        [year, y, month, m, ..] if y.text == "年" && is(m, &['月']) => written(Some(&year.text), &month.text, None).map(|date| (date, 3)),
        [month, m, day, d, ..] if m.text == "月" && is(d, &['日', '号']) => {
            written(None, &month.text, Some(&day.text)).map(|date| (date, 3))
        }
        _ => None,
    }
}

/// `15 March 2024`, `March 15th, 2024`, `March 2024`, `15th of March`.
fn english_date(tokens: &[Token]) -> Option<(String, usize)> {
    let (first, second, third) = (tokens.first()?, tokens.get(1), tokens.get(2));
    let year =
        |token: Option<&Token>| token.filter(|token| token.text.len() == 4 && is_digits(&token.text)).map(|token| token.text.clone());
    if let Some(month) = month(first) {
        let day = second.and_then(day);
        let (year, taken) = match (&day, year(second), year(third)) {
            (Some(_), _, Some(year)) => (Some(year), 3),
            (Some(_), _, None) => (None, 2),
            (None, Some(year), _) => (Some(year), 2),
            (None, None, _) => return None,
        };
        return written(year.as_deref(), &month, day.as_deref()).map(|date| (date, taken));
    }
    let day = day(first)?;
    let of = usize::from(second.is_some_and(|token| token.lower == "of"));
    let month = tokens.get(1 + of).and_then(month)?;
    let year = year(tokens.get(2 + of));
    written(year.as_deref(), &month, Some(&day)).map(|date| (date, 2 + of + usize::from(year.is_some())))
}

/// A month's number. `may` and `march` in lower case are verbs.
fn month(token: &Token) -> Option<String> {
    let word = token.lower.as_str();
    let is_verb = ["may", "march", "mar"].contains(&word) && token.text == word;
    let at = MONTHS.iter().position(|(long, short)| *long == word || *short == word).filter(|_| !is_verb)?;
    Some((at + 1).to_string())
}

/// A day of a month: `15`, `15th`, `first`.
fn day(token: &Token) -> Option<String> {
    let digits = token.lower.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let is_day = is_digits(digits) && digits.len() <= 2 && ["", "st", "nd", "rd", "th"].contains(&token.lower.get(digits.len()..)?);
    if is_day { Some(digits.to_owned()) } else { spelled::ordinal(&token.lower, None).map(|day| day.to_string()) }
}

/// A date in digits, missing parts left out; `None` if there is no such day.
fn written(year: Option<&str>, month: &str, day: Option<&str>) -> Option<String> {
    let number = |text: &str, max: u16| text.parse::<u16>().ok().filter(|value| (1..=max).contains(value));
    let year = year.map_or(Some(String::new()), |year| number(year, 9999).map(|year| format!("{year:04}")))?;
    let month = number(month, 12)?;
    let day = day.map_or(Some(String::new()), |day| number(day, 31).map(|day| format!("-{day:02}")))?;
    Some(format!("{year}-{month:02}{day}"))
}

/// Whether it is a whole number, and not empty.
pub(super) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}
