//! Which server a command talks to: the one that is named, the one that runs, or one that the command
//! starts for itself on the data directory. One way in for all: HTTP.

use super::{Global, start_logging};
use crate::app::AppState;
use crate::client::Client;
use crate::server::Server;
use crate::wiring;
use anyhow::{Context, bail};
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

#[derive(Debug, Clone, Args)]
pub(crate) struct TargetArgs {
    /// Server to talk to; without it the one on 127.0.0.1:7272, or else one on --data-dir for the time of this command
    #[arg(long, env = "RAGSTONE_SERVER", value_name = "URL")]
    server: Option<String>,
    /// File of certificates (PEM) to trust besides the platform's, for a server with TLS
    #[arg(long, env = "RAGSTONE_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// A client, and the server behind it if this command had to start one.
pub(crate) struct Target {
    pub(crate) client: Client,
    own: Option<OwnServer>,
}

struct OwnServer {
    app: AppState,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Target {
    /// Finds or starts the server.
    pub(crate) async fn reach(args: &TargetArgs, global: &Global) -> anyhow::Result<Self> {
        let key = std::env::var("RAGSTONE_API_KEY").ok();
        if let Some(url) = &args.server {
            let client = Client::trusting(url, key, args.ca_file.as_deref())?;
            client.check().await.with_context(|| format!("no Ragstone server answers at {url}"))?;
            return Ok(Self { client, own: None });
        }
        let running = Client::new("http://127.0.0.1:7272", key)?;
        // Another data directory than the running server's was asked for: that server is no help.
        if global.data_dir.is_none() && running.check().await.is_ok() {
            return Ok(Self { client: running, own: None });
        }
        Self::start(global).await
    }

    /// Starts a server of its own on a free port.
    pub(crate) async fn start(global: &Global) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let address = listener.local_addr()?;
        let mut settings = global.overrides(Some(address)).settings()?;
        // Between this process and itself nobody listens.
        settings.config.server.tls = None;
        let filter = global.log.as_deref().unwrap_or("warn");
        start_logging(filter, &settings.config.log.format)?;
        let app = tokio::task::spawn_blocking(|| wiring::start(settings)).await??;
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(Server::new(app.clone())?.serve(listener, async {
            // Dropped without a word means stop as well.
            let _ = stopped.await;
        }));
        let client = Client::new(&format!("http://{address}"), std::env::var("RAGSTONE_API_KEY").ok())?;
        Ok(Self { client, own: Some(OwnServer { app, stop, serving }) })
    }

    /// Stops the server, if it is this command's own.
    pub(crate) async fn leave(self) -> anyhow::Result<()> {
        let Some(OwnServer { app, stop, serving }) = self.own else { return Ok(()) };
        if stop.send(()).is_err() {
            bail!("the command's own server ended early");
        }
        serving.await?;
        tokio::task::spawn_blocking(move || app.ingest.stop()).await?;
        Ok(())
    }
}
