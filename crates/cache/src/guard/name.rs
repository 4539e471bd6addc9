//! The names in a question: capitalised words, identifiers, flags, quotations, Latin words among Chinese ones.
//!
//! A name of one question must occur in the other, in whatever case: "on Ubuntu" and "on ubuntu" agree. Where
//! both name several, the order counts: "from A to B" is not "from B to A".

use super::Difference;
use super::text::{Kind, Text, Token};

/// Words that stand at the beginning of sentences, where everything has a capital letter, without naming anything.
const OPENERS: &[&str] = &[
    "a",
    "about",
    "according",
    "after",
    "all",
    "also",
    "although",
    "am",
    "an",
    "and",
    "any",
    "are",
    "aren't",
    "as",
    "assuming",
    "at",
    "because",
    "before",
    "both",
    "but",
    "by",
    "can",
    "can't",
    "cannot",
    "compare",
    "could",
    "define",
    "describe",
    "did",
    "didn't",
    "do",
    "does",
    "doesn't",
    "don't",
    "during",
    "each",
    "every",
    "excuse",
    "explain",
    "find",
    "for",
    "from",
    "get",
    "give",
    "given",
    "had",
    "has",
    "have",
    "hello",
    "help",
    "hey",
    "hi",
    "how",
    "how's",
    "however",
    "i",
    "i'd",
    "i'm",
    "i've",
    "if",
    "in",
    "is",
    "isn't",
    "it",
    "it's",
    "just",
    "let",
    "list",
    "may",
    "maybe",
    "might",
    "must",
    "my",
    "need",
    "no",
    "none",
    "not",
    "now",
    "of",
    "ok",
    "okay",
    "on",
    "once",
    "or",
    "our",
    "outline",
    "please",
    "question",
    "quick",
    "provide",
    "say",
    "shall",
    "should",
    "show",
    "since",
    "so",
    "some",
    "sorry",
    "state",
    "summarise",
    "summarize",
    "tell",
    "thank",
    "thanks",
    "that",
    "the",
    "their",
    "then",
    "there",
    "these",
    "they",
    "this",
    "those",
    "to",
    "under",
    "until",
    "was",
    "we",
    "were",
    "what",
    "what's",
    "when",
    "where",
    "whether",
    "which",
    "while",
    "who",
    "whose",
    "why",
    "will",
    "with",
    "would",
];
/// Abbreviations with points that name nothing.
const ABBREVIATIONS: &[&str] = &["e.g", "i.e", "a.m", "p.m", "vs", "etc"];
const PRONOUNS: &[&str] = &["i", "i'm", "i've", "i'd", "i'll"];

/// The names of a question, in their order.
#[derive(Debug)]
pub(super) struct Names(Vec<Name>);

#[derive(Debug)]
struct Name {
    /// In lower case.
    word: String,
    sort: Sort,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// Must occur as a word.
    Word,
    /// Must occur as a piece of text.
    Quotation,
    /// Begins a sentence, so that it may be any word: a word that begins alike is enough.
    Opener,
}

impl Names {
    pub(super) fn of(text: &Text, used: &[bool]) -> Self {
        // In a question in capitals they say nothing.
        let mut letters = text.tokens.iter().flat_map(|token| token.text.chars()).filter(|c| c.is_alphabetic()).peekable();
        let is_shouted = !text.has_han && letters.peek().is_some() && letters.all(char::is_uppercase) && text.words().nth(2).is_some();
        let free = text.tokens.iter().zip(used).filter(|(token, used)| token.kind == Kind::Word && !token.is_quoted && !**used);
        let words = free.filter_map(|(token, _)| Some(Name { word: bare(token), sort: sort(token, text.has_han, is_shouted)? }));
        let quotes = text.quotes.iter().map(|quote| Name { word: quote.clone(), sort: Sort::Quotation });
        Self(words.chain(quotes).collect())
    }

    /// Whether the other question has the same names, in the same order.
    pub(super) fn agree(&self, text: &Text, other: &Self, other_text: &Text) -> Result<(), Difference> {
        let missing = self.missing_in(other_text).or_else(|| other.missing_in(text));
        if let Some(name) = missing {
            return Err(Difference::Name(name));
        }
        let is_symmetric = text.is_symmetric() || other_text.is_symmetric();
        let is_swapped = !is_symmetric && self.order_in(text) != self.order_in(other_text);
        if is_swapped { Err(Difference::Order(self.order_in(text).join(", "))) } else { Ok(()) }
    }

    fn missing_in(&self, text: &Text) -> Option<String> {
        self.0.iter().find(|name| !name.occurs_in(text)).map(|name| name.word.clone())
    }

    /// The certain names in the order in which a text first has them.
    fn order_in(&self, text: &Text) -> Vec<&str> {
        let mut places: Vec<(Option<usize>, &str)> =
            self.0.iter().filter(|name| name.sort != Sort::Opener).map(|name| name.place_in(text)).collect();
        places.sort_unstable();
        places.dedup();
        places.into_iter().map(|(_, name)| name).collect()
    }
}

impl Name {
    fn occurs_in(&self, text: &Text) -> bool {
        match self.sort {
            Sort::Word => text.tokens.iter().any(|token| bare(token) == self.word),
            Sort::Quotation => text.folded.contains(&self.word),
            Sort::Opener => text.words().any(|word| is_alike(word, &self.word)),
        }
    }

    fn place_in(&self, text: &Text) -> (Option<usize>, &str) {
        let first = self.word.split_whitespace().next().unwrap_or_default();
        (text.tokens.iter().position(|token| bare(token) == first || token.text.contains(&self.word)), &self.word)
    }
}

/// Whether the words have a beginning in common that is most of them: employee, employees; ship, shipping.
fn is_alike(a: &str, b: &str) -> bool {
    const LEAST: usize = 4;
    const ENDING: usize = 3;
    let common = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let longest = a.chars().count().max(b.chars().count());
    a == b || common >= LEAST.max(longest.saturating_sub(ENDING))
}

/// The word in lower case; the plural of an abbreviation without its s: `APIs` is `api`.
fn bare(token: &Token) -> String {
    let is_plural = token.text.strip_suffix('s').is_some_and(|rest| rest.len() > 1 && rest.chars().all(|c| c.is_ascii_uppercase()));
    if is_plural { token.lower.trim_end_matches('s').to_owned() } else { token.lower.clone() }
}

fn sort(token: &Token, has_han: bool, is_shouted: bool) -> Option<Sort> {
    let word = token.text.as_str();
    let has_letter = word.chars().any(char::is_alphabetic);
    let is_plain = ABBREVIATIONS.contains(&token.lower.as_str()) || PRONOUNS.contains(&token.lower.as_str()) || !has_letter;
    if is_plain {
        return None;
    }
    let is_code = word.contains(|c: char| c.is_numeric() || matches!(c, '_' | '.' | '&' | '+' | '#')) || word.starts_with('-');
    let has_capital_inside = word.chars().skip(1).any(char::is_uppercase);
    let has_capital = word.starts_with(char::is_uppercase);
    if is_code || has_han || (has_capital_inside && !is_shouted) {
        return Some(Sort::Word);
    }
    match (has_capital && !is_shouted, token.begins) {
        (false, _) => None,
        (true, false) => Some(Sort::Word),
        (true, true) => (!OPENERS.contains(&token.lower.as_str())).then_some(Sort::Opener),
    }
}
