//! What a set of instructions must offer, so that the steps in [`super::steps`] are written once.
//!
//! Invariant: every implementation computes integers exactly alike. Floats may differ by rounding: some
//! multiply and add in one step, some add lanes in another order.

/// Vectors of `LANES` 32-bit floats or integers.
///
/// # Safety
/// Of every function: the processor has the instructions, and pointers reach as far as the function says.
/// They need not be aligned.
pub(super) trait Simd {
    /// Floats, or 32-bit integers, of a vector: 4, 8 or 16.
    const LANES: usize;
    /// A vector of floats.
    type Float: Copy;
    /// A vector of 32-bit integers.
    type Int: Copy;
    /// `LANES` groups of four signed bytes.
    type Bytes: Copy;
    /// Four unsigned bytes, for every lane.
    type ByteGroup: Copy;
    /// `LANES` pairs of 16-bit integers.
    type Shorts: Copy;
    /// A pair of 16-bit integers, for every lane.
    type ShortPair: Copy;

    unsafe fn splat(x: f32) -> Self::Float;
    /// `LANES` floats at `from`.
    unsafe fn load(from: *const f32) -> Self::Float;
    /// `LANES` floats at `to`.
    unsafe fn store(to: *mut f32, x: Self::Float);
    unsafe fn add(a: Self::Float, b: Self::Float) -> Self::Float;
    unsafe fn sub(a: Self::Float, b: Self::Float) -> Self::Float;
    unsafe fn mul(a: Self::Float, b: Self::Float) -> Self::Float;
    unsafe fn div(a: Self::Float, b: Self::Float) -> Self::Float;
    unsafe fn max(a: Self::Float, b: Self::Float) -> Self::Float;
    unsafe fn min(a: Self::Float, b: Self::Float) -> Self::Float;
    /// a · b + c
    unsafe fn mul_add(a: Self::Float, b: Self::Float, c: Self::Float) -> Self::Float;
    /// The nearest whole number, halves to even.
    unsafe fn round(x: Self::Float) -> Self::Float;
    /// x · 2ⁿ for whole n up to 127; at most x · 2⁻¹²⁶ for those below -126.
    unsafe fn scale(x: Self::Float, n: Self::Float) -> Self::Float;
    /// The first `count` lanes, and `other` in the rest.
    unsafe fn keep_first(x: Self::Float, count: usize, other: f32) -> Self::Float;
    unsafe fn sum(x: Self::Float) -> f32;
    unsafe fn largest(x: Self::Float) -> f32;
    unsafe fn smallest(x: Self::Float) -> f32;
    /// Lane i gets Σⱼ ± lane j, with - where i and j have an odd number of bits in common.
    unsafe fn hadamard(x: Self::Float) -> Self::Float;

    unsafe fn zero() -> Self::Int;
    unsafe fn to_bits(x: Self::Float) -> Self::Int;
    unsafe fn add_int(a: Self::Int, b: Self::Int) -> Self::Int;
    unsafe fn sum_int(x: Self::Int) -> i32;
    /// ⌊x / 2¹⁵⌋ and what is left, from 0 to 2¹⁵ - 1.
    unsafe fn split(x: Self::Int) -> (Self::Int, Self::Int);
    unsafe fn to_float(x: Self::Int) -> Self::Float;
    /// The nearest integer, halves to even.
    unsafe fn to_int(x: Self::Float) -> Self::Int;
    /// `LANES` integers at `from`.
    unsafe fn load_int(from: *const i32) -> Self::Int;
    /// `LANES` integers at `to`.
    unsafe fn store_int(to: *mut i32, x: Self::Int);
    /// `LANES` bytes at `to`; lanes are from 0 to 255.
    unsafe fn store_bytes(to: *mut u8, x: Self::Int);
    /// `LANES` 16-bit integers at `to`; lanes fit in them.
    unsafe fn store_shorts(to: *mut i16, x: Self::Int);
    /// In each lane the lower 16 bits of `low` and those of `high` above them.
    unsafe fn pack_halves(low: Self::Int, high: Self::Int) -> Self::Int;

    /// 4 · `LANES` bytes at `from`.
    unsafe fn load_bytes(from: *const i8) -> Self::Bytes;
    /// The four bytes at `from`.
    unsafe fn spread_bytes(from: *const u8) -> Self::ByteGroup;
    /// In each lane the sum and four products.
    unsafe fn dot_bytes(sum: Self::Int, a: Self::ByteGroup, b: Self::Bytes) -> Self::Int;
    /// 2 · `LANES` 16-bit integers at `from`.
    unsafe fn load_shorts(from: *const i16) -> Self::Shorts;
    /// The two 16-bit integers at `from`.
    unsafe fn spread_shorts(from: *const i16) -> Self::ShortPair;
    /// In each lane the sum and two products.
    unsafe fn dot_shorts(sum: Self::Int, a: Self::ShortPair, b: Self::Shorts) -> Self::Int;
}
