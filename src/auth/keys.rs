//! The keys that the server knows.

use super::caller::Caller;
use super::config::KeyConfig;
use super::secret::{PREFIX, hash, is_same, parse_hash, to_hex};
use corpus::{KeyId, Principals, TenantId};
use index::{ApiKeyRecord, KeyLimits, Scope};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::watch;

/// Shortest key in bytes that the environment may name.
const KEY_BYTES_MIN: usize = 16;

/// Keys of the configuration, which stay, and of the store, which come and go.
pub(crate) struct Keys {
    configured: Vec<Key>,
    stored: RwLock<BTreeMap<KeyId, (Key, ApiKeyRecord)>>,
    /// Told of every key that goes.
    removals: watch::Sender<()>,
}

struct Key {
    sha256: [u8; 32],
    caller: Caller,
    expires_at: Option<OffsetDateTime>,
}

impl Keys {
    /// Hashes from the configuration and one plain key from the environment; or every error, with its path.
    pub(crate) fn new(configured: &[KeyConfig], plain: Option<&str>) -> Result<Self, Vec<String>> {
        let mut keys = Vec::new();
        let mut errors = Vec::new();
        for (at, key) in configured.iter().enumerate() {
            match parse_hash(&key.sha256) {
                Some(sha256) => keys.push(Key { sha256, caller: configured_caller(key, &sha256), expires_at: None }),
                None => errors.push(format!("auth.keys[{at}].sha256: must be 64 hexadecimal digits")),
            }
            errors.extend(key.fault().map(|fault| format!("auth.keys[{at}]: {fault}")));
        }
        match plain {
            Some(key) if key.len() < KEY_BYTES_MIN => errors.push(format!("RAGSTONE_API_KEY: must have at least {KEY_BYTES_MIN} bytes")),
            Some(key) => {
                let caller = Caller::operator(TenantId::default(), "environment");
                keys.push(Key { sha256: hash(key), caller, expires_at: None });
            }
            None => {}
        }
        if errors.is_empty() {
            Ok(Self { configured: keys, stored: RwLock::default(), removals: watch::Sender::default() })
        } else {
            Err(errors)
        }
    }

    /// Whether everybody may come in: nobody configured a key. Keys of the store don't close the door,
    /// so that making or revoking the first or last of them never changes who an open server serves.
    pub(crate) fn is_open(&self) -> bool {
        self.configured.is_empty()
    }

    /// From now on, or until it expires, the key opens what its record says.
    ///
    /// # Errors
    /// A sentence, if the record's hash is none.
    pub(crate) fn insert(&self, record: ApiKeyRecord) -> Result<(), String> {
        let Some(sha256) = parse_hash(&record.sha256) else { return Err(format!("the stored key {} has no valid hash", record.id)) };
        let key = Key { sha256, caller: Caller::of(record.clone()), expires_at: record.expires_at };
        self.write().insert(record.id.clone(), (key, record));
        Ok(())
    }

    /// From now on the key opens nothing.
    pub(crate) fn remove(&self, id: &KeyId) {
        self.write().remove(id);
        self.removals.send_replace(());
    }

