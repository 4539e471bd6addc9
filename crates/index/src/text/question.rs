//! What a query asks of the words: what is looked up, what counts how much, and what must or must not stand there.
//!
//! A query is never an error: what is no sign of this little language is text.
//! - `"a few words"` (also “…” and 「…」): they stand side by side. Required, unless the query is prose (a question, or
//!   many words) or no row has them; then rows that have them score higher.
//! - `-word` and `-"a few words"`: no row that has them. Prose has no such signs.
//! - Words that every text of a language has, question words among them, count a third; single characters of scripts
//!   without spaces a half; question words of Chinese and Japanese are cut out.

use super::analyzer::{Kind, Term, terms};
use super::language::{CommonWords, Language};
use frostem::Stemmer;
use std::collections::HashMap;

/// What a common word counts. Tuned on the development sets (`BENCHMARKS.md`): anything from a quarter to a half does as well.
const COMMON_WEIGHT: f32 = 0.3;
/// What one character out of a longer run counts, beside the pairs that hold it.
const SINGLE_WEIGHT: f32 = 0.5;

/// Words of questions in scripts without spaces, and particles that stand everywhere. Longer ones first.
const ASKING: [&str; 54] = [
    "ですか",
    "ますか",
    "どのように",
    "について",
    "とは",
    "为什么",
    "為什麼",
    "是什么",
    "是什麼",
    "有什么",
    "有什麼",
    "什么样",
    "什麼樣",
    "怎么样",
    "怎麼樣",
    "哪一个",
    "哪一個",
    "什么",
    "什麼",
    "哪一",
    "哪个",
    "哪個",
    "哪些",
    "哪里",
    "哪裡",
    "哪裏",
    "哪儿",
    "哪兒",
    "多少",
    "几个",
    "幾個",
    "多久",
    "怎么",
    "怎麼",
    "怎样",
    "怎樣",
    "如何",
    "是否",
    "何时",
    "何時",
    "何地",
    "何种",
    "何種",
    "是谁",
    "是誰",
    "请问",
    "請問",
    "谁",
    "誰",
    "吗",
    "嗎",
    "呢",
    "的",
    "了",
];

/// English words that a question begins with.
const QUESTION_STARTS: [&str; 22] = [
    "what", "who", "whom", "whose", "when", "where", "which", "why", "how", "is", "are", "was", "were", "do", "does", "did", "can",
    "could", "should", "will", "would", "has",
];

/// Terms of which any counts as the same word.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    /// The word's stems in the languages of the collection, each once.
    pub(super) terms: Vec<String>,
    /// How much it counts, all its repetitions together.
    pub(super) weight: f32,
}

/// Terms with their places relative to one another.
pub(super) type Phrase = Vec<(usize, Term)>;

/// A query, taken apart.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Question {
    /// What rows are scored by.
    pub(super) groups: Vec<Group>,
    /// What stands in quotation marks.
    pub(super) phrases: Vec<Phrase>,
    /// Whether rows without them are no hits.
    pub(super) requires_phrases: bool,
    /// What hits do not have.
    pub(super) excluded: Vec<Phrase>,
}

impl Question {
    /// Reads a query, in all `languages`; groups beyond the first `groups_max` are left out.
    pub(super) fn read(query: &str, languages: &[Language], groups_max: usize) -> Self {
        let requires_phrases = !is_prose(query);
        let pieces = pieces(query, requires_phrases);
        let of = |wanted: fn(&Piece<'_>) -> bool| -> Vec<Phrase> {
            pieces.iter().filter(|piece| wanted(piece)).filter_map(|piece| phrase(piece.text)).collect()
        };
        let phrases = of(|piece| piece.is_quoted && !piece.is_excluded);
        let excluded = of(|piece| piece.is_excluded);
        let mut readers: Vec<Reader> = languages.iter().map(|language| Reader::new(*language)).collect();
        let asked = pieces.iter().filter(|piece| !piece.is_excluded);
        let texts: Vec<String> =
            asked.map(|piece| if piece.is_quoted { piece.text.to_owned() } else { without_asking(piece.text) }).collect();
        let mut groups = groups(&texts.join("\n"), &mut readers, groups_max);
        if groups.is_empty() && excluded.is_empty() {
            groups = self::groups(query, &mut readers, groups_max);
        }
        Self { groups, phrases, requires_phrases, excluded }
    }
}

