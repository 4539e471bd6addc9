//! Text to terms: one way for documents and queries, so that what is written alike is found.
//!
//! Rules: NFKC and lower case first. Runs of Han, kana and Hangul become overlapping pairs of
//! characters, a run of one that character: no dictionary to keep, and a pair is as selective in
//! those scripts as a word elsewhere. Other words are runs of letters, digits and combining
//! marks, with a closing `++` or `#` kept (C++, C#), cut at 64 bytes and stemmed as English;
//! the stemmer only knows endings in a to z, so that it leaves other scripts alone. There are no
//! stop words: BM25 weighs them down by itself.

use std::collections::HashMap;
use std::vec::IntoIter;
use tantivy::tokenizer::{Language, Stemmer, TextAnalyzer, Token, TokenStream, Tokenizer};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Changes whenever the same text would give other terms: an index made by another version is
/// not used.
pub(super) const VERSION: u32 = 1;

/// Longest term before stemming.
const TERM_BYTES_MAX: usize = 64;

/// The whole way from text to terms.
pub(super) fn analyzer() -> TextAnalyzer {
    TextAnalyzer::builder(Words).filter(Stemmer::new(Language::English)).build()
}

/// The first `max` distinct terms of a query, in order, and how often each occurs.
pub(super) fn query_terms(query: &str, max: usize) -> Vec<(String, u32)> {
    let mut analyzer = analyzer();
    let mut stream = analyzer.token_stream(query);
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut terms: Vec<(String, u32)> = Vec::new();
    while stream.advance() {
        let term = &stream.token().text;
        if let Some((_, count)) = places.get(term).and_then(|place| terms.get_mut(*place)) {
            *count += 1;
        } else if terms.len() < max {
            places.insert(term.clone(), terms.len());
            terms.push((term.clone(), 1));
        }
    }
    terms
}

/// Everything but stemming.
#[derive(Clone)]
struct Words;

impl Tokenizer for Words {
    type TokenStream<'a> = Terms;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Terms {
        Terms { rest: terms(text).into_iter(), token: Token::default() }
    }
}

/// The terms of one text. Offsets are not kept: citations come from the chunk, not from here.
struct Terms {
    rest: IntoIter<String>,
    token: Token,
}

impl TokenStream for Terms {
    fn advance(&mut self) -> bool {
        let Some(text) = self.rest.next() else { return false };
        self.token.text = text;
        self.token.position = self.token.position.wrapping_add(1);
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Written without spaces between words.
    Unspaced,
    Word,
    Gap,
}

fn terms(text: &str) -> Vec<String> {
    let text: String = text.nfkc().flat_map(char::to_lowercase).collect();
    let mut terms = Vec::new();
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let kind = kind_of(first);
        let end = rest.find(|c| kind_of(c) != kind).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        rest = after;
        match kind {
            Kind::Unspaced => push_pairs(run, &mut terms),
            Kind::Word => push_word(run, &mut rest, &mut terms),
            Kind::Gap => {}
        }
    }
    terms
}

fn push_pairs(run: &str, terms: &mut Vec<String>) {
    let starts: Vec<usize> = run.char_indices().map(|(at, _)| at).chain([run.len()]).collect();
    if let [start, end] = starts.as_slice() {
        terms.extend(run.get(*start..*end).map(str::to_owned));
    }
    terms.extend(starts.windows(3).filter_map(|pair| Some(run.get(*pair.first()?..*pair.last()?)?.to_owned())));
}

fn push_word(word: &str, rest: &mut &str, terms: &mut Vec<String>) {
    let mut term = word.get(..word.floor_char_boundary(TERM_BYTES_MAX)).unwrap_or_default().to_owned();
    for mark in ["++", "#"] {
        if let Some(after) = rest.strip_prefix(mark)
            && after.chars().next().is_none_or(|next| kind_of(next) == Kind::Gap)
        {
            term.push_str(mark);
            *rest = after;
        }
    }
    terms.push(term);
}

fn kind_of(c: char) -> Kind {
    if is_unspaced(c) {
        Kind::Unspaced
    } else if c.is_alphanumeric() || is_combining_mark(c) {
        Kind::Word
    } else {
        Kind::Gap
    }
}

/// Han, hiragana, katakana and Hangul, with their iteration and length marks.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{1100}'..='\u{11ff}' | '\u{3005}'..='\u{3007}' | '\u{3041}'..='\u{309f}' | '\u{30a1}'..='\u{30fa}'
        | '\u{30fc}'..='\u{30ff}' | '\u{3131}'..='\u{318e}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str) -> Vec<String> {
        query_terms(text, usize::MAX).into_iter().map(|(term, _)| term).collect()
    }

    #[test]
    fn english_words_lose_case_and_endings() {
        assert_eq!(terms("Running RUNS, the runner's flies!"), ["run", "the", "runner", "s", "fli"]);
        assert_eq!(terms("C++ and C# but not a+b or #tag"), ["c++", "and", "c#", "but", "not", "a", "b", "or", "tag"]);
    }

    #[test]
    fn unspaced_scripts_become_pairs() {
        assert_eq!(terms("水平面"), ["水平", "平面"]);
        assert_eq!(terms("水。火"), ["水", "火"]);
        assert_eq!(terms("データ"), ["デー", "ータ"]);
        assert_eq!(terms("검색 엔진"), ["검색", "엔진"]);
        assert_eq!(terms("失去308分 NFL𠀀𠀁"), ["失去", "308", "分", "nfl", "𠀀𠀁"]);
    }

    #[test]
    fn compatible_forms_are_one() {
        assert_eq!(terms("ＦＵＬＬ ﬁle ﾃﾞｰﾀ"), ["full", "file", "デー", "ータ"]);
        assert_eq!(terms("cafe\u{301}"), terms("CAFÉ"));
        assert_eq!(terms("हिन्दी"), ["हिन्दी"]);
    }

    #[test]
    fn long_words_are_cut_between_characters_and_terms_are_bounded() {
        assert_eq!(terms(&"x".repeat(100)), ["x".repeat(64)]);
        assert_eq!(terms(&"é".repeat(100)), ["é".repeat(32)]);
        assert_eq!(terms(&format!("a{}", "é".repeat(100)))[0].len(), 63);
        let many: String = (0..500).map(|n| format!("w{n} ")).collect();
        assert_eq!(query_terms(&many, 256).len(), 256);
        assert_eq!(query_terms("a b a a c", 2), [("a".to_owned(), 3), ("b".to_owned(), 1)]);
        assert!(terms("?! … — \u{0}\u{200b}").is_empty());
    }
}
