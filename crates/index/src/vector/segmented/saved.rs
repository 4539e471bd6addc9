//! Saves a segment and loads it again.

use super::super::codes::Codes;
use super::super::graph::{Graph, Shape};
use super::file::{self, FileError, Reader};
use super::rows::Rows;
use super::segment::{Originals, Segment};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// What a segment belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    /// Of which collection, and made by which model.
    pub(super) collection: String,
    /// Number of the last change that it may hold rows of.
    pub(super) seq: u64,
}

/// The header of a segment's file.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    stamp: Stamp,
    dimension: usize,
    rows: usize,
    graph: Shape,
}

/// Writes a segment with a graph, durable.
pub(super) fn save(path: &Path, segment: &Segment, graph: &Graph, stamp: Stamp) -> io::Result<()> {
    let (shape, links, entries) = graph.parts();
    let ([high, low], [scales, residuals]) = segment.codes().parts();
    let about = About { stamp, dimension: segment.dimension(), rows: segment.len(), graph: shape };
    file::write(
        path,
        &about,
        &[
            ("rows", bytemuck::cast_slice(segment.rows.all())),
            ("scales", bytemuck::cast_slice(scales)),
            ("residuals", bytemuck::cast_slice(residuals)),
            ("high", bytemuck::cast_slice(high)),
            ("low", bytemuck::cast_slice(low)),
            ("links", bytemuck::cast_slice(links)),
            ("entries", bytemuck::cast_slice(entries)),
            ("originals", bytemuck::cast_slice(segment.originals())),
        ],
    )
}

/// Reads a segment and checks every byte of it; its original vectors stay on disk.
///
/// # Errors
/// Anything that makes it another segment than was written, or of another collection or dimension.
pub(super) fn load(path: &Path, collection: &str, dimension: usize) -> Result<(Segment, Stamp), FileError> {
    let reader = Reader::<About>::open(path)?;
    let About { stamp, dimension: found, rows: count, graph: shape } = &reader.about;
    if stamp.collection != collection || *found != dimension {
        return Err(FileError::Damaged("it belongs to another collection".into()));
    }
    let rows: Vec<u32> = reader.read("rows", *count)?;
    if !rows.is_sorted_by(|a, b| a < b) {
        return Err(FileError::Damaged("rows are out of order".into()));
    }
    let blocks = Codes::plane_blocks(dimension, *count);
    let planes = [reader.read("high", blocks)?, reader.read("low", blocks)?];
    let codes = Codes::of(dimension, planes, [reader.read("scales", *count)?, reader.read("residuals", *count)?]);
    let codes = codes.ok_or_else(|| FileError::Damaged("codes don't fit together".into()))?;
    let links = reader.read("links", shape.slot_blocks(*count))?;
    let graph = Graph::of(&codes, *shape, links, reader.read("entries", shape.entries)?);
    let graph = graph.ok_or_else(|| FileError::Damaged("links don't fit together".into()))?;
    let originals = Originals::Mapped(reader.map("originals", count * dimension)?);
    let segment = Segment::of(Rows::new(rows), dimension, codes, originals, Some(graph));
    Ok((segment, reader.about.stamp))
}

#[cfg(test)]
mod tests {
    use super::super::super::graph::BuildParams;
    use super::*;
    use std::sync::atomic::AtomicBool;

    const DIMENSION: usize = 5;

    fn segment() -> Segment {
        let vectors: Vec<(u32, Vec<f32>)> = (0..60_u32)
            .map(|i| {
                let vector: Vec<f32> = (0..DIMENSION).map(|at| ((i as usize * 7 + at * 3) as f32).sin()).collect();
                let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
                (3 + i * 2, vector.iter().map(|x| x / norm).collect())
            })
            .collect();
        let segment = Segment::new(DIMENSION, vectors.iter().map(|(row, vector)| (*row, &vector[..])));
        let params = BuildParams { m: 4, ef_construction: 16, threads: 1, seed: 1 };
        let graph = Graph::build(segment.codes(), &params, None, &AtomicBool::new(false)).unwrap();
        segment.with_graph(graph)
    }

    fn stamp() -> Stamp {
        Stamp { collection: "tenant/c model".into(), seq: 7 }
    }

    #[test]
    fn a_loaded_segment_is_the_one_that_was_saved() {
        let folder = tempfile::tempdir().unwrap();
        let (path, saved) = (folder.path().join("a"), segment());
        save(&path, &saved, saved.graph().unwrap(), stamp()).unwrap();
        let (loaded, found) = load(&path, "tenant/c model", DIMENSION).unwrap();
        assert_eq!(found, stamp());
        assert_eq!(loaded.rows.all(), saved.rows.all());
        assert_eq!(loaded.originals(), saved.originals());
        assert_eq!(loaded.codes().parts(), saved.codes().parts());
        assert_eq!(loaded.graph().unwrap().parts(), saved.graph().unwrap().parts());
        assert!(load(&path, "tenant/d model", DIMENSION).is_err() && load(&path, "tenant/c model", DIMENSION + 1).is_err());
        assert!(load(&folder.path().join("b"), "tenant/c model", DIMENSION).is_err());
    }

    #[test]
    fn every_damaged_byte_and_every_cut_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, saved) = (folder.path().join("a"), segment());
        save(&path, &saved, saved.graph().unwrap(), stamp()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(&path, &bytes).unwrap();
            assert!(load(&path, "tenant/c model", DIMENSION).is_err(), "byte {at} of {}", whole.len());
        }
        for length in (0..whole.len()).step_by(97) {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(load(&path, "tenant/c model", DIMENSION).is_err(), "cut to {length}");
        }
        std::fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
        assert!(load(&path, "tenant/c model", DIMENSION).is_err(), "longer");
    }
}
