//! The steps of an encoder, written once over [`Simd`]. [`super::Kernels`] says what each does and checks
//! the sizes that these rely on.

use super::simd::Simd;
use super::{
    Activation, Attention, ByteRows, ByteRowsMut, Dense, GROUP, KEY_MAX, KeyValues, KeyValuesMut, PANEL, Range, SHARE_MAX, VALUE_MAX,
};

/// What 1 counts in a sum of exponentials: 16,383 of them stay below 2³¹.
const ONE: f32 = 131_072.0;
/// A float of this size plus a number from 0 to 1 (or a few roundings more), read as an integer, has grown by that
/// number in [`ONE`]s.
const BASE: f32 = 64.0;
/// Vectors of a group, of four floats each.
const LONGEST_GROUP: usize = GROUP / 4;
/// Largest byte of a quantised activation.
const BYTE_MAX: f32 = 255.0;

/// out ← a · wᵀ + bias. Panels of weights outside, rows inside: a panel stays in the nearest cache while all
/// rows go over it.
///
/// # Safety
/// See [`super::Kernels::multiply`].
#[inline(always)]
pub(super) unsafe fn multiply<S: Simd, const ROWS: usize, const WIDE: usize>(a: &ByteRows, dense: &Dense, out: *mut f32) {
    let (rows, inputs, outputs) = (a.ranges.len(), dense.inputs, dense.outputs);
    for column in (0..outputs).step_by(WIDE * S::LANES) {
        let (panel, within) = (column / PANEL, column % PANEL);
        let mut row = 0;
        while row < rows {
            let count = (rows - row).div_ceil((rows - row).div_ceil(ROWS));

            let weights = dense.weights().as_ptr().add(panel * PANEL * inputs + 4 * within);
            let (bytes, ranges) = (a.bytes.as_ptr().add(row * inputs), a.ranges.as_ptr().add(row));
            let out = out.add(row * outputs + column);
            match count {
                6 => tile::<S, 6, WIDE>(bytes, ranges, weights, dense, column, out),
                5 => tile::<S, 5, WIDE>(bytes, ranges, weights, dense, column, out),
                4 => tile::<S, 4, WIDE>(bytes, ranges, weights, dense, column, out),
                3 => tile::<S, 3, WIDE>(bytes, ranges, weights, dense, column, out),
                2 => tile::<S, 2, WIDE>(bytes, ranges, weights, dense, column, out),
                _ => tile::<S, 1, WIDE>(bytes, ranges, weights, dense, column, out),
            }

            row += count;
        }
    }
}

/// `ROWS` rows by `WIDE` vectors of outputs, sums in registers.
#[inline(always)]
unsafe fn tile<S: Simd, const ROWS: usize, const WIDE: usize>(
    bytes: *const u8,
    ranges: *const Range,
    weights: *const i8,
    dense: &Dense,
    column: usize,
    out: *mut f32,
) {
    let mut sums = [[S::zero(); WIDE]; ROWS];
    for group in 0..dense.inputs / 4 {
        let line = weights.add(group * PANEL * 4);
        let mut b = [S::load_bytes(line); WIDE];
        for c in 1..WIDE {
            b[c] = S::load_bytes(line.add(c * 4 * S::LANES));
        }
        for r in 0..ROWS {
            let a = S::spread_bytes(bytes.add(r * dense.inputs + 4 * group));
            for c in 0..WIDE {
                sums[r][c] = S::dot_bytes(sums[r][c], a, b[c]);
            }
        }
    }
    for c in 0..WIDE {
        let at = column + c * S::LANES;
        let (steps, sums_of_weights) = (S::load(dense.steps.as_ptr().add(at)), S::load(dense.sums.as_ptr().add(at)));
        let bias = S::load(dense.bias.as_ptr().add(at));
        for r in 0..ROWS {
            let Range { step, low } = *ranges.add(r);
            let base = S::mul_add(S::splat(low), sums_of_weights, bias);
            let x = S::mul_add(S::to_float(sums[r][c]), S::mul(S::splat(step), steps), base);
            S::store(out.add(r * dense.outputs + c * S::LANES), x);
        }
    }
}

