//! Documents inside documents over a store that fails at every step: after the next attempt each is
//! there once, or gone with the one around it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "a test fails by panicking")]

mod support;

use corpus::{Acl, ChunkDraft, Embedding, Principals, Span};
use index::records::{CollectionRecord, DocumentRecord, DocumentState, JobRecord};
use index::store::MemoryDisk;
use index::{Catalog, CatalogError, ChildFile, DESCENDANTS_MAX, Processed, Upload};
use ragstone_index as index;
use std::collections::BTreeMap;
use support::{collection, open};

/// An upload whose text names what is inside; its job.
fn upload(catalog: &Catalog, collection: &CollectionRecord, text: &str, acl: Option<Acl>) -> Result<Option<JobRecord>, CatalogError> {
    let upload = Upload { bytes: text.into(), name: "mail".into(), external_id: Some("mail".into()), acl, ..Upload::default() };
    let admitted = catalog.admit(collection, &Principals::All, vec![upload], None)?.remove(0);
    Ok(admitted.job.map(|job| catalog.job(&collection.tenant, &job).unwrap()))
}

fn processed(text: &str) -> Processed {
    let text = format!("text of {text}");
    let draft =
        ChunkDraft { span: Span::of(&text, 0..text.len()).unwrap(), text: text.clone(), heading_path: vec![], page: None, tokens: 3 };
    let chunks = vec![(draft, Embedding::normalised(vec![1.0, 2.0], 2).unwrap())];
    Processed {
        text,
        media_type: "text/plain".into(),
        title: None,
        pages: None,
        warnings: vec![],
        chunks,
        embedded: 0,
        precision: corpus::Precision::F32,
    }
}

/// `name=bytes` by spaces, as a parser would find them.
fn files(text: &str) -> Vec<ChildFile> {
    let file = |(name, bytes): (&str, &str)| ChildFile { name: name.into(), bytes: bytes.into() };
    text.split(' ').filter_map(|one| one.split_once('=')).map(file).collect()
}

/// What the pipeline does with a job.
fn work(catalog: &Catalog, job: &JobRecord) -> Result<(), CatalogError> {
    let collection = catalog.collection(&job.tenant, job.collection.as_str())?;
    let record = catalog.document(&collection, job.document.as_str())?;
    let bytes = catalog.pending_original(&collection, record.pending.as_ref().unwrap())?;
    let text = String::from_utf8(bytes).unwrap();
    catalog.admit_children(job, files(&text))?;
    catalog.commit_document(job, processed(&text)).map(|_| ())
}

fn work_all(catalog: &Catalog) {
    loop {
        let jobs = catalog.unfinished_jobs().unwrap();
        if jobs.is_empty() {
            return;
        }
        jobs.iter().for_each(|job| work(catalog, job).unwrap());
    }
}

fn records(catalog: &Catalog, collection: &CollectionRecord) -> Vec<DocumentRecord> {
    catalog.documents(collection, None, 5_000).unwrap().items
}

/// Bytes by name of everything in the collection.
fn contents(catalog: &Catalog, collection: &CollectionRecord) -> BTreeMap<String, String> {
    let all = records(catalog, collection);
    let contents: BTreeMap<_, _> = all
        .iter()
        .map(|record| {
            assert_eq!(record.state, DocumentState::Ready, "{}", record.attributes.name);
            let bytes = catalog.original(collection, record).unwrap();
            (format!("{}#{}", record.attributes.name, record.parent.as_ref().map_or(0, |p| p.ordinal)), String::from_utf8(bytes).unwrap())
        })
        .collect();
    assert_eq!(contents.len(), all.len(), "no document is there twice");
    assert_eq!(catalog.collection_state(collection).unwrap().documents, all.len() as u64);
    contents
}

fn expect(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, bytes)| ((*name).to_owned(), (*bytes).to_owned())).collect()
}

const FIRST: &str = "a=one b=two b=three c=four";
const SECOND: &str = "a=one b=changed d=new";

fn first() -> BTreeMap<String, String> {
    expect(&[("mail#0", FIRST), ("mail/a#0", "one"), ("mail/b#0", "two"), ("mail/b#1", "three"), ("mail/c#0", "four")])
}

