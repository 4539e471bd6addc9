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
    wake: Option<Sender<Arc<Collection>>>,
    thread: Option<JoinHandle<()>>,
}

impl Applier {
    pub(crate) fn start() -> Self {
        let (wake, woken) = channel::<Arc<Collection>>();
        let run = move || {
            for collection in woken {
                collection.apply_pending();
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
        let sent = self.wake.as_ref().map(|wake| wake.send(Arc::clone(collection)));
        if !matches!(sent, Some(Ok(()))) {
            collection.apply_pending();
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
