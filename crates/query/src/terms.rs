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
const COMMON_CJK: [&str; 35] = [
    "为什么",
    "為什麼",
    "什麼",
    "哪裡",
    "怎麼",
    "請問",
    "誰",
    "嗎",
    "與",
    "哪一年",
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
    let mut terms: Vec<String> = words(text).map(|word| stem(&word)).collect();
    for run in cjk_runs(text) {
        terms.extend(pairs(&run));
    }
    terms
}

/// The content terms of a text, each with a word that it stands for, as the text has it but for case.
pub(crate) fn terms_and_words(text: &str) -> BTreeMap<String, String> {
    let pairs = cjk_runs(text).into_iter().flat_map(|run| pairs(&run)).map(|pair| (pair.clone(), pair));
    words(text).map(|word| (stem(&word), word)).chain(pairs).collect()
}

/// The share of a text's letters, common words left out, that stand in terms which `holds` knows: pairs of
/// characters overlap, so that one foreign character spoils one letter and not two pairs.
#[expect(clippy::cast_precision_loss, reason = "counts of letters in a question")]
pub(crate) fn letters_held(text: &str, holds: impl Fn(&str) -> bool) -> f32 {
    let (mut held, mut total) = (0, 0);
    for word in words(text) {
        let letters = word.chars().count();
        total += letters;
        held += if holds(&stem(&word)) { letters } else { 0 };
    }
    for run in cjk_runs(text) {
        let letters = run.chars().count();
        let mut is_held = vec![false; letters];
        for (at, pair) in pairs(&run).iter().enumerate().filter(|(_, pair)| holds(pair)) {
            is_held.iter_mut().skip(at).take(pair.chars().count()).for_each(|letter| *letter = true);
        }
        total += letters;
        held += is_held.into_iter().filter(|letter| *letter).count();
    }
    if total == 0 { 0.0 } else { held as f32 / total as f32 }
}

/// The words that carry content and stand between spaces, in lower case.
fn words(text: &str) -> impl Iterator<Item = String> {
    let spaced = text.unicode_words().filter(|word| !word.chars().any(is_cjk)).map(str::to_lowercase);
    let bare = spaced.map(|word| word.strip_suffix("'s").or_else(|| word.strip_suffix("’s")).map(str::to_owned).unwrap_or(word));
    bare.filter(|word| !COMMON.contains(&format!(" {word} ")))
}

/// The content terms of a text, each once.
pub(crate) fn term_set(text: &str) -> BTreeSet<String> {
    terms(text).into_iter().collect()
}

fn cjk_runs(text: &str) -> Vec<String> {
    let mut kept = text.to_owned();
    for common in COMMON_CJK {
        kept = kept.replace(common, " ");
    }
    kept.split(|c| !is_cjk(c)).filter(|run| !run.is_empty()).map(str::to_owned).collect()
}

/// Overlapping pairs of characters; a run of one is that character.
fn pairs(run: &str) -> Vec<String> {
    let starts: Vec<usize> = run.char_indices().map(|(at, _)| at).chain([run.len()]).collect();
    if starts.len() <= 2 {
        return vec![run.to_owned()];
    }
    let piece = |window: &[usize]| Some(run.get(*window.first()?..*window.last()?)?.to_owned());
    starts.windows(3).filter_map(piece).collect()
}

/// Cuts the commonest English endings, leaving at least three letters. Cruder than Porter's, but
/// question and sentence go through the same mill.
pub(crate) fn stem(word: &str) -> String {
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

/// How rare each term is among some texts: `ln(1 + (n - df + 0.5) / (df + 0.5))`, as in BM25.
pub(crate) struct Rarity {
    texts: f32,
    counts: BTreeMap<String, f32>,
}

impl Rarity {
    /// Counts the sentences that hold each term.
    pub(crate) fn among<'a>(sentences: impl IntoIterator<Item = &'a BTreeSet<String>>) -> Self {
        let (mut total, mut counts) = (0_u16, BTreeMap::new());
        for terms in sentences {
            total = total.saturating_add(1);
            for term in terms {
                *counts.entry(term.clone()).or_default() += 1.0;
            }
        }
        Self { texts: f32::from(total), counts }
    }

    /// Of `texts` texts, in how many each term occurs.
    #[expect(clippy::cast_precision_loss, reason = "only the size of a count matters")]
    pub(crate) fn counted(texts: u64, counts: impl IntoIterator<Item = (String, u64)>) -> Self {
        Self { texts: texts as f32, counts: counts.into_iter().map(|(term, count)| (term, count as f32)).collect() }
    }

    /// The weight of a term. One that no text has weighs as much as one that a single text has: its
    /// absence must count, but not more than the rarest find.
    pub(crate) fn weight(&self, term: &str) -> f32 {
        let count = self.counts.get(term).copied().unwrap_or_default().max(1.0);
        (1.0 + (self.texts.max(count) - count + 0.5) / (count + 0.5)).ln()
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
