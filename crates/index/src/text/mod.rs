//! The text index: which allowed rows match the words of a query, by BM25. A view on tantivy.
//!
//! Invariants: the checkpoint and the changes up to it are one tantivy commit, so an index on
//! disk never claims what it doesn't hold; a change is searchable when `apply` returns; any
//! string is a query, and none an error; replaying a change does no harm.
//!
//! The writer exists only inside `apply`: its thread and 15 MB or more of buffer are not worth
//! keeping for thousands of quiet collections. Merges run there too, by a policy of size classes
//! in powers of eight, and `apply` waits for them: so the segments depend on what was applied,
//! not on timing, and stay few.

mod analyzer;
mod bm25;
mod language;
mod question;
mod row_set;
mod signs;
#[cfg(test)]
mod tests;

use crate::scored::Scored;
pub use bm25::Beside;
use corpus::Row;
use frostem::Stemmer;
use language::{Language, Languages};
pub use question::Question;
use question::Reader;
use roaring::RoaringBitmap;
pub use signs::Narrowed;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tantivy::collector::Count;
use tantivy::directory::error::OpenWriteError;
use tantivy::indexer::{IndexWriterOptions, LogMergePolicy};
use tantivy::query::TermSetQuery;
use tantivy::schema::{FAST, Field, INDEXED, IndexRecordOption, STRING, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{PreTokenizedString, Token};
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, Searcher, TantivyDocument, TantivyError, Term};

/// Why the text index failed.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The index failed: mostly the disk.
    #[error("the text index failed: {0}")]
    Index(#[from] TantivyError),
    /// Its directory can't be made or emptied.
    #[error("the directory of the text index: {0}")]
    Directory(#[from] io::Error),
}

impl TextError {
    /// Whether the disk is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        let kind = match self {
            Self::Directory(error) => error.kind(),
            Self::Index(TantivyError::IoError(error)) => error.kind(),
            Self::Index(TantivyError::OpenWriteError(OpenWriteError::IoError { io_error, .. })) => io_error.kind(),
            Self::Index(_) => return false,
        };
        kind == io::ErrorKind::StorageFull
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextChange {
    /// A row with its text and the headings above it; replaces what the row had.
    Add {
        /// The chunk's row.
        row: Row,
        /// The chunk's text.
        text: String,
        /// Counts more than text.
        heading: String,
    },
    /// A row goes; nothing happens if it isn't there.
    Remove {
        /// The chunk's row.
        row: Row,
    },
}

/// Figures for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct TextStats {
    /// Rows that can be found.
    pub rows: u64,
    /// Bytes of all segments; 0 if they can't be read.
    pub bytes: u64,
    /// Segments a search goes through.
    pub segments: usize,
}

/// What a question found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TextHits {
    /// Best first, ties by row.
    pub rows: Vec<Scored>,
    /// No row can score more: what a row lacks of the question it lacks of this. 0 for a question without words.
    pub score_max: f32,
}

/// Most distinct terms of a query that are looked up.
pub const QUERY_TERMS_MAX: usize = 256;

/// Buffer of the writer while it exists, in bytes. A larger batch is written as several segments.
const WRITER_BYTES: usize = 32 * 1024 * 1024;
/// Segments of one size class that are merged into one.
const MERGE_SEGMENTS: usize = 8;
/// Width of a size class as a power of two.
const MERGE_CLASS_BITS: f64 = 3.0;
/// Rows up to which all segments are of one size class.
const MERGE_SMALL_ROWS: u32 = 64;
/// Share of removed rows from which a segment is merged anyway.
const MERGE_DEAD_SHARE: f32 = 0.3;

/// How long the writer's lock is waited for. Nobody else writes here; but a child process that is just
/// being started holds a copy of the last writer's lock file until it becomes another program.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// Rows that are counted by one query.
const COUNTED_ROWS: usize = 4096;

const BODY: &str = "body";
const HEADING: &str = "heading";
const LANGUAGE: &str = "language";

