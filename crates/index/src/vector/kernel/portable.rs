//! What every processor can do, and what the other paths are compared with.

use super::{Block, QueryBlock};

/// Eight running sums, which the compiler turns into whatever vectors the target has.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
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

/// See [`super::nibble_dots`].
pub(super) fn nibble_dots(query: &[QueryBlock], plane: &[Block], places: &[u32], dots: &mut [i32]) {
    for (place, dot) in places.iter().zip(dots) {
        let row = plane.get(*place as usize * query.len()..).unwrap_or_default();
        *dot = query.iter().zip(row).map(|(query, row)| block_dot(query, row)).sum();
    }
}

fn block_dot(query: &QueryBlock, row: &Block) -> i32 {
    let codes = row.0.iter().zip(&query.low).zip(&query.high);
    codes.map(|((byte, low), high)| i32::from(byte & 15) * i32::from(*low) + i32::from(byte >> 4) * i32::from(*high)).sum()
}
