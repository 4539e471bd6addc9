//! kill -9 on a process that commits: what it said was durable is there, and no batch is there in part.

use super::{Batch, SledOptions, SledStore, Store};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

const KILLS: usize = 10;
const THREADS: usize = 4;
/// Keys of one commit: enough that a kill often falls between two of them.
const WIDTH: usize = 40;
const FOLDER: &str = "RAGSTONE_TEST_STORE";
const ROUND: &str = "RAGSTONE_TEST_ROUND";

fn open(dir: &Path) -> SledStore {
    SledStore::open(dir, &SledOptions { cache_bytes: 1024 * 1024, reserve_bytes: 0 }).unwrap()
}

fn key(commit: &str, n: usize) -> String {
    format!("{n:02}/{commit}")
}

fn commit_for_ever(store: &SledStore, round: &str, thread: usize) {
    for n in 0.. {
        let commit = format!("{round}-{thread}-{n}");
        let mut batch = Batch::default();
        (0..WIDTH).for_each(|at| batch.put(key(&commit, at), commit.repeat(20)));
        batch.put(format!("latest/{round}-{thread}"), n.to_string());
        let seq = store.commit(batch).unwrap();
        store.durable(seq).unwrap();
        // One write a line, so that a kill can't leave half of one in a buffer.
        std::io::stderr().lock().write_all(format!("ack {seq} {commit}\n").as_bytes()).unwrap();
    }
}

/// Does nothing unless the test below starts it as a process of its own.
#[test]
fn child_that_commits_until_killed() {
    let (Ok(dir), Ok(round)) = (std::env::var(FOLDER), std::env::var(ROUND)) else { return };
    let store = open(Path::new(&dir));
    std::thread::scope(|scope| {
        (0..THREADS).for_each(|thread| {
            drop(scope.spawn({
                let (store, round) = (&store, &round);
                move || commit_for_ever(store, round, thread)
            }))
        })
    });
}

/// Runs the child until it has acknowledged `enough` commits, kills it, returns all it acknowledged.
fn acknowledged_before_kill(dir: &Path, round: usize, enough: usize) -> Vec<(u64, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["store::crash_tests::child_that_commits_until_killed", "--exact", "--nocapture"])
        .env(FOLDER, dir)
        .env(ROUND, round.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = Vec::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some((seq, commit)) = line.strip_prefix("ack ").and_then(|rest| rest.split_once(' ')) else { panic!("the child said: {line}") };
        acknowledged.push((seq.parse().unwrap(), commit.to_owned()));
        if acknowledged.len() == enough {
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success());
    assert!(acknowledged.len() >= enough);
    acknowledged
}

#[test]
fn what_was_durable_survives_kill_minus_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut all: Vec<(u64, String)> = Vec::new();
    for round in 0..KILLS {
        all.extend(acknowledged_before_kill(dir.path(), round, 3 + round * 7 % 31));
        let store = open(dir.path());
        let last = all.iter().map(|(seq, _)| *seq).max().unwrap();
        assert!(store.stats().seq >= last, "numbers go on");
        for (_, commit) in &all {
            let keys: Vec<_> = (0..WIDTH).map(|n| key(commit, n).into_bytes()).collect();
            let expected = Some(commit.repeat(20).into_bytes());
            assert!(store.multi_get(&keys).unwrap().iter().all(|value| *value == expected), "round {round}: {commit} was acknowledged");
        }
        let commits = |n: usize| {
            let pairs = store.scan(format!("{n:02}/").as_bytes(), None, usize::MAX).unwrap();
            pairs.into_iter().map(|(_, value)| value).collect::<Vec<_>>()
        };
        let first = commits(0);
        assert!((1..WIDTH).all(|n| commits(n) == first), "round {round}: every commit is whole or absent");
        assert_eq!(store.verify().unwrap().corrupt, 0);
    }
}
