//! AVX-512 with VNNI: sixteen floats, or 64 products of bytes, an instruction.

use super::{Block, QueryBlock};
use std::arch::x86_64::{
    __m128i, __m512i, _mm_add_epi32, _mm_storeu_si128, _mm256_add_epi32, _mm256_castsi256_si128, _mm256_extracti128_si256,
    _mm512_add_epi32, _mm512_add_ps, _mm512_and_si512, _mm512_castsi512_si256, _mm512_dpbusd_epi32, _mm512_extracti64x4_epi64,
    _mm512_fmadd_ps, _mm512_load_si512, _mm512_loadu_ps, _mm512_maskz_loadu_ps, _mm512_reduce_add_ps, _mm512_set1_epi8, _mm512_setzero_ps,
    _mm512_setzero_si512, _mm512_srai_epi32, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vnni")
}

/// Two sums of sixteen lanes; the tail is loaded through a mask.
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "vector loads take raw pointers")]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let length = a.len().min(b.len());
    let (mut even, mut odd) = (_mm512_setzero_ps(), _mm512_setzero_ps());
    let mut at = 0;
    while at + 32 <= length {
        // SAFETY: at + 32 <= length, which is within both slices; unaligned loads.
        unsafe {
            even = _mm512_fmadd_ps(_mm512_loadu_ps(a.as_ptr().add(at)), _mm512_loadu_ps(b.as_ptr().add(at)), even);
            odd = _mm512_fmadd_ps(_mm512_loadu_ps(a.as_ptr().add(at + 16)), _mm512_loadu_ps(b.as_ptr().add(at + 16)), odd);
        }
        at += 32;
    }
    while at < length {
        let mask = if length - at >= 16 { u16::MAX } else { (1_u16 << (length - at)) - 1 };
        // SAFETY: the mask keeps only lanes below `length`; lanes masked out are not touched.
        unsafe {
            even = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, a.as_ptr().add(at)), _mm512_maskz_loadu_ps(mask, b.as_ptr().add(at)), even);
        }
        at += 16;
    }
    _mm512_reduce_add_ps(_mm512_add_ps(even, odd))
}

/// Four rows at a time, one behind the other as they lie in memory: a scan is then read ahead of by the processor.
/// Upper halves are multiplied where they stand, for products sixteen times as large.
///
/// # Safety
/// As for [`super::Kernels::nibble_dots`].
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[expect(unsafe_code, reason = "vector loads take raw pointers")]
pub(super) unsafe fn nibble_dots(query: &[QueryBlock], plane: &[Block], places: &[u32], dots: &mut [i32]) {
    let (lower, upper) = (_mm512_set1_epi8(0x0f), _mm512_set1_epi8(0xf0_u8.cast_signed()));
    for (places, dots) in places.chunks(4).zip(dots.chunks_mut(4)) {
        // A short last group does its last row again.
        let row = |at: usize| {
            let place = places.get(at).or(places.last()).copied().unwrap_or_default();
            // SAFETY: the caller's promise: every row lies within the plane.
            unsafe { plane.as_ptr().add(place as usize * query.len()) }
        };
        let rows = [row(0), row(1), row(2), row(3)];
        let (mut low, mut high) = ([_mm512_setzero_si512(); 4], [_mm512_setzero_si512(); 4]);
        for ((row, low), high) in rows.iter().zip(&mut low).zip(&mut high) {
            for (block, query) in query.iter().enumerate() {
                // SAFETY: a row has as many blocks as the query; a block and both halves are 64 aligned bytes.
                let (codes, query_low, query_high) =
                    unsafe { (load(row.add(block).cast()), load(query.low.as_ptr().cast()), load(query.high.as_ptr().cast())) };
                *low = _mm512_dpbusd_epi32(*low, _mm512_and_si512(codes, lower), query_low);
                *high = _mm512_dpbusd_epi32(*high, _mm512_and_si512(codes, upper), query_high);
            }
        }
        let mut sums = low;
        for (sum, high) in sums.iter_mut().zip(high) {
            *sum = _mm512_add_epi32(*sum, _mm512_srai_epi32::<4>(high));
        }
        let sums = lane_sums(sums);
        if let Some(dots) = dots.first_chunk_mut::<4>() {
            // SAFETY: four integers are 16 bytes.
            unsafe { _mm_storeu_si128(dots.as_mut_ptr().cast(), sums) };
        } else {
            let mut four = [0_i32; 4];
            // SAFETY: as above.
            unsafe { _mm_storeu_si128(four.as_mut_ptr().cast(), sums) };
            dots.iter_mut().zip(four).for_each(|(dot, sum)| *dot = sum);
        }
    }
}

/// # Safety
/// 64 bytes must be readable, at an address that is a multiple of 64.
#[target_feature(enable = "avx512f")]
#[inline]
#[expect(unsafe_code, reason = "vector loads take raw pointers")]
unsafe fn load(bytes: *const u8) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe { _mm512_load_si512(bytes.cast()) }
}

/// The sum of the lanes of each.
#[target_feature(enable = "avx512f")]
#[inline]
fn lane_sums([a, b, c, d]: [__m512i; 4]) -> __m128i {
    let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    let abcd = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    let half = _mm256_add_epi32(_mm512_castsi512_si256(abcd), _mm512_extracti64x4_epi64::<1>(abcd));
    _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
}
