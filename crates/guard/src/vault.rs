//! Placeholders for what must not leave: put in before a text goes out, taken out of what comes back.
//!
//! Invariants:
//! - The same value has the same placeholder, in every text of a vault, and no two values share one.
//! - `restore(redact(text)) == text`, also where the text holds words that look like placeholders: those are replaced too.
//! - A stream restored piece by piece says what the whole text restored says, however it is cut.
//! - At most [`VALUES_MAX`] values are kept. What is found beyond is hidden all the same, under a placeholder without a
//!   number, and can't be restored.

use crate::pii::{Finding, Kind, Kinds, find};
use std::collections::{BTreeMap, HashMap};

/// Most values that a vault keeps.
pub const VALUES_MAX: usize = 10_000;
/// Longest placeholder in bytes: `[SECRET_10000]` is 14.
const PLACEHOLDER_BYTES_MAX: usize = 16;

/// What stands for what. One per request, or per session.
#[derive(Debug, Default, Clone)]
pub struct Vault {
    kinds: Kinds,
    placeholders: HashMap<(Kind, String), String>,
    values: HashMap<String, String>,
    counts: HashMap<Kind, usize>,
    found: BTreeMap<Kind, usize>,
}

impl Vault {
    /// An empty vault for these kinds.
    #[must_use]
    pub fn new(kinds: Kinds) -> Self {
        Self { kinds, ..Self::default() }
    }

    /// The text with a placeholder for each finding.
    pub fn redact(&mut self, text: &str) -> String {
        if self.kinds.is_empty() {
            return text.to_owned();
        }
        let found = find(text, self.kinds);
        found.iter().for_each(|finding| *self.found.entry(finding.kind).or_default() += 1);
        let is_free = |one: &Finding| {
            let next = found.get(found.partition_point(|finding| finding.range.end <= one.range.start));
            !next.is_some_and(|finding| finding.overlaps(&one.range))
        };
        let literal = literal_placeholders(text).into_iter().filter(is_free);
        let mut places: Vec<Finding> = literal.collect();
        places.extend(found.iter().cloned());
        places.sort_by_key(|finding| finding.range.start);
        let mut redacted = String::with_capacity(text.len());
        let mut end = 0;
        for Finding { range, kind } in places {
            redacted.push_str(text.get(end..range.start).unwrap_or_default());
            redacted.push_str(&self.placeholder(kind, text.get(range.clone()).unwrap_or_default()));
            end = range.end;
        }
        redacted.push_str(text.get(end..).unwrap_or_default());
        redacted
    }

    /// The text with each placeholder's value. What looks like one but is none stays.
    #[must_use]
    pub fn restore(&self, text: &str) -> String {
        let mut restorer = self.restorer();
        let mut restored = restorer.push(text);
        restored.push_str(&restorer.finish());
        restored
    }

    /// Restores a text that comes in pieces.
    #[must_use]
    pub fn restorer(&self) -> Restorer<'_> {
        Restorer { vault: self, held: String::new(), restored: Vec::new() }
    }

    /// What was found so far: kinds, and in how many places.
    #[must_use]
    pub fn found(&self) -> &BTreeMap<Kind, usize> {
        &self.found
    }

    /// Values kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether nothing was replaced.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn placeholder(&mut self, kind: Kind, value: &str) -> String {
        if let Some(known) = self.placeholders.get(&(kind, value.to_owned())) {
            return known.clone();
        }
        if self.values.len() >= VALUES_MAX {
            return format!("[{}]", kind.label());
        }
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        let placeholder = format!("[{}_{count}]", kind.label());
        self.placeholders.insert((kind, value.to_owned()), placeholder.clone());
        self.values.insert(placeholder.clone(), value.to_owned());
        placeholder
    }
}

/// Puts values back into a text that comes in pieces. Holds back what may be the beginning of a placeholder.
#[derive(Debug)]
pub struct Restorer<'v> {
    vault: &'v Vault,
    held: String,
    restored: Vec<Kind>,
}

