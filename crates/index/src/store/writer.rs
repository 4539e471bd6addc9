//! The one thread that writes, and what others may know of its progress.
//!
//! A round: take what is queued (up to [`COMMITS_MAX`]), write it down, apply it, tell the callers
//! their numbers; go on taking until somebody waits for durability, or the window is over, or the
//! round is full; then one sync for all of them. Commits that arrive during a sync make the next
//! round. So one caller alone never waits for the window, and many share each sync.

use super::journal;
use super::marker::Marker;
use super::sled_open::{free_bytes, panic_text};
use super::sled_tree::{SledTree, Syncer, changes_of};
use super::{Alarm, Batch, Seq, StoreError, Tap, reserve};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Commits of one round.
const COMMITS_MAX: usize = 64;
/// Bytes of one round; one batch may be more.
const ROUND_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest time that a commit nobody waits for stays unsynced.
const WINDOW: Duration = Duration::from_millis(2);
/// Commits between two writings of the marker.
const MARKER_INTERVAL: Seq = 1024;

/// What callers ask of the writer.
pub(crate) enum Request {
    Commit { batch: Batch, reply: SyncSender<Result<Seq, StoreError>> },
    Sync(Seq),
    Tap { tap: Option<Arc<dyn Tap>>, reply: SyncSender<Seq> },
    Close,
}

/// The tree as readers find it.
pub(crate) enum Readable {
    Open(SledTree),
    /// A group was applied in part: nothing is served any more.
    Torn(String),
    Closed,
}

/// What the writer has done.
#[derive(Default)]
pub(crate) struct Progress {
    pub(crate) seq: Seq,
    pub(crate) durable: Seq,
    pub(crate) commits: u64,
    pub(crate) syncs: u64,
    pub(crate) failed: Option<String>,
    pub(crate) is_closed: bool,
}

/// Shared by the writer, its callers and the readers.
pub(crate) struct Shared {
    /// Locked for writing while a group is applied, so that readers see all of it or nothing.
    pub(crate) readable: RwLock<Readable>,
    progress: Mutex<Progress>,
    changed: Condvar,
    alarm: Mutex<Option<Alarm>>,
}

impl Shared {
    pub(crate) fn new(tree: SledTree, seq: Seq) -> Self {
        let progress = Progress { seq, durable: seq, ..Progress::default() };
        Self {
            readable: RwLock::new(Readable::Open(tree)),
            progress: Mutex::new(progress),
            changed: Condvar::new(),
            alarm: Mutex::default(),
        }
    }

    pub(crate) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `seq` is durable or never will be.
    pub(crate) fn wait(&self, seq: Seq) -> Result<(), StoreError> {
        let is_open = |now: &mut Progress| outcome(now, seq).is_none();
        let now = self.changed.wait_while(self.progress(), is_open).unwrap_or_else(PoisonError::into_inner);
        outcome(&now, seq).unwrap_or(Err(StoreError::Closed))
    }

    fn update(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress());
        self.changed.notify_all();
    }

    fn fail(&self, reason: &str) {
        tracing::error!(reason, "the store takes no more commits");
        self.update(|progress| progress.failed = progress.failed.take().or_else(|| Some(reason.to_owned())));
        self.raise_alarm();
    }

    /// Sets what is called on failure, and calls it if that has happened.
    pub(crate) fn when_failed(&self, alarm: Alarm) {
        *self.alarm.lock().unwrap_or_else(PoisonError::into_inner) = Some(alarm);
        self.raise_alarm();
    }

    fn raise_alarm(&self) {
        let Some(reason) = self.progress().failed.clone() else { return };
        let alarm = self.alarm.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(alarm) = alarm {
            alarm(&reason);
        }
    }

    fn tear(&self, reason: &str) {
        *self.readable.write().unwrap_or_else(PoisonError::into_inner) = Readable::Torn(reason.to_owned());
        self.readable.clear_poison();
        self.fail(reason);
    }
}

