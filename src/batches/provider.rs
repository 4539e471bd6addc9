//! A batch at a provider: handed over once, looked at until it is over, its answers kept.
//!
//! Every step is in the store before the next is made, so that a restart goes on where it was: the uploaded file, that
//! the provider is about to be told to begin, and the id that it gave. Without the last one the provider is asked for
//! a batch of our name before it is told again. A step that fails is made again as the rules of retrying have it.

use super::cost::Held;
use super::run::{End, change, commit, settle};
use super::{BatchStage, Item, Seat, cost, item};
use crate::app::AppState;
use crate::error::ApiError;
use crate::http::chat::Asked;
use axum::http::StatusCode;
use gateway::{BatchAnswer, BatchClient, BatchFailure, BatchState, ChatError, ChatRequest, ProviderBatch, Shortage, TokenUsage, Verdict};
use index::batches::{AtProvider, BatchRecord, BatchResult};
use index::records::JobState;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Times in a row that a provider may refuse our key or address, and how long each is waited for.
const REFUSALS_MAX: u32 = 3;
const REFUSED_WAIT: Duration = Duration::from_secs(60);
/// Answers that are made durable together.
const GROUP: usize = 64;
/// What is looked at with more patience each time.
const GROWTH: f64 = 1.5;

/// What ended a step.
enum Fault {
    Provider(ChatError),
    End(End),
}

impl From<ChatError> for Fault {
    fn from(error: ChatError) -> Self {
        Self::Provider(error)
    }
}

impl From<End> for Fault {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

/// Goes on with a batch until it is over.
pub(super) async fn items(app: &AppState, record: &BatchRecord, deployment: &str, seat: &Seat) -> Result<End, End> {
    let Some(client) = app.batches.client(deployment) else {
        return Ok(End::failed("deployment_gone", "the deployment whose provider has the batch is not configured any more"));
    };
    let run = Run { app, client: &client, seat, held: Held::default() };
    let mut patience = Patience::of(app, record);
    if at(record).may_have_begun && at(record).batch.is_none() {
        // A provider's list may be a moment behind.
        sleep(patience.wait).await;
    }
    let end = run.until_over(record, &mut patience).await;
    run.square_up(record, &end).await;
    end
}

/// Tells the provider that nobody wants the batch any more, as well as that can be done once.
pub(super) async fn recall(app: &AppState, record: &BatchRecord, deployment: &str) {
    let (Ok(record), Some(client)) = (current(app, record).await, app.batches.client(deployment)) else { return };
    let cancelled = async {
        let id = match at(&record) {
            AtProvider { batch: Some(id), .. } => Some(id),
            AtProvider { may_have_begun: true, .. } => client.find(record.id.as_str()).await?.map(|batch| batch.id),
            AtProvider { .. } => None,
        };
        match id {
            Some(id) => client.cancel(&id).await,
            None => Ok(()),
        }
    };
    if let Err(error) = cancelled.await {
        tracing::warn!(job = %record.id, %error, "a batch at a provider could not be cancelled");
    }
}

/// When to look again, and when to stop.
struct Patience {
    wait: Duration,
    wait_max: Duration,
    until: Instant,
    refusals: u32,
}

impl Patience {
    fn of(app: &AppState, record: &BatchRecord) -> Self {
        let config = &app.batches.config;
        let took = (time::OffsetDateTime::now_utc() - record.created_at).try_into().unwrap_or_default();
        let left = Duration::from_secs(config.provider_wait_s_max).saturating_sub(took);
        let (wait, wait_max) = (Duration::from_millis(config.poll_ms), Duration::from_millis(config.poll_ms_max));
        Self { wait, wait_max, until: Instant::now() + left, refusals: 0 }
    }

