//! Memory that passes are computed in. It is kept from one pass to the next and only grows.

use super::barrier::Barrier;
use crate::kernel::{KeyValues, KeyValuesMut, PANEL, Range};
use std::sync::{Mutex, RwLock};

/// What `threads` threads need for a pass.
pub(super) struct Workspace {
    pub(super) desks: Vec<Desk>,
    pub(super) barrier: Barrier,
}

/// What one thread works on, and what it lets others read.
pub(super) struct Desk {
    pub(super) own: Mutex<Scratch>,
    /// Keys and values of even and of odd layers: a thread that is ahead writes one while others read the other.
    pub(super) shared: [RwLock<Memory>; 2],
}

/// Everything that only its thread reads. Rows are those of all its tokens, or of a block of them.
#[derive(Default)]
pub(super) struct Scratch {
    /// All rows: the residual stream, and the same in bytes.
    pub(super) states: Vec<f32>,
    pub(super) bytes: Vec<u8>,
    pub(super) ranges: Vec<Range>,
    /// All rows.
    pub(super) queries: Vec<i16>,
    pub(super) query_steps: Vec<f32>,
    /// Rows of a block: query, key and value; then what is added to states. At first what is added to the embeddings
    /// of all rows.
    pub(super) joined: Vec<f32>,
    /// Rows of a block: what comes out of attention.
    pub(super) context: Vec<f32>,
    pub(super) context_bytes: Vec<u8>,
    pub(super) context_ranges: Vec<Range>,
    /// Rows of a block, between the dense layers.
    pub(super) wide: Vec<f32>,
    pub(super) wide_bytes: Vec<u8>,
    /// Attention's: see [`crate::kernel::Attention`].
    pub(super) shares: Vec<f32>,
    pub(super) scores: Vec<f32>,
    pub(super) weights: Vec<i16>,
    /// One row.
    pub(super) row: Vec<i16>,
}

/// Keys and values of one thread's pieces of texts, in the order of the texts.
#[derive(Default)]
pub(super) struct Memory {
    keys: Vec<i16>,
    values: Vec<i16>,
    key_steps: Vec<f32>,
    value_steps: Vec<f32>,
    /// Where the piece of each text begins, in padded tokens, and how many tokens it has.
    places: Vec<(usize, usize)>,
    hidden: usize,
    head: usize,
}

impl Workspace {
    pub(super) fn new(threads: usize) -> Self {
        let desk = |_| Desk { own: Mutex::default(), shared: [RwLock::default(), RwLock::default()] };
        Self { desks: (0..threads).map(desk).collect(), barrier: Barrier::new(threads) }
    }
}

impl Memory {
    /// Makes room for pieces of these `lengths`, in tokens.
    pub(super) fn arrange(&mut self, lengths: impl Iterator<Item = usize>, hidden: usize, head: usize) {
        let mut start = 0;
        self.places.clear();
        for tokens in lengths {
            self.places.push((start, tokens));
            start += tokens.next_multiple_of(PANEL);
        }
        (self.hidden, self.head) = (hidden, head);
        grow(&mut self.keys, start * hidden);
        grow(&mut self.values, start * hidden);
        grow(&mut self.key_steps, start);
        grow(&mut self.value_steps, start);
    }

    /// The piece of text `nth`, unless it is empty.
    pub(super) fn part(&self, nth: usize) -> Option<KeyValues<'_>> {
        let (start, tokens) = *self.places.get(nth)?;
        let padded = tokens.next_multiple_of(PANEL);
        let (whole, steps) = (start * self.hidden..(start + padded) * self.hidden, start..start + padded);
        (tokens > 0).then_some(KeyValues {
            tokens,
            padded,
            keys: self.keys.get(whole.clone())?,
            values: self.values.get(whole)?,
            key_steps: self.key_steps.get(steps.clone())?,
            value_steps: self.value_steps.get(steps)?,
        })
    }

    /// The same, to write.
    pub(super) fn part_mut(&mut self, nth: usize) -> Option<KeyValuesMut<'_>> {
        let (start, tokens) = *self.places.get(nth)?;
        let padded = tokens.next_multiple_of(PANEL);
        let (whole, steps) = (start * self.hidden..(start + padded) * self.hidden, start..start + padded);
        Some(KeyValuesMut {
            padded,
            head: self.head,
            keys: self.keys.get_mut(whole.clone())?,
            values: self.values.get_mut(whole)?,
            key_steps: self.key_steps.get_mut(steps.clone())?,
            value_steps: self.value_steps.get_mut(steps)?,
        })
    }
}

/// The first `length` places of `buffer`, which grows if it has fewer.
pub(super) fn room<T: Copy + Default>(buffer: &mut Vec<T>, length: usize) -> &mut [T] {
    grow(buffer, length);
    buffer.split_at_mut(length).0
}

fn grow<T: Copy + Default>(buffer: &mut Vec<T>, length: usize) {
    if buffer.len() < length {
        buffer.resize(length, T::default());
    }
}
