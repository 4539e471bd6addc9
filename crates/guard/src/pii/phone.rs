//! Phone numbers, by how they are written and by the words around them.
//!
//! A number in a shape that little else has (`+44 …`, `(579) 888-3058`, `138 0013 8000`) is taken as it stands; one
//! whose shape says little (`467 3395`) only where the text calls it a phone number.

use super::context::{after, before, last_end};
use super::digits::{Digits, Group, Run, is_dash};
use std::ops::Range;

/// Words that call the number behind them one of a phone.
const PHONE_WORDS: &[&str] = &[
    "phone",
    "telephone",
    "tel",
    "mobile",
    "cell",
    "cellphone",
    "cellular",
    "fax",
    "call",
    "called",
    "calling",
    "dial",
    "ring",
    "text me",
    "text",
    "sms",
    "whatsapp",
    "reach",
    "reached",
    "contact",
    "hotline",
    "helpline",
    "registered",
    "messages to",
    "message to",
    "message",
    "answering at",
    "answering on",
    "pager",
    "phone number",
    "my number",
    "your number",
    "his number",
    "her number",
    "handy",
    "telefon",
    "tel.",
    "mobil",
    "rufnummer",
    "anrufen",
    "anruf",
    "telefonnummer",
    "téléphone",
    "portable",
    "appelez",
    "teléfono",
    "móvil",
    "llame",
    "telefono",
    "cellulare",
    "telefone",
    "celular",
    "telefoon",
    "telefonnr",
    "puhelin",
    "电话",
    "電話",
    "手机",
    "手機",
    "联系",
    "聯絡",
    "聯繫",
    "致电",
    "拨打",
    "撥打",
    "热线",
    "熱線",
    "传真",
    "傳真",
    "座机",
    "微信",
    "短信",
    "号码",
    "来电",
    "打给",
];
/// Words that call it something else.
const OTHER_WORDS: &[&str] = &[
    "order",
    "invoice",
    "account",
    "zip",
    "postal",
    "zipcode",
    "postcode",
    "license",
    "licence",
    "version",
    "ticket",
    "case",
    "reference",
    "ref",
    "isbn",
    "serial",
    "ssn",
    "id",
    "card",
    "iban",
    "passport",
    "amount",
    "total",
    "price",
    "date",
    "born",
    "year",
    "batch",
    "tracking",
    "policy",
    "bestellung",
    "rechnung",
    "kundennummer",
    "plz",
    "订单",
    "訂單",
    "订单号",
    "单号",
    "單號",
    "编号",
    "編號",
    "流水",
    "版本",
    "快递",
    "运单",
    "邮编",
    "发票",
    "日期",
    "金额",
    "批次",
    "工号",
    "学号",
    "课程",
    "货号",
    "条码",
    "序列号",
    "合同",
    "qq",
    "元",
    "销量",
    "房间",
    "账号",
    "賬號",
    "帳號",
    "卡号",
];
/// Words that do so only right before it.
const LABELS: &[&str] = &["desk", "office", "home", "work", "direct", "m", "t", "f", "p", "no", "nr"];
/// Words behind a number that call it one of a phone.
const WORDS_BEHIND: &[&str] = &["office", "fax", "mobile", "cell", "home", "work", "desk", "phone", "(mobile)", "(fax)", "(office)"];
/// Fewest and most digits of a number, without extension.
const DIGITS: std::ops::RangeInclusive<usize> = 7..=15;
/// Most groups of a number.
const GROUPS_MAX: usize = 7;

/// Phone numbers, with their extensions.
pub(super) fn find(text: &str, digits: &Digits) -> Vec<Range<usize>> {
    digits.runs.iter().flat_map(|run| in_run(text, run)).collect()
}

fn in_run(text: &str, run: &Run) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut last, mut from) = (0..0, 0);
    while from < run.groups.len() {
        let listed = |to: usize| last.end == from && is_alike(run, &last, &(from..to)) && from > 0;
        let number = |to: usize| Some((to, number(text, run, from, to, listed(to))?));
        let ends = (from + 1..=run.groups.len().min(from + GROUPS_MAX)).rev();
        // In a list the next one is grouped like this one.
        let in_list = ends.clone().filter(|to| listed(*to) || is_alike(run, &(from..*to), &(*to..2 * to - from))).find_map(number);
        match in_list.or_else(|| ends.into_iter().find_map(number)) {
            Some((to, range)) => {
                found.push(range);
                last = from..to;
                from = to;
            }
            None => from += 1,
        }
    }
    found
}

/// Whether the groups of both have as many digits.
fn is_alike(run: &Run, one: &Range<usize>, other: &Range<usize>) -> bool {
    let lengths = |range: &Range<usize>| run.groups.get(range.clone()).map(|groups| groups.iter().map(|group| group.digits.len()));
    lengths(one).zip(lengths(other)).is_some_and(|(one, other)| one.eq(other))
}

