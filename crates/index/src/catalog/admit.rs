//! Taking documents in: the bytes become a durable file, the document and its job a durable record,
//! in one batch for all documents of a request.

mod children;

pub use children::ChildFile;

use super::housekeeping::IDEMPOTENCY_KEPT;
use super::usage::Growth;
use super::{Catalog, CatalogError, now, put};
use crate::blobs::BlobId;
use crate::collection::{Collection, Pending};
use crate::keys;
use crate::records::{
    Attributes, Change, CollectionRecord, CollectionState, DocumentRecord, DocumentState, IdempotencyRecord, JobRecord, JobState,
    PendingVersion, ServedVersion,
};
use crate::store::{Batch, Seq};
use corpus::{Acl, DocumentId, JobId, Metadata, Principals, TenantId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::sync::Arc;

/// Longest external id in bytes.
const EXTERNAL_ID_BYTES_MAX: usize = 512;

/// One document of an upload.
#[derive(Debug, Clone, Default)]
pub struct Upload {
    /// The bytes as they came.
    pub bytes: Vec<u8>,
    /// File name or title.
    pub name: String,
    /// For filters; absent: what the document has stays.
    pub metadata: Option<Metadata>,
    /// Who may read it; absent: what the document has stays.
    pub acl: Option<Acl>,
    /// The caller's own id: the same id again is a new version of the same document.
    pub external_id: Option<String>,
}

impl Upload {
    /// What the document's attributes become: what was sent, over what it has.
    fn attributes_over(&self, current: &Attributes) -> Attributes {
        Attributes {
            name: self.name.clone(),
            metadata: self.metadata.clone().unwrap_or_else(|| current.metadata.clone()),
            acl: self.acl.clone().unwrap_or_else(|| current.acl.clone()),
        }
    }
}

/// A request that may be answered only once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Once {
    /// The caller's idempotency key.
    pub key: String,
    /// sha256 over method, path and body.
    pub request: String,
}

/// What became of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admitted {
    /// The document, new or known.
    pub document: DocumentId,
    /// The job that processes (or processed) these bytes.
    pub job: Option<JobId>,
    /// Whether these bytes were there already, so that nothing is processed again.
    pub is_known: bool,
}

/// The batch of one request and what must happen when it is committed.
struct Admission {
    batch: Batch,
    state: CollectionState,
    admitted: Vec<Admitted>,
    published: Vec<(u64, Change, DocumentRecord)>,
    /// Files of versions that were superseded before they were processed.
    released: Vec<BlobId>,
    growth: Growth,
}

impl Admission {
    fn on(state: CollectionState) -> Self {
        Self {
            batch: Batch::default(),
            state,
            admitted: Vec::new(),
            published: Vec::new(),
            released: Vec::new(),
            growth: Growth::default(),
        }
    }
}

impl Catalog {
    /// Takes documents in for a caller who speaks for `principals`; durable on return. The same bytes again (under the same external id, or
    /// both without one) are the same document: only its attributes are replaced, and a failed or
    /// cancelled one is tried again.
    ///
    /// # Errors
    /// [`CatalogError::BadName`] for an external id that can't be used,
    /// [`CatalogError::Forbidden`] for a document that the caller may not read,
    /// [`CatalogError::QuotaExceeded`], [`CatalogError::IdempotencyConflict`]; either all documents are
    /// taken in or none.
    pub fn admit(
        &self,
        collection: &CollectionRecord,
        principals: &Principals,
        uploads: Vec<Upload>,
        once: Option<&Once>,
    ) -> Result<Vec<Admitted>, CatalogError> {
        uploads.iter().filter_map(|upload| upload.external_id.as_deref()).try_for_each(check_external_id)?;
        let originals = self.write_originals(collection, &uploads)?;
        let admitted = self.admit_originals(collection, principals, uploads, &originals, once);
        if admitted.is_err() {
            self.release_refused(collection, &originals);
        }
        admitted
    }

    /// Files of uploads that were refused must not fill a disk that is full already.
    fn release_refused(&self, collection: &CollectionRecord, originals: &[BlobId]) {
        // After a failed write the next start may still find the commit in the journal.
        if self.store.stats().read_only {
            return;
        }
        if let Err(error) = self.release_files(&collection.tenant, originals) {
            tracing::warn!(%error, "files of a refused upload are left behind");
        }
    }

    fn admit_originals(
        &self,
        collection: &CollectionRecord,
        principals: &Principals,
        uploads: Vec<Upload>,
        originals: &[BlobId],
        once: Option<&Once>,
    ) -> Result<Vec<Admitted>, CatalogError> {
        let mut needs_views = false;
        let (turn, open, admission) = loop {
            let (turn, open) = match needs_views {
                false => (self.write_turn(), None),
                true => self.turn_with(collection).map(|(turn, open)| (turn, Some(open)))?,
            };
            if let Some(answer) = self.answered_before(&collection.tenant, once)? {
                drop(turn);
                self.settle()?;
                return Ok(answer);
            }
            self.collection(&collection.tenant, collection.id.as_str())?;
            let admission = self.admission(collection, principals, &uploads, originals)?;
            if open.is_some() || admission.published.is_empty() {
                break (turn, open, admission);
            }
            // The views must be told, and opening them takes longer than a turn may: once more, with them open.
            needs_views = true;
        };
        let (commit, admitted, released) = self.commit_admission(collection, admission, once, open.as_ref())?;
        drop(turn);
        self.durable(commit)?;
        self.release_files(&collection.tenant, &released)?;
        Ok(admitted)
    }

