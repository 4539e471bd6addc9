//! Collections: make, find, list, change, delete.

use super::remove::blobs_of;
use super::usage::Growth;
use super::{Catalog, CatalogError, Once, Page, now, put};
use crate::keys;
use crate::records::{Chunking, CollectionRecord, CollectionState, DocumentRecord};
use crate::store::Batch;
use corpus::{CollectionId, EmbeddingModel, Metadata, TenantId};

/// Longest name of a collection in bytes.
const NAME_BYTES_MAX: usize = 128;
/// Keys deleted in one batch.
const DELETE_PAGE: usize = 1024;

/// What a caller chooses when making a collection.
#[derive(Debug, Clone)]
pub struct NewCollection {
    /// Letters and digits of any script, `.`, `_`, `-`; starts with a letter or digit, not with `col_`.
    pub name: String,
    /// Pinned for good.
    pub model: EmbeddingModel,
    /// Pinned for good.
    pub chunking: Chunking,
    /// The caller's own notes.
    pub metadata: Metadata,
}

impl Catalog {
    /// Makes a collection; durable on return.
    ///
    /// # Errors
    /// [`CatalogError::NameTaken`], [`CatalogError::BadName`], [`CatalogError::IdempotencyConflict`],
    /// [`CatalogError::QuotaExceeded`].
    pub fn create_collection(&self, tenant: &TenantId, new: NewCollection, once: Option<&Once>) -> Result<CollectionRecord, CatalogError> {
        check_name(&new.name)?;
        let turn = self.write_turn();
        if let Some(answer) = self.answered_before(tenant, once)? {
            drop(turn);
            self.settle()?;
            return Ok(answer);
        }
        let name_key = keys::collection_name(tenant, &new.name);
        if self.store.get(&name_key)?.is_some() {
            return Err(CatalogError::NameTaken(new.name));
        }
        let record = CollectionRecord {
            id: CollectionId::generate(),
            tenant: tenant.clone(),
            name: new.name,
            model: new.model,
            chunking: new.chunking,
            metadata: new.metadata,
            created_at: now(),
        };
        let mut batch = Batch::default();
        put(&mut batch, name_key, &record.id)?;
        put(&mut batch, keys::collection(tenant, &record.id), &record)?;
        put(&mut batch, keys::state(tenant, &record.id), &CollectionState::default())?;
        self.charge(&mut batch, tenant, Growth { collections: 1, ..Growth::default() })?;
        self.remember_answer(&mut batch, tenant, once, &record)?;
        let seq = self.store.commit(batch)?;
        drop(turn);
        self.durable(seq)?;
        Ok(record)
    }

