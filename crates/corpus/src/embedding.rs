//! Embeddings and the seam that makes them.

use crate::{Errand, Shortage};
use serde::{Deserialize, Serialize};
use std::ops::Deref;
use std::time::Duration;

/// A checked vector: 1 to 4,096 finite components, not all zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding(Vec<f32>);

/// Largest dimension an index takes.
const DIMENSION_MAX: usize = 4096;

/// Why numbers are not an embedding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmbeddingError {
    /// Not as many components as the collection has.
    #[error("the vector has {given} dimensions, the collection has {expected}")]
    Dimension {
        /// Components of the collection's vectors.
        expected: usize,
        /// Components given.
        given: usize,
    },
    /// NaN or infinite.
    #[error("component {0} of the vector is not a finite number")]
    NotFinite(usize),
    /// Length zero, or one that overflows.
    #[error("the vector has no direction: its length is zero or not finite")]
    NoDirection,
}

impl Embedding {
    /// Checks and scales to unit length, so that inner product is cosine similarity.
    ///
    /// # Errors
    /// Any [`EmbeddingError`]; the dimension must equal `dimension`.
    pub fn normalised(mut vector: Vec<f32>, dimension: usize) -> Result<Self, EmbeddingError> {
        if vector.len() != dimension || !(1..=DIMENSION_MAX).contains(&dimension) {
            return Err(EmbeddingError::Dimension { expected: dimension, given: vector.len() });
        }
        if let Some(bad) = vector.iter().position(|x| !x.is_finite()) {
            return Err(EmbeddingError::NotFinite(bad));
        }
        let norm = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
        if norm == 0.0 {
            return Err(EmbeddingError::NoDirection);
        }
        for x in &mut vector {
            #[expect(clippy::cast_possible_truncation, reason = "a component over the norm is within [-1, 1]")]
            let scaled = (f64::from(*x) / norm) as f32;
            *x = scaled;
        }
        Ok(Self(vector))
    }

    /// Takes a vector that was normalised before, bit for bit, after checking that it still is one.
    ///
    /// # Errors
    /// Any [`EmbeddingError`]; [`EmbeddingError::NoDirection`] also if the length is not 1.
    pub fn from_unit(vector: Vec<f32>, dimension: usize) -> Result<Self, EmbeddingError> {
        if vector.len() != dimension || !(1..=DIMENSION_MAX).contains(&dimension) {
            return Err(EmbeddingError::Dimension { expected: dimension, given: vector.len() });
        }
        if let Some(bad) = vector.iter().position(|x| !x.is_finite()) {
            return Err(EmbeddingError::NotFinite(bad));
        }
        let square: f32 = vector.iter().map(|x| x * x).sum();
        if (square - 1.0).abs() > 1e-3 { Err(EmbeddingError::NoDirection) } else { Ok(Self(vector)) }
    }

    /// The components, unit length.
    #[must_use]
    pub fn into_vec(self) -> Vec<f32> {
        self.0
    }
}

impl Deref for Embedding {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.0
    }
}

/// What a text is embedded for. Some models want a different prefix for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A question: goes before documents in every queue.
    Query,
    /// A chunk to be stored.
    Document,
}

/// In which numbers a model computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// Weights and activations in 8-bit integers.
    Int8,
}

/// Which model makes the vectors. Pinned in every collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbeddingModel {
    /// Name as in the model manifest.
    pub name: String,
    /// What tells two builds of the same name apart (the weights' sha256).
    pub revision: String,
    /// Components of each vector.
    pub dimension: usize,
    /// Longest input in tokens, special tokens included; the rest is cut off and reported.
    pub max_tokens: usize,
    /// Languages (BCP 47 primary tags) the model was trained for; empty means any.
    #[serde(default)]
    pub languages: Vec<String>,
    /// In which numbers it computes here; those of a provider count as floats. Vectors of both precisions can be
    /// compared with each other.
    #[serde(default)]
    pub precision: Precision,
}

/// Vectors of one model among those of another would say nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the collection was embedded with {pinned}, this server embeds with {found}")]
pub struct ModelMismatch {
    pinned: String,
    found: String,
}

