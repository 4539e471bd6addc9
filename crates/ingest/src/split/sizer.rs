//! Sizes in tokens, counted as rarely as possible.

use corpus::Embedder;
use text_splitter::ChunkSizer;

/// No chunk has more bytes than this for each token it may have: one word of a megabyte is one
/// token to some tokenizers and still no chunk. It also bounds what one count costs.
const BYTES_PER_TOKEN_MAX: usize = 64;

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
        if self.size(text) <= self.max_tokens {
            return text.len();
        }
        let ends: Vec<usize> = text.char_indices().skip(1).map(|(end, _)| end).collect();
        let (mut fits, mut beyond) = (0, ends.len());
        while beyond - fits > 1 {
            let middle = fits.midpoint(beyond);
            let prefix = ends.get(middle).and_then(|end| text.get(..*end)).unwrap_or_default();
            *(if self.size(prefix) <= self.max_tokens { &mut fits } else { &mut beyond }) = middle;
        }
        ends.get(fits).copied().unwrap_or(text.len())
    }
}

impl ChunkSizer for TokenSizer<'_> {
    fn size(&self, chunk: &str) -> usize {
        if chunk.len() > self.max_tokens.saturating_mul(BYTES_PER_TOKEN_MAX) { self.max_tokens + 1 } else { self.tokens(chunk) }
    }
}
