//! What can go wrong with a store, told apart by what the caller can do about it.

use super::{EnvelopeError, Seq};
use std::io;
use std::path::PathBuf;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A stored value doesn't fit its checksum. It was not served.
    #[error("the value of key {} is damaged: {reason}", key.escape_ascii())]
    Corrupt {
        /// The key.
        key: Vec<u8>,
        /// What is wrong with the value.
        reason: EnvelopeError,
    },
    /// The store's own files are damaged.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// Reading or writing failed.
    #[error("the store can't read or write: {0}")]
    Io(#[from] io::Error),
    /// A write or sync failed earlier; restart to go on from what is on disk.
    #[error("the store takes no more commits since a write failed: {reason}")]
    ReadOnly {
        /// What failed.
        reason: String,
    },
    /// Too little space left. Nothing was changed.
    #[error("the disk is full: {free_bytes} bytes are free, {reserve_bytes} are kept in reserve")]
    Full {
        /// Bytes free for the server.
        free_bytes: u64,
        /// Bytes that are kept free.
        reserve_bytes: u64,
    },
    /// Over a limit. Nothing was changed.
    #[error("a {what} of {bytes} bytes is over the limit of {bytes_max}")]
    TooLarge {
        /// `key`, `value` or `batch`.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// No commit has this number.
    #[error("commit {seq} is unknown, the last one is {last}")]
    UnknownSeq {
        /// The number asked for.
        seq: Seq,
        /// The last one given out.
        last: Seq,
    },
    /// Another process has the store open.
    #[error("the store in {} is in use by another process", dir.display())]
    Locked {
        /// The store's folder.
        dir: PathBuf,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The store can't be opened; its folder is left as it was.
    #[error("the store in {} can't be opened: {reason}", dir.display())]
    Open {
        /// The store's folder.
        dir: PathBuf,
        /// Why.
        reason: OpenError,
    },
}

/// Why a store can't be opened, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There was a store here and its data is gone.
    #[error(
        "there was a store here ({store_id}, {seq} commits) but its files are missing or empty; put them back from a backup, or move store.marker away to start empty on purpose"
    )]
    Missing {
        /// Id in the marker.
        store_id: String,
        /// Commits when the marker was written.
        seq: Seq,
    },
    /// The data is older than what was once durable here.
    #[error(
        "the store has {found} commits but had {expected}: data was lost or an older copy put in place; restore a backup, or move store.marker away to accept it"
    )]
    Behind {
        /// Commits in the marker.
        expected: Seq,
        /// Commits in the store.
        found: Seq,
    },
    /// Marker and data belong to different stores.
    #[error("store.marker names the store {expected} but the data is {found}: files of two stores were mixed")]
    OtherStore {
        /// Id in the marker.
        expected: String,
        /// Id in the data.
        found: String,
    },
    /// Written by another version.
    #[error("the format is version {found}, this server reads version {expected}")]
    Format {
        /// Version this server reads.
        expected: u32,
        /// Version found.
        found: u32,
    },
    /// The marker can't be read.
    #[error("store.marker can't be read ({0}); if the data is in order, move it away and start again")]
    Marker(String),
    /// Too little space to open it safely.
    #[error("only {free_bytes} bytes are free on the disk, opening needs {reserve_bytes}; make room and start again")]
    NoSpace {
        /// Bytes free.
        free_bytes: u64,
        /// Bytes needed.
        reserve_bytes: u64,
    },
    /// The data can't be read, also not without its snapshot.
    #[error("the data can't be read ({0}); keep a copy of the folder and restore a backup")]
    Damaged(String),
    /// The file system refused.
    #[error("the file system refused: {0}")]
    Io(#[from] io::Error),
}
