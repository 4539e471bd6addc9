//! `ragstone eval retrieval DIR…`: judged collections in BEIR layout, through the API: documents go
//! in over HTTP, every query is searched in every mode, and the rankings are scored.

use super::report::{Line, baseline_of, print_comparison, write_lines};
use super::upload::upload;
use super::{Global, Target, TargetArgs, runtime};
use crate::client::{Client, segment};
use ::query::{BeirSet, BeirText, Comparison, Figures, QueryScores};
use anyhow::{Context, bail};
use clap::Args;
use futures::StreamExt;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Hits asked for: as many as there may be. Recall at 100 is of the documents among these chunks.
const HITS: usize = 100;
/// Searches the hybrid's hits again by a reranker.
const RERANKED: &str = "reranked";

#[derive(Debug, Args)]
pub(crate) struct RetrievalArgs {
    /// Folders with corpus.jsonl, queries.jsonl and qrels.tsv
    #[arg(required = true, value_name = "DIR")]
    sets: Vec<PathBuf>,
    /// Modes to measure: lexical, vector, hybrid, and reranked where the server has a reranker
    #[arg(long, value_delimiter = ',', default_value = "lexical,vector,hybrid")]
    modes: Vec<String>,
    /// Tokens of a chunk; the model's maximum keeps most short documents whole
    #[arg(long)]
    max_tokens: Option<usize>,
    /// Look at every vector instead of searching approximately
    #[arg(long)]
    exact: bool,
    /// Measure at most so many queries of each set
    #[arg(long)]
    queries_max: Option<usize>,
    /// Searches under way at a time; latencies are measured under this load
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    clients: u16,
    /// Say how significant the difference of two modes is (paired randomisation test)
    #[arg(long, value_name = "MODE,MODE")]
    compare: Vec<String>,
    /// Compare with an earlier run: its --per-query file, or its --json output (means only)
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write what was measured of each query as JSON lines `{set, mode, id, scores}`
    #[arg(long, value_name = "FILE")]
    per_query: Option<PathBuf>,
    /// Write the chunks as JSON lines `{document, text}` into this folder, for a check by other means
    #[arg(long, value_name = "DIR")]
    dump_chunks: Option<PathBuf>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

/// What was measured of each query in one mode.
struct Run {
    queries: BTreeMap<String, QueryScores>,
    figures: Figures,
    /// Milliseconds of each search, ascending.
    latencies: Vec<f64>,
}

pub(super) fn run(args: &RetrievalArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let pairs = args.compare.iter().map(|pair| pair_of(pair, &args.modes)).collect::<anyhow::Result<Vec<_>>>()?;
    let baseline = args.baseline.as_deref().map(baseline_of).transpose()?;
    let (sets, lines) = runtime()?.block_on(async {
        let target = Target::reach(&args.target, global).await?;
        let (mut sets, mut lines) = (Vec::new(), Vec::new());
        for folder in &args.sets {
            let measured = measure(&target.client, args, folder).await.with_context(|| format!("{}", folder.display()))?;
            let (mut set, runs) = measured;
            compare(&mut set, &runs, &pairs);
            lines.extend(runs.into_iter().flat_map(|(mode, run)| Line::all(&set.name, &mode, run.queries)));
            sets.push(set);
        }
        target.leave().await?;
        anyhow::Ok((sets, lines))
    })?;
    let against = |set: &Set| baseline.as_ref().map(|baseline| baseline.against(&set.name, &set.modes, &lines));
    let sets: Vec<Value> = sets.iter().map(|set| set.json(against(set))).collect();
    args.per_query.as_deref().map_or(Ok(()), |file| write_lines(file, &lines))?;
    print(&sets, args.json)
}

fn pair_of(pair: &str, modes: &[String]) -> anyhow::Result<(String, String)> {
    match pair.split_once(',') {
        Some((one, other)) if [one, other].iter().all(|mode| modes.iter().any(|known| known == mode)) => Ok((one.into(), other.into())),
        _ => bail!("--compare takes two of the measured modes, such as lexical,hybrid, not {pair:?}"),
    }
}

/// What is reported of a set.
struct Set {
    name: String,
    documents: usize,
    queries: usize,
    modes: Map<String, Value>,
    left_out: Map<String, Value>,
    comparisons: Vec<Value>,
}

impl Set {
    fn json(&self, baseline: Option<Map<String, Value>>) -> Value {
        let mut json = json!({ "name": self.name, "documents": self.documents, "queries": self.queries, "modes": self.modes });
        if let Some(fields) = json.as_object_mut() {
            if !self.left_out.is_empty() {
                fields.insert("left_out".into(), json!(self.left_out));
            }
            if !self.comparisons.is_empty() {
                fields.insert("comparisons".into(), json!(self.comparisons));
            }
            fields.extend(baseline.map(|baseline| ("baseline".to_owned(), Value::Object(baseline))));
        }
        json
    }
}

fn compare(set: &mut Set, runs: &[(String, Run)], pairs: &[(String, String)]) {
    let queries = |mode: &String| runs.iter().find(|(name, _)| name == mode).map(|(_, run)| &run.queries);
    set.comparisons = pairs
        .iter()
        .filter_map(|(one, other)| Some((one, other, queries(one)?, queries(other)?)))
        .map(|(one, other, before, now)| json!({ "from": one, "to": other, "comparison": Comparison::of(before, now) }))
        .collect();
}

async fn measure(client: &Client, args: &RetrievalArgs, folder: &Path) -> anyhow::Result<(Set, Vec<(String, Run)>)> {
    let set = BeirSet::read(folder)?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let collection = format!("eval-{name}{}", args.max_tokens.map(|tokens| format!("-{tokens}")).unwrap_or_default());
    upload(client, &collection, &set, args.max_tokens).await?;
    if let Some(folder) = &args.dump_chunks {
        dump_chunks(client, &collection, &set, &folder.join(format!("{name}.chunks.jsonl"))).await?;
    }
    let (mut modes, mut left_out, mut runs) = (Map::new(), Map::new(), Vec::new());
    for mode in &args.modes {
        match score(client, args, &collection, &set, mode).await {
            Ok(run) => {
                modes.insert(mode.clone(), run.json());
                runs.push((mode.clone(), run));
            }
            Err(error) if mode == RERANKED => drop(left_out.insert(mode.clone(), json!(format!("{error:#}")))),
            Err(error) => return Err(error),
        }
    }
    let queries = judged(&set, args).len();
    Ok((Set { name, documents: set.documents.len(), queries, modes, left_out, comparisons: Vec::new() }, runs))
}

impl Run {
    fn json(&self) -> Value {
        let mut json = json!(self.figures);
        if let Some(fields) = json.as_object_mut() {
            fields.insert("p50_ms".into(), json!(percentile(&self.latencies, 50)));
            fields.insert("p99_ms".into(), json!(percentile(&self.latencies, 99)));
        }
        json
    }
}

/// The smallest value that this percentage of all does not exceed; 0 of none.
fn percentile(ascending: &[f64], percent: usize) -> f64 {
    let rank = (ascending.len() * percent).div_ceil(100).max(1);
    ascending.get(rank - 1).copied().unwrap_or_default()
}

fn judged<'s>(set: &'s BeirSet, args: &RetrievalArgs) -> &'s [BeirText] {
    let count = args.queries_max.unwrap_or(usize::MAX).min(set.queries.len());
    set.queries.get(..count).unwrap_or_default()
}

