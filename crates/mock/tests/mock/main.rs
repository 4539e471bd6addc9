//! The mock from outside: what it says to clients, and what its faults look like on the wire.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod anthropic;
mod batches;
mod calls;
mod client;
mod faults;
mod openai;
