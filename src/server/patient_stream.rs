//! A connection whose client has deadlines: a header must be whole soon after its first byte, and a
//! client that reads too slowly is cut. What waits for nobody (a handler at work, an open stream with
//! no news) has no deadline here; request bodies have theirs in `src/http/receive.rs`.
//!
//! Closing is patient too: closing a socket with something unread throws away what was sent last, which
//! is the answer that says why. So what a client still sends after the farewell is read and dropped.

use super::pace::{Pace, Patience};
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// After the farewell: how long nothing may come, and how long altogether.
const QUIET: Duration = Duration::from_millis(500);
const FAREWELL: Duration = Duration::from_secs(2);

/// Pieces that are dropped in one go, before others get their turn.
const DROPPED_AT_ONCE: usize = 64;

/// Whether a request is under way on a connection; if not, a header is what is waited for.
#[derive(Clone, Default)]
pub(crate) struct Exchange(Arc<AtomicBool>);

impl Exchange {
    pub(crate) fn set_under_way(&self, is_under_way: bool) {
        self.0.store(is_under_way, Ordering::Release);
    }

    fn is_under_way(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// See the module.
pub(crate) struct PatientStream<S> {
    inner: S,
    exchange: Exchange,
    header_timeout: Duration,
    /// Runs from the first byte of a header, or from the beginning of the connection.
    header_deadline: Option<Pin<Box<Sleep>>>,
    reader: Patience,
    farewell: Option<Farewell>,
}

/// The time after our own end of the connection.
struct Farewell {
    end: Instant,
    quiet: Pin<Box<Sleep>>,
}

impl Farewell {
    fn begin() -> Self {
        Self { end: Instant::now() + FAREWELL, quiet: Box::pin(tokio::time::sleep(QUIET)) }
    }

    /// Something came: the silence begins anew, but not beyond the end.
    fn heard(&mut self) {
        let quiet = (Instant::now() + QUIET).min(self.end);
        self.quiet.as_mut().reset(quiet);
    }
}

impl<S> PatientStream<S> {
    /// The first header is waited for from now on; `reading` is the pace at which the client must read.
    pub(crate) fn new(inner: S, exchange: Exchange, header_timeout: Duration, reading: Pace) -> Self {
        let header_deadline = Some(Box::pin(tokio::time::sleep(header_timeout)));
        Self { inner, exchange, header_timeout, header_deadline, reader: Patience::new(reading), farewell: None }
    }

    fn poll_header_lost(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.header_deadline {
            Some(deadline) => deadline.as_mut().poll(context),
            None => Poll::Pending,
        }
    }

    /// Counts what was written, or the time in which nothing could be.
    fn judge(&mut self, context: &mut Context<'_>, written: Poll<Result<usize>>) -> Poll<Result<usize>> {
        match written {
            Poll::Pending => self.reader.poll_lost(context).map(|()| Err(timed_out("the client does not read"))),
            Poll::Ready(outcome) => {
                self.reader.moved(*outcome.as_ref().unwrap_or(&0));
                Poll::Ready(outcome)
            }
        }
    }
}

fn timed_out(why: &'static str) -> Error {
    Error::new(ErrorKind::TimedOut, why)
}

impl<S: AsyncRead + Unpin> AsyncRead for PatientStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        if self.exchange.is_under_way() {
            self.header_deadline = None;
            return read;
        }
        if self.header_deadline.is_none() && buffer.filled().len() > before {
            self.header_deadline = Some(Box::pin(tokio::time::sleep(self.header_timeout)));
        }
        // Looked at even after bytes came: they may come one at a time for ever.
        match self.poll_header_lost(context) {
            Poll::Ready(()) => Poll::Ready(Err(timed_out("the client's header did not end"))),
            Poll::Pending => read,
        }
    }
}

impl<S: AsyncRead + Unpin> PatientStream<S> {
    /// Ready when the client has left, is quiet, or has had its time.
    fn poll_farewell(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let farewell = self.farewell.get_or_insert_with(Farewell::begin);
        let mut dropped = [0; 4096];
        for _ in 0..DROPPED_AT_ONCE {
            let mut buffer = ReadBuf::new(&mut dropped);
            match Pin::new(&mut self.inner).poll_read(context, &mut buffer) {
                Poll::Pending => return farewell.quiet.as_mut().poll(context),
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() && Instant::now() < farewell.end => farewell.heard(),
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for PatientStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.judge(context, written)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, pieces);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        if self.farewell.is_none() {
            ready!(Pin::new(&mut self.inner).poll_shutdown(context))?;
        }
        self.poll_farewell(context).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    const READING: Pace = Pace { grace: Duration::from_secs(30), bytes_per_s: 1024 };

    fn pair() -> (PatientStream<tokio::io::DuplexStream>, tokio::io::DuplexStream, Exchange) {
        let (here, there) = tokio::io::duplex(64);
        let exchange = Exchange::default();
        (PatientStream::new(here, exchange.clone(), Duration::from_secs(10), READING), there, exchange)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_cut_after_the_grace() {
        let (mut stream, _there, _) = pair();
        let began = Instant::now();
        let error = stream.write_all(&[0; 65]).await.unwrap_err();
        assert_eq!((error.kind(), began.elapsed().as_secs()), (ErrorKind::TimedOut, 30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_trickles_is_cut_and_a_request_under_way_is_not() {
        let (mut stream, mut there, exchange) = pair();
        let trickle = tokio::spawn(async move {
            while there.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        exchange.set_under_way(true);
        let mut byte = [0];
        for _ in 0..60 {
            stream.read_exact(&mut byte).await.unwrap();
        }
        exchange.set_under_way(false);
        let began = Instant::now();
        while stream.read_exact(&mut byte).await.is_ok() {}
        assert!((10..=12).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        trickle.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_after_the_farewell_is_dropped_for_a_while() {
        let (mut stream, mut there, _) = pair();
        let sender = tokio::spawn(async move {
            while there.write_all(&[0; 1000]).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let began = Instant::now();
        stream.shutdown().await.unwrap();
        assert!((FAREWELL..FAREWELL * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
        drop(stream);
        sender.await.unwrap();
        let (mut stream, _there, _) = pair();
        let began = Instant::now();
        stream.shutdown().await.unwrap();
        assert!((QUIET..FAREWELL).contains(&began.elapsed()), "a quiet client is not waited for: {:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_only_the_first_byte_starts_the_clock() {
        let (mut stream, mut there, exchange) = pair();
        exchange.set_under_way(true);
        there.write_all(b"body").await.unwrap();
        stream.read_exact(&mut [0; 4]).await.unwrap();
        exchange.set_under_way(false);
        let silence = tokio::time::timeout(Duration::from_secs(3600), stream.read_u8()).await;
        assert!(silence.is_err(), "an idle connection is hyper's to close");
    }
}
