//! The folder of an index's segments: each a file `<number in 16 hex digits>.segment`, the highest number the
//! youngest.

use super::super::{Home, VectorError};
use super::file;
use super::saved::{self, Stamp};
use super::segment::Segment;
use super::snapshot::{Served, Snapshot};
use crate::store::atomic_file;
use corpus::Row;
use roaring::RoaringBitmap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const EXTENSION: &str = "segment";

/// See the module.
pub(super) struct Folder {
    directory: PathBuf,
    collection: String,
    /// Number of the next file.
    next: AtomicU64,
}

impl Folder {
    /// Takes what it finds of the live rows, the youngest first; files that are of no use are removed.
    pub(super) fn open(home: Home, dimension: usize, live: &RoaringBitmap) -> Result<(Self, Snapshot), VectorError> {
        let Home { directory, collection, seq } = home;
        let mut snapshot = Snapshot::default();
        let mut next = 0;
        let files = files(&directory)?;
        for (number, path) in files.into_iter().rev() {
            next = next.max(number.map_or(0, |number| number + 1));
            let is_taken = number.is_some() && take(&mut snapshot, &path, &collection, dimension, seq, live);
            if !is_taken {
                remove(&path);
            }
        }
        Ok((Self { directory, collection, next: AtomicU64::new(next) }, snapshot))
    }

    /// Saves a segment with a graph and reads it again, every byte checked: what is served is what is on disk.
    pub(super) fn save(&self, segment: &Segment, seq: u64) -> io::Result<Served> {
        let graph = segment.graph().ok_or_else(|| io::Error::other("a segment without a graph is not saved"))?;
        atomic_file::create_folders(&self.directory)?;
        let path = self.directory.join(format!("{:016x}.{EXTENSION}", self.next.fetch_add(1, Ordering::Relaxed)));
        let stamp = Stamp { collection: self.collection.clone(), seq };
        saved::save(&path, segment, graph, stamp)?;
        match saved::load(&path, &self.collection, segment.dimension()) {
            Ok((segment, _)) => Ok(Served { file: Some(path.into()), ..Served::new(segment) }),
            Err(error) => {
                remove(&path);
                Err(io::Error::other(error))
            }
        }
    }

    /// Removes the file of a segment that is no longer served; who still searches it has it open.
    pub(super) fn remove(&self, path: &Path) {
        remove(path);
    }
}

/// A file of an index, looked at while nothing serves it.
pub struct SavedSegment {
    segment: Segment,
    /// Number of the last change that it may hold rows of.
    pub seq: u64,
}

impl SavedSegment {
    /// Its rows and their vectors, by row.
    pub fn vectors(&self) -> impl Iterator<Item = (Row, &[f32])> {
        self.segment.vectors()
    }
}

/// What a file of an index is.
pub enum Inspected {
    /// A segment, every byte of it checked.
    Segment(Box<SavedSegment>),
    /// A write that was cut off; opening the index removes it.
    Unfinished,
    /// Of no use, and why.
    Unusable(String),
}

/// Every file in the folder of an index, and what it is.
///
/// # Errors
/// The folder can't be read.
pub fn inspect(home: &Home, dimension: usize) -> io::Result<Vec<(PathBuf, Inspected)>> {
    let look = |(number, path): (Option<u64>, PathBuf)| {
        let found = match number {
            Some(_) => saved::load(&path, &home.collection, dimension).map_or_else(
                |error| Inspected::Unusable(error.to_string()),
                |(segment, stamp)| Inspected::Segment(Box::new(SavedSegment { segment, seq: stamp.seq })),
            ),
            None if path.extension().is_some_and(|extension| extension == file::TEMPORARY) => Inspected::Unfinished,
            None => Inspected::Unusable("it is no segment".to_owned()),
        };
        (path, found)
    };
    Ok(files(&home.directory)?.into_iter().map(look).collect())
}

fn take(snapshot: &mut Snapshot, path: &Path, collection: &str, dimension: usize, seq: u64, live: &RoaringBitmap) -> bool {
    match saved::load(path, collection, dimension) {
        Ok((_, stamp)) if stamp.seq > seq => {
            tracing::warn!(path = %path.display(), "a vector segment is ahead of the store and is built again");
            false
        }
        Ok((segment, _)) => snapshot.find(Served { file: Some(Arc::from(path)), ..Served::new(segment) }, live),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a vector segment is built again from the store");
            false
        }
    }
}

/// Files by number; without one what is no segment, a cut off write for example.
fn files(directory: &Path) -> io::Result<Vec<(Option<u64>, PathBuf)>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = entries.map(|entry| entry.map(|entry| (number(&entry.path()), entry.path()))).collect::<io::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

fn number(path: &Path) -> Option<u64> {
    let is_segment = path.extension().is_some_and(|extension| extension == EXTENSION);
    path.file_stem().and_then(|stem| u64::from_str_radix(stem.to_str()?, 16).ok()).filter(|_| is_segment)
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "a file of the vector index is left behind");
    }
}
