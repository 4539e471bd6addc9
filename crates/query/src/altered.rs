//! True and altered quotes, made from a collection by chance with a seed: what a citation gate must pass, and what it must find.
//!
//! Invariants: the same documents and seed make the same cases; an altered statement stands in no source of its case; it
//! shares no code with the gate, so that neither is fitted to the other's idea of a sentence, a number or a name.

use std::collections::BTreeSet;

/// One statement with its sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuoteCase {
    /// What was done to the sentence.
    pub kind: &'static str,
    /// Whether the sources still say it.
    pub is_true: bool,
    /// The statement, without a marker.
    pub claim: String,
    /// The sentence it was made from.
    pub from: String,
    /// The texts in the context.
    pub sources: Vec<String>,
    /// The one that is cited, from 0.
    pub cited: usize,
    /// The one that it was made from, from 0.
    pub origin: usize,
}

/// Texts beside the true one.
const DISTRACTORS: usize = 4;
/// Longest source, in bytes.
const SOURCE_BYTES_MAX: usize = 1600;
const KINDS: [(&str, Make); 14] = [
    ("verbatim", |draft, _| Some(draft.sentence.clone())),
    ("reordered", |draft, _| reordered(&draft.sentence)),
    ("function_words", |draft, _| function_words(&draft.sentence)),
    ("contraction", |draft, _| replaced(&draft.sentence, &CONTRACTIONS)),
    ("parenthesis", |draft, _| parenthesis(&draft.sentence)),
    ("layout", |draft, chance| Some(layout(&draft.sentence, chance))),
    ("number", number),
    ("date", date),
    ("name", name),
    ("negation_added", |draft, chance| negation_added(&draft.sentence, chance)),
    ("negation_removed", |draft, _| negation_removed(&draft.sentence)),
    ("antonym", antonym),
    ("merged", merged),
    ("wrong_source", |draft, _| Some(draft.sentence.clone())),
];
/// Of [`KINDS`], how many leave the statement true.
const TRUE_KINDS: usize = 6;

type Make = fn(&Draft<'_>, &mut Chance) -> Option<String>;

struct Draft<'d> {
    sentence: String,
    /// Sentences of the case's sources.
    others: Vec<&'d str>,
    names: &'d [String],
}

/// Up to `count` cases from these texts with their titles, as many of each kind as can be made.
#[must_use]
pub fn quote_cases(documents: &[(String, String)], count: usize, seed: u64) -> Vec<QuoteCase> {
    let mut chance = Chance(seed ^ 0x9e37_79b9_7f4a_7c15);
    let chunks: Vec<(String, Vec<String>)> = documents.iter().map(|(_, text)| chunk(text)).filter(|(_, found)| !found.is_empty()).collect();
    let names = names(documents);
    if chunks.len() <= DISTRACTORS {
        return Vec::new();
    }
    let (mut cases, mut seen) = (Vec::new(), BTreeSet::new());
    for at in 0..count {
        let Some((kind, make)) = KINDS.get(at % KINDS.len()) else { break };
        for _ in 0..60 {
            let made = case(kind, *make, at % KINDS.len() < TRUE_KINDS, &chunks, &names, &mut chance);
            if let Some(case) = made.filter(|case| seen.insert((case.kind, case.claim.clone()))) {
                cases.push(case);
                break;
            }
        }
    }
    cases
}

