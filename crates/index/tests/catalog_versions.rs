//! New versions of documents: what stays is not written again, what readers see is one version, and a
//! crash at any commit leaves one version.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "a test fails by panicking")]

mod support;

use corpus::{Principals, TenantId};
use index::store::MemoryDisk;
use proptest::prelude::*;
use ragstone_index as index;
use std::collections::HashMap;
use support::*;

#[test]
fn what_did_not_change_is_not_written_again() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    let collection = collection(&catalog, "c");
    // Short documents go in one commit, long ones are staged.
    for (external, count) in [("short", 40), ("long", 1500)] {
        put_searchable(&catalog, &collection, external, &lines(count, &[]));
        let before = chunks(&catalog, &collection, external);
        let stored: HashMap<_, _> = below(&catalog, b'K').into_iter().chain(below(&catalog, b'V')).collect();
        put_searchable(&catalog, &collection, external, &lines(count, &[(7, "a line that is longer than before")]));
        let after = chunks(&catalog, &collection, external);
        for (ordinal, (old, new)) in before.iter().zip(&after).enumerate() {
            assert_eq!(old.id == new.id, ordinal != 7, "{external} {ordinal}");
        }
        assert_ne!(before[8].draft.span, after[8].draft.span, "the lines behind it have moved");
        let written = below(&catalog, b'K').into_iter().chain(below(&catalog, b'V'));
        let changed = written.filter(|(key, value)| stored.get(key) != Some(value)).count();
        assert_eq!(changed, 2, "{external}: one chunk and its vector are new");
        let record = catalog.document(&collection, external).unwrap();
        let job = catalog.job(&collection.tenant, record.latest_job().unwrap()).unwrap();
        assert_eq!(job.chunks_reused, Some(count as u64 - 1));
        assert_eq!(record.served.unwrap().chunks_reused, count as u64 - 1);
    }
    assert_eq!(catalog.chunks_reused(), 39 + 1499);
    // Of the versions before nothing is left.
    assert_eq!((below(&catalog, b'K').len(), below(&catalog, b'V').len()), (1540, 1540));
    assert_eq!(below(&catalog, b'P').len(), 1 + 1500_usize.div_ceil(64));
    assert!(below(&catalog, b'G').is_empty());
}

#[test]
fn a_chunk_below_another_heading_is_another_chunk() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    let collection = collection(&catalog, "c");
    put_searchable(&catalog, &collection, "d", "# Brass\nvalve\nlamp\n");
    let before = chunks(&catalog, &collection, "d");
    put_searchable(&catalog, &collection, "d", "# Iron\nvalve\nlamp\n");
    let after = chunks(&catalog, &collection, "d");
    assert!(before.iter().zip(&after).all(|(old, new)| old.id != new.id));
    let open = catalog.open_collection(&collection).unwrap();
    let found = |word: &str| open.text_search(&open.question(word).unwrap(), 9, &open.live()).unwrap().rows.len();
    assert_eq!((found("brass"), found("iron"), found("valve")), (0, 2, 1));
}

#[test]
fn neighbours_follow_the_text_and_not_the_rows() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    let collection = collection(&catalog, "c");
    put_searchable(&catalog, &collection, "d", "one\ntwo\nthree\n");
    put_searchable(&catalog, &collection, "d", "three\nnew\none\ntwo\n");
    let open = catalog.open_collection(&collection).unwrap();
    let row = |word: &str| open.text_search(&open.question(word).unwrap(), 1, &open.live()).unwrap().rows[0].row;
    let texts =
        |rows: Vec<u32>| -> Vec<String> { open.chunks(&rows).unwrap().into_iter().map(|found| found.unwrap().0.draft.text).collect() };
    let (before, after) = open.neighbours(row("one"), 2);
    assert_eq!((texts(before), texts(after)), (vec!["three".to_owned(), "new".to_owned()], vec!["two".to_owned()]));
    let (before, after) = open.neighbours(row("three"), 1);
    assert_eq!((texts(before), texts(after)), (vec![], vec!["new".to_owned()]));
}

#[test]
fn rows_that_would_be_scattered_are_numbered_anew() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    let collection = collection(&catalog, "c");
    let count = 3000;
    put(&catalog, &collection, "d", &lines(count, &[]));
    let odd: Vec<(usize, &str)> = (0..count).filter(|n| n % 2 == 1).map(|n| (n, "changed")).collect();
    put(&catalog, &collection, "d", &lines(count, &odd));
    let served = catalog.document(&collection, "d").unwrap().served.unwrap();
    assert_eq!((served.rows.runs(), served.rows.len(), served.chunks_reused), (1, count, 0));
}

/// A search that runs while versions come and go sees chunks of one version, at the places of its text.
#[test]
fn a_reader_sees_one_version_whole() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    let collection = collection(&catalog, "c");
    let text = |version: usize| format!("{}\nstays\nstays too\nend {version}\n", "x".repeat(version));
    put_searchable(&catalog, &collection, "d", &text(1));
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for version in 2..60 {
                put(&catalog, &collection, "d", &text(version));
            }
            is_done.store(true, std::sync::atomic::Ordering::Release);
        });
        let mut looks = 0;
        while !is_done.load(std::sync::atomic::Ordering::Acquire) || looks == 0 {
            let open = catalog.open_collection(&collection).unwrap();
            let rows: Vec<u32> = open.allowed(None, &Principals::All).iter().collect();
            let found: Vec<_> = open.chunks(&rows).unwrap().into_iter().flatten().map(|(chunk, _)| chunk).collect();
            let versions: std::collections::BTreeSet<u32> = found.iter().map(|chunk| chunk.version).collect();
            assert!(versions.len() <= 1, "{versions:?}");
            for chunk in found {
                let text = text(chunk.version as usize);
                assert_eq!(chunk.draft.span.slice(&text), Some(chunk.draft.text.as_str()), "version {}", chunk.version);
            }
            looks += 1;
        }
    });
    put_searchable(&catalog, &collection, "d", &text(60));
    assert_eq!(below(&catalog, b'K').len(), 4);
}

