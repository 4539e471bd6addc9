//! Which deployment answers: a model of the configuration is a ladder of groups, a group holds deployments that can
//! stand in for each other.
//!
//! One loop (in `ladder`) tries again, elsewhere in the group, and on the next rung; what decides is in files of its
//! own: `group` chooses a deployment, `retry` says whether and when to try again, `choice` chooses a model by how hard
//! the question is.

mod choice;
mod group;
mod ladder;
mod retry;
mod route;

pub use choice::{Choice, Chooser, Complexity, Inputs, Preference};
pub use group::{Balance, Group, Member};
pub use ladder::Ladder;
pub(crate) use retry::Tries;
pub use retry::{RetryBudget, RetryParams};
pub use route::{Route, Try};

#[cfg(test)]
mod tests;
