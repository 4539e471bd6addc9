//! A store in memory that fails on demand: what tests of other modules run on.
//!
//! [`MemoryDisk`] is what survives; a [`MemoryStore`] is one opening of it. Unlike the real store
//! it syncs only when somebody waits for durability, so a crash loses as much as it ever may.

use super::{Alarm, Batch, EnvelopeError, Pair, Seq, Sink, Store, StoreError, StoreReport, StoreStats, Tap, envelope};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Values = BTreeMap<Vec<u8>, Vec<u8>>;

/// What is left after a crash, and which faults come next. Clones are the same disk.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Disk>>);

#[derive(Default)]
struct Disk {
    durable: Values,
    live: Values,
    /// Committed but not durable, oldest first.
    pending: Vec<Batch>,
    seq: Seq,
    /// Counts openings: a store of an earlier one is closed.
    opening: u64,
    is_open: bool,
    failed: Option<String>,
    commits: u64,
    syncs: u64,
    fail_commit: Countdown,
    tear_commit: Countdown,
    /// A commit was applied in part: nothing is served any more.
    is_torn: bool,
    refuse_commit: Countdown,
    fail_sync: Countdown,
    tap: Option<Arc<dyn Tap>>,
    alarm: Option<Alarm>,
}

/// Fires once, at the nth call.
#[derive(Default)]
struct Countdown(Option<u64>);

impl Countdown {
    fn fires(&mut self) -> bool {
        self.0 = self.0.map(|left| left.saturating_sub(1));
        self.0.take_if(|left| *left == 0).is_some()
    }
}

impl MemoryDisk {
    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The `nth` commit from now (1 is the next) fails while writing; the store takes no more.
    pub fn fail_commit(&self, nth: u64) {
        self.lock().fail_commit = Countdown(Some(nth));
    }

    /// The `nth` commit from now is written in part only: the store takes no more and serves nothing
    /// until it is opened again.
    pub fn tear_commit(&self, nth: u64) {
        self.lock().tear_commit = Countdown(Some(nth));
    }

    /// The `nth` commit from now is refused with [`StoreError::Full`]; the store goes on.
    pub fn refuse_commit(&self, nth: u64) {
        self.lock().refuse_commit = Countdown(Some(nth));
    }

    /// The `nth` sync from now fails; the store takes no more commits.
    pub fn fail_sync(&self, nth: u64) {
        self.lock().fail_sync = Countdown(Some(nth));
    }

    /// The power goes: what was not durable is lost. With a seed, a prefix of the commits that
    /// were not durable survives all the same, as on a real disk; never a part of one.
    pub fn crash(&self, keep_some: Option<u64>) {
        let mut disk = self.lock();
        let kept = keep_some.map_or(0, |seed| pick(seed, disk.pending.len()));
        let lost = disk.pending.len() - kept;
        disk.make_durable(kept);
        disk.pending.clear();
        disk.seq -= lost as u64;
        disk.live = disk.durable.clone();
        disk.is_open = false;
        disk.opening += 1;
        (disk.tap, disk.alarm) = (None, None);
    }

    /// Flips a bit of a stored value; whether there was one.
    #[must_use]
    pub fn damage(&self, key: &[u8]) -> bool {
        let disk = &mut *self.lock();
        let mut damaged = false;
        for values in [&mut disk.live, &mut disk.durable] {
            if let Some(last) = values.get_mut(key).and_then(|value| value.last_mut()) {
                *last ^= 1;
                damaged = true;
            }
        }
        damaged
    }
}

/// A number from 0 to `most`, the same for the same seed.
fn pick(seed: u64, most: usize) -> usize {
    // The finisher of splitmix64 (public domain, Vigna 2015).
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((mixed ^ (mixed >> 31)) % (most as u64 + 1)).unwrap_or(most)
}

impl Disk {
    /// Makes the oldest `count` pending commits durable.
    fn make_durable(&mut self, count: usize) {
        for batch in self.pending.drain(..count) {
            apply(&mut self.durable, &batch);
        }
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.check_writable()?;
        if self.fail_sync.fires() {
            return Err(self.fail("a sync failed: injected"));
        }
        self.syncs += 1;
        self.make_durable(self.pending.len());
        Ok(())
    }

    fn fail(&mut self, reason: &str) -> StoreError {
        self.failed = Some(reason.to_owned());
        if let Some(alarm) = self.alarm.take() {
            alarm(reason);
        }
        StoreError::ReadOnly { reason: reason.to_owned() }
    }

