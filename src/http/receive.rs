//! How request bodies come in: at a pace, and within a budget of bytes over all requests together.
//! Small bodies are read before a request gets a place, so that clients who send slowly wait among
//! themselves; of larger ones every byte is counted until the request has been taken in.

use crate::app::AppState;
use crate::error::ApiError;
use crate::server::pace::{Pace, Patience};
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::StatusCode;
use hyper::body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Bytes of a body that count as small: read ahead, and not charged to the budget.
pub(crate) const SMALL_BODY_BYTES: usize = 16 << 10;

/// Bytes that all requests together may hold.
pub(crate) struct ByteBudget {
    used: AtomicUsize,
    max: usize,
}

impl ByteBudget {
    pub(crate) fn new(max: usize) -> Self {
        Self { used: AtomicUsize::new(0), max }
    }

    /// Bytes that are held now.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let more = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.max);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Why a body was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    TooSlow,
    NoRoom,
}

/// What a request's body holds of the budget, and how its coming in went. Whoever has a clone keeps
/// the bytes charged; the last one gives them back.
#[derive(Clone)]
pub(crate) struct Receipt(Arc<Held>);

struct Held {
    budget: Arc<ByteBudget>,
    bytes: AtomicUsize,
    fault: OnceLock<Fault>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.give_back(*self.bytes.get_mut());
    }
}

impl Receipt {
    fn new(budget: &Arc<ByteBudget>) -> Self {
        Self(Arc::new(Held { budget: Arc::clone(budget), bytes: AtomicUsize::new(0), fault: OnceLock::new() }))
    }

    /// The bytes are no longer in memory.
    pub(crate) fn release(&self) {
        self.0.budget.give_back(self.0.bytes.swap(0, Ordering::Relaxed));
    }

    /// The answer that the body's end asks for, whatever the handler made of it.
    pub(crate) fn error(&self) -> Option<ApiError> {
        self.0.fault.get().map(|fault| match fault {
            Fault::TooSlow => {
                ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", "the request body came too slowly; send it again")
            }
            Fault::NoRoom => no_room(),
        })
    }

    fn charge(&self, bytes: usize) -> Result<(), Fault> {
        if !self.0.budget.take(bytes) {
            return Err(Fault::NoRoom);
        }
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

fn no_room() -> ApiError {
    let detail = "the uploads under way fill the memory for them; try again shortly";
    ApiError::busy(StatusCode::SERVICE_UNAVAILABLE, "upload_buffer_full", detail, Duration::from_secs(2))
}

/// The request with its body under watch; a small body is there when this returns.
///
/// # Errors
/// 408 for a small body that came too slowly, 503 if there is no room for a large one.
pub(crate) async fn receive(app: &AppState, request: Request) -> Result<(Request, Receipt), ApiError> {
    let receipt = Receipt::new(&app.admission.bodies);
    let hint = request.body().size_hint();
    let known = usize::try_from(hint.lower()).unwrap_or(usize::MAX);
    if known > SMALL_BODY_BYTES && known > app.admission.bodies.max.saturating_sub(app.admission.bodies.used()) {
        return Err(no_room());
    }
    let server = &app.config.server;
    let pace = Pace { grace: Duration::from_secs(server.body_timeout_s), bytes_per_s: server.bytes_per_s_min };
    let (parts, body) = request.into_parts();
    let body = Body::new(WatchedBody::new(body, pace, receipt.clone()));
    let body = if is_small(&hint) { read_ahead(body, &receipt).await? } else { body };
    Ok((Request::from_parts(parts, body), receipt))
}

/// Whether a body is certain to be small.
pub(crate) fn is_small(hint: &SizeHint) -> bool {
    hint.upper().is_some_and(|bytes| bytes <= SMALL_BODY_BYTES as u64)
}

async fn read_ahead(body: Body, receipt: &Receipt) -> Result<Body, ApiError> {
    if body.is_end_stream() {
        return Ok(Body::empty());
    }
    match axum::body::to_bytes(body, SMALL_BODY_BYTES).await {
        Ok(bytes) => Ok(Body::from(bytes)),
        Err(_) => Err(receipt.error().unwrap_or_else(|| ApiError::bad_request("bad_body", "the request body broke off"))),
    }
}

/// A body that ends with an error when its client is too slow or there is no room for more of it.
struct WatchedBody {
    inner: Body,
    patience: Patience,
    /// Bytes still to come before the budget is charged.
    free: usize,
    receipt: Receipt,
}

impl WatchedBody {
    fn new(inner: Body, pace: Pace, receipt: Receipt) -> Self {
        Self { inner, patience: Patience::new(pace), free: SMALL_BODY_BYTES, receipt }
    }

    fn fail(&self, fault: Fault) -> axum::Error {
        // The first fault is the one that counts.
        let _ = self.receipt.0.fault.set(fault);
        axum::Error::new(std::io::Error::other(match fault {
            Fault::TooSlow => "the body came too slowly",
            Fault::NoRoom => "there is no room for the body",
        }))
    }

    fn account(&mut self, bytes: usize) -> Result<(), Fault> {
        self.patience.moved(bytes);
        let charged = bytes.saturating_sub(self.free);
        self.free = self.free.saturating_sub(bytes);
        self.receipt.charge(charged)
    }
}

impl HttpBody for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) else {
            ready!(self.patience.poll_lost(context));
            return Poll::Ready(Some(Err(self.fail(Fault::TooSlow))));
        };
        let length = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref().map(Bytes::len));
        match self.account(length.unwrap_or(0)) {
            Ok(()) => Poll::Ready(frame),
            Err(fault) => Poll::Ready(Some(Err(self.fail(fault)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    const PACE: Pace = Pace { grace: Duration::from_secs(10), bytes_per_s: 1024 };

    fn watched(body: Body, budget: &Arc<ByteBudget>) -> (Body, Receipt) {
        let receipt = Receipt::new(budget);
        (Body::new(WatchedBody::new(body, PACE, receipt.clone())), receipt)
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_body_is_a_408() {
        let silent = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let (body, receipt) = watched(silent, &Arc::new(ByteBudget::new(0)));
        assert!(axum::body::to_bytes(body, usize::MAX).await.is_err());
        assert_eq!(receipt.error().map(|error| (error.status, error.code)), Some((StatusCode::REQUEST_TIMEOUT, "body_too_slow")));
    }

    #[tokio::test]
    async fn bytes_beyond_the_small_are_charged_and_given_back() {
        let budget = Arc::new(ByteBudget::new(1000));
        let pieces =
            |last: usize| Body::from_stream(stream::iter([SMALL_BODY_BYTES, last].map(|size| Ok::<_, std::io::Error>(vec![0_u8; size]))));
        let (body, first) = watched(pieces(600), &budget);
        axum::body::to_bytes(body, usize::MAX).await.unwrap();
        assert_eq!((budget.used(), first.error().is_none()), (600, true));
        let (body, second) = watched(pieces(600), &budget);
        assert!(axum::body::to_bytes(body, usize::MAX).await.is_err());
        assert_eq!(second.error().map(|error| error.code), Some("upload_buffer_full"));
        assert!(second.error().unwrap().retry_after.is_some());
        first.release();
        assert_eq!(budget.used(), 0);
        drop((first, second));
        assert_eq!(budget.used(), 0, "given back once");
    }
}
