//! Words that differ only in a beginning that turns them round: supported and unsupported, increase and decrease.
//!
//! No list of words is needed: one question has the word, the other has it turned round.

use super::Difference;
use super::text::Text;
use std::collections::HashSet;

/// Beginnings that deny what follows.
const DENIALS: &[&str] = &["un", "in", "im", "il", "ir", "non", "non-", "dis"];
/// Beginnings that point opposite ways.
const OPPOSITES: &[(&str, &str)] = &[
    ("up", "down"),
    ("in", "out"),
    ("in", "de"),
    ("in", "ex"),
    ("im", "ex"),
    ("en", "de"),
    ("en", "dis"),
    ("as", "des"),
    ("over", "under"),
    ("pre", "post"),
    ("maxi", "mini"),
    ("hyper", "hypo"),
    ("for", "back"),
    ("", "de"),
];
/// What is left behind a beginning must be a word.
const REST_BYTES_MIN: usize = 4;

/// Whether no word of one question is a word of the other turned round.
pub(super) fn agree(ours: &Text, theirs: &Text) -> Result<(), Difference> {
    let (a, b): (HashSet<&str>, HashSet<&str>) = (ours.words().collect(), theirs.words().collect());
    turned(&a, &b).or_else(|| turned(&b, &a)).map_or(Ok(()), Err)
}

fn turned(a: &HashSet<&str>, b: &HashSet<&str>) -> Option<Difference> {
    let mut alone: Vec<&&str> = a.difference(b).collect();
    alone.sort_unstable();
    alone.into_iter().find_map(|word| denied(word, a, b).or_else(|| opposed(word, a, b)))
}

fn denied(word: &str, a: &HashSet<&str>, b: &HashSet<&str>) -> Option<Difference> {
    let is_turned = |rest: &&str| rest.len() >= REST_BYTES_MIN && b.contains(rest) && !a.contains(rest);
    let rest = DENIALS.iter().filter_map(|prefix| word.strip_prefix(prefix)).find(is_turned)?;
    Some(Difference::Negation(format!("{word}, {rest}")))
}

fn opposed(word: &str, a: &HashSet<&str>, b: &HashSet<&str>) -> Option<Difference> {
    let others = OPPOSITES.iter().filter_map(|(one, two)| {
        let rest = word.strip_prefix(one).filter(|rest| rest.len() >= REST_BYTES_MIN)?;
        Some(format!("{two}{rest}"))
    });
    let other = others.into_iter().find(|other| b.contains(other.as_str()) && !a.contains(other.as_str()))?;
    Some(Difference::Direction(format!("{word}, {other}")))
}
