//! From an upload to chunks in the index, one document at a time.

use crate::parse::{ParseError, ParsedDocument, Parser};
use crate::progress::{Progress, Stage};
use crate::split::{Chunking, SplitError, split};
use corpus::{Account, ChunkDraft, EmbedError, Embedded, Embedder, Embedding, Errand, ModelMismatch, Purpose, Shortage};
use index::blobs::BlobError;
use index::records::{Chunking as ChunkingRecord, CollectionRecord, DocumentRecord, JobRecord, PendingVersion};
use index::store::StoreError;
use index::{Admitted, Catalog, CatalogError, ChildFile, Processed};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
    /// The collection's vectors are another model's.
    #[error(transparent)]
    OtherModel(#[from] ModelMismatch),
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
            Self::OtherModel(_) => Some("model_mismatch"),
            Self::Embed(EmbedError::Failed(_) | EmbedError::Provider { .. }) => Some("embedding_failed"),
            Self::Catalog(CatalogError::Blob(BlobError::Missing { .. } | BlobError::Corrupt { .. })) => Some("original_damaged"),
            Self::Catalog(CatalogError::Store(StoreError::TooLarge { .. }) | CatalogError::TooManyInside { .. }) => Some("too_large"),
            Self::Catalog(CatalogError::NestedTooDeep { .. }) => Some("nested_too_deep"),
            Self::Catalog(CatalogError::QuotaExceeded { .. }) => Some("quota_exceeded"),
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
    /// Texts that went through the model since the start.
    pub(crate) texts_embedded: AtomicU64,
}

impl Pipeline {
    /// Processes a job's document. What is inside it is told to `found` once it is durable, before the
    /// document itself is. Returns the change that makes it searchable.
    pub(crate) fn ingest(&self, job: &JobRecord, progress: &Progress, found: &dyn Fn(&[Admitted])) -> Result<u64, IngestError> {
        let source = self.read(job)?;
        let mut parsed = self.parse(&source, progress)?;
        let chunks = self.split(&source, &parsed, progress)?;
        let embedded = self.embed(&source, chunks, progress)?;
        found(&self.take_out(job, &mut parsed)?);
        self.commit(job, parsed, embedded, progress)
    }

