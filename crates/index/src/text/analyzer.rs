//! Text to terms: one way for documents and queries, so that what is written alike is found.
//!
//! Rules: NFKC first, then lower case. Words are runs of letters, digits and combining marks, with a closing `++` or
//! `#` kept (C++, C#), cut at 64 bytes and stemmed by their language. What is joined without spaces and is no plain
//! prose (`parse_query`, `std::fs`, `covid-19`, `example.com`) is a term as a whole too, and `HttpClient` also its
//! parts. Runs of Han, kana and Hangul become overlapping pairs of characters and, counting less in a question, single
//! ones; no dictionary, because words out of one found nothing that these did not (BENCHMARKS.md). There are no stop
//! words: what every text has is told apart in questions only.

use frostem::Stemmer;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Changes whenever the same text would give other terms: an index made by another version is
/// not used.
pub(super) const VERSION: u32 = 2;

/// Longest term before stemming.
const TERM_BYTES_MAX: usize = 64;

/// What a term is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A word, not stemmed yet.
    Word,
    /// A part of a word whose letters change from small to large.
    Part,
    /// Words with what joins them.
    Joined,
    /// Two characters of a script without spaces, or one that stands alone.
    Unspaced,
    /// One character out of a longer run of such a script.
    Single,
}

/// A term and where it stands, counted in words or unspaced characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) text: String,
    pub(super) position: usize,
    pub(super) kind: Kind,
}

impl Term {
    /// As it is looked up in a language.
    pub(super) fn stemmed(&self, stemmer: &Stemmer) -> String {
        match self.kind {
            Kind::Word | Kind::Part => stemmer.stem(&self.text).into_owned(),
            Kind::Joined | Kind::Unspaced | Kind::Single => self.text.clone(),
        }
    }
}

/// The terms of a text, in order.
pub(super) fn terms(text: &str) -> Vec<Term> {
    let text: String = text.nfkc().collect();
    let mut terms = Terms { found: Vec::new(), position: 0 };
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let class = class_of(first);
        let (run, after) = rest.split_at(rest.find(|c| class_of(c) != class).unwrap_or(rest.len()));
        rest = match class {
            Class::Unspaced => terms.unspaced(run, after),
            Class::Word => terms.words(rest, after),
            Class::Gap => after,
        };
    }
    terms.found
}

struct Terms {
    found: Vec<Term>,
    position: usize,
}

impl Terms {
    fn push(&mut self, text: String, position: usize, kind: Kind) {
        self.found.push(Term { text, position, kind });
    }

    fn unspaced<'t>(&mut self, run: &str, after: &'t str) -> &'t str {
        let starts: Vec<usize> = run.char_indices().map(|(at, _)| at).chain([run.len()]).collect();
        let is_long = starts.len() > 2;
        for (at, window) in starts.windows(2).enumerate() {
            let (Some(start), Some(end)) = (window.first(), window.last()) else { continue };
            let kind = if is_long { Kind::Single } else { Kind::Unspaced };
            self.push(run.get(*start..*end).unwrap_or_default().to_owned(), self.position + at, kind);
            if let Some(pair) = starts.get(at + 2).and_then(|end| run.get(*start..*end)) {
                self.push(pair.to_owned(), self.position + at, Kind::Unspaced);
            }
        }
        self.position += starts.len() - 1;
        after
    }

    /// A word, or words joined without spaces: as long as a joint is followed by another word. `after` ends `from`.
    fn words<'t>(&mut self, from: &'t str, mut after: &'t str) -> &'t str {
        let first = self.position;
        let until = |after: &str| from.get(..from.len() - after.len()).unwrap_or_default();
        let mut word = until(after);
        self.word(word);
        while let Some((next, rest)) = next_joined(after) {
            (word, after) = (next, rest);
            self.word(word);
        }
        let whole = until(after);
        if self.position - first > 1 && is_identifier(whole) {
            self.push(cut(&whole.to_lowercase()).to_owned(), first, Kind::Joined);
        }
        self.close(word, after)
    }

    fn word(&mut self, word: &str) {
        self.push(cut(&word.to_lowercase()).to_owned(), self.position, Kind::Word);
        for part in parts(word) {
            self.push(cut(&part.to_lowercase()).to_owned(), self.position, Kind::Part);
        }
        self.position += 1;
    }

    /// Takes `++` or `#` at the end of a word to it.
    fn close<'t>(&mut self, word: &str, after: &'t str) -> &'t str {
        for mark in ["++", "#"] {
            let rest = after.strip_prefix(mark).filter(|rest| rest.chars().next().is_none_or(|next| class_of(next) == Class::Gap));
            if let (Some(rest), Some(last)) = (rest, self.found.iter_mut().rfind(|term| term.kind == Kind::Word)) {
                last.text = format!("{}{mark}", cut(&word.to_lowercase()));
                return rest;
            }
        }
        after
    }
}

fn cut(word: &str) -> &str {
    word.get(..word.floor_char_boundary(TERM_BYTES_MAX)).unwrap_or_default()
}

/// What may join words, and the longest such joint.
const JOINTS: [char; 7] = ['_', '.', ':', '/', '@', '-', '\\'];
const JOINT_BYTES_MAX: usize = 2;

/// The word behind a joint, and what follows it.
fn next_joined(after: &str) -> Option<(&str, &str)> {
    let rest = after.trim_start_matches(JOINTS);
    let is_joint = (1..=JOINT_BYTES_MAX).contains(&(after.len() - rest.len()));
    let end = rest.find(|c| class_of(c) != Class::Word).unwrap_or(rest.len());
    (is_joint && end > 0).then(|| rest.split_at(end))
}

