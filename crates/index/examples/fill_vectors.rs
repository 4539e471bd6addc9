//! A data directory with a collection of given vectors, to be served and searched:
//! `fill_vectors DATA_DIR BASE.npy COLLECTION MODEL REVISION`, with float32 rows. Documents have a thousand chunks each.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing)]

use corpus::{ChunkDraft, Embedding, EmbeddingModel, Metadata, Principals, SpanIndex, TenantId};
use ragstone_index::blobs::Blobs;
use ragstone_index::records::Chunking;
use ragstone_index::store::{SledOptions, SledStore};
use ragstone_index::{Catalog, CatalogParams, NewCollection, Processed, Upload};
use std::path::Path;
use std::sync::Arc;

const CHUNKS: usize = 1000;
/// About as long as a passage of 60 tokens.
const PASSAGE: &str = "is a passage that stands here for its length alone: four lines of text with the words that a manual would have, \
    a few numbers such as 4096, and an end. What it says is not searched, only its vector is; what a search returns is read from \
    the store, put into JSON and sent, as it would be for any other passage of a collection.";

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (folder, file, name, model, revision) = (Path::new(&args[1]), &args[2], &args[3], &args[4], &args[5]);
    let bytes = std::fs::read(file).unwrap();
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]])) + 10;
    let shape = String::from_utf8_lossy(&bytes[10..header]).split("'shape': (").nth(1).unwrap().split(')').next().unwrap().to_owned();
    let dimension: usize = shape.split(',').nth(1).unwrap().trim().parse().unwrap();
    let vectors: Vec<Embedding> = bytes[header..]
        .chunks_exact(4 * dimension)
        .map(|row| row.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
        .map(|vector| Embedding::normalised(vector, dimension).unwrap())
        .collect();

    std::fs::create_dir_all(folder).unwrap();
    let store = SledStore::open(folder.join("store"), &SledOptions::default()).unwrap();
    let params = CatalogParams { views: folder.join("views"), vector: Default::default(), collections_open_max: 4 };
    let catalog = Catalog::new(Arc::new(store), Blobs::open(folder.join("blobs")).unwrap(), params);
    let model = EmbeddingModel {
        name: model.clone(),
        revision: revision.clone(),
        dimension,
        max_tokens: 256,
        languages: vec!["en".into()],
        precision: corpus::Precision::F32,
    };
    let chunking = Chunking { strategy: "auto".into(), max_tokens: 256, overlap_tokens: 0 };
    let new = NewCollection { name: name.clone(), model, chunking, metadata: Metadata::default() };
    let collection = catalog.create_collection(&TenantId::default(), new, None).unwrap();
    for (number, vectors) in vectors.chunks(CHUNKS).enumerate() {
        let text: String = (0..vectors.len()).map(|at| format!("{} {PASSAGE}\n", number * CHUNKS + at)).collect();
        let upload = Upload { bytes: text.clone().into_bytes(), name: format!("{number}.txt"), ..Upload::default() };
        let admitted = catalog.admit(&collection, &Principals::All, vec![upload], None).unwrap();
        let job = catalog.job(&collection.tenant, admitted[0].job.as_ref().unwrap()).unwrap();
        let (spans, mut start) = (SpanIndex::new(&text), 0);
        let chunks = text.lines().zip(vectors).map(|(line, vector)| {
            let span = spans.span(start..start + line.len()).unwrap();
            start += line.len() + 1;
            (ChunkDraft { span, text: line.to_owned(), heading_path: vec![], page: None, tokens: 60 }, vector.clone())
        });
        let chunks = chunks.collect();
        let processed = Processed {
            text: text.clone(),
            media_type: "text/plain".into(),
            title: None,
            pages: None,
            warnings: vec![],
            chunks,
            embedded: 0,
            precision: corpus::Precision::F32,
        };
        catalog.commit_document(&job, processed).unwrap();
    }
    println!("{} vectors", vectors.len());
}
