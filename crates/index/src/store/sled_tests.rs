//! The sled store: the shared contract, then what only it must do (the open ladder, recovery, syncs).

use super::contract::{self, Place};
use super::marker::{FORMAT, Marker};
use super::sled_open::data_folder;
use super::sled_tree::record_key;
use super::{Batch, OpenError, Seq, SledOptions, SledStore, Store, StoreError, journal};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn options() -> SledOptions {
    SledOptions { cache_bytes: 1024 * 1024, reserve_bytes: 0 }
}

fn open(dir: &Path) -> Result<SledStore, StoreError> {
    SledStore::open(dir, &options())
}

fn refusal(dir: &Path) -> OpenError {
    match open(dir).err() {
        Some(StoreError::Open { reason, .. }) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

fn put(store: &SledStore, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Seq {
    let mut batch = Batch::default();
    batch.put(key, value);
    store.commit(batch).unwrap()
}

/// A closed store with `commits` commits.
fn filled(commits: u8) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    for n in 0..commits {
        put(&store, [n], vec![n; 2000]);
    }
    dir
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

impl Place for TempDir {
    type Opened = SledStore;

    fn open(&self) -> SledStore {
        open(self.path()).unwrap()
    }

    fn close(store: &SledStore) {
        store.close().unwrap();
    }

    fn damage(store: &SledStore, key: &[u8]) {
        let (tree, stored) = (store.tree(), record_key(key));
        let mut value = tree.0.get(&stored).unwrap().expect("a value to damage").to_vec();
        *value.last_mut().unwrap() ^= 1;
        tree.0.insert(stored, value).unwrap();
    }
}

#[test]
fn the_sled_store_keeps_the_contract() {
    contract::check(|| tempfile::tempdir().unwrap());
}

#[test]
fn a_second_opening_is_refused() {
    let dir = filled(1);
    let store = open(dir.path()).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::Locked { .. })));
    store.close().unwrap();
    assert!(open(dir.path()).is_ok());
}

#[test]
fn the_lock_that_a_killed_process_left_to_a_child_is_waited_for() {
    let dir = filled(1);
    let copy = fs::File::options().write(true).open(dir.path().join("store.lock")).unwrap();
    rustix::fs::flock(&copy, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let child = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        drop(copy);
    });
    assert!(open(dir.path()).is_ok());
    child.join().unwrap();
}

#[test]
fn data_that_is_gone_is_not_replaced_by_an_empty_store() {
    let dir = filled(3);
    let data = data_folder(dir.path());
    fs::rename(&data, dir.path().join("elsewhere")).unwrap();
    assert!(matches!(refusal(dir.path()), OpenError::Missing { seq: 3, .. }));
    assert!(!data.exists(), "nothing was started");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("db"), b"").unwrap();
    assert!(matches!(refusal(dir.path()), OpenError::Missing { seq: 3, .. }));
    fs::remove_dir_all(&data).unwrap();
    fs::rename(dir.path().join("elsewhere"), &data).unwrap();
    assert_eq!(open(dir.path()).unwrap().get(&[2]).unwrap(), Some(vec![2; 2000]));
}

#[test]
fn an_older_or_foreign_copy_is_refused() {
    let dir = filled(2);
    let old = tempfile::tempdir().unwrap();
    copy_folder(&data_folder(dir.path()), old.path());
    put(&open(dir.path()).unwrap(), "later", "1");
    fs::rename(data_folder(dir.path()), dir.path().join("newer")).unwrap();
    copy_folder(old.path(), &data_folder(dir.path()));
    assert!(matches!(refusal(dir.path()), OpenError::Behind { expected: 3, found: 2 }));

    fs::remove_dir_all(data_folder(dir.path())).unwrap();
    copy_folder(&data_folder(filled(9).path()), &data_folder(dir.path()));
    assert!(matches!(refusal(dir.path()), OpenError::OtherStore { .. }));
}

#[test]
fn a_lost_marker_is_written_again() {
    let dir = filled(2);
    let marker = Marker::read(dir.path()).unwrap().unwrap();
    assert_eq!((marker.seq, marker.format), (2, FORMAT));
    fs::remove_file(dir.path().join("store.marker")).unwrap();
    assert_eq!(open(dir.path()).unwrap().stats().seq, 2);
    assert_eq!(Marker::read(dir.path()).unwrap().unwrap(), marker);
}

