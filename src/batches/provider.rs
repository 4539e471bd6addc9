//! A batch at a provider: handed over once, looked at until it is over, its answers kept.
//!
//! What it may cost is held before anything is sent, and its end squares that up, whatever end it is. Every step is in
//! the store before the next is made, so that a restart goes on where it was: what is held, the uploaded file, that the
//! provider is about to be told to begin, and the id that it gave. Without the last one the provider is asked for a batch
//! of our name before it is told again. A step that fails is made again as the rules of retrying have it.

use super::cost::Held;
use super::run::{End, change, commit, settle};
use super::{BatchStage, Item, Seat, cost, item};
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::http::chat::{Asked, guarded};
use axum::http::StatusCode;
use gateway::{BatchAnswer, BatchClient, BatchFailure, BatchState, ChatError, ChatRequest, ProviderBatch, Shortage, TokenUsage, Verdict};
use guard::{Kind, Kinds};
use index::batches::{AtProvider, BatchRecord, BatchResult};
use index::records::JobState;
use query::{GuardParams, OpenedChat};
use serde::Deserialize;
use serde_json::{Value, json};
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
pub(super) async fn items(app: &AppState, caller: &Caller, record: &BatchRecord, deployment: &str, seat: &Seat) -> Result<End, End> {
    let Some(client) = app.batches.client(deployment) else {
        app.spend.ledger.abandon(|job| job == record.id.as_str());
        return Ok(End::failed("deployment_gone", "the deployment whose provider has the batch is not configured any more"));
    };
    let run = Run { app, client: &client, seat, held: Held::of(app, record, deployment) };
    let end = tokio::select! {
        biased;
        () = app.keys.closed_to(caller) => Err(End::unauthorized()),
        end = run.until_over(record) => end,
    };
    run.square_up(record, &end).await;
    end
}

/// When to look again, and when to stop.
struct Patience {
    wait: Duration,
    wait_max: Duration,
    until: Instant,
    refusals: u32,
    /// Whether a wait was cut short because the end was asked for, and the provider was told of that.
    is_woken: bool,
    is_told: bool,
}

