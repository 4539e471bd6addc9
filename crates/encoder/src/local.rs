//! The embedder that runs in this process.
//!
//! Callers tokenise on their own threads. Questions and documents have a queue and threads each, over
//! the same weights; each pass is split over the cores. The threads of documents give way
//! ([`YIELDING`]): while questions keep the processors busy, ingestion has a tenth of them, and a
//! question waits for no document.

use crate::float::Bert;
use crate::int8::{Int8Bert, deal};
use crate::kernel;
use crate::shape::Shape;
use crate::weights::Weights;
use crate::files::{self, CONFIG, FilesError, PACKED, WEIGHTS};
use crate::manifest::ModelEntry;
use crate::queue::Queue;
use crate::tokenizer::{TextTokenizer, Tokens};
use crate::worker::{Statistics, Worker};
use corpus::{EmbedError, Embedded, Embedder, Embedding, EmbeddingModel, Precision, Purpose};
use rayon::prelude::*;
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;

/// How much of the machine an embedder may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalOptions {
    /// Cores that one pass is split over. Default: all.
    pub threads: NonZero<usize>,
    /// Texts that may wait in each of the two queues. Default: 4,096.
    pub queue_texts: usize,
    /// Tokens of one pass. More was not measurably faster; much less starves the matrix products.
    /// Default: 512.
    pub pass_tokens: usize,
    /// In which numbers. Default: [`Requested::Auto`].
    pub precision: Requested,
    /// By which instructions integers are multiplied: one of [`crate::instructions`]. Default: the fastest.
    pub instructions: Option<&'static str>,
}

/// The precision that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Requested {
    /// 8-bit integers where the processor multiplies them and the model's sizes allow it, else 32-bit floats.
    #[default]
    Auto,
    /// This one, or an error.
    Exactly(Precision),
}

impl Default for LocalOptions {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        Self { threads, queue_texts: 4096, pass_tokens: 512, precision: Requested::Auto, instructions: None }
    }
}

/// Why a model can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its files are not here or not the right ones; the text names the command that mends it.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The tokenizer, the configuration or the weights are not what the encoder understands.
    #[error("the model {model} can't be loaded: {fault}")]
    Model {
        /// The model.
        model: String,
        /// File and fault.
        fault: String,
    },
    /// No thread could be started.
    #[error("can't start the embedding threads: {0}")]
    Thread(String),
}

/// Nice value of the threads that embed documents: Linux gives a thread with it about a tenth of the
/// time of one without, if both want to run (`sched(7)`; weights 110 and 1,024), and all that is left.
const YIELDING: i32 = 10;

/// Texts that are tokenized before the first of them may be encoded; the next are while those are.
const TURN_TEXTS: usize = 16;

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
        let revision = files::find(entry, folder)?;
        let unusable = |fault| OpenError::Model { model: entry.name.clone(), fault };
        let tokenizer = TextTokenizer::read(entry, folder).map_err(unusable)?;
        let shape = Shape::read(entry, &folder.join(CONFIG)).map_err(unusable)?;
        let encoder = Arc::new(Encoder::open(entry, folder, &shape, &revision, options).map_err(unusable)?);
        let queries = start("embed-query", &encoder, options, || {})?;
        let documents = start("embed-doc", &encoder, options, give_way)?;
        let model = EmbeddingModel { precision: encoder.precision(), ..entry.embedding_model(revision) };
        let engine = encoder.engine();
        tracing::debug!(model = model.name, precision = ?model.precision, engine, "the model is loaded");
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

/// The weights, ready to compute with.
enum Encoder {
    Float(Bert),
    Int8(Int8Bert),
}