/// # Safety
/// See [`super::Kernels::quantise`].
#[inline(always)]
pub(super) unsafe fn quantise<S: Simd>(rows: &mut [f32], out: &mut ByteRowsMut) {
    let width = out.width();
    for (row, range) in out.ranges.iter_mut().enumerate() {
        let x = rows.as_mut_ptr().add(row * width);
        *range = to_bytes::<S>(|at| S::load(x.add(at)), x, width, out.bytes.as_mut_ptr().add(row * width));
    }
}

/// The row whose components `load` gives: its transform to `x`, and that in 256 even steps from its least component
/// to its largest.
#[inline(always)]
unsafe fn to_bytes<S: Simd>(load: impl Fn(usize) -> S::Float, x: *mut f32, width: usize, out: *mut u8) -> Range {
    let (mut least, mut most) = (S::splat(f32::INFINITY), S::splat(f32::NEG_INFINITY));
    for first in (0..width).step_by(GROUP) {
        let mut group = [S::splat(0.0); LONGEST_GROUP];
        for nth in 0..GROUP / S::LANES {
            group[nth] = load(first + nth * S::LANES);
        }
        hadamard::<S>(&mut group);
        for nth in 0..GROUP / S::LANES {
            S::store(x.add(first + nth * S::LANES), group[nth]);
            (least, most) = (S::min(least, group[nth]), S::max(most, group[nth]));
        }
    }
    let (low, high) = (S::smallest(least), S::largest(most));
    let step = (high - low) / BYTE_MAX;
    let per_step = per_step(step);
    let (scale, shift) = (S::splat(per_step), S::splat(-low * per_step));
    let (zero, top) = (S::splat(0.0), S::splat(BYTE_MAX));
    for at in (0..width).step_by(S::LANES) {
        let x = S::mul_add(S::load(x.add(at)), scale, shift);
        S::store_bytes(out.add(at), S::to_int(S::min(S::max(x, zero), top)));
    }
    Range { step, low }
}

/// The transform of a group.
#[inline(always)]
unsafe fn hadamard<S: Simd>(group: &mut [S::Float; LONGEST_GROUP]) {
    let vectors = GROUP / S::LANES;
    for bit in [1, 2, 4, 8] {
        for nth in 0..vectors {
            if bit < vectors && nth & bit == 0 {
                let (low, high) = (group[nth], group[nth + bit]);
                (group[nth], group[nth + bit]) = (S::add(low, high), S::sub(low, high));
            }
        }
    }
    for nth in 0..vectors {
        group[nth] = S::hadamard(group[nth]);
    }
}

/// 1 / step; 0 where it would be infinite, for which every path would have another integer.
fn per_step(step: f32) -> f32 {
    if step >= f32::MIN_POSITIVE { 1.0 / step } else { 0.0 }
}

/// # Safety
/// See [`super::Kernels::activate`].
#[inline(always)]
pub(super) unsafe fn activate<S: Simd>(activation: Activation, rows: &mut [f32], out: &mut ByteRowsMut) {
    match activation {
        Activation::Gelu => activate_with::<S, Gelu>(rows, out),
        Activation::GeluTanh => activate_with::<S, GeluTanh>(rows, out),
        Activation::Relu => activate_with::<S, Relu>(rows, out),
    }
}

#[inline(always)]
unsafe fn activate_with<S: Simd, F: Function>(rows: &mut [f32], out: &mut ByteRowsMut) {
    let width = out.width();
    for (row, range) in out.ranges.iter_mut().enumerate() {
        let x = rows.as_mut_ptr().add(row * width);
        *range = to_bytes::<S>(|at| F::at::<S>(S::load(x.add(at))), x, width, out.bytes.as_mut_ptr().add(row * width));
    }
}

