//! Measures a live collection: recall@k against the exact scan, latency and throughput, per `ef`.
//!
//! Only the searches are timed, one after another on one thread; queries are embedded before. A
//! result counts as found if its score reaches the exact k-th score: among equals any will do.

use crate::metrics::ratio;
use crate::retrieve::{ChunkSource, SourceError};
use crate::search::{InvalidSearch, SearchMode, in_range};
use crate::sentences::sentences;
use corpus::{EmbedError, Embedding, Principals, Purpose, Row};
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Most queries of one benchmark, given or sampled.
pub const QUERIES_MAX: usize = 1000;
/// Most values of `ef`.
const EF_VALUES_MAX: usize = 32;
const EF_MAX: usize = 4096;
/// Texts embedded in one call.
const BATCH: usize = 32;
/// Longest rest between two searches.
const REST_MAX: Duration = Duration::from_millis(50);
/// Two cosines closer than this are equal: the exact and the approximate path may sum in another order.
const SCORE_TOLERANCE: f32 = 1e-6;

/// What to measure.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenchRequest {
    /// The collection; the caller's to resolve.
    pub collection: String,
    /// Hits per search, 1 to 100.
    #[serde(default = "default_k")]
    pub k: usize,
    /// Questions to ask; without them sentences of the collection are taken.
    #[serde(default)]
    pub queries: Option<Vec<String>>,
    /// How many sentences to take, 1 to 1,000.
    #[serde(default = "default_sample")]
    pub sample: usize,
    /// Breadths of the approximate search to try.
    #[serde(default = "default_ef")]
    pub ef: Vec<usize>,
    /// `vector` and `lexical`; hybrid is the sum of both.
    #[serde(default = "default_modes")]
    pub modes: Vec<SearchMode>,
}

fn default_k() -> usize {
    10
}

fn default_sample() -> usize {
    100
}

fn default_ef() -> Vec<usize> {
    vec![16, 32, 64, 128, 256]
}

fn default_modes() -> Vec<SearchMode> {
    vec![SearchMode::Vector]
}

/// Why there is no measurement.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A number out of range.
    #[error(transparent)]
    Invalid(#[from] InvalidSearch),
    /// A mode without a measurement of its own.
    #[error("modes may be vector and lexical")]
    Mode,
    /// Nothing to search or to ask.
    #[error("there is nothing to measure: no readable chunks or no queries")]
    Nothing,
    /// A query could not be embedded.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// The collection could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchPoint {
    /// The leg measured.
    pub mode: SearchMode,
    /// Breadth; absent for the exact scan and for words.
    pub ef: Option<usize>,
    /// Whether this is the exact scan.
    pub exact: bool,
    /// Mean share of the exact first k that was found; absent for words.
    pub recall: Option<f64>,
    /// Median milliseconds.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Searches a second, one after another.
    pub qps: f64,
}

/// A measurement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchReport {
    /// Hits per search.
    pub k: usize,
    /// Queries asked.
    pub queries: usize,
    /// Chunks searched.
    pub rows: u64,
    /// The table.
    pub points: Vec<BenchPoint>,
}

impl BenchRequest {
    /// Checks every number.
    ///
    /// # Errors
    /// [`BenchError::Invalid`] or [`BenchError::Mode`].
    pub fn validate(&self) -> Result<(), BenchError> {
        in_range("k", self.k, 1, crate::search::TOP_K_MAX)?;
        in_range("sample", self.sample, 1, QUERIES_MAX)?;
        in_range("the number of queries", self.queries.as_ref().map_or(1, Vec::len), 1, QUERIES_MAX)?;
        in_range("the number of ef values", self.ef.len(), 0, EF_VALUES_MAX)?;
        self.ef.iter().try_for_each(|ef| in_range("ef", *ef, 1, EF_MAX))?;
        if self.modes.contains(&SearchMode::Hybrid) { Err(BenchError::Mode) } else { Ok(()) }
    }
}

