//! Every path against the portable one, and that against plain arithmetic in `f64`.
//!
//! What may differ between paths: a float by its rounding (some multiply and add in one step), and with it a
//! byte or a weight of attention by one. What may not: sums of integers, and everything of a row or a text
//! when other rows, or another division of the text, come with it.

use super::*;
use crate::random::Random;
use std::panic::{AssertUnwindSafe, catch_unwind};

impl Random {
    /// About normal, times `scale`.
    fn floats(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| self.normal(scale)).collect()
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.next() >> 56) as u8).collect()
    }

    fn shorts(&mut self, count: usize, most: i16) -> Vec<i16> {
        (0..count).map(|_| (self.float() * f32::from(most)) as i16).collect()
    }
}

/// Numbers of rows: all ways to fill tiles, and a block.
fn row_counts() -> impl Iterator<Item = usize> {
    (0..=20).chain([48])
}

/// Quantised rows that own their bytes.
#[derive(Debug, Clone, PartialEq)]
struct Rows {
    bytes: Vec<u8>,
    ranges: Vec<Range>,
}

impl Rows {
    fn new(rows: usize, width: usize) -> Self {
        Self { bytes: vec![0; rows * width], ranges: vec![Range::default(); rows] }
    }

    fn random(random: &mut Random, rows: usize, width: usize) -> Self {
        let range = |random: &mut Random| Range { step: random.float().abs() * 0.02, low: random.float() * 3.0 };
        Self { bytes: random.bytes(rows * width), ranges: (0..rows).map(|_| range(random)).collect() }
    }

    fn all(&self) -> ByteRows<'_> {
        ByteRows { bytes: &self.bytes, ranges: &self.ranges }
    }

    fn all_mut(&mut self) -> ByteRowsMut<'_> {
        ByteRowsMut { bytes: &mut self.bytes, ranges: &mut self.ranges }
    }

    /// What byte `at` stands for.
    fn value(&self, at: usize) -> f64 {
        let Range { step, low } = self.ranges[at / (self.bytes.len() / self.ranges.len())];
        f64::from(low) + f64::from(step) * f64::from(self.bytes[at])
    }

    /// Ranges alike up to rounding, and no byte off by more than one.
    fn assert_near(&self, other: &Self, context: &str) {
        for (a, b) in self.ranges.iter().zip(&other.ranges) {
            let room = (256.0 * a.step + a.low.abs()) * 1e-5 + f32::MIN_POSITIVE;
            assert!((a.low - b.low).abs() <= room && (a.step - b.step).abs() * 255.0 <= room, "{context}: {a:?}, {b:?}");
        }
        let off = self.bytes.iter().zip(&other.bytes).filter(|(a, b)| a != b).count();
        let most = self.bytes.iter().zip(&other.bytes).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or_default();
        assert!(most <= 1 && off * 100 <= self.bytes.len() + 400, "{context}: {off} of {} bytes are off by {most}", self.bytes.len());
    }
}

fn quantise(kernels: &Kernels, rows: &[f32], width: usize) -> Rows {
    let mut out = Rows::new(rows.len() / width, width);
    kernels.quantise(&mut rows.to_vec(), &mut out.all_mut());
    out
}

/// The transform by its definition.
fn exact_hadamard(rows: &[f32]) -> Vec<f64> {
    let sign = |i: usize, j: usize| if (i & j).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
    let component = |group: &[f32], i| group.iter().enumerate().map(|(j, x)| sign(i, j) * f64::from(*x)).sum::<f64>();
    rows.chunks_exact(GROUP).flat_map(|group| (0..GROUP).map(|i| component(group, i)).collect::<Vec<_>>()).collect()
}

/// What a row's transform may be off by: 64 components are added in six steps.
fn rounding(row: &[f32]) -> f64 {
    largest(row.iter().map(|x| f64::from(*x))) * 64.0 * 6.0 * f64::from(f32::EPSILON)
}

fn multiply(kernels: &Kernels, a: &Rows, dense: &Dense) -> Vec<f32> {
    let mut out = vec![f32::NAN; a.ranges.len() * dense.outputs];
    kernels.multiply(&a.all(), dense, &mut out);
    out
}

fn dense(random: &mut Random, inputs: usize, outputs: usize) -> Dense {
    let weight = random.floats(inputs * outputs, 0.05);
    Dense::new(&weight, random.floats(outputs, 0.5)).unwrap()
}

fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, |most, x| if x.is_nan() { f64::INFINITY } else { most.max(x.abs()) })
}

/// Largest distance; infinite if one is not a number.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    largest(a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b)))
}

// Products.

