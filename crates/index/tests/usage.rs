//! What a tenant takes: after every operation the counters are what the records say, over crashes
//! too, and no race passes a quota.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "a test fails by panicking")]

mod support;

use corpus::{ChunkDraft, Embedding, KeyId, Principals, Span, TenantId};
use index::records::CollectionRecord;
use index::store::MemoryDisk;
use index::{ApiKeyRecord, Catalog, CatalogError, KEYS_PER_TENANT_MAX, KeyLimits, Processed, Quota, Quotas, Scope, Upload};
use proptest::prelude::*;
use ragstone_index as index;
use std::collections::BTreeSet;
use support::{new_collection, open};

fn tenant(number: u8) -> TenantId {
    format!("t{}", number % 2).parse().unwrap()
}

fn create(catalog: &Catalog, tenant: &TenantId, name: &str) -> Result<CollectionRecord, CatalogError> {
    catalog.create_collection(tenant, new_collection(name), None)
}

fn upload(name: &str, text: &str) -> Upload {
    Upload { bytes: text.into(), name: name.into(), external_id: Some(name.into()), ..Upload::default() }
}

fn processed(text: &str) -> Processed {
    let draft = ChunkDraft { span: Span::of(text, 0..text.len()).unwrap(), text: text.into(), heading_path: vec![], page: None, tokens: 3 };
    let chunks = vec![(draft, Embedding::normalised(vec![1.0, 2.0], 2).unwrap())];
    Processed {
        text: text.into(),
        media_type: "text/plain".into(),
        title: None,
        pages: None,
        warnings: vec![],
        chunks,
        embedded: 0,
        precision: corpus::Precision::F32,
    }
}