    /// Finds a collection by its id or name.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub fn collection(&self, tenant: &TenantId, id_or_name: &str) -> Result<CollectionRecord, CatalogError> {
        let missing = || CatalogError::not_found("collection", id_or_name);
        let id = match id_or_name.parse::<CollectionId>() {
            Ok(id) => id,
            Err(_) if id_or_name.contains('\0') => return Err(missing()),
            Err(_) => self.read(&keys::collection_name(tenant, id_or_name))?.ok_or_else(missing)?,
        };
        self.read(&keys::collection(tenant, &id))?.ok_or_else(missing)
    }

    /// Collections of a tenant, oldest first.
    ///
    /// # Errors
    /// A store error.
    pub fn collections(
        &self,
        tenant: &TenantId,
        after: Option<&CollectionId>,
        limit: usize,
    ) -> Result<Page<CollectionRecord>, CatalogError> {
        let after = after.map(|id| keys::collection(tenant, id));
        self.page(&keys::collections(tenant), after, limit)
    }

    /// The counters of a collection.
    ///
    /// # Errors
    /// A store error.
    pub fn collection_state(&self, record: &CollectionRecord) -> Result<CollectionState, CatalogError> {
        self.state(record)
    }

    /// Renames a collection or replaces its metadata; durable on return.
    ///
    /// # Errors
    /// [`CatalogError::NameTaken`], [`CatalogError::BadName`], [`CatalogError::NotFound`].
    pub fn update_collection(
        &self,
        tenant: &TenantId,
        id: &CollectionId,
        name: Option<String>,
        metadata: Option<Metadata>,
    ) -> Result<CollectionRecord, CatalogError> {
        let turn = self.write_turn();
        let mut record = self.collection(tenant, id.as_str())?;
        let mut batch = Batch::default();
        if let Some(name) = name.filter(|name| *name != record.name) {
            check_name(&name)?;
            let name_key = keys::collection_name(tenant, &name);
            if self.store.get(&name_key)?.is_some() {
                return Err(CatalogError::NameTaken(name));
            }
            batch.delete(keys::collection_name(tenant, &record.name));
            put(&mut batch, name_key, &record.id)?;
            record.name = name;
        }
        record.metadata = metadata.unwrap_or(record.metadata);
        put(&mut batch, keys::collection(tenant, &record.id), &record)?;
        let seq = self.store.commit(batch)?;
        drop(turn);
        self.durable(seq)?;
        Ok(record)
    }

    /// Deletes a collection with all its documents; durable on return. The record goes first and leaves
    /// a note, so that a crash in between is finished at the next start.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub fn delete_collection(&self, tenant: &TenantId, id: &CollectionId) -> Result<(), CatalogError> {
        let _turn = self.write_turn();
        let record = self.collection(tenant, id.as_str())?;
        let mut batch = Batch::default();
        batch.delete(keys::collection_name(tenant, &record.name));
        batch.delete(keys::collection(tenant, id));
        batch.delete(keys::state(tenant, id));
        put(&mut batch, keys::deleted(tenant, id), &record)?;
        self.charge(&mut batch, tenant, Growth { collections: -1, ..Growth::default() })?;
        self.end_jobs_of(&record, &mut batch)?;
        let seq = self.store.commit(batch)?;
        self.durable(seq)?;
        self.purge(&record)
    }

    /// Finishes what a crash left of deleted collections. Called once, before any job runs.
    ///
    /// # Errors
    /// A store error.
    pub fn finish_deletions(&self) -> Result<usize, CatalogError> {
        let _turn = self.write_turn();
        let left = self.store.scan(&keys::all_deleted(), None, usize::MAX)?;
        for (_, value) in &left {
            self.purge(&serde_json::from_slice(value)?)?;
        }
        Ok(left.len())
    }

    /// Everything below a collection whose record is gone: documents with their files, then the rest.
    fn purge(&self, record: &CollectionRecord) -> Result<(), CatalogError> {
        let (tenant, id) = (&record.tenant, &record.id);
        self.close(&(tenant.clone(), id.clone()));
        loop {
            let page = self.store.scan(&keys::documents(tenant, id), None, DELETE_PAGE)?;
            let documents: Vec<DocumentRecord> = page.iter().map(|(_, value)| serde_json::from_slice(value)).collect::<Result<_, _>>()?;
            if documents.is_empty() {
                break;
            }
            let mut batch = Batch::default();
            for document in &documents {
                batch.delete(keys::document(tenant, id, &document.id));
                blobs_of(document).for_each(|blob| batch.delete(keys::blob_use(tenant, blob, id, &document.id)));
            }
            self.charge(&mut batch, tenant, Growth::without(&documents))?;
            let seq = self.store.commit(batch)?;
            self.durable(seq)?;
            self.remove_unused_files(tenant, documents.iter().flat_map(blobs_of));
        }
        for prefix in keys::everything_below(tenant, id) {
            self.delete_below(&prefix)?;
        }
        remove_directory(self.view_directory(&(tenant.clone(), id.clone())).parent());
        let mut batch = Batch::default();
        batch.delete(keys::deleted(tenant, id));
        let seq = self.store.commit(batch)?;
        self.durable(seq)
    }

    fn delete_below(&self, prefix: &[u8]) -> Result<(), CatalogError> {
        loop {
            let page = self.store.scan(prefix, None, DELETE_PAGE)?;
            if page.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::default();
            page.into_iter().for_each(|(key, _)| batch.delete(key));
            self.store.commit(batch)?;
        }
    }
}

fn remove_directory(directory: Option<&std::path::Path>) {
    let Some(directory) = directory else { return };
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(directory = %directory.display(), %error, "the view files of a deleted collection are left behind");
        }
        _ => {}
    }
}

fn check_name(name: &str) -> Result<(), CatalogError> {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    let starts_well = name.chars().next().is_some_and(char::is_alphanumeric) && !name.starts_with(CollectionId::PREFIX);
    if starts_well && name.len() <= NAME_BYTES_MAX && name.chars().all(is_plain) {
        Ok(())
    } else {
        Err(CatalogError::BadName(format!(
            "the collection name {name:?} must be 1 to {NAME_BYTES_MAX} bytes of letters, digits, '.', '_' and '-', start with a letter or digit, and not with \"col_\""
        )))
    }
}
