//! The providers' wire formats: what each is asked, and how it answers.
//!
//! Sources: the API references of Cohere (`v2/rerank`), Jina (`v1/rerank`) and Text Embeddings Inference (`/rerank` in
//! its OpenAPI).

use crate::ChatError;
use crate::remote::{Told, count};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Whose protocol an endpoint speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RerankProvider {
    /// Cohere, and all that speak its protocol: `POST {base_url}/v2/rerank`.
    Cohere,
    /// Jina, and all that speak its protocol: `POST {base_url}/v1/rerank`.
    Jina,
    /// Hugging Face Text Embeddings Inference: `POST {base_url}/rerank`. Serves one model.
    Tei,
}

impl RerankProvider {
    /// Most texts of one request: the provider's limit, or what it leaves to us.
    #[must_use]
    pub const fn batch_texts_max(self) -> usize {
        match self {
            // It recommends no more.
            Self::Cohere => 1000,
            // It refuses more than 2,048.
            Self::Jina => 1024,
            // The server's `--max-client-batch-size` unless set.
            Self::Tei => 32,
        }
    }

    /// As figures name it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cohere => "cohere",
            Self::Jina => "jina",
            Self::Tei => "tei",
        }
    }

    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Cohere => "/v2/rerank",
            Self::Jina => "/v1/rerank",
            Self::Tei => "/rerank",
        }
    }

    pub(super) fn body(self, model: &str, query: &str, texts: &[&str]) -> Value {
        match self {
            Self::Cohere => json!({"model": model, "query": query, "documents": texts, "top_n": texts.len()}),
            Self::Jina => json!({"model": model, "query": query, "documents": texts, "top_n": texts.len(), "return_documents": false}),
            // Without `raw_scores` they are sigmoids.
            Self::Tei => json!({"query": query, "texts": texts, "truncate": true, "raw_scores": false, "return_text": false}),
        }
    }

    /// The scores of an answer to `count` texts, in the order of the texts, and what they took.
    pub(super) fn read(self, body: &[u8], count: usize) -> Result<(Vec<f32>, Told), ChatError> {
        let (judged, told) = match self {
            Self::Cohere | Self::Jina => {
                let Listed { results, usage, meta } = parse(body)?;
                let (billed, used) = (meta.and_then(|meta| meta.billed_units), usage.and_then(|usage| usage.total_tokens));
                let BilledUnits { input_tokens, search_units } = billed.unwrap_or_default();
                (results, Told { tokens: input_tokens.or(used), searches: search_units })
            }
            Self::Tei => (parse(body)?, Told::default()),
        };
        Ok((in_order(judged, count)?, told))
    }
}

/// Cohere's answer, and Jina's.
#[derive(Deserialize)]
struct Listed {
    results: Vec<Judged>,
    /// Jina's.
    usage: Option<Usage>,
    /// Cohere's.
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default, deserialize_with = "count")]
    total_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Meta {
    billed_units: Option<BilledUnits>,
}

#[derive(Default, Deserialize)]
struct BilledUnits {
    #[serde(default, deserialize_with = "count")]
    input_tokens: Option<u64>,
    #[serde(default, deserialize_with = "count")]
    search_units: Option<u64>,
}

#[derive(Deserialize)]
struct Judged {
    index: usize,
    #[serde(alias = "relevance_score")]
    score: f32,
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ChatError> {
    serde_json::from_slice(body).map_err(|error| malformed(format!("no scores: {error}")))
}

/// Best first comes in; as the texts stood goes out, each once.
fn in_order(mut judged: Vec<Judged>, count: usize) -> Result<Vec<f32>, ChatError> {
    if judged.len() != count {
        return Err(malformed(format!("{} scores for {count} texts", judged.len())));
    }
    judged.sort_by_key(|judged| judged.index);
    if judged.iter().enumerate().any(|(place, judged)| judged.index != place) {
        return Err(malformed("the scores are not numbered from 0 on, each once".to_owned()));
    }
    judged.iter().enumerate().map(|(place, judged)| in_range(place, judged.score)).collect()
}

/// Some models go a little beyond, or below 0 for what doesn't fit at all.
fn in_range(place: usize, score: f32) -> Result<f32, ChatError> {
    if score.is_finite() { Ok(score.clamp(0.0, 1.0)) } else { Err(malformed(format!("score {place} is not a finite number"))) }
}

const fn malformed(reason: String) -> ChatError {
    ChatError::Malformed { reason }
}
