//! Where traces lie: a database of its own, never synced, bounded in age and bytes.
//!
//! Four key spaces: traces by their stamp (microseconds, each once), heads by tenant from the newest on, stamps by
//! tenant and trace id, stamps by tenant, collection and document. The last is written first and removed last: what a
//! crash leaves is a key that leads nowhere, never a trace that its document doesn't lead to.
//!
//! Writing and purging take turns, and a trace is written only while all of its documents are there: one of a document
//! that is deleted meanwhile is either found by the purge or not written. A record that can't be read goes like any.

use super::record::{Head, Trace};
use corpus::{CollectionId, DocumentId, TenantId, TraceId};
use index::shelf::{Shelf, Shelves};
use index::{Catalog, CatalogError};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;

/// Heads read at a time, and looked at for one page of a list at most.
const PAGE: usize = 256;
const LOOKED_AT_MAX: usize = 10_000;

/// A trace in a list, and where the list goes on behind it.
pub(crate) struct Listed {
    pub(crate) stamp: u64,
    pub(crate) head: Head,
}

/// The database.
pub(crate) struct TraceStore {
    records: Shelf,
    heads: Shelf,
    ids: Shelf,
    documents: Shelf,
    catalog: Arc<Catalog>,
    retention: Duration,
    bytes_max: u64,
    turn: Mutex<State>,
}

struct State {
    last_stamp: u64,
    /// Of keys and values in all four.
    bytes: u64,
}

/// What of a trace says which keys lead to it. It is read of what other versions wrote, too.
#[derive(Deserialize)]
struct Leads {
    head: LeadsHead,
    documents: BTreeSet<String>,
}

#[derive(Deserialize)]
struct LeadsHead {
    trace_id: TraceId,
    tenant: TenantId,
    collection: CollectionId,
}

impl TraceStore {
    pub(crate) fn open(shelves: &Shelves, catalog: Arc<Catalog>, retention: Duration, bytes_max: u64) -> anyhow::Result<Self> {
        let records = shelves.shelf("traces")?;
        let (heads, ids, documents) = (shelves.shelf("trace_heads")?, shelves.shelf("trace_ids")?, shelves.shelf("trace_documents")?);
        let stamps = records.scan(b"", None, usize::MAX, |key, _| stamp_of(key))?;
        let mut state = State { last_stamp: stamps.last().copied().flatten().unwrap_or_default(), bytes: 0 };
        for shelf in [&records, &heads, &ids, &documents] {
            state.bytes += shelf.scan(b"", None, usize::MAX, bytes_of)?.iter().sum::<u64>();
        }
        Ok(Self { records, heads, ids, documents, catalog, retention, bytes_max, turn: Mutex::new(state) })
    }

    /// Writes a trace, unless something that it tells of was deleted, and removes what is over.
    pub(super) fn put(&self, trace: Trace) -> anyhow::Result<()> {
        let mut state = self.turn();
        let Trace { head, documents, .. } = &trace;
        if !self.gone(&head.tenant, &head.collection, documents)?.is_empty() || !self.has(&head.tenant, &head.collection)? {
            return Ok(());
        }
        let now_us = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1000;
        let stamp = u64::try_from(now_us).unwrap_or_default().max(state.last_stamp + 1);
        state.last_stamp = stamp;
        let names: Vec<&str> = documents.iter().map(DocumentId::as_str).collect();
        for key in document_keys(&head.tenant, &head.collection, &names, stamp) {
            keep(&self.documents, &key, b"", &mut state)?;
        }
        keep(&self.records, &stamp.to_be_bytes(), &serde_json::to_vec(&trace)?, &mut state)?;
        keep(&self.ids, &id_key(&head.tenant, &head.trace_id, stamp), b"", &mut state)?;
        keep(&self.heads, &head_key(&head.tenant, stamp), &serde_json::to_vec(head)?, &mut state)?;
        self.prune(&mut state)
    }

    /// Removes what is too old or too much.
    pub(crate) fn keep_house(&self) -> anyhow::Result<()> {
        self.prune(&mut self.turn())
    }

