//! Which words of a statement stand where in a sentence, and whether what is left over changes what is said.

use super::lists::{CONTRASTS, DIRECTIONS, NOT_SO, are_opposed, differ, unit};
use super::words::{Kind, Token};
use std::collections::HashMap;
use std::ops::Range;

/// Places looked at for each word.
const PLACES_MAX: usize = 24;
/// How far beyond the last word that was found is looked for a counterpart.
const NEAR: usize = 8;
/// The share of a statement's content that one sentence must hold.
const COVERAGE_MIN: f32 = 0.65;

/// Where each token of a statement stands in a window of a source.
pub(super) struct Alignment<'t> {
    claim: &'t [Token],
    window: &'t [Token],
    pub(super) places: Vec<Option<usize>>,
    is_used: Vec<bool>,
}

/// What a comparison found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fit {
    /// Whether the window says what the statement says.
    pub(super) holds: bool,
    /// The share of content found, 0 to 1.
    pub(super) coverage: f32,
    /// Words of content that were not found.
    pub(super) missing: usize,
}

impl<'t> Alignment<'t> {
    pub(super) fn new(claim: &'t [Token], window: &'t [Token]) -> Self {
        let mut found = Self { claim, window, places: vec![None; claim.len()], is_used: vec![false; window.len()] };
        found.match_runs();
        found.unmatch_strays();
        found.match_between();
        found
    }

