//! Evaluations: a record, and a result for each case; each group of results is one commit with the record that counts them.

use super::{Catalog, CatalogError, Once, Page, now, put};
use crate::evaluations::{EvaluationRecord, EvaluationState};
use crate::keys;
use crate::store::Batch;
use crate::verify::read::pairs;
use corpus::{CollectionId, EvaluationId, TenantId};
use serde_json::Value;

/// Results read, or removed in one turn.
const PER_PAGE: usize = 256;

impl Catalog {
    /// Takes an evaluation in; durable on return. The same request again gives the first one's record as it was then.
    ///
    /// # Errors
    /// [`CatalogError::IdempotencyConflict`], [`CatalogError::NotFound`] if its collection is gone.
    pub fn create_evaluation(&self, record: EvaluationRecord, once: Option<&Once>) -> Result<EvaluationRecord, CatalogError> {
        let turn = self.write_turn();
        if let Some(earlier) = self.answered_before(&record.tenant, once)? {
            drop(turn);
            self.settle()?;
            return Ok(earlier);
        }
        self.collection(&record.tenant, record.collection.as_str())?;
        let mut batch = Batch::default();
        put(&mut batch, keys::evaluation(&record.tenant, &record.id), &record)?;
        self.remember_answer(&mut batch, &record.tenant, once, &record)?;
        let seq = self.store.commit(batch)?;
        drop(turn);
        self.durable(seq)?;
        Ok(record)
    }

    /// The evaluation that the same request made before, as it was then.
    ///
    /// # Errors
    /// [`CatalogError::IdempotencyConflict`].
    pub fn evaluation_of_request(&self, tenant: &TenantId, once: &Once) -> Result<Option<EvaluationRecord>, CatalogError> {
        self.answered_before(tenant, Some(once))
    }