#[test]
fn products_of_bytes_are_exact() {
    let mut random = Random::new(1);
    for (inputs, outputs) in [(64, 64), (64, 192), (192, 128), (512, 64)] {
        // Transformed weights whose largest is 127 have steps of 1.
        let mut weight: Vec<f32> = random.floats(inputs * outputs, 42.0).iter().map(|x| x.round()).collect();
        for (nth, row) in weight.chunks_exact_mut(inputs).enumerate() {
            row[0] = 127.0;
            match nth % 4 {
                0 => row.fill(127.0),
                1 => row[1..].fill(-127.0),
                _ => {}
            }
        }
        let back: Vec<f32> = exact_hadamard(&weight).into_iter().map(|x| x as f32).collect();
        let dense = Dense::new(&back, vec![0.0; outputs]).unwrap();
        for rows in row_counts() {
            let mut a = Rows { ranges: vec![Range { step: 1.0, low: 0.0 }; rows], bytes: random.bytes(rows * inputs) };
            a.bytes.iter_mut().take(inputs).for_each(|byte| *byte = 255);
            let sum = |row: &[u8], weights: &[f32]| row.iter().zip(weights).map(|(a, b)| f32::from(*a) * b).sum::<f32>();
            let expected: Vec<f32> =
                a.bytes.chunks_exact(inputs).flat_map(|row| weight.chunks_exact(inputs).map(move |weights| sum(row, weights))).collect();
            for kernels in available() {
                assert_eq!(multiply(kernels, &a, &dense), expected, "{} {rows} × {inputs} × {outputs}", kernels.name);
            }
        }
    }
}

#[test]
fn products_agree_with_the_portable_ones() {
    let mut random = Random::new(2);
    for (inputs, outputs) in [(64, 64), (128, 320), (384, 384), (384, 1536), (1536, 384), (960, 64)] {
        let dense = dense(&mut random, inputs, outputs);
        for rows in row_counts() {
            let a = Rows::random(&mut random, rows, inputs);
            let expected = multiply(&PORTABLE, &a, &dense);
            for kernels in available() {
                let found = multiply(kernels, &a, &dense);
                for (at, (x, y)) in found.iter().zip(&expected).enumerate() {
                    let (range, output) = (a.ranges[at / outputs], at % outputs);
                    let low = (range.low * dense.sums[output]).abs();
                    let size = x.abs() + low + dense.bias[output].abs();
                    assert!((x - y).abs() <= 1e-5 * size, "{} {rows} × {inputs} × {outputs}: {x}, {y}", kernels.name);
                }
            }
        }
    }
}

#[test]
fn a_row_of_a_product_does_not_depend_on_others() {
    let mut random = Random::new(3);
    let dense = dense(&mut random, 192, 128);
    let a = Rows::random(&mut random, 17, 192);
    for kernels in available() {
        let together = multiply(kernels, &a, &dense);
        for row in 0..17 {
            let alone = Rows { bytes: a.bytes[row * 192..][..192].to_vec(), ranges: vec![a.ranges[row]] };
            assert_eq!(multiply(kernels, &alone, &dense), together[row * 128..][..128], "{} row {row}", kernels.name);
        }
    }
}

#[test]
fn products_are_within_what_quantising_costs() {
    let mut random = Random::new(4);
    for (rows, inputs, outputs) in [(5, 64, 64), (3, 384, 128), (2, 1536, 64)] {
        let (x, weight) = (random.floats(rows * inputs, 1.0), random.floats(inputs * outputs, 0.05));
        let bias = random.floats(outputs, 0.5);
        let dense = Dense::new(&weight, bias.clone()).unwrap();
        for kernels in available() {
            let a = quantise(kernels, &x, inputs);
            let found = multiply(kernels, &a, &dense);
            for (at, found) in found.iter().enumerate() {
                let (row, output) = (at / outputs, at % outputs);
                let (x, weights) = (&x[row * inputs..][..inputs], &weight[output * inputs..][..inputs]);
                let exact: f64 = x.iter().zip(weights).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                let quantised: f64 = (0..inputs).map(|at| a.value(row * inputs + at).abs()).sum();
                let weights: f64 = exact_hadamard(weights).iter().map(|w| w.abs() / GROUP as f64).sum();
                // Half a step of each weight for what stands for x, half a step of each x for the weight: of their transforms.
                let bound = 0.5 * (f64::from(dense.steps[output]) * quantised + f64::from(a.ranges[row].step) * weights);
                let error = (f64::from(*found) - exact - f64::from(bias[output])).abs();
                assert!(error <= bound * 1.001 + 1e-5, "{}: {error} > {bound}", kernels.name);
                assert!(error <= 12.0 * bound / (inputs as f64).sqrt(), "{}: errors don't cancel: {error}, {bound}", kernels.name);
            }
        }
    }
}

#[test]
fn a_layer_has_whole_panels() {
    assert!(Dense::new(&[0.0; 64 * 64], vec![0.0; 64]).is_some());
    assert!(Dense::new(&[0.0; 96 * 64], vec![0.0; 64]).is_none());
    assert!(Dense::new(&[0.0; 64 * 96], vec![0.0; 96]).is_none());
    assert!(Dense::new(&[0.0; 64 * 64 + 1], vec![0.0; 64]).is_none());
    assert!(Dense::new(&[], vec![0.0; 64]).is_none());
    assert!(Dense::new(&[], Vec::new()).is_none());
    let bytes = [0; 96 * 96 + 12 * 96];
    for (inputs, outputs) in [(96, 96), (64, 96), (96, 64), (0, 64)] {
        assert!(Dense::read(inputs, outputs, |length| bytes.get(..length)).is_none(), "{inputs} × {outputs}");
    }
    assert!(Dense::read(64, 64, |length| bytes.get(..length)).is_some());
}

