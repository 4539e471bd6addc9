//! Calls of blocking callers. The seams of embedders and rerankers are blocking, the client is not: a runtime of its
//! own, with one thread for its connections, runs the calls from whatever blocking thread they come.

use crate::endpoint::{self, Endpoint, EndpointError};
use crate::{ChatError, Guarded};
use corpus::EmbedError;
use futures::future::{Either, select};
use serde_json::Value;
use std::pin::pin;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;

/// Runs calls until it is closed.
pub(crate) struct Blocking {
    is_closed: watch::Sender<bool>,
    handle: Handle,
    /// There until the drop.
    runtime: Option<Runtime>,
}

impl Blocking {
    /// Starts the thread, under this name.
    pub(crate) fn start(thread_name: &str) -> Result<Self, EndpointError> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name(thread_name).enable_all().build();
        let runtime = runtime.map_err(|error| EndpointError::Client(error.to_string()))?;
        Ok(Self { is_closed: watch::Sender::new(false), handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// What is under way and every later call is [`EmbedError::Closed`].
    pub(crate) fn close(&self) {
        self.is_closed.send_replace(true);
    }

    /// Blocks until the work is done.
    pub(crate) fn run<T>(&self, work: impl Future<Output = Result<T, EmbedError>>) -> Result<T, EmbedError> {
        self.handle.block_on(self.until_closed(work))
    }

    async fn until_closed<T>(&self, work: impl Future<Output = Result<T, EmbedError>>) -> Result<T, EmbedError> {
        let mut is_closed = self.is_closed.subscribe();
        match select(pin!(is_closed.wait_for(|is_closed| *is_closed)), pin!(work)).await {
            Either::Left(_) => Err(EmbedError::Closed),
            Either::Right((result, _)) => result,
        }
    }
}

impl Drop for Blocking {
    /// Without waiting for the end of the runtime: on an async thread that would panic.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A request with one answer of up to so many bytes.
pub(crate) struct Exchange<'a> {
    pub(crate) request: &'a Value,
    /// Tokens that it costs at the provider, by a rough count.
    pub(crate) tokens: u64,
    /// The largest honest answer, and what it is.
    pub(crate) bytes_max: usize,
    pub(crate) what: &'static str,
}

impl Exchange<'_> {
    /// Asks, as often as it is allowed, and reads the answer.
    pub(crate) async fn make<T>(
        &self,
        guard: &Guarded,
        endpoint: &Endpoint,
        read: impl Fn(&[u8]) -> Result<T, ChatError>,
    ) -> Result<T, EmbedError> {
        let ask = || async { read(&self.body(endpoint).await?) };
        guard.call(self.tokens, ask).await.map_err(|error| embed_error(&error))
    }

    async fn body(&self, endpoint: &Endpoint) -> Result<Vec<u8>, ChatError> {
        let mut answer = endpoint.post(self.request).await?;
        let mut body = Vec::new();
        endpoint::read(&mut answer.body, self.bytes_max, &mut body).await?;
        if body.len() > self.bytes_max {
            return Err(ChatError::TooLarge { what: self.what, bytes_max: self.bytes_max });
        }
        // JSON is UTF-8, also where nobody looks.
        match std::str::from_utf8(&body) {
            Ok(_) => Ok(body),
            Err(error) => Err(ChatError::Malformed { reason: format!("the answer is no UTF-8: {error}") }),
        }
    }
}

/// Shortest that a caller is asked to wait.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// Where the provider says nothing.
const PAUSE: Duration = Duration::from_secs(5);
/// Longest: it looks again whether the work is still wanted.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A provider that says when to come back is busy. What is wrong with the texts or the answer stays wrong;
/// everything else (nobody there, a key that ran out, no such model yet) can be put right meanwhile.
fn embed_error(error: &ChatError) -> EmbedError {
    let wait = error.retry_after().map(|wait| wait.clamp(PAUSE_MIN, PAUSE_MAX));
    match (error, wait) {
        (ChatError::Status { status: 429 | 503, .. }, Some(retry_after)) => EmbedError::Busy { retry_after },
        (ChatError::Status { status: 400 | 413 | 422, .. } | ChatError::Malformed { .. } | ChatError::TooLarge { .. }, _) => {
            EmbedError::Provider { reason: error.to_string(), retry_after: None }
        }
        (error, wait) => EmbedError::Provider { reason: error.to_string(), retry_after: Some(wait.unwrap_or(PAUSE)) },
    }
}
