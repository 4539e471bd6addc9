//! Backups made while the catalog changes under them, restored and verified; and backups that were
//! cut or changed, which are refused before anything is written.

use super::*;
use crate::blobs::BlobId;
use crate::store::Store;
use crate::verify::tests::{add, new_collection, open_catalog};
use crate::verify::verify;
use corpus::Principals;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

const CALM: BackupOptions<'static> = BackupOptions { reserve_bytes: 0, should_stop: &|| false };

fn everything(data: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let directory = DataDirectory::open(data).unwrap();
    directory.store.scan(b"", None, usize::MAX).unwrap()
}

fn files(data: &Path) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let blobs = crate::blobs::Blobs::open(data.join("blobs")).unwrap();
    blobs
        .each(|tenant, blob, _| {
            blobs.check(tenant, blob)?;
            found.insert((tenant.to_string(), blob.to_string()));
            Ok::<_, BlobError>(())
        })
        .unwrap();
    found
}

/// A data directory of some documents, and a backup of it.
fn backed_up() -> (TempDir, PathBuf, BackupSummary) {
    let folder = tempfile::tempdir().unwrap();
    let catalog = open_catalog(&folder.path().join("data"));
    let at = new_collection(&catalog, "c");
    (0..12).for_each(|n| drop(add(&catalog, &at, Some(&format!("d{n}")), &format!("text number {n} "))));
    add(&catalog, &at, None, "");
    let path = folder.path().join("a.backup");
    let summary = catalog.backup(&path, &CALM).unwrap();
    (folder, path, summary)
}

#[test]
fn a_restored_backup_is_the_same_and_sound() {
    let (folder, path, summary) = backed_up();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!((summary.bytes, summary.sha256.clone()), (bytes.len() as u64, BlobId::of(&bytes).to_string()));
    assert_eq!(check(&path).unwrap(), summary);
    let (data, restored) = (folder.path().join("data"), folder.path().join("restored"));
    assert_eq!(restore(&path, &restored).unwrap(), summary);
    assert_eq!(unfinished(&restored), None);
    assert_eq!(everything(&restored), everything(&data));
    assert_eq!(files(&restored), files(&data));
    let report = verify(&restored).unwrap();
    assert!(report.is_sound() && report.documents == 13, "{report:#?}");
    // The views come by themselves, and search finds what it found before.
    let catalog = open_catalog(&restored);
    let at = catalog.collection(&corpus::TenantId::default(), "c").unwrap();
    let open = catalog.open_collection(&at).unwrap();
    assert_eq!(open.text_search(&open.question("number").unwrap(), 20, &open.allowed(None, &Principals::All)).unwrap().rows.len(), 12);
}

#[test]
fn an_offline_backup_holds_the_same() {
    let (folder, path, online) = backed_up();
    let offline = backup_directory(&folder.path().join("data"), &folder.path().join("b.backup"), &CALM).unwrap();
    assert_eq!((offline.pairs, offline.blobs), (online.pairs, online.blobs));
    assert!(matches!(backup_directory(&folder.path().join("data"), &path, &CALM), Err(BackupError::Exists(_))));
    assert!(matches!(backup_directory(&folder.path().join("nowhere"), &folder.path().join("c"), &CALM), Err(BackupError::Directory(_))));
}

#[test]
fn writers_go_on_and_the_backup_is_of_one_moment() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = open_catalog(&folder.path().join("data"));
    let at = new_collection(&catalog, "c");
    let texts: Vec<String> = (0..30).map(|n| format!("text number {n} ")).collect();
    texts.iter().enumerate().for_each(|(n, text)| drop(add(&catalog, &at, Some(&format!("d{n}")), text)));
    // Between any two steps of the backup a document changes, goes or comes.
    let step = AtomicUsize::new(0);
    let changed = Mutex::new(BTreeSet::new());
    let disturb = || {
        let n = step.fetch_add(1, Ordering::Relaxed);
        let name = format!("d{}", n * 7 % 24);
        match n % 3 {
            _ if n > 120 => {}
            0 => drop(catalog.delete_document(&at, &name)),
            1 => drop(add(&catalog, &at, Some(&name), &format!("changed in step {n} "))),
            _ => drop(add(&catalog, &at, None, &format!("new in step {n} "))),
        }
        changed.lock().unwrap().insert(name);
        false
    };
    let path = folder.path().join("a.backup");
    let summary = catalog.backup(&path, &BackupOptions { reserve_bytes: 0, should_stop: &disturb }).unwrap();
    assert!(summary.commits > 20, "{summary:?}");
    let restored = folder.path().join("restored");
    restore(&path, &restored).unwrap();
    let report = verify(&restored).unwrap();
    assert!(report.is_sound(), "{report:#?}");
    let copy = open_catalog(&restored);
    let at_copy = copy.collection(&at.tenant, "c").unwrap();
    for n in (24..30).map(|n| format!("d{n}")) {
        let (one, other) = (catalog.document(&at, &n).unwrap(), copy.document(&at_copy, &n).unwrap());
        assert_eq!(one, other, "nobody touched it");
        assert_eq!(catalog.original(&at, &one).unwrap(), copy.original(&at_copy, &other).unwrap());
    }
    drop(catalog);
    // Files whose removal was put off are gone now.
    let report = verify(&folder.path().join("data")).unwrap();
    assert!(report.is_sound(), "{report:#?}");
}