async fn score(client: &Client, args: &RetrievalArgs, collection: &str, set: &BeirSet, mode: &str) -> anyhow::Result<Run> {
    let path = format!("/v1/collections/{}/search", segment(collection));
    let queries = judged(set, args);
    let searches = queries.iter().map(|query| {
        let mut body = json!({ "query": query.text, "top_k": HITS, "mode": mode, "exact": args.exact });
        if let Some(fields) = body.as_object_mut().filter(|_| mode == RERANKED) {
            fields.insert("mode".into(), json!("hybrid"));
            fields.insert("rerank".into(), json!(true));
        }
        let path = &path;
        async move {
            let began = Instant::now();
            let answer = client.post(path, &body).await?;
            Ok::<_, anyhow::Error>((query, ranking(&answer), began.elapsed().as_secs_f64() * 1000.0))
        }
    });
    let mut searches = futures::stream::iter(searches).buffer_unordered(args.clients.into());
    let (mut by_query, mut latencies) = (BTreeMap::new(), Vec::with_capacity(queries.len()));
    while let Some(found) = searches.next().await {
        let (query, ranking, ms) = found?;
        latencies.push(ms);
        by_query.extend(set.judgements.get(&query.id).map(|judged| (query.id.clone(), Figures::of(&ranking, judged))));
    }
    latencies.sort_by(f64::total_cmp);
    // In the order of the queries, so that the means are the same to the last digit.
    let figures = Figures::mean(&by_query.values().copied().collect::<Vec<_>>());
    let named = |figures: Figures| figures.named().map(|(name, value)| (name.to_owned(), value)).into();
    let queries = by_query.into_iter().map(|(id, figures)| (id, named(figures))).collect();
    Ok(Run { queries, figures, latencies })
}

