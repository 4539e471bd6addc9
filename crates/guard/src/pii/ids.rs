//! National ids.

use super::context::{before, last_end};
use super::digits::{Digits, Group, digit, is_dash, is_word};
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// Letters and digits: Hong Kong, Taiwan, United Kingdom, Spain, Italy.
static LETTERED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?P<tw>[A-Za-z][1289][0-9]{8})",
        r"|(?P<hk>[A-Za-z]{1,2}[0-9０-９]{6} ?[(（][0-9０-９Aa][)）]|[A-Z]{1,2}[0-9]{6}[0-9A])",
        r"|(?P<it>[A-Za-z]{6}[0-9]{2}[A-EHLMPRSTa-ehlmprst][0-9]{2}[A-Za-z][0-9]{3}[A-Za-z])",
        r"|(?P<uk>[A-CEGHJ-PR-TW-Za-ceghj-pr-tw-z][A-CEGHJ-NPR-TW-Za-ceghj-npr-tw-z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-Da-d])",
        r"|(?P<es>[XYZ]?[0-9]{7,8}-?[A-HJ-NP-TV-Z])",
    ))
    .ok()
});
/// Words before an id.
const ID_WORDS: &[&str] = &[
    "ssn",
    "social security",
    "social",
    "itin",
    "身份证",
    "身分證",
    "身分证",
    "身份證",
    "证件",
    "證件",
    "hkid",
    "identity",
    "id card",
    "ausweis",
    "dni",
    "nie",
    "nino",
    "national insurance",
    "公民",
    "户口",
];
/// Words before a number that is none.
const OTHER_WORDS: &[&str] = &[
    "订单", "訂單", "单号", "單號", "流水", "编号", "編號", "order", "invoice", "tracking", "serial", "运单", "快递", "版本", "批次",
    "发票",
];

/// National ids of the kinds that are known.
pub(super) fn find(text: &str, digits: &Digits) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = digits
        .runs
        .iter()
        .flat_map(|run| {
            run.groups.iter().enumerate().filter_map(move |(at, group)| {
                let is_glued = at == 0 && run.is_glued_before;
                // A date and a check character are proof enough behind a letter.
                let chinese = chinese(text, group).filter(|_| !is_glued || group.digits.len() > 15);
                if is_glued { chinese } else { chinese.or_else(|| american(text, run.groups.get(at..)?, run.is_glued_after)) }
            })
        })
        .collect();
    let lettered = LETTERED.as_ref().map(|pattern| pattern.captures_iter(text)).into_iter().flatten();
    found.extend(lettered.filter_map(|captures| {
        let range = captures.get(0)?.range();
        let is_whole = !text.get(..range.start)?.chars().next_back().is_some_and(is_word)
            && !text.get(range.end..)?.chars().next().is_some_and(is_word);
        let value: String = text
            .get(range.clone())?
            .chars()
            .filter_map(|c| digit(c).or_else(|| c.is_ascii_alphabetic().then(|| c.to_ascii_uppercase())))
            .collect();
        let is_valid = if captures.name("hk").is_some() {
            let is_bracketed = text.get(range.clone())?.ends_with([')', '）']);
            hong_kong(&value) && (is_bracketed || is_called_id(text, range.start))
        } else if captures.name("tw").is_some() {
            taiwan(&value)
        } else if captures.name("es").is_some() {
            spain(&value)
        } else if captures.name("uk").is_some() {
            !["BG", "GB", "NK", "KN", "TN", "NT", "ZZ"].iter().any(|prefix| value.starts_with(prefix))
        } else {
            true
        };
        (is_whole && is_valid).then_some(range)
    }));
    found.sort_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
    found
}

fn is_called_id(text: &str, at: usize) -> bool {
    last_end(&before(text, at), ID_WORDS).is_some()
}

fn is_called_other(text: &str, at: usize) -> bool {
    let before = before(text, at);
    last_end(&before, OTHER_WORDS).is_some_and(|other| last_end(&before, ID_WORDS).is_none_or(|id| id < other))
}

/// GB 11643: 17 digits and a check character, or the 15 digits of before 1999.
fn chinese(text: &str, group: &Group) -> Option<Range<usize>> {
    let Range { start, end } = group.range.clone();
    let after = text.get(end..)?.chars().next();
    let number = &group.digits;
    let (range, check) = match (number.len(), after) {
        (17, Some(c @ ('X' | 'x' | 'Ｘ' | 'ｘ'))) => (start..end + c.len_utf8(), Some('X')),
        (18, _) => (start..end, number.chars().last()),
        (15, _) => (start..end, None),
        _ => return None,
    };
    let is_ended = !text.get(range.end..)?.chars().next().is_some_and(is_word);
    if !is_ended || !is_province(number.get(..2)?) {
        return None;
    }
    let is_valid = match check {
        Some(check) => is_date(number.get(6..14)?) && check == chinese_check(number.get(..17)?),
        None => is_date(&format!("19{}", number.get(6..12)?)) && !is_called_other(text, start),
    };
    is_valid.then_some(range)
}

