//! `ragstone restore FILE`: a backup becomes a data directory, which is verified.

use super::{Global, start_logging, verify};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup; --data-dir names a new or empty folder
    file: PathBuf,
}

pub(crate) fn run(args: &RestoreArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let config = global.overrides(None).settings()?.config;
    start_logging(global.log.as_deref().unwrap_or("error"), &config.log.format)?;
    index::store::exit_on_storage_panic();
    let data = config.server.data_dir;
    index::backup::restore(&args.file, &data)?;
    match index::verify::verify(&data) {
        Ok(report) => verify::print(&report, false),
        Err(error) => Ok(verify::unknown(&error)),
    }
}
