//! AVX2 with FMA: eight floats, or sixteen products of 16-bit integers, an instruction; and AVX-VNNI, which
//! multiplies 32 bytes.

use super::simd::Simd;
use std::arch::x86_64::{
    __m128i, __m256, __m256i, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT, _mm_add_epi32, _mm_add_ps, _mm_add_ss, _mm_cvtsi128_si32,
    _mm_cvtss_f32, _mm_max_ps, _mm_max_ss, _mm_min_ps, _mm_min_ss, _mm_movehdup_ps, _mm_movehl_ps, _mm_packs_epi32, _mm_packus_epi16,
    _mm_shuffle_epi32, _mm_storel_epi64, _mm_storeu_si128, _mm256_add_epi32, _mm256_add_ps, _mm256_and_si256, _mm256_blend_epi16,
    _mm256_blendv_ps, _mm256_castps_si256, _mm256_castps256_ps128, _mm256_castsi256_ps, _mm256_castsi256_si128, _mm256_cmpgt_epi32,
    _mm256_cvtepi32_ps, _mm256_cvtps_epi32, _mm256_div_ps, _mm256_dpbusd_avx_epi32, _mm256_dpwssd_avx_epi32, _mm256_extractf128_ps,
    _mm256_extracti128_si256, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_max_ps, _mm256_min_ps,
    _mm256_mul_ps, _mm256_permute_ps, _mm256_permute2f128_ps, _mm256_round_ps, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps,
    _mm256_setr_epi32, _mm256_setzero_si256, _mm256_slli_epi16, _mm256_slli_epi32, _mm256_srai_epi16, _mm256_srai_epi32, _mm256_srli_epi16,
    _mm256_storeu_ps, _mm256_storeu_si256, _mm256_sub_ps,
};

/// Without products of bytes: even and odd bytes are widened to 16 bits, which is exact.
pub(super) struct Avx2;

/// With them.
pub(super) struct AvxVnni;

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

pub(super) fn has_vnni() -> bool {
    is_available() && is_x86_feature_detected!("avxvnni")
}

/// What both share.
macro_rules! floats_and_integers {
    () => {
        const LANES: usize = 8;
        type Float = __m256;
        type Int = __m256i;
        type Shorts = __m256i;
        type ShortPair = __m256i;

        #[inline(always)]
        unsafe fn splat(x: f32) -> __m256 {
            _mm256_set1_ps(x)
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m256 {
            _mm256_loadu_ps(from)
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, x: __m256) {
            _mm256_storeu_ps(to, x);
        }
        #[inline(always)]
        unsafe fn add(a: __m256, b: __m256) -> __m256 {
            _mm256_add_ps(a, b)
        }
        #[inline(always)]
        unsafe fn sub(a: __m256, b: __m256) -> __m256 {
            _mm256_sub_ps(a, b)
        }
        #[inline(always)]
        unsafe fn mul(a: __m256, b: __m256) -> __m256 {
            _mm256_mul_ps(a, b)
        }
        #[inline(always)]
        unsafe fn div(a: __m256, b: __m256) -> __m256 {
            _mm256_div_ps(a, b)
        }
        #[inline(always)]
        unsafe fn max(a: __m256, b: __m256) -> __m256 {
            _mm256_max_ps(a, b)
        }
        #[inline(always)]
        unsafe fn min(a: __m256, b: __m256) -> __m256 {
            _mm256_min_ps(a, b)
        }
        #[inline(always)]
        unsafe fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
            _mm256_fmadd_ps(a, b, c)
        }
        #[inline(always)]
        unsafe fn round(x: __m256) -> __m256 {
            _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x)
        }
        #[inline(always)]
        unsafe fn scale(x: __m256, n: __m256) -> __m256 {
            let n = _mm256_max_ps(n, _mm256_set1_ps(-126.0));
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
        }
        #[inline(always)]
        unsafe fn keep_first(x: __m256, count: usize, other: f32) -> __m256 {
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let kept = _mm256_cmpgt_epi32(_mm256_set1_epi32(count.min(8) as i32), lanes);
            _mm256_blendv_ps(_mm256_set1_ps(other), x, _mm256_castsi256_ps(kept))
        }
        #[inline(always)]
        unsafe fn sum(x: __m256) -> f32 {
            let four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
        #[inline(always)]
        unsafe fn largest(x: __m256) -> f32 {
            let four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        }
        #[inline(always)]
        unsafe fn smallest(x: __m256) -> f32 {
            let four = _mm_min_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let two = _mm_min_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_min_ss(two, _mm_movehdup_ps(two)))
        }
        #[inline(always)]
        unsafe fn hadamard(x: __m256) -> __m256 {
            let x = _mm256_fmadd_ps(x, signs(1), _mm256_permute_ps::<0b10_11_00_01>(x));
            let x = _mm256_fmadd_ps(x, signs(2), _mm256_permute_ps::<0b01_00_11_10>(x));
            _mm256_fmadd_ps(x, signs(4), _mm256_permute2f128_ps::<1>(x, x))
        }

        #[inline(always)]
        unsafe fn zero() -> __m256i {
            _mm256_setzero_si256()
        }
        #[inline(always)]
        unsafe fn to_bits(x: __m256) -> __m256i {
            _mm256_castps_si256(x)
        }
        #[inline(always)]
        unsafe fn add_int(a: __m256i, b: __m256i) -> __m256i {
            _mm256_add_epi32(a, b)
        }
        #[inline(always)]
        unsafe fn sum_int(x: __m256i) -> i32 {
            let four = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x));
            let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b1110>(four));
            _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b0001>(two)))
        }
        #[inline(always)]
        unsafe fn split(x: __m256i) -> (__m256i, __m256i) {
            (_mm256_srai_epi32::<15>(x), _mm256_and_si256(x, _mm256_set1_epi32(0x7fff)))
        }
        #[inline(always)]
        unsafe fn to_float(x: __m256i) -> __m256 {
            _mm256_cvtepi32_ps(x)
        }
        #[inline(always)]
        unsafe fn to_int(x: __m256) -> __m256i {
            _mm256_cvtps_epi32(x)
        }
        #[inline(always)]
        unsafe fn load_int(from: *const i32) -> __m256i {
            _mm256_loadu_si256(from.cast())
        }
        #[inline(always)]
        unsafe fn store_int(to: *mut i32, x: __m256i) {
            _mm256_storeu_si256(to.cast(), x);
        }
        #[inline(always)]
        unsafe fn store_bytes(to: *mut u8, x: __m256i) {
            let shorts = shorts_of(x);
            _mm_storel_epi64(to.cast(), _mm_packus_epi16(shorts, shorts));
        }
        #[inline(always)]
        unsafe fn store_shorts(to: *mut i16, x: __m256i) {
            _mm_storeu_si128(to.cast(), shorts_of(x));
        }
        #[inline(always)]
        unsafe fn pack_halves(low: __m256i, high: __m256i) -> __m256i {
            _mm256_blend_epi16::<0b1010_1010>(low, _mm256_slli_epi32::<16>(high))
        }
        #[inline(always)]
        unsafe fn load_shorts(from: *const i16) -> __m256i {
            _mm256_loadu_si256(from.cast())
        }
        #[inline(always)]
        unsafe fn spread_shorts(from: *const i16) -> __m256i {
            _mm256_set1_epi32(from.cast::<i32>().read_unaligned())
        }
    };
}

