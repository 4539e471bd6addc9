//! `ragstone eval compression FILE…`: the same questions with all of the context and with shares of it: what a model is
//! shown, whether the evidence is still there, and how good the answers are.
//!
//! What was shown is read from the traces, so the server must keep them. It must have a model: without one nothing is
//! compressed. For the figures of the context alone `ragstone mock-provider` will do.

use super::answers::{collection_of, read};
use super::{Global, Target, TargetArgs, runtime};
use crate::client::{Client, segment};
use ::query::{Case, CaseScore, Comparison, ContextScore, ContextSummary, Given, GivenContext, GivenText, QueryScores};
use anyhow::{Context, bail, ensure};
use clap::Args;
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(crate) struct CompressionArgs {
    /// Files of JSON lines `{question, expected?, evidence?, relevant?, id?}`, or folders in BEIR layout with answers.jsonl
    #[arg(required = true, value_name = "FILE")]
    sets: Vec<PathBuf>,
    /// Collection to ask; without it and --corpus a folder's own corpus is uploaded
    #[arg(long, value_name = "NAME", conflicts_with = "corpus")]
    collection: Option<String>,
    /// Folder with a corpus.jsonl to upload and ask
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// Shares of the context to keep, 0.1 to 1; all of it is always measured
    #[arg(long, value_delimiter = ',', default_values_t = [0.7, 0.5, 0.3], value_name = "SHARE,…")]
    shares: Vec<f64>,
    /// Ask at most so many questions of each file, taken evenly from all of it
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Model that answers; without it the server's default
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Chunks to answer from
    #[arg(long, short = 'k', default_value_t = 5)]
    top_k: usize,
    /// Questions under way at a time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    clients: u16,
    /// Print as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

/// The whole context.
const ALL: f64 = 1.0;

pub(super) fn run(args: &CompressionArgs, global: &Global) -> anyhow::Result<ExitCode> {
    ensure!(args.shares.iter().all(|share| (0.1..=ALL).contains(share)), "--shares must be 0.1 to 1");
    let sets = runtime()?.block_on(async {
        let target = Target::reach(&args.target, global).await?;
        let mut sets = Vec::new();
        for file in &args.sets {
            sets.push(measure(&target.client, args, file).await.with_context(|| format!("{}", file.display()))?);
        }
        target.leave().await?;
        anyhow::Ok(sets)
    })?;
    print(&sets, args.json)
}

async fn measure(client: &Client, args: &CompressionArgs, file: &Path) -> anyhow::Result<Value> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let collection = collection_of(client, args.collection.as_deref(), args.corpus.as_deref(), file).await?;
    let mut cases = read(file, args.limit)?;
    // Without evidence there is nothing to lose.
    cases.retain(|(_, case)| case.is_answerable() && !case.evidence.is_empty());
    ensure!(!cases.is_empty(), "no case has evidence");
    let whole = ask_all(client, args, &collection, &cases, ALL).await?;
    let scores = |all: &[ContextScore]| -> BTreeMap<String, QueryScores> {
        all.iter().map(|score| (score.answer.id.clone(), score.scores())).collect()
    };
    let before = scores(&whole);
    let mut shares = vec![json!({ "share": ALL, "summary": ContextSummary::of(&whole) })];
    for share in args.shares.iter().filter(|share| **share < ALL) {
        let all = ask_all(client, args, &collection, &cases, *share).await?;
        let comparison = Comparison::of(&before, &scores(&all));
        shares.push(json!({ "share": share, "summary": ContextSummary::of(&all), "comparison": comparison }));
    }
    Ok(json!({ "name": name, "collection": collection, "model": args.model, "top_k": args.top_k, "shares": shares }))
}

async fn ask_all(
    client: &Client,
    args: &CompressionArgs,
    collection: &str,
    cases: &[(String, Case)],
    share: f64,
) -> anyhow::Result<Vec<ContextScore>> {
    let bar = indicatif::ProgressBar::new(cases.len() as u64);
    let asked = cases.iter().map(|(id, case)| {
        let bar = &bar;
        async move {
            let score = ask(client, args, collection, id, case, share).await.with_context(|| format!("case {id}"));
            bar.inc(1);
            score
        }
    });
    let asked: Vec<anyhow::Result<ContextScore>> = futures::stream::iter(asked).buffered(args.clients.into()).collect().await;
    bar.finish_and_clear();
    // A share without the cases that another one has could not be compared with it.
    asked.into_iter().collect()
}

/// Asks, and looks into the trace for what the model was shown.
async fn ask(client: &Client, args: &CompressionArgs, collection: &str, id: &str, case: &Case, share: f64) -> anyhow::Result<ContextScore> {
    #[derive(Deserialize)]
    struct Answered {
        trace_id: String,
        sources: Vec<GivenText>,
        degraded_reason: Option<String>,
    }
    let path = format!("/v1/collections/{}/query", segment(collection));
    let body = json!({
        "question": case.question, "top_k": args.top_k, "model": args.model, "cache": "bypass", "compression_share": share,
    });
    let answer = client.post(&path, &body).await?;
    let Answered { trace_id, sources, degraded_reason } = Answered::deserialize(&answer)?;
    let given = Given::deserialize(&answer)?;
    if given.mode != "generated" && !sources.is_empty() {
        bail!("no model answered: {}", degraded_reason.as_deref().unwrap_or("the server has none, so nothing is compressed"));
    }
    let trace = client.get(&format!("/v1/traces/{}", segment(&trace_id))).await;
    let trace = trace.context("the server must keep traces: traces.enabled, and traces.sample = 1")?;
    let context = GivenContext::deserialize(trace.get("context").unwrap_or(&Value::Null))?;
    Ok(ContextScore::of(CaseScore::of(id.to_owned(), case, &given), case, &sources, &context))
}

#[expect(clippy::print_stdout, reason = "the command's output")]
fn print(sets: &[Value], as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        println!("{}", serde_json::to_string_pretty(&json!({ "sets": sets }))?);
        return Ok(ExitCode::SUCCESS);
    }
    for set in sets {
        let field = |name: &str| set.get(name).and_then(Value::as_str).unwrap_or_default();
        println!("{} against {}", field("name"), field("collection"));
        println!(
            "  {:>5} {:>6} {:>9} {:>9} {:>6} {:>9} {:>9} {:>7} {:>7}",
            "share", "cases", "tokens", "of all", "kept", "evidence", "all of it", "F1", "hit"
        );
        for share in set.get("shares").and_then(Value::as_array).into_iter().flatten() {
            let summary = share.get("summary").map(ContextSummary::deserialize).transpose()?.unwrap_or_default();
            let figure = |value: Option<f64>, digits: usize| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"));
            let ContextSummary { cases, tokens, tokens_whole, tokens_kept, evidence_kept, all_evidence_kept, f1, evidence_hit, .. } =
                summary;
            println!(
                "  {:>5} {cases:>6} {:>9} {:>9} {:>6} {:>9} {:>9} {:>7} {:>7}",
                figure(share.get("share").and_then(Value::as_f64), 2),
                figure(tokens, 1),
                figure(tokens_whole, 1),
                figure(tokens_kept, 3),
                figure(evidence_kept, 3),
                figure(all_evidence_kept, 3),
                figure(f1, 4),
                figure(evidence_hit, 4),
            );
        }
        println!();
    }
    Ok(ExitCode::SUCCESS)
}