impl Patience {
    fn of(app: &AppState, record: &BatchRecord) -> Self {
        let config = &app.batches.config;
        let took = (time::OffsetDateTime::now_utc() - record.created_at).try_into().unwrap_or_default();
        let left = Duration::from_secs(config.provider_wait_s_max).saturating_sub(took);
        let (wait, wait_max) = (Duration::from_millis(config.poll_ms), Duration::from_millis(config.poll_ms_max));
        Self { wait, wait_max, until: Instant::now() + left, refusals: 0, is_woken: false, is_told: false }
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

    /// Sleeps; not on when the end of the batch is asked for.
    async fn sleep(&mut self, wait: Duration, seat: &Seat) {
        tokio::select! {
            () = sleep(wait) => {}
            () = seat.stopped(), if !self.is_woken => self.is_woken = true,
        }
    }

    async fn wait_after(&mut self, error: &ChatError, seat: &Seat) -> Result<(), End> {
        tracing::warn!(%error, "a step of a batch at a provider failed");
        let wait = self.next()?.max(error.retry_after().unwrap_or_default());
        match error.verdict() {
            Verdict::Final => return Err(refused(error)),
            Verdict::TakenOut => {
                self.refusals += 1;
                if self.refusals >= REFUSALS_MAX {
                    return Err(refused(error));
                }
                self.sleep(wait.max(REFUSED_WAIT), seat).await;
            }
            Verdict::Passing | Verdict::Elsewhere => self.sleep(wait, seat).await,
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
    async fn until_over(&self, record: &BatchRecord) -> Result<End, End> {
        let mut patience = Patience::of(self.app, record);
        if at(record).may_have_begun && at(record).batch.is_none() {
            // A provider's list may be a moment behind.
            patience.sleep(patience.wait, self.seat).await;
        }
        loop {
            match self.go_on(record, &mut patience).await {
                Ok(end) => return Ok(end),
                Err(Fault::End(end)) => return Err(end),
                Err(Fault::Provider(error)) => patience.wait_after(&error, self.seat).await?,
            }
        }
    }

    /// Of a batch that ended before its answers were collected: what is held is given back if the provider was told
    /// nothing; else the provider is told to stop, and nobody knows what it used: all of it counts.
    async fn square_up(&self, record: &BatchRecord, end: &Result<End, End>) {
        if end.is_ok() || matches!(end, Err(End::Later)) {
            return;
        }
        // What can't be read now is squared up by the next start.
        let Ok(record) = current(self.app, record).await else { return };
        let at = at(&record);
        match at.may_have_begun {
            true => self.held.abandon(),
            false => self.held.release(),
        }
        // Before the end is noted; a failure is in the log, and the ledger tries again.
        drop(self.app.spend.ledger.flush().await);
        if !at.may_have_begun {
            return self.remove(at.file).await;
        }
        match self.recalled(&record).await {
            Ok(Some(batch)) => self.clean_up(&batch).await,
            Ok(None) => self.remove(at.file).await,
            Err(error) => {
                tracing::warn!(job = %record.id, %error, "a batch at a provider could not be cancelled");
                self.remove(at.file).await;
            }
        }
    }

    /// Tells the provider that nobody wants the batch any more, as well as that can be done once; the batch.
    async fn recalled(&self, record: &BatchRecord) -> Result<Option<ProviderBatch>, ChatError> {
        let id = match at(record).batch {
            Some(id) => id,
            None => match self.client.find(record.id.as_str()).await? {
                Some(batch) => batch.id,
                None => return Ok(None),
            },
        };
        self.client.cancel(&id).await?;
        Ok(Some(self.client.look(&id).await?))
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
        self.held.settle(self.app, &record, self.client.deployment()).await.map_err(End::from)?;
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
                match self.client.create(&file, record.id.as_str()).await {
                    Err(error) if is_refusal(&error) => {
                        self.note(&record, |at| at.may_have_begun = false).await?;
                        return Err(error.into());
                    }
                    created => created?,
                }
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
        let params = self.app.config.guards.chat_params();
        for index in 0..record.total {
            let item = self.item(record, index).await.map_err(End::from)?;
            let asked = Asked::deserialize(&item.body).map_err(|error| End::from(ApiError::internal(error)))?;
            let request = asked.request().map_err(End::from)?;
            let sealed = guarded::sealed(self.app, params, request).await;
            asked_for.push(sealed.map_err(|error| End::failed(error.code, &error.detail))?.0);
        }
        let requests = self.paid_for(record, asked_for).await?;
        let lines = requests.iter().enumerate().map(|(index, request)| self.client.line(&index.to_string(), request)).collect();
        let file = self.client.upload(record.id.as_str(), lines).await?;
        let (noted, redacted) = (file.clone(), names_of(params.redact));
        if let Err(end) = self.note(record, move |at| (at.file, at.redacted) = (Some(noted), redacted)).await {
            self.remove(Some(file)).await;
            return Err(end.into());
        }
        Ok(file)
    }

    /// The requests, when what they may cost is held; then every answer is limited, if a budget applies.
    async fn paid_for(&self, record: &BatchRecord, mut requests: Vec<ChatRequest>) -> Result<Vec<ChatRequest>, Fault> {
        let was_held = at(record).is_held;
        if !was_held && !self.held.is_there() {
            requests = self.held.reserve(self.app, record, self.client.deployment(), requests).await.map_err(unpaid)?;
        }
        if !was_held {
            self.note(record, |at| at.is_held = true).await?;
        }
        if self.held.is_budgeted() {
            cost::limit(&mut requests);
        }
        Ok(requests)
    }

    async fn item(&self, record: &BatchRecord, index: u32) -> Result<Item, ApiError> {
        item::read(self.app, &Arc::new(record.clone()), index).await
    }

    /// Looks until the batch is over; ends it where that was asked for.
    async fn over(&self, record: &BatchRecord, patience: &mut Patience) -> Result<ProviderBatch, Fault> {
        let id = at(record).batch.unwrap_or_default();
        loop {
            let record = current(self.app, record).await?;
            if record.state.has_ended() {
                return Err(End::Before.into());
            }
            if record.is_cancelling && !patience.is_told {
                self.client.cancel(&id).await?;
                patience.is_told = true;
            }
            let batch = self.client.look(&id).await?;
            patience.refusals = 0;
            if batch.state != BatchState::Open {
                return Ok(batch);
            }
            let done = u32::try_from(batch.done).unwrap_or(u32::MAX).min(record.total);
            self.seat.tell(BatchStage::Waiting, &BatchRecord { done: record.done.max(done), ..record });
            let wait = patience.next()?;
            patience.sleep(wait, self.seat).await;
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
                let opened = self.opened(record, index, body).await;
                match opened {
                    Ok(body) => item::outcome(index, id, Ok((body, used))),
                    Err(error) => item::outcome(index, id, Err(&error)),
                }
            }
            Err(failure) => item::outcome(index, id, Err(&refusal(failure))),
        })
    }

    /// The answer with the values again: the same request has the same placeholders.
    async fn opened(&self, record: &BatchRecord, index: u32, mut body: Value) -> Result<Value, ApiError> {
        let asked = Asked::deserialize(&self.item(record, index).await?.body).map_err(ApiError::internal)?;
        let mut request = asked.request()?;
        let params = GuardParams { redact: kinds_of(&at(record).redacted), ..self.app.config.guards.chat_params() };
        let opening = self.app.blocking(move |_| {
            let mut decisions = params.judge_chat(&request.messages).unwrap_or_default();
            let sealed = params.redact_chat(&mut request);
            let mut opened = sealed.opened();
            body.get_mut("choices").into_iter().for_each(|choices| restore(choices, false, &mut opened));
            decisions.extend(sealed.decisions().iter().cloned().chain(opened.decision()));
            Ok(guarded::with_guards(body, &decisions))
        });
        opening.await
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

    /// What was uploaded and made goes: the answers are ours now, or nobody's. Not worth another try.
    async fn clean_up(&self, batch: &ProviderBatch) {
        let ProviderBatch { input_file, output_file, error_file, .. } = batch.clone();
        for file in [input_file, output_file, error_file] {
            self.remove(file).await;
        }
    }

    async fn remove(&self, file: Option<String>) {
        let Some(file) = file else { return };
        if let Err(error) = self.client.remove_file(&file).await {
            tracing::debug!(file, %error, "a file stays at the provider");
        }
    }
}

fn names_of(kinds: Kinds) -> Vec<String> {
    Kind::ALL.into_iter().filter(|kind| kinds.has(*kind)).filter_map(|kind| Some(json!(kind).as_str()?.to_owned())).collect()
}

fn kinds_of(names: &[String]) -> Kinds {
    names.iter().filter_map(|name| Kind::deserialize(&json!(name)).ok()).collect()
}

/// Values in every text; `is_json`: of arguments.
fn restore(value: &mut Value, is_json: bool, opened: &mut OpenedChat) {
    match value {
        Value::String(text) => *text = opened.whole(text, is_json),
        Value::Array(values) => values.iter_mut().for_each(|value| restore(value, is_json, opened)),
        Value::Object(fields) => fields.iter_mut().for_each(|(name, value)| restore(value, name == "arguments", opened)),
        _ => {}
    }
}

/// Whether the provider said no, so that nothing has begun.
fn is_refusal(error: &ChatError) -> bool {
    matches!(error, ChatError::Status { status: 300..=407 | 410..=499, .. })
}

/// As the same refusal of a call is told.
fn refusal(failure: BatchFailure) -> ApiError {
    let BatchFailure { status, message } = failure;
    match status {
        0 => ApiError::new(StatusCode::BAD_GATEWAY, "no_answer", message),
        status => ChatError::Status { status, retry_after: None, message }.into(),
    }
}
