//! Words around a number that say what it is.

use super::digits::is_word;

/// Bytes before a place that are looked at.
const BEFORE_BYTES: usize = 64;
/// Bytes behind a place that are looked at.
const AFTER_BYTES: usize = 16;

/// The text before a place, in lower case.
pub(super) fn before(text: &str, at: usize) -> String {
    let start = (at.saturating_sub(BEFORE_BYTES)..=at).find(|start| text.is_char_boundary(*start)).unwrap_or(at);
    text.get(start..at).unwrap_or_default().to_lowercase()
}

/// The text behind a place, in lower case.
pub(super) fn after(text: &str, at: usize) -> String {
    let end = (at..=(at + AFTER_BYTES).min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(at);
    text.get(at..end).unwrap_or_default().to_lowercase()
}

/// Where the last of the words ends; Latin words count as whole ones, others anywhere.
pub(super) fn last_end(text: &str, words: &[&str]) -> Option<usize> {
    words
        .iter()
        .filter_map(|word| text.rmatch_indices(word).map(|(at, _)| at..at + word.len()).find(|range| is_whole(text, range)))
        .map(|range| range.end)
        .max()
}

fn is_whole(text: &str, range: &std::ops::Range<usize>) -> bool {
    let ends = |side: Option<char>, edge: Option<char>| !(side.is_some_and(is_word) && edge.is_some_and(is_word));
    let word = text.get(range.clone()).unwrap_or_default();
    let before = text.get(..range.start).unwrap_or_default().chars().next_back();
    let after = text.get(range.end..).unwrap_or_default();
    // A plural is the word too.
    let after = after.strip_prefix('s').unwrap_or(after).chars().next();
    ends(before, word.chars().next()) && ends(after, word.chars().next_back())
}
