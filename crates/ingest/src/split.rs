//! Cutting a document into chunks that fit the embedding model.
//!
//! Invariants, each tested by property: every span is on char boundaries and names exactly the
//! chunk's text; spans are in order; every character that is not white space is in a chunk; no
//! chunk is empty; every chunk has at most `max_tokens` tokens. The one exception to the last: a
//! single character that is larger than that stands alone with its true count, and the embedder
//! will report that it cut it.
//!
//! `text-splitter` finds the places to cut (headings, paragraphs, sentences, words). It cuts a
//! shadow of the text in which `；` is `。`, because Unicode's sentences do not end at the former;
//! both have three bytes, so that every offset is one into the text itself.

mod headings;
mod regions;
mod sizer;

use crate::parse::{ParsedDocument, TextFormat};
use corpus::{ChunkDraft, Embedder, SpanIndex};
use headings::HeadingTree;
use serde::{Deserialize, Serialize};
use sizer::TokenSizer;
use std::ops::Range;
use text_splitter::{ChunkConfig, MarkdownSplitter, TextSplitter};

/// Fewest tokens a chunk may be limited to.
const MAX_TOKENS_MIN: usize = 16;

/// What the text is taken for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// What the parser says it is.
    #[default]
    Auto,
    /// Paragraphs, sentences, words.
    Text,
    /// Headings, blocks, then as text.
    Markdown,
}

/// How a collection's documents are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Chunking {
    /// What the text is taken for; default `auto`.
    pub strategy: Strategy,
    /// Most tokens of a chunk, special tokens included; default 256.
    pub max_tokens: usize,
    /// Most tokens that a chunk repeats of the one before it; default 32.
    pub overlap_tokens: usize,
}

impl Default for Chunking {
    fn default() -> Self {
        Self { strategy: Strategy::Auto, max_tokens: 256, overlap_tokens: 32 }
    }
}

/// Why a document can't be cut, or a [`Chunking`] is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// Out of range for the model.
    #[error("max_tokens is {given}; the model takes {MAX_TOKENS_MIN} to {model_max}")]
    MaxTokens {
        /// As configured.
        given: usize,
        /// What the model takes.
        model_max: usize,
    },
    /// More than half a chunk.
    #[error("overlap_tokens is {given}; at most half of max_tokens ({max}) may overlap")]
    Overlap {
        /// As configured.
        given: usize,
        /// Half of `max_tokens`.
        max: usize,
    },
    /// The model's prefix and special tokens leave no room.
    #[error("max_tokens is {max_tokens}, but the model needs {needed} tokens for an empty text")]
    NoRoom {
        /// As configured.
        max_tokens: usize,
        /// Tokens of the empty text.
        needed: usize,
    },
}

impl Chunking {
    /// Checks against the longest input of the embedding model.
    ///
    /// # Errors
    /// [`SplitError::MaxTokens`] or [`SplitError::Overlap`].
    pub const fn validate(&self, model_max_tokens: usize) -> Result<(), SplitError> {
        if self.max_tokens < MAX_TOKENS_MIN || self.max_tokens > model_max_tokens {
            return Err(SplitError::MaxTokens { given: self.max_tokens, model_max: model_max_tokens });
        }
        if self.overlap_tokens > self.max_tokens / 2 {
            return Err(SplitError::Overlap { given: self.overlap_tokens, max: self.max_tokens / 2 });
        }
        Ok(())
    }
}

/// Cuts a document; see the module for what holds of the result. No text gives no chunks.
///
/// # Errors
/// [`SplitError`] if `chunking` does not suit the embedder's model.
pub fn split(document: &ParsedDocument, chunking: &Chunking, embedder: &dyn Embedder) -> Result<Vec<ChunkDraft>, SplitError> {
    chunking.validate(embedder.model().max_tokens)?;
    let sizer = TokenSizer::new(embedder, chunking.max_tokens);
    let needed = sizer.tokens("");
    if needed >= chunking.max_tokens {
        return Err(SplitError::NoRoom { max_tokens: chunking.max_tokens, needed });
    }
    let text = document.text.as_str();
    let index = SpanIndex::new(text);
    let headings = HeadingTree::new(&document.headings);
    let draft = |(bytes, tokens): (Range<usize>, usize)| {
        Some(ChunkDraft {
            span: index.span(bytes.clone())?,
            text: text.get(bytes.clone())?.to_owned(),
            heading_path: headings.path_of(text, bytes.clone()),
            page: page_of(document, bytes.start),
            tokens,
        })
    };
    Ok(fitting(text, proposed(document, chunking, &sizer), &sizer).into_iter().filter_map(draft).collect())
}