/// Whether the wait for `seq` is over, and how it ended.
pub(crate) fn outcome(now: &Progress, seq: Seq) -> Option<Result<(), StoreError>> {
    if seq <= now.durable {
        Some(Ok(()))
    } else if let Some(reason) = &now.failed {
        Some(Err(StoreError::ReadOnly { reason: reason.clone() }))
    } else if now.is_closed {
        Some(Err(StoreError::Closed))
    } else if seq > now.seq {
        Some(Err(StoreError::UnknownSeq { seq, last: now.seq }))
    } else {
        None
    }
}

/// The writer's own things.
pub(crate) struct Writer {
    pub(crate) dir: PathBuf,
    pub(crate) reserve_bytes: u64,
    pub(crate) requests: Receiver<Request>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) tree: SledTree,
    pub(crate) syncer: Syncer,
    pub(crate) marker: Marker,
    pub(crate) tap: Option<Arc<dyn Tap>>,
    /// Whether the reserve file was given up and must be made again.
    pub(crate) is_reserve_missing: bool,
}

type Commit = (Batch, SyncSender<Result<Seq, StoreError>>);

#[derive(Default)]
struct Round {
    queued: Vec<Commit>,
    bytes: usize,
    commits: usize,
    is_awaited: bool,
    is_last: bool,
}

impl Round {
    fn has_room(&self) -> bool {
        !self.is_last && self.commits < COMMITS_MAX && self.bytes < ROUND_BYTES_MAX
    }

    fn is_due(&self) -> bool {
        self.is_awaited || !self.has_room()
    }
}

