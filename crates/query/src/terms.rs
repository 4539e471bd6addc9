//! Content terms of a text: what two sentences must share for one to support the other.
//!
//! Words are lower-cased, common words are left out, and endings cut, so that `Panthers'` meets
//! `panther`. Chinese, Japanese and Korean runs become overlapping pairs of characters, the field's
//! stand-in for words where no dictionary is at hand; question words are cut out first.

use crate::script::is_cjk;
use std::collections::{BTreeMap, BTreeSet};
use unicode_segmentation::UnicodeSegmentation;

/// English words too common to tell sentences apart, question words among them.
const COMMON: &str = " a about after all also am an and any are as at be been before being between both but by can could did \
    do does doing done during each either for from had has have having he her here hers him his how i if in into is it its me \
    might more most much many my no nor not of on or other our out over own same she should so some such than that the their \
    theirs them then there these they this those through to too under until up us very was we were what when where which while \
    who whom whose why will with would you your name called ";

/// Question words and particles of Chinese that carry no content.
const COMMON_CJK: [&str; 26] = [
    "为什么",
    "是什么",
    "有什么",
    "什么样",
    "什么",
    "哪一个",
    "哪些",
    "哪个",
    "哪里",
    "哪",
    "如何",
    "怎么样",
    "怎么",
    "怎样",
    "多少",
    "是谁",
    "谁",
    "请问",
    "是否",
    "吗",
    "呢",
    "的",
    "了",
    "和",
    "与",
    "是",
];

/// Whether a lower-case English word is too common to tell sentences apart.
pub(crate) fn is_common(word: &str) -> bool {
    COMMON.contains(&format!(" {word} "))
}

/// The content terms of a text, in order, repetitions included.
pub(crate) fn terms(text: &str) -> Vec<String> {
    let mut terms = Vec::new();
    for word in text.unicode_words() {
        if word.chars().any(is_cjk) {
            continue;
        }
        let word = word.to_lowercase();
        let word = word.strip_suffix("'s").or_else(|| word.strip_suffix("’s")).unwrap_or(&word);
        if !COMMON.contains(&format!(" {word} ")) {
            terms.push(stem(word));
        }
    }
    for run in cjk_runs(text) {
        pairs(&run, &mut terms);
    }
    terms
}

/// The content terms of a text, each once.
pub(crate) fn term_set(text: &str) -> BTreeSet<String> {
    terms(text).into_iter().collect()
}

/// The numbers in a text: runs of digits with their inner points and commas, the commas left out.
pub(crate) fn numbers(text: &str) -> BTreeSet<String> {
    let pieces = text.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == ','));
    let cleaned = pieces.map(|piece| piece.trim_matches(|c| c == '.' || c == ',').replace(',', ""));
    cleaned.filter(|number| !number.is_empty()).collect()
}

fn cjk_runs(text: &str) -> Vec<String> {
    let mut kept = text.to_owned();
    for common in COMMON_CJK {
        kept = kept.replace(common, " ");
    }
    kept.split(|c| !is_cjk(c)).filter(|run| !run.is_empty()).map(str::to_owned).collect()
}

fn pairs(run: &str, terms: &mut Vec<String>) {
    let starts: Vec<usize> = run.char_indices().map(|(at, _)| at).chain([run.len()]).collect();
    if starts.len() <= 2 {
        terms.push(run.to_owned());
    }
    for window in starts.windows(3) {
        if let [start, _, end] = window {
            terms.push(run.get(*start..*end).unwrap_or_default().to_owned());
        }
    }
}

/// Cuts the commonest English endings, leaving at least three letters. Cruder than Porter's, but
/// question and sentence go through the same mill.
fn stem(word: &str) -> String {
    const ENDINGS: [(&str, &str); 14] = [
        ("ational", "at"),
        ("ations", "at"),
        ("ation", "at"),
        ("ments", ""),
        ("ment", ""),
        ("ingly", ""),
        ("ings", ""),
        ("ing", ""),
        ("iest", "i"),
        ("ies", "i"),
        ("ied", "i"),
        ("edly", ""),
        ("ed", ""),
        ("ly", ""),
    ];
    if !word.is_ascii() || word.bytes().any(|byte| byte.is_ascii_digit()) {
        return word.to_owned();
    }
    let cut = ENDINGS.iter().find_map(|(ending, instead)| {
        let rest = word.strip_suffix(ending).filter(|rest| rest.len() >= 3)?;
        Some(format!("{rest}{instead}"))
    });
    let word = cut.unwrap_or_else(|| match word.strip_suffix('s') {
        Some(rest) if rest.len() >= 3 && !rest.ends_with(['s', 'u', 'i']) => rest.to_owned(),
        _ => word.to_owned(),
    });
    trim_end(word)
}