fn case(
    kind: &'static str,
    make: Make,
    is_true: bool,
    chunks: &[(String, Vec<String>)],
    names: &[String],
    chance: &mut Chance,
) -> Option<QuoteCase> {
    let mut picked: Vec<usize> = Vec::new();
    while picked.len() <= DISTRACTORS {
        let one = chance.below(chunks.len());
        if !picked.contains(&one) && picked.iter().all(|other| chunks.get(*other) != chunks.get(one)) {
            picked.push(one);
        }
    }
    let (_, sentences) = chunks.get(*picked.first()?)?;
    let sentence = sentences.get(chance.below(sentences.len()))?.clone();
    let others = picked.iter().filter_map(|at| chunks.get(*at)).flat_map(|(_, all)| all).map(String::as_str);
    let draft = Draft { others: others.filter(|other| *other != sentence).collect(), sentence: sentence.clone(), names };
    let claim = make(&draft, chance)?;
    let origin = chance.below(picked.len());
    picked.swap(0, origin);
    let sources: Vec<String> = picked.iter().filter_map(|at| chunks.get(*at)).map(|(text, _)| text.clone()).collect();
    let cited = if kind == "wrong_source" { (origin + 1 + chance.below(DISTRACTORS)) % picked.len() } else { origin };
    let has = |source: &String, text: &str| plain(source).contains(&plain(text));
    let is_no_case = match (kind, is_true) {
        ("wrong_source", _) => has(sources.get(cited)?, &sentence),
        ("verbatim", _) => false,
        (_, true) => claim == sentence,
        (_, false) => sources.iter().any(|source| has(source, &claim)),
    };
    if is_no_case {
        return None;
    }
    Some(QuoteCase { kind, is_true, claim, from: sentence, sources, cited, origin })
}

/// Letters and digits only, in lower case.
fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The beginning of a text, and its sentences that can be quoted.
fn chunk(text: &str) -> (String, Vec<String>) {
    let (mut end, mut sentences) = (0, Vec::new());
    for sentence in split(text) {
        let at = sentence.as_ptr().addr() - text.as_ptr().addr() + sentence.len();
        if at > SOURCE_BYTES_MAX {
            break;
        }
        end = at;
        let sentence = sentence.trim();
        let (words, chars) = (sentence.split_whitespace().count(), sentence.chars().count());
        let fits = if sentence.chars().any(is_han) { (12..=120).contains(&chars) } else { (7..=45).contains(&words) };
        if fits {
            sentences.push(sentence.to_owned());
        }
    }
    (text.get(..end).unwrap_or_default().trim().to_owned(), sentences)
}

fn split(text: &str) -> Vec<&str> {
    let (mut found, mut start) = (Vec::new(), 0);
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    for (at, pair) in chars.windows(3).enumerate() {
        let [(_, before), (_, c), (next_at, next)] = pair else { continue };
        let after = chars.get(at + 3).map_or(' ', |(_, c)| *c);
        let is_end = match c {
            '。' | '！' | '？' => true,
            '.' | '?' | '!' => {
                next.is_whitespace()
                    && (*before == ' ' || (before.is_lowercase() || before.is_ascii_digit() || *before == ')') && after.is_uppercase())
            }
            _ => false,
        };
        let word = text.get(start..*next_at).unwrap_or_default().rsplit(' ').next().unwrap_or_default();
        if is_end && !["Dr.", "Mr.", "Mrs.", "St.", "vs.", "al.", "No.", "Inc.", "Jr.", "ca.", "approx.", "resp."].contains(&word) {
            found.push(text.get(start..*next_at).unwrap_or_default());
            start = *next_at;
        }
    }
    found.push(text.get(start..).unwrap_or_default());
    found
}

fn is_han(c: char) -> bool {
    ('\u{4e00}'..='\u{9fff}').contains(&c)
}

/// Capitalised runs within sentences; in Chinese Latin runs, titles in brackets and names with a dot, and titles of documents.
fn names(documents: &[(String, String)]) -> Vec<String> {
    let mut found = BTreeSet::new();
    for (title, text) in documents {
        for sentence in split(text) {
            found.extend(names_in(sentence).into_iter().map(str::to_owned));
        }
        if title.chars().all(is_han) && (2..=5).contains(&title.chars().count()) {
            found.insert(title.clone());
        }
    }
    found.into_iter().collect()
}

