//! Whose document is next: tenants take turns, and what a tenant uploaded takes turns with what was
//! found inside of it. Nobody waits behind the thousand files of another, or behind their own archive.

use corpus::{JobId, TenantId};
use index::records::JobRecord;
use std::collections::{HashMap, VecDeque};

/// Jobs that are served in their order: those of a tenant that came by themselves, or from inside.
type Line = (TenantId, bool);

/// Names of jobs that wait.
#[derive(Default)]
pub(super) struct WaitingJobs {
    /// Each line with a job, the next one first.
    turns: VecDeque<Line>,
    jobs: HashMap<Line, VecDeque<JobId>>,
    count: usize,
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

    pub(super) fn pop(&mut self) -> Option<Ticket> {
        let line = self.turns.pop_front()?;
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

    #[test]
    fn tenants_and_archives_take_turns() {
        let ticket = |tenant: &str, is_inside| Ticket { tenant: tenant.parse().unwrap(), is_inside, job: JobId::generate() };
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
            assert_eq!(waiting.pop().as_ref(), Some(expected));
        }
        assert_eq!((waiting.pop(), waiting.len()), (None, 0));
        waiting.push(other.clone());
        assert_eq!(waiting.pop(), Some(other));
    }
}
