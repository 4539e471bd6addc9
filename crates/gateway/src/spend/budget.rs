//! Limits on what is spent, and how much of one is used up.

use super::Money;
use crate::Account;
use corpus::TenantId;
use serde::{Deserialize, Serialize};
use time::{Date, Duration, Month, OffsetDateTime, Time};

/// When a budget begins anew, by UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// At midnight.
    Day,
    /// On the first of the month.
    Month,
    /// Never.
    Total,
}

impl Period {
    /// Names the period that `now` is in.
    #[must_use]
    pub fn label(self, now: OffsetDateTime) -> String {
        let (year, month, day) = now.to_offset(time::UtcOffset::UTC).to_calendar_date();
        match self {
            Self::Day => format!("{year:04}-{:02}-{day:02}", u8::from(month)),
            Self::Month => format!("{year:04}-{:02}", u8::from(month)),
            Self::Total => "total".to_owned(),
        }
    }

    /// When the next one begins.
    #[must_use]
    pub fn end(self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let today = now.to_offset(time::UtcOffset::UTC).date();
        let next = match self {
            Self::Day => today.next_day()?,
            Self::Month => {
                let next = today.month().next();
                let year = if next == Month::January { today.year() + 1 } else { today.year() };
                Date::from_calendar_date(year, next, 1).ok()?
            }
            Self::Total => return None,
        };
        Some(next.with_time(Time::MIDNIGHT).assume_utc())
    }
}

/// What may be spent in each period by whom. Whoever is not named may be anybody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Names it.
    pub name: String,
    /// Whose calls count.
    #[serde(default)]
    pub tenant: Option<TenantId>,
    /// Calls with this API key count.
    #[serde(default)]
    pub key: Option<String>,
    /// Calls booked under this tag count.
    #[serde(default)]
    pub tag: Option<String>,
    /// Money.
    #[serde(default)]
    pub limit: Option<Money>,
    /// Tokens, read and written.
    #[serde(default)]
    pub limit_tokens: Option<u64>,
    /// When it begins anew.
    pub period: Period,
    /// Shares of the limit at which somebody is told.
    pub thresholds: Vec<f64>,
}

impl Budget {
    /// Whether these calls count.
    #[must_use]
    pub fn applies_to(&self, account: &Account) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| *tenant == account.tenant)
            && self.key.as_ref().is_none_or(|key| *key == account.key)
            && self.tag.as_ref().is_none_or(|tag| account.tags.contains(tag))
    }

    /// The largest share of a limit that this amount is.
    #[expect(clippy::cast_precision_loss, reason = "thresholds are no sharper than that")]
    fn share(&self, amount: Amount) -> f64 {
        let of = |used: u64, limit: u64| if limit == 0 { 1.0 } else { used as f64 / limit as f64 };
        let money = self.limit.map_or(0.0, |limit| of(amount.money.nanos(), limit.nanos()));
        self.limit_tokens.map_or(money, |limit| money.max(of(amount.tokens, limit)))
    }
}

/// What is spent or reserved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Money; nothing where the price is unknown.
    pub money: Money,
    /// Tokens, read and written.
    pub tokens: u64,
}

impl Amount {
    pub(super) const fn plus(self, other: Self) -> Self {
        Self { money: self.money.plus(other.money), tokens: self.tokens.saturating_add(other.tokens) }
    }

    pub(super) const fn minus(self, other: Self) -> Self {
        Self { money: self.money.minus(other.money), tokens: self.tokens.saturating_sub(other.tokens) }
    }
}

/// Why a budget has no room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lack {
    /// Of money, whatever becomes of the calls under way.
    Money,
    /// Of tokens, whatever becomes of the calls under way.
    Tokens,
    /// Calls under way have reserved what is left.
    Reserved,
}

/// A budget and what of it is used up in the current period.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BudgetState {
    pub(super) budget: Budget,
    /// From the configuration, so that nobody changes it over HTTP.
    pub(super) is_configured: bool,
    pub(super) kept: Kept,
    pub(super) reserved: Amount,
}

/// A budget as a reservation knows it: one that is made anew under the same name is another one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BudgetId {
    pub(super) name: String,
    pub(super) generation: String,
}

/// What of it is kept over restarts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Given when it was made; that of a configured one is empty.
    #[serde(default)]
    pub(super) generation: String,
    pub(super) period: String,
    pub(super) spent: Amount,
    /// Thresholds that were told of.
    pub(super) told: Vec<f64>,
}

impl BudgetState {
    pub(super) fn new(budget: Budget, is_configured: bool, kept: Option<Kept>, now: OffsetDateTime) -> Self {
        let mut state = Self { budget, is_configured, kept: kept.unwrap_or_default(), reserved: Amount::default() };
        state.turn(now);
        state
    }

    /// Begins anew where a period is over. What calls under way have reserved stays reserved: a call counts in the
    /// period in which it ends.
    pub(super) fn turn(&mut self, now: OffsetDateTime) {
        let period = self.budget.period.label(now);
        let is_same_kind = period.len() == self.kept.period.len() || self.kept.period.is_empty();
        if !is_same_kind {
            // The budget has another kind of period now: what was spent counts in its first one.
            self.kept.period = period;
        } else if self.kept.period < period {
            // Only forward: a clock that was set back forgives nothing.
            self.kept = Kept { period, generation: std::mem::take(&mut self.kept.generation), ..Kept::default() };
        }
    }

