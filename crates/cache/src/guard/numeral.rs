//! Chinese numerals as Arabic ones: 第三十九条 is 第39条, 百分之二十 is 20%, 三个人 is 3个人, 100万 is 1000000.
//!
//! Characters of numbers stand in many words that count nothing (一般, 万一, 十分, 三星), so a numeral is
//! taken for one only behind 第 or 百分之, before a measure word, or if it is longer than one character.

const DIGITS: &[char] = &['零', '一', '二', '三', '四', '五', '六', '七', '八', '九'];
/// Measure words and units that make a single character before them a number.
const MEASURES: &str = "个名位人天年月日号岁元块条款项章节页次种份台件倍米克斤吨度周期级层张篇本套组国州";
const LONG_MEASURES: &[&str] = &["小时", "分钟", "秒", "公里", "千米", "千克", "公斤", "星期", "美元"];
const PERCENT: &str = "百分之";
/// Words that begin like a number.
const NO_NUMBERS: &[&str] = &["一个个", "一些", "一样", "一般", "一起", "一下", "一直", "一定", "万一", "千万", "十分", "一次性"];

/// The text with its Chinese numerals written in digits.
pub(super) fn to_arabic(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (piece, taken) = percentage(rest).or_else(|| numeral(rest, &out)).unwrap_or_else(|| (c.to_string(), c.len_utf8()));
        out.push_str(&piece);
        rest = rest.get(taken..).unwrap_or_default();
    }
    out
}

/// `百分之` and a numeral, as digits and `%`.
fn percentage(text: &str) -> Option<(String, usize)> {
    let rest = text.strip_prefix(PERCENT)?;
    let run = run(rest);
    let value = if run.is_empty() { rest.split(|c: char| !c.is_ascii_digit() && c != '.').next()?.to_owned() } else { value(run)? };
    let taken = if run.is_empty() { value.len() } else { run.len() };
    (!value.is_empty()).then(|| (format!("{value}%"), PERCENT.len() + taken))
}

fn numeral(text: &str, before: &str) -> Option<(String, usize)> {
    if before.ends_with(|c: char| c.is_ascii_digit()) {
        let is_decimal = before.trim_end_matches(|c: char| c.is_ascii_digit()).ends_with('.');
        return if is_decimal { None } else { large(text) };
    }
    let run = run(text);
    let behind = text.get(run.len()..)?;
    let length = run.chars().count();
    let is_word = NO_NUMBERS.iter().any(|word| text.starts_with(word));
    let is_measured = behind.starts_with(|c: char| MEASURES.contains(c)) || LONG_MEASURES.iter().any(|unit| behind.starts_with(unit));
    // Like "one" and "a" in English, 一个 rarely counts.
    let counts = length > 1 || (is_measured && run != "一");
    let is_number = length > 0 && !is_word && (before.ends_with('第') || counts);
    is_number.then(|| value(run)).flatten().map(|value| (value, run.len()))
}

/// 万 and 亿 behind digits: further zeros, whole numbers only.
fn large(text: &str) -> Option<(String, usize)> {
    let run: String = text.chars().take_while(|c| power(*c).is_some()).collect();
    let zeros: usize = run.chars().filter_map(power).sum();
    // 3千米 are three kilometres, and 5千克 five kilograms.
    let is_unit = ["千米", "千克", "千瓦"].iter().any(|unit| text.starts_with(unit));
    (!run.is_empty() && !is_unit).then(|| ("0".repeat(zeros), run.len()))
}

/// The characters of a numeral that the text begins with.
fn run(text: &str) -> &str {
    let end = text.find(|c| digit(c).is_none() && power(c).is_none()).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

fn digit(c: char) -> Option<u64> {
    match c {
        '〇' => Some(0),
        '两' => Some(2),
        _ => DIGITS.iter().zip(0..).find(|(digit, _)| **digit == c).map(|(_, value)| value),
    }
}

/// The zeros that a character adds.
const fn power(c: char) -> Option<usize> {
    match c {
        '十' => Some(1),
        '百' => Some(2),
        '千' => Some(3),
        '万' => Some(4),
        '亿' => Some(8),
        _ => None,
    }
}

/// 三十九 as 39, 二〇二四 as 2024; `None` if it is too large or begins with 百, 千, 万 or 亿.
fn value(run: &str) -> Option<String> {
    if run.chars().all(|c| digit(c).is_some()) {
        return Some(run.chars().filter_map(digit).map(|digit| digit.to_string()).collect());
    }
    if run.starts_with(['百', '千', '万', '亿']) {
        return None;
    }
    let (mut total, mut section, mut last) = (0_u64, 0_u64, None);
    for c in run.chars() {
        match (digit(c), power(c)) {
            (Some(digit), _) => last = Some(digit),
            (None, Some(power)) if power < 4 => {
                section = section.checked_add(last.take().unwrap_or(1).checked_mul(10_u64.pow(u32::try_from(power).ok()?))?)?;
            }
            (None, Some(power)) => {
                section = section.checked_add(last.take().unwrap_or(0))?;
                // 亿 counts all before it (万亿), 万 only what follows the 亿.
                let (counted, kept) = if power == 8 { (total.checked_add(section)?, 0) } else { (section, total) };
                total = kept.checked_add(counted.checked_mul(10_u64.pow(u32::try_from(power).ok()?))?)?;
                section = 0;
            }
            (None, None) => return None,
        }
    }
    total.checked_add(section)?.checked_add(last.unwrap_or(0)).map(|value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::to_arabic;

    #[test]
    fn numerals_become_digits() {
        let cases = [
            ("第三十九条", "第39条"),
            ("第四十条", "第40条"),
            ("第十二条", "第12条"),
            ("百分之二十的人", "20%的人"),
            ("百分之20", "20%"),
            ("三个用户", "3个用户"),
            ("两天之内", "2天之内"),
            ("一千元", "1000元"),
            ("一百万元", "1000000元"),
            ("一千万元", "10000000元"),
            ("100万元", "1000000元"),
            ("5千米", "5千米"),
            ("1.5亿", "1.5亿"),
            ("二〇二四年", "2024年"),
            ("十二岁", "12岁"),
            ("三亿五千万人", "350000000人"),
            ("一百零五页", "105页"),
        ];
        for (given, expected) in cases {
            assert_eq!(to_arabic(given), expected, "{given}");
        }
    }

    #[test]
    fn characters_of_numbers_in_words_stay() {
        for word in ["一般", "万一", "十分", "三星手机", "百度", "四川", "统一", "一个", "一些", "唯一", "千万", "五险"]
        {
            assert_eq!(to_arabic(word), word);
        }
    }
}
