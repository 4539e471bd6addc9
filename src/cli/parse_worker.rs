//! `ragstone parse-worker`: the child that parses one document for the server.

use std::process::ExitCode;

pub(crate) fn run() -> anyhow::Result<ExitCode> {
    ::ingest::parse::serve_child(std::io::stdin().lock(), std::io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}
