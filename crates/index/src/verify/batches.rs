//! Batches: records that can be read, counts that are what is counted, items and results that belong to one.

use super::read::{self, Value};
use super::{Fix, Verifier, VerifyError};
use crate::batches::BatchRecord;
use crate::keys;
use corpus::{JobId, TenantId};
use std::collections::BTreeMap;

/// Items and results of a batch while they are read: what was put together of the last one so far.
#[derive(Default)]
struct Pieces {
    last: Option<(Vec<u8>, u32)>,
    keys: Vec<Vec<u8>>,
    json: Vec<u8>,
    is_damaged: bool,
}

/// Of each batch that has a result, how many it has, and how many of them failed.
type Counted = BTreeMap<(TenantId, JobId), (u32, u32)>;

impl Verifier<'_> {
    pub(super) fn check_batches(&mut self) -> Result<(), VerifyError> {
        self.check_pieces(keys::BATCH_ITEM, &mut Counted::default())?;
        let mut counted = Counted::default();
        self.check_pieces(keys::BATCH_RESULT, &mut counted)?;
        read::each(self.store, &[keys::BATCH], |key, value| self.check_batch(key, value, &counted))
    }

    fn check_batch(&mut self, key: &[u8], value: Value<'_>, counted: &Counted) -> Result<(), VerifyError> {
        self.report.batches += 1;
        let record = value.ok().and_then(|value| serde_json::from_slice::<BatchRecord>(value).ok());
        let Some(mut record) = record.filter(|record| keys::batch(&record.tenant, &record.id) == key) else {
            self.repairable("batch_damaged", key, "the record of a batch can't be read", Fix::Delete { key: key.to_vec() });
            return Ok(());
        };
        let (done, failed) = counted.get(&(record.tenant.clone(), record.id.clone())).copied().unwrap_or_default();
        if (record.done, record.failed) != (done, failed) {
            let detail = format!("it tells of {} results, {} failed, and has {done}, {failed} failed", record.done, record.failed);
            (record.done, record.failed) = (done, failed);
            self.repairable("batch_counts_wrong", key, detail, Fix::Put { key: key.to_vec(), value: serde_json::to_vec(&record)? });
        }
        Ok(())
    }

    fn check_pieces(&mut self, kind: u8, counted: &mut Counted) -> Result<(), VerifyError> {
        let mut pieces = Pieces::default();
        read::each(self.store, &[kind], |key, value| {
            let named = read::part(key, 0).zip(read::part(key, 1)).zip(keys::index_of_piece(key));
            let Some(((tenant, batch), index)) = named.filter(|((tenant, batch), index)| is_piece(key, kind, tenant, batch, *index)) else {
                return self.stray_piece(key);
            };
            if read::get(self.store, &keys::batch(&tenant, &batch))?.is_none() {
                return self.stray_piece(key);
            }
            let place = (keys::below_batch(kind, &tenant, &batch), index);
            if pieces.last.as_ref() != Some(&place) {
                self.judge(kind, std::mem::take(&mut pieces), counted);
                pieces.last = Some(place);
            }
            let part = u32::try_from(pieces.keys.len()).unwrap_or(u32::MAX);
            pieces.is_damaged |= value.is_err() || !key.ends_with(&part.to_be_bytes());
            pieces.keys.push(key.to_vec());
            pieces.json.extend_from_slice(value.unwrap_or_default());
            Ok(())
        })?;
        self.judge(kind, pieces, counted);
        Ok(())
    }

    fn stray_piece(&mut self, key: &[u8]) -> Result<(), VerifyError> {
        self.repairable("batch_stray", key, "it belongs to no batch", Fix::Delete { key: key.to_vec() });
        Ok(())
    }

    /// Looks at what the pieces of one item or result make together.
    fn judge(&mut self, kind: u8, pieces: Pieces, counted: &mut Counted) {
        let Some((below, index)) = pieces.last else { return };
        let json = serde_json::from_slice::<serde_json::Value>(&pieces.json).ok().filter(|_| !pieces.is_damaged);
        let place = [below.as_slice(), &index.to_be_bytes()].concat();
        match json {
            Some(result) if kind == keys::BATCH_RESULT => {
                if let Some(batch) = read::part(&below, 0).zip(read::part(&below, 1)) {
                    let (done, failed) = counted.entry(batch).or_default();
                    *done += 1;
                    *failed += u32::from(result.get("error").is_some());
                }
            }
            Some(_) => {}
            None if kind == keys::BATCH_RESULT => {
                for key in pieces.keys {
                    let detail = "the result can't be read; a batch that runs makes it again";
                    self.repairable("batch_result_damaged", &key, detail, Fix::Delete { key: key.clone() });
                }
            }
            None => self.error("batch_item_damaged", &place, "the item can't be read; it fails if it has no result yet"),
        }
    }
}