/// A part of a query.
struct Piece<'q> {
    text: &'q str,
    is_quoted: bool,
    is_excluded: bool,
}

const QUOTES: [(char, char); 3] = [('"', '"'), ('“', '”'), ('「', '」')];

/// Words outside of quotation marks from which on a query is prose.
const PROSE_WORDS_MIN: usize = 9;

/// Whether a query is a question or a description in a natural language rather than words to look for: prose quotes
/// names and has dashes.
fn is_prose(query: &str) -> bool {
    let query = query.trim();
    let first: String = query.chars().take_while(|c| c.is_alphabetic()).flat_map(char::to_lowercase).collect();
    let plain = pieces(query, false).into_iter().filter(|piece| !piece.is_quoted);
    let words = plain.flat_map(|piece| terms(piece.text)).filter(|term| matches!(term.kind, Kind::Word | Kind::Unspaced)).count();
    query.ends_with(['?', '？']) || QUESTION_STARTS.contains(&first.as_str()) || words >= PROSE_WORDS_MIN
}

fn pieces(query: &str, with_exclusions: bool) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = query;
    let mut plain_from = 0;
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        let at = query.len() - rest.len();
        let is_excluded = with_exclusions && c == '-' && before.is_whitespace();
        let marked = if is_excluded { rest.get(1..).unwrap_or_default() } else { rest };
        let found = quoted(marked).or_else(|| if is_excluded { excluded_word(marked) } else { None });
        if let Some((text, after)) = found {
            pieces.push(Piece { text: query.get(plain_from..at).unwrap_or_default(), is_quoted: false, is_excluded: false });
            pieces.push(Piece { text, is_quoted: true, is_excluded });
            plain_from = query.len() - after.len();
            (rest, before) = (after, ' ');
        } else {
            (rest, before) = (rest.get(c.len_utf8()..).unwrap_or_default(), c);
        }
    }
    pieces.push(Piece { text: query.get(plain_from..).unwrap_or_default(), is_quoted: false, is_excluded: false });
    pieces
}

/// What stands in quotation marks at the start, and what follows them.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let (_, close) = QUOTES.into_iter().find(|(open, _)| text.starts_with(*open))?;
    let inside = text.get(text.chars().next()?.len_utf8()..)?;
    inside.split_once(close).filter(|(inside, _)| inside.chars().any(char::is_alphanumeric))
}

/// A word that begins with a letter: `-5` is a number.
fn excluded_word(text: &str) -> Option<(&str, &str)> {
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    text.chars().next().filter(|c| c.is_alphabetic())?;
    Some(text.split_at(end))
}

/// The words of a text, in order, without what only adds to them.
pub(super) fn phrase(text: &str) -> Option<Phrase> {
    let terms = terms(text).into_iter().filter(|term| matches!(term.kind, Kind::Word | Kind::Unspaced));
    let terms: Phrase = terms.map(|term| (term.position, term)).collect();
    (!terms.is_empty()).then_some(terms)
}

fn without_asking(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    ASKING.iter().fold(text.to_owned(), |text, asking| if text.contains(asking) { text.replace(asking, " ") } else { text })
}

/// One language that a question is read in.
struct Reader {
    stemmer: Stemmer,
    common: CommonWords,
}

impl Reader {
    fn new(language: Language) -> Self {
        Self { stemmer: language.stemmer(), common: language.common_words() }
    }
}

/// A term as one word, counting once.
pub(super) fn group(term: &Term, stemmers: &[Stemmer]) -> Group {
    Group { terms: stems(term, stemmers.iter()), weight: 1.0 }
}

fn stems<'s>(term: &Term, stemmers: impl Iterator<Item = &'s Stemmer>) -> Vec<String> {
    let mut stems: Vec<String> = Vec::new();
    for stem in stemmers.map(|stemmer| term.stemmed(stemmer)) {
        if !stems.contains(&stem) {
            stems.push(stem);
        }
    }
    stems
}

