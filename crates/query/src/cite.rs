//! Citations: which exact characters of a source an answer's sentence rests on, and whether it may.
//!
//! Invariant: `quote` is the document's text at `span`, for every citation. What a model says is heard by a [`Reviewer`],
//! sentence by sentence, and judged by the citation gate: a marker that names the wrong source is pointed at the right
//! one, and what no source says is told, left out, or makes the answer an abstention, as the [`GatePolicy`] says.

use crate::extractive::Support;
use crate::gate::{Gate, Judged, Verdict};
use crate::pack::PackedSource;
use crate::script::is_cjk;
use crate::sentences::{Kind, sentences};
use corpus::{ChunkId, DocumentId, Span};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// One citation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Citation {
    /// The number in the answer's `[n]`: the nth source, from 1.
    pub marker: u32,
    /// The document cited.
    pub document_id: DocumentId,
    /// The chunk cited.
    pub chunk_id: ChunkId,
    /// The sentence of the source.
    pub quote: String,
    /// Where that stands in the document's text.
    pub span: Span,
    /// Page (from 1) where the chunk begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    /// Whether the sources say what the sentence that cites them says.
    pub verdict: Verdict,
    /// The number that was written, where it named a source that doesn't say it and `marker` names one that does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cited_as: Option<u32>,
}

/// What is done about sentences that no source says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GatePolicy {
    /// They are told, with their verdicts.
    #[default]
    Flag,
    /// They are left out.
    Strip,
    /// The whole answer becomes an abstention.
    Refuse,
}

/// One sentence of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatedSentence {
    /// Where it begins in the answer, in characters.
    pub sentence_start: usize,
    /// Where it ends.
    pub sentence_end: usize,
    /// Whether the sources say it: those it cites, or all if it cites none.
    pub verdict: Verdict,
    /// The sources it cites.
    pub markers: Vec<u32>,
}

/// What the citation gate found. Counts are of everything that was said, the list is of what is left of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateReport {
    /// What is done about what was not found.
    pub policy: GatePolicy,
    /// Sentences that a source says which they cite.
    pub supported: u32,
    /// Sentences that another source says than they cite.
    pub misattributed: u32,
    /// Sentences put together from parts of several.
    pub spliced: u32,
    /// Sentences that no source says.
    pub not_found: u32,
    /// Of all these, those that cite nothing.
    pub uncited: u32,
    /// Of all these, those that were left out.
    pub stripped: u32,
    /// Why the answer became an abstention, if it did.
    pub reason: Option<String>,
    /// In the answer's order.
    pub sentences: Vec<GatedSentence>,
}

/// The citations of an answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cited {
    /// In the answer's order.
    pub citations: Vec<Citation>,
    /// Markers that name no source.
    pub not_found: Vec<u32>,
    /// What the gate found.
    pub gate: GateReport,
}

/// What may be passed on of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Passed {
    /// Words.
    Text(String),
    /// What a sentence rests on that was passed on before.
    Citation(Box<Citation>),
}

/// Markers of one sentence that are judged, each by itself.
const JUDGED_MAX: usize = 8;
/// Most sources in one `[1-3]`.
const RANGE_MAX: u32 = 10;
/// Longest marker, in bytes; what is longer is text.
const MARKER_BYTES_MAX: usize = 64;
/// So much is heard at once, in bytes.
const HEARD_BYTES_MAX: usize = 1024;
/// A sentence is judged at this length at the latest, in bytes.
const SENTENCE_BYTES_MAX: usize = 4096;

/// Hears an answer as it comes, and judges each sentence when it is complete, with the markers behind it.
pub struct Reviewer<'s> {
    sources: &'s [PackedSource],
    gate: Gate,
    policy: GatePolicy,
    /// What takes the place of an answer that may not be given.
    abstention: &'static str,
    /// What was said since the last sentence that was judged, and how much of it was passed on.
    pending: String,
    passed: usize,
    text: String,
    text_chars: usize,
    /// Of `text`, the bytes that were passed on where it is stripped: nothing before a sentence that may be.
    told: usize,
    cited: Cited,
    is_refused: bool,
}