#[derive(Debug, Clone)]
enum Step {
    Create(u8, u8),
    Upload(u8, u8, u8, u8),
    /// Ends the oldest job: committed, failed or cancelled.
    End(u8),
    Delete(u8, u8, u8),
    DeleteCollection(u8, u8),
    /// The next sync fails, and the server starts again.
    Crash(u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let (tenant, collection, document) = (0u8..2, 0u8..2, 0u8..4);
    prop_oneof![
        1 => (tenant.clone(), collection.clone()).prop_map(|(t, c)| Step::Create(t, c)),
        5 => (tenant.clone(), collection.clone(), document.clone(), 1u8..60).prop_map(|(t, c, d, n)| Step::Upload(t, c, d, n)),
        4 => (0u8..3).prop_map(Step::End),
        3 => (tenant.clone(), collection.clone(), document).prop_map(|(t, c, d)| Step::Delete(t, c, d)),
        1 => (tenant, collection).prop_map(|(t, c)| Step::DeleteCollection(t, c)),
        1 => (0u8..2, 0u8..4).prop_map(|(t, d)| Step::Crash(t, d)),
    ]
}

fn end_a_job(catalog: &Catalog, how: u8) {
    let Some(job) = catalog.unfinished_jobs().unwrap().into_iter().next() else { return };
    match how {
        // Another version of the same request has taken its place: the job ends otherwise.
        0 if catalog.commit_document(&job, processed("a text")).is_ok() => {}
        1 => catalog.fail_job(&job, "corrupt", "it is").unwrap(),
        _ => drop(catalog.cancel_job(&job.tenant, &job.id).unwrap()),
    }
}

fn take(catalog: &Catalog, step: &Step) {
    let find = |tenant_number: u8, collection: u8| catalog.collection(&tenant(tenant_number), &format!("c{collection}"));
    match *step {
        Step::Create(t, c) => drop(create(catalog, &tenant(t), &format!("c{c}"))),
        Step::Upload(t, c, d, bytes) => {
            let Ok(collection) = find(t, c) else { return };
            // Two documents of one request, one of them twice.
            let text = "x".repeat(bytes.into());
            let uploads = vec![upload(&format!("d{d}"), &text), upload("twice", &text), upload("twice", "other")];
            catalog.admit(&collection, &Principals::All, uploads, None).unwrap();
        }
        Step::End(how) => end_a_job(catalog, how),
        Step::Delete(t, c, d) => drop(find(t, c).map(|collection| catalog.delete_document(&collection, &format!("d{d}")))),
        Step::DeleteCollection(t, c) => {
            drop(find(t, c).map(|collection| catalog.delete_collection(&collection.tenant, &collection.id).unwrap()));
        }
        Step::Crash(..) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_counters_are_what_the_records_say(steps in proptest::collection::vec(step(), 1..40)) {
        let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
        let mut catalog = open(&disk, folder.path());
        for step in &steps {
            take(&catalog, step);
            if let Step::Crash(t, d) = *step {
                disk.fail_sync(1);
                let collection = catalog.collection(&tenant(t), "c0");
                let refused = collection.map(|collection| catalog.admit(&collection, &Principals::All, vec![upload(&format!("d{d}"), "crash")], None));
                prop_assert!(!matches!(refused, Ok(Ok(_))), "the sync failed");
                drop(catalog);
                disk.crash(None);
                // Where there was no collection to upload to, no sync has failed yet, and none shall.
                disk.fail_sync(u64::MAX);
                catalog = open(&disk, folder.path());
                catalog.finish_deletions().unwrap();
            }
            for number in 0..2 {
                let tenant = tenant(number);
                prop_assert_eq!(catalog.usage(&tenant).unwrap(), catalog.counted_usage(&tenant).unwrap(), "after {:?}", step);
            }
        }
    }
}

#[test]
fn no_race_passes_a_quota() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let quota = Quota { documents: Some(10), ..Quota::default() };
    let other = Quota { collections: Some(1), ..Quota::default() };
    let quotas = Quotas { default: quota, tenants: [(tenant(1), other)].into() };
    let catalog = open(&disk, folder.path()).with_quotas(quotas);
    let collection = create(&catalog, &tenant(0), "c").unwrap();
    let taken = std::thread::scope(|scope| {
        let send = |number: usize| catalog.admit(&collection, &Principals::All, vec![upload(&format!("d{number}"), "text")], None).is_ok();
        let threads: Vec<_> = (0..32).map(|number| scope.spawn(move || send(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).filter(|is_taken| *is_taken).count()
    });
    assert_eq!((taken, catalog.usage(&tenant(0)).unwrap().documents), (10, 10));
    // The other tenant has a quota of its own.
    let own = create(&catalog, &tenant(1), "c").unwrap();
    let uploads = (0..11).map(|number| upload(&format!("d{number}"), "text")).collect();
    assert_eq!(catalog.admit(&own, &Principals::All, uploads, None).unwrap().len(), 11);
    assert!(matches!(
        create(&catalog, &tenant(1), "d"),
        Err(CatalogError::QuotaExceeded { what: "collections", used: 1, asked: 1, limit: 1 })
    ));
}

#[test]
fn keys_are_bounded_and_outlive_a_crash() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    let key = |number: u8| ApiKeyRecord {
        id: KeyId::generate(),
        name: "k".into(),
        tenant: tenant(number),
        sha256: "0".repeat(64),
        scopes: BTreeSet::from([Scope::Query]),
        collections: None,
        principals: Some(BTreeSet::from(["ann".to_owned()])),
        limits: KeyLimits { requests_per_minute: Some(10), tokens_per_minute: None },
        created_at: time::OffsetDateTime::UNIX_EPOCH,
        expires_at: Some(time::OffsetDateTime::UNIX_EPOCH),
    };
    let mut made = Vec::new();
    for _ in 0..KEYS_PER_TENANT_MAX {
        made.push(catalog.create_api_key(&tenant(0), key(0), None).unwrap().0);
    }
    assert!(matches!(catalog.create_api_key(&tenant(0), key(0), None), Err(CatalogError::QuotaExceeded { what: "keys", .. })));
    let other = catalog.create_api_key(&tenant(0), key(1), None).unwrap().0;
    let revoked = made.pop().unwrap();
    assert!(matches!(catalog.delete_api_key(&tenant(1), &revoked.id), Err(CatalogError::NotFound { .. })), "another tenant's");
    catalog.delete_api_key(&tenant(0), &revoked.id).unwrap();
    drop(catalog);
    disk.crash(None);
    made.push(other);
    // Made within one millisecond, ids are in no order.
    made.sort_by(|a, b| (&a.tenant, &a.id).cmp(&(&b.tenant, &b.id)));
    assert_eq!(open(&disk, folder.path()).api_keys().unwrap(), made);
}
