//! Inner products, by the widest instructions the processor has: of two vectors of 32-bit floats, and of
//! a query's 8-bit codes with many rows of 4-bit codes.
//!
//! Invariant: every path gives the portable result, integers exactly and floats up to rounding, for any
//! length. One machine always takes the same path, so that a score never depends on who computed it.
//! Instructions that only some processors have need `unsafe`, which stays in this folder.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

use std::sync::LazyLock;

/// Bytes of a block of 4-bit codes: a cache line, and the widest register.
const BLOCK: usize = 64;
/// Components in such a block.
pub(super) const BLOCK_DIMENSIONS: usize = 2 * BLOCK;

/// 4-bit codes of 128 components: byte j holds component j in its low and 64 + j in its high four bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(super) struct Block(pub(super) [u8; BLOCK]);

/// What a query has for such a block: 8-bit codes of components 0 to 63, and of 64 to 127.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub(super) struct QueryBlock {
    pub(super) low: [i8; BLOCK],
    pub(super) high: [i8; BLOCK],
}

/// One path.
struct Kernels {
    name: &'static str,
    dot: Dot,
    nibble_dots: NibbleDots,
}

/// # Safety
/// The processor has the path's instructions.
type Dot = unsafe fn(&[f32], &[f32]) -> f32;

/// # Safety
/// The processor has the path's instructions; `(place + 1) * query.len()` blocks are in the plane for each place.
type NibbleDots = unsafe fn(&[QueryBlock], &[Block], &[u32], &mut [i32]);

static CHOSEN: LazyLock<Kernels> = LazyLock::new(|| available().swap_remove(0));

/// All that this processor can take, the fastest first.
fn available() -> Vec<Kernels> {
    let mut available = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if avx512::is_available() {
            available.push(Kernels { name: "avx512-vnni", dot: avx512::dot, nibble_dots: avx512::nibble_dots });
        }
        if avx2::is_available() {
            available.push(Kernels { name: "avx2", dot: avx2::dot, nibble_dots: avx2::nibble_dots });
        }
    }
    #[cfg(target_arch = "aarch64")]
    available.push(Kernels { name: "neon", dot: neon::dot, nibble_dots: neon::nibble_dots });
    available.push(Kernels { name: "portable", dot: portable::dot, nibble_dots: portable::nibble_dots });
    available
}

/// The instructions in use, for reports.
pub(super) fn name() -> &'static str {
    CHOSEN.name
}

/// The inner product of the first `min(a.len(), b.len())` components.
#[expect(unsafe_code, reason = "calls functions compiled for instructions that were detected")]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    // SAFETY: `available` lists only what the processor has.
    unsafe { (CHOSEN.dot)(a, b) }
}

/// The inner product of a query with each row at `places`: `dots[i] = Σ query · row[places[i]]`. A row has as
/// many blocks as the query; its codes are 0 to 15.
///
/// # Panics
/// If the query is empty or a place is outside the plane.
pub(super) fn nibble_dots(query: &[QueryBlock], plane: &[Block], places: &[u32], dots: &mut Vec<i32>) {
    nibble_dots_by(&CHOSEN, query, plane, places, dots);
}

#[expect(unsafe_code, reason = "calls functions compiled for instructions that were detected")]
fn nibble_dots_by(kernels: &Kernels, query: &[QueryBlock], plane: &[Block], places: &[u32], dots: &mut Vec<i32>) {
    let rows = plane.len() / query.len();
    // Without a way out early, so that several are compared at a time.
    assert!(places.iter().fold(true, |all, place| all & ((*place as usize) < rows)), "a place outside {rows} rows");
    dots.resize(places.len(), 0);
    // SAFETY: just checked; `available` lists only what the processor has.
    unsafe { (kernels.nibble_dots)(query, plane, places, dots) }
}