impl<'s> Reviewer<'s> {
    /// `gate` has read the texts of `sources`.
    #[must_use]
    pub fn new(sources: &'s [PackedSource], gate: Gate, policy: GatePolicy, abstention: &'static str) -> Self {
        let cited = Cited { gate: GateReport { policy, ..GateReport::default() }, ..Cited::default() };
        let (pending, text) = (String::new(), String::new());
        Self { sources, gate, policy, abstention, pending, passed: 0, text, text_chars: 0, told: 0, cited, is_refused: false }
    }

    /// Hears more; says what may be passed on.
    pub fn hear(&mut self, words: &str) -> Vec<Passed> {
        let (mut said, mut rest) = (Vec::new(), words);
        // Little by little, so that what is pending stays short.
        while !rest.is_empty() {
            let (next, behind) = rest.split_at(boundary(rest, HEARD_BYTES_MAX));
            self.pending.push_str(next);
            rest = behind;
            while let Some(end) = complete(&self.pending) {
                self.take(end, &mut said);
            }
        }
        // A marker is passed on when it is known to be right.
        if self.policy == GatePolicy::Flag {
            let end = self.pending.find(OPENINGS).unwrap_or(self.pending.len());
            if let Some(words) = self.pending.get(self.passed..end).filter(|words| !words.is_empty()) {
                said.push(Passed::Text(words.to_owned()));
                self.passed = end;
            }
        }
        said
    }

    /// Hears the end; says what is left to be passed on.
    pub fn finish(&mut self) -> Vec<Passed> {
        let mut said = Vec::new();
        self.take(self.pending.len(), &mut said);
        // What leads in and what connects says nothing by itself.
        let is_empty = self.cited.gate.sentences.is_empty() && self.cited.gate.stripped > 0;
        if self.is_refused || is_empty {
            let report = &mut self.cited.gate;
            report.reason = Some(format!("{} of the answer's sentences stand in no source", report.spliced + report.not_found));
            report.sentences.clear();
            self.cited.citations.clear();
            self.abstention.clone_into(&mut self.text);
            return vec![Passed::Text(self.text.clone())];
        }
        if self.policy == GatePolicy::Refuse {
            said = vec![Passed::Text(self.text.clone())];
            said.extend(self.cited.citations.iter().map(|citation| Passed::Citation(Box::new(citation.clone()))));
        }
        if let Some(rest) = self.text.get(self.told..).filter(|_| self.policy == GatePolicy::Strip) {
            said.push(Passed::Text(rest.to_owned()));
        }
        said.retain(|said| !matches!(said, Passed::Text(text) if text.is_empty()));
        said
    }

    /// The answer as it was passed on, and what it rests on.
    #[must_use]
    pub fn done(self) -> (String, Cited) {
        (self.text, self.cited)
    }

    /// Judges what was said up to `end`.
    fn take(&mut self, end: usize, said: &mut Vec<Passed>) {
        let rest = self.pending.split_off(end.min(self.pending.len()));
        let piece = std::mem::replace(&mut self.pending, rest);
        let passed = self.passed.min(piece.len());
        self.passed -= passed;
        let reviewed = self.review(&piece);
        if let Some(verdict) = reviewed.verdict {
            let is_bad = matches!(verdict, Verdict::Spliced | Verdict::NotFound);
            self.count(verdict, reviewed.markers.is_empty());
            if is_bad && self.policy != GatePolicy::Flag {
                self.cited.gate.stripped += u32::from(self.policy == GatePolicy::Strip);
                self.is_refused |= self.policy == GatePolicy::Refuse;
                return;
            }
            let start = self.text_chars;
            let lead = reviewed.text.chars().take_while(|c| c.is_whitespace()).count();
            let sentence_end = start + reviewed.text.trim_end().chars().count();
            self.cited.gate.sentences.push(GatedSentence {
                sentence_start: start + lead,
                sentence_end,
                verdict,
                markers: reviewed.markers,
            });
        }
        for number in reviewed.not_found {
            if !self.cited.not_found.contains(&number) {
                self.cited.not_found.push(number);
            }
        }
        self.text.push_str(&reviewed.text);
        self.text_chars += reviewed.text.chars().count();
        let is_silent = self.policy == GatePolicy::Refuse;
        let words = match self.policy {
            // What was passed on before has no marker, so nothing of it was changed.
            GatePolicy::Flag => reviewed.text.get(passed..),
            GatePolicy::Strip if !self.cited.gate.sentences.is_empty() => {
                self.text.get(std::mem::replace(&mut self.told, self.text.len())..)
            }
            GatePolicy::Strip | GatePolicy::Refuse => None,
        };
        if let Some(words) = words.filter(|words| !words.is_empty()) {
            said.push(Passed::Text(words.to_owned()));
        }
        for citation in reviewed.citations {
            if !self.cited.citations.contains(&citation) {
                self.cited.citations.push(citation.clone());
                said.extend((!is_silent).then(|| Passed::Citation(Box::new(citation))));
            }
        }
    }

