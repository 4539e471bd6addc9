//! The arithmetic of the int8 encoder, by the widest instructions the processor has.
//!
//! Weights are signed bytes with a step per output; activations are unsigned bytes with a range per token;
//! products are added in 32-bit integers, exactly. Both are first transformed (Hadamard) in groups of
//! [`GROUP`] inputs: a product of two rows is that of their transforms / [`GROUP`], and the few components that
//! are much larger than all others of a row no longer make its steps coarse (QuaRot, Ashkboos et al. 2024).
//! Attention counts queries, keys, values and weights in 16
//! bits. Everything else is f32. `simd` is what a processor must offer, `steps` what is computed with it.
//!
//! Invariant: every path gives the portable result, integers exactly and floats up to rounding. One machine
//! always takes the same path. Instructions that only some processors have need `unsafe`, which stays here:
//! the methods of [`Kernels`] are safe because they check all sizes, and because [`available`] lists only
//! what was detected.
#![expect(unsafe_code, reason = "vector instructions and their pointers")]
#![expect(unsafe_op_in_unsafe_fn, reason = "one contract for all of it: see `Simd`")]
#![expect(clippy::indexing_slicing, reason = "arrays of registers; sizes are checked at the door")]
#![expect(clippy::needless_range_loop, reason = "rows and columns of registers")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod simd;
mod steps;
#[cfg(test)]
mod tests;

use crate::shape::{Activation, Shape};

/// Outputs, or keys, whose numbers lie together: four bytes (two 16-bit integers) of the first, of the
/// second and so on, then the next four (two).
pub(crate) const PANEL: usize = 64;
/// Inputs of a dense layer that a Hadamard transform makes as many others of. Widths are multiples of it.
const GROUP: usize = 64;
/// Inputs whose products of bytes, at most 255 · 127 each, stay below 2³¹.
const INPUTS_MAX: usize = 65_536;
/// Most that a query or key counts to: two to the twelfth, squared, 128 times, is below 2³¹.
const KEY_MAX: f32 = 4095.0;
/// Most that a value counts to. A panel of values times weights stays below 2³¹.
const VALUE_MAX: f32 = 2047.0;
/// Most that a weight of attention counts to.
const SHARE_MAX: f32 = 16_383.0;

/// What a byte stands for, a component of the row's transform: `low + step · byte`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Range {
    pub(crate) step: f32,
    pub(crate) low: f32,
}

/// Rows of quantised activations, `inputs` bytes each.
pub(crate) struct ByteRows<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) ranges: &'a [Range],
}

/// Where such rows are written.
pub(crate) struct ByteRowsMut<'a> {
    pub(crate) bytes: &'a mut [u8],
    pub(crate) ranges: &'a mut [Range],
}

impl ByteRowsMut<'_> {
    fn width(&self) -> usize {
        self.bytes.len() / self.ranges.len().max(1)
    }
}

/// 64 bytes that begin a cache line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [i8; PANEL]);

/// A dense layer, quantised: the transform of weight[output] / [`GROUP`] = step[output] · byte.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dense {
    inputs: usize,
    outputs: usize,
    /// Panels of [`PANEL`] outputs.
    weights: Vec<Line>,
    steps: Vec<f32>,
    /// What each output's transformed weights add up to: the factor of an activation's `low`.
    sums: Vec<f32>,
    bias: Vec<f32>,
}

/// The parameters of a layer normalisation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Norm {
    pub(crate) gain: Vec<f32>,
    pub(crate) shift: Vec<f32>,
    pub(crate) epsilon: f32,
}

/// Keys and values of one text, or of a part of it, as attention reads them. Both begin with the first head;
/// a head has `padded · head` 16-bit integers.
pub(crate) struct KeyValues<'a> {
    /// Tokens that are there.
    pub(crate) tokens: usize,
    /// The same, rounded up to whole panels.
    pub(crate) padded: usize,
    /// In panels of tokens, two components of each together.
    pub(crate) keys: &'a [i16],
    /// Two tokens together, component by component.
    pub(crate) values: &'a [i16],
    /// `padded`
    pub(crate) key_steps: &'a [f32],
    /// `padded`
    pub(crate) value_steps: &'a [f32],
}

