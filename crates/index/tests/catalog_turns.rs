//! The one writer's turn is short: opening a collection or deleting a large one makes no writer of another
//! collection wait.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "a test fails by panicking")]

mod support;

use corpus::TenantId;
use index::store::{Alarm, Batch, MemoryDisk, MemoryStore, Pair, Seq, Sink, Store, StoreError, StoreReport, StoreStats, Tap};
use ragstone_index as index;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use support::*;

/// What a held-up read says, and how it is let go.
struct Gate {
    prefix: Vec<u8>,
    reached: Sender<()>,
    released: Receiver<()>,
}

/// A store whose scans and reads of many below one prefix wait until the test lets them go on.
struct SlowStore {
    inner: MemoryStore,
    gate: Mutex<Option<Gate>>,
}

impl SlowStore {
    /// The next one below `prefix` waits.
    fn hold(&self, prefix: Vec<u8>) -> (Receiver<()>, Sender<()>) {
        let ((reached, is_reached), (release, released)) = (channel(), channel());
        *self.gate.lock().unwrap() = Some(Gate { prefix, reached, released });
        (is_reached, release)
    }

    fn wait_at(&self, key: &[u8]) {
        let gate = self.gate.lock().unwrap().take_if(|gate| key.starts_with(&gate.prefix));
        if let Some(gate) = gate {
            gate.reached.send(()).unwrap();
            gate.released.recv_timeout(PATIENCE).unwrap();
        }
    }
}

impl Store for SlowStore {
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.wait_at(prefix);
        self.inner.scan(prefix, after, limit)
    }

    fn commit(&self, batch: Batch) -> Result<Seq, StoreError> {
        self.inner.commit(batch)
    }

    fn durable(&self, seq: Seq) -> Result<(), StoreError> {
        self.inner.durable(seq)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(key)
    }

    fn multi_get(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        keys.iter().for_each(|key| self.wait_at(key));
        self.inner.multi_get(keys)
    }

    fn verify(&self) -> Result<StoreReport, StoreError> {
        self.inner.verify()
    }

    fn export(&self, sink: &mut Sink<'_>) -> Result<u64, StoreError> {
        self.inner.export(sink)
    }

    fn set_tap(&self, tap: Option<Arc<dyn Tap>>) -> Result<Seq, StoreError> {
        self.inner.set_tap(tap)
    }

    fn when_failed(&self, alarm: Alarm) {
        self.inner.when_failed(alarm);
    }

    fn stats(&self) -> StoreStats {
        self.inner.stats()
    }
}

fn below_collection(kind: u8, collection: &index::records::CollectionRecord) -> Vec<u8> {
    [&[kind, 0], collection.tenant.as_str().as_bytes(), &[0], collection.id.as_str().as_bytes()].concat()
}

/// Two collections with a document each, over a slow store, none of them open.
fn two(disk: &MemoryDisk, folder: &std::path::Path) -> (Arc<SlowStore>, index::Catalog, [index::records::CollectionRecord; 2]) {
    let first = open(disk, folder);
    let collections = [collection(&first, "large"), collection(&first, "other")];
    for collection in &collections {
        put(&first, collection, "d", "one\ntwo\n");
    }
    drop(first);
    let store = Arc::new(SlowStore { inner: MemoryStore::open(disk).unwrap(), gate: Mutex::default() });
    let catalog = over(Arc::clone(&store) as Arc<dyn Store>, folder);
    (store, catalog, collections)
}

#[test]
fn others_write_while_a_collection_is_opened() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let (store, catalog, [large, other]) = two(&disk, folder.path());
    let (reached, release) = store.hold(below_collection(b'V', &large));
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| catalog.open_collection(&large).unwrap().live().len());
        reached.recv_timeout(PATIENCE).unwrap();
        // All of this needs the turn, and none of it the collection that is being opened.
        put_searchable(&catalog, &other, "e", "three\n");
        admit(&catalog, &large, "new", "a new document only needs its record\n");
        catalog.delete_document(&other, "d").unwrap();
        release.send(()).unwrap();
        assert_eq!(opening.join().unwrap(), 2);
    });
}

