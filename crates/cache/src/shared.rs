//! The last tier: entries in Redis, for all nodes. Redis ends their lifetimes, and keeps its own limit of memory.

use crate::entry::{Entry, HEADER_BYTES_MAX, Header};
use crate::key::{Prefix, Selection};
use crate::link::{CACHE, Link};
use crate::tier::{Listed, Page, Tier, TierError, TierName, Usage};
use async_trait::async_trait;
use redis::{cmd, pipe};
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct SharedTier(Arc<Link>);

impl SharedTier {
    pub(crate) const fn new(link: Arc<Link>) -> Self {
        Self(link)
    }

    fn name_of(&self, path: &str) -> String {
        format!("{}{CACHE}{path}", self.0.prefix())
    }

    /// Some of the names that there are, and where to go on; 0 is the beginning and the end.
    async fn scan(&self, prefix: &Prefix, cursor: u64, limit: usize) -> Result<(u64, Vec<String>), TierError> {
        let pattern = self.0.pattern(&format!("{CACHE}{}", prefix.as_str()));
        let found = self.0.call(|mut connection| async move {
            cmd("SCAN")
                .arg(cursor)
                .arg("MATCH")
                .arg(pattern)
                .arg("COUNT")
                .arg(limit)
                .query_async::<(u64, Vec<Vec<u8>>)>(&mut connection)
                .await
        });
        let (next, names) = found.await?;
        Ok((next, names.into_iter().filter_map(|name| String::from_utf8(name).ok()).collect()))
    }

    /// The first bytes and the length of each value.
    async fn heads(&self, names: &[String]) -> Result<Vec<(Vec<u8>, u64)>, TierError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut calls = pipe();
        for name in names {
            calls.cmd("GETRANGE").arg(name).arg(0).arg(HEADER_BYTES_MAX - 1).cmd("STRLEN").arg(name);
        }
        let replies: Vec<redis::Value> = self.0.call(|mut connection| async move { calls.query_async(&mut connection).await }).await?;
        let pairs = replies.chunks(2).filter_map(|pair| match pair {
            [redis::Value::BulkString(head), redis::Value::Int(bytes)] => Some((head.clone(), u64::try_from(*bytes).ok()?)),
            _ => None,
        });
        Ok(pairs.collect())
    }
}

#[async_trait]
impl Tier for SharedTier {
    fn name(&self) -> TierName {
        TierName::Redis
    }

    async fn get(&self, path: &Arc<str>) -> Result<Option<Entry>, TierError> {
        let name = self.name_of(path);
        let found = self.0.call(|mut connection| async move { cmd("GET").arg(name).query_async::<Option<Vec<u8>>>(&mut connection).await });
        Ok(found.await?.map(|bytes| Entry::decode(path, &bytes)).transpose()?)
    }

    async fn put(&self, path: &Arc<str>, entry: &Entry, left: Duration) -> Result<bool, TierError> {
        let (name, value) = (self.name_of(path), entry.encode(path));
        let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).clamp(1, LIFETIME_MS_MAX);
        let put = self.0.call(|mut connection| async move {
            cmd("SET").arg(name).arg(value).arg("PX").arg(left_ms).query_async::<()>(&mut connection).await
        });
        put.await?;
        Ok(true)
    }

    async fn remove(&self, path: &Arc<str>) -> Result<(), TierError> {
        let name = self.name_of(path);
        let removed = self.0.call(|mut connection| async move { cmd("UNLINK").arg(name).query_async::<()>(&mut connection).await });
        if removed.await.is_err() {
            self.0.remove_all(path).await?;
        }
        Ok(())
    }

    async fn remove_all(&self, selection: &Selection) -> Result<u64, TierError> {
        Ok(self.0.remove_all(selection.prefix()).await?)
    }

    async fn list(&self, prefix: &Prefix, after: Option<&str>, limit: usize, now_ms: u64) -> Result<Page, TierError> {
        let cursor = after.and_then(|after| after.parse().ok()).unwrap_or(0);
        let (next, names) = self.scan(prefix, cursor, limit).await?;
        let heads = self.heads(&names).await?;
        let place = self.name_of("");
        let listed = names.iter().zip(&heads).filter_map(|(name, (head, bytes))| {
            let header = Header::read(head).ok()?;
            Listed::of(name.strip_prefix(&place)?, (header.created_ms, header.lifetime_ms), *bytes, None, now_ms)
        });
        Ok(Page { entries: listed.collect(), next: (next != 0).then(|| next.to_string()) })
    }

    /// Redis counts its keys, but not ours among them.
    async fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// Redis refuses expiry times that overflow; a century is enough.
const LIFETIME_MS_MAX: u64 = 100 * 365 * 24 * 3_600_000;