#[test]
fn a_cut_or_changed_backup_is_refused_before_anything_is_written() {
    let (folder, path, _) = backed_up();
    let whole = std::fs::read(&path).unwrap();
    let (bad, target) = (folder.path().join("bad.backup"), folder.path().join("target"));
    let refused = |bytes: &[u8], what: &str| {
        std::fs::write(&bad, bytes).unwrap();
        let outcome = restore(&bad, &target);
        assert!(matches!(outcome, Err(BackupError::Damaged { .. })), "{what}: {outcome:?}");
        assert!(!target.exists(), "{what}");
    };
    for at in (0..whole.len()).step_by(whole.len() / 97) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        refused(&flipped, &format!("a bit of byte {at}"));
        refused(&whole[..at], &format!("cut at {at}"));
    }
    refused(&whole[..whole.len() - 1], "one byte short");
    refused(&[&whole[..], b"x"].concat(), "one byte too many");
    refused(&[&whole[..], &whole[..]].concat(), "twice");
    let mut later = whole.clone();
    later[15] = 2;
    refused(&later, "another version");
}

#[test]
fn a_restore_takes_the_place_of_nothing() {
    let (folder, path, _) = backed_up();
    let occupied = folder.path().join("occupied");
    std::fs::create_dir(&occupied).unwrap();
    std::fs::write(occupied.join("mine"), "precious").unwrap();
    assert!(matches!(restore(&path, &occupied), Err(BackupError::NotEmpty(_))));
    assert_eq!(std::fs::read_dir(&occupied).unwrap().count(), 1);
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    restore(&path, &empty).unwrap();
    assert!(matches!(restore(&path, &empty), Err(BackupError::NotEmpty(_))));
}

#[test]
fn a_backup_that_fails_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = open_catalog(&folder.path().join("data"));
    let at = new_collection(&catalog, "c");
    let record = add(&catalog, &at, Some("d"), "some text ");
    let backups = folder.path().join("backups");
    std::fs::create_dir(&backups).unwrap();
    let path = backups.join("a");
    let stop_at = |nth: usize| {
        let step = AtomicUsize::new(0);
        catalog.backup(&path, &BackupOptions { reserve_bytes: 0, should_stop: &move || step.fetch_add(1, Ordering::Relaxed) == nth })
    };
    for nth in 0..4 {
        assert!(matches!(stop_at(nth), Err(BackupError::Stopped)), "{nth}");
    }
    let full = catalog.backup(&path, &BackupOptions { reserve_bytes: u64::MAX, should_stop: &|| false });
    assert!(matches!(full, Err(BackupError::Full { .. })));
    let busy = Mutex::new(None);
    let ask = || {
        *busy.lock().unwrap() = Some(catalog.backup(&path, &CALM).map(drop).unwrap_err().to_string());
        true
    };
    assert!(catalog.backup(&path, &BackupOptions { reserve_bytes: 0, should_stop: &ask }).is_err());
    assert_eq!(busy.into_inner().unwrap(), Some(BackupError::Busy.to_string()));
    let original = catalog.blobs().file(&at.tenant, &record.served.unwrap().original);
    assert!(original.is_ok());
    assert_eq!(std::fs::read_dir(&backups).unwrap().count(), 0);
    catalog.backup(&path, &CALM).unwrap();
}