impl Encoder {
    fn open(entry: &ModelEntry, folder: &Path, shape: &Shape, revision: &str, options: LocalOptions) -> Result<Self, String> {
        let path = folder.join(WEIGHTS);
        let weights = || Weights::read(&path);
        let kernels = match options.instructions {
            Some(name) => kernel::named(name).ok_or_else(|| format!("this processor doesn't have {name}"))?,
            None => kernel::best(),
        };
        let precision = match options.precision {
            Requested::Auto if kernels.multiplies_bytes && kernel::takes(shape) => Precision::Int8,
            Requested::Auto => Precision::F32,
            Requested::Exactly(precision) => precision,
        };
        match precision {
            Precision::Int8 => {
                let cache = folder.join(PACKED);
                Int8Bert::open(shape.clone(), entry.pooling, &cache, revision, kernels, weights).map(Self::Int8)
            }
            Precision::F32 => Bert::new(shape, &weights()?, entry.pooling).map(Self::Float).map_err(|error| error.to_string()),
        }
        .map_err(|fault| format!("{}: {fault}", path.display()))
    }

    const fn precision(&self) -> Precision {
        match self {
            Self::Float(_) => Precision::F32,
            Self::Int8(_) => Precision::Int8,
        }
    }

    fn engine(&self) -> &'static str {
        match self {
            Self::Float(_) => "candle",
            Self::Int8(bert) => bert.instructions(),
        }
    }

    /// One vector a text. To be called on a pool of `threads`.
    fn encode(&self, texts: &[&[u32]], threads: usize) -> Result<Vec<Vec<f32>>, String> {
        match self {
            Self::Float(bert) => encode_split(bert, texts, threads).map_err(|error| error.to_string()),
            Self::Int8(bert) => bert.encode(texts, threads),
        }
    }
}

/// A queue with its threads, each of which calls `begin` first.
fn start(name: &'static str, encoder: &Arc<Encoder>, options: LocalOptions, begin: fn()) -> Result<Worker, OpenError> {
    let threads = options.threads.get();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).start_handler(move |_| begin());
    let pool = pool.thread_name(move |index| format!("{name}-{index}")).build().map_err(|error| OpenError::Thread(error.to_string()))?;
    let queue = Queue::new(options.queue_texts, options.pass_tokens);
    let encoder = Arc::clone(encoder);
    let encode = move |texts: &[&[u32]]| pool.install(|| encoder.encode(texts, threads));
    Worker::start(name, queue, encode).map_err(|error| OpenError::Thread(error.to_string()))
}

/// On Linux a nice value is a thread's own; elsewhere it would be the whole process's.
pub(crate) fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, YIELDING) {
        tracing::warn!(%error, "documents are embedded at the same priority as questions");
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

    fn embed(&self, texts: &[&str], purpose: Purpose) -> Result<Vec<Embedded>, EmbedError> {
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

/// One pass over `parts` cores: texts are dealt out by length, so that all end at the same time.
/// A lone text is split inside its matrix products instead.
fn encode_split(bert: &Bert, texts: &[&[u32]], parts: usize) -> candle_core::Result<Vec<Vec<f32>>> {
    let hands = deal(texts, parts);
    let encode = |hand: &Vec<usize>| {
        let ids: Vec<&[u32]> = hand.iter().filter_map(|place| texts.get(*place).copied()).collect();
        bert.encode(&ids)
    };
    let encoded: Vec<Vec<Vec<f32>>> = hands.par_iter().map(encode).collect::<candle_core::Result<_>>()?;
    let mut vectors: Vec<(usize, Vec<f32>)> = hands.into_iter().flatten().zip(encoded.into_iter().flatten()).collect();
    vectors.sort_unstable_by_key(|(place, _)| *place);
    Ok(vectors.into_iter().map(|(_, vector)| vector).collect())
}

#[cfg(test)]
mod tests {
    use crate::contract;
    use crate::test_model::{default_entry, default_folder};
    use super::*;
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
        let embedded = open(options).embed(&texts, Purpose::Document).unwrap();
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
                let embedded = embedder.embed(&documents, Purpose::Document);
                is_done.store(true, SeqCst);
                embedded
            });
            while waiting() == 0 {
                std::thread::yield_now();
            }
            let refused = embedder.embed(&documents[..9], Purpose::Document);
            assert!(matches!(refused, Err(EmbedError::Busy { retry_after }) if !retry_after.is_zero()));
            embedder.embed(&["which stone?"], Purpose::Query).unwrap();
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
