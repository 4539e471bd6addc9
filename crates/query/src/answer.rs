//! Question in, grounded answer out.
//!
//! Main path: prepare (retrieve → pack) → generate, or extract → cite. Preparing and extracting are
//! synchronous and run on a blocking thread ([`off_thread`] is the only hop). A model that fails
//! before its first word is replaced by the extractive answer, marked `degraded`; one that fails
//! later ends the answer with an error, because two models' words are never spliced.

mod cached;
mod events;
mod guarded;
mod request;
#[cfg(test)]
mod tests;

pub use cached::{AnswerCache, AnswerCacheOptions, AnswerCacheStatistics};
pub use events::{Answer, AnswerEvent, AnswerMode, CacheUse};
pub use guarded::{GuardAction, GuardDecision, GuardKind, GuardParams, GuardStage, OnInjectedQuestion, OnInjectedSource};
pub use request::{CachePolicy, InvalidQuery, QueryRequest};

use crate::cite::{Cited, cite, compose};
use crate::extractive::{ExtractiveParams, extract};
use crate::fuse::LegWeights;
use crate::pack::{Packed, pack};
use crate::prompt::{DONT_KNOW, messages};
use crate::retrieve::ChunkSource;
use crate::script::is_cjk;
use crate::search::{Hit, SearchError, SearchRequest, SearchResponse, search};
use crate::timings::Timings;
use cached::Place;
use corpus::{EmbedError, Principals};
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
    /// Tokens of context where the request doesn't say. Default 2,048.
    pub context_tokens: usize,
    /// Most tokens a model may answer with. Default 1,024.
    pub answer_tokens: u32,
    /// Most bytes of a model's answer that are kept. Default 64 KiB.
    pub answer_bytes: usize,
    /// How long a model may take, or another request that asks it the same. Default 120 s.
    pub answer_time: Duration,
    /// Whether an answer is extracted where no budget has room for a model's. Default false: that is refused.
    pub extracts_when_exhausted: bool,
    /// What is done about injections and personal data.
    pub guards: GuardParams,
}

impl Default for EngineParams {
    fn default() -> Self {
        Self {
            weights: LegWeights::default(),
            extractive: ExtractiveParams::default(),
            context_tokens: 2048,
            answer_tokens: 1024,
            answer_bytes: 64 * 1024,
            answer_time: Duration::from_secs(120),
            extracts_when_exhausted: false,
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
    /// The extractive answer could not be made.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// The model failed after its first word.
    #[error("the answer broke off: {0}")]
    Interrupted(#[source] ChatError),
    /// The caller may not have a model asked now: a budget or a limit has no room.
    #[error(transparent)]
    Refused(ChatError),
    /// The question looks like an attempt to give the model other instructions.
    #[error("the question was taken for a prompt injection (score {score:.2}: {rules})")]
    Injection {
        /// 0 to 1.
        score: f32,
        /// The rules that fired.
        rules: String,
    },
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
    /// The question.
    pub question: String,
    /// Who shall answer; `None`: the default model.
    pub model: Option<String>,
    /// On whose account.
    pub account: Arc<Account>,
    /// The context.
    pub packed: Packed,
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
    /// Where its answer is kept.
    place: Option<Place>,
    answer: Option<Box<Answer>>,
}

impl Recalled {
    /// Whether it was: then nothing is computed and no model asked.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.answer.is_some()
    }
}

/// Answers questions. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    models: Models,
    params: EngineParams,
    cache: Option<Arc<AnswerCache>>,
}

impl Engine {
    /// An engine that generates with the model a request names, or the default; without any it only extracts.
    #[must_use]
    pub fn new(models: Models, params: EngineParams) -> Self {
        Self { models, params, cache: None }
    }

    /// Keeps answers, and gives them again.
    #[must_use]
    pub fn with_cache(self, cache: Arc<AnswerCache>) -> Self {
        Self { cache: Some(cache), ..self }
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
        search(source, request, principals, self.params.weights)
    }

    /// Answers in one piece.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn answer(&self, source: Arc<dyn ChunkSource>, request: QueryRequest, asker: Asker) -> Result<Answer, QueryError> {
        match self.begin(self.recall(source, request, asker).await?).await? {
            Begun::Known(answer) => Ok(*answer),
            Begun::New(source, new) => self.run_once(source, *new, &mut Events::unheard()).await,
        }
    }

