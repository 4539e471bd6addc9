//! Amounts of money.

use serde::{Deserialize, Serialize};
use std::fmt;

const PER_DOLLAR: f64 = 1e9;

/// US dollars in whole billionths: sums of it are exact, and no call is too cheap to count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Money(u64);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many billionths of a dollar.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// In billionths of a dollar.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// An amount in dollars, rounded; `None` if it is negative, no number, or above a billion.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the bounds that were just checked")]
    pub fn from_usd(usd: f64) -> Option<Self> {
        (0.0..=1e9).contains(&usd).then(|| Self((usd * PER_DOLLAR).round() as u64))
    }

    /// In dollars, for people and JSON.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "exact up to nine million dollars")]
    pub fn usd(self) -> f64 {
        self.0 as f64 / PER_DOLLAR
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left; nothing if the other is more.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dollars, nanos) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        // Cents, and what is smaller as far as there is any.
        let fraction = format!("{nanos:09}");
        let (cents, rest) = fraction.split_at(2);
        write!(f, "${dollars}.{cents}{}", rest.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_come_and_go_and_small_amounts_stay() {
        assert_eq!(Money::from_usd(0.1).map(Money::nanos), Some(100_000_000));
        for wrong in [-0.1, f64::NAN, f64::INFINITY, 2e9] {
            assert_eq!(Money::from_usd(wrong), None);
        }
        assert_eq!(Money::from_nanos(1_500_000_000).to_string(), "$1.50");
        assert_eq!(Money::from_nanos(75).to_string(), "$0.000000075");
        assert_eq!(Money::from_nanos(5).minus(Money::from_nanos(9)), Money::ZERO);
    }
}
