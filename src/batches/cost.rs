//! What a batch at a provider costs: all of it is held before it is handed over, and what it used is booked at its end.

use super::run::End;
use crate::app::AppState;
use crate::auth::Caller;
use gateway::{ChatRequest, Meter, Planned, Reservation, TokenUsage};
use index::batches::BatchRecord;
use std::sync::{Arc, Mutex, PoisonError};

/// What is held in this run of the process. After a crash the ledger itself counts what a budget held as spent.
#[derive(Default)]
pub(super) struct Held(Mutex<Option<Reservation>>);

impl Held {
    fn take(&self) -> Option<Reservation> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn keep(&self, reservation: Reservation) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reservation);
    }

    /// Holds what these requests may cost; whether a budget applies, which needs a limit for every answer.
    pub(super) async fn reserve(
        &self,
        app: &AppState,
        record: &BatchRecord,
        deployment: &str,
        requests: &mut [ChatRequest],
    ) -> Result<bool, End> {
        let Some(meter) = meter(app, deployment) else { return Ok(false) };
        // A step that is made again holds nothing twice.
        if let Some(held) = self.take() {
            held.release();
        }
        let planned = meter.plan_batch(account(record), requests);
        let reservation = app.spend.ledger.reserve(planned).await;
        let reservation = reservation.map_err(|error| End::failed("budget_exhausted", &error.to_string()))?;
        let is_budgeted = reservation.is_budgeted();
        if is_budgeted {
            requests.iter_mut().for_each(|request| request.max_tokens = request.max_tokens.or(Some(Meter::ANSWER_TOKENS)));
        }
        self.keep(reservation);
        Ok(is_budgeted)
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
        match app.spend.ledger.reserve(Planned { max_tokens: Some(0), ..meter.plan_batch(account(record), &[]) }).await {
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

fn account(record: &BatchRecord) -> Arc<gateway::Account> {
    Arc::new(Caller::of_batch(record).account(Vec::new()))
}

fn meter<'a>(app: &'a AppState, deployment: &str) -> Option<&'a Meter> {
    app.spend.meters.values().flatten().find(|meter| meter.deployment == deployment)
}
