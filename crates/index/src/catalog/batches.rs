//! Batches: durable before they are acknowledged, each result durable with the counts that tell of it.
//!
//! Items and results are JSON of any length, kept in pieces, because a value has a largest size.

use super::{Catalog, CatalogError, Once, Page, now, put};
use crate::batches::{BatchRecord, BatchResult};
use crate::keys;
use crate::records::JobState;
use crate::store::{Batch, Pair};
use corpus::{CollectionId, JobId, TenantId};
use roaring::RoaringBitmap;

/// Bytes of an item or a result that one value holds.
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces read, or removed in one turn.
const PIECES_PER_PAGE: usize = 256;
/// Kinds of keys below a batch.
const KINDS_BELOW: [u8; 2] = [keys::BATCH_ITEM, keys::BATCH_RESULT];

impl Catalog {
    /// Takes a batch in with its items, as JSON; durable on return. The same request again gives the first one's record
    /// as it was then.
    ///
    /// # Errors
    /// [`CatalogError::IdempotencyConflict`]; a store error, such as more bytes than one commit takes.
    pub fn create_batch(&self, record: BatchRecord, items: &[Vec<u8>], once: Option<&Once>) -> Result<BatchRecord, CatalogError> {
        let turn = self.write_turn();
        if let Some(earlier) = self.answered_before(&record.tenant, once)? {
            drop(turn);
            self.settle()?;
            return Ok(earlier);
        }
        let mut batch = Batch::default();
        for (index, item) in (0..).zip(items) {
            put_pieces(&mut batch, keys::BATCH_ITEM, &record, index, item);
        }
        put(&mut batch, keys::batch(&record.tenant, &record.id), &record)?;
        self.remember_answer(&mut batch, &record.tenant, once, &record)?;
        let seq = self.store.commit(batch)?;
        drop(turn);
        self.durable(seq)?;
        Ok(record)
    }

    /// The batch that the same request made before, as it was then.
    ///
    /// # Errors
    /// [`CatalogError::IdempotencyConflict`].
    pub fn batch_of_request(&self, tenant: &TenantId, once: &Once) -> Result<Option<BatchRecord>, CatalogError> {
        self.answered_before(tenant, Some(once))
    }

