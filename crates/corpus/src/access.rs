//! Who may read a document.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The principals (users, groups) that may read a document. Empty means everybody in the tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Acl(pub BTreeSet<String>);

/// The principals that a request speaks for, taken from its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principals {
    /// May read every document of the tenant.
    All,
    /// May read documents without an ACL and those whose ACL names one of these.
    Only(BTreeSet<String>),
}

impl Principals {
    /// Whether a document with this ACL may be read.
    #[must_use]
    pub fn may_read(&self, acl: &Acl) -> bool {
        match self {
            Self::All => true,
            Self::Only(mine) => acl.0.is_empty() || !acl.0.is_disjoint(mine),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn an_acl_is_a_gate_only_when_it_names_somebody() {
        let mine = Principals::Only(set(&["ann", "staff"]));
        assert!(mine.may_read(&Acl::default()));
        assert!(mine.may_read(&Acl(set(&["staff", "board"]))));
        assert!(!mine.may_read(&Acl(set(&["board"]))));
        assert!(Principals::All.may_read(&Acl(set(&["board"]))));
    }
}
