//! Feedback in the store: one record a collection, trace and key. It goes with its collection, or when it is old.

use super::{Catalog, CatalogError, put};
use crate::feedback::FeedbackRecord;
use crate::keys;
use crate::store::Batch;
use corpus::{CollectionId, TenantId, TraceId};

/// Records read at a time.
const PAGE: usize = 512;

impl Catalog {
    /// Keeps it in the place of what the same key said of the same answer; durable on return.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if the collection is gone, or a store error.
    pub fn put_feedback(&self, record: &FeedbackRecord) -> Result<(), CatalogError> {
        let turn = self.write_turn();
        self.collection(&record.tenant, record.collection.as_str())?;
        let mut batch = Batch::default();
        put(&mut batch, keys::feedback(&record.tenant, &record.collection, &record.trace, &record.asker.key), record)?;
        let seq = self.store.commit(batch)?;
        drop(turn);
        self.durable(seq)
    }

    /// What was said of one answer.
    ///
    /// # Errors
    /// A store error, or a record that can't be read.
    pub fn feedback_of(&self, tenant: &TenantId, collection: &CollectionId, trace: &TraceId) -> Result<Vec<FeedbackRecord>, CatalogError> {
        self.feedback_below(&keys::feedback_of(tenant, collection, trace))
    }

    /// What was said of a tenant's answers, or of those from one collection.
    ///
    /// # Errors
    /// A store error, or a record that can't be read.
    pub fn feedback(&self, tenant: &TenantId, collection: Option<&CollectionId>) -> Result<Vec<FeedbackRecord>, CatalogError> {
        self.feedback_below(&match collection {
            Some(collection) => keys::below(keys::FEEDBACK, tenant, collection),
            None => keys::feedback_of_tenant(tenant),
        })
    }

    fn feedback_below(&self, prefix: &[u8]) -> Result<Vec<FeedbackRecord>, CatalogError> {
        let (mut found, mut after): (Vec<FeedbackRecord>, Option<Vec<u8>>) = (Vec::new(), None);
        loop {
            let page = self.store.scan(prefix, after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            after = Some(last.clone());
            for (_, value) in page {
                found.push(serde_json::from_slice(&value)?);
            }
        }
    }
}
