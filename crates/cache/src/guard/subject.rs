//! What the questions are about, word by word: names without capital letters, and near topics.
//!
//! In English one word changed for another (a user, a group; ibuprofen, paracetamol) is taken for another subject;
//! where more words differ it is wording, and left to the embedding. Chinese doesn't mark its names, and models
//! made for English hardly tell Chinese words apart, so there any word that changed counts.

use super::Difference;
use super::direction::Directions;
use super::text::{Kind, Text};
use std::collections::HashSet;
use std::sync::LazyLock;

/// Function words, and words of asking: the answer doesn't hang on them, or they are compared elsewhere.
static ENGLISH: LazyLock<HashSet<&str>> = LazyLock::new(|| include_str!("subject/english.txt").split_whitespace().collect());
/// The same in Chinese.
static HAN: LazyLock<Vec<&str>> = LazyLock::new(|| include_str!("subject/han.txt").split_whitespace().collect());

/// One side of a comparison.
pub(super) struct Side<'a> {
    pub(super) text: &'a Text,
    /// Tokens that numbers were read from.
    pub(super) used: &'a [bool],
    pub(super) directions: &'a Directions,
}

/// Whether no word of one question was changed for another.
pub(super) fn agree(ours: &Side, theirs: &Side) -> Result<(), Difference> {
    if let Some(swapped) = swapped(ours.text, theirs.text) {
        return Err(Difference::Order(swapped));
    }
    let is_han = ours.text.has_han && theirs.text.has_han;
    let (a, b) =
        if is_han { (only_signs(ours, theirs), only_signs(theirs, ours)) } else { (only_words(ours, theirs), only_words(theirs, ours)) };
    let is_changed = if is_han { !a.is_empty() && !b.is_empty() } else { a.len() == 1 && b.len() == 1 };
    let separator = if is_han { "" } else { " " };
    if is_changed { Err(Difference::Subject(a.join(separator), b.join(separator))) } else { Ok(()) }
}

/// Words with a meaning of their own that the other question has in no form.
fn only_words(ours: &Side, theirs: &Side) -> Vec<String> {
    let tokens = ours.text.tokens.iter().zip(ours.used).filter(|(token, used)| token.kind == Kind::Word && !**used);
    let words = tokens.map(|(token, _)| token.lower.as_str()).filter(|word| !ENGLISH.contains(word) && !word.ends_with("n't"));
    let alone = words.filter(|word| !theirs.directions.share(word) && !theirs.text.words().any(|other| are_forms(word, other)));
    let mut alone: Vec<String> = alone.map(str::to_owned).collect();
    alone.sort_unstable();
    alone.dedup();
    alone
}

/// Whether two words are forms of one: ship, shipping; enforced, enforceable; customise, customize.
fn are_forms(a: &str, b: &str) -> bool {
    const LEAST: usize = 3;
    let common = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let (shorter, longer) = (a.chars().count().min(b.chars().count()), a.chars().count().max(b.chars().count()));
    a == b || (common >= LEAST && (common == shorter || common * 5 >= longer * 3))
}

/// Characters with a meaning of their own that the other question lacks, or has less often.
fn only_signs(ours: &Side, theirs: &Side) -> Vec<String> {
    let mut others = signs(theirs, ours);
    let mut alone = signs(ours, theirs);
    alone.retain(|sign| match others.iter().position(|other| other == sign) {
        Some(at) => {
            others.swap_remove(at);
            false
        }
        None => true,
    });
    alone.into_iter().map(String::from).collect()
}

/// The characters of a question, without those of words that carry no subject or were compared before.
fn signs(ours: &Side, theirs: &Side) -> Vec<char> {
    let mut found = Vec::new();
    for run in ours.text.runs() {
        let mut rest = run;
        while let Some(c) = rest.chars().next() {
            let word = HAN.iter().filter(|word| rest.starts_with(**word)).map(|word| word.len()).max();
            let shared = theirs.directions.shared_prefix(rest);
            if word.is_none() && shared.is_none() {
                found.push(c);
            }
            rest = rest.get(word.max(shared).unwrap_or(c.len_utf8())..).unwrap_or_default();
        }
    }
    found
}

/// "euros to dollars" against "dollars to euros".
fn swapped(ours: &Text, theirs: &Text) -> Option<String> {
    let around = |text: &Text| {
        let words: Vec<String> = text.words().map(str::to_owned).collect();
        let pairs = words.windows(3).filter_map(|three| match three {
            [before, to, behind] if to == "to" || to == "into" => Some((before.clone(), behind.clone())),
            _ => None,
        });
        pairs.collect::<Vec<_>>()
    };
    let theirs = around(theirs);
    let pair = around(ours).into_iter().find(|(before, behind)| before != behind && theirs.contains(&(behind.clone(), before.clone())));
    pair.map(|(before, behind)| format!("{before}, {behind}"))
}
