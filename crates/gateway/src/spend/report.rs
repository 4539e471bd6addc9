//! Usage, added up by what somebody wants to know.

use super::usage::{UsageCounts, UsageKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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

/// A row of a day.
pub type UsageRow = (String, UsageKey, UsageCounts);

/// What is added up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grouped {
    /// By the values of the dimensions asked for, in their order.
    pub rows: BTreeMap<Vec<Option<String>>, UsageCounts>,
    /// Each call once.
    pub total: UsageCounts,
}

/// Adds rows up by `dimensions`.
#[must_use]
pub fn group(rows: impl IntoIterator<Item = UsageRow>, dimensions: &[Dimension], filter: &UsageFilter) -> Grouped {
    let mut grouped = Grouped::default();
    for (day, key, counts) in rows.into_iter().filter(|(_, key, _)| filter.takes(key)) {
        grouped.total.add(&counts);
        let tags: Vec<Option<&String>> = match dimensions.contains(&Dimension::Tag) && !key.tags.is_empty() {
            true => key.tags.iter().map(Some).collect(),
            false => vec![None],
        };
        for tag in tags {
            let values = dimensions.iter().map(|dimension| value(*dimension, &day, &key, tag)).collect();
            grouped.rows.entry(values).or_default().add(&counts);
        }
    }
    grouped
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
}
