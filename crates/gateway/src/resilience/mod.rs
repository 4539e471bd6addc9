//! What stands between a question and a deployment. Each file is one behaviour around a [`ChatModel`](crate::ChatModel)
//! and is one itself.

mod breaker;
mod concurrency;
mod deadline;
mod ending;
mod hedge;
mod measured;
mod rate;
mod rest;

pub use breaker::{Breaker, BreakerParams, BreakerState};
pub use concurrency::Concurrency;
pub use deadline::Deadline;
pub use hedge::Hedge;
pub use measured::Measured;
pub use rate::{Rate, RateParams};
pub use rest::Rest;

#[cfg(test)]
mod tests;
