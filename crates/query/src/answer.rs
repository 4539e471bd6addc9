//! Question in, grounded answer out.
//!
//! Main path: recall → expand → prepare (retrieve → pack) → generate, or extract → cite. Preparing and extracting are
//! synchronous and run on a blocking thread ([`off_thread`] is the only hop). A model that fails
//! before its first word is replaced by the extractive answer, marked `degraded`; one that fails
//! later ends the answer with an error, because two models' words are never spliced.

mod ahead;
mod cached;
mod events;
mod guarded;
mod request;
mod steps;
#[cfg(test)]
mod tests;

pub use cached::{AnswerCache, AnswerCacheOptions, AnswerCacheStatistics};
pub use events::{Answer, AnswerEvent, AnswerMode, CacheUse};
pub use request::{CachePolicy, InvalidQuery, QueryRequest};
pub use steps::{Excerpt, Found, Reworded, RewrittenBy, Steps};

use crate::beside::with_neighbours;
use crate::cite::{Cited, GatePolicy, Reviewer, compose, quoted};
use crate::compress::compress;
use crate::diverse::diverse;
use crate::expand::{Expand, Rewrite};
use crate::extractive::{ExtractiveParams, extract};
use crate::fuse::LegWeights;
use crate::gate::Gate;
use crate::guards::{GuardDecision, GuardParams, InjectionRefused};
use crate::pack::{Packed, pack};
use crate::prompt::{DONT_KNOW, Mark, messages};
use crate::retrieve::ChunkSource;
use crate::script::is_cjk;
use crate::search::{Hit, Ranking, SearchError, SearchRequest, SearchResponse, search_by};
use crate::session::{Said, in_conversation};
use crate::timings::Timings;
use ahead::Ahead;
use cached::Place;
use corpus::{ChunkId, Principals, Reranker};
use events::Events;
use futures::StreamExt;
use futures::stream::BoxStream;
use gateway::telemetry::request_span;
use gateway::{Account, ChatError, ChatEvent, ChatReply, ChatRequest, FinishReason, Models, Route, Stage, TokenUsage};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Instrument;

/// What an [`Engine`] is set to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EngineParams {
    /// How much each leg of a hybrid search counts.
    pub weights: LegWeights,
    /// When a sentence is good enough for an extractive answer.
    pub extractive: ExtractiveParams,
    /// Chunks on each side of a chunk that are read with it where the request doesn't say. Default 0.
    pub neighbours: usize,
    /// Share of the context that a model is shown, 0 to 1, by the sentences that matter; `None`: all of it, the default.
    pub compression: Option<f32>,
    /// Tokens of context where the request doesn't say. Default 2,048.
    pub context_tokens: usize,
    /// Most tokens a model may answer with. Default 1,024.
    pub answer_tokens: u32,
    /// Most bytes of a model's answer that are kept. Default 64 KiB.
    pub answer_bytes: usize,
    /// How long a model may take, or another request that asks it the same. Default 120 s.
    pub answer_time: Duration,
    /// How a question that leans on its conversation is made to stand alone. Default: by the rule.
    pub rewrite: Rewrite,
    /// What a model adds to a search. Default: nothing.
    pub expand: Expand,
    /// How long a model may take for both together; then it is searched without. Default 5 s.
    pub expand_time: Duration,
    /// Whether an answer is extracted where no budget has room for a model's. Default false: that is refused.
    pub extracts_when_exhausted: bool,
    /// What is done about sentences that no source says. Default: they are told.
    pub gate: GatePolicy,
    /// What is done about injections and personal data.
    pub guards: GuardParams,
}

