//! How many durable commits a second the store does: `store_commits [THREADS] [VALUE_BYTES] [SECONDS] [FOLDER]`.
//! Each thread commits one value at a time and waits until it is durable. Run it in release mode.

use ragstone_index::store::{Batch, SledOptions, SledStore, Store, StoreError};
use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

fn commit_until(store: &SledStore, thread: usize, value: &[u8], end: Instant) -> Result<Vec<Duration>, StoreError> {
    let mut latencies = Vec::new();
    for n in 0_u64.. {
        let start = Instant::now();
        if start >= end {
            break;
        }
        let mut batch = Batch::default();
        batch.put(format!("bench/{thread:03}/{n:012}"), value);
        store.durable(store.commit(batch)?)?;
        latencies.push(start.elapsed());
    }
    Ok(latencies)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let threads: usize = arguments.next().map_or(Ok(8), |text| text.parse())?;
    let value = vec![7; arguments.next().map_or(Ok(1024), |text| text.parse())?];
    let seconds: u64 = arguments.next().map_or(Ok(10), |text| text.parse())?;
    let temporary = tempfile::tempdir()?;
    let folder = arguments.next().map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let store = SledStore::open(&folder, &SledOptions::default())?;

    let start = Instant::now();
    let end = start + Duration::from_secs(seconds);
    let work = || -> Result<Vec<Duration>, Box<dyn Error>> {
        std::thread::scope(|scope| {
            let (store, value) = (&store, &value);
            let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || commit_until(store, thread, value, end))).collect();
            let mut all = Vec::new();
            for thread in running {
                all.extend(thread.join().map_err(|_| "a thread panicked")??);
            }
            Ok(all)
        })
    };
    let mut latencies = work()?;
    let elapsed = start.elapsed().as_secs_f64();
    latencies.sort();
    let at = |share: f64| latencies.get((latencies.len() as f64 * share) as usize).copied().unwrap_or_default();
    let stats = store.stats();
    let line = format!(
        "{threads} threads, {} bytes: {:.0} durable commits/s, p50 {:.2?}, p99 {:.2?}, {:.1} commits a sync, {:.1} bytes on disk a byte",
        value.len(),
        latencies.len() as f64 / elapsed,
        at(0.5),
        at(0.99),
        stats.commits as f64 / stats.syncs.max(1) as f64,
        stats.disk_bytes as f64 / (latencies.len() * value.len()).max(1) as f64,
    );
    std::io::Write::write_all(&mut std::io::stdout(), format!("{line}\n").as_bytes())?;
    Ok(())
}
