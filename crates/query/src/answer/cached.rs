//! Answers that were given before: to the same question, and to one that means the same.
//!
//! Invariants:
//! - Nobody is served what was made for another tenant, other rights, another state of the data, another model, prompt
//!   or setting: all that is part of the key ([`Engine::place`]). A write to the collection begins a new generation,
//!   so what was kept before is not found any more.
//! - Only whole answers are kept, not degraded ones, and only if the views had applied the generation whose key they
//!   are kept under before anything was retrieved.
//! - Of the same question asked many times at once, one is answered and the others wait for it, as long as they would for
//!   a model; if it fails or its client leaves, they go on.
//! - Only a model's answers are given to other words of a question. Those that the documents give cost nothing, and
//!   depend on the question alone.

use super::{Answer, Asker, CachePolicy, CacheUse, Engine, GuardDecision, Prepared, QueryError, QueryRequest, Steps, off_thread};
use super::{AnswerMode, events::Events};
use crate::cite::{Citation, GateReport};
use crate::prompt::PROMPT_VERSION;
use crate::retrieve::{ChunkSource, DataState};
use crate::script::can_read;
use crate::search::Hit;
use crate::timings::Timings;
use cache::{Conditions, Fresh, Key, Loaded, Moment, Partition, Scope, SemanticCache, SemanticOptions, Stack};
use corpus::{Embedding, EmbeddingModel, Purpose};
use flate2::Compression;
use flate2::read::{ZlibDecoder, ZlibEncoder};
use gateway::{Money, TokenUsage};
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What entries of answers are called.
const KIND: &str = "answer";
/// Of the bytes that an answer is kept as: version (1 byte) ‖ the zlib stream of [`Kept`] in JSON.
const VERSION: u8 = 2;
/// Longest JSON that is read back.
const JSON_BYTES_MAX: u64 = 16 << 20;

/// How answers are kept.
#[derive(Debug, Clone)]
pub struct AnswerCacheOptions {
    /// How long an answer is given again.
    pub lifetime: Duration,
    /// How answers to questions that mean the same are found; `None`: not at all.
    pub semantic: Option<SemanticOptions>,
    /// A digest of what stands behind the models' names: answers of other models under the same name are others.
    pub setup: String,
}

/// Keeps answers.
#[derive(Debug)]
pub struct AnswerCache {
    stack: Arc<Stack>,
    semantic: Option<Arc<SemanticCache>>,
    lifetime: Duration,
    setup: String,
    exact_hits: AtomicU64,
    misses: AtomicU64,
}

/// What an answer cache did since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct AnswerCacheStatistics {
    /// Answers to the same question, whether kept or under way.
    pub exact_hits: u64,
    /// Questions without one.
    pub exact_misses: u64,
    /// Of these, answered by what a question was told that means the same; how they were looked for.
    pub semantic: Option<cache::SemanticStatistics>,
}

/// Where the answer to a question is kept.
pub(super) struct Place {
    cache: Arc<AnswerCache>,
    policy: CachePolicy,
    key: Key,
    question: String,
    /// Whether what is answered now is of the generation in the key.
    is_current: bool,
    /// When what it is made from was not read yet.
    since: Moment,
    /// Whether a model would answer.
    is_generated: bool,
    started: Instant,
}

/// An answer as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// As it was asked first; absent in what an older version kept.
    #[serde(default)]
    question: Option<String>,
    answer: String,
    citations: Vec<Citation>,
    not_found: Vec<u32>,
    gate: GateReport,
    sources: Vec<Hit>,
    mode: AnswerMode,
    abstained: bool,
    model: Option<String>,
    context_length: usize,
    /// Absent in what an older version kept.
    #[serde(default)]
    guards: Vec<GuardDecision>,
}

