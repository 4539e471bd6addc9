//! What in a text tells who somebody is, or lets somebody in.
//!
//! Each kind has a reader of its own below `pii/`. Where two readers claim the same characters, the one whose value is
//! checked best wins (an IBAN by its remainder, a card by Luhn's sum, a phone number by its shape only), and of what is
//! left the longest: an address in a URL goes with the URL, if URLs are asked for.

mod addresses;
mod context;
mod digits;
mod ids;
mod payment;
mod pem;
mod phone;
mod secrets;

use digits::Digits;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Keys of providers, private keys, tokens, passwords.
    Secret,
    /// Bank accounts, by their remainder.
    Iban,
    /// Payment cards, by Luhn's sum and known prefixes.
    Card,
    /// National ids: US, mainland China, Hong Kong, Taiwan, UK, Spain, Italy.
    Id,
    /// E-mail addresses.
    Email,
    /// URLs and names of hosts.
    Url,
    /// IPv4 and IPv6 addresses.
    Ip,
    /// Phone numbers.
    Phone,
}

impl Kind {
    /// Every kind, best checked first.
    pub const ALL: [Self; 8] = [Self::Secret, Self::Iban, Self::Card, Self::Id, Self::Email, Self::Url, Self::Ip, Self::Phone];

    /// In placeholders.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Secret => "SECRET",
            Self::Iban => "IBAN",
            Self::Card => "CARD",
            Self::Id => "ID",
            Self::Email => "EMAIL",
            Self::Url => "URL",
            Self::Ip => "IP",
            Self::Phone => "PHONE",
        }
    }

    /// The kind with this label.
    pub(crate) fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.label() == label)
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of kinds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// None.
    pub const NONE: Self = Self(0);
    /// All.
    pub const ALL: Self = Self(u8::MAX);

    /// Whether it holds the kind.
    #[must_use]
    pub fn has(self, kind: Kind) -> bool {
        self.0 & kind.bit() != 0
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |bits, kind| bits | kind.bit()))
    }
}

/// A place in a text that tells something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its bytes.
    pub range: Range<usize>,
    /// What it tells.
    pub kind: Kind,
}

impl Finding {
    pub(crate) fn overlaps(&self, range: &Range<usize>) -> bool {
        self.range.start < range.end && range.start < self.range.end
    }
}

/// What is made of digits. What is checked best claims its characters first.
const NUMBERS: [Kind; 5] = [Kind::Iban, Kind::Ip, Kind::Card, Kind::Id, Kind::Phone];

/// What of these kinds the text holds, in order, without overlaps.
#[must_use]
pub fn find(text: &str, kinds: Kinds) -> Vec<Finding> {
    if kinds.is_empty() {
        return Vec::new();
    }
    // A reader is asked for what is wanted, and for what takes characters from it.
    let read = |kind: Kind, for_kinds: &[Kind], reader: &dyn Fn() -> Vec<Range<usize>>| {
        if for_kinds.iter().any(|one| kinds.has(*one)) { of(kind, reader()) } else { Vec::new() }
    };
    let digits = if NUMBERS.iter().any(|kind| kinds.has(*kind)) { Digits::of(text) } else { Digits::default() };
    let mut claims = read(Kind::Secret, &[Kind::Secret, Kind::Phone], &|| secrets::find(text));
    let addresses = [
        read(Kind::Url, &[Kind::Url, Kind::Phone], &|| addresses::urls(text)),
        read(Kind::Email, &[Kind::Email, Kind::Phone], &|| addresses::emails(text)),
    ]
    .concat();
    let mut numbers: Vec<Finding> = Vec::new();
    claim(&mut numbers, read(Kind::Iban, &NUMBERS, &|| payment::ibans(text)));
    claim(&mut numbers, read(Kind::Ip, NUMBERS.get(1..).unwrap_or_default(), &|| addresses::ips(text)));
    claim(&mut numbers, read(Kind::Card, NUMBERS.get(2..).unwrap_or_default(), &|| payment::cards(text, &digits)));
    claim(&mut numbers, read(Kind::Id, NUMBERS.get(3..).unwrap_or_default(), &|| ids::find(text, &digits)));
    if kinds.has(Kind::Phone) {
        // A number within a URL may be anything, so no phone is seen there.
        let mut taken = longest([numbers.as_slice(), addresses.as_slice(), claims.as_slice()].concat());
        claim(&mut taken, of(Kind::Phone, phone::find(text, &digits)));
        numbers.extend(taken.into_iter().filter(|finding| finding.kind == Kind::Phone));
    }
    claims.extend(addresses);
    claims.extend(numbers);
    longest(claims.into_iter().filter(|finding| kinds.has(finding.kind)).collect())
}

/// The text as it may be logged: every finding of every kind is replaced by its kind.
#[must_use]
pub fn redact_for_log(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut end = 0;
    for Finding { range, kind } in find(text, Kinds::ALL) {
        redacted.push_str(text.get(end..range.start).unwrap_or_default());
        redacted.push('[');
        redacted.push_str(kind.label());
        redacted.push(']');
        end = range.end;
    }
    redacted.push_str(text.get(end..).unwrap_or_default());
    redacted
}

fn of(kind: Kind, ranges: Vec<Range<usize>>) -> Vec<Finding> {
    ranges.into_iter().map(|range| Finding { range, kind }).collect()
}

/// Adds what overlaps nothing that is there.
fn claim(taken: &mut Vec<Finding>, new: Vec<Finding>) {
    let free: Vec<Finding> = {
        let is_free = |finding: &Finding| {
            let after = taken.partition_point(|one| one.range.end <= finding.range.start);
            !taken.get(after).is_some_and(|one| one.overlaps(&finding.range))
        };
        new.into_iter().filter(is_free).collect()
    };
    taken.extend(free);
    taken.sort_by_key(|finding| finding.range.start);
}

/// Of findings that overlap, the longest; of equals the best checked.
fn longest(mut found: Vec<Finding>) -> Vec<Finding> {
    found.sort_by_key(|finding| (finding.range.start, std::cmp::Reverse(finding.range.len()), finding.kind));
    let mut kept: Vec<Finding> = Vec::with_capacity(found.len());
    for finding in found {
        match kept.last_mut() {
            Some(last) if finding.range.start < last.range.end => {
                // One that juts out is joined: nothing of it may stay.
                last.range.end = last.range.end.max(finding.range.end);
            }
            _ => kept.push(finding),
        }
    }
    kept
}

#[cfg(test)]
mod tests;
