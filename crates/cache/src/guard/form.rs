//! The normal form of a question: what kind of answer it wants, its frame, and its words in order.

use super::Difference;
use std::collections::HashSet;

/// A question without what says nothing. Two questions are the same if their forms are.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) asking: Asking,
    /// Modal verbs, negations and the past, in order, where it can't matter where they stand.
    pub(super) frame: Vec<String>,
    pub(super) words: Vec<Word>,
    /// Whether the plural is not the singular: "the longest river", "the longest rivers".
    pub(super) is_counted: bool,
}

/// A word that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// In lower case.
    pub(super) text: String,
    /// Without the endings of plural and third person.
    pub(super) stem: String,
    pub(super) sort: Sort,
}

/// What a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// May be a function word, and has forms.
    Plain,
    /// Begins with a capital letter, or is an identifier.
    Name,
    /// Stands in quotation marks: no function word, no forms.
    Quoted,
    Number,
}

/// The kind of answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    Who,
    When,
    /// What time, what date, what year.
    WhenExactly(&'static str),
    Where,
    Why,
    How,
    /// How many, how long, how safe.
    Degree,
    What,
    YesNo,
    /// Key words.
    Open,
}

impl Form {
    /// Bytes of memory, roughly.
    pub(super) fn bytes(&self) -> usize {
        let texts: usize = self.words.iter().map(|word| word.text.capacity() + word.stem.capacity()).sum();
        texts
            + size_of::<Word>() * self.words.capacity()
            + self.frame.iter().map(|word| size_of::<String>() + word.capacity()).sum::<usize>()
    }

    pub(super) fn agree(&self, other: &Self) -> Result<(), Difference> {
        let is_same = self.words.len() == other.words.len() && self.words.iter().zip(&other.words).all(|(a, b)| self.is_same(other, a, b));
        if is_same && self.frame == other.frame && self.asking.fits(other.asking) { Ok(()) } else { Err(self.difference(other)) }
    }

    fn difference(&self, other: &Self) -> Difference {
        let (ours, theirs) = (self.alone(other), other.alone(self));
        let first = |sort: Sort| ours.iter().chain(&theirs).find(|word| word.sort == sort).map(|word| word.text.clone());
        if let Some(number) = first(Sort::Number) {
            return Difference::Number(number);
        }
        if let Some(name) = first(Sort::Name).or_else(|| first(Sort::Quoted)) {
            return Difference::Name(name);
        }
        let (ours, theirs) = (joined(&ours, &self.frame), joined(&theirs, &other.frame));
        match () {
            () if self.denials() != other.denials() => Difference::Negation(format!("{ours} / {theirs}")),
            () if !self.asking.fits(other.asking) => Difference::Question(self.asking.name(), other.asking.name()),
            () if ours != theirs => Difference::Subject(ours, theirs),
            () => Difference::Order(joined(&self.words.iter().collect::<Vec<_>>(), &[])),
        }
    }

    fn has_forms(&self, other: &Self) -> bool {
        !self.is_counted && !other.is_counted
    }

    fn is_same(&self, other: &Self, a: &Word, b: &Word) -> bool {
        let has_forms = self.has_forms(other) && (a.sort == Sort::Plain || b.sort == Sort::Plain);
        a.text == b.text || (has_forms && a.stem == b.stem)
    }

    /// The words that the other question hasn't.
    fn alone(&self, other: &Self) -> Vec<&Word> {
        let texts: HashSet<&str> = other.words.iter().map(|word| word.text.as_str()).collect();
        let stems: HashSet<&str> = other.words.iter().filter(|_| self.has_forms(other)).map(|word| word.stem.as_str()).collect();
        self.words.iter().filter(|word| !texts.contains(word.text.as_str()) && !stems.contains(word.stem.as_str())).collect()
    }

    fn denials(&self) -> usize {
        const WORDS: &[&str] = &["not", "no", "never", "without", "non", "不", "没", "无", "未", "非"];
        self.words.iter().map(|word| &word.text).chain(&self.frame).filter(|word| WORDS.contains(&word.as_str())).count()
    }
}

fn joined(words: &[&Word], frame: &[String]) -> String {
    words.iter().map(|word| word.text.as_str()).chain(frame.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
}

impl Asking {
    /// Whether an answer to one kind can be an answer to the other.
    fn fits(self, other: Self) -> bool {
        match (self, other) {
            // Key words ask what; a time of day is a time.
            (Self::What, Self::Open) | (Self::Open, Self::What) => true,
            (Self::When, Self::WhenExactly(_)) | (Self::WhenExactly(_), Self::When) => true,
            (a, b) => a == b,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Who => "who",
            Self::When => "when",
            Self::WhenExactly(what) => what,
            Self::Where => "where",
            Self::Why => "why",
            Self::How => "how",
            Self::Degree => "how much",
            Self::What => "what",
            Self::YesNo => "yes or no",
            Self::Open => "nothing",
        }
    }
}
