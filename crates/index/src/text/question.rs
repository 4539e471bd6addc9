//! What a query asks of the words: what is looked up, what counts how much, and what must or must not stand there.
//!
//! A query is never an error: what is no sign of this little language is text.
//! - `"a few words"` (also “…” and 「…」): they stand side by side. Required, unless the query is prose (a question, or
//!   many words) or no row has them; then rows that have them score higher.
//! - `-word` and `-"a few words"`: no row that has them, unless every row does. Prose has no such signs, and neither are
//!   words that every text has nor what looks like an option of a command (`-it`, `-xzf`).
//! - Words that every text of a language has, question words among them, count a third; single characters of scripts
//!   without spaces a half; question words of Chinese and Japanese are cut out.

use super::QUERY_TERMS_MAX;
use super::analyzer::{Kind, Term, is_unspaced, terms};
use super::language::{CommonWords, Languages};
use frostem::Stemmer;
use std::collections::HashMap;

/// What a common word counts. Tuned on the development sets (`BENCHMARKS.md`): anything from a quarter to a half does as well.
const COMMON_WEIGHT: f32 = 0.3;
/// What one character out of a longer run counts, beside the pairs that hold it.
const SINGLE_WEIGHT: f32 = 0.5;

/// Words of questions in scripts without spaces, and particles that stand everywhere. Longer ones first.
const ASKING: [&str; 51] = [
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
    "的",
    "了",
];
/// What asks at the end of a sentence only: 吗啡 is a drug.
const ASKING_LAST: [char; 3] = ['吗', '嗎', '呢'];
/// Words that hold a particle and are none.
const NOT_ASKING: [&str; 5] = ["目的地", "了解", "了结", "了結", "了不起"];

/// English words that a question begins with.
const QUESTION_STARTS: [&str; 22] = [
    "what", "who", "whom", "whose", "when", "where", "which", "why", "how", "is", "are", "was", "were", "do", "does", "did", "can",
    "could", "should", "will", "would", "has",
];

/// Phrases that are looked for, and as many that are excluded; the others are words.
const PHRASES_MAX: usize = 16;
/// Words of a phrase, the first ones, that must stand side by side.
const PHRASE_TERMS_MAX: usize = 32;

/// How a word is written in the index.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Stem {
    pub(super) text: String,
    /// The code of the language whose rows it counts in; `None`: in all.
    pub(super) only_in: Option<&'static str>,
}

/// Stems of which any counts as the same word.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    /// The word's stems in the languages of the collection, each once.
    pub(super) stems: Vec<Stem>,
    /// How much it counts, all its repetitions together.
    pub(super) weight: f32,
}

/// Words that stand side by side.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Phrase {
    /// Each counting once.
    pub(super) words: Vec<Group>,
    /// What they are in the languages of the collection, each once.
    pub(super) forms: Vec<Form>,
}

/// A phrase in one language.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Form {
    /// With their places relative to one another.
    pub(super) stems: Vec<(usize, String)>,
    /// As in [`Stem`].
    pub(super) only_in: Option<&'static str>,
}

/// A query, taken apart for one collection ([`TextIndex::question`](super::TextIndex::question)): once a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    text: String,
    /// What rows are scored by.
    pub(super) groups: Vec<Group>,
    /// What stands in quotation marks.
    pub(super) phrases: Vec<Phrase>,
    /// Whether rows without them are no hits.
    pub(super) requires_phrases: bool,
    /// What hits do not have.
    pub(super) excluded: Vec<Phrase>,
}

/// As a collection in English reads it.
impl From<&str> for Question {
    fn from(query: &str) -> Self {
        Self::read(query, &Languages::default())
    }
}

impl Question {
    /// Reads a query. Words beyond the first [`QUERY_TERMS_MAX`] distinct ones are left out.
    pub(super) fn read(query: &str, languages: &Languages) -> Self {
        let mut reader = Reader::new(languages);
        let requires_phrases = !is_prose(query);
        let mut is_excludable = |word: &str| !is_option(word) && !reader.is_common(&word.to_lowercase());
        let pieces = pieces(query, if requires_phrases { Some(&mut is_excludable) } else { None });
        let phrases = reader.phrases(pieces.iter().filter(|piece| piece.is_quoted && !piece.is_excluded));
        let excluded = reader.phrases(pieces.iter().filter(|piece| piece.is_excluded));
        let asked = pieces.iter().filter(|piece| !piece.is_excluded);
        let texts: Vec<String> =
            asked.map(|piece| if piece.is_quoted { piece.text.to_owned() } else { without_asking(piece.text) }).collect();
        let mut groups = reader.groups(&texts.join("\n"));
        if groups.is_empty() && excluded.is_empty() {
            groups = reader.groups(query);
        }
        Self { text: query.to_owned(), groups, phrases, requires_phrases, excluded }
    }

