//! English questions: the first question word decides, and the words behind it.

use super::{Amount, Asking};

const QUESTION_WORDS: &[&str] = &["who", "whom", "whose", "when", "where", "why", "how", "what", "which"];
const AUXILIARIES: &[&str] = &[
    "is",
    "are",
    "was",
    "were",
    "am",
    "do",
    "does",
    "did",
    "can",
    "could",
    "may",
    "might",
    "must",
    "shall",
    "should",
    "will",
    "would",
    "has",
    "have",
    "had",
    "isn't",
    "aren't",
    "doesn't",
    "don't",
    "didn't",
    "can't",
    "couldn't",
    "won't",
    "wouldn't",
    "shouldn't",
    "hasn't",
    "haven't",
];
/// Words that ask to be told: the question comes behind them.
const TELLING: &[&str] = &[
    "tell",
    "explain",
    "describe",
    "list",
    "give",
    "show",
    "summarise",
    "summarize",
    "define",
    "outline",
    "know",
    "wondering",
    "name",
    "state",
];
/// What may stand before such a word: "Hi, could you please tell me".
const POLITE: &[&str] = &[
    "hi", "hello", "hey", "please", "can", "could", "would", "will", "you", "do", "i'd", "i'm", "i", "am", "like", "want", "need", "to",
    "just", "kindly", "thanks", "quick", "question", "and",
];
/// What stands between `how` and a way of doing.
const MANNER: &[&str] = &[
    "do", "does", "did", "can", "could", "is", "are", "was", "were", "to", "should", "would", "will", "must", "may", "might", "shall",
    "has", "have", "had", "the", "a", "an", "i", "you", "we", "it", "they", "he", "she", "this", "that", "these", "my", "your", "our",
    "one", "don't", "doesn't", "can't", "best", "exactly",
];
const PERSONS: &[&str] = &[
    "person",
    "people",
    "scientist",
    "scientists",
    "author",
    "authors",
    "researcher",
    "researchers",
    "employee",
    "manager",
    "inventor",
    "founder",
];
const TIMES: &[&str] = &["year", "date", "day", "month", "time", "week", "century", "decade", "hour", "weekday"];
const PLACES: &[&str] = &[
    "city",
    "country",
    "place",
    "location",
    "directory",
    "folder",
    "path",
    "town",
    "region",
    "continent",
    "address",
    "room",
    "building",
    "state",
    "spot",
];
const REASONS: &[&str] = &["cause", "causes", "caused", "reason", "reasons", "makes", "made", "motivated", "motivation", "led"];
const WAYS: &[&str] =
    &["steps", "step", "way", "ways", "process", "procedure", "procedures", "method", "methods", "instructions", "workflow", "treatment"];
const AMOUNTS: &[&str] = &["number", "percentage", "share", "amount", "price", "value"];

/// The words behind `what` among which its noun stands: "what is the main reason".
const HEAD_WORDS: usize = 5;

/// What a question in English asks.
pub(super) fn asking(words: &[&str]) -> Asking {
    let polite = words.iter().take_while(|word| POLITE.contains(word)).count();
    if words.get(polite).is_some_and(|word| TELLING.contains(word)) {
        return told(words.get(polite + 1..).unwrap_or_default());
    }
    let auxiliary = words.iter().position(|word| AUXILIARIES.contains(word));
    match words.iter().position(|word| QUESTION_WORDS.contains(word)) {
        // "Is it known who …" asks for a yes.
        Some(at) if at > 0 && auxiliary == Some(0) => Asking::YesNo,
        Some(at) => by_word(words.get(at..).unwrap_or_default()),
        None if auxiliary.is_some_and(|at| at <= polite) => Asking::YesNo,
        None => Asking::Open,
    }
}

/// "Tell me who …", "explain the process of …", "list all …".
fn told(words: &[&str]) -> Asking {
    match words.iter().position(|word| QUESTION_WORDS.contains(word)) {
        Some(at) => by_word(words.get(at..).unwrap_or_default()),
        None if words.iter().take(HEAD_WORDS).any(|word| WAYS.contains(word)) => Asking::How,
        None => Asking::Open,
    }
}

fn by_word(words: &[&str]) -> Asking {
    let (word, behind) = words.split_first().map_or(("", words), |(word, behind)| (*word, behind));
    match word {
        "who" | "whom" | "whose" => Asking::Who,
        "when" => Asking::When,
        "where" => Asking::Where,
        "why" => Asking::Why,
        "how" => how(behind),
        _ => what(behind),
    }
}

fn how(behind: &[&str]) -> Asking {
    let is_compared = behind.iter().any(|word| word.starts_with("differ"));
    match behind.first().copied().unwrap_or_default() {
        "come" => Asking::Why,
        "many" | "much" => Asking::Amount(Amount::Any),
        "long" => Asking::Amount(Amount::Duration),
        "far" => Asking::Amount(Amount::Distance),
        "often" | "frequently" => Asking::Amount(Amount::Frequency),
        "old" => Asking::Amount(Amount::Age),
        "large" | "big" | "small" => Asking::Amount(Amount::Size),
        _ if is_compared => Asking::Open,
        word if !MANNER.contains(&word) && is_adjective(word) => Asking::Amount(Amount::Degree),
        _ => Asking::How,
    }
}

/// "how effective", "how fast" ask for a degree; "how Prometheus works" and "how backups are made" for a way.
fn is_adjective(word: &str) -> bool {
    const ENDINGS: &[&str] = &["ive", "ful", "ous", "able", "ible", "al", "ant", "ent", "ic"];
    const WORDS: &[&str] = &[
        "fast", "quickly", "high", "low", "tall", "deep", "wide", "heavy", "hot", "cold", "short", "strong", "safe", "good", "bad", "well",
        "likely", "accurate", "slow", "bright", "loud", "hard", "early", "late", "thick", "soon",
    ];
    WORDS.contains(&word) || (word.len() > 5 && ENDINGS.iter().any(|ending| word.ends_with(ending)))
}

/// Behind `what` and `which` the noun decides: "what year", "what is the reason", "what should I do".
fn what(behind: &[&str]) -> Asking {
    let next = behind.first().copied().unwrap_or_default();
    let is_mine = behind.get(1).is_some_and(|word| ["i", "we", "you", "one"].contains(word));
    let is_doing = is_mine && behind.iter().take(HEAD_WORDS).skip(2).any(|word| *word == "do");
    match next {
        _ if PERSONS.contains(&next) => Asking::Who,
        _ if TIMES.contains(&next) => Asking::When,
        _ if PLACES.contains(&next) => Asking::Where,
        _ if REASONS.contains(&next) => Asking::Why,
        _ if AMOUNTS.contains(&next) => Asking::Amount(Amount::Any),
        "is" | "are" | "was" | "were" | "the" => noun(behind),
        _ if is_doing && AUXILIARIES.contains(&next) => Asking::How,
        _ => Asking::Open,
    }
}

/// "What is the … of": the noun before `of`.
fn noun(behind: &[&str]) -> Asking {
    let is_end = |word: &&str| matches!(*word, "of" | "for" | "to" | "that" | "in");
    let head = behind.iter().take(HEAD_WORDS).take_while(|word| !is_end(word));
    let has = |words: &[&str]| head.clone().any(|word| words.contains(word));
    match () {
        () if has(REASONS) => Asking::Why,
        () if has(WAYS) => Asking::How,
        () if has(&["author", "authors", "founder", "inventor"]) => Asking::Who,
        () if has(&["date"]) => Asking::When,
        () if has(&["location", "address", "whereabouts"]) => Asking::Where,
        () => Asking::Open,
    }
}
