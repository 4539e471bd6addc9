//! Which language a text is in, and what follows from that: how its words are stemmed, and which of them
//! every text has.
//!
//! Chunks are long enough to be told apart by letter trigrams (Cavnar and Trenkle, 1994, as `whatlang` has it);
//! questions are not, so a question is read in every language that its collection holds.

use frostem::{Algorithm, Stemmer};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::LazyLock;
use tantivy::schema::Field;
use tantivy::tokenizer::{Language as Listed, RawTokenizer, StopWordFilter, TextAnalyzer, TokenStream};
use tantivy::{Searcher, TantivyError};
use whatlang::{Lang, Script};

/// A language whose stemmer is known. What is in none of them is treated as English, whose stemmer only
/// knows endings in a to z.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Language {
    /// ISO 639-3, as the index keeps it.
    pub(super) code: &'static str,
    detected: Lang,
    algorithm: Algorithm,
    /// Where there is a list of words that every text has.
    listed: Option<Listed>,
}

pub(super) const ENGLISH: Language = language("eng", Lang::Eng, Algorithm::English, None);

const fn language(code: &'static str, detected: Lang, algorithm: Algorithm, listed: Option<Listed>) -> Language {
    Language { code, detected, algorithm, listed }
}

const LANGUAGES: [Language; 18] = [
    ENGLISH,
    language("ara", Lang::Ara, Algorithm::Arabic, None),
    language("dan", Lang::Dan, Algorithm::Danish, Some(Listed::Danish)),
    language("nld", Lang::Nld, Algorithm::Dutch, Some(Listed::Dutch)),
    language("fin", Lang::Fin, Algorithm::Finnish, Some(Listed::Finnish)),
    language("fra", Lang::Fra, Algorithm::French, Some(Listed::French)),
    language("deu", Lang::Deu, Algorithm::German, Some(Listed::German)),
    language("ell", Lang::Ell, Algorithm::Greek, None),
    language("hun", Lang::Hun, Algorithm::Hungarian, Some(Listed::Hungarian)),
    language("ita", Lang::Ita, Algorithm::Italian, Some(Listed::Italian)),
    language("nob", Lang::Nob, Algorithm::Norwegian, Some(Listed::Norwegian)),
    language("por", Lang::Por, Algorithm::Portuguese, Some(Listed::Portuguese)),
    language("ron", Lang::Ron, Algorithm::Romanian, None),
    language("rus", Lang::Rus, Algorithm::Russian, Some(Listed::Russian)),
    language("spa", Lang::Spa, Algorithm::Spanish, Some(Listed::Spanish)),
    language("swe", Lang::Swe, Algorithm::Swedish, Some(Listed::Swedish)),
    language("tam", Lang::Tam, Algorithm::Tamil, None),
    language("tur", Lang::Tur, Algorithm::Turkish, None),
];

/// English words that every text and every question has, question words above all: in a collection they are rarer
/// than what is asked for, and would count as much.
const ENGLISH_COMMON: &str = "a about all also am an and any are as at be been being both but by can could did do does \
    doing done for from had has have having he her here hers him his how i if in into is it its me might more most much \
    many my no nor not of on or other our over own same she should so some such than that the their them then there these \
    they this those through to too under until up us very was we were what when where which while who whom whose why will \
    with would you your";

/// Words from which on the language of a text is believed.
const WORDS_MIN: usize = 5;

impl Language {
    /// The language of a text, English where that can't be told.
    pub(super) fn of(text: &str) -> Self {
        let Some(info) = whatlang::detect(text).filter(|_| text.split_whitespace().nth(WORDS_MIN).is_some()) else { return ENGLISH };
        let known = LANGUAGES.into_iter().find(|language| language.detected == info.lang());
        // Few languages share another script: there a doubtful guess is better than English.
        known.filter(|_| info.is_reliable() || info.script() != Script::Latin).unwrap_or(ENGLISH)
    }

    pub(super) fn of_code(code: &str) -> Option<Self> {
        LANGUAGES.into_iter().find(|language| language.code == code)
    }

    pub(super) fn stemmer(self) -> Stemmer {
        Stemmer::new(self.algorithm)
    }