    /// The wait before the next look; the one after that is longer.
    fn next(&mut self) -> Result<Duration, End> {
        if Instant::now() >= self.until {
            return Err(End::failed("provider_too_slow", "the provider took longer than batches.provider_wait_s_max allows"));
        }
        let wait = self.wait;
        self.wait = wait.mul_f64(GROWTH).min(self.wait_max);
        Ok(wait)
    }

    async fn wait_after(&mut self, error: &ChatError) -> Result<(), End> {
        tracing::warn!(%error, "a step of a batch at a provider failed");
        let wait = self.next()?.max(error.retry_after().unwrap_or_default());
        match error.verdict() {
            Verdict::Final => return Err(refused(error)),
            Verdict::TakenOut => {
                self.refusals += 1;
                if self.refusals >= REFUSALS_MAX {
                    return Err(refused(error));
                }
                sleep(wait.max(REFUSED_WAIT)).await;
            }
            Verdict::Passing | Verdict::Elsewhere => sleep(wait).await,
        }
        Ok(())
    }
}

/// Waits where a budget will have room; else that is the end.
fn unpaid(error: ChatError) -> Fault {
    let code = match &error {
        ChatError::OverBudget { shortage: Shortage::Spent, .. } => "budget_exhausted",
        ChatError::OverBudget { shortage: Shortage::Unpriced, .. } => "price_unknown",
        _ => return Fault::Provider(error),
    };
    Fault::End(End::failed(code, &error.to_string()))
}

fn refused(error: &ChatError) -> End {
    End::failed("provider_refused", &error.to_string())
}

fn at(record: &BatchRecord) -> AtProvider {
    record.at_provider.clone().unwrap_or_default()
}

/// The record as it is now.
async fn current(app: &AppState, record: &BatchRecord) -> Result<BatchRecord, End> {
    let (tenant, id) = (record.tenant.clone(), record.id.clone());
    Ok(app.blocking(move |app| Ok(app.catalog.batch(&tenant, &id)?)).await?)
}

struct Run<'r> {
    app: &'r AppState,
    client: &'r BatchClient,
    seat: &'r Seat,
    held: Held,
}

