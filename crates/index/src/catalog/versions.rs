//! Which chunks of a new version keep the rows of the version before: those with the same text below the
//! same headings. Their chunk, vector and index entries are right as they are; only their place is new.

use super::{Catalog, CatalogError};
use crate::chunks::ChunkError;
use crate::keys;
use crate::records::{ChunkRecord, CollectionRecord, DocumentRecord, Rows, ServedVersion};
use corpus::{ChunkDraft, Embedding, Row};
use roaring::RoaringBitmap;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};

/// Rows looked at a time.
const PAGE: usize = 512;
/// Runs that the rows of one version may take. A record with three such lists, each run of at most 24 bytes,
/// stays below the longest value. A version that would take more gets all new rows.
const RUNS_MAX: usize = 1024;

/// How the chunks of a new version come by their rows.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// For each chunk in document order the row that it keeps.
    kept: Vec<Option<Row>>,
}

impl Plan {
    /// A version without one before.
    fn all_new(chunks: usize) -> Self {
        Self { kept: vec![None; chunks] }
    }

    /// Chunks that keep their row.
    pub(super) fn reused(&self) -> usize {
        self.kept.iter().flatten().count()
    }

    /// Chunks that need a row.
    pub(super) fn added(&self) -> usize {
        self.kept.len() - self.reused()
    }

    /// Whether the chunk of this number needs a row.
    pub(super) fn is_new(&self, ordinal: usize) -> bool {
        matches!(self.kept.get(ordinal), Some(None))
    }

    /// The version's rows when the new ones are numbered from `first` on.
    pub(super) fn rows(&self, first: Row) -> Rows {
        let mut next = first;
        let mut number = || {
            let row = next;
            next = next.saturating_add(1);
            row
        };
        self.kept.iter().map(|kept| kept.unwrap_or_else(&mut number)).collect()
    }

    /// Those of `before` that the version doesn't keep.
    pub(super) fn retired(&self, before: &Rows) -> Rows {
        let kept: RoaringBitmap = self.kept.iter().flatten().copied().collect();
        before.iter().filter(|row| !kept.contains(*row)).collect()
    }
}

impl Catalog {
    /// The plan for a version that replaces `before`.
    pub(super) fn plan(
        &self,
        collection: &CollectionRecord,
        before: Option<&ServedVersion>,
        chunks: &[(ChunkDraft, Embedding)],
    ) -> Result<Plan, CatalogError> {
        let Some(before) = before else { return Ok(Plan::all_new(chunks.len())) };
        // Equal chunks are given out in document order.
        let mut waiting: HashMap<(&str, &[String]), RefCell<VecDeque<usize>>> = HashMap::new();
        for (ordinal, (draft, _)) in chunks.iter().enumerate() {
            waiting.entry((draft.text.as_str(), draft.heading_path.as_slice())).or_default().get_mut().push_back(ordinal);
        }
        let mut kept = vec![None; chunks.len()];
        self.each_chunk(collection, &before.rows, |row, record| {
            let equal = waiting.get(&(record.text.as_str(), record.heading_path.as_slice()));
            let first = equal.and_then(|equal| equal.borrow_mut().pop_front());
            if let Some(slot) = first.and_then(|ordinal| kept.get_mut(ordinal)) {
                *slot = Some(row);
            }
            Ok(())
        })?;
        let plan = Plan { kept };
        // Any first row stands for the one that they will get: it follows no row that is kept.
        let is_scattered = plan.rows(Row::MAX / 2).runs() > RUNS_MAX;
        Ok(if is_scattered { Plan::all_new(chunks.len()) } else { plan })
    }

    /// The vectors of the served version by chunk text, so that unchanged texts are not embedded again. Read
    /// from the store: the views may be behind.
    ///
    /// # Errors
    /// A store error or a damaged vector.
    pub fn served_vectors(
        &self,
        collection: &CollectionRecord,
        record: &DocumentRecord,
    ) -> Result<HashMap<String, Embedding>, CatalogError> {
        let mut vectors = HashMap::new();
        let Some(served) = &record.served else { return Ok(vectors) };
        self.each_chunk(collection, &served.rows, |row, record| {
            if let Some(vector) = crate::collection::stored_vector(self.store.as_ref(), collection, row)? {
                vectors.insert(record.text, vector);
            }
            Ok(())
        })?;
        Ok(vectors)
    }

    /// Visits the stored chunks at these rows, in order. A row that is gone is passed over.
    fn each_chunk(
        &self,
        collection: &CollectionRecord,
        rows: &Rows,
        mut visit: impl FnMut(Row, ChunkRecord) -> Result<(), CatalogError>,
    ) -> Result<(), CatalogError> {
        let rows: Vec<Row> = rows.iter().collect();
        for some in rows.chunks(PAGE) {
            let keys: Vec<_> = some.iter().map(|row| keys::chunk(&collection.tenant, &collection.id, *row)).collect();
            for (row, value) in some.iter().zip(self.store.multi_get(&keys)?) {
                if let Some(value) = value {
                    visit(*row, serde_json::from_slice(&value)?)?;
                }
            }
        }
        Ok(())
    }
}

impl From<ChunkError> for CatalogError {
    fn from(error: ChunkError) -> Self {
        match error {
            ChunkError::Store(error) => Self::Store(error),
            ChunkError::Record(error) => Self::Record(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_kept_in_place_and_the_rest_is_numbered_on() {
        let plan = Plan { kept: vec![Some(3), None, Some(5), None] };
        assert_eq!((plan.reused(), plan.added()), (2, 2));
        assert_eq!(plan.rows(9).iter().collect::<Vec<_>>(), [3, 9, 5, 10]);
        assert_eq!(plan.retired(&Rows::run(3, 4)).iter().collect::<Vec<_>>(), [4, 6]);
        assert!(plan.is_new(1) && !plan.is_new(0) && !plan.is_new(4));
    }

    #[test]
    fn a_record_of_the_most_scattered_rows_is_a_value() {
        // Runs of one, the numbers as long as they get; two lists removed for one added.
        let rows: Rows = (0..RUNS_MAX as u32).map(|n| 4_294_900_000 + 2 * n).collect();
        assert_eq!(rows.runs(), RUNS_MAX);
        let bytes = serde_json::to_vec(&rows).unwrap().len();
        assert!(3 * bytes < crate::store::VALUE_BYTES_MAX * 3 / 4, "{bytes}");
    }
}
