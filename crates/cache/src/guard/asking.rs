//! What kind of answer a question wants: a person, a time, a place, an amount, a reason, a way, a yes or no.

use super::Difference;
use super::text::Text;

mod chinese;
mod english;

/// The kind of answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    Who,
    When,
    Where,
    Amount(Amount),
    Why,
    How,
    /// What, which, "tell me about", key words.
    Open,
    YesNo,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Amount {
    /// How many, how much, or not said.
    Any,
    Duration,
    Distance,
    Frequency,
    Age,
    Size,
    /// How fast, how high, how effective.
    Degree,
}

impl Asking {
    pub(super) fn of(text: &Text) -> Self {
        let (words, runs): (Vec<&str>, Vec<&str>) = (text.words().collect(), text.runs().collect());
        if text.has_han { chinese::asking(&runs.concat()) } else { english::asking(&words) }
    }

    /// Whether an answer to one kind can be an answer to the other.
    pub(super) fn agree(self, other: Self) -> Result<(), Difference> {
        let fits = match (self, other) {
            // "What is the price" asks how much.
            (Self::Open, Self::Amount(_)) | (Self::Amount(_), Self::Open) => true,
            (Self::Amount(a), Self::Amount(b)) => {
                a == b || a == Amount::Any && b != Amount::Frequency || b == Amount::Any && a != Amount::Frequency
            }
            (a, b) => a == b,
        };
        if fits { Ok(()) } else { Err(Difference::Question(self.name(), other.name())) }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Who => "who",
            Self::When => "when",
            Self::Where => "where",
            Self::Amount(Amount::Any) => "how much",
            Self::Amount(Amount::Duration) => "how long",
            Self::Amount(Amount::Distance) => "how far",
            Self::Amount(Amount::Frequency) => "how often",
            Self::Amount(Amount::Age) => "how old",
            Self::Amount(Amount::Size) => "how large",
            Self::Amount(Amount::Degree) => "to what degree",
            Self::Why => "why",
            Self::How => "how",
            Self::Open => "what",
            Self::YesNo => "yes or no",
        }
    }
}