    fn check_writable(&self) -> Result<(), StoreError> {
        self.failed.as_ref().map_or(Ok(()), |reason| Err(StoreError::ReadOnly { reason: reason.clone() }))
    }

    fn durable_seq(&self) -> Seq {
        self.seq - self.pending.len() as u64
    }

    fn commit(&mut self, batch: Batch) -> Result<Seq, StoreError> {
        self.check_writable()?;
        if self.refuse_commit.fires() {
            return Err(StoreError::Full { free_bytes: 0, reserve_bytes: 1 });
        }
        if self.fail_commit.fires() {
            return Err(self.fail("a commit failed: injected"));
        }
        if self.tear_commit.fires() {
            self.is_torn = true;
            return Err(self.fail("a commit was cut short: injected"));
        }
        apply(&mut self.live, &batch);
        self.seq += 1;
        self.commits += 1;
        if let Some(tap) = &self.tap {
            tap.committed(self.seq, &batch);
        }
        self.pending.push(batch);
        Ok(self.seq)
    }
}

fn apply(values: &mut Values, batch: &Batch) {
    for (key, value) in batch.changes() {
        match value {
            Some(value) => drop(values.insert(key.to_vec(), envelope::encode(key, value))),
            None => drop(values.remove(key)),
        }
    }
}

/// One opening of a [`MemoryDisk`]. The default has a disk of its own.
pub struct MemoryStore {
    disk: MemoryDisk,
    opening: u64,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::start(&MemoryDisk::default())
    }
}

impl MemoryStore {
    /// Opens what is on the disk.
    ///
    /// # Errors
    /// `Locked` while another store has it open.
    pub fn open(disk: &MemoryDisk) -> Result<Self, StoreError> {
        if disk.lock().is_open {
            return Err(StoreError::Locked { dir: PathBuf::from("memory") });
        }
        Ok(Self::start(disk))
    }

    fn start(disk: &MemoryDisk) -> Self {
        let mut inner = disk.lock();
        inner.opening += 1;
        inner.is_open = true;
        inner.failed = None;
        inner.is_torn = false;
        (inner.commits, inner.syncs) = (0, 0);
        Self { disk: disk.clone(), opening: inner.opening }
    }

    /// The disk below, to inject faults.
    #[must_use]
    pub fn disk(&self) -> &MemoryDisk {
        &self.disk
    }

    /// Makes everything committed durable and closes. Closing again does nothing.
    ///
    /// # Errors
    /// `ReadOnly` when the last sync fails: what was not durable is lost.
    pub fn close(&self) -> Result<(), StoreError> {
        let Ok(mut disk) = self.open_disk() else { return Ok(()) };
        let synced = if disk.pending.is_empty() { disk.check_writable() } else { disk.sync() };
        drop(disk);
        self.disk.crash(None);
        synced
    }

    fn readable_disk(&self) -> Result<MutexGuard<'_, Disk>, StoreError> {
        let disk = self.open_disk()?;
        if disk.is_torn { Err(StoreError::Damaged("a commit was applied in part: injected".into())) } else { Ok(disk) }
    }

    fn open_disk(&self) -> Result<MutexGuard<'_, Disk>, StoreError> {
        let disk = self.disk.lock();
        if disk.is_open && disk.opening == self.opening { Ok(disk) } else { Err(StoreError::Closed) }
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        // What a failed last sync loses was never reported durable.
        let _ = self.close();
    }
}

fn open_envelope(key: &[u8], value: &[u8]) -> Result<Vec<u8>, StoreError> {
    let corrupt = |reason: EnvelopeError| StoreError::Corrupt { key: key.to_vec(), reason };
    envelope::decode(key, value).map(<[u8]>::to_vec).map_err(corrupt)
}

impl Store for MemoryStore {
    fn commit(&self, batch: Batch) -> Result<Seq, StoreError> {
        batch.check()?;
        self.open_disk()?.commit(batch)
    }

    fn durable(&self, seq: Seq) -> Result<(), StoreError> {
        let mut disk = self.open_disk()?;
        if seq <= disk.durable_seq() {
            return Ok(());
        }
        disk.check_writable()?;
        if seq > disk.seq { Err(StoreError::UnknownSeq { seq, last: disk.seq }) } else { disk.sync() }
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.readable_disk()?.live.get(key).map(|value| open_envelope(key, value)).transpose()
    }

    fn multi_get(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let disk = self.readable_disk()?;
        keys.iter().map(|key| disk.live.get(key).map(|value| open_envelope(key, value)).transpose()).collect()
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        let disk = self.readable_disk()?;
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let pairs = disk.live.range::<[u8], _>((start, Bound::Unbounded)).take_while(|(key, _)| key.starts_with(prefix));
        pairs.take(limit).map(|(key, value)| Ok((key.clone(), open_envelope(key, value)?))).collect()
    }

