//! What was removed of late, so that a value that was on its way when it was removed doesn't come back.

use crate::key::Selection;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Removals remembered. A load that took longer than these is not kept.
const REMEMBERED_MAX: usize = 1000;

/// A moment between two removals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

#[derive(Default)]
pub(crate) struct Removed(Mutex<Latest>);

#[derive(Default)]
struct Latest {
    /// Removals since the start.
    count: u64,
    selections: VecDeque<Selection>,
}

impl Removed {
    fn latest(&self) -> MutexGuard<'_, Latest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Moment {
        Moment(self.latest().count)
    }

    pub(crate) fn note(&self, selection: Selection) {
        let mut latest = self.latest();
        latest.count += 1;
        latest.selections.push_back(selection);
        if latest.selections.len() > REMEMBERED_MAX {
            latest.selections.pop_front();
        }
    }

    /// Whether the entry was removed after this moment; also if that is not remembered any more.
    pub(crate) fn since(&self, moment: Moment, path: &str) -> bool {
        let latest = self.latest();
        let newer = usize::try_from(latest.count - moment.0).unwrap_or(usize::MAX);
        newer > latest.selections.len() || latest.selections.iter().rev().take(newer).any(|selection| selection.has(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Prefix;
    use crate::test_keys::{key, tenant};

    #[test]
    fn only_removals_after_the_moment_count() {
        let removed = Removed::default();
        let path = key("a").path().to_string();
        let of = |name: &str| Selection::Under(Prefix::of_tenant(&tenant(name)));
        removed.note(of("acme"));
        let moment = removed.now();
        assert!(!removed.since(moment, &path));
        removed.note(of("other"));
        assert!(!removed.since(moment, &path));
        removed.note(of("acme"));
        assert!(removed.since(moment, &path));
        assert!(!removed.since(removed.now(), &path));
        (0..=REMEMBERED_MAX).for_each(|_| removed.note(of("other")));
        assert!(removed.since(moment, &path), "what is forgotten counts as removed");
    }
}