fn chinese_check(number: &str) -> char {
    // The weight of a place is 2 to its power, mod 11, from the right.
    let weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let sum: usize = number.bytes().zip(weights).map(|(byte, weight)| usize::from(byte.wrapping_sub(b'0')) * weight).sum();
    "10X98765432".chars().nth(sum % 11).unwrap_or('?')
}

fn is_province(code: &str) -> bool {
    let code: u32 = code.parse().unwrap_or(0);
    matches!(code, 11..=15 | 21..=23 | 31..=37 | 41..=46 | 50..=54 | 61..=65 | 71 | 81..=83)
}

/// `YYYYMMDD`.
fn is_date(date: &str) -> bool {
    let part = |range: Range<usize>| date.get(range).and_then(|part| part.parse::<u32>().ok()).unwrap_or(0);
    let (year, month, day) = (part(0..4), part(4..6), part(6..8));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) => 29,
        2 => 28,
        _ => 0,
    };
    (1850..2100).contains(&year) && (1..=days).contains(&day)
}

/// SSNs and ITINs: `123-45-6789`; with spaces or nothing between only where the text says so.
fn american(text: &str, groups: &[Group], is_glued_after: bool) -> Option<Range<usize>> {
    let first = groups.first()?;
    let is_called = || is_called_id(text, first.range.start);
    let (parts, end, is_last, is_sure) = match groups {
        [one, ..] if one.digits.len() == 9 => {
            let parts = [one.digits.get(..3)?, one.digits.get(3..5)?, one.digits.get(5..)?];
            (parts, one.range.end, groups.len() == 1, false)
        }
        [a, b, c, ..] if (a.digits.len(), b.digits.len(), c.digits.len()) == (3, 2, 4) => {
            let is_dashed = |group: &Group| {
                text.get(group.before.clone()).is_some_and(|between| between.chars().all(is_dash) && between.chars().count() == 1)
            };
            let is_next_dashed = groups.get(3).is_some_and(is_dashed);
            (
                [a.digits.as_str(), b.digits.as_str(), c.digits.as_str()],
                c.range.end,
                groups.len() == 3,
                is_dashed(b) && is_dashed(c) && !is_next_dashed,
            )
        }
        _ => return None,
    };
    let [area, group, serial] = parts;
    let is_given_out = !["000", "666"].contains(&area) && group != "00" && serial != "0000";
    (is_given_out && !(is_last && is_glued_after) && (is_sure || is_called())).then_some(first.range.start..end)
}

fn hong_kong(value: &str) -> bool {
    let letters = value.chars().take_while(char::is_ascii_alphabetic).count();
    // One letter is preceded by a blank, which counts 36.
    let padded = std::iter::repeat_n(36, 2_usize.saturating_sub(letters)).chain(value.chars().filter_map(|c| c.to_digit(36)));
    let sum: u32 = padded.zip((1..=9).rev()).map(|(value, weight)| value * weight).sum();
    letters <= 2 && value.len() == letters + 7 && sum.is_multiple_of(11)
}

fn taiwan(value: &str) -> bool {
    let Some(letter) = value.chars().next().and_then(|first| "ABCDEFGHJKLMNPQRSTUVXYWZIO".find(first)) else { return false };
    let letter = letter as u32 + 10;
    let digits = value.chars().skip(1).filter_map(|c| c.to_digit(10)).zip([8, 7, 6, 5, 4, 3, 2, 1, 1]);
    let sum: u32 = letter / 10 + letter % 10 * 9 + digits.map(|(digit, weight)| digit * weight).sum::<u32>();
    sum.is_multiple_of(10)
}

/// DNI and NIE: the letter is the number's remainder by 23.
fn spain(value: &str) -> bool {
    let (head, check) = value.split_at_checked(value.len().saturating_sub(1)).unwrap_or_default();
    let number = match head.chars().next() {
        Some(first @ 'X'..='Z') => format!("{}{}", first as u32 - 'X' as u32, head.get(1..).unwrap_or_default()),
        _ => head.to_owned(),
    };
    let remainder = number.parse::<usize>().unwrap_or(usize::MAX) % 23;
    number.len() == 8 && "TRWAGMYFPDXBNJZSQVHLCKE".get(remainder..=remainder) == Some(check)
}
