//! Reading documents: records, texts, originals, chunks.

use super::{Catalog, CatalogError};
use crate::chunks::Wanted;
use crate::keys;
use crate::records::{CollectionRecord, DocumentRecord, DocumentState, PendingVersion, ServedVersion};
use corpus::{Chunk, DocumentId};
use serde::de::DeserializeOwned;

/// Some of a list, and whether more follows.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// In the list's order.
    pub items: Vec<T>,
    /// Whether there are more behind the last.
    pub has_more: bool,
}

/// How a document stands for those who search: a committed version that the views don't show yet is
/// still being indexed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DocumentStatus {
    /// Waits or is processed by its job.
    InProgress,
    /// Committed; the views follow within moments.
    Indexing,
    /// In search.
    Ready,
    /// See [`DocumentState::Failed`].
    Failed {
        /// Stable snake_case word.
        code: String,
        /// A sentence for people.
        reason: String,
    },
    /// See [`DocumentState::Cancelled`].
    Cancelled,
}

impl Catalog {
    /// Finds a document by its id or the caller's own id.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub fn document(&self, collection: &CollectionRecord, id_or_external: &str) -> Result<DocumentRecord, CatalogError> {
        let missing = || CatalogError::not_found("document", id_or_external);
        let (tenant, id) = (&collection.tenant, &collection.id);
        let document = match id_or_external.parse::<DocumentId>() {
            Ok(document) => document,
            Err(_) if id_or_external.contains('\0') => return Err(missing()),
            Err(_) => self.read(&keys::external_id(tenant, id, id_or_external))?.ok_or_else(missing)?,
        };
        self.read(&keys::document(tenant, id, &document))?.ok_or_else(missing)
    }

    /// Documents of a collection, oldest first.
    ///
    /// # Errors
    /// A store error.
    pub fn documents(
        &self,
        collection: &CollectionRecord,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Page<DocumentRecord>, CatalogError> {
        let after = after.map(|id| keys::document(&collection.tenant, &collection.id, id));
        self.page(&keys::documents(&collection.tenant, &collection.id), after, limit)
    }

    /// How a document stands.
    ///
    /// # Errors
    /// An error of opening the collection.
    pub fn status(&self, collection: &CollectionRecord, record: &DocumentRecord) -> Result<DocumentStatus, CatalogError> {
        Ok(match (&record.state, &record.served) {
            (DocumentState::Queued, _) | (DocumentState::Ready, None) => DocumentStatus::InProgress,
            (DocumentState::Failed { code, reason }, _) => DocumentStatus::Failed { code: code.clone(), reason: reason.clone() },
            (DocumentState::Cancelled, _) => DocumentStatus::Cancelled,
            (DocumentState::Ready, Some(served)) => match self.open_collection(collection)?.applied() >= served.seq {
                true => DocumentStatus::Ready,
                false => DocumentStatus::Indexing,
            },
        })
    }

    /// The extracted text of a served version, checked against its hash.
    ///
    /// # Errors
    /// [`CatalogError::Blob`] when the file is missing or damaged.
    pub fn text(&self, collection: &CollectionRecord, version: &ServedVersion) -> Result<String, CatalogError> {
        let bytes = self.blobs.get(&collection.tenant, &version.text)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The bytes as uploaded, of the served version or else the pending one.
    ///
    /// # Errors
    /// [`CatalogError::Blob`] when the file is missing or damaged.
    pub fn original(&self, collection: &CollectionRecord, record: &DocumentRecord) -> Result<Vec<u8>, CatalogError> {
        let served = record.served.as_ref().map(|served| &served.original);
        let original = served.or_else(|| record.pending.as_ref().map(|pending| &pending.original));
        let original = original.ok_or_else(|| CatalogError::not_found("document", &record.id))?;
        Ok(self.blobs.get(&collection.tenant, original)?)
    }

    /// The bytes of a version that is being processed.
    ///
    /// # Errors
    /// [`CatalogError::Blob`] when the file is missing or damaged.
    pub fn pending_original(&self, collection: &CollectionRecord, pending: &PendingVersion) -> Result<Vec<u8>, CatalogError> {
        Ok(self.blobs.get(&collection.tenant, &pending.original)?)
    }

    /// Chunks of a served version in document order, from number `from` on.
    ///
    /// # Errors
    /// [`CatalogError::Superseded`] when another version has taken its place since the record was read, or
    /// the document was deleted.
    pub fn chunks(
        &self,
        collection: &CollectionRecord,
        record: &DocumentRecord,
        version: &ServedVersion,
        from: usize,
        limit: usize,
    ) -> Result<Page<Chunk>, CatalogError> {
        let rows = version.rows.iter().enumerate().skip(from).take(limit);
        let wanted = |(ordinal, row)| Wanted { row, document: &record.id, version: version.number, ordinal };
        let wanted: Vec<_> = rows.map(wanted).collect();
        let found = crate::chunks::read(self.store.as_ref(), &collection.tenant, &collection.id, &wanted)?;
        let items = found.into_iter().collect::<Option<Vec<_>>>().ok_or(CatalogError::Superseded)?;
        Ok(Page { items, has_more: version.rows.len() > from.saturating_add(limit) })
    }

    pub(super) fn page<T: DeserializeOwned>(&self, prefix: &[u8], after: Option<Vec<u8>>, limit: usize) -> Result<Page<T>, CatalogError> {
        let mut found = self.store.scan(prefix, after.as_deref(), limit.saturating_add(1))?;
        let has_more = found.len() > limit;
        found.truncate(limit);
        let items = found.iter().map(|(_, value)| serde_json::from_slice(value)).collect::<Result<_, _>>()?;
        Ok(Page { items, has_more })
    }
}
