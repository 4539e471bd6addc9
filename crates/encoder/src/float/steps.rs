//! The elementwise steps between two matrix products, each in one pass over memory and in place.
//!
//! candle's own operations are exact but each allocates its result, runs on one core and calls
//! the C library per element for `erf` and `exp`; together they took more time than the matrix
//! products. These are plain loops that the compiler turns into the widest vectors the
//! processor has: [`pulp`] picks the build at run time.
//!
//! Invariant: results differ from the exact functions by a few f32 roundings (tested here
//! against f64), never more.

use crate::shape::Activation;
use candle_core::{CpuStorage, InplaceOp1, InplaceOp2, Layout, Result};

/// Partial results kept side by side in a sum or maximum, so that it can run in vectors.
const LANES: usize = 16;

/// row ← row + bias, for every row.
pub(super) struct AddBias<'a>(pub(super) &'a [f32]);

/// row ← activation(row + bias), for every row.
pub(super) struct Activate<'a> {
    pub(super) bias: &'a [f32],
    pub(super) activation: Activation,
}

/// row ← softmax(row × scale), for every row of length `width`.
pub(super) struct Softmax {
    pub(super) scale: f32,
    pub(super) width: usize,
}

/// row ← normalise(row + bias + residual) × gain + shift, for every row.
pub(super) struct AddNorm<'a> {
    pub(super) bias: &'a [f32],
    pub(super) gain: &'a [f32],
    pub(super) shift: &'a [f32],
    pub(super) epsilon: f32,
}

impl InplaceOp1 for AddBias<'_> {
    fn name(&self) -> &'static str {
        "add-bias"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let values = values_mut(storage, layout)?;
        pulp::Arch::new().dispatch(|| {
            for row in values.chunks_exact_mut(self.0.len()) {
                row.iter_mut().zip(self.0).for_each(|(x, bias)| *x += bias);
            }
        });
        Ok(())
    }
}

impl InplaceOp1 for Activate<'_> {
    fn name(&self) -> &'static str {
        "activate"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let values = values_mut(storage, layout)?;
        match self.activation {
            Activation::Gelu => map_rows(values, self.bias, gelu),
            Activation::GeluTanh => map_rows(values, self.bias, gelu_tanh),
            Activation::Relu => map_rows(values, self.bias, |x| x.max(0.0)),
        }
        Ok(())
    }
}

impl InplaceOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let values = values_mut(storage, layout)?;
        pulp::Arch::new().dispatch(|| values.chunks_exact_mut(self.width).for_each(|row| softmax(row, self.scale)));
        Ok(())
    }
}

impl InplaceOp2 for AddNorm<'_> {
    fn name(&self) -> &'static str {
        "add-norm"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout, residual: &CpuStorage, residual_layout: &Layout) -> Result<()> {
        let values = values_mut(storage, layout)?;
        let residual = match residual_layout.contiguous_offsets() {
            Some((start, end)) => residual.as_slice::<f32>()?.get(start..end).unwrap_or_default(),
            None => candle_core::bail!("the residual must be contiguous"),
        };
        let width = self.bias.len();
        pulp::Arch::new().dispatch(|| {
            for (row, residual) in values.chunks_exact_mut(width).zip(residual.chunks_exact(width)) {
                self.apply(row, residual);
            }
        });
        Ok(())
    }
}

impl AddNorm<'_> {
    #[inline(always)]
    fn apply(&self, row: &mut [f32], residual: &[f32]) {
        row.iter_mut().zip(residual).zip(self.bias).for_each(|((x, r), b)| *x += r + b);
        #[expect(clippy::cast_precision_loss, reason = "a row has at most 4,096 components")]
        let count = row.len() as f32;
        let mean = reduce(row, 0.0, |x| x, |a, b| a + b) / count;
        let variance = reduce(row, 0.0, |x| (x - mean) * (x - mean), |a, b| a + b) / count;
        let inverse = 1.0 / (variance + self.epsilon).sqrt();
        for ((x, gain), shift) in row.iter_mut().zip(self.gain).zip(self.shift) {
            *x = (*x - mean) * inverse * gain + shift;
        }
    }
}

fn values_mut<'s>(storage: &'s mut CpuStorage, layout: &Layout) -> Result<&'s mut [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else { candle_core::bail!("in-place steps need contiguous rows") };
    match storage {
        CpuStorage::F32(values) => Ok(values.get_mut(start..end).unwrap_or_default()),
        _ => candle_core::bail!("in-place steps need f32"),
    }
}

fn map_rows(values: &mut [f32], bias: &[f32], function: impl Fn(f32) -> f32 + Copy) {
    pulp::Arch::new().dispatch(|| {
        for row in values.chunks_exact_mut(bias.len()) {
            row.iter_mut().zip(bias).for_each(|(x, bias)| *x = function(*x + bias));
        }
    });
}

#[inline(always)]
fn softmax(row: &mut [f32], scale: f32) {
    let top = reduce(row, f32::NEG_INFINITY, |x| x, |a, b| if a > b { a } else { b }) * scale;
    row.iter_mut().for_each(|x| *x = exp(*x * scale - top));
    let inverse = 1.0 / reduce(row, 0.0, |x| x, |a, b| a + b);
    row.iter_mut().for_each(|x| *x *= inverse);
}

