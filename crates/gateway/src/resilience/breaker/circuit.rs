//! The states of a breaker, without a clock of their own.

use super::BreakerParams;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// How a call ended, as a breaker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    Failure,
    /// It says nothing about the deployment.
    Unknown,
}

/// Whether calls are let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// All of them.
    Closed,
    /// None.
    Open,
    /// One, to see.
    HalfOpen,
}

/// The right to one call. What it brings counts only while the circuit is in the spell that it was given in.
#[derive(Debug)]
pub(super) struct Pass {
    spell: u64,
}

enum State {
    Closed,
    Open { until: Instant },
    HalfOpen { is_probing: bool },
}

pub(super) struct Circuit {
    params: BreakerParams,
    state: State,
    /// Counts changes of the state.
    spell: u64,
    /// How long it is open the next time.
    next_open: Duration,
    in_a_row: u32,
    /// Calls and failures by second, oldest first.
    seconds: VecDeque<Second>,
}

struct Second {
    began: Instant,
    calls: u32,
    failures: u32,
}

impl Circuit {
    pub(super) fn new(params: BreakerParams) -> Self {
        Self { next_open: params.open, params, state: State::Closed, spell: 0, in_a_row: 0, seconds: VecDeque::new() }
    }

    pub(super) fn state(&self, now: Instant) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { until } if now < until => BreakerState::Open,
            State::Open { .. } | State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// How long until a call may be let through.
    pub(super) fn ready_in(&self, now: Instant) -> Duration {
        match self.state {
            State::Closed | State::HalfOpen { is_probing: false } => Duration::ZERO,
            State::Open { until } => until.saturating_duration_since(now),
            State::HalfOpen { is_probing: true } => self.params.open,
        }
    }

    /// Lets a call through, or says how long there is no use in trying.
    pub(super) fn enter(&mut self, now: Instant) -> Result<Pass, Duration> {
        let wait = self.ready_in(now);
        if !wait.is_zero() {
            return Err(wait);
        }
        if !matches!(self.state, State::Closed) {
            self.change(State::HalfOpen { is_probing: true });
        }
        Ok(Pass { spell: self.spell })
    }

    pub(super) fn note(&mut self, pass: Pass, outcome: Outcome, now: Instant) {
        if pass.spell != self.spell {
            return;
        }
        match (&self.state, outcome) {
            (State::Closed, Outcome::Unknown) | (State::Open { .. }, _) => {}
            (State::Closed, _) => self.count(outcome == Outcome::Failure, now),
            (State::HalfOpen { .. }, Outcome::Success) => self.close(),
            (State::HalfOpen { .. }, Outcome::Failure) => self.open(now),
            (State::HalfOpen { .. }, Outcome::Unknown) => self.change(State::HalfOpen { is_probing: false }),
        }
    }

    fn count(&mut self, is_failure: bool, now: Instant) {
        self.in_a_row = if is_failure { self.in_a_row + 1 } else { 0 };
        while self.seconds.front().is_some_and(|second| now.saturating_duration_since(second.began) > self.params.window) {
            self.seconds.pop_front();
        }
        if self.seconds.back().is_none_or(|second| now.saturating_duration_since(second.began) >= Duration::from_secs(1)) {
            self.seconds.push_back(Second { began: now, calls: 0, failures: 0 });
        }
        if let Some(second) = self.seconds.back_mut() {
            second.calls += 1;
            second.failures += u32::from(is_failure);
        }
        if is_failure && (self.in_a_row >= self.params.consecutive || self.is_mostly_failing()) {
            self.open(now);
        }
    }

    fn is_mostly_failing(&self) -> bool {
        let sum = |of: fn(&Second) -> u32| self.seconds.iter().map(of).sum::<u32>();
        let (calls, failures) = (sum(|second| second.calls), sum(|second| second.failures));
        calls >= self.params.calls_min && f64::from(failures) >= self.params.share * f64::from(calls)
    }

    fn open(&mut self, now: Instant) {
        let until = now + self.next_open;
        self.next_open = (self.next_open * 2).min(self.params.open_max);
        self.change(State::Open { until });
    }

