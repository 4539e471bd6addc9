//! `[limits]`: what may be asked in a minute.

use corpus::TenantId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What may be asked in a minute; 0 is without a limit. Beyond it, requests are answered 429 `rate_limited`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LimitsConfig {
    /// Of each API key that has no limits of its own.
    pub(crate) key: LimitConfig,
    /// Of each tenant, all its keys together.
    pub(crate) tenant: LimitConfig,
    /// Tenants with limits of their own; what a table leaves out is as above.
    pub(crate) tenants: BTreeMap<TenantId, TenantLimitConfig>,
}

/// Two limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LimitConfig {
    /// Requests a minute; health, metrics and documentation don't count.
    pub(crate) requests_per_minute: u32,
    /// Tokens a minute, read and written by models.
    pub(crate) tokens_per_minute: u32,
}

/// The limits of one tenant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantLimitConfig {
    /// Requests a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) requests_per_minute: Option<u32>,
    /// Tokens a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tokens_per_minute: Option<u32>,
}

impl LimitsConfig {
    /// The limits of this tenant.
    pub(crate) fn of_tenant(&self, tenant: &TenantId) -> LimitConfig {
        let own = self.tenants.get(tenant).cloned().unwrap_or_default();
        LimitConfig {
            requests_per_minute: own.requests_per_minute.unwrap_or(self.tenant.requests_per_minute),
            tokens_per_minute: own.tokens_per_minute.unwrap_or(self.tenant.tokens_per_minute),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_own_limit_goes_over_the_general_one_field_by_field() {
        let config = "[tenant]\nrequests_per_minute = 10\ntokens_per_minute = 500\n[tenants.acme]\nrequests_per_minute = 0";
        let config: LimitsConfig = toml::from_str(config).unwrap();
        let limits = |requests_per_minute, tokens_per_minute| LimitConfig { requests_per_minute, tokens_per_minute };
        assert_eq!(config.of_tenant(&TenantId::default()), limits(10, 500));
        assert_eq!(config.of_tenant(&"acme".parse().unwrap()), limits(0, 500));
        assert!(toml::from_str::<LimitsConfig>("[tenant]\nrequests_per_second = 1").is_err(), "not a limit");
    }
}
