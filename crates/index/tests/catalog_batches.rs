//! Batches in the catalog: durable before they are acknowledged, no item answered twice, gone when they are over.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "a test fails by panicking")]

mod support;

use corpus::{CollectionId, JobId, TenantId};
use index::batches::{BatchAsker, BatchRecord, BatchResult, BatchWork};
use index::records::JobState;
use index::store::MemoryDisk;
use index::{Catalog, CatalogError, Once, Retention};
use ragstone_index as index;
use support::{collection, open};
use time::{Duration, OffsetDateTime};

fn batch(collection: &CollectionId, total: u32) -> BatchRecord {
    BatchRecord {
        id: JobId::generate(),
        tenant: TenantId::default(),
        asker: BatchAsker { key: "k".into(), principals: None, collections: None, tags: Vec::new() },
        work: BatchWork::Questions { collection: collection.clone() },
        state: JobState::Queued,
        total,
        done: 0,
        failed: 0,
        prompt_tokens: 0,
        cached_tokens: 0,
        completion_tokens: 0,
        concurrency: 1,
        attempts: 0,
        is_cancelling: false,
        at_provider: None,
        created_at: OffsetDateTime::now_utc(),
        updated_at: OffsetDateTime::now_utc(),
    }
}

/// Longer than one value may be.
fn long(word: &str) -> Vec<u8> {
    format!("\"{}\"", word.repeat(100_000)).into_bytes()
}

fn result(index: u32, json: &[u8]) -> BatchResult {
    BatchResult { index, is_failed: index == 2, prompt_tokens: 5, cached_tokens: 3, completion_tokens: 1, json: json.to_vec() }
}

fn pages(catalog: &Catalog, record: &BatchRecord, limit: usize, bytes_max: usize) -> Vec<Vec<(u32, Vec<u8>)>> {
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = catalog.batch_results(record, after, limit, bytes_max).unwrap();
        after = page.items.last().map(|(index, _)| *index);
        pages.push(page.items);
        if !page.has_more {
            return pages;
        }
    }
}

#[test]
fn items_and_results_of_any_length_come_back_and_are_counted_once() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    let collection = collection(&catalog, "c");
    let items: Vec<Vec<u8>> = ["a", "bc", "d"].iter().map(|word| long(word)).collect();
    let record = catalog.create_batch(batch(&collection.id, 3), &items, None).unwrap();
    let (tenant, id) = (&record.tenant, &record.id);
    for (index, item) in (0..).zip(&items) {
        assert_eq!(&catalog.batch_item(tenant, id, index).unwrap(), item);
    }
    assert!(matches!(catalog.batch_item(tenant, id, 3), Err(CatalogError::NotFound { .. })));
    catalog.commit_results(tenant, id, &[result(2, b"{\"error\":1}")]).unwrap();
    let twice = [result(0, &long("x")), result(2, b"\"other\""), result(0, b"\"again\""), result(9, b"\"none\"")];
    let counted = catalog.commit_results(tenant, id, &twice).unwrap();
    assert_eq!((counted.done, counted.failed, counted.prompt_tokens, counted.completion_tokens), (2, 1, 10, 2));
    assert_eq!(counted.cached_tokens, 6);
    assert_eq!(catalog.answered_items(&counted).unwrap().iter().collect::<Vec<_>>(), [0, 2]);
    let all = [(0, long("x")), (2, b"{\"error\":1}".to_vec())];
    assert_eq!(pages(&catalog, &record, 10, usize::MAX), [all.to_vec()]);
    let one_each = [vec![all[0].clone()], vec![all[1].clone()]];
    assert_eq!(pages(&catalog, &record, 1, usize::MAX), one_each);
    assert_eq!(pages(&catalog, &record, 10, 1), one_each, "a page has about so many bytes");
    let ended = catalog.end_batch(tenant, id, JobState::Cancelled).unwrap();
    assert!(matches!(catalog.commit_results(tenant, id, &[result(1, b"1")]), Err(CatalogError::Superseded)));
    assert_eq!(catalog.end_batch(tenant, id, JobState::Succeeded).unwrap(), ended, "it has ended once");
}

#[test]
fn what_was_acknowledged_survives_a_crash_and_the_same_request_is_one_batch() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    let collection = collection(&catalog, "c");
    let once = |request: &str| Once { key: "k".into(), request: request.into() };
    let record = catalog.create_batch(batch(&collection.id, 2), &[b"0".to_vec(), b"1".to_vec()], Some(&once("r"))).unwrap();
    catalog.commit_results(&record.tenant, &record.id, &[result(1, b"{}")]).unwrap();
    disk.fail_sync(1);
    assert!(catalog.commit_results(&record.tenant, &record.id, &[result(0, b"{}")]).is_err(), "the sync failed");
    drop(catalog);
    disk.crash(None);
    let catalog = open(&disk, folder.path());
    let unfinished = catalog.unfinished_batches().unwrap();
    assert_eq!((unfinished.len(), unfinished[0].done), (1, 1));
    assert_eq!(catalog.answered_items(&unfinished[0]).unwrap().iter().collect::<Vec<_>>(), [1], "counts and results go together");
    let again = catalog.create_batch(batch(&collection.id, 2), &[], Some(&once("r"))).unwrap();
    assert_eq!(again, record);
    let other = catalog.create_batch(batch(&collection.id, 2), &[], Some(&once("s")));
    assert!(matches!(other, Err(CatalogError::IdempotencyConflict)));
}

#[test]
fn a_batch_goes_a_while_after_its_end_and_with_its_collection() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    let (kept, gone) = (collection(&catalog, "kept"), collection(&catalog, "gone"));
    let add = |collection: &CollectionId| {
        let record = catalog.create_batch(batch(collection, 1), &[b"0".to_vec()], None).unwrap();
        catalog.commit_results(&record.tenant, &record.id, &[result(0, b"{}")]).unwrap()
    };
    let [running, ended, of_the_gone] = [add(&kept.id), add(&kept.id), add(&gone.id)];
    catalog.end_batch(&ended.tenant, &ended.id, JobState::Succeeded).unwrap();
    catalog.delete_collection(&gone.tenant, &gone.id).unwrap();
    assert!(matches!(catalog.batch(&gone.tenant, &of_the_gone.id), Err(CatalogError::NotFound { .. })));
    let pass = |days| catalog.keep_house(OffsetDateTime::now_utc() + Duration::days(days), Retention::default()).unwrap().batches;
    assert_eq!((pass(6), pass(8), pass(9)), (0, 1, 0), "and what runs stays");
    assert!(catalog.batch(&running.tenant, &running.id).is_ok());
    let left = |prefix: &[u8]| catalog.store().scan(prefix, None, usize::MAX).unwrap().len();
    assert_eq!((left(b"T"), left(b"W"), left(b"Y")), (1, 1, 1));
}
