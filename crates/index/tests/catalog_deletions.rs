//! Receipts of deletions and their verification; what is only kept for a while.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "a test fails by panicking")]

mod support;

use corpus::{Principals, TenantId, TraceId};
use index::batches::BatchAsker;
use index::feedback::FeedbackRecord;
use index::records::DeletionReceipt;
use index::store::{Batch, MemoryDisk};
use index::{Catalog, CatalogError, Once, Purged, Retention, Unpurged, Upload};
use ragstone_index as index;
use support::*;
use time::{Duration, OffsetDateTime};

fn remaining(catalog: &Catalog, receipt: &DeletionReceipt) -> Vec<(&'static str, u64)> {
    let found = catalog.verify_deletion(&TenantId::default(), &receipt.id).unwrap();
    assert_eq!(found.receipt, *receipt);
    let left: Vec<_> = found.checks.iter().filter(|check| check.remaining > 0).map(|check| (check.what, check.remaining)).collect();
    assert_eq!(found.is_verified(), left.is_empty());
    left
}

#[test]
fn a_deleted_document_leaves_a_receipt_and_nothing_else() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    let collection = collection(&catalog, "c");
    put_searchable(&catalog, &collection, "stays", "same bytes\n");
    // A long document goes in pages.
    for count in [3, 1200] {
        put_searchable(&catalog, &collection, "goes", &lines(count, &[]));
        put_searchable(&catalog, &collection, "goes", &lines(count, &[(1, "one")]));
        let receipt = catalog.delete_document(&collection, "goes").unwrap();
        let count = count as u64;
        assert_eq!((receipt.documents, receipt.chunks, receipt.vectors, receipt.postings), (1, count, count, count));
        assert_eq!(receipt.files, 1, "original and text are the same bytes here");
        assert_eq!(remaining(&catalog, &receipt), []);
        assert_eq!(below(&catalog, b'K').len(), 1);
        assert!(below(&catalog, b'G').is_empty() && below(&catalog, b'P').len() == 1);
    }
}

#[test]
fn verification_finds_what_is_put_back() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    let collection = collection(&catalog, "c");
    put_searchable(&catalog, &collection, "goes", "one\ntwo\n");
    let kept: Vec<_> = catalog.store().scan(b"", None, usize::MAX).unwrap();
    let receipt = catalog.delete_document(&collection, "goes").unwrap();
    assert_eq!(remaining(&catalog, &receipt), []);
    let mut batch = Batch::default();
    kept.into_iter().filter(|(key, _)| b"DEKVPB".contains(&key[0])).for_each(|(key, value)| batch.put(key, value));
    catalog.store().commit(batch).unwrap();
    let original = index::blobs::BlobId::of(b"one\ntwo\n");
    let path = folder.path().join("blobs/default").join(&original.as_str()[..2]).join(original.as_str());
    std::fs::write(path, "one\ntwo\n").unwrap();
    let left = remaining(&catalog, &receipt);
    let expected = [("document_record", 1), ("identities", 1), ("chunks", 2), ("vectors", 2), ("places", 1), ("file_uses", 1)];
    assert_eq!(left, expected, "the file counts as used while a document names it");
    // Opened anew, the views hold the rows as well.
    drop(catalog);
    let catalog = open(&disk, folder.path());
    std::fs::remove_dir_all(folder.path().join("views")).unwrap();
    let left = remaining(&catalog, &receipt);
    assert!(left.contains(&("vector_index", 2)), "{left:?}");
}

#[test]
fn a_shared_file_is_not_counted_and_a_stranger_finds_nothing() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    let collection = collection(&catalog, "c");
    put_searchable(&catalog, &collection, "one", "same bytes\n");
    put_searchable(&catalog, &collection, "two", "same bytes\n");
    let receipt = catalog.delete_document(&collection, "one").unwrap();
    assert_eq!((receipt.files, remaining(&catalog, &receipt)), (0, vec![]));
    assert_eq!(ids(&chunks(&catalog, &collection, "two")).len(), 1);
    let stranger: TenantId = "stranger".parse().unwrap();
    assert!(matches!(catalog.verify_deletion(&stranger, &receipt.id), Err(CatalogError::NotFound { .. })));
    assert!(matches!(catalog.verify_deletion(&stranger, &corpus::DeletionId::generate()), Err(CatalogError::NotFound { .. })));
    // Verified still when the collection has gone too.
    catalog.delete_collection(&collection.tenant, &collection.id).unwrap();
    assert_eq!(remaining(&catalog, &receipt), []);
}

