//! How long a peer may keep us waiting. An allowance of time runs down only while it is the peer that
//! is waited for, and what the peer moves refills it, up to the grace it began with. So over any
//! stretch a peer has to keep the least rate, except for one grace; our own slowness is not held
//! against it, and a fast beginning buys no long silence.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// What is asked of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// The longest wait, and the whole allowance.
    pub(crate) grace: Duration,
    /// Bytes that buy one second.
    pub(crate) bytes_per_s: u64,
}

/// The allowance of one peer.
pub(crate) struct Patience {
    pace: Pace,
    left: Duration,
    waiting_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    pub(crate) fn new(pace: Pace) -> Self {
        Self { pace, left: pace.grace, waiting_since: None, timer: None }
    }

    /// The peer moved this many bytes: the wait is over, and they are credited.
    pub(crate) fn moved(&mut self, bytes: usize) {
        if let Some(since) = self.waiting_since.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
        let credit = (bytes as u64).saturating_mul(1000) / self.pace.bytes_per_s.max(1);
        self.left = self.left.saturating_add(Duration::from_millis(credit)).min(self.pace.grace);
    }

    /// To be polled while the peer is waited for: ready when it has used up its allowance.
    pub(crate) fn poll_lost(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let deadline = |since: Instant| since + self.left;
        let timer = match (self.waiting_since, &mut self.timer) {
            (Some(_), Some(timer)) => timer,
            (_, timer) => {
                let now = Instant::now();
                self.waiting_since = Some(now);
                match timer {
                    Some(timer) => timer.as_mut().reset(deadline(now)),
                    None => *timer = Some(Box::pin(tokio::time::sleep_until(deadline(now)))),
                }
                let Some(timer) = timer else { return Poll::Pending };
                timer
            }
        };
        timer.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    fn patience() -> Patience {
        Patience::new(Pace { grace: Duration::from_secs(10), bytes_per_s: 100 })
    }

    async fn waited_for(patience: &mut Patience, seconds: u64) -> bool {
        let lost = poll_fn(|context| patience.poll_lost(context));
        tokio::time::timeout(Duration::from_secs(seconds), lost).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_borne_for_the_grace_only() {
        let began = Instant::now();
        let mut patience = patience();
        poll_fn(|context| patience.poll_lost(context)).await;
        assert_eq!(began.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn one_byte_at_a_time_does_not_last() {
        let mut patience = patience();
        let mut seconds = 0;
        while waited_for(&mut patience, 1).await {
            patience.moved(1);
            seconds += 1;
            assert!(seconds < 60, "a trickle goes on for ever");
        }
        assert!((9..=11).contains(&seconds), "{seconds}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_keeps_the_rate_is_never_cut() {
        let mut patience = patience();
        for _ in 0..100 {
            assert!(waited_for(&mut patience, 2).await);
            patience.moved(201);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_fast_beginning_buys_no_more_than_the_grace_and_our_own_time_is_free() {
        let mut patience = patience();
        patience.moved(1 << 30);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert!(waited_for(&mut patience, 9).await);
        assert!(!waited_for(&mut patience, 2).await);
    }
}