fn names_in(sentence: &str) -> Vec<&str> {
    let mut found = Vec::new();
    if sentence.chars().any(is_han) {
        for (open, close) in [('《', '》'), ('“', '”'), ('「', '」')] {
            for (at, _) in sentence.match_indices(open) {
                let inside = sentence.get(at + open.len_utf8()..).and_then(|rest| rest.split_once(close)).map(|(inside, _)| inside);
                found.extend(inside.filter(|inside| (2..=8).contains(&inside.chars().count())));
            }
        }
        found.extend(sentence.split(|c: char| !c.is_ascii_alphabetic()).filter(|run| run.len() >= 3));
        return found;
    }
    let mut run: Option<(usize, usize)> = None;
    let mut last_stops = true;
    for word in sentence.split_whitespace() {
        let start = word.as_ptr().addr() - sentence.as_ptr().addr();
        let bare = word.trim_end_matches(|c: char| !c.is_alphanumeric());
        let is_name = bare.chars().all(char::is_alphabetic) && bare.chars().next().is_some_and(char::is_uppercase) && bare.len() > 2;
        if is_name && !last_stops {
            run = Some((run.map_or(start, |(from, _)| from), start + bare.len()));
        }
        if !is_name || bare.len() < word.len() {
            found.extend(run.take().and_then(|(from, to)| sentence.get(from..to)));
        }
        last_stops = word.ends_with(['.', ':', '?', '!', '"', '(']) || (start == 0 && !is_name);
        if start == 0 {
            last_stops = false;
        }
    }
    found.extend(run.and_then(|(from, to)| sentence.get(from..to)));
    found.retain(|name| name.split(' ').count() <= 3);
    found
}

fn name(draft: &Draft<'_>, chance: &mut Chance) -> Option<String> {
    let sentence = &draft.sentence;
    let mut inside = names_in(sentence);
    inside.extend(draft.names.iter().map(String::as_str).filter(|name| name.chars().all(is_han) && sentence.contains(*name)));
    let old = *inside.get(chance.below(inside.len().max(1)))?;
    let is_alike = |name: &&String| name.chars().any(is_han) == old.chars().any(is_han);
    let pool: Vec<&String> = draft.names.iter().filter(is_alike).collect();
    let new = *pool.get(chance.below(pool.len().max(1)))?;
    let lower = plain(sentence);
    let shares =
        new.split(' ').any(|word| lower.contains(&plain(word))) || plain(old).contains(&plain(new)) || plain(new).contains(&plain(old));
    (!shares).then(|| sentence.replacen(old, new, 1))
}

const NUMBER_WORDS: [&str; 11] = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
const HAN_DIGITS: [char; 9] = ['二', '三', '四', '五', '六', '七', '八', '九', '两'];

fn number(draft: &Draft<'_>, chance: &mut Chance) -> Option<String> {
    let sentence = &draft.sentence;
    let mut places: Vec<(usize, usize)> = Vec::new();
    let mut start = None;
    for (at, c) in sentence.char_indices().chain([(sentence.len(), ' ')]) {
        match (c.is_ascii_digit(), start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                let before = sentence.get(..from).and_then(|head| head.chars().next_back()).unwrap_or(' ');
                if !before.is_ascii_alphabetic() && !c.is_ascii_alphabetic() {
                    places.push((from, at));
                }
                start = None;
            }
            _ => {}
        }
    }
    if let Some((from, to)) = places.get(chance.below(places.len().max(1))).filter(|_| chance.below(4) > 0) {
        let old: u64 = sentence.get(*from..*to)?.parse().ok()?;
        let new = if chance.below(2) == 0 { old + 1 + chance.below(9) as u64 } else { old / 2 + 3 };
        let digits = new.to_string();
        let is_there = sentence.split(|c: char| !c.is_ascii_digit()).any(|known| known == digits);
        return (new != old && !is_there)
            .then(|| format!("{}{digits}{}", &sentence.get(..*from).unwrap_or_default(), sentence.get(*to..).unwrap_or_default()));
    }
    if sentence.chars().any(is_han) {
        let units = ['个', '個', '年', '月', '人', '次', '种', '種', '座', '位', '名', '岁', '歲', '天', '场', '場', '条', '條', '部'];
        let chars: Vec<char> = sentence.chars().collect();
        let at = (1..chars.len())
            .find(|at| chars.get(*at).is_some_and(|c| units.contains(c)) && chars.get(at - 1).is_some_and(|c| HAN_DIGITS.contains(c)))?;
        let old = *chars.get(at - 1)?;
        let new = *HAN_DIGITS.get(chance.below(8))?;
        let is_same = new == old || (old == '两' && new == '二');
        return (!is_same && !chars.contains(&new))
            .then(|| chars.iter().enumerate().map(|(i, c)| if i + 1 == at { new } else { *c }).collect());
    }
    let words: Vec<&str> = sentence.split(' ').collect();
    let at = words.iter().position(|word| NUMBER_WORDS.contains(word))?;
    let new = *NUMBER_WORDS.get(chance.below(NUMBER_WORDS.len()))?;
    (!words.contains(&new))
        .then(|| words.iter().enumerate().map(|(i, word)| if i == at { new } else { *word }).collect::<Vec<_>>().join(" "))
}

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