/// Asks for the cache lines of these bytes, to be read soon. Into the second-level cache: it waits for more of them
/// at once than the first, which is worth up to twice as many rows a second.
#[inline]
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the instruction takes a raw pointer"))]
pub(super) fn prefetch<T>(data: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        let bytes = data.as_ptr().cast::<i8>();
        for at in (0..size_of_val(data)).step_by(BLOCK) {
            // SAFETY: within the slice; a prefetch changes nothing anyway.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(bytes.add(at)) };
        }
    }
    // Elsewhere the processor looks ahead by itself: stable Rust has no such instruction there.
    #[cfg(not(target_arch = "x86_64"))]
    let _ = data;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every component counts: none is zero and no two products are equal.
    fn vector(length: usize, phase: f32) -> Vec<f32> {
        (0..length).map(|i| (i as f32 * 0.37 + phase).sin() + 1.5).collect()
    }

    #[test]
    #[expect(unsafe_code, reason = "calls functions compiled for instructions that were detected")]
    fn every_path_agrees_with_a_plain_sum_at_every_length() {
        for length in (0..=130).chain([384, 768, 1024]) {
            // One extra component at the end must not be read.
            let (mut a, b) = (vector(length, 0.1), vector(length, 0.7));
            let expected: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            a.push(f32::NAN);
            for Kernels { name, dot, .. } in available() {
                let tolerance = 1e-6 * expected.abs().max(1.0);
                // SAFETY: available.
                let (equal, left, right) = unsafe { (dot(&a[..length], &b), dot(&a, &b), dot(&b, &a)) };
                assert!((f64::from(equal) - expected).abs() < tolerance, "{name} at {length}");
                assert!((f64::from(left) - expected).abs() < tolerance, "{name} at {length}, longer left side");
                assert!((f64::from(right) - expected).abs() < tolerance, "{name} at {length}, longer right side");
            }
        }
    }

    /// The definition, component by component.
    fn plain_nibble_dot(query: &[QueryBlock], row: &[Block]) -> i32 {
        let pairs = query.iter().zip(row).flat_map(|(query, row)| query.low.iter().zip(&query.high).zip(&row.0));
        pairs.map(|((low, high), byte)| i32::from(*low) * i32::from(byte % 16) + i32::from(*high) * i32::from(byte / 16)).sum()
    }

    fn query(blocks: usize, code: impl Fn(usize) -> i8) -> Vec<QueryBlock> {
        let half = |first: usize| std::array::from_fn(|at| code(first + at));
        (0..blocks).map(|block| QueryBlock { low: half(block * 128), high: half(block * 128 + 64) }).collect()
    }

    #[test]
    fn every_path_agrees_with_the_definition_for_any_number_of_rows() {
        for blocks in [1, 2, 3, 6, 32] {
            let plane = |code: fn(usize) -> u8| -> Vec<Block> {
                (0..11 * blocks).map(|block| Block(std::array::from_fn(|at| code(block * BLOCK + at)))).collect()
            };
            let cases = [
                (query(blocks, |i| (i * 89 % 256) as u8 as i8), plane(|i| (i * i % 251) as u8)),
                (query(blocks, |_| i8::MIN), plane(|_| u8::MAX)),
                (query(blocks, |_| i8::MAX), plane(|_| u8::MAX)),
            ];
            for rows in 0..=9 {
                let places: Vec<u32> = (0..rows).map(|i| i * 7 % 11).collect();
                for (query, plane) in &cases {
                    let row = |place: &u32| &plane[*place as usize * blocks..][..blocks];
                    let expected: Vec<i32> = places.iter().map(|place| plain_nibble_dot(query, row(place))).collect();
                    for kernels in available() {
                        let mut dots = vec![7; 3];
                        nibble_dots_by(&kernels, query, plane, &places, &mut dots);
                        assert_eq!(dots, expected, "{}, {blocks} blocks", kernels.name);
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "a place outside 2 rows")]
    fn a_place_outside_the_plane_is_never_read() {
        nibble_dots(&query(1, |_| 1), &[Block([0; BLOCK]); 2], &[0, 2], &mut Vec::new());
    }
}
