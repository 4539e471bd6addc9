//! The catalog over a store whose syncs fail: what was acknowledged stays readable, files included.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "a test fails by panicking")]

mod support;

use corpus::{ChunkDraft, Embedding, Principals, Span, TenantId};
use index::records::{CollectionRecord, JobRecord};
use index::store::MemoryDisk;
use index::{Catalog, Processed, Upload};
use ragstone_index as index;
use std::time::Duration;
use support::{collection, open};

fn admit(catalog: &Catalog, collection: &CollectionRecord, text: &str) -> JobRecord {
    let upload = Upload { bytes: text.into(), name: "d".into(), external_id: Some("d".into()), ..Upload::default() };
    catalog.admit(collection, &Principals::All, vec![upload], None).unwrap();
    catalog.unfinished_jobs().unwrap().pop().unwrap()
}

/// The extracted text differs from the original, so that both files count.
fn processed(text: &str) -> Processed {
    let text = format!("text of {text}");
    let draft =
        ChunkDraft { span: Span::of(&text, 0..text.len()).unwrap(), text: text.clone(), heading_path: vec![], page: None, tokens: 3 };
    let chunks = vec![(draft, Embedding::normalised(vec![1.0, 2.0], 2).unwrap())];
    Processed {
        text,
        media_type: "text/plain".into(),
        title: None,
        pages: None,
        warnings: vec![],
        chunks,
        embedded: 1,
        precision: corpus::Precision::F32,
    }
}

fn read(catalog: &Catalog, collection: &CollectionRecord) -> (Vec<u8>, String) {
    let record = catalog.document(collection, "d").unwrap();
    (catalog.original(collection, &record).unwrap(), catalog.text(collection, record.served.as_ref().unwrap()).unwrap())
}

#[test]
fn a_version_whose_sync_fails_leaves_the_one_before_whole() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    let collection = collection(&catalog, "c");
    let first = admit(&catalog, &collection, "one");
    catalog.commit_document(&first, processed("one")).unwrap();
    let second = admit(&catalog, &collection, "two");
    disk.fail_sync(1);
    assert!(catalog.commit_document(&second, processed("two")).is_err(), "the sync failed");
    drop(catalog);
    disk.crash(None);
    let catalog = open(&disk, folder.path());
    assert_eq!(read(&catalog, &collection), (b"one".to_vec(), "text of one".to_owned()));
    let again = catalog.unfinished_jobs().unwrap().pop().unwrap();
    assert_eq!(again.id, second.id, "the second version's job goes on");
    let seq = catalog.commit_document(&again, processed("two")).unwrap();
    assert_eq!(read(&catalog, &collection), (b"two".to_vec(), "text of two".to_owned()));
    let open = catalog.open_collection(&collection).unwrap();
    assert!(open.wait_applied(seq, Duration::from_secs(30)).unwrap());
    assert_eq!(open.live().len(), 1);
}

#[test]
fn a_deleted_collection_stays_deleted_and_leaves_nothing() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    let collection = collection(&catalog, "c");
    let job = admit(&catalog, &collection, "one");
    catalog.commit_document(&job, processed("one")).unwrap();
    // The first sync makes the deletion itself durable, the second one fails in the middle of the purge.
    disk.fail_sync(2);
    assert!(catalog.delete_collection(&TenantId::default(), &collection.id).is_err());
    drop(catalog);
    disk.crash(None);
    let catalog = open(&disk, folder.path());
    assert!(catalog.collection(&TenantId::default(), "c").is_err());
    assert_eq!(catalog.finish_deletions().unwrap(), 1);
    let left = catalog.store().scan(b"", None, 100).unwrap();
    // Ended jobs are history and stay, and so does the receipt; caches are still to be purged.
    assert!(left.iter().all(|(key, _)| b"JRO".contains(&key[0])), "{left:?}");
    assert_eq!(catalog.finish_deletions().unwrap(), 0);
}
