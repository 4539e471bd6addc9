//! `ragstone bench`: recall and latency, of a collection, of the index alone, or of answers.

mod chat;
mod churn;
mod collection;
mod embed;
mod index;
mod plot;
mod search;
mod vectors;

use super::Global;
use clap::{Args, Subcommand};
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: Option<BenchCommand>,
    #[command(flatten)]
    collection: collection::CollectionArgs,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Measure the vector index on files of vectors (.npy, .fvecs), without a server
    Index(index::IndexArgs),
    /// Measure what deletes and inserts do to the vector index, and to searches beside them
    Churn(churn::ChurnArgs),
    /// Measure the local embedding model, without a server
    Embed(embed::EmbedArgs),
    /// Measure chat completions over HTTP at a steady rate: of a server, a provider or another gateway
    Chat(chat::ChatArgs),
    /// Measure searches with given vectors (.npy, .fvecs) over HTTP
    Search(search::SearchArgs),
}

pub(crate) fn run(args: &BenchArgs, global: &Global) -> anyhow::Result<ExitCode> {
    match &args.what {
        Some(BenchCommand::Index(args)) => index::run(args),
        Some(BenchCommand::Churn(args)) => churn::run(args),
        Some(BenchCommand::Embed(args)) => embed::run(args, global),
        Some(BenchCommand::Chat(args)) => chat::run(args),
        Some(BenchCommand::Search(args)) => search::run(args, global),
        None => collection::run(&args.collection, global),
    }
}
