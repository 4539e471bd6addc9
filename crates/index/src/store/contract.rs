//! What every [`Store`] must do, as one set of tests for all implementations.

use super::{Batch, KEY_BYTES_MAX, Pair, Seq, Store, StoreError, VALUE_BYTES_MAX};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;

/// Where a store lives: it can be opened again and again.
pub(crate) trait Place {
    type Opened: Store + 'static;
    fn open(&self) -> Self::Opened;
    fn close(store: &Self::Opened);
    /// Flips a bit of a stored value.
    fn damage(store: &Self::Opened, key: &[u8]);
}

/// Runs the set; each test gets a fresh place.
pub(crate) fn check<P: Place>(fresh: impl Fn() -> P) {
    a_batch_is_applied_whole(&fresh());
    scans_are_ordered_and_paged(&fresh());
    prefixes_end_where_they_should(&fresh());
    durable_data_and_numbers_outlive_closing(&fresh());
    commits_of_eight_threads_all_arrive(&fresh());
    readers_never_see_half_a_batch(&fresh());
    a_corrupt_value_is_reported_not_served(&fresh());
    a_closed_store_says_so(&fresh());
    what_is_too_large_changes_nothing(&fresh());
    it_behaves_like_a_sorted_map(&fresh);
}

fn batch(changes: &[(&[u8], Option<&[u8]>)]) -> Batch {
    let mut batch = Batch::default();
    for (key, value) in changes {
        match value {
            Some(value) => batch.put(*key, *value),
            None => batch.delete(*key),
        }
    }
    batch
}

fn keys(pairs: Vec<Pair>) -> Vec<Vec<u8>> {
    pairs.into_iter().map(|(key, _)| key).collect()
}

fn commit_durably(store: &impl Store, batch: Batch) -> Seq {
    let seq = store.commit(batch).unwrap();
    store.durable(seq).unwrap();
    seq
}

fn a_batch_is_applied_whole<P: Place>(place: &P) {
    let store = place.open();
    assert_eq!(store.commit(batch(&[(b"a", Some(b"1")), (b"b", Some(b"")), (b"", Some(b"empty key"))])).unwrap(), 1);
    assert_eq!(store.commit(batch(&[(b"a", None), (b"c", Some(b"3")), (b"absent", None)])).unwrap(), 2);
    let asked = [b"a".to_vec(), b"b".to_vec(), b"c".to_vec(), b"".to_vec()];
    let expected = [None, Some(vec![]), Some(b"3".to_vec()), Some(b"empty key".to_vec())];
    assert_eq!(store.multi_get(&asked).unwrap(), expected);
    for (key, value) in asked.iter().zip(&expected) {
        assert_eq!(&store.get(key).unwrap(), value);
    }
    assert_eq!(store.commit(Batch::default()).unwrap(), 3, "an empty batch is a commit too");
    store.durable(3).unwrap();
    assert!(matches!(store.durable(4), Err(StoreError::UnknownSeq { seq: 4, last: 3 })));
    let stats = store.stats();
    assert_eq!((stats.seq, stats.durable_seq, stats.commits, stats.read_only), (3, 3, 3, false));
    assert!(stats.syncs >= 1 && stats.disk_bytes > 0);
}

fn scans_are_ordered_and_paged<P: Place>(place: &P) {
    let store = place.open();
    let mut all: Vec<Vec<u8>> = (0..1000_u16).rev().map(|n| [b"n/", &n.to_be_bytes()[..]].concat()).collect();
    for some in all.chunks(300) {
        let mut batch = Batch::default();
        some.iter().for_each(|key| batch.put(key.clone(), key.clone()));
        store.commit(batch).unwrap();
    }
    all.sort();
    let mut read: Vec<Vec<u8>> = Vec::new();
    loop {
        let page = store.scan(b"n/", read.last().map(Vec::as_slice), 7).unwrap();
        assert!(page.iter().all(|(key, value)| key == value));
        let is_last = page.len() < 7;
        read.extend(keys(page));
        if is_last {
            break;
        }
    }
    assert_eq!(read, all);
    assert_eq!(store.scan(b"n/", None, 0).unwrap(), []);
    assert_eq!(keys(store.scan(b"n/", None, usize::MAX).unwrap()), all);

    let mut exported = Vec::new();
    let count = store.export(&mut |key, value| {
        assert_eq!(key, value);
        exported.push(key.to_vec());
        Ok(())
    });
    assert_eq!((count.unwrap(), exported), (1000, all));
    assert!(matches!(store.export(&mut |_, _| Err(StoreError::Closed)), Err(StoreError::Closed)), "the sink can stop it");
}

