//! The vector index under change: what deletes and inserts do to recall, memory and disk, and what inserts do to
//! searches beside them.

use super::index::{self as bench, BUILD_WAIT};
use super::vectors::{self, Table};
use anyhow::{Context, ensure};
use clap::Args;
use corpus::Embedding;
use index::vector::{self, Home, VectorIndex, VectorParams, VectorQuery};
use roaring::RoaringBitmap;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Of the vectors, so many parts in five are there from the start; the rest comes in while others go.
const THERE: usize = 4;
const PARTS: usize = 5;
/// Hits per search.
const K: usize = 10;
/// From one insert to the next.
const INSERT_EVERY: Duration = Duration::from_millis(10);

#[derive(Debug, Args)]
pub(crate) struct ChurnArgs {
    /// Vectors: .npy or .fvecs
    #[arg(long, value_name = "FILE")]
    base: PathBuf,
    /// Vectors to search for
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,
    /// Breadth of the approximate search
    #[arg(long, default_value_t = VectorParams::default().ef_search)]
    ef: usize,
    /// Rounds of deleting a fifth and inserting as many new ones
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Vectors inserted a second while searches are timed
    #[arg(long, default_value_t = 1000)]
    rate: usize,
    /// Seconds of that
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    vectors: usize,
    /// Before the first round, after each, and of an index built anew from what is left.
    rounds: Vec<Round>,
    fresh: Round,
    /// Searches alone, and beside inserts.
    idle: Times,
    inserting: Times,
    inserted_per_s: f64,
}

#[derive(Debug, Serialize)]
struct Round {
    recall_at_10: f64,
    /// Hits that were deleted before.
    deleted_hits: usize,
    resident_mb: f64,
    disk_mb: f64,
}

#[derive(Debug, Serialize)]
struct Times {
    searches: usize,
    p50_us: f64,
    p99_us: f64,
}

pub(crate) fn run(args: &ChurnArgs) -> anyhow::Result<ExitCode> {
    let (base, queries) = (vectors::floats(&args.base)?, vectors::floats(&args.queries)?);
    ensure!(base.width == queries.width, "vectors have {} dimensions, queries {}", base.width, queries.width);
    let folder = std::env::temp_dir().join(format!("ragstone-churn-{}", std::process::id()));
    let measured = measure(args, &base, &queries, &folder);
    // Nothing is in it where building failed.
    let _ = std::fs::remove_dir_all(&folder);
    print(&measured?, args.json)
}

fn measure(args: &ChurnArgs, base: &Table<f32>, queries: &Table<f32>, folder: &Path) -> anyhow::Result<Report> {
    let vectors = base.rows().len();
    let mut churn = Churn::new(base, queries, args.ef, folder.join("churn"))?;
    let mut rounds = vec![churn.look()?];
    for round in 0..args.rounds {
        churn.turn_over(round)?;
        rounds.push(churn.look()?);
    }
    let fresh = churn.built_anew(folder.join("fresh"))?.look()?;
    let never = AtomicBool::new(false);
    let idle = churn.time_searches(Duration::from_secs(args.seconds), &never)?;
    let (inserting, inserted_per_s) = churn.time_beside_inserts(args)?;
    Ok(Report { vectors, rounds, fresh, idle, inserting, inserted_per_s })
}

struct Churn<'b> {
    base: Vec<&'b [f32]>,
    queries: Vec<&'b [f32]>,
    ef: usize,
    directory: PathBuf,
    index: Box<dyn VectorIndex>,
    /// Which vector of the base a live row has.
    live: BTreeMap<u32, usize>,
    /// Vectors that are not live.
    out: Vec<usize>,
    next_row: u32,
}

impl<'b> Churn<'b> {
    fn new(base: &'b Table<f32>, queries: &'b Table<f32>, ef: usize, directory: PathBuf) -> anyhow::Result<Self> {
        let base: Vec<&[f32]> = base.rows().collect();
        let there = base.len() * THERE / PARTS;
        let out = (there..base.len()).collect();
        Self::with(base, queries.rows().collect(), ef, directory, (0..there).collect(), out)
    }

    fn with(
        base: Vec<&'b [f32]>,
        queries: Vec<&'b [f32]>,
        ef: usize,
        directory: PathBuf,
        there: Vec<usize>,
        out: Vec<usize>,
    ) -> anyhow::Result<Self> {
        let dimension = base.first().context("there are no vectors")?.len();
        let home = Home { directory: directory.clone(), collection: "bench".into(), seq: 0 };
        let index = vector::open(dimension, &VectorParams::default(), Some(home), &RoaringBitmap::new())?;
        let mut churn = Self { base, queries, ef, directory, index, live: BTreeMap::new(), out, next_row: 0 };
        churn.insert(there)?;
        churn.settle()?;
        Ok(churn)
    }

    fn built_anew(&self, directory: PathBuf) -> anyhow::Result<Self> {
        Self::with(self.base.clone(), self.queries.clone(), self.ef, directory, self.live.values().copied().collect(), Vec::new())
    }

    fn settle(&self) -> anyhow::Result<()> {
        ensure!(self.index.wait_built(BUILD_WAIT), "the graph could not be built");
        Ok(())
    }