    /// An evaluation of this tenant.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub fn evaluation(&self, tenant: &TenantId, id: &EvaluationId) -> Result<EvaluationRecord, CatalogError> {
        self.read(&keys::evaluation(tenant, id))?.ok_or_else(|| CatalogError::not_found("evaluation", id))
    }

    /// A page of a tenant's evaluations, oldest first.
    ///
    /// # Errors
    /// A store error.
    pub fn evaluations(
        &self,
        tenant: &TenantId,
        after: Option<&EvaluationId>,
        limit: usize,
    ) -> Result<Page<EvaluationRecord>, CatalogError> {
        self.page(&keys::evaluations(tenant), after.map(|id| keys::evaluation(tenant, id)), limit)
    }

    /// Keeps results, each a JSON of at most 64 KiB, with the number of its case; durable on return.
    ///
    /// # Errors
    /// [`CatalogError::Superseded`] if the evaluation has ended, [`CatalogError::NotFound`] if it is gone.
    pub fn commit_evaluation_results(
        &self,
        tenant: &TenantId,
        id: &EvaluationId,
        results: &[(u32, Vec<u8>)],
    ) -> Result<EvaluationRecord, CatalogError> {
        let turn = self.write_turn();
        let mut record = self.evaluation(tenant, id)?;
        if record.state.has_ended() {
            return Err(CatalogError::Superseded);
        }
        let mut batch = Batch::default();
        for (index, json) in results {
            let key = keys::evaluation_result(tenant, id, *index);
            if batch.get(&key).is_none() && self.store.get(&key)?.is_none() {
                batch.put(key, json.as_slice());
                record.done += 1;
            }
        }
        record.updated_at = now();
        put(&mut batch, keys::evaluation(tenant, id), &record)?;
        let seq = self.store.commit(batch)?;
        drop(turn);
        self.durable(seq)?;
        Ok(record)
    }

    /// Ends an evaluation; durable on return. One that has ended already stays as it is.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub fn end_evaluation(
        &self,
        tenant: &TenantId,
        id: &EvaluationId,
        state: EvaluationState,
        summary: Value,
    ) -> Result<EvaluationRecord, CatalogError> {
        let turn = self.write_turn();
        let mut record = self.evaluation(tenant, id)?;
        if record.state.has_ended() {
            drop(turn);
            self.settle()?;
            return Ok(record);
        }
        (record.state, record.summary, record.updated_at) = (state, summary, now());
        let mut batch = Batch::default();
        put(&mut batch, keys::evaluation(tenant, id), &record)?;
        let seq = self.store.commit(batch)?;
        drop(turn);
        self.durable(seq)?;
        Ok(record)
    }

    /// Results as JSON with the number of their case, in its order, behind `after`: as many as there are of `limit` and
    /// about `bytes_max`.
    ///
    /// # Errors
    /// A store error.
    pub fn evaluation_results(
        &self,
        record: &EvaluationRecord,
        after: Option<u32>,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Page<(u32, Vec<u8>)>, CatalogError> {
        let prefix = keys::evaluation_results(&record.tenant, &record.id);
        let mut after = after.map(|index| keys::evaluation_result(&record.tenant, &record.id, index));
        let (mut items, mut bytes): (Vec<(u32, Vec<u8>)>, usize) = (Vec::new(), 0);
        loop {
            let page = self.store.scan(&prefix, after.as_deref(), PER_PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(Page { items, has_more: false }) };
            after = Some(last.clone());
            for (key, json) in page {
                if items.len() == limit || (bytes >= bytes_max && !items.is_empty()) {
                    return Ok(Page { items, has_more: true });
                }
                bytes += json.len();
                items.extend(keys::case_of_result(&key).map(|index| (index, json)));
            }
        }
    }

    /// Notes of every evaluation that runs that it was interrupted: at the start none does. How many there were. One
    /// that can't be read is passed over.
    ///
    /// # Errors
    /// A store error.
    pub fn interrupt_evaluations(&self) -> Result<u64, CatalogError> {
        let mut interrupted = 0;
        self.each_evaluation(&keys::all_of(keys::EVALUATION), |record| {
            if !record.state.has_ended() {
                self.end_evaluation(&record.tenant, &record.id, EvaluationState::Interrupted, Value::Null)?;
                interrupted += 1;
            }
            Ok(())
        })?;
        Ok(interrupted)
    }

    /// Removes the oldest evaluations of a tenant that have ended, but for so many.
    ///
    /// # Errors
    /// A store error.
    pub fn prune_evaluations(&self, tenant: &TenantId, kept: usize) -> Result<(), CatalogError> {
        let mut ended = Vec::new();
        self.each_evaluation(&keys::evaluations(tenant), |record| {
            ended.extend(record.state.has_ended().then_some(record.id));
            Ok(())
        })?;
        let over = ended.len().saturating_sub(kept);
        ended.iter().take(over).try_for_each(|id| self.remove(tenant, id))
    }

    /// Removes an evaluation with its results; one that runs is ended by that.
    ///
    /// # Errors
    /// A store error.
    pub fn remove_evaluation(&self, record: &EvaluationRecord) -> Result<(), CatalogError> {
        self.remove(&record.tenant, &record.id)
    }

    fn remove(&self, tenant: &TenantId, id: &EvaluationId) -> Result<(), CatalogError> {
        // Ended first, so that nothing is added while it goes; the record last, so that what a crash leaves is found again.
        match self.end_evaluation(tenant, id, EvaluationState::Interrupted, Value::Null) {
            Err(CatalogError::NotFound { .. }) => return Ok(()),
            ended => ended.map(drop)?,
        }
        while self.remove_results(tenant, id)? {}
        Ok(())
    }

    /// Removes a page of an evaluation's results, which its record then counts no more, or with the last of them the
    /// record; durable then. Whether there are more.
    fn remove_results(&self, tenant: &TenantId, id: &EvaluationId) -> Result<bool, CatalogError> {
        let key = keys::evaluation(tenant, id);
        let turn = self.write_turn();
        let Some(mut record) = self.read::<EvaluationRecord>(&key)? else {
            drop(turn);
            return self.settle().map(|()| false);
        };
        let page = self.store.scan(&keys::evaluation_results(tenant, id), None, PER_PAGE)?;
        let has_more = page.len() == PER_PAGE;
        let mut batch = Batch::default();
        record.done = record.done.saturating_sub(u32::try_from(page.len()).unwrap_or(u32::MAX));
        page.into_iter().for_each(|(key, _)| batch.delete(key));
        if has_more {
            put(&mut batch, key, &record)?;
        } else {
            batch.delete(key);
        }
        let seq = self.store.commit(batch)?;
        drop(turn);
        if !has_more {
            self.durable(seq)?;
        }
        Ok(has_more)
    }

    /// Removes the evaluations of a deleted collection: their results quote its documents.
    pub(super) fn remove_evaluations_of(&self, tenant: &TenantId, collection: &CollectionId) -> Result<(), CatalogError> {
        self.each_evaluation(&keys::evaluations(tenant), |record| {
            if record.collection == *collection { self.remove(tenant, &record.id) } else { Ok(()) }
        })
    }

    /// Calls `visit` with every evaluation below `prefix`, oldest first. `verify` tells of those that can't be read.
    fn each_evaluation(
        &self,
        prefix: &[u8],
        mut visit: impl FnMut(EvaluationRecord) -> Result<(), CatalogError>,
    ) -> Result<(), CatalogError> {
        pairs(self.store.as_ref(), prefix, |key, value| {
            let Some(record) = value.ok().and_then(|value| serde_json::from_slice(value).ok()) else {
                tracing::warn!(key = %key.escape_ascii(), "an evaluation can't be read and is passed over");
                return Ok(());
            };
            visit(record)
        })
    }
}
