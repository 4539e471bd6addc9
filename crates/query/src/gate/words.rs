//! A text as the gate reads it: words, numbers, names and negations, each with its place.
//!
//! Numbers and the parts of dates get one spelling (`#2500000`, `m7`, `d3`), so that `2.5 million` meets `2,500,000`, and
//! `3 July 2001` meets `2001-07-03` and `2001年7月3日`. Words are stemmed. Chinese is read by the character.

use super::lists::{
    ABBREVIATIONS, CLASSIFIERS, FUNCTION, FUNCTION_HAN, NEGATION_HAN, NEGATIONS, PRONOUNS, QUANTITIES_HAN, UNITS_HAN, han_words, month,
    number_word, ordinal, scale, unit,
};
use crate::script::is_cjk;
use crate::terms::stem;
use std::ops::Range;

/// What a token is to the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Carries no content.
    Function,
    Word,
    /// A character of a script without spaces.
    Sign,
    /// A number or a part of a date.
    Number,
    Negation,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) key: String,
    pub(super) kind: Kind,
    /// Of a number.
    pub(super) unit: Option<&'static str>,
    /// Whether a number without a unit is followed by the word for what it counts.
    pub(super) counts: bool,
    /// Where it stands, in bytes.
    pub(super) range: Range<usize>,
    /// Whether it is part of a name as far as its letters tell.
    pub(super) is_name: bool,
    pub(super) is_capital: bool,
    /// Whether a mark of punctuation stands before it.
    pub(super) after_break: bool,
    pub(super) in_brackets: bool,
    pub(super) is_pronoun: bool,
}

impl Token {
    pub(super) fn is_content(&self) -> bool {
        matches!(self.kind, Kind::Word | Kind::Sign | Kind::Number)
    }

    pub(super) fn meets(&self, other: &Self) -> bool {
        let may_lack = |token: &Self| token.unit.is_none() && !token.counts;
        self.key == other.key && (self.unit == other.unit || may_lack(self) || may_lack(other))
    }
}

/// A text in tokens, and where its sentences are.
#[derive(Debug, Clone, Default)]
pub(super) struct Read {
    pub(super) tokens: Vec<Token>,
    pub(super) sentences: Vec<Piece>,
}

/// A sentence: its tokens and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) tokens: Range<usize>,
    pub(super) bytes: Range<usize>,
}

/// A sentence is cut after so many tokens, so that what it costs to compare two is bounded.
const SENTENCE_TOKENS_MAX: usize = 400;
/// A line narrower than this was ended, not wrapped.
const WRAPPED_WIDTH_MIN: usize = 45;

/// Reads a text.
pub(super) fn read(text: &str) -> Read {
    let chars: Vec<(usize, char)> = text.char_indices().map(|(at, c)| (at, narrow(c))).collect();
    let mut reader = Reader { text, chars, at: 0, out: Vec::new(), is_broken: false, depth: 0, stops: Vec::new(), currency: None };
    reader.run();
    let Reader { out, stops, .. } = reader;
    let (tokens, stops) = settle(out, &stops);
    let sentences = pieces(text, &tokens, &stops);
    Read { tokens, sentences }
}

/// Full-width forms as their narrow ones.
fn narrow(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        '’' | '‘' => '\'',
        '\u{2212}' => '-',
        _ => c,
    }
}

