//! What a query may ask for. Fields that don't work yet are refused by name, never ignored.

use super::Reworded;
use crate::expand::{Expand, Rewrite};
use crate::rewrite::rewrite;
use crate::search::{Expansion, InvalidSearch, NEIGHBOURS_MAX, Rerank, SearchMode, SearchRequest, in_range, validate_query};
use crate::session::{SESSION_ID_BYTES_MAX, Said, Turn, is_session_id};
use corpus::{Filter, FilterError};
use gateway::Models;
use serde::Deserialize;

/// Whether a cached answer will do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CachePolicy {
    /// Take one if there is one.
    #[default]
    Use,
    /// Neither read nor write.
    Bypass,
    /// Answer afresh and keep that.
    Refresh,
}

/// The body of a query.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryRequest {
    /// The question.
    pub question: String,
    /// Chunks to answer from, 1 to 100.
    #[serde(default = "default_top_k")]
    pub top_k: usize,
    /// Whether the caller wants server-sent events.
    #[serde(default)]
    pub stream: bool,
    /// The conversation on the server that it belongs to, 1 to 128 of `A-Z a-z 0-9 _ - . :`.
    #[serde(default)]
    pub session_id: Option<String>,
    /// What was said there before, oldest first: whoever keeps sessions fills it in.
    #[serde(skip)]
    pub turns: Vec<Turn>,
    /// The question as it stands alone, if it leans on those: the engine fills it in.
    #[serde(skip)]
    pub rewritten: Option<String>,
    /// How it is made to stand alone, if it leans on those; absent: as the engine is set.
    #[serde(default)]
    pub rewrite: Option<Rewrite>,
    /// What a model adds to the search; absent: as the engine is set.
    #[serde(default)]
    pub expand: Option<Expand>,
    /// How chunks are searched for.
    #[serde(skip)]
    pub mode: SearchMode,
    /// Name of a configured model; absent: the one that answers questions.
    #[serde(default)]
    pub model: Option<String>,
    /// Which documents.
    #[serde(default)]
    pub filter: Option<Filter>,
    /// Whether the best candidates are judged once more, by the text: `true`, or how many are.
    #[serde(default)]
    pub rerank: Option<Rerank>,
    /// Chunks on each side of a chunk that are read with it as far as the context has room, 0 to 5.
    #[serde(default)]
    pub neighbours: Option<usize>,
    /// Not supported yet.
    #[serde(default)]
    pub prompt: Option<String>,
    /// Whether a cached answer will do.
    #[serde(default)]
    pub cache: CachePolicy,
    /// Share of the context that a model is shown, 0.1 to 1, by the sentences that matter; 1: all of it.
    #[serde(default)]
    pub compression_share: Option<f64>,
    /// Most tokens of context, 16 to 32,768.
    #[serde(default)]
    pub max_context_tokens: Option<usize>,
    /// What the use is booked under.
    #[serde(default)]
    pub tags: Vec<String>,
}

fn default_top_k() -> usize {
    5
}

const CONTEXT_TOKENS_MIN: usize = 16;
const CONTEXT_TOKENS_MAX: usize = 32 * 1024;
const TAGS_MAX: usize = 16;
const TAG_BYTES_MAX: usize = 64;

/// What is wrong with a query.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidQuery {
    /// The question or a number.
    #[error(transparent)]
    Search(#[from] InvalidSearch),
    /// A filter that can't be applied.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A field that is understood but does nothing yet.
    #[error("{field} is not supported yet")]
    Unsupported {
        /// The field.
        field: &'static str,
    },
    /// No such model.
    #[error("no model {0:?} is configured")]
    UnknownModel(String),
    /// Asks a model before the search, and there is none.
    #[error("{field} needs a language model, and none is configured: set base_url and model of [llm], or [[llm.models]]")]
    NeedsModel {
        /// The field.
        field: &'static str,
    },
    /// Less than anything is left of, or more than there is.
    #[error("compression_share must be 0.1 to 1")]
    Share,
    /// Not what a session can be called.
    #[error("session_id must have 1 to {SESSION_ID_BYTES_MAX} of A-Z a-z 0-9 _ - . :")]
    Session,
    /// Too many or too long.
    #[error("at most {TAGS_MAX} tags of 1 to {TAG_BYTES_MAX} bytes each are accepted")]
    Tags,
}

