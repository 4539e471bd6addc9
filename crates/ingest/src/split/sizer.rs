//! Sizes in tokens, counted as rarely as possible.

use corpus::Embedder;
use text_splitter::ChunkSizer;

/// No chunk has more bytes than this for each token it may have: one word of a megabyte is one
/// token to some tokenizers and still no chunk. It also bounds what one count costs.
const BYTES_PER_TOKEN_MAX: usize = 64;
/// Runs of white space from here on are one space when places to cut are looked for.
const INDENT: &str = "        ";

/// Counts tokens of pieces of one document.
pub(super) struct TokenSizer<'e> {
    embedder: &'e dyn Embedder,
    max_tokens: usize,
}

impl<'e> TokenSizer<'e> {
    pub(super) const fn new(embedder: &'e dyn Embedder, max_tokens: usize) -> Self {
        Self { embedder, max_tokens }
    }

    /// The true count.
    pub(super) fn tokens(&self, text: &str) -> usize {
        self.embedder.count_tokens(text)
    }

    /// Bytes of the longest prefix that bisection finds to fit; at least one character. Tokens need
    /// not grow with every character, so there may be a longer one.
    pub(super) fn fitting_prefix(&self, text: &str) -> usize {
        if self.fits(text) {
            return text.len();
        }
        let ends: Vec<usize> = text.char_indices().skip(1).map(|(end, _)| end).collect();
        let (mut fits, mut beyond) = (0, ends.len());
        while beyond - fits > 1 {
            let middle = fits.midpoint(beyond);
            let prefix = ends.get(middle).and_then(|end| text.get(..*end)).unwrap_or_default();
            *(if self.fits(prefix) { &mut fits } else { &mut beyond }) = middle;
        }
        ends.get(fits).copied().unwrap_or(text.len())
    }

    /// By the true count.
    fn fits(&self, text: &str) -> bool {
        !self.is_long(text) && self.tokens(text) <= self.max_tokens
    }

    const fn is_long(&self, text: &str) -> bool {
        text.len() > self.max_tokens.saturating_mul(BYTES_PER_TOKEN_MAX)
    }
}

/// What a chunk is proposed by; [`TokenSizer::fitting_prefix`] has the last word. A piece is counted
/// some ten times before its borders are found, and a tokenizer reads every space of an indent to
/// find that it is no token: deeply nested text, which is hardly more than indents, took it minutes.
///
/// It grows with every few bytes: the overlap of two chunks is measured by it too, and a word of a
/// megabyte, being one token, would overlap itself all the way.
impl ChunkSizer for TokenSizer<'_> {
    fn size(&self, chunk: &str) -> usize {
        if self.is_long(chunk) {
            return self.max_tokens + 1;
        }
        let tokens = if chunk.contains(INDENT) { self.tokens(&without_indents(chunk)) } else { self.tokens(chunk) };
        tokens.max(chunk.len().div_ceil(BYTES_PER_TOKEN_MAX))
    }
}

fn without_indents(chunk: &str) -> String {
    let mut out = String::with_capacity(chunk.len());
    for piece in chunk.split(INDENT).filter(|piece| !piece.is_empty()) {
        out.push_str(piece);
        out.push(' ');
    }
    out
}
