//! Segments as they are saved, found again, merged and left behind by a crash.

use super::super::Engine;
use super::super::codes::Codes;
use super::super::graph::{BuildParams, GONE, Graph};
use super::segment::{Query, Scratch};
use super::*;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

const DIMENSION: usize = 8;
const WAIT: Duration = Duration::from_secs(60);

fn params() -> VectorParams {
    VectorParams { engine: Engine::Auto, exact_below: 100, m: 8, ef_construction: 40, ef_search: 64 }
}

fn vector(row: Row) -> Embedding {
    // Fractions of multiples of the golden ratio, cubed: far apart from each other.
    let component = |at| ((f64::from(row) * 8.0 + f64::from(at) + 1.0).powi(3) * 0.618_033_988_75).fract() as f32 - 0.5;
    Embedding::normalised((0..DIMENSION as i32).map(component).collect(), DIMENSION).unwrap()
}

fn vectors(rows: std::ops::Range<Row>) -> Vec<(Row, Embedding)> {
    rows.map(|row| (row, vector(row))).collect()
}

fn home(directory: &Path, seq: u64) -> Home {
    Home { directory: directory.to_owned(), collection: "t/c".into(), seq }
}

fn files(directory: &Path) -> usize {
    std::fs::read_dir(directory).map_or(0, Iterator::count)
}

#[track_caller]
fn assert_finds(index: &SegmentedIndex, rows: &RoaringBitmap) {
    assert_eq!(index.rows(), *rows);
    for row in 0..1000 {
        let ask = VectorQuery { k: 1, ef: None, exact: false, allowed: rows };
        let hits = index.search(&vector(row), &ask).unwrap();
        assert_eq!(hits[0].row == row && hits[0].score > 0.999, rows.contains(row), "row {row}: {hits:?}");
    }
}

#[test]
fn what_was_built_is_found_again_without_what_was_removed() {
    let folder = tempfile::tempdir().unwrap();
    let all: RoaringBitmap = (0..420).collect();
    let index = SegmentedIndex::open(DIMENSION, params(), home(folder.path(), 0), &RoaringBitmap::new()).unwrap();
    index.reaches(5);
    index.insert(vectors(0..400)).unwrap();
    assert!(index.wait_built(WAIT));
    assert_eq!(files(folder.path()), 1);
    index.insert(vectors(400..420)).unwrap();
    assert_finds(&index, &all);
    drop(index);

    let live: RoaringBitmap = (50..420).collect();
    let index = SegmentedIndex::open(DIMENSION, params(), home(folder.path(), 5), &live).unwrap();
    assert_eq!(index.rows(), (50..400).collect(), "the rest was never in a graph");
    assert_eq!(index.stats().rows_in_graph, 400);
    index.insert(vectors(400..420)).unwrap();
    assert_finds(&index, &live);
    // More than a fifth is gone: written anew, and the old file with it.
    index.remove(&(50..150).collect());
    assert!(index.wait_built(WAIT));
    assert_finds(&index, &(150..420).collect());
    assert_eq!((files(folder.path()), index.stats().rows_in_graph), (1, 270));
    drop(index);

    // The store went back to before that segment was built.
    let index = SegmentedIndex::open(DIMENSION, params(), home(folder.path(), 4), &live).unwrap();
    assert!(index.rows().is_empty() && files(folder.path()) == 0);
}

#[test]
fn files_that_are_of_no_use_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let live: RoaringBitmap = (0..300).collect();
    let build = || {
        let index = SegmentedIndex::open(DIMENSION, params(), home(folder.path(), 9), &live).unwrap();
        index.insert(vectors(0..300)).unwrap();
        assert!(index.wait_built(WAIT));
        index
    };
    drop(build());
    let path = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let saved = std::fs::read(&path).unwrap();
    // A copy under another number, as a crash between renaming and removing leaves it; a cut off write; damage.
    std::fs::write(folder.path().join("00000000000000ff.segment"), &saved).unwrap();
    std::fs::write(folder.path().join("0000000000000100.tmp"), &saved[..100]).unwrap();
    std::fs::write(folder.path().join("0000000000000101.segment"), &saved[1..]).unwrap();
    let index = build();
    assert_finds(&index, &live);
    assert_eq!(files(folder.path()), 1);
    assert!(!path.exists(), "the younger one is kept");
}

