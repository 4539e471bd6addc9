//! Exact match and F1 of an answer, as the scripts of SQuAD 1.1 (Rajpurkar et al. 2016) and, where the
//! right answer has Chinese characters, of CMRC 2018 (Cui et al. 2019) define them.
//!
//! SQuAD: lower case, no ASCII punctuation, no articles, words as a bag. CMRC: no punctuation, each
//! Chinese character a token and each run of others one, F1 by the longest common run of tokens. The
//! best of several right answers counts.

use crate::metrics::ratio;
use crate::script::is_cjk;
use std::collections::HashMap;

/// Tokens of an answer that are compared; the rest can't be a short answer.
const TOKENS_MAX: usize = 4096;

/// Whether the answer is one of these; 1 or 0.
#[must_use]
pub fn exact_match(answer: &str, expected: &[String]) -> f64 {
    let is_same = |right: &String| match has_cjk(right) {
        true => mixed(answer).concat() == mixed(right).concat(),
        false => words(answer) == words(right),
    };
    f64::from(u8::from(expected.iter().any(is_same)))
}

/// The best overlap with one of these, 0 to 1. Takes time in the tokens of the answer, at most [`TOKENS_MAX`], times those
/// of all of these with Chinese characters.
#[must_use]
pub fn f1(answer: &str, expected: &[String]) -> f64 {
    let (answer_words, mut numbers) = (words(answer), Numbers::default());
    let answer_numbers = if expected.iter().any(|right| has_cjk(right)) { numbers.of(mixed(answer)) } else { Vec::new() };
    let of = |right: &String| match has_cjk(right) {
        true => {
            let right = numbers.of(mixed(right));
            harmonic(longest_run(&answer_numbers, &right), answer_numbers.len(), right.len())
        }
        false => {
            let right = words(right);
            harmonic(in_common(&answer_words, &right), answer_words.len(), right.len())
        }
    };
    expected.iter().map(of).fold(0.0, f64::max)
}

/// A number for each token, so that comparing two takes no longer than it must.
#[derive(Default)]
struct Numbers(HashMap<String, usize>);

impl Numbers {
    fn of(&mut self, tokens: Vec<String>) -> Vec<usize> {
        let number = |token| {
            let next = self.0.len();
            *self.0.entry(token).or_insert(next)
        };
        tokens.into_iter().map(number).collect()
    }
}

fn has_cjk(text: &str) -> bool {
    text.chars().any(is_cjk)
}

/// SQuAD's `normalize_answer`, in words.
fn words(text: &str) -> Vec<String> {
    let plain: String = text.to_lowercase().chars().filter(|letter| !letter.is_ascii_punctuation()).collect();
    let words = plain.split_whitespace().filter(|word| !matches!(*word, "a" | "an" | "the"));
    words.take(TOKENS_MAX).map(str::to_owned).collect()
}

/// CMRC's `mixed_segmentation`.
fn mixed(text: &str) -> Vec<String> {
    let mut tokens = tokens(text);
    tokens.truncate(TOKENS_MAX);
    tokens
}

/// A text by its tokens alone, each between marks, so that one text holds another if and only if it has the same tokens
/// in a row.
pub(super) fn folded(text: &str) -> String {
    let mut folded = String::from(MARK);
    tokens(text).iter().for_each(|token| folded.extend([token, MARK]));
    folded
}

const MARK: &str = "\u{1}";

/// Each Chinese character, each run of other letters and digits; in lower case.
fn tokens(text: &str) -> Vec<String> {
    let (mut tokens, mut is_open): (Vec<String>, bool) = (Vec::new(), false);
    for letter in text.to_lowercase().chars() {
        if is_cjk(letter) {
            tokens.push(letter.to_string());
            is_open = false;
        } else if !letter.is_alphanumeric() {
            is_open = false;
        } else if let Some(last) = tokens.last_mut().filter(|_| is_open) {
            last.push(letter);
        } else {
            tokens.push(letter.to_string());
            is_open = true;
        }
    }
    tokens
}

/// Tokens that both have, as often as both have them.
fn in_common(said: &[String], right: &[String]) -> usize {
    let mut left: HashMap<&str, usize> = HashMap::new();
    right.iter().for_each(|word| *left.entry(word).or_default() += 1);
    let is_left = |word: &&String| match left.get_mut(word.as_str()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    };
    said.iter().filter(is_left).count()
}

/// Length of the longest run of tokens that stands in both.
fn longest_run(said: &[usize], right: &[usize]) -> usize {
    let mut ending: Vec<usize> = vec![0; right.len()];
    let mut longest = 0;
    for word in said {
        let mut before = 0;
        for (run, other) in ending.iter_mut().zip(right) {
            let next = if word == other { before + 1 } else { 0 };
            before = std::mem::replace(run, next);
            longest = longest.max(next);
        }
    }
    longest
}

fn harmonic(common: usize, said: usize, right: usize) -> f64 {
    if said == 0 && right == 0 {
        return 1.0;
    }
    // 2pr / (p + r), with p = common / said and r = common / right.
    ratio(2 * common, said + right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(answers: &[&str]) -> Vec<String> {
        answers.iter().map(|answer| (*answer).to_owned()).collect()
    }

    #[test]
    fn english_by_hand() {
        assert!((exact_match("The Denver Broncos!", &expected(&["Broncos", "denver broncos"])) - 1.0).abs() < 1e-12);
        assert!(exact_match("Denver", &expected(&["Denver Broncos"])).abs() < 1e-12);
        // 2 common of 3 said and 2 right: p 2/3, r 1, F1 0.8.
        assert!((f1("the Denver Broncos won", &expected(&["Denver Broncos"])) - 0.8).abs() < 1e-12);
        assert!((f1("24 24", &expected(&["24"])) - 2.0 / 3.0).abs() < 1e-12, "a word counts as often as it is there");
        assert!(f1("", &expected(&["x"])).abs() < 1e-12);
    }

    #[test]
    fn a_text_holds_another_at_whole_words() {
        assert!(folded("He won 24 games.").contains(&folded("24")));
        assert!(!folded("He won 240 games.").contains(&folded("24")));
        assert!(folded("他赢了136次比赛").contains(&folded("136 次")));
    }

    #[test]
    fn chinese_by_hand() {
        assert!((exact_match("136次。", &expected(&["136 次"])) - 1.0).abs() < 1e-12);
        // Tokens 在 1991 年 of 1991 年: run of 2, p 2/3, r 1.
        assert!((f1("在1991年", &expected(&["1991年"])) - 0.8).abs() < 1e-12);
        // 卡万·肖特 against 卡肖特: the run 肖特 of 4 and 3.
        assert!((f1("卡万·肖特", &expected(&["卡肖特"])) - 4.0 / 7.0).abs() < 1e-12);
    }
}
