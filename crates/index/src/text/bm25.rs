//! Scores rows by the words of a question: BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and
//! Beyond", 2009) over two fields.
//!
//! tantivy's own scorer has fixed parameters and no headings that count more, so its postings are read here, a word at
//! a time. A heading's words count as if they stood [`HEADING_WEIGHT`] times in the text. A word is as rare as its
//! commonest stem is in its commonest field. The best are scored again as passages: what stands beside a row in its
//! document counts as well, only less, because chunks are cut where they are full and not where a thought ends.

use super::question::{Group, Phrase};
use super::row_set::row_of;
use super::{Fields, TextHits};
use crate::scored::{Scored, TopK};
use corpus::Row;
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, HashMap};
use tantivy::collector::Count;
use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::Postings;
use tantivy::query::{BooleanQuery, Query, TermQuery};
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
/// What words that stand side by side as quoted count, as a share of what they count one by one.
const QUOTED_SHARE: f32 = 0.5;
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

/// Rows that score more than their words do.
struct Bonuses {
    /// With what each of its rows scores more.
    each: Vec<(RoaringBitmap, f32)>,
    /// The rows of all.
    rows: RoaringBitmap,
}

impl Bonuses {
    fn of(&self, row: Row) -> f32 {
        if !self.rows.contains(row) {
            return 0.0;
        }
        self.each.iter().filter(|(rows, _)| rows.contains(row)).map(|(_, points)| points).sum()
    }
}

/// Scores every row that has a word; the best `k` that are allowed. `quoted`: the rows in which phrases stand.
pub(super) fn search(
    searcher: &Searcher,
    fields: &Fields,
    groups: &[Group],
    quoted: Vec<(RoaringBitmap, &Phrase)>,
    beside: Option<Beside<'_>>,
    k: usize,
    allowed: &RoaringBitmap,
) -> Result<TextHits, TantivyError> {
    let collection = Collection::of(searcher, fields)?;
    let words: Vec<Word> = groups.iter().map(|group| collection.word(fields, group)).collect::<Result<_, _>>()?;
    let bonuses = collection.bonuses(fields, quoted)?;
    let again = k.max(PASSAGES_MIN);
    let is_few = allowed.len() <= again as u64;
    let mut rows: Vec<Row> = Vec::new();
    let mut scored: Vec<Scored> = Vec::new();
    if is_few {
        // All of them would be scored again.
        rows.extend(allowed);
    } else {
        let mut top = TopK::new(if beside.is_some() { again } else { k });
        for segment in searcher.segment_readers() {
            let mut scores = Scores::new(segment, fields, &words, collection.mean_length)?;
            words.iter().try_for_each(|word| scores.add(segment, fields, word))?;
            scores.keep_best(segment, &bonuses, allowed, &mut top)?;
        }
        scored = top.into_sorted();
        rows.extend(scored.iter().map(|one| one.row));
    }
    if is_few || beside.is_some() {
        scored = collection.as_passages(fields, &words, &bonuses, beside, &rows)?;
        scored.truncate(k);
    }
    let score_max = words.iter().map(Word::score_max).chain(bonuses.each.iter().map(|(_, points)| *points)).sum();
    Ok(TextHits { rows: scored, score_max })
}

