//! The seam that judges texts by a question.

use crate::Errand;
use crate::embedding::{EmbedError, Precision};

/// Which model judges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RerankModel {
    /// Name as in the model manifest.
    pub name: String,
    /// What tells two builds of the same name apart (the weights' sha256).
    pub revision: String,
    /// In which numbers it computes here; those of a provider count as floats.
    pub precision: Precision,
    /// Longest pair of question and text in tokens, special tokens included.
    pub max_tokens: usize,
}

/// Says how well texts answer a question. Blocking: never call it on an async thread.
///
/// A score is from 0 to 1, the higher the better: for models that give one number a pair, its sigmoid. Scores of
/// one model can be compared with each other; those of two can't.
///
/// Edges: no texts gives no scores; an empty question or text is judged like any other; of a pair over
/// `max_tokens` the text loses its end, and the question only what it has over half of them; after shut-down
/// every call is [`EmbedError::Closed`].
pub trait Reranker: Send + Sync {
    /// The model behind it.
    fn model(&self) -> &RerankModel;

    /// One score a text, in the order given, on the errand's account and for as long as that is wanted.
    ///
    /// # Errors
    /// [`EmbedError`]; either all texts are judged or none.
    fn rerank(&self, query: &str, texts: &[&str], errand: &Errand) -> Result<Vec<f32>, EmbedError>;
}
