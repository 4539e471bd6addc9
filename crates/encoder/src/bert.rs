//! A BERT encoder on candle: token ids in, one pooled vector a text out.
//!
//! Texts are *packed*: all tokens of a pass stand in one matrix of [tokens, hidden], without
//! padding, and only attention looks at one text at a time. So there is no mask to apply, no
//! work is done for padding, and a text's vector doesn't depend on its neighbours.
//!
//! Source of the architecture: Devlin et al. 2018 (post-norm transformer encoder); of the tensor
//! names: the published checkpoints, with or without the prefix `bert.`.

use crate::kernels::{Activate, Activation, AddBias, AddNorm, Softmax};
use crate::manifest::{ModelEntry, Pooling};
use candle_core::{D, DType, Device, Result, Tensor};
use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;

/// The numbers of `config.json` that the forward pass needs; the file has more.
#[derive(Debug, Clone, Deserialize)]
struct Config {
    model_type: String,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    max_position_embeddings: usize,
    layer_norm_eps: f32,
    hidden_act: Activation,
    #[serde(default = "absolute")]
    position_embedding_type: String,
}

fn absolute() -> String {
    "absolute".to_owned()
}

/// The loaded model.
pub(crate) struct Bert {
    words: Tensor,
    positions: Tensor,
    /// The embedding of segment 0, the only one used: added like a bias.
    segment: Vec<f32>,
    norm: Norm,
    layers: Vec<Layer>,
    heads: usize,
    pooling: Pooling,
}

struct Layer {
    /// Query, key and value in one product: [hidden, 3 × hidden].
    attention_in: Dense,
    attention_out: Dense,
    attention_norm: Norm,
    up: Dense,
    activation: Activation,
    down: Dense,
    norm: Norm,
}

struct Dense {
    /// [in, out], as a view of what the file has.
    weight: Tensor,
    bias: Vec<f32>,
}

struct Norm {
    gain: Vec<f32>,
    shift: Vec<f32>,
    epsilon: f32,
}

impl Bert {
    /// Loads `config` and `weights`; the error says what doesn't fit.
    pub(crate) fn read(entry: &ModelEntry, config: &Path, weights: &Path) -> std::result::Result<Self, String> {
        let text = std::fs::read(config).map_err(|error| format!("{}: {error}", config.display()))?;
        let config: Config = serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", config.display()))?;
        config.check(entry)?;
        let tensors = candle_core::safetensors::load(weights, &Device::Cpu).map_err(|error| format!("{}: {error}", weights.display()))?;
        Self::build(&config, &Weights::new(tensors), entry.pooling).map_err(|error| format!("{}: {error}", weights.display()))
    }

    fn build(config: &Config, weights: &Weights, pooling: Pooling) -> Result<Self> {
        let hidden = config.hidden_size;
        let segments = weights.matrix("embeddings.token_type_embeddings.weight", hidden)?;
        Ok(Self {
            words: weights.matrix("embeddings.word_embeddings.weight", hidden)?,
            positions: weights.matrix("embeddings.position_embeddings.weight", hidden)?,
            segment: segments.get(0)?.to_vec1()?,
            norm: weights.norm("embeddings.LayerNorm", config)?,
            layers: (0..config.num_hidden_layers).map(|index| Layer::build(config, weights, index)).collect::<Result<_>>()?,
            heads: config.num_attention_heads,
            pooling,
        })
    }

    /// One vector a text, not normalised. Every text must have a token.
    pub(crate) fn encode(&self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        let lengths: Vec<usize> = texts.iter().map(|ids| ids.len()).collect();
        let mut states = self.embed(texts)?;
        for layer in &self.layers {
            states = layer.forward(&states, &lengths, self.heads)?;
        }
        self.pool(&states, &lengths)
    }

    fn embed(&self, texts: &[&[u32]]) -> Result<Tensor> {
        let ids = texts.concat();
        let places: Vec<u32> = texts.iter().flat_map(|ids| (0u32..).take(ids.len())).collect();
        let states = self.words.index_select(&Tensor::new(ids, &Device::Cpu)?, 0)?;
        let places = self.positions.index_select(&Tensor::new(places, &Device::Cpu)?, 0)?;
        self.norm.apply(&states, &self.segment, &places)?;
        Ok(states)
    }

    fn pool(&self, states: &Tensor, lengths: &[usize]) -> Result<Vec<Vec<f32>>> {
        let mut start = 0;
        let mut vectors = Vec::with_capacity(lengths.len());
        for length in lengths {
            let vector = match self.pooling {
                Pooling::Mean => states.narrow(0, start, *length)?.mean(0)?,
                Pooling::Cls => states.get(start)?,
            };
            vectors.push(vector.to_vec1()?);
            start += length;
        }
        Ok(vectors)
    }
}

impl Layer {
    fn build(config: &Config, weights: &Weights, index: usize) -> Result<Self> {
        let name = |part: &str| format!("encoder.layer.{index}.{part}");
        Ok(Self {
            attention_in: weights.joined(&["query", "key", "value"].map(|part| name(&format!("attention.self.{part}"))))?,
            attention_out: weights.joined(&[name("attention.output.dense")])?,
            attention_norm: weights.norm(&name("attention.output.LayerNorm"), config)?,
            up: weights.joined(&[name("intermediate.dense")])?,
            activation: config.hidden_act,
            down: weights.joined(&[name("output.dense")])?,
            norm: weights.norm(&name("output.LayerNorm"), config)?,
        })
    }