/// How a word stands in the index, and in how many rows: those of its commonest stem in its commonest field. Rows that
/// were removed are counted until their segment is merged.
pub(super) fn places(searcher: &Searcher, fields: &Fields, group: &Group) -> Result<(Vec<Place>, u64), TantivyError> {
    let mut most = 0;
    let mut places = Vec::new();
    for (field, weight) in fields.weighed() {
        for stem in &group.stems {
            let term = Term::from_field_text(field, &stem.text);
            let mut rows_with = searcher.doc_freq(&term)?;
            if let Some(code) = stem.only_in.filter(|_| rows_with > 0) {
                let both = [term.clone(), Term::from_field_text(fields.language, code)];
                let both = both.map(|term| Box::new(TermQuery::new(term, IndexRecordOption::Basic)) as Box<dyn Query>);
                rows_with = searcher.search(&BooleanQuery::intersection(both.into()), &Count)? as u64;
            }
            if rows_with > 0 {
                most = most.max(rows_with);
                places.push(Place { term, weight, only_in: stem.only_in });
            }
        }
    }
    Ok((places, most))
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
        let (places, rows_with) = places(self.searcher, fields, group)?;
        // A word that no row has is as rare as one that a single row has.
        let rows_with = rows_with.max(1) as f32;
        let rarity = (1.0 + (self.rows.max(rows_with) - rows_with + 0.5) / (rows_with + 0.5)).ln();
        Ok(Word { places, points: group.weight * rarity })
    }

    fn bonuses(&self, fields: &Fields, quoted: Vec<(RoaringBitmap, &Phrase)>) -> Result<Bonuses, TantivyError> {
        let points = |group: &Group| Ok(self.word(fields, group)?.score_max());
        let bonus = |(rows, phrase): (RoaringBitmap, &Phrase)| {
            let points = phrase.words.iter().map(points).sum::<Result<f32, TantivyError>>()?;
            Ok((rows, QUOTED_SHARE * points))
        };
        let each: Vec<(RoaringBitmap, f32)> = quoted.into_iter().map(bonus).collect::<Result<_, TantivyError>>()?;
        let rows = each.iter().fold(RoaringBitmap::new(), |all, (rows, _)| all | rows);
        Ok(Bonuses { each, rows })
    }

    /// Scores those of the rows that have a word, with what stands beside them; best first.
    fn as_passages(
        &self,
        fields: &Fields,
        words: &[Word],
        bonuses: &Bonuses,
        beside: Option<Beside<'_>>,
        rows: &[Row],
    ) -> Result<Vec<Scored>, TantivyError> {
        let around = |row: Row| beside.map_or([None, None], |beside| (beside.of)(row));
        let passages: Vec<(Row, [Option<Row>; 2])> = rows.iter().map(|row| (*row, around(*row))).collect();
        let parts = passages.iter().flat_map(|(row, around)| around.iter().flatten().chain([row]));
        let counted = self.count(fields, words, &parts.copied().collect())?;
        let mean_length = self.mean_length * (1.0 + BESIDE_WEIGHT * beside.map_or(0.0, |beside| beside.mean));
        let blank = Counted { length: 0.0, frequencies: vec![0.0; words.len()] };
        let of = |row: Option<Row>| row.and_then(|row| counted.get(&row)).unwrap_or(&blank);
        let score = |(row, [before, after]): (Row, [Option<Row>; 2])| {
            let (own, before, after) = (of(Some(row)), of(before), of(after));
            if own.frequencies.iter().all(|frequency| *frequency == 0.0) {
                return None;
            }
            let length = own.length + BESIDE_WEIGHT * (before.length + after.length);
            let around = before.frequencies.iter().zip(&after.frequencies).map(|(before, after)| BESIDE_WEIGHT * (before + after));
            let frequencies = own.frequencies.iter().zip(around).map(|(own, around)| own + around);
            let points: f32 = words.iter().zip(frequencies).map(|(word, frequency)| word.score(frequency, length / mean_length)).sum();
            Some(Scored { row, score: points + bonuses.of(row) })
        };
        let mut scored: Vec<Scored> = passages.into_iter().filter_map(score).collect();
        scored.sort_unstable();
        Ok(scored)
    }

    /// Lengths of these rows, and how often each word stands in them.
    #[expect(clippy::cast_precision_loss, reason = "a count of words")]
    fn count(&self, fields: &Fields, words: &[Word], rows: &RoaringBitmap) -> Result<HashMap<Row, Counted>, TantivyError> {
        let mut counted = HashMap::new();
        for segment in self.searcher.segment_readers() {
            let wanted = documents_of(segment, fields, rows)?;
            if wanted.is_empty() {
                continue;
            }
            let lengths = Lengths::of(segment, fields)?;
            let spoken = Spoken::of(segment, fields, words)?;
            for (document, row) in &wanted {
                counted.insert(*row, Counted { length: lengths.of_document(*document), frequencies: vec![0.0; words.len()] });
            }
            for (at, word) in words.iter().enumerate() {
                for Place { term, weight, only_in } in &word.places {
                    let Some(mut postings) = segment.inverted_index(term.field())?.read_postings(term, IndexRecordOption::WithFreqs)?
                    else {
                        continue;
                    };
                    for (document, row) in &wanted {
                        if postings.doc() < *document {
                            postings.seek(*document);
                        }
                        if postings.doc() == *document
                            && spoken.has(*only_in, *document)
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

/// The documents of a segment that these rows are, in their order.
fn documents_of(segment: &SegmentReader, fields: &Fields, rows: &RoaringBitmap) -> Result<Vec<(DocId, Row)>, TantivyError> {
    let column = segment.fast_fields().u64(Fields::ROW)?;
    let held = column.min_value()..=column.max_value();
    let index = segment.inverted_index(fields.row)?;
    let is_alive = |document: DocId| segment.alive_bitset().is_none_or(|alive| alive.is_alive(document));
    let mut documents = Vec::new();
    for row in rows.iter().filter(|row| held.contains(&u64::from(*row))) {
        let term = Term::from_field_u64(fields.row, u64::from(row));
        let Some(mut postings) = index.read_postings(&term, IndexRecordOption::Basic)? else { continue };
        while postings.doc() != TERMINATED {
            documents.extend(Some((postings.doc(), row)).filter(|(document, _)| is_alive(*document)));
            postings.advance();
        }
    }
    documents.sort_unstable();
    Ok(documents)
}

/// The documents of a segment in each language that some stems count in only.
struct Spoken(BTreeMap<&'static str, RoaringBitmap>);

impl Spoken {
    fn of(segment: &SegmentReader, fields: &Fields, words: &[Word]) -> Result<Self, TantivyError> {
        let mut languages: BTreeMap<&'static str, RoaringBitmap> = BTreeMap::new();
        for code in words.iter().flat_map(|word| &word.places).filter_map(|place| place.only_in) {
            if languages.contains_key(code) {
                continue;
            }
            let documents = languages.entry(code).or_default();
            let term = Term::from_field_text(fields.language, code);
            let Some(mut postings) = segment.inverted_index(fields.language)?.read_postings(&term, IndexRecordOption::Basic)? else {
                continue;
            };
            while postings.doc() != TERMINATED {
                documents.insert(postings.doc());
                postings.advance();
            }
        }
        Ok(Self(languages))
    }

    fn has(&self, only_in: Option<&str>, document: DocId) -> bool {
        only_in.is_none_or(|code| self.0.get(code).is_some_and(|documents| documents.contains(document)))
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
    places: Vec<Place>,
    /// Its inverse document frequency, as often as it is asked for.
    points: f32,
}

/// Where a word stands.
pub(super) struct Place {
    term: Term,
    /// What it counts there.
    weight: f32,
    /// The language whose rows it counts in; `None`: in all.
    only_in: Option<&'static str>,
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
    spoken: Spoken,
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
    fn new(segment: &SegmentReader, fields: &Fields, words: &[Word], mean_length: f32) -> Result<Self, TantivyError> {
        let rows = segment.max_doc() as usize;
        Ok(Self {
            by_document: vec![0.0; rows],
            scored: Vec::new(),
            frequencies: vec![0.0; rows],
            holding: Vec::new(),
            lengths: Lengths::of(segment, fields)?,
            spoken: Spoken::of(segment, fields, words)?,
            mean_length,
        })
    }

    fn add(&mut self, segment: &SegmentReader, fields: &Fields, word: &Word) -> Result<(), TantivyError> {
        for place in &word.places {
            self.count(segment, fields, place)?;
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
    fn count(&mut self, segment: &SegmentReader, fields: &Fields, place: &Place) -> Result<(), TantivyError> {
        let Place { term, weight, only_in } = place;
        debug_assert!([fields.body, fields.heading].contains(&term.field()));
        let Some(mut postings) = segment.inverted_index(term.field())?.read_postings(term, IndexRecordOption::WithFreqs)? else {
            return Ok(());
        };
        let mut document = postings.doc();
        while document != TERMINATED {
            if self.spoken.has(*only_in, document)
                && let Some(frequency) = self.frequencies.get_mut(document as usize)
            {
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

    fn keep_best(self, segment: &SegmentReader, bonuses: &Bonuses, allowed: &RoaringBitmap, top: &mut TopK) -> Result<(), TantivyError> {
        let rows = segment.fast_fields().u64(Fields::ROW)?;
        let is_alive = |document: DocId| segment.alive_bitset().is_none_or(|alive| alive.is_alive(document));
        for document in self.scored.into_iter().filter(|document| is_alive(*document)) {
            let Some(row) = row_of(&rows, document).filter(|row| allowed.contains(*row)) else { continue };
            top.push(row, self.by_document.get(document as usize).copied().unwrap_or_default() + bonuses.of(row));
        }
        Ok(())
    }
}
