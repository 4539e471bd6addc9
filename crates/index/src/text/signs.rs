//! What the signs of a question ask of rows: words that stand side by side, and words that do not stand there.

use super::question::{Form, Phrase, Question};
use super::row_set::RowSet;
use super::{Fields, TextError, TextIndex};
use roaring::RoaringBitmap;
use tantivy::query::{BooleanQuery, PhraseQuery, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{Searcher, TantivyError, Term};

/// What the signs of a question leave of the rows ([`TextIndex::narrow`]).
#[derive(Debug, Clone, PartialEq)]
pub struct Narrowed {
    /// The rows that are left.
    pub rows: RoaringBitmap,
    /// Whether the question's quoted words were required. They are not if no allowed row has them.
    pub requires_quoted: bool,
    /// Whether rows with what a minus stands in front of were left out. They are not if all allowed ones have it.
    pub excludes: bool,
}

impl TextIndex {
    /// What quotation marks and minus signs leave of `allowed`; `None` for a question without any, and for prose, in
    /// which they are no signs. Words that no allowed row has side by side are not required, and those that all have
    /// not excluded.
    ///
    /// # Errors
    /// [`TextError::Index`] if a segment can't be read.
    pub fn narrow(&self, question: &Question, allowed: &RoaringBitmap) -> Result<Option<Narrowed>, TextError> {
        let required = if question.requires_phrases { question.phrases.as_slice() } else { &[] };
        if required.is_empty() && question.excluded.is_empty() {
            return Ok(None);
        }
        let searcher = self.reader.searcher();
        let mut left = allowed.clone();
        for phrase in &question.excluded {
            if left.is_empty() {
                break;
            }
            left -= self.rows_with(&searcher, phrase)?;
        }
        let excludes = !question.excluded.is_empty() && !left.is_empty();
        let rows = if excludes { left } else { allowed.clone() };
        let mut quoted = rows.clone();
        for phrase in required {
            if quoted.is_empty() {
                break;
            }
            quoted &= self.rows_with(&searcher, phrase)?;
        }
        let requires_quoted = !required.is_empty() && !quoted.is_empty();
        Ok(Some(Narrowed { rows: if requires_quoted { quoted } else { rows }, requires_quoted, excludes }))
    }

    /// The rows in which the words stand side by side, in a heading or the text, in any language.
    pub(super) fn rows_with(&self, searcher: &Searcher, phrase: &Phrase) -> Result<RoaringBitmap, TantivyError> {
        let fields = [self.fields.body, self.fields.heading];
        let queries = fields.iter().flat_map(|field| phrase.forms.iter().map(|form| self.query(*field, form))).collect();
        searcher.search(&BooleanQuery::union(queries), &RowSet { row_field: Fields::ROW })
    }

    fn query(&self, field: Field, form: &Form) -> Box<dyn Query> {
        let single = |field, text: &str| Box::new(TermQuery::new(Term::from_field_text(field, text), IndexRecordOption::Basic));
        let words: Box<dyn Query> = match form.stems.as_slice() {
            [(_, only)] => single(field, only),
            several => {
                let terms = several.iter().map(|(place, stem)| (*place, Term::from_field_text(field, stem)));
                Box::new(PhraseQuery::new_with_offset(terms.collect()))
            }
        };
        match form.only_in {
            None => words,
            Some(code) => Box::new(BooleanQuery::intersection(vec![words, single(self.fields.language, code)])),
        }
    }
}
