//! The thread that feeds the encoder, which runs on a pool of its own and never on a caller's thread.
//!
//! Invariants: one pass at a time, and only from here; every text that was
//! taken is answered or, after [`Worker::close`], its channel is closed; a panic in the encoder
//! fails the texts of its pass and nothing else; dropping the worker waits for the pass under way.

use crate::queue::{Answer, Queue, Waiting};
use crate::tokenizer::Tokens;
use corpus::EmbedError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Shortest and longest wait that a full queue proposes.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// Counters since start, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Statistics {
    /// Texts that went into a pass.
    pub texts: u64,
    /// Their tokens, as far as the model read them.
    pub tokens: u64,
    /// Texts that lost their end.
    pub truncated: u64,
    /// Forward passes.
    pub forwards: u64,
    /// Time spent in forward passes, in seconds.
    pub busy_seconds: f64,
    /// Texts that wait now.
    pub waiting: usize,
}

/// What one pass gives: a vector a text, or why there are none.
type Encoded = Result<Vec<Vec<f32>>, String>;

/// Starts, feeds and ends the thread.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    texts: AtomicU64,
    tokens: AtomicU64,
    truncated: AtomicU64,
    forwards: AtomicU64,
    busy_nanoseconds: AtomicU64,
}

struct State {
    queue: Queue,
    is_closed: bool,
}

