//! What a batch at a provider costs: all of it is held before it is handed over, and what it used is booked at its end.

use crate::app::AppState;
use crate::auth::Caller;
use crate::error::ApiError;
use gateway::{ChatError, ChatRequest, Job, Meter, Planned, Reservation, TokenUsage, estimate_tokens};
use index::batches::BatchRecord;
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is held for a batch, under its name: the run after a restart goes on with it.
pub(super) struct Held(Mutex<Option<Reservation>>);

impl Held {
    /// What an earlier run of the process held for the batch.
    pub(super) fn of(app: &AppState, record: &BatchRecord, deployment: &str) -> Self {
        let planned = meter(app, deployment).map(|meter| meter.plan_batch(account(record), &[]));
        Self(Mutex::new(planned.and_then(|planned| app.spend.ledger.adopt(record.id.as_str(), planned))))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Reservation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_there(&self) -> bool {
        self.lock().is_some()
    }

    /// Whether a budget covers it.
    pub(super) fn is_budgeted(&self) -> bool {
        self.lock().as_ref().is_some_and(Reservation::is_budgeted)
    }

    /// Holds what these requests may cost; the requests.
    ///
    /// # Errors
    /// As for a call of the gateway.
    pub(super) async fn reserve(
        &self,
        app: &AppState,
        record: &BatchRecord,
        deployment: &str,
        requests: Vec<ChatRequest>,
    ) -> Result<Vec<ChatRequest>, ChatError> {
        let Some(meter) = meter(app, deployment) else { return Ok(requests) };
        let (requests, planned) = plan(meter, record, requests).await?;
        let account = Arc::clone(&planned.account);
        let tokens = planned.prompt_tokens.saturating_add(u64::from(planned.max_tokens.unwrap_or_default()));
        let limited = app.limits.reserve(&account, tokens).await;
        let mut limited = limited.map_err(|wait| unavailable("the limit of tokens a minute is reached", Some(wait)))?;
        let job = Job { name: record.id.to_string(), calls: requests.len() as u64 };
        let reserved = app.spend.ledger.reserve_job(planned, &job).await.inspect_err(|_| limited.set_used(0))?;
        // Counts as used from now on: when a provider works on it, nobody knows.
        drop(limited);
        // The request that brought them was one.
        app.limits.owe_requests(&account, job.calls - 1).await;
        *self.lock() = Some(reserved);
        Ok(requests)
    }

    /// Gives it back: nothing was used.
    pub(super) fn release(&self) {
        if let Some(reservation) = self.lock().take() {
            reservation.release();
        }
    }

    /// Counts all of it as spent: what was used, nobody will know.
    pub(super) fn abandon(&self) {
        if let Some(reservation) = self.lock().take() {
            reservation.abandon();
        }
    }

    /// Books what the batch used; durable on return, so that it is not booked again after a restart.
    pub(super) async fn settle(&self, app: &AppState, record: &BatchRecord, deployment: &str) -> Result<(), ApiError> {
        let BatchRecord { prompt_tokens, cached_tokens, completion_tokens, .. } = *record;
        let used = TokenUsage { prompt_tokens, cached_tokens, completion_tokens, cost: None, ..TokenUsage::default() };
        let calls = u64::from(record.done.saturating_sub(record.failed));
        let held = self.lock().take();
        match held {
            Some(reservation) if calls > 0 => reservation.settle_calls(used, calls),
            Some(reservation) => reservation.release(),
            // Was held, and is not any more: an earlier run of the process has booked it.
            None if record.at_provider.as_ref().is_some_and(|at| at.is_held) => {}
            None => {
                let planned = meter(app, deployment).map(|meter| meter.plan_batch(account(record), &[]));
                planned.iter().for_each(|planned| app.spend.ledger.book_calls(planned, used, calls));
            }
        }
        app.spend.ledger.flush().await.map_err(ApiError::internal)
    }
}

/// Limits every answer, so that none costs more than was held for it.
pub(super) fn limit(requests: &mut [ChatRequest]) {
    requests.iter_mut().for_each(|request| request.max_tokens = request.max_tokens.or(Some(Meter::ANSWER_TOKENS)));
}

/// What an answer used whose provider doesn't say so, by our own count.
pub(super) async fn counted(app: &AppState, deployment: &str, request: ChatRequest, answer: &Value) -> Result<TokenUsage, ApiError> {
    let said = answer.pointer("/choices/0/message").map(Value::to_string).unwrap_or_default();
    let Some(meter) = meter(app, deployment).cloned() else { return Ok(TokenUsage::default()) };
    app.blocking(move |_| {
        let (prompt_tokens, completion_tokens) = (meter.prompt_tokens(&request), meter.counter.count(&said).max(estimate_tokens(&said)));
        Ok(TokenUsage { prompt_tokens, completion_tokens, ..TokenUsage::default() })
    })
    .await
}

/// Off the async threads: thousands of prompts are counted.
async fn plan(meter: &Meter, record: &BatchRecord, requests: Vec<ChatRequest>) -> Result<(Vec<ChatRequest>, Planned), ChatError> {
    let (meter, account) = (meter.clone(), account(record));
    let planned = tokio::task::spawn_blocking(move || {
        let planned = meter.plan_batch(account, &requests);
        (requests, planned)
    });
    planned.await.map_err(|error| unavailable(&error.to_string(), None))
}

fn unavailable(reason: &str, retry_after: Option<std::time::Duration>) -> ChatError {
    ChatError::Unavailable { reason: reason.to_owned(), retry_after }
}

fn account(record: &BatchRecord) -> Arc<gateway::Account> {
    Arc::new(Caller::of_batch(record).account(record.asker.tags.clone()))
}

fn meter<'a>(app: &'a AppState, deployment: &str) -> Option<&'a Meter> {
    app.spend.meters.values().flatten().find(|meter| meter.deployment == deployment)
}