    fn count(&mut self, verdict: Verdict, is_uncited: bool) {
        let report = &mut self.cited.gate;
        match verdict {
            Verdict::Supported => report.supported += 1,
            Verdict::Misattributed => report.misattributed += 1,
            Verdict::Spliced => report.spliced += 1,
            Verdict::NotFound => report.not_found += 1,
        }
        report.uncited += u32::from(is_uncited);
    }

    fn review(&self, piece: &str) -> Reviewed {
        let markers = markers(piece);
        let statement = stated(&blank(piece, &markers));
        let (known, unknown): (Vec<u32>, Vec<u32>) =
            markers.iter().map(|(_, number)| *number).partition(|number| self.index(*number).is_some());
        let known: Vec<u32> = known
            .iter()
            .enumerate()
            .filter(|(at, number)| !known.get(..*at).is_some_and(|before| before.contains(number)))
            .map(|(_, number)| *number)
            .collect();
        let cited: Vec<usize> = known.iter().filter_map(|number| self.index(*number)).collect();
        let whole = self.gate.judge(&statement, &cited);
        let mut verdict = whole.as_ref().map(|judged| judged.verdict);
        let mut parts = vec![(0..piece.len(), statement.clone(), known, whole)];
        if verdict.is_some_and(|verdict| verdict != Verdict::Supported)
            && let Some(clauses) = self.clauses(piece, &statement, &markers)
        {
            verdict = clauses.iter().filter_map(|(.., judged)| judged.as_ref()).map(|judged| judged.verdict).max();
            parts = clauses;
        }
        let (mut citations, mut moved) = (Vec::new(), Vec::new());
        for (place_of_part, statement, numbers, judged) in parts {
            let Some(judged) = judged else { continue };
            let holds = judged.verdict == Verdict::Supported;
            for (at, number) in numbers.iter().enumerate() {
                let own = self.index(*number).filter(|_| at < JUDGED_MAX && numbers.len() > 1);
                let own = own.and_then(|own| self.gate.judge(&statement, &[own]));
                // A marker that nothing was read for is not known to be right.
                let unread = || Judged { verdict: Verdict::NotFound, source: None };
                let one = own.unwrap_or_else(|| if at < JUDGED_MAX { judged.clone() } else { unread() });
                // Beside a source that says it, one that doesn't is not pointed elsewhere.
                let is_idle = one.verdict == Verdict::Misattributed && holds;
                let verdict = if is_idle { Verdict::NotFound } else { one.verdict };
                let place = one.source.filter(|(source, _)| verdict == Verdict::Misattributed || Some(*source) == self.index(*number));
                let (source, range) = place.unwrap_or_else(|| (self.index(*number).unwrap_or_default(), self.first_sentence(*number)));
                let Some(source) = self.sources.get(source) else { continue };
                let is_moved = verdict == Verdict::Misattributed && source.number != *number;
                if is_moved {
                    moved.push((place_of_part.clone(), *number, source.number));
                }
                let made = citation(source, &range, verdict);
                citations.extend(made.map(|made| Citation { cited_as: is_moved.then_some(*number), ..made }));
            }
        }
        let (text, mut numbers) = rewritten(piece, &markers, &moved);
        numbers.retain(|number| self.index(*number).is_some());
        Reviewed { text, verdict, markers: numbers, not_found: unknown, citations }
    }