struct Reader<'t> {
    text: &'t str,
    chars: Vec<(usize, char)>,
    at: usize,
    out: Vec<Token>,
    is_broken: bool,
    depth: usize,
    /// Number of tokens before each end of a sentence, and the byte after it.
    stops: Vec<(usize, usize)>,
    currency: Option<&'static str>,
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).map_or('\0', |(_, c)| *c)
    }

    fn before(&self) -> char {
        self.at.checked_sub(1).and_then(|at| self.chars.get(at)).map_or('\0', |(_, c)| *c)
    }

    fn byte(&self, at: usize) -> usize {
        self.chars.get(at).map_or(self.text.len(), |(byte, _)| *byte)
    }

    fn run(&mut self) {
        while self.at < self.chars.len() {
            let c = self.peek(0);
            if c.is_ascii_digit() {
                self.digits();
            } else if is_han_digit(c) && self.han_number() {
            } else if is_cjk(c) && c.is_alphanumeric() {
                self.signs(c);
            } else if c.is_alphanumeric() {
                self.word();
            } else {
                self.mark(c);
            }
        }
    }

    fn push(&mut self, from: usize, key: String, kind: Kind) {
        let range = self.byte(from)..self.byte(self.at);
        let is_capital = self.chars.get(from).is_some_and(|(_, c)| c.is_uppercase());
        let (after_break, in_brackets) = (std::mem::take(&mut self.is_broken), self.depth > 0);
        let token =
            Token { key, kind, unit: None, counts: false, range, is_name: false, is_capital, after_break, in_brackets, is_pronoun: false };
        self.out.push(token);
    }

    fn edit(&mut self, change: impl FnOnce(&mut Token)) {
        if let Some(last) = self.out.last_mut() {
            change(last);
        }
    }

    /// `1,024.5`, `2001-07-03`, `3rd`, `5km`, `1990s`, `2D`.
    fn digits(&mut self) {
        let from = self.at;
        if self.iso_date() {
            return;
        }
        let is_negative =
            self.before() == '-' && !self.at.checked_sub(2).and_then(|at| self.chars.get(at)).is_some_and(|(_, c)| c.is_alphanumeric());
        let (mut digits, mut places, mut has_point) = (String::new(), 0_i32, false);
        loop {
            let c = self.peek(0);
            if c.is_ascii_digit() {
                digits.push(c);
                places += i32::from(has_point);
            } else if matches!(c, ',' | '\u{a0}' | '\u{2009}' | '\u{202f}')
                && !has_point
                && (1..4).all(|ahead| self.peek(ahead).is_ascii_digit())
                && !self.peek(4).is_ascii_digit()
            {
            } else if c == '.' && !has_point && self.peek(1).is_ascii_digit() {
                has_point = true;
            } else {
                break;
            }
            self.at += 1;
        }
        let end = self.at;
        while self.peek(0).is_alphanumeric() && !is_cjk(self.peek(0)) && self.at - end < 24 {
            self.at += 1;
        }
        let tail: String = self.chars.get(end..self.at).unwrap_or_default().iter().flat_map(|(_, c)| c.to_lowercase()).collect();
        let sign = if is_negative { "-" } else { "" };
        let number = format!("#{sign}{}", canonical(&digits, -places));
        match tail.as_str() {
            "" => self.push(from, number, Kind::Number),
            "st" | "nd" | "rd" | "th" => self.push(from, format!("o{}", digits.trim_start_matches('0')), Kind::Number),
            "s" => self.push(from, format!("{number}s"), Kind::Number),
            tail => {
                if let Some(unit) = unit(tail) {
                    self.push(from, number, Kind::Number);
                    self.edit(|token| token.unit = Some(unit));
                } else {
                    self.push(from, format!("{digits}{tail}"), Kind::Word);
                    self.edit(|token| token.is_name = true);
                }
            }
        }
        let currency = self.currency.take();
        let unit = self.unit_han();
        self.edit(|token| token.unit = token.unit.or(currency).or(unit));
    }

    /// The unit in signs that stands next, or behind 万 and 亿.
    fn unit_han(&self) -> Option<&'static str> {
        let ahead =
            (0..2).take_while(|ahead| "百千万萬亿億".contains(self.peek(*ahead)) && !"瓦米克".contains(self.peek(ahead + 1))).count();
        let stands = |word: &str| word.chars().enumerate().all(|(at, c)| self.peek(ahead + at) == c);
        UNITS_HAN.iter().find(|(word, _)| stands(word)).map(|(_, unit)| *unit)
    }

    /// `2001-07-03`, `2001/7/3`, `03.07.2001`, `7/3/2001`.
    fn iso_date(&mut self) -> bool {
        let (mut parts, mut separators, mut at) = (vec![String::new()], Vec::new(), self.at);
        while let Some((_, c)) = self.chars.get(at) {
            match c {
                '0'..='9' => parts.last_mut().map_or((), |part| part.push(*c)),
                '-' | '/' | '.' if parts.len() < 3 && parts.last().is_some_and(|part| !part.is_empty()) => {
                    separators.push(*c);
                    parts.push(String::new());
                }
                _ => break,
            }
            at += 1;
        }
        let ([a, b, c], [first, second]) = (&parts[..], &separators[..]) else { return false };
        if first != second || self.chars.get(at).is_some_and(|(_, c)| c.is_alphanumeric() && !is_cjk(*c)) {
            return false;
        }
        let small = |part: &str| part.parse::<u32>().ok().filter(|_| part.len() <= 2).unwrap_or(99);
        let (year, month, day) = match (a.len(), c.len()) {
            (4, 1..=2) => (a, small(b), small(c)),
            (1..=2, 4) if *first == '.' || small(a) > 12 => (c, small(b), small(a)),
            (1..=2, 4) => (c, small(a), small(b)),
            _ => return false,
        };
        if !((1..=12).contains(&month) && (1..=31).contains(&day)) {
            return false;
        }
        let (from, year) = (self.at, format!("#{}", canonical(year, 0)));
        self.at = at;
        for key in [year, format!("m{month}"), format!("d{day}")] {
            self.push(from, key, Kind::Number);
        }
        true
    }

    /// Numerals where they count something: `三十`, `三个`, `第三`, `百分之五`. Whether there was one.
    fn han_number(&mut self) -> bool {
        let from = self.at;
        let run: Vec<char> = self.chars.iter().skip(from).take(16).map(|(_, c)| *c).take_while(|c| is_han_digit(*c)).collect();
        let next = self.chars.get(from + run.len()).map_or('\0', |(_, c)| *c);
        let is_ordinal = self.before() == '第';
        // 一起, 四川, 万一 and their like are words.
        let counts =
            CLASSIFIERS.contains(next) || is_ordinal || (run.len() >= 2 && run.iter().any(|c| "二三四五六七八九两兩〇零".contains(*c)));
        // Nor is 万 a number by itself.
        let is_scale = run.iter().all(|c| "百千万萬亿億".contains(*c));
        let Some(value) = han_value(&run).filter(|_| counts && !is_scale) else { return false };
        self.at += run.len();
        let unit = self.unit_han().filter(|_| !is_ordinal);
        self.push(from, format!("#{}", canonical(&value.to_string(), 0)), Kind::Number);
        self.edit(|token| token.unit = unit);
        true
    }

    fn signs(&mut self, c: char) {
        let from = self.at;
        if is_katakana(c) {
            while is_katakana(self.peek(0)) || self.peek(0) == 'ー' {
                self.at += 1;
            }
            let key = self.text.get(self.byte(from)..self.byte(self.at)).unwrap_or_default().to_owned();
            self.push(from, key, Kind::Word);
            return self.edit(|token| token.is_name = true);
        }
        let stands = |word: &str| word.chars().enumerate().all(|(at, c)| self.peek(at) == c);
        if let Some((word, quantity)) = QUANTITIES_HAN.iter().find(|(word, _)| stands(word)) {
            self.at += word.chars().count();
            return self.push(from, (*quantity).to_owned(), Kind::Function);
        }
        for word in han_words(c) {
            let len = word.chars().count();
            if self.chars.iter().skip(from).take(len).map(|(_, c)| *c).eq(word.chars()) {
                for c in word.chars() {
                    let from = self.at;
                    self.at += 1;
                    self.push(from, c.to_string(), Kind::Function);
                }
                return;
            }
        }
        self.at += 1;
        let kind = match c {
            _ if NEGATION_HAN.contains(c) => Kind::Negation,
            _ if FUNCTION_HAN.contains(c) => Kind::Function,
            _ => Kind::Sign,
        };
        self.push(from, if kind == Kind::Negation { "¬".to_owned() } else { c.to_string() }, kind);
        self.edit(|token| token.is_pronoun = "他她它其".contains(c));
    }

    fn word(&mut self) {
        let from = self.at;
        let is_part = |c: char| c.is_alphanumeric() && !is_cjk(c);
        while is_part(self.peek(0)) || (self.peek(0) == '\'' && is_part(self.peek(1))) {
            self.at += 1;
        }
        let shown: String = self.chars.get(from..self.at).unwrap_or_default().iter().map(|(_, c)| *c).collect();
        let lower = shown.to_lowercase();
        let (base, is_negated) = contraction(&lower);
        let letters = shown.chars().filter(|c| c.is_alphabetic()).count();
        let is_upper = letters >= 2 && shown.chars().all(|c| !c.is_lowercase());
        let has_digit = shown.chars().any(|c| c.is_ascii_digit());
        if !base.is_empty() {
            let is_acronym = is_upper && letters <= 3 && matches!(base, "us" | "it" | "who" | "am" | "an" | "is" | "no" | "or");
            let (key, kind) = if is_acronym { (shown.clone(), Kind::Word) } else { key_of(base) };
            self.push(from, key, kind);
            self.edit(|token| {
                token.is_pronoun = PRONOUNS.contains(&format!(" {base} "));
                token.is_name = kind == Kind::Word && (token.is_capital || has_digit || shown.chars().skip(1).any(char::is_uppercase));
            });
        }
        if is_negated {
            self.push(from, "¬".to_owned(), Kind::Negation);
        }
    }

    fn mark(&mut self, c: char) {
        let is_stop = self.is_stop(c);
        self.at += 1;
        match c {
            '(' | '[' | '【' => self.depth += 1,
            ')' | ']' | '】' => self.depth = self.depth.saturating_sub(1),
            '%' | '‰' => self.edit(|token| token.unit = Some(if c == '%' { "%" } else { "‰" })),
            '$' => self.currency = Some("$"),
            '€' => self.currency = Some("€"),
            '£' => self.currency = Some("£"),
            '¥' => self.currency = Some("¥"),
            _ => {}
        }
        if !c.is_whitespace() && !matches!(c, '-' | '\'' | '"' | '“' | '”' | '「' | '」' | '·' | '%' | '$') {
            self.is_broken = true;
        }
        if is_stop {
            while matches!(self.peek(0), '"' | '\'' | '”' | '」' | '』' | ')' | '。' | '.' | '!' | '?') {
                self.at += 1;
            }
            self.depth = 0;
            self.is_broken = true;
            self.stops.push((self.out.len(), self.byte(self.at)));
        }
    }

    fn is_stop(&self, c: char) -> bool {
        let rest = || self.chars.iter().skip(self.at + 1).map(|(_, c)| *c).skip_while(|c| matches!(c, '"' | '\'' | ')' | '”' | ']'));
        let is_apart = || rest().next().is_none_or(|c| c.is_whitespace() || is_cjk(c));
        match c {
            '。' => true,
            // Full-width marks were narrowed.
            '!' | '?' => is_apart(),
            '.' if !is_apart() => false,
            '.' if self.before().is_whitespace() => true,
            '.' => {
                let word: String = self
                    .chars
                    .get(..self.at)
                    .unwrap_or_default()
                    .iter()
                    .rev()
                    .map(|(_, c)| *c)
                    .take_while(|c| !c.is_whitespace() && *c != '(')
                    .take(12)
                    .collect();
                let word: String = word.chars().rev().collect();
                // `J`, `D.C`, `p.m`
                let is_initial =
                    word.split('.').all(|part| part.chars().count() == 1) && (word.len() > 2 || word.chars().all(char::is_uppercase));
                let is_short = is_initial || ABBREVIATIONS.contains(&format!(" {} ", word.to_lowercase()));
                rest().find(|c| !c.is_whitespace()).is_none_or(|next| !is_short && !next.is_lowercase())
            }
            '\n' => {
                let line = || {
                    self.chars
                        .get(..self.at)
                        .unwrap_or_default()
                        .iter()
                        .rev()
                        .map(|(_, c)| *c)
                        .take_while(|c| *c != '\n')
                        .take(WRAPPED_WIDTH_MIN)
                };
                let width: usize = line().map(|c| if is_cjk(c) { 2 } else { 1 }).sum();
                let follows = rest().next().unwrap_or('\n');
                width < WRAPPED_WIDTH_MIN || matches!(follows, '\n' | '-' | '*' | '|' | '#' | '•' | '>')
            }
            _ => false,
        }
    }
}

