//! The durable store on one sled tree. See `DESIGN.md` for the steps and why each is there.
//!
//! Threads: readers read beside each other; one writer thread ([`super::writer`]) applies and syncs.

use super::sled_open::{self, Lock, Opened};
use super::sled_tree::{SledTree, Syncer};
use super::writer::{Readable, Request, Shared, Writer, outcome};
use super::{Alarm, Batch, Pair, Seq, Sink, Store, StoreError, StoreReport, StoreStats, Tap, reserve};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Requests that wait for the writer; more callers wait to be let in.
const QUEUE_MAX: usize = 256;
/// Values read at a time by verify and export, between which the writer gets its turn.
const PAGE: usize = 256;

/// How to open a [`SledStore`].
#[derive(Debug, Clone)]
pub struct SledOptions {
    /// Bytes of pages kept in memory, as sled counts them; the process uses up to ten times as much. Default 16 MiB.
    pub cache_bytes: u64,
    /// Bytes of disk that stay free: below this, commits are refused. Default 256 MiB.
    pub reserve_bytes: u64,
}

impl Default for SledOptions {
    fn default() -> Self {
        Self { cache_bytes: 16 * 1024 * 1024, reserve_bytes: 256 * 1024 * 1024 }
    }
}

/// See the module.
pub struct SledStore {
    dir: PathBuf,
    shared: Arc<Shared>,
    requests: SyncSender<Request>,
    running: Mutex<Option<(JoinHandle<()>, Lock)>>,
}

impl SledStore {
    /// Opens the store in `dir`, or creates it where there never was one.
    ///
    /// # Errors
    /// `Locked`, or `Open` with what is wrong and what to do about it; the data stays as it was.
    pub fn open(dir: impl AsRef<Path>, options: &SledOptions) -> Result<Self, StoreError> {
        let dir = dir.as_ref().to_owned();
        let Opened { tree, syncer, marker, seq, lock } = sled_open::open(&dir, options)?;
        let shared = Arc::new(Shared::new(tree.clone(), seq));
        let (requests, queue) = sync_channel(QUEUE_MAX);
        let writer = Writer {
            dir: dir.clone(),
            reserve_bytes: options.reserve_bytes,
            requests: queue,
            shared: Arc::clone(&shared),
            tree,
            syncer,
            marker,
            tap: None,
            is_reserve_missing: !reserve::make(&dir, options.reserve_bytes),
        };
        let thread = std::thread::Builder::new().name("store-writer".into()).spawn(move || writer.run())?;
        Ok(Self { dir, shared, requests, running: Mutex::new(Some((thread, lock))) })
    }

    /// Makes everything committed durable and closes the files. Later calls fail; closing again does nothing.
    ///
    /// # Errors
    /// `ReadOnly` when the last sync failed.
    pub fn close(&self) -> Result<(), StoreError> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((thread, lock)) = running.take() else { return Ok(()) };
        // If the writer is gone already there is nobody to tell.
        let _ = self.requests.send(Request::Close);
        let _ = thread.join();
        *self.shared.readable.write().unwrap_or_else(PoisonError::into_inner) = Readable::Closed;
        drop(lock);
        let progress = self.shared.progress();
        match outcome(&progress, progress.seq) {
            Some(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }

    fn read<T>(&self, read: impl FnOnce(&SledTree) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let Ok(readable) = self.shared.readable.read() else {
            return Err(StoreError::Damaged("the writer panicked; restart to recover".into()));
        };
        match &*readable {
            Readable::Open(tree) => read(tree),
            Readable::Torn(reason) => Err(StoreError::Damaged(format!("a commit was applied in part ({reason}); restart to recover"))),
            Readable::Closed => Err(StoreError::Closed),
        }
    }

    /// The tree below the checksums and the journal.
    #[cfg(test)]
    pub(crate) fn tree(&self) -> SledTree {
        self.read(|tree| Ok(tree.clone())).unwrap()
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the store was not closed in good order");
        }
    }
}

impl Store for SledStore {
    fn commit(&self, batch: Batch) -> Result<Seq, StoreError> {
        batch.check()?;
        let (reply, answer) = sync_channel(1);
        self.requests.send(Request::Commit { batch, reply }).map_err(|_| StoreError::Closed)?;
        answer.recv().unwrap_or(Err(StoreError::Closed))
    }

    fn durable(&self, seq: Seq) -> Result<(), StoreError> {
        {
            let now = self.shared.progress();
            if now.is_closed {
                return Err(StoreError::Closed);
            }
            if let Some(outcome) = outcome(&now, seq) {
                return outcome;
            }
        }
        // A full queue means a full round, which is synced without being asked.
        let _ = self.requests.try_send(Request::Sync(seq));
        self.shared.wait(seq)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|tree| tree.get(key))
    }

    fn multi_get(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.read(|tree| keys.iter().map(|key| tree.get(key)).collect())
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        self.read(|tree| tree.scan(prefix, after, limit))
    }

    fn verify(&self) -> Result<StoreReport, StoreError> {
        let mut report = StoreReport::default();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page: Vec<_> = self.read(|tree| tree.read(b"", after.as_deref(), PAGE).collect::<Result<_, _>>())?;
            let is_last = page.len() < PAGE;
            for (key, payload) in page {
                report.add(&key, payload);
                after = Some(key);
            }
            if is_last {
                return Ok(report);
            }
        }
    }

    fn export(&self, sink: &mut Sink<'_>) -> Result<u64, StoreError> {
        let (mut count, mut after) = (0, None);
        loop {
            let page = self.scan(b"", after.as_deref(), PAGE)?;
            page.iter().try_for_each(|(key, value)| sink(key, value))?;
            count += page.len() as u64;
            if page.len() < PAGE {
                return Ok(count);
            }
            after = page.into_iter().last().map(|(key, _)| key);
        }
    }

    fn set_tap(&self, tap: Option<Arc<dyn Tap>>) -> Result<Seq, StoreError> {
        let (reply, answer) = sync_channel(1);
        self.requests.send(Request::Tap { tap, reply }).map_err(|_| StoreError::Closed)?;
        answer.recv().map_err(|_| StoreError::Closed)
    }

    fn when_failed(&self, alarm: Alarm) {
        self.shared.when_failed(alarm);
    }

    fn stats(&self) -> StoreStats {
        let now = self.shared.progress();
        StoreStats {
            disk_bytes: Syncer::bytes(&sled_open::data_folder(&self.dir)),
            seq: now.seq,
            durable_seq: now.durable,
            commits: now.commits,
            syncs: now.syncs,
            read_only: now.failed.is_some() || now.is_closed,
        }
    }
}
