//! Power cuts under the real store: `power_cuts [STATES] [SEED]`.
//!
//! Between two syncs a disk may keep any of the blocks that were written, in any order, or a part of
//! one. So: copy the store's files after a sync, commit once more, copy them again; then build states
//! in which each block that differs is the old one, the new one, or torn, and open each. What was
//! durable at the first copy must be there; the commit after it whole or not at all; a state that is
//! refused with a reason counts as lost.

use ragstone_index::store::{Batch, SledOptions, SledStore, Store};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

type Files = BTreeMap<String, Vec<u8>>;

const BLOCK_BYTES: usize = 4096;
const SECTOR_BYTES: usize = 512;
/// Pairs of copies that the states are spread over.
const ROUNDS: u64 = 10;

fn options() -> SledOptions {
    SledOptions { cache_bytes: 1 << 20, reserve_bytes: 0 }
}

/// splitmix64 (public domain, Vigna 2015).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn read_files(root: &Path, below: &str, files: &mut Files) -> std::io::Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let name = format!("{below}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            read_files(root, &name, files)?;
        } else {
            files.insert(name, fs::read(entry.path())?);
        }
    }
    Ok(())
}

/// What is in the store's own folder and its marker.
fn image(dir: &Path) -> std::io::Result<Files> {
    let mut files = Files::new();
    read_files(dir, "sled", &mut files)?;
    files.insert("store.marker".into(), fs::read(dir.join("store.marker"))?);
    Ok(files)
}

fn block(bytes: &[u8], at: usize, size: usize) -> Vec<u8> {
    let mut found = bytes.get(at..(at + size).min(bytes.len())).unwrap_or_default().to_vec();
    found.resize(size, 0);
    found
}

/// A file as a power cut may leave it, between `old` and `new`.
fn torn(old: &[u8], new: &[u8], seed: &mut u64) -> Vec<u8> {
    let length = if random(seed).is_multiple_of(2) { new.len() } else { old.len() };
    let mut found = Vec::with_capacity(new.len());
    for at in (0..length).step_by(BLOCK_BYTES) {
        let (before, after) = (block(old, at, BLOCK_BYTES), block(new, at, BLOCK_BYTES));
        match random(seed) % 3 {
            0 => found.extend(before),
            1 => found.extend(after),
            _ => {
                let cut = SECTOR_BYTES * (random(seed) as usize % (BLOCK_BYTES / SECTOR_BYTES + 1));
                found.extend(after.iter().take(cut).chain(before.iter().skip(cut)));
            }
        }
    }
    found.truncate(length);
    found
}

fn write_state(dir: &Path, before: &Files, after: &Files, seed: &mut u64) -> std::io::Result<()> {
    let names = before.keys().chain(after.keys()).collect::<std::collections::BTreeSet<_>>();
    fs::create_dir_all(dir.join("sled/blobs"))?;
    for name in names {
        let bytes = match (before.get(name), after.get(name)) {
            // A rename is there or not: the marker and snapshots are never torn.
            (Some(old), Some(new)) if !name.ends_with("/db") => if random(seed).is_multiple_of(2) { old } else { new }.clone(),
            (Some(old), Some(new)) => torn(old, new, seed),
            (Some(one), None) | (None, Some(one)) if random(seed).is_multiple_of(2) => one.clone(),
            _ => continue,
        };
        let path = dir.join(name);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, bytes)?;
    }
    Ok(())
}

fn keys_of(round: u64) -> impl Iterator<Item = Vec<u8>> {
    (0..60_u64).map(move |n| [n.wrapping_mul(0x9e37_79b9).to_be_bytes(), round.to_be_bytes()].concat())
}

fn commit(store: &SledStore, round: u64) -> Result<(), Box<dyn Error>> {
    let mut batch = Batch::default();
    keys_of(round).for_each(|key| batch.put(key, vec![round as u8; 300]));
    // A value that every round writes over: it must be of the last round that is there.
    batch.put("latest", round.to_be_bytes());
    Ok(store.durable(store.commit(batch)?)?)
}

/// What is wrong with an opened state, if anything.
fn fault(store: &SledStore, durable: u64) -> Result<Option<String>, Box<dyn Error>> {
    let Some(latest) = store.get(b"latest")?.and_then(|value| Some(u64::from_be_bytes(*value.first_chunk::<8>()?))) else {
        return Ok(Some("everything is gone".into()));
    };
    if latest != durable && latest != durable + 1 {
        return Ok(Some(format!("round {latest} is the latest, {durable} was durable")));
    }
    for round in 0..=durable + 1 {
        let keys: Vec<_> = keys_of(round).collect();
        let count = store.multi_get(&keys)?.iter().flatten().filter(|value| **value == vec![round as u8; 300]).count();
        let expected = if round <= latest { keys.len() } else { 0 };
        if count != expected {
            return Ok(Some(format!("{count} of {expected} values of round {round}")));
        }
    }
    let corrupt = store.verify()?.corrupt;
    Ok((corrupt > 0).then(|| format!("{corrupt} damaged values")))
}

/// Builds and opens so many states. Returns how many had the last commit, or what was wrong.
pub(crate) fn run(states: u64, mut seed: u64) -> Result<u64, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let (mut kept, mut round) = (0, 0);
    let live = folder.path().join("live");
    for part in 0..ROUNDS.min(states) {
        let store = SledStore::open(&live, &options())?;
        commit(&store, round)?;
        let before = image(&live)?;
        commit(&store, round + 1)?;
        let after = image(&live)?;
        drop(store);
        for state in (part..states).step_by(usize::try_from(ROUNDS)?) {
            let dir = folder.path().join(format!("state-{state}"));
            let seed_of_state = seed;
            write_state(&dir, &before, &after, &mut seed)?;
            let what = |fault: &str| format!("state {state} (seed {seed_of_state}, round {round}): {fault}");
            let store = SledStore::open(&dir, &options()).map_err(|error| what(&error.to_string()))?;
            if let Some(fault) = fault(&store, round)? {
                return Err(what(&fault).into());
            }
            kept += u64::from(store.get(b"latest")? == Some((round + 1).to_be_bytes().to_vec()));
            drop(store);
            fs::remove_dir_all(dir)?;
        }
        round += 2;
    }
    Ok(kept)
}

#[allow(dead_code, reason = "the test that includes this file calls run itself")]
fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let states = arguments.next().map_or(Ok(500), |text| text.parse())?;
    let seed = arguments.next().map_or(Ok(20_261_121), |text| text.parse())?;
    let kept = run(states, seed)?;
    eprintln!("{states} power cuts (seed {seed}): everything durable is there; the last commit survived {kept} times");
    Ok(())
}
