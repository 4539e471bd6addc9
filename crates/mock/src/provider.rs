//! What all connections share: the script, the calls, the files and batches.

use crate::access::Access;
use crate::calls::CallLog;
use crate::files::Archive;
use crate::reply::Reply;
use crate::script::{Script, Turns};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub(crate) struct Provider {
    pub(crate) access: Access,
    pub(crate) calls: Arc<CallLog>,
    pub(crate) started: Instant,
    turns: Mutex<Turns>,
    archive: Mutex<Archive>,
}

impl Provider {
    pub(crate) fn new(script: Script, access: Access) -> Self {
        let turns = Mutex::new(Turns::new(script));
        Self { access, calls: Arc::default(), started: Instant::now(), turns, archive: Mutex::default() }
    }

    /// The reply whose turn it is.
    pub(crate) fn take_reply(&self, model: &str, path: &str) -> Reply {
        self.turns().take(model, path)
    }

    pub(crate) fn script(&self) -> Script {
        self.turns().script().clone()
    }

    /// Starts this script from its beginning.
    pub(crate) fn set_script(&self, script: Script) {
        *self.turns() = Turns::new(script);
    }

    pub(crate) fn embedding_dimension(&self) -> usize {
        self.turns().script().embedding_dimension
    }

    pub(crate) fn batch_polls(&self) -> u32 {
        self.turns().script().batch_polls
    }

    /// Whoever holds the archive may take turns; nobody does it the other way round.
    pub(crate) fn archive(&self) -> MutexGuard<'_, Archive> {
        self.archive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