    /// A sentence of several clauses, each with markers of its own; `None` if it is not one.
    fn clauses(&self, piece: &str, statement: &str, markers: &[(Range<usize>, u32)]) -> Option<Vec<Clause>> {
        let mut groups: Vec<(Range<usize>, Vec<u32>)> = Vec::new();
        for (place, number) in markers.iter().filter(|(_, number)| self.index(*number).is_some()) {
            match groups.last_mut() {
                Some((last, numbers)) if piece.get(last.end..place.start).is_none_or(|between| between.trim().is_empty()) => {
                    last.end = last.end.max(place.end);
                    numbers.push(*number);
                }
                _ => groups.push((place.clone(), vec![*number])),
            }
        }
        let last = groups.last()?;
        let is_rest = statement.get(last.0.end..)?.chars().any(char::is_alphanumeric);
        if groups.len() < 2 || is_rest {
            return None;
        }
        let (mut start, mut clauses) = (0, Vec::new());
        for (place, numbers) in groups {
            let clause = statement.get(start..place.start)?;
            let opening = clause.trim_start();
            let is_joined = start == 0
                || opening.starts_with([',', ';', '，', '；', '、'])
                || ["and ", "but ", "while ", "whereas "].iter().any(|word| opening.starts_with(word));
            let is_long = if clause.chars().any(is_cjk) { clause.chars().count() >= 8 } else { clause.split_whitespace().count() >= 4 };
            if !is_joined || !is_long {
                return None;
            }
            let cited: Vec<usize> = numbers.iter().filter_map(|number| self.index(*number)).collect();
            clauses.push((start..place.end, clause.to_owned(), numbers, self.gate.judge(clause, &cited)));
            start = place.end;
        }
        Some(clauses)
    }

    fn index(&self, number: u32) -> Option<usize> {
        (number as usize).checked_sub(1).filter(|index| *index < self.sources.len())
    }

    fn first_sentence(&self, number: u32) -> Range<usize> {
        let text = self.index(number).and_then(|index| self.sources.get(index)).map(PackedSource::text).unwrap_or_default();
        sentences(text).into_iter().next().map_or(0..text.len(), |sentence| sentence.range)
    }
}

/// A part of a sentence with its place, the markers behind it, and what the gate says of it.
type Clause = (Range<usize>, String, Vec<u32>, Option<Judged>);

/// A marker's place, and what it is pointed at instead.
type Moved = (Range<usize>, u32, u32);

struct Reviewed {
    text: String,
    verdict: Option<Verdict>,
    markers: Vec<u32>,
    not_found: Vec<u32>,
    citations: Vec<Citation>,
}

/// Reads a whole answer at once.
#[must_use]
pub fn cite(answer: &str, sources: &[PackedSource]) -> (String, Cited) {
    let texts: Vec<&str> = sources.iter().map(PackedSource::text).collect();
    let mut reviewer = Reviewer::new(sources, Gate::new(&texts), GatePolicy::Flag, "");
    reviewer.hear(answer);
    reviewer.finish();
    reviewer.done()
}

/// Where the first sentence ends for certain, with its markers and the space behind: where the next one has begun.
fn complete(pending: &str) -> Option<usize> {
    // No more is looked at than decides.
    let pending = pending.get(..boundary(pending, SENTENCE_BYTES_MAX + 2 * MARKER_BYTES_MAX))?;
    // A marker may still be cut in two.
    let open = pending
        .rfind(OPENINGS)
        .filter(|open| pending.get(*open..).is_some_and(|tail| tail.len() <= MARKER_BYTES_MAX && !tail.contains(CLOSINGS)));
    let seen = pending.get(..open.unwrap_or(pending.len()))?;
    let bare = blank(seen, &markers(seen));
    let units = sentences(&bare);
    let begins_next = |at: &usize| {
        let last = units.get(at - 1).and_then(|unit| bare.get(unit.range.clone())).unwrap_or_default();
        !last.ends_with(['；', ';']) && !ends_in_initials(last)
    };
    let next = (1..units.len()).find(begins_next).and_then(|at| units.get(at)).map(|unit| unit.range.start);
    if next.is_none_or(|next| next > SENTENCE_BYTES_MAX) && seen.len() > SENTENCE_BYTES_MAX {
        return Some(forced_end(seen));
    }
    // The marks of a list belong to what they lead in.
    let next = next?;
    let line = seen.get(..next)?.rfind('\n').map_or(0, |at| at + 1);
    let is_mark = seen.get(line..next).is_some_and(|lead| {
        !lead.is_empty()
            && !lead.contains(OPENINGS)
            && line > 0
            && !bare.get(line..next).is_some_and(|lead| lead.chars().any(char::is_alphabetic))
    });
    Some(if is_mark { line } else { next })
}