/// Documents by their best chunk.
fn ranking(answer: &Value) -> Vec<String> {
    let hits = answer.get("hits").and_then(Value::as_array).into_iter().flatten();
    let mut documents: Vec<String> = Vec::new();
    for id in hits.filter_map(|hit| hit.get("external_id").and_then(Value::as_str)) {
        if !documents.iter().any(|known| known == id) {
            documents.push(id.to_owned());
        }
    }
    documents
}

async fn dump_chunks(client: &Client, collection: &str, set: &BeirSet, file: &Path) -> anyhow::Result<()> {
    let mut lines = String::new();
    for document in set.documents.iter().filter(|document| !document.text.trim().is_empty()) {
        let path = format!("/v1/collections/{}/documents/{}/chunks?limit=1000", segment(collection), segment(&document.id));
        let page = client.get(&path).await?;
        for chunk in page.get("data").and_then(Value::as_array).into_iter().flatten() {
            lines.push_str(&json!({ "document": document.id, "text": chunk.get("text") }).to_string());
            lines.push('\n');
        }
    }
    std::fs::write(file, lines).with_context(|| format!("can't write {}", file.display()))
}

#[expect(clippy::print_stdout, reason = "the command's output")]
fn print(sets: &[Value], as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        println!("{}", serde_json::to_string_pretty(&json!({ "sets": sets }))?);
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{:<20} {:>6} {:>8}  {:<8} {:>8} {:>10} {:>11} {:>7} {:>8} {:>8}",
        "set", "docs", "queries", "mode", "nDCG@10", "recall@10", "recall@100", "MRR@10", "p50 ms", "p99 ms"
    );
    for set in sets {
        let text = |field: &str| set.get(field).map(|value| value.to_string().trim_matches('"').to_owned()).unwrap_or_default();
        for (mode, scores) in fields(set, "modes") {
            let score = |field: &str| scores.get(field).and_then(Value::as_f64).unwrap_or_default();
            println!(
                "{:<20} {:>6} {:>8}  {mode:<8} {:>8.4} {:>10.4} {:>11.4} {:>7.4} {:>8.1} {:>8.1}",
                text("name"),
                text("documents"),
                text("queries"),
                score("ndcg_at_10"),
                score("recall_at_10"),
                score("recall_at_100"),
                score("mrr_at_10"),
                score("p50_ms"),
                score("p99_ms")
            );
        }
        for (mode, reason) in fields(set, "left_out") {
            println!("{:<20} {mode} is left out: {}", text("name"), reason.as_str().unwrap_or_default());
        }
    }
    for set in sets {
        let name = set.get("name").and_then(Value::as_str).unwrap_or_default();
        for pair in set.get("comparisons").and_then(Value::as_array).into_iter().flatten() {
            let mode = |field: &str| pair.get(field).and_then(Value::as_str).unwrap_or_default();
            print_comparison(&format!("{name}: {} → {}", mode("from"), mode("to")), pair.get("comparison"));
        }
        for (mode, comparison) in fields(set, "baseline") {
            print_comparison(&format!("{name}, {mode}: baseline → now"), Some(comparison));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn fields<'v>(of: &'v Value, name: &str) -> impl Iterator<Item = (&'v String, &'v Value)> {
    of.get(name).and_then(Value::as_object).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_ranks_by_its_best_chunk() {
        let hit = |id: &str| json!({ "external_id": id, "score": 1.0 });
        let answer = json!({ "hits": [hit("a"), hit("a"), { "score": 0.5 }, hit("b"), hit("a")] });
        assert_eq!(ranking(&answer), ["a", "b"]);
    }

    #[test]
    fn percentiles_by_nearest_rank() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!([50, 99].map(|percent| percentile(&hundred, percent) as u32), [50, 99]);
        assert_eq!([percentile(&[7.0], 99) as u32, percentile(&[], 50) as u32], [7, 0]);
    }

    #[test]
    fn only_measured_modes_are_compared() {
        let modes = ["lexical".to_owned(), "hybrid".to_owned()];
        assert!(pair_of("lexical,hybrid", &modes).is_ok());
        assert!(pair_of("lexical,vector", &modes).is_err() && pair_of("lexical", &modes).is_err());
    }
}
