//! Taking in what was found inside a document, as documents of their own.
//!
//! A file is known again by the document it is in, its name, and its number among files of that name.
//! So an attempt that a crash cut off, and a new version of the document around it, meet the
//! documents that are there: the same bytes stay, others are a new version, what is no longer inside goes.

use super::super::commit::superseded;
use super::super::family::{DEPTH_MAX, DESCENDANTS_MAX, Kin};
use super::super::remove::Notes;
use super::{Admission, Admitted, Catalog, CatalogError, Upload, is_settled_with, new_record, now, put};
use crate::blobs::BlobId;
use crate::collection::Collection;
use crate::keys;
use crate::records::{Attributes, Change, CollectionRecord, DocumentRecord, JobRecord, Parent};
use corpus::DocumentId;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Longest name of a document in bytes, made of two.
const NAME_BYTES_MAX: usize = 1024;
/// Documents taken in by one batch: with the largest metadata it stays below what a batch may hold.
const CHILDREN_PER_BATCH: usize = 128;

/// A file that was found inside a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildFile {
    /// As the document around it calls it.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A file with its place and its durable bytes.
struct Placed {
    parent: Parent,
    bytes: Vec<u8>,
    original: BlobId,
}

impl Catalog {
    /// Takes in what is inside the version that a job works on, in place of what was inside the version
    /// before; durable on return. Each gets metadata and ACL of the document around it, and a job unless
    /// its bytes are there already. Called before the job's result is committed: what a crash
    /// leaves undone, the job's next attempt does.
    ///
    /// # Errors
    /// [`CatalogError::Superseded`] when the job is no longer wanted, [`CatalogError::NestedTooDeep`]
    /// and [`CatalogError::TooManyInside`]: then nothing was taken in.
    pub fn admit_children(&self, job: &JobRecord, files: Vec<ChildFile>) -> Result<Vec<Admitted>, CatalogError> {
        let collection = self.collection(&job.tenant, job.collection.as_str()).map_err(superseded)?;
        let parent = self.wanted(&collection, job)?;
        if files.is_empty() && self.family(&collection, parent.root())?.is_empty() {
            return Ok(Vec::new());
        }
        let places = places(&parent, files.iter().map(|file| file.name.as_str()));
        self.check_room(&collection, &parent, &places)?;
        let write = |(parent, file): (Parent, ChildFile)| {
            let original = self.blobs.put(&collection.tenant, &file.bytes)?;
            Ok(Placed { parent, bytes: file.bytes, original })
        };
        let placed = places.into_iter().zip(files).map(write).collect::<Result<Vec<_>, CatalogError>>()?;
        self.settle_children(&collection, job, placed)
    }

    fn settle_children(&self, collection: &CollectionRecord, job: &JobRecord, placed: Vec<Placed>) -> Result<Vec<Admitted>, CatalogError> {
        let (turn, open) = self.turn_with(collection).map_err(superseded)?;
        let parent = self.wanted(collection, job)?;
        let places: Vec<Parent> = placed.iter().map(|one| one.parent.clone()).collect();
        let gone = self.check_room(collection, &parent, &places)?;
        let (mut admitted, mut released) = (Vec::new(), Vec::new());
        let mut placed = placed.into_iter().peekable();
        while placed.peek().is_some() {
            let mut admission = Admission::on(self.state(collection)?);
            placed.by_ref().take(CHILDREN_PER_BATCH).try_for_each(|one| self.admit_child(collection, &parent, one, &mut admission))?;
            let (_, some, unused) = self.commit_admission(collection, admission, None, Some(&open))?;
            admitted.extend(some);
            released.extend(unused);
        }
        let notes = self.delete_gone(collection, &open, &gone)?;
        drop(turn);
        self.finish_notes(collection, notes)?;
        self.settle()?;
        self.release_files(&collection.tenant, &released)?;
        Ok(admitted)
    }

    /// Whether so many may be inside this document. Gives those that were inside it and are no longer.
    fn check_room(
        &self,
        collection: &CollectionRecord,
        parent: &DocumentRecord,
        places: &[Parent],
    ) -> Result<Vec<DocumentId>, CatalogError> {
        if places.iter().any(|place| place.depth > DEPTH_MAX) {
            return Err(CatalogError::NestedTooDeep { levels_max: DEPTH_MAX });
        }
        let mut kept = BTreeSet::new();
        for place in places {
            kept.extend(self.read::<DocumentId>(&keys::child(&collection.tenant, &collection.id, place))?);
        }
        let family = self.family(collection, parent.root())?;
        let gone: Vec<_> =
            family.iter().filter(|kin| kin.parent == parent.id && !kept.contains(&kin.child)).map(|kin| &kin.child).collect();
        let is_elsewhere = |kin: &&Kin| kin.parent != parent.id && !gone.contains(&&kin.parent);
        if family.iter().filter(is_elsewhere).count() + places.len() > DESCENDANTS_MAX {
            return Err(CatalogError::TooManyInside { documents_max: DESCENDANTS_MAX });
        }
        Ok(gone.into_iter().cloned().collect())
    }

