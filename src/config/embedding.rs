//! `[embedding]`: which model makes the vectors, and by what.

use super::calls::CallsConfig;
use super::spend::ReadingPriceConfig;
use super::{ADDRESS, is_address};
use anyhow::Context;
use gateway::EmbeddingProvider;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The model that makes the vectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EmbeddingConfig {
    /// What computes: `auto` (this program), `onnx` (ONNX Runtime) or `remote` (a provider; see below).
    pub(crate) engine: EmbeddingEngine,
    /// Name in the model manifest.
    pub(crate) model: String,
    /// In which numbers this program computes: `int8`, `f32`, or `auto`: 8-bit integers where the processor
    /// multiplies them.
    pub(crate) precision: PrecisionConfig,
    /// Folder with `manifest.toml` and one folder a model; absent: `models` below the working
    /// directory, else beside the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) models_dir: Option<PathBuf>,
    /// The library of ONNX Runtime; absent: where `models/onnx --runtime` puts it below the models' folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) onnx_runtime: Option<PathBuf>,
    /// Texts that may wait for the model; more are answered 503 with Retry-After.
    pub(crate) queue_texts_max: usize,
    /// Questions, and as many chunks, whose vectors are remembered; 0: none.
    pub(crate) cache_texts_max: usize,
    /// The provider, for `engine = "remote"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remote: Option<RemoteConfig>,
}

/// What computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EmbeddingEngine {
    #[default]
    Auto,
    Onnx,
    Remote,
}

/// In which numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PrecisionConfig {
    #[default]
    Auto,
    Int8,
    F32,
}

/// A model at a provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemoteConfig {
    /// `openai` (or whatever speaks its protocol), `ollama`, `tei`, `cohere` or `jina`.
    pub(crate) provider: EmbeddingProvider,
    /// For example `https://api.openai.com/v1` or `http://127.0.0.1:11434`.
    pub(crate) base_url: String,
    /// Name of the model there.
    pub(crate) model: String,
    /// Components of its vectors.
    pub(crate) dimension: usize,
    /// Longest input in its tokens.
    pub(crate) max_tokens: usize,
    /// BCP 47 primary tags the model was trained for; empty means any.
    #[serde(default)]
    pub(crate) languages: Vec<String>,
    /// Whether the provider is asked to shorten its vectors to `dimension`.
    #[serde(default)]
    pub(crate) shorten: bool,
    /// Put before a question.
    #[serde(default)]
    pub(crate) query_prefix: String,
    /// Put before a chunk.
    #[serde(default)]
    pub(crate) document_prefix: String,
    /// File that holds the key. `RAGSTONE_EMBEDDING_API_KEY` wins over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// Texts in one request; absent: what the provider takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) batch_texts_max: Option<usize>,
    /// What it costs; absent: as `[[llm.prices]]` and the shipped table say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) price: Option<ReadingPriceConfig>,
    /// How it is called.
    #[serde(default)]
    pub(crate) calls: CallsConfig,
}

impl Default for EmbeddingConfig {
    fn default() -> Self {
        Self {
            engine: EmbeddingEngine::Auto,
            model: "all-MiniLM-L6-v2".into(),
            precision: PrecisionConfig::Auto,
            models_dir: None,
            onnx_runtime: None,
            queue_texts_max: 2048,
            cache_texts_max: 4096,
            remote: None,
        }
    }
}

impl EmbeddingConfig {
    /// Everything that is wrong, one line each: `path: what`.
    pub(super) fn validate(&self) -> Vec<String> {
        let mut errors: Vec<String> = self.remote.iter().flat_map(|remote| remote.calls.validate("embedding.remote.calls")).collect();
        let mut check = |is_right: bool, path: &str, rule: &str| {
            if !is_right {
                errors.push(format!("embedding.{path}: {rule}"));
            }
        };
        check(!self.model.is_empty(), "model", "must name a model of the manifest");
        check(self.queue_texts_max >= 64, "queue_texts_max", "must be at least 64");
        check(self.cache_texts_max <= 10_000_000, "cache_texts_max", "must be at most 10000000");
        let is_remote = self.engine == EmbeddingEngine::Remote;
        check(is_remote == self.remote.is_some(), "remote", "goes together with engine = \"remote\"");
        let is_own = self.engine == EmbeddingEngine::Auto || self.precision != PrecisionConfig::Int8;
        check(is_own, "precision", "must not be \"int8\" with another engine than \"auto\": only this program computes in 8-bit integers");
        if let Some(remote) = &self.remote {
            check(is_address(&remote.base_url), "remote.base_url", ADDRESS);
            check(!remote.model.is_empty(), "remote.model", "must name a model of the provider");
            let can_shorten = !remote.shorten || remote.provider != EmbeddingProvider::Tei;
            check(can_shorten, "remote.shorten", "can't be asked of tei");
            check((1..=4096).contains(&remote.dimension), "remote.dimension", "must be 1 to 4096");
            check(remote.max_tokens >= 16, "remote.max_tokens", "must be at least 16");
            check(remote.batch_texts_max != Some(0), "remote.batch_texts_max", "must be at least 1");
            let fault = remote.price.and_then(ReadingPriceConfig::fault);
            check(fault.is_none(), "remote.price", fault.unwrap_or_default());
        }
        errors
    }

    /// The provider's key: `given`, or what the file holds.
    pub(super) fn api_key(&self, given: Option<&str>) -> anyhow::Result<Option<String>> {
        let path = self.remote.as_ref().and_then(|remote| remote.api_key_file.as_ref());
        match (given, path) {
            (None, Some(path)) => {
                let key = std::fs::read_to_string(path);
                let key = key.with_context(|| format!("embedding.remote.api_key_file: can't read {}", path.display()))?;
                Ok(Some(key.trim().to_owned()))
            }
            (given, _) => Ok(given.map(str::to_owned)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> String {
        toml::from_str::<EmbeddingConfig>(text).unwrap().validate().join("\n")
    }

    #[test]
    fn what_could_not_be_done_is_refused() {
        assert_eq!(faults("precision = \"int8\""), "");
        assert!(faults("engine = \"onnx\"\nprecision = \"int8\"").contains("embedding.precision"));
        assert!(faults("engine = \"remote\"").contains("embedding.remote"));
        let remote = |provider: &str, url: &str, more: &str| {
            let model = "model = \"m\"\ndimension = 8\nmax_tokens = 64";
            faults(&format!("engine = \"remote\"\n[remote]\nprovider = \"{provider}\"\nbase_url = \"{url}\"\n{model}\n{more}"))
        };
        assert_eq!(remote("tei", "http://127.0.0.1:8080", ""), "");
        assert!(remote("tei", "http://127.0.0.1:8080", "shorten = true").contains("embedding.remote.shorten"));
        assert_eq!(remote("openai", "https://example.com/v1", "shorten = true"), "");
        for url in ["ftp://example.com", "example.com", "https://user:word@example.com"] {
            assert!(remote("openai", url, "").contains("embedding.remote.base_url"), "{url}");
        }
    }
}
