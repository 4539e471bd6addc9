//! What a stack tells of itself.

use crate::counted::{Removal, TierStatistics};
use crate::tier::TierName;
use bytes::Bytes;
use serde::Serialize;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

#[derive(Default)]
pub(super) struct Counters {
    pub(super) loads: AtomicU64,
    pub(super) loads_failed: AtomicU64,
    pub(super) joined: AtomicU64,
    pub(super) too_large: AtomicU64,
    pub(super) outdated: AtomicU64,
}

/// What a stack did since the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Statistics {
    /// Each tier, the first one first.
    pub tiers: Vec<TierStatistics>,
    /// Values that had to be made.
    pub loads: u64,
    /// Of these, loads that failed.
    pub loads_failed: u64,
    /// Calls that got what another call loaded.
    pub joined: u64,
    /// Values over the limit, not kept.
    pub too_large: u64,
    /// Values that were removed while they were on their way, not kept.
    pub outdated: u64,
    /// Loads under way now.
    pub loading: usize,
}

/// What a removal did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Removals {
    /// Entries removed, counted in each tier.
    pub entries: u64,
    /// Tiers that are away: the entries there are removed before they are asked again.
    pub postponed: Vec<TierName>,
    /// Tiers that failed: entries may still be there until their lifetime ends.
    pub failed: Vec<TierName>,
}

/// What a tier holds of somebody's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holding {
    /// Which one.
    pub tier: TierName,
    /// Entries; `None` if the tier is away.
    pub entries: Option<u64>,
    /// Their size.
    pub bytes: Option<u64>,
}

/// An entry as one tier has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// Which one.
    pub tier: TierName,
    /// Since when the entry exists, in milliseconds.
    pub age_ms: u64,
    /// How long it may still be served.
    pub left: Duration,
    /// Its value, in the form of its kind.
    pub payload: Bytes,
}

impl Removals {
    pub(super) fn add(&mut self, tier: TierName, removal: Removal) {
        match removal {
            Removal::Done(entries) => self.entries += entries,
            Removal::Postponed => self.postponed.push(tier),
            Removal::Failed => self.failed.push(tier),
        }
    }
}