/// `stopp`, `stop` and `hope`, `hop` as well as `city`, `citi` meet.
fn trim_end(mut word: String) -> String {
    if word.len() > 3 && word.ends_with('e') {
        word.pop();
    }
    if word.len() > 3 && word.ends_with('y') {
        word.pop();
        word.push('i');
    }
    let mut last_two = word.bytes().rev();
    if word.len() > 3 && last_two.next().is_some_and(|last| Some(last) == last_two.next() && !b"aeiouls".contains(&last)) {
        word.pop();
    }
    word
}

/// How rare each term is among some sentences: `ln(1 + (n - df + 0.5) / (df + 0.5))`, as in BM25.
pub(crate) struct Rarity {
    sentences: f32,
    counts: BTreeMap<String, u32>,
}

impl Rarity {
    /// Counts the sentences that hold each term.
    pub(crate) fn among<'a>(sentences: impl IntoIterator<Item = &'a BTreeSet<String>>) -> Self {
        let (mut total, mut counts) = (0_u16, BTreeMap::new());
        for terms in sentences {
            total = total.saturating_add(1);
            for term in terms {
                *counts.entry(term.clone()).or_default() += 1;
            }
        }
        Self { sentences: f32::from(total), counts }
    }

    /// The weight of a term. One that no sentence has weighs as much as one that a single
    /// sentence has: its absence must count, but not more than the rarest find.
    #[expect(clippy::cast_precision_loss, reason = "counts of sentences in a handful of chunks")]
    pub(crate) fn weight(&self, term: &str) -> f32 {
        let count = self.counts.get(term).copied().unwrap_or(1) as f32;
        (1.0 + (self.sentences.max(count) - count + 0.5) / (count + 0.5)).ln()
    }
}

/// The share, by weight, of `wanted` that each term's credit (0 to 1) covers; 0 if nothing is wanted.
pub(crate) fn coverage(wanted: &BTreeSet<String>, rarity: &Rarity, credit: impl Fn(&str) -> f32) -> f32 {
    let (mut covered, mut total) = (0.0, 0.0);
    for term in wanted {
        let weight = rarity.weight(term);
        covered += weight * credit(term);
        total += weight;
    }
    if total > 0.0 { covered / total } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_word_meet() {
        for pair in [
            ("Panthers", "panther"),
            ("cities", "city"),
            ("stopped", "stop"),
            ("stopping", "stops"),
            ("hoped", "hope"),
            ("founded", "founding"),
            ("installation", "installations"),
            ("dog's", "dogs"),
        ] {
            assert_eq!(terms(pair.0), terms(pair.1), "{pair:?}");
        }
        assert_ne!(terms("bus"), terms("bu"));
    }

    #[test]
    fn common_words_carry_nothing() {
        assert_eq!(terms("What is the name of it?"), Vec::<String>::new());
        assert_eq!(terms("How many points did 24 give"), ["point", "24", "giv"]);
    }

    #[test]
    fn chinese_becomes_pairs_without_its_question_words() {
        assert_eq!(terms("什么是语义缓存？"), ["语义", "义缓", "缓存"]);
        assert_eq!(terms("RAG 的缓存"), ["rag", "缓存"]);
        assert_eq!(terms("熵"), ["熵"]);
    }

    #[test]
    fn numbers_keep_their_points_and_lose_their_commas() {
        let found: Vec<_> = numbers("In 1,024 of 3.5, 2024.").into_iter().collect();
        assert_eq!(found, ["1024", "2024", "3.5"]);
    }

    #[test]
    fn rare_terms_weigh_more_and_coverage_is_a_share() {
        let sentences = [term_set("red fox"), term_set("red hen"), term_set("red cow")];
        let rarity = Rarity::among(&sentences);
        assert!(rarity.weight("fox") > rarity.weight("red"));
        assert!((rarity.weight("fox") - rarity.weight("unheard")).abs() < f32::EPSILON);
        let wanted = term_set("fox hen");
        assert!((coverage(&wanted, &rarity, |term| f32::from(u8::from(term == "fox"))) - 0.5).abs() < 1e-6);
        assert!(coverage(&BTreeSet::new(), &rarity, |_| 1.0).abs() < f32::EPSILON);
    }
}