impl Writer {
    /// Serves until closed, then syncs a last time.
    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.serve())) {
            shared.tear(&format!("the writer panicked: {}", panic_text(&*panic)));
        }
        // Queued commits lose their reply channel with the queue and learn so that nothing was done.
        drop(self);
        shared.update(|progress| progress.is_closed = true);
    }

    fn serve(&mut self) {
        let mut is_last = false;
        while !is_last && let Ok(first) = self.requests.recv() {
            is_last = self.round(first);
        }
        self.write_marker(1);
    }

    fn round(&mut self, first: Request) -> bool {
        let until = Instant::now() + WINDOW;
        let mut round = Round::default();
        self.take(first, &mut round);
        loop {
            while round.has_room()
                && let Ok(request) = self.requests.try_recv()
            {
                self.take(request, &mut round);
            }
            self.commit(std::mem::take(&mut round.queued));
            if round.is_due() || !self.is_behind() {
                break;
            }
            match self.requests.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(request) => self.take(request, &mut round),
                Err(_) => break,
            }
        }
        self.sync();
        self.write_marker(MARKER_INTERVAL);
        self.keep_reserve();
        round.is_last
    }

    fn take(&mut self, request: Request, round: &mut Round) {
        match request {
            Request::Commit { batch, reply } => {
                round.bytes += batch.bytes();
                round.commits += 1;
                round.queued.push((batch, reply));
            }
            // An old wish, fulfilled since by another's sync, must not cut this round short.
            Request::Sync(seq) => round.is_awaited |= seq > self.shared.progress().durable,
            Request::Tap { tap, reply } => {
                self.commit(std::mem::take(&mut round.queued));
                self.tap = tap;
                // A caller that is gone needs no answer.
                let _ = reply.send(self.shared.progress().seq);
            }
            Request::Close => round.is_last = true,
        }
    }

    fn is_behind(&self) -> bool {
        let now = self.shared.progress();
        now.failed.is_none() && now.durable < now.seq
    }

    /// Applies commits as one group and answers each.
    fn commit(&self, commits: Vec<Commit>) {
        if commits.is_empty() {
            return;
        }
        let mut group = Vec::new();
        commits.iter().for_each(|(batch, _)| journal::append(&mut group, batch));
        let before = self.shared.progress().seq;
        let applied = self.admit(group.len()).and_then(|()| self.apply(&group, before + commits.len() as u64));
        match applied {
            Ok(()) => self.answer(before, commits),
            // A caller that is gone needs no answer.
            Err(error) => commits.iter().for_each(|(_, reply)| drop(reply.send(Err(again(&error))))),
        }
    }

    fn answer(&self, before: Seq, commits: Vec<Commit>) {
        let count = commits.len() as u64;
        self.shared.update(|progress| {
            progress.seq = before + count;
            progress.commits += count;
        });
        for (seq, (batch, reply)) in (before + 1..).zip(commits) {
            if let Some(tap) = &self.tap {
                tap.committed(seq, &batch);
            }
            let _ = reply.send(Ok(seq));
        }
    }

    /// Refuses while nothing has been touched: sled doesn't survive a full disk.
    fn admit(&self, bytes: usize) -> Result<(), StoreError> {
        if let Some(reason) = &self.shared.progress().failed {
            return Err(StoreError::ReadOnly { reason: reason.clone() });
        }
        check_room(free_bytes(&self.dir)?, self.reserve_bytes, bytes as u64)
    }

    fn apply(&self, group: &[u8], seq: Seq) -> Result<(), StoreError> {
        let changes = changes_of(group)?;
        self.tree.write_journal(group, seq).inspect_err(|error| self.shared.fail(&error.to_string()))?;
        let applied = {
            let _readers_out = self.shared.readable.write().unwrap_or_else(PoisonError::into_inner);
            self.tree.apply(&changes, seq)
        };
        applied.inspect_err(|error| self.shared.tear(&error.to_string()))?;
        self.tree.trim_journal(group).inspect_err(|error| self.shared.fail(&error.to_string()))
    }

    fn sync(&mut self) {
        if !self.is_behind() {
            return;
        }
        // Only this thread commits, so this is all that the sync covers.
        let seq = self.shared.progress().seq;
        match self.syncer.sync(&self.tree) {
            Ok(()) => self.shared.update(|progress| {
                progress.durable = seq;
                progress.syncs += 1;
            }),
            Err(error) => self.shared.fail(&format!("a sync failed: {error}")),
        }
    }

    /// Makes the reserve file again once there is room for it.
    fn keep_reserve(&mut self) {
        if self.is_reserve_missing && self.shared.progress().failed.is_none() {
            self.is_reserve_missing = !reserve::make(&self.dir, self.reserve_bytes);
        }
    }

    /// Moves the marker up to what is durable, if that is at least `step` commits further.
    fn write_marker(&mut self, step: Seq) {
        let durable = self.shared.progress().durable;
        if durable < self.marker.seq + step {
            return;
        }
        self.marker.seq = durable;
        // The old marker stays true, only less exact.
        if let Err(error) = self.marker.write(&self.dir) {
            tracing::warn!(%error, "the store's marker could not be written");
        }
    }
}

fn check_room(free_bytes: u64, reserve_bytes: u64, group_bytes: u64) -> Result<(), StoreError> {
    // Journal, values and rewritten pages: up to four times live data was measured.
    let needed = reserve_bytes.saturating_add(group_bytes.saturating_mul(4));
    if free_bytes < needed { Err(StoreError::Full { free_bytes, reserve_bytes }) } else { Ok(()) }
}

/// The same error for each commit of a group.
fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Full { free_bytes, reserve_bytes } => StoreError::Full { free_bytes: *free_bytes, reserve_bytes: *reserve_bytes },
        StoreError::ReadOnly { reason } => StoreError::ReadOnly { reason: reason.clone() },
        other => StoreError::ReadOnly { reason: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_must_leave_the_reserve_free() {
        assert!(check_room(140, 100, 10).is_ok());
        assert!(matches!(check_room(139, 100, 10), Err(StoreError::Full { free_bytes: 139, reserve_bytes: 100 })));
        assert!(check_room(u64::MAX - 1, u64::MAX, 0).is_err());
    }
}
