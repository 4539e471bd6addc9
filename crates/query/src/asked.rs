//! What kind of thing a question asks for, and whether a sentence has one.
//!
//! By the question's own words, in English and Chinese; where they don't tell, nothing is claimed.

use crate::script::is_cjk;
use std::collections::BTreeSet;
use unicode_segmentation::UnicodeSegmentation;

/// What an answer must name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A year, a date, a span of time.
    Time,
    /// A count or a measure.
    Number,
    /// A person or a place.
    Name,
    /// A cause.
    Reason,
    /// Whether something is so, or all that is known of it: no question word asks.
    Whether,
    /// Anything.
    Other,
}

const TIMES: &str = " year date day month century decade time ";
const AMOUNTS: &str = " percent number amount percentage proportion score size population ";
const MEASURES: &str = " many much long old far tall large big high often wide deep fast heavy ";
const PLACES: &str = " city country state place county town river area region continent ";
const QUESTION_WORDS: &str = " what which how who whom whose where when why ";
/// What a question begins with that is answered by yes or no; "Can you tell when …" is not one.
const AUXILIARIES: &str = " is are was were do does did can could has have had should will would may might must ";
const MONTHS: &str = " january february march april may june july august september october november december ";
const NUMBER_WORDS: &str = " one two three four five six seven eight nine ten eleven twelve dozen hundred thousand million billion half \
    third quarter twice once percent both ";

impl Asked {
    /// Reads it off a question.
    pub(crate) fn by(question: &str) -> Self {
        let words: Vec<String> = question.unicode_words().map(str::to_lowercase).collect();
        let has = |word: &str| words.iter().any(|other| other == word);
        let pair = |first: &[&str], seconds: &str| {
            words.windows(2).any(|pair| match pair {
                [one, two] => first.contains(&one.as_str()) && seconds.contains(&format!(" {two} ")),
                _ => false,
            })
        };
        let says = |phrases: &[&str]| phrases.iter().any(|phrase| question.contains(phrase));
        let is_yes_or_no = match words.as_slice() {
            [first, second, ..] => AUXILIARIES.contains(&format!(" {first} ")) && second != "you",
            _ => false,
        };
        if is_yes_or_no {
            Self::Whether
        } else if has("when") || pair(&["what", "which"], TIMES) || says(&["何时", "何時", "什么时候", "什麼時候", "哪一年", "哪年"])
        {
            Self::Time
        } else if pair(&["how"], MEASURES) || pair(&["what", "which"], AMOUNTS) || says(&["多少", "几", "幾"]) {
            Self::Number
        } else if has("who") || has("whom") || has("whose") || has("where") || pair(&["what", "which"], PLACES) {
            Self::Name
        } else if has("why") || pair(&["what"], " cause causes caused reason ") {
            Self::Reason
        } else if question.chars().any(is_cjk) {
            if says(&["是否", "吗", "嗎"]) { Self::Whether } else { Self::Other }
        } else if words.iter().any(|word| QUESTION_WORDS.contains(&format!(" {word} "))) {
            Self::Other
        } else {
            Self::Whether
        }
    }

    /// 1 if the sentence has what is asked for beyond the question's own terms, 0 if not, a half where that isn't known.
    pub(crate) fn found_in(self, sentence: &str, is_of_question: impl Fn(&str) -> bool) -> f32 {
        let lower = || sentence.to_lowercase();
        let is_found = match self {
            Self::Time => {
                let words: BTreeSet<String> = lower().unicode_words().map(str::to_owned).collect();
                let is_year =
                    |word: &String| word.len() == 4 && word.starts_with(['1', '2']) && word.bytes().all(|byte| byte.is_ascii_digit());
                let is_time = |word: &String| is_year(word) || MONTHS.contains(&format!(" {word} "));
                words.iter().any(is_time)
                    || ["century", "centuries", "decade", "day", "year", "年", "月", "日", "世纪", "世紀"]
                        .iter()
                        .any(|word| lower().contains(word))
            }
            Self::Number => {
                sentence.chars().any(|c| c.is_numeric() || "一二三四五六七八九十百千万萬亿億两兩".contains(c))
                    || lower().unicode_words().any(|word| NUMBER_WORDS.contains(&format!(" {word} ")))
            }
            Self::Name => {
                let is_name = |word: &str| word.starts_with(char::is_uppercase) && !is_of_question(word);
                sentence.chars().any(is_cjk) || sentence.unicode_words().skip(1).any(is_name)
            }
            Self::Reason => {
                ["because", "due to", "since", "so that", "reason", "caus", "result", "therefore", "lead", "因", "由于", "由於"]
                    .iter()
                    .any(|word| lower().contains(word))
            }
            Self::Whether | Self::Other => return 0.5,
        };
        if is_found { 1.0 } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_tells_what_is_asked_for() {
        for (question, asked) in [
            ("When was it opened?", Asked::Time),
            ("In what year did it open?", Asked::Time),
            ("How many arches are there?", Asked::Number),
            ("Who built it?", Asked::Name),
            ("In which city is it?", Asked::Name),
            ("Why did it close?", Asked::Reason),
            ("Is it closed?", Asked::Whether),
            ("Do people who cross it pay when it rains?", Asked::Whether),
            ("Can you tell when it closed?", Asked::Time),
            ("Rust and the closing of bridges", Asked::Whether),
            ("What is rust?", Asked::Other),
            ("它是哪一年建成的？", Asked::Time),
            ("有多少人参加？", Asked::Number),
            ("什么是语义缓存？", Asked::Other),
            ("它是否关闭？", Asked::Whether),
        ] {
            assert_eq!(Asked::by(question), asked, "{question}");
        }
    }

    #[test]
    fn a_sentence_has_it_or_not() {
        let found = |asked: Asked, sentence: &str| asked.found_in(sentence, |word| word == "Garnet") > 0.9;
        assert!(found(Asked::Time, "It was opened in 1931.") && !found(Asked::Time, "It was opened late."));
        assert!(found(Asked::Number, "It has seven arches.") && !found(Asked::Number, "It has arches."));
        assert!(found(Asked::Name, "The Garnet bridge was made by Lund.") && !found(Asked::Name, "The Garnet bridge is long."));
        assert!(found(Asked::Reason, "It closed because of rust.") && !found(Asked::Reason, "It closed."));
        assert!(found(Asked::Time, "桥于1931年建成。") && found(Asked::Number, "有三座桥。"));
    }
}
