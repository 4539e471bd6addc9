//! Documents inside documents: an upload, what is inside it, what is inside that.
//!
//! Invariants: a document inside another one is in the same collection, has the same metadata and
//! ACL, and goes when that goes. One upload brings a bounded number of them, to a bounded depth.

use super::read::Page;
use super::{Catalog, CatalogError};
use crate::keys;
use crate::records::{CollectionRecord, DocumentRecord};
use corpus::DocumentId;

/// Documents above one that may still be there: a file in an archive in an archive has 2.
pub const DEPTH_MAX: u8 = 2;
/// Documents that one upload brings besides itself.
pub const DESCENDANTS_MAX: usize = 1_000;

/// One document inside another.
pub(super) struct Kin {
    pub(super) parent: DocumentId,
    pub(super) child: DocumentId,
}

impl Catalog {
    /// The documents right inside one, oldest first.
    ///
    /// # Errors
    /// A store error.
    pub fn children(&self, collection: &CollectionRecord, document: &DocumentRecord) -> Result<Vec<DocumentId>, CatalogError> {
        let prefix = keys::children(&collection.tenant, &collection.id, document.root(), &document.id);
        let found = self.store.scan(&prefix, None, usize::MAX)?;
        let mut children = found.iter().map(|(_, value)| serde_json::from_slice(value)).collect::<Result<Vec<DocumentId>, _>>()?;
        children.sort_unstable();
        Ok(children)
    }

    /// A page of the documents right inside one, oldest first.
    ///
    /// # Errors
    /// A store error.
    pub fn children_page(
        &self,
        collection: &CollectionRecord,
        document: &DocumentRecord,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Page<DocumentRecord>, CatalogError> {
        let mut children = self.children(collection, document)?;
        children.retain(|child| after.is_none_or(|after| child > after));
        let has_more = children.len() > limit;
        children.truncate(limit);
        Ok(Page { items: self.records(collection, children)?, has_more })
    }

    /// Every document inside one, at every depth; those inside others come before them.
    ///
    /// # Errors
    /// A store error.
    pub fn descendants(&self, collection: &CollectionRecord, document: &DocumentRecord) -> Result<Vec<DocumentRecord>, CatalogError> {
        let family = self.family(collection, document.root())?;
        let mut found = vec![&document.id];
        let mut next = 0;
        while let Some(parent) = found.get(next).copied() {
            found.extend(family.iter().filter(|kin| kin.parent == *parent).map(|kin| &kin.child));
            next += 1;
        }
        let found = found.into_iter().skip(1).rev().cloned().collect();
        self.records(collection, found)
    }

    /// All that goes back to one upload.
    pub(super) fn family(&self, collection: &CollectionRecord, root: &DocumentId) -> Result<Vec<Kin>, CatalogError> {
        let found = self.store.scan(&keys::family(&collection.tenant, &collection.id, root), None, usize::MAX)?;
        let kin = |(key, value): &(Vec<u8>, Vec<u8>)| {
            let child = serde_json::from_slice(value)?;
            Ok(keys::parent_of(key).map(|parent| Kin { parent, child }))
        };
        found.iter().filter_map(|pair| kin(pair).transpose()).collect()
    }

    /// The records that are there.
    pub(super) fn records(&self, collection: &CollectionRecord, documents: Vec<DocumentId>) -> Result<Vec<DocumentRecord>, CatalogError> {
        let keys: Vec<_> = documents.iter().map(|document| keys::document(&collection.tenant, &collection.id, document)).collect();
        let values = self.store.multi_get(&keys)?;
        Ok(values.iter().flatten().map(|value| serde_json::from_slice(value)).collect::<Result<_, _>>()?)
    }
}
