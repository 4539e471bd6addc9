//! Tells how an answer ended, whoever hears it.

use crate::{ChatError, ChatEvent, ChatStream};
use futures::{Stream, StreamExt};
use std::pin::Pin;
use std::task::{Context, Poll};

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending<'a> {
    /// With `Done`.
    Complete,
    /// With an error.
    Failed(&'a ChatError),
    /// Nobody wanted to hear the rest.
    Dropped,
}

struct Told<F: FnOnce(Ending<'_>)> {
    events: ChatStream,
    tell: Option<F>,
}

/// The same events; `tell` is called once, when the last is heard or the stream is dropped.
pub(crate) fn told<F: FnOnce(Ending<'_>) + Send + Unpin + 'static>(events: ChatStream, tell: F) -> ChatStream {
    Told { events, tell: Some(tell) }.boxed()
}

impl<F: FnOnce(Ending<'_>)> Told<F> {
    fn end(&mut self, ending: Ending<'_>) {
        if let Some(tell) = self.tell.take() {
            tell(ending);
        }
    }
}

impl<F: FnOnce(Ending<'_>) + Unpin> Stream for Told<F> {
    type Item = Result<ChatEvent, ChatError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = self.events.poll_next_unpin(context);
        match &event {
            Poll::Ready(Some(Ok(ChatEvent::Done { .. }))) => self.end(Ending::Complete),
            Poll::Ready(Some(Err(error))) => self.end(Ending::Failed(error)),
            _ => {}
        }
        event
    }
}

impl<F: FnOnce(Ending<'_>)> Drop for Told<F> {
    fn drop(&mut self) {
        self.end(Ending::Dropped);
    }
}
