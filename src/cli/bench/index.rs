//! The vector index alone, on files of vectors: building, opening, memory, and recall against throughput.

use super::plot::plot;
use super::vectors::{self, Table};
use anyhow::{Context, bail, ensure};
use clap::Args;
use corpus::Embedding;
use index::vector::{self, Engine, Home, VectorIndex, VectorParams, VectorQuery};
use roaring::RoaringBitmap;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A build that takes longer has failed.
pub(super) const BUILD_WAIT: Duration = Duration::from_secs(4 * 3600);

#[derive(Debug, Args)]
pub(crate) struct IndexArgs {
    /// Vectors to search in: .npy or .fvecs
    #[arg(long, value_name = "FILE")]
    base: PathBuf,
    /// Vectors to search for
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,
    /// Rows of the nearest vectors for each query, best first, as int32: .npy or .ivecs; without it exact search says
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Engine: auto, exact or hnsw_rs
    #[arg(long, default_value = "auto", value_parser = engine)]
    engine: Engine,
    /// Links of a point in the graph; twice as many with those back. By default the engine's
    #[arg(long)]
    m: Option<usize>,
    /// Candidates looked at for the links of a new point. By default the engine's
    #[arg(long)]
    ef_construction: Option<usize>,
    /// Breadths of the approximate search
    #[arg(long, value_delimiter = ',', default_value = "10,12,16,20,24,32,40,48,64,80,100,128,160,200,256,384,512")]
    ef: Vec<usize>,
    /// Hits per search
    #[arg(long, short, default_value_t = 10)]
    k: usize,
    /// Threads that search at the same time
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    threads: Vec<usize>,
    /// Percentages of the vectors that a filter lets through
    #[arg(long, value_delimiter = ',')]
    select: Vec<f64>,
    /// Rounds, each over all breadths; the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Folder for the index's files; a new one in the temporary folder without it
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Write recall against searches a second as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

fn engine(name: &str) -> Result<Engine, String> {
    match name {
        "auto" => Ok(Engine::Auto),
        "exact" => Ok(Engine::Exact),
        "hnsw_rs" => Ok(Engine::HnswRs),
        _ => Err("auto, exact or hnsw_rs".into()),
    }
}

#[derive(Debug, Serialize)]
struct Report {
    vectors: usize,
    dimension: usize,
    engine: &'static str,
    /// The instructions that scores are computed with.
    kernel: &'static str,
    build_s: f64,
    /// From the saved files to the first hit; absent where nothing is saved.
    open_ms: Option<f64>,
    /// What the index allocated, in 10⁶ bytes.
    resident_mb: f64,
    unreachable: u64,
    exact: Exact,
    points: Vec<Point>,
}

#[derive(Debug, Serialize)]
struct Exact {
    ms: f64,
    recall_at_10: f64,
}

#[derive(Debug, Serialize)]
struct Point {
    /// Percentage of the vectors that may be found.
    selected: f64,
    threads: usize,
    ef: usize,
    recall_at_10: f64,
    qps: f64,
    p50_us: f64,
    p99_us: f64,
}

pub(crate) fn run(args: &IndexArgs) -> anyhow::Result<ExitCode> {
    let (base, queries) = (vectors::floats(&args.base)?, vectors::floats(&args.queries)?);
    ensure!(base.width == queries.width, "vectors have {} dimensions, queries {}", base.width, queries.width);
    let temporary = std::env::temp_dir().join(format!("ragstone-bench-{}", std::process::id()));
    let measured = measure(args, &base, &queries, args.dir.as_deref().unwrap_or(&temporary));
    if args.dir.is_none() {
        // Nothing is in it where building failed.
        let _ = std::fs::remove_dir_all(&temporary);
    }
    let report = measured?;
    if let Some(file) = &args.plot {
        let dots = report.points.iter().filter(|point| point.threads == 1 && point.selected >= 100.0);
        plot(&dots.map(|point| (point.recall_at_10, point.qps)).collect::<Vec<_>>(), file)?;
    }
    print(&report, args.json)
}

fn measure(args: &IndexArgs, base: &Table<f32>, queries: &Table<f32>, directory: &Path) -> anyhow::Result<Report> {
    let of_engine = VectorParams::of(args.engine);
    let (m, ef_construction) = (args.m.unwrap_or(of_engine.m), args.ef_construction.unwrap_or(of_engine.ef_construction));
    let params = VectorParams { m, ef_construction, ..of_engine };
    let home = || Home { directory: directory.to_owned(), collection: "bench".into(), seq: 0 };
    let rows: Vec<(u32, Embedding)> =
        (0..).zip(base.rows()).map(|(row, vector)| Ok((row, unit(vector)?))).collect::<anyhow::Result<_>>()?;
    let all: RoaringBitmap = rows.iter().map(|(row, _)| *row).collect();
    let began = Instant::now();
    let index = vector::open(base.width, &params, Some(home()), &RoaringBitmap::new())?;
    index.insert(rows)?;
    ensure!(index.wait_built(BUILD_WAIT), "the graph could not be built");
    let build_s = began.elapsed().as_secs_f64();
    drop(index);

    let began = Instant::now();
    let mut index = vector::open(base.width, &params, Some(home()), &all)?;
    let first = queries.rows().next().context("there are no queries")?;
    let found = index.search(first, &VectorQuery { k: args.k, ef: None, exact: false, allowed: &all })?;
    let open_ms = (!found.is_empty()).then(|| began.elapsed().as_secs_f64() * 1e3);
    if open_ms.is_none() {
        index.insert((0..).zip(base.rows()).map(|(row, vector)| Ok((row, unit(vector)?))).collect::<anyhow::Result<_>>()?)?;
        ensure!(index.wait_built(BUILD_WAIT), "the graph could not be built");
    }
    let stats = index.stats();
    let bench = Bench { index: &mut *index, queries, k: args.k, rounds: args.rounds.max(1) };
    let truth = args.truth.as_deref().map(vectors::integers).transpose()?;
    let (exact, exact_hits) = bench.exact(truth.as_ref(), &all)?;
    let mut points = bench.points(args, 100.0, &all, &truth.map_or(exact_hits, |truth| nearest(&truth, args.k)))?;
    for selected in &args.select {
        let allowed: RoaringBitmap =
            all.iter().filter(|row| f64::from(row.wrapping_mul(2_654_435_761)) < selected / 100.0 * f64::from(u32::MAX)).collect();
        let (_, truth) = bench.exact(None, &allowed)?;
        points.extend(bench.points(args, *selected, &allowed, &truth)?);
    }
    Ok(Report {
        vectors: base.rows().len(),
        dimension: base.width,
        engine: stats.engine,
        kernel: vector::kernel_name(),
        build_s,
        open_ms,
        resident_mb: stats.bytes as f64 / 1e6,
        unreachable: stats.unreachable,
        exact,
        points,
    })
}

pub(super) fn unit(vector: &[f32]) -> anyhow::Result<Embedding> {
    Ok(Embedding::normalised(vector.to_vec(), vector.len())?)
}

fn nearest(truth: &Table<i32>, k: usize) -> Vec<Vec<u32>> {
    truth.rows().map(|row| row.iter().take(k).map(|row| row.cast_unsigned()).collect()).collect()
}

struct Bench<'b> {
    index: &'b dyn VectorIndex,
    queries: &'b Table<f32>,
    k: usize,
    rounds: usize,
}

