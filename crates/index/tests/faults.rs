//! A recorded run of uploads, versions, deletions and a collection's end, with a fault at every commit
//! and every sync in turn (full disk, failed write, write cut short, failed sync), and the power gone
//! after it with what was not synced lost in part. Whatever was acknowledged is there afterwards, and
//! every invariant of the data directory holds.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "a test fails by panicking")]

mod support;

use corpus::{ChunkDraft, Embedding, Principals, Span, TenantId};
use index::blobs::Blobs;
use index::store::{MemoryDisk, MemoryStore};
use index::verify::{Severity, check};
use index::{Catalog, CatalogError, Processed, Upload};
use ragstone_index as index;
use std::collections::BTreeMap;
use std::path::Path;
use support::{new_collection, open};

/// By external id: the acknowledged text, and what was attempted after it.
type Ledger = BTreeMap<&'static str, (Option<String>, Vec<Option<String>>)>;

/// `words` chunks of one word each; over 512 they are staged.
fn processed(text: &str) -> Processed {
    let (mut chunks, mut start, mut chars) = (Vec::new(), 0, 0);
    for word in text.split_inclusive(' ') {
        let span = Span { byte_start: start, byte_end: start + word.len(), char_start: chars, char_end: chars + word.len() };
        (start, chars) = (span.byte_end, span.char_end);
        let draft = ChunkDraft { span, text: word.into(), heading_path: vec![], page: None, tokens: 3 };
        chunks.push((draft, Embedding::normalised(vec![1.0, start as f32], 2).unwrap()));
    }
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

/// One step; what it acknowledged goes into the ledger.
fn put(catalog: &Catalog, ledger: &mut Ledger, name: &'static str, text: &str) -> Result<(), CatalogError> {
    ledger.entry(name).or_default().1.push(Some(text.to_owned()));
    let at = catalog.collection(&TenantId::default(), "c")?;
    let upload = Upload { bytes: text.into(), name: "d".into(), external_id: Some(name.into()), ..Upload::default() };
    let admitted = catalog.admit(&at, &Principals::All, vec![upload], None)?;
    *ledger.get_mut(name).unwrap() = (Some(text.to_owned()), Vec::new());
    let job = catalog.job(&at.tenant, admitted[0].job.as_ref().unwrap())?;
    let job = catalog.begin_job(&job)?;
    catalog.commit_document(&job, processed(text)).map(drop)
}

fn delete(catalog: &Catalog, ledger: &mut Ledger, name: &'static str) -> Result<(), CatalogError> {
    ledger.entry(name).or_default().1.push(None);
    let at = catalog.collection(&TenantId::default(), "c")?;
    catalog.delete_document(&at, name)?;
    *ledger.get_mut(name).unwrap() = (None, Vec::new());
    Ok(())
}

/// Goes on after a refusal, as clients do.
fn run(catalog: &Catalog, ledger: &mut Ledger) {
    let tenant = TenantId::default();
    let mut failures = 0;
    let mut note = |outcome: Result<(), CatalogError>| failures += usize::from(outcome.is_err());
    note(catalog.create_collection(&tenant, new_collection("c"), None).map(drop));
    note(put(catalog, ledger, "a", "first of a "));
    note(put(catalog, ledger, "b", "only of b "));
    note(put(catalog, ledger, "a", "second of a , longer "));
    note(put(catalog, ledger, "long", &"word ".repeat(600)));
    note(delete(catalog, ledger, "b"));
    note(put(catalog, ledger, "long", "short now "));
    let other = catalog.create_collection(&tenant, new_collection("other"), None);
    if let Ok(other) = &other {
        let upload = Upload { bytes: b"of the other".to_vec(), name: "o".into(), ..Upload::default() };
        note(catalog.admit(other, &Principals::All, vec![upload], None).map(drop));
        note(catalog.delete_collection(&tenant, &other.id).map(drop));
    }
    note(put(catalog, ledger, "b", "again of b "));
}

/// What a start does, then what must hold.
fn examine(disk: &MemoryDisk, folder: &Path, ledger: &Ledger, what: &str) {
    let catalog = open(disk, folder);
    catalog.remove_staged().unwrap();
    catalog.finish_deletions().unwrap();
    for (name, (acknowledged, attempted)) in ledger {
        let found = catalog.collection(&TenantId::default(), "c").ok().and_then(|at| {
            let record = catalog.document(&at, name).ok()?;
            let bytes = match &record.pending {
                Some(pending) => catalog.pending_original(&at, pending).unwrap(),
                None => catalog.original(&at, &record).unwrap(),
            };
            Some(String::from_utf8(bytes).unwrap())
        });
        assert!(
            found == *acknowledged || attempted.contains(&found),
            "{what}: {name} is {found:?}, allowed {acknowledged:?} or {attempted:?}"
        );
    }
    // Jobs of documents that wait can be ended; nothing waits without one.
    for job in catalog.unfinished_jobs().unwrap() {
        catalog.commit_document(&job, processed("taken up again ")).unwrap();
    }
    drop(catalog);
    let store = MemoryStore::open(disk).unwrap();
    let report = check(&store, &Blobs::open(folder.join("blobs")).unwrap(), &folder.join("views")).unwrap();
    // A file whose commit never came, or whose removal did not: wasted space and nothing else.
    let faults: Vec<_> = report.findings.iter().filter(|f| f.severity != Severity::Note && f.code != "file_orphan").collect();
    assert!(faults.is_empty(), "{what}: {faults:#?}");
}

fn commits_and_syncs() -> (u64, u64) {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    run(&catalog, &mut Ledger::new());
    let stats = catalog.store().stats();
    (stats.commits, stats.syncs)
}

fn one_state(fault: &str, inject: impl Fn(&MemoryDisk, u64), nth: u64, seed: Option<u64>) {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    inject(&disk, nth);
    let mut ledger = Ledger::new();
    run(&catalog, &mut ledger);
    // The power goes: dropping the catalog afterwards syncs nothing.
    disk.crash(seed);
    drop(catalog);
    examine(&disk, folder.path(), &ledger, &format!("{fault} at {nth}, seed {seed:?}"));
}

#[test]
fn every_fault_at_every_call_loses_nothing_acknowledged() {
    let (commits, syncs) = commits_and_syncs();
    assert!(commits > 30 && syncs > 15, "the run is too short to mean anything: {commits} commits, {syncs} syncs");
    for nth in 1..=commits {
        one_state("full disk", MemoryDisk::refuse_commit, nth, Some(nth));
        one_state("failed write", MemoryDisk::fail_commit, nth, Some(nth * 31));
        one_state("write cut short", MemoryDisk::tear_commit, nth, None);
    }
    for nth in 1..=syncs {
        one_state("failed sync", MemoryDisk::fail_sync, nth, Some(nth));
        one_state("failed sync", MemoryDisk::fail_sync, nth, None);
    }
}

#[test]
fn a_refused_upload_leaves_no_file() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    let at = catalog.create_collection(&TenantId::default(), new_collection("c"), None).unwrap();
    put(&catalog, &mut Ledger::new(), "a", "kept ").unwrap();
    let files = || Blobs::open(folder.path().join("blobs")).unwrap().list(&TenantId::default()).unwrap();
    let before = files();
    disk.refuse_commit(1);
    let upload = |text: &str| Upload { bytes: text.into(), name: "d".into(), ..Upload::default() };
    assert!(catalog.admit(&at, &Principals::All, vec![upload("refused"), upload("kept ")], None).is_err());
    assert_eq!(files(), before, "nothing more, and the file that another document uses stays");
}