impl AnswerCache {
    /// Keeps them in `stack`.
    #[must_use]
    pub fn new(stack: Arc<Stack>, options: AnswerCacheOptions) -> Self {
        let AnswerCacheOptions { lifetime, semantic, setup } = options;
        let semantic = semantic.map(|options| SemanticCache::new(Arc::clone(&stack), options));
        Self { stack, semantic, lifetime, setup, exact_hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    /// Where they lie.
    #[must_use]
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// What an entry of the stack holds, as JSON, with its question; `None` for what another version kept.
    #[must_use]
    pub fn read(payload: &[u8]) -> Option<serde_json::Value> {
        serde_json::to_value(decode(payload)?).ok()
    }

    /// Counters since the start.
    #[must_use]
    pub fn statistics(&self) -> AnswerCacheStatistics {
        AnswerCacheStatistics {
            exact_hits: self.exact_hits.load(Relaxed),
            exact_misses: self.misses.load(Relaxed),
            semantic: self.semantic.as_ref().map(|semantic| semantic.statistics()),
        }
    }
}

impl Engine {
    /// Where the answer to this request is kept; `None` if it neither shall nor can be.
    pub(super) async fn place(
        &self,
        source: &Arc<dyn ChunkSource>,
        request: &QueryRequest,
        asker: &Asker,
    ) -> Result<Option<Place>, QueryError> {
        let started = Instant::now();
        // What was said before is in the answer too.
        let is_kept = request.cache != CachePolicy::Bypass && request.turns.is_empty();
        let Some(cache) = self.cache.as_ref().filter(|_| is_kept) else { return Ok(None) };
        // Before the data is read: an answer from what is deleted meanwhile is not kept.
        let since = cache.stack.moment();
        let moved = Arc::clone(source);
        let Some(state) = off_thread(move || moved.state()).await?.map_err(crate::search::SearchError::from)? else { return Ok(None) };
        let question = request.question.trim().to_owned();
        let partition = self.partition(cache, &state, source.embedder().model(), request, asker);
        Ok(Some(Place {
            cache: Arc::clone(cache),
            policy: request.cache,
            key: partition.key(KIND, &[question.as_bytes()]),
            question,
            is_current: state.is_shown,
            since,
            is_generated: self.models.get(request.model.as_deref()).is_some(),
            started,
        }))
    }

    /// All that an answer depends on besides its question. What a field of the request does not change is named too,
    /// so that a new one can't be forgotten.
    fn partition(
        &self,
        cache: &AnswerCache,
        state: &DataState,
        embedding: &EmbeddingModel,
        request: &QueryRequest,
        asker: &Asker,
    ) -> Partition {
        let QueryRequest { top_k, mode, model, filter, rerank, neighbours, compression_share, max_context_tokens, expand, .. } = request;
        // The first question of a session is like any other; later ones, which are rewritten, are not kept.
        let QueryRequest { question: _, stream: _, session_id: _, turns: _, rewritten: _, rewrite: _, .. } = request;
        let QueryRequest { prompt, cache: _, tags: _, .. } = request;
        let said = |value: &dyn std::fmt::Debug| format!("{value:?}");
        let values = [
            ("mark", said(&state.mark)),
            ("setup", cache.setup.clone()),
            ("engine", said(&self.params)),
            ("embedding", said(embedding)),
            ("top_k", said(top_k)),
            ("mode", said(mode)),
            ("filter", serde_json::to_string(filter).unwrap_or_else(|_| said(filter))),
            ("rerank", said(rerank)),
            ("neighbours", said(&neighbours.unwrap_or(self.params.neighbours))),
            ("compression", said(compression_share)),
            ("context_tokens", said(&max_context_tokens.unwrap_or(self.params.context_tokens))),
            ("expand", said(&expand.unwrap_or(self.params.expand))),
            ("prompt", said(prompt)),
        ];
        let parameters: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (tenant, collection) = (asker.account.tenant.clone(), state.collection.clone());
        Partition::of(&Conditions {
            scope: Scope::Collection { tenant, collection, generation: state.generation },
            access: &asker.principals,
            model: self.models.get(model.as_deref()).map_or("", |model| model.name()),
            prompt: &PROMPT_VERSION.to_string(),
            parameters: &parameters,
        })
    }

    /// As [`Engine::run`], but of the same question asked many times at once only one is answered.
    pub(super) async fn run_once(
        &self,
        source: Arc<dyn ChunkSource>,
        (prepared, place): (Prepared, Option<Place>),
        events: &mut Events,
    ) -> Result<Answer, QueryError> {
        // What can't be kept can't be shared, and nobody shall wait for it.
        let Some(place) = place.filter(|place| place.is_current) else { return self.run(source, prepared, events).await };
        let (mut made, embedder, deadline, spent) = (None, Arc::clone(&source), prepared.deadline, prepared.spent);
        let load = async {
            let answer = self.run(source, prepared, events).await?;
            let fresh = place.fresh(&answer);
            made = Some(answer);
            Ok::<_, QueryError>(fresh)
        };
        let stack = &place.cache.stack;
        let loaded = match place.policy {
            CachePolicy::Use => stack.join_or_load(&place.key, place.since, deadline, load).await?,
            CachePolicy::Refresh | CachePolicy::Bypass => stack.reload(&place.key, place.since, load).await?,
        };
        if let Some(answer) = made {
            place.remember(&embedder, &answer).await;
            return Ok(answer);
        }
        let mut answer = place.told_again(&loaded, None).ok_or(QueryError::Aborted)?;
        if let Some(spent) = spent {
            (answer.usage, answer.cost_usd) = (spent, spent.cost.map(Money::usd));
        }
        events.tell(&answer).await;
        Ok(answer)
    }
}

impl Place {
    /// The answer that is kept for this question, or for one that means the same.
    pub(super) async fn recall(&self, source: &Arc<dyn ChunkSource>) -> Option<Answer> {
        if self.policy != CachePolicy::Use {
            return None;
        }
        if let Some(entry) = self.cache.stack.get(&self.key).await {
            if let Some(kept) = decode(&entry.payload) {
                self.cache.exact_hits.fetch_add(1, Relaxed);
                return Some(kept.answer(None, self.started));
            }
            // Of another version of this program.
            self.cache.stack.remove(&self.key).await;
        }
        self.cache.misses.fetch_add(1, Relaxed);
        let (semantic, embedding) = (self.cache.semantic.as_ref()?, self.embedding(source).await?);
        let hit = semantic.find(self.key.partition(), &self.question, &embedding).await.hit?;
        Some(decode(&hit.entry.payload)?.answer(Some(hit.similarity), self.started))
    }

    /// The vector of the question; `None` where questions are not compared.
    async fn embedding(&self, source: &Arc<dyn ChunkSource>) -> Option<Embedding> {
        let is_compared = self.cache.semantic.is_some() && self.is_generated;
        // To a model that can't read them, all questions look alike.
        if !is_compared || !can_read(&source.embedder().model().languages, &self.question) {
            return None;
        }
        let (source, question) = (Arc::clone(source), self.question.clone());
        let embedded = off_thread(move || source.embedder().embed(&[&question], Purpose::Query, source.errand())).await.ok()?;
        // A failure is the search's to tell.
        Some(embedded.ok()?.pop()?.embedding)
    }

    fn keeps(&self, answer: &Answer) -> bool {
        // Who asks for an expanded search shall not be told for long what a plain one found.
        let is_as_meant = !answer.degraded && answer.steps.reworded.expand_failure.is_none();
        self.is_current && answer.is_whole && is_as_meant
    }

    fn fresh(&self, answer: &Answer) -> Fresh {
        match encode(&self.question, answer).filter(|_| self.keeps(answer)) {
            Some(bytes) => Fresh::keep(bytes, self.cache.lifetime),
            None => Fresh::pass(Vec::new()),
        }
    }

    async fn remember(&self, source: &Arc<dyn ChunkSource>, answer: &Answer) {
        if let Some(semantic) = self.cache.semantic.as_ref().filter(|_| self.keeps(answer))
            && let Some(embedding) = self.embedding(source).await
        {
            semantic.remember(&self.key, &self.question, embedding);
        }
    }

    fn told_again(&self, loaded: &Loaded, similarity: Option<f32>) -> Option<Answer> {
        let kept = decode(&loaded.entry().payload)?;
        self.cache.exact_hits.fetch_add(1, Relaxed);
        Some(kept.answer(similarity, self.started))
    }
}

impl Kept {
    /// The answer as it was first given, at no cost. `similarity` is that of the two questions, if they are not the same.
    fn answer(self, similarity: Option<f32>, started: Instant) -> Answer {
        let Self { question: _, answer, citations, not_found, gate, sources, mode, abstained, model, context_length, guards } = self;
        let mut timings_ms = Timings::default();
        timings_ms.note("cache", started);
        timings_ms.note("total", started);
        let kind = if similarity.is_some() { "semantic" } else { "exact" };
        Answer {
            answer,
            citations,
            not_found,
            gate,
            sources,
            mode,
            abstained,
            degraded: false,
            degraded_reason: None,
            model,
            route: None,
            usage: TokenUsage::default(),
            cost_usd: Some(0.0),
            cache: CacheUse { hit: true, kind: Some(kind), similarity },
            guards,
            is_whole: true,
            context_length,
            rewritten_question: None,
            timings_ms,
            steps: Steps::default(),
        }
    }
}

fn encode(question: &str, answer: &Answer) -> Option<Vec<u8>> {
    let (question, answer) = (Some(question.to_owned()), answer.clone());
    let Answer { answer, citations, not_found, gate, sources, mode, abstained, model, context_length, guards, .. } = answer;
    let kept = Kept { question, answer, citations, not_found, gate, sources, mode, abstained, model, context_length, guards };
    let json = serde_json::to_vec(&kept).ok()?;
    let mut bytes = vec![VERSION];
    ZlibEncoder::new(json.as_slice(), Compression::fast()).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// `None` for what another version kept.
fn decode(bytes: &[u8]) -> Option<Kept> {
    let compressed = bytes.strip_prefix(&[VERSION])?;
    let mut json = Vec::new();
    ZlibDecoder::new(compressed).take(JSON_BYTES_MAX).read_to_end(&mut json).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests;
