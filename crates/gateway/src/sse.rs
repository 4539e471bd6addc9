//! Cuts a byte stream into the data of server-sent events (WHATWG HTML, 9.2.6).
//!
//! Invariant: holds at most [`EVENT_BYTES_MAX`] bytes, whatever comes in. That is why it is our
//! own: the usual crates buffer a line until its end, however far that is.

use crate::ChatError;

/// Largest line, and largest event.
pub(crate) const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// What has been read of the event under way. Only `data` fields matter here.
#[derive(Default)]
pub(crate) struct SseDecoder {
    line: Vec<u8>,
    data: String,
    has_data: bool,
    is_after_cr: bool,
    is_begun: bool,
}

impl SseDecoder {
    /// Reads on and appends the data of each event that ends in `bytes` to `events`.
    pub(crate) fn feed(&mut self, bytes: &[u8], events: &mut Vec<String>) -> Result<(), ChatError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if std::mem::take(&mut self.is_after_cr) {
                // The second half of one line break, if it is one.
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            }
            let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
            let (piece, more) = rest.split_at(end);
            if self.line.len() + self.data.len() + piece.len() > EVENT_BYTES_MAX {
                return Err(ChatError::TooLarge { what: "an event", bytes_max: EVENT_BYTES_MAX });
            }
            self.line.extend_from_slice(piece);
            let Some((line_break, more)) = more.split_first() else { break };
            self.is_after_cr = *line_break == b'\r';
            self.end_line(events)?;
            rest = more;
        }
        Ok(())
    }

    fn end_line(&mut self, events: &mut Vec<String>) -> Result<(), ChatError> {
        let mut bytes = std::mem::take(&mut self.line);
        let line = std::str::from_utf8(&bytes).map_err(|_| ChatError::Malformed { reason: "a line is not UTF-8".to_owned() })?;
        let line = if self.is_begun { line } else { line.strip_prefix('\u{feff}').unwrap_or(line) };
        self.is_begun = true;
        if line.is_empty() {
            if std::mem::take(&mut self.has_data) {
                events.push(std::mem::take(&mut self.data));
            }
        } else if let Some(value) = data_field(line) {
            if self.has_data {
                self.data.push('\n');
            }
            self.data.push_str(value);
            self.has_data = true;
        }
        // The next line is about as long.
        bytes.clear();
        self.line = bytes;
        Ok(())
    }
}

fn data_field(line: &str) -> Option<&str> {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    (name == "data").then(|| value.strip_prefix(' ').unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(input: &[u8], step: usize) -> Vec<String> {
        let (mut decoder, mut events) = (SseDecoder::default(), Vec::new());
        for piece in input.chunks(step) {
            decoder.feed(piece, &mut events).unwrap();
        }
        events
    }

    #[test]
    fn events_do_not_depend_on_how_the_bytes_are_cut() {
        let input = "\u{feff}data: 一\r\ndata:two\r\n\r\n: comment\nevent: x\nid: 3\n\ndata\n\ndata: last\r\rdata: unfinished";
        for step in [1, 2, 3, 7, 1000] {
            assert_eq!(decode(input.as_bytes(), step), ["一\ntwo", "", "last"], "cut every {step} bytes");
        }
    }

    #[test]
    fn a_line_without_end_is_refused_at_the_limit() {
        let (mut decoder, mut events) = (SseDecoder::default(), Vec::new());
        let block = [b'x'; 64 * 1024];
        let refused = (0..1000).position(|_| decoder.feed(&block, &mut events).is_err());
        assert_eq!(refused, Some(EVENT_BYTES_MAX / block.len()));
        assert!(decoder.line.len() <= EVENT_BYTES_MAX);
    }

    #[test]
    fn many_data_lines_count_together() {
        let (mut decoder, mut events) = (SseDecoder::default(), Vec::new());
        let line = format!("data: {}\n", "x".repeat(1000));
        assert!((0..2000).any(|_| decoder.feed(line.as_bytes(), &mut events).is_err()));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        let mut decoder = SseDecoder::default();
        assert!(matches!(decoder.feed(b"data: \xff\n", &mut Vec::new()), Err(ChatError::Malformed { .. })));
    }
}