    fn prune(&self, state: &mut State) -> anyhow::Result<()> {
        let now_us = u64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1000).unwrap_or_default();
        let oldest_kept = now_us.saturating_sub(u64::try_from(self.retention.as_micros()).unwrap_or(u64::MAX));
        loop {
            let first = self.records.scan(b"", None, 1, |key, _| stamp_of(key))?;
            let Some(stamp) = first.first().copied().flatten() else { return Ok(()) };
            if stamp >= oldest_kept && state.bytes <= self.bytes_max {
                return Ok(());
            }
            self.remove_stamp(stamp, state)?;
        }
    }

    /// Whether it was there.
    fn remove_stamp(&self, stamp: u64, state: &mut State) -> anyhow::Result<bool> {
        let key = stamp.to_be_bytes();
        let Some(record) = self.records.get(&key)? else { return Ok(false) };
        let (heads, ids, documents) = match serde_json::from_slice::<Leads>(&record) {
            Ok(Leads { head: LeadsHead { trace_id, tenant, collection }, documents }) => {
                let names: Vec<&str> = documents.iter().map(String::as_str).collect();
                let ids = vec![id_key(&tenant, &trace_id, stamp)];
                (vec![head_key(&tenant, stamp)], ids, document_keys(&tenant, &collection, &names, stamp))
            }
            // Damaged: what leads to it is looked for everywhere.
            Err(_) => {
                let newest_first = |shelf: &Shelf| keys_that(shelf, |key| newest_first_of(key) == Some(stamp));
                let documents = keys_that(&self.documents, |key| stamp_of(key) == Some(stamp))?;
                (newest_first(&self.heads)?, newest_first(&self.ids)?, documents)
            }
        };
        heads.iter().try_for_each(|key| forget(&self.heads, key, state))?;
        ids.iter().try_for_each(|key| forget(&self.ids, key, state))?;
        forget(&self.records, &key, state)?;
        documents.iter().try_for_each(|key| forget(&self.documents, key, state))?;
        Ok(true)
    }

    /// Traces of a tenant behind a stamp, newest first, of which `is_meant`; and the stamp where the list goes on.
    pub(crate) fn list(
        &self,
        tenant: &TenantId,
        after: Option<u64>,
        limit: usize,
        mut is_meant: impl FnMut(&Head) -> bool,
    ) -> anyhow::Result<(Vec<Listed>, Option<u64>)> {
        let prefix = prefix(&[tenant.as_str()]);
        let (mut found, mut after) = (Vec::new(), after.map(|stamp| head_key(tenant, stamp)));
        let mut last = None;
        for _ in 0..LOOKED_AT_MAX / PAGE {
            let page = self.heads.scan(&prefix, after.as_deref(), PAGE, |key, value| {
                (key.to_vec(), newest_first_of(key), serde_json::from_slice::<Head>(value).ok())
            })?;
            let is_last = page.len() < PAGE;
            for (key, stamp, head) in page {
                (after, last) = (Some(key), stamp);
                let Some((stamp, head)) = stamp.zip(head).filter(|(_, head)| is_meant(head)) else { continue };
                found.push(Listed { stamp, head });
                if found.len() > limit {
                    found.truncate(limit);
                    let next = found.last().map(|listed| listed.stamp);
                    return Ok((found, next));
                }
            }
            if is_last {
                return Ok((found, None));
            }
        }
        Ok((found, last))
    }

    /// The newest trace under this id that `may_see`.
    pub(crate) fn get(&self, tenant: &TenantId, id: &TraceId, may_see: impl Fn(&Trace) -> bool) -> anyhow::Result<Option<Trace>> {
        let mut after = None;
        loop {
            let stamps = self.stamps_of(tenant, id, after)?;
            for stamp in &stamps {
                if let Some(trace) = self.read(*stamp)?.filter(&may_see) {
                    return Ok(Some(trace));
                }
            }
            let Some(last) = stamps.last() else { return Ok(None) };
            after = Some(*last);
        }
    }

    /// Removes all traces under this id that `may_see`; how many.
    pub(crate) fn remove(&self, tenant: &TenantId, id: &TraceId, may_see: impl Fn(&Head) -> bool) -> anyhow::Result<u64> {
        let mut state = self.turn();
        let (mut removed, mut after) = (0, None);
        loop {
            let stamps = self.stamps_of(tenant, id, after)?;
            for stamp in &stamps {
                if self.read(*stamp)?.is_some_and(|trace| may_see(&trace.head)) {
                    removed += u64::from(self.remove_stamp(*stamp, &mut state)?);
                }
            }
            let Some(last) = stamps.last() else { return Ok(removed) };
            after = Some(*last);
        }
    }

    fn read(&self, stamp: u64) -> anyhow::Result<Option<Trace>> {
        Ok(self.records.get(&stamp.to_be_bytes())?.and_then(|record| serde_json::from_slice(&record).ok()))
    }

    /// A page of those under this id, the newest first, behind a stamp: whoever asks may give many requests the same id.
    fn stamps_of(&self, tenant: &TenantId, id: &TraceId, after: Option<u64>) -> anyhow::Result<Vec<u64>> {
        let after = after.map(|stamp| id_key(tenant, id, stamp));
        let found = self.ids.scan(&prefix(&[tenant.as_str(), id.as_str()]), after.as_deref(), PAGE, |key, _| newest_first_of(key))?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Removes the traces of documents, or of a collection, that are not there any more; how many.
    pub(crate) fn purge(&self, tenant: &TenantId, collection: &CollectionId) -> anyhow::Result<u64> {
        let mut state = self.turn();
        let mut removed = 0;
        for key in self.orphans(tenant, collection)? {
            if let Some(stamp) = stamp_of(&key) {
                removed += u64::from(self.remove_stamp(stamp, &mut state)?);
            }
            forget(&self.documents, &key, &mut state)?;
        }
        Ok(removed)
    }

    /// How many there still are.
    pub(crate) fn left(&self, tenant: &TenantId, collection: &CollectionId) -> anyhow::Result<u64> {
        let _turn = self.turn();
        let stamps: BTreeSet<u64> = self.orphans(tenant, collection)?.iter().filter_map(|key| stamp_of(key)).collect();
        Ok(stamps.len() as u64)
    }

    /// Keys that lead from what is gone to traces: all of a collection that is not there, or of its documents that are
    /// not. Each document is looked for once, however many traces tell of it.
    fn orphans(&self, tenant: &TenantId, collection: &CollectionId) -> anyhow::Result<Vec<Vec<u8>>> {
        let below = prefix(&[tenant.as_str(), collection.as_str()]);
        if !self.has(tenant, collection)? {
            return Ok(self.documents.scan(&below, None, usize::MAX, |key, _| key.to_vec())?);
        }
        let (mut found, mut after): (Vec<Vec<u8>>, Option<Vec<u8>>) = (Vec::new(), None);
        loop {
            let next = self.documents.scan(&below, after.as_deref(), 1, |key, _| document_of(key, below.len()).map(str::to_owned))?;
            let Some(name) = next.into_iter().next() else { return Ok(found) };
            let name = name.unwrap_or_default();
            let of_document = prefix(&[tenant.as_str(), collection.as_str(), &name]);
            if let Ok(document) = name.parse::<DocumentId>()
                && !self.gone(tenant, collection, &BTreeSet::from([document]))?.is_empty()
            {
                found.extend(self.documents.scan(&of_document, None, usize::MAX, |key, _| key.to_vec())?);
            }
            // Behind every stamp of this document.
            after = Some([of_document.as_slice(), &[0xff; 9]].concat());
        }
    }

    pub(super) fn has(&self, tenant: &TenantId, collection: &CollectionId) -> anyhow::Result<bool> {
        match self.catalog.collection(tenant, collection.as_str()) {
            Err(CatalogError::NotFound { .. }) => Ok(false),
            found => Ok(found.map(|_| true)?),
        }
    }

    /// Those of the documents that are not there.
    pub(super) fn gone(
        &self,
        tenant: &TenantId,
        collection: &CollectionId,
        documents: &BTreeSet<DocumentId>,
    ) -> anyhow::Result<BTreeSet<DocumentId>> {
        let record = match self.catalog.collection(tenant, collection.as_str()) {
            Err(CatalogError::NotFound { .. }) => return Ok(documents.clone()),
            found => found?,
        };
        let mut gone = BTreeSet::new();
        for document in documents {
            match self.catalog.document(&record, document.as_str()) {
                Err(CatalogError::NotFound { .. }) => _ = gone.insert(document.clone()),
                found => drop(found?),
            }
        }
        Ok(gone)
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.turn().bytes
    }

    /// All keys of all four.
    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        let count = |shelf: &Shelf| shelf.scan(b"", None, usize::MAX, |_, _| ()).unwrap().len();
        [&self.records, &self.heads, &self.ids, &self.documents].map(count).iter().sum()
    }

    #[cfg(test)]
    pub(super) fn damage_newest(&self, damage: &dyn Fn(Vec<u8>) -> Vec<u8>) {
        let key = self.turn().last_stamp.to_be_bytes();
        self.records.put(&key, &damage(self.records.get(&key).unwrap().unwrap())).unwrap();
    }

    #[cfg(test)]
    pub(super) fn remove_newest(&self) {
        let mut state = self.turn();
        let stamp = state.last_stamp;
        assert!(self.remove_stamp(stamp, &mut state).unwrap());
    }

    fn turn(&self) -> MutexGuard<'_, State> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn prefix(parts: &[&str]) -> Vec<u8> {
    parts.iter().flat_map(|part| part.bytes().chain([0])).collect()
}

