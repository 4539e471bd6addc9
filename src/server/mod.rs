//! The accept loop: our own, because every client must have a deadline for everything it is waited
//! for, connections must be counted before they cost anything, and shutting down must end open streams
//! instead of waiting for them.

mod connection;
mod ledger;
pub(crate) mod pace;
mod patient_stream;
mod tls;

use crate::app::AppState;
use crate::http::router;
use anyhow::Context;
use connection::Serving;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use ledger::Ledger;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tls::Tls;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// After an accept that failed for want of something, before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Refused connections that are told why at a time; beyond, they are only closed.
const TURNED_AWAY_MAX: usize = 64;

/// Accepts connections for one application.
pub(crate) struct Server {
    app: AppState,
    serving: Serving,
    tls: Option<Tls>,
    ledger: Arc<Ledger>,
    turned_away: Arc<Semaphore>,
}

impl Server {
    /// Reads the certificate, if there is to be one.
    ///
    /// # Errors
    /// A certificate or key that can't be used.
    pub(crate) fn new(app: AppState) -> anyhow::Result<Self> {
        let config = &app.config.server;
        let tls = config.tls.as_ref().map(Tls::open).transpose().context("server.tls")?;
        let ledger = Arc::new(Ledger::new(config.connections_max, config.connections_per_peer_max));
        let serving = Serving::new(TowerToHyperService::new(router(app.clone())), config);
        Ok(Self { serving, tls, ledger, turned_away: Arc::new(Semaphore::new(TURNED_AWAY_MAX)), app })
    }

    /// Serves until `stop` resolves, then lets short requests finish.
    pub(crate) async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let open = GracefulShutdown::new();
        let reloads = self.tls.as_ref().map(|tls| tokio::spawn(tls.clone().reload_on_hangup()));
        let stop = async {
            stop.await;
            self.drain().await;
        };
        let mut stop = std::pin::pin!(stop);
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.take(stream, peer, &open),
                    Err(error) => pause(&error).await,
                },
                () = &mut stop => break,
            }
        }
        drop(listener);
        self.app.begin_stopping();
        if let Some(reloads) = reloads {
            reloads.abort();
        }
        let patience = self.app.config.server.shutdown_timeout_s;
        if tokio::time::timeout(Duration::from_secs(patience), open.shutdown()).await.is_err() {
            tracing::warn!(seconds = patience, "some connections were still open and are cut");
        }
    }

    /// Not ready any more, but served for as long as a balancer needs to notice.
    async fn drain(&self) {
        self.app.begin_draining();
        let delay = self.app.config.server.drain_delay_s;
        if delay > 0 {
            tracing::info!(seconds = delay, "not ready; requests are still served");
            tokio::time::sleep(Duration::from_secs(delay)).await;
        }
    }

    /// A connection with its place, or a refusal that costs nothing.
    fn take(&self, stream: TcpStream, peer: SocketAddr, open: &GracefulShutdown) {
        let Some(place) = self.ledger.enter(peer.ip()) else { return self.turn_away(stream) };
        let (serving, tls, watcher) = (self.serving.clone(), self.tls.clone(), open.watcher());
        tokio::spawn(async move {
            match tls {
                None => serving.plain(stream, watcher).await,
                Some(tls) => serving.encrypted(stream, &tls, watcher).await,
            }
            drop(place);
        });
    }

    /// Too many: plain clients are told so, encrypted ones are closed, for a handshake has its price.
    fn turn_away(&self, stream: TcpStream) {
        metrics::counter!("ragstone_connections_refused_total").increment(1);
        let Ok(permit) = Arc::clone(&self.turned_away).try_acquire_owned() else { return };
        if self.tls.is_none() {
            tokio::spawn(async move {
                connection::refuse(stream).await;
                drop(permit);
            });
        }
    }
}

async fn pause(error: &std::io::Error) {
    if !matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused) {
        tracing::error!(%error, "a connection could not be accepted");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
