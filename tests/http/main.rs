//! End to end: a real server process, real HTTP, one file per resource.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod benchmarks;
mod collections;
mod content;
mod documents;
mod jobs;
mod limits;
mod openapi;
mod query;
mod search;
mod shutdown;
mod versions;