    fn verify(&self) -> Result<StoreReport, StoreError> {
        let mut report = StoreReport::default();
        for (key, value) in &self.readable_disk()?.live {
            report.add(key, envelope::decode(key, value).map(<[u8]>::to_vec));
        }
        Ok(report)
    }

    fn export(&self, sink: &mut Sink<'_>) -> Result<u64, StoreError> {
        let pairs = self.scan(b"", None, usize::MAX)?;
        pairs.iter().try_for_each(|(key, value)| sink(key, value))?;
        Ok(pairs.len() as u64)
    }

    fn set_tap(&self, tap: Option<Arc<dyn Tap>>) -> Result<Seq, StoreError> {
        let mut disk = self.open_disk()?;
        disk.tap = tap;
        Ok(disk.seq)
    }

    fn when_failed(&self, alarm: Alarm) {
        let mut disk = self.disk.lock();
        match disk.failed.clone() {
            Some(reason) => alarm(&reason),
            None => disk.alarm = Some(alarm),
        }
    }

    fn stats(&self) -> StoreStats {
        let disk = self.disk.lock();
        StoreStats {
            disk_bytes: disk.live.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum(),
            seq: disk.seq,
            durable_seq: disk.durable_seq(),
            commits: disk.commits,
            syncs: disk.syncs,
            read_only: disk.failed.is_some() || !disk.is_open || disk.opening != self.opening,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::{self, Place};
    use super::*;

    impl Place for MemoryDisk {
        type Opened = MemoryStore;

        fn open(&self) -> MemoryStore {
            MemoryStore::open(self).unwrap()
        }

        fn close(store: &MemoryStore) {
            store.close().unwrap();
        }

        fn damage(store: &MemoryStore, key: &[u8]) {
            assert!(store.disk().damage(key));
        }
    }

    #[test]
    fn the_store_in_memory_keeps_the_contract() {
        contract::check(MemoryDisk::default);
    }

    fn put(store: &MemoryStore, key: &str) -> Result<Seq, StoreError> {
        let mut batch = Batch::default();
        batch.put(key, "1");
        batch.put(format!("{key}'"), "2");
        store.commit(batch)
    }

    #[test]
    fn a_crash_loses_only_what_was_not_durable_and_only_whole_commits() {
        let mut kept_counts = std::collections::BTreeSet::new();
        for seed in (0..40).map(Some).chain([None]) {
            let store = MemoryStore::default();
            let first = put(&store, "durable").unwrap();
            store.durable(first).unwrap();
            for key in ["a", "b", "c"] {
                put(&store, key).unwrap();
            }
            store.disk().crash(seed);
            assert!(matches!(store.get(b"durable"), Err(StoreError::Closed)));

            let again = MemoryStore::open(store.disk()).unwrap();
            let keys: Vec<_> = again.scan(b"", None, 99).unwrap().into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect();
            let kept = (keys.len() - 2) / 2;
            assert_eq!(
                keys,
                ["a", "a'", "b", "b'", "c", "c'"].iter().take(kept * 2).copied().chain(["durable", "durable'"]).collect::<Vec<_>>()
            );
            assert_eq!(put(&again, "next").unwrap(), 2 + kept as u64);
            assert!(seed.is_some() || kept == 0);
            kept_counts.insert(kept);
        }
        assert_eq!(kept_counts.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    #[test]
    fn faults_come_when_they_are_asked_for() {
        let store = MemoryStore::default();
        store.disk().refuse_commit(2);
        store.disk().fail_sync(2);
        let first = put(&store, "a").unwrap();
        assert!(matches!(put(&store, "b"), Err(StoreError::Full { .. })));
        store.durable(first).unwrap();
        let second = put(&store, "c").unwrap();
        assert!(matches!(store.durable(second), Err(StoreError::ReadOnly { .. })));
        assert!(matches!(store.durable(second), Err(StoreError::ReadOnly { .. })), "nothing is retried");
        assert!(matches!(put(&store, "d"), Err(StoreError::ReadOnly { .. })));
        assert!(store.stats().read_only);
        store.disk().crash(None);
        let again = MemoryStore::open(store.disk()).unwrap();
        assert_eq!((again.get(b"a").unwrap().is_some(), again.get(b"c").unwrap()), (true, None));
        again.disk().fail_commit(1);
        assert!(put(&again, "e").is_err() && again.get(b"e").unwrap().is_none());
    }
}