/// Where a sentence that doesn't end is cut: not in a marker, nor in a word where there are spaces.
fn forced_end(seen: &str) -> usize {
    let end = boundary(seen, SENTENCE_BYTES_MAX);
    let head = seen.get(..end).unwrap_or_default();
    let open = head
        .rfind(OPENINGS)
        .filter(|open| end - open <= MARKER_BYTES_MAX && head.get(*open..).is_some_and(|tail| !tail.contains(CLOSINGS)));
    let end = open.unwrap_or(end);
    let space = head.get(..end).and_then(|head| head.rfind(' ')).filter(|space| *space > end / 2);
    space.map_or(end, |space| space + 1)
}

/// The last boundary of a character up to `bytes_max`.
fn boundary(text: &str, bytes_max: usize) -> usize {
    (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default()
}

/// What is stated, every byte in its place: the marks of lists and whole headings are overwritten by spaces.
fn stated(bare: &str) -> String {
    let mut stated = String::with_capacity(bare.len());
    for unit in sentences(bare).into_iter().filter(|unit| unit.kind != Kind::Heading) {
        stated.push_str(&" ".repeat(unit.range.start.saturating_sub(stated.len())));
        stated.push_str(bare.get(unit.range).unwrap_or_default());
    }
    stated.push_str(&" ".repeat(bare.len().saturating_sub(stated.len())));
    stated
}

/// The text and the citations of an extractive answer: each sentence as it stands, then its marker.
#[must_use]
pub fn compose(support: &[Support], sources: &[PackedSource]) -> (Vec<String>, Vec<Citation>) {
    let found = support.iter().filter_map(|one| sources.get(one.source).map(|source| (one, source)));
    let cited = found.filter_map(|(one, source)| citation(source, &one.range, Verdict::Supported));
    let pieces = |(at, citation): (usize, Citation)| {
        let text = citation.quote.split_whitespace().collect::<Vec<_>>().join(" ");
        let gap = if at == 0 || text.starts_with(is_cjk) { "" } else { " " };
        (format!("{gap}{text} [{}]", citation.marker), citation)
    };
    cited.enumerate().map(pieces).unzip()
}

/// What the gate says of an extractive answer: each piece is a quote with its source, which says it by definition.
#[must_use]
pub(crate) fn quoted(pieces: &[String], citations: &[Citation], policy: GatePolicy) -> GateReport {
    let mut report = GateReport { policy, ..GateReport::default() };
    let mut at = 0;
    for (piece, citation) in pieces.iter().zip(citations) {
        let end = at + piece.chars().count();
        let start = at + piece.chars().take_while(|c| c.is_whitespace()).count();
        report.supported += 1;
        report.sentences.push(GatedSentence {
            sentence_start: start,
            sentence_end: end,
            verdict: citation.verdict,
            markers: vec![citation.marker],
        });
        at = end;
    }
    report
}

fn citation(source: &PackedSource, range: &Range<usize>, verdict: Verdict) -> Option<Citation> {
    let (span, quote) = source.quote(range)?;
    Some(Citation {
        marker: source.number,
        document_id: source.hit.document_id.clone(),
        chunk_id: source.hit.chunk_id.clone(),
        quote: quote.to_owned(),
        span,
        page: source.hit.page,
        verdict,
        cited_as: None,
    })
}

/// `J.`, `D.C.`: no end of a sentence, or not for certain.
fn ends_in_initials(text: &str) -> bool {
    let word = text.rsplit(char::is_whitespace).next().unwrap_or_default().trim_start_matches(['(', '"']);
    word.strip_suffix('.')
        .is_some_and(|word| word.split('.').all(|part| part.chars().count() == 1 && part.chars().all(char::is_alphabetic)))
}

const OPENINGS: [char; 3] = ['[', '【', '［'];
const CLOSINGS: [char; 3] = [']', '】', '］'];

/// Every number in `[1]`, `[1, 2]`, `[1-3]`, `[1][2]` and `【1】`, with the place of its bracket.
fn markers(answer: &str) -> Vec<(Range<usize>, u32)> {
    let mut found = Vec::new();
    for (open, bracket) in answer.match_indices(OPENINGS) {
        let rest = answer.get(open + bracket.len()..).unwrap_or_default();
        let near = rest.char_indices().take_while(|(at, _)| *at <= MARKER_BYTES_MAX);
        let Some((close, closing)) = near.into_iter().find(|(_, c)| CLOSINGS.contains(c)) else { continue };
        let inside = rest.get(..close).unwrap_or_default();
        let numbers: Option<Vec<Vec<u32>>> = inside.split([',', '，', ';', '、']).map(|part| numbers(part.trim())).collect();
        let place = open..open + bracket.len() + close + closing.len_utf8();
        // `a[0](…)` and `[1](http…)` are code and links.
        let is_link = answer.get(place.end..).is_some_and(|after| after.starts_with('('));
        found.extend(numbers.filter(|_| !is_link).into_iter().flatten().flatten().map(|number| (place.clone(), number)));
    }
    found
}

/// `2`, and `1-3`, which is short: years are no markers.
fn numbers(part: &str) -> Option<Vec<u32>> {
    let Some((first, last)) = part.split_once(['-', '–', '—']) else { return Some(vec![part.parse().ok()?]) };
    let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first < last && last < 100 && (last - first) < RANGE_MAX).then(|| (first..=last).collect())
}

