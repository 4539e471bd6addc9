//! Waiting until uploaded documents are searchable or have failed.

use crate::app::{App, AppState};
use crate::error::ApiError;
use corpus::{JobId, TenantId};
use index::records::{CollectionRecord, JobRecord};
use index::{Admitted, DESCENDANTS_MAX};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// One blocking wait for the views; short, so that a cancelled request frees its thread.
const VIEWS_WAIT: Duration = Duration::from_secs(5);

/// True when every document, and every one inside it, has ended: searchable, failed or cancelled; false when time ran out.
pub(crate) async fn until_searchable(
    app: &AppState,
    tenant: &TenantId,
    collection: &CollectionRecord,
    admitted: &[Admitted],
) -> Result<bool, ApiError> {
    let deadline = Instant::now() + Duration::from_secs(app.config.server.wait_timeout_s);
    let mut jobs: VecDeque<JobId> = admitted.iter().filter_map(|one| one.job.clone()).collect();
    while let Some(id) = jobs.pop_front() {
        if timeout_at(deadline, until_ended(app, &id)).await.is_err() {
            return Ok(false);
        }
        let job = app.blocking({
            let (tenant, collection) = (tenant.clone(), collection.clone());
            move |app| match app.catalog.job(&tenant, &id) {
                // Ended so long ago that it is forgotten: what it made is in search.
                Err(index::CatalogError::NotFound { .. }) => Ok(None),
                job => {
                    let job = job?;
                    let inside = jobs_inside(app, &collection, &job)?;
                    Ok(Some((job, inside)))
                }
            }
        });
        let Some((job, inside)) = job.await? else { continue };
        jobs.extend(inside);
        if !job.state.has_ended() {
            return Ok(false);
        }
        let Some(seq) = job.seq else { continue };
        if !until_applied(app, collection, seq, deadline).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Jobs of what is right inside a job's document; they are there once the job has ended.
fn jobs_inside(app: &App, collection: &CollectionRecord, job: &JobRecord) -> Result<Vec<JobId>, ApiError> {
    let Ok(document) = app.catalog.document(collection, job.document.as_str()) else { return Ok(Vec::new()) };
    let inside = app.catalog.children_page(collection, &document, None, DESCENDANTS_MAX)?;
    Ok(inside.items.iter().filter_map(|record| record.latest_job().cloned()).collect())
}

/// Returns when the job is no longer live, or the server is on its way out.
async fn until_ended(app: &AppState, job: &JobId) {
    let Some(mut watch) = app.ingest.watch(job) else { return };
    let ended = async { while watch.changed().await.is_ok() {} };
    tokio::select! { () = ended => {}, () = app.stopped() => {} }
}

/// Whether search sees the change before the deadline.
pub(crate) async fn until_applied(app: &AppState, collection: &CollectionRecord, seq: u64, deadline: Instant) -> Result<bool, ApiError> {
    loop {
        let collection = collection.clone();
        let seen = app.blocking(move |app| match app.catalog.open_collection(&collection)?.wait_applied(seq, VIEWS_WAIT) {
            // Reopened by the next look at it.
            Err(index::CollectionError::Stale) => Ok(false),
            seen => Ok(seen?),
        });
        match (seen.await?, Instant::now() < deadline && !app.is_stopping()) {
            (true, _) => return Ok(true),
            (false, false) => return Ok(false),
            (false, true) => {}
        }
    }
}
