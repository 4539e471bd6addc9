//! `ragstone eval retrieval DIR…`: judged collections in BEIR layout, through the API: documents go
//! in over HTTP, every query is searched in every mode, and the rankings are scored.

mod guards;

use super::target::{Target, TargetArgs};
use super::{Global, runtime};
use crate::client::{Client, segment};
use ::query::{BeirSet, BeirText, Figures};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use futures::StreamExt;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Hits asked for: enough chunks for ten documents.
const HITS: usize = 100;
/// Requests under way at a time.
const CONCURRENT: usize = 8;

#[derive(Debug, Subcommand)]
pub(crate) enum EvalCommand {
    /// nDCG@10, recall@10 and MRR@10 of each retrieval mode
    Retrieval(RetrievalArgs),
    /// What the guards find of judged personal data and injections; needs no server
    Guards(guards::GuardArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RetrievalArgs {
    /// Folders with corpus.jsonl, queries.jsonl and qrels.tsv
    #[arg(required = true, value_name = "DIR")]
    sets: Vec<PathBuf>,
    /// Modes to measure
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
    /// Write the chunks as JSON lines `{document, text}` into this folder, for a check by other means
    #[arg(long, value_name = "DIR")]
    dump_chunks: Option<PathBuf>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

pub(crate) fn run(command: &EvalCommand, global: &Global) -> anyhow::Result<ExitCode> {
    let args = match command {
        EvalCommand::Retrieval(args) => args,
        EvalCommand::Guards(args) => return guards::run(args),
    };
    let sets = runtime()?.block_on(async {
        let target = Target::reach(&args.target, global).await?;
        let mut sets = Vec::new();
        for folder in &args.sets {
            sets.push(measure(&target.client, args, folder).await.with_context(|| format!("{}", folder.display()))?);
        }
        target.leave().await?;
        anyhow::Ok(sets)
    })?;
    print(&sets, args.json)
}

async fn measure(client: &Client, args: &RetrievalArgs, folder: &Path) -> anyhow::Result<Value> {
    let set = BeirSet::read(folder)?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let collection = format!("eval-{name}{}", args.max_tokens.map(|tokens| format!("-{tokens}")).unwrap_or_default());
    upload(client, &collection, &set, args.max_tokens).await?;
    if let Some(folder) = &args.dump_chunks {
        dump_chunks(client, &collection, &set, &folder.join(format!("{name}.chunks.jsonl"))).await?;
    }
    let mut modes = Map::new();
    for mode in &args.modes {
        modes.insert(mode.clone(), score(client, args, &collection, &set, mode).await?);
    }
    Ok(json!({ "name": name, "documents": set.documents.len(), "queries": judged(&set, args).len(), "modes": modes }))
}

/// Puts every document that is not there yet in and waits for the last.
async fn upload(client: &Client, collection: &str, set: &BeirSet, max_tokens: Option<usize>) -> anyhow::Result<()> {
    let path = format!("/v1/collections/{}", segment(collection));
    let chunking = max_tokens.map_or(json!({}), |tokens| json!({ "max_tokens": tokens }));
    client.ensure_collection(&json!({ "name": collection, "chunking": chunking })).await?;
    let documents = format!("{path}/documents");
    let bar = indicatif::ProgressBar::new(set.documents.len() as u64);
    let uploads = set.documents.iter().filter(|document| !document.text.trim().is_empty()).map(|document| {
        let body = json!({ "text": document.whole(), "external_id": document.id, "name": format!("{}.txt", document.id) });
        let (documents, bar) = (&documents, &bar);
        async move {
            let answer = client.post(&format!("{documents}?wait=true"), &body).await?;
            bar.inc(1);
            match answer.pointer("/documents/0/status").and_then(Value::as_str) {
                Some("ready") => Ok(()),
                _ => bail!("document {} did not become ready: {answer}", document.id),
            }
        }
    });
    let mut uploads = futures::stream::iter(uploads).buffer_unordered(4 * CONCURRENT);
    while let Some(uploaded) = uploads.next().await {
        uploaded?;
    }
    bar.finish_and_clear();
    Ok(())
}

fn judged<'s>(set: &'s BeirSet, args: &RetrievalArgs) -> &'s [BeirText] {
    let count = args.queries_max.unwrap_or(usize::MAX).min(set.queries.len());
    set.queries.get(..count).unwrap_or_default()
}

async fn score(client: &Client, args: &RetrievalArgs, collection: &str, set: &BeirSet, mode: &str) -> anyhow::Result<Value> {
    let path = format!("/v1/collections/{}/search", segment(collection));
    let queries = judged(set, args);
    let searches = queries.iter().map(|query| {
        let body = json!({ "query": query.text, "top_k": HITS, "mode": mode, "exact": args.exact });
        let path = &path;
        async move { Ok::<_, anyhow::Error>((query, ranking(&client.post(path, &body).await?))) }
    });
    let mut searches = futures::stream::iter(searches).buffer_unordered(CONCURRENT);
    let mut figures = Vec::with_capacity(queries.len());
    while let Some(found) = searches.next().await {
        let (query, ranking) = found?;
        figures.extend(set.judgements.get(&query.id).map(|judged| Figures::of(&ranking, judged)));
    }
    Ok(json!(Figures::mean(&figures)))
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
    println!("{:<20} {:>6} {:>8}  {:<8} {:>8} {:>10} {:>7}", "set", "docs", "queries", "mode", "nDCG@10", "recall@10", "MRR@10");
    for set in sets {
        let text = |field: &str| set.get(field).map(|value| value.to_string().trim_matches('"').to_owned()).unwrap_or_default();
        for (mode, scores) in set.get("modes").and_then(Value::as_object).into_iter().flatten() {
            let score = |field: &str| scores.get(field).and_then(Value::as_f64).unwrap_or_default();
            println!(
                "{:<20} {:>6} {:>8}  {mode:<8} {:>8.4} {:>10.4} {:>7.4}",
                text("name"),
                text("documents"),
                text("queries"),
                score("ndcg_at_10"),
                score("recall_at_10"),
                score("mrr_at_10")
            );
        }
    }
    Ok(ExitCode::SUCCESS)
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
}
