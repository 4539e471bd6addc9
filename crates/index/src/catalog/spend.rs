//! Where the gateway's ledger is kept: pairs whose names and values the catalog does not look into.

use super::{Catalog, CatalogError};
use crate::keys;
use crate::store::Batch;

impl Catalog {
    /// Sets or removes pairs of the ledger, all of them or none; durable on return. Only the ledger writes them, so
    /// this takes no turn among the writers.
    ///
    /// # Errors
    /// A store error.
    pub fn write_ledger<'c>(&self, changes: impl IntoIterator<Item = (&'c str, Option<&'c [u8]>)>) -> Result<(), CatalogError> {
        let mut batch = Batch::default();
        for (name, value) in changes {
            match value {
                Some(value) => batch.put(keys::ledger(name), value),
                None => batch.delete(keys::ledger(name)),
            }
        }
        let seq = self.store.commit(batch)?;
        self.durable(seq)
    }

    /// Up to `limit` pairs of the ledger whose name starts with `prefix` and is greater than `after`, in order.
    ///
    /// # Errors
    /// A store error.
    pub fn read_ledger(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<(String, Vec<u8>)>, CatalogError> {
        let after = after.map(keys::ledger);
        let pairs = self.store.scan(&keys::ledger(prefix), after.as_deref(), limit)?;
        Ok(pairs.into_iter().map(|(key, value)| (keys::ledger_name(&key), value)).collect())
    }
}
