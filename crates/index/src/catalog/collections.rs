//! Collections: make, find, list, change.

use super::usage::Growth;
use super::{Catalog, CatalogError, Once, Page, now, put};
use crate::keys;
use crate::records::{Chunking, CollectionRecord, CollectionState};
use crate::store::Batch;
use corpus::{CollectionId, EmbeddingModel, Metadata, TenantId};

/// Longest name of a collection in bytes.
const NAME_BYTES_MAX: usize = 128;

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
