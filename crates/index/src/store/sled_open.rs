//! The open ladder: how a store's folder becomes an open store, or an error that says what to do.
//!
//! Steps: lock → free space, giving up the reserve file if there is none → marker and format → data
//! present where the marker says so → open → finish the interrupted group → compare with the marker →
//! on damage or loss once more on a copy without its snapshot, which takes the place of the data if it
//! is whole → sync → write the marker. Nothing is ever deleted but a copy of our own that was no help.

use super::marker::{FORMAT, Marker};
use super::sled_store::SledOptions;
use super::sled_tree::{SledTree, Syncer, failed};
use super::{OpenError, Seq, StoreError, atomic_file, reserve, trial};
use rustix::fs::{FlockOperation, flock, statvfs};
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Fixed when a store is created: pages up to a quarter of it stay in the main file, and
/// 16 values of the longest kind fit into one page.
const SEGMENT_BYTES: usize = 8 * 1024 * 1024;
/// How long sled's background threads may keep its file locked after the last handle is gone.
const RELEASE_WAIT: Duration = Duration::from_secs(5);

/// How long children of a killed process may keep its lock: a child that is just being started holds a copy of the
/// descriptor until it runs.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// What the ladder ends in.
pub(crate) struct Opened {
    pub(crate) tree: SledTree,
    pub(crate) syncer: Syncer,
    pub(crate) marker: Marker,
    pub(crate) seq: Seq,
    /// Held as long as the store is open.
    pub(crate) lock: Lock,
}

/// The locked `store.lock`.
pub(crate) struct Lock(File);

impl Drop for Lock {
    /// Closing isn't enough, see [`LOCK_WAIT`].
    fn drop(&mut self) {
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// Folder of sled's own files.
pub(crate) fn data_folder(dir: &Path) -> PathBuf {
    dir.join("sled")
}

/// Climbs the ladder.
pub(crate) fn open(dir: &Path, options: &SledOptions) -> Result<Opened, StoreError> {
    let refused = |reason| StoreError::Open { dir: dir.to_owned(), reason };
    atomic_file::create_folders(dir).map_err(|error| refused(error.into()))?;
    let lock = take_lock(dir)?;
    check_space(dir).map_err(refused)?;
    let marker = Marker::read(dir).map_err(refused)?;
    trial::finish_swap(dir).map_err(|error| refused(error.into()))?;
    if let Some(marker) = &marker {
        check_present(dir, marker).map_err(refused)?;
    }
    let (tree, id, seq) = match open_data(&data_folder(dir), options, marker.as_ref()) {
        Err(reason) if may_be_the_snapshot(&reason) => trial::open(dir, options, marker.as_ref(), reason),
        opened => opened,
    }
    .map_err(refused)?;
    let marker = Marker { format: FORMAT, store_id: id, seq, segment_bytes: SEGMENT_BYTES };
    let syncer = settle(dir, &tree, &marker).map_err(|error| refused(as_open_error(error)))?;
    Ok(Opened { tree, syncer, marker, seq, lock })
}

/// Whether the log may still hold what the snapshot doesn't.
fn may_be_the_snapshot(reason: &OpenError) -> bool {
    matches!(reason, OpenError::Damaged(_) | OpenError::Behind { .. } | OpenError::Missing { .. })
}

fn take_lock(dir: &Path) -> Result<Lock, StoreError> {
    let refused = |error: io::Error| StoreError::Open { dir: dir.to_owned(), reason: error.into() };
    let file = File::options().create(true).truncate(false).write(true).open(dir.join("store.lock")).map_err(refused)?;
    let give_up = Instant::now() + LOCK_WAIT;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Lock(file)),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < give_up => std::thread::sleep(Duration::from_millis(5)),
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StoreError::Locked { dir: dir.to_owned() }),
            Err(error) => return Err(refused(error.into())),
        }
    }
}

