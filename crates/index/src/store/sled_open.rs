//! The open ladder: how a store's folder becomes an open store, or an error that says what to do.
//!
//! Steps: lock → marker and format → free space → data present where the marker says so → open →
//! on damage once more with the snapshot set aside → finish the interrupted group → compare with
//! the marker → sync → write the marker. Nothing is ever deleted; on failure the snapshot goes back.

use super::marker::{FORMAT, Marker};
use super::sled_store::SledOptions;
use super::sled_tree::{SledTree, Syncer, failed};
use super::{OpenError, Seq, StoreError, atomic_file};
use rustix::fs::{FlockOperation, flock, statvfs};
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Fixed when a store is created: pages up to a quarter of it stay in the main file, and
/// 16 values of the longest kind fit into one page.
const SEGMENT_BYTES: usize = 8 * 1024 * 1024;
/// How long sled's background threads may keep its file locked after the last handle is gone.
const RELEASE_WAIT: Duration = Duration::from_secs(5);

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
    /// Closing isn't enough: a child process that is just being started holds a copy of the descriptor until it runs.
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
    check_space(dir, options).map_err(refused)?;
    let marker = Marker::read(dir).map_err(refused)?;
    if let Some(marker) = &marker {
        check_present(dir, marker).map_err(refused)?;
    }
    let tree = open_data(dir, options).map_err(refused)?;
    let found = identify(&tree, marker.as_ref());
    let (id, seq) = found.map_err(|error| refused(as_open_error(error)))?;
    if let Some(marker) = &marker {
        marker.check(&id, seq).map_err(refused)?;
    }
    let marker = Marker { format: FORMAT, store_id: id, seq, segment_bytes: SEGMENT_BYTES };
    let syncer = settle(dir, &tree, &marker).map_err(|error| refused(as_open_error(error)))?;
    Ok(Opened { tree, syncer, marker, seq, lock })
}

fn take_lock(dir: &Path) -> Result<Lock, StoreError> {
    let refused = |error: io::Error| StoreError::Open { dir: dir.to_owned(), reason: error.into() };
    let file = File::options().create(true).truncate(false).write(true).open(dir.join("store.lock")).map_err(refused)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::Locked { dir: dir.to_owned() }),
        Err(error) => Err(refused(error.into())),
    }
}

/// Bytes that this process may still write to the file system of `dir`.
pub(crate) fn free_bytes(dir: &Path) -> io::Result<u64> {
    let space = statvfs(dir)?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

fn check_space(dir: &Path, options: &SledOptions) -> Result<(), OpenError> {
    let (free_bytes, reserve_bytes) = (free_bytes(dir)?, options.reserve_bytes);
    if free_bytes < reserve_bytes { Err(OpenError::NoSpace { free_bytes, reserve_bytes }) } else { Ok(()) }
}

fn check_present(dir: &Path, marker: &Marker) -> Result<(), OpenError> {
    if Syncer::bytes(&data_folder(dir)) > 0 { Ok(()) } else { Err(missing(marker)) }
}

fn missing(marker: &Marker) -> OpenError {
    OpenError::Missing { store_id: marker.store_id.clone(), seq: marker.seq }
}

fn open_data(dir: &Path, options: &SledOptions) -> Result<SledTree, OpenError> {
    let folder = data_folder(dir);
    let error = match open_sled(&folder, options) {
        Err(OpenError::Damaged(reason)) => reason,
        other => return other,
    };
    let aside = dir.join("aside").join(seconds_since_1970().to_string());
    let moved = move_snapshots(&folder, &aside)?;
    tracing::error!(error, moved, aside = %aside.display(), "the data can't be read; trying without its snapshot");
    if moved == 0 {
        return Err(OpenError::Damaged(error));
    }
    open_sled(&folder, options).inspect_err(|_| {
        if let Err(error) = move_snapshots(&aside, &folder) {
            tracing::error!(%error, "the snapshot could not be put back");
        }
    })
}

/// Opens sled, which panics on some kinds of damage.
fn open_sled(folder: &Path, options: &SledOptions) -> Result<SledTree, OpenError> {
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

fn is_locked(error: &io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::Other)
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "it panicked without a message".into())
}

/// Moves the snapshot files of `from` into `to`; how many there were.
fn move_snapshots(from: &Path, to: &Path) -> io::Result<usize> {
    let entries = fs::read_dir(from)?.collect::<Result<Vec<_>, _>>()?;
    let snapshots: Vec<_> = entries.iter().filter(|entry| entry.file_name().to_string_lossy().starts_with("snap.")).collect();
    if snapshots.is_empty() {
        return Ok(0);
    }
    atomic_file::create_folders(to)?;
    for snapshot in &snapshots {
        fs::rename(snapshot.path(), to.join(snapshot.file_name()))?;
    }
    atomic_file::sync_folder(to)?;
    atomic_file::sync_folder(from)?;
    Ok(snapshots.len())
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
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
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        previous(panic);
        if std::thread::current().name().is_some_and(|name| name.starts_with("sled-io-")) {
            tracing::error!("a storage thread panicked; ending the process so that a restart can recover");
            std::process::abort();
        }
    }));
}