    fn close(&mut self) {
        self.next_open = self.params.open;
        self.in_a_row = 0;
        self.seconds.clear();
        self.change(State::Closed);
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.spell += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circuit() -> (Circuit, Instant) {
        (Circuit::new(BreakerParams::default()), Instant::now())
    }

    fn call(circuit: &mut Circuit, outcome: Outcome, now: Instant) {
        let pass = circuit.enter(now).unwrap();
        circuit.note(pass, outcome, now);
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_four_do_not() {
        let (mut circuit, now) = circuit();
        for _ in 0..4 {
            call(&mut circuit, Outcome::Failure, now);
        }
        call(&mut circuit, Outcome::Success, now);
        for _ in 0..4 {
            call(&mut circuit, Outcome::Failure, now);
        }
        assert_eq!(circuit.state(now), BreakerState::Closed);
        call(&mut circuit, Outcome::Failure, now);
        assert_eq!(circuit.state(now), BreakerState::Open);
        assert_eq!(circuit.enter(now).unwrap_err(), Duration::from_secs(10));
    }

    #[test]
    fn half_of_twenty_within_the_window_opens_it() {
        let (mut circuit, mut now) = circuit();
        // A call a second alternating: never two failures in a row; the tenth failure is the twentieth call.
        for at in 0..19 {
            call(&mut circuit, if at % 2 == 1 { Outcome::Failure } else { Outcome::Success }, now);
            now += Duration::from_secs(1);
        }
        assert_eq!(circuit.state(now), BreakerState::Closed);
        call(&mut circuit, Outcome::Failure, now);
        assert_eq!(circuit.state(now), BreakerState::Open);
    }

    #[test]
    fn what_lies_outside_of_the_window_is_forgotten() {
        let (mut circuit, mut now) = circuit();
        for at in 0..60 {
            call(&mut circuit, if at % 2 == 1 { Outcome::Failure } else { Outcome::Success }, now);
            now += Duration::from_secs(2);
        }
        assert_eq!(circuit.state(now), BreakerState::Closed, "never more than 16 calls in 30 s");
    }

    #[test]
    fn one_probe_at_a_time_and_twice_as_long_after_each_that_fails() {
        let (mut circuit, mut now) = circuit();
        for _ in 0..5 {
            call(&mut circuit, Outcome::Failure, now);
        }
        for seconds in [10, 20, 40, 80, 160, 300, 300] {
            now += Duration::from_secs(seconds) - Duration::from_millis(1);
            assert!(circuit.enter(now).is_err(), "open for {seconds} s");
            now += Duration::from_millis(1);
            assert_eq!(circuit.state(now), BreakerState::HalfOpen);
            let probe = circuit.enter(now).unwrap();
            assert!(circuit.enter(now).is_err(), "one probe is enough");
            circuit.note(probe, Outcome::Failure, now);
        }
        now += Duration::from_secs(300);
        call(&mut circuit, Outcome::Success, now);
        assert_eq!(circuit.state(now), BreakerState::Closed);
        for _ in 0..5 {
            call(&mut circuit, Outcome::Failure, now);
        }
        assert_eq!(circuit.enter(now).unwrap_err(), Duration::from_secs(10), "it begins anew");
    }

    #[test]
    fn a_probe_that_says_nothing_makes_room_for_another() {
        let (mut circuit, mut now) = circuit();
        for _ in 0..5 {
            call(&mut circuit, Outcome::Failure, now);
        }
        now += Duration::from_secs(10);
        call(&mut circuit, Outcome::Unknown, now);
        assert_eq!(circuit.state(now), BreakerState::HalfOpen);
        call(&mut circuit, Outcome::Success, now);
        assert_eq!(circuit.state(now), BreakerState::Closed);
    }

    #[test]
    fn calls_of_an_earlier_spell_do_not_count() {
        let (mut circuit, mut now) = circuit();
        let old = circuit.enter(now).unwrap();
        for _ in 0..5 {
            call(&mut circuit, Outcome::Failure, now);
        }
        now += Duration::from_secs(10);
        let probe = circuit.enter(now).unwrap();
        circuit.note(old, Outcome::Failure, now);
        assert_eq!(circuit.state(now), BreakerState::HalfOpen, "the old call is not the probe");
        circuit.note(probe, Outcome::Success, now);
        assert_eq!(circuit.state(now), BreakerState::Closed);
    }
}