fn is_katakana(c: char) -> bool {
    ('\u{30a1}'..='\u{30fa}').contains(&c)
}

fn is_han_digit(c: char) -> bool {
    "〇零一二三四五六七八九两兩十百千万萬亿億".contains(c)
}

/// `三百二十`, `二〇〇一`, `一万五千`.
fn han_value(run: &[char]) -> Option<u64> {
    let digit = |c: char| {
        "零一二三四五六七八九".chars().position(|one| one == c).or(match c {
            '〇' => Some(0),
            '两' | '兩' => Some(2),
            _ => None,
        })
    };
    if run.len() > 1 && run.iter().all(|c| digit(*c).is_some()) {
        return run.iter().try_fold(0_u64, |value, c| value.checked_mul(10)?.checked_add(digit(*c)? as u64));
    }
    let (mut total, mut section, mut last) = (0_u64, 0_u64, None);
    for c in run {
        if let Some(value) = digit(*c) {
            last = Some(value as u64);
            continue;
        }
        let unit = match c {
            '十' => 10,
            '百' => 100,
            '千' => 1000,
            '万' | '萬' => 10_000,
            _ => 100_000_000,
        };
        if unit < 10_000 {
            section += last.take().unwrap_or(1) * unit;
        } else {
            total = (total + section + last.take().unwrap_or(u64::from(total + section == 0))).checked_mul(unit)?;
            section = 0;
        }
    }
    total.checked_add(section)?.checked_add(last.unwrap_or(0))
}

