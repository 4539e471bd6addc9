//! NEON, four floats an instruction: with the products of unsigned and signed bytes of I8MM, or only with
//! those of unsigned bytes.
//!
//! The compiler's names for the products are not stable yet, so the instructions are written out.

use super::simd::Simd;
use std::arch::aarch64::{
    float32x4_t, int8x16_t, int16x4_t, int16x8_t, int32x4_t, uint8x16_t, vaddq_f32, vaddq_s32, vaddvq_f32, vaddvq_s32, vandq_s32,
    vbslq_f32, vcltq_u32, vcombine_s16, vcvtnq_s32_f32, vcvtq_f32_s32, vdivq_f32, vdup_n_s32, vdupq_n_f32, vdupq_n_s32, vdupq_n_u8,
    vdupq_n_u32, veorq_u8, vextq_f32, vfmaq_f32, vget_lane_u32, vget_low_s16, vld1q_f32, vld1q_s8, vld1q_s16, vld1q_s32, vld1q_u8,
    vld1q_u32, vmaxnmq_f32, vmaxnmvq_f32, vminnmq_f32, vminnmvq_f32, vmlal_high_lane_s16, vmlal_lane_s16, vmovn_s16, vmovn_s32, vmulq_f32,
    vqtbl1q_u8, vreinterpret_s16_s32, vreinterpret_u32_s8, vreinterpretq_f32_s32, vreinterpretq_s16_u8, vreinterpretq_s32_f32,
    vreinterpretq_u8_s16, vreinterpretq_u8_u32, vrev64q_f32, vrndnq_f32, vshlq_n_s32, vshrq_n_s32, vsliq_n_s32, vst1_s16, vst1q_f32,
    vst1q_s32, vsubq_f32, vsubq_s32,
};
use std::arch::asm;

/// With products of unsigned and signed bytes.
pub(super) struct NeonI8mm;

/// Without them: 128 is added to each weight, and 128 times the activations taken away, which is exact.
pub(super) struct NeonDot;

/// Four pairs of 16-bit integers, first those of even and then those of odd places.
const EVEN_ODD: [u8; 16] = [0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15];

/// What both share.
macro_rules! floats_and_integers {
    () => {
        const LANES: usize = 4;
        type Float = float32x4_t;
        type Int = int32x4_t;
        /// The four at even places, then the four at odd ones.
        type Shorts = int16x8_t;
        type ShortPair = int16x4_t;

        #[inline(always)]
        unsafe fn splat(x: f32) -> float32x4_t {
            vdupq_n_f32(x)
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> float32x4_t {
            vld1q_f32(from)
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, x: float32x4_t) {
            vst1q_f32(to, x);
        }
        #[inline(always)]
        unsafe fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            vaddq_f32(a, b)
        }
        #[inline(always)]
        unsafe fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            vsubq_f32(a, b)
        }
        #[inline(always)]
        unsafe fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            vmulq_f32(a, b)
        }
        #[inline(always)]
        unsafe fn div(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            vdivq_f32(a, b)
        }
        #[inline(always)]
        unsafe fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            vmaxnmq_f32(a, b)
        }
        #[inline(always)]
        unsafe fn min(a: float32x4_t, b: float32x4_t) -> float32x4_t {
            vminnmq_f32(a, b)
        }
        #[inline(always)]
        unsafe fn mul_add(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
            vfmaq_f32(c, a, b)
        }
        #[inline(always)]
        unsafe fn round(x: float32x4_t) -> float32x4_t {
            vrndnq_f32(x)
        }
        #[inline(always)]
        unsafe fn scale(x: float32x4_t, n: float32x4_t) -> float32x4_t {
            let n = vmaxnmq_f32(n, vdupq_n_f32(-126.0));
            let exponent = vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127));
            vmulq_f32(x, vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent)))
        }
        #[inline(always)]
        unsafe fn keep_first(x: float32x4_t, count: usize, other: f32) -> float32x4_t {
            let kept = vcltq_u32(vld1q_u32([0, 1, 2, 3].as_ptr()), vdupq_n_u32(count.min(4) as u32));
            vbslq_f32(kept, x, vdupq_n_f32(other))
        }
        #[inline(always)]
        unsafe fn sum(x: float32x4_t) -> f32 {
            vaddvq_f32(x)
        }
        #[inline(always)]
        unsafe fn largest(x: float32x4_t) -> f32 {
            vmaxnmvq_f32(x)
        }
        #[inline(always)]
        unsafe fn smallest(x: float32x4_t) -> f32 {
            vminnmvq_f32(x)
        }
        #[inline(always)]
        unsafe fn hadamard(x: float32x4_t) -> float32x4_t {
            let x = vfmaq_f32(vrev64q_f32(x), x, vld1q_f32([1.0, -1.0, 1.0, -1.0].as_ptr()));
            vfmaq_f32(vextq_f32::<2>(x, x), x, vld1q_f32([1.0, 1.0, -1.0, -1.0].as_ptr()))
        }

        #[inline(always)]
        unsafe fn zero() -> int32x4_t {
            vdupq_n_s32(0)
        }
        #[inline(always)]
        unsafe fn to_bits(x: float32x4_t) -> int32x4_t {
            vreinterpretq_s32_f32(x)
        }
        #[inline(always)]
        unsafe fn add_int(a: int32x4_t, b: int32x4_t) -> int32x4_t {
            vaddq_s32(a, b)
        }
        #[inline(always)]
        unsafe fn sum_int(x: int32x4_t) -> i32 {
            vaddvq_s32(x)
        }
        #[inline(always)]
        unsafe fn split(x: int32x4_t) -> (int32x4_t, int32x4_t) {
            (vshrq_n_s32::<15>(x), vandq_s32(x, vdupq_n_s32(0x7fff)))
        }
        #[inline(always)]
        unsafe fn to_float(x: int32x4_t) -> float32x4_t {
            vcvtq_f32_s32(x)
        }
        #[inline(always)]
        unsafe fn to_int(x: float32x4_t) -> int32x4_t {
            vcvtnq_s32_f32(x)
        }
        #[inline(always)]
        unsafe fn load_int(from: *const i32) -> int32x4_t {
            vld1q_s32(from)
        }
        #[inline(always)]
        unsafe fn store_int(to: *mut i32, x: int32x4_t) {
            vst1q_s32(to, x);
        }
        #[inline(always)]
        unsafe fn store_bytes(to: *mut u8, x: int32x4_t) {
            let shorts = vmovn_s32(x);
            let bytes = vreinterpret_u32_s8(vmovn_s16(vcombine_s16(shorts, shorts)));
            to.cast::<u32>().write_unaligned(vget_lane_u32::<0>(bytes));
        }
        #[inline(always)]
        unsafe fn store_shorts(to: *mut i16, x: int32x4_t) {
            vst1_s16(to, vmovn_s32(x));
        }
        #[inline(always)]
        unsafe fn pack_halves(low: int32x4_t, high: int32x4_t) -> int32x4_t {
            vsliq_n_s32::<16>(low, high)
        }
        #[inline(always)]
        unsafe fn load_shorts(from: *const i16) -> int16x8_t {
            vreinterpretq_s16_u8(vqtbl1q_u8(vreinterpretq_u8_s16(vld1q_s16(from)), vld1q_u8(EVEN_ODD.as_ptr())))
        }
        #[inline(always)]
        unsafe fn spread_shorts(from: *const i16) -> int16x4_t {
            vreinterpret_s16_s32(vdup_n_s32(from.cast::<i32>().read_unaligned()))
        }
        #[inline(always)]
        unsafe fn dot_shorts(sum: int32x4_t, a: int16x4_t, b: int16x8_t) -> int32x4_t {
            vmlal_high_lane_s16::<1>(vmlal_lane_s16::<0>(sum, vget_low_s16(b), a), b, a)
        }
    };
}

