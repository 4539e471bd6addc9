//! nDCG@10 of the text index on BEIR-shaped sets: `measure_text DIR…`. Binary gains, documents whole.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing)]

use ragstone_index::text::{TextChange, TextIndex};
use std::collections::HashMap;
use std::time::Instant;

fn lines(path: String) -> Vec<serde_json::Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn main() {
    for dir in std::env::args().skip(1) {
        let corpus = lines(format!("{dir}/corpus.jsonl"));
        let ids: Vec<String> = corpus.iter().map(|doc| doc["_id"].as_str().unwrap().to_owned()).collect();
        let start = Instant::now();
        let index = TextIndex::open(None).unwrap();
        let changes = corpus.iter().zip(0..).map(|(doc, row)| TextChange::Add {
            row,
            text: doc["text"].as_str().unwrap().to_owned(),
            heading: doc["title"].as_str().unwrap_or_default().to_owned(),
        });
        index.apply(changes.collect(), 1).unwrap();
        let built = start.elapsed();
        let mut qrels: HashMap<String, HashMap<String, f64>> = HashMap::new();
        for line in std::fs::read_to_string(format!("{dir}/qrels.tsv")).unwrap().lines().skip(1) {
            let fields: Vec<&str> = line.split('\t').collect();
            qrels.entry(fields[0].to_owned()).or_default().insert(fields[1].to_owned(), fields[2].parse().unwrap());
        }
        let allowed = (0..ids.len() as u32).collect();
        let (mut sum, mut count, start) = (0.0, 0, Instant::now());
        for query in lines(format!("{dir}/queries.jsonl")) {
            let Some(relevant) = qrels.get(query["_id"].as_str().unwrap()) else { continue };
            let question = index.question(query["text"].as_str().unwrap()).unwrap();
            let hits = index.search(&question, 10, &allowed, None).unwrap().rows;
            let discount = |rank: usize| 1.0 / ((rank + 2) as f64).log2();
            let gain: f64 =
                hits.iter().enumerate().map(|(rank, hit)| relevant.get(&ids[hit.row as usize]).map_or(0.0, |g| g * discount(rank))).sum();
            let mut ideal: Vec<f64> = relevant.values().copied().collect();
            ideal.sort_by(|a, b| b.total_cmp(a));
            let ideal: f64 = ideal.iter().take(10).enumerate().map(|(rank, g)| g * discount(rank)).sum();
            if ideal > 0.0 {
                sum += gain / ideal;
                count += 1;
            }
        }
        let each = start.elapsed().as_secs_f64() * 1e3 / f64::from(count);
        println!(
            "{dir}: ndcg@10 {:.3} over {count} queries, {} documents in {built:?}, {each:.2} ms a query, {:?}",
            sum / f64::from(count),
            ids.len(),
            index.stats()
        );
    }
}
