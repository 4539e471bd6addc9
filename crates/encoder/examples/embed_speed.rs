//! Times the local embedder at four shapes: `speed MODELS_FOLDER [PASS_TOKENS]`.

use corpus::{Embedder, Precision, Purpose};
use ragstone_encoder::{LocalEmbedder, LocalOptions, Manifest, Requested};
use std::path::PathBuf;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("usage: speed MODELS_FOLDER [PASS_TOKENS]")?);
    let manifest = Manifest::read(&folder.join("manifest.toml"))?;
    let entry = manifest.get(&manifest.default).ok_or("no default")?;
    let mut options = LocalOptions::default();
    if let Some(tokens) = arguments.next() {
        options.pass_tokens = tokens.parse()?;
    }
    if arguments.next().as_deref() == Some("f32") {
        options.precision = Requested::Exactly(Precision::F32);
    }
    let start = Instant::now();
    let embedder = LocalEmbedder::open(entry, &folder.join(&entry.name), options)?;
    eprintln!("loaded in {:?}; {options:?}", start.elapsed());
    for (tokens, batch) in [(15, 1), (111, 1), (121, 32), (237, 16)] {
        let text = "stone ".repeat(tokens - 2);
        let texts = vec![text.as_str(); batch];
        let purpose = Purpose::Query;
        let repeats = 400 / batch.max(8);
        let mut seconds = Vec::with_capacity(repeats);
        for _ in 0..repeats {
            let start = Instant::now();
            embedder.embed(&texts, purpose)?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        let median = seconds.get(repeats / 2).copied().unwrap_or_default();
        eprintln!("{tokens:4} x {batch:2}: {:8.2} ms, {:7.1} sequences/s", median * 1e3, batch as f64 / median);
    }
    let sample = [
        "Granite is an intrusive igneous rock.",
        "which stone?",
        "Slate splits into thin sheets and was long used for roofs; a good roof of it lasts a century or more.",
    ];
    let float =
        LocalEmbedder::open(entry, &folder.join(&entry.name), LocalOptions { precision: Requested::Exactly(Precision::F32), ..options })?;
    for (a, b) in embedder.embed(&sample, Purpose::Document)?.iter().zip(float.embed(&sample, Purpose::Document)?) {
        eprintln!("cosine {}", a.embedding.iter().zip(b.embedding.iter()).map(|(a, b)| a * b).sum::<f32>());
    }
    eprintln!("{:?}", [Purpose::Query, Purpose::Document].map(|purpose| embedder.statistics(purpose)));
    Ok(())
}
