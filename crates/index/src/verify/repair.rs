//! Puts right what a verification found, in the order found. A document whose original is whole is
//! processed again; nothing that could be is deleted. Files that were in use are set aside, not removed.

use super::documents::{job_for, originals_of};
use super::{DataDirectory, Fix, VerifyError, VerifyReport, read};
use crate::keys;
use crate::records::{CollectionRecord, CollectionState, DocumentRecord, DocumentState, PendingVersion, Rows};
use crate::store::{Batch, Store};
use corpus::{DocumentId, JobId};
use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

/// One fix can bring another to light (rows of a note, a view of a reprocessed document), and a report
/// holds so many findings only: verification and repair take turns, at most so often.
const ROUNDS_MAX: usize = 100;
/// Rows deleted in one batch.
const ROWS_PER_BATCH: usize = 512;

/// Repairs the data directory of a server that doesn't run. Shows each round's report to `may_go_on`
/// before anything of it is done; `false` ends the repair there. Returns the last report.
///
/// # Errors
/// As [`super::verify`]; a store that can't be opened can't be repaired.
pub fn repair(data: &Path, mut may_go_on: impl FnMut(&VerifyReport) -> bool) -> Result<VerifyReport, VerifyError> {
    let directory = DataDirectory::open(data)?;
    let mut report = directory.check()?;
    for _ in 0..ROUNDS_MAX {
        let fixes: Vec<Fix> = report.findings.iter().filter_map(|finding| finding.fix.clone()).collect();
        if fixes.is_empty() || !may_go_on(&report) {
            break;
        }
        directory.apply(&fixes)?;
        report = directory.check()?;
    }
    Ok(report)
}

impl DataDirectory {
    fn apply(&self, fixes: &[Fix]) -> Result<(), VerifyError> {
        for fix in fixes {
            tracing::info!(%fix, "repairing");
            self.apply_one(fix)?;
        }
        let seq = self.store.commit(Batch::default())?;
        Ok(self.store.durable(seq)?)
    }

    fn apply_one(&self, fix: &Fix) -> Result<(), VerifyError> {
        let mut batch = Batch::default();
        match fix {
            Fix::Put { key, value } => batch.put(key.clone(), value.clone()),
            Fix::Delete { key } => batch.delete(key.clone()),
            Fix::DeleteRows { collection, rows, note } => {
                self.delete_rows(collection, rows)?;
                batch.delete(note.clone());
            }
            Fix::Reprocess { collection, document, original_is_whole } => {
                return self.reprocess(collection, document, *original_is_whole);
            }
            Fix::RemoveBlob { tenant, blob } => return Ok(self.blobs.remove(tenant, blob).map(drop)?),
            Fix::RemovePath { path } => return Ok(remove(path)?),
        }
        self.store.commit(batch)?;
        Ok(())
    }

    fn delete_rows(&self, at: &CollectionRecord, rows: &Rows) -> Result<(), VerifyError> {
        let rows: Vec<_> = rows.iter().collect();
        for some in rows.chunks(ROWS_PER_BATCH) {
            let mut batch = Batch::default();
            for row in some {
                batch.delete(keys::chunk(&at.tenant, &at.id, *row));
                batch.delete(keys::vector(&at.tenant, &at.id, *row));
            }
            self.store.commit(batch)?;
        }
        Ok(())
    }

    /// Takes the damaged version out: the record first, so that a crash in between leaves rows that
    /// belong to nothing, which the next round removes. The text view is rebuilt without them.
    fn reprocess(&self, at: &CollectionRecord, document: &DocumentId, original_is_whole: bool) -> Result<(), VerifyError> {
        let key = keys::document(&at.tenant, &at.id, document);
        let Some(mut record) = read::record::<DocumentRecord>(&self.store, &key)? else { return Ok(()) };
        let next = record.next_version();
        let Some(served) = record.served.take() else { return Ok(()) };
        let mut batch = Batch::default();
        let pending = record.pending.take().unwrap_or_else(|| PendingVersion {
            number: next,
            original: served.original.clone(),
            bytes: served.bytes,
            attributes: record.attributes.clone(),
            job: JobId::generate(),
        });
        if original_is_whole {
            let job = job_for(at, &record, &pending);
            batch.put(keys::job(&at.tenant, &job.id), serde_json::to_vec(&job)?);
            batch.put(keys::unfinished(&job.id, &at.tenant), Vec::new());
            record.state = DocumentState::Queued;
        } else {
            let reason = "the stored version was damaged and so is its original; upload it again".to_owned();
            record.state = DocumentState::Failed { code: "damaged".into(), reason };
        }
        record.pending = Some(pending);
        let kept: BTreeSet<_> = originals_of(&record).cloned().collect();
        for blob in [&served.original, &served.text].into_iter().filter(|blob| !kept.contains(*blob)) {
            batch.delete(keys::blob_use(&at.tenant, blob, &at.id, document));
        }
        batch.put(key, serde_json::to_vec(&record)?);
        self.uncount(at, served.rows.len() as u64, served.bytes, &mut batch)?;
        let seq = self.store.commit(batch)?;
        self.store.durable(seq)?;
        if !original_is_whole && !kept.contains(&served.text) {
            self.set_aside(at, &served.text)?;
        }
        self.delete_rows(at, &served.rows)?;
        Ok(remove(&super::view_folder(&self.root).join(at.tenant.as_str()).join(at.id.as_str()))?)
    }

    /// A text that another document uses too stays where it is.
    fn set_aside(&self, at: &CollectionRecord, text: &crate::blobs::BlobId) -> Result<(), VerifyError> {
        if self.store.scan(&keys::blob_uses(&at.tenant, text), None, 1)?.is_empty() {
            self.blobs.set_aside(&at.tenant, text, &self.root.join("aside"))?;
        }
        Ok(())
    }

    fn uncount(&self, at: &CollectionRecord, chunks: u64, bytes: u64, batch: &mut Batch) -> Result<(), VerifyError> {
        let key = keys::state(&at.tenant, &at.id);
        let Some(mut state) = read::record::<CollectionState>(&self.store, &key)? else { return Ok(()) };
        state.chunks = state.chunks.saturating_sub(chunks);
        state.bytes = state.bytes.saturating_sub(bytes);
        batch.put(key, serde_json::to_vec(&state)?);
        Ok(())
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
