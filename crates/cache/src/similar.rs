//! The semantic cache: an answer to the same question in other words.
//!
//! Invariants: a question is only compared with those of its own partition, so that nobody is served what was made
//! for other rights, other data or another model; a hit needs both a similarity over the threshold and a guard
//! that finds no difference (see [`crate::guard()`]); memory is bounded; a question goes when its value goes. The
//! questions are held in memory only: after a restart they come back as they are asked.

mod rooms;

use crate::entry::Entry;
use crate::guard::{Difference, Traits};
use crate::key::{Key, Partition, Selection};
use crate::stack::{Stack, Watcher};
use corpus::Embedding;
use rooms::{Question, Rooms};
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The bounds of a semantic cache.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SemanticOptions {
    /// The least cosine similarity of a hit. What is right depends on the embedding model.
    pub threshold: f32,
    /// Questions held of each partition; the oldest make room.
    pub partition_entries: usize,
    /// Memory for all questions; partitions not asked for longest make room.
    pub bytes: usize,
}

impl Default for SemanticOptions {
    /// Similar from 0.92, 1,000 questions of a partition, 64 MiB.
    fn default() -> Self {
        Self { threshold: 0.92, partition_entries: 1000, bytes: 64 * 1024 * 1024 }
    }
}

/// Finds values by questions that mean the same.
pub struct SemanticCache {
    stack: Arc<Stack>,
    options: SemanticOptions,
    rooms: Mutex<Rooms>,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    lookups: AtomicU64,
    hits: AtomicU64,
    refused: AtomicU64,
    gone: AtomicU64,
}

/// An answer to a question that means the same.
#[derive(Debug, Clone)]
pub struct Similar {
    /// The value.
    pub entry: Entry,
    /// The question that it was made for.
    pub question: Arc<str>,
    /// Cosine similarity of the two questions.
    pub similarity: f32,
}

/// A question that is near enough, but doesn't mean the same.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The question.
    pub question: Arc<str>,
    /// Cosine similarity of the two questions.
    pub similarity: f32,
    /// What the guard found.
    pub difference: Difference,
}

/// What a lookup found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The most similar question that the guard let through and whose value is still there.
    pub hit: Option<Similar>,
    /// More similar ones that were refused.
    pub refused: Vec<Refused>,
}

/// What a semantic cache did since the start, and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SemanticStatistics {
    /// Lookups.
    pub lookups: u64,
    /// Lookups that found a value.
    pub hits: u64,
    /// Near questions that the guard refused.
    pub refused: u64,
    /// Near questions whose value was gone.
    pub gone: u64,
    /// Questions that made room.
    pub evictions: u64,
    /// Questions held.
    pub entries: usize,
    /// Partitions held.
    pub partitions: usize,
    /// Memory of the questions, roughly.
    pub bytes: usize,
}

/// Near questions that a lookup looks at; further ones are less similar.
const CANDIDATES_MAX: usize = 16;

impl SemanticCache {
    /// An empty one for the values in `stack`.
    #[must_use]
    pub fn new(stack: Arc<Stack>, options: SemanticOptions) -> Arc<Self> {
        let rooms = Mutex::new(Rooms::new(options.partition_entries, options.bytes));
        let cache = Arc::new(Self { stack, options, rooms, counters: Counters::default() });
        let watcher: Weak<Self> = Arc::downgrade(&cache);
        cache.stack.watch(watcher);
        cache
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers that the value under `key` answers `question`. Vectors of another dimension than the partition's
    /// are never near; the partition's conditions should name the embedding model. A question too long for the guard
    /// is not kept.
    pub fn remember(&self, key: &Key, question: &str, embedding: Embedding) {
        let question = Question::new(key.clone(), question, embedding);
        if question.traits.is_comparable() {
            self.rooms().add(question);
        }
    }

    /// The value of a question of this partition that means the same.
    pub async fn find(&self, partition: &Partition, question: &str, embedding: &Embedding) -> Found {
        self.counters.lookups.fetch_add(1, Relaxed);
        let near = self.near(partition, embedding);
        let mut found = Found::default();
        if near.is_empty() {
            return found;
        }
        let traits = Traits::of(question);
        for (similarity, candidate) in near {
            if let Err(difference) = traits.agree(&candidate.traits) {
                self.counters.refused.fetch_add(1, Relaxed);
                found.refused.push(Refused { question: Arc::clone(&candidate.text), similarity, difference });
                continue;
            }
            if let Some(entry) = self.stack.get(&candidate.key).await {
                self.counters.hits.fetch_add(1, Relaxed);
                found.hit = Some(Similar { entry, question: Arc::clone(&candidate.text), similarity });
                break;
            }
            self.counters.gone.fetch_add(1, Relaxed);
            self.rooms().forget(&candidate);
        }
        found
    }

    /// The questions over the threshold, the most similar one first, of equal ones the youngest.
    fn near(&self, partition: &Partition, embedding: &Embedding) -> Vec<(f32, Arc<Question>)> {
        // Compared outside of the lock.
        let questions = self.rooms().of(partition);
        let mut near: Vec<(f32, Arc<Question>)> = questions
            .into_iter()
            .rev()
            .filter_map(|question| Some((question.similarity(embedding)?, question)))
            .filter(|(similarity, _)| *similarity >= self.options.threshold)
            .collect();
        near.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        near.truncate(CANDIDATES_MAX);
        near
    }

    /// What it did since the start, and what it holds.
    #[must_use]
    pub fn statistics(&self) -> SemanticStatistics {
        let rooms = self.rooms();
        SemanticStatistics {
            lookups: self.counters.lookups.load(Relaxed),
            hits: self.counters.hits.load(Relaxed),
            refused: self.counters.refused.load(Relaxed),
            gone: self.counters.gone.load(Relaxed),
            evictions: rooms.evictions(),
            entries: rooms.entries(),
            partitions: rooms.partitions(),
            bytes: rooms.bytes(),
        }
    }
}

impl Watcher for SemanticCache {
    fn removed(&self, selection: &Selection) {
        self.rooms().remove_all(selection);
    }
}

impl std::fmt::Debug for SemanticCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SemanticCache").field("options", &self.options).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
