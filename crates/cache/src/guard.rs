//! Whether two questions that sound alike ask the same: what an embedding can't be trusted to see.
//!
//! "Revenue in 2022" and "revenue in 2023" lie closer together than most paraphrases do. So numbers, names,
//! negations, directions and the kind of question are compared as what they are: words. Pure functions, no
//! model, English and Chinese; of other languages only numbers, names and quotations.
//!
//! When in doubt it refuses: a refused paraphrase costs one call of a model, a wrong answer costs trust.

mod asking;
mod direction;
mod name;
mod negation;
mod number;
mod numeral;
mod prefix;
mod spelled;
mod subject;
mod text;
mod unit;

use asking::Asking;
use direction::Directions;
use name::Names;
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
    /// They point opposite ways: more and less, before and after, buyer and seller.
    #[error("the questions point different ways: {0}")]
    Direction(String),
    /// One asks who, the other when.
    #[error("one question asks {0}, the other {1}")]
    Question(&'static str, &'static str),
    /// The same names or numbers change places: from A to B, from B to A.
    #[error("the questions name {0} in a different order")]
    Order(String),
    /// All else agrees, but a word was changed for another one.
    #[error("one question is about {0}, the other about {1}")]
    Subject(String, String),
    /// Too long to be compared.
    #[error("a question has more than {QUESTION_CHARS_MAX} characters")]
    TooLong,
}

impl Difference {
    /// A word for counters: `number`, `name`, `negation`, `direction`, `question`, `order`, `subject`, `length`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Number(_) => "number",
            Self::Name(_) => "name",
            Self::Negation(_) => "negation",
            Self::Direction(_) => "direction",
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
/// The first [`Difference`] found; [`Difference::Subject`], the least certain one, is looked for last.
pub fn guard(a: &str, b: &str) -> Result<(), Difference> {
    Traits::of(a).agree(&Traits::of(b))
}

/// What of a question is compared: worked out once, compared often.
#[derive(Debug)]
pub(crate) struct Traits {
    text: Text,
    numbers: Vec<String>,
    /// Which tokens the numbers were read from.
    used: Vec<bool>,
    names: Names,
    negations: Vec<String>,
    directions: Directions,
    asking: Asking,
    is_long: bool,
}

impl Traits {
    pub(crate) fn of(question: &str) -> Self {
        let is_long = question.chars().nth(QUESTION_CHARS_MAX).is_some();
        let text = Text::of(if is_long { "" } else { question });
        let (numbers, used) = number::numbers(&text);
        Self {
            names: Names::of(&text, &used),
            negations: negation::negations(&text),
            directions: Directions::of(&text),
            asking: Asking::of(&text),
            numbers,
            used,
            text,
            is_long,
        }
    }

    /// Whether it can be compared at all.
    pub(crate) const fn is_comparable(&self) -> bool {
        !self.is_long
    }

    /// Bytes of memory, roughly: each word is held a few times.
    pub(crate) fn bytes(&self) -> usize {
        const TIMES: usize = 12;
        size_of::<Self>() + TIMES * self.text.folded.len()
    }

    pub(crate) fn agree(&self, other: &Self) -> Result<(), Difference> {
        if self.is_long || other.is_long {
            return Err(Difference::TooLong);
        }
        self.have_equal_numbers(other)?;
        self.names.agree(&self.text, &other.names, &other.text)?;
        self.deny_equally(other)?;
        self.directions.agree(&other.directions)?;
        self.asking.agree(other.asking)?;
        subject::agree(&self.side(), &other.side())
    }

    const fn side(&self) -> subject::Side<'_> {
        subject::Side { text: &self.text, used: self.used.as_slice(), directions: &self.directions }
    }

    fn have_equal_numbers(&self, other: &Self) -> Result<(), Difference> {
        let (ours, theirs) = (&self.numbers, &other.numbers);
        let only = |one: &[String], two: &[String]| one.iter().find(|number| !two.contains(number)).cloned();
        if let Some(number) = only(ours, theirs).or_else(|| only(theirs, ours)) {
            return Err(Difference::Number(number));
        }
        let is_swapped = ours != theirs && !self.text.is_symmetric() && !other.text.is_symmetric();
        if is_swapped { Err(Difference::Order(ours.join(", "))) } else { Ok(()) }
    }

    fn deny_equally(&self, other: &Self) -> Result<(), Difference> {
        if self.negations.len() != other.negations.len() {
            let longer = if self.negations.len() > other.negations.len() { &self.negations } else { &other.negations };
            return Err(Difference::Negation(longer.join(", ")));
        }
        prefix::agree(&self.text, &other.text)
    }
}

#[cfg(test)]
mod tests;