#[test]
fn a_deleted_collection_counts_everything() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    let (goes, stays) = (collection(&catalog, "goes"), collection(&catalog, "stays"));
    for number in 0..70 {
        put_searchable(&catalog, &goes, &format!("d{number}"), &lines(3, &[(0, &format!("document {number}"))]));
    }
    put_searchable(&catalog, &goes, "d0", &lines(5, &[]));
    put_searchable(&catalog, &stays, "d", "one\n");
    admit(&catalog, &goes, "waits", "not processed yet");
    let receipt = catalog.delete_collection(&goes.tenant, &goes.id).unwrap();
    assert_eq!((receipt.documents, receipt.chunks, receipt.vectors, receipt.postings, receipt.files), (71, 212, 212, 212, 71));
    assert_eq!(remaining(&catalog, &receipt), []);
    assert!(catalog.unfinished_jobs().unwrap().is_empty(), "its job has ended");
    // The name may be used again.
    let again = collection(&catalog, "goes");
    put_searchable(&catalog, &again, "d1", "one\n");
    assert_eq!(remaining(&catalog, &receipt), []);
    let left: Vec<_> = below(&catalog, b'K').into_iter().map(|(key, _)| key).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_purge_that_crashes_at_any_sync_is_finished_with_the_same_counts() {
    for nth in 2.. {
        let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
        let catalog = open(&disk, folder.path());
        let goes = collection(&catalog, "goes");
        for number in 0..70 {
            put(&catalog, &goes, &format!("d{number}"), &format!("document {number}\n"));
        }
        disk.fail_sync(nth);
        let outcome = catalog.delete_collection(&goes.tenant, &goes.id);
        disk.crash(None);
        drop(catalog);
        disk.fail_sync(u64::MAX);
        let catalog = open(&disk, folder.path());
        catalog.remove_staged().unwrap();
        assert_eq!(catalog.finish_deletions().unwrap(), usize::from(outcome.is_err()));
        let receipts = below(&catalog, b'R');
        assert_eq!(receipts.len(), 1);
        let receipt: DeletionReceipt = serde_json::from_slice(&receipts[0].1).unwrap();
        assert_eq!((receipt.documents, receipt.chunks, receipt.vectors), (70, 70, 70), "sync {nth}");
        assert_eq!(remaining(&catalog, &receipt), []);
        if outcome.is_ok() {
            assert!(nth > 3);
            return;
        }
    }
}

#[test]
fn a_purge_of_caches_is_owed_until_it_is_noted_whatever_crashes_in_between() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    let (one, other) = (collection(&catalog, "one"), collection(&catalog, "other"));
    put_searchable(&catalog, &one, "goes", "one\n");
    let receipts = [catalog.delete_document(&one, "goes").unwrap(), catalog.delete_collection(&other.tenant, &other.id).unwrap()];
    let mut owed: Vec<_> = receipts.iter().map(|receipt| Unpurged::of(&one.tenant, receipt)).collect();
    owed.sort_by(|a, b| a.deletion.cmp(&b.deletion));
    disk.crash(None);
    drop(catalog);
    let catalog = open(&disk, folder.path());
    assert_eq!(catalog.unpurged().unwrap(), owed);
    let removed = Purged { caches: 3, traces: 2, session_turns: 1 };
    disk.fail_sync(1);
    assert!(catalog.note_purged(&owed[0], removed, true).is_err());
    disk.crash(None);
    drop(catalog);
    disk.fail_sync(u64::MAX);
    let catalog = open(&disk, folder.path());
    assert_eq!(catalog.unpurged().unwrap(), owed, "what could not be noted is still owed");
    catalog.note_purged(&owed[0], removed, false).unwrap();
    assert_eq!(catalog.unpurged().unwrap(), owed, "counted, but not all of it went");
    catalog.note_purged(&owed[0], removed, true).unwrap();
    catalog.note_purged(&owed[1], Purged::default(), true).unwrap();
    assert_eq!(catalog.unpurged().unwrap(), []);
    let counted = |at: usize| {
        let receipt = catalog.deletion(&one.tenant, &owed[at].deletion).unwrap();
        (receipt.caches, receipt.traces, receipt.session_turns)
    };
    assert_eq!((counted(0), counted(1)), ((6, 4, 2), (0, 0, 0)));
}

