//! The shape of an encoder: what `config.json` says about its architecture.

use crate::manifest::{Family, ModelEntry};
use serde::Deserialize;
use std::path::Path;

/// What stands between the two dense layers of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Activation {
    /// x·Φ(x), exact.
    #[serde(rename = "gelu")]
    Gelu,
    /// The tanh form of GELU.
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh")]
    GeluTanh,
    /// max(x, 0).
    #[serde(rename = "relu")]
    Relu,
}

/// The numbers that a forward pass needs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shape {
    /// Components of a token's state.
    pub(crate) hidden: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    /// Components between the dense layers of a block.
    pub(crate) intermediate: usize,
    /// Rows of the position table.
    pub(crate) positions: usize,
    /// Row of the position table for the first token: 0 in BERT, one behind the padding id in XLM-RoBERTa.
    pub(crate) first_position: usize,
    pub(crate) epsilon: f32,
    pub(crate) activation: Activation,
}

/// `config.json` as the published checkpoints have it; the file has more.
#[derive(Debug, Clone, Deserialize)]
struct Config {
    model_type: Family,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    layer_norm_eps: f32,
    hidden_act: Activation,
    #[serde(default = "absolute")]
    position_embedding_type: String,
    #[serde(default)]
    pad_token_id: usize,
}

fn absolute() -> String {
    "absolute".to_owned()
}

impl Shape {
    /// Reads `config.json`; the error says what doesn't fit the manifest's `entry`.
    pub(crate) fn read(entry: &ModelEntry, path: &Path) -> Result<Self, String> {
        let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let config: Config = serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let first_position = match config.model_type {
            Family::Bert => 0,
            Family::XlmRoberta => config.pad_token_id + 1,
        };
        config.check(entry, first_position)?;
        Ok(Self {
            hidden: config.hidden_size,
            layers: config.num_hidden_layers,
            heads: config.num_attention_heads,
            intermediate: config.intermediate_size,
            positions: config.max_position_embeddings,
            first_position,
            epsilon: config.layer_norm_eps,
            activation: config.hidden_act,
        })
    }
}

impl Config {
    fn check(&self, entry: &ModelEntry, first_position: usize) -> Result<(), String> {
        let expect = |holds: bool, fault: String| if holds { Ok(()) } else { Err(format!("config.json of {}: {fault}", entry.name)) };
        expect(self.model_type == entry.family, format!("model_type is {:?}, the manifest's family {:?}", self.model_type, entry.family))?;
        expect(self.position_embedding_type == "absolute", "positions are not absolute".to_owned())?;
        expect(
            self.hidden_size == entry.dimension,
            format!("hidden_size is {}, the manifest's dimension {}", self.hidden_size, entry.dimension),
        )?;
        let positions = self.max_position_embeddings.saturating_sub(first_position);
        expect(
            positions >= entry.max_tokens,
            format!("{positions} positions are fewer than the manifest's max_tokens {}", entry.max_tokens),
        )?;
        let is_even = self.num_attention_heads > 0 && self.hidden_size.is_multiple_of(self.num_attention_heads);
        expect(is_even, format!("{} heads don't divide {}", self.num_attention_heads, self.hidden_size))
    }
}
