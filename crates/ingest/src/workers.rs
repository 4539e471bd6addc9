//! The workers: threads that take jobs ([`waiting`] says which is next). The queue in memory only names jobs;
//! the durable ones are in the store, and what was unfinished at start is taken up again.

mod waiting;

use crate::parse::Parser;
use crate::pipeline::{IngestError, Pipeline};
use crate::progress::{Flag, JobProgress, Progress, Stage};
use corpus::{EmbedError, Embedder, JobId, TenantId, Waiter};
use index::records::JobRecord;
use index::store::StoreError;
use index::{Admitted, Catalog, CatalogError};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use waiting::{Ticket, WaitingJobs};

/// Times a job is begun before it is given up: only a crash of the whole server leaves one begun.
const ATTEMPTS_MAX: u32 = 3;

/// What an operator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IngestParams {
    /// Documents processed at a time.
    pub workers: usize,
    /// Documents that may wait; uploads beyond are refused.
    pub queued_max: usize,
}

/// See the module.
pub struct Ingest {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What becomes of a job that a worker had.
enum Outcome {
    /// Nothing more will happen to it before the next start.
    Ended,
    /// It waits again.
    Again,
    /// It waits until somebody brings money, which this says; so do all of its tenant.
    Unpaid(String),
}

/// Before a job is tried again that failed for a reason outside its document.
const PAUSE: Duration = Duration::from_secs(2);
/// Until it is looked whether a tenant whose money is spent has some again.
const UNPAID: Duration = Duration::from_secs(10);
/// For calls at a provider to be left and paid at the end.
const LEAVING: Duration = Duration::from_millis(500);

struct Shared {
    pipeline: Pipeline,
    queued_max: usize,
    board: Mutex<Board>,
    work: Condvar,
    stopping: Arc<Flag>,
}

#[derive(Default)]
struct Board {
    waiting: WaitingJobs,
    /// Jobs were found that the queue had no room for: they are in the store only.
    has_left_some: bool,
    live: HashMap<JobId, Live>,
}

impl Board {
    fn push(&mut self, ticket: Ticket) {
        if self.live.contains_key(&ticket.job) {
            return;
        }
        let (progress, _) = watch::channel(JobProgress::at(Stage::Queued));
        self.live.insert(ticket.job.clone(), Live { cancelled: Arc::default(), progress, waiter: Waiter::default() });
        self.waiting.push(ticket);
    }

    /// As far as there is room; the rest is remembered to be in the store.
    fn push_within(&mut self, queued_max: usize, ticket: Ticket) {
        if self.waiting.len() < queued_max {
            self.push(ticket);
        } else {
            self.has_left_some |= !self.live.contains_key(&ticket.job);
        }
    }
}

struct Live {
    cancelled: Arc<Flag>,
    progress: watch::Sender<JobProgress>,
    /// Ends a call at a provider with the job.
    waiter: Waiter,
}

impl Ingest {
    /// Removes what a crash left half-written, queues unfinished jobs and starts the workers.
    ///
    /// # Errors
    /// A store error, or no thread to be had.
    pub fn start(
        catalog: Arc<Catalog>,
        parser: Arc<dyn Parser>,
        embedder: Arc<dyn Embedder>,
        params: IngestParams,
    ) -> Result<Self, CatalogError> {
        let (staged, deleted) = (catalog.remove_staged()?, catalog.finish_deletions()?);
        let unfinished = catalog.unfinished_jobs()?;
        if !unfinished.is_empty() || staged + deleted > 0 {
            tracing::info!(jobs = unfinished.len(), staged, deleted, "taking up what was not finished");
        }
        let shared = Arc::new(Shared {
            pipeline: Pipeline { catalog, parser, embedder, texts_embedded: AtomicU64::new(0) },
            queued_max: params.queued_max.max(1),
            board: Mutex::default(),
            work: Condvar::new(),
            stopping: Arc::default(),
        });
        let ingest = Self { shared, threads: Mutex::default() };
        for job in unfinished {
            lock(&ingest.shared.board).push_within(ingest.shared.queued_max, Ticket::from(&job));
        }
        let mut threads = lock(&ingest.threads);
        for number in 0..params.workers.max(1) {
            let shared = Arc::clone(&ingest.shared);
            let thread = std::thread::Builder::new().name(format!("ingest-{number}")).spawn(move || shared.run());
            threads.push(thread.map_err(|error| CatalogError::Blob(error.into()))?);
        }
        drop(threads);
        Ok(ingest)
    }

    /// Whether so many more documents may wait. None may while files from inside others wait for room.
    #[must_use]
    pub fn has_room_for(&self, documents: usize) -> bool {
        let board = lock(&self.shared.board);
        !board.has_left_some && board.waiting.len() + documents <= self.shared.queued_max
    }

