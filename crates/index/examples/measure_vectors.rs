//! Times and recall of the vector engines: `measure_vectors DIR ROWS [exact|auto|hnsw_rs]`, where DIR holds
//! base.f16.npy, queries.f32.npy and gt.npy.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing)]

use corpus::Embedding;
use ragstone_index::vector::{Engine, VectorParams, VectorQuery, open};
use roaring::RoaringBitmap;
use std::time::{Duration, Instant};

const D: usize = 384;

fn half(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (u32::from(bits >> 15), u32::from(bits >> 10 & 31), u32::from(bits & 1023));
    let magnitude = match exponent {
        0 => fraction as f32 / 16_777_216.0,
        _ => f32::from_bits((exponent + 112) << 23 | fraction << 13),
    };
    if sign == 1 { -magnitude } else { magnitude }
}

fn body(path: String) -> Vec<u8> {
    std::fs::read(path).unwrap().split_off(128)
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (dir, count) = (&args[1], args[2].parse::<usize>().unwrap());
    let base = body(format!("{dir}/base.f16.npy"));
    let rows: Vec<(u32, Embedding)> = (0..count)
        .map(|row| {
            let bytes = &base[row * D * 2..(row + 1) * D * 2];
            let vector = bytes.chunks_exact(2).map(|b| half(u16::from_le_bytes([b[0], b[1]]))).collect();
            (row as u32, Embedding::normalised(vector, D).unwrap())
        })
        .collect();
    let queries: Vec<Vec<f32>> = body(format!("{dir}/queries.f32.npy"))
        .chunks_exact(D * 4)
        .map(|q| q.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
        .take(300)
        .collect();
    let engine = match args.get(3).map(String::as_str) {
        Some("auto") => Engine::Auto,
        Some("hnsw_rs") => Engine::HnswRs,
        _ => Engine::Exact,
    };
    let has_graph = engine != Engine::Exact;
    let index = open(D, &VectorParams { engine, ..VectorParams::default() }, None, &RoaringBitmap::new()).unwrap();
    let start = Instant::now();
    index.insert(rows).unwrap();
    println!("{count} rows inserted in {:?}", start.elapsed());
    assert!(index.wait_built(Duration::from_secs(3_000)));
    println!("ready in {:?}: {:?}", start.elapsed(), index.stats());
    for share in [100, 50, 10, 1] {
        let allowed: RoaringBitmap = (0..count as u32).filter(|row| (row.wrapping_mul(2_654_435_761) >> 16) % 100 < share).collect();
        let run = |exact, ef| {
            let start = Instant::now();
            let hits: Vec<_> =
                queries.iter().map(|q| index.search(q, &VectorQuery { k: 10, ef, exact, allowed: &allowed }).unwrap()).collect();
            (hits, start.elapsed().as_secs_f64() * 1e3 / queries.len() as f64)
        };
        let (truth, exact_ms) = run(true, None);
        println!("{share} % allowed: exact {exact_ms:.3} ms");
        if share == 100 && count == 100_000 {
            let gt: Vec<u32> =
                body(format!("{dir}/gt.npy")).chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            let hit = |(at, hits): (usize, &Vec<ragstone_index::Scored>)| {
                hits.iter().filter(|h| gt[at * 100..at * 100 + 10].contains(&h.row)).count()
            };
            println!(
                "  recall@10 of the exact scan against gt.npy {:.4}",
                truth.iter().enumerate().map(hit).sum::<usize>() as f64 / (10 * truth.len()) as f64
            );
        }
        for ef in if has_graph { vec![16, 32, 64, 128, 256] } else { vec![] } {
            let (hits, ms) = run(false, Some(ef));
            let same: usize = hits.iter().zip(&truth).map(|(a, b)| a.iter().filter(|h| b.contains(h)).count()).sum();
            println!("  ef {ef}: {ms:.3} ms, recall@10 {:.4}", same as f64 / (10 * truth.len()) as f64);
        }
    }
}
