//! So much in a time: the generic cell rate algorithm, which needs one number of state for each that spends.
//!
//! ITU-T I.371, annex A, as a virtual schedule, with weighted cells: the *arrival time* is the moment when all that was
//! spent has come back. A cell of cost `n` moves it by `n` intervals, and may do so if it then lies no further ahead
//! than the tolerance, which is what may be spent at once.

use std::num::NonZero;
use std::time::Duration;

/// Nanoseconds of a clock that only goes on.
pub type Moment = u64;

/// So much in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    limit: NonZero<u32>,
    period: Duration,
    burst: NonZero<u32>,
}

/// What spending a cost came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// Whether the cost was taken.
    pub allowed: bool,
    /// What may still be spent now.
    pub remaining: u64,
    /// When all of it may be spent again.
    pub reset_after: Duration,
    /// When this cost may be tried again; `None` if it was allowed, or is more than can ever be spent at once.
    pub retry_after: Option<Duration>,
}

impl Allowance {
    /// `limit` in every `period`, all of it at once if nothing was spent before. A period is at least a millisecond.
    #[must_use]
    pub fn new(limit: NonZero<u32>, period: Duration) -> Self {
        Self { limit, period: period.max(Duration::from_millis(1)), burst: limit }
    }

    /// `limit` every minute.
    #[must_use]
    pub fn per_minute(limit: NonZero<u32>) -> Self {
        Self::new(limit, Duration::from_secs(60))
    }

    /// With another amount that may be spent at once.
    #[must_use]
    pub const fn with_burst(self, burst: NonZero<u32>) -> Self {
        Self { burst, ..self }
    }

    /// What comes back in a period.
    #[must_use]
    pub const fn limit(&self) -> NonZero<u32> {
        self.limit
    }

    /// How long it takes to come back.
    #[must_use]
    pub const fn period(&self) -> Duration {
        self.period
    }

    /// What may be spent at once when nothing was spent before.
    #[must_use]
    pub const fn burst(&self) -> NonZero<u32> {
        self.burst
    }

    /// Spends `cost`, all or nothing, and says what the arrival time becomes. A cost of 0 only looks.
    #[must_use]
    pub fn spend(&self, arrival: Moment, now: Moment, cost: u64) -> (Grant, Moment) {
        let burst = u64::from(self.burst.get());
        let tolerance = self.time_of(burst);
        let spent = arrival.max(now);
        let next = spent.saturating_add(self.time_of(cost));
        let allowed = cost == 0 || next - now <= tolerance;
        let arrival = if allowed { next } else { spent };
        let ahead = arrival - now;
        let wait = (next - now).saturating_sub(tolerance);
        let grant = Grant {
            allowed,
            remaining: tolerance.checked_sub(ahead).map_or(0, |left| self.cost_within(left).min(burst)),
            reset_after: Duration::from_nanos(ahead),
            retry_after: (!allowed && cost <= burst).then(|| Duration::from_nanos(wait)),
        };
        (grant, arrival)
    }

    /// The arrival time when `used` was spent in place of `reserved`. What has come back already isn't given back
    /// twice; more than was left is taken too, so that the next one waits longer.
    #[must_use]
    pub fn settle(&self, arrival: Moment, now: Moment, reserved: u64, used: u64) -> Moment {
        let spent = arrival.max(now);
        let (back, more) = (self.time_of(reserved.saturating_sub(used)), self.time_of(used.saturating_sub(reserved)));
        spent.saturating_sub(back).max(now).saturating_add(more)
    }

    /// How long `cost` takes to come back.
    fn time_of(&self, cost: u64) -> u64 {
        let time = u128::from(cost).saturating_mul(self.period.as_nanos()) / u128::from(self.limit.get());
        u64::try_from(time).unwrap_or(u64::MAX)
    }

    /// The largest cost that takes no longer to come back.
    fn cost_within(&self, nanos: u64) -> u64 {
        let cells = (u128::from(nanos) + 1) * u128::from(self.limit.get());
        u64::try_from((cells - 1) / self.period.as_nanos().max(1)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is asked when, what was allowed in any stretch of time is at most the burst and what came back in it.
        #[test]
        fn no_stretch_of_time_gets_more_than_its_share(
            limit in 1_u32..50, burst in 1_u32..50, asks in proptest::collection::vec((0_u64..3_000_000_000, 0_u64..20), 1..60),
        ) {
            let allowance = Allowance::new(NonZero::new(limit).unwrap(), Duration::from_secs(7)).with_burst(NonZero::new(burst).unwrap());
            let (mut arrival, mut now, mut allowed) = (0, 0, Vec::new());
            for (pause, cost) in asks {
                now += pause;
                let (grant, next) = allowance.spend(arrival, now, cost);
                arrival = next;
                if grant.allowed {
                    allowed.push((now, cost));
                }
                if let Some(wait) = grant.retry_after {
                    let then = now + u64::try_from(wait.as_nanos()).unwrap();
                    prop_assert!(allowance.spend(arrival, then, cost).0.allowed, "what retry_after promises");
                    prop_assert!(!allowance.spend(arrival, then - 1, cost).0.allowed, "and not before");
                }
                prop_assert!(grant.remaining <= burst.into());
                let more = allowance.spend(arrival, now, grant.remaining + 1).0.allowed;
                prop_assert!(allowance.spend(arrival, now, grant.remaining).0.allowed && !more, "remaining is exact: {:?}", grant);
            }
            for (at, (from, _)) in allowed.iter().enumerate() {
                let mut sum = 0;
                for (to, cost) in &allowed[at..] {
                    sum += cost;
                    let back = u128::from(to - from) * u128::from(limit) / 7_000_000_000;
                    prop_assert!(u128::from(sum) <= u128::from(burst) + back + 1, "{sum} in {} ns", to - from);
                }
            }
        }
    }
}
