//! The catalog: every write to the store, and the way to an open collection.
//!
//! Invariants:
//! - Writers take turns, so that what a batch was built from is still true when it is committed.
//! - One batch makes a document visible: record, last chunks, counters, job and change together.
//! - A method whose name ends in nothing special returns once its commit is durable; what search
//!   sees follows within moments ([`Collection::wait_applied`] tells).
//! - Every key carries the tenant; an id of another tenant is not found, like one that never was.

mod admit;
mod api_keys;
mod collections;
mod commit;
mod family;
mod jobs;
mod read;
mod remove;
mod usage;

pub use admit::{Admitted, ChildFile, Once, Upload};
pub use api_keys::{ApiKeyRecord, KEYS_PER_TENANT_MAX, Scope};
pub use collections::NewCollection;
pub use commit::Processed;
pub use family::{DEPTH_MAX, DESCENDANTS_MAX};
pub use read::{DocumentStatus, Page};
pub use usage::{Quota, Quotas, TenantUsage};

use crate::applier::Applier;
use crate::blobs::{BlobError, Blobs};
use crate::collection::{Collection, CollectionError};
use crate::keys;
use crate::records::{CollectionRecord, CollectionState};
use crate::store::{Batch, Seq, Store, StoreError};
use crate::vector::VectorParams;
use corpus::{CollectionId, TenantId};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use time::OffsetDateTime;