impl EmbeddingModel {
    /// Whether vectors of `found` go together with those of this model, which is a collection's.
    ///
    /// # Errors
    /// [`ModelMismatch`] if name, revision or dimension differ.
    pub fn check(&self, found: &Self) -> Result<(), ModelMismatch> {
        let said = |model: &Self| format!("{} ({}, {} dimensions)", model.name, model.revision, model.dimension);
        let (pinned, found) = (said(self), said(found));
        if pinned == found { Ok(()) } else { Err(ModelMismatch { pinned, found }) }
    }
}

/// One embedded text.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedded {
    /// Unit length.
    pub embedding: Embedding,
    /// Tokens of the whole text, special tokens included.
    pub tokens: usize,
    /// Whether the text was longer than the model takes and lost its end.
    pub truncated: bool,
}

/// Why no embedding was made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EmbedError {
    /// The queue is full: nothing was started.
    #[error("the embedding queue is full")]
    Busy {
        /// When another try makes sense.
        retry_after: Duration,
    },
    /// The embedder was shut down.
    #[error("the embedder is shut down")]
    Closed,
    /// The model failed.
    #[error("embedding failed: {0}")]
    Failed(String),
    /// The provider can't be reached, refuses, or answers nonsense. What it says stays in the log: it may show
    /// an address or part of a key.
    #[error("the embedding provider failed; the log has the reason")]
    Provider {
        /// For the log.
        reason: String,
        /// When another try makes sense; `None` if the same texts would fail again.
        retry_after: Option<Duration>,
    },
    /// Nobody was asked, because a budget has no room for the call.
    #[error("{reason}")]
    OverBudget {
        /// What is lacking.
        shortage: Shortage,
        /// Which budget, in words for whoever asked.
        reason: String,
        /// When there may be room.
        retry_after: Option<Duration>,
    },
    /// Whoever asked has left.
    #[error("nobody waits for it any more")]
    Unwanted,
}

/// Turns texts into embeddings. Blocking: never call it on an async thread.
///
/// Edges: no texts gives no vectors; an empty text is embedded like any other; a text over
/// `max_tokens` is cut and says so; after shut-down every call is [`EmbedError::Closed`].
pub trait Embedder: Send + Sync {
    /// The model behind it.
    fn model(&self) -> &EmbeddingModel;

    /// Length of a document text in the model's tokens, special tokens and prefix included.
    fn count_tokens(&self, text: &str) -> usize;

    /// Where the tokens of `text` begin, in bytes, ascending; special tokens and prefix left out. How
    /// many lie in a part estimates its length without a count of its own: alone it may be tokenized
    /// differently. Unless a tokenizer can say it, the tokens of each word are spread over it evenly.
    fn token_starts(&self, text: &str) -> Vec<usize> {
        let special = self.count_tokens("");
        let mut starts = Vec::new();
        for word in text.split_whitespace() {
            let at = word.as_ptr().addr() - text.as_ptr().addr();
            let tokens = self.count_tokens(word).saturating_sub(special);
            starts.extend((0..tokens).map(|nth| at + nth * word.len() / tokens));
        }
        starts
    }

    /// One [`Embedded`] a text, in the order given. A model that costs something is charged to the errand's account, and
    /// not asked any longer than that is wanted.
    ///
    /// # Errors
    /// [`EmbedError`]; either all texts are embedded or none.
    fn embed(&self, texts: &[&str], purpose: Purpose, errand: &Errand) -> Result<Vec<Embedded>, EmbedError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_door_refuses_what_has_no_direction() {
        assert_eq!(Embedding::normalised(vec![0.0; 3], 3), Err(EmbeddingError::NoDirection));
        assert_eq!(Embedding::normalised(vec![1.0, f32::NAN], 2), Err(EmbeddingError::NotFinite(1)));
        assert_eq!(Embedding::normalised(vec![1.0], 2), Err(EmbeddingError::Dimension { expected: 2, given: 1 }));
        assert!(Embedding::normalised(vec![f32::MAX; 4], 4).is_ok(), "a huge vector still has a direction");
        let unit = Embedding::normalised(vec![3.0, 4.0], 2).unwrap();
        assert!((unit[0] - 0.6).abs() < 1e-6 && (unit[1] - 0.8).abs() < 1e-6);
    }
}
