//! An embedder for tests: no model, no thread, the same vectors on every machine.
//!
//! A text's vector counts its words by hash, so texts that share words are close. It knows no
//! meaning: never offer it to users.

use corpus::{EmbedError, Embedded, Embedder, Embedding, EmbeddingModel, Errand, Precision, Purpose};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Components of its vectors.
const DIMENSION: usize = 64;
/// Words it reads, with the two that stand for a model's special tokens.
const MAX_TOKENS: usize = 256;

/// Bag of hashed words. For tests only.
pub struct HashEmbedder {
    model: EmbeddingModel,
    is_closed: AtomicBool,
}

impl HashEmbedder {
    /// A fresh one; all are alike.
    #[must_use]
    pub fn new() -> Self {
        let model = EmbeddingModel {
            name: "hash-for-tests".to_owned(),
            revision: "1".to_owned(),
            dimension: DIMENSION,
            max_tokens: MAX_TOKENS,
            languages: Vec::new(),
            precision: Precision::F32,
        };
        Self { model, is_closed: AtomicBool::new(false) }
    }

    /// From now on every call is [`EmbedError::Closed`].
    pub fn close(&self) {
        self.is_closed.store(true, SeqCst);
    }
}

impl Default for HashEmbedder {
    fn default() -> Self {
        Self::new()
    }
}

impl Embedder for HashEmbedder {
    fn model(&self) -> &EmbeddingModel {
        &self.model
    }

    fn count_tokens(&self, text: &str) -> usize {
        words(text).count() + 2
    }

    fn embed(&self, texts: &[&str], _: Purpose, _: &Errand) -> Result<Vec<Embedded>, EmbedError> {
        if self.is_closed.load(SeqCst) {
            return Err(EmbedError::Closed);
        }
        let embed = |text: &&str| {
            let tokens = self.count_tokens(text);
            let embedding = Embedding::normalised(vector(text), DIMENSION).map_err(|error| EmbedError::Failed(error.to_string()))?;
            Ok(Embedded { embedding, tokens, truncated: tokens > MAX_TOKENS })
        };
        texts.iter().map(embed).collect()
    }
}

/// Words, and each ideograph by itself, since Chinese has no spaces.
fn words(text: &str) -> impl Iterator<Item = String> {
    let is_ideograph = |c: char| ('\u{3400}'..='\u{9fff}').contains(&c);
    text.split(|c: char| !c.is_alphanumeric())
        .flat_map(move |word| word.split_inclusive(is_ideograph))
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

fn vector(text: &str) -> Vec<f32> {
    let mut vector = vec![0.0; DIMENSION];
    // A small constant gives the empty text a direction.
    if let Some(first) = vector.first_mut() {
        *first = 0.01;
    }
    for word in words(text).take(MAX_TOKENS - 2) {
        let hash = fnv1a(word.as_bytes());
        #[expect(clippy::cast_possible_truncation, reason = "the remainder is below 64")]
        let place = (hash % DIMENSION as u64) as usize;
        let sign = if hash >> 63 == 0 { 1.0 } else { -1.0 };
        if let Some(component) = vector.get_mut(place) {
            *component += sign;
        }
    }
    vector
}

/// FNV-1a, 64 bits: the standard library's hash may change between releases.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;

    #[test]
    fn keeps_the_contract() {
        let embedder = HashEmbedder::new();
        contract::check(&embedder);
        embedder.close();
        contract::check_closed(&embedder);
    }

    #[test]
    fn shared_words_mean_closeness() {
        let texts = ["red granite", "Granite, red!", "blue slate", "花岗岩", "花岗岩石"];
        let embedded = HashEmbedder::new().embed(&texts, Purpose::Document, &Errand::default()).unwrap();
        let cosine = |a: usize, b: usize| contract::cosine(&embedded[a].embedding, &embedded[b].embedding);
        assert!(cosine(0, 1) > 0.999 && cosine(0, 2) < 0.5 && cosine(3, 4) > 0.7);
    }
}