/// Where things are in the index.
struct Fields {
    row: Field,
    body: Field,
    heading: Field,
    language: Field,
}

impl Fields {
    const ROW: &str = "row";

    fn of(schema: &Schema) -> Result<Self, TantivyError> {
        let field = |name| schema.get_field(name);
        Ok(Self { row: field(Self::ROW)?, body: field(BODY)?, heading: field(HEADING)?, language: field(LANGUAGE)? })
    }
}

/// The text index of one collection.
pub struct TextIndex {
    index: Index,
    reader: IndexReader,
    fields: Fields,
    /// The checkpoint. Held while a change is applied: tantivy takes one writer at a time.
    applied: Mutex<u64>,
}

impl TextIndex {
    /// Opens the index in `dir`, or an empty one in RAM for `None`. An index that is missing,
    /// damaged (every file's checksum is read) or made by another version is replaced by an empty
    /// one with checkpoint 0, with a line in the log; the caller replays from the store.
    ///
    /// # Errors
    /// [`TextError`] if not even an empty index can be made there.
    pub fn open(dir: Option<&Path>) -> Result<Self, TextError> {
        let Some(dir) = dir else { return Self::with(Index::create_in_ram(schema()), 0) };
        if dir.join("meta.json").exists() {
            match Self::open_existing(dir) {
                Ok(index) => return Ok(index),
                Err(reason) => tracing::warn!(dir = %dir.display(), %reason, "text index replaced by an empty one; it will be replayed"),
            }
        } else {
            tracing::info!(dir = %dir.display(), "new text index");
        }
        if dir.exists() {
            std::fs::remove_dir_all(dir)?;
        }
        std::fs::create_dir_all(dir)?;
        Self::with(Index::create_in_dir(dir, schema())?, 0)
    }

    /// Damaged files make tantivy panic too, even where it only looks for their checksums.
    fn open_existing(dir: &Path) -> Result<Self, Unusable> {
        std::panic::catch_unwind(|| Self::open_checked(dir)).unwrap_or(Err(Unusable::Panicked))
    }

    fn open_checked(dir: &Path) -> Result<Self, Unusable> {
        let index = Index::open_in_dir(dir).map_err(TextError::from)?;
        let metas = index.load_metas().map_err(TextError::from)?;
        if metas.schema != schema() {
            return Err(Unusable::Foreign);
        }
        let checkpoint = match metas.payload {
            Some(payload) => parse_payload(&payload).ok_or(Unusable::Foreign)?,
            None if metas.segments.is_empty() => 0,
            None => return Err(Unusable::Foreign),
        };
        let damaged = index.validate_checksum().map_err(TextError::from)?;
        if !damaged.is_empty() {
            return Err(Unusable::Damaged(damaged.len()));
        }
        Ok(Self::with(index, checkpoint)?)
    }

    /// Checks the index in `dir` and leaves it as it is: its checkpoint and its rows, or why it can't be used.
    pub(crate) fn inspect(dir: &Path) -> Result<(u64, u64), String> {
        let found = Self::open_existing(dir).map_err(|reason| reason.to_string())?;
        Ok((found.checkpoint(), found.stats().rows))
    }

    fn with(index: Index, checkpoint: u64) -> Result<Self, TextError> {
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let fields = Fields::of(&index.schema())?;
        Ok(Self { index, reader, fields, applied: Mutex::new(checkpoint) })
    }

