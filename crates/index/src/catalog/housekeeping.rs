//! What is kept for a while and no longer: answers under idempotency keys, ended jobs, receipts, feedback, and files
//! that a crash left between being written and being named. One bounded pass: everything is read page by
//! page beside the writers, and removed in small batches, each in a turn of its own.

use super::{Catalog, CatalogError};
use crate::batches::BatchRecord;
use crate::blobs::BlobId;
use crate::feedback::FeedbackRecord;
use crate::keys;
use crate::records::{DeletionReceipt, IdempotencyRecord, JobRecord};
use crate::store::{Batch, Pair};
use corpus::TenantId;
use serde::de::DeserializeOwned;
use std::time::SystemTime;
use time::{Duration, OffsetDateTime};

/// How long an idempotency key is remembered.
pub(super) const IDEMPOTENCY_KEPT: Duration = Duration::hours(24);
/// Files younger than this may belong to an upload that is not committed yet.
const ORPHAN_AGE: Duration = Duration::hours(1);
/// Records read at a time, and removed in one turn at most.
const PAGE: usize = 256;
/// Files removed in one turn at most.
const FILES_PER_TURN: usize = 32;

/// For how long what is over is kept. By default a week for jobs, 30 days for receipts, 365 for feedback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How long a job can be looked at after its end; then it is not found.
    pub jobs: std::time::Duration,
    /// How long a deletion can be verified; then its receipt is not found.
    pub receipts: std::time::Duration,
    /// How long what is said of an answer is known, from when it was said.
    pub feedback: std::time::Duration,
}

impl Default for Retention {
    fn default() -> Self {
        let days = |days: u64| std::time::Duration::from_secs(days * 24 * 3600);
        Self { jobs: days(7), receipts: days(30), feedback: days(365) }
    }
}

/// What one pass removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Housekeeping {
    /// Answers under idempotency keys.
    pub answers: u64,
    /// Ended jobs.
    pub jobs: u64,
    /// Ended batches, with their items and results.
    pub batches: u64,
    /// Receipts of deletions.
    pub receipts: u64,
    /// What was said of answers.
    pub feedback: u64,
    /// Files that no document uses.
    pub files: u64,
}

impl Catalog {
    /// One pass over what is only kept for a while. `now` is the time by which ages are told.
    ///
    /// # Errors
    /// The first error; what was removed before it stays removed.
    pub fn keep_house(&self, now: OffsetDateTime, kept: Retention) -> Result<Housekeeping, CatalogError> {
        Ok(Housekeeping {
            answers: self.expire(b'I', |answer: &IdempotencyRecord| now - answer.created_at > IDEMPOTENCY_KEPT)?,
            jobs: self.expire(b'J', |job: &JobRecord| job.state.has_ended() && now - job.updated_at > kept.jobs)?,
            batches: self.expire_batches(now, kept.jobs)?,
            receipts: self.expire(b'R', |receipt: &DeletionReceipt| now - receipt.deleted_at > kept.receipts)?,
            feedback: self.expire(keys::FEEDBACK, |said: &FeedbackRecord| now - said.at > kept.feedback)?,
            files: self.remove_orphans((now - ORPHAN_AGE).into())?,
        })
    }

    /// Removes the records of a kind that are over.
    fn expire<T: DeserializeOwned>(&self, kind: u8, is_over: impl Fn(&T) -> bool) -> Result<u64, CatalogError> {
        let is_over = |(_, value): &Pair| Ok::<_, CatalogError>(is_over(&serde_json::from_slice(value)?));
        let mut after: Option<Vec<u8>> = None;
        let mut removed = 0;
        loop {
            let page = self.store.scan(&keys::all_of(kind), after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(removed) };
            after = Some(last.clone());
            let mut over = Vec::new();
            for pair in page {
                if is_over(&pair)? {
                    over.push(pair.0);
                }
            }
            removed += self.remove_if_still(over, is_over)?;
        }
    }

    /// Looks again in the turn: a record may have been written anew under the same key.
    fn remove_if_still(&self, keys: Vec<Vec<u8>>, is_over: impl Fn(&Pair) -> Result<bool, CatalogError>) -> Result<u64, CatalogError> {
        if keys.is_empty() {
            return Ok(0);
        }
        let _turn = self.write_turn();
        let values = self.store.multi_get(&keys)?;
        let mut batch = Batch::default();
        for (key, value) in keys.into_iter().zip(values) {
            let Some(pair) = value.map(|value| (key, value)) else { continue };
            if is_over(&pair)? {
                batch.delete(pair.0);
            }
        }
        let count = batch.len() as u64;
        self.store.commit(batch)?;
        Ok(count)
    }

    /// Removes batches that are over. One that has ended never changes again, so there is no need to look twice.
    fn expire_batches(&self, now: OffsetDateTime, kept: std::time::Duration) -> Result<u64, CatalogError> {
        let mut after: Option<Vec<u8>> = None;
        let mut removed = 0;
        loop {
            let page = self.store.scan(&keys::all_of(keys::BATCH), after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(removed) };
            after = Some(last.clone());
            for (_, value) in page {
                let record: BatchRecord = serde_json::from_slice(&value)?;
                if record.state.has_ended() && now - record.updated_at > kept {
                    self.remove_batch(&record)?;
                    removed += 1;
                }
            }
        }
    }

    /// Removes files last written before that moment which no document uses.
    fn remove_orphans(&self, before: SystemTime) -> Result<u64, CatalogError> {
        let mut removed = 0;
        for (tenant, shard) in self.blobs.shards()? {
            let mut unused = Vec::new();
            for blob in self.blobs.written_before(&tenant, &shard, before)? {
                if self.is_unused(&tenant, &blob)? {
                    unused.push(blob);
                }
            }
            for some in unused.chunks(FILES_PER_TURN) {
                removed += self.remove_orphans_of(&tenant, some)?;
            }
        }
        Ok(removed)
    }

    fn remove_orphans_of(&self, tenant: &TenantId, blobs: &[BlobId]) -> Result<u64, CatalogError> {
        let _turn = self.write_turn();
        // That nothing names them must be durable before they go.
        self.settle()?;
        Ok(self.remove_unused_files(tenant, blobs) as u64)
    }
}