impl Default for EngineParams {
    fn default() -> Self {
        Self {
            weights: LegWeights::default(),
            extractive: ExtractiveParams::default(),
            neighbours: 0,
            compression: None,
            context_tokens: 2048,
            answer_tokens: 1024,
            answer_bytes: 64 * 1024,
            answer_time: Duration::from_secs(120),
            rewrite: Rewrite::default(),
            expand: Expand::default(),
            expand_time: Duration::from_secs(5),
            extracts_when_exhausted: false,
            gate: GatePolicy::default(),
            guards: GuardParams::default(),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The request can't be served as it is.
    #[error(transparent)]
    Invalid(#[from] InvalidQuery),
    /// Retrieval failed.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The model failed after its first word.
    #[error("the answer broke off: {0}")]
    Interrupted(#[source] ChatError),
    /// The caller may not have a model asked now: a budget or a limit has no room.
    #[error(transparent)]
    Refused(ChatError),
    /// The question looks like an attempt to give the model other instructions.
    #[error(transparent)]
    Injection(#[from] InjectionRefused),
    /// A blocking step panicked or the server is stopping.
    #[error("a step of the query did not finish")]
    Aborted,
}

/// Who asks.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Whose documents it may read.
    pub principals: Principals,
    /// On whose account models are called.
    pub account: Arc<Account>,
}

/// What is known before the first word of an answer.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The question, as it stands alone.
    pub question: String,
    /// As it was asked in a conversation, and what was said there before; `None` where both are the same.
    pub said: Option<Said>,
    /// What was done so far.
    pub steps: Steps,
    /// Who shall answer; `None`: the default model.
    pub model: Option<String>,
    /// On whose account.
    pub account: Arc<Account>,
    /// What a model used before the search; `None`: none was asked.
    pub spent: Option<TokenUsage>,
    /// The context.
    pub packed: Packed,
    /// Share of it that a model is shown; `None`: all.
    pub compression: Option<f32>,
    /// What the guards decided about the question and the sources.
    pub guards: Vec<GuardDecision>,
    /// Milliseconds by stage so far.
    pub timings_ms: Timings,
    /// When the request began.
    pub started: Instant,
    /// Until when a model, or another request that asks it the same, is waited for.
    pub deadline: tokio::time::Instant,
}

/// An answer's words, before the rest of the record is put around them.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    text: String,
    mode: AnswerMode,
    is_abstained: bool,
    /// Why it is not what was meant to be given, if it isn't.
    degraded: Option<String>,
    /// Whether the model was cut off.
    is_cut: bool,
    model: Option<String>,
    route: Option<Route>,
    usage: TokenUsage,
    cited: Cited,
    /// What the guards decided about what the model was told and has said.
    guards: Vec<GuardDecision>,
}

/// A question for which it was looked whether it was answered before.
pub struct Recalled {
    source: Arc<dyn ChunkSource>,
    request: QueryRequest,
    asker: Asker,
    /// What the guards think of it.
    on_question: Vec<GuardDecision>,
    /// Where its answer is kept.
    place: Option<Place>,
    answer: Option<Box<Answer>>,
    ahead: Ahead,
}

impl Recalled {
    /// Whether it was: then nothing is computed and no model asked.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.answer.is_some()
    }

    /// Whether a model is asked before the search: [`Engine::expand`], which waits and computes nothing.
    #[must_use]
    pub fn asks_model(&self) -> bool {
        self.answer.is_none() && self.ahead.asks_model(&self.request)
    }
}

/// Answers questions. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    models: Models,
    params: EngineParams,
    cache: Option<Arc<AnswerCache>>,
    reranker: Option<Arc<dyn Reranker>>,
}

impl Engine {
    /// An engine that generates with the model a request names, or the default; without any it only extracts.
    #[must_use]
    pub fn new(models: Models, params: EngineParams) -> Self {
        Self { models, params, cache: None, reranker: None }
    }

    /// Keeps answers, and gives them again.
    #[must_use]
    pub fn with_cache(self, cache: Arc<AnswerCache>) -> Self {
        Self { cache: Some(cache), ..self }
    }

    /// Judges candidates with a model, where a search asks for it.
    #[must_use]
    pub fn with_reranker(self, reranker: Option<Arc<dyn Reranker>>) -> Self {
        Self { reranker, ..self }
    }

