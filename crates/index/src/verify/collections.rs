//! Collections: their records and names, counters against what is counted, the change log, and rows or
//! records that belong to nothing.

use super::read::{self, Value};
use super::{Fix, Verifier, VerifyError};
use crate::TenantUsage;
use crate::keys;
use crate::records::{Change, CollectionRecord, CollectionState, DocumentRecord, Unserved};
use corpus::{CollectionId, DocumentId, Row, TenantId};
use roaring::RoaringBitmap;
use std::collections::BTreeSet;

/// Kinds of keys that begin with tenant and collection.
const BELOW_COLLECTIONS: [u8; 12] = *b"SDEFHKVPLGXZ";
/// All kinds of keys.
const KINDS: [u8; 28] = *b"CNSDEFHKVPLJUGXBIARQMTWYOZer";

/// What a collection's documents add up to.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) documents: u64,
    pub(super) chunks: u64,
    pub(super) bytes: u64,
    /// Highest change that a served version names.
    pub(super) seq: u64,
    /// Rows of served versions.
    pub(super) rows: RoaringBitmap,
    /// Rows that a note keeps until the next start.
    pub(super) staged: RoaringBitmap,
    /// Versions whose places a note keeps until then.
    staged_places: BTreeSet<(DocumentId, u32)>,
}

/// The numbers in a change log.
#[derive(Default)]
struct Log {
    first: Option<u64>,
    last: u64,
    /// First number from which nothing is missing.
    unbroken_from: u64,
}

