//! `ragstone repair`: says what it would do; does it with `--yes`.

use super::{Global, verify};
use clap::Args;
use index::verify::VerifyReport;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    /// Do it, instead of only saying it
    #[arg(long)]
    yes: bool,
}

pub(crate) fn run(args: &RepairArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let data = verify::begin(global)?;
    let repaired = index::verify::repair(&data, |report| {
        announce(report, args.yes);
        args.yes
    });
    match repaired {
        Ok(report) => verify::print(&report, false),
        Err(error) => Ok(verify::unknown(&error)),
    }
}

#[expect(clippy::print_stdout, reason = "the command's output")]
fn announce(report: &VerifyReport, is_done: bool) {
    let fixes: Vec<_> = report.findings.iter().filter_map(|finding| Some((finding.code, finding.fix.as_ref()?))).collect();
    fixes.iter().for_each(|(code, fix)| println!("{} {fix}  ({code})", if is_done { "repairing:" } else { "would" }));
    if !is_done {
        println!("nothing was changed; `ragstone repair --yes` does this");
    }
}
