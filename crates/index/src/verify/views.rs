//! Views on disk: each can be thrown away, so nothing about them is worse than repairable.

use super::collections::Tally;
use super::{Fix, Verifier, VerifyError};
use crate::collection::vector_home;
use crate::keys;
use crate::records::CollectionRecord;
use crate::text::TextIndex;
use crate::vector::{self, Inspected, SavedSegment};
use corpus::{CollectionId, Row, TenantId};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Vectors compared at a time.
const PAGE: usize = 1024;

impl Verifier<'_> {
    pub(super) fn check_text_view(&mut self, at: &CollectionRecord, tally: &Tally, seq: u64) {
        let folder = self.views.join(at.tenant.as_str()).join(at.id.as_str()).join("text");
        if !folder.join("meta.json").exists() {
            if tally.chunks > 0 {
                self.note("view_missing", folder.as_path(), "the text index is built when the collection is opened", None);
            }
            return;
        }
        let fix = || Fix::RemovePath { path: folder.clone() };
        match TextIndex::inspect(&folder) {
            Err(reason) => self.repairable("view_damaged", folder.as_path(), reason, fix()),
            Ok((checkpoint, _)) if checkpoint > seq => {
                let detail = format!("the text index is at change {checkpoint}, the store at {seq}");
                self.repairable("view_ahead", folder.as_path(), detail, fix());
            }
            Ok((checkpoint, _)) if checkpoint < seq => {
                let detail = format!("the text index is at change {checkpoint} of {seq} and replays the rest when it is opened");
                self.note("view_behind", folder.as_path(), detail, None);
            }
            Ok((_, rows)) if rows != tally.chunks => {
                let detail = format!("the text index has {rows} rows, the served versions {}", tally.chunks);
                self.repairable("view_differs", folder.as_path(), detail, fix());
            }
            Ok(_) => {}
        }
    }

    /// Segments of the vector index: whole, and with the vectors that the store has.
    pub(super) fn check_vector_view(&mut self, at: &CollectionRecord, tally: &Tally, seq: u64) -> Result<(), VerifyError> {
        let views = self.views.join(at.tenant.as_str()).join(at.id.as_str());
        for (path, found) in vector::inspect(&vector_home(at, &views, seq), at.model.dimension)? {
            let fix = Fix::RemovePath { path: path.clone() };
            match found {
                Inspected::Unusable(reason) => self.repairable("view_damaged", path.as_path(), reason, fix),
                Inspected::Unfinished => {
                    self.note(
                        "file_unfinished",
                        path.as_path(),
                        "a segment that was being written; opening the collection removes it",
                        Some(fix),
                    );
                }
                Inspected::Segment(segment) if segment.seq > seq => {
                    let detail = format!("the vector segment is at change {}, the store at {seq}", segment.seq);
                    self.repairable("view_ahead", path.as_path(), detail, fix);
                }
                Inspected::Segment(segment) => {
                    if let Some(row) = self.first_difference(at, tally, &segment)? {
                        let detail = format!("the vector of row {row} is another one than in the store");
                        self.repairable("view_differs", path.as_path(), detail, fix);
                    }
                }
            }
        }
        Ok(())
    }

    /// The first live row whose vector is not the stored one. One that is missing in the store is reported elsewhere.
    fn first_difference(&self, at: &CollectionRecord, tally: &Tally, segment: &SavedSegment) -> Result<Option<Row>, VerifyError> {
        let live: Vec<(Row, &[f32])> = segment.vectors().filter(|(row, _)| tally.rows.contains(*row)).collect();
        for page in live.chunks(PAGE) {
            let keys: Vec<_> = page.iter().map(|(row, _)| keys::vector(&at.tenant, &at.id, *row)).collect();
            for ((row, vector), stored) in page.iter().zip(self.store.multi_get(&keys)?) {
                let is_same =
                    |stored: Vec<u8>| stored.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).eq(vector.iter().copied());
                if stored.is_some_and(|stored| !is_same(stored)) {
                    return Ok(Some(*row));
                }
            }
        }
        Ok(None)
    }

    /// Folders of collections that are not there.
    pub(super) fn check_view_folders(&mut self) -> Result<(), VerifyError> {
        for tenant in folders_in(self.views)? {
            for folder in folders_in(&tenant)? {
                let key = name::<TenantId>(&tenant).zip(name::<CollectionId>(&folder));
                let is_expected = match &key {
                    Some((tenant, collection)) => self.is_known(tenant, collection)?,
                    None => false,
                };
                if !is_expected {
                    let fix = Fix::RemovePath { path: folder.clone() };
                    self.repairable("view_orphan", folder.as_path(), "the views of a collection that is not there", fix);
                }
            }
        }
        Ok(())
    }
}

fn name<T: std::str::FromStr>(path: &Path) -> Option<T> {
    path.file_name()?.to_str()?.parse().ok()
}

fn folders_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?,
    };
    Ok(entries.into_iter().filter(|path| path.is_dir()).collect())
}
