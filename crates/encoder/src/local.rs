//! The embedder that runs in this process.
//!
//! Callers tokenise on their own threads. Questions and documents have a queue and threads each, over
//! the same weights; each pass is split over the cores. The threads of documents give way
//! ([`give_way`]): while questions keep the processors busy, ingestion has a tenth of them, and a
//! question waits for no document.

use crate::encoder::{LocalOptions, OpenError, Opened, TURN_TEXTS, give_way};
use crate::manifest::{Kind, ModelEntry};
use crate::shape::Shape;
use crate::tokenizer::{TextTokenizer, Tokens};
use crate::worker::{Statistics, Worker};
use corpus::{EmbedError, Embedded, Embedder, Embedding, EmbeddingModel, Errand, Purpose};
use std::path::Path;

/// A model of `models/` with its threads and its queues.
pub struct LocalEmbedder {
    pub(crate) model: EmbeddingModel,
    pub(crate) tokenizer: TextTokenizer,
    pub(crate) shape: Shape,
    /// What computes.
    pub(crate) engine: &'static str,
    pub(crate) queries: Worker,
    pub(crate) documents: Worker,
}

impl LocalEmbedder {
    /// Loads the model `entry` from its own `folder` (`models/<name>`) and starts its threads.
    ///
    /// # Errors
    /// Any [`OpenError`].
    pub fn open(entry: &ModelEntry, folder: &Path, options: LocalOptions) -> Result<Self, OpenError> {
        let opened = Opened::open(entry, folder, Kind::Embedding, options)?;
        let queries = opened.start("embed-query", options, || {})?;
        let documents = opened.start("embed-doc", options, give_way)?;
        let Opened { revision, tokenizer, shape, encoder } = opened;
        let model = EmbeddingModel { precision: encoder.precision(), ..entry.embedding_model(revision) };
        let engine = encoder.engine();
        Ok(Self { model, tokenizer, shape, engine, queries, documents })
    }

    /// What computes: a set of instructions, `candle` or `onnxruntime`.
    #[must_use]
    pub const fn engine(&self) -> &'static str {
        self.engine
    }

    /// Multiplications and additions that a text of `tokens` needs.
    #[must_use]
    pub fn operations(&self, tokens: usize) -> u64 {
        self.shape.operations(tokens)
    }

    /// Ends service: what waits and every later call is [`EmbedError::Closed`]. Dropping does the
    /// same and waits for the passes under way.
    pub fn close(&self) {
        self.queries.close();
        self.documents.close();
    }

    /// Counters since start and the length of the queue.
    #[must_use]
    pub fn statistics(&self, purpose: Purpose) -> Statistics {
        self.worker(purpose).statistics()
    }

    const fn worker(&self, purpose: Purpose) -> &Worker {
        match purpose {
            Purpose::Query => &self.queries,
            Purpose::Document => &self.documents,
        }
    }
}

impl Embedder for LocalEmbedder {
    fn model(&self) -> &EmbeddingModel {
        &self.model
    }

    fn count_tokens(&self, text: &str) -> usize {
        // A text that the tokenizer refuses is refused again, with the reason, when it is embedded.
        self.tokenizer.count(text).unwrap_or(usize::MAX)
    }

    fn token_starts(&self, text: &str) -> Vec<usize> {
        self.tokenizer.starts(text).unwrap_or_default()
    }