/// # Safety
/// See [`super::Kernels::add_norm`].
#[inline(always)]
pub(super) unsafe fn add_norm<S: Simd>(added: &mut [f32], norm: &super::Norm, states: &mut [f32], out: &mut ByteRowsMut) {
    let width = out.width();
    for (row, range) in out.ranges.iter_mut().enumerate() {
        let (y, x) = (added.as_mut_ptr().add(row * width), states.as_mut_ptr().add(row * width));
        let mut sum = S::splat(0.0);
        for at in (0..width).step_by(S::LANES) {
            let x_at = x.add(at);
            let value = S::add(S::load(x_at), S::load(y.add(at)));
            S::store(x_at, value);
            sum = S::add(sum, value);
        }
        let mean = S::splat(S::sum(sum) / width as f32);
        let mut squares = S::splat(0.0);
        for at in (0..width).step_by(S::LANES) {
            let off = S::sub(S::load(x.add(at)), mean);
            squares = S::mul_add(off, off, squares);
        }
        let scale = S::splat(1.0 / (S::sum(squares) / width as f32 + norm.epsilon).sqrt());
        let normalised = |at| {
            let unit = S::mul(S::sub(S::load(x.add(at)), mean), scale);
            let value = S::mul_add(unit, S::load(norm.gain.as_ptr().add(at)), S::load(norm.shift.as_ptr().add(at)));
            S::store(x.add(at), value);
            value
        };
        *range = to_bytes::<S>(normalised, y, width, out.bytes.as_mut_ptr().add(row * width));
    }
}

/// # Safety
/// See [`super::Kernels::split_heads`].
#[inline(always)]
pub(super) unsafe fn split_heads<S: Simd>(
    joined: &[f32],
    hidden: usize,
    queries: &mut [i16],
    query_steps: &mut [f32],
    out: &mut KeyValuesMut,
    first: usize,
    scratch: &mut [i16],
) {
    let head = out.head;
    for (row, query_step) in query_steps.iter_mut().enumerate() {
        let x = joined.as_ptr().add(row * 3 * hidden);
        *query_step = to_shorts::<S>(x, hidden, KEY_MAX, queries.as_mut_ptr().add(row * hidden));
        let token = first + row;
        let (keys, values) = (out.keys.as_mut_ptr(), out.values.as_mut_ptr());
        *out.key_steps.as_mut_ptr().add(token) = to_shorts::<S>(x.add(hidden), hidden, KEY_MAX, scratch.as_mut_ptr());
        let (panel, within) = (token / PANEL, token % PANEL);
        for which in 0..hidden / head {
            let from = scratch.as_ptr().add(which * head).cast::<i32>();
            let to = keys.add((which * out.padded + panel * PANEL) * head).cast::<i32>().add(within);
            for pair in 0..head / 2 {
                to.add(pair * PANEL).write_unaligned(from.add(pair).read_unaligned());
            }
        }
        let x = x.add(2 * hidden);
        let step = step_of::<S>(x, hidden, VALUE_MAX);
        *out.value_steps.as_mut_ptr().add(token) = step;
        let per_step = S::splat(per_step(step));
        for which in 0..hidden / head {
            // Two tokens share 32 bits: the even one keeps its half when the odd one comes.
            let to = values.add((which * out.padded + token / 2 * 2) * head).cast::<i32>();
            for at in (0..head).step_by(S::LANES) {
                let value = S::to_int(S::mul(S::load(x.add(which * head + at)), per_step));
                let to = to.add(at);
                let both = if token.is_multiple_of(2) { S::pack_halves(value, S::zero()) } else { S::pack_halves(S::load_int(to), value) };
                S::store_int(to, both);
            }
        }
    }
}

/// The step in which a row of floats is counted to `most` either side of zero.
#[inline(always)]
unsafe fn step_of<S: Simd>(x: *const f32, width: usize, most: f32) -> f32 {
    let mut largest = S::splat(0.0);
    for at in (0..width).step_by(S::LANES) {
        let x = S::load(x.add(at));
        largest = S::max(largest, S::max(x, S::sub(S::splat(0.0), x)));
    }
    S::largest(largest) / most
}

#[inline(always)]
unsafe fn to_shorts<S: Simd>(x: *const f32, width: usize, most: f32, out: *mut i16) -> f32 {
    let step = step_of::<S>(x, width, most);
    let per_step = S::splat(per_step(step));
    for at in (0..width).step_by(S::LANES) {
        S::store_shorts(out.add(at), S::to_int(S::mul(S::load(x.add(at)), per_step)));
    }
    step
}

