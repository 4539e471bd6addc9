//! The tier on a shelf: its bounds, its restarts, and a shelf that fails.

use super::*;
use crate::contract;
use crate::key::Prefix;
use crate::shelf::{MapShelf, ShelfHead, ShelfPair};
use crate::test_keys::{key, tenant};
use bytes::Bytes;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, mpsc};
use std::thread::ThreadId;

const MINUTE: Duration = Duration::from_secs(60);

fn entry(bytes: usize, created_ms: u64) -> Entry {
    Entry::new(Bytes::from(vec![7; bytes]), created_ms, MINUTE)
}

async fn open(shelf: &Arc<MapShelf>, bytes_max: u64) -> StoreTier {
    StoreTier::open(Arc::clone(shelf) as Arc<dyn Shelf>, bytes_max).await.unwrap()
}

/// The sum of what lies on the shelf, as the tier counts it.
fn bytes_on(shelf: &MapShelf) -> u64 {
    let entries = shelf.scan(b"e/", None, usize::MAX).unwrap();
    entries.iter().map(|(key, value)| (key.len() - 2 + value.len()) as u64).sum()
}

#[tokio::test]
async fn keeps_the_contract() {
    contract::check(|| async { open(&Arc::new(MapShelf::new()), 1 << 20).await }).await;
}

#[tokio::test]
async fn the_oldest_make_room() {
    let shelf = Arc::new(MapShelf::new());
    let tier = open(&shelf, 4000).await;
    // Taken in out of order: age counts, not arrival.
    for age in [3, 1, 4, 2, 6, 5] {
        assert!(tier.put(key(&age.to_string()).path(), &entry(800, age), MINUTE).await.unwrap());
        assert!(bytes_on(&shelf) <= 4000);
        assert_eq!(tier.usage().await.bytes, Some(bytes_on(&shelf)));
    }
    let mut there = Vec::new();
    for age in 1..=6 {
        there.push(tier.get(key(&age.to_string()).path()).await.unwrap().is_some());
    }
    assert_eq!(there, [false, false, true, true, true, true], "{:?}", tier.usage().await);
    assert_eq!(tier.usage().await.evictions, 2);
    assert!(!tier.put(key("large").path(), &entry(5000, 9), MINUTE).await.unwrap());
}

#[tokio::test]
async fn a_restart_knows_what_is_there_and_keeps_a_smaller_limit() {
    let shelf = Arc::new(MapShelf::new());
    let tier = open(&shelf, 100_000).await;
    for n in 0..20 {
        tier.put(key(&n.to_string()).path(), &entry(500, n), MINUTE).await.unwrap();
    }
    let before = tier.usage().await;
    drop(tier);
    let tier = open(&shelf, 100_000).await;
    assert_eq!((tier.usage().await.entries, tier.usage().await.bytes), (before.entries, before.bytes));
    assert_eq!(tier.get(key("7").path()).await.unwrap(), Some(entry(500, 7)));
    let tier = open(&shelf, 3000).await;
    assert!(bytes_on(&shelf) <= 3000);
    assert_eq!(tier.get(key("19").path()).await.unwrap(), Some(entry(500, 19)), "the youngest stays");
}

#[tokio::test]
async fn an_entry_written_again_counts_once() {
    let shelf = Arc::new(MapShelf::new());
    let tier = open(&shelf, 5000).await;
    for created_ms in 0..50 {
        tier.put(key("a").path(), &entry(300, created_ms), MINUTE).await.unwrap();
    }
    assert_eq!(tier.usage().await.entries, Some(1));
    assert_eq!(tier.usage().await.bytes, Some(bytes_on(&shelf)));
    assert_eq!(tier.usage().await.evictions, 0);
    tier.remove_all(&Selection::Under(Prefix::of_tenant(&tenant("acme")))).await.unwrap();
    assert_eq!((tier.usage().await.entries, tier.usage().await.bytes), (Some(0), Some(0)));
    assert!(shelf.scan(b"", None, 10).unwrap().is_empty(), "no age is left behind");
}

#[tokio::test]
async fn a_damaged_entry_is_an_error_and_not_served() {
    let shelf = Arc::new(MapShelf::new());
    let tier = open(&shelf, 5000).await;
    tier.put(key("a").path(), &entry(10, 1), MINUTE).await.unwrap();
    let place = [b"e/", key("a").path().as_bytes()].concat();
    let mut value = shelf.get(&place).unwrap().unwrap();
    *value.last_mut().unwrap() ^= 1;
    shelf.put(&place, &value).unwrap();
    assert!(matches!(tier.get(key("a").path()).await, Err(TierError::Damaged(_))));
    tier.remove(key("a").path()).await.unwrap();
    assert_eq!(tier.get(key("a").path()).await.unwrap(), None);
}

/// Stops working after so many calls, as a process that ends does.
struct Ending {
    shelf: Arc<MapShelf>,
    calls_left: AtomicUsize,
}

