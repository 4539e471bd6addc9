//! Durable jobs: each processes one version of one document, survives a crash, and ends once.

use super::{Catalog, CatalogError, now, put};
use crate::keys;
use crate::records::{CollectionRecord, DocumentRecord, DocumentState, JobRecord, JobState};
use crate::store::Batch;
use corpus::{JobId, TenantId};

/// Unfinished jobs looked at in one turn.
const JOBS_PER_PAGE: usize = 256;

impl Catalog {
    /// A job of this tenant.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub fn job(&self, tenant: &TenantId, id: &JobId) -> Result<JobRecord, CatalogError> {
        self.read(&keys::job(tenant, id))?.ok_or_else(|| CatalogError::not_found("job", id))
    }

    /// The jobs that have not ended, oldest first, of all tenants.
    ///
    /// # Errors
    /// A store error.
    pub fn unfinished_jobs(&self) -> Result<Vec<JobRecord>, CatalogError> {
        let keys = self.store.scan(&keys::all_unfinished(), None, usize::MAX)?;
        let job = |(key, _): &(Vec<u8>, Vec<u8>)| {
            let parts = keys::text_parts(key);
            let (id, tenant) = (parts.first()?.parse().ok()?, parts.get(1)?.parse().ok()?);
            Some(self.job(&tenant, &id))
        };
        keys.iter().filter_map(job).collect()
    }

    /// A worker takes the job: counts the attempt. Not waited for to be durable, since losing a count is harmless.
    ///
    /// # Errors
    /// [`CatalogError::Superseded`] when it has ended meanwhile.
    pub fn begin_job(&self, job: &JobRecord) -> Result<JobRecord, CatalogError> {
        let _turn = self.write_turn();
        let mut job = self.job(&job.tenant, &job.id)?;
        if job.state.has_ended() {
            return Err(CatalogError::Superseded);
        }
        job.state = JobState::Running;
        job.attempts += 1;
        job.updated_at = now();
        let mut batch = Batch::default();
        put(&mut batch, keys::job(&job.tenant, &job.id), &job)?;
        self.store.commit(batch)?;
        Ok(job)
    }

    /// Puts a job back that was begun and not finished for a reason that says nothing about its
    /// document, such as shutting down: the attempt does not count.
    ///
    /// # Errors
    /// A store error.
    pub fn put_back_job(&self, job: &JobRecord) -> Result<(), CatalogError> {
        let _turn = self.write_turn();
        let mut job = self.job(&job.tenant, &job.id)?;
        if job.state.has_ended() {
            return Err(CatalogError::Superseded);
        }
        job.state = JobState::Queued;
        job.attempts = job.attempts.saturating_sub(1);
        job.updated_at = now();
        let mut batch = Batch::default();
        put(&mut batch, keys::job(&job.tenant, &job.id), &job)?;
        self.store.commit(batch)?;
        Ok(())
    }

    /// Ends a job without a result, and its document with the reason; durable on return.
    ///
    /// # Errors
    /// A store error. A job that has ended already stays as it is.
    pub fn fail_job(&self, job: &JobRecord, code: &str, reason: &str) -> Result<(), CatalogError> {
        let (code, reason) = (code.to_owned(), reason.to_owned());
        self.end_without_result(
            job,
            JobState::Failed { code: code.clone(), reason: reason.clone() },
            DocumentState::Failed { code, reason },
        )
    }

    /// Ends a job on request; durable on return. A job that has ended already stays as it is.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub fn cancel_job(&self, tenant: &TenantId, id: &JobId) -> Result<JobRecord, CatalogError> {
        let job = self.job(tenant, id)?;
        self.end_without_result(&job, JobState::Cancelled, DocumentState::Cancelled)?;
        self.job(tenant, id)
    }

    fn end_without_result(&self, job: &JobRecord, ended: JobState, outcome: DocumentState) -> Result<(), CatalogError> {
        let turn = self.write_turn();
        let job = self.job(&job.tenant, &job.id)?;
        if job.state.has_ended() {
            drop(turn);
            return self.settle();
        }
        let mut batch = Batch::default();
        self.end_job(&mut batch, &job, ended, None)?;
        let key = keys::document(&job.tenant, &job.collection, &job.document);
        if let Some(mut record) = self.read::<DocumentRecord>(&key)?
            && record.pending.as_ref().is_some_and(|pending| pending.job == job.id)
        {
            record.state = outcome;
            record.updated_at = now();
            put(&mut batch, key, &record)?;
        }
        let seq = self.store.commit(batch)?;
        drop(turn);
        self.durable(seq)
    }

    /// Puts the end of a job into a batch.
    pub(super) fn end_job(&self, batch: &mut Batch, job: &JobRecord, ended: JobState, seq: Option<u64>) -> Result<(), CatalogError> {
        let job = JobRecord { state: ended, seq, updated_at: now(), ..job.clone() };
        batch.delete(keys::unfinished(&job.id, &job.tenant));
        put(batch, keys::job(&job.tenant, &job.id), &job)
    }

    /// Puts the cancelling of a job that may not have ended into a batch.
    pub(super) fn cancel_in(&self, batch: &mut Batch, tenant: &TenantId, id: &JobId) -> Result<(), CatalogError> {
        match self.read::<JobRecord>(&keys::job(tenant, id))? {
            Some(job) if !job.state.has_ended() => self.end_job(batch, &job, JobState::Cancelled, None),
            _ => Ok(()),
        }
    }

    /// Cancels what a deleted collection still has to do, page by page, each in a turn of its own.
    pub(super) fn cancel_jobs_of(&self, collection: &CollectionRecord) -> Result<(), CatalogError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.store.scan(&keys::all_unfinished(), after.as_deref(), JOBS_PER_PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            let ids = page.iter().filter_map(|(key, _)| {
                let parts = keys::text_parts(key);
                (*parts.get(1)? == collection.tenant.as_str()).then(|| parts.first()?.parse().ok())?
            });
            self.cancel_those_of(collection, ids)?;
        }
    }

    fn cancel_those_of(&self, collection: &CollectionRecord, ids: impl Iterator<Item = JobId>) -> Result<(), CatalogError> {
        let _turn = self.write_turn();
        let mut batch = Batch::default();
        for id in ids {
            match self.read::<JobRecord>(&keys::job(&collection.tenant, &id))? {
                Some(job) if job.collection == collection.id && !job.state.has_ended() => {
                    self.end_job(&mut batch, &job, JobState::Cancelled, None)?;
                }
                _ => {}
            }
        }
        if !batch.is_empty() {
            self.store.commit(batch)?;
        }
        Ok(())
    }
}
