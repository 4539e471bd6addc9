//! Documents: records, identities, and served versions down to every chunk and vector.

use super::collections::Tally;
use super::read::{self, Found, Value};
use super::{Fix, Severity, Verifier, VerifyError};
use crate::blobs::BlobId;
use crate::chunks::PLACES_PER_PAGE;
use crate::keys;
use crate::records::{
    ChunkRecord, CollectionRecord, DocumentRecord, DocumentState, JobRecord, JobState, PendingVersion, Place, ServedVersion,
};
use corpus::{DocumentId, Embedding, Row, SpanIndex};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};

/// Rows read at a time: whole pages of places.
const ROWS_PER_PAGE: usize = 4 * PLACES_PER_PAGE;

/// What is wrong with a served version: where, code, sentence.
type Damage = (Vec<u8>, &'static str, String);

impl Verifier<'_> {
    /// External ids and content identities must lead to documents that answer to them.
    pub(super) fn check_identities(&mut self, at: &CollectionRecord) -> Result<(), VerifyError> {
        for kind in [b'E', b'F', b'H'] {
            let prefix = keys::below(kind, &at.tenant, &at.id);
            read::each(self.store, &prefix, |key, value| {
                let name = key.get(prefix.len()..).and_then(|name| std::str::from_utf8(name).ok());
                let document: Option<DocumentId> = value.ok().and_then(|value| serde_json::from_slice(value).ok());
                let record: Option<DocumentRecord> = match document {
                    Some(document) => read::record(self.store, &keys::document(&at.tenant, &at.id, &document))?,
                    None => None,
                };
                let is_child =
                    |record: &DocumentRecord| record.parent.as_ref().is_some_and(|parent| keys::child(&at.tenant, &at.id, parent) == key);
                let answers = record.is_some_and(|record| match (kind, name) {
                    (b'F', _) => is_child(&record),
                    (_, None) => false,
                    (b'E', Some(name)) => record.external_id.as_deref() == Some(name),
                    (_, Some(name)) => record.external_id.is_none() && originals_of(&record).any(|original| original.as_str() == name),
                });
                if !answers {
                    self.repairable("identity_dangling", key, "no document answers to this identity", Fix::Delete { key: key.to_vec() });
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    pub(super) fn check_documents(&mut self, at: &CollectionRecord, tally: &mut Tally) -> Result<(), VerifyError> {
        let prefix = keys::documents(&at.tenant, &at.id);
        read::each(self.store, &prefix, |key, value| self.check_document(at, tally, key, value))
    }

    fn check_document(&mut self, at: &CollectionRecord, tally: &mut Tally, key: &[u8], value: Value<'_>) -> Result<(), VerifyError> {
        tally.documents += 1;
        self.report.documents += 1;
        let record = match value.map(serde_json::from_slice::<DocumentRecord>) {
            Ok(Ok(record)) if keys::document(&at.tenant, &at.id, &record.id) == key => record,
            Ok(Ok(record)) => return self.unreadable(key, &format!("the record is of {}", record.id)),
            Ok(Err(error)) => return self.unreadable(key, &error.to_string()),
            Err(error) => return self.unreadable(key, &error.to_string()),
        };
        let usage = self.usage.entry(at.tenant.clone()).or_default();
        usage.documents += 1;
        usage.bytes += record.latest_original().map_or(0, |(_, bytes)| bytes);
        self.check_identity_of(at, &record)?;
        self.check_uses_of(at, &record)?;
        self.check_stand(at, key, &record)?;
        match &record.served {
            Some(served) => self.check_served(at, tally, key, &record, served),
            None => Ok(()),
        }
    }

    fn unreadable(&mut self, key: &[u8], why: &str) -> Result<(), VerifyError> {
        self.error("document_damaged", key, format!("the record of a document can't be read: {why}"));
        Ok(())
    }

    fn check_identity_of(&mut self, at: &CollectionRecord, record: &DocumentRecord) -> Result<(), VerifyError> {
        let identities: BTreeSet<Vec<u8>> = match (&record.parent, &record.external_id) {
            (Some(parent), _) => [keys::child(&at.tenant, &at.id, parent)].into(),
            (_, Some(external)) => [keys::external_id(&at.tenant, &at.id, external)].into(),
            (None, None) => originals_of(record).map(|original| keys::content(&at.tenant, &at.id, original)).collect(),
        };
        for key in identities {
            let found: Option<DocumentId> = read::record(self.store, &key)?;
            if found.as_ref() != Some(&record.id) {
                let fix = Fix::Put { key: key.clone(), value: serde_json::to_vec(&record.id)? };
                self.repairable("identity_missing", &key, format!("the identity doesn't lead to {}", record.id), fix);
            }
        }
        Ok(())
    }

    fn check_uses_of(&mut self, at: &CollectionRecord, record: &DocumentRecord) -> Result<(), VerifyError> {
        let blobs: BTreeSet<&BlobId> = blobs_of(record).collect();
        for blob in blobs {
            let key = keys::blob_use(&at.tenant, blob, &at.id, &record.id);
            if !matches!(read::get(self.store, &key)?, Some(Ok(_))) {
                let fix = Fix::Put { key: key.clone(), value: Vec::new() };
                self.repairable("use_missing", &key, format!("{} uses the file and this key doesn't say so", record.id), fix);
            }
        }
        Ok(())
    }

    /// State, versions and job must fit.
    fn check_stand(&mut self, at: &CollectionRecord, key: &[u8], record: &DocumentRecord) -> Result<(), VerifyError> {
        let fits = match record.state {
            DocumentState::Queued | DocumentState::Failed { .. } | DocumentState::Cancelled => record.pending.is_some(),
            DocumentState::Ready => record.served.is_some() && record.pending.is_none(),
        };
        if !fits {
            self.error("document_inconsistent", key, format!("the state {:?} doesn't fit the versions that there are", record.state));
        }
        match &record.pending {
            Some(pending) if record.state == DocumentState::Queued => self.check_job_of(at, record, pending),
            _ => Ok(()),
        }
    }

    /// A queued document whose job is gone would wait for ever.
    fn check_job_of(&mut self, at: &CollectionRecord, record: &DocumentRecord, pending: &PendingVersion) -> Result<(), VerifyError> {
        let (key, note) = (keys::job(&at.tenant, &pending.job), keys::unfinished(&pending.job, &at.tenant));
        let job: Option<JobRecord> = read::record(self.store, &key)?;
        if !job.is_some_and(|job| !job.state.has_ended() && job.document == record.id && job.collection == at.id) {
            let job = job_for(at, record, pending);
            let fix = Fix::Put { key: key.clone(), value: serde_json::to_vec(&job)? };
            self.repairable("job_missing", &key, format!("{} waits for a job that is not there", record.id), fix);
        }
        if !matches!(read::get(self.store, &note)?, Some(Ok(_))) {
            let fix = Fix::Put { key: note.clone(), value: Vec::new() };
            self.repairable("job_not_queued", &note, "the job of a queued document is not noted as unfinished", fix);
        }
        Ok(())
    }

    fn check_served(
        &mut self,
        at: &CollectionRecord,
        tally: &mut Tally,
        key: &[u8],
        record: &DocumentRecord,
        served: &ServedVersion,
    ) -> Result<(), VerifyError> {
        tally.chunks += served.rows.len() as u64;
        tally.bytes += served.bytes;
        tally.seq = tally.seq.max(served.seq);
        self.report.chunks += served.rows.len() as u64;
        for row in served.rows.iter() {
            if !tally.rows.insert(row) {
                self.error("row_shared", key, format!("row {row} belongs to another served version too"));
            }
        }
        let mut damage = Vec::new();
        let text = self.text_of(at, key, served, &mut damage)?;
        let index = text.as_deref().map(SpanIndex::new);
        let rows: Vec<(u32, Row)> = (0..).zip(served.rows.iter()).collect();
        for page in rows.chunks(ROWS_PER_PAGE) {
            self.check_chunks(at, record, served, page, text.as_deref().zip(index.as_ref()), &mut damage)?;
            self.check_vectors(at, page, &mut damage)?;
        }
        self.report_damage(at, record, served, damage);
        Ok(())
    }

    fn text_of(
        &self,
        at: &CollectionRecord,
        key: &[u8],
        served: &ServedVersion,
        damage: &mut Vec<Damage>,
    ) -> Result<Option<String>, VerifyError> {
        let mut wrong = |code, why: String| damage.push((key.to_vec(), code, why));
        let bytes = match self.blobs.get(&at.tenant, &served.text) {
            Ok(bytes) => bytes,
            Err(crate::blobs::BlobError::Io(error)) => return Err(error.into()),
            Err(error) => {
                wrong("text_damaged", error.to_string());
                return Ok(None);
            }
        };
        let Ok(text) = String::from_utf8(bytes) else {
            wrong("text_damaged", "the extracted text is not UTF-8".into());
            return Ok(None);
        };
        if (text.len() as u64, text.chars().count() as u64) != (served.text_bytes, served.text_chars) {
            wrong("text_damaged", "the extracted text has another length than the record says".into());
        }
        Ok(Some(text))
    }

    fn check_chunks(
        &self,
        at: &CollectionRecord,
        record: &DocumentRecord,
        served: &ServedVersion,
        page: &[(u32, Row)],
        text: Option<(&str, &SpanIndex<'_>)>,
        damage: &mut Vec<Damage>,
    ) -> Result<(), VerifyError> {
        let places = self.places(at, record, served, page, damage)?;
        let keys: Vec<_> = page.iter().map(|(_, row)| keys::chunk(&at.tenant, &at.id, *row)).collect();
        let values = read::multi_get(self.store, &keys)?;
        for (((ordinal, _), key), value) in page.iter().zip(keys).zip(values) {
            let place = places.get(&(*ordinal as usize / PLACES_PER_PAGE)).map(|page| page.get(*ordinal as usize % PLACES_PER_PAGE));
            if let Err((code, why)) = read_chunk(value).and_then(|chunk| fits(&chunk, record, place, text)) {
                damage.push((key, code, why));
            }
        }
        Ok(())
    }

    /// The pages of places of these rows; one that can't be read is damage and left out.
    fn places(
        &self,
        at: &CollectionRecord,
        record: &DocumentRecord,
        served: &ServedVersion,
        rows: &[(u32, Row)],
        damage: &mut Vec<Damage>,
    ) -> Result<BTreeMap<usize, Vec<Place>>, VerifyError> {
        let numbers: BTreeSet<u32> = rows.iter().map(|(ordinal, _)| ordinal / PLACES_PER_PAGE as u32).collect();
        let key = |number: &u32| keys::place_page(&at.tenant, &at.id, &record.id, served.number, *number);
        let keys: Vec<_> = numbers.iter().map(key).collect();
        let values = read::multi_get(self.store, &keys)?;
        let mut pages = BTreeMap::new();
        for ((number, key), value) in numbers.into_iter().zip(keys).zip(values) {
            match read_json(value, "places_missing", "places_damaged") {
                Ok(places) => drop(pages.insert(number as usize, places)),
                Err((code, why)) => damage.push((key, code, why)),
            }
        }
        Ok(pages)
    }

    fn check_vectors(&self, at: &CollectionRecord, page: &[(u32, Row)], damage: &mut Vec<Damage>) -> Result<(), VerifyError> {
        let keys: Vec<_> = page.iter().map(|(_, row)| keys::vector(&at.tenant, &at.id, *row)).collect();
        let values = read::multi_get(self.store, &keys)?;
        for (key, value) in keys.into_iter().zip(values) {
            if let Err((code, why)) = read_vector(value, at.model.dimension) {
                damage.push((key, code, why));
            }
        }
        Ok(())
    }

    /// A version whose original is whole can be made again.
    fn report_damage(&mut self, at: &CollectionRecord, record: &DocumentRecord, served: &ServedVersion, damage: Vec<Damage>) {
        if damage.is_empty() {
            return;
        }
        let latest = record.pending.as_ref().map_or(&served.original, |pending| &pending.original);
        let original_is_whole = self.blobs.check(&at.tenant, latest).is_ok();
        let severity = if original_is_whole { Severity::Repairable } else { Severity::Error };
        let fix = Fix::Reprocess { collection: Box::new(at.clone()), document: record.id.clone(), original_is_whole };
        let mut fix = Some(fix);
        for (key, code, why) in damage {
            self.find(severity, code, &key, format!("{}: {why}", record.id), fix.take());
        }
    }
}

fn read_chunk(value: Found) -> Result<ChunkRecord, (&'static str, String)> {
    read_json(value, "chunk_missing", "chunk_damaged")
}

fn read_json<T: DeserializeOwned>(value: Found, missing: &'static str, damaged: &'static str) -> Result<T, (&'static str, String)> {
    match value {
        None => Err((missing, "it is not there".into())),
        Some(Err(error)) => Err((damaged, error.to_string())),
        Some(Ok(value)) => serde_json::from_slice(&value).map_err(|error| (damaged, error.to_string())),
    }
}

/// A chunk must be its document's, and say what the text says at its place. `place` is `None` where the
/// page of places is damaged, which is a finding of its own.
fn fits(
    chunk: &ChunkRecord,
    record: &DocumentRecord,
    place: Option<Option<&Place>>,
    text: Option<(&str, &SpanIndex<'_>)>,
) -> Result<(), (&'static str, String)> {
    if chunk.document != record.id {
        return Err(("chunk_foreign", format!("the chunk is of {}", chunk.document)));
    }
    let Some(place) = place else { return Ok(()) };
    let Some(Place { span, .. }) = place else { return Err(("places_damaged", "the page of places is too short".into())) };
    let Some((text, index)) = text else { return Ok(()) };
    if index.span(span.bytes()).as_ref() != Some(span) || span.slice(text) != Some(chunk.text.as_str()) {
        return Err(("span_wrong", "the document's text says something else at the chunk's span".into()));
    }
    Ok(())
}

fn read_vector(value: Found, dimension: usize) -> Result<(), (&'static str, String)> {
    match value {
        None => Err(("vector_missing", "the vector is missing".into())),
        Some(Err(error)) => Err(("vector_damaged", error.to_string())),
        Some(Ok(value)) => {
            let (components, rest) = value.as_chunks::<4>();
            let vector = components.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            match Embedding::from_unit(vector, dimension) {
                Ok(_) if rest.is_empty() => Ok(()),
                Ok(_) => Err(("vector_damaged", "there are bytes behind the last component".into())),
                Err(error) => Err(("vector_damaged", error.to_string())),
            }
        }
    }
}

/// A job that processes the pending version again.
pub(super) fn job_for(at: &CollectionRecord, record: &DocumentRecord, pending: &PendingVersion) -> JobRecord {
    JobRecord {
        id: pending.job.clone(),
        tenant: at.tenant.clone(),
        collection: at.id.clone(),
        document: record.id.clone(),
        is_inside: record.parent.is_some(),
        state: JobState::Queued,
        attempts: 0,
        seq: None,
        chunks_reused: None,
        chunks_embedded: None,
        created_at: record.updated_at,
        updated_at: record.updated_at,
    }
}

pub(super) fn originals_of(record: &DocumentRecord) -> impl Iterator<Item = &BlobId> {
    let served = record.served.iter().map(|served| &served.original);
    served.chain(record.pending.iter().map(|pending| &pending.original))
}

pub(super) fn blobs_of(record: &DocumentRecord) -> impl Iterator<Item = &BlobId> {
    originals_of(record).chain(record.served.iter().map(|served| &served.text))
}
