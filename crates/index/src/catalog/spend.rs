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

#[cfg(test)]
mod tests {
    use crate::blobs::Blobs;
    use crate::store::MemoryStore;
    use crate::verify::check;
    use crate::{Catalog, CatalogParams};
    use std::sync::Arc;

    #[test]
    fn pairs_are_read_by_prefix_and_are_no_strangers() {
        let folder = tempfile::tempdir().unwrap();
        let (store, views) = (Arc::new(MemoryStore::default()), folder.path().join("views"));
        let params = CatalogParams { views: views.clone(), vector: Default::default(), collections_open_max: 8 };
        let blobs = || Blobs::open(folder.path().join("blobs")).unwrap();
        let catalog = Catalog::new(store.clone(), blobs(), params);
        let names = ["open/1", "usage/2026-01-01/a/[\"k\"]", "usage/2026-01-02/a/[]", "usage/2026-01-02/b/[]"];
        catalog.write_ledger(names.map(|name| (name, Some(name.as_bytes())))).unwrap();
        let read = |prefix: &str, after: Option<&str>| -> Vec<String> {
            let pairs = catalog.read_ledger(prefix, after, 9).unwrap();
            pairs
                .into_iter()
                .map(|(name, value)| String::from_utf8(value).map(|value| assert_eq!(name, value)).map(|()| name).unwrap())
                .collect()
        };
        assert_eq!(read("usage/", None), names[1..]);
        assert_eq!(read("usage/", Some(names[1])), names[2..]);
        assert_eq!(read("usage/2026-01-02/a/", None), names[2..3]);
        catalog.write_ledger([(names[0], None), (names[1], None)]).unwrap();
        assert_eq!(read("", None), names[2..]);
        let report = check(&*store, &blobs(), &views).unwrap();
        assert!(report.findings.is_empty(), "{:?}", report.findings);
    }
}