#[test]
fn writers_of_the_collection_itself_wait_for_it_and_not_for_ever() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let (store, catalog, [large, _]) = two(&disk, folder.path());
    let (reached, release) = store.hold(below_collection(b'V', &large));
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| drop(catalog.open_collection(&large).unwrap()));
        reached.recv_timeout(PATIENCE).unwrap();
        let writing = scope.spawn(|| put_searchable(&catalog, &large, "e", "three\n"));
        release.send(()).unwrap();
        opening.join().unwrap();
        writing.join().unwrap();
    });
    assert_eq!(catalog.open_collection(&large).unwrap().live().len(), 3);
}

#[test]
fn what_is_committed_while_a_collection_is_opened_is_caught_up() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let (store, catalog, [large, _]) = two(&disk, folder.path());
    let (reached, release) = store.hold(below_collection(b'V', &large));
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| catalog.open_collection(&large).unwrap());
        reached.recv_timeout(PATIENCE).unwrap();
        // A catalog over the same store stands for a writer that held the views before they went stale.
        let before = tempfile::tempdir().unwrap();
        let writer = over(Arc::clone(&store) as Arc<dyn Store>, before.path());
        put_searchable(&writer, &large, "d", "one\nthree\nfour\n");
        put_searchable(&writer, &large, "e", "five\n");
        writer.delete_document(&large, "e").unwrap();
        release.send(()).unwrap();
        let open = opening.join().unwrap();
        assert_eq!(open.applied(), catalog.collection_state(&large).unwrap().seq);
        let found = |word: &str| open.text_search(&open.question(word).unwrap(), 9, &open.live()).unwrap().rows.len();
        assert_eq!(["one", "two", "three", "four", "five"].map(found), [1, 0, 1, 1, 0]);
        assert_eq!((open.live().len(), open.stats().0.rows), (3, 3));
        let rows: Vec<u32> = open.live().iter().collect();
        assert!(open.chunks(&rows).unwrap().iter().all(|found| found.as_ref().is_some_and(|(chunk, _)| chunk.version == 2)));
    });
}

#[test]
fn others_write_while_a_large_collection_is_deleted() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let (store, catalog, [large, other]) = two(&disk, folder.path());
    for number in 0..200 {
        put(&catalog, &large, &format!("d{number}"), &format!("document {number}\n"));
    }
    // In the middle of the chunks: the documents are gone, the rest is not.
    let (reached, release) = store.hold(below_collection(b'K', &large));
    std::thread::scope(|scope| {
        let deleting = scope.spawn(|| catalog.delete_collection(&TenantId::default(), &large.id).unwrap());
        reached.recv_timeout(PATIENCE).unwrap();
        put_searchable(&catalog, &other, "e", "three\n");
        assert!(catalog.open_collection(&large).is_err() && catalog.collection(&large.tenant, "large").is_err());
        release.send(()).unwrap();
        let receipt = deleting.join().unwrap();
        assert_eq!((receipt.documents, receipt.chunks), (201, 202));
        assert!(catalog.verify_deletion(&large.tenant, &receipt.id).unwrap().is_verified());
    });
    assert!(!folder.path().join("views/default").join(large.id.as_str()).exists());
}

#[test]
fn a_collection_that_is_deleted_while_it_is_opened_leaves_no_folder() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let (store, catalog, [large, _]) = two(&disk, folder.path());
    let (reached, release) = store.hold(below_collection(b'V', &large));
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| catalog.open_collection(&large).map(|open| open.live().len()));
        reached.recv_timeout(PATIENCE).unwrap();
        let deleting = scope.spawn(|| catalog.delete_collection(&TenantId::default(), &large.id).unwrap());
        while catalog.collection(&large.tenant, "large").is_ok() {
            std::thread::yield_now();
        }
        release.send(()).unwrap();
        assert!(opening.join().unwrap().is_err(), "it is gone");
        deleting.join().unwrap();
    });
    assert!(!folder.path().join("views/default").join(large.id.as_str()).exists());
}
