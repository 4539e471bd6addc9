//! The attribute view: which rows are live, whose they are, and which of them a filter and the
//! caller's principals allow. Kept in memory and read from the document records when a collection
//! is opened.
//!
//! Invariant: a row is live if and only if it belongs to the served version of a document, and a
//! document's rows change in one step under the lock, so no search sees half a version.

use super::postings::Postings;
use crate::records::{Attributes, DocumentRecord, Rows};
use corpus::{Acl, DocumentId, Filter, Principals, Row};
use roaring::RoaringBitmap;
use std::collections::HashMap;
use std::sync::Arc;

/// What search needs to know of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentView {
    /// The document.
    pub id: DocumentId,
    /// The caller's own id.
    pub external_id: Option<String>,
    /// Name, metadata, ACL of the served version.
    pub attributes: Attributes,
    /// The served version's number.
    pub version: u32,
    /// Rows of the served version, in document order.
    pub rows: Rows,
}

/// See the module.
#[derive(Default)]
pub(crate) struct AttributeView {
    documents: HashMap<DocumentId, Arc<DocumentView>>,
    owners: HashMap<Row, Arc<DocumentView>>,
    live: Arc<RoaringBitmap>,
    /// Rows of documents that have an ACL.
    guarded: RoaringBitmap,
    postings: Postings,
}

impl AttributeView {
    /// Serves what the record says, instead of what was served of that document before.
    pub(crate) fn put(&mut self, record: &DocumentRecord) {
        self.remove(&record.id);
        let Some(version) = &record.served else { return };
        let view = Arc::new(DocumentView {
            id: record.id.clone(),
            external_id: record.external_id.clone(),
            attributes: record.attributes.clone(),
            version: version.number,
            rows: version.rows.clone(),
        });
        let rows: RoaringBitmap = view.rows.iter().collect();
        *Arc::make_mut(&mut self.live) |= &rows;
        if !view.attributes.acl.0.is_empty() {
            self.guarded |= &rows;
        }
        self.postings.insert(&view.attributes.metadata, &rows);
        self.owners.extend(rows.iter().map(|row| (row, Arc::clone(&view))));
        self.documents.insert(view.id.clone(), view);
    }

    /// Stops serving a document.
    pub(crate) fn remove(&mut self, document: &DocumentId) {
        let Some(view) = self.documents.remove(document) else { return };
        let rows: RoaringBitmap = view.rows.iter().collect();
        *Arc::make_mut(&mut self.live) -= &rows;
        self.guarded -= &rows;
        self.postings.remove(&view.attributes.metadata, &rows);
        for row in &rows {
            self.owners.remove(&row);
        }
    }

    /// The rows that are live, pass the filter and may be read.
    pub(crate) fn allowed(&self, filter: Option<&Filter>, principals: &Principals) -> Arc<RoaringBitmap> {
        if filter.is_none() && (self.guarded.is_empty() || *principals == Principals::All) {
            return Arc::clone(&self.live);
        }
        let mut rows = match filter {
            Some(filter) => self.postings.matching(filter, &self.live),
            None => (*self.live).clone(),
        };
        rows -= self.forbidden(principals);
        Arc::new(rows)
    }

    /// Guarded rows that these principals may not read. Guarded documents are few beside the rest,
    /// so they are looked at one by one.
    fn forbidden(&self, principals: &Principals) -> RoaringBitmap {
        let is_forbidden = |acl: &Acl| !principals.may_read(acl);
        let row_is_forbidden = |row: &Row| self.owners.get(row).is_some_and(|view| is_forbidden(&view.attributes.acl));
        self.guarded.iter().filter(row_is_forbidden).collect()
    }

    /// The document that a live row belongs to.
    pub(crate) fn owner(&self, row: Row) -> Option<&Arc<DocumentView>> {
        self.owners.get(&row)
    }

    /// How many rows stand directly beside a live one in its document, in the mean: 0 to 2.
    #[expect(clippy::cast_precision_loss, reason = "counts of rows and documents")]
    pub(crate) fn neighbours_mean(&self) -> f32 {
        let rows = self.live.len() as f32;
        if rows == 0.0 { 0.0 } else { (2.0 * (rows - self.documents.len() as f32) / rows).max(0.0) }
    }

    /// Whether a row belongs to a served version.
    pub(crate) fn is_live(&self, row: Row) -> bool {
        self.live.contains(row)
    }

    /// Live rows.
    pub(crate) fn live(&self) -> Arc<RoaringBitmap> {
        Arc::clone(&self.live)
    }
}
