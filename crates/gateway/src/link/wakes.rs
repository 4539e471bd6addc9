//! Two futures of one task that wake each other, without a round by the scheduler for every wake.

use futures::task::{ArcWake, AtomicWaker, waker};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

/// Rounds without a rest: beyond them others get their turn, and the task its new allowance.
const ROUNDS_MAX: usize = 16;

/// Polls again at once what was woken while it was polled.
pub(super) struct Wakes {
    state: Arc<State>,
    waker: Waker,
}

#[derive(Default)]
struct State {
    task: AtomicWaker,
    is_polled: AtomicBool,
    is_woken: AtomicBool,
}

impl ArcWake for State {
    fn wake_by_ref(this: &Arc<Self>) {
        this.is_woken.store(true, Ordering::SeqCst);
        // Else whoever polls looks after it.
        if !this.is_polled.load(Ordering::SeqCst) {
            this.task.wake();
        }
    }
}

impl Default for Wakes {
    fn default() -> Self {
        let state = Arc::new(State::default());
        Self { waker: waker(Arc::clone(&state)), state }
    }
}

impl Wakes {
    /// Polls until it is ready or nothing woke it. A wake is never lost: one that comes between the last look and the
    /// end finds that nobody polls.
    pub(super) fn poll<T>(&mut self, cx: &mut Context<'_>, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        self.state.task.register(cx.waker());
        let mut inner = Context::from_waker(&self.waker);
        for _ in 0..ROUNDS_MAX {
            self.state.is_polled.store(true, Ordering::SeqCst);
            self.state.is_woken.store(false, Ordering::SeqCst);
            let polled = poll(&mut inner);
            self.state.is_polled.store(false, Ordering::SeqCst);
            if polled.is_ready() {
                return polled;
            }
            if !self.state.is_woken.swap(false, Ordering::SeqCst) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::sync::Mutex;
    use std::time::Duration;

    #[tokio::test]
    async fn a_wake_from_within_polls_again_at_once_and_one_from_without_wakes_the_task() {
        let (mut wakes, mut polls) = (Wakes::default(), 0);
        let outside: Arc<Mutex<Option<Waker>>> = Arc::default();
        let mut turns = 0;
        poll_fn(|cx| {
            turns += 1;
            wakes.poll(cx, |cx| {
                polls += 1;
                match polls {
                    1..=3 => cx.waker().wake_by_ref(),
                    4 => {
                        let waker = cx.waker().clone();
                        std::thread::spawn(move || {
                            std::thread::sleep(Duration::from_millis(20));
                            waker.wake();
                        });
                    }
                    _ => return Poll::Ready(()),
                }
                *outside.lock().unwrap() = Some(cx.waker().clone());
                Poll::Pending
            })
        })
        .await;
        assert_eq!((polls, turns), (5, 2));
        // Nobody polls any more: it reaches a task that is gone, which does no harm.
        outside.lock().unwrap().take().unwrap().wake();
    }

    #[tokio::test]
    async fn who_always_wakes_itself_lets_others_run() {
        let (mut wakes, mut polls) = (Wakes::default(), 0);
        let endless = poll_fn(|cx| {
            wakes.poll(cx, |cx| {
                polls += 1;
                cx.waker().wake_by_ref();
                Poll::<()>::Pending
            })
        });
        assert!(tokio::time::timeout(Duration::from_millis(20), endless).await.is_err());
        assert!(polls > ROUNDS_MAX);
    }
}
