//! Calls that have one answer, to one deployment: what stands around a chat model, around a closure.
//!
//! A place, its rest, its breaker, the limits of what it may be asked; and around them the tries, within one deadline. A try has a limit of its own. Whoever leaves ends the call.

use super::breaker::{BreakerParams, Switch};
use super::concurrency::Places;
use super::rate::{Meters, RateParams};
use super::rest::{Pause, TAKEN_OUT};
use crate::routing::{RetryBudget, RetryParams, Tries};
use crate::{ChatError, Stage, Verdict};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How a deployment is called.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CallParams {
    /// For one try, from connecting to the last byte. Default 30 s.
    pub try_timeout: Duration,
    /// For all tries of a call and the waits between them. Default 90 s.
    pub total_timeout: Duration,
    /// Calls at a time. Default 16.
    pub concurrent_max: usize,
    /// How long a call waits for a place. Default 10 s.
    pub patience: Duration,
    /// What it may be asked in a minute. Default: no limits.
    pub rate: RateParams,
    /// How long it is left alone when it refuses the key, the address or the account. Default 60 s.
    pub rest: Duration,
    /// How it is tried again.
    pub retry: RetryParams,
    /// Retries for each call that is made. Default 0.2.
    pub retry_share: f64,
    /// When it is left alone.
    pub breaker: BreakerParams,
}

impl Default for CallParams {
    fn default() -> Self {
        Self {
            try_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(90),
            concurrent_max: 16,
            patience: Duration::from_secs(10),
            rate: RateParams::default(),
            rest: TAKEN_OUT,
            retry: RetryParams::default(),
            retry_share: 0.2,
            breaker: BreakerParams::default(),
        }
    }
}

/// What stands around the calls of one deployment.
pub(crate) struct Guarded {
    name: String,
    params: CallParams,
    meters: Meters,
    places: Places,
    pause: Pause,
    switch: Switch,
    budget: RetryBudget,
}

impl Guarded {
    pub(crate) fn new(name: impl Into<String>, params: CallParams) -> Self {
        Self {
            name: name.into(),
            meters: Meters::new(params.rate),
            places: Places::new(params.concurrent_max, params.patience),
            pause: Pause::new(params.rest),
            switch: Switch::new(params.breaker),
            budget: RetryBudget::new(params.retry_share),
            params,
        }
    }

    /// What `ask` answers, which may be asked more than once. `tokens` are those of one try, at most.
    pub(crate) async fn call<T, F>(&self, tokens: u64, ask: impl Fn() -> F) -> Result<T, ChatError>
    where
        F: Future<Output = Result<T, ChatError>>,
    {
        let limit = self.params.total_timeout;
        let deadline = Instant::now() + limit;
        let answer = timeout_at(deadline, self.tries(tokens, deadline, ask)).await;
        answer.unwrap_or(Err(ChatError::Timeout { stage: Stage::Total, limit }))
    }

    async fn tries<T, F>(&self, tokens: u64, deadline: Instant, ask: impl Fn() -> F) -> Result<T, ChatError>
    where
        F: Future<Output = Result<T, ChatError>>,
    {
        self.budget.earn();
        let mut tries = Tries::new(&self.params.retry, &self.budget, Some(deadline));
        loop {
            let error = match self.once(tokens, &ask).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            tries.failed(&error);
            let passes = error.verdict() == Verdict::Passing;
            match passes.then(|| tries.wait(&error, self.ready_in())).filter(|wait| tries.may_wait(*wait)) {
                Some(wait) => sleep(wait).await,
                None => return Err(error),
            }
        }
    }

    async fn once<T, F>(&self, tokens: u64, ask: impl Fn() -> F) -> Result<T, ChatError>
    where
        F: Future<Output = Result<T, ChatError>>,
    {
        let _place = self.places.enter(&self.name).await?;
        self.pause.check(&self.name)?;
        let mut call = self.switch.enter(&self.name)?;
        // Last: what it grants can't be given back.
        self.meters.take(&self.name, tokens)?;
        let limit = self.params.try_timeout;
        let answer = timeout(limit, ask()).await.unwrap_or(Err(ChatError::Timeout { stage: Stage::Answer, limit }));
        match &answer {
            Ok(_) => call.succeeded(),
            Err(error) => {
                call.failed(error);
                self.pause.heed(error);
            }
        }
        answer
    }

