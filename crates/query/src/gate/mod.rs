//! The citation gate: does a source say what an answer says?
//!
//! Each statement is laid over the sentences of the sources that share most of its words. Numbers, dates, names and
//! negations must be found where they belong; other words may differ as long as most are found and none denies one that
//! stands in its place. What only two sentences together hold was spliced.
//!
//! Invariants: no model and no chance, so the same texts give the same verdicts; the cost is linear in answer and
//! sources, as each statement is compared with a bounded number of sentences of bounded length.

mod align;
mod lists;
mod parts;
#[cfg(test)]
mod tests;
mod words;

use align::{Alignment, Ends, Fit};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use words::{Kind, Piece, Read, Token, read};

/// Whether the sources say what a sentence says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// A source that it cites says it.
    Supported,
    /// Another source says it.
    Misattributed,
    /// Parts of it stand in several sentences; none says it.
    Spliced,
    /// No source says it.
    NotFound,
}

/// What was found about a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// The source that says it, or comes closest, from 0, and where, in bytes.
    pub source: Option<(usize, Range<usize>)>,
}

/// Sources, read once.
pub struct Gate {
    sources: Vec<Read>,
    /// Sentences by source and number.
    sentences: Vec<(usize, usize)>,
    by_key: HashMap<String, Vec<u32>>,
    /// What each source mentions anywhere.
    mentions: Vec<HashSet<String>>,
}

/// Sentences that are compared with a statement, in the cited sources and in the rest.
const CANDIDATES: usize = 6;
/// A word that so many sentences hold tells none apart.
const COMMON: usize = 256;
/// Tokens of a statement that are looked at; a sentence of an answer, which is at most 4 KiB, has fewer.
const CLAIM_TOKENS_MAX: usize = 4096;

impl Gate {
    /// Reads the sources.
    #[must_use]
    pub fn new(sources: &[&str]) -> Self {
        let sources: Vec<Read> = sources.iter().map(|text| read(text)).collect();
        let mentions = sources.iter().map(|read| keys(&read.tokens).into_iter().collect()).collect();
        let (mut sentences, mut by_key) = (Vec::new(), HashMap::<String, Vec<u32>>::new());
        for (source, read) in sources.iter().enumerate() {
            for (number, piece) in read.sentences.iter().enumerate() {
                let id = u32::try_from(sentences.len()).unwrap_or(u32::MAX);
                sentences.push((source, number));
                for key in keys(read.tokens.get(piece.tokens.clone()).unwrap_or_default()) {
                    let known = by_key.entry(key).or_default();
                    if known.last() != Some(&id) && known.len() <= COMMON {
                        known.push(id);
                    }
                }
            }
        }
        Self { sources, sentences, by_key, mentions }
    }

    /// Judges a statement that cites these sources (from 0); one that cites none is compared with all. `None` for what
    /// states nothing.
    #[must_use]
    pub fn judge(&self, statement: &str, cited: &[usize]) -> Option<Judged> {
        let mut claim = read(statement);
        // Among signs, what is written in letters names something.
        let count = |kind: Kind| claim.tokens.iter().filter(|token| token.kind == kind).count();
        if count(Kind::Sign) > count(Kind::Word) {
            claim.tokens.iter_mut().filter(|token| token.kind == Kind::Word).for_each(|token| token.is_name = true);
        }
        let claim = claim.tokens.get(..claim.tokens.len().min(CLAIM_TOKENS_MAX)).unwrap_or_default();
        if !states(statement, claim) {
            return None;
        }
        let votes = self.votes(claim);
        let is_cited = |source: usize| cited.is_empty() || cited.contains(&source);
        let (here, there): (Vec<_>, Vec<_>) =
            votes.into_iter().partition(|(id, _)| self.place(*id).is_some_and(|(source, _)| is_cited(source)));
        let best = |votes: Vec<(u32, f32)>| -> Vec<(usize, usize)> {
            votes.into_iter().take(CANDIDATES).filter_map(|(id, _)| self.place(id)).collect()
        };
        let (here, there) = (best(here), best(there));
        let all: Vec<(usize, usize)> = here.iter().chain(&there).copied().collect();
        let is_patched = self.is_patched(claim, &all);
        let mut closest: Option<(Fit, (usize, usize))> = None;
        for (places, verdict) in [(&here, Verdict::Supported), (&there, Verdict::Misattributed)] {
            for place in places {
                let Some((fit, bytes)) = self.compare(claim, *place) else { continue };
                if fit.holds && !is_patched && !(fit.missing > 0 && self.is_spliced(claim, *place, &all)) {
                    return Some(Judged { verdict, source: Some((place.0, bytes)) });
                }
                if closest.is_none_or(|(known, _)| fit.coverage > known.coverage + f32::EPSILON) {
                    closest = Some((fit, *place));
                }
            }
        }
        if let Some(source) = self.in_parts(claim, &here) {
            return Some(Judged { verdict: Verdict::Supported, source: Some(source) });
        }
        let is_spliced = is_patched || closest.is_some_and(|(_, place)| self.is_spliced(claim, place, &all));
        // What a cited source comes closest to is shown, not what another does.
        let shown = here.first().copied().or(closest.map(|(_, place)| place));
        let source = shown.and_then(|place| Some((place.0, self.piece(place)?.bytes.clone())));
        Some(Judged { verdict: if is_spliced { Verdict::Spliced } else { Verdict::NotFound }, source })
    }