impl Simd for NeonI8mm {
    floats_and_integers!();
    type Bytes = int8x16_t;
    type ByteGroup = uint8x16_t;

    #[inline(always)]
    unsafe fn load_bytes(from: *const i8) -> int8x16_t {
        vld1q_s8(from)
    }
    #[inline(always)]
    unsafe fn spread_bytes(from: *const u8) -> uint8x16_t {
        four_bytes(from)
    }
    #[inline(always)]
    unsafe fn dot_bytes(sum: int32x4_t, a: uint8x16_t, b: int8x16_t) -> int32x4_t {
        add_mixed_products(sum, a, b)
    }
}

impl Simd for NeonDot {
    floats_and_integers!();
    /// Weights plus 128.
    type Bytes = uint8x16_t;
    /// The activations, and 128 times their sum.
    type ByteGroup = (uint8x16_t, int32x4_t);

    #[inline(always)]
    unsafe fn load_bytes(from: *const i8) -> uint8x16_t {
        veorq_u8(vld1q_u8(from.cast()), vdupq_n_u8(128))
    }
    #[inline(always)]
    unsafe fn spread_bytes(from: *const u8) -> (uint8x16_t, int32x4_t) {
        let bytes = four_bytes(from);
        (bytes, add_products(vdupq_n_s32(0), bytes, vdupq_n_u8(128)))
    }
    #[inline(always)]
    unsafe fn dot_bytes(sum: int32x4_t, a: (uint8x16_t, int32x4_t), b: uint8x16_t) -> int32x4_t {
        add_products(vsubq_s32(sum, a.1), a.0, b)
    }
}

/// The four bytes at `from`, in each lane.
#[inline(always)]
unsafe fn four_bytes(from: *const u8) -> uint8x16_t {
    vreinterpretq_u8_u32(vdupq_n_u32(from.cast::<u32>().read_unaligned()))
}

/// In each lane the sum and four products of unsigned with signed bytes.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn add_mixed_products(mut sum: int32x4_t, a: uint8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: reads and writes these registers only.
    unsafe {
        asm!("usdot {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) sum, in(vreg) a, in(vreg) b, options(pure, nomem, nostack, preserves_flags));
    }
    sum
}

/// In each lane the sum and four products of unsigned bytes.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn add_products(mut sum: int32x4_t, a: uint8x16_t, b: uint8x16_t) -> int32x4_t {
    // SAFETY: reads and writes these registers only.
    unsafe {
        asm!("udot {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) sum, in(vreg) a, in(vreg) b, options(pure, nomem, nostack, preserves_flags));
    }
    sum
}