/// Rows found for each query, and how long each took, in seconds.
type Searched = (Vec<Vec<u32>>, Vec<f64>);

impl Bench<'_> {
    fn search(&self, queries: &[&[f32]], ask: &VectorQuery<'_>) -> anyhow::Result<Searched> {
        let (mut rows, mut times) = (Vec::with_capacity(queries.len()), Vec::with_capacity(queries.len()));
        for query in queries {
            let began = Instant::now();
            let hits = self.index.search(query, ask)?;
            times.push(began.elapsed().as_secs_f64());
            rows.push(hits.iter().map(|hit| hit.row).collect());
        }
        Ok((rows, times))
    }

    fn exact(&self, truth: Option<&Table<i32>>, allowed: &RoaringBitmap) -> anyhow::Result<(Exact, Vec<Vec<u32>>)> {
        let queries: Vec<&[f32]> = self.queries.rows().collect();
        let ask = VectorQuery { k: self.k, ef: None, exact: true, allowed };
        // Once before it counts: the vectors of a file just opened are mapped as they are read.
        self.search(&queries, &ask)?;
        let (rows, times) = self.search(&queries, &ask)?;
        let recall_at_10 = truth.map_or(1.0, |truth| recall(&rows, &nearest(truth, self.k)));
        Ok((Exact { ms: 1e3 * median(&times), recall_at_10 }, rows))
    }

    /// All breadths and numbers of threads, round by round, so that a slow moment of the machine meets all of them.
    fn points(&self, args: &IndexArgs, selected: f64, allowed: &RoaringBitmap, truth: &[Vec<u32>]) -> anyhow::Result<Vec<Point>> {
        let cases: Vec<(usize, usize)> = args.threads.iter().flat_map(|threads| args.ef.iter().map(|ef| (*threads, *ef))).collect();
        let mut rounds: Vec<Vec<Point>> = cases.iter().map(|_| Vec::new()).collect();
        for _ in 0..self.rounds {
            for ((threads, ef), points) in cases.iter().zip(&mut rounds) {
                let ask = VectorQuery { k: self.k, ef: Some(*ef), exact: false, allowed };
                points.push(self.point(*threads, *ef, selected, &ask, truth)?);
            }
        }
        Ok(rounds.into_iter().filter_map(middle).collect())
    }

    fn point(&self, threads: usize, ef: usize, selected: f64, ask: &VectorQuery<'_>, truth: &[Vec<u32>]) -> anyhow::Result<Point> {
        let queries: Vec<&[f32]> = self.queries.rows().collect();
        let share = queries.len().div_ceil(threads.max(1));
        let began = Instant::now();
        let searched: Vec<Searched> = std::thread::scope(|scope| {
            let threads: Vec<_> = queries.chunks(share).map(|queries| scope.spawn(|| self.search(queries, ask))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect::<anyhow::Result<_>>()
        })?;
        let seconds = began.elapsed().as_secs_f64();
        let (rows, times): (Vec<_>, Vec<_>) = searched.into_iter().unzip();
        let (rows, mut times) = (rows.concat(), times.concat());
        times.sort_by(f64::total_cmp);
        let at = |share| 1e6 * percentile(&times, share);
        let qps = queries.len() as f64 / seconds;
        Ok(Point { selected, threads, ef, recall_at_10: recall(&rows, truth), qps, p50_us: at(0.5), p99_us: at(0.99) })
    }
}

