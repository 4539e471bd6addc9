//! Connections to one address, HTTP/1.1, each driven by whoever waits for its answer.
//!
//! Clients as a rule give a connection a task of its own, and what it reads comes through a channel: for each chunk of
//! an answer two tasks wake each other, often across processors, which costs more than all that is done with the chunk.
//! Here a connection is read in the place where its answer is wanted.
//!
//! Invariants: a connection is kept for the next request only when its answer was read to the end; who drops an answer
//! that has more to say closes the connection soon after ([`REST_TIME`]); a request that may have reached the provider
//! is not sent again.

#[cfg(test)]
mod tests;
mod wakes;

use crate::ChatError;
use crate::http::tls_config;
use bytes::Bytes;
use futures::Stream;
use http::header::HeaderMap;
use http::{Request, StatusCode, Uri};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};
use tower_service::Service;
use wakes::Wakes;

/// How long a connection is kept that nobody uses.
const IDLE_TIME: Duration = Duration::from_secs(90);
/// How long the rest of an answer may take that nobody waits for: as a rule its end mark is on the way.
const REST_TIME: Duration = Duration::from_millis(100);
/// How much of it is read.
const REST_BYTES_MAX: usize = 64 * 1024;
/// Between the probes of a connection on which nothing comes, and how many may get no answer.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_TRIES: u32 = 3;

/// The connections to one address. Cheap to share.
#[derive(Clone)]
pub(crate) struct Links {
    /// Scheme, host and port.
    origin: Uri,
    connector: HttpsConnector<HttpConnector>,
    connect_timeout: Duration,
    idle: Arc<Mutex<Vec<Idle>>>,
}

