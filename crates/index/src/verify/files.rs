//! Originals and texts: every file that is used is there and whole, and every file is used.

use super::documents::{blobs_of, originals_of};
use super::read::{self, Value};
use super::{Fix, Verifier, VerifyError};
use crate::blobs::{BlobError, BlobId};
use crate::keys;
use crate::records::DocumentRecord;
use corpus::{CollectionId, DocumentId, TenantId};

/// A file and whether it was looked at: uses of one file follow each other.
type Last = Option<(TenantId, BlobId)>;

impl Verifier<'_> {
    pub(super) fn check_files(&mut self) -> Result<(), VerifyError> {
        let mut last: Last = None;
        read::each(self.store, b"B", |key, value| self.check_use(key, value, &mut last))?;
        self.check_orphans()?;
        for path in self.blobs.temporary()? {
            let fix = Fix::RemovePath { path: path.clone() };
            self.note("file_unfinished", path.as_path(), "a file that was being written; the next start removes it", Some(fix));
        }
        Ok(())
    }

    fn check_use(&mut self, key: &[u8], value: Value<'_>, last: &mut Last) -> Result<(), VerifyError> {
        let Some((tenant, blob, collection, document)) = parts(key) else {
            self.repairable("use_dangling", key, "the key names no file and document", Fix::Delete { key: key.to_vec() });
            return Ok(());
        };
        let at = keys::document(&tenant, &collection, &document);
        let record = match read::get(self.store, &at)? {
            // What a damaged record uses can't be known: its files stay.
            Some(Err(_)) => return Ok(()),
            Some(Ok(value)) => serde_json::from_slice::<DocumentRecord>(&value).ok(),
            None if self.is_being_removed(&tenant, &collection)? => return Ok(()),
            None => None,
        };
        let Some(record) = record.filter(|record| blobs_of(record).any(|used| *used == blob)) else {
            self.repairable("use_dangling", key, "the document doesn't use this file", Fix::Delete { key: key.to_vec() });
            return Ok(());
        };
        if value.is_err() {
            self.repairable("use_damaged", key, "the note can't be read", Fix::Put { key: key.to_vec(), value: Vec::new() });
        }
        // Texts are read with their chunks: what is wrong with one can be made again.
        let is_original = originals_of(&record).any(|used| *used == blob);
        let file = (tenant, blob);
        if is_original && last.as_ref() != Some(&file) {
            self.check_file(key, &file)?;
            *last = Some(file);
        }
        Ok(())
    }

    fn is_being_removed(&self, tenant: &TenantId, collection: &CollectionId) -> Result<bool, VerifyError> {
        Ok(read::get(self.store, &keys::deleted(tenant, collection))?.is_some())
    }

    fn check_file(&mut self, key: &[u8], (tenant, blob): &(TenantId, BlobId)) -> Result<(), VerifyError> {
        match self.blobs.check(tenant, blob) {
            Ok(bytes) => {
                self.report.blobs += 1;
                self.report.blob_bytes += bytes;
            }
            Err(error @ BlobError::Missing { .. }) => self.error("file_missing", key, error.to_string()),
            Err(error @ BlobError::Corrupt { .. }) => self.error("file_damaged", key, error.to_string()),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn check_orphans(&mut self) -> Result<(), VerifyError> {
        let (store, blobs) = (self.store, self.blobs);
        blobs.each(|tenant, blob, path| {
            if !is_used(store, tenant, blob)? {
                let fix = Fix::RemoveBlob { tenant: tenant.clone(), blob: blob.clone() };
                self.repairable("file_orphan", path, "no document uses this file", fix);
            }
            Ok::<_, VerifyError>(())
        })
    }
}

fn is_used(store: &dyn crate::store::Store, tenant: &TenantId, blob: &BlobId) -> Result<bool, VerifyError> {
    match store.scan(&keys::blob_uses(tenant, blob), None, 1) {
        Ok(found) => Ok(!found.is_empty()),
        Err(crate::store::StoreError::Corrupt { .. }) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

fn parts(key: &[u8]) -> Option<(TenantId, BlobId, CollectionId, DocumentId)> {
    Some((read::part(key, 0)?, read::part(key, 1)?, read::part(key, 2)?, read::part(key, 3)?))
}
