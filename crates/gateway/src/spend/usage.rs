//! What was used, by day and by what the calls were for.
//!
//! Invariant: there are at most [`ROWS_MAX`] rows a day, [`TENANT_ROWS_MAX`] a tenant: callers choose their tags, and
//! what would be one row too many is counted in a row that names the tenant and the model only.

use super::Money;
use crate::Account;
use corpus::TenantId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

const ROWS_MAX: usize = 100_000;
const TENANT_ROWS_MAX: usize = 5_000;
/// Longest name in a row, in bytes: a row's key has an end.
const NAME_BYTES_MAX: usize = 128;

/// What the calls of one row have in common, beside the day.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UsageKey {
    /// Who paid.
    pub tenant: TenantId,
    /// The API key that asked; empty for the server's own work.
    pub key: String,
    /// The model's name at the provider.
    pub model: String,
    /// The deployment.
    pub deployment: String,
    /// Id of the collection that was served, if one was.
    pub collection: Option<String>,
    /// Tags, in order and without doubles.
    pub tags: Vec<String>,
}

impl UsageKey {
    /// The row of a call.
    #[must_use]
    pub fn of(account: &Account, deployment: &str, model: &str) -> Self {
        let short = |name: &str| name.get(..name.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or_default().to_owned();
        let mut tags = account.tags.clone();
        tags.sort_unstable();
        tags.dedup();
        Self {
            tenant: account.tenant.clone(),
            key: account.key.clone(),
            model: short(model),
            deployment: short(deployment),
            collection: account.collection.clone(),
            tags,
        }
    }

    /// The row for what has no row of its own.
    fn coarse(self) -> Self {
        Self { key: String::new(), collection: None, tags: Vec::new(), ..self }
    }
}

/// What was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageCounts {
    /// Calls.
    pub requests: u64,
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
    /// What that cost, as far as prices are known.
    pub cost: Money,
    /// Calls whose price is not known: their cost is not in `cost`.
    pub unpriced_requests: u64,
    /// Calls whose end nobody saw: they count with all that was reserved for them.
    pub abandoned: u64,
}

impl UsageCounts {
    /// Adds what another counted.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
        self.cost = self.cost.plus(other.cost);
        self.unpriced_requests += other.unpriced_requests;
        self.abandoned += other.abandoned;
    }
}

/// The rows of the current day.
#[derive(Debug, Default)]
pub(super) struct Today {
    day: String,
    rows: BTreeMap<UsageKey, UsageCounts>,
    of_tenant: HashMap<TenantId, usize>,
}

impl Today {
    pub(super) fn new(day: String, rows: impl IntoIterator<Item = (UsageKey, UsageCounts)>) -> Self {
        let mut today = Self { day, ..Self::default() };
        for (key, counts) in rows {
            *today.of_tenant.entry(key.tenant.clone()).or_default() += 1;
            today.rows.insert(key, counts);
        }
        today
    }

    /// Adds a call; the day and the row that it was added to. A day that is over has no rows here any more, so a clock
    /// that goes back stays on its last day.
    pub(super) fn add(&mut self, day: &str, key: UsageKey, counts: &UsageCounts) -> (&str, UsageKey, UsageCounts) {
        if day > self.day.as_str() {
            *self = Self { day: day.to_owned(), ..Self::default() };
        }
        let of_tenant = self.of_tenant.get(&key.tenant).copied().unwrap_or_default();
        let has_room = of_tenant < TENANT_ROWS_MAX && self.rows.len() < ROWS_MAX;
        let key = if has_room || self.rows.contains_key(&key) { key } else { key.coarse() };
        if !self.rows.contains_key(&key) {
            *self.of_tenant.entry(key.tenant.clone()).or_default() += 1;
        }
        let row = self.rows.entry(key.clone()).or_default();
        row.add(counts);
        (&self.day, key, *row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(tag: &str) -> Account {
        Account { tags: vec![tag.to_owned(), "a".to_owned(), tag.to_owned()], key: "k".into(), ..Account::default() }
    }

    const ONE: UsageCounts =
        UsageCounts { requests: 1, prompt_tokens: 2, completion_tokens: 3, cost: Money::from_nanos(4), unpriced_requests: 0, abandoned: 0 };

    #[test]
    fn rows_add_up_within_a_day_and_tags_have_no_order() {
        let mut today = Today::default();
        let key = UsageKey::of(&account("z"), "d", "m");
        assert_eq!(key.tags, ["a", "z"]);
        today.add("2026-01-01", key.clone(), &ONE);
        let (day, _, counts) = today.add("2026-01-01", key.clone(), &ONE);
        assert_eq!((day, counts.requests, counts.cost.nanos()), ("2026-01-01", 2, 8));
        let (day, _, counts) = today.add("2026-01-02", key.clone(), &ONE);
        assert_eq!((day, counts.requests), ("2026-01-02", 1));
        let (day, _, counts) = today.add("2026-01-01", key, &ONE);
        assert_eq!((day, counts.requests), ("2026-01-02", 2), "a clock that goes back overwrites nothing");
    }

    #[test]
    fn callers_who_invent_tags_get_one_row_for_the_rest() {
        let mut today = Today::default();
        for number in 0..TENANT_ROWS_MAX + 100 {
            today.add("2026-01-01", UsageKey::of(&account(&number.to_string()), "d", "m"), &ONE);
        }
        assert_eq!(today.rows.len(), TENANT_ROWS_MAX + 1);
        let rest = UsageKey::of(&Account::default(), "d", "m");
        assert_eq!(today.rows.get(&rest).map(|counts| counts.requests), Some(100), "nothing is lost");
    }
}