    /// The query as it was asked.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A part of a query.
struct Piece<'q> {
    text: &'q str,
    is_quoted: bool,
    is_excluded: bool,
}

const QUOTES: [(char, char); 3] = [('"', '"'), ('“', '”'), ('「', '」')];

/// Letters that options of commands have at most behind a minus.
const OPTION_LETTERS_MAX: usize = 3;

/// Words outside of quotation marks from which on a query is prose.
const PROSE_WORDS_MIN: usize = 9;

/// Whether a query is a question or a description in a natural language rather than words to look for: prose quotes
/// names and has dashes.
fn is_prose(query: &str) -> bool {
    let query = query.trim();
    let first: String = query.chars().take_while(|c| c.is_alphabetic()).flat_map(char::to_lowercase).collect();
    let plain = pieces(query, None).into_iter().filter(|piece| !piece.is_quoted);
    let words = plain.flat_map(|piece| terms(piece.text)).filter(|term| matches!(term.kind, Kind::Word | Kind::Unspaced)).count();
    query.ends_with(['?', '？']) || QUESTION_STARTS.contains(&first.as_str()) || words >= PROSE_WORDS_MIN
}

/// `is_excludable` tells whether a minus in front of a word is a sign; `None`: none ever is.
fn pieces<'q>(query: &'q str, mut is_excludable: Option<&mut dyn FnMut(&str) -> bool>) -> Vec<Piece<'q>> {
    let mut pieces = Vec::new();
    let mut rest = query;
    let mut plain_from = 0;
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        let at = query.len() - rest.len();
        let mut found = if may_open(c, before) { quoted(rest) } else { None };
        let mut is_excluded = false;
        if let Some(is_excludable) = is_excludable.as_mut().filter(|_| c == '-' && before.is_whitespace()) {
            let marked = rest.get(1..).unwrap_or_default();
            found = quoted(marked).or_else(|| excluded_word(marked).filter(|(word, _)| is_excludable(word)));
            is_excluded = found.is_some();
        }
        if let Some((text, after)) = found {
            pieces.push(Piece { text: query.get(plain_from..at).unwrap_or_default(), is_quoted: false, is_excluded: false });
            pieces.push(Piece { text, is_quoted: true, is_excluded });
            plain_from = query.len() - after.len();
            rest = after;
            before = query.get(..plain_from).and_then(|read| read.chars().next_back()).unwrap_or(' ');
        } else {
            (rest, before) = (rest.get(c.len_utf8()..).unwrap_or_default(), c);
        }
    }
    pieces.push(Piece { text: query.get(plain_from..).unwrap_or_default(), is_quoted: false, is_excluded: false });
    pieces
}

/// Whether a quotation mark behind `before` may open: `19"` is a measure.
fn may_open(mark: char, before: char) -> bool {
    mark != '"' || !before.is_alphanumeric() || is_unspaced(before)
}

/// Whether a word behind a minus is an option of a command.
fn is_option(word: &str) -> bool {
    word.len() <= OPTION_LETTERS_MAX && word.chars().all(|c| c.is_ascii_alphabetic())
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

fn without_asking(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    let mut left = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let kept = NOT_ASKING.iter().find(|word| rest.starts_with(**word));
        let cut = ASKING.iter().find(|word| rest.starts_with(**word)).filter(|_| kept.is_none());
        let (head, tail) = rest.split_at(kept.or(cut).map_or(c.len_utf8(), |word| word.len()));
        let asks_last = ASKING_LAST.contains(&c) && !tail.starts_with(is_unspaced);
        left.push_str(if cut.is_some() || asks_last { " " } else { head });
        rest = tail;
    }
    left
}

/// Reads words in the languages of a collection.
pub(super) struct Reader {
    main: Vec<Stemmer>,
    rare: Vec<(Stemmer, &'static str)>,
    common: Vec<CommonWords>,
}

impl Reader {
    pub(super) fn new(languages: &Languages) -> Self {
        Self {
            main: languages.main.iter().map(|language| language.stemmer()).collect(),
            rare: languages.rare.iter().map(|language| (language.stemmer(), language.code)).collect(),
            common: languages.main.iter().map(|language| language.common_words()).collect(),
        }
    }