impl Restorer<'_> {
    /// What can be said after this piece.
    pub fn push(&mut self, piece: &str) -> String {
        self.held.push_str(piece);
        let text = std::mem::take(&mut self.held);
        let mut said = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(open) = rest.find('[') {
            let (before, from) = rest.split_at(open);
            said.push_str(before);
            match placeholder_at(from) {
                At::Whole(length) => {
                    let (placeholder, after) = from.split_at(length);
                    match self.vault.values.get(placeholder) {
                        Some(value) => {
                            self.restored.extend(placeholder.get(1..).and_then(|rest| Kind::from_label(rest.split('_').next()?)));
                            said.push_str(value);
                        }
                        None => said.push_str(placeholder),
                    }
                    rest = after;
                }
                At::Begun => {
                    from.clone_into(&mut self.held);
                    return said;
                }
                At::None => {
                    said.push('[');
                    rest = from.get(1..).unwrap_or_default();
                }
            }
        }
        said.push_str(rest);
        said
    }

    /// The kinds of the values that were put back so far, one for each place.
    #[must_use]
    pub fn restored(&self) -> &[Kind] {
        &self.restored
    }

    /// What was held back: the text has ended.
    #[must_use]
    pub fn finish(self) -> String {
        self.held
    }
}

enum At {
    /// So many bytes are one.
    Whole(usize),
    /// The text ends within one.
    Begun,
    None,
}

/// What stands at the `[` that the text begins with.
fn placeholder_at(text: &str) -> At {
    let mut seen_digits = 0;
    let mut label = None;
    for (at, byte) in text.bytes().enumerate().skip(1).take(PLACEHOLDER_BYTES_MAX) {
        match (byte, label) {
            (b'A'..=b'Z', None) => {}
            (b'_', None) => match Kind::from_label(text.get(1..at).unwrap_or_default()) {
                Some(kind) => label = Some(kind),
                None => return At::None,
            },
            (b'0'..=b'9', Some(_)) => seen_digits += 1,
            (b']', Some(_)) if seen_digits > 0 => return At::Whole(at + 1),
            _ => return At::None,
        }
    }
    if text.len() <= PLACEHOLDER_BYTES_MAX { At::Begun } else { At::None }
}

/// Words of the text itself that look like placeholders.
fn literal_placeholders(text: &str) -> Vec<Finding> {
    let found = text.match_indices('[').filter_map(|(open, _)| {
        let from = text.get(open..)?;
        let At::Whole(length) = placeholder_at(from) else { return None };
        let kind = Kind::from_label(from.get(1..)?.split('_').next()?)?;
        Some(Finding { range: open..open + length, kind })
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_same_value_has_the_same_placeholder() {
        let mut vault = Vault::new(Kinds::ALL);
        assert_eq!(vault.redact("a@b.org, c@d.org and a@b.org"), "[EMAIL_1], [EMAIL_2] and [EMAIL_1]");
        assert_eq!(vault.redact("again c@d.org from 10.20.30.40"), "again [EMAIL_2] from [IP_1]");
        assert_eq!(vault.restore("[EMAIL_2] [IP_1] [EMAIL_9] [1] [x]"), "c@d.org 10.20.30.40 [EMAIL_9] [1] [x]");
    }

    #[test]
    fn words_that_look_like_placeholders_are_no_way_to_another_value() {
        let mut vault = Vault::new(Kinds::ALL);
        let texts = ["mail a@b.org", "say [EMAIL_1] and [EMAIL_2]"];
        let redacted: Vec<String> = texts.iter().map(|text| vault.redact(text)).collect();
        assert!(!redacted[1].contains("[EMAIL_1]"), "{redacted:?}");
        assert_eq!(redacted.iter().map(|text| vault.restore(text)).collect::<Vec<_>>(), texts);
    }

    #[test]
    fn a_vault_is_bounded_and_hides_what_it_does_not_keep() {
        let mut vault = Vault::new(Kinds::ALL);
        for number in 0..VALUES_MAX {
            vault.redact(&format!("m{number}@b.org"));
        }
        assert_eq!(vault.len(), VALUES_MAX);
        assert_eq!(vault.redact("one-more@b.org m5@b.org"), "[EMAIL] [EMAIL_6]");
        assert_eq!(vault.len(), VALUES_MAX);
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(cuts in proptest::collection::vec(0_usize..80, 0..12)) {
            let mut vault = Vault::new(Kinds::ALL);
            let redacted = vault.redact("Ann (ann@b.org, [1]) has [EMAIL_1] at 10.20.30.40 [[IP_1]] über [");
            let mut restorer = vault.restorer();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(redacted.len())).filter(|cut| redacted.is_char_boundary(*cut)).collect();
            cuts.sort_unstable();
            cuts.push(redacted.len());
            let mut start = 0;
            let mut said = String::new();
            for cut in cuts {
                said.push_str(&restorer.push(&redacted[start..cut]));
                start = cut;
            }
            said.push_str(&restorer.finish());
            prop_assert_eq!(said, "Ann (ann@b.org, [1]) has [EMAIL_1] at 10.20.30.40 [[IP_1]] über [");
        }
    }
}