fn prefixes_end_where_they_should<P: Place>(place: &P) {
    let store = place.open();
    let all: [&[u8]; 8] = [b"", b"\0", b"a", b"a\0", b"a\xff", b"a\xff\xff", b"b", b"\xff\xff"];
    let mut batch = Batch::default();
    all.iter().for_each(|key| batch.put(*key, "v"));
    store.commit(batch).unwrap();
    let scan = |prefix: &[u8], after: Option<&[u8]>| keys(store.scan(prefix, after, 99).unwrap());
    assert_eq!(scan(b"", None), all);
    assert_eq!(scan(b"", Some(b"")), all[1..]);
    assert_eq!(scan(b"a", None), all[2..6]);
    assert_eq!(scan(b"a\xff", None), all[4..6]);
    assert_eq!(scan(b"\xff", None), all[7..]);
    assert_eq!(scan(b"\xff\xff\xff", None), Vec::<Vec<u8>>::new());
    assert_eq!(scan(b"a", Some(b"a")), all[3..6]);
    assert_eq!(scan(b"a", Some(b"Z")), all[2..6], "after may lie before the prefix");
    assert_eq!(scan(b"a", Some(b"b")), Vec::<Vec<u8>>::new(), "or behind it");
    assert_eq!(scan(b"a", Some(b"a\x01")), all[4..6], "and needn't exist");
}

fn durable_data_and_numbers_outlive_closing<P: Place>(place: &P) {
    let store = place.open();
    assert_eq!(commit_durably(&store, batch(&[(b"a", Some(b"1")), (b"b", Some(b"2"))])), 1);
    store.commit(batch(&[(b"b", None)])).unwrap();
    drop(store);
    let store = place.open();
    assert_eq!((store.stats().seq, store.stats().durable_seq), (2, 2), "dropping syncs what was committed");
    store.durable(1).unwrap();
    assert_eq!(store.scan(b"", None, 9).unwrap(), [(b"a".to_vec(), b"1".to_vec())]);
    assert_eq!(commit_durably(&store, batch(&[(b"c", Some(b"3"))])), 3);
    P::close(&store);
    P::close(&store);
    let store = place.open();
    assert_eq!(store.get(b"c").unwrap(), Some(b"3".to_vec()));
    assert_eq!(store.commit(Batch::default()).unwrap(), 4);
}

fn commits_of_eight_threads_all_arrive<P: Place>(place: &P) {
    const EACH: u8 = 25;
    let store = place.open();
    let mut numbers = std::thread::scope(|scope| {
        let work = |thread: u8| {
            let store = &store;
            scope.spawn(move || (0..EACH).map(|n| commit_durably(store, batch(&[(&[thread, n], Some(&[n]))]))).collect::<Vec<_>>())
        };
        let threads: Vec<_> = (0..8).map(work).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=8 * u64::from(EACH)).collect::<Vec<_>>(), "each commit has its own number");
    drop(store);
    let store = place.open();
    assert_eq!(store.scan(b"", None, 999).unwrap().len(), 8 * usize::from(EACH));
    assert_eq!(store.verify().unwrap().values, 8 * u64::from(EACH));
}

fn readers_never_see_half_a_batch<P: Place>(place: &P) {
    let store = place.open();
    let wide: Vec<Vec<u8>> = (0..50_u8).map(|n| vec![n]).collect();
    let put_all = |value: u8| {
        let mut batch = Batch::default();
        wide.iter().for_each(|key| batch.put(key.clone(), vec![value]));
        batch
    };
    store.commit(put_all(0)).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for value in 1..=100 {
                store.commit(put_all(value)).unwrap();
            }
        });
        while !writer.is_finished() {
            let got = store.multi_get(&wide).unwrap();
            assert!(got.iter().all(|value| value == &got[0]), "multi_get sees one moment");
            let scanned = store.scan(b"", None, 99).unwrap();
            assert!(scanned.len() == 50 && scanned.iter().all(|(_, value)| value == &scanned[0].1), "scan sees one moment");
        }
    });
    assert_eq!(store.get(&[49]).unwrap(), Some(vec![100]));
}

fn a_corrupt_value_is_reported_not_served<P: Place>(place: &P) {
    let store = place.open();
    commit_durably(&store, batch(&[(b"a", Some(b"1")), (b"b", Some(b"2")), (b"c", Some(b"3"))]));
    let clean = store.verify().unwrap();
    assert_eq!((clean.values, clean.bytes, clean.corrupt), (3, 6, 0));
    P::damage(&store, b"b");
    let is_corrupt = |error: StoreError| matches!(error, StoreError::Corrupt { key, .. } if key == b"b");
    assert!(is_corrupt(store.get(b"b").unwrap_err()));
    assert!(is_corrupt(store.multi_get(&[b"a".to_vec(), b"b".to_vec()]).unwrap_err()));
    assert!(is_corrupt(store.scan(b"", None, 9).unwrap_err()));
    assert!(is_corrupt(store.export(&mut |_, _| Ok(())).unwrap_err()));
    assert_eq!(store.scan(b"", None, 1).unwrap().len(), 1, "what is in order is still served");
    let report = store.verify().unwrap();
    assert_eq!((report.values, report.bytes, report.corrupt), (3, 4, 1));
    assert_eq!(report.corrupt_keys, [b"b"]);
    store.commit(batch(&[(b"b", Some(b"new"))])).unwrap();
    assert_eq!(store.verify().unwrap().corrupt, 0, "writing the key again mends it");
}