    /// Sequence number of the last change applied; 0 for a new index.
    pub fn checkpoint(&self) -> u64 {
        *self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies changes in order as one commit and sets the checkpoint; searchable on return.
    ///
    /// # Errors
    /// [`TextError`]; then the index is as before, unless only what was committed could not be opened: then the
    /// checkpoint is the new one, and searches see the changes with the next that are applied.
    pub fn apply(&self, changes: Vec<TextChange>, checkpoint: u64) -> Result<(), TextError> {
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        let mut writer = self.writer()?;
        for change in changes {
            self.write(&writer, change)?;
        }
        let mut commit = writer.prepare_commit()?;
        commit.set_payload(&payload(checkpoint));
        commit.commit()?;
        *applied = checkpoint;
        self.reader.reload()?;
        if let Err(error) = writer.wait_merging_threads() {
            // The commit stands; the next one tries the merge again.
            tracing::warn!(%error, "text segments not merged");
        }
        self.reader.reload()?;
        Ok(())
    }

    fn writer(&self) -> Result<IndexWriter, TextError> {
        let options = IndexWriterOptions::builder().num_worker_threads(1).memory_budget_per_thread(WRITER_BYTES).num_merge_threads(1);
        let options = options.build();
        let began = Instant::now();
        let writer = loop {
            match self.index.writer_with_options(options.clone()) {
                Err(TantivyError::LockFailure(..)) if began.elapsed() < LOCK_PATIENCE => std::thread::sleep(LOCK_PAUSE),
                writer => break writer?,
            }
        };
        let mut policy = LogMergePolicy::default();
        policy.set_min_num_segments(MERGE_SEGMENTS);
        policy.set_level_log_size(MERGE_CLASS_BITS);
        policy.set_min_layer_size(MERGE_SMALL_ROWS);
        policy.set_del_docs_ratio_before_merge(MERGE_DEAD_SHARE);
        writer.set_merge_policy(Box::new(policy));
        // The first stamp of a writer is that of the last commit. A removal with that stamp is lost in a merge that the
        // last writer was killed before: an empty group uses the stamp up.
        writer.run([])?;
        Ok(writer)
    }

    fn write(&self, writer: &IndexWriter, change: TextChange) -> Result<(), TextError> {
        let (TextChange::Add { row, .. } | TextChange::Remove { row }) = change;
        writer.delete_term(Term::from_field_u64(self.fields.row, u64::from(row)));
        if let TextChange::Add { row, text, heading } = change {
            let language = Language::of(&text);
            let stemmer = language.stemmer();
            let mut document = TantivyDocument::new();
            document.add_u64(self.fields.row, u64::from(row));
            document.add_pre_tokenized_text(self.fields.heading, tokens(&heading, &stemmer));
            document.add_pre_tokenized_text(self.fields.body, tokens(&text, &stemmer));
            document.add_text(self.fields.language, language.code);
            writer.add_document(document)?;
        }
        Ok(())
    }

    /// Takes a query apart, in the languages that the rows are in now. Words beyond the first [`QUERY_TERMS_MAX`]
    /// distinct ones are left out.
    ///
    /// # Errors
    /// [`TextError::Index`] if a segment can't be read.
    pub fn question(&self, query: &str) -> Result<Question, TextError> {
        Ok(Question::read(query, &self.languages(&self.reader.searcher())?))
    }

    fn languages(&self, searcher: &Searcher) -> Result<Languages, TantivyError> {
        Languages::of(searcher, self.fields.language)
    }

    /// The best `k` allowed rows that hold at least one word of the question, by BM25, best first, ties by row
    /// ascending. A question without any gives no hits. Rows that its signs rule out ([`TextIndex::narrow`]) are the
    /// caller's to leave out of `allowed`. With `beside` a row is scored together with what stands beside it in its
    /// document.
    ///
    /// # Errors
    /// [`TextError::Index`] if a segment can't be read.
    pub fn search(
        &self,
        question: &Question,
        k: usize,
        allowed: &RoaringBitmap,
        beside: Option<Beside<'_>>,
    ) -> Result<TextHits, TextError> {
        if k == 0 || question.groups.is_empty() || allowed.is_empty() {
            return Ok(TextHits::default());
        }
        let searcher = self.reader.searcher();
        let several = question.phrases.iter().filter(|phrase| phrase.words.len() > 1);
        let quoted = several.map(|phrase| Ok((self.rows_with(&searcher, phrase)?, phrase))).collect::<Result<_, TantivyError>>()?;
        Ok(bm25::search(&searcher, &self.fields, &question.groups, quoted, beside, k, allowed)?)
    }

    /// How many rows can be found, and in how many each word occurs, be it in their headings only; of a word of several
    /// terms the rarest counts, and one of none occurs nowhere. Rows that were removed are counted with words until their
    /// segment is merged.
    ///
    /// # Errors
    /// [`TextError::Index`] if a segment can't be read.
    pub fn occurrences(&self, words: &[&str]) -> Result<(u64, Vec<u64>), TextError> {
        let searcher = self.reader.searcher();
        let reader = Reader::new(&self.languages(&searcher)?);
        let count = |word: &&str| -> Result<u64, TextError> {
            let counts = reader.words(word).into_iter().map(|group| Ok(bm25::places(&searcher, &self.fields, &group)?.1));
            Ok(counts.collect::<Result<Vec<u64>, TantivyError>>()?.into_iter().min().unwrap_or_default())
        };
        Ok((searcher.num_docs(), words.iter().map(count).collect::<Result<_, _>>()?))
    }

    /// How many of these rows the committed index holds.
    ///
    /// # Errors
    /// [`TextError::Index`] if a segment can't be read.
    pub fn count(&self, rows: &RoaringBitmap) -> Result<u64, TextError> {
        let searcher = self.reader.searcher();
        let rows: Vec<Row> = rows.iter().collect();
        let mut count = 0;
        for some in rows.chunks(COUNTED_ROWS) {
            let terms = some.iter().map(|row| Term::from_field_u64(self.fields.row, u64::from(*row)));
            count += searcher.search(&TermSetQuery::new(terms), &Count)? as u64;
        }
        Ok(count)
    }

    /// Rows that can be found.
    pub fn rows(&self) -> u64 {
        self.reader.searcher().num_docs()
    }

    /// Figures for metrics.
    pub fn stats(&self) -> TextStats {
        let searcher = self.reader.searcher();
        TextStats {
            rows: searcher.num_docs(),
            bytes: searcher.space_usage().map(|usage| usage.total().get_bytes()).unwrap_or_default(),
            segments: searcher.segment_readers().len(),
        }
    }
}

/// Why an index on disk is not used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("made by another version")]
    Foreign,
    #[error("{0} files have a wrong checksum")]
    Damaged(usize),
    #[error("reading it panicked")]
    Panicked,
    #[error(transparent)]
    Unreadable(#[from] TextError),
}

fn schema() -> Schema {
    let mut schema = Schema::builder();
    schema.add_u64_field(Fields::ROW, FAST | INDEXED);
    // Texts come as terms: no tokenizer is ever asked.
    let indexing = TextFieldIndexing::default().set_index_option(IndexRecordOption::WithFreqsAndPositions);
    let text = TextOptions::default().set_indexing_options(indexing);
    schema.add_text_field(BODY, text.clone());
    schema.add_text_field(HEADING, text);
    schema.add_text_field(LANGUAGE, STRING);
    schema.build()
}

fn tokens(text: &str, stemmer: &Stemmer) -> PreTokenizedString {
    let token = |term: analyzer::Term| Token { text: term.stemmed(stemmer), position: term.position, ..Token::default() };
    // The text itself is the store's.
    PreTokenizedString { text: String::new(), tokens: analyzer::terms(text).into_iter().map(token).collect() }
}

/// What goes with a commit: the analyzer's version and the checkpoint.
fn payload(checkpoint: u64) -> String {
    format!("{} {checkpoint}", analyzer::VERSION)
}

/// `None` for another version or anything else.
fn parse_payload(payload: &str) -> Option<u64> {
    let (version, checkpoint) = payload.split_once(' ')?;
    (version == analyzer::VERSION.to_string()).then(|| checkpoint.parse().ok())?
}