/// Measures a collection as these principals see it. Blocking, for as long as it takes.
///
/// # Errors
/// [`BenchError`].
pub fn bench(source: &dyn ChunkSource, request: &BenchRequest, principals: &Principals) -> Result<BenchReport, BenchError> {
    request.validate()?;
    let allowed = source.allowed(None, principals)?;
    let queries = match &request.queries {
        Some(queries) => queries.clone(),
        None => sample(source, &allowed, request.sample)?,
    };
    if queries.is_empty() || allowed.is_empty() {
        return Err(BenchError::Nothing);
    }
    let mut points = Vec::new();
    if request.modes.contains(&SearchMode::Vector) {
        points.extend(vector_points(source, request, &queries, &allowed)?);
    }
    if request.modes.contains(&SearchMode::Lexical) {
        let (_, times) = time_each(&queries, |query| {
            Ok(source.text_search(&source.question(query)?, request.k, &allowed)?.rows.iter().map(|one| (one.row, one.score)).collect())
        })?;
        points.push(point(SearchMode::Lexical, None, false, None, times));
    }
    Ok(BenchReport { k: request.k, queries: queries.len(), rows: allowed.len(), points })
}

/// The middle sentence of chunks spread evenly over the collection: the same every time.
fn sample(source: &dyn ChunkSource, allowed: &RoaringBitmap, count: usize) -> Result<Vec<String>, SourceError> {
    let rows = usize::try_from(allowed.len()).unwrap_or(usize::MAX);
    let step = rows.div_ceil(count.min(rows).max(1)).max(1);
    let picked: Vec<Row> = allowed.iter().step_by(step).collect();
    let stored = source.chunks(&picked)?.into_iter().flatten();
    Ok(stored.filter_map(|stored| middle_sentence(&stored.chunk.draft.text)).collect())
}

fn middle_sentence(text: &str) -> Option<String> {
    let units = sentences(text);
    text.get(units.get(units.len() / 2)?.range.clone()).map(str::to_owned)
}

fn embed_all(source: &dyn ChunkSource, queries: &[String]) -> Result<Vec<Embedding>, EmbedError> {
    let texts: Vec<&str> = queries.iter().map(String::as_str).collect();
    let batches = texts.chunks(BATCH).map(|batch| source.embedder().embed(batch, Purpose::Query, source.errand()));
    let embedded: Vec<Vec<_>> = batches.collect::<Result<_, _>>()?;
    Ok(embedded.into_iter().flatten().map(|one| one.embedding).collect())
}

fn vector_points(
    source: &dyn ChunkSource,
    request: &BenchRequest,
    queries: &[String],
    allowed: &RoaringBitmap,
) -> Result<Vec<BenchPoint>, BenchError> {
    let embeddings = embed_all(source, queries)?;
    let search = |ef, exact| time_each(&embeddings, |query| source.vector_search(query, request.k, ef, exact, allowed));
    let (truth, times) = search(None, true)?;
    let mut points = vec![point(SearchMode::Vector, None, true, Some(1.0), times)];
    for ef in &request.ef {
        let (found, times) = search(Some(*ef), false)?;
        let recalls: Vec<f64> = truth.iter().zip(&found).map(|(truth, found)| recall(truth, found)).collect();
        let mean = recalls.iter().sum::<f64>() * ratio(1, recalls.len());
        points.push(point(SearchMode::Vector, Some(*ef), false, Some(mean), times));
    }
    Ok(points)
}

type Found = Vec<(Row, f32)>;

/// Runs each query and notes its milliseconds. After each it rests for as long: whoever else searches meanwhile has at
/// least half of every core.
fn time_each<Q>(queries: &[Q], search: impl Fn(&Q) -> Result<Found, SourceError>) -> Result<(Vec<Found>, Vec<f64>), SourceError> {
    let timed = queries.iter().map(|query| {
        let started = Instant::now();
        let found = search(query)?;
        let took = started.elapsed();
        std::thread::sleep(took.min(REST_MAX));
        Ok((found, took.as_secs_f64() * 1e3))
    });
    timed.collect::<Result<Vec<_>, SourceError>>().map(|timed| timed.into_iter().unzip())
}