impl Ending {
    fn call(&self) -> Result<(), ShelfError> {
        let left = self.calls_left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        left.map(|_| ()).map_err(|_| ShelfError("the process ended".into()))
    }
}

impl Shelf for Ending {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ShelfError> {
        self.call().and_then(|()| self.shelf.get(key))
    }
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), ShelfError> {
        self.call().and_then(|()| self.shelf.put(key, value))
    }
    fn delete(&self, key: &[u8]) -> Result<(), ShelfError> {
        self.call().and_then(|()| self.shelf.delete(key))
    }
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<ShelfPair>, ShelfError> {
        self.call().and_then(|()| self.shelf.scan(prefix, after, limit))
    }
}

#[tokio::test]
async fn a_process_that_ends_anywhere_leaves_a_shelf_that_works() {
    for calls in 0..40 {
        let shelf = Arc::new(MapShelf::new());
        let ending = Ending { shelf: Arc::clone(&shelf), calls_left: AtomicUsize::new(calls) };
        if let Ok(tier) = StoreTier::open(Arc::new(ending), 2500).await {
            for n in 0..6 {
                _ = tier.put(key(&(n % 4).to_string()).path(), &entry(600, n), MINUTE).await;
            }
        }
        let tier = open(&shelf, 2500).await;
        for n in 0..30 {
            tier.put(key(&(n % 7).to_string()).path(), &entry(600, 100 + n), MINUTE).await.unwrap();
            let found = tier.get(key(&(n % 7).to_string()).path()).await.unwrap();
            assert_eq!(found, Some(entry(600, 100 + n)), "ended after {calls} calls");
        }
        assert!(bytes_on(&shelf) <= 2500, "ended after {calls} calls: {} bytes", bytes_on(&shelf));
    }
}

/// Remembers who calls it, takes its time for each value, and holds a write up until it is told, or for seconds.
struct Watched {
    shelf: MapShelf,
    threads: Mutex<HashSet<ThreadId>>,
    held_up: Mutex<Option<mpsc::Receiver<()>>>,
    was_told: AtomicBool,
}

impl Shelf for Watched {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ShelfError> {
        self.threads.lock().unwrap().insert(std::thread::current().id());
        std::thread::sleep(Duration::from_millis(5));
        self.shelf.get(key)
    }
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), ShelfError> {
        if let Some(told) = self.held_up.lock().unwrap().take() {
            self.was_told.store(told.recv_timeout(Duration::from_secs(5)).is_ok(), Relaxed);
        }
        self.shelf.put(key, value)
    }
    fn delete(&self, key: &[u8]) -> Result<(), ShelfError> {
        self.shelf.delete(key)
    }
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<ShelfPair>, ShelfError> {
        assert!(!prefix.starts_with(b"e/"), "whole values are read");
        self.shelf.scan(prefix, after, limit)
    }
    fn scan_heads(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize, head_bytes: usize) -> Result<Vec<ShelfHead>, ShelfError> {
        self.shelf.scan_heads(prefix, after, limit, head_bytes)
    }
}

#[tokio::test]
async fn many_are_read_in_one_hop_heads_without_values_and_nobody_waits_for_a_write_on_an_async_thread() {
    let (tell, told) = mpsc::channel();
    let shelf = Arc::new(Watched { shelf: MapShelf::new(), threads: Mutex::default(), held_up: Mutex::default(), was_told: false.into() });
    let tier = StoreTier::open(Arc::clone(&shelf) as Arc<dyn Shelf>, 1 << 20).await.unwrap();
    let paths: Vec<_> = (0..20).map(|n| Arc::clone(key(&n.to_string()).path())).collect();
    for path in &paths[1..] {
        tier.put(path, &entry(10_000, 1), MINUTE).await.unwrap();
    }
    shelf.threads.lock().unwrap().clear();
    assert_eq!(tier.get_many(&paths).await.into_iter().filter(|found| matches!(found, Ok(Some(_)))).count(), 19);
    assert_eq!(shelf.threads.lock().unwrap().len(), 1);
    *shelf.held_up.lock().unwrap() = Some(told);
    let small = entry(10, 1);
    let put = tier.put(&paths[0], &small, MINUTE);
    let looks = async {
        // Lets the write begin.
        tokio::time::sleep(Duration::from_millis(100)).await;
        tokio::join!(tier.usage(), async { tell.send(()).unwrap() }).0
    };
    let (_, usage) = tokio::join!(put, looks);
    assert!(shelf.was_told.load(Relaxed), "the figures were waited for on the only thread");
    assert_eq!(usage.entries, Some(20));
    let tenant = Prefix::of_tenant(&tenant("acme"));
    assert_eq!(tier.list(&tenant, None, 100, 1).await.unwrap().entries.len(), 20);
    assert_eq!(tier.remove_all(&Selection::Under(tenant)).await.unwrap(), 20);
}
