//! Making a backup: scan, files, then what was committed meanwhile.

use super::file::{Kind, Writer, beside};
use super::tap::Notes;
use super::{BackupError, BackupOptions, BackupSummary};
use crate::blobs::{BUFFER_BYTES, BlobError, BlobId, Blobs};
use crate::keys;
use crate::store::{Batch, Seq, Store, journal};
use corpus::TenantId;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// Pairs read and written at a time.
const PAGE: usize = 256;

/// Takes the tap away, whatever happens.
struct Tapped<'s>(&'s dyn Store);

impl Tapped<'_> {
    fn end(&self) -> Result<Seq, BackupError> {
        Ok(self.0.set_tap(None)?)
    }
}

impl Drop for Tapped<'_> {
    fn drop(&mut self) {
        // A closed store has no tap any more.
        let _ = self.0.set_tap(None);
    }
}

/// Writes a backup. The caller sees to it that no file is removed meanwhile.
pub(super) fn write(store: &dyn Store, blobs: &Blobs, path: &Path, options: &BackupOptions<'_>) -> Result<BackupSummary, BackupError> {
    let mut backup =
        Backup { store, blobs, options, writer: Writer::create(path, options.reserve_bytes)?, summary: BackupSummary::default() };
    backup.about()?;
    let notes = Arc::new(Notes::create(&beside(path, "commits"))?);
    let tapped = Tapped(store);
    store.set_tap(Some(notes.clone()))?;
    backup.pairs()?;
    let noted_before_files = notes.bytes();
    backup.used_files()?;
    backup.summary.seq = tapped.end()?;
    store.durable(backup.summary.seq)?;
    backup.commits(&notes)?;
    backup.files_used_meanwhile(&notes, noted_before_files)?;
    backup.writer.finish(backup.summary)
}

struct Backup<'b> {
    store: &'b dyn Store,
    blobs: &'b Blobs,
    options: &'b BackupOptions<'b>,
    writer: Writer,
    summary: BackupSummary,
}

impl Backup<'_> {
    fn about(&mut self) -> Result<(), BackupError> {
        let created_at = time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc3339).unwrap_or_default();
        let about = serde_json::json!({ "program": "ragstone", "version": env!("CARGO_PKG_VERSION"), "created_at": created_at });
        self.writer.frame(Kind::About, about.to_string().as_bytes())
    }

    /// The whole store, page by page; each page is of one moment, the pages are not.
    fn pairs(&mut self) -> Result<(), BackupError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            self.look_up()?;
            let page = self.store.scan(b"", after.as_deref(), PAGE)?;
            let is_last = page.len() < PAGE;
            self.summary.pairs += page.len() as u64;
            after = page.last().map(|(key, _)| key.clone());
            let mut batch = Batch::default();
            page.into_iter().for_each(|(key, value)| batch.put(key, value));
            self.changes(Kind::Pairs, &batch)?;
            if is_last {
                return Ok(());
            }
        }
    }

    fn changes(&mut self, kind: Kind, batch: &Batch) -> Result<(), BackupError> {
        let mut changes = Vec::new();
        journal::append(&mut changes, batch);
        self.writer.frame(kind, &changes)
    }

    /// Every file that is in use now. Uses that begin later are in the notes.
    fn used_files(&mut self) -> Result<(), BackupError> {
        let mut after: Option<Vec<u8>> = None;
        let mut last = None;
        loop {
            self.look_up()?;
            let page = self.store.scan(b"B", after.as_deref(), PAGE)?;
            let is_last = page.len() < PAGE;
            for (key, _) in &page {
                let file = used_file(key);
                if file != last {
                    file.iter().try_for_each(|(tenant, blob)| self.file(tenant, blob))?;
                    last = file;
                }
            }
            after = page.into_iter().last().map(|(key, _)| key);
            if is_last {
                return Ok(());
            }
        }
    }

    fn commits(&mut self, notes: &Notes) -> Result<(), BackupError> {
        self.summary.commits = notes.each(0, |changes| {
            self.look_up()?;
            self.writer.frame(Kind::Commit, changes)
        })?;
        Ok(())
    }

    /// Files whose use began while the files were copied. One that was copied already is there twice,
    /// which does no harm.
    fn files_used_meanwhile(&mut self, notes: &Notes, start: u64) -> Result<(), BackupError> {
        notes.each(start, |changes| {
            self.look_up()?;
            let changes = journal::read(changes).unwrap_or_default();
            let begun = changes.iter().filter(|(key, value)| key.first() == Some(&b'B') && value.is_some());
            begun.filter_map(|(key, _)| used_file(key)).try_for_each(|(tenant, blob)| self.file(&tenant, &blob))
        })?;
        Ok(())
    }

    /// A file that is damaged can't be backed up as if it were whole.
    fn file(&mut self, tenant: &TenantId, blob: &BlobId) -> Result<(), BackupError> {
        let mut file = self.blobs.file(tenant, blob)?;
        let bytes = file.metadata()?.len();
        self.writer.frame(Kind::File, &[tenant.as_str(), blob.as_str(), &bytes.to_string()].join("\0").into_bytes())?;
        let mut buffer = vec![0; BUFFER_BYTES];
        let (mut hash, mut copied) = (Sha256::new(), 0);
        loop {
            self.look_up()?;
            let read = file.read(&mut buffer)?;
            let Some(some) = buffer.get(..read).filter(|some| !some.is_empty()) else { break };
            hash.update(some);
            copied += read as u64;
            self.writer.frame(Kind::Bytes, some)?;
        }
        let found = BlobId::from_digest(&hash.finalize());
        if found != *blob {
            return Err(BlobError::Corrupt { tenant: tenant.clone(), id: blob.clone(), found, bytes: copied }.into());
        }
        self.summary.blobs += 1;
        Ok(())
    }

    fn look_up(&self) -> Result<(), BackupError> {
        if (self.options.should_stop)() { Err(BackupError::Stopped) } else { Ok(()) }
    }
}

/// The file that a `B` key names.
fn used_file(key: &[u8]) -> Option<(TenantId, BlobId)> {
    let parts = keys::text_parts(key);
    Some((parts.first()?.parse().ok()?, parts.get(1)?.parse().ok()?))
}
