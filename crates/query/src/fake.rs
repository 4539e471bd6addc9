//! A small collection in memory, for the tests: bag-of-words vectors, a plain BM25.

use crate::retrieve::{ChunkSource, DataState, Occurrences, SourceError, StoredChunk};
use crate::script::is_cjk;
use crate::terms::{Rarity, term_set, terms};
use corpus::{
    Acl, Chunk, ChunkDraft, ChunkId, DocumentId, EmbedError, Embedded, Embedder, Embedding, EmbeddingModel, Errand, Filter, Metadata,
    Principals, Purpose, Row, Span, SpanIndex,
};
use index::Scored;
use index::text::{Narrowed, Question, TextHits};
use roaring::RoaringBitmap;
use serde_json::json;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

const DIMENSION: usize = 256;

/// Hashes terms into a vector.
pub(crate) struct FakeEmbedder {
    model: EmbeddingModel,
    pub(crate) is_broken: AtomicBool,
}

impl FakeEmbedder {
    pub(crate) fn new(languages: &[&str]) -> Self {
        let languages = languages.iter().map(|language| (*language).to_owned()).collect();
        let model = EmbeddingModel {
            name: "fake".to_owned(),
            revision: "1".to_owned(),
            dimension: DIMENSION,
            max_tokens: 256,
            languages,
            precision: corpus::Precision::F32,
        };
        Self { model, is_broken: AtomicBool::new(false) }
    }
}

fn embed(text: &str) -> Embedding {
    let mut vector = vec![0.0; DIMENSION];
    vector[0] = 0.01;
    for term in terms(text) {
        let hash = term.bytes().fold(2_166_136_261_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619));
        vector[(hash as usize >> 4) % DIMENSION] += 1.0;
    }
    Embedding::normalised(vector, DIMENSION).unwrap()
}

impl Embedder for FakeEmbedder {
    fn model(&self) -> &EmbeddingModel {
        &self.model
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.split_whitespace().count() + text.chars().filter(|c| is_cjk(*c)).count() + 2
    }

    fn embed(&self, texts: &[&str], _: Purpose, _: &Errand) -> Result<Vec<Embedded>, EmbedError> {
        if self.is_broken.load(Ordering::Relaxed) {
            return Err(EmbedError::Failed("switched off".to_owned()));
        }
        Ok(texts.iter().map(|text| Embedded { embedding: embed(text), tokens: self.count_tokens(text), truncated: false }).collect())
    }
}

struct Stored {
    chunk: StoredChunk,
    acl: Acl,
    embedding: Embedding,
}

/// Documents in memory. Row `n` is the `n`th chunk added.
pub(crate) struct FakeSource {
    pub(crate) embedder: FakeEmbedder,
    errand: Errand,
    pub(crate) texts: Vec<(DocumentId, String)>,
    stored: Vec<Stored>,
    pub(crate) gone: RoaringBitmap,
    /// What [`ChunkSource::state`] says.
    pub(crate) state: Mutex<Option<DataState>>,
}

impl FakeSource {
    pub(crate) fn new(languages: &[&str]) -> Self {
        Self {
            embedder: FakeEmbedder::new(languages),
            errand: Errand::default(),
            texts: Vec::new(),
            stored: Vec::new(),
            gone: RoaringBitmap::new(),
            state: Mutex::default(),
        }
    }

    /// Adds a document with one chunk per paragraph. Its id depends on its place only.
    pub(crate) fn add(&mut self, name: &str, text: &str) {
        let paragraphs = text.split("\n\n").map(|piece| piece.as_ptr().addr() - text.as_ptr().addr()..).zip(text.split("\n\n"));
        let ranges: Vec<_> = paragraphs.map(|(start, piece)| (start.start, start.start + piece.len())).collect();
        self.add_cut(name, text, &ranges, Acl::default());
    }

    pub(crate) fn add_cut(&mut self, name: &str, text: &str, ranges: &[(usize, usize)], acl: Acl) {
        let document_id: DocumentId = format!("doc_{:0>26}", self.texts.len()).parse().unwrap();
        let spans = SpanIndex::new(text);
        for (ordinal, (start, end)) in ranges.iter().enumerate() {
            let range = *start..*end;
            let (row, piece) = (Row::try_from(self.stored.len()).unwrap(), &text[range.clone()]);
            let draft = ChunkDraft {
                span: spans.span(range.clone()).unwrap(),
                text: piece.to_owned(),
                heading_path: Vec::new(),
                page: Some(1),
                tokens: self.embedder.count_tokens(piece),
            };
            let id = ChunkId::new(&document_id, row);
            let chunk = Chunk { id, document_id: document_id.clone(), version: 1, ordinal: u32::try_from(ordinal).unwrap(), draft };
            let metadata: Metadata = serde_json::from_value(json!({"name": name})).unwrap();
            let chunk = StoredChunk { chunk, document_name: name.to_owned(), external_id: Some(name.to_owned()), metadata };
            self.stored.push(Stored { chunk, acl: acl.clone(), embedding: embed(piece) });
        }
        self.texts.push((document_id, text.to_owned()));
    }

