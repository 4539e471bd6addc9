//! One model on ONNX Runtime: ids in, vectors out.
//!
//! fastembed tokenises the texts that it gets. So it gets ids written as words, and a vocabulary of
//! such words ([`vocabulary`]): prefixes, truncation and counts are those of `tokenizer` with either
//! engine. Texts are run one by one: nothing is padded, and a text's vector doesn't depend on its
//! neighbours.

use super::{OnnxError, unusable};
use crate::files::CONFIG;
use crate::manifest::{ModelEntry, Pooling};
use fastembed::{InitOptionsUserDefined, TextEmbedding, TokenizerFiles, UserDefinedEmbeddingModel};
use ort::LoadDynamicError;
use ort::environment::Environment;
use serde::Deserialize;
use serde_json::json;
use std::error::Error;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The graph, beside the weights.
const GRAPH: &str = "model.onnx";

/// ONNX Runtime has one environment a process, and none again after that was dropped.
static RUNTIME: Mutex<Option<Environment>> = Mutex::new(None);

/// Loads ONNX Runtime from `library`, unless that was done before.
pub(super) fn load_runtime(library: &Path) -> Result<Environment, OnnxError> {
    let refused = |fault: String| OnnxError::Runtime { library: library.to_owned(), fault };
    // A relative path would first be looked for beside the program.
    let path = library.canonicalize().map_err(|error| refused(error.to_string()))?;
    let mut loaded = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = &*loaded {
        return Ok(environment.clone());
    }
    let builder = ort::init_from(path).map_err(|error| refused(describe(&error)))?;
    let environment = builder.with_telemetry(false).build().map_err(|error| refused(error.to_string()))?;
    Ok(loaded.insert(environment).clone())
}

/// The system's own words, where it refuses the library.
fn describe(error: &LoadDynamicError) -> String {
    match error {
        LoadDynamicError::Dlopen { error, .. } => error.source().map_or_else(|| error.to_string(), ToString::to_string),
        other => other.to_string(),
    }
}

/// The model with the threads that ONNX Runtime started for it.
pub(super) struct Session(Mutex<TextEmbedding>);

impl Session {
    /// Opens the model in `folder`. The runtime's `threads`, one of which is the caller's own, have
    /// the nice value of the thread that calls this.
    pub(super) fn open(entry: &ModelEntry, folder: &Path, runtime: &Environment, threads: usize) -> Result<Self, OnnxError> {
        let path = folder.join(GRAPH);
        let graph = std::fs::read(&path).map_err(|source| OnnxError::Graph { model: entry.name.clone(), path, source })?;
        let words = vocabulary(entry, &folder.join(CONFIG)).map_err(|fault| unusable(entry, fault))?;
        let pooling = match entry.pooling {
            Pooling::Mean => fastembed::Pooling::Mean,
            Pooling::Cls => fastembed::Pooling::Cls,
        };
        let options = InitOptionsUserDefined::new()
            .with_environment(runtime.clone())
            .with_intra_threads(threads)
            .with_max_length(entry.max_tokens)
            // The graph is handed over as bytes: this says what its file names are relative to.
            .with_session_config("session.model_external_initializers_file_folder_path", folder.to_string_lossy())
            // Threads without work sleep instead of taking the processors from others.
            .with_session_config("session.intra_op.allow_spinning", "0");
        let graph = UserDefinedEmbeddingModel::new(graph, words).with_pooling(pooling);
        let unusable = |fault| unusable(entry, format!("{GRAPH}: {fault}"));
        let model = TextEmbedding::try_new_from_user_defined(graph, options).map_err(|error| unusable(error.to_string()))?;
        let session = Self(Mutex::new(model));
        session.check(entry).map_err(unusable)?;
        Ok(session)
    }

    /// The longest input shows whether graph, weights and manifest fit together.
    fn check(&self, entry: &ModelEntry) -> Result<(), String> {
        let vectors = self.encode(&[&vec![0; entry.max_tokens]])?;
        match vectors.first().map_or(0, Vec::len) {
            found if found == entry.dimension => Ok(()),
            found => Err(format!("its vectors have {found} components, the manifest's dimension is {}", entry.dimension)),
        }
    }

    /// A vector a text, not normalised.
    pub(super) fn encode(&self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>, String> {
        let words = texts.iter().map(|ids| ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" "));
        let mut model = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        model.embed(words.collect::<Vec<_>>(), Some(1)).map_err(|error| error.to_string())
    }
}

/// A tokenizer whose words are the ids of the model, in decimal.
fn vocabulary(entry: &ModelEntry, config: &Path) -> Result<TokenizerFiles, String> {
    #[derive(Deserialize)]
    struct Config {
        vocab_size: u32,
    }
    let text = std::fs::read(config).map_err(|error| format!("{}: {error}", config.display()))?;
    let config: Config = serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", config.display()))?;
    let words: serde_json::Map<_, _> = (0..config.vocab_size).map(|id| (id.to_string(), id.into())).collect();
    let split = json!({ "type": "WhitespaceSplit" });
    // There is no word for what is unknown, so an id that the model doesn't have is an error.
    let model = json!({ "type": "WordLevel", "vocab": words, "unk_token": "" });
    let tokenizer = json!({ "version": "1.0", "added_tokens": [], "pre_tokenizer": split, "model": model });
    Ok(TokenizerFiles {
        tokenizer_file: tokenizer.to_string().into_bytes(),
        config_file: b"{}".to_vec(),
        special_tokens_map_file: b"{}".to_vec(),
        tokenizer_config_file: json!({ "model_max_length": entry.max_tokens, "pad_token": "0" }).to_string().into_bytes(),
    })
}
