//! A model of `models/` that was opened: what embedding and reranking have in common.

use crate::files::{self, CONFIG, FilesError, PACKED, WEIGHTS};
use crate::float::Bert;
use crate::int8::{Int8Bert, deal};
use crate::kernel;
use crate::manifest::{Kind, ModelEntry};
use crate::queue::Queue;
use crate::shape::Shape;
use crate::tokenizer::{TextTokenizer, Tokens};
use crate::weights::Weights;
use crate::worker::Worker;
use corpus::Precision;
use rayon::prelude::*;
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;

/// How much of the machine a model may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalOptions {
    /// Cores that one pass is split over. Default: all.
    pub threads: NonZero<usize>,
    /// Texts that may wait in each queue. Default: 4,096.
    pub queue_texts: usize,
    /// Tokens of one pass. Much less starves the matrix products; much more takes memory. Default: 1,024.
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
        Self { threads, queue_texts: 4096, pass_tokens: 1024, precision: Requested::Auto, instructions: None }
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
    #[error("can't start the model's threads: {0}")]
    Thread(String),
}

/// Texts that are tokenized before the first of them may be encoded; the next are while those are.
pub(crate) const TURN_TEXTS: usize = 8;

/// Nice value of the threads that embed documents: Linux gives a thread with it about a tenth of the
/// time of one without, if both want to run (`sched(7)`; weights 110 and 1,024), and all that is left.
const YIELDING: i32 = 10;

/// On Linux a nice value is a thread's own; elsewhere it would be the whole process's.
pub(crate) fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, YIELDING) {
        tracing::warn!(%error, "documents are embedded at the same priority as questions");
    }
}

/// A model that is loaded; its threads are still to be started.
pub(crate) struct Opened {
    pub(crate) revision: String,
    pub(crate) tokenizer: TextTokenizer,
    pub(crate) shape: Shape,
    pub(crate) encoder: Arc<Encoder>,
}

impl Opened {
    /// Loads the model `entry`, which must be of this `kind`, from its own `folder`.
    pub(crate) fn open(entry: &ModelEntry, folder: &Path, kind: Kind, options: LocalOptions) -> Result<Self, OpenError> {
        let unusable = |fault| OpenError::Model { model: entry.name.clone(), fault };
        entry.check_kind(kind).map_err(unusable)?;
        let revision = files::find(entry, folder)?;
        let tokenizer = TextTokenizer::read(entry, folder).map_err(unusable)?;
        let shape = Shape::read(entry, &folder.join(CONFIG)).map_err(unusable)?;
        let encoder = Arc::new(Encoder::open(entry, folder, &shape, &revision, options).map_err(unusable)?);
        tracing::debug!(model = entry.name, precision = ?encoder.precision(), engine = encoder.engine(), "the model is loaded");
        Ok(Self { revision, tokenizer, shape, encoder })
    }

    /// A queue with its threads, each of which calls `begin` first.
    pub(crate) fn start(&self, name: &'static str, options: LocalOptions, begin: fn()) -> Result<Worker, OpenError> {
        let threads = options.threads.get();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).start_handler(move |_| begin());
        let pool =
            pool.thread_name(move |index| format!("{name}-{index}")).build().map_err(|error| OpenError::Thread(error.to_string()))?;
        let queue = Queue::new(options.queue_texts, options.pass_tokens);
        let encoder = Arc::clone(&self.encoder);
        let encode = move |texts: &[&Tokens]| pool.install(|| encoder.encode(texts, threads));
        Worker::start(name, queue, encode).map_err(|error| OpenError::Thread(error.to_string()))
    }
}

/// The weights, ready to compute with.
pub(crate) enum Encoder {
    Float(Bert),
    Int8(Int8Bert),
}

impl Encoder {
    fn open(entry: &ModelEntry, folder: &Path, shape: &Shape, revision: &str, options: LocalOptions) -> Result<Self, String> {
        let path = folder.join(WEIGHTS);
        let weights = || Weights::read(&path);
        // What is packed is kept for good, and known by the sha256 that the weights should have.
        let whole_weights = || match files::sha256_of(&path) {
            Ok(found) if found == revision => weights(),
            Ok(found) => Err(format!("sha256 {found} instead of {revision}: the file is damaged, pull the model again")),
            Err(error) => Err(error.to_string()),
        };
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
                Int8Bert::open(shape.clone(), entry.pooling, &cache, revision, kernels, whole_weights).map(Self::Int8)
            }
            Precision::F32 => Bert::new(shape, &weights()?, entry.pooling).map(Self::Float).map_err(|error| error.to_string()),
        }
        .map_err(|fault| format!("{}: {fault}", path.display()))
    }

    pub(crate) const fn precision(&self) -> Precision {
        match self {
            Self::Float(_) => Precision::F32,
            Self::Int8(_) => Precision::Int8,
        }
    }

    pub(crate) fn engine(&self) -> &'static str {
        match self {
            Self::Float(_) => "candle",
            Self::Int8(bert) => bert.instructions(),
        }
    }

    /// One vector a text. To be called on a pool of `threads`.
    fn encode(&self, texts: &[&Tokens], threads: usize) -> Result<Vec<Vec<f32>>, String> {
        match self {
            Self::Float(bert) => encode_split(bert, texts, threads).map_err(|error| error.to_string()),
            Self::Int8(bert) => bert.encode(texts, threads),
        }
    }
}

/// One pass over `parts` cores: texts are dealt out by length, so that all end at the same time.
/// A lone text is split inside its matrix products instead.
fn encode_split(bert: &Bert, texts: &[&Tokens], parts: usize) -> candle_core::Result<Vec<Vec<f32>>> {
    let lengths: Vec<usize> = texts.iter().map(|text| text.ids.len()).collect();
    let hands = deal(&lengths, parts);
    let encode = |hand: &Vec<usize>| {
        let texts: Vec<&Tokens> = hand.iter().filter_map(|place| texts.get(*place).copied()).collect();
        bert.encode(&texts)
    };
    let encoded: Vec<Vec<Vec<f32>>> = hands.par_iter().map(encode).collect::<candle_core::Result<_>>()?;
    let mut vectors: Vec<(usize, Vec<f32>)> = hands.into_iter().flatten().zip(encoded.into_iter().flatten()).collect();
    vectors.sort_unstable_by_key(|(place, _)| *place);
    Ok(vectors.into_iter().map(|(_, vector)| vector).collect())
}
