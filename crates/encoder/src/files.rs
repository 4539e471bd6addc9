//! The files of a pulled model: are they all there, are they what was meant.
//!
//! At start only presence and size are looked at: hashing 90 MB takes longer than loading them.
//! `verify` hashes. Files that the manifest doesn't pin are held to the `lock.json` that
//! `models/pull` wrote at the first pull.

use crate::manifest::{ModelEntry, is_sha256};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The weights, in safetensors.
pub(crate) const WEIGHTS: &str = "model.safetensors";
/// The tokenizer, as the `tokenizers` crate writes it.
pub(crate) const TOKENIZER: &str = "tokenizer.json";
/// The architecture's numbers.
pub(crate) const CONFIG: &str = "config.json";
/// The weights as the int8 encoder reads them: a cache that it makes itself.
pub(crate) const PACKED: &str = "packed-int8.bin";
/// Checksums of the first pull.
const LOCK: &str = "lock.json";

/// Why a model's files can't be used. Every text names the command that mends it.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A file, or its entry in the lock, is not there.
    #[error("the model {model} is not here: {} is missing; get it with `ragstone models pull {model}` (or `models/pull {model}`)", path.display())]
    Missing {
        /// The model.
        model: String,
        /// What was looked for.
        path: PathBuf,
    },
    /// A file is not the one that was meant.
    #[error("{} is not the file that {model} needs: {fault}; get it again with `ragstone models pull {model}` (or `models/pull {model}`)", path.display())]
    Wrong {
        /// The model.
        model: String,
        /// The file.
        path: PathBuf,
        /// Size or checksum, found and expected.
        fault: String,
    },
    /// A file can't be read.
    #[error("can't read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Size and checksum that a file must have.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Pin {
    bytes: u64,
    sha256: String,
}

#[derive(Deserialize)]
struct Lock {
    files: BTreeMap<String, Pin>,
}

/// Checks that all files of `entry` are in `folder` with the right size; gives the sha256 of the
/// weights as pinned, not as computed.
///
/// # Errors
/// Any [`FilesError`].
pub fn find(entry: &ModelEntry, folder: &Path) -> Result<String, FilesError> {
    let mut revision = String::new();
    for (path, pin) in pinned(entry, folder)? {
        let size = std::fs::metadata(&path).map_err(|source| explain(entry, &path, source))?.len();
        if size != pin.bytes {
            let fault = format!("{size} bytes instead of {}", pin.bytes);
            return Err(FilesError::Wrong { model: entry.name.clone(), path, fault });
        }
        if path.ends_with(WEIGHTS) {
            revision = pin.sha256;
        }
    }
    Ok(revision)
}

/// Hashes every file of `entry` in `folder`.
///
/// # Errors
/// Any [`FilesError`]; the first file that is not as pinned.
pub fn verify(entry: &ModelEntry, folder: &Path) -> Result<(), FilesError> {
    find(entry, folder)?;
    for (path, pin) in pinned(entry, folder)? {
        let found = sha256_of(&path).map_err(|source| explain(entry, &path, source))?;
        if found != pin.sha256 {
            let fault = format!("sha256 {found} instead of {}", pin.sha256);
            return Err(FilesError::Wrong { model: entry.name.clone(), path, fault });
        }
    }
    Ok(())
}

fn pinned(entry: &ModelEntry, folder: &Path) -> Result<Vec<(PathBuf, Pin)>, FilesError> {
    let mut pins = Vec::new();
    for file in &entry.files {
        let path = folder.join(&file.name);
        let pin = match (file.bytes, &file.sha256) {
            (Some(bytes), Some(sha256)) => Pin { bytes, sha256: sha256.clone() },
            _ => read_lock(entry, folder)?
                .remove(&file.name)
                .ok_or_else(|| FilesError::Missing { model: entry.name.clone(), path: path.clone() })?,
        };
        pins.push((path, pin));
    }
    Ok(pins)
}

fn read_lock(entry: &ModelEntry, folder: &Path) -> Result<BTreeMap<String, Pin>, FilesError> {
    let path = folder.join(LOCK);
    let text = std::fs::read(&path).map_err(|source| explain(entry, &path, source))?;
    let wrong = |fault: String| FilesError::Wrong { model: entry.name.clone(), path: path.clone(), fault };
    let lock: Lock = serde_json::from_slice(&text).map_err(|fault| wrong(fault.to_string()))?;
    match lock.files.iter().find(|(_, pin)| !is_sha256(&pin.sha256)) {
        Some((name, _)) => Err(wrong(format!("{name} has no sha256"))),
        None => Ok(lock.files),
    }
}

fn explain(entry: &ModelEntry, path: &Path, source: std::io::Error) -> FilesError {
    let path = path.to_owned();
    match source.kind() {
        std::io::ErrorKind::NotFound => FilesError::Missing { model: entry.name.clone(), path },
        _ => FilesError::Read { path, source },
    }
}

pub(crate) fn sha256_of(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut block)?;
        if count == 0 {
            return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hasher.update(block.get(..count).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Manifest, ModelFile};
    use crate::test_model::models_folder;

    fn entry_with(files: Vec<ModelFile>) -> ModelEntry {
        let manifest = Manifest::read(&models_folder().join("manifest.toml")).unwrap();
        ModelEntry { files, ..manifest.get(&manifest.default).unwrap().clone() }
    }

    fn pinned_file(content: &[u8]) -> ModelFile {
        let sha256 = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        ModelFile { name: WEIGHTS.to_owned(), bytes: Some(content.len() as u64), sha256: Some(sha256) }
    }

    #[test]
    fn size_is_checked_at_start_and_the_hash_by_verify() {
        let folder = tempfile::tempdir().unwrap();
        let entry = entry_with(vec![pinned_file(b"abc")]);
        let missing = find(&entry, folder.path()).unwrap_err();
        assert!(missing.to_string().contains("`ragstone models pull all-MiniLM-L6-v2`"), "{missing}");
        std::fs::write(folder.path().join(WEIGHTS), b"abcd").unwrap();
        assert!(find(&entry, folder.path()).unwrap_err().to_string().contains("4 bytes instead of 3"));
        std::fs::write(folder.path().join(WEIGHTS), b"abd").unwrap();
        assert_eq!(Some(find(&entry, folder.path()).unwrap()), entry.files[0].sha256);
        assert!(verify(&entry, folder.path()).unwrap_err().to_string().contains("sha256"));
        std::fs::write(folder.path().join(WEIGHTS), b"abc").unwrap();
        verify(&entry, folder.path()).unwrap();
    }

    #[test]
    fn an_unpinned_file_is_held_to_the_lock_of_the_first_pull() {
        let folder = tempfile::tempdir().unwrap();
        let ModelFile { bytes, sha256, .. } = pinned_file(b"abc");
        let entry = entry_with(vec![ModelFile { name: WEIGHTS.to_owned(), bytes: None, sha256: None }]);
        std::fs::write(folder.path().join(WEIGHTS), b"abc").unwrap();
        assert!(matches!(find(&entry, folder.path()), Err(FilesError::Missing { path, .. }) if path.ends_with(LOCK)));
        let lock = serde_json::json!({"source": {}, "files": {WEIGHTS: {"bytes": bytes, "sha256": sha256}}});
        std::fs::write(folder.path().join(LOCK), lock.to_string()).unwrap();
        assert_eq!(Some(find(&entry, folder.path()).unwrap()), sha256);
        std::fs::write(folder.path().join(WEIGHTS), b"abd").unwrap();
        assert!(matches!(verify(&entry, folder.path()), Err(FilesError::Wrong { .. })));
    }
}
