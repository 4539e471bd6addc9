//! The recall and latency table of a collection.

use super::super::target::{Target, TargetArgs};
use super::super::{Global, runtime};
use super::plot::plot;
use crate::client::Client;
use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Between two looks at a running benchmark.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(crate) struct CollectionArgs {
    /// Collection to measure
    #[arg(long, default_value = "default", value_name = "NAME")]
    collection: String,
    /// Hits per search
    #[arg(long, short, default_value_t = 10)]
    k: usize,
    /// Sentences of the collection that are asked
    #[arg(long, default_value_t = 200)]
    sample: usize,
    /// Breadths of the approximate search
    #[arg(long, value_delimiter = ',', default_value = "16,32,64,128,256")]
    ef: Vec<usize>,
    /// Write recall against searches per second as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

pub(crate) fn run(args: &CollectionArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let report = runtime()?.block_on(async {
        let target = Target::reach(&args.target, global).await?;
        let report = measure(&target.client, args).await;
        target.leave().await?;
        report
    })?;
    if let Some(file) = &args.plot {
        plot(&dots(&report), file)?;
    }
    print(&report, args.json)
}

async fn measure(client: &Client, args: &CollectionArgs) -> anyhow::Result<Value> {
    let body = json!({ "collection": args.collection, "k": args.k, "sample": args.sample, "ef": args.ef, "modes": ["vector", "lexical"] });
    let begun = client.post("/v1/benchmarks", &body).await?;
    let id = begun.get("id").and_then(Value::as_str).context("the server's answer has no benchmark id")?.to_owned();
    loop {
        let report = client.get(&format!("/v1/benchmarks/{id}")).await?;
        match report.get("status").and_then(Value::as_str) {
            Some("succeeded") => return Ok(report),
            Some("running") => tokio::time::sleep(LOOK_AGAIN).await,
            _ => bail!("the benchmark failed: {}", report.get("reason").and_then(Value::as_str).unwrap_or("no reason given")),
        }
    }
}

fn points(report: &Value) -> impl Iterator<Item = &Value> {
    report.get("points").and_then(Value::as_array).into_iter().flatten()
}

fn number(point: &Value, field: &str) -> Option<f64> {
    point.get(field).and_then(Value::as_f64)
}

#[expect(clippy::print_stdout, reason = "the command's output")]
fn print(report: &Value, as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        println!("{}", serde_json::to_string_pretty(report)?);
        return Ok(ExitCode::SUCCESS);
    }
    let text = |field: &str| report.get(field).map(|value| value.to_string().trim_matches('"').to_owned()).unwrap_or_default();
    println!("{}: {} chunks, {} queries, k = {}", text("collection"), text("rows"), text("queries"), text("k"));
    println!("{:<8} {:>6} {:>8} {:>9} {:>9} {:>9} {:>10}", "mode", "ef", "recall", "p50 ms", "p95 ms", "p99 ms", "queries/s");
    for point in points(report) {
        let mode = point.get("mode").and_then(Value::as_str).unwrap_or_default();
        let is_exact = point.get("exact").and_then(Value::as_bool).unwrap_or_default();
        let ef =
            point.get("ef").and_then(Value::as_u64).map_or_else(|| if is_exact { "exact".into() } else { "–".into() }, |ef| ef.to_string());
        let recall = number(point, "recall").map_or_else(|| "–".into(), |recall| format!("{recall:.4}"));
        let ms = |field| number(point, field).unwrap_or_default();
        println!("{mode:<8} {ef:>6} {recall:>8} {:>9.3} {:>9.3} {:>9.3} {:>10.0}", ms("p50_ms"), ms("p95_ms"), ms("p99_ms"), ms("qps"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Recall and searches a second of each breadth.
fn dots(report: &Value) -> Vec<(f64, f64)> {
    let vector = points(report).filter(|point| point.get("mode").and_then(Value::as_str) == Some("vector"));
    vector.filter_map(|point| Some((number(point, "recall")?, number(point, "qps")?))).collect()
}