    fn embed(&self, texts: &[&str], purpose: Purpose, _: &Errand) -> Result<Vec<Embedded>, EmbedError> {
        let mut lengths = Vec::with_capacity(texts.len());
        let turns = texts.chunks(TURN_TEXTS).map(|turn| {
            let tokens = turn.iter().map(|text| self.tokenizer.encode(text, purpose)).collect::<Result<Vec<Tokens>, _>>()?;
            lengths.extend(tokens.iter().map(|tokens| (tokens.whole, tokens.is_truncated())));
            Ok(tokens)
        });
        let vectors = self.worker(purpose).encode(texts.len(), turns)?;
        let finish = |(vector, (tokens, truncated)): (Vec<f32>, (usize, bool))| {
            let embedding = Embedding::normalised(vector, self.model.dimension).map_err(|error| EmbedError::Failed(error.to_string()))?;
            Ok(Embedded { embedding, tokens, truncated })
        };
        vectors.into_iter().zip(lengths).map(finish).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;
    use crate::encoder::Requested;
    use crate::files::FilesError;
    use crate::test_model::{default_entry, default_folder};
    use corpus::Precision;
    use serde::Deserialize;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    fn open(options: LocalOptions) -> LocalEmbedder {
        LocalEmbedder::open(&default_entry(), &default_folder(), options).unwrap()
    }

    #[test]
    fn keeps_the_contract() {
        let embedder = open(LocalOptions::default());
        contract::check(&embedder);
        embedder.close();
        contract::check_closed(&embedder);
    }

    #[derive(Deserialize)]
    struct Golden {
        text: String,
        tokens: usize,
        truncated: bool,
        vector: Vec<f32>,
    }

    /// Every text of the goldens against its reference: the least and the mean cosine.
    fn compare_with_goldens(options: LocalOptions) -> (f64, f64) {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/minilm_goldens.json"));
        let goldens: Vec<Golden> = serde_json::from_str(text).unwrap();
        assert!(goldens.len() >= 12 && goldens.iter().any(|golden| golden.truncated));
        let texts: Vec<&str> = goldens.iter().map(|golden| golden.text.as_str()).collect();
        let embedded = open(options).embed(&texts, Purpose::Document, &Errand::default()).unwrap();
        let mut cosines = Vec::new();
        for (golden, found) in goldens.iter().zip(&embedded) {
            cosines.push(contract::cosine(&golden.vector, &found.embedding));
            assert_eq!((found.tokens, found.truncated), (golden.tokens, golden.truncated), "{:?}", golden.text);
        }
        (cosines.iter().copied().fold(1.0, f64::min), cosines.iter().sum::<f64>() / cosines.len() as f64)
    }

    #[test]
    fn floats_agree_with_the_reference_implementation() {
        let (least, _) = compare_with_goldens(LocalOptions { precision: Requested::Exactly(Precision::F32), ..LocalOptions::default() });
        assert!(least >= 0.9999, "{least}");
    }

    #[test]
    fn integers_agree_with_it_by_every_instruction_set() {
        for name in crate::instructions() {
            let precision = Requested::Exactly(Precision::Int8);
            let (least, mean) = compare_with_goldens(LocalOptions { precision, instructions: Some(name), ..LocalOptions::default() });
            assert!(least >= 0.98 && mean >= 0.995, "{name}: {least}, {mean}");
        }
    }

    #[test]
    fn a_question_overtakes_waiting_documents_and_more_documents_are_refused() {
        let embedder = open(LocalOptions { queue_texts: 8, pass_tokens: 64, ..LocalOptions::default() });
        let text = "granite and slate ".repeat(10);
        let documents = vec![text.as_str(); 60];
        let is_done = AtomicBool::new(false);
        let waiting = || embedder.statistics(Purpose::Document).waiting;
        std::thread::scope(|scope| {
            let job = scope.spawn(|| {
                let embedded = embedder.embed(&documents, Purpose::Document, &Errand::default());
                is_done.store(true, SeqCst);
                embedded
            });
            while waiting() == 0 {
                std::thread::yield_now();
            }
            let refused = embedder.embed(&documents[..9], Purpose::Document, &Errand::default());
            assert!(matches!(refused, Err(EmbedError::Busy { retry_after }) if !retry_after.is_zero()));
            embedder.embed(&["which stone?"], Purpose::Query, &Errand::default()).unwrap();
            assert!(!is_done.load(SeqCst), "the question waited for the documents");
            assert_eq!(job.join().unwrap().unwrap().len(), 60);
        });
        let now = embedder.statistics(Purpose::Document);
        assert_eq!((now.texts, now.truncated, now.waiting), (60, 0, 0));
        assert!(now.forwards >= 30 && now.busy_seconds > 0.0, "{now:?}");
    }

    #[test]
    fn missing_weights_name_the_command_that_mends_it() {
        let empty = tempfile::tempdir().unwrap();
        let error = LocalEmbedder::open(&default_entry(), empty.path(), LocalOptions::default()).err().unwrap();
        assert!(matches!(&error, OpenError::Files(FilesError::Missing { .. })));
        assert!(error.to_string().contains("ragstone models pull all-MiniLM-L6-v2"), "{error}");
    }

    #[test]
    fn a_model_that_contradicts_the_manifest_is_refused() {
        let entry = ModelEntry { dimension: 512, ..default_entry() };
        let error = LocalEmbedder::open(&entry, &default_folder(), LocalOptions::default()).err().unwrap();
        assert!(error.to_string().contains("hidden_size is 384, the manifest's dimension 512"), "{error}");
    }
}
