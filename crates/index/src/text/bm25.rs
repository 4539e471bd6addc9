//! Scores rows by the words of a question: BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and
//! Beyond", 2009) over two fields.
//!
//! tantivy's own scorer has fixed parameters and no headings that count more, so its postings are read here, a word at
//! a time. A heading's words count as if they stood [`HEADING_WEIGHT`] times in the text. A word is as rare as its
//! commonest stem is in its commonest field. The best are scored again as passages: what stands beside a row in its
//! document counts as well, only less, because chunks are cut where they are full and not where a thought ends.

use super::question::Group;
use super::row_set::row_of;
use super::{Fields, TextHits};
use crate::scored::{Scored, TopK};
use corpus::Row;
use roaring::RoaringBitmap;
use std::collections::HashMap;
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

/// What a word beside a row counts, in words of the row. Tuned on the development sets, where 0.5 to 0.7 do as well.
const BESIDE_WEIGHT: f32 = 0.6;
/// Rows that are scored again, at least: so that few hits are ranked as they are among many.
const PASSAGES_MIN: usize = 200;

/// What stands beside rows in their documents.
#[derive(Clone, Copy)]
pub struct Beside<'b> {
    /// The rows before and behind one.
    pub of: &'b dyn Fn(Row) -> [Option<Row>; 2],
    /// How many that is in the mean of the collection, 0 to 2.
    pub mean: f32,
}

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
    beside: Option<Beside<'_>>,
    k: usize,
    allowed: &RoaringBitmap,
) -> Result<TextHits, TantivyError> {
    let collection = Collection::of(searcher, fields)?;
    let words: Vec<Word> = groups.iter().map(|group| collection.word(fields, group)).collect::<Result<_, _>>()?;
    let mut top = TopK::new(if beside.is_some() { k.max(PASSAGES_MIN) } else { k });
    for segment in searcher.segment_readers() {
        let mut scores = Scores::new(segment, fields, collection.mean_length)?;
        words.iter().try_for_each(|word| scores.add(segment, fields, word))?;
        scores.keep_best(segment, bonuses, allowed, &mut top)?;
    }
    let most = words.iter().map(Word::score_max).chain(bonuses.iter().map(|bonus| bonus.points));
    let score_max = most.sum();
    let mut rows = top.into_sorted();
    if let Some(beside) = beside {
        rows = collection.as_passages(fields, &words, bonuses, beside, rows)?;
        rows.truncate(k);
    }
    Ok(TextHits { rows, score_max })
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

    /// Scores rows again, with what stands beside them.
    fn as_passages(
        &self,
        fields: &Fields,
        words: &[Word],
        bonuses: &[Bonus],
        beside: Beside<'_>,
        best: Vec<Scored>,
    ) -> Result<Vec<Scored>, TantivyError> {
        let passages: Vec<(Row, [Option<Row>; 2])> = best.into_iter().map(|one| (one.row, (beside.of)(one.row))).collect();
        let parts = passages.iter().flat_map(|(row, around)| around.iter().flatten().chain([row]));
        let counted = self.count(fields, words, &parts.copied().collect())?;
        let mean_length = self.mean_length * (1.0 + BESIDE_WEIGHT * beside.mean);
        let blank = Counted { length: 0.0, frequencies: vec![0.0; words.len()] };
        let of = |row: Option<Row>| row.and_then(|row| counted.get(&row)).unwrap_or(&blank);
        let score = |(row, [before, after]): (Row, [Option<Row>; 2])| {
            let (own, before, after) = (of(Some(row)), of(before), of(after));
            let length = own.length + BESIDE_WEIGHT * (before.length + after.length);
            let around = before.frequencies.iter().zip(&after.frequencies).map(|(before, after)| BESIDE_WEIGHT * (before + after));
            let frequencies = own.frequencies.iter().zip(around).map(|(own, around)| own + around);
            let points: f32 = words.iter().zip(frequencies).map(|(word, frequency)| word.score(frequency, length / mean_length)).sum();
            Scored { row, score: points + bonus(bonuses, row) }
        };
        let mut scored: Vec<Scored> = passages.into_iter().map(score).collect();
        scored.sort_unstable();
        Ok(scored)
    }

    /// Lengths of these rows, and how often each word stands in them.
    #[expect(clippy::cast_precision_loss, reason = "a count of words")]
    fn count(&self, fields: &Fields, words: &[Word], rows: &RoaringBitmap) -> Result<HashMap<Row, Counted>, TantivyError> {
        let mut counted = HashMap::new();
        for segment in self.searcher.segment_readers() {
            let column = segment.fast_fields().u64(Fields::ROW)?;
            let lengths = Lengths::of(segment, fields)?;
            let is_alive = |document: &DocId| segment.alive_bitset().is_none_or(|alive| alive.is_alive(*document));
            let wanted = (0..segment.max_doc()).filter_map(|document| Some((document, row_of(&column, document)?)));
            let wanted: Vec<(DocId, Row)> = wanted.filter(|(document, row)| rows.contains(*row) && is_alive(document)).collect();
            for (document, row) in &wanted {
                counted.insert(*row, Counted { length: lengths.of_document(*document), frequencies: vec![0.0; words.len()] });
            }
            for (at, word) in words.iter().enumerate() {
                for (term, weight) in &word.terms {
                    let Some(mut postings) = segment.inverted_index(term.field())?.read_postings(term, IndexRecordOption::WithFreqs)?
                    else {
                        continue;
                    };
                    for (document, row) in &wanted {
                        if postings.doc() < *document {
                            postings.seek(*document);
                        }
                        if postings.doc() == *document
                            && let Some(frequency) = counted.get_mut(row).and_then(|one| one.frequencies.get_mut(at))
                        {
                            *frequency += weight * postings.term_freq() as f32;
                        }
                    }
                }
            }
        }
        Ok(counted)
    }
}

