//! Text to vectors on this machine: models named in a manifest, run on candle.
//!
//! `manifest` says which models there are, `files` whether one is here, `tokenizer` turns text
//! into ids, `bert` ids into vectors (with `kernels` between its matrix products), `queue` and
//! `worker` decide whose turn it is, and [`LocalEmbedder`] puts them behind the seam
//! [`corpus::Embedder`]. [`HashEmbedder`] stands in for all of it in tests.

mod bert;
#[cfg(test)]
mod contract;
mod files;
mod hash;
mod kernels;
mod local;
mod manifest;
mod queue;
#[cfg(test)]
mod test_model;
mod tokenizer;
mod worker;

pub use files::{FilesError, find, verify};
pub use hash::HashEmbedder;
pub use local::{LocalEmbedder, LocalOptions, OpenError};
pub use manifest::{Family, Manifest, ManifestError, ModelEntry, ModelFile, Pooling, Source};
pub use worker::Statistics;

/// The files that every model must have.
const MODEL_FILES: [&str; 3] = [files::WEIGHTS, files::TOKENIZER, files::CONFIG];