/// Digits times ten to the `exponent`, in one spelling.
fn canonical(digits: &str, exponent: i32) -> String {
    let digits = digits.trim_start_matches('0');
    let kept = digits.trim_end_matches('0');
    if kept.is_empty() {
        return "0".to_owned();
    }
    let exponent = exponent.saturating_add(i32::try_from(digits.len() - kept.len()).unwrap_or(0));
    if exponent == 0 { kept.to_owned() } else { format!("{kept}e{exponent}") }
}

/// The word without what is drawn together with it, and whether that is a negation.
fn contraction(word: &str) -> (&str, bool) {
    match word {
        "cannot" | "can't" => return ("can", true),
        "won't" => return ("will", true),
        "shan't" => return ("shall", true),
        _ => {}
    }
    if let Some(base) = word.strip_suffix("n't") {
        return (base, true);
    }
    let endings = ["'s", "'re", "'ve", "'ll", "'d", "'m"];
    (endings.iter().find_map(|ending| word.strip_suffix(ending)).unwrap_or(word), false)
}

fn key_of(word: &str) -> (String, Kind) {
    let spaced = format!(" {word} ");
    if NEGATIONS.contains(&spaced) {
        ("¬".to_owned(), Kind::Negation)
    } else if FUNCTION.contains(&spaced) {
        (word.to_owned(), Kind::Function)
    } else {
        (stem(word), Kind::Word)
    }
}