    /// Documents that wait or are worked on.
    #[must_use]
    pub fn backlog(&self) -> usize {
        lock(&self.shared.board).live.len()
    }

    /// Texts that went through the embedding model for documents, since the start.
    #[must_use]
    pub fn texts_embedded(&self) -> u64 {
        self.shared.pipeline.texts_embedded.load(Ordering::Relaxed)
    }

    /// Queues the durable job of an upload. One that is queued or running already is left as it is.
    pub fn enqueue(&self, tenant: &TenantId, job: &JobId) {
        lock(&self.shared.board).push(Ticket { tenant: tenant.clone(), is_inside: false, job: job.clone() });
        self.shared.work.notify_one();
    }

    /// How a live job is getting on; `None` once it has ended. The channel closes when it ends.
    #[must_use]
    pub fn watch(&self, job: &JobId) -> Option<watch::Receiver<JobProgress>> {
        lock(&self.shared.board).live.get(job).map(|live| live.progress.subscribe())
    }

    /// Ends a job on request: at once if it waits, at its next step if it runs; durable on return.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub fn cancel(&self, tenant: &TenantId, job: &JobId) -> Result<JobRecord, CatalogError> {
        let record = self.shared.pipeline.catalog.cancel_job(tenant, job)?;
        self.forget(job);
        Ok(record)
    }

    /// Tells a live job that its document was deleted or replaced.
    pub fn forget(&self, job: &JobId) {
        if let Some(live) = lock(&self.shared.board).live.get_mut(job) {
            live.cancelled.raise();
            live.waiter = Waiter::default();
        }
    }

    /// Tells the workers to stop after the steps under way, without waiting for them.
    pub fn begin_stopping(&self) {
        self.shared.stopping.raise();
        // A worker between its look at the flag and its wait must not miss the bell.
        drop(lock(&self.shared.board));
        self.shared.work.notify_all();
    }

    /// Stops, and says whether all workers ended within `timeout`: one that parses may take longer. What a provider is
    /// asked then ends, half a second later.
    #[must_use]
    pub fn stop_within(&self, timeout: Duration) -> bool {
        self.begin_stopping();
        if !self.have_ended_within(timeout) {
            lock(&self.shared.board).live.values_mut().for_each(|live| live.waiter = Waiter::default());
            if !self.have_ended_within(LEAVING) {
                return false;
            }
        }
        self.stop();
        true
    }

