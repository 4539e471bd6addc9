//! The local embedding model alone, without a server: how fast, and how near to 32-bit floats.

use super::super::Global;
use super::index::{median, percentile};
use crate::wiring::manifest;
use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use corpus::{Embedder, Errand, Precision, Purpose};
use encoder::{LocalEmbedder, LocalOptions, Manifest, Requested};
use serde::Serialize;
use serde_json::Value;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Tokens of a text and texts of a call: a question, a chunk, and what ingestion brings.
const SHAPES: [(usize, usize); 4] = [(15, 1), (111, 1), (128, 32), (256, 16)];
/// How long each shape is repeated.
const WATCHED: Duration = Duration::from_secs(2);
/// Real texts, if no others are named.
const OWN_TEXTS: [&str; 2] = [include_str!("../../../README.md"), include_str!("../../../ARCHITECTURE.md")];
/// Words that are one token to most models of English.
const WORDS: [&str; 24] = [
    "stone", "river", "house", "window", "paper", "garden", "morning", "music", "bridge", "winter", "market", "letter", "ocean", "silver",
    "forest", "summer", "table", "village", "metal", "engine", "castle", "island", "mountain", "station",
];

#[derive(Debug, Args)]
pub(crate) struct EmbedArgs {
    /// Model of the manifest; without it the configured one
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// What computes
    #[arg(long, value_enum, default_value_t = Engine::Auto)]
    engine: Engine,
    /// In which numbers
    #[arg(long, value_enum, default_value_t = PrecisionArg::Auto)]
    precision: PrecisionArg,
    /// By which instructions integers are multiplied, such as avx2; without it by the fastest
    #[arg(long, value_name = "NAME")]
    instructions: Option<String>,
    /// Threads of a pass; without it all cores
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,
    /// Real texts: a .jsonl file with `text` (and `title`), else one a line; without it this program's own manuals
    #[arg(long, value_name = "FILE")]
    texts: Option<PathBuf>,
    /// Take no more of them
    #[arg(long, value_name = "N", default_value_t = 2000)]
    texts_max: usize,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engine {
    /// This program
    Auto,
    /// ONNX Runtime
    Onnx,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PrecisionArg {
    Auto,
    Int8,
    F32,
}

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    engine: String,
    precision: Precision,
    threads: usize,
    /// From the files to the first vector of a question.
    first_embedding_ms: f64,
    /// What the threads can multiply and add at most.
    int8_peak_gops: f64,
    shapes: Vec<Shape>,
    real: Real,
    fidelity: Fidelity,
}

#[derive(Debug, Serialize)]
struct Shape {
    tokens: usize,
    batch: usize,
    median_ms: f64,
    p99_ms: f64,
    sequences_per_s: f64,
    tokens_per_s: f64,
    gops: f64,
    /// Of `int8_peak_gops`.
    peak_share: f64,
}

/// Real texts of different lengths in one call, tokenization included.
#[derive(Debug, Serialize)]
struct Real {
    texts: usize,
    /// As far as the model reads them.
    tokens: usize,
    seconds: f64,
    sequences_per_s: f64,
    tokens_per_s: f64,
}

/// Cosines of the same real texts in this precision and in 32-bit floats.
#[derive(Debug, Serialize)]
struct Fidelity {
    mean_cosine: f64,
    min_cosine: f64,
}

pub(crate) fn run(args: &EmbedArgs, global: &Global) -> anyhow::Result<ExitCode> {
    print(&measure(args, global)?, args.json)
}

fn measure(args: &EmbedArgs, global: &Global) -> anyhow::Result<Report> {
    let config = global.overrides(None).settings()?.config;
    let (manifest, directory) = manifest(&config)?;
    let name = args.model.as_ref().unwrap_or(&config.embedding.model);
    let texts = texts(args)?;
    let options = options(args)?;
    let began = Instant::now();
    let embedder = open(&manifest, &directory, name, args.engine, options)?;
    embedder.embed(&["which stone?"], Purpose::Query, &Errand::default())?;
    let first_embedding_ms = 1e3 * began.elapsed().as_secs_f64();
    let threads = options.threads.get();
    let int8_peak_gops = encoder::int8_peak_gops(threads, args.instructions.as_deref());
    let shapes = SHAPES.iter().map(|(tokens, batch)| shape(&embedder, *tokens, *batch, int8_peak_gops)).collect::<anyhow::Result<_>>()?;
    let (real, vectors) = real(&embedder, &texts)?;
    let floats = LocalOptions { precision: Requested::Exactly(Precision::F32), ..options };
    let floats = open(&manifest, &directory, name, Engine::Auto, floats)?;
    Ok(Report {
        model: name.clone(),
        engine: embedder.engine().to_owned(),
        precision: embedder.model().precision,
        threads,
        first_embedding_ms,
        int8_peak_gops,
        shapes,
        real,
        fidelity: fidelity(&floats, &texts, &vectors)?,
    })
}

fn options(args: &EmbedArgs) -> anyhow::Result<LocalOptions> {
    let precision = match args.precision {
        PrecisionArg::Auto => Requested::Auto,
        PrecisionArg::Int8 => Requested::Exactly(Precision::Int8),
        PrecisionArg::F32 => Requested::Exactly(Precision::F32),
    };
    let there = encoder::instructions();
    let instructions = match &args.instructions {
        Some(name) => match there.iter().find(|one| *one == name) {
            Some(one) => Some(*one),
            None => bail!("--instructions: this processor has {}", there.join(", ")),
        },
        None => None,
    };
    let defaults = LocalOptions::default();
    Ok(LocalOptions { precision, instructions, threads: args.threads.unwrap_or(defaults.threads), ..defaults })
}

fn open(manifest: &Manifest, directory: &Path, name: &str, engine: Engine, options: LocalOptions) -> anyhow::Result<LocalEmbedder> {
    let entry = manifest.get(name).with_context(|| format!("{name:?} is not in the manifest"))?;
    let folder = directory.join(name);
    Ok(match engine {
        Engine::Auto => LocalEmbedder::open(entry, &folder, options)?,
        Engine::Onnx => LocalEmbedder::open_onnx(entry, &folder, &encoder::onnx_runtime_in(directory), options)?,
    })
}

/// The real texts, none of them empty.
fn texts(args: &EmbedArgs) -> anyhow::Result<Vec<String>> {
    let mut texts = match &args.texts {
        Some(path) => read(path)?,
        None => OWN_TEXTS.iter().flat_map(|text| text.split("\n\n")).map(str::to_owned).collect(),
    };
    texts.retain(|text| !text.trim().is_empty());
    texts.truncate(args.texts_max);
    ensure!(!texts.is_empty(), "there are no texts");
    Ok(texts)
}

fn read(path: &Path) -> anyhow::Result<Vec<String>> {
    let content = std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
    if path.extension().is_none_or(|extension| extension != "jsonl") {
        return Ok(content.lines().map(str::to_owned).collect());
    }
    let text = |line: &str| {
        let line: Value = serde_json::from_str(line)?;
        let field = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default();
        anyhow::Ok(format!("{} {}", field("title"), field("text")).trim().to_owned())
    };
    content.lines().map(text).collect::<anyhow::Result<_>>().with_context(|| format!("{} is not JSON lines", path.display()))
}

/// `batch` texts of `tokens`, or a few less where words are more than one token.
fn shape(embedder: &LocalEmbedder, tokens: usize, batch: usize, peak: f64) -> anyhow::Result<Shape> {
    let texts: Vec<String> = (0..batch).map(|nth| text(embedder, nth, tokens)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let embedded = embedder.embed(&texts, Purpose::Query, &Errand::default())?;
    let (mut times, began) = (Vec::new(), Instant::now());
    while times.len() < 9 || began.elapsed() < WATCHED {
        let one = Instant::now();
        embedder.embed(&texts, Purpose::Query, &Errand::default())?;
        times.push(one.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let seconds = median(&times);
    let all: usize = embedded.iter().map(|one| one.tokens).sum();
    let operations: u64 = embedded.iter().map(|one| embedder.operations(one.tokens)).sum();
    let gops = operations as f64 / seconds / 1e9;
    Ok(Shape {
        tokens: all / batch,
        batch,
        median_ms: 1e3 * seconds,
        p99_ms: 1e3 * percentile(&times, 0.99),
        sequences_per_s: batch as f64 / seconds,
        tokens_per_s: all as f64 / seconds,
        gops,
        peak_share: gops / peak,
    })
}

/// Begins with another word for each `nth`.
fn text(embedder: &LocalEmbedder, nth: usize, tokens: usize) -> String {
    let words: Vec<&str> = WORDS.iter().copied().cycle().skip(nth).take(tokens).collect();
    let fits = |count: usize| embedder.count_tokens(&words.iter().copied().take(count).collect::<Vec<_>>().join(" ")) <= tokens;
    let count = (1..=tokens).rev().find(|count| fits(*count)).unwrap_or(1);
    words.into_iter().take(count).collect::<Vec<_>>().join(" ")
}

fn real(embedder: &LocalEmbedder, texts: &[String]) -> anyhow::Result<(Real, Vec<Vec<f32>>)> {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let began = Instant::now();
    let embedded = embedder.embed(&texts, Purpose::Query, &Errand::default())?;
    let seconds = began.elapsed().as_secs_f64();
    let tokens = embedded.iter().map(|one| one.tokens.min(embedder.model().max_tokens)).sum();
    let (sequences_per_s, tokens_per_s) = (texts.len() as f64 / seconds, tokens as f64 / seconds);
    let vectors = embedded.into_iter().map(|one| one.embedding.into_vec()).collect();
    Ok((Real { texts: texts.len(), tokens, seconds, sequences_per_s, tokens_per_s }, vectors))
}

fn fidelity(floats: &LocalEmbedder, texts: &[String], vectors: &[Vec<f32>]) -> anyhow::Result<Fidelity> {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let truth = floats.embed(&texts, Purpose::Query, &Errand::default())?;
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let cosines: Vec<f64> = truth.iter().zip(vectors).map(|(truth, vector)| dot(&truth.embedding, vector)).collect();
    let mean_cosine = cosines.iter().sum::<f64>() / cosines.len() as f64;
    Ok(Fidelity { mean_cosine, min_cosine: cosines.into_iter().fold(1.0, f64::min) })
}

#[expect(clippy::print_stdout, reason = "the command's output")]
fn print(report: &Report, as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        println!("{}", serde_json::to_string_pretty(report)?);
        return Ok(ExitCode::SUCCESS);
    }
    let Report { model, engine, precision, threads, first_embedding_ms, int8_peak_gops, shapes, real, fidelity } = report;
    println!("{model}: {precision:?} by {engine}, {threads} threads, first embedding after {first_embedding_ms:.0} ms");
    println!("8-bit multiplications and additions at most: {int8_peak_gops:.0} GOP/s");
    println!(
        "{:>6} {:>6} {:>10} {:>8} {:>12} {:>10} {:>7} {:>5}",
        "tokens", "batch", "median ms", "p99 ms", "sequences/s", "tokens/s", "GOP/s", "peak"
    );
    for Shape { tokens, batch, median_ms, p99_ms, sequences_per_s, tokens_per_s, gops, peak_share } in shapes {
        let peak = 100.0 * peak_share;
        println!(
            "{tokens:>6} {batch:>6} {median_ms:>10.2} {p99_ms:>8.2} {sequences_per_s:>12.1} {tokens_per_s:>10.0} {gops:>7.0} {peak:>4.0}%"
        );
    }
    let Real { texts, tokens, seconds, sequences_per_s, tokens_per_s } = real;
    println!("{texts} real texts, {tokens} tokens: {seconds:.2} s, {sequences_per_s:.1} sequences/s, {tokens_per_s:.0} tokens/s");
    println!("cosine to 32-bit floats: mean {:.5}, least {:.5}", fidelity.mean_cosine, fidelity.min_cosine);
    Ok(ExitCode::SUCCESS)
}
