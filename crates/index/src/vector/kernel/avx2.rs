//! AVX2 with FMA: eight floats, or 32 products of bytes, an instruction.

use super::{Block, QueryBlock};
use std::arch::x86_64::{
    __m256, __m256i, _mm_add_epi32, _mm_add_ps, _mm_add_ss, _mm_cvtsi128_si32, _mm_cvtss_f32, _mm_movehdup_ps, _mm_movehl_ps,
    _mm_shuffle_epi32, _mm256_add_epi16, _mm256_add_epi32, _mm256_and_si256, _mm256_castps256_ps128, _mm256_castsi256_si128,
    _mm256_extractf128_ps, _mm256_extracti128_si256, _mm256_fmadd_ps, _mm256_load_si256, _mm256_loadu_ps, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_srli_epi16,
};

/// Bytes of a register.
const LANES: usize = 32;

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// Four sums of eight lanes; the tail goes one by one.
#[target_feature(enable = "avx2,fma")]
#[expect(unsafe_code, reason = "vector loads take raw pointers")]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let length = a.len().min(b.len());
    let mut sums = [_mm256_setzero_ps(); 4];
    let mut at = 0;
    while at + 32 <= length {
        for (lane, sum) in sums.iter_mut().enumerate() {
            // SAFETY: at + 8 * lane + 8 <= at + 32 <= length, which is within both slices.
            *sum = unsafe { multiply_add(a.as_ptr().add(at + 8 * lane), b.as_ptr().add(at + 8 * lane), *sum) };
        }
        at += 32;
    }
    let [mut sum, second, third, fourth] = sums;
    while at + 8 <= length {
        // SAFETY: at + 8 <= length, which is within both slices.
        sum = unsafe { multiply_add(a.as_ptr().add(at), b.as_ptr().add(at), sum) };
        at += 8;
    }
    let tail: f32 = a.iter().zip(b).skip(at).map(|(x, y)| x * y).sum();
    horizontal_sum(sum) + horizontal_sum(second) + horizontal_sum(third) + horizontal_sum(fourth) + tail
}

/// # Safety
/// Eight floats must be readable at both pointers.
#[target_feature(enable = "avx2,fma")]
#[inline]
#[expect(unsafe_code, reason = "vector loads take raw pointers")]
unsafe fn multiply_add(a: *const f32, b: *const f32, sum: __m256) -> __m256 {
    // SAFETY: the caller's promise; unaligned loads.
    unsafe { _mm256_fmadd_ps(_mm256_loadu_ps(a), _mm256_loadu_ps(b), sum) }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn horizontal_sum(lanes: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps::<1>(lanes));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

/// Products of bytes are added in pairs to 16 bits: 2 · 15 · 128 for each half of a byte, far from overflow.
///
/// # Safety
/// As for [`super::Kernels::nibble_dots`].
#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "vector loads take raw pointers")]
pub(super) unsafe fn nibble_dots(query: &[QueryBlock], plane: &[Block], places: &[u32], dots: &mut [i32]) {
    let (mask, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
    for (place, dot) in places.iter().zip(dots) {
        // SAFETY: the caller's promise: every row lies within the plane.
        let row = unsafe { plane.as_ptr().add(*place as usize * query.len()) };
        let mut sums = [_mm256_setzero_si256(); 2];
        for (block, query) in query.iter().enumerate() {
            for (half, sum) in sums.iter_mut().enumerate() {
                let at = half * LANES;
                // SAFETY: a row has as many blocks as the query; each part is 64 aligned bytes, and `at` is 0 or 32.
                let (low, high, codes) = unsafe {
                    (
                        load(query.low.as_ptr().add(at).cast()),
                        load(query.high.as_ptr().add(at).cast()),
                        load(row.add(block).cast::<u8>().add(at)),
                    )
                };
                let low = _mm256_maddubs_epi16(_mm256_and_si256(codes, mask), low);
                let high = _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16::<4>(codes), mask), high);
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(_mm256_add_epi16(low, high), ones));
            }
        }
        let [first, second] = sums;
        *dot = lane_sum(_mm256_add_epi32(first, second));
    }
}

/// # Safety
/// 32 bytes must be readable, at an address that is a multiple of 32.
#[target_feature(enable = "avx2")]
#[inline]
#[expect(unsafe_code, reason = "vector loads take raw pointers")]
unsafe fn load(bytes: *const u8) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe { _mm256_load_si256(bytes.cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn lane_sum(lanes: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256::<1>(lanes));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b00_00_11_10>(four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b00_00_00_01>(two)))
}
