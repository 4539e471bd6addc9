//! Limits of this process alone.

use super::{Claim, Decision};
use corpus::Moment;
use lru::LruCache;
use std::num::NonZero;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

pub(super) struct LocalLimiter {
    started: Instant,
    arrivals: Mutex<LruCache<String, Moment>>,
}

impl LocalLimiter {
    pub(super) fn new(keys: NonZero<usize>) -> Self {
        Self { started: Instant::now(), arrivals: Mutex::new(LruCache::new(keys)) }
    }

    pub(super) fn check(&self, claims: &[Claim]) -> Vec<Decision> {
        let (mut arrivals, now) = (self.lock(), self.now());
        let granted: Vec<_> = claims.iter().map(|claim| spend(&mut arrivals, claim, now, claim.cost)).collect();
        let is_taken = granted.iter().all(|(decision, _)| decision.allowed);
        let decide = |(claim, (decision, arrival)): (&Claim, (Decision, Moment))| {
            if is_taken {
                keep(&mut arrivals, claim, arrival, now);
            } else if decision.allowed {
                // Nothing was taken: it has what it had before.
                return spend(&mut arrivals, claim, now, 0).0;
            }
            decision
        };
        claims.iter().zip(granted).map(decide).collect()
    }

    pub(super) fn settle(&self, claims: &[Claim], used: u64) {
        let (mut arrivals, now) = (self.lock(), self.now());
        for claim in claims {
            let arrival = arrivals.get(&claim.key).copied().unwrap_or(now);
            let arrival = claim.allowance.settle(arrival, now, claim.cost, used);
            keep(&mut arrivals, claim, arrival, now);
        }
    }

    pub(super) fn keys(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<String, Moment>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Moment {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

fn spend(arrivals: &mut LruCache<String, Moment>, claim: &Claim, now: Moment, cost: u64) -> (Decision, Moment) {
    let arrival = arrivals.get(&claim.key).copied().unwrap_or(now);
    let (grant, arrival) = claim.allowance.spend(arrival, now, cost);
    (Decision::local(&claim.allowance, grant), arrival)
}

/// Where all is back, not to be there means the same.
fn keep(arrivals: &mut LruCache<String, Moment>, claim: &Claim, arrival: Moment, now: Moment) {
    if arrival > now {
        arrivals.put(claim.key.clone(), arrival);
    } else {
        arrivals.pop(&claim.key);
    }
}
