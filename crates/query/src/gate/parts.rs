//! A statement of two clauses that two sentences of one source say, one each, and a subject that the source calls `it`.
//!
//! Unlike a splice, each part is found whole: the second with its own subject, or behind the pronoun that stands for the
//! subject of the first.

use super::Gate;
use super::align::Alignment;
use super::words::{Kind, Token};
use std::ops::Range;

/// Places at which a statement is tried to be parted.
const PARTINGS_MAX: usize = 8;
/// How far apart the two sentences may be.
const DISTANCE_MAX: usize = 2;
/// Content words of a subject.
const SUBJECT_MAX: usize = 4;
/// What joins a clause to the one before it.
const JOINTS: &str = " and but so while whereas where which who yet also then 而 且 并 並 但 也 ";
/// With these a subject has ended.
const VERBS: &str = " is are was were has have had did does do be been can could will would may might must should ";

impl Gate {
    /// Where a source says a statement in two sentences near each other: the source and its bytes from the one to the other.
    pub(super) fn in_parts(&self, claim: &[Token], places: &[(usize, usize)]) -> Option<(usize, Range<usize>)> {
        places.iter().find_map(|(source, number)| {
            let first = (*source, *number);
            let parted: Vec<usize> =
                partings(claim).filter(|at| claim.get(..*at).is_some_and(|head| self.says_whole(head, first).is_some())).collect();
            let others = (number.saturating_sub(DISTANCE_MAX)..=number + DISTANCE_MAX).filter(|other| other != number);
            others.map(|other| (*source, other)).find_map(|second| {
                // Either may be the one that is close to the statement.
                let is_resolved = || self.is_resolved(claim, first, second) || self.is_resolved(claim, second, first);
                let says = parted.iter().any(|at| self.are_said(claim, *at, first, second)) || is_resolved();
                let (first, second) = (self.piece(first)?, self.piece(second).filter(|_| says)?);
                Some((*source, first.bytes.start.min(second.bytes.start)..first.bytes.end.max(second.bytes.end)))
            })
        })
    }

    /// Whether a sentence says what stands behind a joint, where another says what stands before it.
    fn are_said(&self, claim: &[Token], at: usize, first: (usize, usize), second: (usize, usize)) -> bool {
        let (head, tail) = claim.split_at(at);
        let joint = tail.iter().take_while(|token| is_joint(token)).count();
        let tail = tail.get(joint..).unwrap_or_default();
        let Some(begins) = self.says_whole(tail, second) else { return false };
        let there = self.tokens(second);
        let own = there.iter().position(Token::is_content);
        let opens = |tokens: &[Token]| tokens.iter().find(|token| token.is_content()).map(|token| token.key.clone());
        let has_subject = own.is_some_and(|own| begins <= own);
        let is_same_subject = starts_with_pronoun(there) || opens(there) == opens(head);
        has_subject || (first.1 < second.1 && is_same_subject && is_predicate(there, begins))
    }

    /// Whether a statement names the subject of one sentence and goes on as another does behind its pronoun.
    fn is_resolved(&self, claim: &[Token], first: (usize, usize), second: (usize, usize)) -> bool {
        let there = self.tokens(second);
        if first.1 >= second.1 || !starts_with_pronoun(there) {
            return false;
        }
        let length = claim.iter().zip(self.tokens(first)).take_while(|(a, b)| a.meets(b)).count();
        let (subject, rest) = claim.split_at(length);
        let content = subject.iter().filter(|token| token.is_content()).count();
        let is_subject = (1..=SUBJECT_MAX).contains(&content) && !subject.iter().any(|token| VERBS.contains(&format!(" {} ", token.key)));
        is_subject && self.says_whole(rest, second).is_some_and(|begins| is_predicate(there, begins))
    }

    /// Where a part begins in a sentence that holds all of its content and denies none.
    fn says_whole(&self, part: &[Token], place: (usize, usize)) -> Option<usize> {
        let window = self.tokens(place);
        let signs = part.iter().filter(|token| token.kind == Kind::Sign).count();
        let content = part.iter().filter(|token| token.is_content()).count();
        if window.is_empty() || content < if signs > 0 { 4 } else { 2 } {
            return None;
        }
        let alignment = Alignment::new(part, window);
        let fit = alignment.fit(&|_| false);
        let first = alignment.places.iter().copied().flatten().next();
        first.filter(|_| fit.holds && fit.missing == 0)
    }
}

/// Before which tokens a clause may begin.
fn partings(claim: &[Token]) -> impl Iterator<Item = usize> {
    let begins = |at: &usize| claim.get(*at).is_some_and(|token| token.after_break || is_joint(token));
    (2..claim.len()).filter(begins).take(PARTINGS_MAX)
}

fn is_joint(token: &Token) -> bool {
    JOINTS.contains(&format!(" {} ", token.key))
}

fn starts_with_pronoun(sentence: &[Token]) -> bool {
    sentence.first().is_some_and(|token| token.is_pronoun)
}

/// Whether what stands at a place follows its subject, or is joined to what does.
fn is_predicate(sentence: &[Token], at: usize) -> bool {
    let is_small = |token: &Token| !token.is_content();
    let is_next = sentence.get(..at).is_some_and(|lead| lead.iter().all(is_small));
    is_next || at.checked_sub(1).and_then(|before| sentence.get(before)).is_some_and(is_joint)
}
