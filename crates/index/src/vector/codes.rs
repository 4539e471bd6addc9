//! Vectors as 8-bit codes, four bits a plane.
//!
//! Component x of a vector whose largest magnitude is m has the code round(127 x / m) + 128, 1 to 255, and the
//! vector the scale m / 127. The upper four bits of all codes are one plane, the lower four another. The upper
//! plane alone gives a *coarse* score, good enough to choose a way through a graph or what to look at again, for
//! half the memory traffic; both planes give the *fine* score of 8-bit scalar quantisation.

use super::kernel::{self, BLOCK_DIMENSIONS, Block, QueryBlock};
use super::memory::prefer_huge_pages;

/// Components in half a block.
const HALF: usize = BLOCK_DIMENSIONS / 2;
/// The code of zero.
const ZERO: u8 = 128;
/// What a code is on average beyond its upper four bits, relative to zero: 16 h + 7.5 - 128.
const COARSE_ZERO: f32 = 120.5;
/// More than the sums of a score can be off by in f32.
const ROUNDING: f32 = 1e-5;

/// Coded vectors of one dimension, by place: 0, 1, 2, ...
#[derive(Debug, Clone)]
pub(super) struct Codes {
    dimension: usize,
    /// Blocks of a row in each plane.
    blocks: usize,
    high: Vec<Block>,
    low: Vec<Block>,
    scales: Vec<f32>,
    /// How far each vector is from what its upper plane says.
    residuals: Vec<f32>,
}

/// A vector that others are compared with.
#[derive(Debug, Clone)]
pub(super) struct QueryCodes {
    blocks: Vec<QueryBlock>,
    sum: i32,
    scale: f32,
    /// Length of what the codes say, and how far the vector is from that.
    norm: f32,
    residual: f32,
}

/// Scores of the places last asked for, in their order; kept from query to query to save allocations.
#[derive(Debug, Default)]
pub(super) struct Scores {
    dots: Vec<i32>,
    low: Vec<i32>,
    values: Vec<f32>,
}

impl Scores {
    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }
}

impl Codes {
    pub(super) fn new(dimension: usize) -> Self {
        let blocks = dimension.div_ceil(BLOCK_DIMENSIONS);
        Self { dimension, blocks, high: Vec::new(), low: Vec::new(), scales: Vec::new(), residuals: Vec::new() }
    }

    /// With room for so many.
    pub(super) fn with_capacity(dimension: usize, count: usize) -> Self {
        let Self { blocks, .. } = Self::new(dimension);
        let plane = || {
            let plane = Vec::with_capacity(count * blocks);
            prefer_huge_pages(&plane);
            plane
        };
        Self { dimension, blocks, high: plane(), low: plane(), scales: Vec::with_capacity(count), residuals: Vec::with_capacity(count) }
    }

    /// Of the parts that [`Self::parts`] gave; `None` if they don't fit together.
    pub(super) fn of(dimension: usize, planes: [Vec<Block>; 2], terms: [Vec<f32>; 2]) -> Option<Self> {
        let ([high, low], [scales, residuals]) = (planes, terms);
        let blocks = dimension.div_ceil(BLOCK_DIMENSIONS);
        let is_whole = high.len() == scales.len() * blocks && low.len() == high.len() && residuals.len() == scales.len();
        let is_sound = scales.iter().chain(&residuals).all(|term| term.is_finite());
        (is_whole && is_sound).then_some(Self { dimension, blocks, high, low, scales, residuals })
    }

    /// Upper and lower plane; scales and residuals.
    pub(super) fn parts(&self) -> ([&[Block]; 2], [&[f32]; 2]) {
        ([&self.high, &self.low], [&self.scales, &self.residuals])
    }

    /// Blocks of `count` vectors in each plane.
    pub(super) fn plane_blocks(dimension: usize, count: usize) -> usize {
        count * dimension.div_ceil(BLOCK_DIMENSIONS)
    }

    pub(super) fn dimension(&self) -> usize {
        self.dimension
    }

    pub(super) fn len(&self) -> usize {
        self.scales.len()
    }

    /// Bytes allocated.
    pub(super) fn bytes(&self) -> usize {
        let (blocks, terms) = (self.high.capacity() + self.low.capacity(), self.scales.capacity() + self.residuals.capacity());
        blocks * size_of::<Block>() + terms * size_of::<f32>()
    }

