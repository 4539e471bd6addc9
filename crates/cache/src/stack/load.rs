//! Get it or make it: at most one load of a key at a time.

use super::Stack;
use crate::entry::Entry;
use crate::flight::{self, Lead, Outcome, Turn};
use crate::key::Key;
use crate::removed::Moment;
use crate::tier::TierName;
use bytes::Bytes;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// What a request wants of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// Take what is there, keep what is made.
    #[default]
    Use,
    /// Neither take nor keep.
    Bypass,
    /// Make it anew, and keep it.
    Refresh,
}

/// A value just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fresh {
    payload: Bytes,
    lifetime: Option<Duration>,
}

impl Fresh {
    /// A value for everybody who asks within `lifetime`.
    pub fn keep(payload: impl Into<Bytes>, lifetime: Duration) -> Self {
        Self { payload: payload.into(), lifetime: Some(lifetime) }
    }

    /// A value for this request alone: a degraded answer, say.
    pub fn pass(payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), lifetime: None }
    }
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loaded {
    /// From a tier.
    Found(Entry, TierName),
    /// From another request that was loading it.
    Joined(Entry),
    /// From this request's own load.
    Made(Entry),
}

impl Loaded {
    /// The value.
    #[must_use]
    pub const fn entry(&self) -> &Entry {
        match self {
            Self::Found(entry, _) | Self::Joined(entry) | Self::Made(entry) => entry,
        }
    }
}

/// Failed loads of others that a request waits for before it goes on alone.
const FAILURES_MAX: usize = 1;

impl Stack {
    /// The entry, or what `load` makes. Of many requests for the same key one loads, and the others wait for it; if
    /// it fails or is dropped, the others go on. `load` isn't polled unless it is needed.
    ///
    /// # Errors
    /// What this request's own load fails with; never another's.
    pub async fn get_or_load<E>(&self, key: &Key, policy: Policy, load: impl Future<Output = Result<Fresh, E>>) -> Result<Loaded, E> {
        match policy {
            Policy::Use => self.find_or_load(key, load).await,
            Policy::Refresh => self.load(key, None, load).await.map(|(entry, _)| Loaded::Made(entry)),
            Policy::Bypass => {
                let fresh = self.counted(load).await?;
                Ok(Loaded::Made(self.entry(fresh.payload, Duration::ZERO)))
            }
        }
    }

    async fn find_or_load<E>(&self, key: &Key, load: impl Future<Output = Result<Fresh, E>>) -> Result<Loaded, E> {
        match self.find(key).await {
            Some((entry, tier)) => Ok(Loaded::Found(entry, tier)),
            None => self.join(key, None, None, load).await,
        }
    }

    /// As [`Stack::get_or_load`], for a key that was looked up a moment ago and not found. What `load` makes rests on
    /// what was there at `since`: nothing is kept that was removed after it. Another's load is waited for until `until`.
    ///
    /// # Errors
    /// What this request's own load fails with; never another's.
    pub async fn join_or_load<E>(
        &self,
        key: &Key,
        since: Moment,
        until: Instant,
        load: impl Future<Output = Result<Fresh, E>>,
    ) -> Result<Loaded, E> {
        self.join(key, Some(since), Some(until), load).await
    }

    /// `since`: when what the load rests on was not read yet; `None`: the load reads it.
    async fn join<E>(
        &self,
        key: &Key,
        since: Option<Moment>,
        until: Option<Instant>,
        load: impl Future<Output = Result<Fresh, E>>,
    ) -> Result<Loaded, E> {
        let mut failures = 0;
        while failures <= FAILURES_MAX {
            match self.flights.turn(key.path()) {
                Turn::Lead(lead) => return self.lead(key, lead, since, load).await,
                Turn::Follow(receiver) => match outcome(receiver, until).await {
                    Some(Outcome::Landed(entry)) => {
                        self.counters.joined.fetch_add(1, Relaxed);
                        return Ok(Loaded::Joined(entry));
                    }
                    Some(Outcome::Failed | Outcome::UnderWay) => failures += 1,
                    None if until.is_some_and(|until| Instant::now() >= until) => break,
                    // Given up: somebody else leads.
                    None => {}
                },
            }
        }
        self.load(key, since, load).await.map(|(entry, _)| Loaded::Made(entry))
    }

    /// Loads anew and keeps that, as [`Policy::Refresh`]; `since` as in [`Stack::join_or_load`].
    ///
    /// # Errors
    /// What the load fails with.
    pub async fn reload<E>(&self, key: &Key, since: Moment, load: impl Future<Output = Result<Fresh, E>>) -> Result<Loaded, E> {
        self.load(key, Some(since), load).await.map(|(entry, _)| Loaded::Made(entry))
    }

    /// Loads for all who wait.
    async fn lead<E>(
        &self,
        key: &Key,
        lead: Lead<'_>,
        since: Option<Moment>,
        load: impl Future<Output = Result<Fresh, E>>,
    ) -> Result<Loaded, E> {
        // Another leader may have landed since the look; it left its value at the top.
        if let Some((entry, tier)) = self.peek(key).await {
            lead.end(Outcome::Landed(entry.clone()));
            return Ok(Loaded::Found(entry, tier));
        }
        let loaded = self.load(key, since, load).await;
        lead.end(match &loaded {
            Ok((entry, true)) => Outcome::Landed(entry.clone()),
            _ => Outcome::Failed,
        });
        loaded.map(|(entry, _)| Loaded::Made(entry))
    }

    /// Makes the value and keeps it; whether it may be shared with those who wait.
    async fn load<E>(&self, key: &Key, since: Option<Moment>, load: impl Future<Output = Result<Fresh, E>>) -> Result<(Entry, bool), E> {
        let since = since.unwrap_or_else(|| self.moment());
        let fresh = self.counted(load).await?;
        let entry = self.entry(fresh.payload, fresh.lifetime.unwrap_or_default());
        if fresh.lifetime.is_none() {
            return Ok((entry, false));
        }
        self.keep_all(key, &entry, since).await;
        // Too large to be kept is not too large to be shared; removed meanwhile is.
        let is_current = !self.removed.since(since, key.path());
        Ok((entry, is_current))
    }

    async fn counted<E>(&self, load: impl Future<Output = Result<Fresh, E>>) -> Result<Fresh, E> {
        self.counters.loads.fetch_add(1, Relaxed);
        load.await.inspect_err(|_| _ = self.counters.loads_failed.fetch_add(1, Relaxed))
    }
}

/// The end of another's load; `None` if it was given up, or takes too long.
async fn outcome(receiver: watch::Receiver<Outcome>, until: Option<Instant>) -> Option<Outcome> {
    match until {
        Some(until) => timeout_at(until, flight::outcome(receiver)).await.ok().flatten(),
        None => flight::outcome(receiver).await,
    }
}