impl Run<'_> {
    async fn until_over(&self, record: &BatchRecord, patience: &mut Patience) -> Result<End, End> {
        loop {
            match self.go_on(record, patience).await {
                Ok(end) => return Ok(end),
                Err(Fault::End(end)) => return Err(end),
                Err(Fault::Provider(error)) => patience.wait_after(&error).await?,
            }
        }
    }

    /// What is held of a batch that ended before its answers were collected: given back if the provider was told
    /// nothing; else the provider is told to stop, and nobody knows what it used: a budget counts all of it.
    async fn square_up(&self, record: &BatchRecord, end: &Result<End, End>) {
        if matches!(end, Ok(End::Later) | Err(End::Later)) {
            return;
        }
        match current(self.app, record).await {
            Ok(record) if at(&record).may_have_begun => {
                if end.is_err() {
                    recall(self.app, &record, self.client.deployment()).await;
                }
            }
            _ => self.held.release(),
        }
    }

    /// From what is durable to the end, or to the first step that fails.
    async fn go_on(&self, record: &BatchRecord, patience: &mut Patience) -> Result<End, Fault> {
        let record = self.handed_over(current(self.app, record).await?).await?;
        let batch = self.over(&record, patience).await?;
        // As it is now: its end may have been asked for meanwhile.
        let record = self.collect(&current(self.app, &record).await?, &batch).await?;
        let end = match &batch.state {
            BatchState::Failed(words) => End::failed("provider_batch_failed", words),
            BatchState::Cancelled if record.is_cancelling => End::Now(JobState::Cancelled),
            BatchState::Cancelled => End::failed("provider_batch_cancelled", "the batch was cancelled at the provider"),
            _ => {
                self.fill(&record, batch.state == BatchState::Expired).await?;
                End::Now(if record.is_cancelling { JobState::Cancelled } else { JobState::Succeeded })
            }
        };
        self.held.settle(self.app, &record, self.client.deployment()).await;
        // Before its files go, so that a restart doesn't look for them.
        settle(self.app, &record, end.clone()).await;
        self.clean_up(&batch).await;
        Ok(end)
    }

    /// The batch with its id at the provider.
    async fn handed_over(&self, record: BatchRecord) -> Result<BatchRecord, Fault> {
        if record.state.has_ended() {
            return Err(End::Before.into());
        }
        if at(&record).batch.is_some() {
            return Ok(record);
        }
        self.seat.tell(BatchStage::Submitting, &record);
        let file = match at(&record).file {
            Some(file) => file,
            None => self.upload(&record).await?,
        };
        let begun = if at(&record).may_have_begun { self.client.find(record.id.as_str()).await? } else { None };
        if record.is_cancelling && begun.is_none() {
            return Err(End::Now(JobState::Cancelled).into());
        }
        let batch = match begun {
            Some(batch) => batch,
            None => {
                self.note(&record, |at| at.may_have_begun = true).await?;
                self.client.create(&file, record.id.as_str()).await?
            }
        };
        tracing::info!(job = %record.id, batch = batch.id, deployment = self.client.deployment(), "a batch is at its provider");
        Ok(self.note(&record, move |at| at.batch = Some(batch.id)).await?)
    }

    async fn note(&self, record: &BatchRecord, note: impl FnOnce(&mut AtProvider) + Send + 'static) -> Result<BatchRecord, End> {
        change(self.app, record, |record| note(record.at_provider.get_or_insert_default())).await
    }

    async fn upload(&self, record: &BatchRecord) -> Result<String, Fault> {
        let mut asked_for = Vec::new();
        for index in 0..record.total {
            let item = self.item(record, index).await.map_err(End::from)?;
            let asked = Asked::deserialize(&item.body).map_err(|error| End::from(ApiError::internal(error)))?;
            asked_for.push(asked.request().map_err(End::from)?);
        }
        let requests = self.paid_for(record, asked_for).await?;
        let lines = requests.iter().enumerate().map(|(index, request)| self.client.line(&index.to_string(), request)).collect();
        let file = self.client.upload(record.id.as_str(), lines).await?;
        let noted = file.clone();
        self.note(record, move |at| at.file = Some(noted)).await?;
        Ok(file)
    }

    /// The requests, when what they may cost is held. What a budget holds is noted before anything is sent: a restart
    /// counts it as spent, and holds nothing again.
    async fn paid_for(&self, record: &BatchRecord, mut requests: Vec<ChatRequest>) -> Result<Vec<ChatRequest>, Fault> {
        if !at(record).is_budgeted {
            let held = self.held.reserve(self.app, record, self.client.deployment(), requests).await;
            let is_budgeted;
            (requests, is_budgeted) = held.map_err(unpaid)?;
            if is_budgeted {
                self.note(record, |at| at.is_budgeted = true).await?;
            } else {
                return Ok(requests);
            }
        }
        cost::limit(&mut requests);
        Ok(requests)
    }

    async fn item(&self, record: &BatchRecord, index: u32) -> Result<Item, ApiError> {
        item::read(self.app, &Arc::new(record.clone()), index).await
    }

    /// Looks until the batch is over; ends it where that was asked for.
    async fn over(&self, record: &BatchRecord, patience: &mut Patience) -> Result<ProviderBatch, Fault> {
        let id = at(record).batch.unwrap_or_default();
        let mut is_told = false;
        loop {
            let record = current(self.app, record).await?;
            if record.state.has_ended() {
                return Err(End::Before.into());
            }
            if record.is_cancelling && !is_told {
                self.client.cancel(&id).await?;
                is_told = true;
            }
            let batch = self.client.look(&id).await?;
            patience.refusals = 0;
            if batch.state != BatchState::Open {
                return Ok(batch);
            }
            let done = u32::try_from(batch.done).unwrap_or(u32::MAX).min(record.total);
            self.seat.tell(BatchStage::Waiting, &BatchRecord { done: record.done.max(done), ..record });
            let wait = patience.next()?;
            tokio::select! {
                () = sleep(wait) => {}
                () = self.seat.stopped(), if !is_told => {}
            }
        }
    }

    /// Makes every answer durable.
    async fn collect(&self, record: &BatchRecord, batch: &ProviderBatch) -> Result<BatchRecord, Fault> {
        self.seat.tell(BatchStage::Collecting, record);
        let mut record = record.clone();
        for file in [&batch.output_file, &batch.error_file].into_iter().flatten() {
            let mut answers = self.client.answers(file).await?;
            let mut group = Vec::new();
            loop {
                let answer = answers.next().await?;
                let is_last = answer.is_none();
                if let Some(answer) = answer {
                    group.extend(self.result(&record, answer).await);
                }
                if is_last || group.len() >= GROUP {
                    record = commit(self.app, &record, std::mem::take(&mut group)).await?;
                    self.seat.tell(BatchStage::Collecting, &record);
                }
                if is_last {
                    break;
                }
            }
        }
        Ok(record)
    }

    /// `None` for an answer that nobody asked for.
    async fn result(&self, record: &BatchRecord, answer: BatchAnswer) -> Option<BatchResult> {
        let index = answer.custom_id.parse().ok().filter(|index| *index < record.total)?;
        let id = self.item(record, index).await.ok().and_then(|item| item.id);
        Some(match answer.outcome {
            Ok(body) => {
                let used = self.used(record, index, answer.usage, &body).await;
                item::outcome(index, id, Ok((body, used)))
            }
            Err(failure) => item::outcome(index, id, Err(&refusal(failure))),
        })
    }

    /// As the provider says, or else as we count.
    async fn used(&self, record: &BatchRecord, index: u32, told: TokenUsage, answer: &Value) -> TokenUsage {
        if told.prompt_tokens + told.completion_tokens > 0 {
            return told;
        }
        let counted = async {
            let asked = Asked::deserialize(&self.item(record, index).await?.body).map_err(ApiError::internal)?;
            cost::counted(self.app, self.client.deployment(), asked.request()?, answer).await
        };
        counted.await.unwrap_or_default()
    }

    /// What has no answer now will have none.
    async fn fill(&self, record: &BatchRecord, is_expired: bool) -> Result<(), Fault> {
        let asked = record.clone();
        let answered = self.app.blocking(move |app| Ok(app.catalog.answered_items(&asked)?)).await.map_err(End::from)?;
        let error = match is_expired {
            true => ApiError::new(
                StatusCode::GATEWAY_TIMEOUT,
                "batch_expired",
                "the provider's time for the batch was over before its turn came",
            ),
            false => ApiError::new(StatusCode::BAD_GATEWAY, "no_answer", "the provider gave no answer"),
        };
        let mut missing = Vec::new();
        for index in (0..record.total).filter(|index| !answered.contains(*index)) {
            let id = self.item(record, index).await.ok().and_then(|item| item.id);
            missing.push(item::outcome(index, id, Err(&error)));
        }
        commit(self.app, record, missing).await?;
        Ok(())
    }

    /// What was uploaded and made goes: the answers are ours now. Not worth another try.
    async fn clean_up(&self, batch: &ProviderBatch) {
        for file in [&batch.input_file, &batch.output_file, &batch.error_file].into_iter().flatten() {
            if let Err(error) = self.client.remove_file(file).await {
                tracing::debug!(file, %error, "a file stays at the provider");
            }
        }
    }
}

/// As the same refusal of a call is told.
fn refusal(failure: BatchFailure) -> ApiError {
    let BatchFailure { status, message } = failure;
    match status {
        0 => ApiError::new(StatusCode::BAD_GATEWAY, "no_answer", message),
        status => ChatError::Status { status, retry_after: None, message }.into(),
    }
}