    /// Adds a vector at the next place.
    pub(super) fn push(&mut self, vector: &[f32]) {
        let scale = scale(vector);
        let mut off = 0.0;
        for part in vector.chunks(BLOCK_DIMENSIONS) {
            let mut codes = [ZERO; BLOCK_DIMENSIONS];
            for (code, x) in codes.iter_mut().zip(part) {
                *code = ZERO.wrapping_add_signed(quantise(*x, scale));
                let coarse = f32::from(*code & 0xf0) - COARSE_ZERO;
                off += (x - scale * coarse).powi(2);
            }
            let (first, second) = codes.split_at(HALF);
            let (mut high, mut low) = ([0; HALF], [0; HALF]);
            for (((high, low), first), second) in high.iter_mut().zip(&mut low).zip(first).zip(second) {
                *high = first >> 4 | second & 0xf0;
                *low = first & 15 | second << 4;
            }
            self.high.push(Block(high));
            self.low.push(Block(low));
        }
        self.scales.push(scale);
        self.residuals.push(off.sqrt());
    }

    /// Adds the vector at `place` of other codes of the same dimension.
    pub(super) fn push_from(&mut self, other: &Self, place: u32) {
        let (row, place) = (other.row(place), place as usize);
        self.high.extend_from_slice(other.high.get(row.clone()).unwrap_or_default());
        self.low.extend_from_slice(other.low.get(row).unwrap_or_default());
        self.scales.extend(other.scales.get(place));
        self.residuals.extend(other.residuals.get(place));
    }

    fn row(&self, place: u32) -> std::ops::Range<usize> {
        let start = place as usize * self.blocks;
        start..start + self.blocks
    }

    /// Codes of a query.
    pub(super) fn query(vector: &[f32]) -> QueryCodes {
        let scale = scale(vector);
        let codes = QueryCodes::new(scale, vector.len(), |at| vector.get(at).map_or(0, |x| quantise(*x, scale)));
        let off: f32 = vector.iter().map(|x| (x - scale * f32::from(quantise(*x, scale))).powi(2)).sum();
        QueryCodes { residual: off.sqrt(), ..codes }
    }

    /// The vector at `place` as a query: what its codes say.
    pub(super) fn as_query(&self, place: u32) -> QueryCodes {
        let row = self.row(place);
        let (high, low) = (self.high.get(row.clone()).unwrap_or_default(), self.low.get(row).unwrap_or_default());
        let blocks = high.iter().zip(low).map(|(high, low)| {
            let code = |high: u8, low: u8| (high << 4 | low).wrapping_sub(ZERO).cast_signed();
            let mut block = QueryBlock { low: [0; HALF], high: [0; HALF] };
            for (((first, second), high), low) in block.low.iter_mut().zip(&mut block.high).zip(high.0).zip(low.0) {
                *first = code(high & 15, low & 15);
                *second = code(high >> 4, low >> 4);
            }
            block
        });
        QueryCodes::of(blocks.collect(), self.scales.get(place as usize).copied().unwrap_or_default())
    }

    /// Inner products from the upper planes.
    pub(super) fn coarse(&self, query: &QueryCodes, places: &[u32], scores: &mut Scores) {
        kernel::nibble_dots(&query.blocks, &self.high, places, &mut scores.dots);
        let zero = COARSE_ZERO * query.sum as f32;
        self.scale(query, places, &mut scores.values, scores.dots.iter().map(|high| (16 * high) as f32 - zero));
    }

    /// Inner products from both planes.
    pub(super) fn fine(&self, query: &QueryCodes, places: &[u32], scores: &mut Scores) {
        kernel::nibble_dots(&query.blocks, &self.high, places, &mut scores.dots);
        kernel::nibble_dots(&query.blocks, &self.low, places, &mut scores.low);
        let zero = i32::from(ZERO) * query.sum;
        let dots = scores.dots.iter().zip(&scores.low).map(|(high, low)| (16 * high + low - zero) as f32);
        self.scale(query, places, &mut scores.values, dots);
    }

