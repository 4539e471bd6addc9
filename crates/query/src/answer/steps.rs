//! What was done on the way to an answer, for whoever looks into it later. No text of a document is in it: chunks are
//! named, and excerpts are spans.

use crate::expand::Expand;
use crate::pack::{Dropped, Packed};
use crate::prompt::Mark;
use crate::search::{Hit, HitExplain};
use corpus::{ChunkId, DocumentId, Span};
use gateway::ChatMessage;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::sync::{Arc, OnceLock};

/// The steps of one answer; empty where it was given again from a cache.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Steps {
    /// What was made of the question before.
    pub reworded: Reworded,
    /// What retrieval found, best first.
    pub candidates: Vec<Found>,
    /// What of it is in the context.
    pub packed: Vec<Excerpt>,
    /// What is not, and why.
    pub dropped: Vec<Dropped>,
    /// Tokens of context that were to be had.
    pub context_budget: usize,
    /// sha256, in hexadecimal digits, of the prompt without its random mark: each message's role and text, with a zero
    /// byte behind either. Unset as long as there is none.
    #[serde(skip)]
    pub prompt_sha256: Arc<OnceLock<String>>,
}

/// What was made of a question before it was searched for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reworded {
    /// Who saw to it that it stands alone in its conversation; a model may find that it does. Absent: nobody had to.
    pub rewritten_by: Option<RewrittenBy>,
    /// Why it was not the model, where that was asked.
    pub rewrite_failure: Option<String>,
    /// What a model was to add to the search.
    pub expand: Expand,
    /// Other wordings that were searched for as well.
    pub queries: Vec<String>,
    /// What the vector leg searched for in place of the question.
    pub passage: Option<String>,
    /// Why nothing was added.
    pub expand_failure: Option<String>,
}

/// Who made a question stand alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RewrittenBy {
    /// The rule.
    Rule,
    /// A model.
    Model,
}

/// A chunk that was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// The chunk.
    pub chunk_id: ChunkId,
    /// Its document.
    pub document_id: DocumentId,
    /// The document's version.
    pub version: u32,
    /// What it was ordered by.
    pub score: f32,
    /// Rank and score in each leg.
    pub explain: Option<HitExplain>,
}

/// What of a chunk a model or the extraction was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Excerpt {
    /// The marker that names it in the answer.
    pub number: u32,
    /// The chunk.
    pub chunk_id: ChunkId,
    /// Where the excerpt stands in the document's text.
    pub span: Option<Span>,
    /// Its tokens.
    pub tokens: usize,
    /// Where the sentences stand that a model was shown of it; empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shown: Vec<Span>,
}

impl Found {
    /// As it was found.
    #[must_use]
    pub fn of(hit: &Hit) -> Self {
        let (chunk_id, document_id) = (hit.chunk_id.clone(), hit.document_id.clone());
        Self { chunk_id, document_id, version: hit.version, score: hit.score, explain: hit.explain }
    }
}

impl Steps {
    /// Of what was found; how it was found is taken out of the hits, which go to the caller.
    pub(super) fn of(reworded: Reworded, hits: &mut [Hit], context_budget: usize) -> Self {
        let candidates = hits.iter().map(Found::of).collect();
        hits.iter_mut().for_each(|hit| hit.explain = None);
        Self { reworded, candidates, context_budget, ..Self::default() }
    }

    pub(super) fn note_packed(&mut self, packed: &Packed) {
        let excerpt = |source: &crate::pack::PackedSource| Excerpt {
            number: source.number,
            chunk_id: source.hit.chunk_id.clone(),
            span: source.hit.span.within(&source.hit.text, source.excerpt.clone()),
            tokens: source.tokens,
            shown: Vec::new(),
        };
        self.packed = packed.sources.iter().map(excerpt).collect();
        self.dropped.clone_from(&packed.dropped);
    }

    /// What is left of each excerpt by compression.
    pub(super) fn note_shown(&mut self, packed: &Packed) {
        for (excerpt, source) in self.packed.iter_mut().zip(&packed.sources) {
            excerpt.shown = source.kept.iter().filter_map(|kept| Some(source.quote(kept)?.0)).collect();
        }
    }

    /// The first prompt is the one that counts.
    pub(super) fn note_prompt(&self, messages: &[ChatMessage], mark: &Mark) {
        self.prompt_sha256.get_or_init(|| {
            let said = messages.iter().map(|message| format!("{:?}\0{}\0", message.role, message.content.text()));
            Sha256::digest(said.collect::<String>().replace(mark.as_str(), "")).iter().map(|byte| format!("{byte:02x}")).collect()
        });
    }
}
