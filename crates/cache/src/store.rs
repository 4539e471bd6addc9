//! The second tier: entries on a shelf of the server's store, at most so many bytes of them, the oldest make room.

mod aged;

use crate::entry::{Entry, Header};
use crate::key::{Prefix, Selection};
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

    async fn get(&self, path: &Arc<str>) -> Result<Option<Entry>, TierError> {
        let path = Arc::clone(path);
        self.run(move |shelf| Ok(decoded(shelf, &path))).await?
    }

    async fn get_many(&self, paths: &[Arc<str>]) -> Vec<Result<Option<Entry>, TierError>> {
        let asked = paths.to_vec();
        match self.run(move |shelf| Ok(asked.iter().map(|path| decoded(shelf, path)).collect())).await {
            Ok(found) => found,
            // The hop was given up: each is told so by its own.
            Err(_) => futures::future::join_all(paths.iter().map(|path| self.get(path))).await,
        }
    }

    async fn put(&self, path: &Arc<str>, entry: &Entry, _left: Duration) -> Result<bool, TierError> {
        let (path, bytes, created_ms) = (Arc::clone(path), entry.encode(path), entry.created_ms);
        self.run(move |shelf| shelf.put(&path, &bytes, created_ms)).await
    }

    async fn remove(&self, path: &Arc<str>) -> Result<(), TierError> {
        let path = Arc::clone(path);
        self.run(move |shelf| shelf.remove(&path)).await
    }

    async fn remove_all(&self, selection: &Selection) -> Result<u64, TierError> {
        let selection = selection.clone();
        self.run(move |shelf| shelf.remove_all(&selection)).await
    }

    async fn list(&self, prefix: &Prefix, after: Option<&str>, limit: usize, now_ms: u64) -> Result<Page, TierError> {
        let (prefix, after) = (prefix.clone(), after.map(str::to_owned));
        let mut heads = self.run(move |shelf| shelf.page(prefix.as_str(), after.as_deref(), limit + 1)).await?;
        let has_more = heads.len() > limit;
        heads.truncate(limit);
        let next = heads.last().filter(|_| has_more).map(|(path, ..)| path.clone());
        let listed = |(path, head, bytes): &(String, Vec<u8>, u64)| {
            let header = Header::read(head).ok()?;
            Listed::of(path, (header.created_ms, header.lifetime_ms), path.len() as u64 + bytes, None, now_ms)
        };
        Ok(Page { entries: heads.iter().filter_map(listed).collect(), next })
    }

    /// Who writes holds the figures while the disk takes its time.
    async fn usage(&self) -> Usage {
        self.run(|shelf| Ok(shelf.usage())).await.unwrap_or_default()
    }
}

fn decoded(shelf: &AgedShelf, path: &str) -> Result<Option<Entry>, TierError> {
    Ok(shelf.get(path)?.map(|bytes| Entry::decode(path, &bytes)).transpose()?)
}

#[cfg(test)]
mod tests;
