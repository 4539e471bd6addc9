//! The encoder in 32-bit floats, on candle: token ids in, one pooled vector a text out.
//!
//! Texts are *packed*: all tokens of a pass stand in one matrix of [tokens, hidden], without
//! padding, and only attention looks at one text at a time. So there is no mask to apply, no
//! work is done for padding, and a text's vector doesn't depend on its neighbours.
//!
//! Source of the architecture: Devlin et al. 2018 (post-norm transformer encoder).

mod steps;

use crate::manifest::Pooling;
use crate::shape::{Activation, Shape};
use crate::tokenizer::Tokens;
use crate::weights::{Weights, dense_names, norm_names};
use candle_core::{Device, Result, Tensor};
use steps::{Activate, AddBias, AddNorm, Softmax};

/// The loaded model.
pub(crate) struct Bert {
    words: Tensor,
    positions: Tensor,
    first_position: u32,
    /// The embedding of segment 0: added like a bias.
    segment: Vec<f32>,
    /// [2, hidden]: what each segment's embedding has over that of segment 0.
    segment_steps: Tensor,
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
    /// The error says which tensor doesn't fit.
    pub(crate) fn new(shape: &Shape, weights: &Weights, pooling: Pooling) -> Result<Self> {
        let hidden = shape.hidden;
        let segments = weights.matrix("embeddings.token_type_embeddings.weight", hidden)?;
        let (first, last) = (segments.narrow(0, 0, 1)?, segments.narrow(0, (segments.dim(0)? - 1).min(1), 1)?);
        Ok(Self {
            words: weights.matrix("embeddings.word_embeddings.weight", hidden)?,
            positions: weights.matrix("embeddings.position_embeddings.weight", hidden)?,
            first_position: u32::try_from(shape.first_position).unwrap_or(u32::MAX),
            segment: segments.get(0)?.to_vec1()?,
            segment_steps: Tensor::cat(&[first.zeros_like()?, (last - &first)?], 0)?,
            norm: Norm::new(shape, weights, "embeddings.LayerNorm")?,
            layers: (0..shape.layers).map(|index| Layer::new(shape, weights, index)).collect::<Result<_>>()?,
            heads: shape.heads,
            pooling,
        })
    }

    /// One vector a text, not normalised. Every text must have a token.
    pub(crate) fn encode(&self, texts: &[&Tokens]) -> Result<Vec<Vec<f32>>> {
        let lengths: Vec<usize> = texts.iter().map(|text| text.ids.len()).collect();
        let mut states = self.embed(texts)?;
        for layer in &self.layers {
            states = layer.forward(&states, &lengths, self.heads)?;
        }
        self.pool(&states, &lengths)
    }

    fn embed(&self, texts: &[&Tokens]) -> Result<Tensor> {
        let rows = |table: &Tensor, of: &dyn Fn(&Tokens) -> Vec<u32>| {
            let rows: Vec<u32> = texts.iter().flat_map(|text| of(text)).collect();
            table.index_select(&Tensor::new(rows, &Device::Cpu)?, 0)
        };
        let states = rows(&self.words, &|text| text.ids.clone())?;
        let places = rows(&self.positions, &|text| (self.first_position..).take(text.ids.len()).collect())?;
        let segments = rows(&self.segment_steps, &|text| (0..text.ids.len()).map(|place| u32::from(place >= text.second)).collect())?;
        self.norm.apply(&states, &self.segment, &(places + segments)?)?;
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
    fn new(shape: &Shape, weights: &Weights, index: usize) -> Result<Self> {
        let [attention_in, attention_out, up, down] = dense_names(index).map(|names| Dense::new(weights, &names));
        let [attention_norm, norm] = norm_names(index).map(|name| Norm::new(shape, weights, &name));
        Ok(Self {
            attention_in: attention_in?,
            attention_out: attention_out?,
            attention_norm: attention_norm?,
            up: up?,
            activation: shape.activation,
            down: down?,
            norm: norm?,
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
    fn new(weights: &Weights, names: &[String]) -> Result<Self> {
        let (weight, bias) = weights.dense(names)?;
        Ok(Self { weight: weight.t()?, bias })
    }

    /// states × weight; the bias is left to the step that follows.
    fn product(&self, states: &Tensor) -> Result<Tensor> {
        states.matmul(&self.weight)
    }
}

impl Norm {
    fn new(shape: &Shape, weights: &Weights, name: &str) -> Result<Self> {
        let (gain, shift) = weights.norm(name, shape.hidden)?;
        Ok(Self { gain, shift, epsilon: shape.epsilon })
    }

    /// states ← norm(states + bias + residual), in place.
    fn apply(&self, states: &Tensor, bias: &[f32], residual: &Tensor) -> Result<()> {
        states.inplace_op2(residual, &AddNorm { bias, gain: &self.gain, shift: &self.shift, epsilon: self.epsilon })
    }
}
