//! The encoder in 8-bit integers.
//!
//! Texts are *packed*: all tokens of a pass stand below each other, without padding, and only attention looks
//! at one text at a time. A pass is divided among threads: whole texts where that comes out even, else a part
//! of every text for each, who then wait for each other once a layer, when keys and values are there.
//! Everything else of a token depends on that token alone, and is done for a block of them while it is in the
//! nearest caches.
//!
//! Invariant: a text's vector is the same to the bit whatever else is in its pass and however that is divided.
//! Everything about a token is computed from its own row in one order; sums over tokens are counted in integers
//! (or in floats that are multiples of one step), which have no order.
//!
//! Quantisation: weights in 255 steps per output (symmetric), activations in 256 steps per token between the
//! token's least and largest (Jacob et al. 2018, section 2.1; per-token ranges as in ZeroQuant, Yao et al. 2022),
//! both after a Hadamard transform, which leaves no component much larger than others (QuaRot, Ashkboos et al.
//! 2024).
#![expect(clippy::indexing_slicing, reason = "rows and blocks are cut where they are counted")]

mod barrier;
mod packed;
mod plan;
#[cfg(test)]
mod tests;
mod workspace;

use crate::kernel::{self, Attention, ByteRows, ByteRowsMut, Dense, Kernels, Norm, ROWS_MAX};
use crate::manifest::Pooling;
use crate::shape::Shape;
use crate::tokenizer::Tokens;
use crate::weights::Weights;
use barrier::{BreakOnPanic, Broken};
pub(crate) use plan::deal;
use plan::{Piece, Plan};
use rayon::prelude::*;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError, RwLockReadGuard};
use workspace::{Memory, Scratch, Workspace, room};

/// Rows that go through a layer together: their widest activations are some hundred KiB.
const BLOCK: usize = 48;

/// The model, in the form that [`crate::kernel`] computes with.
pub(crate) struct Int8Bert {
    parameters: Parameters,
    shape: Shape,
    pooling: Pooling,
    kernels: &'static Kernels,
    /// Those that no pass uses.
    workspaces: Mutex<Vec<Workspace>>,
}

/// Everything that was learnt.
#[derive(Debug, Clone, PartialEq)]
struct Parameters {
    words: Table,
    /// [positions, hidden], the embedding of segment 0 added.
    positions: Vec<f32>,
    /// What the embedding of segment 1 has over that of segment 0; nothing where there is but one.
    segment_step: Vec<f32>,
    norm: Norm,
    layers: Vec<Layer>,
}

/// Rows of 16-bit integers with a step each.
#[derive(Debug, Clone, PartialEq)]
struct Table {
    rows: Vec<i16>,
    steps: Vec<f32>,
}

#[derive(Debug, Clone, PartialEq)]
struct Layer {
    /// Query, key and value in one product.
    attention_in: Dense,
    attention_out: Dense,
    attention_norm: Norm,
    up: Dense,
    down: Dense,
    norm: Norm,
}

impl Int8Bert {
    /// Takes the packed weights from `cache`; if it is not there or of no use, quantises what `weights` reads
    /// and tries to leave it there. The error says which tensor doesn't fit.
    pub(crate) fn open(
        shape: Shape,
        pooling: Pooling,
        cache: &Path,
        revision: &str,
        kernels: &'static Kernels,
        weights: impl FnOnce() -> Result<Weights, String>,
    ) -> Result<Self, String> {
        if !kernel::takes(&shape) {
            return Err("8-bit integers need widths that are multiples of 64, and heads of 32, 64, 96 or 128 components".to_owned());
        }
        let source = packed::source(revision, &shape);
        let parameters = match Parameters::load(cache, &shape, source) {
            Ok(parameters) => parameters,
            Err(fault) => {
                tracing::debug!(path = %cache.display(), %fault, "packing the weights again");
                let parameters = Parameters::quantise(&shape, &weights()?)?;
                if let Err(error) = parameters.save(cache, source) {
                    tracing::info!(path = %cache.display(), %error, "can't keep the packed weights: they are made again at every start");
                }
                parameters
            }
        };
        Ok(Self { parameters, shape, pooling, kernels, workspaces: Mutex::default() })
    }