/// Why the catalog refuses or fails.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// No such thing in this tenant.
    #[error("there is no {what} {name:?}")]
    NotFound {
        /// "collection", "document", "job" or "key".
        what: &'static str,
        /// What was asked for.
        name: String,
    },
    /// The name is taken.
    #[error("there is a collection named {0:?} already")]
    NameTaken(String),
    /// A name or id that can't be used.
    #[error("{0}")]
    BadName(String),
    /// The idempotency key came with another request.
    #[error("the idempotency key was used for another request")]
    IdempotencyConflict,
    /// There is such a document, and the caller may not read it.
    #[error("there is a document with this identity that this key may not read")]
    Forbidden,
    /// The tenant has used up what it may take. Trying again doesn't help before something is deleted.
    #[error("the quota of {what} is {limit}: {used} are used, and this needs {asked} more")]
    QuotaExceeded {
        /// "documents", "bytes", "collections" or "keys".
        what: &'static str,
        /// What the tenant has already.
        used: u64,
        /// What the request adds.
        asked: u64,
        /// What it may have.
        limit: u64,
    },
    /// The job ended, or the document moved on to a later version: the result is not wanted.
    #[error("the job is no longer wanted")]
    Superseded,
    /// A file inside a file inside a file.
    #[error("files that are inside {levels_max} others are not opened")]
    NestedTooDeep {
        /// The limit.
        levels_max: u8,
    },
    /// The upload brings more documents than one may.
    #[error("with the files inside this one, one upload would bring more than {documents_max} documents")]
    TooManyInside {
        /// The limit.
        documents_max: usize,
    },
    /// The original or text file failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The views failed.
    #[error(transparent)]
    Collection(#[from] CollectionError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored record can't be read or written.
    #[error("a stored record can't be read or written: {0}")]
    Record(#[from] serde_json::Error),
}

impl CatalogError {
    fn not_found(what: &'static str, name: impl ToString) -> Self {
        Self::NotFound { what, name: name.to_string() }
    }
}

/// What an operator may set.
#[derive(Debug, Clone)]
pub struct CatalogParams {
    /// Folder of the view files.
    pub views: PathBuf,
    /// The vector engine and its sizes.
    pub vector: VectorParams,
    /// Collections kept open at a time; the longest unused are closed.
    pub collections_open_max: usize,
}

/// See the module.
pub struct Catalog {
    store: Arc<dyn Store>,
    blobs: Blobs,
    params: CatalogParams,
    quotas: Quotas,
    open: Mutex<OpenCollections>,
    /// Held from reading what a batch depends on until it is committed.
    writer: Mutex<()>,
    applier: Applier,
}

type CollectionKey = (TenantId, CollectionId);

#[derive(Default)]
struct OpenCollections {
    by_id: HashMap<CollectionKey, (Arc<Collection>, u64)>,
    /// Counts uses, so that the least recently used can be found.
    clock: u64,
}

impl Catalog {
    /// A catalog over an open store and its files.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, blobs: Blobs, params: CatalogParams) -> Self {
        let quotas = Quotas::default();
        Self { store, blobs, params, quotas, open: Mutex::default(), writer: Mutex::default(), applier: Applier::start() }
    }

    /// The same with bounds on what each tenant takes.
    #[must_use]
    pub fn with_quotas(self, quotas: Quotas) -> Self {
        Self { quotas, ..self }
    }

    /// The store, for health and statistics.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// Originals and texts.
    pub(crate) fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// The open collection of a record; opens it, and reopens one whose views could not follow.
    ///
    /// # Errors
    /// [`CatalogError::Collection`] when the views can't be opened.
    pub fn open_collection(&self, record: &CollectionRecord) -> Result<Arc<Collection>, CatalogError> {
        let key = (record.tenant.clone(), record.id.clone());
        if let Some(collection) = self.opened(&key) {
            return Ok(collection);
        }
        // Writers wait, so that no change slips between reading the store and being listened to.
        let _writer = self.write_turn();
        self.open_in_turn(record)
    }

    /// As [`Self::open_collection`], for callers that hold the writer's turn.
    fn open_in_turn(&self, record: &CollectionRecord) -> Result<Arc<Collection>, CatalogError> {
        let key = (record.tenant.clone(), record.id.clone());
        if let Some(collection) = self.opened(&key) {
            return Ok(collection);
        }
        // A collection that was deleted meanwhile must not get its folder back.
        self.collection(&record.tenant, record.id.as_str())?;
        let directory = self.view_directory(&key);
        let collection = Collection::open(Arc::clone(&self.store), record.clone(), &directory, &self.params.vector)?;
        let collection = Arc::new(collection);
        let mut open = lock(&self.open);
        open.clock += 1;
        let now = open.clock;
        open.close_unused(self.params.collections_open_max.saturating_sub(1));
        open.by_id.insert(key, (Arc::clone(&collection), now));
        Ok(collection)
    }

    fn opened(&self, key: &CollectionKey) -> Option<Arc<Collection>> {
        let mut open = lock(&self.open);
        open.clock += 1;
        let now = open.clock;
        let (collection, used) = open.by_id.get_mut(key)?;
        if collection.is_stale() {
            // Its directory must be let go before it is opened again.
            open.by_id.remove(key);
            return None;
        }
        *used = now;
        Some(Arc::clone(collection))
    }

    fn close(&self, key: &CollectionKey) {
        lock(&self.open).by_id.remove(key);
    }

    fn view_directory(&self, (tenant, collection): &CollectionKey) -> PathBuf {
        self.params.views.join(tenant.as_str()).join(collection.as_str()).join("text")
    }

    /// How many collections are open.
    #[must_use]
    pub fn open_collections(&self) -> usize {
        lock(&self.open).by_id.len()
    }

    fn write_turn(&self) -> MutexGuard<'_, ()> {
        lock(&self.writer)
    }

    fn read<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, CatalogError> {
        Ok(self.store.get(key)?.map(|value| serde_json::from_slice(&value)).transpose()?)
    }

    fn state(&self, record: &CollectionRecord) -> Result<CollectionState, CatalogError> {
        Ok(self.read(&keys::state(&record.tenant, &record.id))?.unwrap_or_default())
    }

    /// Returns when everything committed so far, also by others, is durable.
    fn settle(&self) -> Result<(), CatalogError> {
        let seq = self.store.commit(Batch::default())?;
        self.durable(seq)
    }

    fn durable(&self, seq: Seq) -> Result<(), CatalogError> {
        Ok(self.store.durable(seq)?)
    }
}

impl OpenCollections {
    /// Closes the longest unused until `keep` are left, of those that nobody holds and nothing waits for.
    fn close_unused(&mut self, keep: usize) {
        while self.by_id.len() > keep {
            let idle = self.by_id.iter().filter(|(_, (collection, _))| Arc::strong_count(collection) == 1 && collection.is_settled());
            let Some(key) = idle.min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone()) else { return };
            self.by_id.remove(&key);
        }
    }
}

fn put(batch: &mut Batch, key: Vec<u8>, record: &impl Serialize) -> Result<(), CatalogError> {
    batch.put(key, serde_json::to_vec(record)?);
    Ok(())
}

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