#[test]
fn a_layer_is_read_as_it_was_written() {
    let dense = dense(&mut Random::new(5), 128, 192);
    let mut arrays = dense.arrays().into_iter();
    let read = Dense::read(128, 192, |length| arrays.next().filter(|array| array.len() == length));
    assert_eq!(read.unwrap(), dense);
}

// Rows to bytes.

#[test]
fn bytes_of_rows_agree() {
    let mut random = Random::new(6);
    for width in [64, 128, 192, 384, 768, 1536] {
        for rows in row_counts() {
            let scale = [1e-6, 0.1, 1.0, 30.0, 1e12][rows % 5];
            let x = random.floats(rows * width, scale);
            let (expected, exact) = (quantise(&PORTABLE, &x, width), exact_hadamard(&x));
            for kernels in available() {
                let found = quantise(kernels, &x, width);
                found.assert_near(&expected, kernels.name);
                for (at, y) in exact.iter().enumerate() {
                    let room = f64::from(found.ranges[at / width].step) * 0.5001 + rounding(&x[at / width * width..][..width]);
                    assert!((found.value(at) - y).abs() <= room, "{}: {y} is {}", kernels.name, found.value(at));
                }
            }
        }
    }
}

#[test]
fn bytes_of_extreme_rows_are_near_too() {
    let mut random = Random::new(7);
    let mut scattered = |scale: f32| random.floats(64, scale);
    let rows = [
        vec![0.0; 64],
        vec![-0.0; 64],
        vec![7.25; 64],
        vec![-1e30; 64],
        vec![1e-40; 64],
        scattered(1e30),
        scattered(1e-30),
        scattered(1e-37),
        scattered(1e-39),
        scattered(1e-44),
        (0..64).map(|at| if at == 37 { 1e20 } else { 1.0 }).collect(),
    ];
    for x in &rows {
        let expected = quantise(&PORTABLE, x, 64);
        for kernels in available() {
            let found = quantise(kernels, x, 64);
            found.assert_near(&expected, kernels.name);
            for (at, y) in exact_hadamard(x).iter().enumerate() {
                // Half a step, or all of them where a step has no reciprocal.
                let room = f64::from(found.ranges[0].step) * 0.5001 + f64::from(f32::MIN_POSITIVE) * 255.0 + rounding(x);
                assert!((found.value(at) - y).abs() <= room, "{}: {y} is {}", kernels.name, found.value(at));
            }
        }
    }
}

#[test]
fn one_large_component_does_not_spoil_the_others() {
    let mut random = Random::new(21);
    let mut x = random.floats(64, 1.0);
    x[37] = 40.0;
    let weight = random.floats(64 * 64, 0.1);
    let dense = Dense::new(&weight, vec![0.0; 64]).unwrap();
    for kernels in available() {
        let found = multiply(kernels, &quantise(kernels, &x, 64), &dense);
        let product = |weights: &[f32]| x.iter().zip(weights).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum::<f64>();
        let squares = found.iter().zip(weight.chunks_exact(64)).map(|(found, weights)| (f64::from(*found) - product(weights)).powi(2));
        // Without the transform the row's 256 steps would span 42: that alone costs 0.038.
        let error = (squares.sum::<f64>() / 64.0).sqrt();
        assert!(error < 0.034, "{}: {error}", kernels.name);
    }
}

// Between dense layers.

const ACTIVATIONS: [Activation; 3] = [Activation::Gelu, Activation::GeluTanh, Activation::Relu];

/// The activation's transform, and that in bytes.
fn activate(kernels: &Kernels, activation: Activation, x: &[f32], width: usize) -> (Vec<f32>, Rows) {
    let (mut y, mut out) = (x.to_vec(), Rows::new(x.len() / width, width));
    kernels.activate(activation, &mut y, &mut out.all_mut());
    (y, out)
}

/// The activation of each of these: the transform of 64 equal components is their sum, and nothing else.
fn activation_of(kernels: &Kernels, activation: Activation, x: &[f32]) -> Vec<f32> {
    let equal: Vec<f32> = x.iter().flat_map(|x| [*x; GROUP]).collect();
    let (y, _) = activate(kernels, activation, &equal, GROUP);
    y.chunks_exact(GROUP).map(|group| group[0] / GROUP as f32).collect()
}

#[test]
fn activations_agree() {
    let mut random = Random::new(8);
    for width in [64, 256, 1536] {
        for rows in row_counts() {
            let x = random.floats(rows * width, [0.02, 1.0, 3.0, 40.0][rows % 4]);
            for activation in ACTIVATIONS {
                let (expected, expected_bytes) = activate(&PORTABLE, activation, &x, width);
                for kernels in available() {
                    let (y, bytes) = activate(kernels, activation, &x, width);
                    let context = format!("{} {activation:?} {rows} × {width}", kernels.name);
                    let largest = largest(expected.iter().map(|y| f64::from(*y)));
                    // The polynomial of GELU has large terms that cancel each other.
                    assert!(distance(&y, &expected) <= 64.0 * 4e-5 + 1e-5 * largest, "{context}: {}", distance(&y, &expected));
                    bytes.assert_near(&expected_bytes, &context);
                }
            }
        }
    }
}

