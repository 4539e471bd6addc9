//! The second tier: entries on a shelf of the server's store, at most so many bytes of them, the oldest make room.

mod aged;

use crate::entry::{Entry, Header};
use crate::key::{Key, Prefix, Selection};
use crate::shelf::{Shelf, ShelfError};
use crate::tier::{Listed, Page, Tier, TierError, TierName, Usage};
use aged::AgedShelf;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct StoreTier(Arc<AgedShelf>);

impl StoreTier {
    /// Counts what is there.
    pub(crate) async fn open(shelf: Arc<dyn Shelf>, bytes_max: u64) -> Result<Self, TierError> {
        let opened = tokio::task::spawn_blocking(move || AgedShelf::open(shelf, bytes_max)).await?;
        Ok(Self(Arc::new(opened?)))
    }

    /// The one hop to a blocking thread.
    async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce(&AgedShelf) -> Result<T, ShelfError> + Send + 'static,
    ) -> Result<T, TierError> {
        let shelf = Arc::clone(&self.0);
        Ok(tokio::task::spawn_blocking(move || call(&shelf)).await??)
    }
}

#[async_trait]
impl Tier for StoreTier {
    fn name(&self) -> TierName {
        TierName::Store
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry>, TierError> {
        let path = Arc::clone(key.path());
        let bytes = self.run(move |shelf| shelf.get(&path)).await?;
        Ok(bytes.map(|bytes| Entry::decode(key, &bytes)).transpose()?)
    }

    async fn put(&self, key: &Key, entry: &Entry, _left: Duration) -> Result<bool, TierError> {
        let (path, bytes, created_ms) = (Arc::clone(key.path()), entry.encode(key), entry.created_ms);
        self.run(move |shelf| shelf.put(&path, &bytes, created_ms)).await
    }

    async fn remove(&self, key: &Key) -> Result<(), TierError> {
        let path = Arc::clone(key.path());
        self.run(move |shelf| shelf.remove(&path)).await
    }

    async fn remove_all(&self, selection: &Selection) -> Result<u64, TierError> {
        let selection = selection.clone();
        self.run(move |shelf| shelf.remove_all(&selection)).await
    }

    async fn list(&self, prefix: &Prefix, after: Option<&str>, limit: usize, now_ms: u64) -> Result<Page, TierError> {
        let (prefix, after) = (prefix.clone(), after.map(str::to_owned));
        let mut pairs = self.run(move |shelf| shelf.page(prefix.as_str(), after.as_deref(), limit + 1)).await?;
        let has_more = pairs.len() > limit;
        pairs.truncate(limit);
        let next = pairs.last().filter(|_| has_more).map(|(path, _)| path.clone());
        let listed = |(path, value): &(String, Vec<u8>)| {
            let header = Header::read(value).ok()?;
            Listed::of(path, (header.created_ms, header.lifetime_ms), (path.len() + value.len()) as u64, None, now_ms)
        };
        Ok(Page { entries: pairs.iter().filter_map(listed).collect(), next })
    }

    async fn usage(&self) -> Usage {
        self.0.usage()
    }
}

#[cfg(test)]
mod tests;
