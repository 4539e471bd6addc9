//! A catalog in a folder of its own, and documents whose chunks are their lines.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

use corpus::{Chunk, ChunkDraft, Embedding, EmbeddingModel, Metadata, Principals, SpanIndex, TenantId};
use index::blobs::Blobs;
use index::records::{Chunking, CollectionRecord, JobRecord};
use index::store::{MemoryDisk, MemoryStore, Store};
use index::{Catalog, CatalogParams, NewCollection, Processed, Upload};
use ragstone_index as index;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn open(disk: &MemoryDisk, folder: &Path) -> Catalog {
    over(Arc::new(MemoryStore::open(disk).unwrap()), folder)
}

pub fn over(store: Arc<dyn Store>, folder: &Path) -> Catalog {
    let params = CatalogParams { views: folder.join("views"), vector: Default::default(), collections_open_max: 4 };
    Catalog::new(store, Blobs::open(folder.join("blobs")).unwrap(), params)
}

pub fn new_collection(name: &str) -> NewCollection {
    let model = EmbeddingModel {
        name: "m".into(),
        revision: "1".into(),
        dimension: 2,
        max_tokens: 64,
        languages: vec![],
        precision: corpus::Precision::F32,
    };
    let chunking = Chunking { strategy: "auto".into(), max_tokens: 64, overlap_tokens: 0 };
    NewCollection { name: name.into(), model, chunking, metadata: Metadata::default() }
}

pub fn collection(catalog: &Catalog, name: &str) -> CollectionRecord {
    catalog.create_collection(&TenantId::default(), new_collection(name), None).unwrap()
}

/// Takes a document in; its job.
pub fn admit(catalog: &Catalog, collection: &CollectionRecord, external: &str, text: &str) -> JobRecord {
    let upload = Upload { bytes: text.into(), name: "d".into(), external_id: Some(external.into()), ..Upload::default() };
    let admitted = catalog.admit(collection, &Principals::All, vec![upload], None).unwrap();
    catalog.job(&collection.tenant, admitted[0].job.as_ref().unwrap()).unwrap()
}

/// One chunk a line; a line that begins with `#` is the heading of those below it.
pub fn processed(text: &str) -> Processed {
    let spans = SpanIndex::new(text);
    let (mut chunks, mut headings) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let start = line.as_ptr().addr() - text.as_ptr().addr();
        if line.starts_with('#') {
            headings = vec![line.to_owned()];
            continue;
        }
        let span = spans.span(start..start + line.len()).unwrap();
        let draft = ChunkDraft { span, text: line.to_owned(), heading_path: headings.clone(), page: None, tokens: 3 };
        chunks.push((draft, Embedding::normalised(vec![1.0, line.len() as f32], 2).unwrap()));
    }
    let embedded = chunks.len() as u64;
    Processed {
        text: text.to_owned(),
        media_type: "text/plain".into(),
        title: None,
        pages: None,
        warnings: vec![],
        chunks,
        embedded,
        precision: corpus::Precision::F32,
    }
}

/// Takes in, processes and commits; the change's number.
pub fn put(catalog: &Catalog, collection: &CollectionRecord, external: &str, text: &str) -> u64 {
    let job = admit(catalog, collection, external, text);
    catalog.commit_document(&job, processed(text)).unwrap()
}

/// As `put`, and in search.
pub fn put_searchable(catalog: &Catalog, collection: &CollectionRecord, external: &str, text: &str) {
    let seq = put(catalog, collection, external, text);
    let open = catalog.open_collection(collection).unwrap();
    assert!(open.wait_applied(seq, PATIENCE).unwrap());
}

/// The chunks of the served version, each checked against the text.
pub fn chunks(catalog: &Catalog, collection: &CollectionRecord, external: &str) -> Vec<Chunk> {
    let record = catalog.document(collection, external).unwrap();
    let served = record.served.as_ref().unwrap();
    let text = catalog.text(collection, served).unwrap();
    let chunks = catalog.chunks(collection, &record, served, 0, usize::MAX).unwrap().items;
    for (ordinal, chunk) in chunks.iter().enumerate() {
        assert_eq!(chunk.draft.span.slice(&text), Some(chunk.draft.text.as_str()));
        assert_eq!((chunk.ordinal as usize, chunk.version), (ordinal, served.number));
    }
    chunks
}

/// Ids and texts of chunks.
pub fn ids(chunks: &[Chunk]) -> Vec<(String, String)> {
    chunks.iter().map(|chunk| (chunk.id.to_string(), chunk.draft.text.clone())).collect()
}

/// Keys of a kind in the store, with their values.
pub fn below(catalog: &Catalog, kind: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
    catalog.store().scan(&[kind, 0], None, usize::MAX).unwrap()
}

/// Numbered lines, some replaced.
pub fn lines(count: usize, replaced: &[(usize, &str)]) -> String {
    let line = |number| match replaced.iter().find(|(at, _)| *at == number) {
        Some((_, text)) => format!("{text}\n"),
        None => format!("line number{number}\n"),
    };
    (0..count).map(line).collect()
}
