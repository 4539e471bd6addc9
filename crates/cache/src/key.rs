//! Keys of entries, and the partitions that they never leave.
//!
//! Invariants: everything that an answer depends on is part of its key, so that no request is served what was made
//! for another tenant, other rights, other data, another model or prompt; different parts give different keys
//! (see [`crate::Fingerprint`]). Tenant and collection stand readable at the front, so that all that belongs
//! to one of them is found by its prefix.

use crate::fingerprint::{Fingerprint, Parts, hex, unhex};
use corpus::{CollectionId, Principals, TenantId};
use std::sync::Arc;

/// Whose an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The server's: the same for every tenant, as the vector of a text is.
    Server,
    /// A tenant's, whatever the collection.
    Tenant(TenantId),
    /// Made from one state of one collection.
    Collection {
        /// The tenant it belongs to.
        tenant: TenantId,
        /// The collection.
        collection: CollectionId,
        /// The number of the collection's last change: each write begins a new partition.
        generation: u64,
    },
}

/// All that a cached value depends on besides what was asked. A literal, so that leaving a part out doesn't compile.
#[derive(Debug, Clone)]
pub struct Conditions<'a> {
    /// Whose it is, and from which data.
    pub scope: Scope,
    /// What the caller may read.
    pub access: &'a Principals,
    /// The model that makes the value, with its revision.
    pub model: &'a str,
    /// The version of the prompt; empty without one.
    pub prompt: &'a str,
    /// Whatever else changes the value, by name; the order doesn't matter.
    pub parameters: &'a [(&'a str, &'a str)],
}

/// Entries whose values may stand in for each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    scope: Scope,
    digest: Fingerprint,
}

/// Names one entry.
#[derive(Debug, Clone)]
pub struct Key {
    kind: &'static str,
    partition: Partition,
    digest: Fingerprint,
    path: Arc<str>,
}

/// Where an entry lies: what pages of entries tell of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(Arc<str>);

/// The entries of the server itself, of a tenant, or of one of its collections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(String);

/// Stands where a tenant or a collection would: no id has this character.
const NOBODY: &str = "*";

impl Partition {
    /// The partition of these conditions.
    #[must_use]
    pub fn of(conditions: &Conditions<'_>) -> Self {
        let Conditions { scope, access, model, prompt, parameters } = conditions;
        let (generation, parts) = match scope {
            Scope::Server => (0, Parts::of("partition").with(b's', b"")),
            Scope::Tenant(tenant) => (0, Parts::of("partition").with(b't', tenant.as_str().as_bytes())),
            Scope::Collection { tenant, collection, generation } => {
                let parts = Parts::of("partition").with(b't', tenant.as_str().as_bytes());
                (*generation, parts.with(b'c', collection.as_str().as_bytes()))
            }
        };
        let parts = parts.with(b'g', &generation.to_le_bytes()).with(b'a', &access_set(access));
        let mut sorted: Vec<_> = parameters.iter().collect();
        sorted.sort_unstable();
        let parts = parts.with(b'm', model.as_bytes()).with(b'p', prompt.as_bytes());
        let parts = sorted.iter().fold(parts, |parts, (name, value)| parts.with(b'n', name.as_bytes()).with(b'v', value.as_bytes()));
        Self { scope: scope.clone(), digest: parts.finish() }
    }

    /// Names the entry of `kind` for what was asked, given in parts: `["question"]`, or a text and its purpose.
    #[must_use]
    pub fn key(&self, kind: &'static str, asked: &[&[u8]]) -> Key {
        let parts = Parts::of("key").with(b'k', kind.as_bytes()).with(b'd', &self.digest);
        let digest = asked.iter().fold(parts, |parts, part| parts.with(b'q', part)).finish();
        let (tenant, collection) = self.owner();
        let path = format!("{tenant}/{collection}/{}/{}", plain(kind), hex(&digest)).into();
        Key { kind, partition: self.clone(), digest, path }
    }

    /// What tells this partition from all others.
    #[must_use]
    pub const fn digest(&self) -> Fingerprint {
        self.digest
    }