    fn read(&self, job: &JobRecord) -> Result<Source, IngestError> {
        let collection = self.catalog.collection(&job.tenant, job.collection.as_str())?;
        collection.model.check(self.embedder.model())?;
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

    /// Embeds the texts that the served version does not have already, each once.
    fn embed(&self, source: &Source, chunks: Vec<ChunkDraft>, progress: &Progress) -> Result<Embeddings, IngestError> {
        let mut known = self.catalog.served_vectors(&source.collection, &source.record)?;
        let new = new_texts(&chunks, &known);
        progress.enter(Stage::Embedding, new.len() as u64)?;
        // Whoever owns the document pays, whatever key it came with.
        let CollectionRecord { tenant, id, .. } = &source.collection;
        let account = Account { tenant: tenant.clone(), collection: Some(id.to_string()), ..Account::default() };
        let errand = Errand { wanted: progress.wanted.clone(), ..Errand::of(account) };
        let mut truncated = 0;
        for texts in new.chunks(CHUNKS_PER_STEP) {
            let embedded = self.embed_when_there_is_room(texts, &errand, progress)?;
            self.texts_embedded.fetch_add(texts.len() as u64, Ordering::Relaxed);
            truncated += embedded.iter().filter(|one| one.truncated).count();
            known.extend(texts.iter().map(|text| (*text).to_owned()).zip(embedded.into_iter().map(|one| one.embedding)));
            progress.advance(texts.len() as u64)?;
        }
        let embedded = new.len() as u64;
        Ok(Embeddings { chunks: pair(chunks, &known)?, embedded, truncated })
    }

    /// A full queue means that ingestion is ahead of the model, and a provider may come back: wait, as long as the
    /// job is wanted. Where money is spent somebody must bring some first: that takes longer than a worker shall wait.
    fn embed_when_there_is_room(&self, texts: &[&str], errand: &Errand, progress: &Progress) -> Result<Vec<Embedded>, IngestError> {
        loop {
            let result = self.embedder.embed(texts, Purpose::Document, errand);
            if let Err(EmbedError::Provider { reason, .. }) = &result {
                tracing::warn!(reason, "the embedding provider failed");
            }
            let error = match result {
                Ok(embedded) => return Ok(embedded),
                Err(error) => error,
            };
            match error {
                EmbedError::Busy { retry_after }
                | EmbedError::Provider { retry_after: Some(retry_after), .. }
                | EmbedError::OverBudget { shortage: Shortage::Reserved, retry_after: Some(retry_after), .. } => {
                    progress.wait(&error, retry_after)?;
                }
                EmbedError::Closed => return Err(IngestError::Stopping),
                EmbedError::Unwanted => {
                    progress.check()?;
                    return Err(IngestError::Cancelled);
                }
                error => return Err(error.into()),
            }
        }
    }

    /// Files inside the document become documents of their own. Too many or too deep: an archive is
    /// nothing without them, a mail can still be read.
    fn take_out(&self, job: &JobRecord, parsed: &mut ParsedDocument) -> Result<Vec<Admitted>, IngestError> {
        let files = std::mem::take(&mut parsed.attachments);
        let count = files.len();
        let files = files.into_iter().map(|file| ChildFile { name: file.name, bytes: file.bytes }).collect();
        match self.catalog.admit_children(job, files) {
            Err(error @ (CatalogError::NestedTooDeep { .. } | CatalogError::TooManyInside { .. })) if !is_archive(parsed) => {
                parsed.warnings.push(format!("its {count} attachments are left out: {error}"));
                Ok(self.catalog.admit_children(job, Vec::new())?)
            }
            result => Ok(result?),
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
            embedded: embedded.embedded,
            precision: self.embedder.model().precision,
        };
        Ok(self.catalog.commit_document(job, processed)?)
    }
}

/// Whether its text is only a list of what is inside.
fn is_archive(parsed: &ParsedDocument) -> bool {
    matches!(parsed.media_type.as_str(), "application/zip" | "application/gzip")
}

/// A heading is a label: what a broken file calls one can be as long as the file.
fn shorten(title: &mut String) {
    const BYTES_MAX: usize = 512;
    let end = title.floor_char_boundary(BYTES_MAX);
    title.truncate(end);
}

struct Embeddings {
    chunks: Vec<(ChunkDraft, Embedding)>,
    /// Texts that went through the model.
    embedded: u64,
    truncated: usize,
}

/// The texts without a vector, in document order, each once.
fn new_texts<'c>(chunks: &'c [ChunkDraft], known: &HashMap<String, Embedding>) -> Vec<&'c str> {
    let mut seen = HashSet::new();
    let texts = chunks.iter().map(|chunk| chunk.text.as_str());
    texts.filter(|text| !known.contains_key(*text) && seen.insert(*text)).collect()
}

fn pair(chunks: Vec<ChunkDraft>, known: &HashMap<String, Embedding>) -> Result<Vec<(ChunkDraft, Embedding)>, IngestError> {
    let pair = |chunk: ChunkDraft| match known.get(&chunk.text).cloned() {
        Some(embedding) => Ok((chunk, embedding)),
        None => Err(EmbedError::Failed("the embedder returned fewer vectors than texts".into()).into()),
    };
    chunks.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use corpus::Span;

    #[test]
    fn a_text_is_embedded_once_and_only_if_it_is_new() {
        let text = "one two one three two";
        let draft = |bytes: std::ops::Range<usize>| ChunkDraft {
            span: Span::of(text, bytes.clone()).unwrap(),
            text: text[bytes].to_owned(),
            heading_path: vec![],
            page: None,
            tokens: 3,
        };
        let chunks = [draft(0..3), draft(4..7), draft(8..11), draft(12..17), draft(18..21)];
        let known = HashMap::from([("three".to_owned(), Embedding::normalised(vec![1.0], 1).unwrap())]);
        assert_eq!(new_texts(&chunks, &known), ["one", "two"]);
    }
}
