//! One caller: a tenant, and the bounds that its key sets.

use corpus::{Account, Errand, Principals, TenantId, Waiter};
use index::batches::{BatchAsker, BatchRecord};
use index::records::CollectionRecord;
use index::{ApiKeyRecord, Once, Scope};
use std::collections::BTreeSet;

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) tenant: TenantId,
    /// Whose documents it may read, of those with an ACL.
    pub(crate) principals: Principals,
    pub(crate) scopes: BTreeSet<Scope>,
    /// Ids or names of the collections it may use; `None`: all.
    pub(crate) collections: Option<BTreeSet<String>>,
    /// May manage what belongs to every tenant: keys and backups.
    pub(crate) is_operator: bool,
    /// Names the key: one caller's idempotency keys are not another's.
    pub(super) key: String,
}

impl Caller {
    /// The operator of a tenant: everybody on a server without keys, and whoever holds its own key.
    pub(super) fn operator(tenant: TenantId, key: &str) -> Self {
        let scopes = BTreeSet::from(Scope::ALL);
        Self { tenant, principals: Principals::All, scopes, collections: None, is_operator: true, key: key.to_owned() }
    }

    /// Whoever holds this stored key.
    pub(super) fn of(record: ApiKeyRecord) -> Self {
        Self {
            tenant: record.tenant,
            principals: record.principals.map_or(Principals::All, Principals::Only),
            scopes: record.scopes,
            collections: record.collections,
            is_operator: false,
            key: record.id.to_string(),
        }
    }

    /// Whether it reads and uses everything of its tenant.
    pub(crate) fn is_unbounded(&self) -> bool {
        self.collections.is_none() && self.principals == Principals::All
    }

    /// Where the calls that it causes are booked, beside these tags.
    pub(crate) fn account(&self, tags: Vec<String>) -> Account {
        Account { tenant: self.tenant.clone(), key: self.key.clone(), tags, collection: None }
    }

    /// What models are asked for on its behalf: as long as the waiter is there, where there is one.
    pub(crate) fn errand(&self, tags: Vec<String>, waiter: Option<&Waiter>) -> Errand {
        let wanted = waiter.map(Waiter::wanted).unwrap_or_default();
        Errand { wanted, ..Errand::of(self.account(tags)) }
    }

    /// Whoever asked for a batch, with the bounds of then, to ask and for nothing else.
    pub(crate) fn of_batch(batch: &BatchRecord) -> Self {
        let BatchAsker { key, collections, .. } = batch.asker.clone();
        let (principals, scopes) = (batch.asker.principals(), BTreeSet::from([Scope::Query]));
        Self { tenant: batch.tenant.clone(), principals, scopes, collections, is_operator: false, key }
    }

    /// As a batch remembers it.
    pub(crate) fn asker(&self) -> BatchAsker {
        let principals = match &self.principals {
            Principals::All => None,
            Principals::Only(mine) => Some(mine.clone()),
        };
        BatchAsker { key: self.key.clone(), principals, collections: self.collections.clone(), tags: Vec::new() }
    }

    /// Whether a batch of its tenant is its own and shows nothing that it may no longer read; or it manages the tenant.
    pub(crate) fn may_see(&self, asker: &BatchAsker) -> bool {
        let mine = self.asker();
        let is_own = mine.key == asker.key && is_within(asker.principals.as_ref(), mine.principals.as_ref());
        is_own || (self.is_unbounded() && self.scopes.contains(&Scope::Admin))
    }

    pub(crate) fn may_use(&self, collection: &CollectionRecord) -> bool {
        self.may_use_name(&collection.name) || self.may_use_name(collection.id.as_str())
    }

    /// Whether it may use a collection of this name, or give one this name.
    pub(crate) fn may_use_name(&self, name: &str) -> bool {
        self.collections.as_ref().is_none_or(|mine| mine.contains(name))
    }

    /// Whether a key opens nothing that this caller can't open itself, in its tenant.
    pub(crate) fn covers(&self, key: &ApiKeyRecord) -> bool {
        let mine = match &self.principals {
            Principals::All => None,
            Principals::Only(mine) => Some(mine),
        };
        self.is_operator
            || (key.tenant == self.tenant
                && is_within(key.collections.as_ref(), self.collections.as_ref())
                && is_within(key.principals.as_ref(), mine))
    }

    /// A request that is answered once: `request` is the hash of what was asked.
    pub(crate) fn once(&self, key: Option<String>, request: String) -> Option<Once> {
        key.map(|key| Once { key: format!("{} {key}", self.key), request })
    }
}

/// `None` is everything.
fn is_within(inner: Option<&BTreeSet<String>>, outer: Option<&BTreeSet<String>>) -> bool {
    match (inner, outer) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(inner), Some(outer)) => inner.is_subset(outer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use corpus::KeyId;
    use time::OffsetDateTime;

    fn record(tenant: &str, collections: Option<&[&str]>, principals: Option<&[&str]>) -> ApiKeyRecord {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        ApiKeyRecord {
            id: KeyId::generate(),
            name: "k".into(),
            tenant: tenant.parse().unwrap(),
            sha256: "0".repeat(64),
            scopes: BTreeSet::from([Scope::Admin]),
            collections: collections.map(set),
            principals: principals.map(set),
            limits: index::KeyLimits::default(),
            created_at: OffsetDateTime::UNIX_EPOCH,
            expires_at: None,
        }
    }

    #[test]
    fn nobody_manages_a_key_that_opens_more_than_its_own() {
        let whole = Caller::of(record("a", None, None));
        let bounded = Caller::of(record("a", Some(&["x", "y"]), Some(&["ann"])));
        let operator = Caller::operator(TenantId::default(), "environment");
        for (key, expected) in [
            (record("a", None, None), (true, false)),
            (record("a", Some(&["x"]), None), (true, false)),
            (record("a", Some(&["x"]), Some(&["ann"])), (true, true)),
            (record("a", Some(&["x", "z"]), Some(&["ann"])), (true, false)),
            (record("a", Some(&["x"]), Some(&["bob"])), (true, false)),
            (record("b", None, None), (false, false)),
            (record("b", Some(&["x"]), Some(&["ann"])), (false, false)),
        ] {
            assert_eq!((whole.covers(&key), bounded.covers(&key)), expected, "{key:?}");
            assert!(operator.covers(&key));
        }
    }
}
