//! Numbers in English words: `three`, `twenty-five`, `one hundred and five`, `second`.

use super::text::{Kind, Token};

const SMALL: &[&str] = &[
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: &[&str] = &["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const ORDINALS: &[&str] = &[
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
    "twentieth",
];
/// Before these, `second` is a time.
const BEFORE_SECOND: &[&str] = &["per", "a", "each", "every", "one", "split"];

/// The zeros that a word adds.
pub(super) fn zeros(word: &str) -> Option<usize> {
    match word {
        "hundred" => Some(2),
        "thousand" => Some(3),
        "million" => Some(6),
        "billion" => Some(9),
        "trillion" => Some(12),
        _ => None,
    }
}

/// The number that begins at a token, and how many tokens it takes. A lone `one` is none: it mostly stands for a thing.
pub(super) fn cardinal(tokens: &[Token]) -> Option<(String, usize)> {
    let first = tokens.first()?.lower.as_str();
    if first == "half" {
        return Some(("0.5".to_owned(), 1));
    }
    let (mut total, mut section, mut taken) = (0_u64, 0_u64, 0);
    for (at, token) in tokens.iter().enumerate() {
        let word = token.lower.as_str();
        // "one hundred and five", but not "five and six".
        let is_and = word == "and" && section >= 100 && tokens.get(at + 1).is_some_and(|next| small(&next.lower).is_some());
        match (small(word), zeros(word)) {
            _ if is_and => continue,
            (Some(value), _) if at == 0 || section % 100 == 0 || (section % 10 == 0 && value < 10) => {
                section = section.checked_add(value)?
            }
            (None, Some(2)) if at > 0 => section = section.checked_mul(100)?,
            (None, Some(power)) if at > 0 => {
                total = total.checked_add(section.checked_mul(10_u64.checked_pow(u32::try_from(power).ok()?)?)?)?;
                section = 0;
            }
            (None, None) if word == "dozen" && at > 0 => section = section.checked_mul(12)?,
            (None, None) if word == "dozen" => section = 12,
            _ => break,
        }
        taken = at + 1;
    }
    let is_pronoun = taken == 1 && first == "one";
    (taken > 0 && !is_pronoun).then(|| (total.saturating_add(section).to_string(), taken))
}

/// `second` as 2, if it doesn't stand for a time here.
pub(super) fn ordinal(word: &str, before: Option<&Token>) -> Option<usize> {
    let is_time = word == "second" && before.is_some_and(is_amount);
    if is_time { None } else { ORDINALS.iter().position(|ordinal| *ordinal == word).map(|at| at + 1) }
}

fn is_amount(token: &Token) -> bool {
    let is_digits = token.kind == Kind::Word && token.text.starts_with(|c: char| c.is_ascii_digit());
    is_digits || BEFORE_SECOND.contains(&token.lower.as_str())
}

/// The value of a word below one hundred; `twenty-five` is one word.
fn small(word: &str) -> Option<u64> {
    let at = |words: &[&str], word: &str| words.iter().position(|known| *known == word).and_then(|at| u64::try_from(at).ok());
    let tens = |word: &str| at(TENS, word).map(|at| 20 + 10 * at);
    match word.split_once('-') {
        Some((ten, one)) => tens(ten)?.checked_add(at(SMALL, one).filter(|one| (1..10).contains(one))?),
        None => at(SMALL, word).or_else(|| tens(word)),
    }
}