    fn admit_child(
        &self,
        collection: &CollectionRecord,
        parent: &DocumentRecord,
        placed: Placed,
        into: &mut Admission,
    ) -> Result<(), CatalogError> {
        let Some(like) = parent.pending.as_ref().map(|pending| &pending.attributes) else { return Err(CatalogError::Superseded) };
        let Placed { parent: place, bytes, original } = placed;
        // A delete may have removed the file between writing it and this turn.
        if !self.blobs.exists(&collection.tenant, &original) {
            self.blobs.put(&collection.tenant, &bytes)?;
        }
        let name = inner_name(&like.name, &place.name);
        let upload = Upload { bytes, name, metadata: Some(like.metadata.clone()), acl: Some(like.acl.clone()), external_id: None };
        let identity = keys::child(&collection.tenant, &collection.id, &place);
        let known = self.read::<DocumentId>(&identity)?;
        let record = known.map(|document| self.document_in(&into.batch, collection, &document)).transpose()?.flatten();
        let document = match record {
            Some(record) if is_settled_with(&record, &original) => {
                into.admitted.push(Admitted { document: record.id.clone(), job: record.latest_job().cloned(), is_known: true });
                record.id
            }
            Some(record) => {
                let document = record.id.clone();
                self.begin_version(collection, record, &upload, original, into)?;
                document
            }
            None => {
                let record = DocumentRecord { parent: Some(place), ..new_record(&upload) };
                let document = record.id.clone();
                put(&mut into.batch, identity, &document)?;
                into.state.documents += 1;
                into.growth.documents += 1;
                self.begin_version(collection, record, &upload, original, into)?;
                document
            }
        };
        self.align(collection, &document, like, into)
    }

    /// Gives what is inside a document the metadata and ACL that were said of it.
    pub(super) fn align_descendants(
        &self,
        collection: &CollectionRecord,
        document: &DocumentRecord,
        like: &Attributes,
        into: &mut Admission,
    ) -> Result<(), CatalogError> {
        let inside = self.descendants(collection, document)?;
        inside.iter().try_for_each(|record| self.align(collection, &record.id, like, into))
    }

    /// At once, also for a version that is still served: who may read a file is never wider than
    /// who may read the one around it.
    fn align(
        &self,
        collection: &CollectionRecord,
        document: &DocumentId,
        like: &Attributes,
        into: &mut Admission,
    ) -> Result<(), CatalogError> {
        let Some(mut record) = self.document_in(&into.batch, collection, document)? else { return Ok(()) };
        let before = record.clone();
        for attributes in std::iter::once(&mut record.attributes).chain(record.pending.iter_mut().map(|pending| &mut pending.attributes)) {
            attributes.metadata = like.metadata.clone();
            attributes.acl = like.acl.clone();
        }
        if record == before {
            return Ok(());
        }
        record.updated_at = now();
        put(&mut into.batch, keys::document(&collection.tenant, &collection.id, &record.id), &record)?;
        if record.served.is_some() {
            into.state.advance();
            let change = Change { document: Some(record.id.clone()), ..Change::default() };
            put(&mut into.batch, keys::change(&collection.tenant, &collection.id, into.state.seq), &change)?;
            into.published.push((into.state.seq, change, record));
        }
        Ok(())
    }

    fn delete_gone(&self, collection: &CollectionRecord, open: &Arc<Collection>, gone: &[DocumentId]) -> Result<Notes, CatalogError> {
        let mut documents = Vec::new();
        for record in self.records(collection, gone.to_vec())? {
            documents.extend(self.descendants(collection, &record)?);
            documents.push(record);
        }
        if documents.is_empty() {
            return Ok(Notes::new());
        }
        Ok(self.delete_all(collection, open, &documents, None)?.1)
    }
}

/// Where each file is, files of one name numbered in their order.
fn places<'n>(parent: &DocumentRecord, names: impl Iterator<Item = &'n str>) -> Vec<Parent> {
    let depth = parent.parent.as_ref().map_or(0, |above| above.depth).saturating_add(1);
    let mut seen = HashMap::new();
    let place = |name: &'n str| {
        let count = seen.entry(name).or_insert(0u32);
        let place = Parent { document: parent.id.clone(), root: parent.root().clone(), depth, name: name.to_owned(), ordinal: *count };
        *count += 1;
        place
    };
    names.map(place).collect()
}

/// Name of a document inside another: its end is what tells its format, so the beginning is cut.
fn inner_name(outer: &str, inner: &str) -> String {
    let mut name = format!("{outer}/{inner}");
    name.drain(..name.ceil_char_boundary(name.len().saturating_sub(NAME_BYTES_MAX)));
    name
}
