//! Where the ledger is kept: the seam to a store, and what stands in it.

use super::Amount;
use super::budget::BudgetId;
use super::usage::{UsageCounts, UsageKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{Mutex, PoisonError};

/// Why the books can't be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the ledger can't be read or written: {0}")]
pub struct BooksError(pub String);

/// Changes made together; `None` removes.
pub type Changes = BTreeMap<String, Option<Vec<u8>>>;

/// Sorted, durable pairs of a name, which holds no zero byte, and bytes. Blocking.
pub trait Books: Send + Sync {
    /// Makes all of the changes or none; durable on return.
    ///
    /// # Errors
    /// The store failed: nothing was changed, or nobody knows.
    fn write(&self, changes: &Changes) -> Result<(), BooksError>;

    /// Up to `limit` pairs whose name starts with `prefix` and is greater than `after`, in order.
    ///
    /// # Errors
    /// The store failed.
    fn read(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<(String, Vec<u8>)>, BooksError>;
}

/// Books in memory, for tests.
#[derive(Default)]
pub struct MemoryBooks(Mutex<BTreeMap<String, Vec<u8>>>);

impl Books for MemoryBooks {
    fn write(&self, changes: &Changes) -> Result<(), BooksError> {
        let mut pairs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, value) in changes {
            match value {
                Some(value) => pairs.insert(name.clone(), value.clone()),
                None => pairs.remove(name),
            };
        }
        Ok(())
    }

    fn read(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<(String, Vec<u8>)>, BooksError> {
        let pairs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = after.filter(|after| *after > prefix).map_or(Bound::Included(prefix), Bound::Excluded);
        let found = pairs.range::<str, _>((first, Bound::Unbounded)).take_while(|(name, _)| name.starts_with(prefix));
        Ok(found.take(limit).map(|(name, value)| (name.clone(), value.clone())).collect())
    }
}

/// A reservation as it is kept from before its call until it is settled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Open {
    pub(super) key: UsageKey,
    pub(super) budgets: Vec<BudgetId>,
    /// Calls that it is for, at most.
    pub(super) calls: u64,
    pub(super) prompt_tokens: u64,
    pub(super) completion_tokens: u64,
    /// Nothing where the price is not known.
    pub(super) amount: Amount,
    pub(super) is_priced: bool,
}

/// Pairs read at a time.
const PAGE: usize = 1_000;

pub(super) const BUDGETS: &str = "budget/";
pub(super) const SPENT: &str = "spent/";
pub(super) const OPEN: &str = "open/";
const JOB: &str = "job/";
const USAGE: &str = "usage/";

pub(super) fn budget(name: &str) -> String {
    format!("{BUDGETS}{name}")
}

pub(super) fn spent(name: &str) -> String {
    format!("{SPENT}{name}")
}

pub(super) fn open(id: &str) -> String {
    format!("{OPEN}{id}")
}

/// The id of a job's reservation.
pub(super) fn job(name: &str) -> String {
    format!("{JOB}{name}")
}

/// The job whose reservation has this id, if it is one's.
pub(super) fn job_of(id: &str) -> Option<&str> {
    id.strip_prefix(JOB)
}

/// All rows of a day, or those of a tenant.
pub(super) fn usage_of(day: &str, tenant: Option<&str>) -> String {
    tenant.map_or_else(|| format!("{USAGE}{day}/"), |tenant| format!("{USAGE}{day}/{tenant}/"))
}

/// As JSON, names can hold any character without being taken for each other, and none is a zero byte.
pub(super) fn usage(day: &str, key: &UsageKey) -> String {
    let names = (&key.key, &key.model, &key.deployment, &key.collection, &key.tags);
    format!("{}{}", usage_of(day, Some(key.tenant.as_str())), serde_json::to_string(&names).unwrap_or_default())
}

/// Bytes of a record. None of ours can fail to be written.
pub(super) fn bytes(record: &impl Serialize) -> Option<Vec<u8>> {
    serde_json::to_vec(record).ok()
}

/// All records below a prefix, by what follows it.
pub(super) fn all<T: DeserializeOwned>(books: &dyn Books, prefix: &str) -> Result<Vec<(String, T)>, BooksError> {
    let mut found = Vec::new();
    let take = |name: &str, record| {
        found.push((name.to_owned(), record));
        ControlFlow::Continue(())
    };
    each(books, prefix, take).map(|_| found)
}

/// Shows all records below a prefix, with what follows it, until one is enough. Holds a page of them at a time.
pub(super) fn each<T: DeserializeOwned>(
    books: &dyn Books,
    prefix: &str,
    mut take: impl FnMut(&str, T) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, BooksError> {
    let mut after: Option<String> = None;
    loop {
        let page = books.read(prefix, after.as_deref(), PAGE)?;
        let is_last = page.len() < PAGE;
        after = page.last().map(|(name, _)| name.clone());
        for (name, value) in page {
            let record = serde_json::from_slice(&value).map_err(|error| BooksError(format!("{name}: {error}")))?;
            if take(name.get(prefix.len()..).unwrap_or_default(), record).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if is_last {
            return Ok(ControlFlow::Continue(()));
        }
    }
}

/// Removes the rows of all days before this one; how many. Nobody writes to those any more.
pub(super) fn remove_usage_before(books: &dyn Books, day: &str) -> Result<u64, BooksError> {
    let (end, mut removed) = (usage_of(day, None), 0);
    loop {
        let page = books.read(USAGE, None, PAGE)?;
        let over: Changes = page.into_iter().map(|(name, _)| name).filter(|name| *name < end).map(|name| (name, None)).collect();
        if over.is_empty() {
            return Ok(removed);
        }
        books.write(&over)?;
        removed += over.len() as u64;
    }
}

/// A row of usage as it is kept.
pub(super) type Row = (UsageKey, UsageCounts);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_put_together_and_prefixes_hold() {
        let books = MemoryBooks::default();
        let changes: Changes = (0..2_500).map(|number| (open(&format!("{number:05}")), bytes(&number))).collect();
        books.write(&changes).unwrap();
        books.write(&Changes::from([("other".to_owned(), Some(vec![1]))])).unwrap();
        let found: Vec<(String, u64)> = all(&books, OPEN).unwrap();
        assert_eq!((found.len(), found[2_499].clone()), (2_500, ("02499".to_owned(), 2_499)));
        assert!(all::<u64>(&books, BUDGETS).unwrap().is_empty());
    }

    #[test]
    fn rows_of_any_names_have_keys_of_their_own() {
        let row = |key: &str, tags: &[&str]| UsageKey {
            tenant: "a".parse().unwrap(),
            key: key.into(),
            model: "m".into(),
            deployment: "d".into(),
            collection: None,
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        };
        let names: std::collections::BTreeSet<String> = [row("k", &["x", "y"]), row("k", &["x\",\"y"]), row("k\0", &[]), row("k", &[])]
            .iter()
            .map(|row| usage("2026-01-01", row))
            .collect();
        assert_eq!(names.len(), 4);
        assert!(names.iter().all(|name| !name.contains('\0') && name.starts_with(&usage_of("2026-01-01", Some("a")))));
    }
}