#[test]
fn another_format_is_refused() {
    let dir = filled(1);
    let store = open(dir.path()).unwrap();
    let tree = store.tree();
    tree.set_identity("x", FORMAT + 1).unwrap();
    drop(tree);
    drop(store);
    assert!(matches!(refusal(dir.path()), OpenError::Format { found, .. } if found == FORMAT + 1));
}

#[test]
fn below_the_floor_the_store_opens_for_reading_and_refuses_commits() {
    let dir = filled(1);
    let greedy = SledOptions { reserve_bytes: u64::MAX, ..options() };
    let store = SledStore::open(dir.path(), &greedy).unwrap();
    assert!(store.get(&[0]).unwrap().is_some());
    assert!(matches!(store.commit(Batch::default()), Err(StoreError::Full { .. })));
    assert!(!store.stats().read_only, "it goes on when there is room");
}

fn snapshots(folder: &Path) -> Vec<std::path::PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("snap.")).collect()
}

#[test]
fn a_damaged_snapshot_is_set_aside_and_nothing_is_lost() {
    let dir = filled(200);
    drop(open(dir.path()).unwrap());
    let found = snapshots(&data_folder(dir.path()));
    assert_eq!(found.len(), 1);
    let mut bytes = fs::read(&found[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&found[0], &bytes).unwrap();
    let store = open(dir.path()).unwrap();
    assert_eq!(store.scan(b"", None, 999).unwrap().len(), 200);
    assert_eq!(store.verify().unwrap().corrupt, 0);
    let aside = fs::read_dir(dir.path().join("aside")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::read(&snapshots(&aside.join("sled"))[0]).unwrap(), bytes, "kept as it was");
    assert!(!dir.path().join("sled.trial").exists() && !dir.path().join("sled.next").exists());
}

#[test]
fn a_swap_that_was_interrupted_is_finished() {
    let dir = filled(3);
    drop(open(dir.path()).unwrap());
    fs::rename(data_folder(dir.path()), dir.path().join("sled.next")).unwrap();
    assert_eq!(open(dir.path()).unwrap().get(&[2]).unwrap(), Some(vec![2; 2000]));
    // Both there: the copy never took the data's place.
    fs::create_dir(dir.path().join("sled.next")).unwrap();
    assert!(open(dir.path()).is_ok() && !dir.path().join("sled.next").exists());
}

#[test]
fn a_tap_sees_every_commit_in_order_and_an_alarm_the_first_failure() {
    #[derive(Default)]
    struct Seen(std::sync::Mutex<Vec<(Seq, usize)>>);
    impl super::Tap for Seen {
        fn committed(&self, seq: Seq, batch: &Batch) {
            self.0.lock().unwrap().push((seq, batch.len()));
        }
    }
    let dir = filled(2);
    let store = open(dir.path()).unwrap();
    let seen = std::sync::Arc::new(Seen::default());
    assert_eq!(store.set_tap(Some(seen.clone())).unwrap(), 2);
    let put_some = |n: u8| (0..25_u8).for_each(|m| assert!(put(&store, [n, m], "v") > 2));
    let put_some = &put_some;
    std::thread::scope(|scope| (0..4_u8).for_each(|n| drop(scope.spawn(move || put_some(n)))));
    assert_eq!(store.set_tap(None).unwrap(), 102);
    let unseen = put(&store, "unseen", "v");
    let expected: Vec<_> = (3..103).map(|seq| (seq, 1)).collect();
    assert_eq!(*seen.0.lock().unwrap(), expected);

    let (sender, receiver) = std::sync::mpsc::channel();
    store.when_failed(Box::new(move |reason| sender.send(reason.to_owned()).unwrap()));
    // Else the sync of what went before may fail ahead of the next commit.
    store.durable(unseen).unwrap();
    fs::remove_dir(data_folder(dir.path()).join("blobs")).unwrap();
    let seq = put(&store, "a", "1");
    assert!(store.durable(seq).is_err());
    assert!(receiver.recv_timeout(Duration::from_secs(20)).unwrap().contains("sync failed"));
    let (sender, receiver) = std::sync::mpsc::channel();
    store.when_failed(Box::new(move |_| sender.send(()).unwrap()));
    receiver.try_recv().expect("told at once");
}

#[test]
fn a_cut_data_file_is_never_opened_as_a_smaller_store() {
    for bytes in [0, 100, 30_000, 300_000] {
        let dir = filled(200);
        drop(open(dir.path()).unwrap());
        let data = data_folder(dir.path());
        let snapshots_before = snapshots(&data);
        fs::File::options().write(true).open(data.join("db")).unwrap().set_len(bytes).unwrap();
        let reason = refusal(dir.path());
        assert!(matches!(reason, OpenError::Damaged(_) | OpenError::Behind { .. } | OpenError::Missing { .. }), "{reason:?}");
        assert!(data.join("db").exists());
        if matches!(reason, OpenError::Damaged(_)) {
            assert_eq!(snapshots(&data), snapshots_before, "put back");
        }
    }
}

#[test]
fn after_a_failed_sync_nothing_is_retried() {
    let dir = filled(1);
    let store = open(dir.path()).unwrap();
    // The sync looks for spilled pages here and can't.
    fs::remove_dir(data_folder(dir.path()).join("blobs")).unwrap();
    let seq = put(&store, "a", "1");
    assert!(matches!(store.durable(seq), Err(StoreError::ReadOnly { .. })));
    fs::create_dir(data_folder(dir.path()).join("blobs")).unwrap();
    assert!(matches!(store.durable(seq), Err(StoreError::ReadOnly { .. })), "also when the cause is gone");
    assert!(matches!(store.commit(Batch::default()), Err(StoreError::ReadOnly { .. })));
    store.durable(seq - 1).unwrap();
    assert!(store.stats().read_only && store.get(&[0]).unwrap().is_some());
    assert!(matches!(store.close(), Err(StoreError::ReadOnly { .. })));
    drop(store);
    put(&open(dir.path()).unwrap(), "b", "2");
}

#[test]
fn a_commit_that_nobody_waits_for_is_synced_all_the_same() {
    let dir = filled(0);
    let store = open(dir.path()).unwrap();
    let seq = put(&store, "a", "1");
    let give_up = Instant::now() + Duration::from_secs(20);
    while store.stats().durable_seq < seq {
        assert!(Instant::now() < give_up, "never synced");
        std::thread::yield_now();
    }
}

#[test]
fn an_interrupted_group_is_finished_at_the_next_start() {
    let dir = filled(1);
    let store = open(dir.path()).unwrap();
    let tree = store.tree();
    let mut batch = Batch::default();
    batch.delete([0]);
    (1..200_u8).for_each(|n| batch.put([n], vec![n; 1000]));
    let mut group = Vec::new();
    journal::append(&mut group, &batch);
    assert!(group.len() > 3 * journal::PART_BYTES);
    tree.write_journal(&group, 4).unwrap();
    // As a crash leaves it: some changes are made, the number is not.
    tree.0.remove(record_key(&[0])).unwrap();
    drop(tree);
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!((store.stats().seq, store.scan(b"", None, 999).unwrap().len()), (4, 199));
    assert_eq!(store.get(&[199]).unwrap(), Some(vec![199; 1000]));
    assert_eq!(put(&store, "next", "1"), 5);
}

#[test]
fn the_journal_of_a_large_group_does_not_stay() {
    let dir = filled(0);
    let store = open(dir.path()).unwrap();
    let mut batch = Batch::default();
    (0..100_u8).for_each(|n| batch.put([n], vec![n; 99_000]));
    store.commit(batch).unwrap();
    assert_eq!(store.tree().0.scan_prefix(b"\0part").count(), 256);
    assert_eq!(store.verify().unwrap().values, 100);
}

#[test]
fn a_group_that_is_not_written_down_whole_counts_for_nothing() {
    let dir = filled(1);
    let store = open(dir.path()).unwrap();
    store.tree().0.insert(b"\0part\0\0\0\0\0\0\0\0", "half a part").unwrap();
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!((store.stats().seq, store.scan(b"", None, 9).unwrap().len()), (1, 1));
}

#[test]
fn a_wide_batch_with_a_small_cache_does_not_hang() {
    // With sled's own batches the second round of this never returned.
    let dir = filled(0);
    let store = open(dir.path()).unwrap();
    for round in 0..3_u64 {
        let mut batch = Batch::default();
        let scattered = |n: u64| (n * 3 + round).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        (0..20_000).for_each(|n| batch.put(scattered(n), [7; 16]));
        store.durable(store.commit(batch).unwrap()).unwrap();
    }
    assert_eq!(store.verify().unwrap().values, 60_000);
}