/// The groups `from..to` of the run, if they are a phone number; `is_listed`: behind one that is grouped like it.
fn number(text: &str, run: &Run, from: usize, to: usize, is_listed: bool) -> Option<Range<usize>> {
    let groups = run.groups.get(from..to)?;
    let (first, last) = (groups.first()?, groups.last()?);
    let opening = text.get(first.before.clone())?;
    // Within a run a number begins and ends at a space.
    let is_parted = |group: &Group| {
        text.get(group.before.clone()).is_some_and(|between| between.contains(char::is_whitespace) || between.contains('/'))
    };
    if from > 0 && !is_parted(first) || run.groups.get(to).is_some_and(|next| !is_parted(next)) || from == 0 && run.is_glued_before {
        return None;
    }
    let number: String = groups.iter().map(|group| group.digits.as_str()).collect();
    let (extension, is_free) = extension(text.get(last.range.end..)?);
    if !DIGITS.contains(&number.len()) || to == run.groups.len() && run.is_glued_after && !is_free {
        return None;
    }
    let opening = opening.len() - opening.trim_start_matches(|c: char| !matches!(c, '+' | '＋' | '(' | '（')).len();
    let start = first.before.start + opening;
    let written = text.get(start..last.range.end)?;
    let shape = shape(written, groups, &number);
    let is_phone = match shape {
        Shape::Sure => true,
        // A row of a table, for all its shape says.
        Shape::Spaced if run.groups.len() > groups.len() => is_listed || called(text, start, last.range.end) == Some(true),
        Shape::Spaced | Shape::Likely => called(text, start, last.range.end) != Some(false),
        Shape::Possible => called(text, start, last.range.end) == Some(true),
        Shape::None => false,
    };
    is_phone.then_some(start..last.range.end + extension)
}

/// Bytes of an extension behind a number, and whether the number ends here.
fn extension(rest: &str) -> (usize, bool) {
    let lower = after(rest, 0);
    let trimmed = lower.trim_start_matches([' ', ',']);
    let marks = ["extension", "ext.", "ext", "x", "转", "轉", "分机", "#", "durchwahl"];
    let found = marks.iter().find_map(|mark| {
        let behind = trimmed.strip_prefix(mark)?;
        let gap = behind.len() - behind.trim_start_matches([' ', ':', '.']).len();
        let digits = behind.get(gap..)?.chars().take_while(char::is_ascii_digit).count();
        let is_ended = !behind.get(gap + digits..)?.starts_with(|c: char| c.is_ascii_alphanumeric());
        (1..=6).contains(&digits).then_some(())?;
        is_ended.then_some(lower.len() - trimmed.len() + mark.len() + gap + digits)
    });
    // A letter follows without being an extension's mark.
    (found.unwrap_or(0), found.is_some())
}

/// What the words around say: a phone number, something else, or nothing.
fn called(text: &str, start: usize, end: usize) -> Option<bool> {
    let before = before(text, start);
    let behind = after(text, end);
    let behind = behind.trim_start_matches([' ', '-', ',', '(']);
    let is_named_behind =
        WORDS_BEHIND.iter().any(|word| behind.strip_prefix(word).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric)));
    let label = before.trim_end().strip_suffix([':', '：']).unwrap_or_default();
    let is_labelled = LABELS.iter().any(|word| label.strip_suffix(word).is_some_and(|rest| !rest.ends_with(char::is_alphanumeric)));
    match (last_end(&before, PHONE_WORDS), last_end(&before, OTHER_WORDS)) {
        _ if is_named_behind || is_labelled => Some(true),
        (Some(phone), other) if other.is_none_or(|other| other <= phone) => Some(true),
        (_, Some(_)) => Some(false),
        _ => None,
    }
}

enum Shape {
    /// Nothing else looks so.
    Sure,
    /// Three numbers in a row may look so, too: unless the text calls it something else, and in a table if it calls it so.
    Spaced,
    /// Unless the text calls it something else.
    Likely,
    /// If the text calls it so.
    Possible,
    None,
}

fn shape(written: &str, groups: &[Group], number: &str) -> Shape {
    let separators = separators(written, groups);
    if is_no_number(written, groups, &separators) {
        return Shape::None;
    }
    let count = number.len();
    if written.contains(['+', '＋']) {
        return if (8..=15).contains(&count) { Shape::Sure } else { Shape::None };
    }
    let lengths: Vec<usize> = groups.iter().map(|group| group.digits.len()).collect();
    let first = groups.first().map_or("", |group| group.digits.as_str());
    let is_bracketed = written.contains(['(', '（']);
    let is_international = first.len() >= 3 && number.starts_with("00") && (10..=15).contains(&count);
    chinese(&lengths, first, number, &separators).or_else(|| american(&lengths, first, &separators, is_bracketed)).unwrap_or_else(|| {
        if is_international && (groups.len() > 1 || count >= 12) {
            Shape::Likely
        } else if number.starts_with('0') && (9..=12).contains(&count) && !number.starts_with("000") {
            behind_a_trunk_prefix(&lengths, number)
        } else if is_bracketed && written.starts_with(['(', '（']) && (8..=12).contains(&count) && groups.len() > 1 {
            Shape::Likely
        } else {
            Shape::Possible
        }
    })
}