    fn is_common(&mut self, word: &str) -> bool {
        self.common.iter_mut().any(|common| common.has(word))
    }

    /// The words of a text, in order, without what only adds to them.
    pub(super) fn words(&self, text: &str) -> Vec<Group> {
        main_terms(text).iter().map(|term| Group { stems: self.stems(term), weight: 1.0 }).collect()
    }

    fn stems(&self, term: &Term) -> Vec<Stem> {
        let mut stems: Vec<Stem> = Vec::new();
        for (stemmer, only_in) in self.stemmers() {
            let text = term.stemmed(stemmer);
            if stems.iter().all(|stem| stem.text != text || (stem.only_in.is_some() && stem.only_in != only_in)) {
                stems.push(Stem { text, only_in });
            }
        }
        stems
    }

    /// With the language whose rows they are for, those for all rows first.
    fn stemmers(&self) -> impl Iterator<Item = (&Stemmer, Option<&'static str>)> {
        self.main.iter().map(|stemmer| (stemmer, None)).chain(self.rare.iter().map(|(stemmer, code)| (stemmer, Some(*code))))
    }

    fn phrases<'p, 'q: 'p>(&self, pieces: impl Iterator<Item = &'p Piece<'q>>) -> Vec<Phrase> {
        let mut phrases: Vec<Phrase> = Vec::new();
        for phrase in pieces.filter_map(|piece| self.phrase(piece.text)) {
            if phrases.len() < PHRASES_MAX && !phrases.contains(&phrase) {
                phrases.push(phrase);
            }
        }
        phrases
    }

    fn phrase(&self, text: &str) -> Option<Phrase> {
        let terms = main_terms(text);
        let mut forms: Vec<Form> = Vec::new();
        for (stemmer, only_in) in self.stemmers() {
            let stems: Vec<_> = terms.iter().take(PHRASE_TERMS_MAX).map(|term| (term.position, term.stemmed(stemmer))).collect();
            if forms.iter().all(|form| form.stems != stems || (form.only_in.is_some() && form.only_in != only_in)) {
                forms.push(Form { stems, only_in });
            }
        }
        let words = terms.iter().take(PHRASE_TERMS_MAX).map(|term| Group { stems: self.stems(term), weight: 1.0 });
        (!terms.is_empty()).then(|| Phrase { words: words.collect(), forms })
    }

    fn groups(&mut self, text: &str) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut places = HashMap::new();
        for term in terms(text) {
            let stems = self.stems(&term);
            let weight = self.weight(&term);
            let place = *places.entry(stems.clone()).or_insert(groups.len());
            if let Some(group) = groups.get_mut(place) {
                group.weight += weight;
            } else if groups.len() < QUERY_TERMS_MAX {
                groups.push(Group { stems, weight });
            }
        }
        groups
    }

    fn weight(&mut self, term: &Term) -> f32 {
        match term.kind {
            Kind::Single => SINGLE_WEIGHT,
            Kind::Word if self.is_common(&term.text) => COMMON_WEIGHT,
            Kind::Word | Kind::Part | Kind::Joined | Kind::Unspaced => 1.0,
        }
    }
}

