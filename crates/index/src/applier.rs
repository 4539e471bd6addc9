//! One thread that brings the views after the store, so that ingestion goes on while an index
//! commits. What queues up meanwhile goes into the next round together; and as a round costs much the same for
//! one document and for twenty, the thread rests between rounds, unless somebody waits for what is to come or
//! nothing more comes.

use crate::collection::Collection;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Times as long as a round took, the thread rests behind it.
const REST: u32 = 3;
/// Longest rest: by so much search may be behind later.
const REST_MAX: Duration = Duration::from_millis(250);
/// How soon somebody who waits cuts a rest short.
const REST_SLICE: Duration = Duration::from_millis(2);

/// See the module.
pub(crate) struct Applier {
    /// A collection that has something to apply. Unbounded, but it holds at most one message a
    /// published change, and publishing is bounded by the ingest queue.
    wake: Option<Sender<Message>>,
    thread: Option<JoinHandle<()>>,
}

enum Message {
    Changed(Arc<Collection>),
    /// Nothing more comes for now.
    Ended,
    /// Everything sent before is done.
    Reached(Sender<()>),
}

impl Applier {
    pub(crate) fn start() -> Self {
        let (wake, woken) = channel::<Message>();
        match std::thread::Builder::new().name("views".into()).spawn(move || run(&woken)) {
            Ok(thread) => Self { wake: Some(wake), thread: Some(thread) },
            Err(error) => {
                tracing::error!(%error, "no thread for the views: changes are applied by the writers themselves");
                Self { wake: None, thread: None }
            }
        }
    }

    /// Says that the collection has changes to apply.
    pub(crate) fn notify(&self, collection: &Arc<Collection>) {
        let sent = self.wake.as_ref().map(|wake| wake.send(Message::Changed(Arc::clone(collection))));
        if !matches!(sent, Some(Ok(()))) {
            collection.apply_pending();
        }
    }

    /// Ends a rest.
    pub(crate) fn hurry(&self) {
        if let Some(wake) = &self.wake {
            // An error means that the thread is gone, and with it the rest.
            let _ = wake.send(Message::Ended);
        }
    }

    /// Returns when nothing is at work on what was notified before.
    pub(crate) fn wait(&self) {
        let (answer, answered) = channel();
        if let Some(wake) = &self.wake
            && wake.send(Message::Reached(answer)).is_ok()
        {
            // An error means that the thread is gone, and with it the work.
            let _ = answered.recv();
        }
    }
}

/// The thread, until nobody can wake it any more; what was sent by then is done.
fn run(woken: &Receiver<Message>) {
    let mut rested = Instant::now();
    while let Ok(message) = woken.recv() {
        let mut round = Round::default();
        round.take(message);
        while !round.is_urgent() {
            let left = rested.saturating_duration_since(Instant::now());
            match woken.recv_timeout(left.min(REST_SLICE)) {
                Ok(message) => round.take(message),
                Err(RecvTimeoutError::Timeout) if !left.is_zero() => {}
                Err(_) => break,
            }
        }
        let began = Instant::now();
        round.apply();
        rested = Instant::now() + (began.elapsed() * REST).min(REST_MAX);
    }
}

/// What is done together.
#[derive(Default)]
struct Round {
    /// Each once.
    changed: Vec<Arc<Collection>>,
    asked: Vec<Sender<()>>,
    is_last: bool,
}

impl Round {
    fn take(&mut self, message: Message) {
        match message {
            Message::Changed(collection) if self.changed.iter().any(|known| Arc::ptr_eq(known, &collection)) => {}
            Message::Changed(collection) => self.changed.push(collection),
            Message::Ended => self.is_last = true,
            Message::Reached(answer) => self.asked.push(answer),
        }
    }

    fn is_urgent(&self) -> bool {
        self.is_last || !self.asked.is_empty() || self.changed.iter().any(|collection| collection.is_awaited())
    }

    fn apply(self) {
        for collection in self.changed {
            collection.apply_pending();
        }
        for answer in self.asked {
            // Whoever asked may have gone.
            let _ = answer.send(());
        }
    }
}

impl Drop for Applier {
    fn drop(&mut self) {
        drop(self.wake.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there was logged by the panic hook; nothing is left to do at shut-down.
            let _ = thread.join();
        }
    }
}