    /// A batch of this tenant.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub fn batch(&self, tenant: &TenantId, id: &JobId) -> Result<BatchRecord, CatalogError> {
        self.read(&keys::batch(tenant, id))?.ok_or_else(|| CatalogError::not_found("job", id))
    }

    /// The batches that have not ended, of all tenants.
    ///
    /// # Errors
    /// A store error.
    pub fn unfinished_batches(&self) -> Result<Vec<BatchRecord>, CatalogError> {
        let records = self.store.scan(&keys::all_of(keys::BATCH), None, usize::MAX)?;
        let records = records.iter().map(|(_, value)| Ok(serde_json::from_slice::<BatchRecord>(value)?));
        records.filter(|record| record.as_ref().map_or(true, |record| !record.state.has_ended())).collect()
    }

    /// Changes the record of a batch; durable on return.
    ///
    /// # Errors
    /// [`CatalogError::Superseded`] if it has ended, [`CatalogError::NotFound`].
    pub fn change_batch(&self, tenant: &TenantId, id: &JobId, change: impl FnOnce(&mut BatchRecord)) -> Result<BatchRecord, CatalogError> {
        let turn = self.write_turn();
        let mut record = self.batch(tenant, id)?;
        if record.state.has_ended() {
            return Err(CatalogError::Superseded);
        }
        change(&mut record);
        record.updated_at = now();
        let mut batch = Batch::default();
        put(&mut batch, keys::batch(tenant, id), &record)?;
        let seq = self.store.commit(batch)?;
        drop(turn);
        self.durable(seq)?;
        Ok(record)
    }

    /// Ends a batch; durable on return. One that has ended already stays as it is.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub fn end_batch(&self, tenant: &TenantId, id: &JobId, ended: JobState) -> Result<BatchRecord, CatalogError> {
        match self.change_batch(tenant, id, |record| record.state = ended) {
            Err(CatalogError::Superseded) => self.batch(tenant, id),
            changed => changed,
        }
    }

    /// Keeps results; durable on return. An item that has one keeps it.
    ///
    /// # Errors
    /// [`CatalogError::Superseded`] if the batch has ended, [`CatalogError::NotFound`] if it is gone.
    pub fn commit_results(&self, tenant: &TenantId, id: &JobId, results: &[BatchResult]) -> Result<BatchRecord, CatalogError> {
        let turn = self.write_turn();
        let mut record = self.batch(tenant, id)?;
        if record.state.has_ended() {
            return Err(CatalogError::Superseded);
        }
        let mut batch = Batch::default();
        for result in results {
            let first = keys::batch_piece(keys::BATCH_RESULT, tenant, id, result.index, 0);
            if result.index < record.total && batch.get(&first).is_none() && self.store.get(&first)?.is_none() {
                put_pieces(&mut batch, keys::BATCH_RESULT, &record, result.index, &result.json);
                record.count(result);
            }
        }
        (record.attempts, record.updated_at) = (0, now());
        put(&mut batch, keys::batch(tenant, id), &record)?;
        let seq = self.store.commit(batch)?;
        drop(turn);
        self.durable(seq)?;
        Ok(record)
    }

    /// An item, as JSON.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub fn batch_item(&self, tenant: &TenantId, id: &JobId, index: u32) -> Result<Vec<u8>, CatalogError> {
        let prefix = keys::batch_pieces(keys::BATCH_ITEM, tenant, id, index);
        let pieces = self.store.scan(&prefix, None, usize::MAX)?;
        if pieces.is_empty() {
            return Err(CatalogError::not_found("item", format!("{id}/{index}")));
        }
        Ok(pieces.into_iter().flat_map(|(_, piece)| piece).collect())
    }

    /// Results as JSON with their index, in its order, behind `after`: as many as there are of `limit` and about `bytes_max`.
    ///
    /// # Errors
    /// A store error.
    pub fn batch_results(
        &self,
        record: &BatchRecord,
        after: Option<u32>,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Page<(u32, Vec<u8>)>, CatalogError> {
        let after = after.map(|index| keys::batch_piece(keys::BATCH_RESULT, &record.tenant, &record.id, index, u32::MAX));
        let (mut items, mut bytes): (Vec<(u32, Vec<u8>)>, usize) = (Vec::new(), 0);
        let mut has_more = false;
        self.each_piece(keys::BATCH_RESULT, record, after, |index, piece| {
            let is_next = items.last().is_none_or(|(last, _)| *last != index);
            has_more = is_next && (items.len() == limit || bytes >= bytes_max);
            if has_more {
                return false;
            }
            if is_next {
                items.push((index, Vec::new()));
            }
            bytes += piece.len();
            items.last_mut().into_iter().for_each(|(_, result)| result.extend_from_slice(&piece));
            true
        })?;
        Ok(Page { items, has_more })
    }

    /// Which items have a result.
    ///
    /// # Errors
    /// A store error.
    pub fn answered_items(&self, record: &BatchRecord) -> Result<RoaringBitmap, CatalogError> {
        let mut answered = RoaringBitmap::new();
        self.each_piece(keys::BATCH_RESULT, record, None, |index, _| {
            answered.insert(index);
            true
        })?;
        Ok(answered)
    }

    /// Calls `visit` with the pieces behind a key until it has enough.
    fn each_piece(
        &self,
        kind: u8,
        record: &BatchRecord,
        mut after: Option<Vec<u8>>,
        mut visit: impl FnMut(u32, Vec<u8>) -> bool,
    ) -> Result<(), CatalogError> {
        let prefix = keys::below_batch(kind, &record.tenant, &record.id);
        loop {
            let page = self.store.scan(&prefix, after.as_deref(), PIECES_PER_PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, piece) in page {
                if keys::index_of_piece(&key).is_some_and(|index| !visit(index, piece)) {
                    return Ok(());
                }
            }
        }
    }

    /// Removes the batches over a deleted collection: their results quote its documents.
    pub(super) fn remove_batches_of(&self, tenant: &TenantId, collection: &CollectionId) -> Result<(), CatalogError> {
        let records = self.store.scan(&keys::batches(tenant), None, usize::MAX)?;
        for (_, value) in records {
            let record: BatchRecord = serde_json::from_slice(&value)?;
            if record.work.collection() == Some(collection) {
                // Ended first, so that nothing is added while it goes.
                self.end_batch(tenant, &record.id, JobState::Cancelled)?;
                self.remove_batch(&record)?;
            }
        }
        Ok(())
    }

    /// Removes an ended batch, its record last, so that what a crash leaves is found again.
    pub(super) fn remove_batch(&self, record: &BatchRecord) -> Result<(), CatalogError> {
        for kind in KINDS_BELOW {
            let prefix = keys::below_batch(kind, &record.tenant, &record.id);
            loop {
                let page: Vec<Pair> = self.store.scan(&prefix, None, PIECES_PER_PAGE)?;
                if page.is_empty() {
                    break;
                }
                let mut batch = Batch::default();
                page.into_iter().for_each(|(key, _)| batch.delete(key));
                self.store.commit(batch)?;
            }
        }
        let mut batch = Batch::default();
        batch.delete(keys::batch(&record.tenant, &record.id));
        self.store.commit(batch)?;
        Ok(())
    }
}

impl BatchRecord {
    fn count(&mut self, result: &BatchResult) {
        self.done += 1;
        self.failed += u32::from(result.is_failed);
        self.prompt_tokens += result.prompt_tokens;
        self.cached_tokens += result.cached_tokens;
        self.completion_tokens += result.completion_tokens;
    }
}

fn put_pieces(batch: &mut Batch, kind: u8, record: &BatchRecord, index: u32, json: &[u8]) {
    for (part, piece) in (0..).zip(json.chunks(PIECE_BYTES)) {
        batch.put(keys::batch_piece(kind, &record.tenant, &record.id, index, part), piece);
    }
}
