//! Whether an English question leans on what was said before, and what an English text is about.

use crate::script::is_cjk;
use crate::terms::is_common;
use unicode_segmentation::UnicodeSegmentation;

/// Pronouns that name what was said before.
const PRONOUNS: [&str; 10] = ["it", "they", "them", "he", "him", "she", "itself", "themselves", "himself", "herself"];
const POSSESSIVES: [&str; 6] = ["its", "their", "theirs", "his", "her", "hers"];
/// Words that begin a clause in which a pronoun may mean what the clause before it names.
const CONNECTORS: [&str; 26] = [
    "and", "but", "or", "when", "if", "because", "after", "before", "while", "than", "so", "although", "though", "that", "who", "which",
    "where", "since", "until", "unless", "as", "whether", "once", "then", "how", "what",
];
/// Behind `it`: then it names nothing, if what follows says what is meant.
const EMPTY_IT: [&str; 30] = [
    "take",
    "takes",
    "took",
    "cost",
    "costs",
    "true",
    "possible",
    "impossible",
    "legal",
    "illegal",
    "safe",
    "ok",
    "okay",
    "important",
    "necessary",
    "better",
    "best",
    "like",
    "mean",
    "worth",
    "allowed",
    "common",
    "normal",
    "dangerous",
    "hard",
    "easy",
    "difficult",
    "correct",
    "called",
    "time",
];
/// Attributes: a question for nothing else leaves out of what.
const ATTRIBUTES: &str = " year years date day month time name names price cost costs size height weight length width depth colour \
    color reason reasons cause place location number amount age author owner range duration example examples details detail difference \
    source sources long much often far old big tall high wide deep large kind type sort exactly precisely again please tell explain \
    happened happen know think mean means work works say says made make makes else instead first last next ";
/// A question with these, and nothing to say of whom, goes on with what was said.
const CONTINUATIONS: [&str; 7] = ["else", "others", "former", "latter", "same", "likewise", "aforementioned"];
/// Behind `that` where it names something by itself.
const VERBS_BEHIND_THAT: [&str; 31] = [
    "is", "was", "were", "be", "mean", "means", "work", "works", "happen", "happens", "happened", "apply", "applies", "do", "does", "did",
    "would", "will", "can", "could", "should", "may", "might", "has", "have", "had", "cost", "costs", "take", "takes", "help",
];
/// Words of a question before which nothing was named yet.
const BEFORE_THAT: [&str; 30] = [
    "is", "was", "are", "were", "does", "did", "do", "will", "would", "can", "could", "should", "has", "had", "have", "of", "about", "for",
    "with", "after", "before", "like", "by", "in", "on", "at", "from", "during", "since", "to",
];
const TIMES: [&str; 12] =
    ["year", "month", "week", "morning", "evening", "century", "weekend", "afternoon", "summer", "winter", "spring", "autumn"];

struct Word<'t> {
    text: &'t str,
    lower: String,
    /// Whether a comma, semicolon or colon stands between it and the word before.
    begins_clause: bool,
}

/// Whether the question names too little to stand alone.
pub(super) fn leans(question: &str) -> bool {
    let words = words(question);
    let lower: Vec<&str> = words.iter().map(|word| word.lower.as_str()).collect();
    let is_question = question.trim_end().ends_with('?');
    has_open_pronoun(&words) || has_open_demonstrative(&lower) || goes_on(&lower) || is_elliptic(&words, is_question)
}

fn words(text: &str) -> Vec<Word<'_>> {
    let mut end = 0;
    let word = |(at, text_of): (usize, &'_ str)| {
        let between = text.get(end..at).unwrap_or_default();
        end = at + text_of.len();
        (at, text_of.len(), between.contains([',', ';', ':', '.', '!']))
    };
    let places: Vec<(usize, usize, bool)> = text.unicode_word_indices().map(word).collect();
    let read = |(at, length, begins_clause): (usize, usize, bool)| {
        let word = text.get(at..at + length)?;
        let lower = word.to_lowercase().replace('’', "'");
        let bare = lower.strip_suffix("'s").or_else(|| lower.strip_suffix("'re")).unwrap_or(&lower);
        Some(Word { text: word, lower: bare.to_owned(), begins_clause })
    };
    places.into_iter().filter_map(read).collect()
}

