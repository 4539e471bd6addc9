//! `ragstone serve`.

use super::{Global, runtime, start_logging};
use crate::app::AppState;
use crate::batches;
use crate::config::Config;
use crate::error::ApiError;
use crate::http::deletions::purge_owed;
use crate::server::Server;
use crate::wiring;
use anyhow::Context;
use clap::Args;
use gateway::Period;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address and port; port 0 picks a free one, which the first log line names [default: 127.0.0.1:7272]
    #[arg(long, env = "RAGSTONE_LISTEN", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Check the configuration, print it with all defaults, and exit
    #[arg(long)]
    check_config: bool,
}

pub(crate) fn run(args: &ServeArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let settings = global.overrides(args.listen).settings()?;
    if args.check_config {
        return print_config(&settings.config);
    }
    start_logging(&settings.config.log.filter, &settings.config.log.format)?;
    index::store::exit_on_storage_panic();
    raise_open_files(settings.config.server.connections_max);
    let runtime = runtime()?;
    let listen = settings.config.server.listen;
    // Bound before anything slow, so that a port in use is said at once; served when all is ready.
    let listener = runtime.block_on(TcpListener::bind(listen)).with_context(|| format!("can't listen on {listen}"))?;
    let address = listener.local_addr()?;
    let app = {
        let _known = runtime.enter();
        wiring::start(settings)?
    };
    let server = Server::new(app.clone())?;
    let scheme = if app.config.server.tls.is_some() { "https" } else { "http" };
    tracing::info!(%address, "ragstone {} listens on {scheme}://{address}", env!("CARGO_PKG_VERSION"));
    let code = runtime.block_on(async {
        let mut code = ExitCode::SUCCESS;
        let stop = async {
            tokio::select! {
                () = stop_signal() => {}
                () = store_failure(&app) => code = ExitCode::FAILURE,
            }
        };
        let upkeep = tokio::spawn(keep_up(app.metrics.clone()));
        let housekeeping = tokio::spawn(keep_house(app.clone()));
        let alerts = tokio::spawn(send_alerts(app.clone()));
        tokio::spawn(batches::run::resume(app.clone()));
        server.serve(listener, stop).await;
        alerts.abort();
        upkeep.abort();
        housekeeping.abort();
        code
    });
    let is_quiet = app.ingest.stop_within(WORKERS_PATIENCE);
    // Behind the last request and the last document, before the store goes.
    app.spend.ledger.close();
    tracing::info!("stopped; unfinished jobs go on at the next start");
    if !is_quiet {
        // A worker is in the middle of a long step, and whoever waits for a thread of it waits as long.
        // Its job is durable, as is everything acknowledged, and its parser ends with this process.
        std::process::exit(i32::from(code != ExitCode::SUCCESS));
    }
    runtime.shutdown_timeout(Duration::from_secs(2));
    Ok(code)
}

/// How long workers may take to finish their step at the end.
const WORKERS_PATIENCE: Duration = Duration::from_secs(3);

/// Files that the store and the views may have open, beside the connections.
const OWN_FILES: u64 = 1024;

/// Every connection is an open file: the soft limit, often 1,024, is raised as far as it may be.
fn raise_open_files(connections: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let needed = (connections as u64).saturating_add(OWN_FILES);
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return;
    }
    let raised = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    let is_set = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum });
    if is_set.is_err() || raised < needed {
        tracing::warn!(needed, raised, "the limit on open files (ulimit -n) is lower than server.connections_max needs");
    }
}

/// Resolves when the store takes no more writes: then nothing can be acknowledged, and a restart
/// goes on from what is on disk.
async fn store_failure(app: &AppState) {
    let (tell, told) = tokio::sync::oneshot::channel();
    app.catalog.store().when_failed(Box::new(move |reason| {
        // Stopping already: nobody listens any more.
        let _ = tell.send(reason.to_owned());
    }));
    match told.await {
        Ok(reason) => tracing::error!(reason, "the store takes no writes any more: the server ends, so that a restart can recover"),
        // The store is gone with its alarm.
        Err(_) => std::future::pending().await,
    }
}

/// Moves what the metrics hold into their summaries, whether anybody reads them or not.
async fn keep_up(metrics: metrics_exporter_prometheus::PrometheusHandle) {
    let mut time = tokio::time::interval(Duration::from_secs(5));
    loop {
        time.tick().await;
        metrics.run_upkeep();
    }
}

/// Tells whom the operator named of budgets that reach a threshold.
async fn send_alerts(app: AppState) {
    let alerts = app.spend.alerts.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(alerts) = alerts else { return };
    if let Err(error) = alerts.send(app.config.spend.webhook.as_deref()).await {
        tracing::error!(%error, "spend.webhook can't be used: alerts are only in the log");
    }
}

/// Purges caches of what was deleted and removes what is only kept for a while, at the start and after every interval.
async fn keep_house(app: AppState) {
    let kept = app.config.retention.kept(&app.config.traces);
    let mut time = tokio::time::interval(Duration::from_secs(app.config.retention.interval_s));
    time.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        time.tick().await;
        purge_owed(&app).await;
        let pass = app.blocking(move |app| {
            let now = time::OffsetDateTime::now_utc();
            let removed = app.catalog.keep_house(now, kept)?;
            let first_day = now - time::Duration::days(i64::from(app.config.retention.usage_days) - 1);
            app.traces.store().keep_house().map_err(ApiError::internal)?;
            app.sessions.keep_house().map_err(ApiError::internal)?;
            let usage_rows = app.spend.ledger.remove_usage_before(&Period::Day.label(first_day)).map_err(ApiError::internal)?;
            Ok((removed, usage_rows))
        });
        match pass.await {
            Ok((removed, usage_rows)) => tracing::debug!(?removed, usage_rows, "housekeeping done"),
            Err(error) => tracing::warn!(code = error.code, cause = error.cause, "housekeeping stopped half-way; the next pass goes on"),
        }
    }
}

#[expect(clippy::print_stdout, reason = "the command's output")]
fn print_config(config: &Config) -> anyhow::Result<ExitCode> {
    print!("{}", toml::to_string(config)?);
    Ok(ExitCode::SUCCESS)
}

async fn stop_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("no signal handler could be installed; stop the server with kill");
        return std::future::pending().await;
    };
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    tracing::info!("stopping: no new requests, short ones finish");
}