fn date(draft: &Draft<'_>, chance: &mut Chance) -> Option<String> {
    let sentence = &draft.sentence;
    let has_digit_near = |at: usize, len: usize| {
        let head: String = sentence.get(..at)?.chars().rev().take(4).collect();
        let tail: String = sentence.get(at + len..)?.chars().take(4).collect();
        Some(format!("{head}{tail}").chars().any(|c| c.is_ascii_digit()))
    };
    for month in MONTHS {
        let Some(at) = sentence.find(month) else { continue };
        if has_digit_near(at, month.len()) == Some(true) {
            let new = *MONTHS.get(chance.below(12))?;
            return (!sentence.contains(new)).then(|| sentence.replacen(month, new, 1));
        }
    }
    for unit in ['日', '月', '年'] {
        for (at, _) in sentence.match_indices(unit) {
            let head = sentence.get(..at)?;
            let digits = head.len() - head.trim_end_matches(|c: char| c.is_ascii_digit()).len();
            if digits == 0 || (unit == '年' && digits != 4) {
                continue;
            }
            let (before, old) = (head.get(..at - digits)?, head.get(at - digits..)?.parse::<usize>().ok()?);
            let new = match unit {
                '日' => 1 + chance.below(28),
                '月' => 1 + chance.below(12),
                _ => old - 1 - chance.below(20),
            };
            return (new != old && !sentence.contains(&format!("{new}{unit}")))
                .then(|| format!("{before}{new}{}", sentence.get(at..).unwrap_or_default()));
        }
    }
    // A year alone.
    let words =
        sentence.split(|c: char| !c.is_ascii_digit()).find(|word| word.len() == 4 && (word.starts_with("19") || word.starts_with("20")))?;
    let new = (words.parse::<usize>().ok()? - 1 - chance.below(30)).to_string();
    (!sentence.contains(&new)).then(|| sentence.replacen(words, &new, 1))
}

fn negation_added(sentence: &str, chance: &mut Chance) -> Option<String> {
    const AFTER: [&str; 14] = [
        " is ",
        " was ",
        " are ",
        " were ",
        " has been ",
        " have been ",
        " can ",
        " could ",
        " will ",
        " would ",
        " may ",
        " should ",
        " did ",
        " does ",
    ];
    const HAN: [(&str, &str); 8] = [
        ("是", "不是"),
        ("可以", "不可以"),
        ("能够", "不能够"),
        ("有", "没有"),
        ("会", "不会"),
        ("能", "不能"),
        ("會", "不會"),
        ("為", "不為"),
    ];
    if sentence.chars().any(is_han) {
        let found: Vec<_> = HAN.iter().filter(|(old, _)| sentence.matches(old).count() == 1).collect();
        let (old, new) = found.get(chance.below(found.len().max(1)))?;
        let at = sentence.find(old)?;
        // Not within words such as 没有, 只是 or 所有.
        let before = sentence.get(..at)?.chars().next_back().unwrap_or('。');
        let after = sentence.get(at + old.len()..)?.chars().next().unwrap_or('。');
        let is_word = "不没沒未无無只还還所总總就可但于於若要社机機协協都国國拥擁持具享含占佔专專公私".contains(before)
            || "员員议議计計限关關效力利时時".contains(after);
        return (!is_word).then(|| sentence.replacen(old, new, 1));
    }
    let found: Vec<_> = AFTER.iter().filter(|word| sentence.contains(**word)).collect();
    let word = **found.get(chance.below(found.len().max(1)))?;
    let at = sentence.find(word)? + word.len();
    let rest = sentence.get(at..)?;
    if ["not ", "no ", "only ", "never "].iter().any(|next| rest.starts_with(next)) {
        return None;
    }
    let inserted = if chance.below(4) == 0 { "never " } else { "not " };
    Some(format!("{}{inserted}{rest}", sentence.get(..at)?))
}

