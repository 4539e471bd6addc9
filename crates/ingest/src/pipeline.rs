//! From an upload to chunks in the index, one document at a time.

use crate::parse::{ParseError, ParsedDocument, Parser};
use crate::progress::{Progress, Stage};
use crate::split::{Chunking, SplitError, split};
use corpus::{ChunkDraft, EmbedError, Embedded, Embedder, Embedding, Purpose};
use index::blobs::BlobError;
use index::records::{Chunking as ChunkingRecord, CollectionRecord, DocumentRecord, JobRecord, PendingVersion};
use index::store::StoreError;
use index::{Catalog, CatalogError, Processed};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Chunks embedded between two looks at whether the job is still wanted.
const CHUNKS_PER_STEP: usize = 32;

/// Why a document did not get through.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The file can't be read as a document.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The text can't be cut.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// The collection's stored chunking is not one.
    #[error("the collection's chunking can't be used: {0}")]
    Chunking(#[from] serde_json::Error),
    /// The embedder failed.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// The store or its files failed, or the job is no longer wanted.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The job was cancelled.
    #[error("the job was cancelled")]
    Cancelled,
    /// The server is shutting down; the job goes on at the next start.
    #[error("the server is shutting down")]
    Stopping,
    /// The server ended in the middle of this document several times.
    #[error("processing ended {attempts} times without a result; the document is not tried again by itself")]
    Abandoned {
        /// How often it was tried.
        attempts: u32,
    },
}

impl IngestError {
    /// The stable word that a document keeps as its reason, or `None` if the failure says nothing
    /// about the document: then the job stays unfinished and is tried again at the next start.
    #[must_use]
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::Parse(ParseError::Unavailable { .. }) => None,
            Self::Parse(error) => Some(error.code()),
            Self::Split(_) | Self::Chunking(_) => Some("split_failed"),
            Self::Embed(EmbedError::Failed(_)) => Some("embedding_failed"),
            Self::Catalog(CatalogError::Blob(BlobError::Missing { .. } | BlobError::Corrupt { .. })) => Some("original_damaged"),
            Self::Catalog(CatalogError::Store(StoreError::TooLarge { .. })) => Some("too_large"),
            Self::Abandoned { .. } => Some("abandoned"),
            Self::Embed(_) | Self::Catalog(_) | Self::Cancelled | Self::Stopping => None,
        }
    }
}

/// What a collection's record says about cutting, as the splitter takes it. Not yet validated.
///
/// # Errors
/// An unknown strategy.
pub fn chunking(record: &ChunkingRecord) -> Result<Chunking, serde_json::Error> {
    serde_json::from_value(serde_json::to_value(record)?)
}

/// What one job works on.
struct Source {
    collection: CollectionRecord,
    record: DocumentRecord,
    pending: PendingVersion,
    bytes: Vec<u8>,
}

/// See the module.
pub(crate) struct Pipeline {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) parser: Arc<dyn Parser>,
    pub(crate) embedder: Arc<dyn Embedder>,
}

impl Pipeline {
    /// Processes a job's document. Returns the change that makes it searchable.
    pub(crate) fn ingest(&self, job: &JobRecord, progress: &Progress) -> Result<u64, IngestError> {
        let source = self.read(job)?;
        let parsed = self.parse(&source, progress)?;
        let chunks = self.split(&source, &parsed, progress)?;
        let embedded = self.embed(&source, chunks, progress)?;
        self.commit(job, parsed, embedded, progress)
    }

    fn read(&self, job: &JobRecord) -> Result<Source, IngestError> {
        let collection = self.catalog.collection(&job.tenant, job.collection.as_str())?;
        let record = self.catalog.document(&collection, job.document.as_str())?;
        let pending = record.pending.clone().filter(|pending| pending.job == job.id).ok_or(CatalogError::Superseded)?;
        let bytes = self.catalog.pending_original(&collection, &pending)?;
        Ok(Source { collection, record, pending, bytes })
    }

