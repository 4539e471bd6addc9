//! Limits of this process alone.

use super::gcra::{self, Moment};
use super::{Decision, Quota};
use lru::LruCache;
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use tokio::time::Instant;

pub(super) struct LocalLimiter {
    started: Instant,
    arrivals: Mutex<LruCache<String, Moment>>,
}

impl LocalLimiter {
    pub(super) fn new(keys: NonZero<usize>) -> Self {
        Self { started: Instant::now(), arrivals: Mutex::new(LruCache::new(keys)) }
    }

    pub(super) fn check(&self, key: &str, cost: u64, quota: &Quota) -> Decision {
        self.update(key, |arrival, now| gcra::check(arrival, now, cost, quota))
    }

    pub(super) fn settle(&self, key: &str, reserved: u64, used: u64, quota: &Quota) {
        self.update(key, |arrival, now| ((), gcra::settle(arrival, now, reserved, used, quota)));
    }

    pub(super) fn keys(&self) -> usize {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn update<T>(&self, key: &str, change: impl FnOnce(Moment, Moment) -> (T, Moment)) -> T {
        let now = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        let (result, arrival) = change(arrivals.get(key).copied().unwrap_or(now), now);
        if arrival > now {
            arrivals.put(key.to_owned(), arrival);
        } else {
            // All is back: not to be there means the same.
            arrivals.pop(key);
        }
        result
    }
}