/// Folds `row` in [`LANES`] partial results, then those.
#[inline(always)]
fn reduce(row: &[f32], start: f32, value: impl Fn(f32) -> f32, combine: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; LANES];
    let (blocks, rest) = row.as_chunks::<LANES>();
    for block in blocks {
        lanes.iter_mut().zip(block).for_each(|(lane, x)| *lane = combine(*lane, value(*x)));
    }
    let folded = lanes.into_iter().fold(start, &combine);
    rest.iter().fold(folded, |sum, x| combine(sum, value(*x)))
}

/// e^x for x ≤ 88: 2^n · e^r with n the nearest integer of x/ln 2 and e^r by its Taylor series.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Adding it leaves the integer part of a small f32 in the low bits.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts, so that r keeps its last bits.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = if x > -87.0 { x } else { -87.0 };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let series = 1.0 + r * (1.0 + r * (1.0 / 2.0 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0))))));
    f32::from_bits(series.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// x·Φ(x) with the error function by Abramowitz and Stegun 7.1.26 (absolute error 1.5e-7).
#[inline(always)]
fn gelu(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let series = t * (0.254_829_6 + t * (-0.284_496_74 + t * (1.421_413_7 + t * (-1.453_152 + t * 1.061_405_4))));
    let tail = 0.5 * series * exp(-z * z);
    x * if x < 0.0 { tail } else { 1.0 - tail }
}

#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    /// sqrt(2/π), doubled: x·(1+tanh(u))/2 is x/(1+e^(−2u)).
    const SLOPE: f32 = 1.595_769;
    let inner = SLOPE * (x + 0.044_715 * x * x * x);
    x / (1.0 + exp(if inner > -87.0 { -inner } else { 87.0 }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};
    use proptest::prelude::*;

    /// erf by its Maclaurin series in f64, good for |x| ≤ 4.
    fn erf(x: f64) -> f64 {
        let mut term = x;
        let mut sum = x;
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    }

    fn rows(values: &[f32], width: usize) -> Tensor {
        Tensor::from_slice(values, (values.len() / width, width), &Device::Cpu).unwrap()
    }

    proptest! {
        #[test]
        fn exp_and_gelu_are_exact_to_f32(x in -5.0f32..5.0) {
            let exact = f64::from(x).exp();
            prop_assert!((f64::from(exp(x)) - exact).abs() <= 4e-7 * exact);
            let exact = 0.5 * f64::from(x) * (1.0 + erf(f64::from(x) / 2f64.sqrt()));
            prop_assert!((f64::from(gelu(x)) - exact).abs() <= 1e-6, "{} {exact}", gelu(x));
            let exact = 0.5 * f64::from(x) * (1.0 + (0.797_884_560_8 * (f64::from(x) + 0.044_715 * f64::from(x).powi(3))).tanh());
            prop_assert!((f64::from(gelu_tanh(x)) - exact).abs() <= 2e-6);
        }

        #[test]
        fn softmax_is_a_distribution(row in proptest::collection::vec(-500.0f32..500.0, 1..70), scale in 0.1f32..2.0) {
            let tensor = rows(&row, row.len());
            tensor.inplace_op1(&Softmax { scale, width: row.len() }).unwrap();
            let found = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let weights: Vec<f64> = row.iter().map(|x| (f64::from(scale) * f64::from(x - top)).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for (found, weight) in found.iter().zip(&weights) {
                prop_assert!((f64::from(*found) - weight / sum).abs() < 1e-4);
            }
        }

        #[test]
        fn add_norm_centres_and_scales(row in proptest::collection::vec(-5.0f32..5.0, 40)) {
            let (bias, gain, shift) = (vec![0.5f32; 20], vec![2.0f32; 20], vec![1.0f32; 20]);
            let tensor = rows(&row, 20);
            let residual = rows(&[3.0; 40], 20);
            tensor.inplace_op2(&residual, &AddNorm { bias: &bias, gain: &gain, shift: &shift, epsilon: 1e-12 }).unwrap();
            for (found, input) in tensor.to_vec2::<f32>().unwrap().iter().zip(row.chunks(20)) {
                let mean = input.iter().map(|x| f64::from(*x)).sum::<f64>() / 20.0;
                let deviation = (input.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / 20.0).sqrt();
                for (found, x) in found.iter().zip(input) {
                    prop_assert!((f64::from(*found) - ((f64::from(*x) - mean) / deviation * 2.0 + 1.0)).abs() < 1e-3);
                }
            }
        }
    }

    #[test]
    fn far_ends_stay_finite() {
        assert!(gelu(-100.0).abs() < 1e-30 && gelu(100.0) == 100.0);
        assert!(gelu_tanh(-100.0).abs() < 1e-30 && (gelu_tanh(100.0) - 100.0).abs() < 1e-3);
        assert!(exp(-1e30) < 1e-37 && exp(0.0) == 1.0);
    }
}