    /// What taking these uploads in changes, as things stand in this turn.
    fn admission(
        &self,
        collection: &CollectionRecord,
        principals: &Principals,
        uploads: &[Upload],
        originals: &[BlobId],
    ) -> Result<Admission, CatalogError> {
        let mut admission = Admission::on(self.state(collection)?);
        for (upload, original) in uploads.iter().zip(originals) {
            // A delete may have removed the file between writing it and this turn.
            if !self.blobs.exists(&collection.tenant, original) {
                self.blobs.put(&collection.tenant, &upload.bytes)?;
            }
            self.admit_one(collection, principals, upload, original.clone(), &mut admission)?;
        }
        Ok(admission)
    }

    /// The batch of an admission; what it changes in search is on its way then, through the open views.
    /// The caller holds the writer's turn.
    fn commit_admission(
        &self,
        collection: &CollectionRecord,
        admission: Admission,
        once: Option<&Once>,
        open: Option<&Arc<Collection>>,
    ) -> Result<(Seq, Vec<Admitted>, Vec<BlobId>), CatalogError> {
        let Admission { mut batch, state, admitted, published, released, growth } = admission;
        self.charge(&mut batch, &collection.tenant, growth)?;
        put(&mut batch, keys::state(&collection.tenant, &collection.id), &state)?;
        self.remember_answer(&mut batch, &collection.tenant, once, &admitted)?;
        let commit = self.store.commit(batch)?;
        if let Some(open) = open {
            for (seq, change, record) in published {
                open.publish(Pending { seq, commit, change, record: Some(record), retired: None });
            }
            self.applier.notify(open);
        }
        Ok((commit, admitted, released))
    }

    fn write_originals(&self, collection: &CollectionRecord, uploads: &[Upload]) -> Result<Vec<BlobId>, CatalogError> {
        let mut written = Vec::with_capacity(uploads.len());
        for upload in uploads {
            match self.blobs.put(&collection.tenant, &upload.bytes) {
                Ok(original) => written.push(original),
                Err(error) => {
                    self.release_refused(collection, &written);
                    return Err(error.into());
                }
            }
        }
        Ok(written)
    }

    fn admit_one(
        &self,
        collection: &CollectionRecord,
        principals: &Principals,
        upload: &Upload,
        original: BlobId,
        into: &mut Admission,
    ) -> Result<(), CatalogError> {
        let (tenant, id) = (&collection.tenant, &collection.id);
        let identity = match &upload.external_id {
            Some(external) => keys::external_id(tenant, id, external),
            None => keys::content(tenant, id, &original),
        };
        let known: Option<DocumentId> = match into.batch.get(&identity) {
            Some(earlier_in_request) => Some(serde_json::from_slice(earlier_in_request)?),
            None => self.read(&identity)?,
        };
        let record = match known {
            Some(document) => self.document_in(&into.batch, collection, &document)?,
            None => None,
        };
        match record {
            Some(record) if !record.may_be_read_by(principals) => Err(CatalogError::Forbidden),
            Some(record) if is_settled_with(&record, &original) => self.keep(collection, record, upload, into),
            Some(record) => self.begin_version(collection, record, upload, original, into),
            None => {
                let record = new_record(upload);
                put(&mut into.batch, identity, &record.id)?;
                into.state.documents += 1;
                into.growth.documents += 1;
                self.begin_version(collection, record, upload, original, into)
            }
        }
    }

    fn document_in(
        &self,
        batch: &Batch,
        collection: &CollectionRecord,
        document: &DocumentId,
    ) -> Result<Option<DocumentRecord>, CatalogError> {
        let key = keys::document(&collection.tenant, &collection.id, document);
        match batch.get(&key) {
            Some(value) => Ok(Some(serde_json::from_slice(value)?)),
            None => self.read(&key),
        }
    }

    /// The same bytes again: nothing to process, at most other attributes.
    fn keep(
        &self,
        collection: &CollectionRecord,
        mut record: DocumentRecord,
        upload: &Upload,
        into: &mut Admission,
    ) -> Result<(), CatalogError> {
        let job = record.latest_job().cloned();
        into.admitted.push(Admitted { document: record.id.clone(), job, is_known: true });
        let current = record.pending.as_mut().map_or(&mut record.attributes, |pending| &mut pending.attributes);
        let name = current.name.clone();
        let attributes = upload.attributes_over(current);
        if *current == (Attributes { name: name.clone(), ..attributes.clone() }) {
            return Ok(());
        }
        *current = Attributes { name, ..attributes.clone() };
        self.align_descendants(collection, &record, &attributes, into)?;
        record.updated_at = now();
        put(&mut into.batch, keys::document(&collection.tenant, &collection.id, &record.id), &record)?;
        if record.served.is_some() && record.pending.is_none() {
            into.state.advance();
            let change = Change { document: Some(record.id.clone()), ..Change::default() };
            put(&mut into.batch, keys::change(&collection.tenant, &collection.id, into.state.seq), &change)?;
            into.published.push((into.state.seq, change, record));
        }
        Ok(())
    }

