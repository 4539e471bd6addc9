//! Where a piece of text stands in the document's extracted text.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A range of a document's extracted text in bytes of its UTF-8 form and in Unicode scalar
/// values; ends are exclusive. Always on char boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// First byte.
    pub byte_start: usize,
    /// One past the last byte.
    pub byte_end: usize,
    /// First character.
    pub char_start: usize,
    /// One past the last character.
    pub char_end: usize,
}

impl Span {
    /// The span of `bytes` in `text`; `None` if the range is out of bounds, inverted or not on
    /// char boundaries. Counts characters from the start: for many spans use [`SpanIndex`].
    #[must_use]
    pub fn of(text: &str, bytes: Range<usize>) -> Option<Self> {
        SpanIndex::new(text).span(bytes)
    }

    /// The piece of `text` that this span names.
    #[must_use]
    pub fn slice<'t>(&self, text: &'t str) -> Option<&'t str> {
        text.get(self.byte_start..self.byte_end)
    }

    /// The byte range.
    #[must_use]
    pub fn bytes(&self) -> Range<usize> {
        self.byte_start..self.byte_end
    }

    /// The span, in the same document, of `bytes` of a text that itself stands at `self`.
    #[must_use]
    pub fn within(&self, text: &str, bytes: Range<usize>) -> Option<Self> {
        let inner = Self::of(text, bytes)?;
        Some(Self {
            byte_start: self.byte_start + inner.byte_start,
            byte_end: self.byte_start + inner.byte_end,
            char_start: self.char_start + inner.char_start,
            char_end: self.char_start + inner.char_end,
        })
    }
}

/// Bytes between two remembered character counts.
const STRIDE: usize = 1024;

/// Turns byte ranges of one text into spans without counting from the start each time.
pub struct SpanIndex<'t> {
    text: &'t str,
    /// Characters that start before byte `i * STRIDE`.
    chars_before: Vec<usize>,
}

impl<'t> SpanIndex<'t> {
    /// Counts the characters of `text` once.
    #[must_use]
    pub fn new(text: &'t str) -> Self {
        let mut count = 0;
        let mut chars_before = vec![0];
        for block in text.as_bytes().chunks(STRIDE) {
            count += block.iter().filter(|byte| is_char_start(**byte)).count();
            chars_before.push(count);
        }
        Self { text, chars_before }
    }

    /// The span of a byte range; `None` as for [`Span::of`].
    #[must_use]
    pub fn span(&self, bytes: Range<usize>) -> Option<Span> {
        self.text.get(bytes.clone())?;
        Some(Span {
            byte_start: bytes.start,
            byte_end: bytes.end,
            char_start: self.char_at(bytes.start),
            char_end: self.char_at(bytes.end),
        })
    }

    /// The byte range of a range of characters; `None` if it is out of bounds or inverted.
    #[must_use]
    pub fn byte_range(&self, chars: Range<usize>) -> Option<Range<usize>> {
        let range = self.byte_at(chars.start)?..self.byte_at(chars.end)?;
        (range.start <= range.end).then_some(range)
    }

    fn byte_at(&self, char_index: usize) -> Option<usize> {
        let after = self.chars_before.partition_point(|count| *count <= char_index);
        let block = after.saturating_sub(1).min(self.text.len() / STRIDE);
        let mut seen = self.chars_before.get(block).copied()?;
        let block_start = block * STRIDE;
        for (offset, byte) in self.text.as_bytes().get(block_start..)?.iter().enumerate() {
            if is_char_start(*byte) {
                if seen == char_index {
                    return Some(block_start + offset);
                }
                seen += 1;
            }
        }
        (seen == char_index).then_some(self.text.len())
    }

    fn char_at(&self, byte: usize) -> usize {
        let block = byte / STRIDE;
        let known = self.chars_before.get(block).copied().unwrap_or_default();
        let rest = self.text.as_bytes().get(block * STRIDE..byte).unwrap_or_default();
        known + rest.iter().filter(|byte| is_char_start(**byte)).count()
    }
}

fn is_char_start(byte: u8) -> bool {
    byte & 0b1100_0000 != 0b1000_0000
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn spans_agree_with_counting(text in "\\PC{0,3000}", a in 0usize..9000, b in 0usize..9000) {
            let (start, end) = (a.min(b), a.max(b));
            let index = SpanIndex::new(&text);
            match (text.get(start..end), index.span(start..end)) {
                (None, span) => prop_assert!(span.is_none()),
                (Some(slice), Some(span)) => {
                    prop_assert_eq!(span.slice(&text), Some(slice));
                    prop_assert_eq!(span.char_start, text[..start].chars().count());
                    prop_assert_eq!(span.char_end, text[..end].chars().count());
                    prop_assert_eq!(index.byte_range(span.char_start..span.char_end), Some(start..end));
                }
                (Some(_), None) => prop_assert!(false, "a good range was refused"),
            }
        }
    }

    #[test]
    fn a_span_within_a_span_points_into_the_document() {
        let text = "ab—cd—ef";
        let outer = Span::of(text, 2..10).unwrap();
        let inner = outer.within(outer.slice(text).unwrap(), 3..5).unwrap();
        assert_eq!(inner.slice(text), Some("cd"));
        assert_eq!((inner.char_start, inner.char_end), (3, 5));
    }
}