    fn forward(&self, states: &Tensor, lengths: &[usize], heads: usize) -> Result<Tensor> {
        let mixed = self.attention_out.product(&self.attend(states, lengths, heads)?)?;
        self.attention_norm.apply(&mixed, &self.attention_out.bias, states)?;
        let wide = self.up.product(&mixed)?;
        wide.inplace_op1(&Activate { bias: &self.up.bias, activation: self.activation })?;
        let out = self.down.product(&wide)?;
        self.norm.apply(&out, &self.down.bias, &mixed)?;
        Ok(out)
    }

    /// Attention of each text over itself: [tokens, hidden] in and out.
    fn attend(&self, states: &Tensor, lengths: &[usize], heads: usize) -> Result<Tensor> {
        let joined = self.attention_in.product(states)?;
        joined.inplace_op1(&AddBias(&self.attention_in.bias))?;
        let mut start = 0;
        let mut parts = Vec::with_capacity(lengths.len());
        for length in lengths {
            parts.push(attend_within(&joined.narrow(0, start, *length)?, heads)?);
            start += length;
        }
        Tensor::cat(&parts, 0)
    }
}

/// softmax(q·kᵀ/√d)·v per head, for one text: [tokens, 3 × hidden] to [tokens, hidden].
fn attend_within(joined: &Tensor, heads: usize) -> Result<Tensor> {
    let (tokens, width) = joined.dims2()?;
    let head = width / 3 / heads;
    let by_head = joined.reshape((tokens, 3, heads, head))?.permute((1, 2, 0, 3))?;
    let (queries, keys, values) = (by_head.get(0)?, by_head.get(1)?, by_head.get(2)?);
    let scores = queries.matmul(&keys.t()?)?;
    #[expect(clippy::cast_precision_loss, reason = "a head has at most 4,096 components")]
    let scale = 1.0 / (head as f32).sqrt();
    scores.inplace_op1(&Softmax { scale, width: tokens })?;
    scores.matmul(&values)?.transpose(0, 1)?.reshape((tokens, width / 3))
}

impl Dense {
    /// states × weight; the bias is left to the step that follows.
    fn product(&self, states: &Tensor) -> Result<Tensor> {
        states.matmul(&self.weight)
    }
}

impl Norm {
    /// states ← norm(states + bias + residual), in place.
    fn apply(&self, states: &Tensor, bias: &[f32], residual: &Tensor) -> Result<()> {
        states.inplace_op2(residual, &AddNorm { bias, gain: &self.gain, shift: &self.shift, epsilon: self.epsilon })
    }
}

impl Config {
    fn check(&self, entry: &ModelEntry) -> std::result::Result<(), String> {
        let expect = |holds: bool, fault: String| if holds { Ok(()) } else { Err(format!("config.json of {}: {fault}", entry.name)) };
        expect(self.model_type == "bert", format!("model_type is {:?}, not \"bert\"", self.model_type))?;
        expect(self.position_embedding_type == "absolute", "positions are not absolute".to_owned())?;
        expect(
            self.hidden_size == entry.dimension,
            format!("hidden_size is {}, the manifest's dimension {}", self.hidden_size, entry.dimension),
        )?;
        expect(
            self.max_position_embeddings >= entry.max_tokens,
            format!("{} positions are fewer than the manifest's max_tokens {}", self.max_position_embeddings, entry.max_tokens),
        )?;
        let is_even = self.num_attention_heads > 0 && self.hidden_size.is_multiple_of(self.num_attention_heads);
        expect(is_even, format!("{} heads don't divide {}", self.num_attention_heads, self.hidden_size))
    }
}

/// Tensors by name, in f32.
struct Weights {
    tensors: HashMap<String, Tensor>,
    prefix: &'static str,
}

impl Weights {
    fn new(tensors: HashMap<String, Tensor>) -> Self {
        let is_prefixed = tensors.contains_key("bert.embeddings.word_embeddings.weight");
        Self { tensors, prefix: if is_prefixed { "bert." } else { "" } }
    }

    fn get(&self, name: &str) -> Result<Tensor> {
        let name = format!("{}{name}", self.prefix);
        match self.tensors.get(&name) {
            Some(tensor) => tensor.to_dtype(DType::F32),
            None => candle_core::bail!("there is no tensor {name}"),
        }
    }

    fn matrix(&self, name: &str, width: usize) -> Result<Tensor> {
        let tensor = self.get(name)?;
        match tensor.dims2()? {
            (_, found) if found == width => Ok(tensor),
            (_, found) => candle_core::bail!("{name} has {found} columns instead of {width}"),
        }
    }

    /// Dense layers with the same input as one, their outputs side by side.
    fn joined(&self, names: &[String]) -> Result<Dense> {
        let weights = names.iter().map(|name| self.get(&format!("{name}.weight"))).collect::<Result<Vec<_>>>()?;
        let biases = names.iter().map(|name| self.get(&format!("{name}.bias"))).collect::<Result<Vec<_>>>()?;
        let (weight, bias) = (Tensor::cat(&weights, 0)?, Tensor::cat(&biases, 0)?);
        if weight.dim(0)? != bias.dim(D::Minus1)? {
            candle_core::bail!("weight and bias of {} don't fit together", names.join(", "));
        }
        Ok(Dense { weight: weight.t()?, bias: bias.to_vec1()? })
    }

    fn norm(&self, name: &str, config: &Config) -> Result<Norm> {
        let vector = |part: &str| self.get(&format!("{name}.{part}"))?.to_vec1::<f32>();
        let norm = Norm { gain: vector("weight")?, shift: vector("bias")?, epsilon: config.layer_norm_eps };
        if norm.gain.len() != config.hidden_size || norm.shift.len() != config.hidden_size {
            candle_core::bail!("{name} doesn't have hidden_size components");
        }
        Ok(norm)
    }
}
