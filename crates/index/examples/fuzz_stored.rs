//! `fuzz_stored TARGET SECONDS [SEED]`: damages what the index reads back and uses it, as a server
//! would. Every error is fine; a panic ends the program with 101 and the number of the attempt.
//!
//! TARGET is `values` (a stored value, under a sound checksum), `views` (a file of a text index),
//! `backup` (a backup) or `filter` (a filter as it comes in a request).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a fuzzing program fails by panicking and prints"
)]

#[path = "../../../tests/support/mutate.rs"]
mod mutate;
#[path = "../tests/support/mod.rs"]
mod support;

use corpus::{Embedding, Filter, Metadata, Principals, TenantId};
use mutate::Chance;
use ragstone_index::backup::{self, BackupOptions};
use ragstone_index::store::{Batch, MemoryDisk, MemoryStore, Store};
use ragstone_index::vector::VectorQuery;
use ragstone_index::{Catalog, verify};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Words that JSON and the records take seriously.
const DICTIONARY: &[&[u8]] = &[
    b"null",
    b"-1",
    b"0",
    b"18446744073709551615",
    b"1e999",
    b"[]",
    b"{}",
    b"\"",
    b"\\u0000",
    b"true",
    b"[[",
    b"}",
    b",",
    b":",
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"{\"type\":\"and\",\"filters\":[",
    b"{\"type\":\"eq\",\"key\":\"a\",\"value\":1}",
];

/// Longest key that a store takes.
const KEY_BYTES_MAX: usize = 1024;

const FILTERS: &[&str] = &[
    r#"{"type":"eq","key":"a","value":"x"}"#,
    r#"{"type":"and","filters":[{"type":"gte","key":"n","value":3},{"type":"or","filters":[{"type":"ne","key":"b","value":true},{"type":"lt","key":"t","value":"2026-01-01T00:00:00Z"}]}]}"#,
    r#"{"type":"nin","key":"list","value":["x",1,false]}"#,
];

/// A data directory with documents in several versions, a deleted one, and one that waits.
struct Sound {
    folder: tempfile::TempDir,
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Sound {
    fn make() -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let disk = MemoryDisk::default();
        let catalog = support::open(&disk, folder.path());
        let collection = support::collection(&catalog, "c");
        let texts = ["# Ice\nsalt melts ice\nsand does not", "# Rock\ngranite is hard", "# Rock\ngranite is hard\nslate splits"];
        let mut last = 0;
        for (name, text) in ["ice", "rock", "rock"].iter().zip(texts) {
            let job = support::admit(&catalog, &collection, name, text);
            last = catalog.commit_document(&job, support::processed(text))?;
        }
        support::admit(&catalog, &collection, "waits", "# Later");
        let gone = support::admit(&catalog, &collection, "gone", "# Gone\nnothing stays");
        catalog.commit_document(&gone, support::processed("# Gone\nnothing stays"))?;
        catalog.delete_document(&collection, "gone")?;
        catalog.open_collection(&collection)?.wait_applied(last, Duration::from_secs(30))?;
        drop(catalog);
        let pairs = MemoryStore::open(&disk)?.scan(&[], None, usize::MAX)?;
        Ok(Self { folder, pairs })
    }

    /// A store with these pairs over the blobs of `folder`.
    fn store(pairs: &[(Vec<u8>, Vec<u8>)]) -> Result<Arc<MemoryStore>, Box<dyn Error>> {
        let store = MemoryStore::open(&MemoryDisk::default())?;
        let mut batch = Batch::default();
        pairs.iter().for_each(|(key, value)| batch.put(key.clone(), value.clone()));
        store.durable(store.commit(batch)?)?;
        Ok(Arc::new(store))
    }

    /// Its files in a folder that may be spoiled.
    fn copy(&self) -> Result<tempfile::TempDir, Box<dyn Error>> {
        let copy = tempfile::tempdir()?;
        for file in files(self.folder.path())? {
            let to = copy.path().join(file.strip_prefix(self.folder.path())?);
            std::fs::create_dir_all(to.parent().ok_or("a file is in a folder")?)?;
            std::fs::copy(&file, to)?;
        }
        Ok(copy)
    }
}

fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    found.sort();
    Ok(found)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [target, seconds, rest @ ..] = arguments.as_slice() else { return Err("usage: fuzz_stored TARGET SECONDS [SEED]".into()) };
    let mut chance = Chance(rest.first().map_or(Ok(1), |seed| seed.parse())?);
    let deadline = Instant::now() + Duration::from_secs(seconds.parse()?);
    let sound = Sound::make()?;
    let backup = if target == "backup" { made_backup(&sound)? } else { Vec::new() };
    let mut outcomes = BTreeMap::<&str, u64>::new();
    while Instant::now() < deadline {
        let outcome = match target.as_str() {
            "values" => values(&sound, &mut chance)?,
            "views" => views(&sound, &mut chance)?,
            "backup" => restored(&backup, &mut chance)?,
            "filter" => filter(&mut chance),
            other => return Err(format!("no target {other}").into()),
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    println!("{target}: {outcomes:?}");
    Ok(())
}

fn values(sound: &Sound, chance: &mut Chance) -> Result<&'static str, Box<dyn Error>> {
    let mut pairs = sound.pairs.clone();
    let other = chance.one(&sound.pairs).cloned().unwrap_or_default().1;
    let at = chance.below(pairs.len());
    if chance.below(8) == 0 {
        chance.change_some(&mut pairs[at].0, &[], DICTIONARY);
        pairs[at].0.truncate(KEY_BYTES_MAX);
    }
    chance.change_some(&mut pairs[at].1, &other, DICTIONARY);
    let folder = sound.copy()?;
    let store = Sound::store(&pairs)?;
    let blobs = ragstone_index::blobs::Blobs::open(folder.path().join("blobs"))?;
    let report = verify::check(store.as_ref(), &blobs, &folder.path().join("views"));
    let is_told = report.is_err() || report.is_ok_and(|report| !report.findings.is_empty());
    let is_served = use_all(&support::over(store, folder.path())).is_ok();
    Ok(match (is_told, is_served) {
        (true, true) => "told by verify, served",
        (true, false) => "told by verify, an error",
        (false, true) => "harmless",
        (false, false) => "an error that verify doesn't tell",
    })
}

