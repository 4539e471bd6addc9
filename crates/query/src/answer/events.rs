//! What comes out of a query: one record, or events that end with it.

use super::{Draft, GuardDecision, Prepared, QueryError, Steps};
use crate::cite::{Citation, GateReport, Passed};
use crate::search::Hit;
use crate::timings::Timings;
use futures::channel::mpsc;
use futures::stream::{self, BoxStream};
use futures::{SinkExt, StreamExt};
use gateway::{Money, Route, TokenUsage};
use serde::{Deserialize, Serialize};

/// Who wrote an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswerMode {
    /// A language model.
    Generated,
    /// The documents themselves.
    #[default]
    Extractive,
}

/// Whether the answer came from a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct CacheUse {
    /// Whether it did.
    pub hit: bool,
    /// From which one.
    pub kind: Option<&'static str>,
    /// How alike the cached question was.
    pub similarity: Option<f32>,
}

/// An answer with everything it rests on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// The words, with markers `[n]`.
    pub answer: String,
    /// What the markers point at.
    pub citations: Vec<Citation>,
    /// Markers of a generated answer that name no source.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_found: Vec<u32>,
    /// What the citation gate found.
    pub gate: GateReport,
    /// The chunks that were in the context: marker `n` is the nth.
    pub sources: Vec<Hit>,
    /// Who wrote it.
    pub mode: AnswerMode,
    /// Whether it says that the documents don't answer.
    pub abstained: bool,
    /// Whether another model than the one that was meant has answered, or none.
    pub degraded: bool,
    /// Why, if so.
    pub degraded_reason: Option<String>,
    /// The model that answered.
    pub model: Option<String>,
    /// Who was asked, why, and what failed before; null if no model answered.
    pub route: Option<Route>,
    /// Tokens used by the model, before the search too.
    pub usage: TokenUsage,
    /// What that cost; null where no model was asked or its price is not known.
    pub cost_usd: Option<f64>,
    /// Whether it came from a cache.
    pub cache: CacheUse,
    /// What the guards decided, without the values.
    pub guards: Vec<GuardDecision>,
    /// Whether whoever wrote it had said everything: a model may be cut off.
    #[serde(skip)]
    pub is_whole: bool,
    /// Tokens of context.
    pub context_length: usize,
    /// The question as it was searched for, if it leaned on a conversation; null: as it was asked.
    pub rewritten_question: Option<String>,
    /// Milliseconds by stage.
    pub timings_ms: Timings,
    /// What was done on the way.
    #[serde(skip)]
    pub steps: Steps,
}

impl Answer {
    pub(super) fn new(draft: Draft, prepared: Prepared) -> Self {
        let mut guards = prepared.guards;
        // A question that was redacted before the search is redacted for the answer again.
        let new: Vec<GuardDecision> = draft.guards.into_iter().filter(|decision| !guards.contains(decision)).collect();
        guards.extend(new);
        Self {
            answer: draft.text,
            citations: draft.cited.citations,
            not_found: draft.cited.not_found,
            gate: draft.cited.gate,
            sources: prepared.packed.sources.into_iter().map(|source| source.hit).collect(),
            mode: draft.mode,
            abstained: draft.is_abstained,
            degraded: draft.degraded.is_some(),
            degraded_reason: draft.degraded,
            model: draft.model,
            route: draft.route,
            usage: draft.usage,
            cost_usd: draft.usage.cost.map(Money::usd),
            cache: CacheUse::default(),
            guards,
            is_whole: !draft.is_cut,
            context_length: prepared.packed.tokens,
            rewritten_question: prepared.said.filter(|said| said.question != prepared.question).map(|_| prepared.question),
            timings_ms: prepared.timings_ms,
            steps: prepared.steps,
        }
    }
}

/// One event of a streamed answer.
#[derive(Debug)]
pub enum AnswerEvent {
    /// The context, first.
    Sources(Vec<Hit>),
    /// More words.
    Delta(String),
    /// One citation, after the words of its sentence.
    Citation(Citation),
    /// Tokens used.
    Usage(TokenUsage),
    /// The whole answer, last.
    Done(Box<Answer>),
    /// What ended it, last.
    Error(QueryError),
}

impl AnswerEvent {
    /// The event's name on the wire.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sources(_) => "sources",
            Self::Delta(_) => "delta",
            Self::Citation(_) => "citation",
            Self::Usage(_) => "usage",
            Self::Done(_) => "done",
            Self::Error(_) => "error",
        }
    }
}

/// Events that wait for a slow listener before the work does.
const WAITING_MAX: usize = 16;

/// Where events go, if anywhere.
pub(super) struct Events(Option<mpsc::Sender<AnswerEvent>>);

impl Events {
    pub(super) fn unheard() -> Self {
        Self(None)
    }

    pub(super) fn channel() -> (Self, mpsc::Receiver<AnswerEvent>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(Some(sender)), receiver)
    }

    /// Tells a whole answer as if it were given now.
    pub(super) async fn tell(&mut self, answer: &Answer) {
        self.send(|| AnswerEvent::Sources(answer.sources.clone())).await;
        self.send(|| AnswerEvent::Delta(answer.answer.clone())).await;
        for citation in &answer.citations {
            self.send(|| AnswerEvent::Citation(citation.clone())).await;
        }
        self.send(|| AnswerEvent::Usage(answer.usage)).await;
    }

    /// Tells what may be passed on of an answer that is being heard.
    pub(super) async fn pass_on(&mut self, said: Vec<Passed>) {
        for said in said {
            let event = match said {
                Passed::Text(text) => AnswerEvent::Delta(text),
                Passed::Citation(citation) => AnswerEvent::Citation(*citation),
            };
            self.send(|| event).await;
        }
    }

    /// Waits while the listener is slow.
    pub(super) async fn send(&mut self, event: impl FnOnce() -> AnswerEvent) {
        if let Some(sender) = &mut self.0 {
            // Fails only if nobody listens any more, and then the work is dropped as well.
            let _ = sender.send(event()).await;
        }
    }
}

/// What is heard of `work`, which is driven by whoever listens: leaving stops it.
pub(super) fn driven_by_listener(
    heard: mpsc::Receiver<AnswerEvent>,
    work: impl Future<Output = ()> + Send + 'static,
) -> BoxStream<'static, AnswerEvent> {
    let silent = stream::once(work).filter_map(|()| std::future::ready(None));
    stream::select(heard, silent).boxed()
}
