//! An embedder that remembers: a text that was embedded before is not embedded again, nor paid for.
//!
//! ```text
//! value: version (1 byte) ‖ truncated (1) ‖ tokens (4) ‖ components (4 each)          all numbers little endian
//! ```
//! Invariants: the same texts get the same vectors as without it, to the bit; each text of a call is embedded once;
//! nothing is kept of a call that failed. Vectors depend on the model and the text alone, so all tenants share them.

use crate::key::{Conditions, Key, Partition, Scope};
use crate::stack::Stack;
use corpus::{EmbedError, Embedded, Embedder, Embedding, EmbeddingModel, Errand, Principals, Purpose};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// What entries of embeddings are called.
const KIND: &str = "embedding";
const VERSION: u8 = 1;
const HEAD_BYTES: usize = 6;

/// Wraps an embedder.
pub struct CachedEmbedder {
    inner: Arc<dyn Embedder>,
    stack: Arc<Stack>,
    lifetime: Duration,
    runtime: Handle,
}

impl CachedEmbedder {
    /// Keeps what `inner` makes for `lifetime` in `stack`, whose calls run on `runtime`.
    #[must_use]
    pub fn new(inner: Arc<dyn Embedder>, stack: Arc<Stack>, lifetime: Duration, runtime: Handle) -> Self {
        Self { inner, stack, lifetime, runtime }
    }

    fn keys(&self, texts: &[&str], purpose: Purpose) -> Vec<Key> {
        let EmbeddingModel { name, revision, dimension, precision, max_tokens, languages: _ } = self.inner.model();
        let of = |value: &dyn std::fmt::Debug| format!("{value:?}");
        let (dimension, precision, longest, purpose) = (of(dimension), of(precision), of(max_tokens), of(&purpose));
        let parameters: [(&str, &str); 5] =
            [("revision", revision), ("dimension", &dimension), ("precision", &precision), ("max_tokens", &longest), ("purpose", &purpose)];
        let conditions = Conditions { scope: Scope::Server, access: &Principals::All, model: name, prompt: "", parameters: &parameters };
        let partition = Partition::of(&conditions);
        texts.iter().map(|text| partition.key(KIND, &[text.as_bytes()])).collect()
    }

    fn look_up(&self, keys: &[Key]) -> HashMap<[u8; 32], Embedded> {
        let found = self.runtime.block_on(self.stack.get_many(keys));
        let dimension = self.inner.model().dimension;
        keys.iter().zip(found).filter_map(|(key, entry)| Some((key.digest(), decode(&entry?.payload, dimension)?))).collect()
    }

    fn keep(&self, made: &[(Key, Embedded)]) {
        let puts = made.iter().map(|(key, embedded)| self.stack.put(key, encode(embedded), self.lifetime));
        self.runtime.block_on(futures::future::join_all(puts));
    }
}

impl Embedder for CachedEmbedder {
    fn model(&self) -> &EmbeddingModel {
        self.inner.model()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.inner.count_tokens(text)
    }

    fn token_starts(&self, text: &str) -> Vec<usize> {
        self.inner.token_starts(text)
    }

    fn embed(&self, texts: &[&str], purpose: Purpose, errand: &Errand) -> Result<Vec<Embedded>, EmbedError> {
        let keys = self.keys(texts, purpose);
        // Each text once, whether or not it is known.
        let mut distinct: Vec<(&Key, &str)> = keys.iter().zip(texts.iter().copied()).collect();
        distinct.sort_by_key(|(key, _)| key.digest());
        distinct.dedup_by_key(|(key, _)| key.digest());
        let mut known = self.look_up(&distinct.iter().map(|(key, _)| (*key).clone()).collect::<Vec<_>>());
        distinct.retain(|(key, _)| !known.contains_key(&key.digest()));
        let missing: Vec<&str> = distinct.iter().map(|(_, text)| *text).collect();
        // Also without new texts: it is an error to ask an embedder that was closed.
        let embedded = self.inner.embed(&missing, purpose, errand)?;
        let made: Vec<(Key, Embedded)> = distinct.into_iter().map(|(key, _)| key.clone()).zip(embedded).collect();
        self.keep(&made);
        known.extend(made.into_iter().map(|(key, embedded)| (key.digest(), embedded)));
        let all: Option<Vec<Embedded>> = keys.iter().map(|key| known.get(&key.digest()).cloned()).collect();
        all.ok_or_else(|| EmbedError::Failed("fewer vectors than texts came back".to_owned()))
    }
}

fn encode(embedded: &Embedded) -> Vec<u8> {
    let Embedded { embedding, tokens, truncated } = embedded;
    let mut out = Vec::with_capacity(HEAD_BYTES + size_of_val::<[f32]>(embedding));
    out.extend([VERSION, u8::from(*truncated)]);
    out.extend(u32::try_from(*tokens).unwrap_or(u32::MAX).to_le_bytes());
    out.extend(embedding.iter().flat_map(|component| component.to_le_bytes()));
    out
}