/// A pronoun for which the question itself names nobody.
fn has_open_pronoun(words: &[Word<'_>]) -> bool {
    words.iter().enumerate().any(|(at, word)| {
        let lower = word.lower.as_str();
        let rest = words.get(at + 1..).unwrap_or_default();
        if PRONOUNS.contains(&lower) {
            let is_empty = lower == "it" && is_empty_it(words.get(..at).unwrap_or_default(), rest);
            return !is_empty && !is_named_before(words, at, false);
        }
        POSSESSIVES.contains(&lower) && !is_named_before(words, at, true)
    })
}

/// `How long does it take to fill the lamp?`, `What time is it in Tokyo?`
fn is_empty_it(before: &[Word<'_>], rest: &[Word<'_>]) -> bool {
    let is_marked = rest.first().is_some_and(|next| EMPTY_IT.contains(&next.lower.as_str()))
        || before.iter().any(|word| word.lower == "time")
        || rest.get(1).is_some_and(|next| EMPTY_IT.contains(&next.lower.as_str()));
    let says = rest.iter().skip_while(|word| !["to", "that", "for", "in", "if", "when", "on"].contains(&word.lower.as_str()));
    is_marked && says.skip(1).any(|word| is_content(word))
}

/// Whether something stands before place `at` that a pronoun there may mean: a name or a noun with an article, in a
/// clause before; for `its own` in the same one too.
fn is_named_before(words: &[Word<'_>], at: usize, is_possessive: bool) -> bool {
    let before = words.get(..at).unwrap_or_default();
    let clause = before.iter().rposition(|word| CONNECTORS.contains(&word.lower.as_str()) && !is_content(word));
    let comma = (0..=at).rev().find(|place| words.get(*place).is_some_and(|word| word.begins_clause));
    let end = match (clause, comma) {
        _ if is_possessive => at,
        (Some(clause), Some(comma)) => clause.max(comma),
        (Some(end), None) | (None, Some(end)) => end,
        (None, None) => return false,
    };
    let named = before.get(..end).unwrap_or_default();
    named.iter().enumerate().any(|(place, word)| {
        let has_article = place > 0 && named.get(place - 1).is_some_and(|article| is_determiner(&article.lower));
        is_content(word) && (has_article || (place > 0 && is_name(word.text)))
    })
}

fn is_determiner(word: &str) -> bool {
    ["the", "a", "an", "my", "our", "your", "every", "each", "some", "all", "of", "in", "do", "those", "these"].contains(&word)
}

/// `that`, `this`, `these`, `those`, `there` and `one` for something that was named before.
fn has_open_demonstrative(lower: &[&str]) -> bool {
    lower.iter().enumerate().any(|(at, word)| {
        let before = at.checked_sub(1).and_then(|place| lower.get(place)).copied();
        let next = lower.get(at + 1).copied();
        match *word {
            "that" => match next {
                None => true,
                Some(next) if before.is_none_or(|before| BEFORE_THAT.contains(&before)) => {
                    VERBS_BEHIND_THAT.contains(&next) || before.is_some_and(|before| !["is", "was"].contains(&before))
                }
                Some(_) => false,
            },
            "this" | "these" => next.is_none_or(|next| !TIMES.contains(&next)),
            "those" => next.is_none_or(|next| !["who", "that", "which", "with", "of", "in", "from"].contains(&next)),
            "there" => !is_existential(before, next),
            "one" | "ones" if before.is_some_and(|before| ["other", "another"].contains(&before)) => true,
            "one" | "ones" => {
                before.is_some_and(|before| ["which", "that", "second", "newer", "older", "this"].contains(&before))
                    && next.is_none_or(|next| is_common(next) || ["cheaper", "better", "older", "newer", "larger"].contains(&next))
            }
            _ => false,
        }
    })
}

fn is_existential(before: Option<&str>, next: Option<&str>) -> bool {
    let is_form_of_be = |word: &str| ["is", "are", "was", "were", "be", "been", "isn't", "aren't", "exist"].contains(&word);
    before.is_some_and(is_form_of_be) || next.is_some_and(is_form_of_be)
}

/// `What about Italy?`, `And Italy?`, `Any others?`
fn goes_on(lower: &[&str]) -> bool {
    match lower {
        ["what" | "how", "about", ..] | ["what", "if", ..] if lower.len() <= 6 => true,
        ["and" | "but" | "or" | "so" | "then" | "also", rest @ ..] => !is_whole(rest),
        _ => lower.len() <= 8 && lower.iter().any(|word| CONTINUATIONS.contains(word)) && !has_subject(lower),
    }
}

/// Whether it asks by itself: with a question word or a verb in front, and of something.
fn is_whole(words: &[&str]) -> bool {
    const OPENERS: [&str; 22] = [
        "who", "what", "when", "where", "why", "how", "which", "is", "are", "was", "were", "does", "do", "did", "can", "could", "will",
        "would", "should", "has", "have", "may",
    ];
    words.first().is_some_and(|first| OPENERS.contains(first)) && has_subject(words)
}

fn has_subject(words: &[&str]) -> bool {
    let content = words.iter().filter(|word| !is_common(word) && !is_attribute(word) && !CONTINUATIONS.contains(*word));
    // `write anything else`: a verb alone is no subject.
    let needed = if words.iter().any(|word| CONTINUATIONS.contains(word)) { 2 } else { 1 };
    content.count() >= needed
}

/// It asks for a time, a place or an attribute, and doesn't say of what.
fn is_elliptic(words: &[Word<'_>], is_question: bool) -> bool {
    const ASKING: [&str; 9] = ["who", "what", "when", "where", "why", "how", "which", "whom", "whose"];
    let asks = is_question || words.iter().any(|word| ASKING.contains(&word.lower.as_str()));
    let names_nothing = words.iter().all(|word| is_common(&word.lower) || is_attribute(&word.lower));
    !words.is_empty() && asks && words.len() <= 8 && names_nothing
}

fn is_attribute(word: &str) -> bool {
    ATTRIBUTES.contains(&format!(" {word} "))
}

fn is_content(word: &Word<'_>) -> bool {
    !is_common(&word.lower) && !["it", "that"].contains(&word.lower.as_str())
}

fn is_name(word: &str) -> bool {
    word.chars().next().is_some_and(|first| first.is_uppercase() || first.is_ascii_digit())
}

/// What a text is about: its words without those that every text has.
pub(super) fn content_words(text: &str) -> Vec<String> {
    let is_word = |word: &Word<'_>| is_content(word) && !word.text.chars().any(is_cjk) && !is_attribute_of_question(&word.lower);
    words(text).into_iter().filter(is_word).map(|word| word.text.to_owned()).collect()
}

/// `often` in a question is not what it is about.
fn is_attribute_of_question(word: &str) -> bool {
    [" often ", " long ", " much ", " else ", " please ", " tell ", " explain "].contains(&format!(" {word} ").as_str())
}

/// Capitalised words that don't begin a sentence, with the ones right before them.
pub(super) fn names(text: &str) -> Vec<String> {
    let words: Vec<(usize, &str)> = text.unicode_word_indices().collect();
    let mut found = Vec::new();
    for (place, (at, word)) in words.iter().enumerate() {
        let is_candidate = is_name(word) && word.chars().any(char::is_alphabetic) && !is_common(&word.to_lowercase());
        let next_is_name = words.get(place + 1).is_some_and(|(next, word)| {
            is_name(word) && word.chars().any(char::is_alphabetic) && text.get(*at..*next).is_some_and(|between| !between.contains('.'))
        });
        if is_candidate && (!begins_sentence(text, *at) || next_is_name) {
            found.push((*word).to_owned());
        }
    }
    found
}

fn begins_sentence(text: &str, at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default().trim_end_matches(|c: char| c.is_whitespace() || "\"'“‘(*#>-".contains(c));
    before.is_empty() || before.ends_with(['.', '!', '?', ']', ':', '。', '！', '？'])
}
