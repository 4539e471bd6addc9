//! What a batch at a provider costs: all of it is held before it is handed over, and what it used is booked at its end.

use crate::app::AppState;
use crate::auth::Caller;
use crate::error::ApiError;
use gateway::{ChatError, ChatRequest, Meter, Planned, Reservation, TokenUsage, estimate_tokens, prompt_tokens};
use index::batches::BatchRecord;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};

/// What is held in this run of the process. After a crash the ledger itself counts what a budget held as spent.
#[derive(Default)]
pub(super) struct Held(Mutex<Option<Reservation>>);

impl Held {
    fn take(&self) -> Option<Reservation> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Holds what these requests may cost; the requests, and whether a budget applies. Then every answer is limited.
    ///
    /// # Errors
    /// As for a call of the gateway.
    pub(super) async fn reserve(
        &self,
        app: &AppState,
        record: &BatchRecord,
        deployment: &str,
        requests: Vec<ChatRequest>,
    ) -> Result<(Vec<ChatRequest>, bool), ChatError> {
        let Some(meter) = meter(app, deployment) else { return Ok((requests, false)) };
        // A step that is made again holds nothing twice.
        self.release();
        let (requests, planned) = plan(meter, record, requests).await?;
        let account = Arc::clone(&planned.account);
        let tokens = planned.prompt_tokens.saturating_add(u64::from(planned.max_tokens.unwrap_or_default()));
        let limited = app.limits.reserve(&account, tokens).await;
        // Counts as used from now on: when a provider works on it, nobody knows.
        drop(limited.map_err(|wait| unavailable("the limit of tokens a minute is reached", Some(wait)))?);
        let reservation = app.spend.ledger.reserve(planned).await?;
        let is_budgeted = reservation.is_budgeted();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reservation);
        Ok((requests, is_budgeted))
    }

    /// Gives it back: nothing was handed over.
    pub(super) fn release(&self) {
        if let Some(reservation) = self.take() {
            reservation.release();
        }
    }

    /// Books what the batch used.
    pub(super) async fn settle(&self, app: &AppState, record: &BatchRecord, deployment: &str) {
        let (prompt_tokens, completion_tokens) = (record.prompt_tokens, record.completion_tokens);
        let used = TokenUsage { prompt_tokens, completion_tokens, ..TokenUsage::default() };
        if let Some(reservation) = self.take() {
            reservation.settle(used);
            return;
        }
        // Held before a restart, which has booked all of it.
        if record.at_provider.as_ref().is_some_and(|at| at.is_budgeted) {
            return;
        }
        let Some(meter) = meter(app, deployment) else { return };
        let nothing = Planned { max_tokens: Some(0), ..meter.plan_batch(account(record), &[]) };
        match app.spend.ledger.reserve(nothing).await {
            Ok(reservation) => reservation.settle(used),
            Err(error) => tracing::warn!(job = %record.id, %error, "what a batch used could not be booked"),
        }
    }
}

impl Drop for Held {
    /// Without a budget nothing of it is durable: the next run books the use.
    fn drop(&mut self) {
        if let Some(reservation) = self.take().filter(|reservation| !reservation.is_budgeted()) {
            reservation.release();
        }
    }
}

/// Limits every answer, so that none costs more than was held for it.
pub(super) fn limit(requests: &mut [ChatRequest]) {
    requests.iter_mut().for_each(|request| request.max_tokens = request.max_tokens.or(Some(Meter::ANSWER_TOKENS)));
}

/// What an answer used whose provider doesn't say so, by our own count.
pub(super) async fn counted(app: &AppState, deployment: &str, request: ChatRequest, answer: &Value) -> Result<TokenUsage, ApiError> {
    let said = answer.pointer("/choices/0/message").map(Value::to_string).unwrap_or_default();
    let Some(meter) = meter(app, deployment) else { return Ok(TokenUsage::default()) };
    let counter = Arc::clone(&meter.counter);
    app.blocking(move |_| {
        let (prompt_tokens, completion_tokens) = (prompt_tokens(&request, &*counter), counter.count(&said).max(estimate_tokens(&said)));
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
