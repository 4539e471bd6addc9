//! `[auth]` and `[quotas]` of the configuration.

use corpus::TenantId;
use index::{Quota, Quotas, Scope};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Who may come in. Without a key the server serves only the loopback interface.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AuthConfig {
    /// Known keys. `RAGSTONE_API_KEY` adds an operator's for the tenant `default`; more can be made
    /// over `/v1/keys`.
    pub(crate) keys: Vec<KeyConfig>,
}

/// One API key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyConfig {
    /// sha256 of the key in hex: `printf %s "$KEY" | sha256sum`.
    pub(crate) sha256: String,
    /// Whose documents it opens.
    pub(crate) tenant: TenantId,
    /// What it may do, of `query`, `ingest` and `admin`; absent: all three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scopes: Option<Vec<Scope>>,
    /// Ids or names of the collections it may use; absent: every collection of the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) collections: Option<Vec<String>>,
    /// Principals that document ACLs name; absent: every document of the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) principals: Option<Vec<String>>,
    /// May do everything in its tenant and manage the keys and backups of all tenants; has no other bounds.
    #[serde(default)]
    pub(crate) operator: bool,
}

impl KeyConfig {
    /// What is wrong with its bounds.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let is_bounded = self.scopes.is_some() || self.collections.is_some() || self.principals.is_some();
        match (&self.scopes, self.operator && is_bounded) {
            (_, true) => Some("an operator's key has no scopes, collections or principals"),
            (Some(scopes), _) if scopes.is_empty() => Some("scopes must name query, ingest or admin; leave it out for all three"),
            _ => None,
        }
    }
}

/// What each tenant may take; 0 is without a bound.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct QuotasConfig {
    /// Documents of a tenant, in any state.
    pub(crate) documents_max: u64,
    /// Bytes of their latest originals.
    pub(crate) bytes_max: u64,
    /// Collections of a tenant.
    pub(crate) collections_max: u64,
    /// Tenants with quotas of their own; what a table leaves out is as above.
    pub(crate) tenants: BTreeMap<TenantId, TenantQuotaConfig>,
}

/// The quotas of one tenant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantQuotaConfig {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) documents_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) collections_max: Option<u64>,
}

impl QuotasConfig {
    /// As the catalog takes them.
    pub(crate) fn quotas(&self) -> Quotas {
        let own = |(tenant, own): (&TenantId, &TenantQuotaConfig)| {
            let documents = own.documents_max.unwrap_or(self.documents_max);
            let bytes = own.bytes_max.unwrap_or(self.bytes_max);
            (tenant.clone(), quota(documents, bytes, own.collections_max.unwrap_or(self.collections_max)))
        };
        let default = quota(self.documents_max, self.bytes_max, self.collections_max);
        Quotas { default, tenants: self.tenants.iter().map(own).collect() }
    }
}

fn quota(documents: u64, bytes: u64, collections: u64) -> Quota {
    let bound = |max: u64| (max > 0).then_some(max);
    Quota { documents: bound(documents), bytes: bound(bytes), collections: bound(collections) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_own_quota_goes_over_the_default_field_by_field() {
        let config = "documents_max = 10\nbytes_max = 5\n[tenants.acme]\ndocuments_max = 0\ncollections_max = 3";
        let quotas = toml::from_str::<QuotasConfig>(config).unwrap().quotas();
        assert_eq!(quotas.of(&TenantId::default()), Quota { documents: Some(10), bytes: Some(5), collections: None });
        assert_eq!(quotas.of(&"acme".parse().unwrap()), Quota { documents: None, bytes: Some(5), collections: Some(3) });
        assert!(toml::from_str::<QuotasConfig>("[tenants.\"A/b\"]").is_err(), "not a tenant");
        assert!(toml::from_str::<QuotasConfig>("[tenants.acme]\nfiles_max = 1").is_err(), "not a quota");
    }
}