    fn ready_in(&self) -> Duration {
        self.meters.ready_in().max(self.pause.left()).max(self.switch.ready_in())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn status(status: u16, retry_after: Option<u64>) -> ChatError {
        ChatError::Status { status, retry_after: retry_after.map(Duration::from_secs), message: String::new() }
    }

    /// The outcome of a call whose tries end like this, and how many there were.
    async fn call(guarded: &Guarded, outcomes: Vec<Result<u8, ChatError>>) -> (Result<u8, ChatError>, usize) {
        let (outcomes, asked) = (Mutex::new(outcomes.into_iter()), AtomicUsize::new(0));
        let ask = || async {
            asked.fetch_add(1, Ordering::Relaxed);
            outcomes.lock().unwrap().next().expect("asked once more")
        };
        let answer = guarded.call(100, ask).await;
        (answer, asked.load(Ordering::Relaxed))
    }

    fn guarded(params: CallParams) -> Guarded {
        Guarded::new("g", params)
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_tried_again_as_long_as_there_is_time() {
        let guard = guarded(CallParams::default());
        assert_eq!(call(&guard, vec![Err(status(500, None)), Err(status(429, Some(3))), Ok(1)]).await, (Ok(1), 3));
        let began = Instant::now();
        let (answer, asked) = call(&guard, vec![Err(status(503, Some(60)))]).await;
        assert_eq!((answer, asked, began.elapsed()), (Err(status(503, Some(60))), 1, Duration::ZERO), "nobody waits for a minute");
        let (answer, asked) = call(&guard, vec![]).await;
        assert_eq!((answer.unwrap_err().retry_after(), asked), (Some(Duration::from_secs(60)), 0), "and it is left alone until then");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wrong_key_rests_it_and_a_bad_request_does_not() {
        let guard = guarded(CallParams::default());
        assert_eq!(call(&guard, vec![Err(status(400, None))]).await.1, 1);
        assert_eq!(call(&guard, vec![Err(status(401, None))]).await.1, 1);
        assert!(matches!(call(&guard, vec![]).await, (Err(ChatError::Unavailable { .. }), 0)));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(call(&guard, vec![Ok(1)]).await, (Ok(1), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn five_failures_open_the_breaker_and_one_probe_closes_it() {
        let guard = guarded(CallParams { retry: RetryParams { tries_max: 1, ..RetryParams::default() }, ..CallParams::default() });
        for _ in 0..5 {
            assert_eq!(call(&guard, vec![Err(status(500, None))]).await.1, 1);
        }
        assert_eq!(call(&guard, vec![]).await.0.unwrap_err().retry_after(), Some(Duration::from_secs(10)));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(call(&guard, vec![Ok(1)]).await.1, 1);
        assert_eq!(call(&guard, vec![Ok(1)]).await.1, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_and_a_call_have_their_time() {
        let guard = guarded(CallParams { total_timeout: Duration::from_secs(70), ..CallParams::default() });
        let asked = AtomicUsize::new(0);
        let (began, never) = (Instant::now(), || async {
            asked.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<Result<u8, ChatError>>().await
        });
        let error = guard.call(1, never).await.unwrap_err();
        assert_eq!(error, ChatError::Timeout { stage: Stage::Total, limit: Duration::from_secs(70) });
        assert_eq!((asked.load(Ordering::Relaxed), began.elapsed()), (3, Duration::from_secs(70)), "the third has the rest");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_have_places_and_limits() {
        let rate = RateParams { requests_per_minute: Some(2), tokens_per_minute: None };
        let limited = guarded(CallParams { rate, ..CallParams::default() });
        assert_eq!((call(&limited, vec![Ok(1)]).await.1, call(&limited, vec![Ok(1)]).await.1), (1, 1));
        let (refused, asked) = call(&limited, vec![]).await;
        assert_eq!((refused.unwrap_err().retry_after(), asked), (Some(Duration::from_secs(30)), 0));
        let narrow = guarded(CallParams { concurrent_max: 1, ..CallParams::default() });
        let slow = || async {
            sleep(Duration::from_secs(20)).await;
            Ok(1)
        };
        let (first, second) = tokio::join!(narrow.call(1, slow), narrow.call(1, slow));
        assert!(first.is_ok() && matches!(second, Err(ChatError::Unavailable { .. })), "{second:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn retries_have_a_budget() {
        let breaker = BreakerParams { consecutive: u32::MAX, calls_min: u32::MAX, ..BreakerParams::default() };
        let retry = RetryParams { backoff: Duration::ZERO, ..RetryParams::default() };
        let guard = guarded(CallParams { breaker, retry, ..CallParams::default() });
        let mut asked = 0;
        for _ in 0..20 {
            asked += call(&guard, vec![Err(status(500, None)); 3]).await.1;
        }
        assert!((30..=34).contains(&asked), "20 calls, 10 retries in hand and a fifth of 20: {asked}");
    }
}
