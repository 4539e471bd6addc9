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

    /// What the pieces of `region` are proposed by.
    pub(super) fn estimates<'r>(&self, region: &'r str) -> Estimates<'r> {
        Estimates { region, starts: self.embedder.token_starts(region), special: self.tokens(""), too_many: self.max_tokens + 1 }
    }

    /// Bytes and tokens of the longest prefix that bisection finds to fit; at least one character.
    /// Tokens need not grow with every character, so there may be a longer one.
    pub(super) fn fitting_prefix(&self, text: &str) -> (usize, usize) {
        if let Some(tokens) = self.fits(text) {
            return (text.len(), tokens);
        }
        let ends: Vec<usize> = text.char_indices().skip(1).map(|(end, _)| end).collect();
        let (mut fits, mut beyond) = (0, ends.len());
        let mut found = None;
        while beyond - fits > 1 {
            let middle = fits.midpoint(beyond);
            let prefix = ends.get(middle).and_then(|end| text.get(..*end)).unwrap_or_default();
            match self.fits(prefix) {
                Some(tokens) => (fits, found) = (middle, Some((prefix.len(), tokens))),
                None => beyond = middle,
            }
        }
        found.unwrap_or_else(|| {
            let first = ends.first().copied().unwrap_or(text.len());
            (first, self.tokens(text.get(..first).unwrap_or_default()))
        })
    }

    /// The true count of a text that fits.
    fn fits(&self, text: &str) -> Option<usize> {
        let is_long = text.len() > self.max_tokens.saturating_mul(BYTES_PER_TOKEN_MAX);
        if is_long { None } else { Some(self.tokens(text)).filter(|tokens| *tokens <= self.max_tokens) }
    }
}

/// What a chunk is proposed by; [`TokenSizer::fitting_prefix`] has the last word. A piece is sized
/// some ten times before its borders are found: a region is tokenized once, and its pieces are
/// looked up.
///
/// The estimate grows with every few bytes: the overlap of two chunks is measured by it too, and a
/// word of a megabyte, being one token, would overlap itself all the way.
pub(super) struct Estimates<'r> {
    region: &'r str,
    starts: Vec<usize>,
    special: usize,
    too_many: usize,
}

impl ChunkSizer for Estimates<'_> {
    fn size(&self, chunk: &str) -> usize {
        // Only parts of the region are asked for; a stranger has no place in it and is no chunk.
        let Some(start) = chunk.as_ptr().addr().checked_sub(self.region.as_ptr().addr()) else { return self.too_many };
        let before = |end: usize| self.starts.partition_point(|start| *start < end);
        let tokens = self.special + before(start + chunk.len()) - before(start);
        tokens.max(chunk.len().div_ceil(BYTES_PER_TOKEN_MAX))
    }
}