impl QueryRequest {
    /// A question with every default.
    #[must_use]
    pub fn new(question: impl Into<String>) -> Self {
        Self {
            question: question.into(),
            top_k: default_top_k(),
            stream: false,
            session_id: None,
            turns: Vec::new(),
            rewritten: None,
            rewrite: None,
            expand: None,
            mode: SearchMode::default(),
            model: None,
            filter: None,
            rerank: None,
            neighbours: None,
            compression_share: None,
            prompt: None,
            cache: CachePolicy::default(),
            max_context_tokens: None,
            tags: Vec::new(),
        }
    }

    /// Checks everything that can be checked without the collection.
    ///
    /// # Errors
    /// The first [`InvalidQuery`] met.
    pub fn validate(&self, models: &Models) -> Result<(), InvalidQuery> {
        validate_query(&self.question)?;
        in_range("top_k", self.top_k, 1, crate::search::TOP_K_MAX)?;
        in_range("max_context_tokens", self.max_context_tokens.unwrap_or(CONTEXT_TOKENS_MAX), CONTEXT_TOKENS_MIN, CONTEXT_TOKENS_MAX)?;
        in_range("neighbours", self.neighbours.unwrap_or_default(), 0, NEIGHBOURS_MAX)?;
        self.search(&Reworded::default()).validate()?;
        if !self.compression_share.is_none_or(|share| (0.1..=1.0).contains(&share)) {
            return Err(InvalidQuery::Share);
        }
        if self.prompt.is_some() {
            return Err(InvalidQuery::Unsupported { field: "prompt" });
        }
        if !self.session_id.as_deref().is_none_or(is_session_id) {
            return Err(InvalidQuery::Session);
        }
        if let Some(model) = self.model.as_deref().filter(|model| models.get(Some(model)).is_none()) {
            return Err(InvalidQuery::UnknownModel(model.to_owned()));
        }
        let asks =
            [("rewrite", self.rewrite == Some(Rewrite::Model)), ("expand", self.expand.is_some_and(|expand| expand != Expand::None))];
        if let Some((field, _)) = asks.into_iter().find(|(_, asks)| *asks && models.is_empty()) {
            return Err(InvalidQuery::NeedsModel { field });
        }
        let are_short = self.tags.iter().all(|tag| (1..=TAG_BYTES_MAX).contains(&tag.len()));
        if self.tags.len() <= TAGS_MAX && are_short { Ok(()) } else { Err(InvalidQuery::Tags) }
    }

    /// The search that finds the chunks to answer from, twice as many as are taken: near-duplicates stand back.
    pub(crate) fn search(&self, reworded: &Reworded) -> SearchRequest {
        SearchRequest {
            top_k: (2 * self.top_k).min(crate::search::TOP_K_MAX),
            mode: self.mode,
            filter: self.filter.clone(),
            rerank: self.rerank,
            explain: true,
            expansion: Expansion {
                signs: self.rewritten.as_ref().map(|_| self.question.clone()),
                wordings: reworded.queries.clone(),
                passage: reworded.passage.clone(),
            },
            ..SearchRequest::new(self.asked().to_owned())
        }
    }

    /// The question, joined with what it leans on in its conversation.
    pub(crate) fn standing_alone(self) -> Self {
        Self { rewritten: rewrite(&self.question, &self.turns), ..self }
    }

    /// As it stands alone.
    pub(crate) fn asked(&self) -> &str {
        self.rewritten.as_deref().unwrap_or(&self.question)
    }

    /// As it stands alone, and as it was said in its conversation.
    pub(crate) fn asked_and_said(&mut self) -> (String, Option<Said>) {
        let (question, turns) = (std::mem::take(&mut self.question), std::mem::take(&mut self.turns));
        match self.rewritten.take() {
            None if turns.is_empty() => (question, None),
            rewritten => (rewritten.unwrap_or_else(|| question.clone()), Some(Said { question, turns })),
        }
    }
}