/// Where they are written.
pub(crate) struct KeyValuesMut<'a> {
    pub(crate) padded: usize,
    /// Components of a head.
    pub(crate) head: usize,
    pub(crate) keys: &'a mut [i16],
    pub(crate) values: &'a mut [i16],
    pub(crate) key_steps: &'a mut [f32],
    pub(crate) value_steps: &'a mut [f32],
}

/// Queries that look at one text, and where the answer goes.
pub(crate) struct Attention<'a> {
    pub(crate) hidden: usize,
    /// Components of a head.
    pub(crate) head: usize,
    /// `rows · hidden`
    pub(crate) queries: &'a [i16],
    /// `rows`
    pub(crate) query_steps: &'a [f32],
    /// Scratch: one for each padded token of all parts.
    pub(crate) shares: &'a mut [f32],
    /// Scratch: [`ROWS_MAX`] times as many.
    pub(crate) scores: &'a mut [f32],
    /// Scratch: as many as scores.
    pub(crate) weights: &'a mut [i16],
    /// `rows · hidden`
    pub(crate) out: &'a mut [f32],
}

/// Most rows of a tile.
pub(crate) const ROWS_MAX: usize = 6;

/// The steps of one path. Widths are multiples of [`PANEL`].
pub(crate) struct Kernels {
    /// The instructions, for people.
    pub(crate) name: &'static str,
    /// Whether one instruction multiplies bytes and adds the products.
    pub(crate) multiplies_bytes: bool,
    multiply: unsafe fn(&ByteRows, &Dense, *mut f32),
    quantise: unsafe fn(&mut [f32], &mut ByteRowsMut),
    activate: unsafe fn(Activation, &mut [f32], &mut ByteRowsMut),
    add_norm: unsafe fn(&mut [f32], &Norm, &mut [f32], &mut ByteRowsMut),
    split_heads: SplitHeads,
    attend: unsafe fn(&mut Attention, &[KeyValues]),
    peak: unsafe fn(usize) -> (i32, usize),
}

/// Joined rows and their width; queries and their steps; keys and values, the first token; scratch.
type SplitHeads = unsafe fn(&[f32], usize, &mut [i16], &mut [f32], &mut KeyValuesMut, usize, &mut [i16]);

