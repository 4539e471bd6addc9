//! Whether two questions that sound alike ask the same: what an embedding can't be trusted to see.
//!
//! "Revenue in 2022" and "revenue in 2023" lie closer together than most paraphrases do. So each question is brought
//! into a normal form: without politeness and function words, with numbers, spellings and a few turns of phrase written
//! in one way. Two questions are the same if their forms are: the same kind of answer, and the same words in the same
//! order. No list says what may differ and matters; whatever is not known to say nothing does. Pure functions, no
//! model; texts are bounded. The words known are English and Chinese; of other languages all words count.
//!
//! When in doubt it refuses: a refused paraphrase costs one call of a model, a wrong answer costs trust.

mod chinese;
mod english;
mod form;
mod number;
mod numeral;
mod spelled;
mod text;
mod unit;

use form::Form;
use text::Text;

/// Longer questions are never taken for the same: a difference must not hide behind a cut.
const QUESTION_CHARS_MAX: usize = 4_000;

/// Why two questions are not the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// Only one of them has this number or date.
    #[error("only one question has the number {0}")]
    Number(String),
    /// Only one of them names this.
    #[error("only one question names {0}")]
    Name(String),
    /// One of them denies more often.
    #[error("only one question has a negation: {0}")]
    Negation(String),
    /// One asks who, the other when.
    #[error("one question asks {0}, the other {1}")]
    Question(&'static str, &'static str),
    /// The same words change places: from A to B, from B to A.
    #[error("the questions have the same words in a different order: {0}")]
    Order(String),
    /// Words that the other one hasn't.
    #[error("only the first question says {0:?}, only the second {1:?}")]
    Subject(String, String),
    /// Too long to be compared.
    #[error("a question has more than {QUESTION_CHARS_MAX} characters")]
    TooLong,
}

impl Difference {
    /// A word for counters: `number`, `name`, `negation`, `question`, `order`, `subject`, `length`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Number(_) => "number",
            Self::Name(_) => "name",
            Self::Negation(_) => "negation",
            Self::Question(..) => "question",
            Self::Order(_) => "order",
            Self::Subject(..) => "subject",
            Self::TooLong => "length",
        }
    }
}

/// Whether nothing that the words show speaks against `a` and `b` asking the same.
///
/// ```
/// use ragstone_cache::guard;
/// assert!(guard("How long is the notice period?", "How long is the period of notice?").is_ok());
/// assert!(guard("What was the revenue in 2022?", "What was the revenue in 2023?").is_err());
/// ```
///
/// # Errors
/// The first [`Difference`] found: numbers, then names, negations, the kind of question, other words, their order.
pub fn guard(a: &str, b: &str) -> Result<(), Difference> {
    Traits::of(a).agree(&Traits::of(b))
}

/// What of a question is compared: worked out once, compared often. `None` if it is too long.
#[derive(Debug)]
pub(crate) struct Traits(Option<Form>);

impl Traits {
    pub(crate) fn of(question: &str) -> Self {
        if question.chars().nth(QUESTION_CHARS_MAX).is_some() {
            return Self(None);
        }
        let text = Text::of(question);
        let numbers = number::numbers(&text);
        Self(Some(if text.has_han { chinese::form(&text, &numbers) } else { english::form(&text, &numbers) }))
    }

    /// Whether it can be compared at all.
    pub(crate) const fn is_comparable(&self) -> bool {
        self.0.is_some()
    }

    /// Bytes of memory, roughly.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.0.as_ref().map_or(0, Form::bytes)
    }

    pub(crate) fn agree(&self, other: &Self) -> Result<(), Difference> {
        let (Some(ours), Some(theirs)) = (&self.0, &other.0) else { return Err(Difference::TooLong) };
        ours.agree(theirs)
    }
}

#[cfg(test)]
mod tests;