fn groups(text: &str, readers: &mut [Reader], groups_max: usize) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places = HashMap::new();
    for term in terms(text) {
        let stems = stems(&term, readers.iter().map(|reader| &reader.stemmer));
        let weight = weight(&term, readers);
        let place = *places.entry((term.kind == Kind::Part, stems.clone())).or_insert(groups.len());
        if let Some(group) = groups.get_mut(place) {
            group.weight += weight;
        } else if groups.len() < groups_max {
            groups.push(Group { terms: stems, weight });
        }
    }
    groups
}

fn weight(term: &Term, readers: &mut [Reader]) -> f32 {
    match term.kind {
        Kind::Single => SINGLE_WEIGHT,
        Kind::Word if readers.iter_mut().any(|reader| reader.common.has(&term.text)) => COMMON_WEIGHT,
        Kind::Word | Kind::Part | Kind::Joined | Kind::Unspaced => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::language::ENGLISH;

    fn read(query: &str) -> Question {
        Question::read(query, &[ENGLISH], 256)
    }

    fn weights(query: &str) -> Vec<(String, f32)> {
        read(query).groups.into_iter().map(|group| (group.terms.join("|"), group.weight)).collect()
    }

    fn phrases(phrases: &[Phrase]) -> Vec<String> {
        phrases.iter().map(|phrase| phrase.iter().map(|(_, term)| term.text.as_str()).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn common_words_count_less_and_repeated_ones_more() {
        assert_eq!(
            weights("What is the tide, the tide?"),
            [("what".to_owned(), 0.3), ("is".to_owned(), 0.3), ("the".to_owned(), 0.6), ("tide".to_owned(), 2.0)]
        );
        assert_eq!(read(&(0..500).map(|n| format!("w{n} ")).collect::<String>()).groups.len(), 256);
    }

    #[test]
    fn chinese_questions_lose_their_question_words() {
        let terms: Vec<String> = weights("灯塔是什么？").into_iter().map(|(term, _)| term).collect();
        assert_eq!(terms, ["灯", "灯塔", "塔"]);
        assert!(!weights("什么").is_empty(), "nothing else is asked");
    }

    #[test]
    fn quotes_and_minus_are_signs_where_nothing_is_asked() {
        let read = read("tide \"neap tide\" -moon -\"full moon\" co-op -5 “spring tide” 「潮汐表」");
        assert_eq!(phrases(&read.phrases), ["neap tide", "spring tide", "潮汐 汐表"]);
        assert_eq!(phrases(&read.excluded), ["moon", "full moon"]);
        assert!(read.requires_phrases && read.groups.iter().all(|group| group.terms != ["moon"]));
        assert!(read.groups.iter().any(|group| group.terms == ["5"]) && read.groups.iter().any(|group| group.terms == ["co"]));
        let asked = super::tests::read("What is \"neap tide\" -moon?");
        assert!(!asked.requires_phrases && asked.excluded.is_empty() && phrases(&asked.phrases) == ["neap tide"]);
        assert!(asked.groups.iter().any(|group| group.terms == ["moon"]));
    }

    #[test]
    fn prose_has_no_signs() {
        for prose in ["Who is \"X\"", "a \"b\"?", "studies of \"relevance\" as users of libraries judge it in their daily work"] {
            assert!(!read(prose).requires_phrases, "{prose}");
        }
        assert!(read("studies of \"relevance judgements of many users in their daily work with catalogues\"").requires_phrases);
    }

    #[test]
    fn whatever_is_written_is_read() {
        for (query, groups) in [("\"", 0), ("\"\"", 0), ("-", 0), ("- x", 1), ("\"open", 1), ("-\"", 0), ("“a", 1), ("-x", 0)] {
            assert_eq!(read(query).groups.len(), groups, "{query}");
        }
    }

    #[test]
    fn a_word_is_looked_up_in_every_language_of_the_collection() {
        let german = Language::of_code("deu").unwrap();
        let groups = Question::read("leuchttürme", &[ENGLISH, german], 256).groups;
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].terms, ["leuchttürm", "leuchtturm"]);
    }
}
