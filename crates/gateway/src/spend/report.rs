//! Usage, added up by what somebody wants to know.

use super::usage::{UsageCounts, UsageKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// What rows can be told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// Who paid.
    Tenant,
    /// The API key.
    Key,
    /// The model's name at the provider.
    Model,
    /// The deployment.
    Deployment,
    /// The collection that was served.
    Collection,
    /// A tag. A call with several counts in the row of each.
    Tag,
    /// The day, by UTC.
    Day,
    /// The month, by UTC.
    Month,
}

/// Which calls are meant; what is not named may be anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageFilter {
    /// Of this API key.
    pub key: Option<String>,
    /// To this model.
    pub model: Option<String>,
    /// To this deployment.
    pub deployment: Option<String>,
    /// For this collection.
    pub collection: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
}

impl UsageFilter {
    fn takes(&self, key: &UsageKey) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        is(&self.key, &key.key)
            && is(&self.model, &key.model)
            && is(&self.deployment, &key.deployment)
            && self.collection.as_ref().is_none_or(|wanted| key.collection.as_ref() == Some(wanted))
            && self.tag.as_ref().is_none_or(|wanted| key.tags.contains(wanted))
    }
}

/// What is added up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grouped {
    /// By the values of the dimensions asked for, in their order.
    pub rows: BTreeMap<Vec<Option<String>>, UsageCounts>,
    /// Each call once.
    pub total: UsageCounts,
}

/// Adds rows up by some dimensions as they are read, so that none needs to be kept.
pub struct Grouping<'q> {
    dimensions: &'q [Dimension],
    filter: &'q UsageFilter,
    rows_max: usize,
    grouped: Grouped,
}

impl<'q> Grouping<'q> {
    /// Nothing so far, and no more than so many rows.
    #[must_use]
    pub fn new(dimensions: &'q [Dimension], filter: &'q UsageFilter, rows_max: usize) -> Self {
        Self { dimensions, filter, rows_max, grouped: Grouped::default() }
    }

    /// Adds a row of a day. A break means that there are more rows than may be.
    pub fn add(&mut self, day: &str, key: &UsageKey, counts: &UsageCounts) -> ControlFlow<()> {
        if !self.filter.takes(key) {
            return ControlFlow::Continue(());
        }
        self.grouped.total.add(counts);
        let tags: Vec<Option<&String>> = match self.dimensions.contains(&Dimension::Tag) && !key.tags.is_empty() {
            true => key.tags.iter().map(Some).collect(),
            false => vec![None],
        };
        for tag in tags {
            let values = self.dimensions.iter().map(|dimension| value(*dimension, day, key, tag)).collect();
            self.grouped.rows.entry(values).or_default().add(counts);
        }
        if self.grouped.rows.len() > self.rows_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// What was added up.
    #[must_use]
    pub fn grouped(self) -> Grouped {
        self.grouped
    }
}

fn value(dimension: Dimension, day: &str, key: &UsageKey, tag: Option<&String>) -> Option<String> {
    match dimension {
        Dimension::Tenant => Some(key.tenant.to_string()),
        Dimension::Key => Some(key.key.clone()),
        Dimension::Model => Some(key.model.clone()),
        Dimension::Deployment => Some(key.deployment.clone()),
        Dimension::Collection => key.collection.clone(),
        Dimension::Tag => tag.cloned(),
        Dimension::Day => Some(day.to_owned()),
        Dimension::Month => day.get(..7).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Account;

    type UsageRow = (String, UsageKey, UsageCounts);

    fn group(rows: impl IntoIterator<Item = UsageRow>, dimensions: &[Dimension], filter: &UsageFilter) -> Grouped {
        let mut grouping = Grouping::new(dimensions, filter, 100);
        for (day, key, counts) in rows {
            assert!(grouping.add(&day, &key, &counts).is_continue());
        }
        grouping.grouped()
    }

    fn row(day: &str, model: &str, tags: &[&str]) -> UsageRow {
        let account = Account { tags: tags.iter().map(|tag| (*tag).to_owned()).collect(), ..Account::default() };
        (day.to_owned(), UsageKey::of(&account, "d", model), UsageCounts { requests: 1, prompt_tokens: 10, ..UsageCounts::default() })
    }

    #[test]
    fn a_call_counts_in_each_of_its_tags_and_once_in_the_total() {
        let rows = [row("2026-01-31", "a", &["x", "y"]), row("2026-02-01", "a", &["x"]), row("2026-02-01", "b", &[])];
        let by_tag = group(rows.clone(), &[Dimension::Tag], &UsageFilter::default());
        let requests = |grouped: &Grouped, name: Option<&str>| grouped.rows[&vec![name.map(str::to_owned)]].requests;
        assert_eq!((requests(&by_tag, Some("x")), requests(&by_tag, Some("y")), requests(&by_tag, None)), (2, 1, 1));
        assert_eq!(by_tag.total.requests, 3);
        let by_month = group(rows.clone(), &[Dimension::Month, Dimension::Model], &UsageFilter::default());
        assert_eq!(by_month.rows.len(), 3);
        let of_x = UsageFilter { tag: Some("x".into()), model: Some("a".into()), ..UsageFilter::default() };
        let filtered = group(rows, &[], &of_x);
        assert_eq!((filtered.total.requests, filtered.rows.len()), (2, 1));
    }

    #[test]
    fn more_rows_than_may_be_end_it() {
        let filter = UsageFilter::default();
        let mut grouping = Grouping::new(&[Dimension::Model], &filter, 2);
        let mut add = |model: &str| {
            let (day, key, counts) = row("2026-01-01", model, &[]);
            grouping.add(&day, &key, &counts).is_break()
        };
        assert_eq!([add("a"), add("b"), add("a"), add("c")], [false, false, false, true]);
    }
}