/// Joins what several tokens say: number words, scales, units, dates.
fn settle(tokens: Vec<Token>, stops: &[(usize, usize)]) -> (Vec<Token>, Vec<(usize, usize)>) {
    let (mut out, mut moved): (Vec<Token>, Vec<(usize, usize)>) = (Vec::with_capacity(tokens.len()), Vec::new());
    let mut stops_left = stops.iter().peekable();
    let mut tokens = tokens.into_iter().enumerate().peekable();
    while let Some((at, mut token)) = tokens.next() {
        while let Some((_, byte)) = stops_left.next_if(|(before, _)| *before <= at) {
            moved.push((out.len(), *byte));
        }
        let is_new = moved.last().is_some_and(|(before, _)| *before == out.len());
        let next = tokens.peek().map(|(_, next)| next);
        let word = if token.kind == Kind::Word || token.kind == Kind::Function { token.key.clone() } else { String::new() };
        if let Some(value) = number_word(&word) {
            let stands_alone = value == 1 && next.is_none_or(|next| next.kind == Kind::Function || next.after_break);
            if !stands_alone {
                (token.key, token.kind, token.is_name) = (format!("#{}", canonical(&value.to_string(), 0)), Kind::Number, false);
            }
        } else if let Some(value) = ordinal(&word) {
            (token.key, token.kind, token.is_name) = (format!("o{value}"), Kind::Number, false);
        } else if let Some(value) = month(&word) {
            let is_dated = |other: Option<&Token>| other.is_some_and(|other| other.kind == Kind::Number);
            let follows = out.last().is_some_and(|last: &Token| {
                last.kind == Kind::Number || matches!(last.key.as_str(), "in" | "of" | "since" | "until" | "on")
            });
            if !matches!(word.as_str(), "may" | "march" | "mar") || is_dated(next) || (follows && token.is_capital) {
                (token.key, token.kind, token.is_name) = (format!("m{value}"), Kind::Number, false);
                // The day before it, or after.
                let back = if out.last().is_some_and(|last| last.key == "of") { 2 } else { 1 };
                let day = out.len().checked_sub(back).and_then(|at| out.get_mut(at)).filter(|day| !is_new && is_day(day));
                if let Some(day) = day {
                    day.key = format!("d{}", plain_value(&day.key));
                }
            }
        } else if is_day(&token)
            && out.last().is_some_and(|last| last.key.starts_with('m') && last.kind == Kind::Number && !token.after_break)
        {
            token.key = format!("d{}", plain_value(&token.key));
        }
        let number = out.last_mut().filter(|last| last.kind == Kind::Number && !token.after_break && !is_new);
        if number.is_some_and(|number| absorbs(number, &token, &word)) {
            continue;
        }
        // 百分之三十
        if token.kind == Kind::Number && out.len() >= 3 {
            let tail: String = out.iter().skip(out.len() - 3).map(|token| token.key.as_str()).collect();
            if tail == "百分之" {
                out.truncate(out.len() - 3);
                token.unit = Some("%");
            }
        }
        out.push(token);
    }
    for at in 1..out.len() {
        let is_counted = out.get(at).is_some_and(|next| next.kind == Kind::Word && !next.after_break);
        if let Some(number) = out.get_mut(at - 1).filter(|last| last.kind == Kind::Number && last.key.starts_with('#')) {
            number.counts = is_counted && number.unit.is_none();
        }
    }
    moved.extend(stops_left.map(|(_, byte)| (out.len(), *byte)));
    (out, moved)
}

