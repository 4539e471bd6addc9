//! Sends an answer at the pace and with the end that its reply asks for.

use crate::calls::{Finished, Watch};
use crate::content::{Content, Part, Piece};
use crate::faults::{Break, How};
use crate::reply::{Fault, Reply};
use crate::wire::ResetSwitch;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use hyper::body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Ends a connection without another word.
#[derive(Debug)]
pub(crate) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken off, as the script says")
    }
}

impl std::error::Error for Broken {}

/// The body of an answer. It notes how it ended.
pub(crate) enum AnswerBody {
    /// Sent at once.
    Whole { bytes: Bytes, watch: Option<Watch> },
    /// Sent in time.
    Played { frames: BoxStream<'static, Result<Bytes, Broken>>, bytes_total: Option<u64> },
}

impl AnswerBody {
    /// Of an answer that nobody watches.
    pub(crate) fn unwatched(bytes: impl Into<Bytes>) -> Self {
        Self::Whole { bytes: bytes.into(), watch: None }
    }

    pub(crate) fn new(mut content: Content, reply: &Reply, watch: Watch, switch: ResetSwitch) -> Self {
        let pauses = Pauses::of(reply);
        let breaks = Break::of(reply);
        if breaks.is_none() && pauses.is_none() && content.pieces.len() <= 1 {
            let bytes = content.pieces.pop().map(|piece| piece.bytes).unwrap_or_default();
            return Self::whole(bytes, watch);
        }
        let bytes_total = content.is_sized.then(|| content.bytes_total());
        let player = Player { pieces: content.pieces.into(), pauses, chunks_sent: 0, breaks, watch, switch, is_over: false };
        let frames = stream::unfold(player, Player::next).boxed();
        Self::Played { frames, bytes_total }
    }

    fn whole(bytes: Bytes, mut watch: Watch) -> Self {
        if bytes.is_empty() {
            // An empty body is never asked for.
            watch.end(Finished::Completed);
        }
        Self::Whole { bytes, watch: Some(watch) }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Whole { bytes, .. } if bytes.is_empty() => Poll::Ready(None),
            Self::Whole { bytes, watch } => {
                if let Some(watch) = watch {
                    watch.end(Finished::Completed);
                }
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))))
            }
            Self::Played { frames, .. } => frames.poll_next_unpin(context).map(|frame| Some(frame?.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole { bytes, .. } if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole { bytes, .. } => SizeHint::with_exact(bytes.len() as u64),
            Self::Played { bytes_total, .. } => bytes_total.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

/// How long chunks are waited for.
#[derive(Debug, Clone, Copy)]
struct Pauses {
    first: Duration,
    next: Duration,
}

impl Pauses {
    fn of(reply: &Reply) -> Self {
        let ms = |ms: Option<u64>| Duration::from_millis(ms.unwrap_or_default());
        let next = ms(reply.chunk_ms);
        let next = if reply.fault == Some(Fault::Drip) { next.max(Duration::from_millis(1)) } else { next };
        Self { first: ms(reply.first_token_ms), next }
    }

    fn is_none(self) -> bool {
        self.first.is_zero() && self.next.is_zero()
    }

    async fn before(self, part: Part, chunks_sent: usize) {
        let pause = match part {
            Part::Content if chunks_sent == 0 => self.first,
            Part::Content => self.next,
            Part::Opening | Part::Closing => Duration::ZERO,
        };
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}

/// An answer under way.
struct Player {
    pieces: VecDeque<Piece>,
    pauses: Pauses,
    chunks_sent: usize,
    breaks: Option<Break>,
    watch: Watch,
    switch: ResetSwitch,
    is_over: bool,
}

impl Player {
    async fn next(mut self) -> Option<(Result<Bytes, Broken>, Self)> {
        if self.is_over {
            return None;
        }
        let Some(piece) = self.next_piece() else { return self.break_off().await };
        self.pauses.before(piece.part, self.chunks_sent).await;
        self.chunks_sent += usize::from(piece.part == Part::Content);
        if self.pieces.is_empty() && self.breaks.is_none() {
            // Now, not when the end is asked for: a client that has the last piece may leave.
            self.watch.end(Finished::Completed);
        }
        Some((Ok(piece.bytes), self))
    }

    /// Nothing if all is sent, or if this is where it breaks off.
    fn next_piece(&mut self) -> Option<Piece> {
        let part = self.pieces.front()?.part;
        let is_break = self.breaks.is_some_and(|breaks| breaks.is_before(part, self.chunks_sent));
        if is_break { None } else { self.pieces.pop_front() }
    }

    async fn break_off(mut self) -> Option<(Result<Bytes, Broken>, Self)> {
        let how = self.breaks?.how;
        if how == How::Stall {
            // Dropped when the client leaves, with the watch.
            return std::future::pending().await;
        }
        // What was handed over so far is written while this waits; an error would throw it away.
        tokio::task::yield_now().await;
        self.watch.end(Finished::Faulted);
        if how == How::End {
            return None;
        }
        if how == How::Reset {
            self.switch.throw();
        }
        self.is_over = true;
        Some((Err(Broken), self))
    }
}
