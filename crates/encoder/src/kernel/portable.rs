//! Plain Rust, for processors that no other module is for, and to compare the others with.

use super::simd::Simd;
use std::array::from_fn;

/// See the module. The compiler makes of it what the target's base instructions allow.
pub(super) struct Portable;

/// Lanes of a vector.
const LANES: usize = 8;

impl Simd for Portable {
    const LANES: usize = LANES;
    type Float = [f32; LANES];
    type Int = [i32; LANES];
    type Bytes = [[i8; 4]; LANES];
    type ByteGroup = [u8; 4];
    type Shorts = [[i16; 2]; LANES];
    type ShortPair = [i16; 2];

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::Float {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::Float {
        from.cast::<Self::Float>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: Self::Float) {
        to.cast::<Self::Float>().write_unaligned(x)
    }
    #[inline(always)]
    unsafe fn add(a: Self::Float, b: Self::Float) -> Self::Float {
        from_fn(|lane| a[lane] + b[lane])
    }
    #[inline(always)]
    unsafe fn sub(a: Self::Float, b: Self::Float) -> Self::Float {
        from_fn(|lane| a[lane] - b[lane])
    }
    #[inline(always)]
    unsafe fn mul(a: Self::Float, b: Self::Float) -> Self::Float {
        from_fn(|lane| a[lane] * b[lane])
    }
    #[inline(always)]
    unsafe fn div(a: Self::Float, b: Self::Float) -> Self::Float {
        from_fn(|lane| a[lane] / b[lane])
    }
    #[inline(always)]
    unsafe fn max(a: Self::Float, b: Self::Float) -> Self::Float {
        from_fn(|lane| if a[lane] > b[lane] { a[lane] } else { b[lane] })
    }
    #[inline(always)]
    unsafe fn min(a: Self::Float, b: Self::Float) -> Self::Float {
        from_fn(|lane| if a[lane] < b[lane] { a[lane] } else { b[lane] })
    }
    #[inline(always)]
    unsafe fn mul_add(a: Self::Float, b: Self::Float, c: Self::Float) -> Self::Float {
        from_fn(|lane| a[lane] * b[lane] + c[lane])
    }
    #[inline(always)]
    unsafe fn round(x: Self::Float) -> Self::Float {
        x.map(nearest)
    }
    #[inline(always)]
    unsafe fn scale(x: Self::Float, n: Self::Float) -> Self::Float {
        from_fn(|lane| x[lane] * f32::from_bits(((n[lane].max(-126.0) as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    unsafe fn keep_first(x: Self::Float, count: usize, other: f32) -> Self::Float {
        from_fn(|lane| if lane < count { x[lane] } else { other })
    }
    #[inline(always)]
    unsafe fn sum(x: Self::Float) -> f32 {
        x.iter().sum()
    }
    #[inline(always)]
    unsafe fn largest(x: Self::Float) -> f32 {
        x.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }
    #[inline(always)]
    unsafe fn smallest(x: Self::Float) -> f32 {
        x.iter().copied().fold(f32::INFINITY, f32::min)
    }
    #[inline(always)]
    unsafe fn hadamard(mut x: Self::Float) -> Self::Float {
        for bit in [1, 2, 4] {
            x = from_fn(|lane| if lane & bit == 0 { x[lane] + x[lane | bit] } else { x[lane ^ bit] - x[lane] });
        }
        x
    }

    #[inline(always)]
    unsafe fn zero() -> Self::Int {
        [0; LANES]
    }
    #[inline(always)]
    unsafe fn to_bits(x: Self::Float) -> Self::Int {
        x.map(|x| x.to_bits() as i32)
    }
    #[inline(always)]
    unsafe fn add_int(a: Self::Int, b: Self::Int) -> Self::Int {
        from_fn(|lane| a[lane].wrapping_add(b[lane]))
    }
    #[inline(always)]
    unsafe fn sum_int(x: Self::Int) -> i32 {
        x.into_iter().fold(0, i32::wrapping_add)
    }
    #[inline(always)]
    unsafe fn split(x: Self::Int) -> (Self::Int, Self::Int) {
        (x.map(|x| x >> 15), x.map(|x| x & 0x7fff))
    }
    #[inline(always)]
    unsafe fn to_float(x: Self::Int) -> Self::Float {
        x.map(|x| x as f32)
    }
    #[inline(always)]
    unsafe fn to_int(x: Self::Float) -> Self::Int {
        x.map(|x| nearest(x) as i32)
    }
    #[inline(always)]
    unsafe fn load_int(from: *const i32) -> Self::Int {
        from.cast::<Self::Int>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn store_int(to: *mut i32, x: Self::Int) {
        to.cast::<Self::Int>().write_unaligned(x)
    }
    #[inline(always)]
    unsafe fn store_bytes(to: *mut u8, x: Self::Int) {
        to.cast::<[u8; LANES]>().write_unaligned(x.map(|x| x as u8))
    }
    #[inline(always)]
    unsafe fn store_shorts(to: *mut i16, x: Self::Int) {
        to.cast::<[i16; LANES]>().write_unaligned(x.map(|x| x as i16))
    }
    #[inline(always)]
    unsafe fn pack_halves(low: Self::Int, high: Self::Int) -> Self::Int {
        from_fn(|lane| low[lane] & 0xffff | high[lane] << 16)
    }

    #[inline(always)]
    unsafe fn load_bytes(from: *const i8) -> Self::Bytes {
        from.cast::<Self::Bytes>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn spread_bytes(from: *const u8) -> Self::ByteGroup {
        from.cast::<Self::ByteGroup>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn dot_bytes(sum: Self::Int, a: Self::ByteGroup, b: Self::Bytes) -> Self::Int {
        from_fn(|lane| (0..4).fold(sum[lane], |sum, nth| sum + i32::from(a[nth]) * i32::from(b[lane][nth])))
    }
    #[inline(always)]
    unsafe fn load_shorts(from: *const i16) -> Self::Shorts {
        from.cast::<Self::Shorts>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn spread_shorts(from: *const i16) -> Self::ShortPair {
        from.cast::<Self::ShortPair>().read_unaligned()
    }
    #[inline(always)]
    unsafe fn dot_shorts(sum: Self::Int, a: Self::ShortPair, b: Self::Shorts) -> Self::Int {
        from_fn(|lane| (0..2).fold(sum[lane], |sum, nth| sum + i32::from(a[nth]) * i32::from(b[lane][nth])))
    }
}

/// Adding and taking away 1.5 · 2²³ leaves no room for a fraction; holds below 2²².
fn nearest(x: f32) -> f32 {
    const NO_FRACTION: f32 = 12_582_912.0;
    (x + NO_FRACTION) - NO_FRACTION
}
