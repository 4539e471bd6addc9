//! What was done for each question: kept beside the store, written off the path of the request.
//!
//! Invariants:
//! - Whoever answers a question never waits for its trace: it goes into a bounded queue, and where that is full it is
//!   lost and counted. One thread writes. What a crash loses is lost.
//! - Of documents a trace holds ids, spans, and what of their text an answer and its quotes repeat. All traces of a
//!   document are found by its id: deleting it removes them, and nothing of it is written afterwards (`store`).
//! - Words are kept as `traces.text` says; what redacts them is handed in by wiring.

mod record;
mod sessions;
mod store;

pub(crate) use record::{Draft, Head, Outcome, Trace, TraceKind};
pub(crate) use sessions::{NewTurn, Session, SessionHead, Sessions};
pub(crate) use store::{Listed, TraceStore};

use crate::config::TracesConfig;
use corpus::TraceId;
use record::render;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// Takes out of a text what identifies people.
pub(crate) type Redact = Arc<dyn for<'t> Fn(&'t str) -> Cow<'t, str> + Send + Sync>;

/// How long who reads waits until what is queued is written.
const SETTLE: Duration = Duration::from_secs(5);

/// Keeps traces.
pub(crate) struct Traces {
    config: TracesConfig,
    queue: SyncSender<Message>,
    store: Arc<TraceStore>,
    redact: Redact,
}

enum Message {
    Keep(Box<Draft>),
    /// Everything before this is written.
    Settled(SyncSender<()>),
}

impl Traces {
    /// Starts the thread that writes; it ends with this.
    pub(crate) fn start(config: TracesConfig, store: Arc<TraceStore>, redact: Redact) -> std::io::Result<Self> {
        let (queue, queued) = sync_channel(config.queue_max);
        let (writer, text, hook) = (Arc::clone(&store), config.text, Arc::clone(&redact));
        let work = move || write(&queued, &writer, &|draft| render(draft, text, &hook));
        std::thread::Builder::new().name("traces".to_owned()).spawn(work)?;
        Ok(Self { config, queue, store, redact })
    }

    /// A text as it is kept where texts are redacted. Blocking.
    pub(crate) fn redacted<'t>(&self, text: &'t str) -> Cow<'t, str> {
        (self.redact)(text)
    }

    /// Whether a question under this id is kept: the same ones on every server and after every restart.
    pub(crate) fn wants(&self, trace: &TraceId, kind: TraceKind) -> bool {
        let share = match kind {
            TraceKind::Search => self.config.sample_searches,
            TraceKind::Evaluation => self.config.sample_evaluations,
            TraceKind::Query | TraceKind::Batch | TraceKind::Replay => self.config.sample,
        };
        self.config.enabled && is_sampled(trace, share)
    }

    /// Hands it to the writer; never waits.
    pub(crate) fn keep(&self, draft: Draft) {
        let outcome = match self.queue.try_send(Message::Keep(Box::new(draft))) {
            Ok(()) => "queued",
            Err(TrySendError::Full(_)) => "lost",
            Err(TrySendError::Disconnected(_)) => "refused",
        };
        metrics::counter!("ragstone_traces_total", "outcome" => outcome).increment(1);
    }

    /// Where they lie, with everything that was handed over before. Blocking.
    pub(crate) fn settled(&self) -> &TraceStore {
        let (tell, told) = sync_channel(1);
        if self.queue.send(Message::Settled(tell)).is_ok() {
            // What takes longer is read as it is.
            let _ = told.recv_timeout(SETTLE);
        }
        &self.store
    }

    pub(crate) fn store(&self) -> &TraceStore {
        &self.store
    }
}

fn write(queued: &Receiver<Message>, store: &TraceStore, render: &dyn Fn(Draft) -> Trace) {
    while let Ok(message) = queued.recv() {
        match message {
            Message::Keep(draft) => {
                if let Err(error) = store.put(render(*draft)) {
                    tracing::warn!(%error, "a trace can't be kept");
                }
            }
            // Nobody waits any more: as well.
            Message::Settled(tell) => _ = tell.try_send(()),
        }
    }
}

/// FNV-1a over the id, as a share.
fn is_sampled(trace: &TraceId, share: f64) -> bool {
    let hash = trace.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    // The upper bits of FNV are mixed worst by the last bytes; folding them evens that out.
    let folded = u32::try_from((hash ^ (hash >> 32)) & 0xffff_ffff).unwrap_or(u32::MAX);
    share >= 1.0 || f64::from(folded) < share * f64::from(u32::MAX)
}

#[cfg(test)]
mod tests;
