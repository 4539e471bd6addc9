//! How much a text looks like an attempt to give a model other instructions.
//!
//! A transparent linear model: each rule of `injection/rules.rs` is a pattern with a weight for questions and one for
//! retrieved texts, in log-odds. What fired is added up, each rule once, and squeezed into 0 to 1. Patterns see the text
//! as a reader does: lower case, without invisible characters, with look-alikes of Latin letters read as those, and with
//! blocks of base64 opened once.
//!
//! It errs on both sides: whoever knows the rules can write around them. It is a warning; what keeps a document's orders
//! from being obeyed is that sources reach the model apart from its instructions.

mod normal;
mod rules;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use normal::Normal;
use regex::Regex;
use rules::{RULES, Rule};
use std::ops::Range;
use std::sync::LazyLock;

/// From which score on a text counts as an injection.
pub const THRESHOLD: f32 = 0.5;

/// The log-odds of a text on which nothing fires.
const BIAS: f32 = -2.2;
/// More of a text is not read: an order that comes later is met in another chunk.
const TEXT_BYTES_MAX: usize = 256 * 1024;
/// A question of so many bytes is more than one.
const LONG_QUESTION_BYTES: usize = 260;
/// Fewest characters of base64 that are opened.
const BASE64_CHARS_MIN: usize = 24;
/// Most blocks of base64 that are opened.
const BASE64_BLOCKS_MAX: usize = 16;

/// Where a text comes from: orders are natural in a question, and strange in a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Who asks wrote it.
    Question,
    /// It was retrieved.
    Source,
}

/// One rule that fired.
#[derive(Debug, Clone, PartialEq)]
pub struct Reason {
    /// Its name.
    pub rule: &'static str,
    /// What it adds, in log-odds.
    pub weight: f32,
    /// The bytes of the text that it fired on first.
    pub range: Range<usize>,
}

/// What is thought of a text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Assessment {
    /// 0 to 1.
    pub score: f32,
    /// Why, in the order of the rules.
    pub reasons: Vec<Reason>,
}

/// One automaton each: one of all of them would be larger than what it saves.
static PATTERNS: LazyLock<Vec<Option<Regex>>> = LazyLock::new(|| RULES.iter().map(|rule| Regex::new(rule.pattern).ok()).collect());

/// Assesses a text.
#[must_use]
pub fn assess(text: &str, origin: Origin) -> Assessment {
    let end = (0..=text.len().min(TEXT_BYTES_MAX)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let text = text.get(..end).unwrap_or_default();
    let normal = Normal::of(text);
    let mut reasons = fired(&normal, origin);
    reasons.extend(hidden(&normal, origin));
    if origin == Origin::Question && text.len() > LONG_QUESTION_BYTES {
        reasons.push(Reason { rule: "length", weight: 0.7, range: 0..text.len() });
    }
    for (range, decoded) in base64_blocks(text) {
        let inside = fired(&Normal::of(&decoded), origin);
        let weight = inside.iter().map(|reason| reason.weight).sum::<f32>();
        if weight > 0.0 {
            reasons.push(Reason { rule: "encoded_instruction", weight: weight + 1.0, range });
        }
    }
    let sum: f32 = BIAS + reasons.iter().map(|reason| reason.weight).sum::<f32>();
    Assessment { score: 1.0 / (1.0 + (-sum).exp()), reasons }
}

fn fired(normal: &Normal, origin: Origin) -> Vec<Reason> {
    let met = RULES.iter().zip(PATTERNS.iter()).filter_map(|(rule, pattern): (&Rule, &Option<Regex>)| {
        let weight = if origin == Origin::Question { rule.in_question } else { rule.in_source };
        let place = pattern.as_ref().filter(|_| weight != 0.0)?.find(&normal.text)?;
        Some(Reason { rule: rule.name, weight, range: normal.range(place.range()) })
    });
    let mut reasons: Vec<Reason> = Vec::new();
    for one in met {
        // The same order in another language is the same order: of a name the heaviest pattern counts.
        match reasons.iter_mut().find(|known| known.rule == one.rule) {
            Some(known) if known.weight < one.weight => *known = one,
            Some(_) => {}
            None => reasons.push(one),
        }
    }
    reasons
}

/// What is written so that people don't see it or patterns don't.
fn hidden(normal: &Normal, origin: Origin) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if let Some(range) = normal.tags.clone() {
        reasons.push(Reason { rule: "invisible_letters", weight: 4.0, range });
    }
    if let Some(range) = normal.mixed.clone() {
        reasons.push(Reason { rule: "look_alike_letters", weight: 1.5, range });
    }
    if let Some((range, joined)) = normal.spaced.clone() {
        let weight = if origin == Origin::Question { 2.4 } else { 1.0 };
        let orders = ["ignore", "previous", "instruction", "forget", "sayt", "prompt", "reveal", "disregard", "vergiss", "anweisung"];
        let extra = if orders.iter().any(|order| joined.contains(order)) { 2.0 } else { 0.0 };
        reasons.push(Reason { rule: "spaced_letters", weight: weight + extra, range });
    }
    reasons
}

/// What blocks of base64 hold, if that is text.
fn base64_blocks(text: &str) -> Vec<(Range<usize>, String)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_');
    let mut found = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (is_part(c), start) {
            (true, None) => start = Some(at),
            (false, Some(begin)) => {
                start = None;
                let block = text.get(begin..at).unwrap_or_default();
                let is_word = !block.contains(|c: char| c.is_ascii_uppercase()) || !block.contains(|c: char| c.is_ascii_lowercase());
                if block.len() < BASE64_CHARS_MIN || is_word || found.len() >= BASE64_BLOCKS_MAX {
                    continue;
                }
                let standard: String = block
                    .chars()
                    .map(|c| {
                        if c == '-' {
                            '+'
                        } else if c == '_' {
                            '/'
                        } else {
                            c
                        }
                    })
                    .collect();
                let decoded = STANDARD_NO_PAD.decode(standard).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                let is_text = |text: &String| text.chars().all(|c| !c.is_control() || c.is_whitespace());
                found.extend(decoded.filter(is_text).map(|decoded| (begin..at, decoded)));
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests;