/// Terms without those that only add to them.
fn main_terms(text: &str) -> Vec<Term> {
    terms(text).into_iter().filter(|term| matches!(term.kind, Kind::Word | Kind::Unspaced)).take(QUERY_TERMS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::language::{ENGLISH, Language};

    fn read(query: &str) -> Question {
        Question::from(query)
    }

    fn stems(group: &Group) -> Vec<&str> {
        group.stems.iter().map(|stem| stem.text.as_str()).collect()
    }

    fn weights(query: &str) -> Vec<(String, f32)> {
        read(query).groups.iter().map(|group| (stems(group).join("|"), group.weight)).collect()
    }

    /// In English.
    fn phrases(phrases: &[Phrase]) -> Vec<String> {
        let words = |form: &Form| form.stems.iter().map(|(_, stem)| stem.as_str()).collect::<Vec<_>>().join(" ");
        phrases.iter().map(|phrase| words(&phrase.forms[0])).collect()
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
    fn particles_are_cut_out_and_words_that_hold_one_are_not() {
        for (query, left) in [
            ("吗啡是什么", "吗啡 "),
            ("了解灯塔的高度吗？", "了解灯塔 高度 ？"),
            ("旅行的目的地呢", "旅行 目的地 "),
            ("灯塔亮了多久", "灯塔亮  "),
        ] {
            assert_eq!(without_asking(query), left, "{query}");
        }
    }

    #[test]
    fn quotes_and_minus_are_signs_where_nothing_is_asked() {
        let read = read("tide \"neap tide\" -moon -\"full moon\" co-op -5 “spring tide” 「潮汐表」");
        assert_eq!(phrases(&read.phrases), ["neap tide", "spring tide", "潮汐 汐表"]);
        assert_eq!(phrases(&read.excluded), ["moon", "full moon"]);
        assert!(read.requires_phrases && read.groups.iter().all(|group| stems(group) != ["moon"]));
        assert!(read.groups.iter().any(|group| stems(group) == ["5"]) && read.groups.iter().any(|group| stems(group) == ["co"]));
        let asked = super::tests::read("What is \"neap tide\" -moon?");
        assert!(!asked.requires_phrases && asked.excluded.is_empty() && phrases(&asked.phrases) == ["neap tide"]);
        assert!(asked.groups.iter().any(|group| stems(group) == ["moon"]));
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
        for (query, groups) in [("\"", 0), ("\"\"", 0), ("-", 0), ("- x", 1), ("\"open", 1), ("-\"", 0), ("“a", 1), ("-x", 1), ("-moon", 0)]
        {
            assert_eq!(read(query).groups.len(), groups, "{query}");
        }
    }

    #[test]
    fn a_word_is_looked_up_in_every_language_of_the_collection() {
        let [german, italian] = ["deu", "ita"].map(|code| Language::of_code(code).unwrap());
        let groups = Question::read("leuchttürme", &Languages { main: vec![ENGLISH, german], rare: vec![italian] }).groups;
        assert_eq!(groups.len(), 1);
        let stem = |text: &str, only_in| Stem { text: text.to_owned(), only_in };
        assert_eq!(groups[0].stems, [stem("leuchttürm", None), stem("leuchtturm", None)], "the Italian stem is one of these");
        let groups = Question::read("made", &Languages { main: vec![ENGLISH], rare: vec![italian] }).groups;
        assert_eq!(groups[0].stems, [stem("made", None), stem("mad", Some("ita"))]);
    }

    #[test]
    fn options_of_commands_and_common_words_are_not_excluded() {
        for command in ["docker run -it ubuntu", "tar -xzf archive", "ls -a", "cat -What", "tide -the"] {
            assert!(read(command).excluded.is_empty(), "{command}");
        }
        assert!(read("docker run -it").groups.iter().any(|group| stems(group) == ["it"]));
        assert_eq!(phrases(&read("tide -\"it\" -c++ -moon").excluded), ["it", "c++", "moon"]);
    }

    #[test]
    fn measures_and_hyphens_behind_quotes_are_no_signs() {
        let rack = read("12\" rack 19\" depth");
        assert!(rack.phrases.is_empty() && rack.groups.iter().any(|group| stems(group) == ["rack"]));
        let state = read("\"state\"-of-the-art parsers");
        assert!(state.excluded.is_empty() && phrases(&state.phrases) == ["state"]);
        assert_eq!(phrases(&read("港口\"潮汐表\"").phrases), ["潮汐 汐表"]);
    }

    #[test]
    fn phrases_are_few_short_and_different() {
        let many: String = (0..500).map(|n| format!("\"neap tide\" \"neap tides\" \"w{n} x\" -\"y{n} z\" ")).collect();
        let question = read(&many);
        assert_eq!((question.phrases.len(), question.excluded.len()), (PHRASES_MAX, PHRASES_MAX));
        assert_eq!(phrases(&question.phrases)[..2], ["neap tide", "w0 x"]);
        let long = read(&format!("\"{}\"", "word ".repeat(500)));
        assert_eq!((long.phrases[0].words.len(), long.phrases[0].forms[0].stems.len()), (PHRASE_TERMS_MAX, PHRASE_TERMS_MAX));
    }

    #[test]
    fn a_part_of_a_word_and_the_same_word_are_one_group() {
        assert_eq!(weights("HttpClient http").into_iter().find(|(term, _)| term == "http"), Some(("http".to_owned(), 2.0)));
    }
}