    fn have_ended_within(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        while lock(&self.threads).iter().any(|thread| !thread.is_finished()) {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// Stops and waits for the workers. What was not finished goes on at the next start.
    pub fn stop(&self) {
        self.begin_stopping();
        for thread in lock(&self.threads).drain(..) {
            if thread.join().is_err() {
                tracing::error!("an ingest worker had panicked; its job goes on at the next start");
            }
        }
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn run(&self) {
        while let Some(ticket) = self.next() {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.work_on(&ticket.tenant, &ticket.job)));
            match outcome.unwrap_or_else(|_| self.blame_panic(&ticket.tenant, &ticket.job)) {
                Outcome::Ended => {
                    lock(&self.board).live.remove(&ticket.job);
                }
                Outcome::Again => {
                    self.stopping.wait(PAUSE);
                    lock(&self.board).waiting.push(ticket);
                }
                Outcome::Unpaid(reason) => {
                    let mut board = lock(&self.board);
                    if let Some(live) = board.live.get(&ticket.job) {
                        live.progress.send_replace(JobProgress { waits_for: Some(reason), ..JobProgress::at(Stage::Queued) });
                    }
                    board.waiting.hold(&ticket.tenant, Instant::now() + UNPAID);
                    board.waiting.push(ticket);
                    drop(board);
                    // Whoever sleeps is to wake when it has a turn again.
                    self.work.notify_all();
                }
            }
        }
    }

    fn blame_panic(&self, tenant: &TenantId, id: &JobId) -> Outcome {
        tracing::error!(job = %id, "processing panicked");
        if let Ok(job) = self.pipeline.catalog.job(tenant, id) {
            self.fail(&job, "internal_error", "processing crashed inside the server; the log has the reason");
        }
        Outcome::Ended
    }

    fn next(&self) -> Option<Ticket> {
        let mut board = lock(&self.board);
        loop {
            if self.stopping.is_raised() {
                return None;
            }
            if board.has_left_some && board.waiting.len() <= self.queued_max / 2 {
                board.has_left_some = false;
                drop(board);
                self.refill();
                board = lock(&self.board);
                continue;
            }
            if let Some(next) = board.waiting.pop(Instant::now()) {
                return Some(next);
            }
            self.pipeline.catalog.show_all();
            board = match board.waiting.held_for(Instant::now()) {
                Some(time) => self.work.wait_timeout(board, time).unwrap_or_else(PoisonError::into_inner).0,
                None => self.work.wait(board).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Queues jobs that are in the store only, oldest first.
    fn refill(&self) {
        match self.pipeline.catalog.unfinished_jobs() {
            Ok(jobs) => {
                let mut board = lock(&self.board);
                jobs.iter().for_each(|job| board.push_within(self.queued_max, Ticket::from(job)));
                self.work.notify_all();
            }
            Err(error) => {
                tracing::error!(%error, "waiting jobs can't be read; they are looked for again");
                self.stopping.wait(PAUSE);
                lock(&self.board).has_left_some = true;
            }
        }
    }

    /// Queues the jobs of what was found inside a document. There may be more of them than the queue
    /// takes, and a worker that waited for room would wait for itself.
    fn enqueue_found(&self, tenant: &TenantId, found: &[Admitted]) {
        let mut board = lock(&self.board);
        // Known ones too: a job that has ended is dropped at once.
        for job in found.iter().filter_map(|one| one.job.as_ref()) {
            board.push_within(self.queued_max, Ticket { tenant: tenant.clone(), is_inside: true, job: job.clone() });
        }
        self.work.notify_all();
    }

    fn work_on(&self, tenant: &TenantId, id: &JobId) -> Outcome {
        let Some(progress) = self.progress(id) else { return Outcome::Ended };
        let job = match self.pipeline.catalog.job(tenant, id) {
            Ok(job) => job,
            Err(CatalogError::NotFound { .. }) => return Outcome::Ended,
            Err(error) => {
                tracing::error!(job = %id, %error, "the job can't be read");
                return Outcome::Again;
            }
        };
        match self.attempt(&job, &progress) {
            Ok(seq) => tracing::debug!(job = %id, document = %job.document, seq, "document committed"),
            Err(IngestError::Cancelled | IngestError::Catalog(CatalogError::Superseded | CatalogError::NotFound { .. })) => {}
            Err(error) => return self.give_up(&job, &error),
        }
        Outcome::Ended
    }

    fn attempt(&self, job: &JobRecord, progress: &Progress) -> Result<u64, IngestError> {
        let job = self.pipeline.catalog.begin_job(job)?;
        if job.attempts > ATTEMPTS_MAX {
            return Err(IngestError::Abandoned { attempts: job.attempts - 1 });
        }
        self.pipeline.ingest(&job, progress, &|found| self.enqueue_found(&job.tenant, found))
    }

    /// Records a failure of the document; a failure around it is tried again.
    fn give_up(&self, job: &JobRecord, error: &IngestError) -> Outcome {
        let Some(code) = error.code() else { return self.put_back(job, error) };
        tracing::info!(job = %job.id, document = %job.document, code, reason = %error, "document failed");
        self.fail(job, code, &error.to_string());
        Outcome::Ended
    }

    fn put_back(&self, job: &JobRecord, error: &IngestError) -> Outcome {
        let again = match error {
            IngestError::Embed(EmbedError::OverBudget { reason, .. }) => Outcome::Unpaid(reason.clone()),
            _ => Outcome::Again,
        };
        match again {
            Outcome::Unpaid(_) => tracing::warn!(job = %job.id, %error, "a document waits for money"),
            _ if matches!(error, IngestError::Stopping) => {}
            _ => tracing::error!(job = %job.id, %error, "processing stopped for a reason outside the document; it is tried again"),
        }
        match self.when_there_is_room(|| self.pipeline.catalog.put_back_job(job)) {
            Ok(()) => again,
            Err(CatalogError::Superseded | CatalogError::NotFound { .. }) => Outcome::Ended,
            Err(error) => {
                tracing::error!(job = %job.id, %error, "the job goes on at the next start");
                Outcome::Ended
            }
        }
    }

    fn fail(&self, job: &JobRecord, code: &str, reason: &str) {
        if let Err(error) = self.when_there_is_room(|| self.pipeline.catalog.fail_job(job, code, reason)) {
            tracing::error!(job = %job.id, %error, "the failure could not be recorded; the job is tried again at the next start");
        }
    }

    /// Room comes back by itself when somebody frees it; until then this worker could do nothing else.
    fn when_there_is_room(&self, commit: impl Fn() -> Result<(), CatalogError>) -> Result<(), CatalogError> {
        loop {
            match commit() {
                Err(CatalogError::Store(StoreError::Full { .. })) if !self.stopping.is_raised() => self.stopping.wait(PAUSE),
                outcome => return outcome,
            }
        }
    }

    fn progress(&self, id: &JobId) -> Option<Progress> {
        let board = lock(&self.board);
        let live = board.live.get(id)?;
        Some(Progress::new(Arc::clone(&live.cancelled), Arc::clone(&self.stopping), live.progress.clone(), live.waiter.wanted()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