    /// Tenant and collection as they stand in paths.
    fn owner(&self) -> (&str, &str) {
        match &self.scope {
            Scope::Server => (NOBODY, NOBODY),
            Scope::Tenant(tenant) => (tenant.as_str(), NOBODY),
            Scope::Collection { tenant, collection, .. } => (tenant.as_str(), collection.as_str()),
        }
    }
}

/// A digest of who may read what: everybody's is not that of nobody in particular.
fn access_set(access: &Principals) -> Fingerprint {
    match access {
        Principals::All => Parts::of("access").with(b'*', b"").finish(),
        Principals::Only(names) => names.iter().fold(Parts::of("access"), |parts, name| parts.with(b'n', name.as_bytes())).finish(),
    }
}

/// The kind as part of a path. The digest holds it as it is.
fn plain(kind: &str) -> String {
    kind.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' }).collect()
}

impl Key {
    /// What is cached: `embedding`, `answer`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// The partition it belongs to.
    #[must_use]
    pub const fn partition(&self) -> &Partition {
        &self.partition
    }

    /// Names the entry among all kinds and partitions.
    #[must_use]
    pub const fn digest(&self) -> Fingerprint {
        self.digest
    }

    /// The name under which every tier keeps it: `tenant/collection/kind/digest`.
    #[must_use]
    pub const fn path(&self) -> &Arc<str> {
        &self.path
    }
}

impl Address {
    /// The entry of a tenant and a collection, or of nobody in particular, with this kind and digest, as
    /// [`crate::Listed`] has them; `None` if that is no digest.
    #[must_use]
    pub fn of(tenant: Option<&TenantId>, collection: Option<&CollectionId>, kind: &str, digest: &str) -> Option<Self> {
        let digest = hex(&unhex(digest)?);
        let (tenant, collection) = (tenant.map_or(NOBODY, TenantId::as_str), collection.map_or(NOBODY, CollectionId::as_str));
        Some(Self(format!("{tenant}/{collection}/{}/{digest}", plain(kind)).into()))
    }

    pub(crate) const fn path(&self) -> &Arc<str> {
        &self.0
    }
}

impl Prefix {
    /// All entries that are nobody's in particular.
    #[must_use]
    pub fn of_server() -> Self {
        Self(format!("{NOBODY}/"))
    }

    /// All entries of a tenant.
    #[must_use]
    pub fn of_tenant(tenant: &TenantId) -> Self {
        Self(format!("{tenant}/"))
    }

    /// All entries made from a collection, of any generation.
    #[must_use]
    pub fn of_collection(tenant: &TenantId, collection: &CollectionId) -> Self {
        Self(format!("{tenant}/{collection}/"))
    }
}

impl Prefix {
    pub(crate) fn has(&self, path: &str) -> bool {
        path.starts_with(self.as_str())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which entries are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    One(Arc<str>),
    Under(Prefix),
}

impl Selection {
    pub(crate) fn has(&self, path: &str) -> bool {
        match self {
            Self::One(one) => one.as_ref() == path,
            Self::Under(prefix) => prefix.has(path),
        }
    }

    /// What all paths meant begin with.
    pub(crate) fn prefix(&self) -> &str {
        match self {
            Self::One(path) => path,
            Self::Under(prefix) => prefix.as_str(),
        }
    }
}

/// A path taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place<'p> {
    pub(crate) tenant: Option<&'p str>,
    pub(crate) collection: Option<&'p str>,
    pub(crate) kind: &'p str,
    pub(crate) digest: &'p str,
}

impl<'p> Place<'p> {
    /// `None` if no key has this path.
    pub(crate) fn of(path: &'p str) -> Option<Self> {
        let mut parts = path.split('/');
        let (tenant, collection, kind, digest) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let somebody = |name: &'p str| (name != NOBODY).then_some(name);
        unhex(digest).filter(|_| parts.next().is_none())?;
        Some(Self { tenant: somebody(tenant), collection: somebody(collection), kind, digest })
    }
}

#[cfg(test)]
mod tests;
