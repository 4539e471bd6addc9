//! `ragstone eval …`: what is measured against judged data, one file for each command.

mod retrieval;

use super::target::{Target, TargetArgs};
use super::{Global, runtime};
use clap::Subcommand;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(crate) enum EvalCommand {
    /// nDCG@10, recall@10 and MRR@10 of each retrieval mode
    Retrieval(Box<retrieval::RetrievalArgs>),
}

pub(crate) fn run(command: &EvalCommand, global: &Global) -> anyhow::Result<ExitCode> {
    match command {
        EvalCommand::Retrieval(args) => retrieval::run(args, global),
    }
}
