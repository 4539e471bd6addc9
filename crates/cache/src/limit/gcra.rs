//! The generic cell rate algorithm: one number of state for each key.
//!
//! ITU-T I.371, annex A, as a virtual schedule: the *theoretical arrival time* is the moment when all that was spent
//! has come back. A cell of cost `n` moves it by `n` intervals, and may do so if it then lies no further ahead than
//! the tolerance, which is what may be spent at once. `gcra.lua` is the same for Redis.

use super::{Decision, Quota};
use std::time::Duration;

/// Nanoseconds of a clock that only goes on.
pub(super) type Moment = u64;

impl Quota {
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

/// Decides, and says what the arrival time becomes.
pub(super) fn check(arrival: Moment, now: Moment, cost: u64, quota: &Quota) -> (Decision, Moment) {
    let burst = u64::from(quota.burst.get());
    let tolerance = quota.time_of(burst);
    let spent = arrival.max(now);
    let next = spent.saturating_add(quota.time_of(cost));
    let allowed = cost == 0 || next - now <= tolerance;
    let arrival = if allowed { next } else { spent };
    let ahead = arrival - now;
    let wait = (next - now).saturating_sub(tolerance);
    let decision = Decision {
        allowed,
        limit: burst,
        remaining: tolerance.checked_sub(ahead).map_or(0, |left| quota.cost_within(left).min(burst)),
        reset_after: Duration::from_nanos(ahead),
        retry_after: (!allowed && cost <= burst).then(|| Duration::from_nanos(wait)),
        is_shared: false,
    };
    (decision, arrival)
}

/// The arrival time when `used` was spent in place of `reserved`. What has come back already isn't given back twice.
pub(super) fn settle(arrival: Moment, now: Moment, reserved: u64, used: u64, quota: &Quota) -> Moment {
    let spent = arrival.max(now);
    let (back, more) = (quota.time_of(reserved.saturating_sub(used)), quota.time_of(used.saturating_sub(reserved)));
    spent.saturating_sub(back).max(now).saturating_add(more)
}