#[test]
fn what_is_kept_for_a_while_goes_when_it_is_over() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    let collection = collection(&catalog, "c");
    let upload = || Upload { bytes: b"one\n".to_vec(), name: "d".into(), ..Upload::default() };
    let once = Once { key: "k".into(), request: "r".into() };
    let admitted = catalog.admit(&collection, &Principals::All, vec![upload()], Some(&once)).unwrap();
    let job = catalog.unfinished_jobs().unwrap().remove(0);
    catalog.commit_document(&job, processed("one\n")).unwrap();
    let waiting = admit(&catalog, &collection, "waits", "two\n");
    put(&catalog, &collection, "goes", "three\n");
    catalog.delete_document(&collection, "goes").unwrap();
    let kept = |kind| below(&catalog, kind).len();
    let now = OffsetDateTime::now_utc();
    let pass = |after: Duration| catalog.keep_house(now + after, Retention::default()).unwrap();
    assert_eq!(pass(Duration::minutes(50)), index::Housekeeping::default(), "nothing is over yet");
    let day = pass(Duration::hours(25));
    assert_eq!((day.answers, day.jobs, day.receipts, day.files), (1, 0, 0, 0));
    let week = pass(Duration::days(8));
    assert_eq!((week.answers, week.jobs, week.receipts, week.files), (0, 2, 0, 0));
    let month = pass(Duration::days(31));
    assert_eq!((month.jobs, month.receipts), (0, 1));
    assert_eq!((kept(b'I'), kept(b'J'), kept(b'R')), (0, 1, 0), "the job that waits stays");
    assert!(catalog.job(&collection.tenant, &waiting.id).is_ok());
    assert!(matches!(catalog.job(&collection.tenant, admitted[0].job.as_ref().unwrap()), Err(CatalogError::NotFound { .. })));
    // A forgotten key is a new request; the document is known by its bytes all the same.
    let again = catalog.admit(&collection, &Principals::All, vec![upload()], Some(&once)).unwrap();
    assert_eq!((&again[0].document, again[0].is_known), (&admitted[0].document, true));
}

#[test]
fn an_operator_can_keep_jobs_and_receipts_for_less() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    let collection = collection(&catalog, "c");
    put(&catalog, &collection, "goes", "one\n");
    catalog.delete_document(&collection, "goes").unwrap();
    let minutes = |minutes: u64| std::time::Duration::from_secs(minutes * 60);
    let later = OffsetDateTime::now_utc() + Duration::minutes(10);
    let removed = |jobs, receipts| {
        let removed =
            catalog.keep_house(later, Retention { jobs: minutes(jobs), receipts: minutes(receipts), ..Retention::default() }).unwrap();
        (removed.jobs, removed.receipts)
    };
    assert_eq!(removed(11, 11), (0, 0));
    assert_eq!(removed(9, 11), (1, 0));
    assert_eq!(removed(11, 9), (0, 1));
}

#[test]
fn feedback_goes_when_it_is_old() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    let collection = collection(&catalog, "c");
    let now = OffsetDateTime::now_utc();
    let say = |days: i64| {
        let record = FeedbackRecord {
            tenant: collection.tenant.clone(),
            collection: collection.id.clone(),
            trace: TraceId::generate(),
            asker: BatchAsker { key: "k".into(), principals: None, collections: None, tags: Vec::new() },
            useful: true,
            comment: None,
            expected: None,
            question: None,
            abstained: false,
            evidence: Vec::new(),
            at: now - Duration::days(days),
        };
        catalog.put_feedback(&record).unwrap();
    };
    [1, 29, 31, 364, 366].into_iter().for_each(say);
    let left = || catalog.feedback(&collection.tenant, None).unwrap().len();
    assert_eq!((catalog.keep_house(now, Retention::default()).unwrap().feedback, left()), (1, 4), "a year by default");
    let month = Retention { feedback: std::time::Duration::from_secs(30 * 24 * 3600), ..Retention::default() };
    assert_eq!((catalog.keep_house(now, month).unwrap().feedback, left()), (2, 2));
}

#[test]
fn files_that_nothing_names_go_after_an_hour() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    let collection = collection(&catalog, "c");
    put(&catalog, &collection, "d", "one\n");
    let blobs = index::blobs::Blobs::open(folder.path().join("blobs")).unwrap();
    let tenant = TenantId::default();
    let orphans: Vec<_> = (0..70).map(|number| blobs.put(&tenant, format!("orphan {number}").as_bytes()).unwrap()).collect();
    let now = OffsetDateTime::now_utc();
    assert_eq!(catalog.keep_house(now, Retention::default()).unwrap().files, 0, "they may belong to an upload that goes on");
    assert_eq!(catalog.keep_house(now + Duration::hours(2), Retention::default()).unwrap().files, 70);
    assert!(orphans.iter().all(|blob| !blobs.exists(&tenant, blob)));
    assert_eq!(chunks(&catalog, &collection, "d").len(), 1);
}