    /// Ends when the caller's key opens nothing any more: it was revoked, or it expired.
    pub(crate) async fn closed_to(&self, caller: &Caller) {
        let mut removals = self.removals.subscribe();
        while let Some(left) = self.time_left(caller) {
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                _ = removals.changed() => {}
            }
        }
    }

    /// How long the caller's key still opens; `None` if it doesn't. Those of the configuration stay.
    fn time_left(&self, caller: &Caller) -> Option<Duration> {
        let Ok(id) = caller.key.parse::<KeyId>() else { return Some(Duration::MAX) };
        let expires_at = self.read().get(&id)?.0.expires_at;
        let left = expires_at.map(|end| Duration::try_from(end - OffsetDateTime::now_utc()));
        left.map_or(Some(Duration::MAX), Result::ok).filter(|left| !left.is_zero())
    }

    /// The record of a stored key.
    pub(crate) fn get(&self, id: &KeyId) -> Option<ApiKeyRecord> {
        self.read().get(id).map(|(_, record)| record.clone())
    }

    /// The limits of the key that callers go by under this name; those of the configuration have none of their own.
    pub(crate) fn limits(&self, name: &str) -> KeyLimits {
        let id = name.parse::<KeyId>().ok();
        id.and_then(|id| self.read().get(&id).map(|(_, record)| record.limits)).unwrap_or_default()
    }

    /// Up to `limit` stored keys that `is_wanted`, oldest first, behind `after`.
    pub(crate) fn list(&self, after: Option<&KeyId>, limit: usize, is_wanted: impl Fn(&ApiKeyRecord) -> bool) -> Vec<ApiKeyRecord> {
        let stored = self.read();
        let behind = stored.values().map(|(_, record)| record).filter(|record| after.is_none_or(|after| record.id > *after));
        behind.filter(|record| is_wanted(record)).take(limit).cloned().collect()
    }

    /// How many keys the store has.
    pub(crate) fn stored_count(&self) -> usize {
        self.read().len()
    }

    /// The caller of a request with this `Authorization` header; `None` if it may not come in.
    pub(crate) fn caller(&self, authorization: Option<&str>) -> Option<Caller> {
        let token = authorization.and_then(bearer);
        let known = token.and_then(|token| self.find(&hash(token), OffsetDateTime::now_utc()));
        // Clients that must send something send anything; but one of ours that is no longer known is no mistake.
        let is_ours = token.is_some_and(|token| token.starts_with(PREFIX));
        let anybody = || (self.is_open() && !is_ours).then(|| Caller::operator(TenantId::default(), "anybody"));
        known.or_else(anybody)
    }

    /// Looks at every key, so that time tells nothing about any.
    fn find(&self, sha256: &[u8; 32], now: OffsetDateTime) -> Option<Caller> {
        let stored = self.read();
        let all = self.configured.iter().chain(stored.values().map(|(key, _)| key));
        let found = all.fold(None, |found, key| if is_same(&key.sha256, sha256) { Some(key) } else { found });
        found.filter(|key| key.expires_at.is_none_or(|end| now < end)).map(|key| key.caller.clone())
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<KeyId, (Key, ApiKeyRecord)>> {
        self.stored.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<KeyId, (Key, ApiKeyRecord)>> {
        self.stored.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn configured_caller(key: &KeyConfig, sha256: &[u8; 32]) -> Caller {
    // Changes with the key and says nothing about it.
    let name = format!("configured {}", to_hex(&hash(&to_hex(sha256))));
    let operator = Caller::operator(key.tenant.clone(), &name);
    let set = |names: &Vec<String>| names.iter().cloned().collect::<BTreeSet<String>>();
    Caller {
        scopes: key.scopes.as_ref().map_or(BTreeSet::from(Scope::ALL), |scopes| scopes.iter().copied().collect()),
        collections: key.collections.as_ref().map(set),
        principals: key.principals.as_ref().map(set).map_or(Principals::All, Principals::Only),
        is_operator: key.operator,
        ..operator
    }
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::super::secret::Secret;
    use super::*;

    fn configured(key: &str) -> KeyConfig {
        KeyConfig { sha256: to_hex(&hash(key)), tenant: "a".parse().unwrap(), principals: Some(vec!["ann".into()]), ..KeyConfig::default() }
    }

    fn stored(expires_at: Option<OffsetDateTime>) -> (String, ApiKeyRecord) {
        let secret = Secret::generate().unwrap();
        let record = ApiKeyRecord {
            id: KeyId::generate(),
            name: "k".into(),
            tenant: "b".parse().unwrap(),
            sha256: secret.sha256,
            scopes: BTreeSet::from([Scope::Query]),
            collections: None,
            principals: None,
            limits: KeyLimits::default(),
            created_at: OffsetDateTime::now_utc(),
            expires_at,
        };
        (format!("Bearer {}", secret.plaintext), record)
    }

    #[test]
    fn a_key_opens_its_tenant_and_no_other() {
        let keys = Keys::new(&[configured("one")], Some("a-plain-key-of-enough-bytes")).unwrap();
        let one = keys.caller(Some("Bearer one")).unwrap();
        assert_eq!((one.tenant.as_str(), one.is_operator, one.scopes.len()), ("a", false, 3));
        let plain = keys.caller(Some("bearer a-plain-key-of-enough-bytes")).unwrap();
        assert_eq!((plain.tenant, plain.is_operator), (TenantId::default(), true));
        for stranger in [None, Some("Bearer two"), Some("Basic one"), Some("one"), Some("")] {
            assert!(keys.caller(stranger).is_none(), "{stranger:?}");
        }
    }

    #[test]
    fn without_configured_keys_everybody_is_the_operator() {
        let keys = Keys::new(&[], None).unwrap();
        for header in [None, Some("Bearer anything"), Some("Basic x")] {
            let anybody = keys.caller(header).unwrap();
            assert_eq!((anybody.tenant, anybody.is_operator), (TenantId::default(), true), "{header:?}");
        }
        assert!(keys.caller(Some("Bearer rag_revoked")).is_none());
    }

    #[test]
    fn a_stored_key_works_until_it_is_removed() {
        for keys in [Keys::new(&[], None).unwrap(), Keys::new(&[configured("one")], None).unwrap()] {
            let (header, record) = stored(None);
            assert!(keys.caller(Some(&header)).is_none());
            keys.insert(record.clone()).unwrap();
            assert_eq!(keys.caller(Some(&header)).unwrap().tenant, record.tenant);
            keys.remove(&record.id);
            assert!(keys.caller(Some(&header)).is_none());
        }
    }

    #[test]
    fn a_stored_key_works_until_it_expires() {
        let keys = Keys::new(&[configured("one")], None).unwrap();
        let now = OffsetDateTime::now_utc();
        let (header, record) = stored(Some(now));
        let sha256 = hash(header.trim_start_matches("Bearer "));
        keys.insert(record).unwrap();
        let just_before = now - time::Duration::nanoseconds(1);
        assert!(keys.find(&sha256, just_before).is_some());
        assert!(keys.find(&sha256, now).is_none());
        assert!(keys.caller(Some(&header)).is_none());
    }

    #[test]
    fn bad_keys_are_named() {
        let mut bounded_operator = configured("one");
        bounded_operator.operator = true;
        let no_scope = KeyConfig { scopes: Some(vec![]), ..configured("two") };
        let bad = [KeyConfig { sha256: "zz".into(), ..KeyConfig::default() }, bounded_operator, no_scope];
        assert_eq!(Keys::new(&bad, Some("short")).err().map(|errors| errors.len()), Some(4));
    }
}
