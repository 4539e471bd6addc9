//! Deployments that can stand in for each other, and which of them is asked.

use crate::ChatModel;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How the calls of a group are shared out among the deployments that are ready.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Balance {
    /// By weight, at random.
    #[default]
    Weighted,
    /// To the one whose first tokens came soonest of late.
    LeastLatency,
}

/// One deployment of a group.
pub struct Member {
    /// Its name.
    pub name: String,
    /// With everything that stands around it.
    pub model: Arc<dyn ChatModel>,
    /// Its share of the calls, relative to the others'.
    pub weight: u32,
    latency: Latency,
}

impl Member {
    /// A deployment.
    #[must_use]
    pub fn new(name: impl Into<String>, model: Arc<dyn ChatModel>, weight: u32) -> Self {
        Self { name: name.into(), model, weight: weight.max(1), latency: Latency::default() }
    }

    pub(super) fn note_latency(&self, took: Duration) {
        self.latency.note(took);
    }
}

/// A moving average in microseconds; 0: never measured.
#[derive(Default)]
struct Latency(AtomicU64);

impl Latency {
    /// Each new figure counts a fifth.
    fn note(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        // Two at once may lose one of the figures, which does no harm.
        let known = self.0.load(Ordering::Relaxed);
        self.0.store(if known == 0 { took } else { known - known / 5 + took / 5 }, Ordering::Relaxed);
    }
}

/// One rung of a ladder.
pub struct Group {
    members: Vec<Member>,
    balance: Balance,
}

/// How often a deployment is asked that is not the fastest: otherwise one that was slow once is slow for ever.
const EXPLORED: f64 = 0.05;

impl Group {
    /// Members that share calls by `balance`.
    #[must_use]
    pub fn new(members: Vec<Member>, balance: Balance) -> Self {
        Self { members, balance }
    }

    /// Who is asked next: of those that are ready the ones that failed least in this request, of these the ones with
    /// a place free, and of these one by the group's balance. `failures` holds a number for each member.
    pub(super) fn pick(&self, failures: &[u32]) -> Option<(usize, &Member)> {
        let rank = |at: usize, member: &Member| (failures.get(at).copied().unwrap_or(0), member.model.is_full());
        let ready = self.members.iter().enumerate().filter(|(_, member)| member.model.ready_in().is_zero());
        let ranked: Vec<_> = ready.map(|(at, member)| (rank(at, member), (at, member))).collect();
        let first = ranked.iter().map(|(rank, _)| *rank).min()?;
        let best: Vec<_> = ranked.into_iter().filter(|(rank, _)| *rank == first).map(|(_, member)| member).collect();
        if self.balance == Balance::LeastLatency && fastrand::f64() >= EXPLORED {
            return best.into_iter().min_by_key(|(_, member)| member.latency.0.load(Ordering::Relaxed));
        }
        by_weight(&best)
    }

    /// Whether somebody is ready who has not failed in this request.
    pub(super) fn has_fresh(&self, failures: &[u32]) -> bool {
        let is_fresh = |at: usize| failures.get(at).is_none_or(|failures| *failures == 0);
        self.members.iter().enumerate().any(|(at, member)| is_fresh(at) && member.model.ready_in().is_zero())
    }

    /// How long until somebody is ready.
    pub(super) fn ready_in(&self) -> Duration {
        self.members.iter().map(|member| member.model.ready_in()).min().unwrap_or(Duration::MAX)
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }
}

fn by_weight<'a>(members: &[(usize, &'a Member)]) -> Option<(usize, &'a Member)> {
    let total: u64 = members.iter().map(|(_, member)| u64::from(member.weight)).sum();
    let mut left = fastrand::u64(..total.max(1));
    for (at, member) in members {
        let weight = u64::from(member.weight);
        if left < weight {
            return Some((*at, *member));
        }
        left -= weight;
    }
    None
}
