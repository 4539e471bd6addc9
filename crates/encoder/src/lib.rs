//! Text to vectors, and pairs of texts to scores, on this machine: models named in a manifest.
//!
//! `manifest` says which models there are, `files` whether one is here, `tokenizer` turns text
//! into ids, `int8` ids into vectors (with the arithmetic of `kernel`), or `float` where that is asked for,
//! `queue` and `worker` decide whose turn it is, and [`LocalEmbedder`] puts them behind the seam
//! [`corpus::Embedder`]; [`LocalReranker`] adds the `head` and is a [`corpus::Reranker`]. [`HashEmbedder`] stands
//! in for all of it in tests.

#[cfg(test)]
mod contract;
mod counting;
mod encoder;
mod files;
mod float;
mod hash;
mod head;
mod int8;
mod kernel;
mod local;
mod manifest;
mod onnx;
#[cfg(test)]
mod parity_tests;
mod queue;
#[cfg(test)]
mod random;
mod reranker;
mod shape;
mod speed;
#[cfg(test)]
mod test_model;
mod tokenizer;
mod weights;
mod worker;

pub use counting::{TokenizerFile, TokenizerFileError};
pub use encoder::{LocalOptions, OpenError, Requested};
pub use files::{FilesError, find, verify};
pub use hash::HashEmbedder;
pub use local::LocalEmbedder;
pub use manifest::{Family, Kind, Manifest, ManifestError, ModelEntry, ModelFile, Pooling, Source};
pub use onnx::{OnnxError, onnx_runtime_in};
pub use reranker::LocalReranker;
pub use speed::int8_peak_gops;
pub use worker::Statistics;

/// The files that every model must have.
const MODEL_FILES: [&str; 3] = [files::WEIGHTS, files::TOKENIZER, files::CONFIG];

/// The sets of instructions that this processor can multiply integers with, the fastest first.
#[must_use]
pub fn instructions() -> Vec<&'static str> {
    kernel::available().into_iter().map(|kernels| kernels.name).collect()
}