/// Whether a number takes what stands behind it: a scale, the ones behind its tens, a unit, a part of a date.
fn absorbs(last: &mut Token, token: &Token, word: &str) -> bool {
    let han = token.key.chars().next().filter(|_| matches!(token.kind, Kind::Sign | Kind::Function));
    if let Some(zeros) = scale(word).filter(|_| last.key.starts_with('#')).or(han.and_then(han_scale)) {
        last.key = scaled(&last.key, zeros);
        last.range.end = token.range.end;
        return true;
    }
    if let (Some(tens), Some(ones)) = (tens(&last.key), ones(&token.key))
        && token.kind == Kind::Number
        && !token.key.contains('s')
        && number_word(word).is_some()
    {
        last.key = format!("#{}", canonical(&(tens + ones).to_string(), 0));
        last.range.end = token.range.end;
        return true;
    }
    let found = unit(word).or((word == "cent").then_some("%"));
    if let Some(unit) = found.filter(|_| last.unit.is_none() && last.key.starts_with('#')) {
        last.unit = Some(unit);
        last.range.end = token.range.end;
        return true;
    }
    match han {
        Some('年') if last.key.starts_with('#') => {
            // So many years, no calendar year.
            let is_span = plain_value(&last.key).parse::<u32>().is_ok_and(|value| value < 100);
            last.unit = last.unit.or(is_span.then_some("year"));
            last.range.end = token.range.end;
            return true;
        }
        Some('月') if last.key.starts_with('#') && small(&last.key, 12) => {
            last.key = format!("m{}", plain_value(&last.key));
            last.range.end = token.range.end;
            return true;
        }
        Some('日' | '号' | '號') if last.key.starts_with('#') && small(&last.key, 31) => {
            last.key = format!("d{}", plain_value(&last.key));
            last.range.end = token.range.end;
            return true;
        }
        _ => {}
    }
    false
}

