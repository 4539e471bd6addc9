//! What stands between a question and a deployment. Each file is one behaviour around a [`ChatModel`](crate::ChatModel)
//! and is one itself; `guarded` puts the same parts around calls of other kinds.

mod breaker;
mod concurrency;
mod deadline;
mod ending;
mod guarded;
mod hedge;
mod measured;
mod rate;
mod rest;

pub use breaker::{Breaker, BreakerParams, BreakerState};
pub use concurrency::Concurrency;
pub use deadline::Deadline;
pub use guarded::CallParams;
pub(crate) use guarded::Guarded;
pub use hedge::Hedge;
pub(crate) use measured::Figures;
pub use measured::Measured;
pub use rate::{Rate, RateParams};
pub use rest::Rest;

#[cfg(test)]
mod tests;