    fn place(&self, id: u32) -> Option<(usize, usize)> {
        self.sentences.get(id as usize).copied()
    }

    fn piece(&self, (source, number): (usize, usize)) -> Option<&Piece> {
        self.sources.get(source)?.sentences.get(number)
    }

    fn tokens(&self, place: (usize, usize)) -> &[Token] {
        let range = self.piece(place).map(|piece| piece.tokens.clone()).unwrap_or_default();
        self.sources.get(place.0).and_then(|read| read.tokens.get(range)).unwrap_or_default()
    }

    /// Sentences by what they share with a statement, most first.
    #[expect(clippy::cast_precision_loss, reason = "counts of sentences")]
    fn votes(&self, claim: &[Token]) -> Vec<(u32, f32)> {
        let mut votes: HashMap<u32, f32> = HashMap::new();
        let mut wanted = keys(claim);
        wanted.sort_unstable();
        wanted.dedup();
        for key in wanted {
            let known = self.by_key.get(&key).map(Vec::as_slice).unwrap_or_default();
            let weight = (1.0 + self.sentences.len() as f32 / known.len().max(1) as f32).ln();
            for id in known {
                *votes.entry(*id).or_default() += weight;
            }
        }
        let mut votes: Vec<(u32, f32)> = votes.into_iter().collect();
        votes.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        votes
    }

    /// How a statement fits a sentence, or that with the next or the one before, where it runs on.
    fn compare(&self, claim: &[Token], place: (usize, usize)) -> Option<(Fit, Range<usize>)> {
        let (source, number) = place;
        let read = self.sources.get(source)?;
        let named = |key: &str| self.mentions.get(source).is_some_and(|known| known.contains(key));
        let piece = self.piece(place)?;
        let fit = Alignment::new(claim, self.tokens(place)).fit(&named);
        if fit.holds && fit.missing == 0 {
            return Some((fit, piece.bytes.clone()));
        }
        for (first, last) in [(number.checked_sub(1), Some(number)), (Some(number), number.checked_add(1))] {
            let (Some(first), Some(last)) = (first, last) else { continue };
            let (Some(first), Some(last)) = (self.piece((source, first)), self.piece((source, last))) else { continue };
            let window = read.tokens.get(first.tokens.start..last.tokens.end).unwrap_or_default();
            let alignment = Alignment::new(claim, window);
            let joined = alignment.fit(&named);
            if joined.holds && joined.missing == 0 && alignment.left_out() < 0.15 {
                return Some((joined, first.bytes.start..last.bytes.end));
            }
        }
        Some((fit, piece.bytes.clone()))
    }

    /// Whether a statement is the beginning of one sentence and the end of another, word for word, and no sentence holds both.
    fn is_patched(&self, claim: &[Token], all: &[(usize, usize)]) -> bool {
        const SIDE_MIN: usize = 2;
        let ends: Vec<((usize, usize), Ends)> = all.iter().map(|place| (*place, Ends::of(claim, self.tokens(*place)))).collect();
        let joins = |head: usize, tail: usize| head + tail + 1 >= claim.len();
        let says = |part: Option<&[Token]>| part.is_some_and(|part| part.len() >= SIDE_MIN && part.iter().any(Token::is_content));
        if claim.len() < 6 || ends.iter().any(|(_, ends)| joins(ends.head, ends.tail)) {
            return false;
        }
        let mut is_patched = false;
        for ((source, number), first) in ends.iter().filter(|(_, ends)| says(claim.get(..ends.head))) {
            for ((other, last_number), last) in
                ends.iter().filter(|(_, ends)| says(claim.get(claim.len() - ends.tail..)) && joins(first.head, ends.tail))
            {
                // One that runs on from a sentence into the next is a quote.
                if source == other && (number + 1..=number + 2).contains(last_number) && (first.is_to_end || last.is_from_start) {
                    return false;
                }
                is_patched = true;
            }
        }
        is_patched
    }

