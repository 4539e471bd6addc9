//! The providers' wire formats: what each is asked, and how it answers.
//!
//! Sources: the API references of OpenAI (`embeddings/create`), Ollama (`api/embed`), Text Embeddings
//! Inference (`/embed` in its OpenAPI), Cohere (`v2/embed`) and Jina (`v1/embeddings`).

use crate::ChatError;
use crate::remote::{Told, count};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use corpus::Purpose;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Whose protocol an endpoint speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmbeddingProvider {
    /// OpenAI and all that speak its protocol: `POST {base_url}/embeddings`.
    OpenAi,
    /// Ollama's own protocol: `POST {base_url}/api/embed`.
    Ollama,
    /// Hugging Face Text Embeddings Inference: `POST {base_url}/embed`. Serves one model.
    Tei,
    /// Cohere: `POST {base_url}/v2/embed`. Tells questions from documents.
    Cohere,
    /// Jina: `POST {base_url}/v1/embeddings`. Tells questions from documents.
    Jina,
}

impl EmbeddingProvider {
    /// Most texts of one request: the provider's limit, or what it leaves to us.
    #[must_use]
    pub const fn batch_texts_max(self) -> usize {
        match self {
            Self::OpenAi => 2048,
            // It sets none: so many are done within the time limit on a slow machine, too.
            Self::Ollama => 64,
            // The server's `--max-client-batch-size` unless set.
            Self::Tei => 32,
            Self::Cohere => 96,
            // It refuses more than 2,048; so many keep an answer below some 10 MB.
            Self::Jina => 512,
        }
    }

    /// Most tokens of one request, all texts together, where the provider sets a limit.
    #[must_use]
    pub const fn batch_tokens_max(self) -> Option<usize> {
        match self {
            Self::OpenAi => Some(300_000),
            Self::Ollama | Self::Tei | Self::Cohere | Self::Jina => None,
        }
    }

    /// Whether it can be asked to cut texts that are too long. OpenAI refuses them.
    pub(super) const fn cuts(self) -> bool {
        !matches!(self, Self::OpenAi)
    }

    /// As figures name it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Ollama => "ollama",
            Self::Tei => "tei",
            Self::Cohere => "cohere",
            Self::Jina => "jina",
        }
    }

    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::OpenAi => "/embeddings",
            Self::Ollama => "/api/embed",
            Self::Tei => "/embed",
            Self::Cohere => "/v2/embed",
            Self::Jina => "/v1/embeddings",
        }
    }

    /// The body of a request; with a `dimension`, vectors are to be shortened to it.
    pub(super) fn body(self, model: &str, dimension: Option<usize>, texts: &[&str], purpose: Purpose) -> Value {
        let (input_type, task) = match purpose {
            Purpose::Query => ("search_query", "retrieval.query"),
            Purpose::Document => ("search_document", "retrieval.passage"),
        };
        let mut body = match self {
            // A quarter of the bytes of numbers in decimal, and what OpenAI's own clients ask for.
            Self::OpenAi => json!({"model": model, "input": texts, "encoding_format": "base64"}),
            Self::Ollama => json!({"model": model, "input": texts, "truncate": true}),
            Self::Tei => json!({"inputs": texts, "truncate": true, "normalize": true}),
            Self::Cohere => json!({"model": model, "texts": texts, "input_type": input_type,
                "embedding_types": ["float"], "truncate": "END"}),
            Self::Jina => json!({"model": model, "input": texts, "task": task, "embedding_type": "float", "truncate": true}),
        };
        if let (Some(dimension), Some(parameter), Some(fields)) = (dimension, self.dimension_parameter(), body.as_object_mut()) {
            fields.insert(parameter.to_owned(), dimension.into());
        }
        body
    }

    const fn dimension_parameter(self) -> Option<&'static str> {
        match self {
            Self::OpenAi | Self::Ollama | Self::Jina => Some("dimensions"),
            Self::Cohere => Some("output_dimension"),
            Self::Tei => None,
        }
    }

    /// The vectors of an answer to `count` texts, in the order of the texts, and what they took.
    pub(super) fn read(self, body: &[u8], count: usize) -> Result<(Vec<Vec<f32>>, Told), ChatError> {
        let (vectors, tokens) = match self {
            Self::OpenAi | Self::Jina => {
                let Listed { data, usage } = parse(body)?;
                (in_order(data)?, usage.and_then(|usage| usage.total_tokens.or(usage.prompt_tokens)))
            }
            Self::Ollama => {
                let Plain { embeddings, prompt_eval_count } = parse(body)?;
                (embeddings, prompt_eval_count)
            }
            Self::Tei => (parse(body)?, None),
            Self::Cohere => {
                let ByType { embeddings, meta } = parse(body)?;
                (embeddings.float, meta.and_then(|meta| meta.billed_units?.input_tokens))
            }
        };
        let told = Told { tokens, searches: None };
        if vectors.len() == count { Ok((vectors, told)) } else { Err(malformed(format!("{} vectors for {count} texts", vectors.len()))) }
    }
}

/// OpenAI's answer, and Jina's.
#[derive(Deserialize)]
struct Listed {
    data: Vec<Item>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default, deserialize_with = "count")]
    total_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    prompt_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Item {
    index: usize,
    embedding: Numbers,
}

/// Compatible servers may answer in decimal whatever they are asked for.
#[derive(Deserialize)]
#[serde(untagged)]
enum Numbers {
    Decimal(Vec<f32>),
    Base64(String),
}

/// Ollama's answer.
#[derive(Deserialize)]
struct Plain {
    embeddings: Vec<Vec<f32>>,
    #[serde(default, deserialize_with = "count")]
    prompt_eval_count: Option<u64>,
}

/// Cohere's answer.
#[derive(Deserialize)]
struct ByType {
    embeddings: Floats,
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Meta {
    billed_units: Option<BilledUnits>,
}

#[derive(Deserialize)]
struct BilledUnits {
    #[serde(default, deserialize_with = "count")]
    input_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Floats {
    float: Vec<Vec<f32>>,
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ChatError> {
    serde_json::from_slice(body).map_err(|error| malformed(format!("no embeddings: {error}")))
}

fn in_order(mut items: Vec<Item>) -> Result<Vec<Vec<f32>>, ChatError> {
    items.sort_by_key(|item| item.index);
    if items.iter().enumerate().any(|(place, item)| item.index != place) {
        return Err(malformed("the vectors are not numbered from 0 on, each once".to_owned()));
    }
    items.into_iter().map(|item| item.embedding.floats()).collect()
}

impl Numbers {
    fn floats(self) -> Result<Vec<f32>, ChatError> {
        match self {
            Self::Decimal(floats) => Ok(floats),
            Self::Base64(text) => from_base64(&text),
        }
    }
}

/// Little-endian 32-bit floats.
fn from_base64(text: &str) -> Result<Vec<f32>, ChatError> {
    let bytes = BASE64_STANDARD.decode(text).map_err(|error| malformed(format!("a vector is no base64: {error}")))?;
    let (floats, rest) = bytes.as_chunks();
    if !rest.is_empty() {
        return Err(malformed(format!("a vector of {} bytes is no list of 32-bit floats", bytes.len())));
    }
    Ok(floats.iter().map(|float| f32::from_le_bytes(*float)).collect())
}

const fn malformed(reason: String) -> ChatError {
    ChatError::Malformed { reason }
}
