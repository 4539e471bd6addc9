//! How often the semantic cache is right, by threshold, with and without its guard: cosine similarity of labelled pairs
//! of questions by the real model. `cargo run --example semantic_curve [FILE]`; needs `models/pull all-MiniLM-L6-v2`.

#![expect(clippy::print_stdout, reason = "a program that prints a table")]

use cache::guard;
use corpus::{Embedder, Embedding, Errand, Purpose};
use encoder::{LocalEmbedder, LocalOptions, Manifest};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Those that the guard was written with.
const PAIRS: &str = "crates/cache/tests/fixtures/paraphrases.jsonl";

#[derive(Deserialize)]
struct Pair {
    a: String,
    b: String,
    /// Whether both ask the same.
    same: bool,
    lang: String,
}

/// A pair with what decides over it.
struct Judged {
    pair: Pair,
    similarity: f32,
    is_let_through: bool,
}

fn main() -> anyhow::Result<()> {
    let model = model()?;
    let file = std::env::args_os().nth(1).map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(PAIRS), PathBuf::from);
    let pairs: Vec<Pair> = std::fs::read_to_string(file)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let judged = pairs.into_iter().map(|pair| judge(&model, pair)).collect::<anyhow::Result<Vec<_>>>()?;
    let languages = &model.model().languages;
    // Questions in scripts that the model can't read are not compared.
    let read: Vec<&Judged> = judged.iter().filter(|one| languages.is_empty() || languages.contains(&one.pair.lang)).collect();
    table(&format!("all {} pairs", judged.len()), &judged.iter().collect::<Vec<_>>());
    table(&format!("the {} pairs in languages of the model ({languages:?})", read.len()), &read);
    let wrong = read.iter().filter(|one| !one.pair.same && one.is_let_through && one.similarity >= 0.92);
    wrong.for_each(|one| println!("wrong at 0.92: {:.3} {:?} / {:?}", one.similarity, one.pair.a, one.pair.b));
    Ok(())
}

fn model() -> anyhow::Result<LocalEmbedder> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let manifest = Manifest::read(&directory.join("manifest.toml"))?;
    let entry = manifest.get("all-MiniLM-L6-v2").ok_or_else(|| anyhow::anyhow!("the manifest has no all-MiniLM-L6-v2"))?;
    Ok(LocalEmbedder::open(entry, &directory.join(&entry.name), LocalOptions::default())?)
}

fn judge(model: &LocalEmbedder, pair: Pair) -> anyhow::Result<Judged> {
    let embedded = model.embed(&[&pair.a, &pair.b], Purpose::Query, &Errand::default())?;
    let [a, b] = embedded.as_slice() else { anyhow::bail!("two texts, {} vectors", embedded.len()) };
    let is_let_through = guard(&pair.a, &pair.b).is_ok();
    Ok(Judged { similarity: cosine(&a.embedding, &b.embedding), is_let_through, pair })
}

fn cosine(a: &Embedding, b: &Embedding) -> f32 {
    a.iter().zip(b.iter()).map(|(a, b)| a * b).sum()
}

fn table(title: &str, judged: &[&Judged]) {
    println!("\n{title}, {} of them the same question\n", judged.iter().filter(|one| one.pair.same).count());
    println!("| threshold | hits | precision | recall | hits, guarded | precision | recall |");
    println!("|---|---|---|---|---|---|---|");
    for hundredth in 80..100_u8 {
        let threshold = f32::from(hundredth) / 100.0;
        let near = |one: &&&Judged| one.similarity >= threshold;
        let without = figures(judged, judged.iter().filter(near));
        let with = figures(judged, judged.iter().filter(near).filter(|one| one.is_let_through));
        println!("| {threshold:.2} | {without} | {with} |");
    }
}

/// Hits, precision and recall as cells.
fn figures<'j>(all: &[&Judged], hits: impl Iterator<Item = &'j &'j Judged>) -> String {
    let (mut count, mut right) = (0_usize, 0_usize);
    for hit in hits {
        count += 1;
        right += usize::from(hit.pair.same);
    }
    let same = all.iter().filter(|one| one.pair.same).count();
    let share = |part: usize, whole: usize| if whole == 0 { "–".to_owned() } else { format!("{:.3}", part as f64 / whole as f64) };
    format!("{count} | {} | {}", share(right, count), share(right, same))
}
