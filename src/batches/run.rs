//! A batch from its beginning, or from where it was interrupted, to its end.

use super::{BatchStage, Seat, item, provider};
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::ApiError;
use index::CatalogError;
use index::batches::{BatchRecord, BatchResult, BatchWork};
use index::records::JobState;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Times a batch is begun without a result in between before it is given up: something in it ends the server.
const ATTEMPTS_MAX: u32 = 3;
/// Until a result is committed again that the disk had no room for.
const DISK_WAIT: Duration = Duration::from_secs(5);

/// How a run ended.
#[derive(Clone)]
pub(super) enum End {
    /// The batch is over.
    Now(JobState),
    /// It goes on at the next start.
    Later,
    /// Somebody else ended or removed it.
    Before,
}

impl End {
    pub(super) fn failed(code: &str, reason: &str) -> Self {
        Self::Now(JobState::Failed { code: code.to_owned(), reason: reason.to_owned() })
    }

    pub(super) fn unauthorized() -> Self {
        Self::failed("unauthorized", "the key that asked was revoked or has expired")
    }
}

/// What can't go on: the record is over or gone, or the store doesn't work.
impl From<ApiError> for End {
    fn from(error: ApiError) -> Self {
        if matches!(error.code, "superseded" | "not_found") {
            return Self::Before;
        }
        tracing::error!(code = error.code, cause = error.cause, "a batch can't go on; the next start takes it up again");
        Self::Later
    }
}

/// Takes up every batch that has not ended.
pub(crate) async fn resume(app: AppState) {
    let unfinished = app.blocking(|app| Ok(app.catalog.unfinished_batches()?)).await;
    let unfinished = match unfinished {
        Ok(unfinished) => unfinished,
        Err(error) => {
            tracing::error!(code = error.code, cause = error.cause, "the batches can't be read; the next start looks again");
            return;
        }
    };
    app.spend.ledger.abandon(|job| !unfinished.iter().any(|record| record.id.as_str() == job));
    for record in unfinished {
        tracing::info!(job = %record.id, done = record.done, total = record.total, "a batch goes on");
        if let Some(seat) = app.batches.readmit(&record) {
            launch(app.clone(), record, seat);
        }
    }
}

/// Runs a batch in a task of its own.
pub(crate) fn launch(app: AppState, record: BatchRecord, seat: Seat) {
    tokio::spawn(async move {
        let end = match begin(&app, &record).await {
            Ok(record) => until_it_ends(&app, &record, &seat).await,
            Err(end) => end,
        };
        settle(&app, &record, end).await;
        drop(seat);
    });
}

/// Counts the attempt.
async fn begin(app: &AppState, record: &BatchRecord) -> Result<BatchRecord, End> {
    let begun = change(app, record, |record| {
        record.state = JobState::Running;
        record.attempts += 1;
    });
    let begun = begun.await?;
    // At a provider there are no results until all are there, through any number of starts.
    let is_ours = !matches!(begun.work, BatchWork::AtProvider { .. });
    if is_ours && begun.attempts > ATTEMPTS_MAX {
        return Err(End::failed("abandoned", "the server ended each time that the batch was begun"));
    }
    Ok(begun)
}

async fn until_it_ends(app: &AppState, record: &BatchRecord, seat: &Seat) -> End {
    let caller = Caller::of_batch(record);
    let deployment = match &record.work {
        BatchWork::AtProvider { deployment, .. } => Some(deployment),
        BatchWork::Questions { .. } | BatchWork::Completions { .. } => None,
    };
    let work = async {
        match deployment {
            Some(deployment) => provider::items(app, &caller, record, deployment, seat).await,
            None => items(app, &caller, record, seat).await,
        }
    };
    tokio::select! {
        biased;
        () = app.stopped() => End::Later,
        // A batch at a provider ends there first.
        () = app.keys.closed_to(&caller), if deployment.is_none() => End::unauthorized(),
        () = seat.stopped(), if deployment.is_none() => End::Before,
        end = work => end.unwrap_or_else(|end| end),
    }
}

/// Works on every item that has no result, a few at a time.
async fn items(app: &AppState, caller: &Caller, record: &BatchRecord, seat: &Seat) -> Result<End, End> {
    seat.tell(BatchStage::Answering, record);
    let record = Arc::new(record.clone());
    let answered = app.blocking({
        let record = Arc::clone(&record);
        move |app| Ok(app.catalog.answered_items(&record)?)
    });
    let answered = answered.await?;
    let mut missing = (0..record.total).filter(|index| !answered.contains(*index));
    let mut running = JoinSet::new();
    let work_on = |running: &mut JoinSet<_>, index| running.spawn(item::result(app.clone(), caller.clone(), Arc::clone(&record), index));
    loop {
        while running.len() < record.concurrency as usize
            && let Some(index) = missing.next()
        {
            work_on(&mut running, index);
        }
        let Some(first) = running.join_next().await else { return Ok(End::Now(JobState::Succeeded)) };
        // Whatever else is there goes into the same commit.
        let all = std::iter::once(first).chain(std::iter::from_fn(|| running.try_join_next()));
        let results = all.map(|joined| joined.map_err(ApiError::internal)?).collect::<Result<Vec<BatchResult>, End>>()?;
        seat.tell(BatchStage::Answering, &commit(app, &record, results).await?);
    }
}

/// Makes results durable, and waits for room if there is none.
pub(super) async fn commit(app: &AppState, record: &BatchRecord, results: Vec<BatchResult>) -> Result<BatchRecord, End> {
    let results = Arc::new(results);
    loop {
        let (tenant, id, kept) = (record.tenant.clone(), record.id.clone(), Arc::clone(&results));
        match app.blocking(move |app| Ok(app.catalog.commit_results(&tenant, &id, &kept)?)).await {
            Err(error) if error.code == "disk_full" => {
                tracing::warn!(job = %record.id, cause = error.cause, "no room for the results of a batch; trying again");
                tokio::time::sleep(DISK_WAIT).await;
            }
            committed => return Ok(committed?),
        }
    }
}

/// Changes the record of a batch that has not ended.
pub(super) async fn change(
    app: &AppState,
    record: &BatchRecord,
    change: impl FnOnce(&mut BatchRecord) + Send + 'static,
) -> Result<BatchRecord, End> {
    let (tenant, id) = (record.tenant.clone(), record.id.clone());
    Ok(app.blocking(move |app| Ok(app.catalog.change_batch(&tenant, &id, change)?)).await?)
}

/// Notes how a run ended.
pub(super) async fn settle(app: &AppState, record: &BatchRecord, end: End) {
    let (tenant, id) = (record.tenant.clone(), record.id.clone());
    let settled = app.blocking(move |app| {
        let settled = match end {
            End::Before => Ok(()),
            End::Now(ended) => app.catalog.end_batch(&tenant, &id, ended).map(drop),
            // Told to stop: that is no attempt that failed.
            End::Later => app.catalog.change_batch(&tenant, &id, |record| record.attempts = record.attempts.saturating_sub(1)).map(drop),
        };
        match settled {
            Err(CatalogError::NotFound { .. } | CatalogError::Superseded) => Ok(()),
            settled => Ok(settled?),
        }
    });
    if let Err(error) = settled.await {
        tracing::error!(job = %record.id, code = error.code, cause = error.cause, "the end of a batch can't be noted");
    }
}
