//! Whether and when to try again.

use crate::{ChatError, Verdict};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How one rung of a ladder is tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryParams {
    /// Calls at most, the first included. Default 3.
    pub tries_max: u32,
    /// Longest wait before the second call. Default 0.25 s; it doubles.
    pub backoff: Duration,
    /// Longest wait of all. Default 8 s.
    pub backoff_max: Duration,
    /// Longest wait that a provider may ask for; where it is longer the next rung is asked, or the client told. Default 10 s.
    pub wait_max: Duration,
}

impl Default for RetryParams {
    fn default() -> Self {
        Self { tries_max: 3, backoff: Duration::from_millis(250), backoff_max: Duration::from_secs(8), wait_max: Duration::from_secs(10) }
    }
}

impl RetryParams {
    /// How long to wait after so many failures: anything up to the backoff ("full jitter": M. Brooker, Exponential
    /// Backoff And Jitter, 2015), but not less than what was asked for.
    fn wait(&self, failures: u32, asked_for: Option<Duration>) -> Duration {
        let doubled = self.backoff.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(self.backoff_max);
        doubled.mul_f64(fastrand::f64()).max(asked_for.unwrap_or_default())
    }
}

/// The tries of one call at one place.
pub(crate) struct Tries<'a> {
    params: &'a RetryParams,
    budget: &'a RetryBudget,
    deadline: Option<Instant>,
    made: u32,
}

impl<'a> Tries<'a> {
    pub(crate) fn new(params: &'a RetryParams, budget: &'a RetryBudget, deadline: Option<Instant>) -> Self {
        Self { params, budget, deadline, made: 0 }
    }

    /// One failed. Where nobody was asked, none was made; nor where a deployment is out for a while: the next one is asked
    /// instead of it.
    pub(crate) fn failed(&mut self, error: &ChatError) {
        let is_made = !matches!(error, ChatError::Unavailable { .. } | ChatError::OverBudget { .. });
        self.made += u32::from(is_made && error.verdict() != Verdict::TakenOut);
    }

    /// How long to wait for what passes by itself.
    pub(crate) fn wait(&self, error: &ChatError, ready_in: Duration) -> Duration {
        self.params.wait(self.made, error.retry_after()).max(ready_in)
    }

    /// Whether there is to be another after this wait; takes it from the budget. So does a move to another deployment of the
    /// group: it is one call more upstream, and members of a group are often one provider that is down.
    pub(crate) fn may_wait(&self, wait: Duration) -> bool {
        let is_in_time = self.deadline.is_none_or(|deadline| Instant::now() + wait < deadline);
        // Where nobody was asked there is nothing to pay for.
        let may_retry = || self.made == 0 || (self.made < self.params.tries_max && self.budget.spend());
        wait <= self.params.wait_max && is_in_time && may_retry()
    }
}

/// Retries in hand that nobody has to earn first.
const BALANCE_MAX: f64 = 10.0;
/// Retries that are granted each second, however few calls there are.
const PER_SECOND: f64 = 0.5;

/// Keeps retries to a share of the traffic, so that they can't multiply what breaks a provider down.
pub struct RetryBudget {
    /// Retries that each call pays for.
    share: f64,
    account: Mutex<Account>,
}

struct Account {
    balance: f64,
    since: Instant,
}

impl Default for RetryBudget {
    /// A fifth of the traffic.
    fn default() -> Self {
        Self::new(0.2)
    }
}

impl RetryBudget {
    /// At most `share` retries for each call, but for a few in hand.
    #[must_use]
    pub fn new(share: f64) -> Self {
        Self { share, account: Mutex::new(Account { balance: BALANCE_MAX, since: Instant::now() }) }
    }

    /// A call was made.
    pub(crate) fn earn(&self) {
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        account.balance = (account.balance + self.share).min(BALANCE_MAX);
    }

    /// Whether a retry may be made; takes it.
    fn spend(&self) -> bool {
        let (mut account, now) = (self.account.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        let elapsed = now.saturating_duration_since(account.since).as_secs_f64();
        account.balance = (account.balance + elapsed * PER_SECOND).min(BALANCE_MAX);
        account.since = now;
        if account.balance < 1.0 {
            return false;
        }
        account.balance -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_stay_below_the_most_and_heed_what_was_asked_for() {
        let params = RetryParams::default();
        let longest = |failures| (0..200).map(|_| params.wait(failures, None)).max().unwrap();
        for (failures, most_ms) in [(1, 250), (2, 500), (3, 1000), (6, 8000), (60, 8000)] {
            let longest = longest(failures);
            assert!(longest <= Duration::from_millis(most_ms), "{failures}: {longest:?}");
            assert!(longest > Duration::from_millis(most_ms / 2), "{failures}: {longest:?}");
        }
        assert!(params.wait(1, Some(Duration::from_secs(30))) >= Duration::from_secs(30));
    }

    #[tokio::test(start_paused = true)]
    async fn retries_are_a_fifth_of_the_traffic() {
        let budget = RetryBudget::default();
        let in_hand = (0..1000).take_while(|_| budget.spend()).count();
        assert_eq!(in_hand, 10);
        let granted = (0..1000)
            .filter(|_| {
                budget.earn();
                budget.spend()
            })
            .count();
        assert!((195..=200).contains(&granted), "{granted} of 1,000");
        tokio::time::advance(Duration::from_secs(4)).await;
        assert!(budget.spend() && budget.spend(), "time alone grants some");
    }
}
