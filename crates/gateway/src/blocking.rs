//! Calls of blocking callers. The seams of embedders and rerankers are blocking, the client is not: a runtime of its
//! own, with one thread for its connections, runs the calls from whatever blocking thread they come.

use crate::endpoint::EndpointError;
use corpus::{EmbedError, Wanted};
use futures::future::{Either, select};
use std::pin::pin;
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

    /// Blocks until the work is done or over: closed, or not wanted any more.
    pub(crate) fn run<T>(&self, wanted: &Wanted, work: impl Future<Output = Result<T, EmbedError>>) -> Result<T, EmbedError> {
        self.handle.block_on(self.until_over(wanted, work))
    }

    async fn until_over<T>(&self, wanted: &Wanted, work: impl Future<Output = Result<T, EmbedError>>) -> Result<T, EmbedError> {
        let mut is_closed = self.is_closed.subscribe();
        let closed = async {
            // An error would mean that it is gone altogether.
            let _ = is_closed.wait_for(|is_closed| *is_closed).await;
            EmbedError::Closed
        };
        let left = async {
            wanted.over().await;
            EmbedError::Unwanted
        };
        match select(select(pin!(closed), pin!(left)), pin!(work)).await {
            Either::Left((end, _)) => Err(end.factor_first().0),
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