/// # Safety
/// See [`super::Kernels::attend`].
#[inline(always)]
pub(super) unsafe fn attend<S: Simd, const ROWS: usize, const WIDE: usize, const DEEP: usize>(
    attention: &mut Attention,
    parts: &[KeyValues],
) {
    let (rows, width) = (attention.query_steps.len(), attention.shares.len());
    let (hidden, head) = (attention.hidden, attention.head);
    let value_step = weigh_values::<S>(attention.shares, parts);
    for which in 0..hidden / head {
        let mut row = 0;
        while row < rows {
            let count = (rows - row).div_ceil((rows - row).div_ceil(ROWS));

            let place = Place {
                queries: attention.queries.as_ptr().add(row * hidden + which * head),
                query_steps: attention.query_steps.as_ptr().add(row),
                scores: attention.scores.as_mut_ptr(),
                shares: attention.shares.as_ptr(),
                weights: attention.weights.as_mut_ptr(),
                out: attention.out.as_mut_ptr().add(row * hidden + which * head),
                which,
                head,
                hidden,
                width,
                value_step,
            };
            match count {
                6 => attend_rows::<S, 6, WIDE, DEEP>(&place, parts),
                5 => attend_rows::<S, 5, WIDE, DEEP>(&place, parts),
                4 => attend_rows::<S, 4, WIDE, DEEP>(&place, parts),
                3 => attend_rows::<S, 3, WIDE, DEEP>(&place, parts),
                2 => attend_rows::<S, 2, WIDE, DEEP>(&place, parts),
                _ => attend_rows::<S, 1, WIDE, DEEP>(&place, parts),
            }

            row += count;
        }
    }
}

/// The steps of all values relative to the largest, which is returned, times the largest weight.
#[inline(always)]
unsafe fn weigh_values<S: Simd>(shares: &mut [f32], parts: &[KeyValues]) -> f32 {
    let steps = parts.iter().flat_map(|part| &part.value_steps[..part.tokens]);
    let most = steps.fold(0.0_f32, |most, step| most.max(*step));
    // Below that the quotient may be infinite, and nothing is left of the values anyway.
    let scale = if most >= 1e-34 { SHARE_MAX / most } else { 0.0 };
    let mut column = 0;
    for part in parts {
        for (at, share) in shares[column..column + part.padded].iter_mut().enumerate() {
            *share = if at < part.tokens { part.value_steps[at] * scale } else { 0.0 };
        }
        column += part.padded;
    }
    most
}

/// Some rows of one head.
struct Place {
    queries: *const i16,
    query_steps: *const f32,
    scores: *mut f32,
    shares: *const f32,
    weights: *mut i16,
    out: *mut f32,
    which: usize,
    head: usize,
    hidden: usize,
    width: usize,
    value_step: f32,
}

#[inline(always)]
unsafe fn attend_rows<S: Simd, const ROWS: usize, const WIDE: usize, const DEEP: usize>(place: &Place, parts: &[KeyValues]) {
    let mut most = [S::splat(f32::MIN); ROWS];
    let mut column = 0;
    for part in parts {
        for key in (0..part.padded).step_by(WIDE * S::LANES) {
            score::<S, ROWS, WIDE>(place, part, key, column, &mut most);
        }
        column += part.padded;
    }
    let mut scales = [0.0; ROWS];
    for r in 0..ROWS {
        let sum = softmax::<S>(place, parts, r, S::largest(most[r]));
        scales[r] = place.value_step / (SHARE_MAX * sum);
    }
    for at in (0..place.head).step_by(DEEP * S::LANES) {
        mix::<S, ROWS, DEEP>(place, parts, at, &scales);
    }
}

/// Queries times `WIDE` vectors of keys from `key` on, without the queries' steps; keys that are not there get
/// [`f32::MIN`].
#[inline(always)]
unsafe fn score<S: Simd, const ROWS: usize, const WIDE: usize>(
    place: &Place,
    part: &KeyValues,
    key: usize,
    column: usize,
    most: &mut [S::Float; ROWS],
) {
    let (panel, within) = (key / PANEL, key % PANEL);
    let keys = part.keys.as_ptr().add((place.which * part.padded + panel * PANEL) * place.head + 2 * within);
    let mut sums = [[S::zero(); WIDE]; ROWS];
    for pair in 0..place.head / 2 {
        let line = keys.add(pair * PANEL * 2);
        let mut b = [S::load_shorts(line); WIDE];
        for c in 1..WIDE {
            b[c] = S::load_shorts(line.add(c * 2 * S::LANES));
        }
        for r in 0..ROWS {
            let a = S::spread_shorts(place.queries.add(r * place.hidden + 2 * pair));
            for c in 0..WIDE {
                sums[r][c] = S::dot_shorts(sums[r][c], a, b[c]);
            }
        }
    }
    for c in 0..WIDE {
        let at = key + c * S::LANES;
        let steps = S::load(part.key_steps.as_ptr().add(at));
        for r in 0..ROWS {
            let x = S::mul(S::to_float(sums[r][c]), steps);
            let x = if at + S::LANES > part.tokens { S::keep_first(x, part.tokens.saturating_sub(at), f32::MIN) } else { x };
            most[r] = S::max(most[r], x);
            S::store(place.scores.add(r * place.width + column + at), x);
        }
    }
}