    /// Tells whether a lower-case word is one that every text has.
    pub(super) fn common_words(self) -> CommonWords {
        // A clone shares the list.
        CommonWords { is_english: self == ENGLISH, filter: FILTERS.get(self.code).cloned() }
    }
}

static ENGLISH_COMMON_WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| ENGLISH_COMMON.split(' ').collect());

/// What leaves the common words of a language out, by its code.
static FILTERS: LazyLock<HashMap<&str, TextAnalyzer>> = LazyLock::new(|| {
    let filter = |language: Language| {
        let filter = language.listed.and_then(StopWordFilter::new)?;
        Some((language.code, TextAnalyzer::builder(RawTokenizer::default()).filter(filter).build()))
    };
    LANGUAGES.into_iter().filter_map(filter).collect()
});

/// The words of a language that every text has.
pub(super) struct CommonWords {
    is_english: bool,
    filter: Option<TextAnalyzer>,
}

impl CommonWords {
    pub(super) fn has(&mut self, word: &str) -> bool {
        if self.is_english {
            return ENGLISH_COMMON_WORDS.contains(word);
        }
        self.filter.as_mut().is_some_and(|filter| !filter.token_stream(word).advance())
    }
}

/// The languages that a collection is in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Languages {
    /// English in any case, which also stands for what is not known, then the commonest.
    pub(super) main: Vec<Language>,
    /// The others. What words are in them says nothing of the other rows.
    pub(super) rare: Vec<Language>,
}

/// Languages that count as a collection's own.
const MAIN_MAX: usize = 4;
/// A language that fewer of a hundred rows are in is none of them.
const MAIN_PERCENT_MIN: u64 = 2;

impl Default for Languages {
    fn default() -> Self {
        Self { main: vec![ENGLISH], rare: Vec::new() }
    }
}

impl Languages {
    /// By the field that holds the code of each row's language.
    pub(super) fn of(searcher: &Searcher, field: Field) -> Result<Self, TantivyError> {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for segment in searcher.segment_readers() {
            let index = segment.inverted_index(field)?;
            let mut terms = index.terms().stream()?;
            while terms.advance() {
                if let Some(language) = str::from_utf8(terms.key()).ok().and_then(Language::of_code) {
                    *counts.entry(language.code).or_default() += u64::from(terms.value().doc_freq);
                }
            }
        }
        let all: u64 = counts.values().sum();
        let mut counts: Vec<(u64, &str)> = counts.into_iter().map(|(code, rows)| (rows, code)).collect();
        counts.sort_by(|a, b| b.cmp(a));
        let mut languages = Self::default();
        for (rows, code) in counts {
            let is_main = rows * 100 >= all * MAIN_PERCENT_MIN && languages.main.len() < MAIN_MAX;
            let place = if is_main { &mut languages.main } else { &mut languages.rare };
            place.extend(Language::of_code(code).filter(|language| *language != ENGLISH));
        }
        Ok(languages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_told_apart_where_there_is_enough_to_tell() {
        for (code, text) in [
            ("eng", "The lighthouse keeper writes down the height of the tide every morning."),
            ("deu", "Der Leuchtturmwärter schreibt jeden Morgen die Höhe der Flut in sein Buch."),
            ("fra", "Le gardien du phare note chaque matin la hauteur de la marée dans son cahier."),
            ("rus", "Смотритель маяка каждое утро записывает высоту прилива в свою тетрадь."),
            ("eng", "灯塔看守人每天早上记录潮水的高度。"),
            ("eng", "Flut"),
            ("eng", ""),
        ] {
            assert_eq!(Language::of(text).code, code, "{text}");
        }
    }

    #[test]
    fn words_that_every_text_has_are_known_by_language() {
        let mut english = ENGLISH.common_words();
        assert!(english.has("what") && english.has("the") && !english.has("tide") && !english.has(""));
        let mut german = Language::of_code("deu").unwrap().common_words();
        assert!(german.has("welche") && german.has("und") && !german.has("flut"));
        assert!(!Language::of_code("tur").unwrap().common_words().has("ve"), "no list, no common words");
    }
}
