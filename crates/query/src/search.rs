//! Search: a question or vector in, ranked hits out.
//!
//! Main path: validate → embed → allowed rows → the two legs → fuse → fetch. The same rows are
//! allowed in both legs: what the filter, the caller's rights and the query's own signs leave. Order is deterministic:
//! by score, then by row. A document that is replaced meanwhile is seen in one of its versions: the search looks again.

mod request;
mod rerank;

pub use request::{
    Expansion, InvalidSearch, NEIGHBOURS_MAX, QUERY_BYTES_MAX, RERANKED, Rerank, RerankSome, SearchMode, SearchRequest, TOP_K_MAX,
};
pub(crate) use request::{in_range, validate_query};

use crate::fuse::{Candidate, Leg, LegRank, LegWeights, fuse, mean};
use crate::retrieve::{ChunkSource, SourceError, StoredChunk};
use crate::script::can_read;
use crate::timings::Timings;
use corpus::{ChunkId, DocumentId, EmbedError, Embedding, EmbeddingError, Metadata, Principals, Purpose, Reranker, Row, Span};
use index::text::{Narrowed, Question};
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::Instant;

/// What two vectors of length 1 can have for a product.
const COSINE_MAX: f32 = 1.0;

/// Candidates that each leg of a hybrid search gives, at least.
const DEPTH_MIN: usize = 200;

/// Why a search failed.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The request can't be served as it is.
    #[error(transparent)]
    Invalid(#[from] InvalidSearch),
    /// The question could not be embedded.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// The collection could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// A chunk that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// The chunk's row; for the server's own use.
    #[serde(skip)]
    pub row: Row,
    /// The document's version; for the server's own use.
    #[serde(skip)]
    pub version: u32,
    /// Tokens of the chunk as the collection's model counts them.
    #[serde(skip)]
    pub tokens: usize,
    /// The chunk.
    pub chunk_id: ChunkId,
    /// Its document.
    pub document_id: DocumentId,
    /// The document's name.
    pub document_name: String,
    /// The caller's own id of the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// By mode: a share from 0 to 1, fused of both legs; a cosine; or BM25.
    pub score: f32,
    /// The chunk's text.
    pub text: String,
    /// Where that stands in the document's text.
    pub span: Span,
    /// Page (from 1) where it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    /// Headings above it.
    pub heading_path: Vec<String>,
    /// The document's metadata.
    pub metadata: Metadata,
    /// Chunks around it, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neighbours: Option<Neighbours>,
    /// How it was found, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<HitExplain>,
}

impl Hit {
    /// A chunk as it is stored.
    pub(crate) fn of(row: Row, score: f32, stored: StoredChunk) -> Self {
        Self {
            row,
            version: stored.chunk.version,
            tokens: stored.chunk.draft.tokens,
            chunk_id: stored.chunk.id,
            document_id: stored.chunk.document_id,
            document_name: stored.document_name,
            external_id: stored.external_id,
            score,
            text: stored.chunk.draft.text,
            span: stored.chunk.draft.span,
            page: stored.chunk.draft.page,
            heading_path: stored.chunk.draft.heading_path,
            metadata: stored.metadata,
            neighbours: None,
            explain: None,
        }
    }
}

/// The chunks around a hit, in the document's order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Neighbours {
    /// Before it.
    pub before: Vec<Neighbour>,
    /// After it.
    pub after: Vec<Neighbour>,
}

impl Neighbours {
    fn each(&self) -> impl Iterator<Item = &Neighbour> {
        self.before.iter().chain(&self.after)
    }
}

/// A chunk beside a hit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Neighbour {
    /// The document's version; for the server's own use.
    #[serde(skip)]
    pub version: u32,
    /// The chunk.
    pub chunk_id: ChunkId,
    /// Its text.
    pub text: String,
    /// Where that stands in the document's text.
    pub span: Span,
}

/// How a hit was found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HitExplain {
    /// Its place by vector.
    pub vector: Option<LegRank>,
    /// Its place by words.
    pub lexical: Option<LegRank>,
    /// What a reranker gave it, if one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerank: Option<f32>,
    /// What it was ordered by.
    pub score: f32,
}