fn negation_removed(sentence: &str) -> Option<String> {
    const NEGATIONS: [(&str, &str); 13] = [
        ("cannot ", "can "),
        (" not only ", ""),
        (" or not", ""),
        (" not ", " "),
        (" never ", " "),
        ("n't ", " "),
        (" without ", " with "),
        (" no ", " a "),
        ("不是", "是"),
        ("沒有", "有"),
        ("没有", "有"),
        ("不能", "能"),
        ("不會", "會"),
    ];
    let (old, new) = NEGATIONS.iter().find(|(old, _)| sentence.contains(old))?;
    let is_idle = new.is_empty() || sentence.contains("是不是") || sentence.contains(" no longer") || sentence.contains(" no more");
    (!is_idle).then(|| sentence.replacen(old, new, 1))
}

const ANTONYMS: [(&str, &str); 40] = [
    ("increased", "decreased"),
    ("increase", "decrease"),
    ("increases", "decreases"),
    ("increasing", "decreasing"),
    ("higher", "lower"),
    ("high", "low"),
    ("larger", "smaller"),
    ("large", "small"),
    ("largest", "smallest"),
    ("more", "less"),
    ("before", "after"),
    ("above", "below"),
    ("positive", "negative"),
    ("early", "late"),
    ("first", "last"),
    ("significant", "insignificant"),
    ("effective", "ineffective"),
    ("possible", "impossible"),
    ("successful", "unsuccessful"),
    ("dependent", "independent"),
    ("strong", "weak"),
    ("better", "worse"),
    ("north", "south"),
    ("eastern", "western"),
    ("major", "minor"),
    ("maximum", "minimum"),
    ("young", "old"),
    ("won", "lost"),
    ("male", "female"),
    ("long", "short"),
    ("known", "unknown"),
    ("likely", "unlikely"),
    ("增加", "减少"),
    ("提高", "降低"),
    ("最大", "最小"),
    ("成功", "失败"),
    ("上升", "下降"),
    ("增加", "減少"),
    ("最高", "最低"),
    ("支持", "反对"),
];

fn antonym(draft: &Draft<'_>, chance: &mut Chance) -> Option<String> {
    let sentence = &draft.sentence;
    let words: Vec<&str> = sentence.split(' ').collect();
    let first = chance.below(ANTONYMS.len());
    for turn in 0..ANTONYMS.len() {
        let (a, b) = ANTONYMS.get((first + turn) % ANTONYMS.len())?;
        for (old, new) in [(a, b), (b, a)] {
            if old.chars().any(is_han) {
                if sentence.contains(old) {
                    return Some(sentence.replacen(old, new, 1));
                }
            } else if let Some(at) = words.iter().position(|word| word == old)
                && !words.contains(new)
            {
                return Some(words.iter().enumerate().map(|(i, word)| if i == at { *new } else { *word }).collect::<Vec<_>>().join(" "));
            }
        }
    }
    None
}

/// The first half of one sentence and the second of another.
fn merged(draft: &Draft<'_>, chance: &mut Chance) -> Option<String> {
    let other = *draft.others.get(chance.below(draft.others.len().max(1)))?;
    if draft.sentence.chars().any(is_han) != other.chars().any(is_han) {
        return None;
    }
    if other.chars().any(is_han) {
        let (a, b): (Vec<char>, Vec<char>) = (draft.sentence.chars().collect(), other.chars().collect());
        return Some(a.iter().take(a.len() / 2).chain(b.iter().skip(b.len() / 2)).collect());
    }
    let (a, b): (Vec<&str>, Vec<&str>) = (draft.sentence.split_whitespace().collect(), other.split_whitespace().collect());
    Some(a.iter().take(a.len() / 2).chain(b.iter().skip(b.len() / 2)).copied().collect::<Vec<_>>().join(" "))
}

