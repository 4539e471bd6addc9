//! Answers that stream end early when the server stops or the key that opened them is revoked, and say so.

use crate::app::AppState;
use crate::auth::Caller;
use axum::response::sse::Event;
use futures::{FutureExt, Stream, StreamExt, stream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The events, each with whether it ends the answer; where they are cut off before that, `last` makes a last one of a
/// code and a sentence.
pub(super) fn until_cut_off(
    app: AppState,
    caller: Caller,
    events: impl Stream<Item = (Event, bool)> + Send + 'static,
    last: impl FnOnce(&'static str, &'static str) -> Event + Send + 'static,
) -> impl Stream<Item = Event> + Send + 'static {
    let is_over = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&is_over);
    let told = events.map(move |(event, is_end)| {
        ended.fetch_or(is_end, Ordering::Relaxed);
        event
    });
    let cut_off = async move { app.cut_off(&caller).await }.shared();
    let why = cut_off.clone();
    let last = async move {
        let (code, detail) = why.now_or_never().filter(|_| !is_over.load(Ordering::Relaxed))?;
        Some(last(code, detail))
    };
    told.take_until(cut_off).chain(stream::once(last).filter_map(std::future::ready))
}