/// How a search went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SearchExplain {
    /// Chunks that the caller may read and that pass the filter.
    pub allowed_rows: u64,
    /// What quotation marks and minus signs leave of them, if the query has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub narrowed: Option<NarrowedExplain>,
    /// Candidates by vector.
    pub vector_candidates: usize,
    /// Candidates by words.
    pub lexical_candidates: usize,
    /// The model that judged the best of them; none where the words of their best sentences did, or nobody was asked to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reranker: Option<String>,
    /// Legs of a hybrid search that were left out.
    pub skipped: Vec<SkippedLeg>,
}

/// What the signs of a query did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct NarrowedExplain {
    /// Chunks that are left.
    pub rows: u64,
    /// Whether the words in quotation marks were required; they are not if no chunk has them.
    pub requires_quoted: bool,
    /// Whether chunks with what follows a minus sign were left out; they are not if all have it.
    pub excludes: bool,
}

/// A leg that was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SkippedLeg {
    /// `vector` or `lexical`.
    pub leg: &'static str,
    /// Why.
    pub reason: String,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SearchResponse {
    /// Best first.
    pub hits: Vec<Hit>,
    /// Milliseconds by stage.
    pub timings_ms: Timings,
    /// How it went, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<SearchExplain>,
}

/// How rows are ranked.
#[derive(Clone, Copy, Default)]
pub struct Ranking<'r> {
    /// How much each leg of a hybrid search counts.
    pub weights: LegWeights,
    /// What judges candidates where a request asks for it; `None`: the words of their best sentences.
    pub reranker: Option<&'r dyn Reranker>,
}

/// Searches a collection without a reranking model. Blocking.
///
/// # Errors
/// [`SearchError`].
pub fn search(
    source: &dyn ChunkSource,
    request: &SearchRequest,
    principals: &Principals,
    weights: LegWeights,
) -> Result<SearchResponse, SearchError> {
    search_by(source, request, principals, Ranking { weights, reranker: None })
}

/// Searches a collection. Blocking.
///
/// # Errors
/// [`SearchError`].
pub fn search_by(
    source: &dyn ChunkSource,
    request: &SearchRequest,
    principals: &Principals,
    ranking: Ranking<'_>,
) -> Result<SearchResponse, SearchError> {
    let started = Instant::now();
    request.validate()?;
    let mut run = Run { source, request, signs: None, timings: Timings::default(), skipped: Vec::new() };
    let ways = run.ways()?;
    run.signs = request.expansion.signs.as_deref().map(|said| source.question(said)).transpose()?;
    let mut found = run.look(&ways, principals, ranking)?;
    for _ in 1..LOOKS {
        if found.is_steady {
            break;
        }
        found = run.look(&ways, principals, ranking)?;
    }
    let Found { mut hits, explain, .. } = found;
    keep_latest(&mut hits);
    let explain = SearchExplain { skipped: run.skipped, ..explain };
    run.timings.note("total", started);
    Ok(SearchResponse { hits, timings_ms: run.timings, explain: request.explain.then_some(explain) })
}

/// Looks at a collection whose documents are replaced or deleted all the while.
const LOOKS: usize = 3;

/// What one look at the collection found.
struct Found {
    hits: Vec<Hit>,
    explain: SearchExplain,
    /// Nothing that was ranked was gone when it was read, and all of a document is of one version.
    is_steady: bool,
}

fn is_one_version(hits: &[Hit]) -> bool {
    let latest = latest_versions(hits);
    let is_latest = |hit: &Hit| latest.get(&hit.document_id) == Some(&hit.version);
    hits.iter().all(|hit| is_latest(hit) && hit.neighbours.iter().all(|around| around.each().all(|one| one.version == hit.version)))
}