    pub(super) fn id(&self) -> BudgetId {
        BudgetId { name: self.budget.name.clone(), generation: self.kept.generation.clone() }
    }

    /// Whether there is room for `wanted`, and if not, why.
    pub(super) fn room_for(&self, wanted: Amount) -> Result<(), Lack> {
        let (settled, all) = (self.kept.spent.plus(wanted), self.kept.spent.plus(self.reserved).plus(wanted));
        let is_over = |limit: Option<u64>, amount: u64| limit.is_some_and(|limit| amount > limit);
        let (money, tokens) = (self.budget.limit.map(Money::nanos), self.budget.limit_tokens);
        if is_over(money, settled.money.nanos()) {
            return Err(Lack::Money);
        }
        if is_over(tokens, settled.tokens) {
            return Err(Lack::Tokens);
        }
        if is_over(money, all.money.nanos()) || is_over(tokens, all.tokens) {
            return Err(Lack::Reserved);
        }
        Ok(())
    }

    /// Books what was used; the thresholds that are passed for the first time in this period.
    pub(super) fn spend(&mut self, used: Amount) -> Vec<f64> {
        self.kept.spent = self.kept.spent.plus(used);
        let share = self.budget.share(self.kept.spent);
        let is_new = |threshold: &f64| *threshold <= share && !self.kept.told.contains(threshold);
        let passed: Vec<f64> = self.budget.thresholds.iter().copied().filter(is_new).collect();
        self.kept.told.extend(&passed);
        passed
    }
}

/// Time until a moment, at least a second.
pub(super) fn until(end: OffsetDateTime, now: OffsetDateTime) -> std::time::Duration {
    std::time::Duration::try_from((end - now).max(Duration::SECOND)).unwrap_or(std::time::Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::format_description::well_known::Rfc3339;

    fn at(text: &str) -> OffsetDateTime {
        OffsetDateTime::parse(text, &Rfc3339).unwrap()
    }

    fn amount(nanos: u64, tokens: u64) -> Amount {
        Amount { money: Money::from_nanos(nanos), tokens }
    }

    fn state(limit: Option<u64>, limit_tokens: Option<u64>, period: Period) -> BudgetState {
        let budget = Budget {
            name: "b".into(),
            tenant: None,
            key: None,
            tag: None,
            limit: limit.map(Money::from_nanos),
            limit_tokens,
            period,
            thresholds: vec![0.5, 0.8],
        };
        BudgetState::new(budget, true, None, at("2026-01-31T23:59:59Z"))
    }

    #[test]
    fn limits_are_inclusive_and_say_what_is_lacking() {
        let mut state = state(Some(100), Some(50), Period::Day);
        state.kept.spent = amount(40, 20);
        assert_eq!(state.room_for(amount(60, 30)), Ok(()));
        assert_eq!(state.room_for(amount(61, 0)), Err(Lack::Money));
        assert_eq!(state.room_for(amount(0, 31)), Err(Lack::Tokens));
        state.reserved = amount(1, 0);
        assert_eq!(state.room_for(amount(60, 30)), Err(Lack::Reserved));
    }

    #[test]
    fn periods_turn_at_midnight_utc_and_keep_what_is_reserved() {
        for (period, end) in [(Period::Day, Some(at("2026-02-01T00:00:00Z"))), (Period::Month, Some(at("2026-02-01T00:00:00Z")))] {
            assert_eq!(period.end(at("2026-01-31T23:59:59Z")), end);
        }
        assert_eq!(Period::Month.end(at("2026-12-24T01:00:00+05:00")), Some(at("2027-01-01T00:00:00Z")));
        let mut state = state(Some(100), None, Period::Month);
        state.spend(amount(90, 0));
        state.reserved = amount(5, 0);
        state.turn(at("2026-01-31T23:59:59.9Z"));
        assert_eq!(state.kept.spent, amount(90, 0));
        state.turn(at("2026-02-01T00:00:00Z"));
        assert_eq!((state.kept.spent, state.reserved, state.kept.told.len()), (amount(0, 0), amount(5, 0), 0));
    }

    #[test]
    fn each_threshold_is_told_of_once_a_period() {
        let mut state = state(Some(100), Some(1_000), Period::Day);
        assert!(state.spend(amount(49, 0)).is_empty());
        assert_eq!(state.spend(amount(1, 0)), [0.5]);
        assert!(state.spend(amount(20, 0)).is_empty());
        assert_eq!(state.spend(amount(0, 900)), [0.8], "tokens count as well");
        state.turn(at("2026-02-01T00:00:00Z"));
        assert_eq!(state.spend(amount(99, 0)), [0.5, 0.8]);
    }

    #[test]
    fn all_that_a_budget_names_must_be_so() {
        let account = Account { tenant: "acme".parse().unwrap(), key: "k1".into(), tags: vec!["x".into(), "y".into()], collection: None };
        let budget = state(None, None, Period::Total).budget;
        assert!(budget.applies_to(&account));
        let of = |tenant: &str, key: &str, tag: &str| Budget {
            tenant: Some(tenant.parse().unwrap()),
            key: Some(key.into()),
            tag: Some(tag.into()),
            ..budget.clone()
        };
        assert!(of("acme", "k1", "y").applies_to(&account));
        for other in [of("acme2", "k1", "y"), of("acme", "k2", "y"), of("acme", "k1", "z")] {
            assert!(!other.applies_to(&account), "{other:?}");
        }
    }
}