/// The round with the median throughput.
fn middle(mut points: Vec<Point>) -> Option<Point> {
    points.sort_by(|a, b| a.qps.total_cmp(&b.qps));
    let middle = points.len() / 2;
    points.into_iter().nth(middle)
}

pub(super) fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    percentile(&times, 0.5)
}

/// What this share of the times, shortest first, stays below; 0 of none.
pub(super) fn percentile(sorted: &[f64], share: f64) -> f64 {
    sorted.get((share * sorted.len() as f64) as usize).copied().unwrap_or_default()
}

/// Of the true nearest, the share that was found.
pub(super) fn recall<T: PartialEq>(found: &[Vec<T>], truth: &[Vec<T>]) -> f64 {
    let hits: usize = found.iter().zip(truth).map(|(found, truth)| truth.iter().filter(|row| found.contains(row)).count()).sum();
    hits as f64 / truth.iter().take(found.len()).map(Vec::len).sum::<usize>().max(1) as f64
}

#[expect(clippy::print_stdout, reason = "the command's output")]
fn print(report: &Report, as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        println!("{}", serde_json::to_string_pretty(report)?);
        return Ok(ExitCode::SUCCESS);
    }
    if report.points.is_empty() {
        bail!("nothing was measured");
    }
    println!("{} vectors of {} dimensions, {} ({})", report.vectors, report.dimension, report.engine, report.kernel);
    let opened = report.open_ms.map_or_else(String::new, |ms| format!(", opened in {ms:.0} ms"));
    println!("built in {:.1} s{opened}, {:.1} MB, {} unreachable", report.build_s, report.resident_mb, report.unreachable);
    println!("exact: {:.3} ms, recall@10 {:.4}", report.exact.ms, report.exact.recall_at_10);
    println!("{:>8} {:>7} {:>6} {:>9} {:>10} {:>8} {:>8}", "select %", "threads", "ef", "recall@10", "queries/s", "p50 µs", "p99 µs");
    for point in &report.points {
        let Point { selected, threads, ef, recall_at_10, qps, p50_us, p99_us } = point;
        println!("{selected:>8} {threads:>7} {ef:>6} {recall_at_10:>9.4} {qps:>10.0} {p50_us:>8.1} {p99_us:>8.1}");
    }
    Ok(ExitCode::SUCCESS)
}