/// From -12 to 12 in steps of 1/2048.
fn grid() -> Vec<f32> {
    (-12 * 2048..12 * 2048 + 64).map(|at| at as f32 / 2048.0).collect()
}

/// Φ, by a series whose terms are all positive: erf z = 2/√π · e⁻ᶻ² · Σ 2ⁿ z²ⁿ⁺¹ / (2n+1)!!
fn normal_share(x: f64) -> f64 {
    let z = x.abs() / std::f64::consts::SQRT_2;
    let (mut term, mut sum) = (z, z);
    for n in 1..400 {
        term *= 2.0 * z * z / f64::from(2 * n + 1);
        sum += term;
    }
    let erf = sum * (-z * z).exp() * std::f64::consts::FRAC_2_SQRT_PI;
    if x < 0.0 { (1.0 - erf) / 2.0 } else { f64::midpoint(1.0, erf) }
}

fn gelu_tanh(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x)).tanh())
}

/// Largest error of an activation on `x`.
fn error(kernels: &Kernels, activation: Activation, x: &[f32], exact: impl Fn(f64) -> f64) -> f64 {
    let y = activation_of(kernels, activation, x);
    largest(x.iter().zip(&y).map(|(x, y)| f64::from(*y) - exact(f64::from(*x))))
}

#[test]
fn activations_are_what_they_say() {
    assert!((normal_share(1.0) - 0.841_344_746_068_543).abs() < 1e-14 && (normal_share(-2.0) - 0.022_750_131_948_179).abs() < 1e-14);
    let x = grid();
    for kernels in available() {
        let found = error(kernels, Activation::Gelu, &x, |x| x * normal_share(x));
        assert!(found < 5e-5, "{} gelu: {found}", kernels.name);
        let found = error(kernels, Activation::GeluTanh, &x, gelu_tanh);
        assert!(found < 2e-5, "{} tanh: {found}", kernels.name);
        assert_eq!(error(kernels, Activation::Relu, &x, |x| x.max(0.0)), 0.0, "{} relu", kernels.name);
    }
}

#[test]
fn activations_of_extreme_numbers() {
    let far: Vec<f32> = (0..64).map(|at| 10_f32.powi(at / 2 - 10) * if at % 2 == 0 { 1.0 } else { -1.0 }).collect();
    for kernels in available() {
        for activation in ACTIVATIONS {
            let y = activation_of(kernels, activation, &far);
            let (_, bytes) = activate(kernels, activation, &far, 64);
            for (x, y) in far.iter().zip(&y).filter(|(x, _)| x.abs() >= 12.0) {
                assert!((y - x.max(0.0)).abs() <= 1e-5 * x.abs(), "{} {activation:?}: {x}, {y}", kernels.name);
            }
            for (x, y) in far.iter().zip(&y).filter(|(x, _)| x.abs() <= 1e-4) {
                let half = if activation == Activation::Relu { x.max(0.0) } else { x / 2.0 };
                assert!((y - half).abs() <= 1e-4 * x.abs(), "{} {activation:?}: {x}, {y}", kernels.name);
            }
            assert!(bytes.ranges[0].step.is_finite(), "{} {activation:?}", kernels.name);
        }
    }
}

// Residual and norm.

fn random_norm(random: &mut Random, width: usize) -> Norm {
    let gain = random.floats(width, 0.3).iter().map(|x| x + 1.0).collect();
    Norm { gain, shift: random.floats(width, 0.2), epsilon: 1e-12 }
}

fn add_norm(kernels: &Kernels, added: &[f32], norm: &Norm, states: &[f32]) -> (Vec<f32>, Rows) {
    let width = norm.gain.len();
    let (mut states, mut out) = (states.to_vec(), Rows::new(states.len() / width, width));
    kernels.add_norm(&mut added.to_vec(), norm, &mut states, &mut out.all_mut());
    (states, out)
}

fn exact_norm(added: &[f32], norm: &Norm, state: &[f32]) -> Vec<f64> {
    let sums: Vec<f64> = added.iter().zip(state).map(|(a, b)| f64::from(a + b)).collect();
    let mean = sums.iter().sum::<f64>() / sums.len() as f64;
    let variance = sums.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / sums.len() as f64;
    let unit = |x: f64| (x - mean) / (variance + f64::from(norm.epsilon)).sqrt();
    sums.iter().enumerate().map(|(at, x)| unit(*x) * f64::from(norm.gain[at]) + f64::from(norm.shift[at])).collect()
}

