//! What each tenant takes, and how much it may take.
//!
//! Invariants:
//! - The counters change in the batch that changes what they count, under the writer's turn: no two
//!   requests can both take the last place, and a crash leaves them as right as the rest.
//! - [`Catalog::counted_usage`] counts the same from the records; `verify` compares the two.
//!
//! Bytes are those of each document's latest original, taken in or waiting: what a version becomes
//! when it is served changes nothing, and what a new one replaces is given back at once.

use super::{Catalog, CatalogError, put};
use crate::keys;
use crate::records::DocumentRecord;
use crate::store::Batch;
use corpus::TenantId;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Records read at a time when counting.
const COUNT_PAGE: usize = 1024;

/// What a tenant takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantUsage {
    /// Documents, in any state.
    pub documents: u64,
    /// Bytes of their latest originals.
    pub bytes: u64,
    /// Collections.
    pub collections: u64,
}

/// What a tenant may take; `None` is without a bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// Documents, in any state.
    pub documents: Option<u64>,
    /// Bytes of their latest originals.
    pub bytes: Option<u64>,
    /// Collections.
    pub collections: Option<u64>,
}

/// The quotas of all tenants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Of tenants that have none of their own.
    pub default: Quota,
    /// Of single tenants, instead of the default.
    pub tenants: HashMap<TenantId, Quota>,
}

impl Quotas {
    /// What this tenant may take.
    #[must_use]
    pub fn of(&self, tenant: &TenantId) -> Quota {
        self.tenants.get(tenant).copied().unwrap_or(self.default)
    }
}

/// What a change adds to what a tenant takes, or gives back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Growth {
    pub(super) documents: i64,
    pub(super) bytes: i64,
    pub(super) collections: i64,
}

impl Growth {
    /// Deleting these.
    pub(super) fn without<'d>(documents: impl IntoIterator<Item = &'d DocumentRecord>) -> Self {
        documents.into_iter().fold(Self::default(), |mut growth, document| {
            growth.documents -= 1;
            growth.replace_bytes(latest_bytes(document), 0);
            growth
        })
    }

    /// An original of so many bytes instead of the one before.
    pub(super) fn replace_bytes(&mut self, before: u64, after: u64) {
        self.bytes = self.bytes.saturating_add(signed(after)).saturating_sub(signed(before));
    }
}

impl Catalog {
    /// What a tenant may take.
    #[must_use]
    pub fn quota(&self, tenant: &TenantId) -> Quota {
        self.quotas.of(tenant)
    }

    /// What a tenant takes, by its counters.
    ///
    /// # Errors
    /// A store error.
    pub fn usage(&self, tenant: &TenantId) -> Result<TenantUsage, CatalogError> {
        match self.read(&keys::usage(tenant))? {
            Some(usage) => Ok(usage),
            // A tenant that is new, or from before there were counters.
            None => self.counted_usage(tenant),
        }
    }

    /// What a tenant takes, counted from its records. Reads them all.
    ///
    /// # Errors
    /// A store error.
    pub fn counted_usage(&self, tenant: &TenantId) -> Result<TenantUsage, CatalogError> {
        let mut usage = TenantUsage::default();
        self.for_each_value(&keys::collections(tenant), |_| {
            usage.collections += 1;
            Ok(())
        })?;
        self.for_each_value(&keys::tenant_documents(tenant), |value| {
            usage.documents += 1;
            usage.bytes += latest_bytes(&serde_json::from_slice(value)?);
            Ok(())
        })?;
        Ok(usage)
    }

    fn for_each_value(&self, prefix: &[u8], mut look: impl FnMut(&[u8]) -> Result<(), CatalogError>) -> Result<(), CatalogError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.store.scan(prefix, after.as_deref(), COUNT_PAGE)?;
            page.iter().try_for_each(|(_, value)| look(value))?;
            match page.into_iter().last() {
                Some((key, _)) => after = Some(key),
                None => return Ok(()),
            }
        }
    }

    /// Puts the counters after a change into the change's own batch, or refuses it. The caller holds
    /// the writer's turn. What gives back is never refused.
    pub(super) fn charge(&self, batch: &mut Batch, tenant: &TenantId, growth: Growth) -> Result<(), CatalogError> {
        if growth == Growth::default() {
            return Ok(());
        }
        let (before, quota) = (self.usage(tenant)?, self.quotas.of(tenant));
        let after = TenantUsage {
            documents: grown("documents", before.documents, growth.documents, quota.documents)?,
            bytes: grown("bytes", before.bytes, growth.bytes, quota.bytes)?,
            collections: grown("collections", before.collections, growth.collections, quota.collections)?,
        };
        if after == TenantUsage::default() {
            // Nothing is left of the tenant, and nothing is what counting finds.
            batch.delete(keys::usage(tenant));
            return Ok(());
        }
        put(batch, keys::usage(tenant), &after)
    }
}

fn grown(what: &'static str, used: u64, growth: i64, limit: Option<u64>) -> Result<u64, CatalogError> {
    let after = used.saturating_add_signed(growth);
    match limit {
        Some(limit) if growth > 0 && after > limit => Err(CatalogError::QuotaExceeded { what, used, asked: growth.unsigned_abs(), limit }),
        _ => Ok(after),
    }
}

fn latest_bytes(document: &DocumentRecord) -> u64 {
    document.latest_original().map_or(0, |(_, bytes)| bytes)
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_growth_is_refused() {
        assert_eq!(grown("documents", 9, 1, Some(10)).ok(), Some(10));
        assert!(matches!(grown("documents", 10, 1, Some(10)), Err(CatalogError::QuotaExceeded { used: 10, asked: 1, limit: 10, .. })));
        // The limit was lowered: giving back must still work.
        assert_eq!(grown("documents", 20, -1, Some(10)).ok(), Some(19));
        assert_eq!(grown("documents", 20, 0, Some(10)).ok(), Some(20));
        assert_eq!(grown("documents", 20, 5, None).ok(), Some(25));
    }

    proptest! {
        #[test]
        fn used_never_passes_the_limit_by_growing(limit in 0u64..100, steps in proptest::collection::vec(-20i64..20, 0..50)) {
            let mut used = 0u64;
            for step in steps {
                match grown("bytes", used, step, Some(limit)) {
                    Ok(after) => used = after,
                    Err(_) => prop_assert!(step > 0 && used.saturating_add_signed(step) > limit),
                }
                prop_assert!(used <= limit);
            }
        }
    }
}
