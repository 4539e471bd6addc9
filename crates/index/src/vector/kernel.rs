//! The inner product of two vectors of 32-bit floats, by the widest instructions the processor has.
//!
//! Invariant: every path gives the portable sum up to rounding, for any length. One machine
//! always takes the same path, so that a score never depends on who computed it.
//! This is the only place of the vector index with `unsafe`: the instructions exist only on some
//! processors, which the compiler can't know.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehdup_ps, _mm_movehl_ps, _mm256_castps256_ps128, _mm256_extractf128_ps,
    _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps, _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_maskz_loadu_ps,
    _mm512_reduce_add_ps, _mm512_setzero_ps,
};

/// The inner product of the first `min(a.len(), b.len())` components.
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "calls functions compiled for instructions just detected"))]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512F.
            return unsafe { dot_avx512(a, b) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has AVX2 and FMA.
            return unsafe { dot_avx2(a, b) };
        }
    }
    dot_portable(a, b)
}

/// Eight running sums, which the compiler turns into whatever vectors the target has.
fn dot_portable(a: &[f32], b: &[f32]) -> f32 {
    let length = a.len().min(b.len());
    let (a_blocks, a_tail) = a.get(..length).unwrap_or_default().as_chunks::<8>();
    let (b_blocks, b_tail) = b.get(..length).unwrap_or_default().as_chunks::<8>();
    let mut sums = [0.0_f32; 8];
    for (x, y) in a_blocks.iter().zip(b_blocks) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += x * y;
        }
    }
    sums.iter().sum::<f32>() + a_tail.iter().zip(b_tail).map(|(x, y)| x * y).sum::<f32>()
}

/// Two sums of sixteen lanes; the tail is loaded through a mask.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "vector loads take raw pointers")]
fn dot_avx512(a: &[f32], b: &[f32]) -> f32 {
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

/// Four sums of eight lanes; the tail goes one by one.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[expect(unsafe_code, reason = "vector loads take raw pointers")]
fn dot_avx2(a: &[f32], b: &[f32]) -> f32 {
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
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline]
#[expect(unsafe_code, reason = "vector loads take raw pointers")]
unsafe fn multiply_add(a: *const f32, b: *const f32, sum: __m256) -> __m256 {
    // SAFETY: the caller's promise; unaligned loads.
    unsafe { _mm256_fmadd_ps(_mm256_loadu_ps(a), _mm256_loadu_ps(b), sum) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline]
fn horizontal_sum(lanes: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps::<1>(lanes));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Path = (&'static str, fn(&[f32], &[f32]) -> f32);

    #[expect(unsafe_code, reason = "calls functions compiled for instructions just detected")]
    fn paths() -> Vec<Path> {
        let mut paths: Vec<Path> = vec![("chosen", dot), ("portable", dot_portable)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                // SAFETY: just detected.
                paths.push(("avx2", |a, b| unsafe { dot_avx2(a, b) }));
            }
            if is_x86_feature_detected!("avx512f") {
                // SAFETY: just detected.
                paths.push(("avx512", |a, b| unsafe { dot_avx512(a, b) }));
            }
        }
        paths
    }

    /// Every component counts: none is zero and no two products are equal.
    fn vector(length: usize, phase: f32) -> Vec<f32> {
        (0..length).map(|i| (i as f32 * 0.37 + phase).sin() + 1.5).collect()
    }

    #[test]
    fn every_path_agrees_with_a_plain_sum_at_every_length() {
        for length in (0..=130).chain([384, 768, 1024]) {
            // One extra component at the end must not be read.
            let (mut a, b) = (vector(length, 0.1), vector(length, 0.7));
            let expected: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            a.push(f32::NAN);
            for (name, path) in paths() {
                let tolerance = 1e-6 * expected.abs().max(1.0);
                assert!((f64::from(path(&a[..length], &b)) - expected).abs() < tolerance, "{name} at {length}");
                assert!((f64::from(path(&a, &b)) - expected).abs() < tolerance, "{name} at {length}, longer left side");
                assert!((f64::from(path(&b, &a)) - expected).abs() < tolerance, "{name} at {length}, longer right side");
            }
        }
    }
}
