//! What a reranker has on top of its encoder: from the first token's state to one score.
//!
//! A dense layer with tanh, and one with a single output. It is computed for one row a text, so plain loops do.

use crate::manifest::Family;
use crate::weights::Weights;
use std::path::Path;

/// See the module.
#[derive(Debug)]
pub(crate) struct Head {
    inner: Dense,
    outer: Dense,
}

#[derive(Debug)]
struct Dense {
    /// [outputs, inputs]
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Head {
    /// Reads the head of a model whose states have `width` components; the error says what doesn't fit.
    pub(crate) fn read(family: Family, path: &Path, width: usize) -> Result<Self, String> {
        let [inner, outer] = match family {
            Family::Bert => ["bert.pooler.dense", "classifier"],
            Family::XlmRoberta => ["classifier.dense", "classifier.out_proj"],
        };
        let names = [inner, outer].map(|name| [format!("{name}.weight"), format!("{name}.bias")]);
        let weights = Weights::read_some(path, names.as_flattened())?;
        let dense = |[weight, bias]: &[String; 2], outputs| {
            Dense::new(&weights, weight, bias, (outputs, width)).map_err(|error| format!("{}: {error}", path.display()))
        };
        let [inner, outer] = &names;
        Ok(Self { inner: dense(inner, width)?, outer: dense(outer, 1)? })
    }

    /// From 0 to 1: the sigmoid of the model's output for `state`.
    pub(crate) fn score(&self, state: &[f32]) -> f32 {
        let inner: Vec<f32> = self.inner.apply(state).map(f32::tanh).collect();
        let logit: f32 = self.outer.apply(&inner).sum();
        1.0 / (1.0 + (-logit).exp())
    }
}

impl Dense {
    fn new(weights: &Weights, weight: &str, bias: &str, shape: (usize, usize)) -> candle_core::Result<Self> {
        let (matrix, vector) = (weights.exact(weight)?, weights.exact(bias)?);
        if matrix.dims2()? != shape || vector.dims1()? != shape.0 {
            candle_core::bail!("{weight} is {:?} instead of {shape:?}, or {bias} doesn't fit", matrix.dims());
        }
        Ok(Self { weight: matrix.flatten_all()?.to_vec1()?, bias: vector.to_vec1()? })
    }

    fn apply(&self, input: &[f32]) -> impl Iterator<Item = f32> {
        let rows = self.weight.chunks_exact(input.len()).zip(&self.bias);
        rows.map(move |(row, bias)| row.iter().zip(input).map(|(w, x)| w * x).sum::<f32>() + bias)
    }
}