impl Links {
    /// None yet. `connect_timeout` is for one connection, TLS included.
    ///
    /// # Errors
    /// TLS can't be set up.
    pub(crate) fn new(origin: Uri, connect_timeout: Duration) -> Result<Self, rustls::Error> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(KEEPALIVE));
        http.set_keepalive_interval(Some(KEEPALIVE));
        http.set_keepalive_retries(Some(KEEPALIVE_TRIES));
        let tls = tls_config(origin.scheme_str().unwrap_or_default())?;
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(http);
        Ok(Self { origin, connector, connect_timeout, idle: Arc::default() })
    }

    /// The answer to a request in origin form with a `Host`; its body is still to be read.
    ///
    /// # Errors
    /// [`ChatError::Connect`] where no connection comes about, [`ChatError::Interrupted`] where it breaks off.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, ChatError> {
        while let Some(link) = self.idle_link() {
            match self.ask(link, request.clone()).await {
                // It was closed at the other end while nobody used it.
                Err(error) if error.is_canceled() => {}
                answer => return answer.map_err(|error| interrupted(&error)),
            }
        }
        let link = self.connect().await?;
        self.ask(link, request).await.map_err(|error| interrupted(&error))
    }

    /// A connection that still stands, as far as can be known without sending.
    fn idle_link(&self) -> Option<Link> {
        loop {
            let Idle { mut link, since } = lock(&self.idle).pop()?;
            drive(&mut link.connection, &mut Context::from_waker(Waker::noop()));
            if since.elapsed() < IDLE_TIME && link.is_ready() {
                return Some(link);
            }
        }
    }

    async fn connect(&self) -> Result<Link, ChatError> {
        let refused = |error: &(dyn Error + 'static)| ChatError::Connect { reason: with_causes(error) };
        let stream = timeout(self.connect_timeout, self.connector.clone().call(self.origin.clone()));
        let stream = stream.await.map_err(|error| refused(&error))?.map_err(|error| refused(&*error))?;
        let (sender, connection) = Builder::new().handshake(stream).await.map_err(|error| refused(&error))?;
        Ok(Link { sender, connection: Some(connection), wakes: Wakes::default() })
    }

    async fn ask(&self, mut link: Link, request: Request<Full<Bytes>>) -> Result<Answer, hyper::Error> {
        let mut answer = pin!(link.sender.send_request(request));
        let Link { connection, wakes, .. } = &mut link;
        let answer = poll_fn(|cx| {
            wakes.poll(cx, |cx| {
                drive(connection, cx);
                answer.as_mut().poll(cx)
            })
        });
        let (head, body) = answer.await?.into_parts();
        let body = Body { open: Some(Open { incoming: body, link }), home: Arc::clone(&self.idle) };
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}

/// A connection that waits for its next request.
struct Idle {
    link: Link,
    since: Instant,
}

/// Keeps a connection, and sees to it that it is not kept for ever.
fn keep(home: &Arc<Mutex<Vec<Idle>>>, link: Link) {
    let mut idle = lock(home);
    idle.push(Idle { link, since: Instant::now() });
    // Whoever makes it one starts the watch; it ends when there is none.
    if idle.len() == 1
        && let Ok(runtime) = Handle::try_current()
    {
        let home = Arc::downgrade(home);
        runtime.spawn(async move {
            loop {
                sleep(IDLE_TIME).await;
                let Some(home) = home.upgrade() else { return };
                let mut idle = lock(&home);
                idle.retain(|one| one.since.elapsed() < IDLE_TIME);
                if idle.is_empty() {
                    return;
                }
            }
        });
    }
}

fn lock(idle: &Mutex<Vec<Idle>>) -> MutexGuard<'_, Vec<Idle>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

type Wire = Connection<MaybeHttpsStream<TokioIo<TcpStream>>, Full<Bytes>>;

/// One connection.
struct Link {
    sender: SendRequest<Full<Bytes>>,
    /// `None` once it is closed.
    connection: Option<Wire>,
    wakes: Wakes,
}

impl Link {
    fn is_ready(&self) -> bool {
        self.connection.is_some() && self.sender.is_ready()
    }
}

/// Sends and receives what there is. How a connection ends, its request and its body tell.
fn drive(connection: &mut Option<Wire>, cx: &mut Context<'_>) {
    if let Some(wire) = connection
        && Pin::new(wire).poll(cx).is_ready()
    {
        *connection = None;
    }
}

/// An answer whose body is under way.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

/// The bytes of an answer. Dropping it gives the connection back or closes it.
pub(crate) struct Body {
    /// There until the end.
    open: Option<Open>,
    home: Arc<Mutex<Vec<Idle>>>,
}

struct Open {
    incoming: Incoming,
    link: Link,
}

impl Stream for Body {
    type Item = Result<Bytes, ChatError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while let Some(open) = &mut self.open {
            match ready!(open.poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(bytes))) => return Poll::Ready(Some(Ok(bytes))),
                // Trailers.
                Some(Ok(Err(_))) => {}
                Some(Err(error)) => {
                    self.open = None;
                    return Poll::Ready(Some(Err(interrupted(&error))));
                }
                None => {
                    if let Some(open) = self.open.take() {
                        open.end(&self.home);
                    }
                }
            }
        }
        Poll::Ready(None)
    }
}

impl Open {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { incoming, link: Link { connection, wakes, .. } } = self;
        wakes.poll(cx, |cx| {
            drive(connection, cx);
            Pin::new(&mut *incoming).poll_frame(cx)
        })
    }

    /// The answer is at its end: its connection may serve another.
    fn end(self, home: &Arc<Mutex<Vec<Idle>>>) {
        let Self { mut link, incoming } = self;
        drop(incoming);
        // It learns only now that the body was taken.
        drive(&mut link.connection, &mut Context::from_waker(Waker::noop()));
        if link.is_ready() {
            keep(home, link);
        }
    }

    /// Reads what nobody waits for.
    async fn read_rest(mut self, home: Arc<Mutex<Vec<Idle>>>) {
        let mut bytes = 0;
        while bytes < REST_BYTES_MAX {
            match poll_fn(|cx| self.poll_frame(cx)).await {
                Some(Ok(frame)) => bytes += frame.data_ref().map_or(0, Bytes::len),
                Some(Err(_)) => return,
                None => return self.end(&home),
            }
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let home = Arc::clone(&self.home);
        match (self.open.take(), Handle::try_current()) {
            (Some(open), _) if open.incoming.is_end_stream() => open.end(&home),
            (Some(open), Ok(runtime)) => {
                runtime.spawn(timeout(REST_TIME, open.read_rest(home)));
            }
            _ => {}
        }
    }
}

fn interrupted(error: &hyper::Error) -> ChatError {
    ChatError::Interrupted { reason: with_causes(error) }
}

/// An error with its causes, outermost first.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| (**cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
