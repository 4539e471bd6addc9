//! Rate limits on the way in: requests and tokens a minute, of each API key and of each tenant.
//!
//! Invariants: what is over any limit takes nothing of the others; who has no limit costs nothing; a limit of one
//! tenant never touches another's. With Redis all servers count together; while it is away each counts for itself.

mod tokens;

pub(crate) use tokens::TokenLimit;

use crate::auth::Keys;
use crate::config::{LimitConfig, LimitsConfig};
use cache::{Claim, Decision, Limiter, Link, Meter};
use corpus::Allowance;
use gateway::Account;
use index::KeyLimits;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// Keys and tenants that one process counts for; beyond, those longest silent begin anew.
const COUNTED_MAX: NonZero<usize> = NonZero::new(100_000).unwrap();

/// Who may ask how much.
pub(crate) struct Limits {
    limiter: Limiter,
    config: LimitsConfig,
    keys: Arc<Keys>,
}

/// One limit, and how it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    /// What it is called in headers.
    pub(crate) policy: &'static str,
    pub(crate) meter: Meter,
    pub(crate) decision: Decision,
}

impl Limits {
    pub(crate) fn new(config: LimitsConfig, keys: Arc<Keys>, link: Option<Arc<Link>>) -> Self {
        Self { limiter: Limiter::new(COUNTED_MAX, link), config, keys }
    }

    /// Takes one request, if every limit allows it; how they stand, empty if there is none.
    pub(crate) async fn request(&self, account: &Account) -> Vec<Standing> {
        self.check(account, Meter::Requests, 1).await
    }

    /// How the limits of tokens stand.
    pub(crate) async fn tokens(&self, account: &Account) -> Vec<Standing> {
        self.check(account, Meter::Tokens, 0).await
    }

    /// Takes so many tokens for a call, to be corrected when it is known how many it used. A call that needs more
    /// than can ever be spent at once is let through when nothing is spent; what it used is owed then.
    ///
    /// # Errors
    /// How long there are not enough left.
    pub(crate) async fn reserve(self: &Arc<Self>, account: &Account, tokens: u64) -> Result<Reservation, Duration> {
        let claims = claims(self.bounds(account, Meter::Tokens), account, tokens);
        let decisions = self.limiter.check(&claims).await;
        match decisions.iter().filter(|decision| !decision.allowed).map(|refused| refused.retry_after).max() {
            Some(wait) => Err(wait.unwrap_or_default()),
            None => Ok(Reservation { limits: Arc::clone(self), claims, used: tokens }),
        }
    }

    /// Takes requests that are made already. No more than a minute has: who asks for many at once is not shut out for
    /// longer.
    pub(crate) async fn owe_requests(&self, account: &Account, requests: u64) {
        for bound in self.bounds(account, Meter::Requests) {
            let used = requests.min(bound.allowance.burst().get().into());
            self.limiter.settle(&claims(vec![bound], account, 0), used).await;
        }
    }

    async fn check(&self, account: &Account, meter: Meter, cost: u64) -> Vec<Standing> {
        let bounds = self.bounds(account, meter);
        if bounds.is_empty() {
            return Vec::new();
        }
        let policies: Vec<_> = bounds.iter().map(|bound| bound.policy).collect();
        let decisions = self.limiter.check(&claims(bounds, account, cost)).await;
        policies.into_iter().zip(decisions).map(|(policy, decision)| Standing { policy, meter, decision }).collect()
    }

    /// Whether a key with these limits may ask no more than this account's key.
    pub(crate) fn cover(&self, account: &Account, limits: KeyLimits) -> bool {
        let LimitConfig { requests_per_minute, tokens_per_minute } = self.of_key(account);
        // 0 is without a limit.
        let covers = |mine: u32, asked: Option<u32>| mine == 0 || asked.is_none_or(|asked| (1..=mine).contains(&asked));
        covers(requests_per_minute, limits.requests_per_minute) && covers(tokens_per_minute, limits.tokens_per_minute)
    }

    fn of_key(&self, account: &Account) -> LimitConfig {
        let own = self.keys.limits(&account.key);
        LimitConfig {
            requests_per_minute: own.requests_per_minute.unwrap_or(self.config.key.requests_per_minute),
            tokens_per_minute: own.tokens_per_minute.unwrap_or(self.config.key.tokens_per_minute),
        }
    }

    /// The limits that there are for this account.
    fn bounds(&self, account: &Account, meter: Meter) -> Vec<Bound> {
        let (key, tenant) = (self.of_key(account), self.config.of_tenant(&account.tenant));
        let limits = match meter {
            Meter::Requests => [("key-requests", key.requests_per_minute), ("tenant-requests", tenant.requests_per_minute)],
            Meter::Tokens => [("key-tokens", key.tokens_per_minute), ("tenant-tokens", tenant.tokens_per_minute)],
        };
        let bound = |(policy, per_minute)| Some(Bound { policy, meter, allowance: Allowance::per_minute(NonZero::new(per_minute)?) });
        limits.into_iter().filter_map(bound).collect()
    }
}

/// One limit.
struct Bound {
    policy: &'static str,
    meter: Meter,
    allowance: Allowance,
}

fn claims(bounds: Vec<Bound>, account: &Account, cost: u64) -> Vec<Claim> {
    let claim = |Bound { policy, meter, allowance }| {
        let name = match policy.starts_with("key") {
            true => format!("key {}", account.key),
            false => format!("tenant {}", account.tenant),
        };
        Claim::new(meter, &name, cost.min(allowance.burst().get().into()), allowance)
    };
    bounds.into_iter().map(claim).collect()
}

/// Tokens that were taken for a call. Dropped, it gives back what was not used, or takes what was used beyond.
pub(crate) struct Reservation {
    limits: Arc<Limits>,
    claims: Vec<Claim>,
    used: u64,
}

impl Reservation {
    /// So many were used, as far as is known.
    pub(crate) fn set_used(&mut self, tokens: u64) {
        self.used = tokens;
    }

    /// So many more.
    pub(crate) fn add_used(&mut self, tokens: u64) {
        self.used = self.used.saturating_add(tokens);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // Without a runtime the server is gone: then what was reserved counts as used.
        let (false, Ok(runtime)) = (self.claims.is_empty(), Handle::try_current()) else { return };
        let (limits, claims, used) = (Arc::clone(&self.limits), std::mem::take(&mut self.claims), self.used);
        runtime.spawn(async move { limits.limiter.settle(&claims, used).await });
    }
}