/// What stands between the groups.
fn separators<'w>(written: &'w str, groups: &[Group]) -> Vec<&'w str> {
    let end = groups.last().map_or(0, |last| last.range.end);
    // Both end with the last group.
    let place = |at: usize| written.len().saturating_sub(end.saturating_sub(at));
    let between = |(next, group): (&Group, &Group)| written.get(place(group.range.end)..place(next.range.start)).unwrap_or_default();
    groups.iter().skip(1).zip(groups).map(between).collect()
}

/// Brackets that don't close, dates, digits one by one, and signs that no number has.
fn is_no_number(written: &str, groups: &[Group], separators: &[&str]) -> bool {
    let is_closed = written.matches(['(', '（']).count() == written.matches([')', '）']).count();
    let is_one_by_one = groups.windows(2).any(|two| two.iter().all(|group| group.digits.len() == 1));
    if !is_closed || is_date(written, groups) || is_one_by_one && !written.starts_with('+') {
        return true;
    }
    let has_dashes = separators.iter().any(|between| between.chars().filter(|c| is_dash(*c)).count() > 1);
    !written.contains(['+', '＋']) && (written.contains("..") || written.contains("//") || has_dashes)
}

/// Mobiles, service numbers and landlines of China.
fn chinese(lengths: &[usize], first: &str, number: &str, separators: &[&str]) -> Option<Shape> {
    let is_one_style = is_one_style(separators);
    match lengths {
        [11] if is_chinese_mobile(number) => Some(Shape::Likely),
        [3, 4, 4] if is_chinese_mobile(number) && is_one_style => Some(Shape::Sure),
        [2, 11] | [2, 3, 4, 4] if first == "86" && is_chinese_mobile(number.get(2..).unwrap_or_default()) => Some(Shape::Likely),
        [3, 3, 4] | [3, 4, 3] if matches!(first, "400" | "800") && is_one_style => Some(sure(separators)),
        [10] if first.starts_with("400") => Some(Shape::Possible),
        [3 | 4, 7 | 8] | [3 | 4, 3 | 4, 4] if first.starts_with('0') && (10..=12).contains(&number.len()) => Some(Shape::Likely),
        _ => None,
    }
}

/// North America.
fn american(lengths: &[usize], first: &str, separators: &[&str], is_bracketed: bool) -> Option<Shape> {
    let is_area = first.starts_with(|c: char| ('2'..='9').contains(&c));
    match lengths {
        [3, 3, 4] if is_area && (is_bracketed || is_one_style(separators)) => Some(sure(separators)),
        [1, 3, 3, 4] if first == "1" => Some(sure(separators)),
        [3, 3, 3, 4] if first == "001" => Some(Shape::Sure),
        [3, 7] | [1, 3, 7] if is_bracketed => Some(Shape::Sure),
        _ => None,
    }
}

/// Sure, if there is more than spaces between.
fn sure(separators: &[&str]) -> Shape {
    if separators.iter().all(|between| between.chars().all(char::is_whitespace)) { Shape::Spaced } else { Shape::Sure }
}

/// Most of Europe and beyond.
fn behind_a_trunk_prefix(lengths: &[usize], number: &str) -> Shape {
    let (groups, count) = (lengths.len(), number.len());
    let is_split = (groups > 1 && count > 9 || groups > 2) && lengths.iter().all(|length| *length > 1);
    let is_mobile = groups == 1
        && (number.starts_with("07") && (10..=11).contains(&count)
            || number.starts_with("06") && count == 10
            || number.starts_with("01") && (11..=12).contains(&count));
    if is_split || is_mobile { Shape::Likely } else { Shape::Possible }
}

fn is_one_style(separators: &[&str]) -> bool {
    separators.iter().all(|one| Some(one) == separators.first())
}

fn is_chinese_mobile(number: &str) -> bool {
    let mut digits = number.chars();
    number.len() == 11 && digits.next() == Some('1') && digits.next().is_some_and(|c| ('3'..='9').contains(&c))
}

/// Dates, spans of years and their like.
fn is_date(written: &str, groups: &[Group]) -> bool {
    let value = |at: usize| groups.get(at).and_then(|group| group.digits.parse::<u32>().ok()).unwrap_or(u32::MAX);
    let length = |at: usize| groups.get(at).map_or(0, |group| group.digits.len());
    let year = |at: usize| length(at) == 4 && (1800..2100).contains(&value(at));
    let small = |at: usize, most: u32| (1..=2).contains(&length(at)) && (1..=most).contains(&value(at));
    let is_spanned = written.chars().any(|c| is_dash(c) || c == '/' || c == '.');
    is_spanned && (year(0) && small(1, 12) && small(2, 31) || small(0, 31) && small(1, 31) && year(2))
        || groups.len() == 2 && year(0) && year(1)
}
