//! Evaluations: records that can be read, results that can be read and belong to one, counts that are theirs.

use super::read::{self, Value};
use super::{Fix, Verifier, VerifyError};
use crate::evaluations::EvaluationRecord;
use crate::keys;
use corpus::{EvaluationId, TenantId};
use std::collections::BTreeMap;

/// Of each evaluation that has a result, how many it has.
type Counted = BTreeMap<(TenantId, EvaluationId), u32>;

impl Verifier<'_> {
    pub(super) fn check_evaluations(&mut self) -> Result<(), VerifyError> {
        let mut counted = Counted::default();
        read::each(self.store, &[keys::EVALUATION_RESULT], |key, value| self.check_result(key, value, &mut counted))?;
        read::each(self.store, &[keys::EVALUATION], |key, value| self.check_evaluation(key, value, &counted))
    }

    fn check_result(&mut self, key: &[u8], value: Value<'_>, counted: &mut Counted) -> Result<(), VerifyError> {
        let named: Option<((TenantId, EvaluationId), u32)> = read::part(key, 0).zip(read::part(key, 1)).zip(keys::case_of_result(key));
        let named = named.filter(|((tenant, id), index)| keys::evaluation_result(tenant, id, *index) == key);
        let remove = Fix::Delete { key: key.to_vec() };
        let Some((of, _)) = named else {
            self.repairable("evaluation_stray", key, "it belongs to no evaluation", remove);
            return Ok(());
        };
        if read::get(self.store, &keys::evaluation(&of.0, &of.1))?.is_none() {
            self.repairable("evaluation_stray", key, "it belongs to no evaluation", remove);
        } else if value.ok().and_then(|value| serde_json::from_slice::<serde_json::Value>(value).ok()).is_none() {
            self.repairable("evaluation_result_damaged", key, "the result of a case can't be read", remove);
        } else {
            *counted.entry(of).or_default() += 1;
        }
        Ok(())
    }

    fn check_evaluation(&mut self, key: &[u8], value: Value<'_>, counted: &Counted) -> Result<(), VerifyError> {
        self.report.evaluations += 1;
        let record = value.ok().and_then(|value| serde_json::from_slice::<EvaluationRecord>(value).ok());
        let Some(mut record) = record.filter(|record| keys::evaluation(&record.tenant, &record.id) == key) else {
            self.repairable("evaluation_damaged", key, "the record of an evaluation can't be read", Fix::Delete { key: key.to_vec() });
            return Ok(());
        };
        let done = counted.get(&(record.tenant.clone(), record.id.clone())).copied().unwrap_or_default();
        if record.done != done {
            let detail = format!("it tells of {} results and has {done}", record.done);
            record.done = done;
            self.repairable("evaluation_count_wrong", key, detail, Fix::Put { key: key.to_vec(), value: serde_json::to_vec(&record)? });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{fixture, new_collection, open_catalog};
    use super::*;
    use crate::batches::BatchAsker;
    use crate::blobs::Blobs;
    use crate::evaluations::{EvaluationKind, EvaluationState};
    use crate::store::{MemoryDisk, MemoryStore};
    use crate::{Catalog, CatalogError, CatalogParams};
    use std::sync::Arc;
    use time::OffsetDateTime;

    fn record(at: &crate::records::CollectionRecord) -> EvaluationRecord {
        EvaluationRecord {
            id: EvaluationId::generate(),
            tenant: at.tenant.clone(),
            name: None,
            collection: at.id.clone(),
            kind: EvaluationKind::Retrieval,
            asker: BatchAsker { key: "k".into(), principals: None, collections: None, tags: Vec::new() },
            state: EvaluationState::Running,
            settings: serde_json::json!({}),
            total: 3,
            done: 0,
            summary: serde_json::Value::Null,
            created_at: OffsetDateTime::UNIX_EPOCH,
            updated_at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    fn results(of: &[u32]) -> Vec<(u32, Vec<u8>)> {
        of.iter().map(|index| (*index, format!("{{\"id\":\"{index}\"}}").into_bytes())).collect()
    }

    #[test]
    fn evaluations_are_put_right() {
        let fixture = fixture();
        let catalog = open_catalog(fixture.data.path());
        let made = catalog.create_evaluation(record(&fixture.at), None).unwrap();
        let (tenant, id) = (&made.tenant, &made.id);
        assert_eq!(catalog.commit_evaluation_results(tenant, id, &results(&[0, 2])).unwrap().done, 2);
        drop(catalog);
        assert!(fixture.codes().is_empty(), "{:?}", fixture.codes());
        fixture.change(|batch, _| {
            batch.put(keys::evaluation_result(tenant, id, 0), "{");
            batch.put(keys::evaluation_result(tenant, &EvaluationId::generate(), 0), "{}");
            batch.put(keys::evaluation(tenant, &EvaluationId::generate()), "{");
        });
        fixture.is_repaired(&["evaluation_result_damaged", "evaluation_stray", "evaluation_damaged", "evaluation_count_wrong"]);
    }

    #[test]
    fn what_ran_is_interrupted_and_the_oldest_go() {
        let fixture = fixture();
        let catalog = open_catalog(fixture.data.path());
        let mut all: Vec<_> = (0..3).map(|_| catalog.create_evaluation(record(&fixture.at), None).unwrap()).collect();
        // Ids of one millisecond have no order of their own.
        all.sort_by(|a, b| a.id.cmp(&b.id));
        let tenant = &fixture.at.tenant;
        let [first, second, third] = [&all[0].id, &all[1].id, &all[2].id];
        catalog.commit_evaluation_results(tenant, second, &results(&[0])).unwrap();
        catalog.end_evaluation(tenant, first, EvaluationState::Succeeded, serde_json::json!({ "x": 1 })).unwrap();
        assert_eq!(catalog.interrupt_evaluations().unwrap(), 2);
        let interrupted = catalog.evaluation(tenant, second).unwrap();
        assert_eq!((&interrupted.state, interrupted.done), (&EvaluationState::Interrupted, 1));
        assert_eq!(catalog.evaluation(tenant, first).unwrap().state, EvaluationState::Succeeded);
        assert!(matches!(catalog.commit_evaluation_results(tenant, second, &results(&[1])), Err(CatalogError::Superseded)));
        catalog.prune_evaluations(tenant, 2).unwrap();
        let left: Vec<_> = catalog.evaluations(tenant, None, 10).unwrap().items.into_iter().map(|record| record.id).collect();
        assert_eq!(left, [second.clone(), third.clone()]);
        assert_eq!(catalog.evaluation_results(&interrupted, None, 10, 1 << 20).unwrap().items.len(), 1);
        catalog.delete_collection(tenant, &fixture.at.id).unwrap();
        assert!(catalog.evaluations(tenant, None, 10).unwrap().items.is_empty(), "results quote documents");
    }

    #[test]
    fn what_is_half_removed_counts_what_is_left() {
        let disk = MemoryDisk::default();
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let params = CatalogParams { views: folder.path().join("views"), vector: Default::default(), collections_open_max: 4 };
            let store = Arc::new(MemoryStore::open(&disk).unwrap());
            Catalog::new(store, Blobs::open(folder.path().join("blobs")).unwrap(), params)
        };
        let catalog = open();
        let made = catalog.create_evaluation(record(&new_collection(&catalog, "c")), None).unwrap();
        let all: Vec<u32> = (0..300).collect();
        catalog.commit_evaluation_results(&made.tenant, &made.id, &results(&all)).unwrap();
        // The end, a page, and then no more.
        disk.fail_commit(3);
        catalog.remove_evaluation(&made).unwrap_err();
        let left = catalog.evaluation(&made.tenant, &made.id).unwrap();
        assert_eq!(left.done, 44);
        assert_eq!(catalog.evaluation_results(&left, None, 300, 1 << 20).unwrap().items.len(), 44);
        drop(catalog);
        disk.crash(Some(7));
        let catalog = open();
        catalog.remove_evaluation(&made).unwrap();
        assert!(matches!(catalog.evaluation(&made.tenant, &made.id), Err(CatalogError::NotFound { .. })));
        assert!(catalog.evaluation_results(&made, None, 300, 1 << 20).unwrap().items.is_empty());
    }

    #[test]
    fn a_damaged_evaluation_is_in_nobodys_way() {
        let fixture = fixture();
        let catalog = open_catalog(fixture.data.path());
        let [damaged, whole] = [0, 1].map(|_| catalog.create_evaluation(record(&fixture.at), None).unwrap());
        let tenant = fixture.at.tenant.clone();
        drop(catalog);
        fixture.damage(&keys::evaluation(&tenant, &damaged.id));
        fixture.change(|batch, _| batch.put(keys::evaluation(&tenant, &EvaluationId::generate()), "{"));
        let catalog = open_catalog(fixture.data.path());
        assert_eq!(catalog.interrupt_evaluations().unwrap(), 1);
        catalog.prune_evaluations(&tenant, 5).unwrap();
        catalog.delete_collection(&tenant, &fixture.at.id).unwrap();
        assert!(matches!(catalog.evaluation(&tenant, &whole.id), Err(CatalogError::NotFound { .. })));
        let gone = catalog.create_evaluation(record(&fixture.at), None);
        assert!(matches!(gone, Err(CatalogError::NotFound { .. })), "its collection is gone");
    }
}
