//! Keys for tests.

use crate::key::{Conditions, Key, Partition, Scope};
use corpus::{CollectionId, Principals, TenantId};

pub(crate) fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

pub(crate) fn collection(n: u64) -> CollectionId {
    format!("col_{n:026}").parse().unwrap()
}

pub(crate) fn partition(name: &str, n: u64) -> Partition {
    let scope = Scope::Collection { tenant: tenant(name), collection: collection(n), generation: 1 };
    Partition::of(&Conditions { scope, access: &Principals::All, model: "m", prompt: "1", parameters: &[] })
}

/// An answer's key in the collection 1 of the tenant `acme`.
pub(crate) fn key(question: &str) -> Key {
    partition("acme", 1).key("answer", &[question.as_bytes()])
}