/// The folder while a graph of 300 rows gives way to one of 600: each state that a crash can leave on the way.
#[test]
fn whatever_a_crash_leaves_is_found_whole() {
    let folder = tempfile::tempdir().unwrap();
    let live: RoaringBitmap = (0..600).collect();
    let read = || -> Vec<(PathBuf, Vec<u8>)> {
        let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        files.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
    };
    let index = SegmentedIndex::open(DIMENSION, params(), home(folder.path(), 9), &live).unwrap();
    index.insert(vectors(0..300)).unwrap();
    assert!(index.wait_built(WAIT));
    let old = read().pop().unwrap();
    index.insert(vectors(300..600)).unwrap();
    assert!(index.wait_built(WAIT));
    drop(index);
    let [new] = read().try_into().unwrap();
    assert_ne!(old.0, new.0);

    let written = |bytes: usize| (new.0.with_extension("tmp"), new.1[..bytes].to_vec());
    let mut states = vec![vec![old.clone()], vec![old.clone(), new.clone()], vec![new.clone()], vec![]];
    states.extend((0..=16).map(|part| vec![old.clone(), written(new.1.len() * part / 16)]));
    for state in states {
        read().iter().for_each(|(path, _)| std::fs::remove_file(path).unwrap());
        state.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
        let index = SegmentedIndex::open(DIMENSION, params(), home(folder.path(), 9), &live).unwrap();
        let expected = if state.contains(&new) { 600 } else { 300 * state.len().min(1) as u64 };
        assert_eq!(index.stats().rows_in_graph, expected, "what was saved is not built again");
        index.insert(vectors(0..600)).unwrap();
        assert_finds(&index, &live);
        assert!(index.wait_built(WAIT));
        assert_finds(&index, &live);
        drop(index);
        assert_eq!(files(folder.path()), 1, "of {} before", state.len());
    }
}

#[test]
fn a_segment_that_can_not_be_saved_is_served_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let live: RoaringBitmap = (0..300).collect();
    let later = folder.path().join("later");
    let index = SegmentedIndex::open(DIMENSION, params(), home(&later, 0), &live).unwrap();
    // No folder can be made where a file is.
    std::fs::write(&later, "").unwrap();
    index.insert(vectors(0..300)).unwrap();
    assert!(index.wait_built(WAIT));
    assert_finds(&index, &live);
    assert_eq!(index.stats().rows_in_graph, 300);
}

#[test]
fn growth_merges_graphs_into_few() {
    let index = SegmentedIndex::new(DIMENSION, params()).unwrap();
    for step in 0..40 {
        index.insert(vectors(step * 25..(step + 1) * 25)).unwrap();
    }
    assert!(index.wait_built(WAIT));
    assert_finds(&index, &(0..1000).collect());
    let segments = index.state.snapshot().segments.len();
    assert!(segments <= 5, "{segments} segments");
    assert_eq!(index.stats().rows_in_graph, 1000);
}

#[test]
fn a_graph_that_takes_over_links_of_an_older_one_finds_every_row() {
    const THERE: u32 = 2000;
    fn build(rows: &[Row], old: Option<(&Graph, &[u32])>) -> Segment {
        let vectors: Vec<_> = rows.iter().map(|row| (*row, vector(*row))).collect();
        let segment = Segment::new(DIMENSION, vectors.iter().map(|(row, vector)| (*row, &**vector)));
        let params = BuildParams { m: 8, ef_construction: 40, threads: 2, seed: 3 };
        let graph = Graph::build(segment.codes(), &params, old, &AtomicBool::new(false)).unwrap();
        segment.with_graph(graph)
    }
    let old = build(&(0..THERE).collect::<Vec<_>>(), None);
    for gone_every in [THERE + 1, 10, 5, 4] {
        let stays = |row: &Row| row % gone_every != gone_every - 1;
        let rows: Vec<Row> = (0..THERE).filter(stays).chain(THERE..THERE + 700).collect();
        let moved: Vec<u32> =
            (0..THERE).map(|row| rows.iter().position(|other| *other == row).map_or(GONE, |place| place as u32)).collect();
        let new = build(&rows, old.graph().map(|graph| (graph, &moved[..])));
        let anew = build(&rows, None);
        let lost = moved.iter().filter(|place| **place == GONE).count();
        let is_taken_over = new.graph().unwrap().parts() != anew.graph().unwrap().parts();
        assert_eq!(is_taken_over, lost * 5 <= THERE as usize, "{lost} lost");
        assert_eq!(new.graph().unwrap().unreachable(), 0);
        let mut scratch = Scratch::default();
        let found = rows.iter().filter(|row| {
            let query = Query { codes: Codes::query(&vector(**row)), vector: vector(**row) };
            let best = new.walk(&query, 64, 10, |_| true, &mut scratch);
            best.iter().any(|(_, place)| new.rows.at(*place) == **row)
        });
        let found = found.count();
        assert!(found * 1000 >= rows.len() * 998, "{found} of {} find themselves, {lost} lost", rows.len());
    }
}

#[test]
fn the_same_rows_make_the_same_graph_on_any_number_of_threads() {
    let all = vectors(0..3000);
    let segment = Segment::new(DIMENSION, all.iter().map(|(row, vector)| (*row, &**vector)));
    let build = |threads| {
        let params = BuildParams { m: 8, ef_construction: 40, threads, seed: 3 };
        Graph::build(segment.codes(), &params, None, &AtomicBool::new(false)).unwrap()
    };
    let (one, four) = (build(1), build(4));
    assert_eq!(one.parts(), four.parts());
}
