//! Evaluations that run: one at a time, tenant by tenant, in the background, between the requests that somebody waits for.
//!
//! Each case goes the way of a user's request, with the bounds of the key that asked as they were then. Results are in
//! the store before they count. What a restart cuts off is not taken up again: it is `interrupted`.

pub(crate) mod run;

use crate::config::EvaluationsConfig;
use crate::error::ApiError;
use axum::http::StatusCode;
use corpus::TenantId;
use query::{Case, SearchMode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

/// The evaluations of this process.
pub(crate) struct Evaluations {
    pub(crate) config: EvaluationsConfig,
    seats: Arc<Semaphore>,
    /// Two at a time would measure each other.
    turn: Arc<Mutex<()>>,
    /// Those with evaluations that wait or run.
    tenants: SyncMutex<HashMap<TenantId, Arc<Tenant>>>,
}

/// The evaluations of one tenant.
struct Tenant {
    seats: Arc<Semaphore>,
    /// First among themselves, so that only one of a tenant stands in the line of all.
    turn: Arc<Mutex<()>>,
}

/// The right of an evaluation to wait and to run.
pub(crate) struct Seat {
    tenant: Arc<Tenant>,
    of_all: Arc<Mutex<()>>,
    _permits: [OwnedSemaphorePermit; 2],
}

impl Seat {
    /// Waits for those that came before: of the same tenant all, of each other one at a time.
    async fn turn(&self) -> [OwnedMutexGuard<()>; 2] {
        let among_its_own = Arc::clone(&self.tenant.turn).lock_owned().await;
        [Arc::clone(&self.of_all).lock_owned().await, among_its_own]
    }
}

/// What is measured, as it is kept with the results.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Of searches.
    pub(crate) modes: Vec<Mode>,
    /// Hits of a search, or chunks of an answer.
    pub(crate) k: usize,
    /// Who answers; absent: the default.
    pub(crate) model: Option<String>,
    pub(crate) judge: Option<Judge>,
    /// Where its cases come from, if it was not given them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cases_from: Option<Value>,
}

/// A search that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    Lexical,
    Vector,
    Hybrid,
    /// Hybrid, judged again by a reranker; left out where there is none.
    Reranked,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lexical => "lexical",
            Self::Vector => "vector",
            Self::Hybrid => "hybrid",
            Self::Reranked => "reranked",
        }
    }

    fn search(self) -> SearchMode {
        match self {
            Self::Lexical => SearchMode::Lexical,
            Self::Vector => SearchMode::Vector,
            Self::Hybrid | Self::Reranked => SearchMode::Hybrid,
        }
    }
}

/// Who judges answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Judge {
    pub(crate) model: String,
    /// The score from which on an answer passes.
    pub(crate) pass: f64,
    /// Of the prompt.
    pub(crate) version: String,
}

/// A case with the name that its result has.
pub(crate) struct Named {
    pub(crate) id: String,
    pub(crate) case: Case,
}

impl Evaluations {
    pub(crate) fn new(config: EvaluationsConfig) -> Self {
        let seats = Arc::new(Semaphore::new(config.unfinished_max));
        Self { seats, turn: Arc::default(), tenants: SyncMutex::default(), config }
    }

    /// A seat for a new evaluation.
    ///
    /// # Errors
    /// 429 if as many wait or run as may, of the tenant or of all.
    pub(crate) fn admit(&self, tenant: &TenantId) -> Result<Seat, ApiError> {
        let busy = |_| {
            let wait = Duration::from_secs(30);
            ApiError::busy(StatusCode::TOO_MANY_REQUESTS, "evaluations_busy", "too many evaluations wait already", wait)
        };
        let tenant = self.tenant(tenant);
        let of_tenant = Arc::clone(&tenant.seats).try_acquire_owned().map_err(busy)?;
        let of_all = Arc::clone(&self.seats).try_acquire_owned().map_err(busy)?;
        Ok(Seat { tenant, of_all: Arc::clone(&self.turn), _permits: [of_tenant, of_all] })
    }

    fn tenant(&self, tenant: &TenantId) -> Arc<Tenant> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.retain(|_, known| Arc::strong_count(known) > 1);
        let new = || Arc::new(Tenant { seats: Arc::new(Semaphore::new(self.config.tenant_unfinished_max)), turn: Arc::default() });
        Arc::clone(tenants.entry(tenant.clone()).or_insert_with(new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_tenant_leaves_seats_and_turns_to_the_others() {
        let config = EvaluationsConfig { unfinished_max: 4, tenant_unfinished_max: 2, ..EvaluationsConfig::default() };
        let evaluations = Evaluations::new(config);
        let [a, b, c]: [TenantId; 3] = ["a", "b", "c"].map(|name| name.parse().unwrap());
        let admit = |tenant: &TenantId| evaluations.admit(tenant).ok();
        let (first, second) = (admit(&a).unwrap(), admit(&a).unwrap());
        assert!(admit(&a).is_none());
        let (third, fourth) = (admit(&b).unwrap(), admit(&c).unwrap());
        assert!(admit(&b).is_none(), "of all");
        let running = first.turn().await;
        let (mut its_next, mut of_another) = (Box::pin(second.turn()), Box::pin(third.turn()));
        assert!(futures::poll!(&mut its_next).is_pending() && futures::poll!(&mut of_another).is_pending());
        drop(running);
        assert!(futures::poll!(&mut its_next).is_pending(), "the other tenant was in line before it");
        assert!(futures::poll!(&mut of_another).is_ready());
        drop((first, fourth));
        assert!(admit(&a).is_some());
    }
}
