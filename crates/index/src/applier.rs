//! One thread that brings the views after the store, so that ingestion goes on while an index
//! commits. What queues up meanwhile goes into the next round together.

use crate::collection::Collection;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

/// See the module.
pub(crate) struct Applier {
    /// A collection that has something to apply. Unbounded, but it holds at most one message a
    /// published change, and publishing is bounded by the ingest queue.
    wake: Option<Sender<Message>>,
    thread: Option<JoinHandle<()>>,
}

enum Message {
    Changed(Arc<Collection>),
    /// Everything sent before is done.
    Reached(Sender<()>),
}

impl Applier {
    pub(crate) fn start() -> Self {
        let (wake, woken) = channel::<Message>();
        let run = move || {
            for message in woken {
                match message {
                    Message::Changed(collection) => collection.apply_pending(),
                    // Whoever asked may have gone.
                    Message::Reached(answer) => drop(answer.send(())),
                }
            }
        };
        match std::thread::Builder::new().name("views".into()).spawn(run) {
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

impl Drop for Applier {
    fn drop(&mut self) {
        drop(self.wake.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there was logged by the panic hook; nothing is left to do at shut-down.
            let _ = thread.join();
        }
    }
}
