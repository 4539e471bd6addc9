//! One connection from its first byte to its last.

use super::pace::Pace;
use super::patient_stream::{Exchange, PatientStream};
use super::tls::Tls;
use crate::config::ServerConfig;
use axum::Router;
use axum::http::Request;
use axum::response::Response;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1::Builder;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use hyper_util::service::TowerToHyperService;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Header fields of a request; more are answered 431.
const HEADER_FIELDS_MAX: usize = 100;

/// Bytes of a request's header, its first line included; more are answered 431.
const HEADER_BYTES_MAX: usize = 32 << 10;

/// What hyper keeps of a connection in each direction.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// How long a refused client may take to hear why.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);

const REFUSAL: &str = concat!(
    "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-type: application/problem+json\r\n",
    "content-length: 145\r\n\r\n",
    r#"{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"too many connections are open; try again shortly","code":"overloaded"}"#
);

/// What every connection is served with. Cheap to clone.
#[derive(Clone)]
pub(super) struct Serving {
    service: TowerToHyperService<Router>,
    builder: Builder,
    header_timeout: Duration,
    reading: Pace,
}

impl Serving {
    pub(super) fn new(service: TowerToHyperService<Router>, config: &ServerConfig) -> Self {
        let header_timeout = Duration::from_secs(config.header_timeout_s);
        let mut builder = Builder::new();
        builder.timer(TokioTimer::new()).max_headers(HEADER_FIELDS_MAX).max_header_size(HEADER_BYTES_MAX).max_buf_size(BUFFER_BYTES_MAX);
        // hyper's clock runs between requests too: it is the one for idle connections. The header's own is in the stream.
        builder.header_read_timeout(header_timeout.max(Duration::from_secs(config.idle_timeout_s)));
        let reading = Pace { grace: Duration::from_secs(config.write_timeout_s), bytes_per_s: config.bytes_per_s_min };
        Self { service, builder, header_timeout, reading }
    }

    pub(super) async fn plain(self, stream: TcpStream, watcher: Watcher) {
        let exchange = Exchange::default();
        let stream = self.patient(stream, &exchange);
        self.exchange(stream, exchange, watcher).await;
    }

    /// The handshake has the deadline of a header.
    pub(super) async fn encrypted(self, stream: TcpStream, tls: &Tls, watcher: Watcher) {
        let exchange = Exchange::default();
        let stream = self.patient(stream, &exchange);
        match tokio::time::timeout(self.header_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.exchange(stream, exchange, watcher).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    fn patient(&self, stream: TcpStream, exchange: &Exchange) -> PatientStream<TcpStream> {
        // Answers are small and whole: waiting to fill a packet only delays them.
        let _ = stream.set_nodelay(true);
        PatientStream::new(stream, exchange.clone(), self.header_timeout, self.reading)
    }

    /// How a connection ends concerns nobody but the client.
    async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S, exchange: Exchange, watcher: Watcher) {
        let service = Watched { service: self.service, exchange };
        if let Err(error) = watcher.watch(self.builder.serve_connection(TokioIo::new(stream), service)).await {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

/// Tells a client that there is no place, without waiting long for it.
pub(super) async fn refuse(mut stream: TcpStream) {
    let told = async {
        stream.write_all(REFUSAL.as_bytes()).await?;
        stream.shutdown().await?;
        // Closing with something unread would throw the answer away as well.
        tokio::io::copy(&mut stream.take(HEADER_BYTES_MAX as u64), &mut tokio::io::sink()).await
    };
    // Whether the client heard it or not, it is gone.
    let _ = tokio::time::timeout(REFUSAL_PATIENCE, told).await;
}

/// A service that notes when a request begins and when its answer has ended.
struct Watched {
    service: TowerToHyperService<Router>,
    exchange: Exchange,
}

impl Service<Request<Incoming>> for Watched {
    type Response = Response<Ending>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.exchange.set_under_way(true);
        let ended = Ended(self.exchange.clone());
        let answer = self.service.call(request);
        Box::pin(async move { Ok(answer.await?.map(|body| Ending { body, _ended: ended })) })
    }
}

/// Dropped with the end of the answer.
struct Ended(Exchange);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.set_under_way(false);
    }
}

/// A body that says when it has ended.
struct Ending {
    body: axum::body::Body,
    _ended: Ended,
}

impl Body for Ending {
    type Data = axum::body::Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::REFUSAL;

    #[test]
    fn the_refusal_is_whole() {
        let (head, body) = REFUSAL.split_once("\r\n\r\n").unwrap();
        let length: usize = head.split("content-length: ").nth(1).unwrap().parse().unwrap();
        assert_eq!(body.len(), length);
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["code"], "overloaded");
    }
}
