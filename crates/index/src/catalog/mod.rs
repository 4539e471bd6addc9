//! The catalog: every write to the store, and the way to an open collection.
//!
//! Invariants:
//! - Writers take turns, so that what a batch was built from is still true when it is committed.
//! - One batch makes a document visible: record, last chunks, counters, job and change together.
//! - A method whose name ends in nothing special returns once its commit is durable; what search
//!   sees follows within moments ([`crate::Collection::wait_applied`] tells).
//! - Every key carries the tenant; an id of another tenant is not found, like one that never was.

mod admit;
mod api_keys;
mod batches;
mod collections;
mod commit;
mod deletions;
mod evaluations;
mod family;
mod feedback;
mod housekeeping;
mod jobs;
mod opening;
mod read;
mod removal;
mod remove;
mod spend;
mod usage;
mod versions;

pub use admit::{Admitted, ChildFile, Once, Upload};
pub use api_keys::{ApiKeyRecord, KEYS_PER_TENANT_MAX, KeyLimits, Scope};
pub use collections::NewCollection;
pub use commit::Processed;
pub use deletions::{DeletionCheck, DeletionVerification, Purged, Unpurged};
pub use family::{DEPTH_MAX, DESCENDANTS_MAX};
pub use housekeeping::{Housekeeping, Retention};
pub use read::{DocumentStatus, Page};
pub use usage::{Quota, Quotas, TenantUsage};

use crate::applier::Applier;
use crate::blobs::{BlobError, Blobs};
use crate::collection::CollectionError;
use crate::keys;
use crate::records::{CollectionRecord, CollectionState};
use crate::store::{Batch, Seq, Store, StoreError};
use crate::vector::VectorParams;
use opening::OpenCollections;
use serde::{Serialize, de::DeserializeOwned};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use time::OffsetDateTime;

/// Why the catalog refuses or fails.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// No such thing in this tenant.
    #[error("there is no {what} {name:?}")]
    NotFound {
        /// "collection", "document", "job", "key" or "deletion".
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
    /// The job ended, or the document moved on to a later version: a result for the one before is not wanted,
    /// and what only that had is gone.
    #[error("what was asked for has been replaced meanwhile")]
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
    /// Rings when somebody is done with a directory of views.
    slot_free: Condvar,
    /// Held from reading what a batch depends on until it is committed.
    writer: Mutex<()>,
    applier: Applier,
    chunks_reused: AtomicU64,
}

impl Catalog {
    /// A catalog over an open store and its files.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, blobs: Blobs, params: CatalogParams) -> Self {
        Self {
            store,
            blobs,
            params,
            quotas: Quotas::default(),
            open: Mutex::default(),
            slot_free: Condvar::new(),
            writer: Mutex::default(),
            applier: Applier::start(),
            chunks_reused: AtomicU64::new(0),
        }
    }

    /// The same with bounds on what each tenant takes.
    #[must_use]
    pub fn with_quotas(self, quotas: Quotas) -> Self {
        Self { quotas, ..self }
    }

    /// Originals and texts.
    pub(crate) fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Chunks that new versions kept from the versions before, since the catalog was opened.
    #[must_use]
    pub fn chunks_reused(&self) -> u64 {
        self.chunks_reused.load(Ordering::Relaxed)
    }

    /// The store, for health and statistics.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
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
