//! `ragstone openapi`.

use std::process::ExitCode;

#[expect(clippy::print_stdout, reason = "the command's output")]
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    println!("{}", crate::http::OPENAPI.trim_end());
    Ok(ExitCode::SUCCESS)
}
