//! Scores rows by the words of a question: BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and
//! Beyond", 2009) over two fields.
//!
//! tantivy's own scorer has fixed parameters and no headings that count more, so its postings are read here, a word at
//! a time. A heading's words count as if they stood [`HEADING_WEIGHT`] times in the text. A word is as rare as its
//! commonest stem is in its commonest field.

use super::question::Group;
use super::row_set::row_of;
use super::{Fields, TextHits};
use crate::scored::TopK;
use roaring::RoaringBitmap;
use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::Postings;
use tantivy::schema::IndexRecordOption;
use tantivy::{DocId, DocSet, Searcher, SegmentReader, TERMINATED, TantivyError, Term};

/// How soon more of the same word stops to count. Tuned with [`B`] on the development sets (`BENCHMARKS.md`).
const K1: f32 = 1.2;
/// How much longer texts are held back.
const B: f32 = 0.75;
/// What a word in a heading counts, in words of the text.
const HEADING_WEIGHT: f32 = 2.0;

/// Rows that score `points` more than their words do.
pub(super) struct Bonus {
    pub(super) rows: RoaringBitmap,
    pub(super) points: f32,
}

/// Scores every row that has a word; the best `k` that are allowed.
pub(super) fn search(
    searcher: &Searcher,
    fields: &Fields,
    groups: &[Group],
    bonuses: &[Bonus],
    k: usize,
    allowed: &RoaringBitmap,
) -> Result<TextHits, TantivyError> {
    let collection = Collection::of(searcher, fields)?;
    let words: Vec<Word> = groups.iter().map(|group| collection.word(fields, group)).collect::<Result<_, _>>()?;
    let mut top = TopK::new(k);
    for segment in searcher.segment_readers() {
        let mut scores = Scores::new(segment, fields, collection.mean_length)?;
        words.iter().try_for_each(|word| scores.add(segment, fields, word))?;
        scores.keep_best(segment, bonuses, allowed, &mut top)?;
    }
    let most = words.iter().map(Word::score_max).chain(bonuses.iter().map(|bonus| bonus.points));
    Ok(TextHits { rows: top.into_sorted(), score_max: most.sum() })
}

/// The most that a text can score for words, if all of them are as rare as the rarest.
pub(super) fn points_of(searcher: &Searcher, fields: &Fields, groups: &[Group]) -> Result<f32, TantivyError> {
    let collection = Collection::of(searcher, fields)?;
    groups.iter().map(|group| Ok(collection.word(fields, group)?.score_max())).sum()
}

/// What scores depend on besides a row itself. Removed rows count until their segment is merged.
struct Collection<'s> {
    searcher: &'s Searcher,
    rows: f32,
    mean_length: f32,
}

