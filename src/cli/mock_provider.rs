//! `ragstone mock-provider`: a model provider that plays a script.

use super::runtime;
use anyhow::Context;
use clap::Args;
use mock::{Access, Mock, Script};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Without a script every chat is told what it said, and embeddings are hashes.
///
/// OpenAI's and Azure's chat, embeddings, models, files, batches, /v1/rerank and TEI's /rerank; Anthropic's /v1/messages.
/// GET and DELETE /mock/calls say and forget what it was asked, GET and PUT /mock/script say and change the script.
#[derive(Debug, Args)]
pub(crate) struct MockProviderArgs {
    /// Address and port; port 0 picks a free one, which the first line names
    #[arg(long, default_value = "127.0.0.1:4010", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// What to answer, and what goes wrong, in TOML or (*.json) JSON
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Milliseconds before the headers of an answer, where the script's steps say nothing else
    #[arg(long, value_name = "N")]
    latency_ms: Option<u64>,
    /// Milliseconds between the chunks of a stream, likewise
    #[arg(long, value_name = "N")]
    chunk_ms: Option<u64>,
    /// Words in a chunk of a stream, likewise
    #[arg(long, value_name = "N")]
    tokens: Option<usize>,
    /// Refuse calls without an API key; any key will do
    #[arg(long)]
    api_key_required: bool,
}

pub(crate) fn run(args: &MockProviderArgs) -> anyhow::Result<ExitCode> {
    let script = script(args)?;
    let access = if args.api_key_required { Access::AnyKey } else { Access::Open };
    runtime()?.block_on(async {
        // Before anybody is told the address: who is told may end this at once.
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mock = Mock::start_on(args.listen, script, access).await.with_context(|| format!("can't listen on {}", args.listen))?;
        eprintln!("ragstone {} mock provider listens on {}", env!("CARGO_PKG_VERSION"), mock.url());
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        mock.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// The script, with the pace that was asked for.
fn script(args: &MockProviderArgs) -> anyhow::Result<Script> {
    let mut script = args.script.as_deref().map(read).transpose()?.unwrap_or_default();
    let pace = &mut script.default;
    pace.latency_ms = args.latency_ms.or(pace.latency_ms);
    pace.chunk_ms = args.chunk_ms.or(pace.chunk_ms);
    pace.tokens = args.tokens.or(pace.tokens);
    Ok(script)
}

fn read(path: &Path) -> anyhow::Result<Script> {
    let text = std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
    let is_json = path.extension().is_some_and(|extension| extension == "json");
    let script = if is_json { serde_json::from_str(&text).map_err(Into::into) } else { toml::from_str(&text).map_err(anyhow::Error::from) };
    script.with_context(|| format!("{} is no script", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: MockProviderArgs,
    }

    #[test]
    fn flags_set_the_pace_of_a_script_of_either_format() {
        let directory = tempfile::tempdir().unwrap();
        let files = [
            ("a.toml", "default = { latency_ms = 1, tokens = 2 }\n[[steps.small]]\nstatus = 429\n"),
            ("a.json", r#"{"default": {"latency_ms": 1, "tokens": 2}, "steps": {"small": [{"status": 429}]}}"#),
        ];
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            let line = ["mock-provider", "--latency-ms", "7", "--chunk-ms", "5", "--script", path.to_str().unwrap()];
            let script = script(&Line::try_parse_from(line).unwrap().args).unwrap();
            let pace = &script.default;
            assert_eq!((pace.latency_ms, pace.chunk_ms, pace.tokens), (Some(7), Some(5), Some(2)), "{name}");
            assert_eq!(script.steps["small"][0].status, Some(429), "{name}");
        }
        let slip = directory.path().join("slip.toml");
        std::fs::write(&slip, "latency = 3").unwrap();
        assert!(read(&slip).is_err());
    }
}