#[test]
fn norms_agree_and_are_norms() {
    let mut random = Random::new(9);
    for width in [64, 192, 384, 1024, 1536] {
        let norm = random_norm(&mut random, width);
        for rows in row_counts() {
            let scale = [1e-3, 1.0, 50.0, 1e15][rows % 4];
            let (added, states) = (random.floats(rows * width, scale), random.floats(rows * width, scale));
            let (expected, expected_bytes) = add_norm(&PORTABLE, &added, &norm, &states);
            for (row, found) in expected.chunks_exact(width).enumerate() {
                let exact = exact_norm(&added[row * width..][..width], &norm, &states[row * width..][..width]);
                let error = largest(found.iter().zip(&exact).map(|(x, y)| f64::from(*x) - y));
                assert!(error < 1e-5, "{rows} × {width}: {error}");
            }
            for kernels in available() {
                let (found, bytes) = add_norm(kernels, &added, &norm, &states);
                let context = format!("{} {rows} × {width}", kernels.name);
                assert!(distance(&found, &expected) < 1e-5, "{context}: {}", distance(&found, &expected));
                bytes.assert_near(&expected_bytes, &context);
            }
        }
    }
}

#[test]
fn the_norm_of_equal_components_is_the_shift() {
    let norm = random_norm(&mut Random::new(10), 128);
    for kernels in available() {
        for (added, state) in [(0.0, 0.0), (1.5, 2.5), (-8.0, 0.0)] {
            let (found, _) = add_norm(kernels, &[added; 128], &norm, &[state; 128]);
            assert!(distance(&found, &norm.shift) < 1e-6, "{}", kernels.name);
        }
    }
}

// Attention.

/// A text as attention reads it, in parts.
struct Text {
    hidden: usize,
    head: usize,
    /// For each token query, key and value.
    joined: Vec<f32>,
    queries: Vec<i16>,
    query_steps: Vec<f32>,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
struct Part {
    tokens: usize,
    keys: Vec<i16>,
    values: Vec<i16>,
    key_steps: Vec<f32>,
    value_steps: Vec<f32>,
}

impl Part {
    /// What an earlier text may have left in memory.
    fn used(tokens: usize, hidden: usize) -> Self {
        let (mut random, padded) = (Random::new(tokens as u64), tokens.next_multiple_of(PANEL));
        Self {
            tokens,
            keys: random.shorts(padded * hidden, 4095),
            values: random.shorts(padded * hidden, 2047),
            key_steps: random.floats(padded, 10.0),
            value_steps: random.floats(padded, 10.0),
        }
    }

    fn all(&self) -> KeyValues<'_> {
        let Self { tokens, keys, values, key_steps, value_steps } = self;
        KeyValues { tokens: *tokens, padded: key_steps.len(), keys, values, key_steps, value_steps }
    }

    fn all_mut(&mut self, head: usize) -> KeyValuesMut<'_> {
        let Self { keys, values, key_steps, value_steps, .. } = self;
        KeyValuesMut { padded: key_steps.len(), head, keys, values, key_steps, value_steps }
    }
}

impl Text {
    /// Splits rows of query, key and value into parts of these lengths; each part in two goes, as a text that
    /// ends in the next block.
    fn split(kernels: &Kernels, joined: &[f32], hidden: usize, head: usize, lengths: &[usize]) -> Self {
        let tokens = joined.len() / (3 * hidden);
        assert_eq!(lengths.iter().sum::<usize>(), tokens);
        let (mut queries, mut query_steps) = (vec![0; tokens * hidden], vec![0.0; tokens]);
        let mut parts = Vec::new();
        let mut start = 0;
        for length in lengths {
            let mut part = Part::used(*length, hidden);
            for (first, end) in [(0, length / 3), (length / 3, *length)] {
                let (from, to) = (start + first, start + end);
                let queries = &mut queries[from * hidden..to * hidden];
                let joined = &joined[from * 3 * hidden..to * 3 * hidden];
                kernels.split_heads(joined, queries, &mut query_steps[from..to], &mut part.all_mut(head), first, &mut vec![0; hidden]);
            }
            parts.push(part);
            start += length;
        }
        Self { hidden, head, joined: joined.to_vec(), queries, query_steps, parts }
    }

    fn random(random: &mut Random, hidden: usize, head: usize, tokens: usize, scale: f32) -> Self {
        let joined = random.floats(tokens * 3 * hidden, scale);
        Self::split(&PORTABLE, &joined, hidden, head, &[tokens])
    }

    /// The same by other instructions or in other parts.
    fn again(&self, kernels: &Kernels, lengths: &[usize]) -> Self {
        Self::split(kernels, &self.joined, self.hidden, self.head, lengths)
    }

    fn tokens(&self) -> usize {
        self.query_steps.len()
    }

    /// What the tokens from `first` to `end` see.
    fn attend(&self, kernels: &Kernels, first: usize, end: usize) -> Vec<f32> {
        let hidden = self.hidden;
        let parts: Vec<KeyValues> = self.parts.iter().map(Part::all).collect();
        let width = parts.iter().map(|part| part.padded).sum();
        let mut out = vec![f32::NAN; (end - first) * hidden];
        let mut attention = Attention {
            hidden,
            head: self.head,
            queries: &self.queries[first * hidden..end * hidden],
            query_steps: &self.query_steps[first..end],
            shares: &mut vec![f32::NAN; width],
            scores: &mut vec![f32::NAN; ROWS_MAX * width],
            weights: &mut vec![-1; ROWS_MAX * width],
            out: &mut out,
        };
        kernels.attend(&mut attention, &parts);
        out
    }

