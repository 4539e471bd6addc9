//! The reranker that runs in this process: an encoder that reads question and text together, and a head.
//!
//! Callers tokenise and compute the head on their own threads; passes are the encoder's, as with the embedder's
//! questions. Source of the architecture: Nogueira and Cho 2019 (passage re-ranking with BERT).

use crate::encoder::{LocalOptions, OpenError, Opened, TURN_TEXTS};
use crate::files::WEIGHTS;
use crate::head::Head;
use crate::manifest::{Kind, ModelEntry};
use crate::tokenizer::TextTokenizer;
use crate::worker::{Statistics, Worker};
use corpus::{EmbedError, Errand, RerankModel, Reranker};
use std::path::Path;

/// Pairs that are judged together: before each such group it is looked whether anybody still waits.
const GROUP_PAIRS: usize = 64;

/// A reranker of `models/` with its threads and its queue.
pub struct LocalReranker {
    model: RerankModel,
    tokenizer: TextTokenizer,
    head: Head,
    worker: Worker,
}

impl LocalReranker {
    /// Loads the model `entry` from its own `folder` (`models/<name>`) and starts its threads.
    ///
    /// # Errors
    /// Any [`OpenError`].
    pub fn open(entry: &ModelEntry, folder: &Path, options: LocalOptions) -> Result<Self, OpenError> {
        let opened = Opened::open(entry, folder, Kind::Reranker, options)?;
        let head = Head::read(entry.family, &folder.join(WEIGHTS), entry.dimension);
        let head = head.map_err(|fault| OpenError::Model { model: entry.name.clone(), fault })?;
        let worker = opened.start("rerank", options, || {})?;
        let Opened { revision, tokenizer, encoder, .. } = opened;
        let model = RerankModel { name: entry.name.clone(), revision, precision: encoder.precision(), max_tokens: entry.max_tokens };
        Ok(Self { model, tokenizer, head, worker })
    }

    /// Ends service: what waits and every later call is [`EmbedError::Closed`]. Dropping does the same and waits
    /// for the pass under way.
    pub fn close(&self) {
        self.worker.close();
    }

    /// Counters since start and the length of the queue. A pair counts as a text.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.worker.statistics()
    }
}

impl Reranker for LocalReranker {
    fn model(&self) -> &RerankModel {
        &self.model
    }

    fn rerank(&self, query: &str, texts: &[&str], errand: &Errand) -> Result<Vec<f32>, EmbedError> {
        let pair = |text: &&str| self.tokenizer.encode_pair(query, text);
        let mut scores = Vec::with_capacity(texts.len());
        let mut rest = texts;
        loop {
            if errand.wanted.is_over() {
                return Err(EmbedError::Unwanted);
            }
            let (group, more) = rest.split_at(rest.len().min(GROUP_PAIRS));
            let turns = group.chunks(TURN_TEXTS).map(|turn| turn.iter().map(pair).collect());
            let states = self.worker.encode(group.len(), turns)?;
            scores.extend(states.iter().map(|state| self.head.score(state)));
            rest = more;
            if rest.is_empty() {
                return Ok(scores);
            }
        }
    }
}
