//! `ragstone backup FILE`: from a running server over HTTP, or from a data directory at rest.

use super::{Global, runtime, start_logging};
use crate::client::{Client, segment};
use anyhow::{Context, bail};
use clap::Args;
use index::backup::{BackupOptions, backup_directory};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Between two looks at a backup that is being made.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Where the backup goes; nothing may be there
    file: PathBuf,
    /// Server to back up; without it the one on 127.0.0.1:7272, or else the data directory, if no server runs on it
    #[arg(long, env = "RAGSTONE_SERVER", value_name = "URL")]
    server: Option<String>,
}

#[expect(clippy::print_stdout, reason = "the command's output")]
pub(crate) fn run(args: &BackupArgs, global: &Global) -> anyhow::Result<ExitCode> {
    if args.file.exists() {
        bail!("{} is there already", args.file.display());
    }
    let sha256 = match runtime()?.block_on(online(args, global))? {
        Some(sha256) => sha256,
        None => offline(args, global)?,
    };
    println!("{sha256}  {}", args.file.display());
    Ok(ExitCode::SUCCESS)
}

fn offline(args: &BackupArgs, global: &Global) -> anyhow::Result<String> {
    let config = global.overrides(None).settings()?.config;
    start_logging(global.log.as_deref().unwrap_or("warn"), &config.log.format)?;
    index::store::exit_on_storage_panic();
    let options = BackupOptions { reserve_bytes: 0, should_stop: &|| false };
    Ok(backup_directory(&config.server.data_dir, &args.file, &options)?.sha256)
}

/// `None` if there is no server to ask.
async fn online(args: &BackupArgs, global: &Global) -> anyhow::Result<Option<String>> {
    let client = Client::new(args.server.as_deref().unwrap_or("http://127.0.0.1:7272"), std::env::var("RAGSTONE_API_KEY").ok())?;
    if args.server.is_none() && (global.data_dir.is_some() || client.check().await.is_err()) {
        return Ok(None);
    }
    let begun = client.post("/v1/backups", &json!({})).await?;
    let path = format!("/v1/backups/{}", segment(text(&begun, "id")?));
    let made = wait(&client, &path).await?;
    let sha256 = text(&made, "sha256")?;
    let fetched = fetch(&client, &format!("{path}/content"), sha256, &args.file).await;
    client.delete(&path).await?;
    fetched?;
    Ok(Some(sha256.to_owned()))
}

async fn wait(client: &Client, path: &str) -> anyhow::Result<Value> {
    loop {
        let backup = client.get(path).await?;
        match text(&backup, "status")? {
            "succeeded" => return Ok(backup),
            "running" => tokio::time::sleep(LOOK_AGAIN).await,
            _ => bail!("the backup failed: {}", backup.get("reason").and_then(Value::as_str).unwrap_or("no reason given")),
        }
    }
}

async fn fetch(client: &Client, path: &str, sha256: &str, file: &Path) -> anyhow::Result<()> {
    let partial = PathBuf::from(format!("{}.partial", file.display()));
    let found = client.download(path, &partial).await.with_context(|| format!("can't write {}", partial.display()))?;
    if found != sha256 {
        std::fs::remove_file(&partial)?;
        bail!("the download was damaged on its way: sha256 {found} instead of {sha256}");
    }
    Ok(std::fs::rename(&partial, file)?)
}

fn text<'v>(value: &'v Value, field: &str) -> anyhow::Result<&'v str> {
    value.get(field).and_then(Value::as_str).with_context(|| format!("the server's answer has no {field}"))
}
