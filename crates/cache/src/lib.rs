//! One cache stack for vectors and answers, an answer to the same question in other words, and rate limits; each in
//! this process alone or shared by many over Redis.
//!
//! A *key* names an *entry*: a payload with a lifetime. Keys live in *partitions* that say all that a value depends
//! on; what was made under other conditions has another key. A [`Stack`] keeps entries in *tiers*: memory over a
//! *shelf* of the server's store over Redis. A [`SemanticCache`] finds the entry of a question that means the same;
//! the [`guard()`] has the last word on that. A [`Limiter`] counts what is spent of an `Allowance`. A [`Link`] is the
//! connection to Redis that tier and limits share. A [`CachedEmbedder`] keeps the vectors of texts in a stack.
//!
//! Invariants: no entry leaves its partition; damaged or outdated bytes are never served; what was removed doesn't
//! come back, also not from a load that was under way or a Redis that was away; no request fails because a tier
//! does; everything has a bound. Writes to a collection begin a new generation and thereby a new partition, so
//! removing is for deletions and for space, not for correctness.
//!
//! ```
//! # use ragstone_cache as cache;
//! use cache::{Clock, Conditions, Fresh, Partition, Policy, Scope, Stack, StackOptions};
//! use corpus::{Principals, TenantId};
//! use std::time::Duration;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let stack = Stack::open(StackOptions::default(), Clock::system(), None, None).await?;
//! let scope = Scope::Tenant(TenantId::default());
//! let partition = Partition::of(&Conditions { scope, access: &Principals::All, model: "m", prompt: "", parameters: &[] });
//! let key = partition.key("answer", &[b"Why is the sky blue?"]);
//! let load = async { Ok::<_, std::io::Error>(Fresh::keep("Rayleigh scattering.", Duration::from_secs(3600))) };
//! assert_eq!(stack.get_or_load(&key, Policy::Use, load).await?.entry().payload, "Rayleigh scattering.");
//! assert!(stack.get(&key).await.is_some());
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod clock;
#[cfg(test)]
mod contract;
mod counted;
mod embedder;
mod entry;
mod fingerprint;
mod flight;
mod guard;
mod key;
mod limit;
mod link;
mod memory;
mod removed;
mod shared;
#[cfg(test)]
mod shared_tests;
mod shelf;
mod similar;
mod stack;
mod store;
#[cfg(test)]
mod test_keys;
#[cfg(test)]
mod test_redis;
mod tier;

pub use clock::Clock;
pub use counted::TierStatistics;
pub use embedder::CachedEmbedder;
pub use entry::Entry;
pub use fingerprint::Fingerprint;
pub use guard::{Difference, guard};
pub use key::{Address, Conditions, Key, Partition, Prefix, Scope};
pub use limit::{Claim, Decision, Limiter, Meter};
pub use link::{Link, LinkError, LinkOptions};
pub use removed::Moment;
pub use shelf::{MapShelf, Shelf, ShelfError, ShelfHead, ShelfPair};
pub use similar::{Found, Refused, SemanticCache, SemanticOptions, SemanticStatistics, Similar};
pub use stack::{Fresh, Holding, Inspected, Loaded, OpenError, Policy, Removals, Stack, StackOptions, Statistics};
pub use tier::{Listed, Page, TierName};
