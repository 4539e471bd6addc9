//! What calls cost, and whether there is money for them.
//!
//! A [`Meter`] knows what a deployment's tokens cost and how they are counted. [`Metered`] stands around the
//! deployment's client: it asks the [`Ledger`] for a [`Reservation`] of all that a call may cost, makes the call, and
//! settles what it did cost; a [`Till`] does the same for embeddings and judgements. A [`Budget`] limits what may be spent; [`Books`] are where all of it is kept.
//!
//! Invariants:
//! - No call is made without a reservation under every budget that applies, all of them or none.
//! - A reservation under a budget is durable before its call goes out. Whoever dies in between has spent it.
//! - A call that was made is never free: without the provider's figures our own count is booked.
//! - A call without a known price counts as such, never as one that cost nothing.
//! - What is spent, the end of its reservation, and its usage are written together.
//! - What is held for a [`Job`] outlives the process: it ends when somebody who went on with the job ends it, or by
//!   [`Ledger::abandon`].

mod alerts;
mod books;
mod budget;
mod ledger;
mod metered;
mod money;
mod price;
mod refusal;
mod report;
mod reservation;
#[cfg(test)]
mod tests;
mod till;
mod usage;
mod writer;

pub use alerts::{Alert, Alerts};
pub use books::{Books, BooksError, Changes, MemoryBooks};
pub use budget::{Amount, Budget, Period};
pub use ledger::{BudgetView, Clock, Ledger, LedgerError};
pub use metered::{Meter, Metered};
pub use money::Money;
pub use price::{Price, PriceTable, PricedModel};
pub use report::{Dimension, Grouped, Grouping, UsageFilter};
pub use reservation::{Job, Planned, Reservation};
pub(crate) use till::Till;
pub use usage::{UsageCounts, UsageKey};
