//! Where the tests find the default model. A missing model fails the test, it never skips it.

use crate::manifest::{Manifest, ModelEntry};
use std::path::{Path, PathBuf};

/// The `models/` folder of this checkout.
pub(crate) fn models_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models")
}

/// The manifest's default model.
pub(crate) fn default_entry() -> ModelEntry {
    let manifest = Manifest::read(&models_folder().join("manifest.toml")).unwrap();
    manifest.get(&manifest.default).unwrap().clone()
}

/// Its folder.
///
/// # Panics
/// If it wasn't pulled; the message is the command that does.
pub(crate) fn default_folder() -> PathBuf {
    let folder = models_folder().join(default_entry().name);
    if let Err(error) = crate::files::find(&default_entry(), &folder) {
        panic!("{error}");
    }
    folder
}