    fn scale(&self, query: &QueryCodes, places: &[u32], values: &mut Vec<f32>, dots: impl Iterator<Item = f32>) {
        values.clear();
        values
            .extend(dots.zip(places).map(|(dot, place)| dot * query.scale * self.scales.get(*place as usize).copied().unwrap_or_default()));
    }

    /// What the exact scores of unit vectors are at most, from the upper planes. With v' and q' for what the codes say
    /// of a vector v and a query q of unit length, ⟨q, v⟩ - ⟨q', v'⟩ = ⟨q - q', v⟩ + ⟨q', v - v'⟩ (and Cauchy–Schwarz).
    pub(super) fn coarse_at_most(&self, query: &QueryCodes, places: &[u32], scores: &mut Scores) {
        kernel::nibble_dots(&query.blocks, &self.high, places, &mut scores.dots);
        let (zero, off) = (COARSE_ZERO * query.sum as f32, query.residual + ROUNDING);
        let most = |dot: i32, scale: f32, residual: f32| {
            let coarse = ((16 * dot) as f32 - zero) * query.scale * scale;
            coarse + (off + query.norm * residual)
        };
        scores.values.clear();
        let terms = run(places).and_then(|run| self.scales.get(run.clone()).zip(self.residuals.get(run)));
        if let Some((scales, residuals)) = terms {
            let terms = scales.iter().zip(residuals);
            scores.values.extend(scores.dots.iter().zip(terms).map(|(dot, (scale, residual))| most(*dot, *scale, *residual)));
        } else {
            let term = |terms: &[f32], place: u32| terms.get(place as usize).copied().unwrap_or_default();
            let all = scores.dots.iter().zip(places);
            scores.values.extend(all.map(|(dot, place)| most(*dot, term(&self.scales, *place), term(&self.residuals, *place))));
        }
    }

    /// The same from both planes: each component of either vector is off by half a scale at most, so each vector by
    /// that times √dimension (Cauchy–Schwarz).
    pub(super) fn fine_at_most(&self, query: &QueryCodes, places: &[u32], scores: &mut Scores) {
        self.fine(query, places, scores);
        let half = 0.5 * (self.dimension as f32).sqrt();
        for (score, place) in scores.values.iter_mut().zip(places) {
            let of_row = self.scales.get(*place as usize).copied().unwrap_or_default();
            *score += half * (of_row + query.scale) + half * half * of_row * query.scale + ROUNDING;
        }
    }

    /// The standard deviation of the fine score of a unit vector at `place` from the exact one: that of what rounding
    /// takes from either vector, evenly from within half a scale (Gersho and Gray, "Vector Quantization and Signal
    /// Compression", 1992).
    pub(super) fn fine_deviation(&self, query: &QueryCodes, place: u32) -> f32 {
        let of_row = self.scales.get(place as usize).copied().unwrap_or_default();
        ((of_row * of_row + query.scale * query.scale) / 12.0).sqrt()
    }

    /// Asks for what a coarse score needs, to be read soon.
    #[inline]
    pub(super) fn prefetch_coarse(&self, place: u32) {
        kernel::prefetch(self.high.get(self.row(place)).unwrap_or_default());
        kernel::prefetch(self.scales.get(place as usize..).and_then(<[f32]>::first_chunk::<1>).map_or(&[], <[f32; 1]>::as_slice));
    }

    /// Asks for what a fine score needs besides.
    #[inline]
    pub(super) fn prefetch_fine(&self, place: u32) {
        kernel::prefetch(self.low.get(self.row(place)).unwrap_or_default());
    }
}

impl QueryCodes {
    fn new(scale: f32, dimension: usize, code: impl Fn(usize) -> i8) -> Self {
        let half = |first: usize| std::array::from_fn(|at| code(first + at));
        let blocks = (0..dimension.div_ceil(BLOCK_DIMENSIONS)).map(|block| block * BLOCK_DIMENSIONS);
        Self::of(blocks.map(|first| QueryBlock { low: half(first), high: half(first + HALF) }).collect(), scale)
    }

    fn of(blocks: Vec<QueryBlock>, scale: f32) -> Self {
        let codes = || blocks.iter().flat_map(|block| block.low.iter().chain(&block.high)).map(|code| i32::from(*code));
        let (sum, squares) = (codes().sum(), codes().map(|code| code * code).sum::<i32>());
        Self { sum, norm: scale * (squares as f32).sqrt(), residual: 0.0, blocks, scale }
    }
}