/// Spans of two versions must not stand side by side: what is of an earlier one goes.
fn keep_latest(hits: &mut Vec<Hit>) {
    let latest = latest_versions(hits);
    hits.retain(|hit| latest.get(&hit.document_id) == Some(&hit.version));
    for hit in hits {
        let version = hit.version;
        for around in hit.neighbours.iter_mut().flat_map(|around| [&mut around.before, &mut around.after]) {
            around.retain(|one| one.version == version);
        }
    }
}

fn latest_versions(hits: &[Hit]) -> HashMap<DocumentId, u32> {
    let mut latest = HashMap::new();
    for hit in hits {
        let version = latest.entry(hit.document_id.clone()).or_insert(hit.version);
        *version = hit.version.max(*version);
    }
    latest
}

/// One way in which a question is put: its words, read once, and its vector if the vector leg has a part.
struct Way {
    question: Option<Question>,
    embedding: Option<Embedding>,
}

/// What each leg of one way found.
type Legs = (Option<Leg>, Option<Leg>);

/// A search under way.
struct Run<'a> {
    source: &'a dyn ChunkSource,
    request: &'a SearchRequest,
    /// What quotes and excludes, if that is not the query itself.
    signs: Option<Question>,
    timings: Timings,
    skipped: Vec<SkippedLeg>,
}