    /// Looks whether the question was answered before; what is left to do is [`Engine::tell`]'s.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn recall(&self, source: Arc<dyn ChunkSource>, request: QueryRequest, asker: Asker) -> Result<Recalled, QueryError> {
        request.validate(&self.models)?;
        let on_question = guarded::judge_question(&request.question, &self.params.guards)?;
        let place = self.place(&source, &request, &asker).await?;
        let answer = match &place {
            Some(place) => place.recall(&source).await.map(|answer| Box::new(guarded::told_again(answer, on_question))),
            None => None,
        };
        Ok(Recalled { source, request, asker, place, answer })
    }

    /// Answers as a stream: `Sources`, `Delta`s, `Citation`s, `Usage`, and `Done` or `Error` last.
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
        self.tell(self.recall(source, request, asker).await?).await
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

    /// Retrieves and packs. Blocking.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn prepare(&self, source: &dyn ChunkSource, request: QueryRequest, asker: Asker) -> Result<Prepared, QueryError> {
        let started = Instant::now();
        request.validate(&self.models)?;
        let mut guards = guarded::judge_question(&request.question, &self.params.guards)?;
        let mut found = self.search(source, &request.search(), &asker.principals)?;
        let mut timings_ms = found.timings_ms;
        timings_ms.note("retrieve", started);
        let budget = request.max_context_tokens.unwrap_or(self.params.context_tokens);
        let counter = self.models.counter(request.model.as_deref());
        let count_tokens = |hit: &Hit, text: &str| match counter {
            Some(counter) => usize::try_from(counter.count(text)).unwrap_or(usize::MAX),
            None if text.len() == hit.text.len() => hit.tokens,
            None => source.embedder().count_tokens(text),
        };
        let judged = guarded::judge_sources(&mut found.hits, &self.params.guards);
        let mut packed = timings_ms.measure("pack", || pack(found.hits, budget, &count_tokens));
        guards.extend(judged.told(&mut packed));
        tracing::debug!(tags = ?request.tags, sources = packed.sources.len(), dropped = packed.dropped.len(), tokens = packed.tokens, "context packed");
        let deadline = tokio::time::Instant::now() + self.params.answer_time;
        Ok(Prepared {
            question: request.question,
            model: request.model,
            account: asker.account,
            packed,
            guards,
            timings_ms,
            started,
            deadline,
        })
    }

    /// The answer without a model. Blocking.
    ///
    /// # Errors
    /// [`EmbedError`].
    pub fn extract(&self, source: &dyn ChunkSource, prepared: &Prepared) -> Result<(Draft, Vec<String>), EmbedError> {
        let sources = &prepared.packed.sources;
        let found = extract(&prepared.question, sources, source.embedder(), source.errand(), &self.params.extractive)?;
        let (mut pieces, citations) = compose(&found.support, sources);
        let is_abstained = pieces.is_empty();
        if is_abstained {
            pieces = vec![abstention(&prepared.question).to_owned()];
        }
        let cited = Cited { citations, not_found: Vec::new() };
        Ok((Draft { text: pieces.concat(), is_abstained, cited, ..Draft::default() }, pieces))
    }

    /// An answer that was given before, or what a new one needs.
    async fn begin(&self, recalled: Recalled) -> Result<Begun, QueryError> {
        let Recalled { source, request, asker, place, answer } = recalled;
        if let Some(answer) = answer {
            return Ok(Begun::Known(answer));
        }
        let prepared = self.prepare_off_thread(&source, request, asker).await?;
        Ok(Begun::New(source, Box::new((prepared, place))))
    }

    async fn prepare_off_thread(&self, source: &Arc<dyn ChunkSource>, request: QueryRequest, asker: Asker) -> Result<Prepared, QueryError> {
        let (engine, source) = (self.clone(), Arc::clone(source));
        off_thread(move || engine.prepare(&*source, request, asker)).await?
    }

    /// generate, or extract → cite, telling `events` on the way.
    async fn run(&self, source: Arc<dyn ChunkSource>, mut prepared: Prepared, events: &mut Events) -> Result<Answer, QueryError> {
        let started = Instant::now();
        events.send(|| AnswerEvent::Sources(prepared.packed.sources.iter().map(|source| source.hit.clone()).collect())).await;
        let draft = match self.ask_model(&prepared).await? {
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
                prepared.timings_ms.note("extract", started);
                Draft { degraded, ..draft }
            }
        };
        for citation in &draft.cited.citations {
            events.send(|| AnswerEvent::Citation(citation.clone())).await;
        }
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
        let mut messages = messages(&prepared.question, &prepared.packed.sources);
        let sealed = guarded::Sealed::new(&mut messages, prepared, &self.params.guards);
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
        let mut opened = sealed.opened();
        while let Some(event) = reply.events.next().await {
            match event.map_err(QueryError::Interrupted)? {
                ChatEvent::Delta(text) => {
                    let text = opened.push(text);
                    if draft.text.len() + text.len() > self.params.answer_bytes {
                        let error = ChatError::TooLarge { what: "the answer", bytes_max: self.params.answer_bytes };
                        return Err(QueryError::Interrupted(error));
                    }
                    draft.text.push_str(&text);
                    if !text.is_empty() {
                        events.send(|| AnswerEvent::Delta(text)).await;
                    }
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
        if !rest.is_empty() {
            draft.text.push_str(&rest);
            events.send(|| AnswerEvent::Delta(rest)).await;
        }
        draft.guards = sealed.decisions(restored);
        draft.cited = cite(&draft.text, &prepared.packed.sources);
        draft.is_abstained = draft.cited.citations.is_empty() && says_dont_know(&draft.text);
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