    fn token(&self, at: usize) -> Option<&'t Token> {
        self.claim.get(at)
    }

    fn meets(&self, at: usize, place: usize) -> bool {
        let is_free = self.is_used.get(place) == Some(&false) && self.places.get(at) == Some(&None);
        is_free && self.claim.get(at).zip(self.window.get(place)).is_some_and(|(a, b)| a.meets(b))
    }

    fn set(&mut self, at: usize, place: usize) {
        if let (Some(slot), Some(used)) = (self.places.get_mut(at), self.is_used.get_mut(place)) {
            (*slot, *used) = (Some(place), true);
        }
    }

    fn clear(&mut self, at: usize) {
        if let Some(place) = self.places.get_mut(at).and_then(Option::take)
            && let Some(used) = self.is_used.get_mut(place)
        {
            *used = false;
        }
    }

    fn run_length(&self, at: usize, place: usize) -> usize {
        (0..64).take_while(|step| self.meets(at + step, place + step)).count()
    }

    /// Longest runs first at each word, from left to right.
    fn match_runs(&mut self) {
        let mut by_key: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, token) in self.window.iter().enumerate() {
            by_key.entry(&token.key).or_default().push(place);
        }
        let (mut at, mut last) = (0, 0);
        while let Some(token) = self.token(at) {
            if !token.is_content() || self.places.get(at).is_some_and(Option::is_some) {
                at += 1;
                continue;
            }
            let places = by_key.get(token.key.as_str()).into_iter().flatten().take(PLACES_MAX);
            let best = places.map(|place| (self.run_length(at, *place), *place)).max_by_key(|(length, place)| {
                let back = (1..=3).take_while(|step| at >= *step && *place >= *step && self.meets(at - step, place - step)).count();
                (length + back, usize::from(*place == last), usize::from(*place > last), usize::MAX - place.abs_diff(last))
            });
            let Some((length, place)) = best.filter(|(length, _)| *length > 0) else {
                at += 1;
                continue;
            };
            let signs = (at..at + length).filter(|at| self.token(*at).is_some_and(|token| token.kind == Kind::Sign)).count();
            if signs == length && length < 2 && self.claim.len() > 3 {
                at += 1;
                continue;
            }
            for step in 0..length {
                self.set(at + step, place + step);
            }
            let mut back = 1;
            while at >= back
                && place >= back
                && self.token(at - back).is_some_and(|token| !token.is_content())
                && self.meets(at - back, place - back)
            {
                self.set(at - back, place - back);
                back += 1;
            }
            at += length;
            last = place + length;
        }
    }

    /// A few words that were found elsewhere in the sentence, while others stand in their place, were not found.
    fn unmatch_strays(&mut self) {
        let mut at = 0;
        while at < self.claim.len() {
            let Some(first) = self.places.get(at).copied().flatten() else {
                at += 1;
                continue;
            };
            let length = (0..64).take_while(|step| self.places.get(at + step).copied().flatten() == Some(first + step)).count();
            let after = self.places.get(at + length).copied().flatten();
            // Before the first word stands what leads up to the second.
            let lead = after.filter(|after| at == 0 && first > *after).map(|after| after.saturating_sub(length + 2));
            let before = at.checked_sub(1).and_then(|at| self.places.get(at).copied().flatten()).or(lead);
            if let (Some(before), true) = (before, length <= 3) {
                let end = after.unwrap_or(before + length + 2);
                let is_between = before < first && first < end;
                let is_vacant =
                    |place: usize| self.is_used.get(place) == Some(&false) && self.window.get(place).is_some_and(Token::is_content);
                let is_bounded = after.is_some() || at + length == self.claim.len();
                if !is_between && is_bounded && before < end && end - before <= length + 3 && (before + 1..end).any(is_vacant) {
                    (at..at + length).for_each(|at| self.clear(at));
                }
            }
            at += length.max(1);
        }
    }

    /// Single words between two that were found.
    fn match_between(&mut self) {
        // The next place that was found behind each word.
        let mut afters = vec![None; self.places.len()];
        let mut after = None;
        for (at, place) in self.places.iter().enumerate().rev() {
            if let Some(slot) = afters.get_mut(at) {
                *slot = after;
            }
            after = place.or(after);
        }
        let mut before = None;
        for (at, after) in afters.into_iter().enumerate() {
            if self.places.get(at) == Some(&None)
                && let Some(place) = self.free_between(before, after).into_iter().find(|place| self.meets(at, *place))
            {
                self.set(at, place);
            }
            before = self.places.get(at).copied().flatten().or(before);
        }
    }

    /// Free places of the window that correspond to a run of the statement.
    fn gap(&self, run: Range<usize>) -> Vec<usize> {
        let before = self.places.get(..run.start).unwrap_or_default().iter().rev().copied().find_map(|place| place);
        let after = self.places.get(run.end..).unwrap_or_default().iter().copied().find_map(|place| place);
        self.free_between(before, after)
    }

    fn free_between(&self, before: Option<usize>, after: Option<usize>) -> Vec<usize> {
        let places = match (before, after) {
            (Some(before), Some(after)) if before < after => (before + 1..after.min(before + 2 * NEAR)).collect::<Vec<_>>(),
            (Some(before), Some(after)) => (before + 1..before + 1 + NEAR / 2).chain(after.saturating_sub(NEAR / 2)..after).collect(),
            (Some(before), None) => (before + 1..before + 1 + NEAR).collect(),
            (None, Some(after)) => (after.saturating_sub(NEAR)..after).collect(),
            (None, None) => (0..self.window.len().min(NEAR)).collect(),
        };
        places.into_iter().filter(|place| self.is_used.get(*place) == Some(&false)).collect()
    }

    /// Runs of the statement that were not found.
    pub(super) fn missing(&self) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for (at, _) in self.places.iter().enumerate().filter(|(_, place)| place.is_none()) {
            match runs.last_mut() {
                Some(run) if run.end == at => run.end += 1,
                _ => runs.push(at..at + 1),
            }
        }
        runs
    }

    /// Content of the window between the first and the last place that was found, outside of brackets, that the
    /// statement leaves out, as a share of the statement's content.
    pub(super) fn left_out(&self) -> f32 {
        let places = || self.places.iter().copied().flatten();
        let (Some(first), Some(last)) = (places().min(), places().max()) else { return 1.0 };
        let is_lost = |place: &usize| {
            self.is_used.get(*place) == Some(&false)
                && self.window.get(*place).is_some_and(|token| token.is_content() && !token.in_brackets)
        };
        share((first..last).filter(is_lost).count(), self.claim.iter().filter(|token| token.is_content()).count())
    }

    /// Whether the window says the statement. `named` says whether the source names somebody elsewhere.
    pub(super) fn fit(&self, named: &dyn Fn(&str) -> bool) -> Fit {
        let content = self.claim.iter().filter(|token| token.is_content()).count();
        let missing = self.claim.iter().zip(&self.places).filter(|(token, place)| token.is_content() && place.is_none()).count();
        let coverage = share(content - missing, content);
        let is_changed = self.missing().into_iter().any(|run| self.changes(run, named))
            || self.loses_polarity()
            || self.swaps()
            || self.governs_otherwise()
            || self.skips_contrast();
        Fit { holds: !is_changed && coverage >= COVERAGE_MIN, coverage, missing }
    }

    /// Whether words that the window lacks change what is said.
    fn changes(&self, run: Range<usize>, named: &dyn Fn(&str) -> bool) -> bool {
        let gap: Vec<&Token> = self.gap(run.clone()).into_iter().filter_map(|place| self.window.get(place)).collect();
        let starts = run.start == 0;
        let run = self.claim.get(run).unwrap_or_default();
        let stands_for = gap.iter().any(|token| token.is_pronoun);
        let has_signs = gap.iter().any(|token| token.kind == Kind::Sign);
        // Nothing but a name or a number stood where now something else does.
        let mut lost = gap.iter().filter(|token| token.is_content()).peekable();
        let is_replaced = lost.peek().is_some() && lost.all(|token| token.kind == Kind::Number || (token.is_name && !token.after_break));
        let is_pronoun = run.iter().all(|token| token.is_pronoun);
        let is_count = gap.iter().any(|token| token.kind == Kind::Number) && gap.len() <= 2;
        if is_replaced && !is_pronoun && (!starts || is_count) && gap.len() <= 4 {
            return true;
        }
        let is_new = |pair: &[Token]| matches!(pair, [a, b] if a.kind == Kind::Sign && b.kind == Kind::Sign && !named(&format!("{}{}", a.key, b.key)));
        if run.windows(2).any(is_new) && (stands_for || has_signs || run.len() <= 8) {
            return true;
        }
        run.iter().enumerate().any(|(at, token)| {
            // A week is no year.
            let is_other_unit = |other: &Token| unit(&token.key).zip(unit(&other.key)).is_some_and(|(a, b)| a != b);
            let denied = || gap.iter().any(|other| are_opposed(&token.key, &other.key) || is_other_unit(other));
            match token.kind {
                Kind::Negation => true,
                Kind::Number => token.key != "#1" || gap.iter().any(|other| other.kind == Kind::Number),
                Kind::Function => denied(),
                Kind::Sign => has_signs,
                Kind::Word if token.is_name && starts && at == 0 => {
                    (gap.iter().any(|other| other.is_capital && other.kind == Kind::Word) && !named(&token.key)) || denied()
                }
                Kind::Word if token.is_name => !(stands_for && named(&token.key)),
                Kind::Word => denied(),
            }
        })
    }

    /// Whether a negation, or a word that makes a name another one, was left out between words that were found.
    fn loses_polarity(&self) -> bool {
        let mut before: Option<usize> = None;
        for (at, place) in self.places.iter().enumerate() {
            let Some(place) = *place else { continue };
            let is_break = |place: &usize| self.window.get(*place).is_some_and(|token| token.after_break);
            let from = match before {
                Some(before) if before < place => (before + 1).max(place.saturating_sub(NEAR)),
                // What leads up to the first word, from the start of its clause on.
                None => (place.saturating_sub(2 * NEAR)..=place).rev().find(is_break).unwrap_or(place.saturating_sub(2 * NEAR)),
                _ => place.saturating_sub(1),
            };
            let is_free = |place: &usize| self.is_used.get(*place) == Some(&false);
            let in_brackets = |place: usize| self.window.get(place).is_some_and(|token| token.in_brackets);
            let is_outside = |place: usize| !in_brackets(place) || !before.is_some_and(in_brackets);
            // A clause between commas may be left out as a whole.
            let is_aside = |at: usize| (from..=at).any(|at| is_break(&at)) && (at + 1..=place).any(|at| is_break(&at));
            let denies = |lost: &Token| lost.kind == Kind::Negation || NOT_SO.contains(&format!(" {} ", lost.key));
            let was_denied = (from..place)
                .filter(is_free)
                .filter_map(|at| Some((at, self.window.get(at)?)))
                .any(|(at, lost)| denies(lost) && !(lost.in_brackets && is_outside(place)) && !is_aside(at));
            let is_other_name = self.token(at).is_some_and(|token| token.is_name)
                && place
                    .checked_sub(1)
                    .filter(is_free)
                    .and_then(|place| self.window.get(place))
                    .is_some_and(|lost| lost.is_capital && !lost.after_break && DIRECTIONS.contains(&format!(" {} ", lost.key)));
            if was_denied || is_other_name {
                return true;
            }
            before = Some(place);
        }
        false
    }
}

