//! NEON, which every 64-bit ARM has: four floats, or sixteen products of bytes in two instructions.

use super::{BLOCK, Block, QueryBlock};
use std::arch::aarch64::{
    int8x16_t, int32x4_t, uint8x16_t, vaddq_f32, vaddq_s32, vaddvq_f32, vaddvq_s32, vandq_u8, vdupq_n_f32, vdupq_n_s32, vdupq_n_u8,
    vfmaq_f32, vget_low_s8, vld1q_f32, vld1q_s8, vld1q_u8, vmlal_high_s8, vmlal_s8, vmull_s8, vpadalq_s16, vreinterpretq_s8_u8, vshrq_n_u8,
};

/// Bytes of a register.
const LANES: usize = 16;

/// Four sums of four lanes; the tail goes one by one.
#[expect(unsafe_code, reason = "vector loads take raw pointers")]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let length = a.len().min(b.len());
    let blocks = length / LANES;
    // SAFETY: NEON is part of the architecture; every load is within the first `blocks * 16` floats.
    let sum = unsafe {
        let mut sums = [vdupq_n_f32(0.0); 4];
        for block in 0..blocks {
            for (lane, sum) in sums.iter_mut().enumerate() {
                let at = block * LANES + 4 * lane;
                *sum = vfmaq_f32(*sum, vld1q_f32(a.as_ptr().add(at)), vld1q_f32(b.as_ptr().add(at)));
            }
        }
        let [first, second, third, fourth] = sums;
        vaddvq_f32(vaddq_f32(vaddq_f32(first, second), vaddq_f32(third, fourth)))
    };
    sum + a.iter().zip(b).skip(blocks * LANES).map(|(x, y)| x * y).sum::<f32>()
}

/// Products of bytes are added to 16 bits, four at most: 4 · 15 · 128, far from overflow.
///
/// # Safety
/// As for [`super::Kernels::nibble_dots`].
#[expect(unsafe_code, reason = "vector loads take raw pointers")]
pub(super) unsafe fn nibble_dots(query: &[QueryBlock], plane: &[Block], places: &[u32], dots: &mut [i32]) {
    for (place, dot) in places.iter().zip(dots) {
        // SAFETY: the caller's promise: every row lies within the plane and has as many blocks as the query.
        *dot = unsafe {
            let row = plane.as_ptr().add(*place as usize * query.len());
            let mut sums = [vdupq_n_s32(0); BLOCK / LANES];
            for (block, query) in query.iter().enumerate() {
                for (part, sum) in sums.iter_mut().enumerate() {
                    let at = part * LANES;
                    let codes = vld1q_u8(row.add(block).cast::<u8>().add(at));
                    *sum = add_products(*sum, codes, vld1q_s8(query.low.as_ptr().add(at)), vld1q_s8(query.high.as_ptr().add(at)));
                }
            }
            let [first, second, third, fourth] = sums;
            vaddvq_s32(vaddq_s32(vaddq_s32(first, second), vaddq_s32(third, fourth)))
        };
    }
}

#[target_feature(enable = "neon")]
#[inline]
fn add_products(sum: int32x4_t, codes: uint8x16_t, query_low: int8x16_t, query_high: int8x16_t) -> int32x4_t {
    let low = vreinterpretq_s8_u8(vandq_u8(codes, vdupq_n_u8(15)));
    let high = vreinterpretq_s8_u8(vshrq_n_u8::<4>(codes));
    let products = vmull_s8(vget_low_s8(low), vget_low_s8(query_low));
    let products = vmlal_high_s8(products, low, query_low);
    let products = vmlal_s8(products, vget_low_s8(high), vget_low_s8(query_high));
    vpadalq_s16(sum, vmlal_high_s8(products, high, query_high))
}
