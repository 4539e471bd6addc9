//! The command line: what there is, and which file does it.

mod backup;
mod bench;
mod eval;
mod health;
mod ingest;
mod mock_provider;
mod models;
mod openapi;
mod parse_worker;
mod query;
mod repair;
mod restore;
mod search;
mod serve;
mod target;
mod verify;

use crate::config::Overrides;
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// A standalone RAG server: documents in over HTTP, grounded answers out, every citation exact, all offline.
#[derive(Debug, Parser)]
#[command(version, about, disable_help_subcommand = true, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Args)]
struct Global {
    /// Configuration file (TOML); ragstone.example.toml documents every field
    #[arg(long, global = true, env = "RAGSTONE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of everything that is kept
    #[arg(long, global = true, env = "RAGSTONE_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Folder of the model manifest and the models
    #[arg(long, global = true, env = "RAGSTONE_MODELS_DIR", value_name = "DIR")]
    models_dir: Option<PathBuf>,
    /// Which events are logged, as LEVEL or TARGET=LEVEL,…
    #[arg(long, global = true, env = "RAGSTONE_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// How logs look
    #[arg(long, global = true, env = "RAGSTONE_LOG_FORMAT", value_name = "text|json")]
    log_format: Option<String>,
    /// Base URL of an OpenAI-compatible endpoint that writes the answers
    #[arg(long, global = true, env = "RAGSTONE_LLM_BASE_URL", value_name = "URL")]
    llm_base_url: Option<String>,
    /// Model at that endpoint
    #[arg(long, global = true, env = "RAGSTONE_LLM_MODEL", value_name = "NAME")]
    llm_model: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve HTTP
    Serve(serve::ServeArgs),
    /// Pull, list and verify embedding models
    #[command(subcommand)]
    Models(models::ModelsCommand),
    /// Put files and folders into a collection
    Ingest(ingest::IngestArgs),
    /// Search a collection
    Search(search::SearchArgs),
    /// Ask a question and get a cited answer
    Query(query::QueryArgs),
    /// Measure recall and latency of a collection
    Bench(Box<bench::BenchArgs>),
    /// Measure retrieval quality on judged collections
    #[command(subcommand)]
    Eval(eval::EvalCommand),
    /// Check every invariant of a data directory; exit code 0, 1 with findings, 2 if nothing can be said
    Verify(verify::VerifyArgs),
    /// Say what would put a data directory right; do it with --yes
    Repair(repair::RepairArgs),
    /// Write everything that the server keeps into one file
    Backup(backup::BackupArgs),
    /// Make a data directory from a backup
    Restore(restore::RestoreArgs),
    /// Say whether the server is ready; exit code 0 or 1
    Health(health::HealthArgs),
    /// Play a scripted model provider (OpenAI, Azure and Anthropic), to try clients, failures and delays
    MockProvider(mock_provider::MockProviderArgs),
    /// Print the OpenAPI document
    Openapi,
    /// Parse documents from standard input (the server starts this)
    #[command(hide = true)]
    ParseWorker,
}

/// Runs the command that was asked for.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let global = cli.global;
    match cli.command {
        Command::Serve(args) => serve::run(&args, &global),
        Command::Models(command) => models::run(&command, &global),
        Command::Ingest(args) => ingest::run(args, &global),
        Command::Search(args) => search::run(&args, &global),
        Command::Query(args) => query::run(&args, &global),
        Command::Bench(args) => bench::run(&args, &global),
        Command::Eval(command) => eval::run(&command, &global),
        Command::Verify(args) => verify::run(&args, &global),
        Command::Repair(args) => repair::run(&args, &global),
        Command::Backup(args) => backup::run(&args, &global),
        Command::Restore(args) => restore::run(&args, &global),
        Command::Health(args) => health::run(&args),
        Command::MockProvider(args) => mock_provider::run(&args),
        Command::Openapi => openapi::run(),
        Command::ParseWorker => parse_worker::run(),
    }
}

impl Global {
    /// Flags and environment as the configuration takes them.
    fn overrides(&self, listen: Option<SocketAddr>) -> Overrides {
        Overrides {
            config: self.config.clone(),
            listen,
            data_dir: self.data_dir.clone(),
            models_dir: self.models_dir.clone(),
            llm_base_url: self.llm_base_url.clone(),
            llm_model: self.llm_model.clone(),
            llm_api_key: std::env::var("RAGSTONE_LLM_API_KEY").ok(),
            embedding_api_key: std::env::var("RAGSTONE_EMBEDDING_API_KEY").ok(),
            redis_password: std::env::var("RAGSTONE_REDIS_PASSWORD").ok(),
            api_key: std::env::var("RAGSTONE_API_KEY").ok(),
            log_filter: self.log.clone(),
            log_format: self.log_format.clone(),
        }
    }
}

/// Starts logging to standard error.
fn start_logging(filter: &str, format: &str) -> anyhow::Result<()> {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_new(filter).map_err(|error| anyhow::anyhow!("log.filter {filter:?} is not valid: {error}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if format == "json" { builder.json().try_init() } else { builder.try_init() };
    started.map_err(|error| anyhow::anyhow!("can't start logging: {error}"))
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