/// Orders.
impl Alignment<'_> {
    fn place(&self, at: usize) -> Option<usize> {
        self.places.get(at).copied().flatten()
    }

    /// Whether two names, or two numbers, changed places around the words that relate them.
    fn swaps(&self) -> bool {
        let is_held = |at: &usize| self.place(*at).is_some();
        for is_name in [true, false] {
            let is_one = |token: &Token| if is_name { token.is_name && token.kind == Kind::Word } else { token.key.starts_with('#') };
            let held: Vec<usize> = (0..self.claim.len()).filter(|at| self.token(*at).is_some_and(is_one)).filter(is_held).collect();
            for pair in held.windows(2) {
                let [first, second] = *pair else { continue };
                let (Some(a), Some(b)) = (self.place(first), self.place(second)) else { continue };
                if a < b || second - first > NEAR || a - b > NEAR || second == first + 1 {
                    continue;
                }
                let here = self.claim.get(first + 1..second).unwrap_or_default();
                let there = self.window.get(b + 1..a).unwrap_or_default();
                let has = |side: &[Token], key: &str| side.iter().any(|token| token.key == key);
                let relates =
                    |token: &&Token| token.is_content() || matches!(token.key.as_str(), "to" | "from" | "than" | "over" | "against" | "of");
                let relation: Vec<&Token> = here.iter().filter(relates).collect();
                if !relation.is_empty() && relation.iter().all(|token| has(there, &token.key)) && has(here, "by") == has(there, "by") {
                    return true;
                }
            }
        }
        // 30 cars are not 50 cars.
        (1..self.claim.len()).any(|at| {
            let (Some(number), Some(place)) = (self.token(at - 1), self.place(at)) else { return false };
            let is_counted = number.key.starts_with('#')
                && number.unit.is_none()
                && self.token(at).is_some_and(|token| token.kind == Kind::Word && !token.after_break);
            let before = place.checked_sub(1).and_then(|place| self.window.get(place));
            is_counted && before.is_some_and(|before| before.key.starts_with('#') && before.key != number.key && !before.in_brackets)
        })
    }

    /// Whether a small word that says how many, when, where from or why stands where another of its class did.
    fn governs_otherwise(&self) -> bool {
        (0..self.claim.len()).filter(|at| self.place(*at).is_none()).any(|at| {
            let Some((next, place)) = (at + 1..=at + 3).find_map(|next| Some((next, self.place(next)?))) else { return false };
            let from = place.saturating_sub(next - at + 1);
            let free = (from..place).filter(|place| self.is_used.get(*place) == Some(&false)).filter_map(|place| self.window.get(place));
            let is_broken = self.claim.get(at + 1..=next).unwrap_or_default().iter().any(|token| token.after_break);
            self.token(at).is_some_and(|token| !is_broken && free.into_iter().any(|other| differ(&token.key, &other.key)))
        })
    }

    /// Whether the statement goes on, without a break, with what stands behind a `but`.
    fn skips_contrast(&self) -> bool {
        (1..self.claim.len()).any(|at| {
            let (Some(before), Some(place)) = (self.place(at - 1), self.place(at)) else { return false };
            let skipped = self.window.get(before + 1..place).unwrap_or_default();
            let is_apart =
                self.token(at).is_some_and(|token| token.after_break) || self.window.get(place).is_some_and(|token| token.after_break);
            !is_apart && skipped.iter().any(|token| CONTRASTS.contains(&format!(" {} ", token.key)))
        })
    }
}

