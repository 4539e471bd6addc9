//! The one thread that writes the ledger: in the order in which things happened, many changes at a time.
//!
//! Whoever must not go on before a change is durable waits for it; everything else is written within [`DELAY`].

use super::books::{Books, BooksError, Changes};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a change waits for others before it is written.
const DELAY: Duration = Duration::from_secs(1);
/// Changes at which nothing waits any longer.
const CHANGES_MAX: usize = 1_000;

type Told = oneshot::Sender<Result<(), BooksError>>;

#[derive(Default)]
struct Waiting {
    changes: Changes,
    told: Vec<Told>,
    is_closed: bool,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    rings: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(books: Arc<dyn Books>) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("ledger".to_owned()).spawn(move || write_all(&theirs, &*books))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Takes changes, to be written soon. A later change of a name takes the place of an earlier one.
    pub(super) fn add(&self, changes: Changes) {
        let mut waiting = self.shared.lock();
        waiting.changes.extend(changes);
        if waiting.changes.len() >= CHANGES_MAX {
            self.shared.rings.notify_one();
        }
    }

    /// Takes changes, to be written at once with all before them; resolves when they are durable.
    pub(super) fn add_now(&self, changes: Changes) -> impl Future<Output = Result<(), BooksError>> + Send + 'static {
        let (tell, told) = oneshot::channel();
        let mut waiting = self.shared.lock();
        // After the end nobody writes: dropping `tell` says so.
        if !waiting.is_closed {
            waiting.changes.extend(changes);
            waiting.told.push(tell);
        }
        drop(waiting);
        self.shared.rings.notify_one();
        async move { told.await.unwrap_or_else(|_| Err(BooksError("it is closed".to_owned()))) }
    }

    /// Writes what waits and ends. Blocking.
    pub(super) fn close(&self) {
        self.shared.lock().is_closed = true;
        self.shared.rings.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that writes the ledger panicked");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

fn write_all(shared: &Shared, books: &dyn Books) {
    loop {
        let waiting = shared.lock();
        let is_idle = |waiting: &mut Waiting| waiting.told.is_empty() && waiting.changes.len() < CHANGES_MAX && !waiting.is_closed;
        let waited = shared.rings.wait_timeout_while(waiting, DELAY, is_idle);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let (changes, told, is_closed) = (std::mem::take(&mut waiting.changes), std::mem::take(&mut waiting.told), waiting.is_closed);
        drop(waiting);
        let outcome = if changes.is_empty() { Ok(()) } else { books.write(&changes) };
        if let Err(error) = &outcome {
            tracing::error!(%error, changes = changes.len(), "what was spent could not be written");
            keep(shared, changes);
        }
        for tell in told {
            // Whoever left meanwhile has no use for it.
            let _ = tell.send(outcome.clone());
        }
        if is_closed {
            break;
        }
        if outcome.is_err() {
            // A disk that is full may have room later; nothing is gained by asking it at once.
            std::thread::sleep(DELAY);
        }
    }
}

/// Takes back what was not written, unless it was replaced meanwhile.
fn keep(shared: &Shared, changes: Changes) {
    let mut waiting = shared.lock();
    for (name, change) in changes {
        waiting.changes.entry(name).or_insert(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spend::books::MemoryBooks;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Fails so many times, then writes to memory.
    struct Failing(AtomicU32, MemoryBooks);

    impl Books for Failing {
        fn write(&self, changes: &Changes) -> Result<(), BooksError> {
            if self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                return Err(BooksError("full".to_owned()));
            }
            self.1.write(changes)
        }

        fn read(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<(String, Vec<u8>)>, BooksError> {
            self.1.read(prefix, after, limit)
        }
    }

    fn change(name: &str, value: u8) -> Changes {
        Changes::from([(name.to_owned(), Some(vec![value]))])
    }

    #[tokio::test]
    async fn what_is_waited_for_is_durable_with_all_before_it() {
        let books = Arc::new(MemoryBooks::default());
        let writer = Writer::start(books.clone()).unwrap();
        writer.add(change("a", 1));
        writer.add_now(change("b", 2)).await.unwrap();
        assert_eq!(books.read("", None, 9).unwrap(), [("a".to_owned(), vec![1]), ("b".to_owned(), vec![2])]);
        writer.add(change("a", 3));
        writer.close();
        assert_eq!(books.read("a", None, 9).unwrap(), [("a".to_owned(), vec![3])], "closing writes what waits");
        assert!(writer.add_now(change("c", 4)).await.is_err(), "nobody writes after the end");
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_told_and_written_later() {
        let books = Arc::new(Failing(AtomicU32::new(1), MemoryBooks::default()));
        let writer = Writer::start(books.clone()).unwrap();
        writer.add(change("a", 1));
        assert!(writer.add_now(change("b", 2)).await.is_err());
        writer.add(change("b", 3));
        writer.close();
        assert_eq!(books.read("", None, 9).unwrap(), [("a".to_owned(), vec![1]), ("b".to_owned(), vec![3])]);
    }
}