fn second() -> BTreeMap<String, String> {
    expect(&[("mail#0", SECOND), ("mail/a#0", "one"), ("mail/b#0", "changed"), ("mail/d#0", "new")])
}

#[test]
fn a_new_version_replaces_adds_and_removes_what_is_inside() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    let collection = collection(&catalog, "c");
    upload(&catalog, &collection, FIRST, None).unwrap();
    work_all(&catalog);
    assert_eq!(contents(&catalog, &collection), first());
    let mail = catalog.document(&collection, "mail").unwrap();
    let children = catalog.children(&collection, &mail).unwrap();
    let unchanged = records(&catalog, &collection).into_iter().find(|record| record.attributes.name == "mail/a").unwrap();
    assert!(children.contains(&unchanged.id) && unchanged.parent.as_ref().unwrap().document == mail.id);
    // The same upload again changes nothing.
    upload(&catalog, &collection, FIRST, None).unwrap();
    assert!(catalog.unfinished_jobs().unwrap().is_empty());
    upload(&catalog, &collection, SECOND, None).unwrap();
    work_all(&catalog);
    assert_eq!(contents(&catalog, &collection), second());
    let after = records(&catalog, &collection).into_iter().find(|record| record.attributes.name == "mail/a").unwrap();
    assert_eq!((after.id, after.served), (unchanged.id, unchanged.served), "what did not change is not processed again");
    let receipt = catalog.delete_document(&collection, "mail").unwrap();
    assert_eq!((receipt.documents, receipt.chunks), (4, 4));
    let left = catalog.store().scan(b"", None, 1000).unwrap();
    // Among them the purge of caches that the deletion owes: the ids of its tenant and its receipt.
    assert!(left.iter().all(|(key, _)| matches!(key[0], b'C' | b'N' | b'S' | b'L' | b'J' | b'Q' | b'R' | b'O')), "something of it is left");
}

/// Kills the process at every commit and at every sync in turn, then does what a restart does.
fn at_every_step(
    prepare: impl Fn(&Catalog, &CollectionRecord),
    act: impl Fn(&Catalog, &CollectionRecord) -> Result<(), CatalogError>,
    check: impl Fn(&Catalog, &CollectionRecord, bool),
) {
    for fault in [MemoryDisk::fail_commit as fn(&MemoryDisk, u64), MemoryDisk::fail_sync] {
        let mut step = 1;
        loop {
            let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
            let catalog = open(&disk, folder.path());
            let collection = collection(&catalog, "c");
            prepare(&catalog, &collection);
            fault(&disk, step);
            let is_through = act(&catalog, &collection).is_ok();
            fault(&disk, u64::MAX);
            drop(catalog);
            disk.crash((step % 2 == 0).then_some(step));
            let catalog = open(&disk, folder.path());
            catalog.remove_staged().unwrap();
            work_all(&catalog);
            check(&catalog, &collection, is_through);
            if is_through {
                break;
            }
            step += 1;
        }
        assert!(step > 2, "the fault came into play: {step}");
    }
}

#[test]
fn a_crash_at_any_step_of_a_first_version_leaves_each_file_once() {
    at_every_step(
        |catalog, collection| drop(upload(catalog, collection, FIRST, None).unwrap()),
        |catalog, _| catalog.unfinished_jobs()?.iter().try_for_each(|job| work(catalog, job)),
        |catalog, collection, _| assert_eq!(contents(catalog, collection), first()),
    );
}

#[test]
fn a_crash_at_any_step_of_a_new_version_ends_in_the_new_one() {
    at_every_step(
        |catalog, collection| {
            upload(catalog, collection, FIRST, None).unwrap();
            work_all(catalog);
            upload(catalog, collection, SECOND, None).unwrap();
        },
        |catalog, _| catalog.unfinished_jobs()?.iter().try_for_each(|job| work(catalog, job)),
        |catalog, collection, _| assert_eq!(contents(catalog, collection), second()),
    );
}

