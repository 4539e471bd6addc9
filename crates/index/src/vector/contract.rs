//! What every engine must do, run against each of them.

use super::exact::Matrix;
use super::*;
use std::collections::BTreeMap;

const WAIT: Duration = Duration::from_secs(120);

/// A small generator with a printed seed; numbers repeat from run to run.
struct Dice(u64);

impl Dice {
    fn seeded(seed: u64) -> Self {
        eprintln!("seed {seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// -1 to 1.
    fn component(&mut self) -> f32 {
        self.below(20_001) as f32 / 10_000.0 - 1.0
    }

    fn vector(&mut self, dimension: usize) -> Embedding {
        let mut vector: Vec<f32> = (0..dimension).map(|_| self.component()).collect();
        vector[0] += 0.00005; // never all zero
        Embedding::normalised(vector, dimension).unwrap()
    }
}

fn params(engine: Engine) -> VectorParams {
    VectorParams { engine, exact_below: 200, m: 8, ef_construction: 40, ef_search: 32 }
}

/// Every engine, and the graph also made to serve however little is wanted.
fn engines(dimension: usize) -> Vec<(&'static str, Box<dyn VectorIndex>)> {
    let forced = HnswIndex::with_hop_cost(dimension, params(Engine::HnswRs), 0).unwrap();
    let walked = SegmentedIndex::with_walk_cost(dimension, params(Engine::Auto), 0).unwrap();
    vec![
        ("exact", open(dimension, &params(Engine::Exact), None, &RoaringBitmap::new()).unwrap()),
        ("auto", open(dimension, &params(Engine::Auto), None, &RoaringBitmap::new()).unwrap()),
        ("hnsw_rs", open(dimension, &params(Engine::HnswRs), None, &RoaringBitmap::new()).unwrap()),
        ("hnsw_rs, forced", Box::new(forced)),
        ("auto, walked", Box::new(walked)),
    ]
}

type Model = BTreeMap<Row, Embedding>;

fn similarity(a: &[f32], b: &[f32]) -> f64 {
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    product(a, b) / (product(a, a) * product(b, b)).sqrt()
}

/// All wanted similarities of the model, best first.
fn expected(model: &Model, query: &[f32], allowed: &RoaringBitmap) -> Vec<f64> {
    let mut all: Vec<f64> = model.iter().filter(|(row, _)| allowed.contains(**row)).map(|(_, vector)| similarity(query, vector)).collect();
    all.sort_by(|a, b| b.total_cmp(a));
    all
}

/// Asserts what holds for any engine, and that it is the true top k where `is_exact`.
fn check_hits(hits: &[Scored], model: &Model, query: &[f32], ask: &VectorQuery<'_>, is_exact: bool, context: &str) {
    let truth = expected(model, query, ask.allowed);
    assert_eq!(hits.len(), ask.k.min(truth.len()), "{context}");
    assert!(hits.is_sorted(), "{context}: {hits:?}");
    let rows: RoaringBitmap = hits.iter().map(|hit| hit.row).collect();
    assert_eq!(rows.len(), hits.len() as u64, "{context}: a row came twice");
    for (hit, best) in hits.iter().zip(&truth) {
        assert!(ask.allowed.contains(hit.row), "{context}: row {} is not allowed", hit.row);
        let true_score = similarity(query, &model[&hit.row]);
        assert!((f64::from(hit.score) - true_score).abs() < 1e-5, "{context}: row {}", hit.row);
        assert!(!is_exact || (true_score - best).abs() < 1e-5, "{context}: {hits:?} misses a better row");
    }
}

#[test]
fn random_operations_agree_with_a_plain_model() {
    for (name, index) in engines(6) {
        let mut dice = Dice::seeded(20);
        let (mut model, mut next_row) = (Model::new(), 0);
        for step in 0..300 {
            match dice.below(10) {
                0..4 => {
                    let fresh: Vec<(Row, Embedding)> = (0..dice.below(12)).map(|i| (next_row + i as Row * 3, dice.vector(6))).collect();
                    next_row += 40;
                    model.extend(fresh.iter().cloned());
                    index.insert(fresh).unwrap();
                }
                4..6 => {
                    let gone: RoaringBitmap = model.keys().copied().filter(|_| dice.below(8) == 0).chain([next_row + 1]).collect();
                    gone.iter().for_each(|row| drop(model.remove(&row)));
                    index.remove(&gone);
                }
                _ => {
                    let share = [1, 2, 10, 100][dice.below(4) as usize];
                    let allowed: RoaringBitmap = (0..next_row + 5).filter(|_| dice.below(share) == 0).collect();
                    let (query, k) = (dice.vector(6), dice.below(20) as usize);
                    for exact in [true, false] {
                        let ask = VectorQuery { k, ef: None, exact, allowed: &allowed };
                        let hits = index.search(&query, &ask).unwrap();
                        check_hits(&hits, &model, &query, &ask, exact || name == "exact", &format!("{name}, step {step}, {ask:?}"));
                    }
                }
            }
            assert_eq!(index.stats().rows, model.len() as u64, "{name}, step {step}");
        }
    }
}

#[test]
fn edges_are_quiet() {
    for (name, index) in engines(3) {
        let everything: RoaringBitmap = (0..100).collect();
        let none = RoaringBitmap::new();
        let search = |k, allowed| index.search(&[2.0, 0.0, 0.0], &VectorQuery { k, ef: Some(0), exact: false, allowed }).unwrap();
        assert_eq!(search(5, &everything), [], "{name}: empty index");
        index.remove(&everything);
        index.insert(Vec::new()).unwrap();
        index.insert(vec![(7, Embedding::normalised(vec![1.0, 0.0, 0.0], 3).unwrap())]).unwrap();
        assert_eq!(search(0, &everything), [], "{name}: k is 0");
        assert_eq!(search(5, &none), [], "{name}: nothing allowed");
        assert_eq!(search(usize::MAX, &everything), [Scored { row: 7, score: 1.0 }], "{name}: k above all");
        index.insert(vec![(7, Embedding::normalised(vec![0.0, 1.0, 0.0], 3).unwrap())]).unwrap();
        assert_eq!(search(5, &everything), [Scored { row: 7, score: 1.0 }], "{name}: a row that is there stays");
        assert!(index.wait_built(WAIT), "{name}");
        assert_eq!(search(5, &everything), [Scored { row: 7, score: 1.0 }], "{name}: one point in the graph");
    }
}

#[test]
fn what_does_not_fit_is_refused_whole() {
    for (name, index) in engines(3) {
        let (fits, other) = (Dice(1).vector(3), Dice(2).vector(4));
        let refused = index.insert(vec![(1, fits), (2, other)]);
        assert!(matches!(refused, Err(VectorError::Embedding(EmbeddingError::Dimension { expected: 3, given: 4 }))), "{name}");
        assert_eq!(index.stats().rows, 0, "{name}");
        let allowed = RoaringBitmap::from([1]);
        let ask = VectorQuery { k: 1, ef: None, exact: false, allowed: &allowed };
        for bad in [vec![1.0], vec![f32::NAN, 0.0, 1.0], vec![f32::INFINITY, 0.0, 1.0], vec![0.0; 3]] {
            assert!(matches!(index.search(&bad, &ask), Err(VectorError::Embedding(_))), "{name}: {bad:?}");
        }
    }
    let with = |change: fn(&mut VectorParams)| {
        let mut params = params(Engine::HnswRs);
        change(&mut params);
        open(3, &params, None, &RoaringBitmap::new()).is_err()
    };
    assert!(with(|params| params.m = 257) && with(|params| params.m = 1) && with(|params| params.ef_search = 0));
    assert!(
        open(0, &params(Engine::Exact), None, &RoaringBitmap::new()).is_err()
            && open(4097, &params(Engine::HnswRs), None, &RoaringBitmap::new()).is_err()
    );
}

#[test]
fn equal_vectors_are_ordered_by_row_and_none_is_lost() {
    for (name, index) in engines(4) {
        let same = Dice(3).vector(4);
        let rows: RoaringBitmap = (0..300).map(|i| i * 7 % 1_009).collect();
        index.insert(rows.iter().rev().map(|row| (row, same.clone())).collect()).unwrap();
        assert!(index.wait_built(WAIT), "{name}");
        let search = |k, exact, allowed| index.search(&same, &VectorQuery { k, ef: None, exact, allowed }).unwrap();
        let first: Vec<Row> = search(10, true, &rows).iter().map(|hit| hit.row).collect();
        assert_eq!(first, rows.iter().take(10).collect::<Vec<_>>(), "{name}");
        let some = search(10, false, &rows);
        assert!(some.len() == 10 && some.is_sorted() && some.iter().all(|hit| hit.score > 0.999_99), "{name}: {some:?}");
        assert_eq!(search(10, false, &rows), some, "{name}: asked twice");
        let all: RoaringBitmap = search(1_000, false, &rows).iter().map(|hit| hit.row).collect();
        assert_eq!(all, rows, "{name}");
        for row in &rows {
            let only = RoaringBitmap::from([row]);
            let hits = index.search(&same, &VectorQuery { k: 1, ef: None, exact: false, allowed: &only }).unwrap();
            assert_eq!(hits[0].row, row, "{name}");
        }
    }
}

/// `count` rows around `centres` centres.
fn clustered(dice: &mut Dice, count: usize, centres: usize, dimension: usize) -> Vec<(Row, Embedding)> {
    let middles: Vec<Embedding> = (0..centres).map(|_| dice.vector(dimension)).collect();
    (0..count).map(|i| (i as Row, near(dice, &middles[i % centres]))).collect()
}

fn near(dice: &mut Dice, middle: &[f32]) -> Embedding {
    let vector = middle.iter().map(|x| x + 0.1 * dice.component()).collect();
    Embedding::normalised(vector, middle.len()).unwrap()
}

#[test]
fn graphs_recall_clusters_and_rows_find_themselves() {
    let hnsw = HnswIndex::with_hop_cost(32, VectorParams::of(Engine::HnswRs), 0).unwrap();
    let own = SegmentedIndex::with_walk_cost(32, VectorParams { exact_below: 0, ..VectorParams::default() }, 0).unwrap();
    // hnsw_rs is told which rows its graph misses, and scans them; ours can be reached, but not always by so narrow a walk.
    for (name, index, may_lose) in [("hnsw_rs", Box::new(hnsw) as Box<dyn VectorIndex>, 0), ("graph", Box::new(own), 5)] {
        let mut dice = Dice::seeded(5);
        let rows = clustered(&mut dice, 5_000, 50, 32);
        index.insert(rows.clone()).unwrap();
        assert!(index.wait_built(WAIT));
        let stats = index.stats();
        eprintln!("{stats:?}");
        assert_eq!((stats.engine, stats.rows_in_graph, stats.unreachable, stats.building), (name, 5_000, 0, false));
        assert!(stats.repaired < 500, "the scan does the graph's work");

        let allowed: RoaringBitmap = rows.iter().map(|(row, _)| *row).collect();
        let search = |query: &[f32], k, exact| index.search(query, &VectorQuery { k, ef: None, exact, allowed: &allowed }).unwrap();
        let lost = rows.iter().filter(|(row, vector)| search(vector, 1, false)[0].row != *row).count();
        assert!(lost <= may_lose, "{name}: {lost} rows don't find themselves");
        let near: Vec<Embedding> = rows.iter().step_by(25).map(|(_, vector)| near(&mut dice, vector)).collect();
        let far: Vec<Embedding> = (0..200).map(|_| dice.vector(32)).collect();
        for (place, queries) in [("near", near), ("between", far)] {
            let hits: usize = queries.iter().map(|query| overlap(&search(query, 10, false), &search(query, 10, true))).sum();
            let recall = hits as f64 / (10 * queries.len()) as f64;
            eprintln!("{name}, {place} the clusters: recall@10 {recall}");
            assert!(recall >= 0.95, "{name}, {place} the clusters: recall@10 {recall}");
        }
    }
}

fn overlap(a: &[Scored], b: &[Scored]) -> usize {
    a.iter().filter(|hit| b.iter().any(|other| other.row == hit.row)).count()
}

#[test]
fn the_graph_follows_growth_and_removal_and_a_collection_that_becomes_small() {
    let mut dice = Dice::seeded(8);
    let rows = clustered(&mut dice, 900, 9, 8);
    let index = HnswIndex::with_hop_cost(8, params(Engine::Auto), 0).unwrap();
    let allowed: RoaringBitmap = (0..900).collect();
    let finds_itself = |row: usize| {
        let ask = VectorQuery { k: 1, ef: None, exact: false, allowed: &allowed };
        index.search(&rows[row].1, &ask).unwrap().first().map(|hit| hit.row) == Some(row as Row)
    };
    index.insert(rows[..150].to_vec()).unwrap();
    assert!(index.wait_built(WAIT));
    assert_eq!(index.stats().engine, "exact", "below the size");
    index.insert(rows[150..600].to_vec()).unwrap();
    assert!(index.wait_built(WAIT));
    assert_eq!(index.stats().rows_in_graph, 600);
    index.insert(rows[600..].to_vec()).unwrap();
    assert!((0..900).all(finds_itself), "the tail is found before the graph holds it");
    assert!(index.wait_built(WAIT));
    assert_eq!(index.stats().rows_in_graph, 900);

    index.remove(&(0..100).collect());
    assert!(index.wait_built(WAIT));
    assert_eq!(index.stats().rows_in_graph, 900, "few removed rows stay in the graph");
    assert!((0..100).all(|row| !finds_itself(row)) && (100..900).all(finds_itself));
    index.remove(&(100..300).collect());
    assert!(index.wait_built(WAIT));
    assert_eq!((index.stats().rows, index.stats().rows_in_graph), (600, 600), "many don't");
    index.remove(&(300..800).collect());
    assert!(index.wait_built(WAIT));
    assert_eq!((index.stats().engine, index.stats().rows_in_graph), ("exact", 0));
    assert!((800..900).all(finds_itself));
}

#[test]
fn searches_beside_a_build_miss_nothing() {
    let mut dice = Dice::seeded(13);
    let rows = clustered(&mut dice, 1_200, 12, 8);
    let index = HnswIndex::with_hop_cost(8, params(Engine::HnswRs), 0).unwrap();
    let allowed: RoaringBitmap = (0..1_200).collect();
    for batch in rows.chunks(100) {
        index.insert(batch.to_vec()).unwrap();
        for (row, vector) in batch {
            let hits = index.search(vector, &VectorQuery { k: 1, ef: None, exact: false, allowed: &allowed }).unwrap();
            assert_eq!(hits[0].row, *row);
        }
    }
    // Dropped in the middle of it: must stop and join, which this test's end shows.
    drop(index);
}

#[test]
fn the_matrix_stays_dense_over_blocks() {
    let mut dice = Dice::seeded(21);
    let mut matrix = Matrix::new(2).unwrap();
    let rows: Vec<(Row, Embedding)> = (0..3_000).map(|row| (row, dice.vector(2))).collect();
    matrix.insert(&rows).unwrap();
    let full = matrix.bytes();
    matrix.remove(&(0..3_000).filter(|row| row % 3 != 0).collect());
    for (row, vector) in &rows {
        assert_eq!(matrix.vector(*row), (row % 3 == 0).then_some(&vector[..]), "row {row}");
    }
    assert!(matrix.bytes() < full, "{} of {full} bytes", matrix.bytes());
    matrix.remove(&(0..3_000).collect());
    assert!(matrix.live().is_empty() && matrix.vector(0).is_none());
    matrix.insert(&rows[..1]).unwrap();
    assert_eq!(matrix.vector(0), Some(&rows[0].1[..]));
}
