//! Receipts of deletions, and looking again whether anything of what was deleted is still there.

use super::{Catalog, CatalogError, put};
use crate::keys;
use crate::records::{CollectionRecord, DeletionReceipt};
use crate::store::{Batch, Pair};
use corpus::{CollectionId, DeletionId, DocumentId, Row, TenantId};
use roaring::RoaringBitmap;
use serde::Serialize;

/// Keys looked at a time.
const PAGE: usize = 512;

/// One thing that was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DeletionCheck {
    /// What, as a stable snake_case word.
    pub what: &'static str,
    /// How many were found; at most a page of 512 is counted where there should be none.
    pub remaining: u64,
}

/// What became of a deletion.
#[derive(Debug, Clone, PartialEq)]
pub struct DeletionVerification {
    /// What the deletion said at the time.
    pub receipt: DeletionReceipt,
    /// Everything that was looked for.
    pub checks: Vec<DeletionCheck>,
}

impl DeletionVerification {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.checks.iter().all(|check| check.remaining == 0)
    }
}

/// A deletion after which caches, traces and sessions are still to be purged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpurged {
    /// Whose.
    pub tenant: TenantId,
    /// Which deletion.
    pub deletion: DeletionId,
    /// From what the values were made.
    pub collection: CollectionId,
}

/// What a purge has removed beside the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    /// Values of caches, counted in each tier.
    pub caches: u64,
    /// Traces.
    pub traces: u64,
    /// Turns of sessions.
    pub session_turns: u64,
}

impl DeletionReceipt {
    /// Adds what a purge has removed.
    pub fn count(&mut self, removed: Purged) {
        self.caches += removed.caches;
        self.traces += removed.traces;
        self.session_turns += removed.session_turns;
    }
}

impl Unpurged {
    /// The purge that a deletion owes.
    #[must_use]
    pub fn of(tenant: &TenantId, receipt: &DeletionReceipt) -> Self {
        Self { tenant: tenant.clone(), deletion: receipt.id.clone(), collection: receipt.collection.clone() }
    }

    /// `None` for a key or value of another kind.
    fn read((key, value): &Pair) -> Option<Self> {
        let &[tenant, deletion] = keys::text_parts(key).as_slice() else { return None };
        let collection = serde_json::from_slice(value).ok()?;
        Some(Self { tenant: tenant.parse().ok()?, deletion: deletion.parse().ok()?, collection })
    }
}

impl Catalog {
    /// A receipt of this tenant.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`], also for one that is no longer kept.
    pub fn deletion(&self, tenant: &TenantId, id: &DeletionId) -> Result<DeletionReceipt, CatalogError> {
        self.read(&keys::deletion(tenant, id))?.ok_or_else(|| CatalogError::not_found("deletion", id))
    }

    /// Deletions that were committed, and of which [`Self::note_purged`] was not told.
    ///
    /// # Errors
    /// A store error.
    pub fn unpurged(&self) -> Result<Vec<Unpurged>, CatalogError> {
        let left = self.store.scan(&keys::all_unpurged(), None, usize::MAX)?;
        Ok(left.iter().filter_map(Unpurged::read).collect())
    }

    /// So much went after a deletion: it is added to the receipt, and where that was all, nothing is owed any more.
    /// A crash before that is durable only lets the purge be made again.
    ///
    /// # Errors
    /// A store error: then the purge is still owed.
    pub fn note_purged(&self, owed: &Unpurged, removed: Purged, is_all: bool) -> Result<(), CatalogError> {
        let Unpurged { tenant, deletion, collection: _ } = owed;
        let is_counted = removed != Purged::default();
        if !is_all && !is_counted {
            return Ok(());
        }
        let mut batch = Batch::default();
        if is_all {
            batch.delete(keys::unpurged(tenant, deletion));
        }
        let turn = self.write_turn();
        let key = keys::deletion(tenant, deletion);
        // It may have been kept for long enough, or the deletion broke off before its last batch.
        if let Some(mut receipt) = self.read::<DeletionReceipt>(&key)?.filter(|_| is_counted) {
            receipt.count(removed);
            put(&mut batch, key, &receipt)?;
        }
        let commit = self.store.commit(batch)?;
        drop(turn);
        if is_counted { self.durable(commit) } else { Ok(()) }
    }

    /// Looks in the store, the committed views and the folder of files for what a deletion removed.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`], or an error of looking.
    pub fn verify_deletion(&self, tenant: &TenantId, id: &DeletionId) -> Result<DeletionVerification, CatalogError> {
        let receipt = self.deletion(tenant, id)?;
        let checks = match &receipt.document {
            Some(document) => self.look_for_document(tenant, &receipt, document)?,
            None => self.look_for_collection(tenant, &receipt)?,
        };
        let checks = checks.into_iter().map(|(what, remaining)| DeletionCheck { what, remaining }).collect();
        Ok(DeletionVerification { receipt, checks })
    }

