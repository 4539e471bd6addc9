//! What a model is asked for: on whose account, and whether anybody still waits.
//!
//! It goes as a value from whoever asks to whoever sends the call, through everything in between, and never in a
//! variable of a thread: calls hop between threads.

use crate::Account;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// What a model is asked for. By default on nobody's account, and wanted to the end.
#[derive(Debug, Clone, Default)]
pub struct Errand {
    /// Who pays.
    pub account: Arc<Account>,
    /// Whether somebody waits for it.
    pub wanted: Wanted,
}

impl Errand {
    /// On this account, and wanted to the end.
    #[must_use]
    pub fn of(account: Account) -> Self {
        Self { account: Arc::new(account), wanted: Wanted::default() }
    }
}

/// Somebody waits as long as this is there.
#[derive(Debug, Default)]
pub struct Waiter(Wanted);

impl Waiter {
    /// Whether this is still there.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        self.0.clone()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_over = true;
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Whether somebody waits: until a [`Waiter`] is dropped; without one always.
#[derive(Debug, Clone, Default)]
pub struct Wanted(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    is_over: bool,
    /// Of those who want to know, one for each.
    wakers: Vec<Waker>,
}

impl Wanted {
    /// Whether nobody waits any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.lock().is_over
    }

    /// Resolves when nobody waits any more.
    pub fn over(&self) -> impl Future<Output = ()> + '_ {
        std::future::poll_fn(|context| {
            let mut state = self.lock();
            if state.is_over {
                return Poll::Ready(());
            }
            if !state.wakers.iter().any(|known| known.will_wake(context.waker())) {
                state.wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_listens_is_woken_once_when_the_waiter_goes() {
        let (waiter, bell) = (Waiter::default(), Arc::new(Bell::default()));
        let (wanted, waker) = (waiter.wanted(), Waker::from(Arc::clone(&bell)));
        let mut over = pin!(wanted.over());
        let mut context = Context::from_waker(&waker);
        for _ in 0..3 {
            assert!(over.as_mut().poll(&mut context).is_pending());
        }
        drop(waiter);
        assert_eq!(bell.0.load(Ordering::Relaxed), 1);
        assert!(over.as_mut().poll(&mut context).is_ready() && pin!(wanted.over()).poll(&mut context).is_ready());
        assert!(pin!(Errand::default().wanted.over()).poll(&mut context).is_pending());
    }
}
