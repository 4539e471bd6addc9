//! The one loop: tries a group's deployments, waits where waiting helps, and goes down to the next group.

use super::group::{Group, Member};
use super::retry::{RetryBudget, RetryParams, Tries};
use super::route::Try;
use crate::telemetry::{note_retry, note_rung_given_up};
use crate::{ChatError, ChatModel, ChatReply, ChatRequest, Verdict};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A model of the configuration: groups, the one that is meant first.
pub struct Ladder {
    name: String,
    groups: Vec<Group>,
    retry: RetryParams,
    budget: Arc<RetryBudget>,
}

impl Ladder {
    /// A ladder of at least one group. The budget of retries may be shared with others.
    #[must_use]
    pub fn new(name: impl Into<String>, groups: Vec<Group>, retry: RetryParams, budget: Arc<RetryBudget>) -> Self {
        Self { name: name.into(), groups, retry, budget }
    }
}

#[async_trait]
impl ChatModel for Ladder {
    fn name(&self) -> &str {
        &self.name
    }

    fn ready_in(&self) -> Duration {
        self.groups.iter().map(Group::ready_in).min().unwrap_or(Duration::MAX)
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatReply, ChatError> {
        self.budget.earn();
        let mut failed = Vec::new();
        let mut last = None;
        for (rung, group) in self.groups.iter().enumerate() {
            let outcome = self.climb(group, &request, &mut failed).await;
            if let Err(error) = &outcome {
                note_rung_given_up(&self.name, error);
            }
            match outcome {
                Ok(mut reply) => {
                    reply.route.failed = failed;
                    reply.route.rungs_down = rung;
                    return Ok(reply);
                }
                Err(error) if error.verdict() == Verdict::Final => return Err(error),
                // What a provider said tells more than that nobody can be asked.
                Err(error @ ChatError::Unavailable { .. }) => last = last.or(Some(error)),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| self.unavailable(self.ready_in())))
    }
}

impl Ladder {
    /// One rung: until somebody answers, nobody can, or it would take too long.
    async fn climb(&self, group: &Group, request: &ChatRequest, failed: &mut Vec<Try>) -> Result<ChatReply, ChatError> {
        let mut failures = vec![0; group.len()];
        let mut tries = Tries::new(&self.retry, &self.budget, request.deadline);
        let mut last = None;
        while let Some((at, member)) = group.pick(&failures) {
            let error = match ask(member, request, failed).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            // Who lost the race for a place, or costs too much, was not asked.
            tries.failed(&error);
            if let Some(count) = failures.get_mut(at) {
                *count += 1;
            }
            let wait = match error.verdict() {
                Verdict::Final => return Err(error),
                _ if group.has_fresh(&failures) => Some(Duration::ZERO),
                Verdict::Passing => Some(tries.wait(&error, group.ready_in())),
                Verdict::TakenOut | Verdict::Elsewhere => None,
            };
            last = Some(error);
            match wait.filter(|wait| tries.may_wait(*wait)) {
                Some(wait) => {
                    last.iter().for_each(|error| note_retry(&self.name, error));
                    sleep(wait).await;
                }
                None => break,
            }
        }
        Err(last.unwrap_or_else(|| self.unavailable(group.ready_in())))
    }

    fn unavailable(&self, ready_in: Duration) -> ChatError {
        let reason = format!("every deployment of {} fails, rests or is at its limits", self.name);
        ChatError::Unavailable { reason, retry_after: Some(ready_in) }
    }
}

async fn ask(member: &Member, request: &ChatRequest, failed: &mut Vec<Try>) -> Result<ChatReply, ChatError> {
    let began = Instant::now();
    let outcome = member.model.chat(request.clone()).await;
    match &outcome {
        Ok(_) => member.note_latency(began.elapsed()),
        Err(error) => {
            let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            failed.push(Try { deployment: member.name.clone(), error: error.to_string(), took_ms });
            tracing::warn!(deployment = member.name, %error, took_ms, "a deployment gave no answer");
        }
    }
    outcome
}
