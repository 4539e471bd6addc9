//! `ragstone ingest PATHS…`: walks folders, uploads every file, follows the jobs to their end.

use super::target::{Target, TargetArgs};
use super::{Global, runtime};
use crate::client::{Client, segment};
use anyhow::{Context, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Uploads whose documents are not through yet; enough to keep the server busy.
const IN_FLIGHT: usize = 64;
/// Between two looks at a document that is not through.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
pub(crate) struct IngestArgs {
    /// Files and folders; folders are walked, hidden files and folders left out
    #[arg(required = true, value_name = "PATHS")]
    paths: Vec<PathBuf>,
    /// Collection to put them in; made if it is missing
    #[arg(long, default_value = "default", value_name = "NAME")]
    collection: String,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

pub(crate) fn run(args: IngestArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let files = walk(&args.paths)?;
    if files.is_empty() {
        bail!("there are no files in what was named");
    }
    runtime()?.block_on(async {
        let target = Target::reach(&args.target, global).await?;
        let summary = Run::new(target.client.clone(), &args.collection, files.len()).ingest(files).await;
        target.leave().await?;
        report(&summary?, args.json)
    })
}

/// A file and the name it is uploaded under: its path below the folder that was named.
struct Found {
    path: PathBuf,
    name: String,
}

fn walk(paths: &[PathBuf]) -> anyhow::Result<Vec<Found>> {
    let mut files = Vec::new();
    for path in paths {
        let metadata = std::fs::metadata(path).with_context(|| format!("can't read {}", path.display()))?;
        if metadata.is_dir() {
            walk_folder(path, path, &mut files)?;
        } else {
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            files.push(Found { path: path.clone(), name });
        }
    }
    Ok(files)
}

fn walk_folder(root: &Path, folder: &Path, files: &mut Vec<Found>) -> anyhow::Result<()> {
    let listed = std::fs::read_dir(folder).with_context(|| format!("can't read the folder {}", folder.display()))?;
    let mut entries = listed.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type()?);
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if kind.is_dir() {
            walk_folder(root, &path, files)?;
        } else if kind.is_file() {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            files.push(Found { path, name });
        }
    }
    Ok(())
}

#[derive(Default)]
struct Summary {
    ready: usize,
    duplicates: usize,
    failed: Vec<(String, String)>,
    chunks: u64,
    bytes: u64,
    seconds: f64,
}

/// An upload under way.
struct Uploaded {
    name: String,
    document: String,
}

struct Run {
    client: Client,
    collection: String,
    documents: String,
    bar: ProgressBar,
    in_flight: VecDeque<Uploaded>,
    summary: Summary,
}

impl Run {
    fn new(client: Client, collection: &str, files: usize) -> Self {
        let bar = ProgressBar::new(files as u64);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} files  {per_sec}  ETA {eta}  {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let documents = format!("/v1/collections/{}/documents", segment(collection));
        Self { client, collection: collection.to_owned(), documents, bar, in_flight: VecDeque::new(), summary: Summary::default() }
    }

    async fn ingest(mut self, files: Vec<Found>) -> anyhow::Result<Summary> {
        let began = Instant::now();
        self.ensure_collection().await?;
        for file in files {
            if self.in_flight.len() == IN_FLIGHT {
                self.finish_oldest().await?;
            }
            self.upload(file).await?;
        }
        while !self.in_flight.is_empty() {
            self.finish_oldest().await?;
        }
        self.bar.finish_and_clear();
        self.summary.seconds = began.elapsed().as_secs_f64();
        Ok(self.summary)
    }

    async fn ensure_collection(&self) -> anyhow::Result<()> {
        self.client.ensure_collection(&json!({ "name": self.collection })).await
    }

    /// A file that can't be read or that the server refuses is a failure of that file, not of the run.
    async fn upload(&mut self, file: Found) -> anyhow::Result<()> {
        self.bar.set_message(file.name.clone());
        let bytes = match std::fs::read(&file.path) {
            Ok(bytes) => bytes,
            Err(error) => return self.failed(file.name, error.to_string()),
        };
        self.summary.bytes += bytes.len() as u64;
        match self.client.upload(&self.documents, &file.name, bytes).await {
            Ok(answer) => {
                let document =
                    answer.pointer("/documents/0/id").and_then(Value::as_str).context("the server's answer has no document id")?;
                if answer.pointer("/documents/0/duplicate") == Some(&Value::Bool(true)) {
                    self.summary.duplicates += 1;
                }
                self.in_flight.push_back(Uploaded { name: file.name, document: document.to_owned() });
                Ok(())
            }
            Err(error) => self.failed(file.name, error.to_string()),
        }
    }

    fn failed(&mut self, name: String, reason: String) -> anyhow::Result<()> {
        self.bar.inc(1);
        self.summary.failed.push((name, reason));
        Ok(())
    }

    async fn finish_oldest(&mut self) -> anyhow::Result<()> {
        let Some(Uploaded { name, document }) = self.in_flight.pop_front() else { return Ok(()) };
        let path = format!("{}/{document}", self.documents);
        loop {
            let state = self.client.get(&path).await?;
            let text = |field: &str| state.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
            match text("status").as_str() {
                "ready" => {
                    self.summary.ready += 1;
                    self.summary.chunks += state.get("chunks").and_then(Value::as_u64).unwrap_or_default();
                    self.bar.inc(1);
                    return Ok(());
                }
                "failed" => return self.failed(name, text("reason")),
                "cancelled" => return self.failed(name, "cancelled".into()),
                _ => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }
}

#[expect(clippy::print_stdout, reason = "the command's output")]
fn report(summary: &Summary, as_json: bool) -> anyhow::Result<ExitCode> {
    let Summary { ready, duplicates, failed, chunks, bytes, seconds } = summary;
    if as_json {
        let failed: Vec<Value> = failed.iter().map(|(name, reason)| json!({ "name": name, "reason": reason })).collect();
        let body = json!({
            "ready": ready, "duplicates": duplicates, "failed": failed, "chunks": chunks, "bytes": bytes, "seconds": seconds,
        });
        println!("{}", serde_json::to_string_pretty(&body)?);
    } else {
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = (ready + failed.len()) as f64 / seconds.max(1e-9);
        println!(
            "{ready} ready ({duplicates} known already), {} failed, {chunks} chunks in {seconds:.1} s ({rate:.1} files/s)",
            failed.len()
        );
        for (name, reason) in failed {
            println!("  failed  {name}: {reason}");
        }
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}