/// `None` for what is not a vector of this dimension: then it is made anew.
fn decode(bytes: &[u8], dimension: usize) -> Option<Embedded> {
    let (&[version, truncated], rest) = bytes.split_first_chunk::<2>()?;
    let (tokens, components) = rest.split_first_chunk::<4>()?;
    let (components, []) = components.as_chunks::<4>() else { return None };
    let vector = components.iter().map(|component| f32::from_le_bytes(*component)).collect();
    let embedding = Embedding::from_unit(vector, dimension).ok().filter(|_| version == VERSION)?;
    Some(Embedded { embedding, tokens: u32::from_le_bytes(*tokens) as usize, truncated: truncated != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clock, MapShelf, Shelf, StackOptions};
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    /// Remembers what it was asked.
    struct Told {
        model: EmbeddingModel,
        asked: Mutex<Vec<Vec<String>>>,
        is_closed: AtomicBool,
    }

    impl Embedder for Told {
        fn model(&self) -> &EmbeddingModel {
            &self.model
        }
        fn count_tokens(&self, text: &str) -> usize {
            text.len()
        }
        fn embed(&self, texts: &[&str], purpose: Purpose, _: &Errand) -> Result<Vec<Embedded>, EmbedError> {
            if self.is_closed.load(Relaxed) {
                return Err(EmbedError::Closed);
            }
            self.asked.lock().unwrap().push(texts.iter().map(|text| (*text).to_owned()).collect());
            let made = |text: &&str| Embedded {
                embedding: Embedding::normalised(vec![text.len() as f32, if purpose == Purpose::Query { 0.3 } else { 0.7 }], 2).unwrap(),
                tokens: text.len(),
                truncated: text.len() > 6,
            };
            Ok(texts.iter().map(made).collect())
        }
    }

    fn told(revision: &str) -> Arc<Told> {
        let model = EmbeddingModel {
            name: "m".into(),
            revision: revision.into(),
            dimension: 2,
            max_tokens: 6,
            languages: Vec::new(),
            precision: corpus::Precision::F32,
        };
        Arc::new(Told { model, asked: Mutex::default(), is_closed: AtomicBool::new(false) })
    }

    fn around(inner: &Arc<Told>, shelf: &Arc<MapShelf>, runtime: &Handle) -> CachedEmbedder {
        let shelf: Arc<dyn Shelf> = Arc::clone(shelf) as _;
        let stack = runtime.block_on(Stack::open(StackOptions::default(), Clock::system(), Some(shelf), None)).unwrap();
        CachedEmbedder::new(Arc::clone(inner) as _, Arc::new(stack), Duration::from_secs(60), runtime.clone())
    }

    #[test]
    fn only_what_is_missing_is_embedded_and_all_vectors_are_as_without_it() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (inner, plain, shelf) = (told("1"), told("1"), Arc::new(MapShelf::new()));
        let cached = around(&inner, &shelf, runtime.handle());
        let asked = || std::mem::take(&mut *inner.asked.lock().unwrap());
        for (texts, new) in [(vec!["granite", "slate", "granite"], 2), (vec!["slate", "basalt", ""], 2), (vec!["basalt"], 0), (vec![], 0)] {
            assert_eq!(
                cached.embed(&texts, Purpose::Document, &Errand::default()).unwrap(),
                plain.embed(&texts, Purpose::Document, &Errand::default()).unwrap()
            );
            assert_eq!(asked().concat().len(), new, "{texts:?}");
        }
        assert_eq!(
            cached.embed(&["slate"], Purpose::Query, &Errand::default()).unwrap(),
            plain.embed(&["slate"], Purpose::Query, &Errand::default()).unwrap()
        );
        assert_eq!(asked().concat(), ["slate"], "a question's vector is not a chunk's");
        around(&inner, &shelf, runtime.handle()).embed(&["granite", "basalt"], Purpose::Document, &Errand::default()).unwrap();
        assert_eq!(asked().concat().len(), 0, "after a restart the shelf has them");
        let other = told("2");
        around(&other, &shelf, runtime.handle()).embed(&["granite"], Purpose::Document, &Errand::default()).unwrap();
        assert_eq!(other.asked.lock().unwrap().concat(), ["granite"], "another revision is another model");
    }

    #[test]
    fn a_closed_embedder_says_so_also_for_what_is_known() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (inner, shelf) = (told("1"), Arc::new(MapShelf::new()));
        let cached = around(&inner, &shelf, runtime.handle());
        cached.embed(&["granite"], Purpose::Document, &Errand::default()).unwrap();
        inner.is_closed.store(true, Relaxed);
        for text in ["granite", "slate"] {
            assert!(matches!(cached.embed(&[text], Purpose::Document, &Errand::default()), Err(EmbedError::Closed)));
        }
        inner.is_closed.store(false, Relaxed);
        cached.embed(&["slate"], Purpose::Document, &Errand::default()).unwrap();
        assert_eq!(inner.asked.lock().unwrap().last().unwrap().len(), 1, "nothing was kept of the call that failed");
    }

    #[test]
    fn bytes_that_are_no_vector_are_not_taken_for_one() {
        let one = Embedded { embedding: Embedding::normalised(vec![3.0, 4.0], 2).unwrap(), tokens: 9, truncated: true };
        let bytes = encode(&one);
        assert_eq!(decode(&bytes, 2), Some(one));
        assert_eq!(decode(&bytes, 3), None);
        assert_eq!(decode(&bytes[..bytes.len() - 1], 2), None);
        assert_eq!(decode(&[&[9], &bytes[1..]].concat(), 2), None);
        assert_eq!(decode(b"", 2), None);
    }
}