/// How much of a statement stands in a sentence word for word, from its beginning on and up to its end.
pub(super) struct Ends {
    pub(super) head: usize,
    pub(super) tail: usize,
    /// Whether the head goes on to the end of the sentence.
    pub(super) is_to_end: bool,
    /// Whether the tail begins where the sentence does.
    pub(super) is_from_start: bool,
}

impl Ends {
    pub(super) fn of(claim: &[Token], window: &[Token]) -> Self {
        let places = |token: Option<&Token>| -> Vec<usize> {
            let of = |token: &Token| {
                window.iter().enumerate().filter(|(_, other)| token.meets(other)).map(|(place, _)| place).take(PLACES_MAX).collect()
            };
            token.map(of).unwrap_or_default()
        };
        let head = |place: usize| claim.iter().zip(window.iter().skip(place)).take_while(|(a, b)| a.meets(b)).count();
        let tail = |place: usize| claim.iter().rev().zip(window.iter().take(place + 1).rev()).take_while(|(a, b)| a.meets(b)).count();
        let (head, is_to_end) =
            places(claim.first()).into_iter().map(|place| (head(place), place + head(place) == window.len())).max().unwrap_or_default();
        let (tail, is_from_start) =
            places(claim.last()).into_iter().map(|place| (tail(place), tail(place) == place + 1)).max().unwrap_or_default();
        Self { head, tail, is_to_end, is_from_start }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of words in a sentence")]
fn share(part: usize, whole: usize) -> f32 {
    if whole == 0 { 0.0 } else { part as f32 / whole as f32 }
}
