//! The words of a question, each with what is known of it before any rule is applied.

use super::super::form::Sort;
use super::super::text::{Kind, Text, Token};
use super::super::{spelled as numbers_spelled, unit};
use super::stem::participle;
use super::words::{ARTICLES, BE, CLAUSES, DO, MODALS, PREPOSITIONS, QUESTION_WORDS};
use std::ops::Range;

/// A word of which it is not yet decided whether it counts.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) text: String,
    pub(super) sort: Sort,
    pub(super) is_behind_comma: bool,
    /// Has been a form of a verb, and is its base form now.
    pub(super) is_base: bool,
}

impl Item {
    pub(super) fn new(text: &str, sort: Sort) -> Self {
        Self { text: text.to_owned(), sort, is_behind_comma: false, is_base: false }
    }

    pub(super) fn is(&self, word: &str) -> bool {
        self.sort == Sort::Plain && self.text == word
    }

    pub(super) fn is_in(&self, words: &[&str]) -> bool {
        self.sort == Sort::Plain && words.contains(&self.text.as_str())
    }

    pub(super) fn is_auxiliary(&self) -> bool {
        self.is_in(BE) || self.is_in(DO) || self.is_in(MODALS)
    }

    /// Whether it can't be part of what a noun and the words before it are.
    pub(super) fn is_boundary(&self) -> bool {
        const OTHERS: &[&str] = &["not", "of", "i", "you", "we", "it", "they", "he", "she", "this", "these", "those", "there", "/"];
        self.is_auxiliary() || self.is_in(ARTICLES) || self.is_in(PREPOSITIONS) || self.is_in(CLAUSES) || self.is_in(OTHERS)
    }

    pub(super) fn base(&self) -> Option<String> {
        if self.sort == Sort::Plain { participle(&self.text) } else { None }
    }
}

/// The words and signs; `numbers` with the tokens that they were read from.
pub(super) fn items(text: &Text, numbers: &[(Range<usize>, String)]) -> Vec<Item> {
    // In a title or in capitals, capital letters say nothing.
    let is_small = |token: &Token| token.kind == Kind::Word && token.text.starts_with(char::is_lowercase);
    let has_case = text.tokens.iter().any(is_small);
    let mut found = Vec::new();
    let mut numbers = numbers.iter().peekable();
    for (at, token) in text.tokens.iter().enumerate() {
        while numbers.next_if(|(range, _)| range.end <= at).is_some() {}
        let first = found.len();
        match numbers.peek() {
            Some((range, number)) if range.start == at => found.push(Item::new(number, Sort::Number)),
            Some((range, _)) if range.contains(&at) => {}
            // The currency before a number is part of it.
            Some((range, _)) if token.kind == Kind::Sign && range.start == at + 1 && unit::of_sign(&token.text).is_some() => {}
            _ => push(&mut found, token, has_case),
        }
        if let Some(item) = found.get_mut(first) {
            item.is_behind_comma = token.is_behind_comma;
        }
    }
    found
}

fn push(found: &mut Vec<Item>, token: &Token, has_case: bool) {
    if token.is_quoted || token.kind != Kind::Word {
        return found.push(Item::new(&token.lower, if token.is_quoted { Sort::Quoted } else { Sort::Plain }));
    }
    let is_code = token.text.contains(|c: char| c.is_numeric() || matches!(c, '_' | '.' | '&' | '+' | '#')) || token.text.starts_with('-');
    let is_pronoun = token.text == "I" || token.text.starts_with("I'");
    let is_name = is_code || has_case && !token.begins && !is_pronoun && token.text.contains(char::is_uppercase);
    let sort = if is_name { Sort::Name } else { Sort::Plain };
    let parts: Vec<&str> = if token.lower.starts_with('-') { vec![&token.lower] } else { token.lower.split('-').collect() };
    for part in &parts {
        match part.rsplit_once('\'') {
            Some((word, "s"))
                if sort == Sort::Plain && (QUESTION_WORDS.contains(&word) || ["it", "that", "there", "here"].contains(&word)) =>
            {
                found.extend([Item::new(word, sort), Item::new("is", sort)]);
            }
            Some((word, "s")) => found.extend([Item::new(&abbreviation(word, token), sort), Item::new("'s", Sort::Plain)]),
            Some((word, "t")) if word.ends_with('n') => {
                found.extend([Item::new(word.strip_suffix('n').unwrap_or(word), sort), Item::new("not", Sort::Plain)]);
            }
            Some((word, ending)) => {
                let second = match ending {
                    "m" => "am",
                    "re" => "are",
                    "ve" => "have",
                    "ll" => "will",
                    "d" => "would",
                    other => other,
                };
                found.extend([Item::new(word, sort), Item::new(second, Sort::Plain)]);
            }
            // "First-aid" as "first aid", where "first" was read as a number.
            None if parts.len() > 1 && numbers_spelled::ordinal(part, None).is_some() => {
                let ordinal = numbers_spelled::ordinal(part, None).unwrap_or_default();
                found.push(Item::new(&format!("{ordinal} th"), Sort::Number));
            }
            None if parts.len() > 1 && *part == "half" => found.push(Item::new("0.5", Sort::Number)),
            None => {
                let is_unit = sort == Sort::Plain && part.len() > 1 && !["am", "pm", "bar", "bars", "min", "second"].contains(part);
                let unit = unit::of_word(part).filter(|_| is_unit);
                found.push(Item::new(&unit.map_or_else(|| spelled(&abbreviation(part, token), sort), str::to_owned), sort));
            }
        }
    }
}

/// The plural of an abbreviation without its s: `APIs` is `api`.
fn abbreviation(word: &str, token: &Token) -> String {
    let is_plural = token.text.strip_suffix('s').is_some_and(|rest| rest.len() > 1 && rest.chars().all(|c| c.is_ascii_uppercase()));
    word.strip_suffix('s').filter(|_| is_plural).unwrap_or(word).to_owned()
}

/// British spelling as American: `colour`, `organise`, `litre`.
fn spelled(word: &str, sort: Sort) -> String {
    if sort != Sort::Plain || word.len() < 5 {
        return word.to_owned();
    }
    let mut word = word.replace("isation", "ization");
    for (british, american) in [("ise", "ize"), ("ised", "ized"), ("ises", "izes"), ("ising", "izing"), ("tre", "ter"), ("tres", "ters")] {
        if let Some(rest) = word.strip_suffix(british) {
            word = format!("{rest}{american}");
            break;
        }
    }
    if word.len() > 5 { word.replace("our", "or") } else { word }
}
