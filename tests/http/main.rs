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
mod backups;
mod batches;
mod benchmarks;
mod caches;
mod chat;
mod children;
mod collections;
mod content;
mod documents;
mod embedding;
mod evaluations;
mod expand;
mod faults;
mod feedback;
mod guards;
mod hygiene;
mod jobs;
mod keys;
mod limits;
mod loopback;
mod messages;
mod metrics;

mod openapi;
mod overload;
mod provider_batches;
mod query;
mod quotas;
mod rate_limits;
mod remote_spend;
mod rerank;
mod scopes;
mod search;
mod sessions;
mod shutdown;
mod spend;
mod tls;
mod traces;
mod versions;