/// The newest come first.
fn head_key(tenant: &TenantId, stamp: u64) -> Vec<u8> {
    [prefix(&[tenant.as_str()]).as_slice(), &(!stamp).to_be_bytes()].concat()
}

fn id_key(tenant: &TenantId, id: &TraceId, stamp: u64) -> Vec<u8> {
    [prefix(&[tenant.as_str(), id.as_str()]).as_slice(), &(!stamp).to_be_bytes()].concat()
}

/// One key a document, and one for the collection, which may be all that there is.
fn document_keys(tenant: &TenantId, collection: &CollectionId, documents: &[&str], stamp: u64) -> Vec<Vec<u8>> {
    let key = |document: &&str| [prefix(&[tenant.as_str(), collection.as_str(), document]).as_slice(), &stamp.to_be_bytes()].concat();
    documents.iter().chain([&""]).map(key).collect()
}

fn keep(shelf: &Shelf, key: &[u8], value: &[u8], state: &mut State) -> anyhow::Result<()> {
    shelf.put(key, value)?;
    state.bytes += bytes_of(key, value);
    Ok(())
}

fn forget(shelf: &Shelf, key: &[u8], state: &mut State) -> anyhow::Result<()> {
    let Some(value) = shelf.get(key)? else { return Ok(()) };
    shelf.delete(key)?;
    state.bytes = state.bytes.saturating_sub(bytes_of(key, &value));
    Ok(())
}

fn bytes_of(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}

fn keys_that(shelf: &Shelf, is_meant: impl Fn(&[u8]) -> bool) -> anyhow::Result<Vec<Vec<u8>>> {
    let found = shelf.scan(b"", None, usize::MAX, |key, _| is_meant(key).then(|| key.to_vec()))?;
    Ok(found.into_iter().flatten().collect())
}

fn stamp_of(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*key.last_chunk::<8>()?))
}

fn newest_first_of(key: &[u8]) -> Option<u64> {
    Some(!stamp_of(key)?)
}

/// The document in a key, behind the prefix of its collection.
fn document_of(key: &[u8], prefix: usize) -> Option<&str> {
    let rest = key.get(prefix..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(rest.get(..end)?).ok()
}