#[test]
fn a_crash_in_a_deletion_leaves_all_or_nothing() {
    at_every_step(
        |catalog, collection| {
            upload(catalog, collection, FIRST, None).unwrap();
            work_all(catalog);
        },
        |catalog, collection| {
            catalog.delete_document(collection, "mail")?;
            // A step more, so that the fault has one to meet after the deletion.
            drop(upload(catalog, collection, SECOND, None)?);
            catalog.delete_document(collection, "mail").map(|_| ())
        },
        |catalog, collection, is_through| {
            let left = contents(catalog, collection);
            assert!(left.is_empty() || (!is_through && (left == first() || left == second())), "{left:?}");
        },
    );
}

#[test]
fn an_acl_reaches_what_is_inside_in_the_same_commit() {
    let only = |name: &str| Acl([name.to_owned()].into());
    at_every_step(
        |catalog, collection| {
            upload(catalog, collection, FIRST, Some(only("ann"))).unwrap();
            work_all(catalog);
        },
        |catalog, collection| {
            upload(catalog, collection, FIRST, Some(only("bob")))?;
            upload(catalog, collection, FIRST, Some(only("cleo"))).map(|_| ())
        },
        |catalog, collection, is_through| {
            let acls: Vec<Acl> = records(catalog, collection).into_iter().map(|record| record.attributes.acl).collect();
            assert!(acls.len() == 5 && acls.iter().all(|acl| acl == &acls[0]), "{acls:?}");
            assert!(!is_through || acls[0] == only("cleo"), "{acls:?}");
        },
    );
}

#[test]
fn depth_and_number_are_bounded() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    let collection = collection(&catalog, "c");
    let job_of = |name: &str| {
        let record = records(&catalog, &collection).into_iter().find(|record| record.attributes.name == name).unwrap();
        catalog.job(&collection.tenant, record.latest_job().unwrap()).unwrap()
    };
    let root = upload(&catalog, &collection, "root", None).unwrap().unwrap();
    catalog.admit_children(&root, files("x=1 y=2")).unwrap();
    catalog.admit_children(&job_of("mail/x"), files("deep=1")).unwrap();
    let error = catalog.admit_children(&job_of("mail/x/deep"), files("deeper=1")).unwrap_err();
    assert!(matches!(error, CatalogError::NestedTooDeep { .. }), "{error}");
    catalog.admit_children(&job_of("mail/x/deep"), vec![]).unwrap();
    let many = |count: usize| (0..count).map(|n| ChildFile { name: n.to_string(), bytes: b"same".into() }).collect::<Vec<_>>();
    // x, y and deep are there.
    assert!(matches!(catalog.admit_children(&job_of("mail/y"), many(DESCENDANTS_MAX - 2)), Err(CatalogError::TooManyInside { .. })));
    assert_eq!(catalog.admit_children(&job_of("mail/y"), many(DESCENDANTS_MAX - 3)).unwrap().len(), DESCENDANTS_MAX - 3);
    // Again is no more than before; and what goes makes room.
    assert!(catalog.admit_children(&job_of("mail/y"), many(DESCENDANTS_MAX - 3)).unwrap().iter().all(|one| one.is_known));
    catalog.admit_children(&root, files("x=1")).unwrap();
    assert_eq!(records(&catalog, &collection).len(), 3);
    catalog.admit_children(&job_of("mail/x"), many(DESCENDANTS_MAX - 1)).unwrap();
    let mail = catalog.document(&collection, "mail").unwrap();
    assert_eq!(catalog.descendants(&collection, &mail).unwrap().len(), DESCENDANTS_MAX);
    assert_eq!(catalog.delete_document(&collection, "mail").unwrap().documents, DESCENDANTS_MAX as u64 + 1);
    assert!(catalog.unfinished_jobs().unwrap().is_empty(), "their jobs ended with them");
}

#[test]
fn a_document_that_is_gone_takes_nothing_in() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    let collection = collection(&catalog, "c");
    let job = upload(&catalog, &collection, FIRST, None).unwrap().unwrap();
    catalog.delete_document(&collection, "mail").unwrap();
    assert!(matches!(catalog.admit_children(&job, files(FIRST)), Err(CatalogError::Superseded)));
    assert!(records(&catalog, &collection).is_empty());
}