/// `In May, it rained.` and `It rained in May.`
fn reordered(sentence: &str) -> Option<String> {
    let is_chinese = sentence.chars().any(is_han);
    let comma = if is_chinese { "，" } else { ", " };
    let (head, tail) = sentence.split_once(comma)?;
    const OPENINGS: [&str; 16] = [
        "In ",
        "On ",
        "At ",
        "After ",
        "Before ",
        "During ",
        "When ",
        "While ",
        "Although ",
        "Because ",
        "For ",
        "By ",
        "Since ",
        "If ",
        "Under ",
        "With ",
    ];
    let can_move = if is_chinese {
        ["在", "当", "當", "由于", "由於", "因为", "因為", "如果"].iter().any(|word| head.starts_with(word))
    } else {
        OPENINGS.iter().any(|word| head.starts_with(word))
    };
    if !can_move || tail.contains(comma) || tail.contains([';', ':', '；']) {
        return None;
    }
    let body = tail.trim_end_matches(['.', '。']);
    if is_chinese {
        return Some(format!("{body}，{head}。"));
    }
    let first = head.split_whitespace().next()?;
    Some(format!("{} {}{}.", capital(body), first.to_lowercase(), head.get(first.len()..)?))
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn function_words(sentence: &str) -> Option<String> {
    const SYNONYMS: [(&str, &str); 22] = [
        ("Although ", "Though "),
        (" although ", " though "),
        (" because ", " since "),
        (" such as ", " like "),
        (" in order to ", " to "),
        (" approximately ", " about "),
        (" upon ", " on "),
        (" whereas ", " while "),
        ("However, ", "But "),
        (" which ", " that "),
        (" within ", " in "),
        (" until ", " till "),
        (" also ", " "),
        ("但是", "但"),
        ("因为", "由于"),
        ("因為", "由於"),
        ("以及", "和"),
        ("並且", "而且"),
        ("并且", "而且"),
        ("如果", "若"),
        ("例如", "比如"),
        ("目前", "现在"),
    ];
    replaced(sentence, &SYNONYMS)
}

const CONTRACTIONS: [(&str, &str); 14] = [
    (" is not ", " isn't "),
    (" was not ", " wasn't "),
    (" are not ", " aren't "),
    (" were not ", " weren't "),
    (" did not ", " didn't "),
    (" does not ", " doesn't "),
    (" do not ", " don't "),
    (" has not ", " hasn't "),
    (" have not ", " haven't "),
    (" cannot ", " can't "),
    (" could not ", " couldn't "),
    (" would not ", " wouldn't "),
    ("It is ", "It's "),
    (" will not ", " won't "),
];

fn replaced(sentence: &str, pairs: &[(&str, &str)]) -> Option<String> {
    let (old, new) = pairs.iter().find(|(old, _)| sentence.contains(old))?;
    Some(sentence.replacen(old, new, 1))
}

fn parenthesis(sentence: &str) -> Option<String> {
    let (open, close) = if sentence.contains('（') { ('（', '）') } else { ('(', ')') };
    let (head, rest) = sentence.split_once(open)?;
    let (inside, tail) = rest.split_once(close)?;
    (!inside.contains(open) && inside.len() < 80).then(|| format!("{}{tail}", head.trim_end()))
}

fn layout(sentence: &str, chance: &mut Chance) -> String {
    match chance.below(4) {
        0 => sentence.to_lowercase(),
        1 => sentence.replace(' ', "  ").replace('，', "， "),
        2 => sentence.replace('"', "“").replace('\'', "’").replace('“', "「").replace('”', "」"),
        _ => sentence.trim_end_matches(['.', '。']).to_owned(),
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % (bound.max(1) as u64)).unwrap_or_default()
    }
}
