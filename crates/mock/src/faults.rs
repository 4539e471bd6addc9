//! What a fault does to an answer. Those that break a body off are played in `body`.

use crate::content::{Content, Part, Piece};
use crate::refusal::Refusal;
use crate::reply::{Fault, Reply};
use crate::route::Dialect;
use bytes::Bytes;

/// Where and how a body breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Break {
    chunks: usize,
    pub(crate) how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// The body ends in peace, the answer in it doesn't.
    End,
    /// The connection is closed.
    Cut,
    /// The connection is reset.
    Reset,
    /// Nothing more comes.
    Stall,
}

impl Break {
    pub(crate) fn of(reply: &Reply) -> Option<Self> {
        let (chunks, how) = match reply.fault.as_ref()? {
            Fault::EndInBody(chunks) => (*chunks, How::End),
            Fault::CutInBody(chunks) => (*chunks, How::Cut),
            Fault::ResetInBody(chunks) => (*chunks, How::Reset),
            Fault::StallInBody(chunks) => (*chunks, How::Stall),
            Fault::StallAfterHeaders => (0, How::Stall),
            _ => return None,
        };
        Some(Self { chunks, how })
    }

    /// Whether it comes before this part of a body of which so many chunks were sent.
    pub(crate) fn is_before(self, part: Part, chunks_sent: usize) -> bool {
        match part {
            Part::Opening => false,
            Part::Content => chunks_sent >= self.chunks,
            Part::Closing => true,
        }
    }
}

const BROKEN_JSON: &str = r#"{"choices": [oops}"#;

const PAGE: &str = "<!doctype html>\n<html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>\n";

/// The answer with the reply's fault in it.
pub(crate) fn distort(content: Content, reply: &Reply, dialect: Dialect) -> Content {
    let Some(fault) = &reply.fault else { return content };
    match fault {
        Fault::Drip => content.in_bytes(),
        Fault::InvalidJson => content.change_second(broken_json),
        Fault::InvalidUtf8 => content.change_second(broken_utf8),
        Fault::Html => Content { status: reply.status.unwrap_or(200), ..Content::whole("text/html; charset=utf-8", PAGE) },
        Fault::HugeLine(bytes) => huge_line(&content, *bytes),
        Fault::ErrorEvent(chunks) => error_event(content, *chunks, dialect),
        Fault::Redirect(_) => Content { status: reply.status.unwrap_or(302), ..Content::whole("text/plain", "") },
        Fault::StallAfterHeaders => Content { pieces: Vec::new(), is_sized: false, ..content },
        Fault::EndInBody(_) => Content { is_sized: false, ..in_chunks(content, reply) },
        Fault::CutInBody(_) | Fault::ResetInBody(_) | Fault::StallInBody(_) => in_chunks(content, reply),
        Fault::RefuseBeforeHeaders | Fault::CloseBeforeHeaders | Fault::WrongDimension(_) => content,
    }
}

/// A script's own body has no part that must be missing: it may break off after its last byte.
fn in_chunks(content: Content, reply: &Reply) -> Content {
    let mut content = content.in_chunks();
    if reply.body.is_some() {
        content.is_sized = false;
        content.pieces.iter_mut().for_each(|piece| piece.part = Part::Content);
    }
    content
}

/// Of an event what comes before its data stays.
fn broken_json(bytes: &Bytes) -> Bytes {
    let text = String::from_utf8_lossy(bytes);
    match text.split_once("data: ") {
        Some((before, _)) => Bytes::from(format!("{before}data: {BROKEN_JSON}\n\n")),
        None => Bytes::from_static(BROKEN_JSON.as_bytes()),
    }
}

/// A byte that is no UTF-8, at the start of the first value that is a string.
fn broken_utf8(bytes: &Bytes) -> Bytes {
    let start = br#":""#;
    let place = bytes.windows(start.len()).position(|window| window == start).map_or(0, |place| place + start.len());
    let (before, after) = bytes.split_at_checked(place).unwrap_or((bytes, &[]));
    [before, b"\xff", after].concat().into()
}

/// What a huge line is made of: sent again and again, there only once.
static BLOCK: [u8; 64 << 10] = [b'x'; 64 << 10];

fn huge_line(content: &Content, bytes: u64) -> Content {
    let block = Bytes::from_static(&BLOCK);
    let (blocks, rest) = (bytes / BLOCK.len() as u64, bytes % BLOCK.len() as u64);
    let rest = usize::try_from(rest).unwrap_or_default();
    let (start, end) = if content.is_stream() { ("data: ", "\n\n") } else { (r#"{"id":""#, "\"}\n") };
    let mut pieces = vec![Piece::opening(start)];
    pieces.extend((0..blocks).map(|_| Piece::content(block.clone())));
    pieces.push(Piece::content(block.slice(..rest.min(block.len()))));
    pieces.push(Piece::closing(end));
    Content { pieces, is_sized: false, ..*content }
}

fn error_event(content: Content, chunks: usize, dialect: Dialect) -> Content {
    let refusal = Refusal::scripted(if dialect == Dialect::Anthropic { 529 } else { 500 });
    if !content.is_stream() {
        return Content { status: 200, ..refusal.content(dialect) };
    }
    let breaks = Break { chunks, how: How::End };
    let mut chunks_sent = 0;
    let is_sent = |piece: &Piece| {
        let is_sent = !breaks.is_before(piece.part, chunks_sent);
        chunks_sent += usize::from(piece.part == Part::Content);
        is_sent
    };
    let mut pieces: Vec<Piece> = content.pieces.into_iter().take_while(is_sent).collect();
    pieces.push(Piece::closing(refusal.event(dialect)));
    Content::events(pieces)
}
