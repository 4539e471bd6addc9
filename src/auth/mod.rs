//! Who asks, and what that caller may do.
//!
//! Invariants:
//! - The tenant comes from the key, never from anything else in a request.
//! - Keys are known by their sha256 only; every one is compared, in constant time.
//! - A key that was revoked or has expired opens nothing from that moment on.
//!
//! Keys come from the configuration and the environment, which are read once, and from `/v1/keys`,
//! which the store keeps and this module holds in memory.

mod caller;
mod config;
mod keys;
mod loopback;
mod secret;

pub(crate) use caller::Caller;
pub(crate) use config::{AuthConfig, QuotasConfig};
pub(crate) use keys::Keys;
pub(crate) use loopback::{Foreign, check_origin};
pub(crate) use secret::Secret;
