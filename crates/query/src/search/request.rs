//! What a search may ask for, and its limits.

use corpus::{EmbeddingError, Filter, FilterError};
use serde::{Deserialize, Serialize};

/// Most hits of one search.
pub const TOP_K_MAX: usize = 100;
/// Most neighbours on each side of a hit.
pub const NEIGHBOURS_MAX: usize = 5;
/// Longest query.
pub const QUERY_BYTES_MAX: usize = 8 * 1024;
/// Broadest approximate search.
const EF_MAX: usize = 4096;

/// Which legs a search has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SearchMode {
    /// Both, fused.
    #[default]
    Hybrid,
    /// Meaning only.
    Vector,
    /// Words only.
    Lexical,
}

/// Whether candidates are judged by a reranker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Rerank {
    /// `false`: not; `true`: as many as [`RERANKED`].
    Is(bool),
    /// So many, or `top_k` if that is more.
    Some(RerankSome),
}

/// How many candidates are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RerankSome {
    /// 1 to [`TOP_K_MAX`].
    pub candidates: usize,
}

/// Candidates that are judged unless a request says how many.
pub const RERANKED: usize = 30;

/// The body of a search.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchRequest {
    /// The question; this or `vector`.
    #[serde(default)]
    pub query: Option<String>,
    /// A vector of the collection's dimension; this or `query`.
    #[serde(default)]
    pub vector: Option<Vec<f32>>,
    /// Hits wanted, 1 to 100.
    #[serde(default = "default_top_k")]
    pub top_k: usize,
    /// Which legs.
    #[serde(default)]
    pub mode: SearchMode,
    /// Which documents.
    #[serde(default)]
    pub filter: Option<Filter>,
    /// Whether the best candidates are judged once more, by the text: `true`, or how many are.
    #[serde(default)]
    pub rerank: Option<Rerank>,
    /// Leaves out hits that score less.
    #[serde(default)]
    pub min_score: Option<f32>,
    /// Chunks wanted on each side of a hit, 0 to 5.
    #[serde(default)]
    pub neighbours: usize,
    /// Breadth of the approximate vector search, 1 to 4,096.
    #[serde(default)]
    pub ef: Option<usize>,
    /// Compares every vector.
    #[serde(default)]
    pub exact: bool,
    /// Says how each hit was found.
    #[serde(default)]
    pub explain: bool,
    /// What else is searched for: the engine fills it in.
    #[serde(skip)]
    pub expansion: Expansion,
}

/// What a question is searched with beside its own words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expansion {
    /// The words whose quotation marks and minus signs count, if not the query's own.
    pub signs: Option<String>,
    /// Other wordings of the query: each is searched as well, and a row scores its mean.
    pub wordings: Vec<String>,
    /// What the vector leg searches for in place of the query.
    pub passage: Option<String>,
}

fn default_top_k() -> usize {
    10
}

/// What is wrong with a search request.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidSearch {
    /// Neither or both.
    #[error("give either a query or a vector")]
    QueryOrVector,
    /// Nothing but spaces.
    #[error("the query is empty")]
    EmptyQuery,
    /// Over [`QUERY_BYTES_MAX`].
    #[error("the query has {0} bytes; at most {QUERY_BYTES_MAX} are read")]
    LongQuery(usize),
    /// A number out of its range.
    #[error("{field} is {given}; it must be {least} to {most}")]
    Range {
        /// The field.
        field: &'static str,
        /// Its value.
        given: usize,
        /// Least allowed.
        least: usize,
        /// Most allowed.
        most: usize,
    },
    /// NaN or infinite.
    #[error("min_score must be a finite number")]
    MinScore,
    /// Words can't be searched by a vector.
    #[error("a lexical search needs a query, not a vector")]
    LexicalVector,
    /// Texts can't be judged by a vector.
    #[error("rerank needs a query, not a vector")]
    RerankVector,
    /// A filter that can't be applied.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A vector that can't be searched by.
    #[error(transparent)]
    Vector(#[from] EmbeddingError),
}

impl SearchRequest {
    /// A hybrid search with every default.
    #[must_use]
    pub fn new(query: impl Into<String>) -> Self {
        Self {
            query: Some(query.into()),
            vector: None,
            top_k: default_top_k(),
            mode: SearchMode::default(),
            filter: None,
            rerank: None,
            min_score: None,
            neighbours: 0,
            ef: None,
            exact: false,
            explain: false,
            expansion: Expansion::default(),
        }
    }

    /// How many candidates are judged by a reranker; `None` for none.
    pub(crate) fn reranked(&self) -> Option<usize> {
        match self.rerank? {
            Rerank::Is(is) => is.then_some(RERANKED.max(self.top_k)),
            Rerank::Some(some) => Some(some.candidates.max(self.top_k)),
        }
    }

    /// Checks everything that can be checked without the collection.
    ///
    /// # Errors
    /// The first [`InvalidSearch`] met.
    pub fn validate(&self) -> Result<(), InvalidSearch> {
        match (&self.query, &self.vector) {
            (Some(query), None) => validate_query(query)?,
            (None, Some(_)) if self.mode == SearchMode::Lexical => return Err(InvalidSearch::LexicalVector),
            (None, Some(_)) => {}
            _ => return Err(InvalidSearch::QueryOrVector),
        }
        in_range("top_k", self.top_k, 1, TOP_K_MAX)?;
        in_range("neighbours", self.neighbours, 0, NEIGHBOURS_MAX)?;
        in_range("ef", self.ef.unwrap_or(1), 1, EF_MAX)?;
        if self.min_score.is_some_and(|score| !score.is_finite()) {
            return Err(InvalidSearch::MinScore);
        }
        if let Some(Rerank::Some(RerankSome { candidates })) = self.rerank {
            in_range("rerank.candidates", candidates, 1, TOP_K_MAX)?;
        }
        if self.vector.is_some() && self.reranked().is_some() {
            return Err(InvalidSearch::RerankVector);
        }
        Ok(self.filter.as_ref().map_or(Ok(()), Filter::validate)?)
    }
}

pub(crate) fn validate_query(query: &str) -> Result<(), InvalidSearch> {
    if query.trim().is_empty() {
        return Err(InvalidSearch::EmptyQuery);
    }
    if query.len() > QUERY_BYTES_MAX { Err(InvalidSearch::LongQuery(query.len())) } else { Ok(()) }
}

pub(crate) fn in_range(field: &'static str, given: usize, least: usize, most: usize) -> Result<(), InvalidSearch> {
    if (least..=most).contains(&given) { Ok(()) } else { Err(InvalidSearch::Range { field, given, least, most }) }
}
