//! The built-in index as a [`ChunkSource`].

use crate::retrieve::{ChunkSource, DataState, Occurrences, SourceError, StoredChunk};
use corpus::{CollectionId, Embedder, Embedding, Errand, Filter, Principals, Row};
use index::records::CollectionState;
use index::text::{Narrowed, Question, TextHits};
use index::vector::VectorQuery;
use index::{Collection, CollectionError, Scored};
use roaring::RoaringBitmap;
use std::sync::Arc;

/// An open collection together with the embedder of its model, for one who asks.
pub struct CollectionSource {
    collection: Arc<Collection>,
    embedder: Arc<dyn Embedder>,
    errand: Errand,
}

impl CollectionSource {
    /// The embedder must be of the collection's pinned model; the caller checks.
    #[must_use]
    pub fn new(collection: Arc<Collection>, embedder: Arc<dyn Embedder>, errand: Errand) -> Self {
        Self { collection, embedder, errand }
    }

    /// Which collection it is.
    #[must_use]
    pub fn collection_id(&self) -> &CollectionId {
        &self.collection.record().id
    }
}

impl ChunkSource for CollectionSource {
    fn embedder(&self) -> &dyn Embedder {
        self.embedder.as_ref()
    }

    fn errand(&self) -> &Errand {
        &self.errand
    }

    fn state(&self) -> Result<Option<DataState>, SourceError> {
        let Some(CollectionState { seq, mark, .. }) = self.collection.committed()? else { return Ok(None) };
        let is_shown = self.collection.applied() >= seq;
        Ok(Some(DataState { collection: self.collection_id().clone(), generation: seq, mark, is_shown }))
    }

    fn allowed(&self, filter: Option<&Filter>, principals: &Principals) -> Result<Arc<RoaringBitmap>, SourceError> {
        Ok(self.collection.allowed(filter, principals))
    }

    fn vector_search(
        &self,
        query: &Embedding,
        k: usize,
        ef: Option<usize>,
        exact: bool,
        allowed: &RoaringBitmap,
    ) -> Result<Vec<(Row, f32)>, SourceError> {
        Ok(pairs(self.collection.vector_search(query, &VectorQuery { k, ef, exact, allowed })?))
    }

    fn question(&self, query: &str) -> Result<Question, SourceError> {
        Ok(self.collection.question(query)?)
    }

    fn text_search(&self, question: &Question, k: usize, allowed: &RoaringBitmap) -> Result<TextHits, SourceError> {
        Ok(self.collection.text_search(question, k, allowed)?)
    }

    fn narrow(&self, question: &Question, allowed: &RoaringBitmap) -> Result<Option<Narrowed>, SourceError> {
        Ok(self.collection.narrow(question, allowed)?)
    }

    fn occurrences(&self, words: &[&str]) -> Result<Option<Occurrences>, SourceError> {
        let (chunks, counts) = self.collection.occurrences(words)?;
        Ok(Some(Occurrences { chunks, counts }))
    }

    fn chunks(&self, rows: &[Row]) -> Result<Vec<Option<StoredChunk>>, SourceError> {
        let found = self.collection.chunks(rows)?;
        let stored = found.into_iter().map(|found| {
            let (chunk, view) = found?;
            Some(StoredChunk {
                chunk,
                document_name: view.attributes.name.clone(),
                external_id: view.external_id.clone(),
                metadata: view.attributes.metadata.clone(),
            })
        });
        Ok(stored.collect())
    }

    fn neighbours(&self, row: Row, distance: usize) -> Result<(Vec<Row>, Vec<Row>), SourceError> {
        Ok(self.collection.neighbours(row, distance))
    }
}

fn pairs(scored: Vec<Scored>) -> Vec<(Row, f32)> {
    scored.into_iter().map(|one| (one.row, one.score)).collect()
}

impl From<CollectionError> for SourceError {
    fn from(error: CollectionError) -> Self {
        Self::Failed(Box::new(error))
    }
}