    /// Component `at` of query (0), key (1) or value (2).
    fn component(&self, token: usize, which: usize, at: usize) -> f64 {
        f64::from(self.joined[(3 * token + which) * self.hidden + at])
    }

    fn exact_row(&self, row: usize) -> Vec<f64> {
        let mut out = vec![0.0; self.hidden];
        for start in (0..self.hidden).step_by(self.head) {
            let product = |key| (start..start + self.head).map(|at| self.component(row, 0, at) * self.component(key, 1, at)).sum::<f64>();
            let scores: Vec<f64> = (0..self.tokens()).map(|key| product(key) / (self.head as f64).sqrt()).collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for (at, out) in out.iter_mut().enumerate().skip(start).take(self.head) {
                *out = weights.iter().enumerate().map(|(key, weight)| weight / sum * self.component(key, 2, at)).sum();
            }
        }
        out
    }

    /// Largest error of some rows.
    fn error(&self, kernels: &Kernels, rows: impl IntoIterator<Item = usize>) -> f64 {
        let difference = |row: usize| {
            let found = self.attend(kernels, row, row + 1);
            largest(found.iter().zip(self.exact_row(row)).map(|(found, exact)| f64::from(*found) - exact))
        };
        largest(rows.into_iter().map(difference))
    }

    fn largest_value(&self) -> f64 {
        largest((0..self.tokens()).flat_map(|token| (0..self.hidden).map(move |at| self.component(token, 2, at))))
    }
}

/// Sizes of states and of heads.
const HEADS: [(usize, usize); 6] = [(64, 32), (64, 64), (192, 96), (128, 128), (384, 32), (768, 64)];

/// About even parts.
fn even_parts(tokens: usize, count: usize) -> Vec<usize> {
    (0..count).map(|nth| (nth + 1) * tokens / count - nth * tokens / count).filter(|length| *length > 0).collect()
}

#[test]
fn queries_keys_and_values_are_the_same_integers() {
    let mut random = Random::new(11);
    for (hidden, head) in HEADS {
        for tokens in [1, 2, 3, 5, 16, 63, 64, 65, 131] {
            let text = Text::random(&mut random, hidden, head, tokens, [1e-3, 1.0, 100.0][tokens % 3]);
            for kernels in available() {
                let again = text.again(kernels, &[tokens]);
                let context = format!("{} {tokens} × {hidden} / {head}", kernels.name);
                assert!(again.queries == text.queries && again.query_steps == text.query_steps, "{context}");
                assert!(again.parts == text.parts, "{context}");
            }
        }
    }
}

#[test]
fn attention_agrees() {
    let mut random = Random::new(12);
    for (hidden, head) in HEADS {
        for tokens in (1..=20).chain([33, 63, 64, 65, 127, 128, 129, 200]) {
            let text = Text::random(&mut random, hidden, head, tokens, [0.3, 1.0, 2.0][tokens % 3]);
            let rows = tokens.min(20);
            let expected = text.attend(&PORTABLE, 0, rows);
            for kernels in available() {
                let distance = distance(&text.attend(kernels, 0, rows), &expected);
                let most = text.largest_value();
                assert!(distance <= 1e-4 * most, "{} {tokens} × {hidden} / {head}: {distance} of {most}", kernels.name);
            }
        }
    }
}

#[test]
fn attention_does_not_depend_on_parts_or_other_rows() {
    let mut random = Random::new(13);
    for (hidden, head) in [(64, 32), (192, 96), (128, 128)] {
        for tokens in [1, 2, 7, 48, 65, 150, 200] {
            let text = Text::random(&mut random, hidden, head, tokens, 1.0);
            for kernels in available() {
                let context = format!("{} {tokens} × {hidden} / {head}", kernels.name);
                let whole = text.attend(kernels, 0, tokens);
                for count in [2, 3, 5] {
                    assert!(text.again(kernels, &even_parts(tokens, count)).attend(kernels, 0, tokens) == whole, "{context} in {count}");
                }
                for row in [0, tokens / 2, tokens - 1] {
                    assert!(text.attend(kernels, row, row + 1) == whole[row * hidden..][..hidden], "{context} row {row}");
                }
            }
        }
    }
}

#[test]
fn attention_is_softmax() {
    let mut random = Random::new(14);
    for (hidden, head) in HEADS {
        for tokens in [1, 2, 17, 64, 100, 200] {
            let text = Text::random(&mut random, hidden, head, tokens, 1.0);
            for kernels in available() {
                let error = text.error(kernels, [0, tokens / 2, tokens - 1]);
                assert!(error < 2e-3, "{} {tokens} × {hidden} / {head}: {error}", kernels.name);
            }
        }
    }
}