fn page_of(document: &ParsedDocument, byte: usize) -> Option<u32> {
    let after = document.pages.partition_point(|page| page.byte_start <= byte);
    Some(document.pages.get(after.checked_sub(1)?)?.number)
}

/// Where `text-splitter` would cut.
fn proposed(document: &ParsedDocument, chunking: &Chunking, sizer: &TokenSizer<'_>) -> Vec<Range<usize>> {
    let shadow = document.text.replace('；', "。");
    let is_markdown = match chunking.strategy {
        Strategy::Auto => document.format == TextFormat::Markdown,
        Strategy::Text => false,
        Strategy::Markdown => true,
    };
    let regions = regions::regions(&shadow, &document.headings).into_iter();
    regions
        .flat_map(|region| {
            let pieces = cut(shadow.get(region.clone()).unwrap_or_default(), is_markdown, chunking, sizer);
            pieces.into_iter().map(move |piece| region.start + piece.start..region.start + piece.end)
        })
        .collect()
}

fn cut(region: &str, is_markdown: bool, chunking: &Chunking, sizer: &TokenSizer<'_>) -> Vec<Range<usize>> {
    let config = ChunkConfig::new(chunking.max_tokens).with_sizer(sizer.estimates(region));
    // validate() keeps the overlap below the capacity, which is all that can be wrong with it
    let Ok(config) = config.with_overlap(chunking.overlap_tokens) else { return Vec::new() };
    let range = |(start, chunk): (usize, &str)| start..start + chunk.len();
    if is_markdown {
        MarkdownSplitter::new(config).chunk_indices(region).map(range).collect()
    } else {
        TextSplitter::new(config).chunk_indices(region).map(range).collect()
    }
}

/// Counts every range on the text itself and cuts again what does not fit; leaves out what only
/// repeats. Each range with its tokens.
fn fitting(text: &str, ranges: Vec<Range<usize>>, sizer: &TokenSizer<'_>) -> Vec<(Range<usize>, usize)> {
    let mut out: Vec<(Range<usize>, usize)> = Vec::new();
    let mut covered = 0;
    for mut range in ranges.into_iter().map(|range| trimmed(text, range)) {
        if range.end > covered {
            // What the chunk before had to give away is not repeated again.
            if out.last().is_some_and(|(last, _)| range.start <= last.start) {
                range = trimmed(text, covered..range.end);
            }
            cut_to_fit(text, range.clone(), sizer, &mut out);
            covered = range.end;
        }
    }
    out
}

fn cut_to_fit(text: &str, mut range: Range<usize>, sizer: &TokenSizer<'_>, out: &mut Vec<(Range<usize>, usize)>) {
    while let Some(piece) = text.get(range.clone()).filter(|piece| !piece.is_empty()) {
        let (length, tokens) = sizer.fitting_prefix(piece);
        let head = trimmed(text, range.start..range.start + length);
        if let Some(chunk) = text.get(head.clone()).filter(|chunk| !chunk.is_empty()) {
            let tokens = if chunk.len() == length { tokens } else { sizer.tokens(chunk) };
            out.push((head, tokens));
        }
        range = trimmed(text, range.start + length..range.end);
    }
}

/// Without white space at either end.
fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let Some(piece) = text.get(range.clone()) else { return range.start..range.start };
    let end = range.start + piece.trim_end().len();
    let start = (range.end - piece.trim_start().len()).min(end);
    start..end
}

#[cfg(test)]
mod tests;
