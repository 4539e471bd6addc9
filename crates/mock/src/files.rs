//! Files, as batches need them, and what is kept of files and batches.

use crate::batches::Batch;
use crate::exchange::Ask;
use crate::openai::CREATED;
use crate::provider::Provider;
use crate::refusal::Refusal;
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Most files, and most batches, that are kept; the oldest go first.
const KEPT_MAX: usize = 1000;
/// Most bytes of files that are kept.
const BYTES_MAX: usize = 1 << 30;

/// Files and batches by number, so that the oldest come first.
#[derive(Default)]
pub(crate) struct Archive {
    files: BTreeMap<u64, File>,
    batches: BTreeMap<u64, Batch>,
    added: u64,
}

pub(crate) struct File {
    filename: String,
    purpose: String,
    pub(crate) bytes: Bytes,
}

impl Archive {
    /// Keeps a file; its id.
    pub(crate) fn add_file(&mut self, filename: &str, purpose: &str, bytes: Bytes) -> String {
        self.added += 1;
        self.files.insert(self.added, File { filename: filename.to_owned(), purpose: purpose.to_owned(), bytes });
        while self.files.len() > KEPT_MAX || self.files.values().map(|file| file.bytes.len()).sum::<usize>() > BYTES_MAX {
            self.files.pop_first();
        }
        format!("file-{}", self.added)
    }

    pub(crate) fn file(&self, id: &str) -> Result<&File, Refusal> {
        number(id, "file-").and_then(|number| self.files.get(&number)).ok_or_else(|| no_such("File", id))
    }

    /// Keeps a batch; its id.
    pub(crate) fn add_batch(&mut self, batch: Batch) -> String {
        self.added += 1;
        self.batches.insert(self.added, batch);
        while self.batches.len() > KEPT_MAX {
            self.batches.pop_first();
        }
        format!("batch_{}", self.added)
    }

    /// So many batches, the latest first, behind this one, and whether there are more.
    pub(crate) fn batches_after(&self, after: Option<&str>, limit: usize) -> Result<(Vec<Value>, bool), Refusal> {
        let end = match after {
            None => u64::MAX,
            Some(id) => number(id, "batch_").filter(|number| self.batches.contains_key(number)).ok_or_else(|| no_such("Batch", id))?,
        };
        let mut behind = self.batches.range(..end).rev().map(|(number, batch)| batch.describe(&format!("batch_{number}")));
        let page: Vec<Value> = behind.by_ref().take(limit).collect();
        Ok((page, behind.next().is_some()))
    }

    pub(crate) fn batch(&mut self, id: &str) -> Result<&mut Batch, Refusal> {
        number(id, "batch_").and_then(|number| self.batches.get_mut(&number)).ok_or_else(|| no_such("Batch", id))
    }
}

fn number(id: &str, prefix: &str) -> Option<u64> {
    id.strip_prefix(prefix)?.parse().ok()
}

fn no_such(what: &str, id: &str) -> Refusal {
    Refusal::not_found(format!("No such {what} object: {id}"))
}

impl File {
    fn describe(&self, id: &str) -> Value {
        json!({"id": id, "object": "file", "bytes": self.bytes.len(), "created_at": CREATED, "filename": self.filename,
            "purpose": self.purpose, "status": "processed"})
    }
}

/// Takes an upload in.
pub(crate) fn create(provider: &Provider, ask: &Ask) -> Result<Value, Refusal> {
    let upload = ask.upload.as_ref().ok_or_else(|| Refusal::bad_request("'file' is a required property"))?;
    if upload.purpose.is_empty() {
        return Err(Refusal::bad_request("'purpose' is a required property"));
    }
    let mut archive = provider.archive();
    let id = archive.add_file(&upload.filename, &upload.purpose, upload.bytes.clone());
    Ok(archive.file(&id)?.describe(&id))
}

pub(crate) fn describe(provider: &Provider, ask: &Ask) -> Result<Value, Refusal> {
    Ok(provider.archive().file(&ask.id)?.describe(&ask.id))
}

pub(crate) fn content(provider: &Provider, ask: &Ask) -> Result<Bytes, Refusal> {
    Ok(provider.archive().file(&ask.id)?.bytes.clone())
}

pub(crate) fn delete(provider: &Provider, ask: &Ask) -> Result<Value, Refusal> {
    let mut archive = provider.archive();
    archive.file(&ask.id)?;
    number(&ask.id, "file-").and_then(|number| archive.files.remove(&number));
    Ok(json!({"id": ask.id, "object": "file", "deleted": true}))
}
