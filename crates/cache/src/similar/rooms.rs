//! The questions of each partition, within bounds of number and memory.

use crate::fingerprint::Fingerprint;
use crate::guard::Traits;
use crate::key::{Key, Partition, Selection};
use corpus::Embedding;
use lru::LruCache;
use std::collections::VecDeque;
use std::sync::Arc;

/// A question that was answered.
pub(super) struct Question {
    pub(super) key: Key,
    pub(super) text: Arc<str>,
    pub(super) traits: Traits,
    embedding: Embedding,
}

impl Question {
    pub(super) fn new(key: Key, text: &str, embedding: Embedding) -> Self {
        Self { key, text: text.into(), traits: Traits::of(text), embedding }
    }

    /// Cosine similarity; `None` if the vectors can't be compared.
    pub(super) fn similarity(&self, other: &Embedding) -> Option<f32> {
        (self.embedding.len() == other.len()).then(|| dot(&self.embedding, other))
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.text.len() + self.key.path().len() + self.traits.bytes() + size_of_val::<[f32]>(&self.embedding)
    }
}

/// The inner product, in as many sums as a vector register has lanes: the compiler may not reorder one sum itself.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 8;
    let mut sums = [0.0_f32; LANES];
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// Partitions with their questions, the oldest question first.
pub(super) struct Rooms {
    rooms: LruCache<Fingerprint, Room>,
    entries_max: usize,
    bytes_max: usize,
    entries: usize,
    bytes: usize,
    evictions: u64,
}

#[derive(Default)]
struct Room {
    questions: VecDeque<Arc<Question>>,
}

impl Rooms {
    /// At most `entries_max` questions of a partition, and `bytes_max` of all.
    pub(super) fn new(entries_max: usize, bytes_max: usize) -> Self {
        Self { rooms: LruCache::unbounded(), entries_max, bytes_max, entries: 0, bytes: 0, evictions: 0 }
    }

    pub(super) const fn entries(&self) -> usize {
        self.entries
    }

    pub(super) fn partitions(&self) -> usize {
        self.rooms.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) const fn evictions(&self) -> u64 {
        self.evictions
    }

    /// The questions of a partition, the oldest one first.
    pub(super) fn of(&mut self, partition: &Partition) -> Vec<Arc<Question>> {
        let room = self.rooms.get(&partition.digest());
        room.map(|room| room.questions.iter().map(Arc::clone).collect()).unwrap_or_default()
    }

    /// Takes a question in, in place of an older one with the same key.
    pub(super) fn add(&mut self, question: Question) {
        self.forget(&question);
        if question.bytes() > self.bytes_max || self.entries_max == 0 {
            return;
        }
        self.bytes += question.bytes();
        self.entries += 1;
        let partition = question.key.partition().digest();
        let room = self.rooms.get_or_insert_mut(partition, Room::default);
        room.questions.push_back(Arc::new(question));
        if room.questions.len() > self.entries_max {
            self.evict_from(&partition);
        }
        while self.bytes > self.bytes_max {
            let Some(partition) = self.rooms.peek_lru().map(|(partition, _)| *partition) else { return };
            self.evict_from(&partition);
        }
    }

    /// Removes the oldest question of a partition.
    fn evict_from(&mut self, partition: &Fingerprint) {
        let oldest = self.rooms.peek_mut(partition).and_then(|room| room.questions.pop_front());
        if let Some(question) = oldest {
            self.evictions += 1;
            self.release(&question);
        }
        self.close_if_empty(partition);
    }

    pub(super) fn forget(&mut self, question: &Question) {
        let (partition, key) = (question.key.partition().digest(), question.key.digest());
        self.retain(&partition, |one| one.key.digest() != key);
    }

    pub(super) fn remove_all(&mut self, selection: &Selection) {
        let partitions: Vec<Fingerprint> = self.rooms.iter().map(|(partition, _)| *partition).collect();
        for partition in partitions {
            self.retain(&partition, |question| !selection.has(question.key.path()));
        }
    }

    fn retain(&mut self, partition: &Fingerprint, keeps: impl Fn(&Question) -> bool) {
        let Some(room) = self.rooms.peek_mut(partition) else { return };
        let (kept, gone): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut room.questions).into_iter().partition(|question| keeps(question));
        room.questions = kept;
        gone.iter().for_each(|question| self.release(question));
        self.close_if_empty(partition);
    }

    fn close_if_empty(&mut self, partition: &Fingerprint) {
        if self.rooms.peek(partition).is_some_and(|room| room.questions.is_empty()) {
            self.rooms.pop(partition);
        }
    }

    fn release(&mut self, question: &Question) {
        self.entries -= 1;
        self.bytes -= question.bytes();
    }
}