/// Whether the key is made of these parts and nothing else.
fn is_piece(key: &[u8], kind: u8, tenant: &TenantId, batch: &JobId, index: u32) -> bool {
    let pieces = keys::batch_pieces(kind, tenant, batch, index);
    key.starts_with(&pieces) && key.len() == pieces.len() + 4
}

#[cfg(test)]
mod tests {
    use super::super::tests::{fixture, open_catalog};
    use super::*;
    use crate::batches::{BatchAsker, BatchResult, BatchWork};
    use crate::records::JobState;
    use time::OffsetDateTime;

    #[test]
    fn batches_are_put_right() {
        let fixture = fixture();
        let catalog = open_catalog(fixture.data.path());
        let record = BatchRecord {
            id: JobId::generate(),
            tenant: fixture.at.tenant.clone(),
            asker: BatchAsker { key: "k".into(), principals: None, collections: None, tags: Vec::new() },
            work: BatchWork::Questions { collection: fixture.at.id.clone() },
            state: JobState::Running,
            total: 4,
            done: 0,
            failed: 0,
            prompt_tokens: 0,
            cached_tokens: 0,
            completion_tokens: 0,
            concurrency: 1,
            attempts: 0,
            is_cancelling: false,
            at_provider: None,
            created_at: OffsetDateTime::UNIX_EPOCH,
            updated_at: OffsetDateTime::UNIX_EPOCH,
        };
        let long = format!("{{\"answer\":\"{}\"}}", "x".repeat(200_000)).into_bytes();
        let record = catalog.create_batch(record, &vec![long.clone(); 4], None).unwrap();
        let result = |index, json: &[u8]| BatchResult {
            index,
            is_failed: index == 1,
            prompt_tokens: 0,
            cached_tokens: 0,
            completion_tokens: 0,
            json: json.to_vec(),
        };
        let results = [result(0, &long), result(1, b"{\"error\":{}}"), result(2, b"{\"answer\":2}")];
        catalog.commit_results(&record.tenant, &record.id, &results).unwrap();
        drop(catalog);
        assert!(fixture.codes().is_empty(), "{:?}", fixture.codes());
        let (tenant, id) = (&record.tenant, &record.id);
        fixture.change(|batch, _| {
            batch.delete(keys::batch_piece(keys::BATCH_RESULT, tenant, id, 0, 1));
            batch.put(keys::batch_piece(keys::BATCH_RESULT, tenant, &JobId::generate(), 0, 0), "{}");
            batch.put(keys::batch(tenant, &JobId::generate()), "{");
        });
        fixture.is_repaired(&["batch_result_damaged", "batch_stray", "batch_damaged", "batch_counts_wrong"]);
        let catalog = open_catalog(fixture.data.path());
        let repaired = catalog.batch(tenant, id).unwrap();
        assert_eq!((repaired.done, repaired.failed), (2, 1));
        assert_eq!(catalog.answered_items(&repaired).unwrap().iter().collect::<Vec<_>>(), [1, 2], "what is lost is made again");
        drop(catalog);
        fixture.damage(&keys::batch_piece(keys::BATCH_ITEM, tenant, id, 3, 0));
        assert_eq!(fixture.codes(), ["batch_item_damaged"]);
    }
}