/// exp(score - most) times each value's share, as 16-bit weights; gives the sum of the exponentials, counted in
/// integers so that it doesn't depend on their order. A weight below 2⁻¹⁵ of the largest counts in the sum only:
/// beside one that is far above all others, what thousands of weak ones add up to is lost in part.
#[inline(always)]
unsafe fn softmax<S: Simd>(place: &Place, parts: &[KeyValues], row: usize, most: f32) -> f32 {
    // In units of log₂ e, for powers of two.
    let step = *place.query_steps.add(row) * std::f32::consts::LOG2_E / (place.head as f32).sqrt();
    let (step, most, mut sum) = (S::splat(step), S::splat(-most * step), S::zero());
    let (mut column, mut vectors) = (row * place.width, 0);
    for part in parts {
        for at in (0..part.tokens).step_by(S::LANES) {
            let x = exp2::<S>(S::mul_add(S::load(place.scores.add(column + at)), step, most));
            let x = if at + S::LANES > part.tokens { S::keep_first(x, part.tokens - at, 0.0) } else { x };
            sum = S::add_int(sum, S::to_bits(S::add(x, S::splat(BASE))));
            let share = S::load(place.shares.add(column - row * place.width + at));
            S::store_shorts(place.weights.add(column + at), S::to_int(S::mul(x, share)));
            vectors += 1;
        }
        column += part.padded;
    }
    let bases = (BASE.to_bits() as i32).wrapping_mul((vectors * S::LANES) as i32);
    S::sum_int(sum).wrapping_sub(bases) as f32 / ONE
}

/// Weights times values, `DEEP` vectors of a head from `at` on. Sums of a panel fit in 32 bits; those of panels
/// are kept in two halves, so that they are exact in any order.
#[inline(always)]
unsafe fn mix<S: Simd, const ROWS: usize, const DEEP: usize>(place: &Place, parts: &[KeyValues], at: usize, scales: &[f32; ROWS]) {
    let mut whole = [[(S::zero(), S::zero()); DEEP]; ROWS];
    let mut column = 0;
    for part in parts {
        let values = part.values.as_ptr().add(place.which * part.padded * place.head + 2 * at);
        for first in (0..part.tokens).step_by(PANEL) {
            let mut sums = [[S::zero(); DEEP]; ROWS];
            let end = part.tokens.min(first + PANEL);
            for token in (first..end).step_by(2) {
                let line = values.add(token * place.head);
                let mut b = [S::load_shorts(line); DEEP];
                for c in 1..DEEP {
                    b[c] = S::load_shorts(line.add(c * 2 * S::LANES));
                }
                for r in 0..ROWS {
                    let a = S::spread_shorts(place.weights.add(r * place.width + column + token));
                    for c in 0..DEEP {
                        sums[r][c] = S::dot_shorts(sums[r][c], a, b[c]);
                    }
                }
            }
            for r in 0..ROWS {
                for c in 0..DEEP {
                    let (high, low) = S::split(sums[r][c]);
                    whole[r][c] = (S::add_int(whole[r][c].0, high), S::add_int(whole[r][c].1, low));
                }
            }
        }
        column += part.padded;
    }
    for r in 0..ROWS {
        for c in 0..DEEP {
            let x = S::mul_add(S::to_float(whole[r][c].0), S::splat(32_768.0), S::to_float(whole[r][c].1));
            S::store(place.out.add(r * place.hidden + at + c * S::LANES), S::mul(x, S::splat(scales[r])));
        }
    }
}

/// 2ˣ for finite x ≤ 0 (or hardly above), at most 2⁻¹²⁶ below -126. Relative error below 3e-6: 2ᶠ for |f| ≤ ½ is a polynomial fitted for the least
/// largest relative error.
#[inline(always)]
unsafe fn exp2<S: Simd>(x: S::Float) -> S::Float {
    let whole = S::round(x);
    let f = S::sub(x, whole);
    let mut p = S::splat(0.009_582_853);
    for c in [0.055_906_426, 0.240_240_99, 0.693_124_2, 1.0] {
        p = S::mul_add(p, f, S::splat(c));
    }
    S::scale(p, whole)
}

