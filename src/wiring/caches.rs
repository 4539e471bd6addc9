//! The caches: what they lie on, and which embedder has which.

use crate::config::{CacheConfig, Config};
use anyhow::Context;
use cache::{CachedEmbedder, Clock, Link, Shelf, ShelfError, ShelfHead, ShelfPair, Stack, StackOptions};
use corpus::Embedder;
use index::shelf::Shelves;
use query::{AnswerCache, AnswerCacheOptions};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// Of the database below the data directory; sled takes about ten times as much memory.
const SLED_CACHE_BYTES: u64 = 1 << 20;
/// A vector's path and the maps' own records, roughly.
const EMBEDDING_OVERHEAD_BYTES: u64 = 512;

/// What caches lie on: the disk, and a Redis that servers share. Either may be missing.
pub(super) struct Grounds {
    shelves: Option<Shelves>,
    link: Option<Arc<Link>>,
}

impl Grounds {
    /// Without a database on disk the server starts as well: it is only a cache.
    pub(super) fn open(config: &Config, link: Option<Arc<Link>>) -> Self {
        let folder = config.server.data_dir.join("cache");
        let opened = (config.cache.store_bytes_max > 0).then(|| Shelves::open(&folder, SLED_CACHE_BYTES));
        let shelves = opened.and_then(|opened| {
            opened.inspect_err(|error| tracing::warn!(folder = %folder.display(), %error, "no cache on disk: it can't be opened")).ok()
        });
        Self { shelves, link }
    }

    /// Memory over the shelf of this name over Redis.
    fn stack(&self, name: &str, options: StackOptions) -> anyhow::Result<Arc<Stack>> {
        let shelf = self.shelves.as_ref().map(|shelves| shelves.shelf(name)).transpose()?;
        let shelf = shelf.map(|shelf| Arc::new(OnDisk(shelf)) as Arc<dyn Shelf>);
        stack(options, shelf, self.link.clone())
    }
}

fn stack(options: StackOptions, shelf: Option<Arc<dyn Shelf>>, link: Option<Arc<Link>>) -> anyhow::Result<Arc<Stack>> {
    let opened = Handle::current().block_on(Stack::open(options, Clock::system(), shelf, link));
    Ok(Arc::new(opened.context("a cache can't be opened")?))
}

/// What embeds, and where it keeps vectors.
type Embedding = (Arc<dyn Embedder>, Option<Arc<Stack>>);

/// A cache in front of the engine. What a provider computes costs money and is kept in every tier; what is computed here
/// is kept in memory, where looking it up takes no time beside computing it.
pub(super) fn embedder(config: &Config, grounds: &Grounds, engine: Arc<dyn Embedder>) -> anyhow::Result<Embedding> {
    if config.embedding.cache_texts_max == 0 {
        return Ok((engine, None));
    }
    let lifetime_max = Duration::from_secs(config.cache.embedding_lifetime_s);
    let vector_bytes = engine.model().dimension as u64 * size_of::<f32>() as u64 + EMBEDDING_OVERHEAD_BYTES;
    // As many questions as chunks.
    let memory_bytes = 2 * config.embedding.cache_texts_max as u64 * vector_bytes;
    let options = StackOptions { memory_bytes, store_bytes: config.cache.store_bytes_max, lifetime_max, ..StackOptions::default() };
    let stack = if config.embedding.remote.is_some() { grounds.stack("embeddings", options)? } else { stack(options, None, None)? };
    let cached = CachedEmbedder::new(engine, Arc::clone(&stack), lifetime_max, Handle::current());
    let cached = match &config.embedding.remote {
        Some(remote) => {
            let texts_max = remote.batch_texts_max.unwrap_or(remote.provider.batch_texts_max());
            cached.in_pieces(texts_max, remote.provider.batch_tokens_max())
        }
        None => cached,
    };
    Ok((Arc::new(cached), Some(stack)))
}

/// The cache of answers, if they are kept.
pub(super) fn answers(config: &Config, grounds: &Grounds) -> anyhow::Result<Option<Arc<AnswerCache>>> {
    let CacheConfig { answers, memory_bytes_max: memory_bytes, store_bytes_max: store_bytes, answer_lifetime_s, .. } = config.cache;
    if !answers {
        return Ok(None);
    }
    let lifetime = Duration::from_secs(answer_lifetime_s);
    let stack = grounds.stack("answers", StackOptions { memory_bytes, store_bytes, lifetime_max: lifetime, ..StackOptions::default() })?;
    let options = AnswerCacheOptions { lifetime, semantic: config.cache.semantic(), setup: setup(config) };
    Ok(Some(Arc::new(AnswerCache::new(stack, options))))
}

/// Behind a model's name may stand another one tomorrow, and on another server.
fn setup(config: &Config) -> String {
    let llm = toml::to_string(&config.llm).unwrap_or_default();
    Sha256::digest(llm).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The cache's seam to the disk.
struct OnDisk(index::shelf::Shelf);

impl Shelf for OnDisk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ShelfError> {
        self.0.get(key).map_err(failed)
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), ShelfError> {
        self.0.put(key, value).map_err(failed)
    }

    fn delete(&self, key: &[u8]) -> Result<(), ShelfError> {
        self.0.delete(key).map_err(failed)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<ShelfPair>, ShelfError> {
        self.0.scan(prefix, after, limit, |key, value| (key.to_vec(), value.to_vec())).map_err(failed)
    }

    fn scan_heads(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize, head_bytes: usize) -> Result<Vec<ShelfHead>, ShelfError> {
        self.0.scan(prefix, after, limit, |key, value| ShelfHead::of(key, value, head_bytes)).map_err(failed)
    }
}

fn failed(error: index::shelf::ShelfError) -> ShelfError {
    ShelfError(error.into())
}
