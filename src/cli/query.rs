//! `ragstone query`.

use super::search::place;
use super::target::{Target, TargetArgs};
use super::{Global, runtime};
use crate::client::segment;
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// The question
    question: String,
    /// Collection to answer from
    #[arg(long, default_value = "default", value_name = "NAME")]
    collection: String,
    /// Chunks to answer from
    #[arg(long, short = 'k', default_value_t = 5)]
    top_k: usize,
    /// Print the server's answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

#[expect(clippy::print_stdout, reason = "the command's output")]
pub(crate) fn run(args: &QueryArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let answer = runtime()?.block_on(async {
        let target = Target::reach(&args.target, global).await?;
        let path = format!("/v1/collections/{}/query", segment(&args.collection));
        let answer = target.client.post(&path, &json!({ "question": args.question, "top_k": args.top_k })).await;
        target.leave().await?;
        answer
    })?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}\n", answer.get("answer").and_then(Value::as_str).unwrap_or_default());
    for citation in answer.get("citations").and_then(Value::as_array).into_iter().flatten() {
        println!("{}", line(citation, &answer));
    }
    Ok(ExitCode::SUCCESS)
}

/// `[1] name, page 3 [characters 120–480] “quote”`.
fn line(citation: &Value, answer: &Value) -> String {
    let marker = citation.get("marker").map(ToString::to_string).unwrap_or_default();
    let document = citation.get("document_id");
    let sources = answer.get("sources").and_then(Value::as_array);
    let source = sources.into_iter().flatten().find(|source| source.get("document_id") == document);
    let mut named = citation.clone();
    if let (Some(fields), Some(source)) = (named.as_object_mut(), source) {
        fields.insert("document_name".into(), source.get("document_name").cloned().unwrap_or_default());
    }
    let quote = citation.get("quote").and_then(Value::as_str).unwrap_or_default();
    format!("[{}] {}\n    “{}”", marker.trim_matches(['"', '[', ']']), place(&named, "document_name"), quote.trim())
}