/// eˣ for x ≤ 0; relative error below 1e-5, x · log₂ e being rounded to a float.
#[inline(always)]
unsafe fn exp<S: Simd>(x: S::Float) -> S::Float {
    exp2::<S>(S::max(S::mul(x, S::splat(std::f32::consts::LOG2_E)), S::splat(-126.0)))
}

/// What stands between two dense layers.
trait Function {
    unsafe fn at<S: Simd>(x: S::Float) -> S::Float;
}

/// x · Φ(x). Absolute error below 5e-5 for |x| ≤ 12, relative below 1e-5 beyond: Φ - ½ is an odd polynomial
/// in ±4.5, fitted for the least largest error of the product, and constant outside.
struct Gelu;

impl Function for Gelu {
    #[inline(always)]
    unsafe fn at<S: Simd>(x: S::Float) -> S::Float {
        const ODD: [f32; 8] =
            [3.314_672e-9, 1.591_001_4e-7, 4.451_738e-6, 8.142_526e-5, 1.037_592e-3, 9.585_205e-3, 0.065_984_66, 0.398_712_6];

        let near = S::min(S::max(x, S::splat(-4.5)), S::splat(4.5));
        let square = S::mul(near, near);
        let mut p = S::splat(3.036_432e-11);
        for (nth, c) in ODD.into_iter().enumerate() {
            p = S::mul_add(p, square, S::splat(if nth % 2 == 0 { -c } else { c }));
        }
        let share = S::mul_add(near, p, S::splat(0.5));
        S::mul(x, S::min(S::max(share, S::splat(0.0)), S::splat(1.0)))
    }
}

/// x / (1 + e⁻²ᶻ) with z = √(2/π) (x + 0.044715 x³), the tanh form of GELU; relative error as of [`exp`].
struct GeluTanh;

impl Function for GeluTanh {
    #[inline(always)]
    unsafe fn at<S: Simd>(x: S::Float) -> S::Float {
        let cubic = S::mul_add(S::mul(x, x), S::splat(0.044_715), S::splat(1.0));
        let twice = S::mul(S::mul(x, cubic), S::splat(2.0 * 0.797_884_6));
        let size = S::max(twice, S::sub(S::splat(0.0), twice));
        let tail = exp::<S>(S::sub(S::splat(0.0), size));
        // 1 / (1 + tail) on the right, tail / (1 + tail) on the left.
        let right = S::div(S::splat(1.0), S::add(S::splat(1.0), tail));
        let positive = S::mul(S::max(x, S::splat(0.0)), right);
        S::mul_add(S::min(x, S::splat(0.0)), S::mul(tail, right), positive)
    }
}

/// max(x, 0)
struct Relu;

impl Function for Relu {
    #[inline(always)]
    unsafe fn at<S: Simd>(x: S::Float) -> S::Float {
        S::max(x, S::splat(0.0))
    }
}

/// `turns` times as many products as registers hold sums, with operands from the nearest cache: what the multipliers can
/// do at most. Gives one of the sums and how many products and additions of bytes a turn has.
#[inline(always)]
pub(super) unsafe fn peak<S: Simd, const ROWS: usize, const WIDE: usize>(turns: usize) -> (i32, usize) {
    let bytes = [1_i8; 64];
    let operands = ([S::spread_bytes(bytes.as_ptr().cast()); ROWS], [S::load_bytes(bytes.as_ptr()); WIDE]);
    let mut sums = [[S::zero(); WIDE]; ROWS];
    for _ in 0..turns {
        // Or the compiler would see that all products are the same.
        let (a, b) = std::hint::black_box(&operands);
        for r in 0..ROWS {
            for c in 0..WIDE {
                sums[r][c] = S::dot_bytes(sums[r][c], a[r], b[c]);
            }
        }
    }
    let mut sum = S::zero();
    for of_row in sums {
        for one in of_row {
            sum = S::add_int(sum, one);
        }
    }
    (S::sum_int(sum), ROWS * WIDE * S::LANES * 8)
}