    /// The models there are.
    #[must_use]
    pub fn models(&self) -> &Models {
        &self.models
    }

    /// Searches, with this engine's weights. Blocking.
    ///
    /// # Errors
    /// [`SearchError`].
    pub fn search(
        &self,
        source: &dyn ChunkSource,
        request: &SearchRequest,
        principals: &Principals,
    ) -> Result<SearchResponse, SearchError> {
        search_by(source, request, principals, Ranking { weights: self.params.weights, reranker: self.reranker.as_deref() })
    }

    /// Answers in one piece.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn answer(&self, source: Arc<dyn ChunkSource>, request: QueryRequest, asker: Asker) -> Result<Answer, QueryError> {
        let recalled = self.recall(source, request, asker).await?;
        match self.begin(self.expand(recalled).await).await? {
            Begun::Known(answer) => Ok(*answer),
            Begun::New(source, new) => self.run_once(source, *new, &mut Events::unheard()).await,
        }
    }

    /// Looks whether the question was answered before; what is left to do is [`Engine::expand`]'s and [`Engine::tell`]'s.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn recall(&self, source: Arc<dyn ChunkSource>, request: QueryRequest, asker: Asker) -> Result<Recalled, QueryError> {
        request.validate(&self.models)?;
        let on_question: Vec<GuardDecision> = self.params.guards.judge_question(&request.question)?.into_iter().collect();
        let mut ahead = Ahead::new(&self.params, &request);
        let request = ahead.by_rule(request);
        let place = self.place(&source, &request, &asker).await?;
        let answer = match &place {
            Some(place) => place.recall(&source).await.map(|answer| Box::new(guarded::told_again(answer, on_question.clone()))),
            None => None,
        };
        Ok(Recalled { source, request, asker, on_question, place, answer, ahead })
    }

    /// Answers as a stream: `Sources`, `Delta`s and `Citation`s, `Usage`, and `Done` or `Error` last.
    /// Dropping it cancels the model's call.
    ///
    /// # Errors
    /// [`QueryError`], if it fails before there is anything to stream.
    pub async fn answer_stream(
        &self,
        source: Arc<dyn ChunkSource>,
        request: QueryRequest,
        asker: Asker,
    ) -> Result<BoxStream<'static, AnswerEvent>, QueryError> {
        let recalled = self.recall(source, request, asker).await?;
        self.tell(self.expand(recalled).await).await
    }

    /// As [`Engine::answer_stream`], of a question for which it was looked whether it was answered before.
    ///
    /// # Errors
    /// [`QueryError`], if it fails before there is anything to stream.
    pub async fn tell(&self, recalled: Recalled) -> Result<BoxStream<'static, AnswerEvent>, QueryError> {
        let begun = self.begin(recalled).await?;
        let (mut events, heard) = Events::channel();
        let engine = self.clone();
        let work = async move {
            let answer = match begun {
                Begun::Known(answer) => {
                    events.tell(&answer).await;
                    Ok(*answer)
                }
                Begun::New(source, new) => engine.run_once(source, *new, &mut events).await,
            };
            let last = match answer {
                Ok(answer) => AnswerEvent::Done(Box::new(answer)),
                Err(error) => AnswerEvent::Error(error),
            };
            events.send(|| last).await;
        };
        Ok(events::driven_by_listener(heard, work))
    }

    /// Retrieves and packs. `guards`: what was thought of the question. Blocking.
    fn prepare(
        &self,
        source: &dyn ChunkSource,
        mut request: QueryRequest,
        asker: Asker,
        mut guards: Vec<GuardDecision>,
        ahead: Ahead,
    ) -> Result<Prepared, QueryError> {
        let Ahead { reworded, spent, took, .. } = ahead;
        let began = Instant::now();
        // Without the time for a turn between the two.
        let started = began.checked_sub(took.unwrap_or_default()).unwrap_or(began);
        let found = self.search(source, &request.search(&reworded), &asker.principals)?;
        let mut timings_ms = found.timings_ms;
        timings_ms.note("retrieve", began);
        if let Some(took) = took {
            timings_ms.add("expand", took);
        }
        let budget = request.max_context_tokens.unwrap_or(self.params.context_tokens);
        let count_tokens = |hit: &Hit, text: &str| self.count_tokens(source, request.model.as_deref(), hit, text);
        let hits = timings_ms.measure("diversify", || diverse(found.hits, request.top_k));
        let neighbours = request.neighbours.unwrap_or(self.params.neighbours);
        let mut hits = timings_ms.measure("neighbours", || with_neighbours(hits, neighbours, source))?;
        let mut steps = Steps::of(reworded, &mut hits, budget);
        let judged = guarded::judge_sources(&mut hits, &self.params.guards);
        let mut packed = timings_ms.measure("pack", || pack(hits, budget, &count_tokens));
        guards.extend(judged.told(&mut packed));
        tracing::debug!(tags = ?request.tags, sources = packed.sources.len(), dropped = packed.dropped.len(), tokens = packed.tokens, "context packed");
        steps.note_packed(&packed);
        let compression = request.compression_share.map(narrowed).or(self.params.compression).filter(|share| *share < 1.0);
        let deadline = tokio::time::Instant::now() + self.params.answer_time.saturating_sub(took.unwrap_or_default());
        let (question, said) = request.asked_and_said();
        let (model, account) = (request.model, asker.account);
        Ok(Prepared { question, said, steps, model, account, spent, packed, compression, guards, timings_ms, started, deadline })
    }

    fn count_tokens(&self, source: &dyn ChunkSource, model: Option<&str>, hit: &Hit, text: &str) -> usize {
        match self.models.counter(model) {
            Some(counter) => usize::try_from(counter.count(text)).unwrap_or(usize::MAX),
            None if text.len() == hit.text.len() => hit.tokens,
            None => source.embedder().count_tokens(text),
        }
    }

    /// Cuts what a model is shown to the sentences that matter, if that is wanted. Blocking.
    ///
    /// # Errors
    /// [`SearchError`].
    pub fn compress(&self, source: &dyn ChunkSource, prepared: &mut Prepared) -> Result<(), SearchError> {
        let Some(share) = prepared.compression else { return Ok(()) };
        let started = Instant::now();
        compress(&prepared.question, &mut prepared.packed.sources, source, &self.params.extractive, share)?;
        for packed in &mut prepared.packed.sources {
            packed.tokens = self.count_tokens(source, prepared.model.as_deref(), &packed.hit, &packed.shown());
        }
        prepared.packed.tokens = prepared.packed.sources.iter().map(|packed| packed.tokens).sum();
        prepared.steps.note_shown(&prepared.packed);
        prepared.timings_ms.note("compress", started);
        Ok(())
    }

    /// The answer without a model. Blocking.
    ///
    /// # Errors
    /// [`SearchError`].
    pub fn extract(&self, source: &dyn ChunkSource, prepared: &Prepared) -> Result<(Draft, Vec<String>), SearchError> {
        let sources = &prepared.packed.sources;
        let found = extract(&prepared.question, sources, source, &self.params.extractive)?;
        let (mut pieces, citations) = compose(&found.support, sources);
        let is_abstained = pieces.is_empty();
        if is_abstained {
            pieces = vec![abstention(&prepared.question).to_owned()];
        }
        let cited = Cited { gate: quoted(&pieces, &citations, self.params.gate), citations, not_found: Vec::new() };
        Ok((Draft { text: pieces.concat(), is_abstained, cited, ..Draft::default() }, pieces))
    }

    /// An answer that was given before, or what a new one needs.
    async fn begin(&self, recalled: Recalled) -> Result<Begun, QueryError> {
        let Recalled { source, request, asker, on_question, place, answer, ahead } = recalled;
        if let Some(answer) = answer {
            return Ok(Begun::Known(answer));
        }
        let (engine, searched) = (self.clone(), Arc::clone(&source));
        let prepared = off_thread(move || engine.prepare(&*searched, request, asker, on_question, ahead)).await??;
        Ok(Begun::New(source, Box::new((prepared, place))))
    }

    /// generate, or extract → cite, telling `events` on the way.
    async fn run(&self, source: Arc<dyn ChunkSource>, mut prepared: Prepared, events: &mut Events) -> Result<Answer, QueryError> {
        let started = Instant::now();
        events.send(|| AnswerEvent::Sources(prepared.packed.sources.iter().map(|source| source.hit.clone()).collect())).await;
        if prepared.compression.is_some() && self.models.get(prepared.model.as_deref()).is_some() {
            let (engine, source) = (self.clone(), Arc::clone(&source));
            let compressed = off_thread(move || engine.compress(&*source, &mut prepared).map(|()| prepared));
            prepared = compressed.await??;
        }
        let mut draft = match self.ask_model(&prepared).await? {
            Asked::Answering(reply, sealed) => {
                let draft = self.hear(*reply, sealed, &prepared, events).await?;
                prepared.timings_ms.note("generate", started);
                draft
            }
            Asked::Nobody { degraded } => {
                let (engine, moved) = (self.clone(), prepared.clone());
                let (draft, pieces) = off_thread(move || engine.extract(&*source, &moved)).await??;
                for piece in pieces {
                    events.send(|| AnswerEvent::Delta(piece)).await;
                }
                for citation in &draft.cited.citations {
                    events.send(|| AnswerEvent::Citation(citation.clone())).await;
                }
                prepared.timings_ms.note("extract", started);
                Draft { degraded, ..draft }
            }
        };
        draft.usage = match prepared.spent {
            Some(spent) if draft.model.is_some() => spent.plus(draft.usage),
            spent => spent.unwrap_or(draft.usage),
        };
        events.send(|| AnswerEvent::Usage(draft.usage)).await;
        prepared.timings_ms.note("total", prepared.started);
        Ok(Answer::new(draft, prepared))
    }

    /// Waits for a model's first word. Without sources there is nothing to ask about.
    async fn ask_model(&self, prepared: &Prepared) -> Result<Asked, QueryError> {
        let Some(model) = self.models.get(prepared.model.as_deref()).filter(|_| !prepared.packed.sources.is_empty()) else {
            return Ok(Asked::Nobody { degraded: None });
        };
        if tokio::time::Instant::now() >= prepared.deadline {
            let late = ChatError::Timeout { stage: Stage::Total, limit: self.params.answer_time };
            return Ok(Asked::Nobody { degraded: Some(late.to_string()) });
        }
        let mark = Mark::draw().map_err(|_| QueryError::Aborted)?;
        let (moved, guards) = (prepared.clone(), self.params.guards);
        let sealing = off_thread(move || {
            let question = moved.said.as_ref().map_or(&moved.question, |said| &said.question);
            let mut sealed = guarded::Sealed::new(&guards);
            let mut redact = |text: &str, source: Option<&ChunkId>| sealed.redact(text, source);
            let messages = messages(question, &moved.packed.sources, &mark, &mut redact);
            let messages = in_conversation(messages, moved.said.as_ref(), &mark, &mut redact);
            moved.steps.note_prompt(&messages, &mark);
            (messages, sealed)
        });
        let (messages, sealed) = sealing.await?;
        let request = ChatRequest {
            max_tokens: Some(self.params.answer_tokens),
            temperature: Some(0.0),
            deadline: Some(prepared.deadline),
            account: Arc::clone(&prepared.account),
            ..ChatRequest::new(messages)
        };
        match model.chat(request).instrument(request_span(model.name())).await {
            Ok(reply) => Ok(Asked::Answering(Box::new(reply), sealed)),
            Err(error @ ChatError::OverLimit { .. }) => Err(QueryError::Refused(error)),
            Err(error @ ChatError::OverBudget { .. }) if !self.params.extracts_when_exhausted => Err(QueryError::Refused(error)),
            Err(error) => {
                tracing::warn!(model = model.name(), %error, "the model gave no answer; extracting one");
                Ok(Asked::Nobody { degraded: Some(error.to_string()) })
            }
        }
    }

    /// Hears a model out and checks its citations.
    async fn hear(
        &self,
        mut reply: ChatReply,
        sealed: guarded::Sealed,
        prepared: &Prepared,
        events: &mut Events,
    ) -> Result<Draft, QueryError> {
        let (degraded, model) = (reply.route.degraded(), Some(reply.route.model.clone()));
        let mut draft = Draft { mode: AnswerMode::Generated, model, degraded, route: Some(reply.route), ..Draft::default() };
        let sources = &prepared.packed.sources;
        let texts: Vec<String> = sources.iter().map(|source| source.text().to_owned()).collect();
        let gate = off_thread(move || Gate::new(&texts.iter().map(String::as_str).collect::<Vec<_>>())).await?;
        let mut reviewer = Reviewer::new(sources, gate, self.params.gate, abstention(&prepared.question));
        let mut opened = sealed.opened();
        let mut heard_bytes = 0_usize;
        while let Some(event) = reply.events.next().await {
            match event.map_err(QueryError::Interrupted)? {
                ChatEvent::Delta(text) => {
                    let text = opened.push(text);
                    heard_bytes += text.len();
                    if heard_bytes > self.params.answer_bytes {
                        let error = ChatError::TooLarge { what: "the answer", bytes_max: self.params.answer_bytes };
                        return Err(QueryError::Interrupted(error));
                    }
                    events.pass_on(reviewer.hear(&text)).await;
                }
                ChatEvent::Usage(usage) => draft.usage = usage,
                // None was offered.
                ChatEvent::ToolCall(_) => {}
                ChatEvent::Done { finish_reason } => {
                    draft.is_cut = matches!(finish_reason, FinishReason::Length | FinishReason::ContentFilter);
                    break;
                }
            }
        }
        let (rest, restored) = opened.finish();
        events.pass_on(reviewer.hear(&rest)).await;
        events.pass_on(reviewer.finish()).await;
        draft.guards = sealed.decisions(restored);
        (draft.text, draft.cited) = reviewer.done();
        let says_nothing = draft.cited.citations.is_empty() && says_dont_know(&draft.text);
        draft.is_abstained = says_nothing || draft.cited.gate.reason.is_some();
        Ok(draft)
    }
}

/// Before anything is said.
enum Begun {
    /// It was answered before.
    Known(Box<Answer>),
    /// It is answered now; then its place is where the answer is kept.
    New(Arc<dyn ChunkSource>, Box<(Prepared, Option<Place>)>),
}

enum Asked {
    /// A model has begun to answer.
    Answering(Box<ChatReply>, guarded::Sealed),
    /// There is none to ask, or it failed.
    Nobody { degraded: Option<String> },
}

#[expect(clippy::cast_possible_truncation, reason = "a share needs no more digits")]
fn narrowed(share: f64) -> f32 {
    share as f32
}

/// The one hop from async to blocking threads.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, QueryError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| QueryError::Aborted)
}

const ABSTENTION: &str = "I don't know. The documents do not answer this question.";
const ABSTENTION_CHINESE: &str = "我不知道。文档中没有这个问题的答案。";

fn abstention(question: &str) -> &'static str {
    if question.chars().any(is_cjk) { ABSTENTION_CHINESE } else { ABSTENTION }
}

fn says_dont_know(answer: &str) -> bool {
    let answer = answer.trim().replace('’', "'");
    answer.is_empty() || answer.starts_with(DONT_KNOW) || answer.starts_with("我不知道")
}