/// The range that these are, one after the other.
fn run(places: &[u32]) -> Option<std::ops::Range<usize>> {
    let (first, last) = (*places.first()? as usize, *places.last()? as usize);
    (last.checked_sub(first)? + 1 == places.len()).then_some(first..last + 1)
}

fn scale(vector: &[f32]) -> f32 {
    vector.iter().fold(0.0_f32, |most, x| most.max(x.abs())) / 127.0
}

/// -127 to 127; 0 where all components are.
#[expect(clippy::cast_possible_truncation, reason = "a quotient of a component and the largest, times 127")]
fn quantise(x: f32, scale: f32) -> i8 {
    // Half away from zero, as `round` does, which is a call into a library here.
    let code = x / scale;
    if scale > 0.0 { (code + 0.5_f32.copysign(code)) as i8 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(dimension: usize, seed: u64) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
        };
        let vector: Vec<f32> = (0..dimension).map(|_| next()).collect();
        let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.iter().map(|x| x / norm).collect()
    }

    #[test]
    fn scores_are_near_the_inner_product_and_within_the_bound() {
        for dimension in [1, 2, 63, 64, 65, 127, 128, 129, 384, 1000, 4096] {
            let vectors: Vec<Vec<f32>> = (0..9).map(|seed| unit(dimension, seed + 1)).collect();
            let mut codes = Codes::new(dimension);
            vectors.iter().for_each(|vector| codes.push(vector));
            let places: Vec<u32> = (0..9).rev().collect();
            let [mut coarse, mut fine, mut coarse_most, mut fine_most] = <[Scores; 4]>::default();
            for vector in &vectors {
                let query = Codes::query(vector);
                codes.coarse(&query, &places, &mut coarse);
                codes.fine(&query, &places, &mut fine);
                codes.coarse_at_most(&query, &places, &mut coarse_most);
                codes.fine_at_most(&query, &places, &mut fine_most);
                for (at, place) in places.iter().enumerate() {
                    let exact = kernel::dot(vector, &vectors[*place as usize]);
                    let [coarse, fine, coarse_most, fine_most] =
                        [&coarse, &fine, &coarse_most, &fine_most].map(|scores| scores.values()[at]);
                    assert!((fine - exact).abs() <= fine_most - fine, "dimension {dimension}: {fine} for {exact}");
                    assert!((fine - exact).abs() < 0.02, "dimension {dimension}: {fine} for {exact}");
                    assert!((coarse - exact).abs() <= coarse_most - coarse, "dimension {dimension}: {coarse} for {exact}");
                    assert!((coarse - exact).abs() < 0.2, "dimension {dimension}: {coarse} for {exact}");
                }
                // In a row or not, to the bit.
                let ascending: Vec<u32> = (0..9).collect();
                codes.coarse_at_most(&query, &ascending, &mut coarse);
                assert!(coarse.values().iter().eq(coarse_most.values().iter().rev()));
            }
        }
    }

    #[test]
    fn a_row_as_a_query_has_the_codes_it_was_given() {
        let vector = unit(200, 3);
        let mut codes = Codes::new(200);
        codes.push(&unit(200, 4));
        codes.push(&vector);
        let (given, read) = (Codes::query(&vector), codes.as_query(1));
        assert_eq!((&given.blocks, given.sum, given.scale), (&read.blocks, read.sum, read.scale));
        let mut copy = Codes::new(200);
        copy.push_from(&codes, 1);
        assert_eq!(copy.as_query(0).blocks, given.blocks);
    }

    #[test]
    fn extremes_are_coded() {
        let mut codes = Codes::new(3);
        for vector in [[0.0, 0.0, 0.0], [1e30, -1e30, 0.0], [1e-38, 0.0, 0.0]] {
            codes.push(&vector);
        }
        let mut scores = Scores::default();
        codes.fine(&Codes::query(&[1.0, 0.0, 0.0]), &[0, 1, 2], &mut scores);
        assert_eq!(scores.values()[0], 0.0);
        assert!((scores.values()[1] / 1e30 - 1.0).abs() < 1e-6 && scores.values()[2] >= 0.0);
    }
}