    fn look_for_document(
        &self,
        tenant: &TenantId,
        receipt: &DeletionReceipt,
        document: &DocumentId,
    ) -> Result<Vec<(&'static str, u64)>, CatalogError> {
        let id = &receipt.collection;
        let (text_rows, vector_rows) = self.look_in_views(tenant, receipt)?;
        Ok(vec![
            ("document_record", self.count_keys(&[keys::document(tenant, id, document)])?),
            ("identities", self.count_identities(tenant, receipt, document)?),
            ("chunks", self.count_rows(receipt, |row| keys::chunk(tenant, id, row))?),
            ("vectors", self.count_rows(receipt, |row| keys::vector(tenant, id, row))?),
            ("places", self.count_below(&keys::places_of(tenant, id, document))?),
            ("retired_rows", self.count_keys(&[keys::unserved(tenant, id, document.as_str())])?),
            ("postings", text_rows),
            ("vector_index", vector_rows),
            ("file_uses", self.count_file_uses(tenant, receipt, document)?),
            ("files", self.count_unused_files(tenant, receipt)?),
        ])
    }

    fn look_for_collection(&self, tenant: &TenantId, receipt: &DeletionReceipt) -> Result<Vec<(&'static str, u64)>, CatalogError> {
        let id = &receipt.collection;
        let below = |kind| self.count_below(&keys::below(kind, tenant, id));
        let records = [keys::collection(tenant, id), keys::state(tenant, id), keys::deleted(tenant, id)];
        let name = receipt.name.as_ref().map(|name| self.read::<CollectionId>(&keys::collection_name(tenant, name))).transpose()?;
        Ok(vec![
            ("collection_record", self.count_keys(&records)?),
            ("name", u64::from(name.flatten().as_ref() == Some(id))),
            ("document_records", below(b'D')?),
            ("identities", below(b'E')? + below(b'H')?),
            ("chunks", below(b'K')?),
            ("vectors", below(b'V')?),
            ("places", below(b'P')?),
            ("changes", below(b'L')?),
            ("inner_documents", below(b'F')?),
            ("retired_rows", below(b'G')?),
            ("feedback", below(keys::FEEDBACK)?),
            ("view_files", u64::from(self.view_directory(&(tenant.clone(), id.clone())).exists())),
            ("file_uses", self.count_uses_in(tenant, id)?),
        ])
    }

    /// Rows that the text index as committed and the vector index still hold. Those of a collection that was
    /// deleted since have gone with it.
    fn look_in_views(&self, tenant: &TenantId, receipt: &DeletionReceipt) -> Result<(u64, u64), CatalogError> {
        let rows: RoaringBitmap = receipt.rows.iter().collect();
        let collection: Option<CollectionRecord> = self.read(&keys::collection(tenant, &receipt.collection))?;
        let Some(collection) = collection.filter(|_| !rows.is_empty()) else { return Ok((0, 0)) };
        Ok(self.open_collection(&collection)?.remaining(&rows)?)
    }

    fn count_keys(&self, keys: &[Vec<u8>]) -> Result<u64, CatalogError> {
        Ok(self.store.multi_get(keys)?.iter().flatten().count() as u64)
    }

    fn count_rows(&self, receipt: &DeletionReceipt, key: impl Fn(Row) -> Vec<u8>) -> Result<u64, CatalogError> {
        let rows: Vec<Row> = receipt.rows.iter().collect();
        let count = |some: &[Row]| self.count_keys(&some.iter().map(|row| key(*row)).collect::<Vec<_>>());
        rows.chunks(PAGE).map(count).sum()
    }

    fn count_below(&self, prefix: &[u8]) -> Result<u64, CatalogError> {
        Ok(self.store.scan(prefix, None, PAGE)?.len() as u64)
    }

    /// The caller's id and the contents that still lead to the document.
    fn count_identities(&self, tenant: &TenantId, receipt: &DeletionReceipt, document: &DocumentId) -> Result<u64, CatalogError> {
        let id = &receipt.collection;
        let external = receipt.name.iter().map(|name| keys::external_id(tenant, id, name));
        let contents = receipt.blobs.iter().map(|blob| keys::content(tenant, id, blob));
        let leads_there = |key: Vec<u8>| Ok(u64::from(self.read::<DocumentId>(&key)?.as_ref() == Some(document)));
        external.chain(contents).map(leads_there).sum()
    }

    fn count_file_uses(&self, tenant: &TenantId, receipt: &DeletionReceipt, document: &DocumentId) -> Result<u64, CatalogError> {
        let uses = receipt.blobs.iter().map(|blob| keys::blob_use(tenant, blob, &receipt.collection, document));
        self.count_keys(&uses.collect::<Vec<_>>())
    }

    /// Files that are there although no document uses them.
    fn count_unused_files(&self, tenant: &TenantId, receipt: &DeletionReceipt) -> Result<u64, CatalogError> {
        let is_left = |blob| Ok(u64::from(self.blobs.exists(tenant, blob) && self.is_unused(tenant, blob)?));
        receipt.blobs.iter().map(is_left).sum()
    }

    /// Uses of files by a collection: the keys begin with the file, so all of the tenant's are gone through.
    fn count_uses_in(&self, tenant: &TenantId, id: &CollectionId) -> Result<u64, CatalogError> {
        let is_its = |(key, _): &&Pair| keys::text_parts(key).get(2) == Some(&id.as_str());
        let mut after: Option<Vec<u8>> = None;
        let mut count = 0;
        loop {
            let page = self.store.scan(&keys::all_blob_uses(tenant), after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(count) };
            after = Some(last.clone());
            count += page.iter().filter(is_its).count() as u64;
        }
    }
}