/// What a row has of the words of a question.
struct Counted {
    /// In words, those of headings with their weight.
    length: f32,
    /// By word.
    frequencies: Vec<f32>,
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

    /// Of a text of so many mean lengths.
    fn score(&self, frequency: f32, length: f32) -> f32 {
        if frequency == 0.0 { 0.0 } else { self.points * frequency * (K1 + 1.0) / (frequency + K1 * (1.0 - B + B * length)) }
    }
}

fn bonus(bonuses: &[Bonus], row: Row) -> f32 {
    bonuses.iter().filter(|bonus| bonus.rows.contains(row)).map(|bonus| bonus.points).sum()
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
    lengths: Lengths,
    mean_length: f32,
}

/// Lengths of texts in words, those of headings with their weight.
struct Lengths([(FieldNormReader, f32); 2]);

impl Lengths {
    fn of(segment: &SegmentReader, fields: &Fields) -> Result<Self, TantivyError> {
        let [(body, body_weight), (heading, heading_weight)] = fields.weighed();
        Ok(Self([(segment.get_fieldnorms_reader(body)?, body_weight), (segment.get_fieldnorms_reader(heading)?, heading_weight)]))
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of words")]
    fn of_document(&self, document: DocId) -> f32 {
        self.0.iter().map(|(norms, weight)| weight * norms.fieldnorm(document) as f32).sum()
    }
}

impl Scores {
    fn new(segment: &SegmentReader, fields: &Fields, mean_length: f32) -> Result<Self, TantivyError> {
        let rows = segment.max_doc() as usize;
        Ok(Self {
            by_document: vec![0.0; rows],
            scored: Vec::new(),
            frequencies: vec![0.0; rows],
            holding: Vec::new(),
            lengths: Lengths::of(segment, fields)?,
            mean_length,
        })
    }

    fn add(&mut self, segment: &SegmentReader, fields: &Fields, word: &Word) -> Result<(), TantivyError> {
        for (term, weight) in &word.terms {
            self.count(segment, fields, term, *weight)?;
        }
        let holding = std::mem::take(&mut self.holding);
        for document in &holding {
            self.score(*document, word);
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

    fn score(&mut self, document: DocId, word: &Word) {
        let length = self.lengths.of_document(document) / self.mean_length;
        let Some(frequency) = self.frequencies.get_mut(document as usize).map(std::mem::take) else { return };
        let Some(score) = self.by_document.get_mut(document as usize) else { return };
        if *score == 0.0 {
            self.scored.push(document);
        }
        *score += word.score(frequency, length);
    }

    fn keep_best(self, segment: &SegmentReader, bonuses: &[Bonus], allowed: &RoaringBitmap, top: &mut TopK) -> Result<(), TantivyError> {
        let rows = segment.fast_fields().u64(Fields::ROW)?;
        let is_alive = |document: DocId| segment.alive_bitset().is_none_or(|alive| alive.is_alive(document));
        for document in self.scored.into_iter().filter(|document| is_alive(*document)) {
            let Some(row) = row_of(&rows, document).filter(|row| allowed.contains(*row)) else { continue };
            top.push(row, self.by_document.get(document as usize).copied().unwrap_or_default() + bonus(bonuses, row));
        }
        Ok(())
    }
}
