//! What is to be sent, before anybody decides how fast and whether all of it.

use bytes::Bytes;
use serde_json::Value;

/// Where a piece stands in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Before any content, or between two blocks of it.
    Opening,
    /// What the model says. Pauses and faults count these.
    Content,
    /// After all content.
    Closing,
}

/// Bytes that are sent together.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) part: Part,
    pub(crate) bytes: Bytes,
}

impl Piece {
    pub(crate) fn opening(bytes: impl Into<Bytes>) -> Self {
        Self { part: Part::Opening, bytes: bytes.into() }
    }

    pub(crate) fn content(bytes: impl Into<Bytes>) -> Self {
        Self { part: Part::Content, bytes: bytes.into() }
    }

    pub(crate) fn closing(bytes: impl Into<Bytes>) -> Self {
        Self { part: Part::Closing, bytes: bytes.into() }
    }
}

/// A body in pieces.
pub(crate) struct Content {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) pieces: Vec<Piece>,
    /// Whether its length is told beforehand.
    pub(crate) is_sized: bool,
}

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// A chunk of a body that is no stream of events.
const CHUNK_BYTES: usize = 64;

impl Content {
    pub(crate) fn json(value: &Value) -> Self {
        Self::whole(JSON, value.to_string())
    }

    pub(crate) fn whole(content_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        Self { status: 200, content_type, pieces: vec![Piece::content(bytes)], is_sized: true }
    }

    pub(crate) fn events(pieces: Vec<Piece>) -> Self {
        Self { status: 200, content_type: EVENTS, pieces, is_sized: false }
    }

    /// A script's own bytes: events if it looks like that, cut where each ends.
    pub(crate) fn raw(bytes: &Bytes) -> Self {
        let is_like = |starts: &[&[u8]]| starts.iter().any(|start| bytes.starts_with(start));
        if is_like(&[b"data:", b"event:", b":"]) {
            return Self::events(events_in(bytes).into_iter().map(Piece::content).collect());
        }
        let content_type = if is_like(&[b"{", b"["]) { JSON } else { "text/plain; charset=utf-8" };
        Self::whole(content_type, bytes.clone())
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.content_type == EVENTS
    }

    pub(crate) fn bytes_total(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.bytes.len() as u64).sum()
    }

    /// Cuts a body in one piece into chunks, so that something can happen between them.
    pub(crate) fn in_chunks(mut self) -> Self {
        if !self.is_stream() {
            self.pieces = self.pieces.iter().flat_map(|piece| slices(&piece.bytes, CHUNK_BYTES)).map(Piece::content).collect();
            if let Some(last) = self.pieces.last_mut() {
                last.part = Part::Closing;
            }
        }
        self
    }

    /// Cuts everything into single bytes.
    pub(crate) fn in_bytes(mut self) -> Self {
        self.pieces = self.pieces.iter().flat_map(|piece| slices(&piece.bytes, 1)).map(Piece::content).collect();
        self
    }

    /// Changes the second chunk of content, or the only one.
    pub(crate) fn change_second(mut self, change: impl Fn(&Bytes) -> Bytes) -> Self {
        let contents = self.pieces.iter_mut().filter(|piece| piece.part == Part::Content);
        if let Some(piece) = contents.take(2).last() {
            piece.bytes = change(&piece.bytes);
        }
        self
    }
}

fn slices(bytes: &Bytes, length: usize) -> Vec<Bytes> {
    bytes.chunks(length).map(|chunk| bytes.slice_ref(chunk)).collect()
}

/// Each up to and with the empty line that ends it.
fn events_in(bytes: &Bytes) -> Vec<Bytes> {
    let mut events = Vec::new();
    let mut rest = bytes.clone();
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\n\n") {
        events.push(rest.split_to(end + 2));
    }
    events.extend(Some(rest).filter(|rest| !rest.is_empty()));
    events
}

/// An object with one more field, if there is something to put there.
pub(crate) fn with_field(mut object: Value, name: &str, value: Option<Value>) -> Value {
    if let (Some(fields), Some(value)) = (object.as_object_mut(), value) {
        fields.insert(name.to_owned(), value);
    }
    object
}

/// `text` cut after every so many words, white space kept.
pub(crate) fn words(text: &str, count: usize) -> Vec<String> {
    let words: Vec<&str> = text.split_inclusive(char::is_whitespace).collect();
    words.chunks(count.max(1)).map(<[&str]>::concat).collect()
}

/// Characters of a tool's arguments that are sent together.
const ARGUMENT_CHARS: usize = 8;

/// A tool's arguments, cut as providers do it: anywhere.
pub(crate) fn fragments(arguments: &str) -> Vec<String> {
    let chars: Vec<char> = arguments.chars().collect();
    chars.chunks(ARGUMENT_CHARS).map(|chunk| chunk.iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_is_whole_when_put_together() {
        let text = "one  two\nthree four five";
        assert_eq!(words(text, 2).concat(), text);
        assert_eq!(words("a b c", 2), ["a b ", "c"]);
        assert_eq!(fragments("{\"city\":\"Zürich\"}").concat(), "{\"city\":\"Zürich\"}");
        let events = events_in(&Bytes::from_static(b"data: 1\n\ndata: 2\n\ndata: "));
        assert_eq!(events, ["data: 1\n\n", "data: 2\n\n", "data: "]);
    }
}