fn recall(truth: &[(Row, f32)], found: &[(Row, f32)]) -> f64 {
    let Some((_, least)) = truth.iter().min_by(|a, b| a.1.total_cmp(&b.1)) else { return 1.0 };
    let rows: HashSet<Row> = truth.iter().map(|(row, _)| *row).collect();
    let hits = found.iter().filter(|(row, score)| rows.contains(row) || *score >= least - SCORE_TOLERANCE).count();
    ratio(hits.min(truth.len()), truth.len())
}

fn point(mode: SearchMode, ef: Option<usize>, exact: bool, recall: Option<f64>, mut times_ms: Vec<f64>) -> BenchPoint {
    times_ms.sort_by(f64::total_cmp);
    let total_s: f64 = times_ms.iter().sum::<f64>() / 1e3;
    let qps = ratio(times_ms.len(), 1) / total_s.max(1e-9);
    let at = |percent| percentile(&times_ms, percent);
    BenchPoint { mode, ef, exact, recall, p50_ms: at(50), p95_ms: at(95), p99_ms: at(99), qps }
}

/// Nearest rank: the smallest value that at least `percent` of all do not exceed.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeSource;
    use serde_json::json;

    fn collection() -> FakeSource {
        let mut source = FakeSource::new(&[]);
        for number in 0..40 {
            source.add(&format!("{number}.md"), &format!("Item {number} is made of matter m{number} and sold in town t{number}."));
        }
        source
    }

    fn run(value: serde_json::Value) -> Result<BenchReport, BenchError> {
        bench(&collection(), &serde_json::from_value(value).unwrap(), &Principals::All)
    }

    #[test]
    fn recall_grows_with_breadth_up_to_exact() {
        let report = run(json!({"collection": "c", "k": 1, "ef": [10, 20, 40], "modes": ["vector", "lexical"]})).unwrap();
        // The fake looks at the first `ef` of 40 rows, and each row's own text finds that row.
        let recalls: Vec<_> = report.points.iter().map(|point| point.recall).collect();
        assert_eq!(recalls, [Some(1.0), Some(0.25), Some(0.5), Some(1.0), None]);
        assert_eq!((report.rows, report.queries), (40, 40));
        for point in &report.points {
            assert!(point.p50_ms <= point.p95_ms && point.p95_ms <= point.p99_ms && point.qps > 0.0, "{point:?}");
        }
    }

    #[test]
    fn samples_are_spread_and_given_queries_are_used() {
        assert_eq!(run(json!({"collection": "c", "sample": 8, "ef": []})).unwrap().queries, 8);
        assert_eq!(run(json!({"collection": "c", "queries": ["item"], "ef": []})).unwrap().queries, 1);
    }

    #[test]
    fn limits_hold() {
        for bad in [json!({"collection": "c", "k": 0}), json!({"collection": "c", "ef": [0]}), json!({"collection": "c", "queries": []})] {
            assert!(matches!(run(bad.clone()), Err(BenchError::Invalid(_))), "{bad}");
        }
        assert!(matches!(run(json!({"collection": "c", "modes": ["hybrid"]})), Err(BenchError::Mode)));
        let nothing = bench(&FakeSource::new(&[]), &serde_json::from_value(json!({"collection": "c"})).unwrap(), &Principals::All);
        assert!(matches!(nothing, Err(BenchError::Nothing)));
    }

    #[test]
    fn percentiles_and_ties_by_hand() {
        let times: Vec<f64> = (1..=100).map(f64::from).collect();
        assert!((percentile(&times, 50) - 50.0).abs() < 1e-12 && (percentile(&times, 99) - 99.0).abs() < 1e-12);
        assert!((percentile(&[7.0], 99) - 7.0).abs() < 1e-12);
        assert!((recall(&[(1, 0.9), (2, 0.5)], &[(1, 0.9), (3, 0.5)]) - 1.0).abs() < 1e-12, "an equal is as good");
        assert!((recall(&[(1, 0.9), (2, 0.5)], &[(1, 0.9), (3, 0.4)]) - 0.5).abs() < 1e-12);
    }
}
