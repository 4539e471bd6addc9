//! Chunks in, ranked chunk ids out: the store that is the truth, and the views that make it searchable.
//!
//! A [`Catalog`] takes every write: collections, documents, jobs. An open [`Collection`] is read
//! through three views: attributes (which rows are live, filters, access), vectors and text. The
//! views are rebuilt or replayed from the store whenever they are missing, old or in doubt.
//! `DESIGN.md` beside this crate states keys, records, crash rules and assumptions.
//!
//! Invariants:
//! - What a catalog method acknowledged survives a crash; what it did not is absent or whole.
//! - A search returns only rows of served document versions, whatever a view still holds.
//! - Every key and path carries the tenant.
//!
//! Synchronous: callers hop to blocking threads.
//!
//! ```
//! use corpus::{ChunkDraft, Embedding, EmbeddingModel, Metadata, Principals, Span, TenantId};
//! use index::records::Chunking;
//! use index::{Catalog, CatalogParams, NewCollection, Processed, Upload, blobs::Blobs, store::MemoryStore};
//! use std::{sync::Arc, time::Duration};
//! # use ragstone_index as index;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let params = CatalogParams { views: folder.path().join("views"), vector: Default::default(), collections_open_max: 8 };
//! let catalog = Catalog::new(Arc::new(MemoryStore::default()), Blobs::open(&folder.path().join("blobs"))?, params);
//! let model = EmbeddingModel { name: "m".into(), revision: "1".into(), dimension: 2, max_tokens: 8, languages: vec![], precision: corpus::Precision::F32 };
//! let chunking = Chunking { strategy: "auto".into(), max_tokens: 8, overlap_tokens: 0 };
//! let new = NewCollection { name: "notes".into(), model, chunking, metadata: Metadata::default() };
//! let collection = catalog.create_collection(&TenantId::default(), new, None)?;
//!
//! let upload = Upload { bytes: b"salt melts ice".to_vec(), name: "ice.txt".into(), ..Upload::default() };
//! let admitted = catalog.admit(&collection, &Principals::All, vec![upload], None)?;
//! let job = catalog.unfinished_jobs()?.remove(0);
//! let text = "salt melts ice";
//! let span = Span::of(text, 0..text.len()).ok_or("span")?;
//! let draft = ChunkDraft { span, text: text.into(), heading_path: vec![], page: None, tokens: 5 };
//! let chunks = vec![(draft, Embedding::normalised(vec![3.0, 4.0], 2)?)];
//! let processed = Processed { text: text.into(), media_type: "text/plain".into(), title: None, pages: None, warnings: vec![], chunks, embedded: 1, precision: corpus::Precision::F32 };
//! let seq = catalog.commit_document(&job, processed)?;
//!
//! let open = catalog.open_collection(&collection)?;
//! open.wait_applied(seq, Duration::from_secs(10))?;
//! let found = open.text_search(&open.question("ice")?, 10, &open.allowed(None, &Principals::All))?;
//! assert_eq!(found.rows.len(), 1);
//! # assert!(!admitted[0].is_known);
//! # Ok(()) }
//! ```

mod applier;
pub mod backup;
pub mod batches;
pub mod blobs;
mod catalog;
mod chunks;
mod collection;
pub mod evaluations;
pub mod feedback;
mod keys;
pub mod records;
mod scored;
pub mod shelf;
pub mod store;
pub mod text;
mod unserved;
pub mod vector;
pub mod verify;

pub use catalog::{
    Admitted, Catalog, CatalogError, CatalogParams, ChildFile, DEPTH_MAX, DESCENDANTS_MAX, DeletionCheck, DeletionVerification,
    DocumentStatus, Housekeeping, NewCollection, Once, Page, Processed, Purged, Retention, Unpurged, Upload,
};
pub use catalog::{ApiKeyRecord, KEYS_PER_TENANT_MAX, KeyLimits, Quota, Quotas, Scope, TenantUsage};
pub use collection::{Collection, CollectionError, DocumentView, FoundChunk};
pub use scored::Scored;