/// Bytes that this process may still write to the file system of `dir`.
pub(crate) fn free_bytes(dir: &Path) -> io::Result<u64> {
    let space = statvfs(dir)?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

/// Less than this and sled may not get through opening.
const OPEN_BYTES: u64 = 8 * 1024 * 1024;

fn check_space(dir: &Path) -> Result<(), OpenError> {
    if free_bytes(dir)? < OPEN_BYTES && reserve::give_up(dir) {
        tracing::warn!("the disk is full: the space held back for that is given up so that the store can open");
    }
    enough_to_open(free_bytes(dir)?)
}

fn enough_to_open(free_bytes: u64) -> Result<(), OpenError> {
    if free_bytes < OPEN_BYTES { Err(OpenError::NoSpace { free_bytes, reserve_bytes: OPEN_BYTES }) } else { Ok(()) }
}

fn check_present(dir: &Path, marker: &Marker) -> Result<(), OpenError> {
    if Syncer::bytes(&data_folder(dir)) > 0 { Ok(()) } else { Err(missing(marker)) }
}

fn missing(marker: &Marker) -> OpenError {
    OpenError::Missing { store_id: marker.store_id.clone(), seq: marker.seq }
}

/// Opens the data in `folder`, finishes its interrupted group and compares it with the marker.
pub(super) fn open_data(folder: &Path, options: &SledOptions, marker: Option<&Marker>) -> Result<(SledTree, String, Seq), OpenError> {
    let tree = open_sled(folder, options)?;
    // Reading damaged pages panics too.
    let found = catch_unwind(AssertUnwindSafe(|| identify(&tree, marker)));
    let found = found.unwrap_or_else(|panic| Err(StoreError::Damaged(panic_text(&*panic))));
    let (id, seq) = found.map_err(as_open_error)?;
    if let Some(marker) = marker {
        marker.check(&id, seq)?;
    }
    Ok((tree, id, seq))
}

/// Opens sled, which panics on some kinds of damage.
pub(super) fn open_sled(folder: &Path, options: &SledOptions) -> Result<SledTree, OpenError> {
    let config = sled::Config::new().path(folder).cache_capacity(options.cache_bytes).segment_size(SEGMENT_BYTES).flush_every_ms(None);
    let give_up = Instant::now() + RELEASE_WAIT;
    loop {
        let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
        return match opened {
            Ok(Ok(db)) => Ok(SledTree(db)),
            Ok(Err(sled::Error::Io(error))) if is_locked(&error) && Instant::now() < give_up => {
                // We hold the store's lock, so this is a store of ours that was closed a moment ago.
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            Ok(Err(sled::Error::Io(error))) if !is_damage(&error) => Err(error.into()),
            Ok(Err(error)) => Err(OpenError::Damaged(error.to_string())),
            Err(panic) => Err(OpenError::Damaged(panic_text(&*panic))),
        };
    }
}

/// Opens a database of its own for what may be lost: it is written every few seconds, and never synced.
pub(crate) fn open_sled_unsynced(folder: &Path, cache_bytes: u64) -> Result<sled::Db, String> {
    const WRITTEN_EVERY_MS: u64 = 2000;
    let config =
        sled::Config::new().path(folder).cache_capacity(cache_bytes).segment_size(SEGMENT_BYTES).flush_every_ms(Some(WRITTEN_EVERY_MS));
    let give_up = Instant::now() + RELEASE_WAIT;
    loop {
        match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Ok(db)) => return Ok(db),
            // Closed by ourselves a moment ago; whoever else had it open would hold the lock of the store.
            Ok(Err(sled::Error::Io(error))) if is_locked(&error) && Instant::now() < give_up => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(Err(error)) => return Err(error.to_string()),
            Err(panic) => return Err(panic_text(&*panic)),
        }
    }
}

fn is_locked(error: &io::Error) -> bool {
    is_in_use(&error.to_string())
}

/// Whether sled says that somebody has the database open.
pub(crate) fn is_in_use(reason: &str) -> bool {
    reason.contains("could not acquire lock")
}

fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::Other)
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "it panicked without a message".into())
}

/// The store's id and last commit; a new store gets its id here.
fn identify(tree: &SledTree, marker: Option<&Marker>) -> Result<(String, Seq), StoreError> {
    match (tree.identity()?, marker) {
        (Some((_, found)), _) if found != FORMAT => Err(as_store_error(OpenError::Format { expected: FORMAT, found })),
        (Some((id, _)), _) => Ok((id, tree.recover()?)),
        (None, Some(marker)) => Err(as_store_error(missing(marker))),
        (None, None) if !tree.0.is_empty() && tree.0.get(b"\0format").map_err(failed)?.is_none() => {
            Err(StoreError::Damaged("there is data but no store id".into()))
        }
        (None, None) => {
            let id = new_id();
            tree.set_identity(&id, FORMAT)?;
            Ok((id, 0))
        }
    }
}

/// 128 random bits as hex, from the seeds the standard library takes from the system.
fn new_id() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}

/// Syncs data and folders, then says so in the marker.
fn settle(dir: &Path, tree: &SledTree, marker: &Marker) -> Result<Syncer, StoreError> {
    let folder = data_folder(dir);
    let mut syncer = Syncer::new(&folder)?;
    syncer.sync(tree)?;
    File::open(folder.join("conf"))?.sync_all()?;
    atomic_file::sync_folder(&folder)?;
    atomic_file::sync_folder(dir)?;
    marker.write(dir)?;
    Ok(syncer)
}

fn as_store_error(reason: OpenError) -> StoreError {
    StoreError::Open { dir: PathBuf::new(), reason }
}

fn as_open_error(error: StoreError) -> OpenError {
    match error {
        StoreError::Open { reason, .. } => reason,
        StoreError::Io(error) => error.into(),
        other => OpenError::Damaged(other.to_string()),
    }
}

/// Ends the process when one of sled's threads panics. Without it the callers that wait for that
/// thread hang for ever; a restart recovers. Call it once at start-up, after other panic hooks.
pub fn exit_on_storage_panic() {
    on_storage_panic(|| {
        tracing::error!("a storage thread panicked; ending the process so that a restart can recover");
        std::process::abort()
    });
}

/// As [`exit_on_storage_panic`], for programs that end in another way. `end` must not return to go on:
/// whoever waits for the thread hangs.
pub fn on_storage_panic(end: impl Fn() + Send + Sync + 'static) {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        previous(panic);
        if std::thread::current().name().is_some_and(|name| name.starts_with("sled-io-")) {
            end();
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opening_needs_some_space() {
        assert!(enough_to_open(OPEN_BYTES).is_ok());
        assert!(matches!(enough_to_open(OPEN_BYTES - 1), Err(OpenError::NoSpace { .. })));
    }
}
