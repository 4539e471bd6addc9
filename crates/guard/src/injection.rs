//! How much a text looks like an attempt to give a model other instructions.

use std::ops::Range;

/// From which score on a text counts as an injection.
pub const THRESHOLD: f32 = 0.5;

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
    /// The bytes of the text that it fired on.
    pub range: Range<usize>,
}

/// What is thought of a text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Assessment {
    /// 0 to 1.
    pub score: f32,
    /// Why.
    pub reasons: Vec<Reason>,
}

/// Assesses a text.
#[must_use]
pub fn assess(_text: &str, _origin: Origin) -> Assessment {
    Assessment::default()
}