/// The files of a view are damaged: it is built again, and what was in it is found.
fn views(sound: &Sound, chance: &mut Chance) -> Result<&'static str, Box<dyn Error>> {
    let folder = sound.copy()?;
    let files = files(&folder.path().join("views"))?;
    let path = chance.one(&files).ok_or("there are views")?;
    let (mut bytes, other) = (std::fs::read(path)?, std::fs::read(chance.one(&files).ok_or("there are views")?)?);
    chance.change_some(&mut bytes, &other, DICTIONARY);
    std::fs::write(path, bytes)?;
    let catalog = support::over(Sound::store(&sound.pairs)?, folder.path());
    let found = use_all(&catalog)?;
    assert_eq!(found, FOUND, "{} is damaged", path.display());
    Ok("found")
}

/// Reads and asks for everything there is; how many chunks a lexical search finds.
fn use_all(catalog: &Catalog) -> Result<usize, Box<dyn Error>> {
    let tenant = TenantId::default();
    catalog.remove_staged()?;
    catalog.finish_deletions()?;
    catalog.unfinished_jobs()?;
    catalog.api_keys()?;
    catalog.usage(&tenant)?;
    catalog.counted_usage(&tenant)?;
    let mut found = 0;
    for record in catalog.collections(&tenant, None, 100)?.items {
        catalog.collection_state(&record)?;
        for document in catalog.documents(&record, None, 100)?.items {
            let _ = catalog.status(&record, &document);
            let _ = catalog.original(&record, &document);
            if let Some(served) = &document.served {
                let _ = catalog.text(&record, served);
                let _ = catalog.chunks(&record, &document, served, 0, 1000);
                let _ = catalog.served_vectors(&record, &document);
            }
        }
        let collection = catalog.open_collection(&record)?;
        let allowed = collection.allowed(None, &Principals::All);
        let query = Embedding::normalised(vec![1.0, 0.5], 2)?;
        let ask = VectorQuery { k: 10, ef: None, exact: false, allowed: &allowed };
        let near = collection.vector_search(&query, &ask)?;
        let rows: Vec<_> = near.iter().map(|hit| hit.row).collect();
        collection.chunks(&rows)?;
        let terms = collection.text_search(&collection.question("granite ice")?, 10, &allowed)?.rows;
        collection.chunks(&terms.iter().map(|hit| hit.row).collect::<Vec<_>>())?;
        found += terms.len();
    }
    Ok(found)
}

/// Chunks of the sound directory that a search for "granite ice" finds, by their words or headings.
const FOUND: usize = 3;
const OPTIONS: BackupOptions<'_> = BackupOptions { reserve_bytes: 0, should_stop: &|| false };

fn made_backup(sound: &Sound) -> Result<Vec<u8>, Box<dyn Error>> {
    let path = sound.folder.path().join("made.backup");
    support::over(Sound::store(&sound.pairs)?, sound.folder.path()).backup(&path, &OPTIONS)?;
    Ok(std::fs::read(path)?)
}

fn restored(backup: &[u8], chance: &mut Chance) -> Result<&'static str, Box<dyn Error>> {
    let mut bytes = backup.to_vec();
    chance.change_some(&mut bytes, backup, DICTIONARY);
    let folder = tempfile::tempdir()?;
    let (path, data) = (folder.path().join("backup"), folder.path().join("data"));
    std::fs::write(&path, &bytes)?;
    match backup::restore(&path, &data) {
        Err(_) => {
            assert!(!data.exists(), "a backup that is refused leaves nothing behind");
            Ok("refused")
        }
        Ok(_) if bytes == backup => Ok("unchanged"),
        Ok(_) => panic!("a damaged backup was restored"),
    }
}

fn filter(chance: &mut Chance) -> &'static str {
    let mut text = chance.one(FILTERS).map_or_else(Vec::new, |filter| filter.as_bytes().to_vec());
    let other = chance.one(FILTERS).map_or("", |filter| filter);
    chance.change_some(&mut text, other.as_bytes(), DICTIONARY);
    let Ok(filter) = serde_json::from_slice::<Filter>(&text) else { return "not a filter" };
    if filter.validate().is_err() {
        return "refused";
    }
    let metadata: Metadata =
        serde_json::from_str(r#"{"a":"x","n":4,"b":true,"list":["x","y"],"t":"2025-05-05T00:00:00Z"}"#).unwrap_or_default();
    let again: Filter = serde_json::from_value(serde_json::to_value(&filter).unwrap()).unwrap();
    assert_eq!(again.matches(&metadata), filter.matches(&metadata));
    "evaluated"
}
