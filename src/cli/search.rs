//! `ragstone search`.

use super::target::{Target, TargetArgs};
use super::{Global, runtime};
use crate::client::segment;
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Characters of a hit's text that are shown.
const SHOWN_CHARS: usize = 200;

#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// What to look for
    query: String,
    /// Collection to look in
    #[arg(long, default_value = "default", value_name = "NAME")]
    collection: String,
    /// Hits to show
    #[arg(long, short = 'k', default_value_t = 10)]
    top_k: usize,
    /// hybrid, vector or lexical
    #[arg(long, default_value = "hybrid")]
    mode: String,
    /// Print the server's answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

#[expect(clippy::print_stdout, reason = "the command's output")]
pub(crate) fn run(args: &SearchArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let answer = runtime()?.block_on(async {
        let target = Target::reach(&args.target, global).await?;
        let path = format!("/v1/collections/{}/search", segment(&args.collection));
        let answer = target.client.post(&path, &json!({ "query": args.query, "top_k": args.top_k, "mode": args.mode })).await;
        target.leave().await?;
        answer
    })?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(ExitCode::SUCCESS);
    }
    let hits = answer.get("hits").and_then(Value::as_array).cloned().unwrap_or_default();
    for (rank, hit) in hits.iter().enumerate() {
        println!("{}. {}", rank + 1, line(hit));
    }
    if hits.is_empty() {
        println!("nothing found");
    }
    Ok(ExitCode::SUCCESS)
}

/// `name, page 3 [120..480] 0.0325` and the start of the text.
pub(super) fn line(hit: &Value) -> String {
    let text = hit.get("text").and_then(Value::as_str).unwrap_or_default();
    let shown: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(SHOWN_CHARS).collect();
    let score = hit.get("score").and_then(Value::as_f64).unwrap_or_default();
    format!("{}  score {score:.4}\n   {shown}", place(hit, "document_name"))
}

/// Where a hit or citation stands: name, page, characters.
pub(super) fn place(value: &Value, name: &str) -> String {
    let name = value.get(name).and_then(Value::as_str).unwrap_or_default();
    let page = value.get("page").and_then(Value::as_u64).map(|page| format!(", page {page}")).unwrap_or_default();
    let at = |field: &str| value.pointer(&format!("/span/{field}")).and_then(Value::as_u64).unwrap_or_default();
    format!("{name}{page} [characters {}–{}]", at("char_start"), at("char_end"))
}
