//! A small model with random weights: against the encoder in floats, divided in every way, kept in a file, and
//! after a panic.

use super::*;
use crate::float::Bert;
use crate::kernel;
use crate::random::Random;
use crate::shape::Activation;
use candle_core::{Device, Tensor};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

const VOCABULARY: usize = 200;
const POSITIONS: usize = 160;

impl Random {
    fn tensor(&mut self, sizes: &[usize], middle: f32, deviation: f32) -> Tensor {
        let numbers: Vec<f32> = (0..sizes.iter().product()).map(|_| middle + self.normal(deviation)).collect();
        Tensor::from_vec(numbers, sizes, &Device::Cpu).unwrap()
    }

    /// A text or a pair.
    fn text(&mut self, tokens: usize) -> Tokens {
        let ids = (0..tokens).map(|_| (self.next() % VOCABULARY as u64) as u32).collect();
        Tokens { ids, second: self.next() as usize % (tokens + 1), whole: tokens }
    }

    fn texts(&mut self, lengths: &[usize]) -> Vec<Tokens> {
        lengths.iter().map(|tokens| self.text(*tokens)).collect()
    }
}

fn shape() -> Shape {
    Shape {
        hidden: 64,
        layers: 3,
        heads: 2,
        intermediate: 256,
        positions: POSITIONS,
        first_position: 0,
        epsilon: 1e-12,
        activation: Activation::Gelu,
    }
}

/// All tensors of an encoder of this shape.
fn tensors(random: &mut Random, shape: &Shape) -> HashMap<String, Tensor> {
    let (hidden, wide) = (shape.hidden, shape.intermediate);
    let mut tensors = HashMap::new();
    let mut add = |name: String, sizes: &[usize], middle, deviation| tensors.insert(name, random.tensor(sizes, middle, deviation));
    for (name, rows) in [("word", VOCABULARY), ("position", shape.positions), ("token_type", 2)] {
        add(format!("embeddings.{name}_embeddings.weight"), &[rows, hidden], 0.0, 0.05);
    }
    let layers = 0..shape.layers;
    for name in layers.clone().flat_map(crate::weights::norm_names).chain(["embeddings.LayerNorm".to_owned()]) {
        add(format!("{name}.weight"), &[hidden], 1.0, 0.1);
        add(format!("{name}.bias"), &[hidden], 0.0, 0.1);
    }
    for [joined, out, up, down] in layers.map(crate::weights::dense_names) {
        let square = joined.into_iter().chain(out).map(|name| (name, hidden, hidden));
        let dense = square.chain(up.into_iter().map(|name| (name, wide, hidden))).chain(down.into_iter().map(|name| (name, hidden, wide)));
        for (name, outputs, inputs) in dense {
            add(format!("{name}.weight"), &[outputs, inputs], 0.0, 1.0 / (inputs as f32).sqrt());
            add(format!("{name}.bias"), &[outputs], 0.0, 0.1);
        }
    }
    tensors
}

/// Where nothing is and nothing can be written.
fn nowhere() -> PathBuf {
    PathBuf::from("/nonexistent/folder/packed")
}

fn open(shape: &Shape, pooling: Pooling, kernels: &'static Kernels, tensors: &HashMap<String, Tensor>) -> Int8Bert {
    Int8Bert::open(shape.clone(), pooling, &nowhere(), "1", kernels, || Ok(Weights::new(tensors.clone()))).unwrap()
}

