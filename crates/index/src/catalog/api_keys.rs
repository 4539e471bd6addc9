//! API keys in the store.
//!
//! Only the sha256 of a key is kept. That is enough, and right: a key of ours is 256 random bits, so
//! nobody can find it from its hash by trying, and a slow hash as for passwords would only make
//! every request slow.

use super::{Catalog, CatalogError, Once, put};
use crate::keys;
use crate::store::Batch;
use corpus::{KeyId, TenantId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use time::OffsetDateTime;

/// Keys that one tenant may have.
pub const KEYS_PER_TENANT_MAX: usize = 1000;

/// What an API key may do, in the collections that it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Ask, search and read.
    Query,
    /// Upload, replace and delete documents.
    Ingest,
    /// Make, change and delete collections and keys.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 3] = [Self::Query, Self::Ingest, Self::Admin];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Ingest => "ingest",
            Self::Admin => "admin",
        }
    }
}

/// What an API key may ask in a minute; absent: what the server lets every key ask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyLimits {
    /// Requests a minute.
    pub requests_per_minute: Option<u32>,
    /// Tokens a minute, read and written by models.
    pub tokens_per_minute: Option<u32>,
}

/// An API key, without the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKeyRecord {
    /// Names it.
    pub id: KeyId,
    /// For people.
    pub name: String,
    /// Whose documents it opens.
    pub tenant: TenantId,
    /// sha256 of the key, 64 hexadecimal digits.
    pub sha256: String,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// Ids or names of the collections it may use; absent: all.
    #[serde(default)]
    pub collections: Option<BTreeSet<String>>,
    /// Principals that document ACLs name; absent: every document.
    #[serde(default)]
    pub principals: Option<BTreeSet<String>>,
    /// What it may ask in a minute; keys of older versions have none.
    #[serde(default)]
    pub limits: KeyLimits,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// From when on it opens nothing.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
}

impl Catalog {
    /// Keeps a key; durable on return. `asker` is the tenant that the idempotency key belongs to. Gives
    /// the record, which is an earlier one, and false, when the same request was answered before.
    ///
    /// # Errors
    /// [`CatalogError::QuotaExceeded`], [`CatalogError::IdempotencyConflict`].
    pub fn create_api_key(
        &self,
        asker: &TenantId,
        record: ApiKeyRecord,
        once: Option<&Once>,
    ) -> Result<(ApiKeyRecord, bool), CatalogError> {
        let turn = self.write_turn();
        if let Some(earlier) = self.answered_before(asker, once)? {
            drop(turn);
            self.settle()?;
            return Ok((earlier, false));
        }
        self.check_room_for_key(&record.tenant)?;
        let mut batch = Batch::default();
        put(&mut batch, keys::api_key(&record.tenant, &record.id), &record)?;
        self.remember_answer(&mut batch, asker, once, &record)?;
        let seq = self.store.commit(batch)?;
        drop(turn);
        self.durable(seq)?;
        Ok((record, true))
    }

    fn check_room_for_key(&self, tenant: &TenantId) -> Result<(), CatalogError> {
        let used = self.store.scan(&keys::api_keys(tenant), None, KEYS_PER_TENANT_MAX)?.len();
        if used < KEYS_PER_TENANT_MAX {
            return Ok(());
        }
        Err(CatalogError::QuotaExceeded { what: "keys", used: used as u64, asked: 1, limit: KEYS_PER_TENANT_MAX as u64 })
    }

    /// The keys of all tenants.
    ///
    /// # Errors
    /// A store error, or a record that can't be read: a key must not vanish silently.
    pub fn api_keys(&self) -> Result<Vec<ApiKeyRecord>, CatalogError> {
        let pairs = self.store.scan(&keys::all_api_keys(), None, usize::MAX)?;
        pairs.iter().map(|(_, value)| Ok(serde_json::from_slice(value)?)).collect()
    }

    /// Forgets a key; durable on return.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub fn delete_api_key(&self, tenant: &TenantId, id: &KeyId) -> Result<(), CatalogError> {
        let turn = self.write_turn();
        let key = keys::api_key(tenant, id);
        if self.store.get(&key)?.is_none() {
            return Err(CatalogError::not_found("key", id));
        }
        let mut batch = Batch::default();
        batch.delete(key);
        let seq = self.store.commit(batch)?;
        drop(turn);
        self.durable(seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_an_older_version_has_no_limits() {
        let id = KeyId::generate();
        let old = format!(
            r#"{{"id":"{id}","name":"k","tenant":"a","sha256":"00","scopes":["query"],"created_at":"2025-01-01T00:00:00Z","expires_at":null}}"#
        );
        assert_eq!(serde_json::from_str::<ApiKeyRecord>(&old).unwrap().limits, KeyLimits::default());
    }
}
