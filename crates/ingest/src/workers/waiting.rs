//! Whose document is next: tenants take turns, and what a tenant uploaded takes turns with what was
//! found inside of it. Nobody waits behind the thousand files of another, or behind their own archive. A tenant can be
//! held for a while; the others go on.

use corpus::{JobId, TenantId};
use index::records::JobRecord;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Jobs that are served in their order: those of a tenant that came by themselves, or from inside.
type Line = (TenantId, bool);

/// Names of jobs that wait.
#[derive(Default)]
pub(super) struct WaitingJobs {
    /// Each line with a job, the next one first.
    turns: VecDeque<Line>,
    jobs: HashMap<Line, VecDeque<JobId>>,
    count: usize,
    /// Tenants that have no turn until then.
    held: HashMap<TenantId, Instant>,
}

/// What the queue knows of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) tenant: TenantId,
    pub(super) is_inside: bool,
    pub(super) job: JobId,
}

impl From<&JobRecord> for Ticket {
    fn from(job: &JobRecord) -> Self {
        Self { tenant: job.tenant.clone(), is_inside: job.is_inside, job: job.id.clone() }
    }
}

impl WaitingJobs {
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    pub(super) fn push(&mut self, ticket: Ticket) {
        let line = (ticket.tenant, ticket.is_inside);
        let jobs = self.jobs.entry(line.clone()).or_default();
        if jobs.is_empty() {
            self.turns.push_back(line);
        }
        jobs.push_back(ticket.job);
        self.count += 1;
    }

    /// No job of this tenant is given out until then.
    pub(super) fn hold(&mut self, tenant: &TenantId, until: Instant) {
        self.held.insert(tenant.clone(), until);
    }

    /// Until the first tenant that is held has a turn again.
    pub(super) fn held_for(&self, now: Instant) -> Option<Duration> {
        self.held.values().min().map(|until| until.saturating_duration_since(now))
    }

    pub(super) fn pop(&mut self, now: Instant) -> Option<Ticket> {
        self.held.retain(|_, until| *until > now);
        let place = self.turns.iter().position(|(tenant, _)| !self.held.contains_key(tenant))?;
        let line = self.turns.remove(place)?;
        let jobs = self.jobs.get_mut(&line)?;
        let job = jobs.pop_front()?;
        if jobs.is_empty() {
            self.jobs.remove(&line);
        } else {
            self.turns.push_back(line.clone());
        }
        self.count -= 1;
        let (tenant, is_inside) = line;
        Some(Ticket { tenant, is_inside, job })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(tenant: &str, is_inside: bool) -> Ticket {
        Ticket { tenant: tenant.parse().unwrap(), is_inside, job: JobId::generate() }
    }

    #[test]
    fn tenants_and_archives_take_turns() {
        let now = Instant::now();
        let mut waiting = WaitingJobs::default();
        let archive: Vec<_> = (0..3).map(|_| ticket("a", true)).collect();
        let uploads: Vec<_> = (0..2).map(|_| ticket("a", false)).collect();
        let other = ticket("b", false);
        for ticket in archive.iter().chain(&uploads).chain([&other]) {
            waiting.push(ticket.clone());
        }
        assert_eq!(waiting.len(), 6);
        let order = [&archive[0], &uploads[0], &other, &archive[1], &uploads[1], &archive[2]];
        for expected in order {
            assert_eq!(waiting.pop(now).as_ref(), Some(expected));
        }
        assert_eq!((waiting.pop(now), waiting.len()), (None, 0));
        waiting.push(other.clone());
        assert_eq!(waiting.pop(now), Some(other));
    }

    #[test]
    fn a_tenant_that_is_held_lets_the_others_by() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut waiting = WaitingJobs::default();
        let [first, second_of_a, other] = ["a", "a", "b"].map(|tenant| ticket(tenant, false));
        for ticket in [&first, &second_of_a, &other] {
            waiting.push(ticket.clone());
        }
        waiting.hold(&first.tenant, now + second);
        assert_eq!((waiting.pop(now), waiting.pop(now), waiting.held_for(now)), (Some(other), None, Some(second)));
        assert_eq!((waiting.pop(now + second), waiting.held_for(now)), (Some(first), None));
        assert_eq!(waiting.pop(now + second), Some(second_of_a));
    }
}
