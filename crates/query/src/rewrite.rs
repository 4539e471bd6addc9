//! A question that leans on its conversation, joined with what it leans on: a rule, without a model.
//!
//! Main path: does it lean? → the subject of the last turns → question and subject side by side. The question itself
//! stays as it is, so that whoever reads the rewritten one sees what was added. A question that stands on its own is
//! never changed: to join it with another subject finds worse chunks than to leave a follow-up alone.

mod chinese;
mod english;
#[cfg(test)]
mod tests;

use crate::script::is_cjk;
use crate::session::Turn;

/// Words of the subject that are joined at most, and of these from the answer.
const SUBJECT_WORDS_MAX: usize = 10;
const ANSWER_WORDS_MAX: usize = 4;
/// A word longer than this is none.
const WORD_BYTES_MAX: usize = 64;

/// The question as it stands alone; `None` if it does as it is, or if nothing was said before.
pub(crate) fn rewrite(question: &str, turns: &[Turn]) -> Option<String> {
    let last = turns.last()?;
    let leans = if question.chars().any(is_cjk) { chinese::leans(question) } else { english::leans(question) };
    if !leans {
        return None;
    }
    let subject = subject(question, last);
    (!subject.is_empty()).then(|| format!("{question} ({})", subject.join(" ")))
}

/// What the last turn is about: content words of its question and names of its answer, each once, without those that
/// the question has itself.
fn subject(question: &str, last: &Turn) -> Vec<String> {
    let asked = last.standing_alone();
    let mut words = content_words(asked);
    // Nothing is learnt from an answer that there is none.
    if !last.abstained {
        words.extend(english::names(&last.answer).into_iter().take(ANSWER_WORDS_MAX));
    }
    let known = question.to_lowercase();
    let mut subject: Vec<String> = Vec::new();
    for word in words {
        let is_new = !subject.contains(&word) && !contains_word(&known, &word.to_lowercase());
        if is_new && word.len() <= WORD_BYTES_MAX && subject.len() < SUBJECT_WORDS_MAX {
            subject.push(word);
        }
    }
    subject
}

fn content_words(text: &str) -> Vec<String> {
    let mut words = english::content_words(text);
    words.extend(chinese::content_runs(text));
    words
}

fn contains_word(text: &str, word: &str) -> bool {
    if word.chars().any(is_cjk) {
        return text.contains(word);
    }
    text.split(|c: char| !c.is_alphanumeric()).any(|known| known == word)
}