impl Worker {
    /// Starts the thread `name`. `encode` gets the texts of one pass and gives a vector for each.
    pub(crate) fn start<F>(name: &str, queue: Queue, encode: F) -> std::io::Result<Self>
    where
        F: Fn(&[&Tokens]) -> Encoded + Send + 'static,
    {
        let shared = Arc::new(Shared {
            state: Mutex::new(State { queue, is_closed: false }),
            wake: Condvar::new(),
            texts: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
            truncated: AtomicU64::new(0),
            forwards: AtomicU64::new(0),
            busy_nanoseconds: AtomicU64::new(0),
        });
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.run(&encode)
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Vectors for `count` texts, which come in `turns`, in their order. Each turn may be encoded while the next is
    /// made. Blocks until all vectors are there; an error of a turn is an error of the whole.
    pub(crate) fn encode<T>(&self, count: usize, turns: T) -> Result<Vec<Vec<f32>>, EmbedError>
    where
        T: Iterator<Item = Result<Vec<Tokens>, String>>,
    {
        let mut vectors = vec![Vec::new(); count];
        let (reply, answers) = channel::<Answer>();
        let mut room = self.shared.reserve(count)?;
        let mut places = 0..count;
        for turn in turns {
            let waiting = turn.map_err(EmbedError::Failed)?.into_iter().zip(places.by_ref());
            let waiting: Vec<Waiting> = waiting.map(|(tokens, place)| Waiting { tokens, place, reply: reply.clone() }).collect();
            room.fill(waiting)?;
        }
        drop(reply);
        for _ in 0..count {
            let (place, answer) = answers.recv().map_err(|_| EmbedError::Closed)?;
            if let Some(vector) = vectors.get_mut(place) {
                *vector = answer.map_err(EmbedError::Failed)?;
            }
        }
        Ok(vectors)
    }

    /// Takes nothing more and drops what waits; the pass under way still answers.
    pub(crate) fn close(&self) {
        let mut state = self.shared.lock();
        state.is_closed = true;
        state.queue.clear();
        self.shared.wake.notify_all();
    }

    /// The counters now.
    pub(crate) fn statistics(&self) -> Statistics {
        let shared = &self.shared;
        Statistics {
            texts: shared.texts.load(Relaxed),
            tokens: shared.tokens.load(Relaxed),
            truncated: shared.truncated.load(Relaxed),
            forwards: shared.forwards.load(Relaxed),
            busy_seconds: Duration::from_nanos(shared.busy_nanoseconds.load(Relaxed)).as_secs_f64(),
            waiting: shared.lock().queue.len(),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.close();
        if let Some(thread) = self.thread.take() {
            // The thread catches panics of the encoder, and has none of its own to report.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn reserve(&self, texts: usize) -> Result<Room<'_>, EmbedError> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(EmbedError::Closed);
        }
        state.queue.reserve(texts).map_err(|tokens_ahead| EmbedError::Busy { retry_after: self.retry_after(tokens_ahead) })?;
        Ok(Room { shared: self, texts })
    }

    fn run(&self, encode: &dyn Fn(&[&Tokens]) -> Encoded) {
        while let Some(pass) = self.next_pass() {
            let texts: Vec<&Tokens> = pass.iter().map(|text| &text.tokens).collect();
            let start = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(|| encode(&texts))).unwrap_or_else(|_| Err("the encoder panicked".to_owned()));
            self.count(&pass, start.elapsed());
            answer(pass, outcome);
        }
    }

    /// Waits for texts; `None` after close.
    fn next_pass(&self) -> Option<Vec<Waiting>> {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return None;
            }
            let pass = state.queue.next_pass();
            if !pass.is_empty() {
                return Some(pass);
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn count(&self, pass: &[Waiting], elapsed: Duration) {
        let tokens: usize = pass.iter().map(|text| text.tokens.ids.len()).sum();
        let truncated = pass.iter().filter(|text| text.tokens.is_truncated()).count();
        self.texts.fetch_add(pass.len() as u64, Relaxed);
        self.tokens.fetch_add(tokens as u64, Relaxed);
        self.truncated.fetch_add(truncated as u64, Relaxed);
        self.forwards.fetch_add(1, Relaxed);
        self.busy_nanoseconds.fetch_add(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// The time that `tokens_ahead` will take at the speed seen so far.
    fn retry_after(&self, tokens_ahead: usize) -> Duration {
        let per_token = self.busy_nanoseconds.load(Relaxed) / self.tokens.load(Relaxed).max(1);
        Duration::from_nanos(per_token.saturating_mul(tokens_ahead as u64)).clamp(RETRY_AFTER.0, RETRY_AFTER.1)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Places of the queue that are kept for a request until its texts come.
struct Room<'a> {
    shared: &'a Shared,
    texts: usize,
}

impl Room<'_> {
    fn fill(&mut self, texts: Vec<Waiting>) -> Result<(), EmbedError> {
        let mut state = self.shared.lock();
        if state.is_closed {
            return Err(EmbedError::Closed);
        }
        self.texts = self.texts.saturating_sub(texts.len());
        state.queue.push(texts);
        self.shared.wake.notify_one();
        Ok(())
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.shared.lock().queue.release(self.texts);
    }
}

/// Sends each text its vector. A caller that went away is not an error.
fn answer(pass: Vec<Waiting>, outcome: Encoded) {
    match outcome {
        Ok(vectors) => {
            for (text, vector) in pass.into_iter().zip(vectors) {
                let _ = text.reply.send((text.place, Ok(vector)));
            }
        }
        Err(fault) => {
            for text in pass {
                let _ = text.reply.send((text.place, Err(fault.clone())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::iter::once;
    use std::sync::mpsc::{Receiver, Sender, SyncSender, sync_channel};

    fn tokens(ids: &[u32]) -> Tokens {
        Tokens::single(ids.to_vec(), ids.len())
    }

    /// An encoder whose passes report their first ids and then wait to be let through.
    fn gated(capacity: usize) -> (Arc<Worker>, Receiver<Vec<u32>>, Sender<()>) {
        let (started, passes): (SyncSender<Vec<u32>>, _) = sync_channel(16);
        let (gate, opened) = channel();
        let opened = Mutex::new(opened);
        let worker = Worker::start("embed", Queue::new(capacity, 4), move |texts| {
            started.send(texts.iter().map(|tokens| tokens.ids[0]).collect()).unwrap();
            opened.lock().unwrap().recv().unwrap();
            Ok(texts.iter().map(|tokens| vec![tokens.ids[0] as f32]).collect())
        });
        (Arc::new(worker.unwrap()), passes, gate)
    }

    fn in_background(worker: &Arc<Worker>, ids: &[u32]) -> JoinHandle<Result<Vec<Vec<f32>>, EmbedError>> {
        let worker = Arc::clone(worker);
        let texts: Vec<Tokens> = ids.iter().map(|id| tokens(&[*id, 0])).collect();
        std::thread::spawn(move || worker.encode(texts.len(), once(Ok(texts))))
    }

    fn wait_for(worker: &Worker, holds: impl Fn(Statistics) -> bool) {
        while !holds(worker.statistics()) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn passes_keep_their_order_and_a_full_queue_says_busy() {
        let (worker, passes, gate) = gated(4);
        let many = in_background(&worker, &[1, 2, 3, 4, 5, 6]);
        assert_eq!(passes.recv().unwrap(), [1, 2]);
        let refused = worker.encode(1, once(Ok(vec![tokens(&[9])])));
        assert!(matches!(refused, Err(EmbedError::Busy { retry_after }) if retry_after >= RETRY_AFTER.0));
        (0..3).for_each(|_| gate.send(()).unwrap());
        assert_eq!(many.join().unwrap().unwrap(), [[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]]);
        assert_eq!(passes.iter().take(2).collect::<Vec<_>>(), [vec![3, 4], vec![5, 6]]);
        let now = worker.statistics();
        assert_eq!((now.texts, now.tokens, now.forwards, now.truncated), (6, 12, 3, 0));
    }

    #[test]
    fn after_close_waiting_and_new_callers_are_told() {
        let (worker, passes, gate) = gated(4);
        let under_way = in_background(&worker, &[1]);
        passes.recv().unwrap();
        let waiting = in_background(&worker, &[2]);
        wait_for(&worker, |now| now.waiting == 1);
        worker.close();
        assert!(matches!(waiting.join().unwrap(), Err(EmbedError::Closed)));
        assert!(matches!(worker.encode(1, once(Ok(vec![tokens(&[3])]))), Err(EmbedError::Closed)));
        gate.send(()).unwrap();
        assert_eq!(under_way.join().unwrap().unwrap(), [[1.0]]);
    }

    #[test]
    fn a_panic_or_an_error_fails_its_pass_and_the_worker_goes_on() {
        let worker = Worker::start("embed", Queue::new(4, 100), |texts| match texts[0].ids[0] {
            0 => panic!("on purpose"),
            1 => Err("scripted".to_owned()),
            _ => Ok(vec![vec![1.0]]),
        });
        let worker = worker.unwrap();
        let outcome = |id| worker.encode(1, once(Ok(vec![tokens(&[id])])));
        assert!(matches!(outcome(0), Err(EmbedError::Failed(fault)) if fault.contains("panicked")));
        assert!(matches!(outcome(1), Err(EmbedError::Failed(fault)) if fault == "scripted"));
        assert_eq!(outcome(2).unwrap(), [[1.0]]);
    }
}