#[test]
fn a_crash_at_any_commit_leaves_one_version_and_nothing_else() {
    let (first, second) = (lines(700, &[]), lines(700, &[(3, "three"), (650, "sixhundredfifty")]));
    for nth in 1.. {
        let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
        let catalog = open(&disk, folder.path());
        let collection = collection(&catalog, "c");
        put_searchable(&catalog, &collection, "d", &first);
        let before = ids(&chunks(&catalog, &collection, "d"));
        let job = admit(&catalog, &collection, "d", &second);
        disk.fail_commit(nth);
        let outcome = catalog.commit_document(&job, processed(&second));
        disk.crash(Some(nth));
        drop(catalog);
        disk.fail_commit(u64::MAX);
        let catalog = open(&disk, folder.path());
        catalog.remove_staged().unwrap();
        let seen = ids(&chunks(&catalog, &collection, "d"));
        let is_new = seen[3].1 == "three";
        assert!(is_new || seen == before, "commit {nth}");
        assert!(is_new || outcome.is_err(), "commit {nth}: acknowledged and lost");
        let count = |kind| below(&catalog, kind).len();
        assert_eq!((count(b'K'), count(b'V'), count(b'P'), count(b'G')), (700, 700, 11, 0), "commit {nth}, new: {is_new}");
        if !is_new {
            let again = catalog.unfinished_jobs().unwrap().pop().unwrap();
            catalog.commit_document(&again, processed(&second)).unwrap();
        }
        let open = catalog.open_collection(&collection).unwrap();
        assert!(open.wait_applied(catalog.collection_state(&collection).unwrap().seq, PATIENCE).unwrap());
        let found = |word: &str| open.text_search(&open.question(word).unwrap(), 9, &open.live()).unwrap().rows.len();
        assert_eq!((found("number3"), found("three"), found("number4")), (0, 1, 1), "commit {nth}");
        assert_eq!(open.stats().0.rows, 700);
        if outcome.is_ok() {
            assert!(nth > 3, "staging takes several commits");
            return;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any row of versions: the chunks are those of the last text, views and store agree, and text that both
    /// versions have costs no new row.
    #[test]
    fn versions_of_any_kind_come_out_as_their_last_text(versions in proptest::collection::vec(proptest::collection::vec(0u8..12, 1..20), 1..6)) {
        let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
        let catalog = open(&disk, folder.path());
        let collection = collection(&catalog, "c");
        let mut previous: Vec<u8> = Vec::new();
        for (number, version) in versions.iter().enumerate() {
            if *version == previous {
                continue;
            }
            let text: String = version.iter().map(|word| format!("word{word}\n")).collect();
            put_searchable(&catalog, &collection, "d", &text);
            let seen: Vec<String> = chunks(&catalog, &collection, "d").into_iter().map(|chunk| chunk.draft.text).collect();
            prop_assert_eq!(seen, version.iter().map(|word| format!("word{word}")).collect::<Vec<_>>());
            let in_both: usize = (0..12).map(|word| {
                let count = |list: &[u8]| list.iter().filter(|other| **other == word).count();
                count(&previous).min(count(version))
            }).sum();
            let served = catalog.document(&collection, "d").unwrap().served.unwrap();
            prop_assert_eq!(served.chunks_reused as usize, in_both, "version {}", number);
            previous.clone_from(version);
        }
        // The views as they are, and as they are when opened anew, hold the same rows.
        let live = catalog.open_collection(&collection).unwrap().live();
        prop_assert_eq!(live.len() as usize, previous.len());
        prop_assert_eq!(below(&catalog, b'K').len(), previous.len());
        drop(catalog);
        let catalog = open(&disk, folder.path());
        let again = catalog.open_collection(&collection).unwrap();
        prop_assert_eq!(again.live(), live);
        for word in 0..12 {
            let expected = previous.iter().filter(|other| **other == word).count();
            prop_assert_eq!(again.text_search(&again.question(&format!("word{word}")).unwrap(), 99, &again.live()).unwrap().rows.len(), expected);
        }
        prop_assert_eq!(again.stats().0.rows as usize, previous.len());
    }
}

#[test]
fn a_page_of_chunks_of_a_replaced_version_says_so() {
    let (disk, folder) = (MemoryDisk::default(), tempfile::tempdir().unwrap());
    let catalog = open(&disk, folder.path());
    let collection = collection(&catalog, "c");
    put_searchable(&catalog, &collection, "d", "one\ntwo\n");
    let stale = catalog.document(&collection, "d").unwrap();
    put_searchable(&catalog, &collection, "d", "one\nthree\n");
    let page = catalog.chunks(&collection, &stale, stale.served.as_ref().unwrap(), 0, 9);
    assert!(matches!(page, Err(index::CatalogError::Superseded)), "{page:?}");
    assert_eq!(collection.tenant, TenantId::default());
}
