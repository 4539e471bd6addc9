//! The second engine: the same models as ONNX graphs, run by fastembed on ONNX Runtime.
//!
//! ONNX Runtime is a shared library that is loaded when the first model is opened, so the program
//! stays one file. A graph has no weights of its own but names their places in `model.safetensors`,
//! which the runtime maps: both engines read the same file, have the same revision, and agree within
//! 1e-4 where both compute in 32-bit floats, which this one always does.

mod session;

use self::session::{Session, load_runtime};
use crate::encoder::{LocalOptions, OpenError, give_way};
use crate::files::{self, CONFIG};
use crate::local::LocalEmbedder;
use crate::manifest::{Kind, ModelEntry};
use crate::queue::Queue;
use crate::shape::Shape;
use crate::tokenizer::{TextTokenizer, Tokens};
use crate::worker::Worker;
use std::path::{Path, PathBuf};

/// Why a model can't be opened with ONNX Runtime.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// What either engine needs is missing or unusable.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The graph is not there or can't be read.
    #[error("can't read {}: {source}; write it with `models/onnx {model}`", path.display())]
    Graph {
        /// The model.
        model: String,
        /// The graph.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The library is not there, is something else or too old.
    #[error("can't load ONNX Runtime from {}: {fault}; get it with `models/onnx --runtime`", library.display())]
    Runtime {
        /// The library.
        library: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
}

/// Where `models/onnx --runtime` puts ONNX Runtime below the folder of the models.
#[must_use]
pub fn onnx_runtime_in(models: &Path) -> PathBuf {
    models.join("onnxruntime").join(format!("{}onnxruntime{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX))
}

impl LocalEmbedder {
    /// Loads the model `entry` from its own `folder` (`models/<name>`) with ONNX Runtime, which is loaded from
    /// `library` unless the process has it already: it can't have two. It always computes in 32-bit floats.
    ///
    /// # Errors
    /// Any [`OnnxError`].
    pub fn open_onnx(entry: &ModelEntry, folder: &Path, library: &Path, options: LocalOptions) -> Result<Self, OnnxError> {
        entry.check_kind(Kind::Embedding).map_err(|fault| unusable(entry, fault))?;
        let revision = files::find(entry, folder).map_err(OpenError::from)?;
        let tokenizer = TextTokenizer::read(entry, folder).map_err(|fault| unusable(entry, fault))?;
        let shape = Shape::read(entry, &folder.join(CONFIG)).map_err(|fault| unusable(entry, fault))?;
        let runtime = load_runtime(library)?;
        let session = || Session::open(entry, folder, &runtime, options.threads.get());
        let queries = start("onnx-query", options, || {}, session)?;
        let documents = start("onnx-doc", options, give_way, session)?;
        Ok(Self { model: entry.embedding_model(revision), tokenizer, shape, engine: "onnxruntime", queries, documents })
    }
}

fn unusable(entry: &ModelEntry, fault: String) -> OpenError {
    OpenError::Model { model: entry.name.clone(), fault }
}

/// A queue with a session of its own, all of whose threads begin with `begin`.
fn start<F>(name: &'static str, options: LocalOptions, begin: fn(), open: F) -> Result<Worker, OnnxError>
where
    F: FnOnce() -> Result<Session, OnnxError> + Send,
{
    let thread = rayon::ThreadPoolBuilder::new().num_threads(1).start_handler(move |_| begin()).thread_name(|_| name.to_owned());
    let thread = thread.build().map_err(|error| OpenError::Thread(error.to_string()))?;
    let session = thread.install(open)?;
    let encode = move |texts: &[&Tokens]| {
        let ids: Vec<&[u32]> = texts.iter().map(|tokens| tokens.ids.as_slice()).collect();
        thread.install(|| session.encode(&ids))
    };
    Ok(Worker::start(name, Queue::new(options.queue_texts, options.pass_tokens), encode)
        .map_err(|error| OpenError::Thread(error.to_string()))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;
    use crate::encoder::Requested;
    use crate::test_model::{default_entry, default_folder, models_folder};
    use corpus::{EmbedError, Embedder, Errand, Precision, Purpose};
    use std::iter::once;

    fn open_as(entry: &ModelEntry, folder: &Path) -> Result<LocalEmbedder, OnnxError> {
        LocalEmbedder::open_onnx(entry, folder, &onnx_runtime_in(&models_folder()), LocalOptions::default())
    }

    /// Without a graph or a runtime the tests fail with the command that mends it.
    fn open() -> LocalEmbedder {
        open_as(&default_entry(), &default_folder()).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn keeps_the_contract() {
        let embedder = open();
        contract::check(&embedder);
        embedder.close();
        contract::check_closed(&embedder);
    }

    #[test]
    fn agrees_with_the_other_engine() {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/minilm_goldens.json"));
        let goldens: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
        let texts: Vec<&str> = goldens.iter().map(|golden| golden["text"].as_str().unwrap()).collect();
        let floats = LocalOptions { precision: Requested::Exactly(Precision::F32), ..LocalOptions::default() };
        let (onnx, candle) = (open(), LocalEmbedder::open(&default_entry(), &default_folder(), floats).unwrap());
        assert_eq!(onnx.model(), candle.model());
        for purpose in [Purpose::Query, Purpose::Document] {
            let (found, expected) =
                (onnx.embed(&texts, purpose, &Errand::default()).unwrap(), candle.embed(&texts, purpose, &Errand::default()).unwrap());
            for ((found, expected), text) in found.iter().zip(&expected).zip(&texts) {
                let apart = found.embedding.iter().zip(&*expected.embedding).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(apart < 1e-4, "{apart} for {text:?}");
                assert_eq!((found.tokens, found.truncated), (expected.tokens, expected.truncated), "{text:?}");
            }
        }
    }

    #[test]
    fn a_full_queue_refuses() {
        let options = LocalOptions { queue_texts: 4, pass_tokens: 64, ..LocalOptions::default() };
        let embedder = LocalEmbedder::open_onnx(&default_entry(), &default_folder(), &onnx_runtime_in(&models_folder()), options).unwrap();
        let text = "granite and slate ".repeat(10);
        let documents = vec![text.as_str(); 40];
        std::thread::scope(|scope| {
            let job = scope.spawn(|| embedder.embed(&documents, Purpose::Document, &Errand::default()));
            while embedder.statistics(Purpose::Document).waiting == 0 {
                std::thread::yield_now();
            }
            let refused = embedder.embed(&documents[..5], Purpose::Document, &Errand::default());
            assert!(matches!(refused, Err(EmbedError::Busy { retry_after }) if !retry_after.is_zero()));
            embedder.embed(&["which stone?"], Purpose::Query, &Errand::default()).unwrap();
            assert_eq!(job.join().unwrap().unwrap().len(), 40);
        });
    }

    #[test]
    fn an_id_that_the_model_does_not_have_is_an_error() {
        let embedder = open();
        let unknown = Tokens::single(vec![101, 30_522, 102], 3);
        assert!(matches!(embedder.queries.encode(1, once(Ok(vec![unknown]))), Err(EmbedError::Failed(_))));
    }

    #[test]
    fn a_missing_graph_or_runtime_names_the_command_that_mends_it() {
        let copy = tempfile::tempdir().unwrap();
        for file in &default_entry().files {
            std::fs::copy(default_folder().join(&file.name), copy.path().join(&file.name)).unwrap();
        }
        let error = open_as(&default_entry(), copy.path()).err().unwrap();
        assert!(matches!(&error, OnnxError::Graph { .. }) && error.to_string().contains("`models/onnx all-MiniLM-L6-v2`"), "{error}");
        let nowhere = onnx_runtime_in(copy.path());
        let error = LocalEmbedder::open_onnx(&default_entry(), &default_folder(), &nowhere, LocalOptions::default()).err().unwrap();
        assert!(matches!(&error, OnnxError::Runtime { .. }) && error.to_string().contains("`models/onnx --runtime`"), "{error}");
    }

    #[test]
    fn a_graph_that_contradicts_the_manifest_is_refused() {
        let entry = ModelEntry { dimension: 512, ..default_entry() };
        let error = open_as(&entry, &default_folder()).err().unwrap();
        assert!(error.to_string().contains("the manifest's dimension 512"), "{error}");
    }
}