fn a_closed_store_says_so<P: Place>(place: &P) {
    let store = place.open();
    commit_durably(&store, batch(&[(b"a", Some(b"1"))]));
    P::close(&store);
    let is_closed = |error: StoreError| matches!(error, StoreError::Closed);
    assert!(is_closed(store.commit(Batch::default()).unwrap_err()));
    assert!(is_closed(store.durable(1).unwrap_err()));
    assert!(is_closed(store.get(b"a").unwrap_err()));
    assert!(is_closed(store.multi_get(&[]).unwrap_err()));
    assert!(is_closed(store.scan(b"", None, 1).unwrap_err()));
    assert!(is_closed(store.verify().unwrap_err()));
    assert!(is_closed(store.export(&mut |_, _| Ok(())).unwrap_err()));
    assert!(store.stats().read_only);
}

fn what_is_too_large_changes_nothing<P: Place>(place: &P) {
    let store = place.open();
    let whole = vec![7; VALUE_BYTES_MAX];
    let (long_key, long_value) = (vec![1; KEY_BYTES_MAX + 1], vec![1; VALUE_BYTES_MAX + 1]);
    for refused in [batch(&[(b"a", Some(b"1")), (&long_key, None)]), batch(&[(b"a", Some(b"1")), (b"b", Some(&long_value))])] {
        assert!(matches!(store.commit(refused), Err(StoreError::TooLarge { .. })));
    }
    assert_eq!(store.get(b"a").unwrap(), None);
    let longest = vec![1; KEY_BYTES_MAX];
    assert_eq!(store.commit(batch(&[(&longest, Some(&whole))])).unwrap(), 1);
    assert_eq!(store.get(&longest).unwrap(), Some(whole));
}

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    Scan { prefix: Vec<u8>, after: Option<Vec<u8>>, limit: usize },
    Durable,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Few distinct bytes, so that keys meet and prefixes nest.
    let key = || prop::collection::vec(prop::sample::select(vec![0_u8, 1, 0x61, 0xff]), 0..4);
    let change = (key(), prop::option::weighted(0.7, prop::collection::vec(any::<u8>(), 0..300)));
    let step = prop_oneof![
        8 => prop::collection::vec(change, 0..12).prop_map(Step::Commit),
        4 => (key(), prop::option::of(key()), 0..9_usize).prop_map(|(prefix, after, limit)| Step::Scan { prefix, after, limit }),
        1 => Just(Step::Durable),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..40)
}

fn it_behaves_like_a_sorted_map<P: Place>(fresh: &impl Fn() -> P) {
    // A failing case is printed, so nothing is written beside the source.
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    runner.run(&steps(), |steps| run_steps(&fresh(), steps)).unwrap();
}

fn run_steps<P: Place>(place: &P, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut seq = 0;
    let mut store = place.open();
    for step in steps {
        match step {
            Step::Commit(changes) => {
                let mut batch = Batch::default();
                for (key, value) in changes {
                    match value {
                        Some(value) => {
                            batch.put(key.clone(), value.clone());
                            model.insert(key, value);
                        }
                        None => {
                            batch.delete(key.clone());
                            model.remove(&key);
                        }
                    }
                }
                seq += 1;
                prop_assert_eq!(store.commit(batch).unwrap(), seq);
            }
            Step::Scan { prefix, after, limit } => {
                let is_in = |key: &[u8]| key.starts_with(&prefix) && after.as_deref().is_none_or(|after| key > after);
                let expected: Vec<_> = model.clone().into_iter().filter(|(key, _)| is_in(key)).take(limit).collect();
                prop_assert_eq!(store.scan(&prefix, after.as_deref(), limit).unwrap(), expected);
            }
            Step::Durable => store.durable(seq).unwrap(),
            Step::Reopen => {
                drop(store);
                store = place.open();
                prop_assert_eq!(store.stats().seq, seq);
            }
        }
        let keys: Vec<_> = model.keys().cloned().collect();
        prop_assert_eq!(store.multi_get(&keys).unwrap(), model.values().cloned().map(Some).collect::<Vec<_>>());
    }
    prop_assert_eq!(store.scan(b"", None, usize::MAX).unwrap(), model.into_iter().collect::<Vec<_>>());
    Ok(())
}
