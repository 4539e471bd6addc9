//! Where the threads that share texts wait for each other, once a layer: for microseconds, so they spin before
//! they yield.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Turns of spinning before the processor is left to others: some ten microseconds.
const SPINS: usize = 1000;

/// Lets `threads` threads pass when all have come. A thread that panics breaks it for all.
pub(super) struct Barrier {
    threads: usize,
    waiting: AtomicUsize,
    round: AtomicUsize,
    is_broken: AtomicBool,
}

/// A thread that should have come panicked.
#[derive(Debug)]
pub(super) struct Broken;

/// Breaks the barrier if it is dropped by a panic.
pub(super) struct BreakOnPanic<'a>(pub(super) &'a Barrier);

impl Barrier {
    pub(super) fn new(threads: usize) -> Self {
        Self { threads, waiting: AtomicUsize::new(0), round: AtomicUsize::new(0), is_broken: AtomicBool::new(false) }
    }

    /// Returns when all threads are here; what each did before is seen by all after.
    pub(super) fn wait(&self) -> Result<(), Broken> {
        let round = self.round.load(Ordering::Acquire);
        if self.waiting.fetch_add(1, Ordering::AcqRel) + 1 == self.threads {
            self.waiting.store(0, Ordering::Release);
            self.round.store(round.wrapping_add(1), Ordering::Release);
            return Ok(());
        }
        let mut spins = 0;
        while self.round.load(Ordering::Acquire) == round {
            if self.is_broken.load(Ordering::Acquire) {
                return Err(Broken);
            }
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
        Ok(())
    }
}

impl Drop for BreakOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.is_broken.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn nobody_is_a_round_ahead() {
        let (barrier, sum) = (Barrier::new(3), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for round in 1..=1000 {
                        sum.fetch_add(1, Ordering::Relaxed);
                        barrier.wait().unwrap();
                        assert_eq!(sum.load(Ordering::Relaxed), 3 * round);
                        barrier.wait().unwrap();
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_lets_the_others_go() {
        let barrier = Barrier::new(2);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| barrier.wait());
            let panicking = || {
                let _guard = BreakOnPanic(&barrier);
                panic!("on purpose");
            };
            assert!(catch_unwind(AssertUnwindSafe(panicking)).is_err());
            assert!(waiting.join().unwrap().is_err());
        });
    }
}
