//! `ragstone verify`: every invariant of a data directory.

use super::{Global, start_logging};
use clap::Args;
use index::verify::{Finding, VerifyError, VerifyReport};
use std::path::PathBuf;
use std::process::ExitCode;

/// The directory is sound; there are findings; nothing can be said.
const UNKNOWN: u8 = 2;
/// Findings that are printed one by one.
const SHOWN: usize = 200;

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &VerifyArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let data = begin(global)?;
    match index::verify::verify(&data) {
        Ok(report) => print(&report, args.json),
        Err(error) => Ok(unknown(&error)),
    }
}

/// The data directory, with logs of warnings and worse only.
pub(super) fn begin(global: &Global) -> anyhow::Result<PathBuf> {
    let config = global.overrides(None).settings()?.config;
    start_logging(global.log.as_deref().unwrap_or("error"), &config.log.format)?;
    index::store::on_storage_panic(|| {
        eprintln!("ragstone: the store is damaged: one of its threads panicked over it; restore a backup");
        std::process::exit(i32::from(UNKNOWN));
    });
    Ok(config.server.data_dir)
}

pub(super) fn unknown(error: &VerifyError) -> ExitCode {
    eprintln!("ragstone: {error}");
    ExitCode::from(UNKNOWN)
}

#[expect(clippy::print_stdout, reason = "the command's output")]
pub(super) fn print(report: &VerifyReport, as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        println!("{}", serde_json::to_string_pretty(report)?);
    } else {
        report.findings.iter().take(SHOWN).for_each(|finding| println!("{}", line(finding)));
        let VerifyReport { values, collections, documents, chunks, blobs, .. } = report;
        println!("{values} records, {collections} collections, {documents} documents, {chunks} chunks, {blobs} originals");
        println!("{} errors, {} repairable, {} notes", report.errors, report.repairable, report.notes);
    }
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn line(finding: &Finding) -> String {
    let severity = serde_json::to_value(finding.severity).unwrap_or_default();
    format!("{:<10} {:<20} {}: {}", severity.as_str().unwrap_or_default(), finding.code, finding.place, finding.detail)
}