    fn insert(&mut self, vectors: Vec<usize>) -> anyhow::Result<()> {
        let mut rows = Vec::with_capacity(vectors.len());
        for vector in vectors {
            rows.push((self.next_row, bench::unit(self.base.get(vector).copied().unwrap_or_default())?));
            self.live.insert(self.next_row, vector);
            self.next_row += 1;
        }
        Ok(self.index.insert(rows)?)
    }

    /// A fifth goes, as many that were not there come.
    fn turn_over(&mut self, round: usize) -> anyhow::Result<()> {
        // Every fifth, from another one each time.
        let gone: Vec<u32> = self.live.keys().copied().skip(round % PARTS).step_by(PARTS).collect();
        let come = self.out.split_off(self.out.len().saturating_sub(gone.len()));
        self.index.remove(&gone.iter().copied().collect());
        let gone: Vec<usize> = gone.iter().filter_map(|row| self.live.remove(row)).collect();
        self.out.splice(0..0, gone);
        self.insert(come)?;
        self.settle()
    }

    fn look(&self) -> anyhow::Result<Round> {
        let allowed: RoaringBitmap = (0..self.next_row).collect();
        let mut deleted_hits = 0;
        let (mut found, mut truth) = (Vec::new(), Vec::new());
        for query in &self.queries {
            let hits = self.search(query, false, &allowed)?;
            deleted_hits += hits.iter().filter(|row| !self.live.contains_key(row)).count();
            found.push(hits);
            truth.push(self.search(query, true, &allowed)?);
        }
        Ok(Round {
            recall_at_10: bench::recall(&found, &truth),
            deleted_hits,
            resident_mb: self.index.stats().bytes as f64 / 1e6,
            disk_mb: bytes_in(&self.directory)? as f64 / 1e6,
        })
    }

    fn search(&self, query: &[f32], exact: bool, allowed: &RoaringBitmap) -> anyhow::Result<Vec<u32>> {
        let hits = self.index.search(query, &VectorQuery { k: K, ef: Some(self.ef), exact, allowed })?;
        Ok(hits.iter().map(|hit| hit.row).collect())
    }

    /// One search after the other for so long, or until it is over.
    fn time_searches(&self, time: Duration, is_over: &AtomicBool) -> anyhow::Result<Times> {
        let mut allowed = RoaringBitmap::new();
        allowed.insert_range(0..self.next_row.saturating_mul(2));
        let (began, mut times) = (Instant::now(), Vec::new());
        for query in self.queries.iter().cycle() {
            if began.elapsed() >= time || is_over.load(Ordering::Relaxed) {
                break;
            }
            let began = Instant::now();
            self.search(query, false, &allowed)?;
            times.push(began.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        let at = |share| 1e6 * bench::percentile(&times, share);
        Ok(Times { searches: times.len(), p50_us: at(0.5), p99_us: at(0.99) })
    }

    /// Searches while vectors come in at a steady rate, and how many a second came.
    fn time_beside_inserts(&self, args: &ChurnArgs) -> anyhow::Result<(Times, f64)> {
        let each = (args.rate as f64 * INSERT_EVERY.as_secs_f64()).ceil() as usize;
        let batch = |first: u32| -> anyhow::Result<Vec<(u32, Embedding)>> {
            let vectors = self.base.iter().cycle().skip(first as usize % self.base.len()).take(each);
            (first..).zip(vectors).map(|(row, vector)| Ok((row, bench::unit(vector)?))).collect()
        };
        let is_over = AtomicBool::new(false);
        let time = Duration::from_secs(args.seconds);
        std::thread::scope(|scope| {
            let searches = scope.spawn(|| self.time_searches(time * 2, &is_over));
            let (began, mut row) = (Instant::now(), self.next_row);
            let mut due = began;
            while began.elapsed() < time {
                self.index.insert(batch(row)?)?;
                row += u32::try_from(each)?;
                due += INSERT_EVERY;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            is_over.store(true, Ordering::Relaxed);
            let rate = f64::from(row - self.next_row) / began.elapsed().as_secs_f64();
            Ok((searches.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?, rate))
        })
    }
}

/// Nothing while all segments are small: there is no folder then.
fn bytes_in(directory: &Path) -> anyhow::Result<u64> {
    if !directory.exists() {
        return Ok(0);
    }
    std::fs::read_dir(directory)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

#[expect(clippy::print_stdout, reason = "the command's output")]
fn print(report: &Report, as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        println!("{}", serde_json::to_string_pretty(report)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} vectors, four fifths of them at a time", report.vectors);
    println!("{:>6} {:>9} {:>12} {:>8} {:>8}", "round", "recall@10", "deleted hits", "RAM MB", "disk MB");
    let rows = report.rounds.iter().enumerate().map(|(round, figures)| (round.to_string(), figures));
    for (round, figures) in rows.chain([("anew".to_owned(), &report.fresh)]) {
        let Round { recall_at_10, deleted_hits, resident_mb, disk_mb } = figures;
        println!("{round:>6} {recall_at_10:>9.4} {deleted_hits:>12} {resident_mb:>8.1} {disk_mb:>8.1}");
    }
    for (name, times) in [("idle".to_owned(), &report.idle), (format!("{:.0} inserts/s", report.inserted_per_s), &report.inserting)] {
        println!("{name}: {} searches, p50 {:.1} µs, p99 {:.1} µs", times.searches, times.p50_us, times.p99_us);
    }
    Ok(ExitCode::SUCCESS)
}
