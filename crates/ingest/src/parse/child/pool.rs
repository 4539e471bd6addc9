//! The children: started ahead, handed out one document at a time, replaced when they are used up.
//!
//! One thread starts them all and lives as long as the pool does, since a child ends with the
//! thread that started it. Nothing else is done there, so a slow start holds up no document that has
//! a child.

use super::ParseLimits;
use super::frame::Start;
use super::process::{Ended, Fault, Memory, Process};
use super::sandbox::Sandbox;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// Documents that one child parses: enough to make its start cheap, few enough that nothing grows.
const DOCUMENTS_MAX: u32 = 64;
/// Share of its memory that a child may keep from one document to the next: what is left must be
/// nearly all, or a document's end would depend on those before it.
const KEPT_SHARE: u64 = 16;
/// How long a child may take until it is ready for its first document.
const START_TIME: Duration = Duration::from_secs(10);
/// Longest report of a child that is ready, in bytes.
const READY_BYTES_MAX: u64 = 4096;

/// What is started, and how often.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) limits: ParseLimits,
    /// Children at a time.
    pub(super) children: usize,
}

/// A child that is ready for a document.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) process: Process,
    pub(super) sandbox: Sandbox,
    documents: u32,
    mapped_at_start: u64,
}

impl Worker {
    fn start(plan: &Plan) -> Result<Self, String> {
        let mut process = Process::start(&plan.program, &plan.arguments).map_err(|error| error.to_string())?;
        match greet(&mut process, &plan.limits) {
            Ok(sandbox) => {
                let mapped_at_start = process.memory().mapped;
                Ok(Self { process, sandbox, documents: 0, mapped_at_start })
            }
            Err(fault) => Err(refusal(fault, process.end())),
        }
    }

    /// Whether it is as good as a new one after another document.
    fn is_fresh(&self, memory: Memory, plan: &Plan) -> bool {
        let grown = memory.mapped.saturating_sub(self.mapped_at_start);
        // zero: the kernel didn't say
        memory.mapped > 0 && self.documents < DOCUMENTS_MAX && grown <= plan.limits.memory_bytes_max / KEPT_SHARE
    }
}

fn greet(process: &mut Process, limits: &ParseLimits) -> Result<Sandbox, Fault> {
    let deadline = Instant::now() + START_TIME;
    let ParseLimits { memory_bytes_max, output_bytes_max, timeout_ms } = *limits;
    process.send(&[&Start { memory_bytes_max, output_bytes_max, timeout_ms }.encode()], deadline)?;
    let report = process.receive(READY_BYTES_MAX, deadline)?;
    serde_json::from_slice(&report).map_err(|error| Fault::Io(error.into()))
}

fn refusal(fault: Fault, ended: io::Result<Ended>) -> String {
    match (fault, ended) {
        (Fault::Gone, Ok(Ended { how, stderr })) => format!("{how} {stderr}").trim().to_owned(),
        (Fault::Late, _) => format!("it was not ready after {} s", START_TIME.as_secs()),
        (Fault::Io(error), _) | (_, Err(error)) => error.to_string(),
        (Fault::TooLong, _) => "it does not speak the protocol".to_owned(),
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pool {
    shared: Arc<Shared>,
    supervisor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    plan: Plan,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<Worker>,
    /// Children that are idle, at work, or being started.
    alive: usize,
    /// Why the last start failed. There is no other until somebody asks for a child.
    failure: Option<String>,
    was_sandbox_said: bool,
    is_closing: bool,
}

impl Pool {
    /// Begins to start children; the first ones may not be ready yet on return.
    pub(super) fn start(plan: Plan) -> io::Result<Self> {
        let shared = Arc::new(Shared { plan, state: Mutex::default(), changed: Condvar::new() });
        let supervised = Arc::clone(&shared);
        let supervisor = Builder::new().name("parse-supervisor".to_owned()).spawn(move || supervised.supervise())?;
        Ok(Self { shared, supervisor: Some(supervisor) })
    }

    /// A child of one's own, as soon as there is one.
    ///
    /// # Errors
    /// Why no child can be started.
    pub(super) fn take(&self) -> Result<Lease<'_>, String> {
        let mut state = self.shared.lock();
        // An old failure says nothing about now: have it tried again.
        state.failure = None;
        self.shared.changed.notify_all();
        loop {
            if let Some(mut worker) = state.idle.pop() {
                if worker.process.is_running() {
                    return Ok(Lease::of(&self.shared, worker));
                }
                state.alive -= 1;
                self.shared.changed.notify_all();
                continue;
            }
            if let Some(reason) = state.failure.take() {
                self.shared.changed.notify_all();
                return Err(reason);
            }
            state = self.shared.wait(state);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().is_closing = true;
        self.shared.changed.notify_all();
        if self.supervisor.take().is_some_and(|supervisor| supervisor.join().is_err()) {
            tracing::error!("the thread that starts parsers had panicked");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn supervise(&self) {
        while self.is_one_wanted() {
            let started = Worker::start(&self.plan);
            self.welcome(started);
        }
        self.lock().idle.clear();
    }

    /// Waits until a child is missing and counts it in; false when the pool closes.
    fn is_one_wanted(&self) -> bool {
        let mut state = self.lock();
        while !state.is_closing && (state.failure.is_some() || state.alive >= self.plan.children) {
            state = self.wait(state);
        }
        state.alive += 1;
        !state.is_closing
    }

    fn welcome(&self, started: Result<Worker, String>) {
        let mut state = self.lock();
        match started {
            Ok(worker) => {
                if !std::mem::replace(&mut state.was_sandbox_said, true) {
                    tracing::info!("parse sandbox: {}", worker.sandbox);
                }
                state.idle.push(worker);
            }
            Err(reason) => {
                tracing::warn!(%reason, "a parser could not be started");
                state.alive -= 1;
                state.failure = Some(reason);
            }
        }
        self.changed.notify_all();
    }
}

/// A child that parses one document. It is killed and replaced unless it is given back.
#[derive(Debug)]
pub(super) struct Lease<'p> {
    shared: &'p Shared,
    /// `None` once it is given back or ended.
    worker: Option<Worker>,
    is_given_back: bool,
}

impl<'p> Lease<'p> {
    fn of(shared: &'p Shared, worker: Worker) -> Self {
        Self { shared, worker: Some(worker), is_given_back: false }
    }

    /// The child.
    pub(super) fn worker(&mut self) -> Option<&mut Worker> {
        self.worker.as_mut()
    }

    /// After a document that went as it should: the child stays if it is still as good as new.
    pub(super) fn give_back(mut self) {
        let Some(mut worker) = self.worker.take() else { return };
        worker.documents += 1;
        worker.process.forget_words();
        let memory = worker.process.memory();
        tracing::debug!(mapped = memory.mapped, resident_peak = memory.resident_peak, documents = worker.documents, "a document is parsed");
        if worker.is_fresh(memory, &self.shared.plan) {
            self.shared.lock().idle.push(worker);
            self.shared.changed.notify_all();
            self.is_given_back = true;
        }
    }

    /// Ends the child; how it went.
    pub(super) fn end(mut self) -> io::Result<Ended> {
        self.worker.take().map_or_else(|| Err(io::ErrorKind::NotFound.into()), |worker| worker.process.end())
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        // reaped before another is started in its place
        drop(self.worker.take());
        if !self.is_given_back {
            self.shared.lock().alive -= 1;
            self.shared.changed.notify_all();
        }
    }
}
