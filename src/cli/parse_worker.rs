//! `ragstone parse-worker`: a child that parses documents for the server, shut in for good.

use std::process::ExitCode;

pub(crate) fn run() -> anyhow::Result<ExitCode> {
    ::ingest::parse::serve_child(std::io::stdin().lock(), std::io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}