impl Run<'_> {
    fn look(&mut self, ways: &[Way], principals: &Principals, ranking: Ranking<'_>) -> Result<Found, SearchError> {
        let request = self.request;
        let allowed = self.timings.measure("filter", || self.source.allowed(request.filter.as_ref(), principals))?;
        let narrowed = self.narrow(ways, &allowed)?;
        let rows = narrowed.as_ref().map_or(&*allowed, |narrowed| &narrowed.rows);
        let legs = self.legs(ways, rows)?;
        let mut candidates = self.rank(&legs, ranking.weights);
        self.judge(&mut candidates, ranking.reranker)?;
        if let Some(min_score) = self.request.min_score {
            candidates.retain(|candidate| candidate.score >= min_score);
        }
        let (hits, is_whole) = self.fetch(&candidates)?;
        let count = |leg: &Option<Leg>| leg.iter().flat_map(|leg| &leg.rows).filter(|(_, rank)| rank.rank.is_some()).count();
        let explain = SearchExplain {
            allowed_rows: allowed.len(),
            narrowed: narrowed.map(|one| NarrowedExplain {
                rows: one.rows.len(),
                requires_quoted: one.requires_quoted,
                excludes: one.excludes,
            }),
            vector_candidates: legs.iter().map(|(vector, _)| count(vector)).sum(),
            lexical_candidates: legs.iter().map(|(_, lexical)| count(lexical)).sum(),
            reranker: ranking.reranker.filter(|_| request.reranked().is_some()).map(|reranker| reranker.model().name.clone()),
            skipped: Vec::new(),
        };
        Ok(Found { is_steady: is_whole && is_one_version(&hits), hits, explain })
    }

    fn narrow(&mut self, ways: &[Way], allowed: &RoaringBitmap) -> Result<Option<Narrowed>, SearchError> {
        let asked = self.signs.as_ref().or_else(|| ways.first()?.question.as_ref());
        let Some(question) = asked else { return Ok(None) };
        Ok(self.timings.measure("narrow", || self.source.narrow(question, allowed))?)
    }

    /// In which ways the question is put, its own words first.
    fn ways(&mut self) -> Result<Vec<Way>, SearchError> {
        let request = self.request;
        let model = self.source.embedder().model();
        if let Some(vector) = &request.vector {
            let embedding = Embedding::normalised(vector.clone(), model.dimension);
            let embedding = embedding.map_err(|error: EmbeddingError| InvalidSearch::Vector(error))?;
            return Ok(vec![Way { question: None, embedding: Some(embedding) }]);
        }
        let query = request.query.as_deref().unwrap_or_default();
        let wordings = request.expansion.wordings.iter().map(String::as_str);
        let words: Vec<&str> = std::iter::once(query).chain(wordings).collect();
        // A passage too is embedded as questions are: those of documents wait behind what is ingested.
        let mut meant = words.clone();
        if let (Some(first), Some(passage)) = (meant.first_mut(), &request.expansion.passage) {
            *first = passage;
        }
        let embeddings = self.embed(&meant)?;
        let way = |(words, embedding)| Ok(Way { question: Some(self.source.question(words)?), embedding });
        words.into_iter().zip(embeddings).map(way).collect()
    }

    /// The vector of each text; `None` where the vector leg has no part in the search for it.
    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Option<Embedding>>, SearchError> {
        let (mode, model) = (self.request.mode, self.source.embedder().model());
        let is_embedded = |text: &&str| match mode {
            SearchMode::Lexical => false,
            SearchMode::Vector => true,
            SearchMode::Hybrid => can_read(&model.languages, text),
        };
        let embedded: Vec<&str> = texts.iter().copied().filter(is_embedded).collect();
        if mode == SearchMode::Hybrid && !texts.first().is_some_and(is_embedded) {
            self.skip("vector", format!("{} was not trained for the script of this query", model.name));
        }
        if embedded.is_empty() {
            return Ok(texts.iter().map(|_| None).collect());
        }
        let vectors = self.timings.measure("embed", || self.source.embedder().embed(&embedded, Purpose::Query, self.source.errand()))?;
        let mut vectors = vectors.into_iter().map(|one| one.embedding);
        let mut next = || vectors.next().ok_or_else(|| EmbedError::Failed("no vector came back".to_owned()));
        Ok(texts.iter().map(|text| is_embedded(text).then(&mut next).transpose()).collect::<Result<_, _>>()?)
    }

    /// Notes it once, however often the collection is looked at.
    fn skip(&mut self, leg: &'static str, reason: String) {
        if self.skipped.iter().all(|skipped| skipped.leg != leg) {
            self.skipped.push(SkippedLeg { leg, reason });
        }
    }

    fn depth(&self) -> usize {
        if self.request.mode == SearchMode::Hybrid { DEPTH_MIN.max(4 * self.request.top_k) } else { self.request.top_k }
    }

    /// What each leg finds for each way; each is asked about the others' candidates too, so that none scores low only
    /// because it stood just behind a cut.
    fn legs(&mut self, ways: &[Way], allowed: &RoaringBitmap) -> Result<Vec<Legs>, SearchError> {
        let (depth, is_exact) = (self.depth(), self.request.exact);
        let mut legs = Vec::with_capacity(ways.len());
        for way in ways {
            legs.push((self.vector_leg(way, depth, is_exact, allowed)?, self.lexical_leg(way, depth, allowed)?));
        }
        let all: RoaringBitmap = legs.iter().flat_map(|(vector, lexical)| [vector, lexical]).flatten().flat_map(rows_of).collect();
        for (way, (vector, lexical)) in ways.iter().zip(&mut legs) {
            if let Some((leg, others)) = missing(vector, &all) {
                leg.also(self.vector_leg(way, count_of(&others), true, &others)?);
            }
            if let Some((leg, others)) = missing(lexical, &all) {
                leg.also(self.lexical_leg(way, count_of(&others), &others)?);
            }
        }
        Ok(legs)
    }

    fn vector_leg(&mut self, way: &Way, depth: usize, is_exact: bool, allowed: &RoaringBitmap) -> Result<Option<Leg>, SearchError> {
        let Some(embedding) = &way.embedding else { return Ok(None) };
        let ef = self.request.ef;
        let found = self.timings.measure("vector", || self.source.vector_search(embedding, depth, ef, is_exact, allowed))?;
        Ok(Some(Leg::new(found, COSINE_MAX)))
    }

    fn lexical_leg(&mut self, way: &Way, depth: usize, allowed: &RoaringBitmap) -> Result<Option<Leg>, SearchError> {
        if self.request.mode == SearchMode::Vector {
            return Ok(None);
        }
        let Some(question) = &way.question else {
            self.skip("lexical", "the query is a vector".to_owned());
            return Ok(None);
        };
        let found = self.timings.measure("lexical", || self.source.text_search(question, depth, allowed))?;
        Ok(Some(Leg::new(found.rows.iter().map(|one| (one.row, one.score)).collect(), found.score_max)))
    }

    fn rank(&mut self, legs: &[Legs], weights: LegWeights) -> Vec<Candidate> {
        let mode = self.request.mode;
        let rows = |leg: Option<&Leg>| leg.map(|leg| leg.rows.clone()).unwrap_or_default();
        let ranked = |(vector, lexical): &Legs| match mode {
            SearchMode::Hybrid => fuse(vector.as_ref(), lexical.as_ref(), weights),
            SearchMode::Vector => rows(vector.as_ref()).into_iter().map(|(row, rank)| alone(row, rank, Some(rank), None)).collect(),
            SearchMode::Lexical => rows(lexical.as_ref()).into_iter().map(|(row, rank)| alone(row, rank, None, Some(rank))).collect(),
        };
        self.timings.measure("fuse", || match legs {
            [only] => ranked(only),
            several => mean(several.iter().map(ranked).collect()),
        })
    }

    /// The first `top_k` candidates that are still there, and whether all that were looked at are.
    fn fetch(&mut self, candidates: &[Candidate]) -> Result<(Vec<Hit>, bool), SearchError> {
        let started = Instant::now();
        let mut hits = Vec::new();
        let mut is_whole = true;
        for batch in candidates.chunks(self.request.top_k.max(1)) {
            let rows: Vec<Row> = batch.iter().map(|candidate| candidate.row).collect();
            for (candidate, stored) in batch.iter().zip(self.source.chunks(&rows)?) {
                is_whole &= stored.is_some();
                if let Some(stored) = stored.filter(|_| hits.len() < self.request.top_k) {
                    hits.push(self.hit(candidate, stored)?);
                }
            }
            if hits.len() >= self.request.top_k {
                break;
            }
        }
        self.timings.note("fetch", started);
        Ok((hits, is_whole))
    }

    fn hit(&self, candidate: &Candidate, stored: StoredChunk) -> Result<Hit, SearchError> {
        let Candidate { vector, lexical, rerank, score, .. } = *candidate;
        let explain = HitExplain { vector, lexical, rerank, score };
        Ok(Hit {
            neighbours: self.neighbours(candidate.row)?,
            explain: self.request.explain.then_some(explain),
            ..Hit::of(candidate.row, score, stored)
        })
    }

    fn neighbours(&self, row: Row) -> Result<Option<Neighbours>, SearchError> {
        if self.request.neighbours == 0 {
            return Ok(None);
        }
        let (before, after) = self.source.neighbours(row, self.request.neighbours)?;
        let read = |rows: &[Row]| -> Result<Vec<Neighbour>, SourceError> {
            let stored = self.source.chunks(rows)?.into_iter().flatten();
            Ok(stored.map(|stored| neighbour(stored.chunk)).collect())
        };
        Ok(Some(Neighbours { before: read(&before)?, after: read(&after)? }))
    }
}

fn neighbour(chunk: corpus::Chunk) -> Neighbour {
    Neighbour { version: chunk.version, chunk_id: chunk.id, text: chunk.draft.text, span: chunk.draft.span }
}

/// A leg, and the rows that it was not asked about.
fn missing<'l>(leg: &'l mut Option<Leg>, all: &RoaringBitmap) -> Option<(&'l mut Leg, RoaringBitmap)> {
    let leg = leg.as_mut()?;
    let others = all - rows_of(leg);
    (!others.is_empty()).then_some((leg, others))
}

fn count_of(rows: &RoaringBitmap) -> usize {
    usize::try_from(rows.len()).unwrap_or(usize::MAX)
}

fn rows_of(leg: &Leg) -> RoaringBitmap {
    leg.rows.iter().map(|(row, _)| *row).collect()
}

fn alone(row: Row, rank: LegRank, vector: Option<LegRank>, lexical: Option<LegRank>) -> Candidate {
    Candidate { row, score: rank.score, vector, lexical, rerank: None }
}

#[cfg(test)]
mod tests;