    /// New bytes: a pending version and its job; an earlier pending version is superseded.
    fn begin_version(
        &self,
        collection: &CollectionRecord,
        mut record: DocumentRecord,
        upload: &Upload,
        original: BlobId,
        into: &mut Admission,
    ) -> Result<(), CatalogError> {
        let (tenant, id) = (&collection.tenant, &collection.id);
        let number = record.next_version();
        into.growth.replace_bytes(record.latest_original().map_or(0, |(_, bytes)| bytes), upload.bytes.len() as u64);
        if let Some(pending) = record.pending.take() {
            self.cancel_in(&mut into.batch, tenant, &pending.job)?;
            let uses = |served: &ServedVersion| served.original == pending.original || served.text == pending.original;
            let is_served = record.served.as_ref().is_some_and(uses);
            if pending.original != original && !is_served {
                into.batch.delete(keys::blob_use(tenant, &pending.original, id, &record.id));
                into.released.push(pending.original);
            }
        }
        let job = new_job(collection, &record);
        into.batch.put(keys::blob_use(tenant, &original, id, &record.id), Vec::new());
        put(&mut into.batch, keys::job(tenant, &job.id), &job)?;
        into.batch.put(keys::unfinished(&job.id, tenant), Vec::new());
        into.admitted.push(Admitted { document: record.id.clone(), job: Some(job.id.clone()), is_known: false });
        record.state = DocumentState::Queued;
        record.updated_at = now();
        let attributes = upload.attributes_over(&record.attributes);
        record.pending = Some(PendingVersion { number, original, bytes: upload.bytes.len() as u64, attributes, job: job.id });
        put(&mut into.batch, keys::document(tenant, id, &record.id), &record)
    }

    pub(super) fn answered_before<T: DeserializeOwned>(&self, tenant: &TenantId, once: Option<&Once>) -> Result<Option<T>, CatalogError> {
        let Some(once) = once else { return Ok(None) };
        let Some(record) = self.read::<IdempotencyRecord>(&keys::idempotency(tenant, &once.key))? else { return Ok(None) };
        if now() - record.created_at > IDEMPOTENCY_KEPT {
            return Ok(None);
        }
        if record.request != once.request {
            return Err(CatalogError::IdempotencyConflict);
        }
        Ok(Some(serde_json::from_value(record.answer)?))
    }

    pub(super) fn remember_answer(
        &self,
        batch: &mut Batch,
        tenant: &TenantId,
        once: Option<&Once>,
        answer: &impl Serialize,
    ) -> Result<(), CatalogError> {
        let Some(once) = once else { return Ok(()) };
        let record = IdempotencyRecord { request: once.request.clone(), answer: serde_json::to_value(answer)?, created_at: now() };
        put(batch, keys::idempotency(tenant, &once.key), &record)
    }
}

/// Whether these bytes are what the document already has or is about to have.
fn is_settled_with(record: &DocumentRecord, original: &BlobId) -> bool {
    let is_over = matches!(record.state, DocumentState::Failed { .. } | DocumentState::Cancelled);
    !is_over && record.latest_original().is_some_and(|(latest, _)| latest == original)
}

fn new_record(upload: &Upload) -> DocumentRecord {
    DocumentRecord {
        id: DocumentId::generate(),
        external_id: upload.external_id.clone(),
        parent: None,
        attributes: upload.attributes_over(&Attributes::default()),
        state: DocumentState::Queued,
        served: None,
        pending: None,
        created_at: now(),
        updated_at: now(),
    }
}

fn new_job(collection: &CollectionRecord, document: &DocumentRecord) -> JobRecord {
    JobRecord {
        id: JobId::generate(),
        tenant: collection.tenant.clone(),
        collection: collection.id.clone(),
        document: document.id.clone(),
        is_inside: document.parent.is_some(),
        state: JobState::Queued,
        attempts: 0,
        seq: None,
        chunks_reused: None,
        chunks_embedded: None,
        created_at: now(),
        updated_at: now(),
    }
}

fn check_external_id(external: &str) -> Result<(), CatalogError> {
    let is_plain = !external.is_empty() && external.len() <= EXTERNAL_ID_BYTES_MAX && !external.chars().any(char::is_control);
    if is_plain && !external.starts_with(DocumentId::PREFIX) {
        Ok(())
    } else {
        Err(CatalogError::BadName(format!(
            "the external id {external:?} must be 1 to {EXTERNAL_ID_BYTES_MAX} bytes without control characters and not start with \"doc_\""
        )))
    }
}