    /// What computes it.
    pub(crate) fn instructions(&self) -> &'static str {
        self.kernels.name
    }

    /// One vector a text, not normalised. Every text must have a token. To be called on a thread of the pool
    /// whose `threads` it may use, by one caller at a time: two that divide texts would wait for each other.
    pub(crate) fn encode(&self, texts: &[&Tokens], threads: usize) -> Result<Vec<Vec<f32>>, String> {
        let plan = Plan::new(texts, threads);
        let workspace = self.take_workspace(threads);
        let hands: Vec<_> = if plan.hands.len() == 1 {
            plan.hands.iter().map(|pieces| self.forward(pieces, 0, false, &workspace)).collect()
        } else if plan.is_shared {
            assert_eq!(rayon::current_num_threads(), threads, "the barrier counts the threads of the pool");
            rayon::broadcast(|context| self.forward(&plan.hands[context.index()], context.index(), true, &workspace))
        } else {
            plan.hands.par_iter().enumerate().map(|(me, pieces)| self.forward(pieces, me, false, &workspace)).collect()
        };
        let mut sums = vec![vec![0.0; self.shape.hidden]; texts.len()];
        for (pieces, parts) in plan.hands.iter().zip(hands) {
            let parts = parts.map_err(|Broken| "a thread of the pass panicked".to_owned())?;
            for (piece, part) in pieces.iter().zip(parts.chunks_exact(self.shape.hidden)) {
                sums[piece.text].iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
            }
        }
        self.lock().push(workspace);
        Ok(texts.iter().zip(sums).map(|(text, sum)| self.finish(text.ids.len(), &sum)).collect())
    }

    fn finish(&self, tokens: usize, sum: &[f64]) -> Vec<f32> {
        let count = if self.pooling == Pooling::Mean { tokens } else { 1 };
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "at most 8,192 tokens; a vector is f32")]
        sum.iter().map(|x| (x / count as f64) as f32).collect()
    }

    /// One for so many threads, of an earlier pass if there is one: its barrier counts them.
    fn take_workspace(&self, threads: usize) -> Workspace {
        let mut idle = self.lock();
        let place = idle.iter().position(|workspace| workspace.desks.len() == threads);
        place.map_or_else(|| Workspace::new(threads), |place| idle.swap_remove(place))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Workspace>> {
        self.workspaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All layers over one thread's pieces; gives the sums of [`Self::pool`].
    fn forward(&self, pieces: &[Piece], me: usize, is_shared: bool, workspace: &Workspace) -> Result<Vec<f64>, Broken> {
        let _guard = BreakOnPanic(&workspace.barrier);
        let desk = &workspace.desks[me];
        let mut scratch = desk.own.lock().unwrap_or_else(PoisonError::into_inner);
        let desks = if is_shared { &workspace.desks[..] } else { std::slice::from_ref(desk) };
        self.embed(pieces, &mut scratch);
        for (nth, layer) in self.parameters.layers.iter().enumerate() {
            let side = nth % 2;
            self.project(layer, pieces, &mut scratch, &mut desk.shared[side].write().unwrap_or_else(PoisonError::into_inner));
            if is_shared {
                workspace.barrier.wait()?;
            }
            let memories: Vec<RwLockReadGuard<'_, Memory>> =
                desks.iter().map(|desk| desk.shared[side].read().unwrap_or_else(PoisonError::into_inner)).collect();
            self.transform(layer, pieces, &mut scratch, &memories);
        }
        Ok(self.pool(pieces, &scratch))
    }

    /// Embeddings of the tokens, normalised.
    fn embed(&self, pieces: &[Piece], scratch: &mut Scratch) {
        let (hidden, rows) = (self.shape.hidden, rows_of(pieces));
        let Parameters { words, positions, segment_step, norm, .. } = &self.parameters;
        let states = room(&mut scratch.states, rows * hidden);
        let added = room(&mut scratch.joined, rows.max(3 * BLOCK) * hidden);
        let tokens =
            pieces.iter().flat_map(|piece| piece.ids.iter().zip(piece.first..).map(|(id, place)| (id, place, place >= piece.second)));
        for ((id, place, is_second), (state, added)) in tokens.zip(states.chunks_exact_mut(hidden).zip(added.chunks_exact_mut(hidden))) {
            let (word, place) = (*id as usize * hidden, (place + self.shape.first_position) * hidden);
            let step = words.steps[*id as usize];
            for (x, count) in state.iter_mut().zip(&words.rows[word..word + hidden]) {
                *x = f32::from(*count) * step;
            }
            added.copy_from_slice(&positions[place..place + hidden]);
            if is_second {
                added.iter_mut().zip(segment_step).for_each(|(x, step)| *x += step);
            }
        }
        let mut out = ByteRowsMut { bytes: room(&mut scratch.bytes, rows * hidden), ranges: room(&mut scratch.ranges, rows) };
        self.kernels.add_norm(&mut added[..rows * hidden], norm, states, &mut out);
    }

    /// Queries, keys and values of all tokens.
    fn project(&self, layer: &Layer, pieces: &[Piece], scratch: &mut Scratch, memory: &mut Memory) {
        let (hidden, rows) = (self.shape.hidden, rows_of(pieces));
        memory.arrange(pieces.iter().map(|piece| piece.ids.len()), hidden, hidden / self.shape.heads);
        let queries = room(&mut scratch.queries, rows * hidden);
        let steps = room(&mut scratch.query_steps, rows);
        for block in blocks(rows) {
            let joined = room(&mut scratch.joined, block.len() * 3 * hidden);
            let a = ByteRows { bytes: &scratch.bytes[scaled(&block, hidden)], ranges: &scratch.ranges[block.clone()] };
            self.kernels.multiply(&a, &layer.attention_in, joined);
            for (nth, rows, first) in overlaps(pieces, &block) {
                let Some(mut part) = memory.part_mut(nth) else { continue };
                let within = rows.start - block.start..rows.end - block.start;
                let (queries, steps) = (&mut queries[scaled(&rows, hidden)], &mut steps[rows]);
                let row = room(&mut scratch.row, hidden);
                self.kernels.split_heads(&joined[scaled(&within, 3 * hidden)], queries, steps, &mut part, first, row);
            }
        }
    }

    /// Attention and what follows it, block by block.
    fn transform(&self, layer: &Layer, pieces: &[Piece], scratch: &mut Scratch, memories: &[RwLockReadGuard<'_, Memory>]) {
        let hidden = self.shape.hidden;
        for block in blocks(rows_of(pieces)) {
            room(&mut scratch.context, block.len() * hidden);
            for (nth, rows, _) in overlaps(pieces, &block) {
                let within = rows.start - block.start..rows.end - block.start;
                self.attend(nth, &rows, &within, scratch, memories);
            }
            let rows = scaled(&block, hidden);
            let context = &mut scratch.context[..rows.len()];
            let bytes = room(&mut scratch.context_bytes, rows.len());
            let ranges = room(&mut scratch.context_ranges, block.len());
            self.kernels.quantise(context, &mut ByteRowsMut { bytes, ranges });
            let added = room(&mut scratch.joined, rows.len());
            self.kernels.multiply(&ByteRows { bytes, ranges }, &layer.attention_out, added);
            let states = &mut scratch.states[rows.clone()];
            self.kernels.add_norm(added, &layer.attention_norm, states, &mut ByteRowsMut { bytes, ranges });

            let wide = room(&mut scratch.wide, block.len() * self.shape.intermediate);
            self.kernels.multiply(&ByteRows { bytes, ranges }, &layer.up, wide);
            let bytes = room(&mut scratch.wide_bytes, wide.len());
            self.kernels.activate(self.shape.activation, wide, &mut ByteRowsMut { bytes, ranges });
            self.kernels.multiply(&ByteRows { bytes, ranges }, &layer.down, added);
            let mut out = ByteRowsMut { bytes: &mut scratch.bytes[rows], ranges: &mut scratch.ranges[block] };
            self.kernels.add_norm(added, &layer.norm, states, &mut out);
        }
    }

    /// Tokens `rows` of text `nth` look at the whole text; the answer goes to `within` of the block.
    fn attend(
        &self,
        nth: usize,
        rows: &Range<usize>,
        within: &Range<usize>,
        scratch: &mut Scratch,
        memories: &[RwLockReadGuard<'_, Memory>],
    ) {
        let (hidden, heads) = (self.shape.hidden, self.shape.heads);
        let parts: Vec<_> = memories.iter().filter_map(|memory| memory.part(nth)).collect();
        let width = parts.iter().map(|part| part.padded).sum();
        let mut attention = Attention {
            hidden,
            head: hidden / heads,
            queries: &scratch.queries[scaled(rows, hidden)],
            query_steps: &scratch.query_steps[rows.clone()],
            shares: room(&mut scratch.shares, width),
            scores: room(&mut scratch.scores, ROWS_MAX * width),
            weights: room(&mut scratch.weights, ROWS_MAX * width),
            out: &mut scratch.context[scaled(within, hidden)],
        };
        self.kernels.attend(&mut attention, &parts);
    }

    /// For each piece the sum of the states that its text's vector is made of.
    fn pool(&self, pieces: &[Piece], scratch: &Scratch) -> Vec<f64> {
        let hidden = self.shape.hidden;
        let mut sums = vec![0.0; pieces.len() * hidden];
        let mut states = scratch.states.chunks_exact(hidden);
        for (piece, sum) in pieces.iter().zip(sums.chunks_exact_mut(hidden)) {
            for (state, place) in states.by_ref().take(piece.ids.len()).zip(piece.first..) {
                if self.pooling == Pooling::Mean || place == 0 {
                    sum.iter_mut().zip(state).for_each(|(sum, x)| *sum += in_steps(*x));
                }
            }
        }
        sums
    }
}

/// The nearest multiple of 2⁻²²: sums of such numbers below 2³⁰ are exact.
fn in_steps(x: f32) -> f64 {
    /// 1.5 · 2⁵²⁻²²: a number of this size has steps of 2⁻²².
    const SHIFT: f64 = 1_610_612_736.0;
    (f64::from(x) + SHIFT) - SHIFT
}

fn rows_of(pieces: &[Piece]) -> usize {
    pieces.iter().map(|piece| piece.ids.len()).sum()
}

/// `rows` rows in blocks of about the same size.
fn blocks(rows: usize) -> impl Iterator<Item = Range<usize>> {
    let count = rows.div_ceil(BLOCK);
    (0..count).map(move |nth| nth * rows / count..(nth + 1) * rows / count)
}

/// The components of `rows`.
fn scaled(rows: &Range<usize>, width: usize) -> Range<usize> {
    rows.start * width..rows.end * width
}

/// Each piece with rows in `block`: which one, those rows, and which of its tokens the first of them is.
fn overlaps<'a>(pieces: &'a [Piece<'a>], block: &Range<usize>) -> impl Iterator<Item = (usize, Range<usize>, usize)> + use<'a> {
    let block = block.clone();
    let ends = pieces.iter().scan(0, |end, piece| {
        *end += piece.ids.len();
        Some((*end - piece.ids.len(), *end))
    });
    ends.enumerate().filter_map(move |(nth, (start, end))| {
        let rows = start.max(block.start)..end.min(block.end);
        let first = rows.start.saturating_sub(start);
        (!rows.is_empty()).then_some((nth, rows, first))
    })
}
