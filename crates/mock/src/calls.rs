//! What the mock saw: the last calls, and how each of them ended.
//!
//! Invariant: at most [`CALLS_MAX`] calls with at most [`BODY_BYTES_MAX`] bytes of bodies are kept;
//! the oldest go first.

use hyper::header::HeaderMap;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Most calls that are kept.
const CALLS_MAX: usize = 10_000;
/// Most bytes of their bodies.
const BODY_BYTES_MAX: usize = 64 << 20;

/// One call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Call {
    /// Counted from 1 since the start.
    pub number: u64,
    /// When its headers were there, since the start.
    #[serde(rename = "at_ms", serialize_with = "as_ms")]
    pub at: Duration,
    /// Such as `POST`.
    pub method: String,
    /// With the query, if there is one.
    pub path: String,
    /// All but those with a key.
    pub headers: Vec<(String, String)>,
    /// The model that was asked for; empty if none was.
    pub model: String,
    /// Whether a stream was asked for.
    pub streamed: bool,
    /// Whether a key came. It is not kept.
    pub authorization: bool,
    /// The body; of an upload its `filename`, `purpose` and `bytes`; null if it was neither JSON nor an upload.
    pub body: Value,
    /// How it ended; nothing while it is under way.
    pub finished: Option<Finished>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finished {
    /// Everything was sent.
    Completed,
    /// The client closed the connection before that.
    ClientLeft,
    /// A fault ended it.
    Faulted,
}

impl Call {
    /// A header's value, by its name in small letters.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

fn as_ms<S: Serializer>(at: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(at.as_secs_f64() * 1000.0)
}

/// A call as it is kept. Its body and headers stay where they are until somebody asks for them.
pub(crate) struct Entry {
    pub(crate) call: Call,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Arc<Value>,
    pub(crate) body_bytes: usize,
}

impl Entry {
    fn call(&self) -> Call {
        let value = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = self.headers.iter().map(|(name, found)| (name.as_str().to_owned(), value(found))).collect();
        Call { headers, body: Value::clone(&self.body), ..self.call.clone() }
    }
}

/// The calls, shared by all connections.
#[derive(Default)]
pub(crate) struct CallLog {
    log: Mutex<Log>,
    changed: Notify,
}

#[derive(Default)]
struct Log {
    entries: VecDeque<Entry>,
    body_bytes: usize,
    /// Calls since the start, and how many of them were forgotten on demand.
    begun: u64,
    cleared: u64,
    /// Calls that have ended, of those not forgotten on demand.
    ended: u64,
}

impl CallLog {
    /// Notes a call; the watch tells how it ends.
    pub(crate) fn begin(self: &Arc<Self>, mut entry: Entry) -> Watch {
        let mut log = self.lock();
        log.begun += 1;
        entry.call.number = log.begun;
        log.body_bytes += entry.body_bytes;
        log.entries.push_back(entry);
        log.shrink();
        Watch { number: log.begun, log: Some(Arc::clone(self)) }
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.lock().entries.iter().map(Entry::call).collect()
    }

    /// How many there were since they were last forgotten, kept or not.
    pub(crate) fn count(&self) -> u64 {
        let log = self.lock();
        log.begun - log.cleared
    }

    /// Forgets what it saw.
    pub(crate) fn clear(&self) {
        let mut log = self.lock();
        *log = Log { begun: log.begun, cleared: log.begun, ..Log::default() };
    }

    /// Resolves when so many calls have ended.
    pub(crate) async fn ended(&self, count: u64) {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Before looking: what changes in between must not be missed.
            changed.as_mut().enable();
            if self.lock().ended >= count {
                return;
            }
            changed.await;
        }
    }

    fn end(&self, number: u64, finished: Finished) {
        self.lock().end(number, finished);
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn end(&mut self, number: u64, finished: Finished) {
        if number <= self.cleared {
            return;
        }
        self.ended += 1;
        let first = self.begun - self.entries.len() as u64 + 1;
        let place = number.checked_sub(first).and_then(|place| usize::try_from(place).ok());
        if let Some(entry) = place.and_then(|place| self.entries.get_mut(place)) {
            entry.call.finished = Some(finished);
        }
    }

    fn shrink(&mut self) {
        while self.entries.len() > CALLS_MAX || self.body_bytes > BODY_BYTES_MAX {
            let Some(entry) = self.entries.pop_front() else { return };
            self.body_bytes -= entry.body_bytes;
        }
    }
}

/// Tells the log how a call ended. Dropped before it could say so, it says that the client left:
/// whatever waits for a client is dropped with its connection.
pub(crate) struct Watch {
    number: u64,
    log: Option<Arc<CallLog>>,
}

impl Watch {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The first word counts.
    pub(crate) fn end(&mut self, finished: Finished) {
        if let Some(log) = self.log.take() {
            log.end(self.number, finished);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end(Finished::ClientLeft);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(body_bytes: usize) -> Entry {
        let call = Call {
            number: 0,
            at: Duration::ZERO,
            method: "POST".to_owned(),
            path: "/".to_owned(),
            headers: Vec::new(),
            model: String::new(),
            streamed: false,
            authorization: false,
            body: Value::Null,
            finished: None,
        };
        Entry { call, headers: HeaderMap::new(), body: Arc::default(), body_bytes }
    }

    #[test]
    fn the_log_keeps_the_last_calls_and_counts_all() {
        let log = Arc::new(CallLog::default());
        let mut first = log.begin(entry(0));
        let mut last = first.number();
        for _ in 0..CALLS_MAX {
            last = log.begin(entry(0)).number();
        }
        first.end(Finished::Completed);
        let calls = log.calls();
        assert_eq!((calls.len(), log.count()), (CALLS_MAX, CALLS_MAX as u64 + 1));
        assert_eq!((calls[0].number, calls[CALLS_MAX - 1].number), (2, last));
        assert!(calls.iter().all(|call| call.finished == Some(Finished::ClientLeft)));
    }

    #[test]
    fn large_bodies_push_out_the_oldest() {
        let log = Arc::new(CallLog::default());
        let watches: Vec<Watch> = (0..5).map(|_| log.begin(entry(BODY_BYTES_MAX / 2))).collect();
        assert_eq!(log.calls().iter().map(|call| call.number).collect::<Vec<_>>(), [4, 5]);
        drop(watches);
    }

    #[test]
    fn a_call_that_was_forgotten_ends_in_silence() {
        let log = Arc::new(CallLog::default());
        let mut old = log.begin(entry(1));
        log.clear();
        let mut new = log.begin(entry(1));
        old.end(Finished::Faulted);
        assert_eq!((log.calls()[0].finished, log.lock().ended), (None, 0));
        new.end(Finished::Completed);
        new.end(Finished::Faulted);
        assert_eq!((log.calls()[0].finished, log.lock().ended), (Some(Finished::Completed), 1));
    }
}
