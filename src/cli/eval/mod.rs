//! `ragstone eval …`: what is measured against judged data, one file for each command.

mod answers;
mod citations;
mod compression;
mod guards;
mod report;
mod retrieval;
mod upload;

use super::target::{Target, TargetArgs};
use super::{Global, runtime};
use clap::Subcommand;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(crate) enum EvalCommand {
    /// nDCG@10, recall@10, recall@100 and MRR@10 of each retrieval mode
    Retrieval(Box<retrieval::RetrievalArgs>),
    /// Exact match, F1, evidence, citations and abstention of answers
    Answers(Box<answers::AnswersArgs>),
    /// False statements that the citation gate finds, and true ones that it doubts
    Citations(citations::CitationsArgs),
    /// What compression leaves of the context that a model is shown, and what that does to its answers
    Compression(Box<compression::CompressionArgs>),
    /// What the guards find of judged personal data and injections; needs no server
    Guards(guards::GuardArgs),
}

pub(crate) fn run(command: &EvalCommand, global: &Global) -> anyhow::Result<ExitCode> {
    match command {
        EvalCommand::Retrieval(args) => retrieval::run(args, global),
        EvalCommand::Answers(args) => answers::run(args, global),
        EvalCommand::Citations(args) => citations::run(args),
        EvalCommand::Compression(args) => compression::run(args, global),
        EvalCommand::Guards(args) => guards::run(args),
    }
}