/// -1 in lanes whose number has this bit, 1 in others.
#[inline(always)]
unsafe fn signs(bit: usize) -> __m256 {
    _mm256_loadu_ps(std::array::from_fn::<f32, 8, _>(|lane| if lane & bit == 0 { 1.0 } else { -1.0 }).as_ptr())
}

/// Eight 32-bit integers that fit in 16 bits.
#[inline(always)]
unsafe fn shorts_of(x: __m256i) -> __m128i {
    _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x))
}

impl Simd for Avx2 {
    floats_and_integers!();
    /// Even and odd bytes, 16 bits each.
    type Bytes = (__m256i, __m256i);
    type ByteGroup = (__m256i, __m256i);

    #[inline(always)]
    unsafe fn load_bytes(from: *const i8) -> Self::Bytes {
        let bytes = _mm256_loadu_si256(from.cast());
        (_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(bytes)), _mm256_srai_epi16::<8>(bytes))
    }
    #[inline(always)]
    unsafe fn spread_bytes(from: *const u8) -> Self::ByteGroup {
        let bytes = _mm256_set1_epi32(from.cast::<i32>().read_unaligned());
        (_mm256_and_si256(bytes, _mm256_set1_epi16(0xff)), _mm256_srli_epi16::<8>(bytes))
    }
    #[inline(always)]
    unsafe fn dot_bytes(sum: __m256i, a: Self::ByteGroup, b: Self::Bytes) -> __m256i {
        _mm256_add_epi32(sum, _mm256_add_epi32(_mm256_madd_epi16(a.0, b.0), _mm256_madd_epi16(a.1, b.1)))
    }
    #[inline(always)]
    unsafe fn dot_shorts(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))
    }
}

impl Simd for AvxVnni {
    floats_and_integers!();
    type Bytes = __m256i;
    type ByteGroup = __m256i;

    #[inline(always)]
    unsafe fn load_bytes(from: *const i8) -> __m256i {
        _mm256_loadu_si256(from.cast())
    }
    #[inline(always)]
    unsafe fn spread_bytes(from: *const u8) -> __m256i {
        _mm256_set1_epi32(from.cast::<i32>().read_unaligned())
    }
    #[inline(always)]
    unsafe fn dot_bytes(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        _mm256_dpbusd_avx_epi32(sum, a, b)
    }
    #[inline(always)]
    unsafe fn dot_shorts(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        _mm256_dpwssd_avx_epi32(sum, a, b)
    }
}