impl Verifier<'_> {
    pub(super) fn check_collections(&mut self) -> Result<(), VerifyError> {
        read::each(self.store, b"C", |key, value| self.read_collection(key, value))?;
        read::each(self.store, b"N", |key, value| self.check_name(key, value))?;
        let records: Vec<CollectionRecord> = self.collections.values().cloned().collect();
        records.iter().try_for_each(|record| self.check_collection(record))?;
        self.check_usage()
    }

    /// The counters that quotas go by. A tenant without any is counted when they are needed.
    fn check_usage(&mut self) -> Result<(), VerifyError> {
        // What can't be read can't be counted, and a collection on its way out gives back page by page.
        if self.report.errors > 0 || self.first_key_after(&keys::all_deleted(), &[])?.is_some() {
            return Ok(());
        }
        let counted = std::mem::take(&mut self.usage);
        read::each(self.store, &keys::all_of(b'Q'), |key, value| {
            let stored = value.ok().and_then(|value| serde_json::from_slice::<TenantUsage>(value).ok());
            let usage = read::part::<TenantId>(key, 0).and_then(|tenant| counted.get(&tenant).copied()).unwrap_or_default();
            if stored != Some(usage) {
                let fix = Fix::Put { key: key.to_vec(), value: serde_json::to_vec(&usage)? };
                self.repairable("usage_wrong", key, format!("the tenant's counters are {stored:?}, counted {usage:?}"), fix);
            }
            Ok(())
        })
    }

    fn read_collection(&mut self, key: &[u8], value: Value<'_>) -> Result<(), VerifyError> {
        self.report.collections += 1;
        let record = value.ok().and_then(|value| serde_json::from_slice::<CollectionRecord>(value).ok());
        match record {
            Some(record) if keys::collection(&record.tenant, &record.id) == key => {
                self.usage.entry(record.tenant.clone()).or_default().collections += 1;
                self.collections.insert((record.tenant.clone(), record.id.clone()), record);
            }
            _ => self.error("collection_damaged", key, "the record of a collection can't be read"),
        }
        Ok(())
    }

    fn check_name(&mut self, key: &[u8], value: Value<'_>) -> Result<(), VerifyError> {
        let id: Option<CollectionId> = value.ok().and_then(|value| serde_json::from_slice(value).ok());
        let (tenant, name) = (read::part::<TenantId>(key, 0), read::part::<String>(key, 1));
        let record = tenant.zip(id).and_then(|at| self.collections.get(&at));
        if record.map(|record| record.name.as_str()) != name.as_deref() || name.is_none() {
            let fix = Fix::Delete { key: key.to_vec() };
            self.repairable("name_dangling", key, "the name leads to no collection of that name", fix);
        }
        Ok(())
    }

    fn check_collection(&mut self, record: &CollectionRecord) -> Result<(), VerifyError> {
        let name = keys::collection_name(&record.tenant, &record.name);
        let named: Option<CollectionId> = read::record(self.store, &name)?;
        if named.as_ref() != Some(&record.id) {
            let fix = Fix::Put { key: name.clone(), value: serde_json::to_vec(&record.id)? };
            self.repairable("name_missing", &name, "the collection's name doesn't lead to it", fix);
        }
        let mut tally = Tally::default();
        self.check_staged(record, &mut tally)?;
        self.check_identities(record)?;
        self.check_documents(record, &mut tally)?;
        let next_row = self.check_stray_rows(record, &tally)?;
        self.check_stray_places(record, &tally)?;
        let log = self.check_log(record)?;
        let state = self.check_state(record, &tally, next_row, &log)?;
        self.check_text_view(record, &tally, state.seq);
        self.check_vector_view(record, &tally, state.seq)
    }

    fn check_staged(&mut self, record: &CollectionRecord, tally: &mut Tally) -> Result<(), VerifyError> {
        let prefix = keys::unserved_of(&record.tenant, &record.id);
        read::each(self.store, &prefix, |key, value| {
            match value.ok().and_then(|value| serde_json::from_slice::<Unserved>(value).ok()) {
                Some(Unserved { rows, places, .. }) => {
                    tally.staged.extend(rows.iter());
                    tally.staged_places.extend(places);
                    let detail = format!("{} rows wait to be removed at the next start", rows.len());
                    let fix = Fix::DeleteRows { collection: Box::new(record.clone()), rows, note: key.to_vec() };
                    self.note("staged", key, detail, Some(fix));
                }
                None => self.repairable("staging_damaged", key, "the note can't be read", Fix::Delete { key: key.to_vec() }),
            }
            Ok(())
        })
    }

    /// Chunks and vectors that no served version has. Returns the number after the highest row.
    fn check_stray_rows(&mut self, record: &CollectionRecord, tally: &Tally) -> Result<u64, VerifyError> {
        let mut next_row = tally.rows.max().map_or(0, |row| u64::from(row) + 1);
        for (what, prefix) in [("chunk", keys::chunks(&record.tenant, &record.id)), ("vector", keys::vectors(&record.tenant, &record.id))] {
            read::each(self.store, &prefix, |key, _| {
                let row = keys::row_of(key).filter(|_| key.len() == prefix.len() + size_of::<Row>());
                next_row = next_row.max(row.map_or(0, |row| u64::from(row) + 1));
                if row.is_none_or(|row| !tally.rows.contains(row) && !tally.staged.contains(row)) {
                    let fix = Fix::Delete { key: key.to_vec() };
                    self.repairable("row_stray", key, format!("the {what} belongs to no served version"), fix);
                }
                Ok(())
            })?;
        }
        Ok(next_row)
    }

    /// Pages of places of versions that are neither served nor noted.
    fn check_stray_places(&mut self, at: &CollectionRecord, tally: &Tally) -> Result<(), VerifyError> {
        let prefix = keys::below(b'P', &at.tenant, &at.id);
        let mut last: Option<((DocumentId, u32), bool)> = None;
        read::each(self.store, &prefix, |key, _| {
            let version = keys::version_of_places(key, prefix.len());
            let is_known = match (&version, &last) {
                (Some(version), Some((seen, is_known))) if version == seen => *is_known,
                (Some((document, number)), _) => {
                    let record: Option<DocumentRecord> = read::record(self.store, &keys::document(&at.tenant, &at.id, document))?;
                    let is_served = record.and_then(|record| record.served).is_some_and(|served| served.number == *number);
                    is_served || tally.staged_places.contains(&(document.clone(), *number))
                }
                (None, _) => false,
            };
            if !is_known {
                let fix = Fix::Delete { key: key.to_vec() };
                self.repairable("places_stray", key, "the places belong to no served version", fix);
            }
            last = version.map(|version| (version, is_known));
            Ok(())
        })
    }

    fn check_log(&mut self, record: &CollectionRecord) -> Result<Log, VerifyError> {
        let mut log = Log::default();
        let prefix = keys::changes(&record.tenant, &record.id);
        read::each(self.store, &prefix, |key, value| {
            let number = key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes));
            let is_whole = value.is_ok_and(|value| serde_json::from_slice::<Change>(value).is_ok());
            let Some(number) = number.filter(|_| is_whole) else {
                self.repairable("change_damaged", key, "the change can't be read", Fix::Delete { key: key.to_vec() });
                return Ok(());
            };
            if log.first.is_none() || number != log.last + 1 {
                log.unbroken_from = number;
            }
            log.first = log.first.or(Some(number));
            log.last = number;
            Ok(())
        })?;
        Ok(log)
    }

    fn check_state(&mut self, record: &CollectionRecord, tally: &Tally, next_row: u64, log: &Log) -> Result<CollectionState, VerifyError> {
        let key = keys::state(&record.tenant, &record.id);
        let stored: Option<CollectionState> = read::record(self.store, &key)?;
        let told = stored.unwrap_or_default();
        let seq = told.seq.max(log.last).max(tally.seq);
        let log_is_whole = told.seq == log.last && log.unbroken_from <= told.log_start.max(1) || told.seq == 0 && log.first.is_none();
        let counted = CollectionState {
            seq,
            // Other counters, another past.
            mark: if told.seq == seq { told.mark } else { CollectionState::draw_mark() },
            log_start: match log_is_whole {
                true => told.log_start,
                // Views that are older than this are rebuilt from the chunks.
                false if seq == log.last => log.unbroken_from,
                false => seq + 1,
            },
            next_row: told.next_row.max(Row::try_from(next_row).unwrap_or(Row::MAX)),
            documents: tally.documents,
            chunks: tally.chunks,
            bytes: tally.bytes,
        };
        if stored != Some(counted) {
            let detail = match stored {
                Some(stored) => format!("the counters say {stored:?}, counted were {counted:?}"),
                None => "the counters are missing or damaged".to_owned(),
            };
            self.repairable("counters_wrong", &key, detail, Fix::Put { key: key.clone(), value: serde_json::to_vec(&counted)? });
        }
        Ok(counted)
    }

    /// Records below collections that are not there, and kinds of keys that this version doesn't know.
    pub(super) fn check_strangers(&mut self) -> Result<(), VerifyError> {
        for kind in BELOW_COLLECTIONS {
            self.check_strangers_of(kind)?;
        }
        let mut kind = Vec::new();
        // One look a kind: the first key behind the last kind's keys.
        while let Some(key) = self.first_key_after(b"", &kind)? {
            let first = key.first().copied().unwrap_or_default();
            if !KINDS.contains(&first) {
                self.note("kind_unknown", &key, "records of a kind that this version doesn't check", None);
            }
            let next = end_of(&[first]);
            if next == kind {
                break;
            }
            kind = next;
        }
        Ok(())
    }

    fn check_strangers_of(&mut self, kind: u8) -> Result<(), VerifyError> {
        let mut after = Vec::new();
        while let Some(key) = self.first_key_after(&[kind], &after)? {
            let place = read::scope(&key);
            if kind == b'X' && place.is_some() {
                self.note("deletion_unfinished", &key, "a deleted collection is removed to the end at the next start", None);
                after = key;
                continue;
            }
            match place {
                Some((tenant, collection)) if self.is_known(&tenant, &collection)? => {
                    // Never backwards: a damaged key may name a collection and not lie with it.
                    after = end_of(&keys::below(kind, &tenant, &collection)).max(key);
                }
                _ => {
                    self.repairable("stranger", &key, "the record belongs to no collection", Fix::Delete { key: key.clone() });
                    after = key;
                }
            }
        }
        Ok(())
    }

    /// Whether the collection is there, or on its way out, or its record is damaged and so not judged.
    pub(super) fn is_known(&self, tenant: &TenantId, collection: &CollectionId) -> Result<bool, VerifyError> {
        let is_there = |key: Vec<u8>| Ok::<_, VerifyError>(read::get(self.store, &key)?.is_some());
        Ok(self.collections.contains_key(&(tenant.clone(), collection.clone()))
            || is_there(keys::deleted(tenant, collection))?
            || is_there(keys::collection(tenant, collection))?)
    }

    fn first_key_after(&self, prefix: &[u8], after: &[u8]) -> Result<Option<Vec<u8>>, VerifyError> {
        match self.store.scan(prefix, Some(after), 1) {
            Ok(page) => Ok(page.into_iter().next().map(|(key, _)| key)),
            Err(crate::store::StoreError::Corrupt { key, .. }) => Ok(Some(key)),
            Err(error) => Err(error.into()),
        }
    }
}

/// A key behind every key that starts with these bytes: parts are text or short numbers, so no key
/// goes on with so many of the highest byte.
fn end_of(prefix: &[u8]) -> Vec<u8> {
    [prefix, &[0xff; 16]].concat()
}