    /// Whether another sentence holds, in a run, what this one lacks.
    fn is_spliced(&self, claim: &[Token], best: (usize, usize), all: &[(usize, usize)]) -> bool {
        let here = Alignment::new(claim, self.tokens(best));
        let missing = here.missing();
        let is_content = |at: &usize| claim.get(*at).is_some_and(Token::is_content);
        let lost: Vec<usize> = missing.iter().cloned().flatten().filter(is_content).collect();
        all.iter().filter(|place| **place != best).any(|place| {
            let there = Alignment::new(claim, self.tokens(*place));
            let has = |at: usize| there.places.get(at).copied().flatten();
            let in_run = |at: &usize| {
                let Some(found) = has(*at) else { return false };
                has(at + 1) == Some(found + 1) || (*at > 0 && found > 0 && has(at - 1) == Some(found - 1))
            };
            let found = lost.iter().filter(|at| in_run(at)).count();
            let needed = if claim.get(*lost.first().unwrap_or(&0)).is_some_and(|token| token.kind == Kind::Sign) { 3 } else { 2 };
            if found >= needed && found * 2 >= lost.len() {
                return true;
            }
            // One word, but with what stands beside it, to an end of the statement.
            missing.iter().any(|run| {
                let reaches_end = run.start <= 2 || run.end + 2 >= claim.len();
                let around = run.start.saturating_sub(2)..(run.end + 2).min(claim.len());
                let is_next = |at: usize, next: usize| has(at).is_some_and(|place| has(next) == Some(place + next - at));
                let run_from = |at: usize| (at..around.end).take_while(|next| is_next(at, *next)).count();
                let longest = around.clone().map(run_from).max().unwrap_or(0);
                reaches_end && run.clone().any(|at| is_content(&at) && has(at).is_some()) && longest >= 3
            })
        })
    }
}

/// What a sentence is found by: words, numbers, pairs of signs.
fn keys(tokens: &[Token]) -> Vec<String> {
    let words = tokens.iter().filter(|token| matches!(token.kind, Kind::Word | Kind::Number)).map(|token| token.key.clone());
    let pairs = tokens.windows(2).filter_map(|pair| match pair {
        [a, b] if a.kind == Kind::Sign || b.kind == Kind::Sign => Some(format!("{}{}", a.key, b.key)),
        _ => None,
    });
    words.chain(pairs).collect()
}

/// Whether there is something to check: not in connectives, in what leads a list in, and in "I don't know".
fn states(statement: &str, claim: &[Token]) -> bool {
    let is_fact = |token: &Token| token.kind == Kind::Number || (token.is_name && token.range.start > 0);
    let text = statement.trim_matches(|c: char| c.is_whitespace() || matches!(c, '*' | '_')).replace('’', "'").to_lowercase();
    let leads_in = text.ends_with([':', '：']) && !claim.iter().any(is_fact);
    let opening = ["i don't know", "i do not know", "我不知道", "不知道"].into_iter().find(|words| text.starts_with(words));
    let refuses = opening.is_some_and(|words| {
        let rest = claim.get(read(words).tokens.len()..).unwrap_or_default();
        let (clause, others) = rest.split_at(rest.iter().position(|token| token.after_break).unwrap_or(rest.len()));
        !clause.iter().any(is_fact) && !others.iter().any(Token::is_content)
    });
    let agrees = AGREEMENT.contains(&format!(" {} ", text.trim_end_matches(['!', '.', ',', '！', '。', '，'])));
    claim.iter().any(Token::is_content) && !leads_in && !refuses && !agrees
}

/// What is said before an answer.
const AGREEMENT: &str = " sure certainly absolutely okay ok yes great of course hello hi thanks thank you gladly 好的 当然 當然 是的 你好 ";