/// Whether joined words are a name of their own. `and/or` and `well-known` are prose.
fn is_identifier(whole: &str) -> bool {
    whole.contains(['_', '.', ':', '@', '\\']) || whole.chars().any(|c| c.is_ascii_digit()) || whole.matches('/').count() > 1
}

/// `Http` and `Client` of `HttpClient`; nothing for a word of one piece.
fn parts(word: &str) -> Vec<&str> {
    const PART_BYTES_MIN: usize = 2;
    let small_to_large = |pair: &[(usize, char)]| match pair {
        [(_, before), (at, after)] => (before.is_lowercase() && after.is_uppercase()).then_some(*at),
        _ => None,
    };
    let letters: Vec<(usize, char)> = word.char_indices().collect();
    let borders: Vec<usize> = letters.windows(2).filter_map(small_to_large).collect();
    if borders.is_empty() {
        return Vec::new();
    }
    let starts = std::iter::once(0).chain(borders.iter().copied());
    let ends = borders.iter().copied().chain([word.len()]);
    starts.zip(ends).filter_map(|(start, end)| word.get(start..end)).filter(|part| part.len() >= PART_BYTES_MIN).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Written without spaces between words.
    Unspaced,
    Word,
    Gap,
}

fn class_of(c: char) -> Class {
    if is_unspaced(c) {
        Class::Unspaced
    } else if c.is_alphanumeric() || is_combining_mark(c) {
        Class::Word
    } else {
        Class::Gap
    }
}

/// Han, hiragana, katakana and Hangul, with their iteration and length marks.
pub(super) fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{1100}'..='\u{11ff}' | '\u{3005}'..='\u{3007}' | '\u{3041}'..='\u{309f}' | '\u{30a1}'..='\u{30fa}'
        | '\u{30fc}'..='\u{30ff}' | '\u{3131}'..='\u{318e}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::language::ENGLISH;

    fn of_kinds(text: &str, kinds: &[Kind]) -> Vec<String> {
        let stemmer = ENGLISH.stemmer();
        terms(text).iter().filter(|term| kinds.contains(&term.kind)).map(|term| term.stemmed(&stemmer)).collect()
    }

    fn main_terms(text: &str) -> Vec<String> {
        of_kinds(text, &[Kind::Word, Kind::Unspaced])
    }

    #[test]
    fn english_words_lose_case_and_endings() {
        assert_eq!(main_terms("Running RUNS, the runner's flies!"), ["run", "run", "the", "runner", "s", "fli"]);
        assert_eq!(main_terms("C++ and C# but not a+b or #tag"), ["c++", "and", "c#", "but", "not", "a", "b", "or", "tag"]);
    }

    #[test]
    fn unspaced_scripts_become_pairs_and_single_characters() {
        assert_eq!(main_terms("水平面"), ["水平", "平面"]);
        assert_eq!(of_kinds("水平面。火", &[Kind::Single]), ["水", "平", "面"]);
        assert_eq!(main_terms("水。火"), ["水", "火"]);
        assert_eq!(main_terms("データ"), ["デー", "ータ"]);
        assert_eq!(main_terms("검색 엔진"), ["검색", "엔진"]);
        assert_eq!(main_terms("失去308分 NFL𠀀𠀁"), ["失去", "308", "分", "nfl", "𠀀𠀁"]);
    }

    #[test]
    fn identifiers_are_terms_as_a_whole_too() {
        let joined = |text: &str| of_kinds(text, &[Kind::Joined]);
        assert_eq!(joined("parse_query() in std::fs, see example.com/a or v1.2.3."), ["parse_query", "std::fs", "example.com/a", "v1.2.3"]);
        assert_eq!(joined("COVID-19 and ISO/IEC/1 but well-known and/or end. Next"), ["covid-19", "iso/iec/1"]);
        assert_eq!(main_terms("parse_query COVID-19"), ["pars", "queri", "covid", "19"]);
        assert_eq!(of_kinds("an HttpClient of getURL", &[Kind::Part]), ["http", "client", "get", "url"]);
    }

    #[test]
    fn positions_count_words_and_characters() {
        let places: Vec<_> = terms("big a.1 水平面 end").into_iter().map(|term| (term.text, term.position)).collect();
        let expected = [("big", 0), ("a", 1), ("1", 2), ("a.1", 1), ("水", 3), ("水平", 3), ("平", 4), ("平面", 4), ("面", 5), ("end", 6)];
        assert_eq!(places, expected.map(|(text, position)| (text.to_owned(), position)));
    }

    #[test]
    fn compatible_forms_are_one() {
        assert_eq!(main_terms("ＦＵＬＬ ﬁle ﾃﾞｰﾀ"), ["full", "file", "デー", "ータ"]);
        assert_eq!(main_terms("cafe\u{301}"), main_terms("CAFÉ"));
        assert_eq!(main_terms("हिन्दी"), ["हिन्दी"]);
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        assert_eq!(main_terms(&"x".repeat(100)), ["x".repeat(64)]);
        assert_eq!(main_terms(&"é".repeat(100)), ["é".repeat(32)]);
        assert_eq!(main_terms(&format!("a{}", "é".repeat(100)))[0].len(), 63);
        assert!(terms("?! … — \u{0}\u{200b}").is_empty());
    }
}
