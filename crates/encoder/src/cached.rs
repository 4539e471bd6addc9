//! An embedder that remembers: a text that was embedded a moment ago is not embedded again.
//!
//! Invariants: the same texts get the same vectors as without it; each text of a call is embedded once; the
//! cache holds at most as many texts as it was made for, those used last; nothing is kept of a call that failed.

use corpus::{EmbedError, Embedded, Embedder, EmbeddingModel, Purpose};
use lru::LruCache;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Wraps an embedder. Questions and documents have a cache each: an upload doesn't displace questions.
pub struct CachedEmbedder {
    inner: Arc<dyn Embedder>,
    queries: Cache,
    documents: Cache,
}

/// What a cache was asked for since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheStatistics {
    /// Texts that were there, or stood in the same call before.
    pub hits: u64,
    /// Texts that had to be embedded.
    pub misses: u64,
    /// Texts that are there now.
    pub texts: usize,
}

/// Sha256 of model, revision, precision, purpose and text.
type Key = [u8; 32];

struct Cache {
    texts: Mutex<LruCache<Key, Embedded>>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl CachedEmbedder {
    /// Remembers `texts` questions and as many documents' texts of `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Embedder>, texts: NonZero<usize>) -> Self {
        Self { inner, queries: Cache::new(texts), documents: Cache::new(texts) }
    }

    /// Counters since the start.
    #[must_use]
    pub fn statistics(&self, purpose: Purpose) -> CacheStatistics {
        let cache = self.cache(purpose);
        CacheStatistics { hits: cache.hits.load(Relaxed), misses: cache.misses.load(Relaxed), texts: cache.lock().len() }
    }

    const fn cache(&self, purpose: Purpose) -> &Cache {
        match purpose {
            Purpose::Query => &self.queries,
            Purpose::Document => &self.documents,
        }
    }

    fn key(&self, text: &str, purpose: Purpose) -> Key {
        let EmbeddingModel { name, revision, precision, .. } = self.inner.model();
        let mut hasher = Sha256::new();
        hasher.update(format!("{name}\n{revision}\n{precision:?}\n{purpose:?}\n"));
        hasher.update(text);
        hasher.finalize().into()
    }
}

impl Cache {
    fn new(texts: NonZero<usize>) -> Self {
        Self { texts: Mutex::new(LruCache::new(texts)), hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<Key, Embedded>> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn embed(&self, texts: &[&str], purpose: Purpose) -> Result<Vec<Embedded>, EmbedError> {
        let cache = self.cache(purpose);
        let keys: Vec<Key> = texts.iter().map(|text| self.key(text, purpose)).collect();
        let mut known: HashMap<Key, Embedded> = HashMap::new();
        {
            let mut there = cache.lock();
            known.extend(keys.iter().filter_map(|key| Some((*key, there.get(key)?.clone()))));
        }
        let mut missing: Vec<(Key, &str)> = keys.iter().copied().zip(texts.iter().copied()).collect();
        missing.retain(|(key, _)| !known.contains_key(key));
        let mut seen = HashSet::new();
        missing.retain(|(key, _)| seen.insert(*key));
        cache.hits.fetch_add((texts.len() - missing.len()) as u64, Relaxed);
        cache.misses.fetch_add(missing.len() as u64, Relaxed);
        let new: Vec<&str> = missing.iter().map(|(_, text)| *text).collect();
        // Also without new texts: it is an error to ask an embedder that was closed.
        let embedded = self.inner.embed(&new, purpose)?;
        let mut there = cache.lock();
        for ((key, _), embedded) in missing.into_iter().zip(embedded) {
            there.put(key, embedded.clone());
            known.insert(key, embedded);
        }
        drop(there);
        let all: Option<Vec<Embedded>> = keys.iter().map(|key| known.get(key).cloned()).collect();
        all.ok_or_else(|| EmbedError::Failed("fewer vectors than texts came back".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HashEmbedder, contract};

    fn cached(texts: usize) -> CachedEmbedder {
        CachedEmbedder::new(Arc::new(HashEmbedder::new()), NonZero::new(texts).unwrap())
    }

    fn figures(embedder: &CachedEmbedder) -> (u64, u64, usize) {
        let CacheStatistics { hits, misses, texts } = embedder.statistics(Purpose::Document);
        (hits, misses, texts)
    }

    #[test]
    fn keeps_the_contract() {
        contract::check(&cached(100));
        contract::check(&cached(1));
        let inner = Arc::new(HashEmbedder::new());
        let embedder = CachedEmbedder::new(Arc::clone(&inner) as Arc<dyn Embedder>, NonZero::new(100).unwrap());
        contract::check(&embedder);
        inner.close();
        contract::check_closed(&embedder);
    }

    #[test]
    fn what_was_embedded_before_or_twice_in_a_call_is_not_embedded_again() {
        let (embedder, plain) = (cached(3), HashEmbedder::new());
        let ask = |texts: &[&str]| {
            assert_eq!(embedder.embed(texts, Purpose::Document).unwrap(), plain.embed(texts, Purpose::Document).unwrap());
            figures(&embedder)
        };
        assert_eq!(ask(&["granite", "slate", "granite"]), (1, 2, 2));
        assert_eq!(ask(&["slate", "basalt"]), (2, 3, 3));
        assert_eq!(ask(&["marble"]), (2, 4, 3), "granite was used longest ago");
        assert_eq!(ask(&["slate", "granite"]), (3, 5, 3));
        embedder.embed(&["slate"], Purpose::Query).unwrap();
        assert_eq!(figures(&embedder), (3, 5, 3), "questions have a cache of their own");
    }

    #[test]
    fn nothing_is_kept_of_a_call_that_failed() {
        let inner = Arc::new(HashEmbedder::new());
        let embedder = CachedEmbedder::new(Arc::clone(&inner) as Arc<dyn Embedder>, NonZero::new(9).unwrap());
        inner.close();
        assert!(matches!(embedder.embed(&["granite"], Purpose::Document), Err(EmbedError::Closed)));
        assert_eq!(figures(&embedder), (0, 1, 0));
    }
}