    /// The text of a document at a span.
    pub(crate) fn text_at(&self, document: &DocumentId, span: Span) -> &str {
        let (_, text) = self.texts.iter().find(|(id, _)| id == document).unwrap();
        assert_eq!(Span::of(text, span.bytes()), Some(span), "bytes and characters disagree");
        span.slice(text).unwrap()
    }

    fn best(&self, k: usize, allowed: &RoaringBitmap, score: impl Fn(&Stored) -> f32) -> Vec<(Row, f32)> {
        let mut found: Vec<_> =
            allowed.iter().map(|row| (row, score(&self.stored[row as usize]))).filter(|(_, score)| *score > 0.0).collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1));
        found.truncate(k);
        found
    }
}

impl ChunkSource for FakeSource {
    fn embedder(&self) -> &dyn Embedder {
        &self.embedder
    }

    fn errand(&self) -> &Errand {
        &self.errand
    }

    fn state(&self) -> Result<Option<DataState>, SourceError> {
        Ok(self.state.lock().unwrap().clone())
    }

    fn allowed(&self, filter: Option<&Filter>, principals: &Principals) -> Result<std::sync::Arc<RoaringBitmap>, SourceError> {
        let passes =
            |stored: &Stored| filter.is_none_or(|filter| filter.matches(&stored.chunk.metadata)) && principals.may_read(&stored.acl);
        Ok(std::sync::Arc::new((0..).zip(&self.stored).filter(|(_, stored)| passes(stored)).map(|(row, _)| row).collect()))
    }

    /// Without `exact`, looks at the first `ef` rows only: an approximate index with a known recall.
    fn vector_search(
        &self,
        query: &Embedding,
        k: usize,
        ef: Option<usize>,
        exact: bool,
        allowed: &RoaringBitmap,
    ) -> Result<Vec<(Row, f32)>, SourceError> {
        let seen = if exact { usize::MAX } else { ef.unwrap_or(usize::MAX) };
        let allowed = allowed.iter().take(seen).collect();
        Ok(self.best(k, &allowed, |stored| stored.embedding.iter().zip(query.iter()).map(|(a, b)| a * b).sum()))
    }

    fn question(&self, query: &str) -> Result<Question, SourceError> {
        Ok(Question::from(query))
    }

    fn text_search(&self, question: &Question, k: usize, allowed: &RoaringBitmap) -> Result<TextHits, SourceError> {
        let sets: Vec<_> = self.stored.iter().map(|stored| term_set(&stored.chunk.chunk.draft.text)).collect();
        let (rarity, wanted) = (Rarity::among(&sets), term_set(question.text()));
        let best = self.best(k, allowed, |stored| {
            let words = terms(&stored.chunk.chunk.draft.text);
            let length = 0.4 * words.len() as f32 / 60.0 + 0.6;
            let frequency = |term: &String| words.iter().filter(|word| *word == term).count() as f32;
            wanted.iter().map(|term| rarity.weight(term) * frequency(term) / (frequency(term) + length)).sum()
        });
        let rows = best.into_iter().map(|(row, score)| Scored { row, score }).collect();
        Ok(TextHits { rows, score_max: wanted.iter().map(|term| rarity.weight(term)).sum() })
    }

    /// Knows one sign: `-word` at the end.
    fn narrow(&self, question: &Question, allowed: &RoaringBitmap) -> Result<Option<Narrowed>, SourceError> {
        let Some((_, excluded)) = question.text().split_once(" -") else { return Ok(None) };
        let has = |row: &Row| self.stored.get(*row as usize).is_some_and(|stored| stored.chunk.chunk.draft.text.contains(excluded));
        Ok(Some(Narrowed { rows: allowed.iter().filter(|row| !has(row)).collect(), requires_quoted: false, excludes: true }))
    }

    fn occurrences(&self, words: &[&str]) -> Result<Option<Occurrences>, SourceError> {
        let sets: Vec<_> = self.stored.iter().map(|stored| term_set(&stored.chunk.chunk.draft.text)).collect();
        let count = |word: &&str| sets.iter().filter(|set| term_set(word).is_subset(set)).count() as u64;
        Ok(Some(Occurrences { chunks: sets.len() as u64, counts: words.iter().map(count).collect() }))
    }

    fn chunks(&self, rows: &[Row]) -> Result<Vec<Option<StoredChunk>>, SourceError> {
        let chunk = |row: &Row| self.stored.get(*row as usize).filter(|_| !self.gone.contains(*row));
        Ok(rows.iter().map(|row| chunk(row).map(|stored| stored.chunk.clone())).collect())
    }

    fn neighbours(&self, row: Row, distance: usize) -> Result<(Vec<Row>, Vec<Row>), SourceError> {
        let distance = u32::try_from(distance).unwrap();
        let document = |row: Row| self.stored.get(row as usize).map(|stored| &stored.chunk.chunk.document_id);
        let same = |other: &Row| document(*other) == document(row);
        let before = (row.saturating_sub(distance)..row).filter(same).collect();
        Ok((before, (row + 1..=row + distance).filter(same).collect()))
    }
}
