//! The accept loop: our own, because a client must have a deadline for its header, and shutting down
//! must end open streams instead of waiting for them.

use crate::app::AppState;
use crate::http::router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::io::ErrorKind;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// After an accept that failed for want of something, before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` resolves, then lets short requests finish.
pub(crate) async fn serve(listener: TcpListener, app: AppState, stop: impl Future<Output = ()>) {
    let service = TowerToHyperService::new(router(app.clone()));
    let server = &app.config.server;
    // Without a choice of protocol there is none to wait for: the header timeout counts from the first byte.
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(server.header_timeout_s));
    let open = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => { pause(&error).await; continue }
            },
            () = &mut stop => break,
        };
        tokio::spawn(open.watch(connection(&builder, stream, service.clone())));
    }
    drop(listener);
    app.begin_stopping();
    let patience = Duration::from_secs(server.shutdown_timeout_s);
    if tokio::time::timeout(patience, open.shutdown()).await.is_err() {
        tracing::warn!(seconds = server.shutdown_timeout_s, "some connections were still open and are cut");
    }
}

/// One connection; how it ends concerns nobody but the client.
fn connection<S>(
    builder: &Builder<TokioExecutor>,
    stream: TcpStream,
    service: TowerToHyperService<S>,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = Box<dyn std::error::Error + Send + Sync>> + use<S>
where
    S: tower::Service<axum::http::Request<hyper::body::Incoming>, Response = axum::response::Response, Error = std::convert::Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    // Answers are small and whole: waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned()
}

async fn pause(error: &std::io::Error) {
    if !matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused) {
        tracing::error!(%error, "a connection could not be accepted");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