#[test]
fn attention_over_two_thousand_tokens() {
    let mut random = Random::new(15);
    let text = Text::random(&mut random, 64, 32, 2000, 1.0);
    for kernels in available() {
        let error = text.error(kernels, [0, 999, 1999]);
        assert!(error < 1e-3, "{}: {error}", kernels.name);
        let parts = text.again(kernels, &[667, 666, 667]);
        assert!(parts.attend(kernels, 0, 30) == text.attend(kernels, 0, 30), "{}", kernels.name);
    }
}

#[test]
fn attention_of_extreme_texts() {
    let mut random = Random::new(16);
    let (hidden, tokens) = (64, 70);
    let mut text = |queries: f32, keys: f32, values: f32| {
        let mut joined = random.floats(tokens * 3 * hidden, 1.0);
        let scales = [queries, keys, values];
        joined.chunks_exact_mut(hidden).enumerate().for_each(|(nth, row)| row.iter_mut().for_each(|x| *x *= scales[nth % 3]));
        Text::split(&PORTABLE, &joined, hidden, 32, &[tokens])
    };
    // Name, text, largest error as a share of the largest value.
    let cases = [
        ("no question", text(0.0, 1.0, 1.0), 1e-3),
        ("no keys", text(1.0, 0.0, 1.0), 1e-3),
        ("no values", text(1.0, 1.0, 0.0), 0.0),
        ("tiny", text(1e-15, 1e-15, 1e-30), 1e-3),
        ("denormal", text(1e-40, 1e-40, 1.0), 1e-3),
        ("huge", text(1e-15, 1e15, 1e30), 1e-3),
        // Scores of some hundred.
        ("far apart", text(15.0, 15.0, 1.0), 2e-3),
    ];
    for (name, text, share) in &cases {
        for kernels in available() {
            let error = text.error(kernels, [0, 35, 69]);
            assert!(error <= share * text.largest_value(), "{} {name}: {error} of {}", kernels.name, text.largest_value());
            assert!(text.again(kernels, &[tokens]).parts == text.parts, "{} {name}", kernels.name);
        }
    }
}

#[test]
fn scores_that_are_far_apart_leave_one_value() {
    let (hidden, tokens) = (64, 130);
    let mut joined = Random::new(17).floats(tokens * 3 * hidden, 1.0);
    for token in 0..tokens {
        joined[3 * token * hidden..][..hidden].fill(6.0);
        // √32 · 6 · 6 is over 200.
        joined[(3 * token + 1) * hidden..][..hidden].fill(if token == 77 { 6.0 } else { -6.0 });
    }
    let text = Text::split(&PORTABLE, &joined, hidden, 32, &[tokens]);
    for kernels in available() {
        let found = text.attend(kernels, 0, 1);
        let error = distance(&found, &joined[(3 * 77 + 2) * hidden..][..hidden]);
        assert!(error < 1e-3 * text.largest_value(), "{}: {error}", kernels.name);
    }
}

#[test]
fn small_values_beside_large_ones_are_kept_to_the_largest() {
    let mut random = Random::new(18);
    let (hidden, tokens) = (64, 40);
    let mut joined = random.floats(tokens * 3 * hidden, 1.0);
    joined[2 * hidden..3 * hidden].iter_mut().for_each(|x| *x *= 1e6);
    let text = Text::split(&PORTABLE, &joined, hidden, 64, &[tokens]);
    for kernels in available() {
        let error = text.error(kernels, [0, 39]);
        assert!(error < 1e-3 * text.largest_value(), "{}: {error}", kernels.name);
    }
}

// Doors.

/// That each of these calls panics before it touches memory.
fn assert_refused(calls: &mut [(&str, &mut dyn FnMut())]) {
    for (name, call) in calls {
        assert!(catch_unwind(AssertUnwindSafe(call)).is_err(), "{name} was not refused");
    }
}

#[test]
fn rows_of_other_sizes_are_refused() {
    let dense = dense(&mut Random::new(19), 64, 128);
    let norm = |width| Norm { gain: vec![1.0; width], shift: vec![0.0; width], epsilon: 1e-12 };
    for kernels in available() {
        let product = |bytes, rows, out| {
            let a = Rows { bytes: vec![0; bytes], ranges: vec![Range::default(); rows] };
            kernels.multiply(&a.all(), &dense, &mut vec![0.0; out]);
        };
        product(128, 2, 256);
        let bytes = |floats, bytes, rows| {
            let mut out = Rows { bytes: vec![0; bytes], ranges: vec![Range::default(); rows] };
            kernels.quantise(&mut vec![0.0; floats], &mut out.all_mut());
        };
        bytes(128, 128, 2);
        bytes(0, 0, 0);
        let activated = |floats, rows| kernels.activate(Activation::Gelu, &mut vec![0.0; floats], &mut Rows::new(rows, 64).all_mut());
        activated(128, 2);
        let normed = |added, width, states| {
            kernels.add_norm(&mut vec![0.0; added], &norm(width), &mut vec![0.0; states], &mut Rows::new(2, 64).all_mut())
        };
        normed(128, 64, 128);
        assert_refused(&mut [
            ("a product with too few bytes", &mut || product(127, 2, 256)),
            ("a product with too many bytes", &mut || product(192, 2, 256)),
            ("a product with too little room", &mut || product(128, 2, 255)),
            ("a product of no rows with room", &mut || product(0, 0, 128)),
            ("rows that are not whole panels", &mut || bytes(96, 96, 1)),
            ("rows of more floats than bytes", &mut || bytes(192, 128, 2)),
            ("rows of fewer floats than bytes", &mut || bytes(64, 128, 2)),
            ("rows without components", &mut || bytes(0, 0, 2)),
            ("bytes without rows", &mut || bytes(64, 64, 0)),
            ("an activation of more floats than bytes", &mut || activated(192, 2)),
            ("a norm with fewer rows", &mut || normed(64, 64, 128)),
            ("a norm of another width", &mut || normed(128, 128, 128)),
            ("a norm of more states", &mut || normed(192, 64, 192)),
        ]);
    }
}