/// The path `$name` of `$simd`: `$rows` rows by `$wide` vectors are multiplied in registers, `$deep` vectors of values.
macro_rules! kernels {
    ($name:literal, $bytes:literal, $simd:ty, $rows:literal, $wide:literal, $deep:literal $(, $features:literal)?) => {{
        $(#[target_feature(enable = $features)])?
        unsafe fn multiply(a: &ByteRows, dense: &Dense, out: *mut f32) {
            steps::multiply::<$simd, $rows, $wide>(a, dense, out);
        }
        $(#[target_feature(enable = $features)])?
        unsafe fn quantise(rows: &mut [f32], out: &mut ByteRowsMut) {
            steps::quantise::<$simd>(rows, out);
        }
        $(#[target_feature(enable = $features)])?
        unsafe fn activate(activation: Activation, rows: &mut [f32], out: &mut ByteRowsMut) {
            steps::activate::<$simd>(activation, rows, out);
        }
        $(#[target_feature(enable = $features)])?
        unsafe fn add_norm(added: &mut [f32], norm: &Norm, states: &mut [f32], out: &mut ByteRowsMut) {
            steps::add_norm::<$simd>(added, norm, states, out);
        }
        $(#[target_feature(enable = $features)])?
        unsafe fn split_heads(
            joined: &[f32],
            hidden: usize,
            queries: &mut [i16],
            steps: &mut [f32],
            out: &mut KeyValuesMut,
            first: usize,
            scratch: &mut [i16],
        ) {
            steps::split_heads::<$simd>(joined, hidden, queries, steps, out, first, scratch);
        }
        $(#[target_feature(enable = $features)])?
        unsafe fn attend(attention: &mut Attention, parts: &[KeyValues]) {
            steps::attend::<$simd, $rows, $wide, $deep>(attention, parts);
        }
        $(#[target_feature(enable = $features)])?
        unsafe fn peak(turns: usize) -> (i32, usize) {
            steps::peak::<$simd, $rows, $wide>(turns)
        }
        Kernels { name: $name, multiplies_bytes: $bytes, peak, multiply, quantise, activate, add_norm, split_heads, attend }
    }};
}

#[cfg(target_arch = "x86_64")]
static AVX512: Kernels = kernels!("avx512-vnni", true, avx512::Avx512, 6, 4, 2, "avx512f,avx512bw,avx512vnni");
#[cfg(target_arch = "x86_64")]
static AVX_VNNI: Kernels = kernels!("avx-vnni", true, avx2::AvxVnni, 4, 2, 1, "avx2,fma,avxvnni");
#[cfg(target_arch = "x86_64")]
static AVX2: Kernels = kernels!("avx2", false, avx2::Avx2, 4, 2, 1, "avx2,fma");
#[cfg(target_arch = "aarch64")]
static NEON_I8MM: Kernels = kernels!("neon-i8mm", true, neon::NeonI8mm, 6, 4, 2, "neon,i8mm");
#[cfg(target_arch = "aarch64")]
static NEON_DOT: Kernels = kernels!("neon-dotprod", true, neon::NeonDot, 6, 4, 2, "neon,dotprod");
static PORTABLE: Kernels = kernels!("portable", false, portable::Portable, 4, 2, 1);

/// All that this processor can take, the fastest first.
pub(crate) fn available() -> Vec<&'static Kernels> {
    let mut available = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        available.extend(avx512::is_available().then_some(&AVX512));
        available.extend(avx2::has_vnni().then_some(&AVX_VNNI));
        available.extend(avx2::is_available().then_some(&AVX2));
    }
    #[cfg(target_arch = "aarch64")]
    {
        available.extend(std::arch::is_aarch64_feature_detected!("i8mm").then_some(&NEON_I8MM));
        available.extend(std::arch::is_aarch64_feature_detected!("dotprod").then_some(&NEON_DOT));
    }
    available.push(&PORTABLE);
    available
}

/// The fastest.
pub(crate) fn best() -> &'static Kernels {
    available().swap_remove(0)
}

/// The path of this name, if the processor can take it.
pub(crate) fn named(name: &str) -> Option<&'static Kernels> {
    available().into_iter().find(|kernels| kernels.name == name)
}

/// Whether an encoder has sizes that these steps can do.
pub(crate) fn takes(shape: &Shape) -> bool {
    let widths = [shape.hidden, shape.intermediate].iter().all(|width| width.is_multiple_of(PANEL) && *width <= INPUTS_MAX);
    widths && is_head(shape.hidden / shape.heads.max(1))
}

/// Whether attention can have heads with so many components.
fn is_head(head: usize) -> bool {
    head.is_multiple_of(32) && (32..=128).contains(&head)
}

impl Kernels {
    /// out ← a · weightᵀ + bias, row by row.
    ///
    /// # Panics
    /// If sizes don't fit, as all of these.
    pub(crate) fn multiply(&self, a: &ByteRows, dense: &Dense, out: &mut [f32]) {
        let rows = a.ranges.len();
        assert!(a.bytes.len() == rows * dense.inputs && out.len() == rows * dense.outputs, "sizes of a product");
        // SAFETY: `available` lists only what the processor has; rows fit as checked, panels as `Dense::new` made them.
        unsafe { (self.multiply)(a, dense, out.as_mut_ptr()) }
    }

    /// row ← its transform, which `out` gets in bytes.
    pub(crate) fn quantise(&self, rows: &mut [f32], out: &mut ByteRowsMut) {
        check_rows(rows, out);
        // SAFETY: as above; both have the same number of components.
        unsafe { (self.quantise)(rows, out) }
    }

    /// row ← transform of activation(row), which `out` gets in bytes.
    pub(crate) fn activate(&self, activation: Activation, rows: &mut [f32], out: &mut ByteRowsMut) {
        check_rows(rows, out);
        // SAFETY: as above.
        unsafe { (self.activate)(activation, rows, out) }
    }

    /// state ← norm(state + added), added ← its transform, which `out` gets in bytes.
    pub(crate) fn add_norm(&self, added: &mut [f32], norm: &Norm, states: &mut [f32], out: &mut ByteRowsMut) {
        check_rows(states, out);
        let fits = added.len() == states.len() && [&norm.gain, &norm.shift].iter().all(|one| one.len() == out.width());
        assert!(fits || states.is_empty(), "sizes of a norm");
        // SAFETY: as above.
        unsafe { (self.add_norm)(added, norm, states, out) }
    }

    /// Rows of query, key and value side by side, to where attention reads them: queries row by row, keys and
    /// values of tokens from `first` on. `scratch` has room for a row.
    pub(crate) fn split_heads(
        &self,
        joined: &[f32],
        queries: &mut [i16],
        query_steps: &mut [f32],
        out: &mut KeyValuesMut,
        first: usize,
        scratch: &mut [i16],
    ) {
        let (rows, hidden) = (query_steps.len(), scratch.len());
        assert!(hidden.is_multiple_of(PANEL) && is_head(out.head) && hidden.is_multiple_of(out.head), "width of a state");
        assert!(joined.len() == rows * 3 * hidden && queries.len() == rows * hidden, "rows of queries");
        assert!(first + rows <= out.padded && out.padded.is_multiple_of(PANEL), "room for keys");
        assert!(out.keys.len() == out.padded * hidden && out.values.len() == out.padded * hidden, "room for keys");
        assert!(out.key_steps.len() == out.padded && out.value_steps.len() == out.padded, "room for steps");
        // SAFETY: as above.
        unsafe { (self.split_heads)(joined, hidden, queries, query_steps, out, first, scratch) }
    }

    /// softmax(q · kᵀ / √head) · v for each head: queries look at all tokens of all parts.
    pub(crate) fn attend(&self, attention: &mut Attention, parts: &[KeyValues]) {
        let Attention { hidden, head, .. } = *attention;
        let (rows, width) = (attention.query_steps.len(), attention.shares.len());
        assert!(hidden.is_multiple_of(PANEL) && is_head(head) && hidden.is_multiple_of(head), "width of a head");
        assert!(attention.queries.len() == rows * hidden && attention.out.len() == rows * hidden, "rows of queries");
        assert!(width == parts.iter().map(|part| part.padded).sum::<usize>(), "room for shares");
        assert!(attention.scores.len() == ROWS_MAX * width && attention.weights.len() == ROWS_MAX * width, "room for scores");
        for part in parts {
            let (padded, size) = (part.padded, part.padded * hidden);
            assert!(part.tokens > 0 && part.tokens <= padded && padded.is_multiple_of(PANEL), "tokens of a part");
            assert!(part.keys.len() == size && part.values.len() == size, "keys and values");
            assert!(part.key_steps.len() == padded && part.value_steps.len() == padded, "steps of keys and values");
        }
        // SAFETY: as above; a row of scores has `width` places.
        unsafe { (self.attend)(attention, parts) }
    }
}

impl Kernels {
    /// Products and additions of bytes in `turns` turns of a loop that does nothing else.
    pub(crate) fn peak(&self, turns: usize) -> usize {
        // SAFETY: as above.
        let (sum, operations) = unsafe { (self.peak)(turns) };
        std::hint::black_box(sum);
        turns * operations
    }
}

fn check_rows(rows: &[f32], out: &ByteRowsMut) {
    let fits = rows.len() == out.bytes.len() && out.bytes.len() == out.ranges.len() * out.width();
    let is_row = out.width() > 0 || out.ranges.is_empty();
    assert!(fits && is_row && out.width().is_multiple_of(PANEL), "sizes of rows");
}

/// Component i becomes Σⱼ ± component j, with - where i and j have an odd number of bits in common. Twice is
/// [`GROUP`] times the components.
fn hadamard(group: &mut [f32]) {
    let mut distance = 1;
    while distance < group.len() {
        for pair in group.chunks_exact_mut(2 * distance) {
            let (low, high) = pair.split_at_mut(distance);
            for (low, high) in low.iter_mut().zip(high) {
                (*low, *high) = (*low + *high, *low - *high);
            }
        }
        distance *= 2;
    }
}

/// Whether a layer has such sizes.
fn are_panels(inputs: usize, outputs: usize) -> bool {
    (1..=INPUTS_MAX).contains(&inputs) && [inputs, outputs].iter().all(|size| size.is_multiple_of(PANEL))
}

impl Dense {
    /// Quantises `weight`, [outputs, inputs] row by row: each row's transform in 255 steps around zero. `None` unless inputs
    /// and outputs are multiples of [`PANEL`].
    pub(crate) fn new(weight: &[f32], bias: Vec<f32>) -> Option<Self> {
        let outputs = bias.len();
        let inputs = weight.len().checked_div(outputs)?;
        if weight.len() != inputs * outputs || !are_panels(inputs, outputs) {
            return None;
        }
        let mut dense =
            Self { inputs, outputs, weights: vec![Line([0; PANEL]); inputs * outputs / PANEL], steps: Vec::new(), sums: Vec::new(), bias };
        let packed: &mut [i8] = bytemuck::cast_slice_mut(&mut dense.weights);
        let mut row = vec![0.0; inputs];
        for (output, weights) in weight.chunks_exact(inputs).enumerate() {
            row.copy_from_slice(weights);
            row.chunks_exact_mut(GROUP).for_each(hadamard);
            row.iter_mut().for_each(|x| *x /= GROUP as f32);
            let step = row.iter().fold(0.0_f32, |most, x| most.max(x.abs())) / 127.0;
            let per_step = if step > 0.0 { 1.0 / step } else { 0.0 };
            let mut sum = 0;
            for (input, x) in row.iter().enumerate() {
                #[expect(clippy::cast_possible_truncation, reason = "at most 127 either side")]
                let byte = (x * per_step).round() as i8;
                sum += i32::from(byte);
                packed[output / PANEL * PANEL * inputs + input / 4 * 4 * PANEL + output % PANEL * 4 + input % 4] = byte;
            }
            dense.steps.push(step);
            #[expect(clippy::cast_precision_loss, reason = "below 2²⁴ for up to 132,000 inputs")]
            dense.sums.push(step * sum as f32);
        }
        Some(dense)
    }

    /// What [`Self::read`] wants, in its order.
    pub(crate) fn arrays(&self) -> [&[u8]; 4] {
        [
            bytemuck::cast_slice(&self.weights),
            bytemuck::cast_slice(&self.steps),
            bytemuck::cast_slice(&self.sums),
            bytemuck::cast_slice(&self.bias),
        ]
    }

    /// A layer from its arrays; `next` gives the bytes of one of this length. `None` as with [`Self::new`].
    pub(crate) fn read<'a>(inputs: usize, outputs: usize, mut next: impl FnMut(usize) -> Option<&'a [u8]>) -> Option<Self> {
        if !are_panels(inputs, outputs) {
            return None;
        }
        let mut weights = vec![Line([0; PANEL]); inputs * outputs / PANEL];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut weights);
        bytes.copy_from_slice(next(bytes.len())?);
        let mut floats = || Some(bytemuck::allocation::pod_collect_to_vec(next(outputs * size_of::<f32>())?));
        Some(Self { inputs, outputs, weights, steps: floats()?, sums: floats()?, bias: floats()? })
    }

    fn weights(&self) -> &[i8] {
        bytemuck::cast_slice(&self.weights)
    }
}
