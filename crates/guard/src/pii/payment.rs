//! Payment cards and bank accounts.

use super::digits::{Digits, Group, is_dash, is_word};
use std::ops::Range;

/// Lengths of IBANs by country (SWIFT IBAN registry).
const IBAN_LENGTHS: &str = "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27GB22\
    GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28\
    NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30";
/// Prefixes of card numbers, least and greatest, with the lengths they come in.
const CARDS: &[(u32, u32, &[usize])] = &[
    (4, 4, &[13, 16, 19]),                           // Visa
    (51, 55, &[16]),                                 // Mastercard
    (2221, 2720, &[16]),                             // Mastercard
    (34, 34, &[15]),                                 // American Express
    (37, 37, &[15]),                                 // American Express
    (300, 305, &[14, 16]),                           // Diners Club
    (309, 309, &[14, 16]),                           // Diners Club
    (36, 36, &[14, 16]),                             // Diners Club
    (38, 39, &[14, 16]),                             // Diners Club
    (6011, 6011, &[16, 19]),                         // Discover
    (644, 659, &[16, 19]),                           // Discover
    (35, 35, &[16, 17, 18, 19]),                     // JCB: 3528 to 3589, and what generators of test data take for it
    (1800, 1800, &[15]),                             // JCB
    (2131, 2131, &[15]),                             // JCB
    (62, 62, &[16, 17, 18, 19]),                     // UnionPay
    (81, 81, &[16, 17, 18, 19]),                     // UnionPay
    (2200, 2204, &[16, 17, 18, 19]),                 // Mir
    (60, 60, &[16]),                                 // RuPay
    (6334, 6334, &[16, 18, 19]),                     // Solo
    (50, 50, &[12, 13, 14, 15, 16, 17, 18, 19]),     // Maestro
    (56, 58, &[12, 13, 14, 15, 16, 17, 18, 19]),     // Maestro
    (6304, 6304, &[12, 13, 14, 15, 16, 17, 18, 19]), // Maestro
    (639, 639, &[12, 13, 14, 15, 16, 17, 18, 19]),   // Maestro
    (67, 67, &[12, 13, 14, 15, 16, 17, 18, 19]),     // Maestro
];
/// How the digits of a card are grouped, if they are.
const GROUPINGS: [&[usize]; 6] = [&[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4], &[4, 4, 4, 4, 3], &[4, 4, 4, 1], &[6, 13]];

/// Card numbers.
pub(super) fn cards(text: &str, digits: &Digits) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for run in &digits.runs {
        let mut at = 0;
        while let Some(group) = run.groups.get(at) {
            let rest = run.groups.get(at..).unwrap_or_default();
            let is_first = at == 0;
            let count = if is_first && run.is_glued_before { None } else { card_groups(text, rest) };
            let is_end_glued = count == Some(rest.len()) && run.is_glued_after;
            match count.filter(|_| !is_end_glued) {
                Some(count) => {
                    let end = rest.get(count - 1).map_or(group.range.end, |last| last.range.end);
                    found.push(group.range.start..end);
                    at += count;
                }
                None => at += 1,
            }
        }
    }
    found
}

/// How many of the groups are a card's, if they begin with one.
fn card_groups(text: &str, groups: &[Group]) -> Option<usize> {
    let whole = groups.first().filter(|group| is_card(&group.digits));
    if whole.is_some() {
        return Some(1);
    }
    GROUPINGS.iter().map(|lengths| lengths.len()).zip(GROUPINGS).find_map(|(count, lengths)| {
        let groups = groups.get(..count)?;
        let fits = groups.iter().zip(lengths).all(|(group, length)| group.digits.len() == *length);
        let is_plain = |group: &Group| {
            let mut between = text.get(group.before.clone()).unwrap_or_default().chars();
            between.next().is_some_and(|c| c.is_whitespace() || is_dash(c)) && between.next().is_none()
        };
        let number: String = groups.iter().map(|group| group.digits.as_str()).collect();
        (fits && groups.iter().skip(1).all(is_plain) && is_card(&number)).then_some(count)
    })
}

fn is_card(number: &str) -> bool {
    (12..=19).contains(&number.len()) && has_card_prefix(number) && luhn(number)
}

fn has_card_prefix(number: &str) -> bool {
    // Generators of test data give Maestro this prefix.
    number.starts_with("0604") && number.len() == 12
        || CARDS.iter().any(|(least, most, lengths)| {
            let width = least.to_string().len();
            let prefix = number.get(..width).and_then(|prefix| prefix.parse::<u32>().ok());
            lengths.contains(&number.len()) && prefix.is_some_and(|prefix| (*least..=*most).contains(&prefix))
        })
}

/// ISO/IEC 7812-1, annex B.
fn luhn(number: &str) -> bool {
    let sum: u32 = number
        .bytes()
        .rev()
        .enumerate()
        .map(|(at, byte)| {
            let digit = u32::from(byte.wrapping_sub(b'0'));
            if at % 2 == 0 { digit } else { digit * 2 - if digit > 4 { 9 } else { 0 } }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// IBANs, with or without spaces, in either case.
pub(super) fn ibans(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut found: Vec<Range<usize>> = Vec::new();
    for (start, window) in bytes.windows(4).enumerate() {
        let [a, b, c, d] = window else { continue };
        if !(a.is_ascii_alphabetic() && b.is_ascii_alphabetic() && c.is_ascii_digit() && d.is_ascii_digit()) {
            continue;
        }
        let is_inside = found.last().is_some_and(|last| start < last.end);
        if is_inside || text.get(..start).unwrap_or_default().chars().next_back().is_some_and(is_word) {
            continue;
        }
        found.extend(iban_at(text, start));
    }
    found
}

fn iban_at(text: &str, start: usize) -> Option<Range<usize>> {
    let country = text.get(start..start + 2)?.to_ascii_uppercase();
    let place = (0..IBAN_LENGTHS.len()).step_by(4).find(|at| IBAN_LENGTHS.get(*at..at + 2) == Some(country.as_str()))?;
    let length: usize = IBAN_LENGTHS.get(place + 2..place + 4)?.parse().ok()?;
    let mut compact = String::with_capacity(length);
    let mut end = start;
    let mut gap = 0;
    for (at, c) in text.get(start..)?.char_indices() {
        if c.is_ascii_alphanumeric() {
            compact.push(c.to_ascii_uppercase());
            end = start + at + 1;
            gap = 0;
        } else if matches!(c, ' ' | '\u{a0}' | '-') && gap == 0 {
            gap = 1;
        } else {
            break;
        }
        if compact.len() == length {
            break;
        }
    }
    let is_whole = compact.len() == length && !text.get(end..)?.chars().next().is_some_and(is_word);
    (is_whole && remainder_97(&compact) == 1).then_some(start..end)
}

/// ISO 7064, mod 97-10, with the first four characters last.
fn remainder_97(iban: &str) -> u32 {
    let (head, tail) = iban.split_at_checked(4).unwrap_or_default();
    tail.chars().chain(head.chars()).fold(0, |rest, c| match c.to_digit(36) {
        Some(value) if value < 10 => (rest * 10 + value) % 97,
        Some(value) => (rest * 100 + value) % 97,
        None => rest,
    })
}