#[test]
fn heads_of_other_sizes_are_refused() {
    for kernels in available() {
        let split = |rows: usize, hidden: usize, head, first, padded: usize, short: usize| {
            let mut part = Part::used(padded, hidden);
            part.keys.truncate(part.keys.len() - short);
            let (mut queries, mut steps) = (vec![0; rows * hidden], vec![0.0; rows]);
            kernels.split_heads(
                &vec![0.0; rows * 3 * hidden],
                &mut queries,
                &mut steps,
                &mut part.all_mut(head),
                first,
                &mut vec![0; hidden],
            );
        };
        split(3, 64, 32, 61, 64, 0);
        assert_refused(&mut [
            ("a head of 16", &mut || split(1, 64, 16, 0, 64, 0)),
            ("a head of 48", &mut || split(1, 192, 48, 0, 64, 0)),
            ("a head of 256", &mut || split(1, 256, 256, 0, 64, 0)),
            ("heads that don't divide a state", &mut || split(1, 128, 96, 0, 64, 0)),
            ("a state that is not whole panels", &mut || split(1, 96, 32, 0, 64, 0)),
            ("more tokens than there is room for", &mut || split(3, 64, 32, 62, 64, 0)),
            ("too little room for keys", &mut || split(1, 64, 32, 0, 64, 1)),
        ]);
    }
}

#[test]
fn attention_of_other_sizes_is_refused() {
    let text = Text::random(&mut Random::new(20), 64, 32, 70, 1.0);
    for kernels in available() {
        let attend = |head, queries: usize, width: usize, scores: usize, change: &dyn Fn(&mut Part)| {
            let mut part = text.parts[0].clone();
            change(&mut part);
            let mut attention = Attention {
                hidden: 64,
                head,
                queries: &text.queries[..queries],
                query_steps: &text.query_steps[..2],
                shares: &mut vec![0.0; width],
                scores: &mut vec![0.0; scores],
                weights: &mut vec![0; scores],
                out: &mut [0.0; 128],
            };
            kernels.attend(&mut attention, &[part.all()]);
        };
        attend(32, 128, 128, 768, &|_| {});
        assert_refused(&mut [
            ("a head of 16", &mut || attend(16, 128, 128, 768, &|_| {})),
            ("a query too few", &mut || attend(32, 64, 128, 768, &|_| {})),
            ("too little room for shares", &mut || attend(32, 128, 64, 768, &|_| {})),
            ("too little room for scores", &mut || attend(32, 128, 128, 767, &|_| {})),
            ("more tokens than places", &mut || attend(32, 128, 128, 768, &|part| part.tokens = 129)),
            ("no tokens", &mut || attend(32, 128, 128, 768, &|part| part.tokens = 0)),
            ("keys that end early", &mut || attend(32, 128, 128, 768, &|part| part.keys.truncate(128 * 64 - 1))),
            ("values that end early", &mut || attend(32, 128, 128, 768, &|part| part.values.truncate(128 * 64 - 1))),
            ("steps that end early", &mut || attend(32, 128, 128, 768, &|part| part.value_steps.truncate(127))),
        ]);
    }
}

#[test]
fn encoders_that_these_can_do() {
    let takes = |hidden, heads, intermediate| {
        super::takes(&Shape {
            hidden,
            layers: 1,
            heads,
            intermediate,
            positions: 512,
            first_position: 0,
            epsilon: 1e-12,
            activation: Activation::Gelu,
        })
    };
    assert!(takes(384, 12, 1536) && takes(768, 12, 3072) && takes(1024, 16, 4096) && takes(384, 4, 1536) && takes(128, 1, 512));
    assert!(!takes(312, 12, 1200) && !takes(128, 8, 512) && !takes(256, 1, 512) && !takes(384, 12, 1500) && !takes(384, 0, 1536));
}

#[test]
fn paths_have_names() {
    for kernels in available() {
        assert_eq!(named(kernels.name).map(|found| found.name), Some(kernels.name));
    }
    assert_eq!(available().last().unwrap().name, "portable");
    assert_eq!(best().name, available()[0].name);
    assert!(named("abacus").is_none());
}