/// The answer with its markers overwritten by spaces, so that every other byte keeps its place.
fn blank(answer: &str, markers: &[(Range<usize>, u32)]) -> String {
    let mut bare = String::with_capacity(answer.len());
    for (place, _) in markers.iter().filter(|(place, _)| answer.is_char_boundary(place.start) && answer.is_char_boundary(place.end)) {
        if place.start >= bare.len() {
            bare.push_str(answer.get(bare.len()..place.start).unwrap_or_default());
            bare.push_str(&" ".repeat(place.len()));
        }
    }
    bare.push_str(answer.get(bare.len()..).unwrap_or_default());
    bare
}

/// The text with each marker that was moved under its new number, none twice in a row; and the numbers.
fn rewritten(piece: &str, markers: &[(Range<usize>, u32)], moved: &[Moved]) -> (String, Vec<u32>) {
    let target = |place: &Range<usize>, number: u32| {
        let is_of = |(part, from, _): &&Moved| part.start <= place.start && place.end <= part.end && *from == number;
        moved.iter().find(is_of).map_or(number, |(.., to)| *to)
    };
    let mut brackets: Vec<(&Range<usize>, Vec<u32>)> = Vec::new();
    let mut all: Vec<u32> = Vec::new();
    // Those of the brackets before it, with nothing between.
    let mut in_row: Vec<u32> = Vec::new();
    for (place, number) in markers {
        let is_same = brackets.last().is_some_and(|(last, _)| *last == place);
        if !is_same {
            let is_next = brackets.last().and_then(|(last, _)| piece.get(last.end..place.start)).is_some_and(|gap| gap.trim().is_empty());
            if !is_next {
                in_row.clear();
            }
            brackets.push((place, Vec::new()));
        }
        let number = target(place, *number);
        if let Some((_, numbers)) = brackets.last_mut().filter(|_| !in_row.contains(&number)) {
            numbers.push(number);
            in_row.push(number);
        }
        if !all.contains(&number) {
            all.push(number);
        }
    }
    if moved.is_empty() {
        return (piece.to_owned(), all);
    }
    let (mut text, mut done) = (String::with_capacity(piece.len()), 0);
    for (place, numbers) in brackets {
        text.push_str(piece.get(done..place.start).unwrap_or_default());
        let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
        if !numbers.is_empty() {
            text.push_str(&format!("[{}]", numbers.join(", ")));
        }
        done = place.end;
    }
    text.push_str(piece.get(done..).unwrap_or_default());
    (text, all)
}

#[cfg(test)]
mod tests;