    fn parse(&self, source: &Source, progress: &Progress) -> Result<ParsedDocument, IngestError> {
        progress.enter(Stage::Parsing, 1)?;
        let parsed = self.parser.parse(&source.pending.attributes.name, &source.bytes)?;
        progress.advance(1)?;
        Ok(parsed)
    }

    fn split(&self, source: &Source, parsed: &ParsedDocument, progress: &Progress) -> Result<Vec<ChunkDraft>, IngestError> {
        progress.enter(Stage::Splitting, 1)?;
        let chunking = chunking(&source.collection.chunking)?;
        let mut chunks = split(parsed, &chunking, self.embedder.as_ref())?;
        chunks.iter_mut().flat_map(|chunk| &mut chunk.heading_path).for_each(shorten);
        progress.advance(1)?;
        if chunks.is_empty() { Err(ParseError::Empty.into()) } else { Ok(chunks) }
    }

    /// Embeds the chunks whose text the served version does not have already.
    fn embed(&self, source: &Source, chunks: Vec<ChunkDraft>, progress: &Progress) -> Result<Embeddings, IngestError> {
        let mut known = self.catalog.served_vectors(&source.collection, &source.record)?;
        // a file can repeat itself without end: each text is embedded once
        let mut met = HashSet::new();
        let new: Vec<&ChunkDraft> = chunks.iter().filter(|chunk| !known.contains_key(&chunk.text) && met.insert(&chunk.text)).collect();
        progress.enter(Stage::Embedding, new.len() as u64)?;
        let mut truncated = 0;
        for some in new.chunks(CHUNKS_PER_STEP) {
            let texts: Vec<&str> = some.iter().map(|chunk| chunk.text.as_str()).collect();
            let embedded = self.embed_when_there_is_room(&texts, progress)?;
            truncated += embedded.iter().filter(|one| one.truncated).count();
            known.extend(texts.iter().map(|text| (*text).to_owned()).zip(embedded.into_iter().map(|one| one.embedding)));
            progress.advance(some.len() as u64)?;
        }
        Ok(Embeddings { chunks: pair(chunks, &known)?, truncated })
    }

    /// A full queue means that ingestion is ahead of the model: wait, as long as the job is wanted.
    fn embed_when_there_is_room(&self, texts: &[&str], progress: &Progress) -> Result<Vec<Embedded>, IngestError> {
        loop {
            match self.embedder.embed(texts, Purpose::Document) {
                Err(EmbedError::Busy { retry_after }) => progress.wait(retry_after)?,
                Err(EmbedError::Closed) => return Err(IngestError::Stopping),
                result => return Ok(result?),
            }
        }
    }

    fn commit(&self, job: &JobRecord, parsed: ParsedDocument, embedded: Embeddings, progress: &Progress) -> Result<u64, IngestError> {
        progress.enter(Stage::Indexing, 1)?;
        let mut warnings = parsed.warnings;
        if embedded.truncated > 0 {
            warnings.push(format!("{} chunks are longer than the model reads; their ends are not in their embeddings", embedded.truncated));
        }
        let processed = Processed {
            text: parsed.text,
            media_type: parsed.media_type,
            title: parsed.title.map(|mut title| {
                shorten(&mut title);
                title
            }),
            pages: parsed.page_count,
            warnings,
            chunks: embedded.chunks,
        };
        Ok(self.catalog.commit_document(job, processed)?)
    }
}

/// A heading is a label: what a broken file calls one can be as long as the file.
fn shorten(title: &mut String) {
    const BYTES_MAX: usize = 512;
    let end = title.floor_char_boundary(BYTES_MAX);
    title.truncate(end);
}

struct Embeddings {
    chunks: Vec<(ChunkDraft, Embedding)>,
    truncated: usize,
}

fn pair(chunks: Vec<ChunkDraft>, known: &HashMap<String, Embedding>) -> Result<Vec<(ChunkDraft, Embedding)>, IngestError> {
    let pair = |chunk: ChunkDraft| match known.get(&chunk.text).cloned() {
        Some(embedding) => Ok((chunk, embedding)),
        None => Err(EmbedError::Failed("the embedder returned fewer vectors than texts".into()).into()),
    };
    chunks.into_iter().map(pair).collect()
}