fn plain_value(key: &str) -> String {
    let value = key.trim_start_matches(['#', 'o', 'd', 'm']);
    match value.split_once('e') {
        Some((digits, zeros)) => format!("{digits}{}", "0".repeat(zeros.parse().unwrap_or(0).min(4))),
        None => value.to_owned(),
    }
}

fn small(key: &str, max: u32) -> bool {
    plain_value(key).parse::<u32>().is_ok_and(|value| (1..=max).contains(&value))
}

/// A number, or an ordinal, that may be a day; its key becomes plain.
fn is_day(token: &Token) -> bool {
    token.kind == Kind::Number
        && token.unit.is_none()
        && token.key.starts_with(['#', 'o'])
        && !token.key.contains(['s', '-'])
        && small(&token.key, 31)
}

fn han_scale(c: char) -> Option<i32> {
    match c {
        '百' => Some(2),
        '千' => Some(3),
        '万' | '萬' => Some(4),
        '亿' | '億' => Some(8),
        _ => None,
    }
}

fn scaled(key: &str, zeros: i32) -> String {
    let value = key.trim_start_matches('#');
    let (digits, exponent) = value.split_once('e').unwrap_or((value, "0"));
    let exponent = exponent.parse::<i32>().unwrap_or(0) + zeros;
    if exponent == 0 { format!("#{digits}") } else { format!("#{digits}e{exponent}") }
}

fn tens(key: &str) -> Option<u32> {
    plain_value(key.strip_prefix('#')?).parse().ok().filter(|value| (20..=90).contains(value) && value % 10 == 0)
}

fn ones(key: &str) -> Option<u32> {
    key.strip_prefix('#')?.parse().ok().filter(|value| (1..=9).contains(value))
}

fn pieces(text: &str, tokens: &[Token], stops: &[(usize, usize)]) -> Vec<Piece> {
    let (mut found, mut start, mut byte) = (Vec::new(), 0, 0);
    for (end, end_byte) in stops.iter().copied().chain([(tokens.len(), text.len())]) {
        while end.saturating_sub(start) > SENTENCE_TOKENS_MAX {
            let cut = start + SENTENCE_TOKENS_MAX;
            let cut_byte = tokens.get(cut).map_or(end_byte, |token| token.range.start);
            push_piece(text, start..cut, byte..cut_byte, &mut found);
            (start, byte) = (cut, cut_byte);
        }
        if end > start {
            push_piece(text, start..end, byte..end_byte, &mut found);
        }
        (start, byte) = (end.max(start), end_byte.max(byte));
    }
    found
}

fn push_piece(text: &str, tokens: Range<usize>, bytes: Range<usize>, found: &mut Vec<Piece>) {
    let Some(piece) = text.get(bytes.clone()) else { return };
    let head = piece.len() - piece.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '#' | '*' | '>' | '•' | '|' | '-')).len();
    let end = bytes.start + piece.trim_end().len();
    if bytes.start + head < end {
        found.push(Piece { tokens, bytes: bytes.start + head..end });
    }
}