impl<'s> Collection<'s> {
    #[expect(clippy::cast_precision_loss, reason = "counts of rows and words")]
    fn of(searcher: &'s Searcher, fields: &Fields) -> Result<Self, TantivyError> {
        let rows: u32 = searcher.segment_readers().iter().map(SegmentReader::max_doc).sum();
        let mut length = 0.0;
        for segment in searcher.segment_readers() {
            for (field, weight) in fields.weighed() {
                length += weight * segment.inverted_index(field)?.total_num_tokens() as f32;
            }
        }
        let rows = rows as f32;
        Ok(Self { searcher, rows, mean_length: (length / rows.max(1.0)).max(1.0) })
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of rows")]
    fn word(&self, fields: &Fields, group: &Group) -> Result<Word, TantivyError> {
        let mut rows_with = 0;
        let mut terms = Vec::new();
        for (field, weight) in fields.weighed() {
            for text in &group.terms {
                let term = Term::from_field_text(field, text);
                rows_with = rows_with.max(self.searcher.doc_freq(&term)?);
                terms.push((term, weight));
            }
        }
        // A word that no row has is as rare as one that a single row has.
        let rows_with = rows_with.max(1) as f32;
        let rarity = (1.0 + (self.rows.max(rows_with) - rows_with + 0.5) / (rows_with + 0.5)).ln();
        Ok(Word { terms, points: group.weight * rarity })
    }
}

/// A word of the question.
struct Word {
    /// Where it stands, and what it counts there.
    terms: Vec<(Term, f32)>,
    /// Its inverse document frequency, as often as it is asked for.
    points: f32,
}

impl Word {
    fn score_max(&self) -> f32 {
        self.points * (K1 + 1.0)
    }
}

impl Fields {
    fn weighed(&self) -> [(tantivy::schema::Field, f32); 2] {
        [(self.body, 1.0), (self.heading, HEADING_WEIGHT)]
    }
}

/// Scores of the rows of a segment.
struct Scores {
    by_document: Vec<f32>,
    /// Documents with a score, in the order they were met.
    scored: Vec<DocId>,
    frequencies: Vec<f32>,
    /// Documents with a frequency.
    holding: Vec<DocId>,
    lengths: [(FieldNormReader, f32); 2],
    mean_length: f32,
}

impl Scores {
    fn new(segment: &SegmentReader, fields: &Fields, mean_length: f32) -> Result<Self, TantivyError> {
        let rows = segment.max_doc() as usize;
        let [(body, body_weight), (heading, heading_weight)] = fields.weighed();
        let lengths = [(segment.get_fieldnorms_reader(body)?, body_weight), (segment.get_fieldnorms_reader(heading)?, heading_weight)];
        Ok(Self {
            by_document: vec![0.0; rows],
            scored: Vec::new(),
            frequencies: vec![0.0; rows],
            holding: Vec::new(),
            lengths,
            mean_length,
        })
    }

    fn add(&mut self, segment: &SegmentReader, fields: &Fields, word: &Word) -> Result<(), TantivyError> {
        for (term, weight) in &word.terms {
            self.count(segment, fields, term, *weight)?;
        }
        let holding = std::mem::take(&mut self.holding);
        for document in &holding {
            self.score(*document, word.points);
        }
        self.holding = holding;
        self.holding.clear();
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of words")]
    fn count(&mut self, segment: &SegmentReader, fields: &Fields, term: &Term, weight: f32) -> Result<(), TantivyError> {
        debug_assert!([fields.body, fields.heading].contains(&term.field()));
        let Some(mut postings) = segment.inverted_index(term.field())?.read_postings(term, IndexRecordOption::WithFreqs)? else {
            return Ok(());
        };
        let mut document = postings.doc();
        while document != TERMINATED {
            if let Some(frequency) = self.frequencies.get_mut(document as usize) {
                if *frequency == 0.0 {
                    self.holding.push(document);
                }
                *frequency += weight * postings.term_freq() as f32;
            }
            document = postings.advance();
        }
        Ok(())
    }

    fn score(&mut self, document: DocId, points: f32) {
        let length = self.length(document);
        let Some(frequency) = self.frequencies.get_mut(document as usize).map(std::mem::take) else { return };
        let Some(score) = self.by_document.get_mut(document as usize) else { return };
        if *score == 0.0 {
            self.scored.push(document);
        }
        *score += points * frequency * (K1 + 1.0) / (frequency + K1 * (1.0 - B + B * length / self.mean_length));
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of words")]
    fn length(&self, document: DocId) -> f32 {
        self.lengths.iter().map(|(norms, weight)| weight * norms.fieldnorm(document) as f32).sum()
    }

    fn keep_best(self, segment: &SegmentReader, bonuses: &[Bonus], allowed: &RoaringBitmap, top: &mut TopK) -> Result<(), TantivyError> {
        let rows = segment.fast_fields().u64(Fields::ROW)?;
        let is_alive = |document: DocId| segment.alive_bitset().is_none_or(|alive| alive.is_alive(document));
        for document in self.scored.into_iter().filter(|document| is_alive(*document)) {
            let Some(row) = row_of(&rows, document).filter(|row| allowed.contains(*row)) else { continue };
            let bonus: f32 = bonuses.iter().filter(|bonus| bonus.rows.contains(row)).map(|bonus| bonus.points).sum();
            top.push(row, self.by_document.get(document as usize).copied().unwrap_or_default() + bonus);
        }
        Ok(())
    }
}
