//! A question as tokens: words, runs of Chinese characters, signs; and what stands in quotation marks.
//!
//! Full-width characters, curly marks and Chinese numerals are folded first, so that the rest of the guard
//! sees one way of writing each.

use super::numeral;

/// A question taken apart.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) tokens: Vec<Token>,
    pub(super) has_han: bool,
}

/// What a token is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Letters and digits, with what holds them together inside a word.
    Word,
    /// Chinese characters or kana.
    Han,
    /// One sign that is neither a letter nor punctuation: a currency, an operator, a picture.
    Sign,
}

/// One token.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) text: String,
    /// In lower case.
    pub(super) lower: String,
    /// Whether a sentence begins here, where a capital letter says nothing.
    pub(super) begins: bool,
    pub(super) is_behind_comma: bool,
    pub(super) is_quoted: bool,
}

/// The pairs of marks that quote.
const QUOTES: &[(char, char)] = &[('"', '"'), ('「', '」'), ('『', '』'), ('《', '》'), ('`', '`'), ('\'', '\'')];
/// Signs without a meaning of their own, among those that are no letters, digits or spaces.
const PUNCTUATION: &str = ".,?!:;()[]{}\"'`-—…~、。·「」『』《》【】¿¡";

impl Text {
    pub(super) fn of(question: &str) -> Self {
        let folded = numeral::to_arabic(&question.chars().map(fold).collect::<String>());
        let chars: Vec<char> = folded.chars().collect();
        let quoted = quoted(&chars);
        let tokens = Lexer { chars: &chars, at: 0, tokens: Vec::new(), begins: true, is_behind_comma: false, quoted: &quoted }.run();
        let has_han = tokens.iter().any(|token| token.kind == Kind::Han);
        Self { tokens, has_han }
    }
}

/// Full-width characters as ASCII, curly quotation marks as straight ones.
fn fold(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        '\u{3000}' | '\u{a0}' => ' ',
        '‘' | '’' | 'ʼ' => '\'',
        '“' | '”' | '„' | '«' | '»' => '"',
        '〈' => '《',
        '〉' => '》',
        '–' | '−' | '‑' => '-',
        _ => c,
    }
}

/// The ranges inside quotation marks, in order.
fn quoted(chars: &[char]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let close = QUOTES.iter().find(|(open, _)| *open == c).and_then(|&(_, close)| closing(chars, at, close));
        if let Some(end) = close {
            found.push((at + 1, end));
        }
        at = close.unwrap_or(at) + 1;
    }
    found
}

/// Where the quotation that opens at `open` ends. An apostrophe opens only before a word and closes only behind one.
fn closing(chars: &[char], open: usize, mark: char) -> Option<usize> {
    let is_word = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(|c| c.is_alphanumeric());
    if mark == '\'' && (is_word(open.checked_sub(1)) || !is_word(Some(open + 1))) {
        return None;
    }
    let ends = (open + 2..chars.len()).filter(|&at| chars.get(at) == Some(&mark));
    ends.into_iter().find(|&at| mark != '\'' || !is_word(Some(at + 1)))
}

fn is_sign(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !PUNCTUATION.contains(c)
}

struct Lexer<'a> {
    chars: &'a [char],
    at: usize,
    tokens: Vec<Token>,
    begins: bool,
    is_behind_comma: bool,
    quoted: &'a [(usize, usize)],
}

impl Lexer<'_> {
    fn run(mut self) -> Vec<Token> {
        while let Some(c) = self.peek(0) {
            match c {
                _ if is_han(c) => self.take(Kind::Han, Self::run_end),
                _ if c.is_alphanumeric() => self.take(Kind::Word, Self::word_end),
                '-' if self.is_flag() => self.take(Kind::Word, Self::flag_end),
                _ if is_sign(c) => self.take(Kind::Sign, |lexer| lexer.at + 1),
                _ => self.skip(c),
            }
        }
        self.tokens
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn before(&self) -> Option<char> {
        self.at.checked_sub(1).and_then(|at| self.chars.get(at)).copied()
    }

    fn skip(&mut self, c: char) {
        let is_end = matches!(c, '.' | '?' | '!' | ':' | ';' | '\n' | '。' | '…');
        self.begins |= is_end;
        self.is_behind_comma |= c == ',';
        self.at += 1;
    }

    /// `-10`, `--force` and `-v` at the start of a word, not the hyphen inside one.
    fn is_flag(&self) -> bool {
        let is_free = self.before().is_none_or(|c| c.is_whitespace() || is_han(c) || matches!(c, '(' | '"' | '`' | '\''));
        let next = if self.peek(1) == Some('-') { self.peek(2) } else { self.peek(1) };
        is_free && next.is_some_and(|c| c.is_ascii_alphanumeric())
    }

    fn flag_end(&self) -> usize {
        let is_part = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let end = self.chars.iter().skip(self.at).take_while(|c| is_part(c)).count() + self.at;
        if self.chars.get(end - 1) == Some(&'.') { end - 1 } else { end }
    }

    fn run_end(&self) -> usize {
        self.at + self.chars.iter().skip(self.at).take_while(|c| is_han(**c)).count()
    }

    fn word_end(&self) -> usize {
        let mut end = self.at;
        let get = |at: usize| self.chars.get(at).copied();
        let is_part = |at: usize| get(at).is_some_and(|c| c.is_alphanumeric() && !is_han(c));
        let is_digit = |at: usize| get(at).is_some_and(|c| c.is_ascii_digit());
        loop {
            match get(end) {
                _ if is_part(end) => end += 1,
                Some('\'' | '_' | '.' | '&' | '-') if is_part(end + 1) => end += 1,
                Some('_') => end += 1,
                Some(',') if is_digit(end - 1) && (1..=3).all(|step| is_digit(end + step)) && !is_digit(end + 4) => end += 1,
                Some(':') if is_digit(end - 1) && is_digit(end + 1) => end += 1,
                Some('+' | '#') if !is_part(end + 1) && !is_digit(end - 1) => end += 1,
                _ => return end,
            }
        }
    }

    fn take(&mut self, kind: Kind, end: impl Fn(&Self) -> usize) {
        let to = end(self);
        let text: String = self.chars.get(self.at..to).into_iter().flatten().filter(|c| **c != ',').collect();
        let is_quoted = self.quoted.iter().any(|&(from, end)| (from..end).contains(&self.at));
        for part in parts(&text) {
            let (text, lower) = (part.to_owned(), part.to_lowercase());
            let is_behind_comma = std::mem::take(&mut self.is_behind_comma);
            self.tokens.push(Token { kind, text, lower, begins: self.begins, is_behind_comma, is_quoted });
            self.begins &= kind == Kind::Sign;
        }
        self.at = to;
    }
}

/// A word with hyphens in pieces if a piece is a number: `carbon-14`, `1-10`, but not `2024-03-15` or `two-factor`.
fn parts(word: &str) -> Vec<&str> {
    let is_number = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit() || c == '.');
    let is_date = word.split('-').map(|part| if is_number(part) { part.len() } else { 0 }).eq([4, 2, 2]);
    let is_split = !is_date && !word.starts_with('-') && word.split('-').any(is_number);
    if is_split { word.split('-').collect() } else { vec![word] }
}

/// Chinese characters and kana.
pub(super) fn is_han(c: char) -> bool {
    matches!(c, '\u{3005}' | '\u{3007}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3134f}')
}
