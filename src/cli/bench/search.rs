//! Searches with given vectors over HTTP: what a client sees, with one of them or with several.

use super::super::target::{Target, TargetArgs};
use super::super::{Global, runtime};
use super::index::{percentile, recall};
use super::vectors;
use crate::client::{Client, segment};
use anyhow::{Context, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// Collection to search
    #[arg(long, default_value = "default", value_name = "NAME")]
    collection: String,
    /// Vectors to search for: .npy or .fvecs
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,
    /// Hits per search
    #[arg(long, short, default_value_t = 10)]
    k: usize,
    /// Breadths of the approximate search
    #[arg(long, value_delimiter = ',', default_value = "32,64,128,256")]
    ef: Vec<usize>,
    /// Clients at a time, each on a connection of its own
    #[arg(long, value_delimiter = ',', default_value = "1,8")]
    clients: Vec<usize>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Serialize)]
struct Report {
    collection: String,
    queries: usize,
    k: usize,
    points: Vec<Point>,
}

#[derive(Debug, Serialize)]
struct Point {
    clients: usize,
    /// Absent for exact search.
    ef: Option<usize>,
    /// Of what exact search finds.
    recall: f64,
    qps: f64,
    p50_ms: f64,
    p99_ms: f64,
}

pub(crate) fn run(args: &SearchArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let report = runtime()?.block_on(async {
        let target = Target::reach(&args.target, global).await?;
        let report = measure(&target.client, args).await;
        target.leave().await?;
        report
    })?;
    print(&report, args.json)
}

async fn measure(client: &Client, args: &SearchArgs) -> anyhow::Result<Report> {
    let queries = vectors::floats(&args.queries)?;
    ensure!(queries.rows().next().is_some(), "there are no queries");
    let path: Arc<str> = format!("/v1/collections/{}/search", segment(&args.collection)).into();
    let bodies = |ef: Option<usize>| -> Arc<Vec<Value>> {
        let body = |vector: &[f32]| json!({ "vector": vector, "mode": "vector", "top_k": args.k, "ef": ef, "exact": ef.is_none() });
        Arc::new(queries.rows().map(body).collect())
    };
    let exact = bodies(None);
    let truth = ask(client, &path, &exact, 1).await?.hits;
    let mut points = Vec::new();
    for clients in &args.clients {
        for ef in args.ef.iter().copied().map(Some).chain([None]) {
            let Asked { hits, mut times, seconds } = ask(client, &path, &bodies(ef), (*clients).max(1)).await?;
            times.sort_by(f64::total_cmp);
            let at = |share| 1e3 * percentile(&times, share);
            let qps = times.len() as f64 / seconds;
            points.push(Point { clients: *clients, ef, recall: recall(&hits, &truth), qps, p50_ms: at(0.5), p99_ms: at(0.99) });
        }
    }
    Ok(Report { collection: args.collection.clone(), queries: exact.len(), k: args.k, points })
}

/// The hits of each body in order, what each took, and all together, in seconds.
struct Asked {
    hits: Vec<Vec<String>>,
    times: Vec<f64>,
    seconds: f64,
}

async fn ask(client: &Client, path: &Arc<str>, bodies: &Arc<Vec<Value>>, clients: usize) -> anyhow::Result<Asked> {
    let began = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|first| {
            let (client, path, bodies) = (client.clone(), Arc::clone(path), Arc::clone(bodies));
            tokio::spawn(async move {
                let mut asked = Vec::new();
                for (number, body) in bodies.iter().enumerate().skip(first).step_by(clients) {
                    let began = Instant::now();
                    let answer = client.post(&path, body).await?;
                    asked.push((number, began.elapsed().as_secs_f64(), chunks(&answer)?));
                }
                anyhow::Ok(asked)
            })
        })
        .collect();
    let mut all = Vec::with_capacity(bodies.len());
    for task in tasks {
        all.extend(task.await??);
    }
    let seconds = began.elapsed().as_secs_f64();
    all.sort_by_key(|(number, _, _)| *number);
    let (times, hits) = all.into_iter().map(|(_, time, hits)| (time, hits)).unzip();
    Ok(Asked { hits, times, seconds })
}

fn chunks(answer: &Value) -> anyhow::Result<Vec<String>> {
    let hits = answer.get("hits").and_then(Value::as_array).context("the server's answer has no hits")?;
    Ok(hits.iter().filter_map(|hit| Some(hit.get("chunk_id")?.as_str()?.to_owned())).collect())
}

#[expect(clippy::print_stdout, reason = "the command's output")]
fn print(report: &Report, as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        println!("{}", serde_json::to_string_pretty(report)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}: {} queries, k = {}", report.collection, report.queries, report.k);
    println!("{:>7} {:>6} {:>7} {:>10} {:>8} {:>8}", "clients", "ef", "recall", "queries/s", "p50 ms", "p99 ms");
    for Point { clients, ef, recall, qps, p50_ms, p99_ms } in &report.points {
        let ef = ef.map_or_else(|| "exact".to_owned(), |ef| ef.to_string());
        println!("{clients:>7} {ef:>6} {recall:>7.4} {qps:>10.0} {p50_ms:>8.3} {p99_ms:>8.3}");
    }
    Ok(ExitCode::SUCCESS)
}