/// The small model with its default shape, by the fastest instructions.
fn model(seed: u64) -> Int8Bert {
    open(&shape(), Pooling::Mean, kernel::best(), &tensors(&mut Random::new(seed), &shape()))
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

fn borrowed(texts: &[Tokens]) -> Vec<&Tokens> {
    texts.iter().collect()
}

fn encode(model: &Int8Bert, texts: &[Tokens], threads: usize) -> Vec<Vec<f32>> {
    pool(threads).install(|| model.encode(&borrowed(texts), threads)).unwrap()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    product(a, b) / (product(a, a) * product(b, b)).sqrt()
}

/// Least and mean cosine of the two encoders.
fn compare(shape: &Shape, pooling: Pooling, kernels: &'static Kernels, random: &mut Random) -> (f64, f64) {
    let tensors = tensors(random, shape);
    let texts = random.texts(&[1, 2, 3, 7, 8, 20, 31, 64, 65, 100, 127, 128, 150]);
    let expected = Bert::new(shape, &Weights::new(tensors.clone()), pooling).unwrap().encode(&borrowed(&texts)).unwrap();
    let found = encode(&open(shape, pooling, kernels, &tensors), &texts, 2);
    let cosines: Vec<f64> = expected.iter().zip(&found).map(|(a, b)| cosine(a, b)).collect();
    (cosines.iter().copied().fold(1.0, f64::min), cosines.iter().sum::<f64>() / cosines.len() as f64)
}

#[test]
fn vectors_are_near_those_of_floats() {
    let mut random = Random::new(1);
    let shapes = [
        shape(),
        Shape { activation: Activation::GeluTanh, ..shape() },
        Shape { activation: Activation::Relu, ..shape() },
        Shape { first_position: 2, positions: POSITIONS + 2, epsilon: 1e-5, ..shape() },
        Shape { hidden: 128, heads: 4, layers: 2, ..shape() },
        Shape { hidden: 192, heads: 2, layers: 2, ..shape() },
        Shape { hidden: 128, heads: 1, layers: 2, ..shape() },
    ];
    for shape in &shapes {
        for pooling in [Pooling::Mean, Pooling::Cls] {
            for kernels in kernel::available() {
                let (least, mean) = compare(shape, pooling, kernels, &mut random);
                assert!(least >= 0.99 && mean >= 0.995, "{} {pooling:?} {shape:?}: {least}, {mean}", kernels.name);
            }
        }
    }
}

#[test]
fn a_vector_is_the_same_to_the_bit_in_every_company() {
    let mut random = Random::new(2);
    let tensors = tensors(&mut random, &shape());
    let lengths = [1, 2, 5, 8, 9, 47, 48, 49, 63, 64, 65, 96, 130, 150];
    let texts = random.texts(&lengths);
    for (pooling, kernels) in kernel::available().into_iter().flat_map(|kernels| [(Pooling::Mean, kernels), (Pooling::Cls, kernels)]) {
        let model = open(&shape(), pooling, kernels, &tensors);
        let alone: Vec<Vec<f32>> = texts.iter().map(|text| encode(&model, std::slice::from_ref(text), 1).swap_remove(0)).collect();
        for threads in [1, 2, 3] {
            let context = format!("{} {pooling:?} by {threads} threads", kernels.name);
            let mut was_shared = [false; 2];
            for (first, count) in [(0, 14), (0, 1), (0, 3), (3, 2), (5, 3), (7, 4), (12, 1), (12, 2), (13, 1)] {
                let texts = &texts[first..first + count];
                was_shared[usize::from(Plan::new(&borrowed(texts), threads).is_shared)] = true;
                assert!(encode(&model, texts, threads) == alone[first..first + count], "{context}: {count} from {first}");
            }
            let mut backwards = texts.clone();
            backwards.reverse();
            assert!(encode(&model, &backwards, threads).iter().eq(alone.iter().rev()), "{context}, backwards");
            assert_eq!(was_shared, [true, threads > 1], "{context}");
        }
    }
}

#[test]
fn a_text_that_is_repeated_is_divided_among_threads_whole() {
    let text = Random::new(3).text(40);
    let model = model(3);
    let texts = vec![text; 6];
    let plan = borrowed(&texts);
    assert!(!Plan::new(&plan, 2).is_shared && !Plan::new(&plan, 3).is_shared);
    for threads in [1, 2, 3] {
        let found = encode(&model, &texts, threads);
        assert!(found.iter().all(|vector| *vector == found[0]) && found[0].iter().all(|x| x.is_finite()), "{threads}");
    }
}

#[test]
fn no_texts_have_no_vectors() {
    for threads in [1, 2] {
        assert!(encode(&model(4), &[], threads).is_empty());
    }
}

#[test]
fn workspaces_are_kept_for_the_next_pass_of_so_many_threads() {
    let (model, texts) = (model(5), Random::new(5).texts(&[60]));
    for threads in [1, 3, 2, 3, 1, 2] {
        encode(&model, &texts, threads);
    }
    let mut kept: Vec<usize> = model.lock().iter().map(|workspace| workspace.desks.len()).collect();
    kept.sort_unstable();
    assert_eq!(kept, [1, 2, 3]);
}

// What doesn't fit.

fn open_error(shape: &Shape, tensors: HashMap<String, Tensor>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let weights = || Ok(Weights::new(tensors));
    let opened = Int8Bert::open(shape.clone(), Pooling::Mean, &folder.path().join("packed"), "1", kernel::best(), weights);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is kept");
    opened.err().unwrap()
}

#[test]
fn sizes_that_the_arithmetic_does_not_have_are_refused() {
    for shape in [
        Shape { heads: 4, ..shape() },
        Shape { hidden: 96, heads: 3, ..shape() },
        Shape { intermediate: 200, ..shape() },
        Shape { hidden: 256, heads: 1, ..shape() },
    ] {
        let error = open_error(&shape, tensors(&mut Random::new(6), &shape));
        assert!(error.contains("multiples of"), "{error}");
    }
}

#[test]
fn tensors_that_contradict_the_shape_are_named() {
    let tensors = || tensors(&mut Random::new(7), &shape());
    let wide = "encoder.layer.1.intermediate.dense";
    let mut missing = tensors();
    missing.remove(&format!("{wide}.bias"));
    assert!(open_error(&shape(), missing).contains(wide));

    let contradictions = [
        (Shape { intermediate: 128, ..shape() }, "encoder.layer.0.intermediate.dense"),
        (Shape { hidden: 128, heads: 4, ..shape() }, "embeddings."),
        (Shape { positions: POSITIONS + 1, ..shape() }, "embeddings.position_embeddings"),
        (Shape { layers: 4, ..shape() }, "encoder.layer.3."),
    ];
    for (shape, name) in contradictions {
        let error = open_error(&shape, tensors());
        assert!(error.contains(name), "{error}");
    }
}

// The packed file.

/// A folder with the file, and what it is made of.
struct Packed {
    folder: tempfile::TempDir,
    tensors: HashMap<String, Tensor>,
}

impl Packed {
    fn new() -> Self {
        let packed = Self { folder: tempfile::tempdir().unwrap(), tensors: tensors(&mut Random::new(8), &shape()) };
        assert!(packed.open(&shape(), "1").1, "there was no file");
        packed
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("model.packed")
    }

    /// The model, and whether it had to read the weights.
    fn open(&self, shape: &Shape, revision: &str) -> (Int8Bert, bool) {
        let mut is_made = false;
        let weights = || {
            is_made = true;
            Ok(Weights::new(self.tensors.clone()))
        };
        let model = Int8Bert::open(shape.clone(), Pooling::Mean, &self.path(), revision, kernel::best(), weights).unwrap();
        assert_eq!(std::fs::read_dir(self.folder.path()).unwrap().count(), 1, "files beside the packed one");
        (model, is_made)
    }
}

#[test]
fn the_packed_file_is_read_as_it_was_written() {
    let packed = Packed::new();
    let made = Parameters::quantise(&shape(), &Weights::new(packed.tensors.clone())).unwrap();
    let (model, is_made) = packed.open(&shape(), "1");
    assert!(!is_made && model.parameters == made);
}

#[test]
fn a_damaged_file_is_made_again() {
    let packed = Packed::new();
    let whole = std::fs::read(packed.path()).unwrap();
    let (expected, _) = packed.open(&shape(), "1");
    let cut = [0, 1, 63, 64, 65, 4096, whole.len() / 2, whole.len() - 64, whole.len() - 1].map(|length| whole[..length].to_vec());
    let longer = [whole.clone(), vec![0; 64]].concat();
    // Magic, version, checksum, source, length, words; numbers of the first, of a middle and of the last array.
    let flipped = [0, 7, 8, 12, 16, 47, 48, 55, 56, 57, 64, 1000, whole.len() / 2, whole.len() - 1].map(|place| {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (place % 8);
        bytes
    });
    for (nth, damaged) in cut.into_iter().chain([longer]).chain(flipped).enumerate() {
        std::fs::write(packed.path(), damaged).unwrap();
        let (model, is_made) = packed.open(&shape(), "1");
        assert!(is_made && model.parameters == expected.parameters, "damage {nth}");
        assert!(std::fs::read(packed.path()).unwrap() == whole, "damage {nth} was left");
    }
}

#[test]
fn the_file_of_another_model_is_made_again() {
    let packed = Packed::new();
    for revision in ["2", "1", ""] {
        assert!(packed.open(&shape(), revision).1, "{revision:?}");
        assert!(!packed.open(&shape(), revision).1, "{revision:?}");
    }
    for other in [
        Shape { layers: 2, ..shape() },
        Shape { epsilon: 1e-5, ..shape() },
        Shape { activation: Activation::Relu, ..shape() },
        Shape { first_position: 2, ..shape() },
    ] {
        let (model, is_made) = packed.open(&other, "");
        assert!(is_made && model.parameters.layers.len() == other.layers, "{other:?}");
    }
}

#[test]
fn a_file_that_cannot_be_kept_is_not_needed() {
    let packed = Packed::new();
    let texts = Random::new(9).texts(&[12, 30]);
    let expected = encode(&packed.open(&shape(), "1").0, &texts, 1);
    let homeless = open(&shape(), Pooling::Mean, kernel::best(), &packed.tensors);
    assert!(!nowhere().exists());
    assert_eq!(encode(&homeless, &texts, 1), expected);
    // A file can't take the place of a folder, and what was written beside it is removed.
    std::fs::remove_file(packed.path()).unwrap();
    std::fs::create_dir(packed.path()).unwrap();
    let (model, is_made) = packed.open(&shape(), "1");
    assert!(is_made && packed.path().is_dir());
    assert_eq!(encode(&model, &texts, 1), expected);
}

// Panics.

/// Whether a pass over `texts` panics.
fn panics(model: &Int8Bert, pool: &rayon::ThreadPool, texts: &[Tokens], threads: usize) -> bool {
    catch_unwind(AssertUnwindSafe(|| pool.install(|| model.encode(&borrowed(texts), threads)))).is_err()
}

#[test]
fn a_panic_ends_its_pass_and_nothing_else() {
    let (model, mut random) = (model(10), Random::new(10));
    let texts = random.texts(&[90]);
    let expected = encode(&model, &texts, 1);
    for threads in [1, 2, 3] {
        let pool = pool(threads);
        let mut bad = Vec::new();
        // Each thread of a shared plan in turn.
        for place in [0, 44, 50, 89] {
            let mut text = texts.clone();
            text[0].ids[place] = VOCABULARY as u32;
            bad.push(text);
        }
        bad.push(random.texts(&[POSITIONS + 1]));
        // Whole texts for each thread.
        let mut dealt = random.texts(&[30; 6]);
        dealt[4].ids[7] = u32::MAX;
        bad.push(dealt);
        for bad in &bad {
            let kept = pool.install(|| model.encode(&borrowed(&texts), threads)).map(|vectors| (vectors, model.lock().len()));
            let (vectors, kept) = kept.unwrap();
            assert_eq!(vectors, expected);
            assert!(panics(&model, &pool, bad, threads));
            assert_eq!(model.lock().len(), kept - 1, "the workspace of a pass that panicked is used again");
            assert_eq!(pool.install(|| model.encode(&borrowed(&texts), threads)).unwrap(), expected);
        }
    }
}

#[test]
fn a_panic_between_barriers_ends_its_pass_too() {
    let (mut model, texts) = (model(11), Random::new(11).texts(&[90]));
    let layer = model.parameters.layers[1].clone();
    // A product of other sizes panics while keys and values of the layer are there to read.
    model.parameters.layers[1].down = layer.up.clone();
    for threads in [1, 2, 3] {
        assert!(panics(&model, &pool(threads), &texts, threads));
    }
    model.parameters.layers[1] = layer;
    assert_eq!(encode(&model, &texts, 3), encode(&model, &texts, 1));
}
